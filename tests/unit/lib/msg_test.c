/* Frames, messages, and the writer that embeds stored bytes. */
#include "base/buf.h"
#include "base/mem.h"
#include "eidmap/error.h"
#include "wire/convert.h"
#include "wire/msg.h"
#include "wire/unpack.h"
#include "wire/writer.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct em_arena arena;
static struct em_buf buf;

static void setup(void)
{
    em_arena_init(&arena, 0);
    em_buf_init(&buf);
}

static void teardown(void)
{
    em_arena_fini(&arena);
    em_buf_fini(&buf);
}

TestSuite(msg, .init = setup, .fini = teardown);

static void append_heartbeat(uint64_t id)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Heartbeat heartbeat = EIDMAP__HEARTBEAT__INIT;
    envelope.id = id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_HEARTBEAT;
    envelope.heartbeat = &heartbeat;
    heartbeat.installed_revision = 77;
    cr_assert_eq(em_msg_append(&buf, &envelope), 0);
}

Test(msg, a_frame_comes_back_as_it_was_sent)
{
    append_heartbeat(12);
    ssize_t size = em_frame_size(em_buf_head(&buf), em_buf_size(&buf));
    cr_assert_eq(size, (ssize_t)em_buf_size(&buf));
    Eidmap__Envelope *back = em_msg_unpack(&arena, em_buf_head(&buf) + EM_FRAME_HEADER,
                                           em_buf_size(&buf) - EM_FRAME_HEADER);
    cr_assert_not_null(back);
    cr_assert_eq(back->id, 12);
    cr_assert_eq(back->body_case, EIDMAP__ENVELOPE__BODY_HEARTBEAT);
    cr_assert_eq(back->heartbeat->installed_revision, 77);
}

Test(msg, a_frame_that_is_not_whole_waits)
{
    append_heartbeat(1);
    for (size_t n = 0; n < em_buf_size(&buf); n++)
        cr_assert_eq(em_frame_size(em_buf_head(&buf), n), 0, "at %zu bytes", n);
}

Test(msg, a_length_of_zero_or_over_1_mib_is_no_frame)
{
    static const uint8_t zero[] = {0, 0, 0, 0};
    static const uint8_t most[] = {0x00, 0x10, 0x00, 0x00};
    static const uint8_t over[] = {0x00, 0x10, 0x00, 0x01};
    cr_assert_eq(em_frame_size(zero, sizeof(zero)), EM_E_FRAME);
    cr_assert_eq(em_frame_size(most, sizeof(most)), 0);
    cr_assert_eq(em_frame_size(over, sizeof(over)), EM_E_FRAME);
}

Test(msg, a_message_over_1_mib_is_not_sent)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Error error = EIDMAP__ERROR__INIT;
    char *text = em_malloc(EM_FRAME_MAX + 1);
    memset(text, 'x', EM_FRAME_MAX);
    text[EM_FRAME_MAX] = '\0';
    envelope.body_case = EIDMAP__ENVELOPE__BODY_ERROR;
    envelope.error = &error;
    error.message = text;
    cr_assert_eq(em_msg_append(&buf, &envelope), EM_E_LIMIT);
    cr_assert_eq(em_buf_size(&buf), 0);
    free(text);
}

Test(msg, garbage_is_refused)
{
    static const uint8_t garbage[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    cr_assert_null(em_msg_unpack(&arena, garbage, sizeof(garbage)));
}

Test(msg, a_message_that_would_fill_the_arena_is_refused)
{
    struct em_arena small;
    em_arena_init(&small, 256);
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Resolve resolve = EIDMAP__RESOLVE__INIT;
    Eidmap__Eid eid = EIDMAP__EID__INIT, *eids[64];
    for (size_t i = 0; i < 64; i++)
        eids[i] = &eid;
    resolve.eids = eids;
    resolve.n_eids = 64;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_RESOLVE;
    envelope.resolve = &resolve;
    cr_assert_eq(em_msg_append(&buf, &envelope), 0);
    cr_assert_null(em_msg_unpack(&small, em_buf_head(&buf) + 4, em_buf_size(&buf) - 4));
    cr_assert_not_null(em_msg_unpack(&arena, em_buf_head(&buf) + 4, em_buf_size(&buf) - 4));
    em_arena_fini(&small);
}

Test(msg, an_unknown_body_leaves_the_case_not_set)
{
    size_t start = em_frame_begin(&buf, 5);
    size_t nest = em_nest_begin(&buf, 999);
    em_put_uint(&buf, 1, 3);
    em_nest_end(&buf, nest);
    cr_assert_eq(em_frame_end(&buf, start), 0);
    Eidmap__Envelope *back = em_msg_unpack(&arena, em_buf_head(&buf) + 4, em_buf_size(&buf) - 4);
    cr_assert_not_null(back);
    cr_assert_eq(back->body_case, EIDMAP__ENVELOPE__BODY__NOT_SET);
    cr_assert_eq(back->id, 5);
}

Test(msg, an_error_carries_its_wire_code_and_a_text)
{
    Eidmap__Envelope envelope;
    Eidmap__Error error;
    em_msg_error(&envelope, &error, 9, EM_E_MOVED, NULL);
    cr_assert_eq(error.code, EIDMAP__ERROR_CODE__ERROR_MOVED);
    cr_assert_str_not_empty(error.message);
    em_msg_error(&envelope, &error, 9, -EIO, "the disk is gone");
    cr_assert_eq(error.code, EIDMAP__ERROR_CODE__ERROR_INTERNAL);
    cr_assert_str_eq(error.message, "the disk is gone");
}

/* ---- the writer: what it writes, protobuf-c reads ------------------------------------ */

Test(msg, written_answers_are_read_as_a_resolve_reply)
{
    Eidmap__Port port = EIDMAP__PORT__INIT;
    struct em_buf stored;
    em_buf_init(&stored);
    port.id = (ProtobufCBinaryData){4, (uint8_t *)"web1"};
    port.network_id = 300;
    em_msg_pack(&stored, &port.base);

    size_t frame = em_frame_begin(&buf, 1ull << 40);
    size_t body = em_nest_begin(&buf, EIDMAP__ENVELOPE__BODY_RESOLVE_REPLY);
    em_put_uint(&buf, 1, 0xffffffffffull);
    for (int i = 0; i < 1000; i++) {
        size_t answer = em_nest_begin(&buf, 2);
        em_put_bytes(&buf, 2, em_buf_head(&stored), em_buf_size(&stored));
        em_put_uint(&buf, 6, 60);
        em_nest_end(&buf, answer);
    }
    em_nest_end(&buf, body);
    cr_assert_eq(em_frame_end(&buf, frame), 0);

    Eidmap__Envelope *back = em_msg_unpack(&arena, em_buf_head(&buf) + 4, em_buf_size(&buf) - 4);
    cr_assert_not_null(back);
    cr_assert_eq(back->id, 1ull << 40);
    cr_assert_eq(back->body_case, EIDMAP__ENVELOPE__BODY_RESOLVE_REPLY);
    cr_assert_eq(back->resolve_reply->revision, 0xffffffffffull);
    cr_assert_eq(back->resolve_reply->n_answers, 1000);
    cr_assert_eq(back->resolve_reply->answers[999]->port->network_id, 300);
    cr_assert_eq(back->resolve_reply->answers[999]->ttl_s, 60);
    em_buf_fini(&stored);
}

Test(msg, a_written_frame_that_is_too_large_is_taken_back)
{
    static uint8_t big[600 << 10];
    append_heartbeat(1);
    size_t before = em_buf_size(&buf);
    size_t frame = em_frame_begin(&buf, 2);
    em_put_bytes(&buf, 100, big, sizeof(big));
    em_put_bytes(&buf, 100, big, sizeof(big));
    cr_assert_eq(em_frame_end(&buf, frame), EM_E_LIMIT);
    cr_assert_eq(em_buf_size(&buf), before);
}

Test(msg, a_dropped_frame_leaves_what_was_before)
{
    append_heartbeat(1);
    size_t before = em_buf_size(&buf);
    size_t frame = em_frame_begin(&buf, 2);
    em_put_uint(&buf, 100, 5);
    em_frame_drop(&buf, frame);
    cr_assert_eq(em_buf_size(&buf), before);
}

Test(msg, a_wrapped_record_is_read_as_a_change)
{
    static const size_t sizes[] = {1, 120, 121, 127, 128, 16000, 17000};
    static char text[17000];
    memset(text, 'x', sizeof(text));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct em_buf port;
        em_buf_init(&port);
        em_put_bytes(&port, 9, text, sizes[i]); /* Port.allowed_nodes */
        em_buf_take(&buf, em_buf_size(&buf));
        em_put_wrapped(&buf, 3, 1, em_buf_head(&port), em_buf_size(&port));
        em_put_wrapped(&buf, 3, 1, em_buf_head(&port), em_buf_size(&port));
        const Eidmap__Changes *changes = em_msg_unpack_as(&arena, &eidmap__changes__descriptor,
                                                          em_buf_head(&buf), em_buf_size(&buf));
        cr_assert_not_null(changes);
        cr_assert_eq(changes->n_changes, 2);
        cr_assert_not_null(changes->changes[1]->port);
        cr_assert_eq(changes->changes[1]->port->n_allowed_nodes, 1);
        cr_assert_eq(strlen(changes->changes[1]->port->allowed_nodes[0]), sizes[i]);
        em_buf_fini(&port);
    }
}

/* ---- plain questions, without protobuf-c ----------------------------------------------- */

static bool is_question(const Eidmap__Resolve *resolve, struct em_question *ret_question)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    envelope.id = 1ull << 40;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_RESOLVE;
    envelope.resolve = (Eidmap__Resolve *)resolve;
    em_buf_take(&buf, em_buf_size(&buf));
    em_msg_pack(&buf, &envelope.base);
    return em_question_unpack(em_buf_head(&buf), em_buf_size(&buf), ret_question);
}

Test(msg, a_plain_question_is_read_from_its_bytes)
{
    uint8_t ip[] = {10, 0, 0, 1};
    Eidmap__Eid eid = EIDMAP__EID__INIT, *eids[] = {&eid, &eid};
    Eidmap__Resolve resolve = EIDMAP__RESOLVE__INIT;
    struct em_question question;
    eid.kind = EIDMAP__EID_KIND__EID_IPV4;
    eid.address = (ProtobufCBinaryData){4, ip};
    resolve.network_id = 300;
    resolve.eids = eids;
    resolve.n_eids = 1;
    cr_assert(is_question(&resolve, &question));
    cr_assert_eq(question.id, 1ull << 40);
    cr_assert_eq(question.network_id, 300);
    cr_assert_eq(question.eid.kind, EM_EID_IPV4);
    cr_assert_arr_eq(question.eid.addr, ip, 4);
    for (size_t size = em_buf_size(&buf); size--;)
        cr_assert_not(em_question_unpack(em_buf_head(&buf), size, &question), "cut to %zu", size);
}

Test(msg, a_question_with_more_to_it_is_left_to_protobuf)
{
    uint8_t ip[] = {10, 0, 0, 1};
    Eidmap__Eid eid = EIDMAP__EID__INIT, prefix = EIDMAP__EID__INIT, *eids[] = {&eid, &eid};
    Eidmap__Eid *prefixes[] = {&prefix};
    struct em_question question;
    eid.kind = EIDMAP__EID_KIND__EID_IPV4;
    eid.address = (ProtobufCBinaryData){4, ip};
    prefix.kind = EIDMAP__EID_KIND__EID_IPV4_PREFIX;
    prefix.address = eid.address;
    const Eidmap__Resolve plain = {.base = PROTOBUF_C_MESSAGE_INIT(&eidmap__resolve__descriptor),
                                   .network_id = 3,
                                   .network_name = (char *)"",
                                   .n_eids = 1,
                                   .eids = eids};
    Eidmap__Resolve more[] = {plain, plain, plain, plain, plain, plain, plain, plain, plain};
    more[1].watch = more[2].with_nodes = more[3].consistent = true;
    more[4].min_revision = 1;
    more[5].network_name = (char *)"blue";
    more[6].n_eids = 2;
    more[7].network_id = 0;
    more[8].eids = prefixes;
    cr_assert(is_question(&more[0], &question));
    for (size_t i = 1; i < sizeof(more) / sizeof(more[0]); i++)
        cr_assert_not(is_question(&more[i], &question), "case %zu", i);
}
