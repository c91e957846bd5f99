/* The ports of this node that are in the data plane, by port-id and by address. */
#ifndef XTR_LOCALS_H
#define XTR_LOCALS_H

#include "eidmap/model.h"
#include "groups.h"

#include <net/if.h>

struct xtr_local {
    struct em_port_id id;
    uint32_t network; /* slot of the map-cache */
    char device[IFNAMSIZ];
    uint16_t vlan; /* as in dp_op */
    struct em_eid *eids;
    size_t n_eids;
    bool is_borrowed; /* as in dp_op */
    bool is_sent;     /* the data plane has been told of the device */
    bool is_pending;  /* only its device is here: its addresses are where the map says */
};

struct xtr_locals {
    struct xtr_local **items;
    uint32_t n_items; /* slots, NULL where free */
    uint32_t n_used;
    uint32_t n_full; /* slots at the beginning, none of which is free */
    struct em_index by_id;
    struct em_index by_eid;
    struct xtr_groups by_device;
};

void xtr_locals_init(struct xtr_locals *locals);
void xtr_locals_fini(struct xtr_locals *locals);

/* A copy; the port must not be there yet. */
void xtr_locals_add(struct xtr_locals *locals, const struct xtr_local *local);

/* Takes it out; for the caller to free with xtr_local_free().  NULL: it is not there. */
struct xtr_local *xtr_locals_take(struct xtr_locals *locals, const struct em_port_id *id);
void xtr_local_free(struct xtr_local *local);

const struct xtr_local *xtr_locals_find(const struct xtr_locals *locals,
                                        const struct em_port_id *id);

/* The port that has this MAC or host address, and is no pending one; of several one of them. */
struct xtr_local *xtr_locals_owner(const struct xtr_locals *locals, uint32_t network,
                                   const struct em_eid *eid);

/* Is a port behind this tag of the device? */
bool xtr_locals_has_device(const struct xtr_locals *locals, uint32_t network, const char *device,
                           uint16_t vlan);
/* Is a port that has not borrowed the device among those? */
bool xtr_locals_owns_device(const struct xtr_locals *locals, uint32_t network, const char *device,
                            uint16_t vlan);

#endif
