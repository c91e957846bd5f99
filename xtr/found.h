/* What the map-cache says of one EID, and why: for whoever asks where packets to it go. */
#ifndef XTR_FOUND_H
#define XTR_FOUND_H

#include "mapcache.h"

/* One location of the port, and the node that it names. */
struct xtr_found_place {
    struct em_location location; /* lent until the map-cache changes */
    enum xtr_why why;
    bool is_self;  /* this node itself: a stale location, the port is not attached here */
    bool is_known; /* the map has a record of the node */
    bool is_disabled;
    bool is_stranded; /* no RLOC of a family that we can send to */
    bool is_reachable;
    struct em_ip rloc; /* that frames would go to; size 0: none */
};

struct xtr_found {
    struct em_port_id id;
    struct dp_network network;
    struct em_eid mac; /* kind EM_EID_NONE: the port has none */
    struct em_eid ip;  /* that was asked for, or one with this MAC; kind EM_EID_NONE: none */
    bool is_kept;      /* the map no longer shows it (guard.h) */
    bool is_local;
    char device[IFNAMSIZ]; /* local */
    uint16_t vlan;         /* of a child, else 0 */
    bool is_any_local;     /* and no instance of it is attached here, or it is_local */
    size_t n_places;
    struct xtr_found_place places[XTR_SET_LOCATIONS];
    size_t n_targets;
    struct dp_target targets[XTR_SET_LOCATIONS];
};

/* 'eid' is a MAC, a host address or a port-id; the network is open.  False: nobody has it, as
 * far as the map-cache knows. */
bool xtr_mapcache_find(const struct xtr_mapcache *cache, uint32_t network_id,
                       const struct em_eid *eid, struct xtr_found *ret_found);

#endif
