/* What to do with frames that the data plane does not know the way for: whom to ask for, what
 * to hold meanwhile, what is known already, and when to forget it.
 *
 * A target is one EID of one network.  It is asked for once, however many frames want it;
 * they are held until the answer stands in the data plane.  Both answers are kept: a port as
 * long as frames go to it, "nobody" for its TTL, with the range that it holds for.  Each is
 * watched by the caller, and xtr_resolver_answer() takes what is pushed too.
 *
 *   (none) --miss--> asking --answer--> found <--pushes--> nobody
 *                      |                  | idle              | TTL over, or too many
 *                      +--- no answer ----+-------------------+--> (none)
 *
 * Who causes misses pays: each local port has a token bucket, and bounds on what it may have
 * asked for, held and found.  A port that scans a network takes nothing from others.
 *
 * No I/O and no clock: the caller reports and is told.  Requests, watches and the map-cache are
 * the caller's (agent_misses.c). */
#ifndef XTR_RESOLVER_H
#define XTR_RESOLVER_H

#include "base/hash.h"
#include "base/list.h"
#include "eidmap/model.h"

#define XTR_HOLD_MS          3000         /* that a frame is held, and an answer waited for */
#define XTR_ASKING_MAX       1024         /* targets without an answer, in all ... */
#define XTR_ASKING_SOURCE    64           /* ... and by one port */
#define XTR_HELD_TARGET      8            /* frames for one target, in all ... */
#define XTR_HELD_SOURCE      3            /* ... and from one port */
#define XTR_HELD_BYTES       (4u << 20)   /* of frames, in all ... */
#define XTR_HELD_SOURCE_SIZE (128u << 10) /* ... and from one port */
#define XTR_NOBODY_MAX       1024         /* negative answers */
#define XTR_FOUND_MAX        14000 /* in all: a map server takes 16384 watches of a session */

struct xtr_resolver_limits {
    uint32_t rate;      /* misses a second that a port may cause; twice that in a burst */
    uint32_t max_found; /* of one network; half of it by one port */
    uint64_t idle_ms;   /* without a frame, after which a target is forgotten */
};

enum xtr_target_state { XTR_TARGET_ASKING, XTR_TARGET_FOUND, XTR_TARGET_NOBODY };

struct xtr_asker; /* a local port that causes misses */

struct xtr_held {
    struct em_list item;
    struct xtr_asker *source;
    size_t size;
    uint8_t bytes[];
};

struct xtr_target {
    struct xtr_resolver *resolver;
    struct em_list item;  /* of its state's list, in the order in which it came there */
    struct em_list ready; /* of the resolver's, while it is found and frames are held */
    uint32_t slot;
    uint32_t network_id;
    struct em_eid eid; /* a MAC or a host address */
    enum xtr_target_state state;
    struct em_port_id port;   /* found */
    uint8_t mac[EM_MAC_SIZE]; /* found: to answer with */
    struct em_eid covers;     /* nobody: a prefix that the answer holds for, or EM_EID_NONE */
    uint64_t due_ms;          /* asking, nobody: its end; UINT64_MAX: none */
    uint64_t revision;        /* of the answer */
    bool is_kept;             /* a negative answer of the map that is there now is not believed */
    uint64_t position;        /* the caller's: when this is reached, held frames can go */
    struct xtr_asker *source; /* that asked first; NULL: the data plane had it */
    struct em_list held;      /* struct xtr_held */
    unsigned n_held;
    int64_t request; /* the caller's: the watch; 0: none */
};

struct xtr_resolver_counts {
    uint64_t n_misses;   /* frames of local ports that the data plane knew no way for */
    uint64_t n_resolved; /* answers that named a port */
    uint64_t n_negative; /* answers that named none */
    uint64_t
        n_dropped;    /* frames of these given up: a bound was reached, or no answer came in time */
    uint64_t n_aged;  /* targets that were forgotten because no frame went there */
    uint32_t n_found; /* at present */
};

struct xtr_resolver {
    struct xtr_resolver_limits limits;
    struct xtr_resolver_counts counts;
    struct xtr_target **targets; /* NULL: a free slot */
    uint32_t n_targets, n_free;
    struct em_index by_eid, by_range, by_port;
    uint32_t n_ranges[2][129]; /* of each length, IPv4 and IPv6 */
    struct em_list asking, found, nobody, ready;
    uint32_t n_asking, n_nobody;
    size_t held_bytes;
    struct em_list sources;
};

void xtr_resolver_init(struct xtr_resolver *resolver, const struct xtr_resolver_limits *limits);
void xtr_resolver_fini(struct xtr_resolver *resolver);

enum xtr_miss {
    XTR_MISS_ASK,  /* held; the caller asks the map for *ret_target, and watches */
    XTR_MISS_HELD, /* held: asked already, or known and on its way */
    XTR_MISS_NONE, /* dropped: nobody has it */
    XTR_MISS_FULL, /* dropped: a bound was reached */
};

/* A frame from the local port 'source' for 'eid'. */
enum xtr_miss xtr_resolver_miss(struct xtr_resolver *resolver, const struct em_port_id *source,
                                uint32_t network_id, const struct em_eid *eid, const uint8_t *frame,
                                size_t size, uint64_t now_ms, struct xtr_target **ret_target);

/* An EID that the data plane knows from an earlier run: to be asked for, with no time limit.
 * NULL: it is a target already, or there is no room. */
struct xtr_target *xtr_resolver_adopt(struct xtr_resolver *resolver, uint32_t network_id,
                                      const struct em_eid *eid);

/* Is a found target's port this one? */
bool xtr_resolver_names(const struct xtr_resolver *resolver, uint32_t network_id,
                        const struct em_port_id *port);

/* What an answer means for the map-cache. */
struct xtr_outcome {
    bool is_found; /* the answer's port is to be put */
    bool has_gone; /* 'gone' is to be removed: no target names it any more */
    struct em_port_id gone;
};

/* The map's answer at 'revision', or a push.  False: it is older than the last one, or negative
 * for what is kept, and nothing happens.  A port whose prefix covers the EID does not have it: it
 * is no neighbour. */
bool xtr_resolver_answer(struct xtr_target *target, const struct em_answer *answer,
                         uint64_t revision, uint64_t now_ms, struct xtr_outcome *ret_outcome);

/* Forgets the target with what is held for it.  True: *ret_gone is as in an outcome. */
bool xtr_resolver_drop(struct xtr_target *target, struct em_port_id *ret_gone);

/* The next target whose time is over, or of which there are too many, for the caller to drop;
 * NULL: none. */
struct xtr_target *xtr_resolver_next_expired(struct xtr_resolver *resolver, uint64_t now_ms);

/* The next found target to look at whether frames go there; each comes once a turn.  NULL: there
 * is none. */
struct xtr_target *xtr_resolver_next_found(struct xtr_resolver *resolver);

/* The first frame that can go, since the data plane is at 'position', taken out for the caller
 * to free; NULL: none. */
struct xtr_held *xtr_resolver_take_held(struct xtr_resolver *resolver, uint64_t position,
                                        const struct xtr_target **ret_target);

/* Forgets ports that have been quiet long enough for a full bucket. */
void xtr_resolver_tidy(struct xtr_resolver *resolver, uint64_t now_ms);

/* Another database has other revisions.  Not 'is_believed': what was known before, found or
 * adopted, is kept until it names a port. */
void xtr_resolver_restart(struct xtr_resolver *resolver, bool is_believed);

#endif
