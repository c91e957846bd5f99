/* What leaves at the end of a turn: libraft names entries, the log has them. */
#include "core/engine_state.h"

#include "base/mem.h"
#include "eidmap/error.h"

#include <assert.h>
#include <stdlib.h>

struct letter *ms_engine_post(struct ms_engine *engine, const struct raft_message *message)
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

void ms_engine_free_letter(struct letter *letter)
{
    for (unsigned i = 0; letter->entries && i < letter->message.append_entries.n_entries; i++)
        ms_payload_unref(ms_payload_of(&letter->entries[i].buf));
    free(letter->entries);
}

/* A reference, from memory or from the disk. */
int ms_engine_payload(struct ms_engine *engine, uint64_t index, struct ms_payload **ret_payload)
{
    const struct ms_slot *slot = ms_tail_at(&engine->tail, index);
    assert(slot);
    if (slot->payload) {
        *ret_payload = ms_payload_ref(slot->payload);
        return 0;
    }
    if (engine->config.io->read(engine->config.aux, index, ret_payload))
        return ms_engine_stop(engine, "log", "an entry cannot be read from the disk");
    return 0;
}

/* One message with the entries behind 'prev', as many as fit.  Returns how many, or < 0. */
static int add_piece(struct ms_engine *engine, const struct raft_message *message, uint64_t prev,
                     unsigned n)
{
    struct letter *letter = ms_engine_post(engine, message);
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
        int r = ms_engine_payload(engine, index, &payload);
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

void ms_engine_note_told(struct ms_engine *engine, const struct raft_message *message,
                         uint64_t last)
{
    uint64_t commit = message->append_entries.leader_commit;
    struct peer *peer = ms_engine_peer(engine, message->server_id);
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
    ms_engine_note_told(engine, message, prev);
    return 0;
}

static void offer(struct ms_engine *engine, uint64_t replica)
{
    ms_engine_peer(engine, replica)->is_offered = true;
    engine->config.io->offer(engine->config.aux, replica, engine->raft.trail.snapshot.index,
                             engine->raft.trail.snapshot.term);
}

/* libraft's own. */
static void take_snapshot(struct ms_engine *engine, const struct raft_message *message)
{
    assert(message->install_snapshot.last_index == engine->raft.trail.snapshot.index);
    ms_engine_peer(engine, message->server_id)->offered = message->install_snapshot.last_index;
    offer(engine, message->server_id);
}

/* A founder's log begins behind a mark at 1, which libraft takes for an entry: it would tell
 * one that has nothing to append nothing to it, for ever. */
static int take_append(struct ms_engine *engine, const struct raft_message *message)
{
    if (ms_engine_has_rule(engine, MS_GUARD_OFFER) && message->append_entries.prev_log_index == 0 &&
        !ms_engine_peer(engine, message->server_id)->is_offered)
        offer(engine, message->server_id);
    return add_entries(engine, message);
}

int ms_engine_take_message(struct ms_engine *engine, struct raft_message *message)
{
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        return take_append(engine, message);
    case RAFT_INSTALL_SNAPSHOT:
        take_snapshot(engine, message);
        return 0;
    case RAFT_APPEND_ENTRIES_RESULT:
        if (engine->is_stale && ms_engine_has_rule(engine, MS_GUARD_STALE_REPLY))
            ms_guard_mend_reply(message);
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        if (ms_engine_has_rule(engine, MS_GUARD_PRE_VOTE_TERM))
            ms_guard_mend_pre_vote(&engine->raft, engine->asked_term, message);
        break;
    case RAFT_REQUEST_VOTE:
    case RAFT_TIMEOUT_NOW:
        break;
    }
    ms_engine_post(engine, message);
    return 0;
}

void ms_engine_send_posted(struct ms_engine *engine, bool is_entries_only)
{
    size_t n_left = 0;
    for (size_t i = 0; i < engine->n_letters; i++) {
        struct letter *letter = &engine->letters[i];
        if (is_entries_only && letter->message.type != RAFT_APPEND_ENTRIES) {
            engine->letters[n_left++] = *letter;
            continue;
        }
        engine->config.io->send(engine->config.aux, letter->message.server_id, &letter->message);
        ms_engine_free_letter(letter);
    }
    engine->n_letters = n_left;
}

/* What was committed just now is news to the others, who may have clients that wait for it;
 * the next heartbeat would be late. */
void ms_engine_tell_commit(struct ms_engine *engine)
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
        uint64_t told = ms_engine_peer(engine, members->servers[i].id)->told;
        if (told >= commit || told >= match)
            continue;
        message.append_entries = (struct raft_append_entries){
            .version = 0,
            .term = raft_current_term(&engine->raft),
            .prev_log_index = match,
            .prev_log_term = slot->term,
            .leader_commit = commit,
        };
        ms_engine_post(engine, &message);
        ms_engine_note_told(engine, &message, match);
    }
}
