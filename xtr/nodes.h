/* The nodes of the map as this node sees them: can we send there, and by which address.
 *
 * A node that a location names before (or after) the map knows it has an entry too, so
 * that the location works as soon as the record comes. */
#ifndef XTR_NODES_H
#define XTR_NODES_H

#include "base/hash.h"
#include "base/list.h"
#include "dataplane/dp.h"
#include "eidmap/model.h"

struct xtr_node {
    char *id;
    uint32_t slot;
    uint32_t refs;            /* locations that name it */
    struct em_list locations; /* struct xtr_setloc, by_node */
    struct em_node *record;   /* NULL: the map does not know it */
    uint8_t generation;       /* of the full pass that showed it last */
    bool is_usable;           /* another node, enabled, and 'ip' is an RLOC for us */
    bool is_stranded;         /* it would be, but none of its RLOCs is of our family */
    bool is_silent;           /* it does not answer probes any more */
    struct em_ip ip;
    enum em_encap encap;
    uint16_t udp_port; /* VXLAN: never 0; else 0 stands for the encapsulation's own */
    uint32_t probe_ms; /* how often it is to be probed, 0: not */
};

struct xtr_nodes {
    struct xtr_node **items; /* NULL: a free slot */
    uint32_t n_items;
    struct em_index index;
    struct xtr_node *self;
    bool has_ipv4, has_ipv6; /* families that we can send to */
    bool has_all_encaps;     /* VXLAN and all others; false: only VXLAN */
};

void xtr_nodes_init(struct xtr_nodes *nodes, const char *self_id, bool has_ipv4, bool has_ipv6);
void xtr_nodes_fini(struct xtr_nodes *nodes);

/* NULL if there is no entry. */
struct xtr_node *xtr_nodes_find(const struct xtr_nodes *nodes, const char *id);

/* The entry, made if there is none, with one more reference. */
struct xtr_node *xtr_nodes_ref(struct xtr_nodes *nodes, const char *id);
void xtr_nodes_unref(struct xtr_nodes *nodes, struct xtr_node *node);

/* The map's record, copied; NULL: the map does not know it (any more).  The entry is freed
 * by the second form when nothing names it. */
struct xtr_node *xtr_nodes_put(struct xtr_nodes *nodes, const struct em_node *record);
void xtr_nodes_forget(struct xtr_nodes *nodes, struct xtr_node *node);

/* Where frames to a usable node go; 'own_port' is the data plane's for VXLAN. */
struct dp_target xtr_node_target(const struct xtr_node *node, uint32_t segmentation_id,
                                 uint8_t weight, uint16_t own_port);

/* But for their weights. */
bool xtr_is_same_target(const struct dp_target *a, const struct dp_target *b);

/* By the map and by the probes. */
bool xtr_node_is_reachable(const struct xtr_node *node);

#endif
