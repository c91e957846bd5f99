/* Raft's messages over the wire: every field of every type, and what is refused. */
#include "core/codec.h"

#include "base/buf.h"
#include "base/mem.h"
#include "eidmap/error.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define N_RANDOM 2000

static struct em_arena arena;
static struct em_buf out;
static uint64_t random_state;

static void setup(void)
{
    em_arena_init(&arena, 0);
    em_buf_init(&out);
    random_state = 1;
}

static void teardown(void)
{
    em_buf_fini(&out);
    em_arena_fini(&arena);
}

TestSuite(codec, .init = setup, .fini = teardown, .timeout = 60);

/* Small, middle and the largest numbers alike; none is 0. */
static uint64_t any(unsigned bits)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    uint64_t value = random_state >> 7 ^ random_state << 31;
    unsigned shift = (unsigned)(random_state >> 33) % bits;
    value = bits < 64 ? value & ((1ull << bits) - 1) : value;
    return value >> shift ? value >> shift : 1;
}

static Eidmap__Consensus *unpack(void)
{
    const uint8_t *data = em_buf_head(&out);
    ssize_t size = em_frame_size(data, em_buf_size(&out));
    cr_assert_eq(size, (ssize_t)em_buf_size(&out));
    Eidmap__Envelope *envelope =
        em_msg_unpack(&arena, data + EM_FRAME_HEADER, (size_t)size - EM_FRAME_HEADER);
    cr_assert_not_null(envelope);
    cr_assert_eq(envelope->body_case, EIDMAP__ENVELOPE__BODY_CONSENSUS);
    return envelope->consensus;
}

/* There and back; the entries are the caller's. */
static struct raft_message travel(const struct raft_message *message, struct raft_entry **entries)
{
    struct raft_message back;
    em_arena_reset(&arena);
    em_buf_take(&out, em_buf_size(&out));
    ms_codec_append(&out, message);
    cr_assert_eq(ms_codec_from_msg(unpack(), &back, entries), 0);
    cr_assert_eq(back.type, message->type);
    return back;
}

static void free_entries(struct raft_entry *entries, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        ms_payload_unref(ms_payload_of(&entries[i].buf));
    free(entries);
}

static void expect_entries(const struct raft_append_entries *a, const struct raft_append_entries *b)
{
    cr_assert_eq(a->n_entries, b->n_entries);
    for (unsigned i = 0; i < a->n_entries; i++) {
        cr_assert_eq(a->entries[i].term, b->entries[i].term);
        cr_assert_eq(a->entries[i].type, b->entries[i].type);
        cr_assert_eq(a->entries[i].buf.len, b->entries[i].buf.len);
        cr_assert_eq(memcmp(a->entries[i].buf.base, b->entries[i].buf.base, a->entries[i].buf.len),
                     0);
    }
}

Test(codec, entries_come_as_they_were_sent)
{
    static const enum raft_entry_type types[] = {RAFT_COMMAND, RAFT_BARRIER, RAFT_CHANGE};
    uint8_t data[300];
    for (int round = 0; round < N_RANDOM; round++) {
        struct raft_entry entries[8], *got;
        struct raft_message message = {.type = RAFT_APPEND_ENTRIES};
        message.append_entries = (struct raft_append_entries){.version = (unsigned char)any(8),
                                                              .term = any(64),
                                                              .prev_log_index = any(64),
                                                              .leader_commit = any(64),
                                                              .entries = entries,
                                                              .n_entries = (unsigned)round % 9};
        for (size_t i = 0; i < sizeof(data); i++)
            data[i] = (uint8_t)any(8);
        uint64_t term = 1 + any(64) % message.append_entries.term;
        message.append_entries.prev_log_term = term;
        for (unsigned i = 0; i < message.append_entries.n_entries; i++)
            entries[i] = (struct raft_entry){.term = i < 4 ? term : message.append_entries.term,
                                             .type = types[any(8) % 3],
                                             .buf = {data, any(16) % sizeof(data)}};
        struct raft_message back = travel(&message, &got);
        cr_assert_eq(back.append_entries.entries, got);
        cr_assert_eq(back.append_entries.version, message.append_entries.version);
        cr_assert_eq(back.append_entries.term, message.append_entries.term);
        cr_assert_eq(back.append_entries.prev_log_index, message.append_entries.prev_log_index);
        cr_assert_eq(back.append_entries.prev_log_term, message.append_entries.prev_log_term);
        cr_assert_eq(back.append_entries.leader_commit, message.append_entries.leader_commit);
        expect_entries(&back.append_entries, &message.append_entries);
        free_entries(got, back.append_entries.n_entries);
    }
}

Test(codec, results_of_appends_travel_whole)
{
    for (int round = 0; round < N_RANDOM; round++) {
        struct raft_entry *entries;
        struct raft_message message = {.type = RAFT_APPEND_ENTRIES_RESULT};
        struct raft_append_entries_result *sent = &message.append_entries_result;
        *sent =
            (struct raft_append_entries_result){(unsigned char)any(8),   any(64),
                                                round % 2 ? any(64) : 0, any(64),
                                                (unsigned short)any(16), (unsigned short)any(16)};
        struct raft_message back = travel(&message, &entries);
        const struct raft_append_entries_result *got = &back.append_entries_result;
        cr_assert_null(entries);
        cr_assert_eq(got->version, sent->version);
        cr_assert_eq(got->term, sent->term);
        cr_assert_eq(got->rejected, sent->rejected);
        cr_assert_eq(got->last_log_index, sent->last_log_index);
        cr_assert_eq(got->features, sent->features);
        cr_assert_eq(got->capacity, sent->capacity);
    }
}

Test(codec, questions_for_votes_travel_whole)
{
    for (int round = 0; round < N_RANDOM; round++) {
        struct raft_entry *entries;
        struct raft_message message = {.type = RAFT_REQUEST_VOTE};
        struct raft_request_vote *sent = &message.request_vote;
        *sent = (struct raft_request_vote){.version = (unsigned char)any(8),
                                           .term = any(64),
                                           .candidate_id = any(64),
                                           .last_log_index = any(64),
                                           .last_log_term = any(64),
                                           .disrupt_leader = round & 1,
                                           .pre_vote = round & 2};
        struct raft_message back = travel(&message, &entries);
        const struct raft_request_vote *got = &back.request_vote;
        cr_assert_null(entries);
        cr_assert_eq(got->version, sent->version, "pre-votes are told from votes by it");
        cr_assert_eq(got->term, sent->term);
        cr_assert_eq(got->candidate_id, sent->candidate_id);
        cr_assert_eq(got->last_log_index, sent->last_log_index);
        cr_assert_eq(got->last_log_term, sent->last_log_term);
        cr_assert_eq(got->disrupt_leader, sent->disrupt_leader);
        cr_assert_eq(got->pre_vote, sent->pre_vote);
    }
}

Test(codec, votes_travel_whole)
{
    for (int round = 0; round < N_RANDOM; round++) {
        struct raft_entry *entries;
        struct raft_message message = {.type = RAFT_REQUEST_VOTE_RESULT};
        struct raft_request_vote_result *sent = &message.request_vote_result;
        *sent = (struct raft_request_vote_result){.version = (unsigned char)any(8),
                                                  .term = any(64),
                                                  .vote_granted = round & 1,
                                                  .pre_vote = round & 2,
                                                  .features = (unsigned short)any(16),
                                                  .capacity = (unsigned short)any(16)};
        struct raft_message back = travel(&message, &entries);
        const struct raft_request_vote_result *got = &back.request_vote_result;
        cr_assert_null(entries);
        cr_assert_eq(got->version, sent->version, "pre-votes are told from votes by it");
        cr_assert_eq(got->term, sent->term);
        cr_assert_eq(got->vote_granted, sent->vote_granted);
        cr_assert_eq(got->pre_vote, sent->pre_vote);
        cr_assert_eq(got->features, sent->features);
        cr_assert_eq(got->capacity, sent->capacity);
    }
}

Test(codec, the_order_to_stand_for_election_travels_whole)
{
    for (int round = 0; round < N_RANDOM; round++) {
        struct raft_entry *entries;
        struct raft_message message = {.type = RAFT_TIMEOUT_NOW};
        struct raft_timeout_now *sent = &message.timeout_now;
        *sent = (struct raft_timeout_now){(unsigned char)any(8), any(64), any(64), any(64)};
        struct raft_message back = travel(&message, &entries);
        const struct raft_timeout_now *got = &back.timeout_now;
        cr_assert_null(entries);
        cr_assert_eq(got->version, sent->version);
        cr_assert_eq(got->term, sent->term);
        cr_assert_eq(got->last_log_index, sent->last_log_index);
        cr_assert_eq(got->last_log_term, sent->last_log_term);
    }
}

/* ---- what is refused --------------------------------------------------------------------- */

static void refuse(const Eidmap__Consensus *msg)
{
    struct raft_message message;
    struct raft_entry *entries = NULL;
    cr_assert_eq(ms_codec_from_msg(msg, &message, &entries), EM_E_MALFORMED);
    cr_assert_null(entries);
}

Test(codec, unknown_types_are_refused)
{
    static const uint32_t types[] = {0, RAFT_INSTALL_SNAPSHOT, RAFT_TIMEOUT_NOW + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        Eidmap__Consensus msg = EIDMAP__CONSENSUS__INIT;
        msg.type = types[i];
        msg.term = 1;
        refuse(&msg);
    }
}

Test(codec, numbers_that_libraft_has_no_room_for_are_refused)
{
    for (int i = 0; i < 3; i++) {
        Eidmap__Consensus msg = EIDMAP__CONSENSUS__INIT;
        msg.type = RAFT_APPEND_ENTRIES_RESULT;
        msg.term = 1;
        msg.version = i == 0 ? 256 : 0;
        msg.features = i == 1 ? 65536 : 0;
        msg.capacity = i == 2 ? 65536 : 0;
        refuse(&msg);
    }
}

Test(codec, half_a_predecessor_is_refused)
{
    Eidmap__Consensus msg = EIDMAP__CONSENSUS__INIT;
    msg.type = RAFT_APPEND_ENTRIES;
    msg.term = 1;
    msg.prev_index = 1;
    refuse(&msg);
    msg.prev_index = 0;
    msg.prev_term = 1;
    refuse(&msg);
}

/* libraft asserts that terms do not fall, and that none is 0. */
Test(codec, entries_that_no_log_can_hold_are_refused)
{
    static const struct {
        uint64_t terms[2];
        Eidmap__EntryKind kinds[2];
        uint64_t prev_term;
    } bad[] = {
        {{1, 0}, {1, 1}, 1}, /* no term */
        {{1, 4}, {1, 1}, 1}, /* a later term than the message's */
        {{2, 1}, {1, 1}, 1}, /* terms fall */
        {{2, 2}, {1, 1}, 3}, /* below the predecessor's */
        {{1, 1}, {1, 0}, 1}, /* no kind */
        {{1, 1}, {1, 9}, 1}, /* an unknown one */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        Eidmap__Consensus msg = EIDMAP__CONSENSUS__INIT;
        Eidmap__LogEntry entries[2] = {EIDMAP__LOG_ENTRY__INIT, EIDMAP__LOG_ENTRY__INIT};
        Eidmap__LogEntry *list[] = {&entries[0], &entries[1]};
        for (int j = 0; j < 2; j++) {
            entries[j].term = bad[i].terms[j];
            entries[j].kind = bad[i].kinds[j];
            entries[j].data = (ProtobufCBinaryData){1, (uint8_t *)"x"};
        }
        msg.type = RAFT_APPEND_ENTRIES;
        msg.term = 3;
        msg.prev_index = 7;
        msg.prev_term = bad[i].prev_term;
        msg.entries = list;
        msg.n_entries = 2;
        refuse(&msg);
    }
}
