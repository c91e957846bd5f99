/* One replica's part in the consensus: libraft, driven step by step behind the guard.
 *
 * No clock, disk or network of its own: time is a parameter, the rest are the calls of
 * ms_engine_io, so that a simulator runs thousands of clusters and the map server runs the
 * same code.  Events are fed in by the functions below; ms_engine_flush() ends a turn:
 *
 *   1. a leader of several voters sends its new entries (others are writing them while it
 *      writes them itself)
 *   2. term, vote and entries of the whole turn go to the disk, in one transaction
 *   3. all other messages are sent: nothing that promises something leaves before 2
 *   4. libraft is told what is durable; what is committed now is handed to the applier
 *
 * Threads: one at a time. */
#ifndef MS_ENGINE_H
#define MS_ENGINE_H

#include "core/entry.h"

struct ms_engine;

struct ms_engine_io {
    /* Durable when it returns.  Anything but 0: the process must not go on. */
    int (*write)(void *aux, const struct ms_log_write *write);
    /* Payload of an entry that is in the log but not in memory any more; a reference. */
    int (*read)(void *aux, uint64_t index, struct ms_payload **ret_payload);
    /* To another replica, in order; may be lost.  The buffers of entries are payloads, lent
     * for the call. */
    void (*send)(void *aux, uint64_t replica, const struct raft_message *message);
    /* A write comes: what was sent should be on its way before. */
    void (*flush)(void *aux);
    /* Committed and durable here, each entry once and in order; lent. */
    void (*apply)(void *aux, uint64_t index, const struct ms_entry *entry);
    /* The log does not reach back to what this replica needs: offer it the state. */
    void (*offer)(void *aux, uint64_t replica, uint64_t index, uint64_t term);
    /* The log has been replaced by this mark (written already): the state that was given to
     * ms_engine_install() becomes the state. */
    int (*install)(void *aux, const struct ms_mark *mark, uint64_t generation);
};

struct ms_engine_config {
    uint64_t id;           /* of this replica, not 0 */
    unsigned election_ms;  /* a follower waits one to two of them */
    unsigned heartbeat_ms; /* much less */
    unsigned max_inflight; /* entries that a replica may have unacknowledged */
    unsigned trailing;     /* entries that compaction leaves, more than max_inflight */
    size_t trailing_size;  /* bytes; more are left while they are fewer, fewer if they are more */
    size_t memory_size;    /* bytes of payloads that are kept in memory */
    size_t message_size;   /* bytes of entries in one message */
    unsigned seed;         /* for election timeouts */
    unsigned guards_off;   /* enum ms_guard_rule: for the tests of the guard alone */
    const struct ms_engine_io *io;
    void *aux;
};

/* What the log on the disk holds. */
struct ms_engine_start {
    uint64_t term, voted_for;
    const struct ms_mark *mark; /* NULL: nothing, waits to be added to a cluster */
    uint64_t first;             /* index of entries[0] */
    struct ms_entry *entries;   /* payloads: RAFT_CHANGE must have it, others may */
    size_t n_entries;
};

/* 0, EM_E_STORAGE: what was loaded cannot be; or what a write said.  The payloads stay the
 * caller's. */
int ms_engine_new(const struct ms_engine_config *config, uint64_t now_ms,
                  const struct ms_engine_start *start, struct ms_engine **ret_engine);
void ms_engine_free(struct ms_engine *engine);

/* Events.  Each returns 0, or an error after which the process must stop: it would be
 * unsafe to go on; ms_engine_why() has a sentence. */

/* Time passes: call it at ms_engine_due_ms() or later. */
int ms_engine_tick(struct ms_engine *engine, uint64_t now_ms);

/* 'from': as the connection knows it.  Takes the payloads of the entries. */
int ms_engine_receive(struct ms_engine *engine, uint64_t now_ms, uint64_t from,
                      struct raft_message *message);

/* Proposes one entry; takes the reference.  *ret_index: where it will stand, 0: not the
 * leader, or leadership is being given away. */
int ms_engine_propose(struct ms_engine *engine, uint64_t now_ms, struct ms_payload *payload_take,
                      uint64_t *ret_index);

/* The end of a turn; see above. */
int ms_engine_flush(struct ms_engine *engine, uint64_t now_ms);

/* The state is durable up to this mark: the log may be shortened.  Does so when it is worth
 * it. */
int ms_engine_compact(struct ms_engine *engine, uint64_t now_ms, const struct ms_mark *mark);

/* A whole state was received, and lies on the disk under this generation.  *ret_done false:
 * it is of no use (no leader is known, or the log has all of it already). */
int ms_engine_install(struct ms_engine *engine, uint64_t now_ms, const struct ms_mark *mark,
                      uint64_t generation, bool *ret_done);

/* An offer is over, whatever has come of it: it will be made again if need be.  Without this
 * call it is not, also when the state was put in place: it may have come too late. */
void ms_engine_offer_ended(struct ms_engine *engine, uint64_t replica);

/* The leader's process is known to be gone: need not wait for the election timeout. */
void ms_engine_leader_lost(struct ms_engine *engine, uint64_t now_ms, uint64_t replica);

/* Changes of the members, on the leader; one at a time.  0 with *ret_index, or *ret_err
 * (EM_E_NOT_LEADER, EM_E_BUSY: try again soon, EM_E_EXISTS, EM_E_NOT_FOUND, EM_E_DENIED: the
 * guard forbids it) and *ret_why a sentence in static storage. */
enum ms_engine_change { MS_ADD, MS_PROMOTE, MS_DEMOTE, MS_REMOVE };
int ms_engine_change(struct ms_engine *engine, uint64_t now_ms, enum ms_engine_change change,
                     uint64_t replica, const char *address, uint64_t *ret_index, int *ret_err,
                     const char **ret_why);

/* Gives leadership away; 'replica' 0: to the best.  *ret_err as above. */
int ms_engine_transfer(struct ms_engine *engine, uint64_t now_ms, uint64_t replica, int *ret_err);

/* What it knows. */
uint64_t ms_engine_due_ms(const struct ms_engine *engine);
bool ms_engine_is_leader(const struct ms_engine *engine);
/* Leader, and an entry of its own term is committed: reads by index are right now. */
bool ms_engine_is_ready(const struct ms_engine *engine);
uint64_t ms_engine_leader(const struct ms_engine *engine); /* 0: none known */
uint64_t ms_engine_term(const struct ms_engine *engine);
uint64_t ms_engine_commit_index(const struct ms_engine *engine);
uint64_t ms_engine_last_index(const struct ms_engine *engine);
uint64_t ms_engine_first_index(const struct ms_engine *engine);             /* of the log */
uint64_t ms_engine_match(const struct ms_engine *engine, uint64_t replica); /* leader; or 0 */
const char *ms_engine_state_name(const struct ms_engine *engine);
bool ms_engine_is_transferring(const struct ms_engine *engine);
unsigned ms_engine_n_voters(const struct ms_engine *engine);
const char *ms_engine_why(const struct ms_engine *engine);

/* The newest configuration, committed or not; lent until the next event. */
const struct raft_configuration *ms_engine_members(const struct ms_engine *engine);

#endif
