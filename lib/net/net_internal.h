/* What connections need of their em_net; nobody else includes this. */
#ifndef EM_NET_INTERNAL_H
#define EM_NET_INTERNAL_H

#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct em_net;

/* Where a turn reads into, so that an idle connection owns no input buffer. */
#define EM_NET_SCRATCH (64u << 10)
uint8_t *em_net_scratch(const struct em_net *net);

/* Puts a connection on a list that is flushed before the loop waits, one that has much to write
 * ('is_bulk') on another than the rest; or on the one that has input left for the next turn.  No
 * effect if it is on one already. */
void em_net_queue_flush(struct em_net *net, struct em_list *item, bool is_bulk);
void em_net_queue_ready(struct em_net *net, struct em_list *item);

/* Called for each item; in conn.c.  They return how many bytes they have written. */
size_t em_conn_flush_item(struct em_list *item);
size_t em_conn_ready_item(struct em_list *item);

#endif
