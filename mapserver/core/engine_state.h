/* What the files of the engine share: engine.c (steps and turns), engine_messages.c,
 * engine_snapshot.c and engine_members.c. */
#ifndef MS_ENGINE_STATE_H
#define MS_ENGINE_STATE_H

#include "core/engine.h"
#include "core/guard.h"
#include "core/tail.h"

#define MS_ENGINE_WHY 128

/* A message that waits for the end of the turn. */
struct letter {
    struct raft_message message;
    struct raft_entry *entries; /* of an AppendEntries; a reference to each payload */
};

struct peer {
    uint64_t id;
    uint64_t told; /* knows that all up to here is committed */
    bool is_offered;
    uint64_t offered; /* index of libraft's snapshot as it was offered last; 0: never */
};

struct ms_engine {
    struct ms_engine_config config;
    struct raft raft;
    struct ms_tail tail;
    uint64_t mark;     /* index of the last one */
    uint64_t handed;   /* applied up to here */
    uint64_t own_from; /* leader: index of the first entry of its own term; 0: none yet */
    uint64_t last_tick_ms;
    struct peer *peers;
    size_t n_peers;
    char why[MS_ENGINE_WHY];

    /* Of the turn. */
    uint64_t now_ms;
    struct letter *letters;
    size_t n_letters, room_letters;
    bool has_vote;     /* term or vote have changed */
    uint64_t truncate; /* entries from here on were replaced; 0: none */
    uint64_t dirty;    /* entries from here on are not written; 0: none */

    /* Of the step. */
    bool is_stale;       /* the message is of an older term */
    uint64_t asked_term; /* by a RequestVote */
    bool is_replaced;    /* libraft has given up its log for a snapshot */
};

/* libraft's queries take no const. */
static inline struct raft *ms_engine_raft(const struct ms_engine *engine)
{
    return (struct raft *)&engine->raft;
}

static inline bool ms_engine_has_rule(const struct ms_engine *engine, enum ms_guard_rule rule)
{
    return !(engine->config.guards_off & rule);
}

/* engine.c */

/* An error that ends everything, with its sentence for ms_engine_why(). */
int ms_engine_stop(struct ms_engine *engine, const char *what, const char *why);
struct peer *ms_engine_peer(struct ms_engine *engine, uint64_t id);

/* Time is the caller's, and does not go back here. */
void ms_engine_set_now(struct ms_engine *engine, uint64_t now_ms);

/* 0, < 0: stop; > 0: libraft's refusal of a SUBMIT or TRANSFER, nothing has happened. */
int ms_engine_step(struct ms_engine *engine, struct raft_event *event);
int ms_engine_submit(struct ms_engine *engine, enum raft_entry_type type,
                     struct ms_payload *payload);

/* engine_snapshot.c: libraft's form of a mark; its members are the caller's. */
int ms_engine_metadata(struct ms_engine *engine, const struct ms_mark *mark,
                       struct raft_snapshot_metadata *ret_metadata);

/* engine_messages.c */

/* Waits for the end of the turn. */
struct letter *ms_engine_post(struct ms_engine *engine, const struct raft_message *message);
void ms_engine_free_letter(struct letter *letter);

/* What libraft wants to send; an AppendEntries gets its entries. */
int ms_engine_take_message(struct ms_engine *engine, struct raft_message *message);
void ms_engine_send_posted(struct ms_engine *engine, bool is_entries_only);

/* A reference, from memory or from the disk. */
int ms_engine_payload(struct ms_engine *engine, uint64_t index, struct ms_payload **ret_payload);
void ms_engine_note_told(struct ms_engine *engine, const struct raft_message *message,
                         uint64_t last);

/* Leader: what was committed just now is news to the others. */
void ms_engine_tell_commit(struct ms_engine *engine);

#endif
