/* Location sets: every port of a network whose locations are the same shares one.
 *
 * A set is the whole list that a port has (but for locations in another node's view), so
 * that what becomes of a node is worked out once for each set and not for each port. */
#ifndef XTR_SETS_H
#define XTR_SETS_H

#include "nodes.h"
#include "table.h"
#include "why.h"
#include "dataplane/dp.h"

#define XTR_SET_LOCATIONS 16 /* proto/eidmap.proto: Port.locations */

struct xtr_set;

struct xtr_setloc {
    struct em_list by_node;
    struct xtr_set *set;
    struct xtr_node *node;
    uint32_t segmentation_id;
    uint8_t priority;
    uint8_t weight;
    bool is_pending;
    bool is_own_view;      /* shown to this node alone */
    struct em_label label; /* owned; key NULL: none */
};

struct xtr_set {
    uint32_t id; /* 1 .. XTR_SETS_MAX */
    uint32_t network;
    uint32_t refs;
    uint64_t hash;
    uint32_t n_notes; /* of the map-cache: notes that wait */
    bool is_sent;     /* the data plane has been told of it */
    bool is_leaving;  /* has had no reference for a whole turn of the queue */
    uint8_t n_locations;
    struct xtr_setloc locations[];
};

struct xtr_sets {
    struct xtr_set **items; /* by id - 1; NULL: free */
    uint32_t n_items;
    uint32_t *free_ids;
    uint32_t n_free, free_size;
    struct em_index index;
};

void xtr_sets_init(struct xtr_sets *sets);
void xtr_sets_fini(struct xtr_sets *sets, struct xtr_nodes *nodes);

/* The set of these locations in 'network' with one more reference; at most
 * XTR_SET_LOCATIONS of them count.  NULL: so many sets are in use. */
struct xtr_set *xtr_sets_ref(struct xtr_sets *sets, struct xtr_nodes *nodes, uint32_t network,
                             const struct em_location *locations, size_t n);

struct xtr_set *xtr_sets_get(const struct xtr_sets *sets, uint32_t id);

/* A set without references, for good. */
void xtr_sets_free(struct xtr_sets *sets, struct xtr_nodes *nodes, struct xtr_set *set);

/* Why frames go to each of its locations, or do not; room for set->n_locations. */
void xtr_set_whys(const struct xtr_set *set, const struct xtr_nodes *nodes, enum xtr_why *ret_whys);

/* Where frames go now.  'own_port' is the data plane's UDP port.  Returns the number of
 * targets, each a different place. */
size_t xtr_set_targets(const struct xtr_set *set, const struct xtr_nodes *nodes, uint16_t own_port,
                       struct dp_target ret_targets[XTR_SET_LOCATIONS]);

/* Where a copy of each frame goes too: the target of a live migration.  False: nowhere. */
bool xtr_set_pending(const struct xtr_set *set, const struct xtr_nodes *nodes, uint16_t own_port,
                     struct dp_target *ret_target);

/* The location as a record; strings are lent while the set lives. */
struct em_location xtr_setloc_show(const struct xtr_setloc *loc, const struct xtr_nodes *nodes);

#endif
