/* The kernel data plane from inside: shared by the files that make it up (kernel.c draws
 * which); besides them only their tests include it. */
#ifndef DP_KERNEL_H
#define DP_KERNEL_H

#include "entry.h"
#include "limits.h"
#include "link.h"
#include "lost.h"
#include "netlink.h"
#include "shadow.h"
#include "writer.h"

#include "dp.h"

/* An op whose messages are in the batch. */
struct dp_queued {
    struct dp_op *op;
    uint8_t first, n; /* messages */
};

#define DP_FLIGHTS 10 /* batches: one that is built, others that are being sent */

/* A batch on its way to the kernel. */
struct dp_flight {
    struct dp_queued queue[DP_NL_BATCH];
    size_t n_queued;
    struct dp_sending sending; /* its batch: one that is free while this one is built */
};

struct dp {
    struct dp_nl *nl;
    struct dp_writer *writer;
    struct dp_shadow shadow;
    struct em_ip rloc;
    uint16_t udp_port;
    uint32_t underlay; /* ifindex of the device that holds the RLOC */
    enum dp_link_state underlay_state;
    struct dp_version version; /* of the kernel */
    uint64_t n_refused[2];    /* by its IPv4 and IPv6 neighbour tables before open, or before ... */
    uint32_t thresh[2];       /* ... it was given this limit */
    uint32_t next_nexthop_id; /* where the search for a free one begins */
    bool is_swept;            /* sets have been: groups left over then go with their network */
    struct dp_lost lost;
    bool is_torn; /* a large network waits for a check to send its entries again */
    struct dp_flight flights[DP_FLIGHTS];
    uint64_t n_put, n_done; /* flights that were given to the writer, and completed since */
};

/* Ids of our nexthops: a range of our own, so that people can tell and daemons that count
 * from 1 do not meet us. */
#define DP_NEXTHOP_FIRST 0x0e100000u
#define DP_NEXTHOP_LAST  0x0effffffu

/* Flags of FDB entries that make them ours, and the state that vxlan and bridge both take
 * and that outlives "link down" (a vxlan device then flushes what is not NOARP). */
#define DP_FDB_MARK  NTF_EXT_LEARNED
#define DP_FDB_STATE (NUD_NOARP | NUD_REACHABLE)
/* Neighbours are permanent, since a bridge that loses its carrier flushes all others. */
#define DP_NEIGH_STATE NUD_PERMANENT

/* What VXLAN adds to a packet: outer IP 20 or 40, UDP 8, VXLAN 8, inner Ethernet 14. */
static inline uint32_t dp_overhead(const struct em_ip *rloc)
{
    return rloc->size == 16 ? 70 : 50;
}

#define DP_OP_MESSAGES 2 /* most that one op on a MAC needs; on all else it is one */

/* Entries of a table that one dump may show, or that one op may send again: a millisecond or
 * two of the loop. */
#define DP_SMALL 1000

/* flight.c */

int dp_flights_open(struct dp *dp);
void dp_flights_close(struct dp *dp);

/* The one that is being built. */
struct dp_flight *dp_flight(struct dp *dp);
/* Begins a new batch.  The one so far is sent and its ops are completed, soon or at once;
 * earlier ones may be completed, too.  Records may move. */
void dp_take_off(struct dp *dp);
/* The same, and every op so far is completed. */
void dp_flush(struct dp *dp);
/* Completes what has been sent; as dp_class.reached. */
uint64_t dp_flights_reached(struct dp *dp);

static inline struct dp_network_rec *dp_network_of(const struct dp *dp, const struct dp_op *op)
{
    return dp_shadow_network(&dp->shadow, op->network.id);
}

/* endpoint.c: ops on MACs, neighbours and flood lists, and no others. */

/* True if an op on the same entry is in the batch. */
bool dp_endpoint_is_pending(struct dp *dp, const struct dp_op *op);
/* Appends the op's messages to the batch; -errno if it cannot be done at all. */
int dp_endpoint_queue(struct dp *dp, const struct dp_op *op);
/* The kernel has answered: brings the shadow up to date; returns the op's result. */
int dp_endpoint_done(struct dp *dp, const struct dp_op *op, int err);

/* mac.c, neigh.c, flood.c: the same for their verbs. */
bool dp_mac_is_pending(struct dp *dp, const struct dp_op *op);
int dp_mac_queue(struct dp *dp, const struct dp_op *op);
int dp_mac_done(struct dp *dp, const struct dp_op *op, int err);
bool dp_neigh_is_pending(struct dp *dp, const struct dp_op *op);
int dp_neigh_queue(struct dp *dp, const struct dp_op *op);
int dp_neigh_done(struct dp *dp, const struct dp_op *op, int err);
bool dp_flood_is_pending(struct dp *dp, const struct dp_op *op);
int dp_flood_queue(struct dp *dp, const struct dp_op *op);
int dp_flood_done(struct dp *dp, const struct dp_op *op, int err);

/* What the kernel has for this MAC, in the vxlan device's table (NTF_SELF) or in its
 * bridge's (NTF_MASTER), and for this address on the bridge.  The batch must be empty.  0,
 * -ENOENT or -errno. */
int dp_fdb_lookup(struct dp *dp, uint32_t vxlan, const uint8_t *mac, uint8_t table,
                  struct dp_fdb *ret_fdb);
int dp_neigh_lookup(struct dp *dp, uint32_t bridge, const struct em_ip *ip,
                    struct dp_neigh *ret_neigh);

/* The entries that a record stands for. */
struct dp_fdb dp_mac_vxlan_entry(const struct dp *dp, const struct dp_mac_rec *rec);
struct dp_fdb dp_mac_bridge_entry(const struct dp *dp, const struct dp_mac_rec *rec);
/* 'vni' and 'port' 0: the network's, the data plane's. */
struct dp_flood_rec dp_flood_key(const struct dp *dp, uint32_t network_id, const struct em_ip *ip,
                                 uint32_t vni, uint16_t port);
struct dp_fdb dp_flood_entry(const struct dp *dp, const struct dp_flood_rec *rec);
struct dp_neigh dp_neigh_entry(const struct dp_network_rec *network, const struct em_ip *ip,
                               const uint8_t *mac);

/* Appends the two messages that make a MAC's record stand, whatever stands now. */
void dp_mac_resend_messages(struct dp *dp, const struct dp_mac_rec *rec);

/* Sends again what the records say, whatever stands; at once.  0 or -errno. */
int dp_mac_resend(struct dp *dp, struct dp_mac_rec *rec);
int dp_flood_resend(struct dp *dp, struct dp_flood_rec *rec);
int dp_neigh_resend(struct dp *dp, uint32_t network_id, const struct em_ip *ip, const uint8_t *mac);

/* Removes an entry from the kernel and its record; at once. */
int dp_mac_remove(struct dp *dp, struct dp_mac_rec *rec);
int dp_flood_remove(struct dp *dp, struct dp_flood_rec *rec);
int dp_neigh_remove(struct dp *dp, struct dp_neigh_ref ref, uint32_t network_id,
                    const struct em_ip *ip);

/* Forgets a record without touching the kernel. */
void dp_mac_forget(struct dp *dp, struct dp_mac_rec *rec);

/* set.c: sets of locations, as nexthops and groups. */
int dp_set_put(struct dp *dp, const struct dp_set *set);
int dp_set_delete(struct dp *dp, uint32_t set_id);
/* By address, because the targets want a VNI or UDP port that a nexthop cannot carry? */
bool dp_set_is_by_dst(const struct dp_set_rec *set, const struct dp_network_rec *network);
/* Frames to sets without targets are dropped at this node's RLOC, which is another. */
int dp_set_rehome(struct dp *dp);
/* Removes adopted groups and nexthops that no set has claimed; their number. */
int dp_set_sweep(struct dp *dp);
struct dp_nexthop dp_set_group_entry(const struct dp_set_rec *set);
struct dp_nexthop dp_set_nexthop_entry(const struct dp_nexthop_rec *rec);
void dp_set_sort(struct nexthop_grp *members, size_t n);

/* network.c: bridges, vxlan devices, ports. */
int dp_network_put(struct dp *dp, const struct dp_network *want);
int dp_network_delete(struct dp *dp, uint32_t network_id);
int dp_network_put_port(struct dp *dp, uint32_t network_id, const char *device, bool is_borrowed);
int dp_network_delete_port(struct dp *dp, uint32_t network_id, const char *device);
/* The record of a port, NULL if there is none. */
struct dp_port_rec *dp_network_find_port(struct dp *dp, uint32_t network_id, const char *device);
/* Is the port's device in place, as it should be?  Records an ifindex that is new. */
bool dp_network_port_stands(struct dp *dp, struct dp_port_rec *port);
/* What is wrong with the network's devices, or NULL.  Static storage. */
const char *dp_network_fault(struct dp *dp, const struct dp_network_rec *network);
int dp_network_repair(struct dp *dp, uint32_t network_id);
int dp_network_set_rloc(struct dp *dp, const struct em_ip *rloc);

/* missport.c: as dp_class.miss_open and dp_class.idle; and after the bridge or its MTU has
 * changed, and the fault of a miss port. */
int dp_miss_open(struct dp *dp, uint32_t network_id, int *ret_fd);
void dp_miss_close(struct dp_network_rec *network);
int dp_miss_rejoin(struct dp *dp, const struct dp_network_rec *network);
bool dp_miss_stands(struct dp *dp, const struct dp_network_rec *network);
int dp_mac_idle(struct dp *dp, uint32_t network_id, const uint8_t *mac, uint64_t *ret_ms);

/* copy.c: frames that go to the target of a migration too.  Each is done at once. */
int dp_copy_put(struct dp *dp, const struct dp_op *op);
int dp_copy_delete(struct dp *dp, const struct dp_op *op);
/* With the network, or with the port of this ifindex. */
void dp_copy_forget_network(struct dp *dp, struct dp_network_rec *network);
void dp_copy_forget_port(struct dp *dp, uint32_t ifindex);
/* The device of the network that was 'was' is 'ifindex' now. */
int dp_copy_resend(struct dp *dp, uint32_t network_id, uint32_t was, uint32_t ifindex);
/* dp->rloc is another one. */
int dp_copy_rehome(struct dp *dp);
/* At open, with the networks and ports adopted: removes what an earlier run has left. */
int dp_copy_clean(struct dp *dp);
bool dp_copy_stands(struct dp *dp, const struct dp_copy_rec *rec);
int dp_copy_repair(struct dp *dp, struct dp_copy_rec *rec);

/* adopt.c: what an earlier run has left. */
int dp_adopt(struct dp *dp);
void dp_adopted(struct dp *dp, uint32_t network_id, dp_eid_fn *visit, void *aux);
int dp_sweep(struct dp *dp, uint32_t network_id);

/* watch.c */
bool dp_is_disturbed(struct dp *dp);

/* look.c */
void dp_look(struct dp *dp, const struct dp_path *path, dp_step_fn *visit, void *aux);

/* check.c */
struct dp_check *dp_check_start(struct dp *dp, bool repair, dp_visit_fn *visit, void *aux);
bool dp_check_step(struct dp_check *check, uint64_t budget_us);
struct dp_check_result dp_check_end(struct dp_check *check);

/* neightable.c */
void dp_limits_begin(struct dp *dp); /* what was refused before is not counted */
void dp_limits(struct dp *dp, dp_limit_fn *visit, void *aux);

#endif
