/* What the files of front/ share: the front itself. */
#ifndef MS_CONTEXT_H
#define MS_CONTEXT_H

#include "front/front.h"

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>

struct em_listener;
struct ms_lease;

struct ms_front {
    struct ev_loop *loop;
    struct ms_front_config config; /* what may change is read on the main thread only; for
                                    * the others there are the atomic copies below */
    struct ms_store *store;
    struct ms_core *core;
    struct ms_registry *registry;
    void (*on_fatal)(int err, const char *why);
    void (*on_restart)(void);
    uint64_t started_ms; /* since 1970 */
    _Atomic uint64_t revision;
    _Atomic uint32_t lease_ms;
    _Atomic uint64_t refresh_ms; /* how often a quiet feed's position is told (pump.c) */
    atomic_uint max_connections;
    atomic_uint max_handshakes;
    atomic_uint n_connections;
    atomic_uint n_handshakes;
    _Atomic int64_t tls_not_after; /* seconds since 1970; 0: no TLS */
    struct ms_worker **workers;
    unsigned n_workers;

    /* Main loop only. */
    struct em_tls *tls;
    struct em_listener **listeners;
    size_t n_listeners;
    unsigned next_worker;
    ev_async wake; /* a handshake or connection has ended while accepting was paused */
    ev_timer tick;
    atomic_bool is_leaderless; /* for some time already */
    struct ms_copies *copies;
    struct ms_keeper *keeper; /* leases and tombstones: keeper.c */
};

/* Any thread: a handshake (or a whole connection) is over. */
void ms_front_handshake_done(struct ms_front *front);
void ms_front_connection_done(struct ms_front *front);

/* A worker's thread: the node has said Hello or sent a heartbeat.  'lease_ms' is the lease
 * that it was told. */
void ms_front_node_heard(struct ms_front *front, const char *node_id, uint32_t lease_ms);

/* Any thread: ends the node's live session, if it has one, so that its agent comes back. */
void ms_front_close_node(struct ms_front *front, const char *node_id);

/* Sentences about what an operator should mend; the caller frees each and the array. */
size_t ms_front_problems(struct ms_front *front, const struct ms_stats *stats,
                         const struct ms_core_status *core, char ***ret_problems);

#endif
