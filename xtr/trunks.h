/* Which ports of a network have children, and which: what the map's records say.  Few have. */
#ifndef XTR_TRUNKS_H
#define XTR_TRUNKS_H

#include "base/hash.h"
#include "eidmap/model.h"

struct xtr_trunk;

struct xtr_trunks {
    struct xtr_trunk **items; /* NULL: a free slot */
    uint32_t n_items;
    uint32_t n_used;
    struct em_index by_id;
};

void xtr_trunks_init(struct xtr_trunks *trunks);
void xtr_trunks_fini(struct xtr_trunks *trunks);

/* Replaces the port's children by copies; none: it is forgotten. */
void xtr_trunks_put(struct xtr_trunks *trunks, const struct em_port_id *id,
                    const struct em_child *children, size_t n);

/* By tag, lent until the next put; NULL: the port has none. */
const struct em_child *xtr_trunks_find(const struct xtr_trunks *trunks, const struct em_port_id *id,
                                       size_t *ret_n);

/* Is the port among these, with this tag? */
bool xtr_trunks_lists(const struct em_child *children, size_t n, const struct em_port_id *id,
                      uint16_t tag);

#endif
