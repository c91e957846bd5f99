/* The map-cache: what this node knows of the map, and what of that its data plane has
 * still to be told.
 *
 * It holds the nodes and networks of the whole map and the ports of the networks that are
 * open here.  Pages of the feed and local ports go in; operations for the data plane come
 * out in an order that respects dependence, as many at a time as the caller wants.
 * Positions count what was queued: when the data plane has been told everything up to the
 * position that xtr_mapcache_tail() gave, all that had gone in by then stands.
 *
 * A local port hides the map's view of the same port-id, and of each address it has.  Its
 * operations come out before all that the feed has queued: it is registered only when its
 * device is in place, and others learn of it only then.
 * A port with a pending location, the target of a live migration, has copies: each frame to it
 * goes to where the port is and to the target.  When the port is there, the copies end before
 * the traffic moves: the guest gets no frame twice.
 * Nothing blocks, nothing does I/O; one thread. */
#ifndef XTR_MAPCACHE_H
#define XTR_MAPCACHE_H

#include "dataplane/dp.h"
#include "eidmap.h"
#include "guard.h"
#include "locals.h"
#include "sets.h"
#include "table.h"

struct xtr_mapcache;

struct xtr_mapcache_config {
    const char *node_id;     /* copied */
    bool has_ipv4, has_ipv6; /* families that the data plane can send to */
    uint16_t udp_port;       /* of the data plane, for VXLAN */
    bool has_all_encaps;     /* it can send by any encapsulation, not only by VXLAN */
    unsigned shrink_percent; /* of the guard (guard.h) */
};

struct xtr_mapcache *xtr_mapcache_new(const struct xtr_mapcache_config *config);
void xtr_mapcache_free(struct xtr_mapcache *cache);

/* A page of network 0 or of an open network; others are ignored. */
void xtr_mapcache_feed(struct xtr_mapcache *cache, const struct em_feed *page);

/* The map is another one from here on: its revisions have nothing to do with those before.
 * What stands stays until the feeds have shown what the new one has. */
void xtr_mapcache_restart(struct xtr_mapcache *cache);

/* What a full pass did not show and is kept because the guard doubts it (guard.h), of the
 * network's ports (0: nodes and networks).  And the guard's word on the last pass. */
uint64_t xtr_mapcache_kept(const struct xtr_mapcache *cache, uint32_t network_id);
enum xtr_verdict xtr_mapcache_verdict(const struct xtr_mapcache *cache, uint32_t network_id);
const struct xtr_doubt *xtr_mapcache_doubt(const struct xtr_mapcache *cache, uint32_t network_id);
bool xtr_mapcache_keeps_node(const struct xtr_mapcache *cache, const char *id);
bool xtr_mapcache_keeps_network(const struct xtr_mapcache *cache, uint32_t id);

/* Removes it after all; returns how much that was. */
uint64_t xtr_mapcache_let_go(struct xtr_mapcache *cache, uint32_t network_id);

/* To tell whose passes come. */
struct xtr_guard *xtr_mapcache_guard(struct xtr_mapcache *cache);

/* A page that an earlier run has saved; 'is_kept': of what is kept.  It leaves the feed
 * incomplete: what has changed since then is still to come. */
void xtr_mapcache_restore(struct xtr_mapcache *cache, const struct em_feed *page, bool is_kept);

/* The map's record, lent until the next page of network 0; NULL if there is none. */
const struct em_network *xtr_mapcache_network(const struct xtr_mapcache *cache, const char *name);
const struct em_network *xtr_mapcache_network_by_id(const struct xtr_mapcache *cache, uint32_t id);

/* Has the feed of the network (0: nodes and networks) been shown to its end? */
bool xtr_mapcache_is_complete(const struct xtr_mapcache *cache, uint32_t network_id);

/* Ports of the open network that there was no room for, since its last full pass began: it has
 * more than XTR_TABLE_PORTS, or all of them more than XTR_SETS_MAX sets of locations. */
uint64_t xtr_mapcache_left_out(const struct xtr_mapcache *cache, uint32_t network_id);

/* Opens a network that the map has a record of: the data plane gets it, its ports are
 * kept.  'segmentation_id' that this node receives on, 0: the network's.  EM_E_NOT_FOUND,
 * or -EALREADY. */
int xtr_mapcache_open(struct xtr_mapcache *cache, uint32_t network_id, uint32_t segmentation_id);
bool xtr_mapcache_is_open(const struct xtr_mapcache *cache, uint32_t network_id);
/* It was closed, perhaps opened again, and the data plane has still to be told of its end. */
bool xtr_mapcache_is_leaving(const struct xtr_mapcache *cache, uint32_t network_id);

/* Does the network have a port of this node?  False for one that is not open. */
bool xtr_mapcache_has_locals(const struct xtr_mapcache *cache, uint32_t network_id);

/* The port-id of a port of this node that has the MAC there, lent until it is detached; NULL:
 * none. */
const struct em_port_id *xtr_mapcache_local_at(const struct xtr_mapcache *cache,
                                               uint32_t network_id, const uint8_t mac[EM_MAC_SIZE]);

/* Forgets the network's ports and takes it out of the data plane.  It must have no local
 * port any more.  Fine for one that is not open. */
void xtr_mapcache_close(struct xtr_mapcache *cache, uint32_t network_id);

/* Puts a port of this node into an open network, or changes it there. */
void xtr_mapcache_attach(struct xtr_mapcache *cache, const struct em_port_id *id,
                         uint32_t network_id, const char *device, const struct em_eid *eids,
                         size_t n_eids);

/* The same for a port whose guest has still to arrive: only the device goes into the network;
 * frames to its addresses go where the map says, and hide nothing. */
void xtr_mapcache_attach_pending(struct xtr_mapcache *cache, const struct em_port_id *id,
                                 uint32_t network_id, const char *device, const struct em_eid *eids,
                                 size_t n_eids);

/* The same for a port whose device somebody else has put into the network. */
void xtr_mapcache_attach_borrowed(struct xtr_mapcache *cache, const struct em_port_id *id,
                                  uint32_t network_id, const char *device,
                                  const struct em_eid *eids, size_t n_eids);

/* The same for a child: a port behind this tag on the device of another one, its parent. */
void xtr_mapcache_attach_child(struct xtr_mapcache *cache, const struct em_port_id *id,
                               uint32_t network_id, const char *device, uint16_t vlan,
                               bool is_pending, const struct em_eid *eids, size_t n_eids);

/* The children of a port of an open network, as its record lists them; lent until the next page
 * of that network.  The second sets them, where there is no feed that shows the record. */
const struct em_child *xtr_mapcache_children(const struct xtr_mapcache *cache, uint32_t network_id,
                                             const struct em_port_id *id, size_t *ret_n);
/* Has any port of an open network? */
bool xtr_mapcache_has_children(const struct xtr_mapcache *cache);
void xtr_mapcache_set_children(struct xtr_mapcache *cache, uint32_t network_id,
                               const struct em_port *port);

/* Fine for a port that is not there. */
void xtr_mapcache_detach(struct xtr_mapcache *cache, const struct em_port_id *id);

/* Queues everything of the local port again; its device may have been missing. */
void xtr_mapcache_touch(struct xtr_mapcache *cache, const struct em_port_id *id);

/* Queues what the operation was about again; for one that failed.  Of a network's put that is
 * nothing but the network. */
void xtr_mapcache_retry(struct xtr_mapcache *cache, const struct dp_op *op);

/* Queues everything of the open network again; fine for one that is not. */
void xtr_mapcache_repeat(struct xtr_mapcache *cache, uint32_t network_id);

/* Queues everything again. */
void xtr_mapcache_retry_all(struct xtr_mapcache *cache);

/* The next operations, at most 'max' (>= XTR_OPS_MIN, <= XTR_OPS_MAX); what they point to
 * is lent until the next call.  xtr_mapcache_applied() after the data plane has done them all, or
 * those up to a position that xtr_mapcache_taken() has told. */
#define XTR_OPS_MIN 4
#define XTR_OPS_MAX 128
size_t xtr_mapcache_next_ops(struct xtr_mapcache *cache, struct dp_op *ops, size_t max);
uint64_t xtr_mapcache_taken(const struct xtr_mapcache *cache);
void xtr_mapcache_applied(struct xtr_mapcache *cache);
void xtr_mapcache_applied_to(struct xtr_mapcache *cache, uint64_t position);

uint64_t xtr_mapcache_tail(const struct xtr_mapcache *cache);
uint64_t xtr_mapcache_done(const struct xtr_mapcache *cache); /* position that was applied */

/* The greatest revision of which all that concerns this node has been applied; it stands
 * still while a feed is incomplete.  And the greatest revision seen. */
uint64_t xtr_mapcache_installed(const struct xtr_mapcache *cache);
uint64_t xtr_mapcache_revision(const struct xtr_mapcache *cache);

/* Has the map an enabled node of this id, and none of its RLOCs is one that this node can
 * send to?  Then the ports that are there are out of reach. */
bool xtr_mapcache_is_stranded(const struct xtr_mapcache *cache, const char *node_id);

/* The stranded nodes that ports of open networks are at, one by one: begin with 0; NULL at
 * the end.  Lent until the next page of network 0. */
const char *xtr_mapcache_next_stranded(const struct xtr_mapcache *cache, uint32_t *cursor);

/* The other nodes of the map, one by one: begin with 0; false at the end.  The record is lent
 * until the next page of network 0. */
struct xtr_peer {
    const struct em_node *node;
    struct em_ip ip; /* RLOC that frames are sent to; size 0: there is none for us */
    enum em_encap encap;
    uint16_t udp_port;
    uint32_t probe_ms; /* how often it is to be probed, 0: not */
    uint32_t n_locations;
};
bool xtr_mapcache_next_peer(const struct xtr_mapcache *cache, uint32_t *cursor,
                            struct xtr_peer *ret_peer);

/* Works out every peer's probe_ms: the shortest interval of the open networks with ports
 * there, as they ask for. */
void xtr_mapcache_plan_probes(struct xtr_mapcache *cache);

/* The node does not answer probes (any more): it counts as unreachable, whatever the map says.
 * Its sets are queued before all that the feed has queued. */
void xtr_mapcache_silence(struct xtr_mapcache *cache, const char *node_id, bool is_silent);

struct xtr_mapcache_counts {
    uint32_t n_open;
    uint32_t n_locals;
    uint64_t n_remote; /* ports in the open networks that are not local here */
    size_t memory;     /* bytes on the heap for ports, about */
};
struct xtr_mapcache_counts xtr_mapcache_counts(const struct xtr_mapcache *cache);

/* One by one: begin with a zeroed cursor; false at the end.  What is changed between two
 * calls is shown or not.  'ret_' records are lent until the next call or change. */
struct xtr_cursor {
    uint32_t network;
    uint32_t slot;
    bool is_kept; /* the port that was shown is (xtr_mapcache_kept) */
    struct em_eid eids[XTR_EIDS_MAX];
    struct em_location locations[XTR_SET_LOCATIONS];
};
bool xtr_mapcache_next_port(const struct xtr_mapcache *cache, struct xtr_cursor *cursor,
                            struct em_port *ret_port);
/* One port of the map, in the cursor's room; false if it is not there. */
bool xtr_mapcache_find_port(const struct xtr_mapcache *cache, uint32_t network_id,
                            const struct em_port_id *id, struct xtr_cursor *room,
                            struct em_port *ret_port);
bool xtr_mapcache_next_node(const struct xtr_mapcache *cache, uint32_t *cursor,
                            const struct em_node **ret_node);
/* How many records of networks have gone so far.  When one goes a walk may miss another. */
uint32_t xtr_mapcache_networks_gone(const struct xtr_mapcache *cache);
bool xtr_mapcache_next_network(const struct xtr_mapcache *cache, uint32_t *cursor,
                               const struct em_network **ret_network);

#endif
