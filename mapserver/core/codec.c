#include "core/codec.h"

#include "base/mem.h"
#include "eidmap/error.h"
#include "wire/writer.h"

#include <assert.h>
#include <stdlib.h>

/* Field numbers of Consensus and LogEntry. */
enum {
    TYPE = 1,
    VERSION = 2,
    TERM = 3,
    PREV_INDEX = 4,
    PREV_TERM = 5,
    COMMIT = 6,
    ENTRIES = 7,
    REJECTED = 8,
    LAST_INDEX = 9,
    LAST_TERM = 10,
    FEATURES = 11,
    CAPACITY = 12,
    CANDIDATE = 13,
    DISRUPT_LEADER = 14,
    PRE_VOTE = 15,
    GRANTED = 16,
    ENTRY_TERM = 1,
    ENTRY_KIND = 2,
    ENTRY_DATA = 3,
};

static Eidmap__EntryKind kind_of(enum raft_entry_type type)
{
    switch (type) {
    case RAFT_COMMAND:
        return EIDMAP__ENTRY_KIND__ENTRY_BATCH;
    case RAFT_BARRIER:
        return EIDMAP__ENTRY_KIND__ENTRY_BARRIER;
    case RAFT_CHANGE:
        return EIDMAP__ENTRY_KIND__ENTRY_MEMBERS;
    }
    return EIDMAP__ENTRY_KIND__ENTRY_UNSPECIFIED;
}

static int type_of(Eidmap__EntryKind kind, enum raft_entry_type *ret_type)
{
    switch (kind) {
    case EIDMAP__ENTRY_KIND__ENTRY_BATCH:
        *ret_type = RAFT_COMMAND;
        return 0;
    case EIDMAP__ENTRY_KIND__ENTRY_BARRIER:
        *ret_type = RAFT_BARRIER;
        return 0;
    case EIDMAP__ENTRY_KIND__ENTRY_MEMBERS:
        *ret_type = RAFT_CHANGE;
        return 0;
    case EIDMAP__ENTRY_KIND__ENTRY_UNSPECIFIED:
    case _EIDMAP__ENTRY_KIND_IS_INT_SIZE:
        break;
    }
    return EM_E_MALFORMED;
}

#define ENTRY_HEAD 64 /* more than what stands before an entry's bytes, or a message's entries */

static void put_append(struct em_buf *out, const struct raft_append_entries *msg)
{
    size_t size = 2 * ENTRY_HEAD;
    for (unsigned i = 0; i < msg->n_entries; i++)
        size += ENTRY_HEAD + msg->entries[i].buf.len;
    em_buf_reserve(out, size); /* at once, rather than in steps that copy it */
    em_put_uint(out, VERSION, msg->version);
    em_put_uint(out, TERM, msg->term);
    em_put_uint(out, PREV_INDEX, msg->prev_log_index);
    em_put_uint(out, PREV_TERM, msg->prev_log_term);
    em_put_uint(out, COMMIT, msg->leader_commit);
    for (unsigned i = 0; i < msg->n_entries; i++) {
        const struct raft_entry *entry = &msg->entries[i];
        size_t nest = em_nest_begin(out, ENTRIES);
        em_put_uint(out, ENTRY_TERM, entry->term);
        em_put_uint(out, ENTRY_KIND, kind_of(entry->type));
        em_put_bytes(out, ENTRY_DATA, entry->buf.base, entry->buf.len);
        em_nest_end(out, nest);
    }
}

static void put_append_result(struct em_buf *out, const struct raft_append_entries_result *msg)
{
    em_put_uint(out, VERSION, msg->version);
    em_put_uint(out, TERM, msg->term);
    em_put_uint(out, REJECTED, msg->rejected);
    em_put_uint(out, LAST_INDEX, msg->last_log_index);
    em_put_uint(out, FEATURES, msg->features);
    em_put_uint(out, CAPACITY, msg->capacity);
}

static void put_vote(struct em_buf *out, const struct raft_request_vote *msg)
{
    em_put_uint(out, VERSION, msg->version);
    em_put_uint(out, TERM, msg->term);
    em_put_fixed64(out, CANDIDATE, msg->candidate_id);
    em_put_uint(out, LAST_INDEX, msg->last_log_index);
    em_put_uint(out, LAST_TERM, msg->last_log_term);
    em_put_uint(out, DISRUPT_LEADER, msg->disrupt_leader);
    em_put_uint(out, PRE_VOTE, msg->pre_vote);
}

static void put_vote_result(struct em_buf *out, const struct raft_request_vote_result *msg)
{
    em_put_uint(out, VERSION, msg->version);
    em_put_uint(out, TERM, msg->term);
    em_put_uint(out, GRANTED, msg->vote_granted);
    em_put_uint(out, PRE_VOTE, msg->pre_vote);
    em_put_uint(out, FEATURES, msg->features);
    em_put_uint(out, CAPACITY, msg->capacity);
}

static void put_timeout_now(struct em_buf *out, const struct raft_timeout_now *msg)
{
    em_put_uint(out, VERSION, msg->version);
    em_put_uint(out, TERM, msg->term);
    em_put_uint(out, LAST_INDEX, msg->last_log_index);
    em_put_uint(out, LAST_TERM, msg->last_log_term);
}

void ms_codec_append(struct em_buf *out, const struct raft_message *message)
{
    size_t frame = em_frame_begin(out, 0);
    size_t body = em_nest_begin(out, EIDMAP__ENVELOPE__BODY_CONSENSUS);
    em_put_uint(out, TYPE, message->type);
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        put_append(out, &message->append_entries);
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        put_append_result(out, &message->append_entries_result);
        break;
    case RAFT_REQUEST_VOTE:
        put_vote(out, &message->request_vote);
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        put_vote_result(out, &message->request_vote_result);
        break;
    case RAFT_TIMEOUT_NOW:
        put_timeout_now(out, &message->timeout_now);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        assert(!"the state does not travel in a message");
        break;
    }
    em_nest_end(out, body);
    int r = em_frame_end(out, frame);
    assert(r == 0); /* the engine's message_size and an entry are less than a frame */
    (void)r;
}

/* Terms do not fall in a log; libraft asserts it. */
static int get_entries(const Eidmap__Consensus *msg, struct raft_entry *entries)
{
    uint64_t least = msg->prev_term ? msg->prev_term : 1;
    for (size_t i = 0; i < msg->n_entries; i++) {
        const Eidmap__LogEntry *entry = msg->entries[i];
        enum raft_entry_type type;
        if (type_of(entry->kind, &type) || entry->term < least || entry->term > msg->term)
            return EM_E_MALFORMED;
        least = entry->term;
        struct ms_payload *payload = ms_payload_new(entry->data.data, entry->data.len);
        entries[i] = (struct raft_entry){
            .term = entry->term, .type = type, .buf = {payload->data, payload->size}};
    }
    return 0;
}

static int get_append(const Eidmap__Consensus *msg, struct raft_append_entries *ret,
                      struct raft_entry **ret_entries)
{
    struct raft_entry *entries = NULL;
    if ((msg->prev_index == 0) != (msg->prev_term == 0))
        return EM_E_MALFORMED;
    if (msg->n_entries > 0)
        entries = em_calloc(msg->n_entries, sizeof(*entries));
    int r = get_entries(msg, entries);
    for (size_t i = 0; r && i < msg->n_entries && entries[i].buf.base; i++)
        ms_payload_unref(ms_payload_of(&entries[i].buf));
    if (r) {
        free(entries);
        return r;
    }
    *ret = (struct raft_append_entries){
        .version = (unsigned char)msg->version,
        .term = msg->term,
        .prev_log_index = msg->prev_index,
        .prev_log_term = msg->prev_term,
        .leader_commit = msg->commit,
        .entries = entries,
        .n_entries = (unsigned)msg->n_entries,
    };
    *ret_entries = entries;
    return 0;
}

static void get_append_result(const Eidmap__Consensus *msg, struct raft_append_entries_result *ret)
{
    *ret = (struct raft_append_entries_result){
        .version = (unsigned char)msg->version,
        .term = msg->term,
        .rejected = msg->rejected,
        .last_log_index = msg->last_index,
        .features = (unsigned short)msg->features,
        .capacity = (unsigned short)msg->capacity,
    };
}

static void get_vote(const Eidmap__Consensus *msg, struct raft_request_vote *ret)
{
    *ret = (struct raft_request_vote){
        .version = (unsigned char)msg->version,
        .term = msg->term,
        .candidate_id = msg->candidate,
        .last_log_index = msg->last_index,
        .last_log_term = msg->last_term,
        .disrupt_leader = msg->disrupt_leader,
        .pre_vote = msg->pre_vote,
    };
}

static void get_vote_result(const Eidmap__Consensus *msg, struct raft_request_vote_result *ret)
{
    *ret = (struct raft_request_vote_result){
        .version = (unsigned char)msg->version,
        .term = msg->term,
        .vote_granted = msg->granted,
        .pre_vote = msg->pre_vote,
        .features = (unsigned short)msg->features,
        .capacity = (unsigned short)msg->capacity,
    };
}

static void get_timeout_now(const Eidmap__Consensus *msg, struct raft_timeout_now *ret)
{
    *ret = (struct raft_timeout_now){
        .version = (unsigned char)msg->version,
        .term = msg->term,
        .last_log_index = msg->last_index,
        .last_log_term = msg->last_term,
    };
}

int ms_codec_from_msg(const Eidmap__Consensus *msg, struct raft_message *ret_message,
                      struct raft_entry **ret_entries)
{
    struct raft_message message = {.type = (enum raft_message_type)msg->type};
    int r = 0;
    if (msg->version > UINT8_MAX || msg->features > UINT16_MAX || msg->capacity > UINT16_MAX)
        return EM_E_MALFORMED;
    *ret_entries = NULL;
    switch (message.type) {
    case RAFT_APPEND_ENTRIES:
        r = get_append(msg, &message.append_entries, ret_entries);
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        get_append_result(msg, &message.append_entries_result);
        break;
    case RAFT_REQUEST_VOTE:
        get_vote(msg, &message.request_vote);
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        get_vote_result(msg, &message.request_vote_result);
        break;
    case RAFT_TIMEOUT_NOW:
        get_timeout_now(msg, &message.timeout_now);
        break;
    case RAFT_INSTALL_SNAPSHOT:
    default: /* a number from outside */
        return EM_E_MALFORMED;
    }
    if (r == 0)
        *ret_message = message;
    return r;
}
