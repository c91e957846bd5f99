#include "core/engine_state.h"

#include "base/mem.h"
#include "eidmap/error.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Header and library are of one build, without the old interface: the structure differs. */
_Static_assert(sizeof(struct raft) == 432, "raft.h is not of a libraft that deploy/raft built");

int ms_engine_stop(struct ms_engine *engine, const char *what, const char *why)
{
    snprintf(engine->why, sizeof(engine->why), "%s: %s", what, why);
    return EM_E_INTERNAL;
}

struct peer *ms_engine_peer(struct ms_engine *engine, uint64_t id)
{
    for (size_t i = 0; i < engine->n_peers; i++)
        if (engine->peers[i].id == id)
            return &engine->peers[i];
    engine->peers = em_realloc(engine->peers, (engine->n_peers + 1) * sizeof(*engine->peers));
    engine->peers[engine->n_peers] = (struct peer){.id = id};
    return &engine->peers[engine->n_peers++];
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

int ms_engine_submit(struct ms_engine *engine, enum raft_entry_type type,
                     struct ms_payload *payload)
{
    struct raft_entry entry = {.term = raft_current_term(&engine->raft),
                               .type = type,
                               .buf = {payload->data, payload->size},
                               .batch = raft_malloc(1)};
    struct raft_event event = {.type = RAFT_SUBMIT, .submit = {&entry, 1}};
    int r = ms_engine_step(engine, &event);
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
    if (!ms_engine_has_rule(engine, MS_GUARD_BARRIER))
        return 0;
    struct ms_payload *nothing = ms_payload_new(NULL, 0);
    uint64_t index = ms_tail_next(&engine->tail);
    int r = ms_engine_submit(engine, RAFT_BARRIER, nothing);
    ms_payload_unref(nothing);
    if (r)
        return ms_engine_stop(engine, "consensus", "a new leader cannot begin its term");
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
        r = ms_engine_take_message(engine, &update->messages.batch[i]);
    bool is_leader = raft_state(&engine->raft) == RAFT_LEADER;
    if (!is_leader)
        engine->own_from = 0;
    if (r == 0 && is_leader && !was_leader)
        r = begin_term(engine, update);
    return r;
}

/* 0, < 0: stop; > 0: libraft's refusal of a SUBMIT or TRANSFER, nothing has happened. */
int ms_engine_step(struct ms_engine *engine, struct raft_event *event)
{
    struct raft_update update = {0};
    bool was_leader = event->type != RAFT_START && raft_state(&engine->raft) == RAFT_LEADER;
    event->time = engine->now_ms;
    event->capacity = UINT16_MAX;
    int rv = raft_step(&engine->raft, event, &update);
    if (rv && (event->type == RAFT_SUBMIT || event->type == RAFT_TRANSFER))
        return rv;
    if (rv)
        return ms_engine_stop(engine, "consensus", raft_strerror(rv));
    return take(engine, &update, was_leader);
}

/* Time is the caller's, and must not go back. */
void ms_engine_set_now(struct ms_engine *engine, uint64_t now_ms)
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
        return ms_engine_stop(
            engine, "log",
            r == EM_E_NO_SPACE ? "no space left on the disk; free some and start this server again"
                               : em_strerror(r));
    engine->has_vote = false;
    engine->truncate = 0;
    return 0;
}

static int persist(struct ms_engine *engine)
{
    if (!engine->has_vote && !engine->truncate && !engine->dirty)
        return 0;
    bool may_overlap = ms_engine_has_rule(engine, MS_GUARD_WRITE_FIRST)
                           ? ms_guard_may_overlap(&engine->raft)
                           : raft_state(&engine->raft) == RAFT_LEADER;
    if (may_overlap && !engine->has_vote && !engine->truncate) {
        ms_engine_send_posted(engine, true);
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
    return ms_engine_step(engine, &event);
}

/* A change of the members holds when it is written; that it is committed libraft is told. */
static int confirm_members(struct ms_engine *engine, uint64_t index,
                           const struct ms_payload *payload)
{
    struct raft_event event = {.type = RAFT_CONFIGURATION, .configuration = {.index = index}};
    const struct raft_buffer buf = {(void *)payload->data, payload->size};
    if (raft_configuration_decode(&buf, &event.configuration.conf))
        return ms_engine_stop(engine, "log", "the entry that names the members is damaged");
    return ms_engine_step(engine, &event);
}

static uint64_t appliable(const struct ms_engine *engine)
{
    return ms_engine_has_rule(engine, MS_GUARD_DURABLE) ? ms_guard_appliable(&engine->raft)
                                                        : raft_commit_index(&engine->raft);
}

static int hand_over(struct ms_engine *engine)
{
    int r = 0;
    while (r == 0 && engine->handed < appliable(engine)) {
        uint64_t index = engine->handed + 1;
        const struct ms_slot *slot = ms_tail_at(&engine->tail, index);
        struct ms_entry entry = {slot->term, slot->type, NULL};
        r = ms_engine_payload(engine, index, &entry.payload);
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

int ms_engine_flush(struct ms_engine *engine, uint64_t now_ms)
{
    int r = 0;
    ms_engine_set_now(engine, now_ms);
    do {
        r = persist(engine);
        if (r)
            return r;
        ms_engine_send_posted(engine, false);
        r = hand_over(engine);
        if (r)
            return r;
        ms_engine_tell_commit(engine);
    } while (engine->has_vote || engine->truncate || engine->dirty || engine->n_letters > 0);
    return 0;
}

/* ---- events -------------------------------------------------------------------------- */

/* libraft keeps a leader until another one speaks. */
static void forget_leader(struct ms_engine *engine)
{
    raft_free(engine->raft.follower_state.current_leader.address);
    engine->raft.follower_state.current_leader.address = NULL;
    engine->raft.follower_state.current_leader.id = 0;
}

int ms_engine_tick(struct ms_engine *engine, uint64_t now_ms)
{
    struct raft_event event = {.type = RAFT_TIMEOUT};
    ms_engine_set_now(engine, now_ms);
    if (engine->now_ms < ms_engine_due_ms(engine))
        return 0;
    int r = ms_engine_flush(engine, now_ms); /* a candidate must have written everything */
    engine->last_tick_ms = engine->now_ms;
    if (r || engine->now_ms < raft_timeout(&engine->raft))
        return r;
    if (ms_engine_has_rule(engine, MS_GUARD_LEARNER) && ms_guard_is_learner(&engine->raft))
        forget_leader(engine);
    return ms_engine_step(engine, &event);
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
    if (ms_engine_has_rule(engine, MS_GUARD_COMMIT))
        ms_guard_mend_commit(&engine->raft, msg);
    engine->is_stale = ms_guard_is_stale(&engine->raft, &part);
    return ms_engine_step(engine, &event);
}

static int receive_entries(struct ms_engine *engine, struct raft_message *message)
{
    struct raft_append_entries *msg = &message->append_entries;
    unsigned at = 0;
    int r;
    if (ms_engine_has_rule(engine, MS_GUARD_CUT)) {
        unsigned n_cut = ms_guard_cut(&engine->raft, msg);
        if (n_cut > 0)
            msg->entries += n_cut; /* NULL + 0 is undefined */
        msg->n_entries -= n_cut;
    }
    do {
        unsigned n =
            ms_engine_has_rule(engine, MS_GUARD_SPLIT) ? ms_guard_split(msg, at) : msg->n_entries;
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
    ms_engine_post(engine, &reply);
}

static int receive_result(struct ms_engine *engine, struct raft_message *message)
{
    struct raft_event event = {.type = RAFT_RECEIVE, .receive = {message}};
    const struct peer *peer = ms_engine_peer(engine, message->server_id);
    struct raft_message again = *message;
    bool is_offered = ms_engine_has_rule(engine, MS_GUARD_OFFER) && peer->is_offered;
    bool is_again = ms_engine_has_rule(engine, MS_GUARD_OFFER) && !is_offered &&
                    ms_guard_repeat_reject(&engine->raft, peer->offered, &again);
    if (is_offered)
        ms_guard_mend_offered(message);
    if (ms_engine_has_rule(engine, MS_GUARD_STALE_REJECT))
        ms_guard_mend_reject(&engine->raft, message);
    int r = ms_engine_step(engine, &event);
    if (r || !is_again)
        return r;
    event.receive.message = &again;
    if (ms_engine_has_rule(engine, MS_GUARD_STALE_REJECT))
        ms_guard_mend_reject(&engine->raft, &again);
    return ms_engine_step(engine, &event);
}

static int receive_request(struct ms_engine *engine, struct raft_message *message)
{
    struct raft_event event = {.type = RAFT_RECEIVE, .receive = {message}};
    uint64_t term = ms_engine_term(engine), last = ms_engine_last_index(engine);
    const struct ms_slot *slot = ms_tail_at(&engine->tail, last);
    uint64_t last_term = slot ? slot->term : engine->raft.trail.snapshot.term;
    bool is_granted;
    engine->asked_term = message->request_vote.term;
    if (ms_engine_has_rule(engine, MS_GUARD_LEARNER) &&
        ms_guard_learner_votes(&engine->raft, &message->request_vote, last, last_term,
                               &is_granted)) {
        vote_as_learner(engine, message, is_granted);
        return 0;
    }
    int r = ms_engine_step(engine, &event);
    if (ms_engine_has_rule(engine, MS_GUARD_OLD_LEADER) &&
        ms_guard_is_old_leader(&engine->raft, term))
        forget_leader(engine);
    return r;
}

static int receive_other(struct ms_engine *engine, struct raft_message *message)
{
    struct raft_event event = {.type = RAFT_RECEIVE, .receive = {message}};
    return ms_engine_step(engine, &event);
}

int ms_engine_receive(struct ms_engine *engine, uint64_t now_ms, uint64_t from,
                      struct raft_message *message)
{
    unsigned n = message->type == RAFT_APPEND_ENTRIES ? message->append_entries.n_entries : 0;
    struct raft_entry *entries = message->append_entries.entries;
    int r = 0;
    ms_engine_set_now(engine, now_ms);
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
        r = receive_request(engine, message);
        break;
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
    ms_engine_set_now(engine, now_ms);
    int r = ms_engine_submit(engine, RAFT_COMMAND, payload_take);
    ms_payload_unref(payload_take);
    *ret_index = r ? 0 : index;
    return r < 0 ? r : 0;
}

/* ---- what it knows --------------------------------------------------------------------- */

uint64_t ms_engine_due_ms(const struct ms_engine *engine)
{
    return ms_engine_has_rule(engine, MS_GUARD_TIMER)
               ? ms_guard_due(&engine->raft, engine->last_tick_ms)
               : raft_timeout(&engine->raft);
}

bool ms_engine_is_leader(const struct ms_engine *engine)
{
    return raft_state(ms_engine_raft(engine)) == RAFT_LEADER;
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
    raft_leader(ms_engine_raft(engine), &id, &address);
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
    return raft_state_name(raft_state(ms_engine_raft(engine)));
}

bool ms_engine_is_transferring(const struct ms_engine *engine)
{
    return raft_transferee(&engine->raft) != 0;
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
        r = ms_engine_metadata(engine, from->mark, &metadata);
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
    r = ms_engine_step(engine, &event);
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
    ms_engine_set_now(engine, now_ms);
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
        ms_engine_free_letter(&engine->letters[i]);
    raft_close(&engine->raft, NULL);
    ms_tail_fini(&engine->tail);
    free(engine->letters);
    free(engine->peers);
    free(engine);
}
