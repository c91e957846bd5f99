/* Copies of the map's records that outlive the message they came in. */
#ifndef XTR_RECORD_H
#define XTR_RECORD_H

#include "eidmap/model.h"

/* Deep copies, for the caller to free with the call beside them; NULL is fine there. */
struct em_node *xtr_record_copy_node(const struct em_node *node);
void xtr_record_free_node(struct em_node *node);

struct em_network *xtr_record_copy_network(const struct em_network *network);
void xtr_record_free_network(struct em_network *network);

#endif
