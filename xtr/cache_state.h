/* What the map-cache keeps, entries.c turns into operations and cache_view.c shows.  For its
 * files only: mapcache.c has the open networks with their ports, cache_place.c their sets,
 * cache_zero.c nodes and networks, cache_kept.c full passes, notes.c says what is to be looked at
 * again. */
#ifndef XTR_CACHE_STATE_H
#define XTR_CACHE_STATE_H

#include "mapcache.h"
#include "queue.h"
#include "trunks.h"

/* A place that the network's broadcast goes to. */
struct xtr_flood {
    struct xtr_node *node;
    uint32_t segmentation_id;
    uint32_t refs; /* sets of the network that name it */
};

/* A MAC whose frames are copied, as the data plane was told. */
struct xtr_copy {
    uint8_t mac[EM_MAC_SIZE];
};

/* An open network, or one that was closed and waits to leave the data plane. */
struct xtr_net {
    struct dp_network dp;
    uint32_t own_segment; /* 0: as the map says */
    bool is_closed;
    bool is_complete;
    bool is_in_pass;
    bool is_second; /* an older one with the same number waits to leave before it comes */
    bool has_kept;  /* the last pass was doubted, and what it lacked may still be here */
    enum xtr_verdict verdict;
    uint64_t n_before;   /* ports of the map that were not local when the pass began */
    uint64_t n_left_out; /* ports that did not fit since the last full pass began */
    uint32_t n_locals;
    uint32_t n_notes; /* XTR_NOTE_NETWORK notes that wait */
    struct xtr_table table;
    struct xtr_trunks trunks;
    struct xtr_flood *floods;
    uint32_t n_floods, floods_size;
    struct xtr_copy *copies; /* few: of guests that migrate now */
    uint32_t n_copies;
};

struct xtr_known_network {
    struct em_network *record;
    uint8_t generation;
};

/* Everything queued up to 'position' makes 'revision' installed. */
struct xtr_mark {
    uint64_t revision;
    uint64_t position;
};

struct xtr_mapcache {
    uint16_t udp_port;
    struct xtr_nodes nodes;
    struct xtr_sets sets;
    struct xtr_locals locals;
    struct xtr_known_network *known;
    uint32_t n_known, known_size;
    uint32_t n_gone; /* from 'known', as yet */
    struct em_index known_by_id, known_by_name;
    bool is_complete; /* of network 0 */
    bool is_in_pass;
    uint8_t generation;
    bool has_kept; /* as in a network */
    enum xtr_verdict verdict;
    uint64_t n_nodes_before, n_known_before; /* when the pass began */
    struct xtr_guard guard;
    struct xtr_net **nets; /* NULL: a free slot */
    uint32_t n_nets;
    struct em_index open_by_id; /* of nets, without the closed ones */
    struct xtr_queue queue;
    /* Local ports and what they stand on, done before anything of 'queue', which has an
     * XTR_NOTE_MARK for each note here: so its positions count these too. */
    struct xtr_queue first;
    uint32_t eid_cursor; /* EIDs of the port of the queue's first note that were emitted */
    uint64_t done;
    struct xtr_mark *marks;
    uint32_t n_marks, marks_size;
    uint64_t revision, installed;
    struct dp_target targets[XTR_OPS_MAX][XTR_SET_LOCATIONS]; /* that operations point to */
};

static inline uint64_t xtr_cache_number_hash(uint32_t id)
{
    return em_hash(&id, sizeof id);
}

/* mapcache.c: the slot of an open network, or XTR_SLOT_NONE; a record for the data plane;
 * everything of a network once more; a record of its table goes. */
uint32_t xtr_cache_slot(const struct xtr_mapcache *cache, uint32_t network_id);
struct dp_network xtr_cache_describe(const struct em_network *record, uint32_t own_segment);
void xtr_cache_queue_net(struct xtr_mapcache *cache, uint32_t slot);

void xtr_cache_port_remove(struct xtr_mapcache *cache, uint32_t slot, uint32_t index);

/* cache_place.c: one more record has these locations, or one less; the set's number.  0: there
 * are XTR_SETS_MAX sets. */
uint32_t xtr_cache_hold_set(struct xtr_mapcache *cache, uint32_t slot,
                            const struct em_location *locations, size_t n);
void xtr_cache_drop_set(struct xtr_mapcache *cache, uint32_t slot, uint32_t id);

/* entries.c: the MAC that ARP and ND are answered with, of a port's EIDs; NULL: it has none. */
const struct em_eid *xtr_cache_first_mac(const struct em_eid *eids, size_t n);
/* The MAC that this address is answered with; kind EM_EID_NONE: it is not. */
struct em_eid xtr_cache_mac_of(const struct xtr_mapcache *cache, uint32_t slot,
                               const struct em_eid *ip);

/* The data plane copies frames to this MAC. */
void xtr_cache_copy_stands(struct xtr_net *net, const struct em_eid *mac);

/* cache_zero.c: a page of network 0; a record that is gone. */
void xtr_cache_feed_zero(struct xtr_mapcache *cache, const struct em_feed *page);
void xtr_cache_network_gone(struct xtr_mapcache *cache, uint32_t id);
void xtr_cache_node_gone(struct xtr_mapcache *cache, const char *id);

/* cache_kept.c: a full pass of the open network, or of network 0, begins or ends; is the port
 * kept? */
void xtr_cache_begin_pass(struct xtr_net *net);
void xtr_cache_end_pass(struct xtr_mapcache *cache, uint32_t slot);
void xtr_cache_begin_zero(struct xtr_mapcache *cache);
void xtr_cache_end_zero(struct xtr_mapcache *cache);
bool xtr_cache_keeps_port(const struct xtr_net *net, uint32_t index);

#endif
