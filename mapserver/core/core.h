/* The one way into the map: commands in, committed results out.
 *
 * Behind it the map servers agree on one log of commands (Raft).  Everything that waits, on
 * this server and on those that forward to it when it leads, goes into one entry of the log;
 * while that is being made durable by a majority the next one collects, so one fsync serves
 * many and no timer is needed.  While there are many, one that would be smaller than the last
 * collects until that is in the map, too.  One machine is a cluster of one on the same path.
 *
 *   front --propose--> proposals --own or forwarded--> leader's log --committed--> applier --+
 *     ^                                                                                      |
 *     +------------------------------ result, when this server's map has it -----------------+
 *
 * Nobody else knows of Raft: what is in this header is all that callers see. */
#ifndef MS_CORE_H
#define MS_CORE_H

#include "state/apply.h"

struct em_tls;
struct ms_core;
struct ms_log;
struct ms_log_state;

/* Once for each accepted proposal, on a thread of the core: the map of this server has the
 * command (or will never have it: 'err').  Everything in 'result' is lent for the call. */
typedef void ms_core_done_fn(void *aux, const struct ms_result *result);

/* On a thread of the core.  'message': a sentence, with 'err'; lent. */
typedef void ms_core_answer_fn(void *aux, int err, const char *message);

/* All on a thread of the core. */
struct ms_core_events {
    /* The map has changed and readers see it.  Before the done calls of the same batch.
     * 'networks': whose feeds have grown, 0 too. */
    void (*on_commit)(void *aux, uint64_t revision, const uint32_t *networks, size_t n);
    /* After the done calls of the same batch.  NULL: nobody wants to know. */
    void (*on_settled)(void *aux);
    /* The map was replaced by a later one: anything may have changed.  After the done calls of
     * what will never be answered otherwise. */
    void (*on_replaced)(void *aux);
    /* This server has become the leader, or is it no longer. */
    void (*on_lead)(void *aux, bool is_leader);
    /* On the leader: another server has heard of this node. */
    void (*on_heard)(void *aux, const char *node_id, uint32_t lease_ms);
    /* The process must stop; 'why' is a sentence. */
    void (*on_fatal)(void *aux, int err, const char *why);
};

struct ms_core_config {
    struct ms_store *store;
    struct ms_log *log;               /* both open; they must outlive the core */
    const struct ms_log_state *state; /* lent for the call of ms_core_start() */
    const char *dir;                  /* strings are lent while the core lives */
    const char *server_id;
    const char *peers_listen;    /* "tls://...", or NULL: no other server can join */
    const char *peers_advertise; /* how others reach that; NULL: as it listens */
    const char *const *servers;  /* where clients reach this server */
    size_t n_servers;
    struct em_tls *tls;                      /* needed with peers_listen */
    const char *tls_ca, *tls_cert, *tls_key; /* the same, as files */
    uint32_t election_ms;                    /* 0: 500 */
    uint64_t map_size, disk_reserve;         /* of a map that is received */
    size_t max_waiting;                      /* commands, 0: 16384 */
    size_t max_waiting_bytes;                /* 0: 64 MiB */
    unsigned trailing;     /* entries of the log that stay behind the map, 0: 2048 */
    size_t trailing_bytes; /* more stay while they are fewer, 0: 24 MiB */
    unsigned sync_entries; /* the map is made durable after so many, 0: 1024 */
};

/* 'state' is of a log that belongs to a cluster already, or its mark was just made.  0, or an
 * error with a sentence (free() it). */
int ms_core_start(const struct ms_core_config *config, const struct ms_core_events *events,
                  void *aux, struct ms_core **ret_core, char **ret_why);

/* A leader gives leadership away first.  Applies what is committed, answers every proposal,
 * ends the threads and frees.  Nobody may call anything during or after it.  NULL is fine. */
void ms_core_stop(struct ms_core *core);

/* Any thread.  Takes the packed Command (malloc'ed), also when it fails.  'is_growing': as
 * ms_apply_is_growing() says.  EM_E_BUSY: too much waits already; EM_E_LIMIT: too large;
 * EM_E_NO_SPACE, with a sentence in static storage.  'done' may be NULL. */
int ms_core_propose(struct ms_core *core, uint8_t *bytes_take, size_t size, bool is_growing,
                    ms_core_done_fn *done, void *aux, const char **ret_why);

/* The same, for many at once: the core looks at them when it is woken after the last. */
int ms_core_submit(struct ms_core *core, uint8_t *bytes_take, size_t size, bool is_growing,
                   ms_core_done_fn *done, void *aux, const char **ret_why);
void ms_core_wake(struct ms_core *core);

/* Any thread.  Answered when the map of this server holds everything that was committed
 * anywhere before the call: what is read then is linearisable.  Costs a round among the
 * servers, shared by all who ask at the same time, and no disk write.  EM_E_BUSY: no leader
 * in time. */
void ms_core_read(struct ms_core *core, ms_core_answer_fn *answer, void *aux);

/* Any thread: asks the leader, wherever it is, to change the members. */
enum ms_member_change {
    MS_MEMBER_ADD,
    MS_MEMBER_PROMOTE,
    MS_MEMBER_DEMOTE,
    MS_MEMBER_REMOVE,
    MS_MEMBER_TRANSFER,
};
void ms_core_change_member(struct ms_core *core, enum ms_member_change change, const char *name,
                           const char *address, ms_core_answer_fn *answer, void *aux);

/* Any thread: a session here has heard of a node; the leader keeps the leases. */
void ms_core_heard(struct ms_core *core, const char *node_id, uint32_t lease_ms);

/* Any thread: connections to and from other servers that begin from now on use this context; a
 * reference is taken. */
void ms_core_set_tls(struct ms_core *core, struct em_tls *tls);

/* Any thread: is all in the map that was in the log at the start, as far as it holds?  After a
 * crash it is not at once, and without a majority nobody knows how far. */
bool ms_core_has_caught_up(const struct ms_core *core);

/* Any thread: clients are served here, and wait for the map; else it may lag some milliseconds
 * behind the log, which costs the disk less. */
void ms_core_set_serving(struct ms_core *core, bool is_serving);

/* As the servers see each other. */
struct ms_member_status {
    uint64_t replica;
    char *name, *address, *software;
    Eidmap__MemberRole role;
    bool is_leader, is_self, is_connected, is_installing;
    uint64_t match, applied, revision, heard_ms;
    const char *why; /* it is reached, and not taken for this member; static storage, or NULL */
    char **servers;  /* where it serves clients, as it said */
    size_t n_servers;
};

struct ms_core_status {
    const char *raft_role;
    uint64_t term, commit, applied, last_index, log_size;
    char *leader; /* name; "": none */
    uint64_t no_leader_ms;
    struct ms_member_status *members;
    size_t n_members;
};

/* Any thread; a few hundred milliseconds old at most.  To be freed with _fini. */
void ms_core_status(struct ms_core *core, struct ms_core_status *ret_status);
void ms_core_status_fini(struct ms_core_status *status);

/* Any thread. */
bool ms_core_is_leader(struct ms_core *core);
uint64_t ms_core_no_leader_ms(struct ms_core *core); /* for so long; 0: there is one */
uint64_t ms_core_applied(struct ms_core *core);

/* Any thread: true when the core has nothing to do, or has done something since the last
 * call.  False twice in a row, some seconds apart, means that it hangs. */
bool ms_core_is_alive(struct ms_core *core);

#endif
