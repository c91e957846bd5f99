#include "client/reply.h"

#include "base/mem.h"

#include <criterion/criterion.h>

#define BODY(name) EIDMAP__ENVELOPE__BODY_##name

static struct em_arena arena;
static struct em_reply reply;
static struct em_feed page;

static void setup(void)
{
    em_arena_init(&arena, 0);
}

static void teardown(void)
{
    em_arena_fini(&arena);
}

TestSuite(reply, .init = setup, .fini = teardown);

static const struct em_pending network_feed = {.kind = EM_PENDING_FEED, .cursor.network_id = 5};
static uint8_t address[] = {10, 0, 0, 7};
static uint8_t id[] = "p1";

static Eidmap__Eid ipv4(void)
{
    Eidmap__Eid eid = EIDMAP__EID__INIT;
    eid.kind = EIDMAP__EID_KIND__EID_IPV4;
    eid.address = (ProtobufCBinaryData){sizeof(address), address};
    return eid;
}

static Eidmap__Port port(void)
{
    Eidmap__Port port = EIDMAP__PORT__INIT;
    port.id = (ProtobufCBinaryData){2, id};
    port.network_id = 5;
    return port;
}

static int from_error(Eidmap__Error *error)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    envelope.body_case = BODY(ERROR);
    envelope.error = error;
    return em_reply_from_msg(&arena, &(struct em_pending){.expect = BODY(DONE)}, &envelope, &reply);
}

static int from_answer(Eidmap__Answer *answer)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__ResolveReply msg = EIDMAP__RESOLVE_REPLY__INIT;
    msg.answers = &answer;
    msg.n_answers = 1;
    envelope.body_case = BODY(RESOLVE_REPLY);
    envelope.resolve_reply = &msg;
    return em_reply_from_msg(&arena,
                             &(struct em_pending){.expect = BODY(RESOLVE_REPLY), .n_records = 1},
                             &envelope, &reply);
}

static int from_page(struct em_arena *to, const Eidmap__Changes *msg)
{
    static uint8_t bytes[4096];
    size_t size = eidmap__changes__pack(msg, bytes);
    return em_reply_feed_page(to, &network_feed, bytes, size, &page);
}

static int from_change(Eidmap__Change *change)
{
    Eidmap__Changes msg = EIDMAP__CHANGES__INIT;
    msg.network_id = 5;
    msg.changes = &change;
    msg.n_changes = 1;
    return from_page(&arena, &msg);
}

static int from_gone(Eidmap__ObjectKind kind, const char *bytes, size_t size)
{
    Eidmap__Change change = EIDMAP__CHANGE__INIT;
    Eidmap__Gone gone = EIDMAP__GONE__INIT;
    gone.kind = kind;
    gone.id = (ProtobufCBinaryData){size, (uint8_t *)bytes};
    change.gone = &gone;
    return from_change(&change);
}

Test(reply, moved_says_where_the_port_is)
{
    Eidmap__Error error = EIDMAP__ERROR__INIT;
    Eidmap__Port current = port();
    error.code = EIDMAP__ERROR_CODE__ERROR_MOVED;
    error.message = (char *)"it is on hv2";
    error.field = (char *)"claims[3].port";
    error.record = 3;
    error.current = &current;
    cr_assert_eq(from_error(&error), 0);
    cr_assert_eq(reply.err, EM_E_MOVED);
    cr_assert_str_eq(reply.message, "it is on hv2");
    cr_assert_str_eq(reply.field, "claims[3].port");
    cr_assert_eq(reply.record, 3);
    cr_assert_eq(reply.current->network_id, 5);
}

Test(reply, error_without_a_sentence_gets_one)
{
    Eidmap__Error error = EIDMAP__ERROR__INIT;
    error.code = EIDMAP__ERROR_CODE__ERROR_BUSY;
    cr_assert_eq(from_error(&error), 0);
    cr_assert_str_eq(reply.message, em_strerror(EM_E_BUSY));
}

Test(reply, error_is_never_taken_for_success)
{
    Eidmap__Error error = EIDMAP__ERROR__INIT;
    cr_assert_eq(from_error(&error), 0);
    cr_assert_eq(reply.err, EM_E_INTERNAL);
    error.code = (Eidmap__ErrorCode)99; /* of a later version */
    cr_assert_eq(from_error(&error), 0);
    cr_assert_eq(reply.err, EM_E_INTERNAL);
}

Test(reply, error_with_a_broken_record_is_malformed)
{
    Eidmap__Error error = EIDMAP__ERROR__INIT;
    Eidmap__Port current = EIDMAP__PORT__INIT; /* without an id */
    error.current = &current;
    cr_assert_eq(from_error(&error), EM_E_MALFORMED);
}

Test(reply, answer_has_its_port_and_what_it_covers)
{
    Eidmap__Answer answer = EIDMAP__ANSWER__INIT;
    Eidmap__Eid eid = ipv4(), covers = ipv4();
    Eidmap__Port found = port();
    covers.kind = EIDMAP__EID_KIND__EID_IPV4_PREFIX;
    covers.prefix_len = 24;
    answer.eid = answer.matched = &eid;
    answer.covers = &covers;
    answer.port = &found;
    cr_assert_eq(from_answer(&answer), 0);
    cr_assert_eq(reply.n_answers, 1);
    cr_assert_eq(reply.answers[0].matched.kind, EM_EID_IPV4);
    cr_assert_eq(reply.answers[0].covers.prefix_len, 24);
    cr_assert_eq(reply.answers[0].port->id.size, 2);
    cr_assert_str_eq(reply.answers[0].reason, "");
}

Test(reply, broken_answers_are_malformed)
{
    Eidmap__Answer answer = EIDMAP__ANSWER__INIT;
    Eidmap__Eid eid = ipv4(), cut = ipv4();
    Eidmap__Port nameless = EIDMAP__PORT__INIT;
    cut.address.len = 3;
    cr_assert_eq(from_answer(&answer), EM_E_MALFORMED, "no EID");
    answer.eid = &cut;
    cr_assert_eq(from_answer(&answer), EM_E_MALFORMED, "a short EID");
    answer.eid = &eid;
    cr_assert_eq(from_answer(&answer), 0);
    answer.matched = &cut;
    cr_assert_eq(from_answer(&answer), EM_E_MALFORMED);
    answer.matched = NULL;
    answer.covers = &cut;
    cr_assert_eq(from_answer(&answer), EM_E_MALFORMED);
    answer.covers = NULL;
    answer.port = &nameless;
    cr_assert_eq(from_answer(&answer), EM_E_MALFORMED);
    answer.port = NULL;
    answer.action = (Eidmap__Action)6;
    cr_assert_eq(from_answer(&answer), EM_E_MALFORMED);
}

Test(reply, nodes_come_with_a_resolve)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__ResolveReply msg = EIDMAP__RESOLVE_REPLY__INIT;
    Eidmap__Node node = EIDMAP__NODE__INIT, *nodes[] = {&node};
    struct em_pending request = {.expect = BODY(RESOLVE_REPLY)};
    node.id = (char *)"hv1";
    msg.nodes = nodes;
    msg.n_nodes = 1;
    envelope.body_case = BODY(RESOLVE_REPLY);
    envelope.resolve_reply = &msg;
    cr_assert_eq(em_reply_from_msg(&arena, &request, &envelope, &reply), 0);
    cr_assert_eq(reply.n_nodes, 1);
    cr_assert_str_eq(reply.nodes[0].id, "hv1");
    node.state = (Eidmap__NodeState)7;
    cr_assert_eq(em_reply_from_msg(&arena, &request, &envelope, &reply), EM_E_MALFORMED);
}

Test(reply, status_lists_sessions_and_problems)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__StatusReply msg = EIDMAP__STATUS_REPLY__INIT;
    Eidmap__Session session = EIDMAP__SESSION__INIT, *sessions[] = {&session};
    char problem[] = "the disk is nearly full", *problems[] = {problem};
    uint8_t cluster[16] = {1, 2, 3};
    session.name = (char *)"hv1";
    session.role = EIDMAP__ROLE__ROLE_NODE;
    session.watches = 4;
    msg.listed = sessions;
    msg.n_listed = 1;
    msg.n_sessions = 9;
    msg.problems = problems;
    msg.n_problems = 1;
    msg.cluster_id = (ProtobufCBinaryData){16, cluster};
    msg.n_ports = 12;
    envelope.body_case = BODY(STATUS_REPLY);
    envelope.status_reply = &msg;
    struct em_pending request = {.expect = BODY(STATUS_REPLY)};
    cr_assert_eq(em_reply_from_msg(&arena, &request, &envelope, &reply), 0);
    const struct em_status *status = reply.status;
    cr_assert_eq(status->n_ports, 12);
    cr_assert_eq(status->n_sessions, 9);
    cr_assert_eq(status->n_listed, 1);
    cr_assert_str_eq(status->sessions[0].role, "node");
    cr_assert_eq(status->sessions[0].n_watches, 4);
    cr_assert_str_eq(status->problems[0], "the disk is nearly full");
    cr_assert_arr_eq(status->cluster_id, cluster, 16);
    session.role = (Eidmap__Role)44;
    cr_assert_eq(em_reply_from_msg(&arena, &request, &envelope, &reply), 0);
    cr_assert_str_eq(reply.status->sessions[0].role, "");
}

Test(reply, status_lists_members)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__StatusReply msg = EIDMAP__STATUS_REPLY__INIT;
    Eidmap__Member member = EIDMAP__MEMBER__INIT, *members[] = {&member};
    member.replica = 0x8000000000000001;
    member.name = (char *)"ms2";
    member.role = EIDMAP__MEMBER_ROLE__MEMBER_VOTER;
    member.is_leader = true;
    member.match = 70;
    msg.members = members;
    msg.n_members = 1;
    msg.leader = (char *)"ms2";
    msg.last_index = 71;
    envelope.body_case = BODY(STATUS_REPLY);
    envelope.status_reply = &msg;
    struct em_pending request = {.expect = BODY(STATUS_REPLY)};
    cr_assert_eq(em_reply_from_msg(&arena, &request, &envelope, &reply), 0);
    const struct em_status *status = reply.status;
    cr_assert_str_eq(status->leader, "ms2");
    cr_assert_eq(status->last_index, 71);
    cr_assert_eq(status->n_members, 1);
    cr_assert_eq(status->members[0].replica, 0x8000000000000001);
    cr_assert_eq(status->members[0].role, EM_MEMBER_VOTER);
    cr_assert(status->members[0].is_leader && !status->members[0].is_connected);
    cr_assert_eq(status->members[0].match, 70);
    member.role = (Eidmap__MemberRole)44;
    cr_assert_eq(em_reply_from_msg(&arena, &request, &envelope, &reply), 0);
    cr_assert_eq(reply.status->members[0].role, EM_MEMBER_NONE);
}

Test(reply, done_carries_the_record_as_stored)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Done done = EIDMAP__DONE__INIT;
    Eidmap__Network network = EIDMAP__NETWORK__INIT;
    struct em_pending request = {.expect = BODY(DONE)};
    network.id = 3;
    network.name = (char *)"blue";
    done.network = &network;
    done.revision = 4;
    envelope.body_case = BODY(DONE);
    envelope.done = &done;
    cr_assert_eq(em_reply_from_msg(&arena, &request, &envelope, &reply), 0);
    cr_assert_str_eq(reply.network->name, "blue");
    cr_assert_eq(reply.revision, 4);
    network.segmentation_id = EM_SEGMENT_MAX + 1;
    cr_assert_eq(em_reply_from_msg(&arena, &request, &envelope, &reply), EM_E_MALFORMED);
}

Test(reply, request_is_no_answer)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Hello hello = EIDMAP__HELLO__INIT;
    envelope.body_case = BODY(HELLO);
    envelope.hello = &hello;
    struct em_pending request = {.expect = BODY(HELLO)};
    cr_assert_eq(em_reply_from_msg(&arena, &request, &envelope, &reply), EM_E_MALFORMED);
}

Test(reply, what_is_gone_is_named)
{
    cr_assert_eq(from_gone(EIDMAP__OBJECT_KIND__OBJECT_PORT, "p1", 2), 0);
    cr_assert(page.changes[0].is_gone);
    cr_assert_eq(page.changes[0].object, EM_OBJECT_PORT);
    cr_assert_eq(page.changes[0].gone_port.size, 2);
    cr_assert_eq(from_gone(EIDMAP__OBJECT_KIND__OBJECT_NODE, "hv12", 3), 0);
    cr_assert_str_eq(page.changes[0].gone_node, "hv1", "the message's bytes end without a NUL");
    cr_assert_eq(from_gone(EIDMAP__OBJECT_KIND__OBJECT_NETWORK, "\1\0\0\2", 4), 0);
    cr_assert_eq(page.changes[0].gone_network, 0x01000002);
}

Test(reply, gone_without_a_proper_id_is_malformed)
{
    static char big[64];
    cr_assert_eq(from_gone(EIDMAP__OBJECT_KIND__OBJECT_PORT, "", 0), EM_E_MALFORMED);
    cr_assert_eq(from_gone(EIDMAP__OBJECT_KIND__OBJECT_PORT, big, 64), EM_E_MALFORMED);
    cr_assert_eq(from_gone(EIDMAP__OBJECT_KIND__OBJECT_NODE, big, 64), EM_E_MALFORMED);
    cr_assert_eq(from_gone(EIDMAP__OBJECT_KIND__OBJECT_NODE, "a\0b", 3), EM_E_MALFORMED);
    cr_assert_eq(from_gone(EIDMAP__OBJECT_KIND__OBJECT_NETWORK, big, 3), EM_E_MALFORMED);
    cr_assert_eq(from_gone(EIDMAP__OBJECT_KIND__OBJECT_UNSPECIFIED, "p", 1), EM_E_MALFORMED);
}

Test(reply, objects_of_a_later_version_are_left_out)
{
    Eidmap__Change empty = EIDMAP__CHANGE__INIT;
    cr_assert_eq(from_change(&empty), 0);
    cr_assert_eq(page.n_changes, 0);
    cr_assert_eq(from_gone((Eidmap__ObjectKind)9, "x", 1), 0);
    cr_assert_eq(page.n_changes, 0);
}

Test(reply, broken_record_in_a_page_is_malformed)
{
    Eidmap__Change change = EIDMAP__CHANGE__INIT;
    Eidmap__Port nameless = EIDMAP__PORT__INIT, good = port();
    change.port = &nameless;
    cr_assert_eq(from_change(&change), EM_E_MALFORMED);
    change.port = &good;
    cr_assert_eq(from_change(&change), 0);
    cr_assert_eq(page.changes[0].port->network_id, 5);
}

/* The first one's size says nothing of the others'. */
Test(reply, page_may_hold_one_large_change_and_many_small_ones)
{
    static uint8_t long_id[60] = "p";
    Eidmap__Changes msg = EIDMAP__CHANGES__INIT;
    Eidmap__Port large = port(), small = EIDMAP__PORT__INIT;
    Eidmap__Change first = EIDMAP__CHANGE__INIT, other = EIDMAP__CHANGE__INIT, *changes[100];
    large.id = (ProtobufCBinaryData){sizeof(long_id), long_id};
    small.id = (ProtobufCBinaryData){2, id};
    first.port = &large;
    other.port = &small;
    changes[0] = &first;
    for (size_t i = 1; i < 100; i++)
        changes[i] = &other;
    msg.network_id = 5;
    msg.changes = changes;
    msg.n_changes = 100;
    msg.complete = true;
    cr_assert_eq(from_page(&arena, &msg), 0);
    cr_assert_eq(page.n_changes, 100);
    cr_assert_eq(page.changes[0].port->id.size, sizeof(long_id));
    for (size_t i = 1; i < 100; i++)
        cr_assert_eq(page.changes[i].port->id.size, 2);
    cr_assert(page.is_complete);
}

Test(reply, page_that_does_not_fit_into_the_arena_is_malformed)
{
    struct em_arena small;
    em_arena_init(&small, 16);
    Eidmap__Changes msg = EIDMAP__CHANGES__INIT;
    Eidmap__Change empty = EIDMAP__CHANGE__INIT, *changes[] = {&empty};
    msg.network_id = 5;
    msg.changes = changes;
    msg.n_changes = 1;
    cr_assert_eq(from_page(&small, &msg), EM_E_MALFORMED);
    em_arena_fini(&small);
}
