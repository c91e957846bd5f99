#include "core/engine.h"

#include "base/mem.h"
#include "core/guard.h"
#include "core/tail.h"
#include "eidmap/error.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Header and library are of one build, without the old interface: the structure differs. */
_Static_assert(sizeof(struct raft) == 432, "raft.h is not of a libraft that deploy/raft built");

#define WHY_SIZE        128
#define TRAILING_FACTOR 16 /* small entries: compaction leaves so many times 'trailing' at most */

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
    char why[WHY_SIZE];

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
static struct raft *raft_of(const struct ms_engine *engine)
{
    return (struct raft *)&engine->raft;
}

static bool is_on(const struct ms_engine *engine, enum ms_guard_rule rule)
{
    return !(engine->config.guards_off & rule);
}

static int stop(struct ms_engine *engine, const char *what, const char *why)
{
    snprintf(engine->why, sizeof(engine->why), "%s: %s", what, why);
    return EM_E_INTERNAL;
}

static struct peer *peer_of(struct ms_engine *engine, uint64_t id)
{
    for (size_t i = 0; i < engine->n_peers; i++)
        if (engine->peers[i].id == id)
            return &engine->peers[i];
    engine->peers = em_realloc(engine->peers, (engine->n_peers + 1) * sizeof(*engine->peers));
    engine->peers[engine->n_peers] = (struct peer){.id = id};
    return &engine->peers[engine->n_peers++];
}

/* ---- messages ----------------------------------------------------------------------- */

static struct letter *add_letter(struct ms_engine *engine, const struct raft_message *message)
{
    if (engine->n_letters == engine->room_letters) {
        engine->room_letters = engine->room_letters ? engine->room_letters * 2 : 16;
        engine->letters =
            em_realloc(engine->letters, engine->room_letters * sizeof(*engine->letters));
    }
    struct letter *letter = &engine->letters[engine->n_letters++];
    *letter = (struct letter){.message = *message};
    letter->message.server_address = NULL; /* is libraft's, and soon gone */
    return letter;
}

static void free_letter(struct letter *letter)
{
    for (unsigned i = 0; letter->entries && i < letter->message.append_entries.n_entries; i++)
        ms_payload_unref(ms_payload_of(&letter->entries[i].buf));
    free(letter->entries);
}

/* A reference, from memory or from the disk. */
static int payload_at(struct ms_engine *engine, uint64_t index, struct ms_payload **ret_payload)
{
    const struct ms_slot *slot = ms_tail_at(&engine->tail, index);
    assert(slot);
    if (slot->payload) {
        *ret_payload = ms_payload_ref(slot->payload);
        return 0;
    }
    if (engine->config.io->read(engine->config.aux, index, ret_payload))
        return stop(engine, "log", "an entry cannot be read from the disk");
    return 0;
}

/* One message with the entries behind 'prev', as many as fit.  Returns how many, or < 0. */
static int add_piece(struct ms_engine *engine, const struct raft_message *message, uint64_t prev,
                     unsigned n)
{
    struct letter *letter = add_letter(engine, message);
    struct raft_append_entries *msg = &letter->message.append_entries;
    size_t size = 0;
    letter->entries = n ? em_calloc(n, sizeof(*letter->entries)) : NULL;
    msg->entries = letter->entries;
    msg->n_entries = 0;
    if (prev != msg->prev_log_index) {
        msg->prev_log_index = prev;
        msg->prev_log_term = ms_tail_at(&engine->tail, prev)->term;
    }
    while (msg->n_entries < n) {
        uint64_t index = prev + 1 + msg->n_entries;
        const struct ms_slot *slot = ms_tail_at(&engine->tail, index);
        struct ms_payload *payload;
        int r = payload_at(engine, index, &payload);
        if (r)
            return r;
        size += payload->size;
        if (msg->n_entries > 0 && size > engine->config.message_size) {
            ms_payload_unref(payload);
            break;
        }
        letter->entries[msg->n_entries++] = (struct raft_entry){
            .term = slot->term, .type = slot->type, .buf = {payload->data, payload->size}};
    }
    return (int)msg->n_entries;
}

static void note_told(struct ms_engine *engine, const struct raft_message *message, uint64_t last)
{
    uint64_t commit = message->append_entries.leader_commit;
    struct peer *peer = peer_of(engine, message->server_id);
    if (peer->told < commit && peer->told < last)
        peer->told = commit < last ? commit : last;
}

/* libraft counts the entries, the log has them; they may need several messages. */
static int add_entries(struct ms_engine *engine, const struct raft_message *message)
{
    uint64_t prev = message->append_entries.prev_log_index;
    unsigned left = message->append_entries.n_entries;
    do {
        int n = add_piece(engine, message, prev, left);
        if (n < 0)
            return n;
        prev += (unsigned)n;
        left -= (unsigned)n;
    } while (left > 0);
    note_told(engine, message, prev);
    return 0;
}

static void offer(struct ms_engine *engine, uint64_t replica)
{
    peer_of(engine, replica)->is_offered = true;
    engine->config.io->offer(engine->config.aux, replica, engine->raft.trail.snapshot.index,
                             engine->raft.trail.snapshot.term);
}

/* libraft's own. */
static void take_snapshot(struct ms_engine *engine, const struct raft_message *message)
{
    assert(message->install_snapshot.last_index == engine->raft.trail.snapshot.index);
    peer_of(engine, message->server_id)->offered = message->install_snapshot.last_index;
    offer(engine, message->server_id);
}

/* A founder's log begins behind a mark at 1, which libraft takes for an entry: it would tell
 * one that has nothing to append nothing to it, for ever. */
static int take_append(struct ms_engine *engine, const struct raft_message *message)
{
    if (is_on(engine, MS_GUARD_OFFER) && message->append_entries.prev_log_index == 0 &&
        !peer_of(engine, message->server_id)->is_offered)
        offer(engine, message->server_id);
    return add_entries(engine, message);
}

static int take_message(struct ms_engine *engine, struct raft_message *message)
{
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        return take_append(engine, message);
    case RAFT_INSTALL_SNAPSHOT:
        take_snapshot(engine, message);
        return 0;
    case RAFT_APPEND_ENTRIES_RESULT:
        if (engine->is_stale && is_on(engine, MS_GUARD_STALE_REPLY))
            ms_guard_mend_reply(message);
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        if (is_on(engine, MS_GUARD_PRE_VOTE_TERM))
            ms_guard_mend_pre_vote(&engine->raft, engine->asked_term, message);
        break;
    case RAFT_REQUEST_VOTE:
    case RAFT_TIMEOUT_NOW:
        break;
    }
    add_letter(engine, message);
    return 0;
}

static void send_letters(struct ms_engine *engine, bool is_entries_only)
{
    size_t n_left = 0;
    for (size_t i = 0; i < engine->n_letters; i++) {
        struct letter *letter = &engine->letters[i];
        if (is_entries_only && letter->message.type != RAFT_APPEND_ENTRIES) {
            engine->letters[n_left++] = *letter;
            continue;
        }
        engine->config.io->send(engine->config.aux, letter->message.server_id, &letter->message);
        free_letter(letter);
    }
    engine->n_letters = n_left;
}

/* ---- steps -------------------------------------------------------------------------- */

static void take_entries(struct ms_engine *engine, const struct raft_update *update)
{
    struct raft_entry *entries = update->entries.batch;
    uint64_t index = update->entries.index;
    assert(index >= engine->tail.first && index <= ms_tail_next(&engine->tail));
    if (index < ms_tail_next(&engine->tail)) {
        ms_tail_truncate(&engine->tail, index);
        if (!engine->truncate || index < engine->truncate)
            engine->truncate = index;
    }
    if (!engine->dirty || index < engine->dirty)
        engine->dirty = index;
    for (unsigned i = 0; i < update->entries.n; i++) {
        struct ms_entry entry = {entries[i].term, entries[i].type, NULL};
        bool is_empty = entry.type == RAFT_BARRIER; /* its bytes mean nothing */
        entry.payload = is_empty ? ms_payload_new(NULL, 0) : ms_payload_of(&entries[i].buf);
        ms_tail_append(&engine->tail, &entry);
        if (is_empty)
            ms_payload_unref(entry.payload);
    }
    raft_free(entries[0].batch);
}

static int step(struct ms_engine *engine, struct raft_event *event);

static int submit(struct ms_engine *engine, enum raft_entry_type type, struct ms_payload *payload)
{
    struct raft_entry entry = {.term = raft_current_term(&engine->raft),
                               .type = type,
                               .buf = {payload->data, payload->size},
                               .batch = raft_malloc(1)};
    struct raft_event event = {.type = RAFT_SUBMIT, .submit = {&entry, 1}};
    int r = step(engine, &event);
    if (r > 0)
        raft_free(entry.batch);
    return r;
}

/* A new leader: its term must have an entry, or nothing of earlier terms is ever known to be
 * committed, a change of the members would be unsafe (Ongaro, raft-dev, 10 July 2015), and so
 * would a read by index.  libraft adds one only when its log runs past its commit index. */
static int begin_term(struct ms_engine *engine, const struct raft_update *update)
{
    engine->own_from = 0;
    for (size_t i = 0; i < engine->n_peers; i++)
        engine->peers[i] = (struct peer){.id = engine->peers[i].id};
    if (update->flags & (RAFT_UPDATE_ENTRIES)) {
        engine->own_from = update->entries.index;
        return 0;
    }
    if (!is_on(engine, MS_GUARD_BARRIER))
        return 0;
    struct ms_payload *nothing = ms_payload_new(NULL, 0);
    uint64_t index = ms_tail_next(&engine->tail);
    int r = submit(engine, RAFT_BARRIER, nothing);
    ms_payload_unref(nothing);
    if (r)
        return stop(engine, "consensus", "a new leader cannot begin its term");
    engine->own_from = index;
    return 0;
}

static int take(struct ms_engine *engine, struct raft_update *update, bool was_leader)
{
    int r = 0;
    if (update->flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR))
        engine->has_vote = true;
    if (update->flags & (RAFT_UPDATE_ENTRIES))
        take_entries(engine, update);
    if (update->flags & (RAFT_UPDATE_SNAPSHOT)) {
        raft_configuration_close(&update->snapshot.metadata.configuration);
        raft_free(update->snapshot.chunk.base);
        engine->is_replaced = true;
    }
    for (unsigned i = 0; i < update->messages.n && r == 0; i++)
        r = take_message(engine, &update->messages.batch[i]);
    bool is_leader = raft_state(&engine->raft) == RAFT_LEADER;
    if (!is_leader)
        engine->own_from = 0;
    if (r == 0 && is_leader && !was_leader)
        r = begin_term(engine, update);
    return r;
}

/* 0, < 0: stop; > 0: libraft's refusal of a SUBMIT or TRANSFER, nothing has happened. */
static int step(struct ms_engine *engine, struct raft_event *event)
{
    struct raft_update update = {0};
    bool was_leader = event->type != RAFT_START && raft_state(&engine->raft) == RAFT_LEADER;
    event->time = engine->now_ms;
    event->capacity = UINT16_MAX;
    int rv = raft_step(&engine->raft, event, &update);
    if (rv && (event->type == RAFT_SUBMIT || event->type == RAFT_TRANSFER))
        return rv;
    if (rv)
        return stop(engine, "consensus", raft_strerror(rv));
    return take(engine, &update, was_leader);
}

/* Time is the caller's, and must not go back. */
static void set_now(struct ms_engine *engine, uint64_t now_ms)
{
    if (engine->now_ms < now_ms)
        engine->now_ms = now_ms;
}

/* ---- the end of a turn --------------------------------------------------------------- */

static int write_turn(struct ms_engine *engine)
{
    struct ms_log_write write = {
        .has_vote = engine->has_vote,
        .term = raft_current_term(&engine->raft),
        .voted_for = raft_voted_for(&engine->raft),
        .truncate = engine->truncate,
        .first = engine->dirty,
    };
    struct ms_entry *entries = NULL;
    if (engine->dirty) {
        write.n_entries = ms_tail_next(&engine->tail) - engine->dirty;
        entries = em_calloc(write.n_entries, sizeof(*entries));
        for (size_t i = 0; i < write.n_entries; i++) {
            const struct ms_slot *slot = ms_tail_at(&engine->tail, engine->dirty + i);
            entries[i] = (struct ms_entry){slot->term, slot->type, slot->payload};
        }
        write.entries = entries;
    }
    int r = engine->config.io->write(engine->config.aux, &write);
    free(entries);
    if (r)
        return stop(engine, "log", em_strerror(r));
    engine->has_vote = false;
    engine->truncate = 0;
    return 0;
}

static int persist(struct ms_engine *engine)
{
    if (!engine->has_vote && !engine->truncate && !engine->dirty)
        return 0;
    bool may_overlap = is_on(engine, MS_GUARD_WRITE_FIRST)
                           ? ms_guard_may_overlap(&engine->raft)
                           : raft_state(&engine->raft) == RAFT_LEADER;
    if (may_overlap && !engine->has_vote && !engine->truncate) {
        send_letters(engine, true);
        engine->config.io->flush(engine->config.aux);
    }
    int r = write_turn(engine);
    if (r || !engine->dirty)
        return r;
    struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES,
                               .persisted_entries = {ms_tail_next(&engine->tail) - 1}};
    engine->dirty = 0;
    if (event.persisted_entries.index <= engine->raft.last_stored)
        return 0;
    return step(engine, &event);
}

/* A change of the members holds when it is written; that it is committed libraft is told. */
static int confirm_members(struct ms_engine *engine, uint64_t index,
                           const struct ms_payload *payload)
{
    struct raft_event event = {.type = RAFT_CONFIGURATION, .configuration = {.index = index}};
    const struct raft_buffer buf = {(void *)payload->data, payload->size};
    if (raft_configuration_decode(&buf, &event.configuration.conf))
        return stop(engine, "log", "the entry that names the members is damaged");
    return step(engine, &event);
}

static uint64_t appliable(const struct ms_engine *engine)
{
    return is_on(engine, MS_GUARD_DURABLE) ? ms_guard_appliable(&engine->raft)
                                           : raft_commit_index(&engine->raft);
}

static int hand_over(struct ms_engine *engine)
{
    int r = 0;
    while (r == 0 && engine->handed < appliable(engine)) {
        uint64_t index = engine->handed + 1;
        const struct ms_slot *slot = ms_tail_at(&engine->tail, index);
        struct ms_entry entry = {slot->term, slot->type, NULL};
        r = payload_at(engine, index, &entry.payload);
        if (r)
            break;
        if (entry.type == RAFT_CHANGE)
            r = confirm_members(engine, index, entry.payload);
        if (r == 0)
            engine->config.io->apply(engine->config.aux, index, &entry);
        ms_payload_unref(entry.payload);
        engine->handed = index;
    }
    ms_tail_evict(&engine->tail, engine->handed, engine->config.memory_size);
    return r;
}

/* What was committed just now is news to the others, who may have clients that wait for it;
 * the next heartbeat would be late. */
static void tell_commit(struct ms_engine *engine)
{
    const struct raft_configuration *members = &engine->raft.configuration;
    uint64_t commit = raft_commit_index(&engine->raft);
    if (raft_state(&engine->raft) != RAFT_LEADER)
        return;
    for (unsigned i = 0; i < members->n; i++) {
        struct raft_message message = {.type = RAFT_APPEND_ENTRIES,
                                       .server_id = members->servers[i].id};
        uint64_t match = ms_engine_match(engine, members->servers[i].id);
        const struct ms_slot *slot = ms_tail_at(&engine->tail, match);
        if (members->servers[i].id == engine->config.id || !slot ||
            members->servers[i].role == RAFT_SPARE)
            continue;
        uint64_t told = peer_of(engine, members->servers[i].id)->told;
        if (told >= commit || told >= match)
            continue;
        message.append_entries = (struct raft_append_entries){
            .version = 0,
            .term = raft_current_term(&engine->raft),
            .prev_log_index = match,
            .prev_log_term = slot->term,
            .leader_commit = commit,
        };
        add_letter(engine, &message);
        note_told(engine, &message, match);
    }
}

int ms_engine_flush(struct ms_engine *engine, uint64_t now_ms)
{
    int r = 0;
    set_now(engine, now_ms);
    do {
        r = persist(engine);
        if (r)
            return r;
        send_letters(engine, false);
        r = hand_over(engine);
        if (r)
            return r;
        tell_commit(engine);
    } while (engine->has_vote || engine->truncate || engine->dirty || engine->n_letters > 0);
    return 0;
}

/* ---- events -------------------------------------------------------------------------- */

/* A learner that has not heard of its leader for so long has none; libraft keeps it until
 * another one speaks. */
static void forget_leader(struct ms_engine *engine)
{
    raft_free(engine->raft.follower_state.current_leader.address);
    engine->raft.follower_state.current_leader.address = NULL;
    engine->raft.follower_state.current_leader.id = 0;
}

int ms_engine_tick(struct ms_engine *engine, uint64_t now_ms)
{
    struct raft_event event = {.type = RAFT_TIMEOUT};
    set_now(engine, now_ms);
    if (engine->now_ms < ms_engine_due_ms(engine))
        return 0;
    int r = ms_engine_flush(engine, now_ms); /* a candidate must have written everything */
    engine->last_tick_ms = engine->now_ms;
    if (r || engine->now_ms < raft_timeout(&engine->raft))
        return r;
    if (is_on(engine, MS_GUARD_LEARNER) && ms_guard_is_learner(&engine->raft))
        forget_leader(engine);
    return step(engine, &event);
}

static int receive_part(struct ms_engine *engine, const struct raft_message *message, unsigned at,
                        unsigned n)
{
    struct raft_message part = *message;
    struct raft_append_entries *msg = &part.append_entries;
    struct raft_event event = {.type = RAFT_RECEIVE, .receive = {&part}};
    void *batch = n > 0 ? raft_malloc(1) : NULL; /* libraft wants to own something */
    if (at > 0) {
        msg->prev_log_index += at;
        msg->prev_log_term = msg->entries[at - 1].term;
        msg->entries += at;
    }
    msg->n_entries = n;
    for (unsigned i = 0; i < n; i++)
        msg->entries[i].batch = batch;
    if (is_on(engine, MS_GUARD_COMMIT))
        ms_guard_mend_commit(&engine->raft, msg);
    engine->is_stale = ms_guard_is_stale(&engine->raft, &part);
    return step(engine, &event);
}

static int receive_entries(struct ms_engine *engine, struct raft_message *message)
{
    struct raft_append_entries *msg = &message->append_entries;
    unsigned at = 0;
    int r;
    if (is_on(engine, MS_GUARD_CUT)) {
        unsigned n_cut = ms_guard_cut(&engine->raft, msg);
        if (n_cut > 0)
            msg->entries += n_cut; /* NULL + 0 is undefined */
        msg->n_entries -= n_cut;
    }
    do {
        unsigned n = is_on(engine, MS_GUARD_SPLIT) ? ms_guard_split(msg, at) : msg->n_entries;
        r = receive_part(engine, message, at, n);
        at += n;
    } while (r == 0 && at < msg->n_entries);
    return r;
}

/* By hand, as Raft has it; libraft would refuse.  A follower without a leader has no other
 * state that depends on the term. */
static void vote_as_learner(struct ms_engine *engine, const struct raft_message *message,
                            bool is_granted)
{
    const struct raft_request_vote *msg = &message->request_vote;
    struct raft *r = &engine->raft;
    struct raft_message reply = {.type = RAFT_REQUEST_VOTE_RESULT, .server_id = message->server_id};
    if (!msg->pre_vote && msg->term > r->current_term) {
        r->current_term = msg->term;
        r->voted_for = 0;
        r->follower_state.match = 0;
        engine->has_vote = true;
    }
    if (!msg->pre_vote && is_granted) {
        r->voted_for = msg->candidate_id;
        engine->has_vote = true;
    }
    reply.request_vote_result = (struct raft_request_vote_result){
        .version = 2,
        .term = msg->pre_vote ? msg->term : r->current_term,
        .vote_granted = is_granted,
        .pre_vote = msg->pre_vote,
    };
    add_letter(engine, &reply);
}

static int receive_result(struct ms_engine *engine, struct raft_message *message)
{
    struct raft_event event = {.type = RAFT_RECEIVE, .receive = {message}};
    const struct peer *peer = peer_of(engine, message->server_id);
    struct raft_message again = *message;
    bool is_offered = is_on(engine, MS_GUARD_OFFER) && peer->is_offered;
    bool is_again = is_on(engine, MS_GUARD_OFFER) && !is_offered &&
                    ms_guard_repeat_reject(&engine->raft, peer->offered, &again);
    if (is_offered)
        ms_guard_mend_offered(message);
    if (is_on(engine, MS_GUARD_STALE_REJECT))
        ms_guard_mend_reject(&engine->raft, message);
    int r = step(engine, &event);
    if (r || !is_again)
        return r;
    event.receive.message = &again;
    if (is_on(engine, MS_GUARD_STALE_REJECT))
        ms_guard_mend_reject(&engine->raft, &again);
    return step(engine, &event);
}

static int receive_other(struct ms_engine *engine, struct raft_message *message)
{
    struct raft_event event = {.type = RAFT_RECEIVE, .receive = {message}};
    if (message->type == RAFT_REQUEST_VOTE) {
        uint64_t last = ms_engine_last_index(engine);
        const struct ms_slot *slot = ms_tail_at(&engine->tail, last);
        uint64_t last_term = slot ? slot->term : engine->raft.trail.snapshot.term;
        bool is_granted;
        engine->asked_term = message->request_vote.term;
        if (is_on(engine, MS_GUARD_LEARNER) &&
            ms_guard_learner_votes(&engine->raft, &message->request_vote, last, last_term,
                                   &is_granted)) {
            vote_as_learner(engine, message, is_granted);
            return 0;
        }
    }
    return step(engine, &event);
}

int ms_engine_receive(struct ms_engine *engine, uint64_t now_ms, uint64_t from,
                      struct raft_message *message)
{
    unsigned n = message->type == RAFT_APPEND_ENTRIES ? message->append_entries.n_entries : 0;
    struct raft_entry *entries = message->append_entries.entries;
    int r = 0;
    set_now(engine, now_ms);
    message->server_id = from;
    message->server_address = "";
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        r = receive_entries(engine, message);
        break;
    case RAFT_TIMEOUT_NOW:
        r = ms_engine_flush(engine, now_ms); /* a candidate must have written everything */
        if (r)
            break;
        r = receive_other(engine, message);
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        r = receive_result(engine, message);
        break;
    case RAFT_REQUEST_VOTE:
    case RAFT_REQUEST_VOTE_RESULT:
        r = receive_other(engine, message);
        break;
    case RAFT_INSTALL_SNAPSHOT: /* the state travels by itself: ms_engine_install() */
        break;
    }
    for (unsigned i = 0; i < n; i++)
        ms_payload_unref(ms_payload_of(&entries[i].buf));
    engine->is_stale = false;
    return r;
}

int ms_engine_propose(struct ms_engine *engine, uint64_t now_ms, struct ms_payload *payload_take,
                      uint64_t *ret_index)
{
    uint64_t index = ms_tail_next(&engine->tail);
    set_now(engine, now_ms);
    int r = submit(engine, RAFT_COMMAND, payload_take);
    ms_payload_unref(payload_take);
    *ret_index = r ? 0 : index;
    return r < 0 ? r : 0;
}

/* ---- snapshots ----------------------------------------------------------------------- */

static int metadata_of(struct ms_engine *engine, const struct ms_mark *mark,
                       struct raft_snapshot_metadata *ret_metadata)
{
    const struct raft_buffer buf = {(void *)mark->members, mark->members_size};
    ret_metadata->index = mark->index;
    ret_metadata->term = mark->term;
    ret_metadata->configuration_index = mark->members_index;
    if (raft_configuration_decode(&buf, &ret_metadata->configuration))
        return stop(engine, "state", "the list of members in it is damaged");
    return 0;
}

/* The last entry that goes: 'trailing' ones stay, and more while they are small. */
static uint64_t forgettable(const struct ms_engine *engine, uint64_t upto)
{
    const struct ms_engine_config *config = &engine->config;
    uint64_t index = upto, n = 0;
    size_t size = 0;
    while (index >= engine->tail.first) {
        size += ms_tail_at(&engine->tail, index)->size;
        if (n >= config->trailing &&
            (size > config->trailing_size || n >= (uint64_t)config->trailing * TRAILING_FACTOR))
            return index;
        index--;
        n++;
    }
    return 0;
}

static bool is_worth(const struct ms_engine *engine, uint64_t forget)
{
    return forget >= engine->tail.first + engine->config.trailing / 2;
}

int ms_engine_compact(struct ms_engine *engine, uint64_t now_ms, const struct ms_mark *mark)
{
    int r = ms_engine_flush(engine, now_ms);
    if (r || mark->index <= engine->mark || mark->index > engine->handed ||
        mark->index < engine->tail.first)
        return r;
    uint64_t forget = forgettable(engine, mark->index);
    if (forget == 0 || !is_worth(engine, forget))
        return 0;
    struct raft_event event = {.type = RAFT_SNAPSHOT};
    const struct ms_log_write write = {.mark = mark, .forget = forget};
    r = metadata_of(engine, mark, &event.snapshot.metadata);
    if (r)
        return r;
    event.snapshot.trailing = (unsigned)(mark->index - forget);
    if (engine->config.io->write(engine->config.aux, &write)) {
        raft_configuration_close(&event.snapshot.metadata.configuration);
        return stop(engine, "log", "it cannot be shortened");
    }
    r = step(engine, &event);
    ms_tail_forget(&engine->tail, forget);
    engine->mark = mark->index;
    return r;
}

/* libraft has forgotten its log; so do we, on the disk at once, and the state is another. */
static int replace(struct ms_engine *engine, const struct ms_mark *mark, uint64_t generation)
{
    struct raft_event event = {.type = RAFT_PERSISTED_SNAPSHOT, .persisted_snapshot.last = true};
    const struct ms_log_write write = {
        .has_vote = engine->has_vote,
        .term = raft_current_term(&engine->raft),
        .voted_for = raft_voted_for(&engine->raft),
        .mark = mark,
        .forget = UINT64_MAX,
        .has_generation = true,
        .generation = generation,
    };
    int r = metadata_of(engine, mark, &event.persisted_snapshot.metadata);
    if (r)
        return r;
    r = engine->config.io->write(engine->config.aux, &write);
    if (r == 0)
        r = engine->config.io->install(engine->config.aux, mark, generation);
    if (r) {
        raft_configuration_close(&event.persisted_snapshot.metadata.configuration);
        return stop(engine, "state", "the one that was received cannot be put in place");
    }
    ms_tail_reset(&engine->tail, mark->index + 1);
    engine->has_vote = false;
    engine->truncate = engine->dirty = 0;
    engine->mark = engine->handed = mark->index;
    return step(engine, &event);
}

int ms_engine_install(struct ms_engine *engine, uint64_t now_ms, const struct ms_mark *mark,
                      uint64_t generation, bool *ret_done)
{
    struct raft_message message = {.type = RAFT_INSTALL_SNAPSHOT, .server_address = ""};
    struct raft_event event = {.type = RAFT_RECEIVE, .receive = {&message}};
    struct raft_snapshot_metadata metadata;
    *ret_done = false;
    int r = ms_engine_flush(engine, now_ms);
    message.server_id = ms_engine_leader(engine);
    if (r || message.server_id == 0 || raft_state(&engine->raft) != RAFT_FOLLOWER ||
        mark->index <= engine->handed)
        return r;
    r = metadata_of(engine, mark, &metadata);
    if (r)
        return r;
    /* The state is committed, so it is as good from today's leader as from the one that sent
     * it. */
    message.install_snapshot = (struct raft_install_snapshot){
        .term = raft_current_term(&engine->raft),
        .last_index = mark->index,
        .last_term = mark->term,
        .conf = metadata.configuration,
        .conf_index = metadata.configuration_index,
        .data = {raft_malloc(1), 1},
    };
    engine->is_replaced = false;
    r = step(engine, &event);
    if (r || !engine->is_replaced)
        return r;
    *ret_done = true;
    return replace(engine, mark, generation);
}

void ms_engine_offer_ended(struct ms_engine *engine, uint64_t replica)
{
    peer_of(engine, replica)->is_offered = false;
}

/* ---- leaders and members -------------------------------------------------------------- */

/* All voters see a dead leader at nearly the same time; if they asked for votes then, none
 * would get them.  So they take turns: each comes after those with lower ids. */
static unsigned rank_without(const struct ms_engine *engine, uint64_t leader)
{
    const struct raft_configuration *members = &engine->raft.configuration;
    unsigned rank = 0;
    for (unsigned i = 0; i < members->n; i++)
        rank += members->servers[i].role == RAFT_VOTER && members->servers[i].id != leader &&
                members->servers[i].id < engine->config.id;
    return rank;
}

void ms_engine_leader_lost(struct ms_engine *engine, uint64_t now_ms, uint64_t replica)
{
    struct raft *r = &engine->raft;
    set_now(engine, now_ms);
    if (raft_state(r) != RAFT_FOLLOWER || r->follower_state.current_leader.id != replica)
        return;
    unsigned delay = (1 + rank_without(engine, replica)) * engine->config.election_ms / 8 +
                     raft_random(&r->random, 0, engine->config.election_ms / 20);
    unsigned wait = r->follower_state.randomized_election_timeout;
    if (engine->now_ms + delay >= r->election_timer_start + wait)
        return;
    r->election_timer_start = engine->now_ms + delay - wait;
}

static unsigned count_voters(const struct raft_configuration *members)
{
    unsigned n = 0;
    for (unsigned i = 0; i < members->n; i++)
        n += members->servers[i].role == RAFT_VOTER;
    return n;
}

static const struct raft_server *find_member(const struct raft_configuration *members, uint64_t id)
{
    for (unsigned i = 0; i < members->n; i++)
        if (members->servers[i].id == id)
            return &members->servers[i];
    return NULL;
}

/* The new list, with the others in their order: libraft keeps what it knows of them by
 * place. */
static void change_members(const struct raft_configuration *old, enum ms_engine_change change,
                           uint64_t replica, const char *address, struct raft_configuration *new)
{
    raft_configuration_init(new);
    for (unsigned i = 0; i < old->n; i++) {
        const struct raft_server *server = &old->servers[i];
        int role = server->role;
        if (server->id == replica && change == MS_REMOVE)
            continue;
        if (server->id == replica)
            role = change == MS_PROMOTE ? RAFT_VOTER : RAFT_STANDBY;
        raft_configuration_add(new, server->id, server->address, role);
    }
    if (change == MS_ADD)
        raft_configuration_add(new, replica, address, RAFT_STANDBY);
}

static int check_change(struct ms_engine *engine, enum ms_engine_change change, uint64_t replica,
                        const char **ret_why)
{
    const struct raft_server *member = find_member(&engine->raft.configuration, replica);
    if (!ms_engine_is_leader(engine)) {
        *ret_why = "this server is not the leader";
        return EM_E_NOT_LEADER;
    }
    if (is_on(engine, MS_GUARD_BARRIER) && !ms_engine_is_ready(engine)) {
        *ret_why = "this server has become the leader just now; ask again";
        return EM_E_BUSY;
    }
    if (change == MS_ADD && member) {
        *ret_why = "this server is a member already";
        return EM_E_EXISTS;
    }
    if (change != MS_ADD && !member) {
        *ret_why = "there is no such member";
        return EM_E_NOT_FOUND;
    }
    if (change == MS_PROMOTE && is_on(engine, MS_GUARD_LEARNER) &&
        ms_engine_match(engine, replica) != ms_engine_last_index(engine)) {
        *ret_why = "it does not have the whole log yet; ask again";
        return EM_E_BUSY;
    }
    return 0;
}

int ms_engine_change(struct ms_engine *engine, uint64_t now_ms, enum ms_engine_change change,
                     uint64_t replica, const char *address, uint64_t *ret_index, int *ret_err,
                     const char **ret_why)
{
    struct raft_configuration members;
    struct raft_buffer buf;
    const char *why = NULL;
    set_now(engine, now_ms);
    *ret_err = check_change(engine, change, replica, ret_why);
    if (*ret_err)
        return 0;
    change_members(&engine->raft.configuration, change, replica, address, &members);
    if (is_on(engine, MS_GUARD_VOTERS))
        why = ms_guard_change(&engine->raft, count_voters(&members), replica,
                              change == MS_DEMOTE || change == MS_REMOVE);
    int rv = why ? 0 : raft_configuration_encode(&members, &buf);
    raft_configuration_close(&members);
    if (why || rv) {
        *ret_err = why ? EM_E_DENIED : EM_E_LIMIT;
        *ret_why = why ? why : "the list of members cannot be written";
        return 0;
    }
    struct ms_payload *payload = ms_payload_new(buf.base, buf.len);
    raft_free(buf.base);
    *ret_index = ms_tail_next(&engine->tail);
    int r = submit(engine, RAFT_CHANGE, payload);
    ms_payload_unref(payload);
    if (r > 0) {
        *ret_err = r == RAFT_NOTLEADER ? EM_E_NOT_LEADER : EM_E_BUSY;
        *ret_why = "another change of the members is under way; ask again";
    }
    return r < 0 ? r : 0;
}

int ms_engine_transfer(struct ms_engine *engine, uint64_t now_ms, uint64_t replica, int *ret_err)
{
    struct raft_event event = {.type = RAFT_TRANSFER, .transfer = {replica}};
    set_now(engine, now_ms);
    int r = step(engine, &event);
    *ret_err = 0;
    if (r > 0)
        *ret_err = r == RAFT_NOTLEADER ? EM_E_NOT_LEADER : EM_E_NOT_FOUND;
    return r < 0 ? r : 0;
}

/* ---- what it knows --------------------------------------------------------------------- */

uint64_t ms_engine_due_ms(const struct ms_engine *engine)
{
    return is_on(engine, MS_GUARD_TIMER) ? ms_guard_due(&engine->raft, engine->last_tick_ms)
                                         : raft_timeout(&engine->raft);
}

bool ms_engine_is_leader(const struct ms_engine *engine)
{
    return raft_state(raft_of(engine)) == RAFT_LEADER;
}

bool ms_engine_is_ready(const struct ms_engine *engine)
{
    return ms_engine_is_leader(engine) && engine->own_from > 0 &&
           raft_commit_index(&engine->raft) >= engine->own_from;
}

uint64_t ms_engine_leader(const struct ms_engine *engine)
{
    raft_id id;
    const char *address;
    if (ms_engine_is_leader(engine)) /* libraft says none while it gives leadership away */
        return engine->config.id;
    raft_leader(raft_of(engine), &id, &address);
    return id;
}

uint64_t ms_engine_term(const struct ms_engine *engine)
{
    return raft_current_term(&engine->raft);
}

uint64_t ms_engine_commit_index(const struct ms_engine *engine)
{
    return raft_commit_index(&engine->raft);
}

uint64_t ms_engine_last_index(const struct ms_engine *engine)
{
    return ms_tail_next(&engine->tail) - 1;
}

uint64_t ms_engine_first_index(const struct ms_engine *engine)
{
    return engine->tail.first;
}

uint64_t ms_engine_match(const struct ms_engine *engine, uint64_t replica)
{
    raft_index match;
    return raft_match_index(&engine->raft, replica, &match) ? 0 : match;
}

const char *ms_engine_state_name(const struct ms_engine *engine)
{
    if (engine->raft.configuration.n == 0)
        return "joining";
    return raft_state_name(raft_state(raft_of(engine)));
}

bool ms_engine_is_transferring(const struct ms_engine *engine)
{
    return raft_transferee(&engine->raft) != 0;
}

unsigned ms_engine_n_voters(const struct ms_engine *engine)
{
    return count_voters(&engine->raft.configuration);
}

const char *ms_engine_why(const struct ms_engine *engine)
{
    return engine->why;
}

const struct raft_configuration *ms_engine_members(const struct ms_engine *engine)
{
    return &engine->raft.configuration;
}

/* ---- start and end --------------------------------------------------------------------- */

static int start(struct ms_engine *engine, const struct ms_engine_start *from)
{
    struct raft_snapshot_metadata metadata;
    struct raft_event event = {.type = RAFT_START,
                               .start = {.term = from->term,
                                         .voted_for = from->voted_for,
                                         .start_index = from->first,
                                         .n_entries = (unsigned)from->n_entries}};
    int r;
    if (from->mark) {
        r = metadata_of(engine, from->mark, &metadata);
        if (r)
            return r;
        event.start.metadata = &metadata;
    }
    if (from->n_entries)
        event.start.entries = raft_calloc(from->n_entries, sizeof(struct raft_entry));
    for (size_t i = 0; i < from->n_entries; i++) {
        const struct ms_entry *entry = &from->entries[i];
        event.start.entries[i] = (struct raft_entry){.term = entry->term, .type = entry->type};
        if (entry->type == RAFT_CHANGE)
            event.start.entries[i].buf =
                (struct raft_buffer){entry->payload->data, entry->payload->size};
        ms_tail_append(&engine->tail, entry);
    }
    struct raft_entry *entries = event.start.entries;
    r = step(engine, &event);
    if (r == 0)
        raft_free(entries);
    return r;
}

int ms_engine_new(const struct ms_engine_config *config, uint64_t now_ms,
                  const struct ms_engine_start *from, struct ms_engine **ret_engine)
{
    struct ms_engine *engine = em_calloc(1, sizeof(*engine));
    engine->config = *config;
    engine->mark = engine->handed = from->mark ? from->mark->index : 0;
    ms_tail_init(&engine->tail, from->first);
    set_now(engine, now_ms);
    engine->last_tick_ms = now_ms;
    raft_init(&engine->raft, NULL, NULL, config->id, "");
    raft_seed(&engine->raft, config->seed);
    raft_set_election_timeout(&engine->raft, config->election_ms);
    raft_set_heartbeat_timeout(&engine->raft, config->heartbeat_ms);
    raft_set_install_snapshot_timeout(&engine->raft, 3600 * 1000); /* the core tells */
    raft_set_max_inflight_entries(&engine->raft, config->max_inflight);
    raft_set_pre_vote(&engine->raft, true);
    int r = start(engine, from);
    if (r == 0)
        r = ms_engine_flush(engine, now_ms);
    if (r) {
        ms_engine_free(engine);
        return r;
    }
    *ret_engine = engine;
    return 0;
}

void ms_engine_free(struct ms_engine *engine)
{
    if (!engine)
        return;
    for (size_t i = 0; i < engine->n_letters; i++)
        free_letter(&engine->letters[i]);
    raft_close(&engine->raft, NULL);
    ms_tail_fini(&engine->tail);
    free(engine->letters);
    free(engine->peers);
    free(engine);
}
