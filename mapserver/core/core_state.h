/* What the files of the core's thread share: core.c, members.c, fetch.c, status.c. */
#ifndef MS_CORE_STATE_H
#define MS_CORE_STATE_H

#include "base/mem.h"
#include "core/applier.h"
#include "core/batcher.h"
#include "core/core.h"
#include "core/engine.h"
#include "core/log.h"
#include "core/peers.h"
#include "core/proposals.h"
#include "core/reads.h"
#include "net/tls.h"
#include "state/identity.h"

#include <ev.h>
#include <pthread.h>

struct ms_changes;
struct ms_fetch;

struct ms_core {
    struct ms_core_config config;
    struct ms_core_events events;
    void *aux;
    pthread_t thread;
    uint64_t replica;
    struct ms_applier *applier;
    struct ms_proposals *proposals;
    struct ms_reads *reads;

    /* Any thread. */
    atomic_bool is_leader, is_stopping, is_broken, is_probed;
    atomic_bool has_no_room, leader_has_no_room;
    atomic_bool is_serving;   /* clients are here */
    atomic_bool is_awaited;   /* somebody waits for the map to reach an index */
    atomic_bool is_gathering; /* the next entry waits until the last one is in the map */
    atomic_bool has_caught_up;
    _Atomic uint64_t applied, revision, room_checked_ms;
    _Atomic uint64_t no_leader_since_ms; /* 0: there is one */
    uint64_t n_done_seen;                /* the watchdog's */
    ev_async wake;
    pthread_mutex_t lock;   /* for the four below and the status */
    struct em_tls *new_tls; /* to be taken into use, or NULL */
    struct ms_mark *synced; /* answer to a sync that nobody has seen yet, or NULL */
    Eidmap__Heard *heard;   /* since the last report; node_id is ours */
    size_t n_heard, room_heard;
    struct ms_core_status status;

    /* The core's thread. */
    struct ev_loop *loop;
    struct em_net *net;
    ev_prepare turn;
    ev_timer timer; /* the engine's */
    ev_timer tick;
    struct ms_engine *engine;
    struct ms_peers *peers;
    struct ms_batcher batcher;
    struct em_arena arena; /* of a command that is looked at */
    struct ms_changes *changes;
    struct ms_fetch *fetch;
    uint64_t sent_leader, sent_term; /* whom proposals were sent to */
    uint64_t n_ticks;
    uint64_t first_last;           /* index of the log's last entry when all began */
    uint64_t sync_from, synced_ms; /* index at which the last sync was asked for, and when */
    bool is_lazy;                  /* the applier was told so */
    bool is_holding;               /* nothing new is proposed: a member is about to be promoted */
    uint64_t holding_until_ms;
    uint8_t cluster_id[MS_CLUSTER_ID_SIZE];
    uint64_t recovery;
    uint64_t generation;
    uint64_t incarnation;
};

/* The process must stop. */
void ms_core_fail(struct ms_core *core, int err, const char *why);

/* "NAME ADDRESS" of libraft's configuration. */
void ms_core_split_address(const char *both, char *name, size_t name_size, const char **address);

/* upkeep.c: twenty times a second; and when the members have changed. */
void ms_core_upkeep(struct ms_core *core);
void ms_core_keep_peers(struct ms_core *core);

/* Does the server take in a map, as it has said lately? */
bool ms_core_is_installing(const struct ms_peer_info *info, uint64_t now_ms);

/* status.c: what other threads are shown, made anew. */
void ms_core_publish(struct ms_core *core);
/* Has the server said something lately?  'info' may be NULL. */
bool ms_core_is_heard(const struct ms_peer_info *info, uint64_t now_ms);

/* members.c: changes of the members that are under way. */
struct ms_changes *ms_changes_new(struct ms_core *core);
void ms_changes_free(struct ms_changes *changes);
void ms_changes_run(struct ms_changes *changes, uint64_t now_ms);
bool ms_changes_is_idle(const struct ms_changes *changes);
void ms_changes_on_forward(struct ms_changes *changes, uint64_t replica,
                           const Eidmap__ForwardChange *msg);
void ms_changes_on_reply(struct ms_changes *changes, const Eidmap__ForwardChangeReply *msg);

/* fetch.c: the map of another server, when the log does not reach back far enough. */
struct ms_fetch *ms_fetch_new(struct ms_core *core);
void ms_fetch_free(struct ms_fetch *fetch);
void ms_fetch_begin(struct ms_fetch *fetch, const Eidmap__SnapshotOffer *offer);
bool ms_fetch_is_busy(const struct ms_fetch *fetch);
/* Every turn: installs what is complete. */
void ms_fetch_run(struct ms_fetch *fetch);

#endif
