/* What clients see of a map server that is one of several. */
#include "base/mem.h"
#include "client/request.h"
#include "eidmap.h"
#include "eidmap/error.h"
#include "mapserver/cluster.h"
#include "wire/convert.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct cluster c;

static void setup(void)
{
    cluster_start(&c, 0);
}

static void teardown(void)
{
    cluster_stop(&c);
}

TestSuite(replica_front, .init = setup, .fini = teardown, .timeout = 110);

static int open_as(unsigned i, const struct authority_files *files, struct em_call **ret_call,
                   char **ret_why)
{
    const char *servers[] = {cluster_serving(&c, i)};
    const struct em_client_config config = {.servers = servers,
                                            .n_servers = 1,
                                            .ca_file = files->ca,
                                            .cert_file = files->cert,
                                            .key_file = files->key,
                                            .timeout_ms = 8000};
    return em_call_open(&config, ret_call, ret_why);
}

static struct em_call *open_operator(unsigned i)
{
    struct em_call *call = NULL;
    char *why = NULL;
    cr_assert_eq(open_as(i, &c.op, &call, &why), 0, "%s", why);
    return call;
}

/* What came back. */
static struct {
    struct em_call *call;
    int err;
    Eidmap__Envelope__BodyCase body;
    Eidmap__ErrorCode code;
    char message[256];
    uint64_t revision, snapshot, total;
    size_t size;
} got;

static void on_reply(void *aux, int err, const Eidmap__Envelope *reply)
{
    got.err = err;
    if (reply) {
        got.body = reply->body_case;
        switch (reply->body_case) {
        case EIDMAP__ENVELOPE__BODY_ERROR:
            got.code = reply->error->code;
            snprintf(got.message, sizeof(got.message), "%s", reply->error->message);
            break;
        case EIDMAP__ENVELOPE__BODY_RESOLVE_REPLY:
            got.revision = reply->resolve_reply->revision;
            break;
        case EIDMAP__ENVELOPE__BODY_CHUNK:
            got.snapshot = reply->chunk->snapshot;
            got.total = reply->chunk->total;
            got.size = reply->chunk->data.len;
            break;
        default:
            break;
        }
    }
    em_call_done(got.call);
}

static void ask_in_vain(struct em_call *call, Eidmap__Envelope *envelope)
{
    memset(&got, 0, sizeof(got));
    got.call = call;
    cr_assert_gt(em_client_send(em_call_client(call), envelope, false, on_reply, NULL), 0);
    cr_assert_eq(em_call_wait(call, 15000), 0, "no answer");
}

static void ask(struct em_call *call, Eidmap__Envelope *envelope)
{
    ask_in_vain(call, envelope);
    cr_assert_eq(got.err, 0, "%s", em_strerror(got.err));
}

static void assert_error(Eidmap__ErrorCode code, const char *part)
{
    cr_assert_eq(got.body, EIDMAP__ENVELOPE__BODY_ERROR, "body %d", got.body);
    cr_assert_eq(got.code, code, "%d: %s", got.code, got.message);
    cr_assert(strstr(got.message, part), "%s", got.message);
}

/* ---- reads ---------------------------------------------------------------------------------- */

static void resolve(struct em_call *call, bool is_consistent, uint64_t min_revision)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Resolve msg = EIDMAP__RESOLVE__INIT;
    struct em_arena arena;
    struct em_eid eid;
    char name[EM_EID_TEXT];
    em_arena_init(&arena, 0);
    cr_assert_eq(em_eid_parse("10.0.0.1", &eid, name, NULL), 0);
    Eidmap__Eid *eids[] = {em_eid_to_msg(&arena, &eid)};
    msg.network_name = (char *)"blue";
    msg.eids = eids;
    msg.n_eids = 1;
    msg.consistent = is_consistent;
    msg.min_revision = min_revision;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_RESOLVE;
    envelope.resolve = &msg;
    ask_in_vain(call, &envelope);
    em_arena_fini(&arena);
}

Test(replica_front, consistent_reads_see_what_was_written_elsewhere)
{
    cluster_grow(&c, 3);
    struct em_call *calls[3];
    for (unsigned i = 0; i < 3; i++)
        calls[i] = open_operator(i);
    for (unsigned k = 0; k < 30; k++) {
        char name[32];
        snprintf(name, sizeof(name), "n%u", k);
        uint64_t revision = cluster_put(&c, k % 3, name).revision;
        cr_assert_gt(revision, 0);
        resolve(calls[(k + 1) % 3], true, 0);
        cr_assert_eq(got.body, EIDMAP__ENVELOPE__BODY_RESOLVE_REPLY, "%s", got.message);
        cr_assert_geq(got.revision, revision);
        resolve(calls[(k + 2) % 3], false, revision);
        cr_assert_eq(got.body, EIDMAP__ENVELOPE__BODY_RESOLVE_REPLY, "%s", got.message);
        cr_assert_geq(got.revision, revision);
    }
    for (unsigned i = 0; i < 3; i++)
        em_call_close(calls[i]);
}

static void register_port(struct em_call *call, const char *network, unsigned k)
{
    uint8_t mac[] = {2, 0, 0, 0, 0, (uint8_t)k};
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Register msg = EIDMAP__REGISTER__INIT;
    Eidmap__Claim claim = EIDMAP__CLAIM__INIT, *claims[] = {&claim};
    Eidmap__Port port = EIDMAP__PORT__INIT;
    Eidmap__Eid eid = EIDMAP__EID__INIT, *eids[] = {&eid};
    eid.kind = EIDMAP__EID_KIND__EID_MAC;
    eid.address = (ProtobufCBinaryData){sizeof(mac), mac};
    port.id = (ProtobufCBinaryData){strlen(network), (uint8_t *)(uintptr_t)network};
    port.eids = eids;
    port.declared = true;
    port.n_eids = 1;
    claim.port = &port;
    msg.network_name = (char *)(uintptr_t)network;
    msg.claims = claims;
    msg.n_claims = 1;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_REGISTER;
    envelope.register_ = &msg;
    ask_in_vain(call, &envelope);
}

Test(replica_front, ports_are_registered_in_a_network_that_was_made_elsewhere)
{
    cluster_grow(&c, 3);
    struct em_call *calls[3];
    for (unsigned i = 0; i < 3; i++)
        calls[i] = open_operator(i);
    for (unsigned k = 0; k < 30; k++) {
        char name[32];
        snprintf(name, sizeof(name), "n%u", k);
        cr_assert_gt(cluster_put(&c, k % 3, name).revision, 0);
        register_port(calls[(k + 1) % 3], name, k);
        cr_assert_eq(got.body, EIDMAP__ENVELOPE__BODY_REGISTER_REPLY, "%s: %s", name, got.message);
    }
    register_port(calls[0], "nowhere", 0);
    assert_error(EIDMAP__ERROR_CODE__ERROR_NOT_FOUND, "no network of this name");
    for (unsigned i = 0; i < 3; i++)
        em_call_close(calls[i]);
}

Test(replica_front, revision_that_nobody_has_is_refused)
{
    cluster_grow(&c, 2);
    for (unsigned i = 0; i < 2; i++) {
        struct em_call *call = open_operator(i);
        resolve(call, false, 1000000);
        assert_error(EIDMAP__ERROR_CODE__ERROR_STALE, "min_revision");
        resolve(call, false, 0);
        cr_assert_eq(got.body, EIDMAP__ENVELOPE__BODY_RESOLVE_REPLY, "it goes on");
        em_call_close(call);
    }
}

Test(replica_front, without_a_majority_only_reads_that_must_be_right_wait_in_vain)
{
    cluster_grow(&c, 2);
    unsigned other = 1 - cluster_leader(&c);
    struct em_call *call = open_operator(other);
    cluster_down(&c, 1 - other);
    resolve(call, false, 0);
    cr_assert_eq(got.body, EIDMAP__ENVELOPE__BODY_RESOLVE_REPLY);
    resolve(call, true, 0);
    cr_assert_eq(got.err, EM_E_TIMEOUT, "the client asks again until it has no patience any more");
    em_call_close(call);
}

/* ---- the feed ------------------------------------------------------------------------------- */

struct feed {
    struct em_call *call;
    unsigned n_complete, n_start_over;
    int err;
};

static void on_feed(void *aux, const struct em_feed *page)
{
    struct feed *feed = aux;
    feed->err = page->err;
    feed->n_complete += page->is_complete;
    feed->n_start_over += page->is_start_over;
    em_call_done(feed->call);
}

static void subscribe(struct feed *feed, uint64_t cursor)
{
    int64_t id = em_client_subscribe(em_call_client(feed->call), 0, NULL, cursor, on_feed, feed);
    cr_assert_gt(id, 0);
    while (!feed->n_complete)
        cr_assert_eq(em_call_wait(feed->call, 8000), 0);
    cr_assert_eq(feed->err, 0);
    em_client_cancel(em_call_client(feed->call), id);
}

/* The client has failed over from a server that was ahead. */
Test(replica_front, cursor_ahead_of_the_map_is_waited_for)
{
    cluster_grow(&c, 2);
    unsigned leader = cluster_leader(&c);
    struct em_call *call = open_operator(1 - leader);
    for (unsigned k = 0; k < 20; k++) {
        char name[32];
        struct feed feed = {call};
        snprintf(name, sizeof(name), "n%u", k);
        subscribe(&feed, cluster_put(&c, leader, name).revision);
        cr_assert_eq(feed.n_start_over, 0, "it would lose what it has");
    }
    em_call_close(call);
}

Test(replica_front, cursor_of_another_map_starts_over)
{
    cluster_grow(&c, 2);
    cr_assert_eq(cluster_put(&c, 0, "blue").err, 0);
    struct feed feed = {open_operator(1)};
    subscribe(&feed, 1000000);
    cr_assert_eq(feed.n_start_over, 1);
    em_call_close(feed.call);
}

/* ---- copies --------------------------------------------------------------------------------- */

static void fetch(struct em_call *call, uint64_t snapshot, uint64_t offset, uint32_t size)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Fetch msg = EIDMAP__FETCH__INIT;
    msg.snapshot = snapshot;
    msg.offset = offset;
    msg.size = size;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_FETCH;
    envelope.fetch = &msg;
    ask(call, &envelope);
}

Test(replica_front, copy_is_fetched_by_offset_and_forgotten_ones_are_told)
{
    cr_assert_eq(cluster_put(&c, 0, "blue").err, 0);
    struct em_call *call = open_operator(0);
    fetch(call, 0, 0, 100);
    cr_assert_eq(got.body, EIDMAP__ENVELOPE__BODY_CHUNK, "%s", got.message);
    uint64_t snapshot = got.snapshot, total = got.total;
    cr_assert_gt(total, 100);
    fetch(call, snapshot, 10, 20);
    cr_assert_eq(got.snapshot, snapshot);
    cr_assert_eq(got.size, 20);
    fetch(call, snapshot, total - 5, 1000);
    cr_assert_eq(got.size, 5);
    fetch(call, snapshot, total + 5, 10);
    cr_assert_eq(got.body, EIDMAP__ENVELOPE__BODY_CHUNK);
    cr_assert_eq(got.size, 0);
    fetch(call, snapshot + 1, 0, 10);
    assert_error(EIDMAP__ERROR_CODE__ERROR_NOT_FOUND, "begin again");
    fetch(call, 0, 0, 100);
    cr_assert_eq(got.snapshot, snapshot, "a fresh one serves the next who asks");
    em_call_close(call);
}

Test(replica_front, copy_of_a_future_is_refused)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Fetch msg = EIDMAP__FETCH__INIT;
    struct em_call *call = open_operator(0);
    msg.min_index = 1000000;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_FETCH;
    envelope.fetch = &msg;
    ask(call, &envelope);
    assert_error(EIDMAP__ERROR_CODE__ERROR_BUSY, "behind");
    em_call_close(call);
}

static void restore(struct em_call *call, uint64_t offset, uint64_t total)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Restore msg = EIDMAP__RESTORE__INIT;
    msg.offset = offset;
    msg.total = total;
    msg.data = (ProtobufCBinaryData){5, (uint8_t *)"hello"};
    msg.crc32c = 0x9a71bb4c;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_RESTORE;
    envelope.restore = &msg;
    ask(call, &envelope);
}

Test(replica_front, nothing_is_restored_over_a_map_or_from_rubbish)
{
    struct em_call *call = open_operator(0);
    restore(call, 5, 100);
    assert_error(EIDMAP__ERROR_CODE__ERROR_MALFORMED, "do not fit");
    restore(call, 0, 5);
    assert_error(EIDMAP__ERROR_CODE__ERROR_MALFORMED, "the file is not a copy of a map");
    cr_assert_eq(cluster_put(&c, 0, "blue").err, 0);
    restore(call, 0, 5);
    assert_error(EIDMAP__ERROR_CODE__ERROR_IN_USE, "has a map already");
    cluster_grow(&c, 2);
    restore(call, 0, 5);
    assert_error(EIDMAP__ERROR_CODE__ERROR_IN_USE, "more than one member");
    em_call_close(call);
}

/* ---- members and roles ------------------------------------------------------------------------
 */

static void change(struct em_call *call, int what, const char *name, const char *address)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__ChangeMember msg = EIDMAP__CHANGE_MEMBER__INIT;
    msg.change = (Eidmap__MemberChange)what;
    msg.name = (char *)name;
    msg.address = (char *)address;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_CHANGE_MEMBER;
    envelope.change_member = &msg;
    ask(call, &envelope);
}

Test(replica_front, changes_of_the_members_are_checked)
{
    struct em_call *call = open_operator(0);
    change(call, 99, "ms2", "");
    assert_error(EIDMAP__ERROR_CODE__ERROR_UNSUPPORTED, "does not know");
    change(call, EIDMAP__MEMBER_CHANGE__MEMBER_ADD, "", "tls://127.0.0.1:1");
    assert_error(EIDMAP__ERROR_CODE__ERROR_MALFORMED, "certificate");
    change(call, EIDMAP__MEMBER_CHANGE__MEMBER_ADD, "ms2", "unix:/nowhere");
    assert_error(EIDMAP__ERROR_CODE__ERROR_MALFORMED, "tls://");
    change(call, EIDMAP__MEMBER_CHANGE__MEMBER_ADD, "ms2", "");
    assert_error(EIDMAP__ERROR_CODE__ERROR_MALFORMED, "tls://");
    change(call, EIDMAP__MEMBER_CHANGE__MEMBER_REMOVE, "ms2", "");
    assert_error(EIDMAP__ERROR_CODE__ERROR_NOT_FOUND, "no member");
    change(call, EIDMAP__MEMBER_CHANGE__MEMBER_REMOVE, "ms1", "");
    cr_assert_eq(got.body, EIDMAP__ENVELOPE__BODY_ERROR, "the last one stays");
    change(call, EIDMAP__MEMBER_CHANGE__MEMBER_TRANSFER, "ms1", "");
    cr_assert_eq(got.body, EIDMAP__ENVELOPE__BODY_DONE, "it leads: %s", got.message);
    em_call_close(call);
}

Test(replica_front, servers_may_fetch_and_no_more)
{
    struct authority_files files = authority_issue(&c.authority, EM_ROLE_SERVER, "ms9");
    struct em_call *call = NULL;
    char *why = NULL;
    cr_assert_eq(open_as(0, &files, &call, &why), 0, "%s", why);
    fetch(call, 0, 0, 10);
    cr_assert_eq(got.body, EIDMAP__ENVELOPE__BODY_CHUNK, "%s", got.message);
    resolve(call, false, 0);
    assert_error(EIDMAP__ERROR_CODE__ERROR_DENIED, "");
    change(call, EIDMAP__MEMBER_CHANGE__MEMBER_REMOVE, "ms1", "");
    assert_error(EIDMAP__ERROR_CODE__ERROR_DENIED, "");
    restore(call, 0, 5);
    assert_error(EIDMAP__ERROR_CODE__ERROR_DENIED, "");
    em_call_close(call);
    authority_files_free(&files);
}

/* As the node "hv1", to one server. */
static int open_node(unsigned server, const struct authority_files *files, uint32_t timeout_ms,
                     struct em_call **ret_call, char **ret_why)
{
    const char *servers[] = {cluster_serving(&c, server)};
    struct em_rloc rloc = {.ip = {.size = 4, .addr = {192, 0, 2, 1}}, .encap = EM_ENCAP_VXLAN};
    return em_call_open(&(struct em_client_config){.servers = servers,
                                                   .n_servers = 1,
                                                   .ca_file = files->ca,
                                                   .cert_file = files->cert,
                                                   .key_file = files->key,
                                                   .node_id = "hv1",
                                                   .rlocs = &rloc,
                                                   .n_rlocs = 1,
                                                   .timeout_ms = timeout_ms},
                        ret_call, ret_why);
}

Test(replica_front, nodes_fetch_nothing)
{
    struct authority_files files = authority_issue(&c.authority, EM_ROLE_NODE, "hv1");
    struct em_call *call = NULL;
    char *why = NULL;
    cr_assert_eq(open_node(0, &files, 8000, &call, &why), 0, "%s", why);
    fetch(call, 0, 0, 10);
    assert_error(EIDMAP__ERROR_CODE__ERROR_DENIED, "");
    change(call, EIDMAP__MEMBER_CHANGE__MEMBER_REMOVE, "ms1", "");
    assert_error(EIDMAP__ERROR_CODE__ERROR_DENIED, "");
    em_call_close(call);
    authority_files_free(&files);
}

Test(replica_front, server_that_waits_to_be_added_takes_no_agents)
{
    struct authority_files files = authority_issue(&c.authority, EM_ROLE_NODE, "hv1");
    cluster_up(&c, 1);
    struct em_call *call = open_operator(1);
    restore(call, 0, 5);
    assert_error(EIDMAP__ERROR_CODE__ERROR_IN_USE, "waits to be added");
    em_call_close(call);
    char *why = NULL;
    cr_assert_eq(open_node(1, &files, 1500, &call, &why), EM_E_TIMEOUT, "it looks for another one");
    free(why);
    authority_files_free(&files);
}
