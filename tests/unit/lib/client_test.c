/* The client against servers that do what a test says, on one loop. */
#include "lib/client_scene.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

TestSuite(client, .init = scene_setup, .fini = scene_teardown, .timeout = 60);

static int64_t remove_node(const char *name, uintptr_t aux)
{
    return em_client_remove_node(scene.client, name, scene_on_reply, (void *)aux);
}

static const struct em_eid eid = {.kind = EM_EID_IPV4, .size = 4, .addr = {10, 0, 0, 7}};

/* ---- Hello ---- */

Test(client, says_who_it_is)
{
    struct em_rloc rloc = {.ip = {4, {192, 0, 2, 1}}, .encap = EM_ENCAP_VXLAN};
    scene_up(
        1, &(struct em_client_config){
               .node_id = "hv1", .boot_epoch = 9, .software = "t 1", .rlocs = &rloc, .n_rlocs = 1});
    const Eidmap__Hello *hello = fake_nth(&scene.one, BODY(HELLO), 0)->hello;
    cr_assert_eq(hello->protocol, 1);
    cr_assert_str_eq(hello->node_id, "hv1");
    cr_assert_str_eq(hello->software, "t 1");
    cr_assert_eq(hello->boot_epoch, 9);
    cr_assert_eq(hello->n_rlocs, 1);
    cr_assert_eq(hello->instance.len, 16);
    cr_assert(em_client_is_up(scene.client));
}

Test(client, says_the_same_hello_on_every_connection)
{
    scene_up(1, NULL);
    fake_cut(&scene.one);
    UNTIL(scene.seen.n_up == 2);
    cr_assert_arr_eq(fake_nth(&scene.one, BODY(HELLO), 0)->hello->instance.data,
                     fake_nth(&scene.one, BODY(HELLO), 1)->hello->instance.data, 16);
}

Test(client, refused_hello_is_told_and_not_repeated_soon)
{
    scene.one.hello_error = EM_E_DENIED;
    uint64_t started_ms = em_now_ms();
    scene_connect(1, NULL);
    UNTIL(scene.seen.n_down == 1);
    cr_assert_eq(scene.seen.down_err, EM_E_DENIED);
    cr_assert(strstr(scene.seen.down_why, "you are not wanted here"));
    cr_assert(strstr(scene.seen.down_why, scene.one.url), "it names the server");
    UNTIL(scene.one.n_accepted == 2);
    cr_assert_geq(em_now_ms() - started_ms + 2, scene_times.refused_ms);
}

Test(client, other_error_to_hello_leads_to_the_next_server)
{
    scene.one.hello_error = EM_E_BUSY;
    scene_connect(2, NULL);
    UNTIL(scene.seen.n_up == 1);
    cr_assert_str_eq(scene.seen.server, scene.two.url);
}

Test(client, superseded_session_ends_with_that_code)
{
    scene_up(1, NULL);
    fake_send_error(&scene.one, 0, EM_E_SUPERSEDED, "a newer agent is here");
    UNTIL(scene.seen.n_down == 1);
    cr_assert_eq(scene.seen.down_err, EM_E_SUPERSEDED);
    cr_assert_not(em_client_is_up(scene.client));
}

Test(client, dead_server_is_passed_by_at_once)
{
    fake_stop(&scene.one);
    scene_connect(2, NULL);
    UNTIL(scene.seen.n_up == 1);
    cr_assert_str_eq(scene.seen.server, scene.two.url);
    cr_assert(scene.seen.n_down == 0 || scene.seen.down_err == -ENOENT);
    fake_start(&scene.one, scene.loop, "one");
}

static void check_refused(const struct em_client_config *config, const char *expected)
{
    struct em_client *none = NULL;
    char *why = NULL;
    cr_assert_lt(em_client_new(scene.loop, config, NULL, NULL, &none, &why), 0);
    cr_assert_null(none);
    cr_assert(strstr(why, expected), "%s", why);
    free(why);
}

Test(client, faults_of_the_configuration_are_explained)
{
    const char *path = "unix:/nowhere", *tls = "tls://192.0.2.1:4342", *bad = "http://x";
    struct em_rloc rlocs[9] = {{{4, {192, 0, 2, 1}}, EM_ENCAP_VXLAN, 0}};
    check_refused(&(struct em_client_config){0}, "1 to 64");
    check_refused(&(struct em_client_config){.servers = &bad, .n_servers = 1}, "http://x");
    check_refused(&(struct em_client_config){.servers = &tls, .n_servers = 1}, "certificate");
    check_refused(&(struct em_client_config){.servers = &path, .n_servers = 1, .node_id = "a b"},
                  "node-id");
    check_refused(
        &(struct em_client_config){.servers = &path, .n_servers = 1, .rlocs = rlocs, .n_rlocs = 9},
        "8 RLOCs");
}

/* ---- requests ---- */

static void on_up_send(void *aux, const struct em_welcome *welcome)
{
    scene_on_up(aux, welcome);
    remove_node("from-on-up", 3);
    cr_assert_eq(fake_count(&scene.one, BODY(REMOVE_NODE)), 0,
                 "nothing is sent before on_up returns");
}

Test(client, what_waited_is_sent_in_order_after_on_up)
{
    static const struct em_client_events sending = {on_up_send, scene_on_down};
    const char *server = scene.one.url;
    struct em_client_config config = {.servers = &server, .n_servers = 1};
    char *why;
    cr_assert_eq(
        em_client_new_timed(scene.loop, &config, &scene_times, &sending, NULL, &scene.client, &why),
        0);
    remove_node("a", 1);
    remove_node("b", 2);
    UNTIL(fake_count(&scene.one, BODY(REMOVE_NODE)) == 3);
    static const char *names[] = {"a", "b", "from-on-up"};
    for (size_t i = 0; i < 3; i++)
        cr_assert_str_eq(fake_nth(&scene.one, BODY(REMOVE_NODE), i)->remove_node->node_id,
                         names[i]);
}

Test(client, answer_reaches_its_own_request)
{
    scene_up(1, NULL);
    int64_t a = remove_node("a", 1), b = remove_node("b", 2);
    cr_assert_lt(a, b);
    UNTIL(fake_count(&scene.one, BODY(REMOVE_NODE)) == 2);
    fake_send_done(&scene.one, (uint64_t)b, 11);
    fake_send_done(&scene.one, (uint64_t)a, 12);
    UNTIL(scene.seen.n_replies == 2);
    cr_assert_eq(scene.seen.order[0], 2);
    cr_assert_eq(scene.seen.order[1], 1);
    cr_assert_eq(scene.seen.revision, 12);
}

Test(client, refusal_carries_sentence_and_code)
{
    scene_up(1, NULL);
    int64_t id = remove_node("a", 1);
    UNTIL(scene.one.n_log == 2);
    fake_send_error(&scene.one, (uint64_t)id, EM_E_IN_USE, "the node has ports");
    UNTIL(scene.seen.n_replies == 1);
    cr_assert_eq(scene.seen.err, EM_E_IN_USE);
    cr_assert_str_eq(scene.seen.message, "the node has ports");
    cr_assert(em_client_is_up(scene.client), "an answer is not the end of the session");
}

Test(client, unanswered_are_sent_again_in_order_and_before_new_ones)
{
    scene_up(2, NULL);
    struct fake_server *first = scene_here(), *second = scene_there();
    int64_t a = remove_node("a", 1), b = remove_node("b", 2), c = remove_node("c", 3);
    UNTIL(fake_count(first, BODY(REMOVE_NODE)) == 3);
    fake_send_done(first, (uint64_t)b, 1);
    UNTIL(scene.seen.n_replies == 1);
    fake_cut(first);
    UNTIL(scene.seen.n_down == 1);
    int64_t d = remove_node("d", 4);
    UNTIL(fake_count(second, BODY(REMOVE_NODE)) == 3);
    int64_t want[] = {a, c, d};
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(fake_nth(second, BODY(REMOVE_NODE), i)->id, (uint64_t)want[i]);
    for (size_t i = 0; i < 3; i++)
        fake_send_done(second, (uint64_t)want[i], 1);
    UNTIL(scene.seen.n_replies == 4);
    scene_settle();
    cr_assert_eq(scene.seen.n_replies, 4, "each is answered once");
}

Test(client, many_requests_keep_their_order_under_back_pressure)
{
    enum { N = 1500 };
    static char name[1024];
    memset(name, 'x', sizeof(name) - 1);
    scene_connect(1, NULL);
    for (size_t i = 0; i < N; i++)
        cr_assert_gt(em_client_remove_node(scene.client, name, NULL, NULL), 0);
    UNTIL(scene.one.n_log == N + 1);
    for (size_t i = 1; i < N; i++)
        cr_assert_lt(scene.one.log[i]->id, scene.one.log[i + 1]->id);
}

Test(client, request_is_given_up_when_its_time_is_over)
{
    scene_up(1, &(struct em_client_config){.timeout_ms = 30});
    int64_t answered = remove_node("a", 1);
    remove_node("b", 2);
    UNTIL(scene.one.n_log == 3);
    fake_send_done(&scene.one, (uint64_t)answered, 1);
    UNTIL(scene.seen.n_replies == 2);
    cr_assert_eq(scene.seen.err, EM_E_TIMEOUT);
    cr_assert(strstr(scene.seen.message, "it may still be done"), "%s", scene.seen.message);
    cr_assert_eq(scene.seen.order[1], 2);
    fake_send_done(&scene.one, (uint64_t)answered + 1, 1); /* too late */
    scene_settle();
    cr_assert_eq(scene.seen.n_replies, 2);
    cr_assert(em_client_is_up(scene.client));
}

Test(client, a_watch_that_is_given_up_is_taken_back)
{
    scene_up(1, &(struct em_client_config){.timeout_ms = 30});
    int64_t id =
        em_client_resolve(scene.client, 0, "blue", &eid, 1, EM_RESOLVE_WATCH, scene_on_reply, NULL);
    UNTIL(scene.seen.n_replies == 1);
    cr_assert_eq(scene.seen.err, EM_E_TIMEOUT);
    cr_assert_str_eq(scene.seen.message, "the map server has not answered in time");
    UNTIL(fake_count(&scene.one, BODY(UNWATCH)) == 1);
    cr_assert_eq(fake_nth(&scene.one, BODY(UNWATCH), 0)->unwatch->watch_id, (uint64_t)id);
}

Test(client, request_without_any_server_is_given_up_too)
{
    scene.one.is_silent = scene.two.is_silent = true;
    scene_connect(2, &(struct em_client_config){.timeout_ms = 20});
    remove_node("a", 1);
    UNTIL(scene.seen.n_replies == 1);
    cr_assert_eq(scene.seen.err, EM_E_TIMEOUT);
    cr_assert_str_eq(scene.seen.message, "no map server answered in time");
}

Test(client, cancelled_request_is_not_called_back)
{
    scene_up(1, NULL);
    int64_t a = remove_node("a", 1);
    UNTIL(scene.one.n_log == 2);
    em_client_cancel(scene.client, a);
    em_client_cancel(scene.client, a);
    em_client_cancel(scene.client, 12345);
    fake_send_done(&scene.one, (uint64_t)a, 1);
    scene_settle();
    cr_assert_eq(scene.seen.n_replies, 0);
    cr_assert(em_client_is_up(scene.client));
}

Test(client, cancelled_request_that_waits_is_never_sent)
{
    scene_connect(1, NULL);
    em_client_cancel(scene.client, remove_node("a", 1));
    remove_node("b", 2);
    UNTIL(scene.one.n_log == 2);
    cr_assert_str_eq(fake_nth(&scene.one, BODY(REMOVE_NODE), 0)->remove_node->node_id, "b");
}

Test(client, more_than_the_protocol_allows_is_refused_at_once)
{
    static struct em_claim claims[4097];
    static struct em_eid eids[1025];
    static char name[2 << 20];
    scene_connect(1, NULL);
    memset(name, 'x', sizeof(name) - 1);
    cr_assert_eq(em_client_register(scene.client, claims, 4097, NULL, NULL, NULL), EM_E_LIMIT);
    cr_assert_eq(em_client_register(scene.client, claims, 0, NULL, NULL, NULL), EM_E_LIMIT);
    cr_assert_eq(em_client_resolve(scene.client, 1, NULL, eids, 1025, 0, NULL, NULL), EM_E_LIMIT);
    cr_assert_eq(em_client_remove_node(scene.client, name, NULL, NULL), EM_E_LIMIT);
}

Test(client, waiting_requests_are_bounded)
{
    static char name[900 << 10];
    memset(name, 'x', sizeof(name) - 1);
    scene.one.is_silent = true;
    scene_connect(1, NULL);
    int64_t id, last = 0;
    size_t n = 0;
    while ((id = em_client_remove_node(scene.client, name, NULL, NULL)) > 0) {
        last = id;
        n++;
    }
    cr_assert_eq(id, EM_E_BUSY);
    cr_assert_eq(n, 18);
    em_client_cancel(scene.client, last);
    cr_assert_gt(em_client_remove_node(scene.client, name, NULL, NULL), last);
}

Test(client, fail_over_leaves_for_the_other_server)
{
    scene_up(2, NULL);
    char first[80];
    strcpy(first, scene.seen.server);
    em_client_fail_over(scene.client);
    cr_assert_not(em_client_is_up(scene.client));
    UNTIL(scene.seen.n_up == 2);
    cr_assert_str_neq(scene.seen.server, first);
    cr_assert_eq(scene.seen.n_down, 1);
}

Test(client, fail_over_without_another_server_stays)
{
    scene_up(1, NULL);
    em_client_fail_over(scene.client);
    scene_settle();
    cr_assert(em_client_is_up(scene.client));
    cr_assert_eq(scene.seen.n_down, 0);
}

/* ---- another address ---- */

Test(client, other_rlocs_are_said_in_a_new_session_at_once)
{
    struct em_rloc rloc = {.ip = {4, {192, 0, 2, 1}}, .encap = EM_ENCAP_VXLAN};
    scene_up(1, &(struct em_client_config){
                    .node_id = "hv1", .boot_epoch = 9, .rlocs = &rloc, .n_rlocs = 1});
    rloc.ip.addr[3] = 7;
    uint64_t begin = em_now_ms();
    em_client_set_rlocs(scene.client, &rloc, 1);
    cr_assert_not(em_client_is_up(scene.client));
    UNTIL(scene.seen.n_up == 2);
    cr_assert_eq(scene.seen.n_down, 1);
    cr_assert_lt(em_now_ms() - begin, PATIENCE_MS);
    const Eidmap__Hello *old = fake_nth(&scene.one, BODY(HELLO), 0)->hello;
    const Eidmap__Hello *hello = fake_nth(&scene.one, BODY(HELLO), 1)->hello;
    cr_assert_eq(hello->n_rlocs, 1);
    cr_assert_eq(hello->rlocs[0]->address.data[3], 7);
    cr_assert_str_eq(hello->node_id, "hv1");
    cr_assert_eq(hello->boot_epoch, 9);
    cr_assert_not(hello->warm);
    cr_assert_arr_eq(hello->instance.data, old->instance.data, 16);
}

Test(client, other_rlocs_are_said_however_the_client_stands)
{
    struct em_rloc rloc = {.ip = {4, {192, 0, 2, 7}}, .encap = EM_ENCAP_VXLAN};
    struct em_client_config config = {.node_id = "hv1", .rlocs = &rloc, .n_rlocs = 1};
    scene_connect(1, &config);
    rloc.ip.addr[3] = 8;
    em_client_set_rlocs(scene.client, &rloc, 1); /* before the first dial */
    UNTIL(scene.seen.n_up == 1);
    size_t n = fake_count(&scene.one, BODY(HELLO));
    cr_assert_eq(fake_nth(&scene.one, BODY(HELLO), n - 1)->hello->rlocs[0]->address.data[3], 8);
    rloc.ip.addr[3] = 9;
    em_client_set_rlocs(scene.client, &rloc, 1);
    em_client_set_rlocs(scene.client, &rloc, 0); /* and again before it has gone */
    UNTIL(scene.seen.n_up == 2);
    n = fake_count(&scene.one, BODY(HELLO));
    cr_assert_eq(fake_nth(&scene.one, BODY(HELLO), n - 1)->hello->n_rlocs, 0);
}

/* ---- registration ---- */

static void on_registered(void *aux, const struct em_reply *reply)
{
    scene_on_reply(aux, reply);
    cr_assert_eq(reply->n_epochs, 2);
    cr_assert_eq(reply->epochs[1], 6);
}

static void send_epochs(uint64_t id, size_t n)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__RegisterReply msg = EIDMAP__REGISTER_REPLY__INIT;
    uint64_t epochs[] = {5, 6, 7};
    msg.revision = 8;
    msg.epochs = epochs;
    msg.n_epochs = n;
    envelope.id = id;
    envelope.body_case = BODY(REGISTER_REPLY);
    envelope.register_reply = &msg;
    fake_send(&scene.one, &envelope);
}

static int64_t register_two(em_reply_fn *fn)
{
    struct em_location location = {.node_id = "hv1", .priority = 1, .weight = 2};
    struct em_port port = {.id = {2, "p1"}, .eids = &eid, .n_eids = 1};
    port.locations = &location;
    port.n_locations = 1;
    struct em_claim claims[] = {{port, true, 0}, {port, false, 4}};
    return em_client_register(scene.client, claims, 2, "blue", fn, NULL);
}

Test(client, register_says_all_of_its_claims)
{
    scene_up(1, NULL);
    int64_t id = register_two(on_registered);
    UNTIL(scene.one.n_log == 2);
    const Eidmap__Register *msg = fake_nth(&scene.one, BODY(REGISTER), 0)->register_;
    cr_assert_str_eq(msg->network_name, "blue");
    cr_assert_eq(msg->n_claims, 2);
    cr_assert(msg->claims[0]->attach);
    cr_assert_eq(msg->claims[1]->epoch, 4);
    cr_assert_str_eq(msg->claims[1]->port->locations[0]->node_id, "hv1");
    send_epochs((uint64_t)id, 2);
    UNTIL(scene.seen.n_replies == 1);
    cr_assert_eq(scene.seen.revision, 8);
}

Test(client, reply_with_too_few_epochs_ends_the_session)
{
    scene_up(1, NULL);
    int64_t id = register_two(on_registered);
    UNTIL(scene.one.n_log == 2);
    send_epochs((uint64_t)id, 1);
    UNTIL(scene.seen.n_down == 1);
    cr_assert_eq(scene.seen.down_err, EM_E_MALFORMED);
    cr_assert_eq(scene.seen.n_replies, 0);
}

Test(client, announce_keeps_its_place_between_requests)
{
    scene_up(1, NULL);
    em_client_announce_begin(scene.client, 77);
    register_two(NULL);
    em_client_announce_end(scene.client, 77, scene_on_reply, NULL);
    UNTIL(scene.one.n_log == 4);
    cr_assert_eq(scene.one.log[1]->body_case, BODY(ANNOUNCE_BEGIN));
    cr_assert_eq(scene.one.log[2]->body_case, BODY(REGISTER));
    cr_assert_eq(scene.one.log[3]->announce_end->sync_id, 77);
}

Test(client, announce_that_waited_is_sent_whole)
{
    scene_connect(1, NULL);
    em_client_announce_begin(scene.client, 77);
    em_client_announce_end(scene.client, 77, scene_on_reply, NULL);
    UNTIL(scene.one.n_log == 3);
    cr_assert_eq(scene.one.log[2]->body_case, BODY(ANNOUNCE_END));
}

Test(client, end_of_an_announce_that_was_refused_is_sent_again)
{
    scene_up(1, NULL);
    em_client_announce_begin(scene.client, 77);
    int64_t id = em_client_announce_end(scene.client, 77, scene_on_reply, NULL);
    UNTIL(scene.one.n_log == 3);
    fake_send_error(&scene.one, (uint64_t)id, EM_E_NO_SPACE, "no space");
    UNTIL(scene.seen.n_replies == 1);
    em_client_announce_end(scene.client, 77, scene_on_reply, NULL);
    UNTIL(scene.one.n_log == 4);
    cr_assert_eq(scene.one.log[3]->body_case, BODY(ANNOUNCE_END));
}

Test(client, end_of_an_announce_does_not_cross_sessions)
{
    scene_up(1, NULL);
    em_client_announce_begin(scene.client, 77);
    UNTIL(scene.one.n_log == 2);
    fake_cut(&scene.one);
    UNTIL(scene.seen.n_up == 2);
    em_client_announce_end(scene.client, 77, scene_on_reply, NULL);
    UNTIL(scene.seen.n_replies == 1);
    cr_assert_eq(scene.seen.err, EM_E_CLOSED);
    scene_settle();
    cr_assert_eq(fake_count(&scene.one, BODY(ANNOUNCE_END)), 0);
    cr_assert_eq(fake_count(&scene.one, BODY(ANNOUNCE_BEGIN)), 1, "nor is its begin sent again");
}

Test(client, unanswered_end_of_an_announce_fails_with_its_session)
{
    scene_up(1, NULL);
    em_client_announce_begin(scene.client, 77);
    em_client_announce_end(scene.client, 77, scene_on_reply, NULL);
    UNTIL(scene.one.n_log == 3);
    fake_cut(&scene.one);
    UNTIL(scene.seen.n_replies == 1);
    cr_assert_eq(scene.seen.err, EM_E_CLOSED);
}

Test(client, heartbeat_is_of_one_session)
{
    scene_connect(1, NULL);
    cr_assert_eq(em_client_heartbeat(scene.client, 5, scene_on_reply, NULL), EM_E_CLOSED);
    UNTIL(scene.seen.n_up == 1);
    cr_assert_gt(em_client_heartbeat(scene.client, 5, scene_on_reply, NULL), 0);
    UNTIL(scene.one.n_log == 2);
    cr_assert_eq(scene.one.log[1]->heartbeat->installed_revision, 5);
    fake_cut(&scene.one);
    UNTIL(scene.seen.n_up == 2);
    cr_assert_eq(scene.seen.err, EM_E_CLOSED);
    scene_settle();
    cr_assert_eq(fake_count(&scene.one, BODY(HEARTBEAT)), 1);
}

/* ---- hostile servers ---- */

static void check_hostile(const void *bytes, size_t size, int err)
{
    scene_up(2, NULL);
    struct fake_server *first = scene_here();
    char url[80];
    strcpy(url, scene.seen.server);
    remove_node("a", 1);
    UNTIL(first->n_log == 2);
    fake_send_bytes(first, bytes, size);
    UNTIL(scene.seen.n_up == 2);
    cr_assert_eq(scene.seen.down_err, err);
    cr_assert_str_neq(scene.seen.server, url, "the next server is tried");
    UNTIL(fake_count(scene_here(), BODY(REMOVE_NODE)) == 1);
    cr_assert_eq(scene.seen.n_replies, 0);
}

Test(client, garbage_instead_of_an_envelope_ends_the_session)
{
    check_hostile("\0\0\0\3\xff\xff\xff", 7, EM_E_MALFORMED);
}

Test(client, frame_of_no_legal_size_ends_the_session)
{
    check_hostile("HTTP/1.1 400 Bad Request\r\n", 26, EM_E_FRAME);
}

Test(client, answer_to_a_request_never_made_ends_the_session)
{
    check_hostile("\0\0\0\4\x08\x63\x1a\0", 8, EM_E_MALFORMED); /* id 99, Done */
}

Test(client, answer_of_the_wrong_kind_ends_the_session)
{
    check_hostile("\0\0\0\4\x08\x03\x6a\0", 8, EM_E_MALFORMED); /* id 3, HeartbeatReply */
}

Test(client, second_welcome_ends_the_session)
{
    check_hostile("\0\0\0\4\x08\x02\x5a\0", 8, EM_E_MALFORMED);
}

Test(client, answer_before_the_welcome_ends_the_session)
{
    scene.one.is_silent = true;
    scene_connect(1, NULL);
    remove_node("a", 1);
    UNTIL(scene.one.n_log == 1);
    fake_send_done(&scene.one, 2, 1);
    UNTIL(scene.seen.n_down == 1);
    cr_assert_eq(scene.seen.down_err, EM_E_MALFORMED);
    cr_assert_eq(scene.seen.n_replies, 0);
}

/* ---- any message ---- */

static unsigned n_envelopes;
static int envelope_err;

static void on_envelope(void *aux, int err, const Eidmap__Envelope *reply)
{
    n_envelopes++;
    envelope_err = err;
    cr_assert_eq(reply == NULL, err != 0);
}

static int64_t send_raw(bool keep)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__XtrPortsRequest msg = EIDMAP__XTR_PORTS_REQUEST__INIT;
    envelope.body_case = BODY(XTR_PORTS);
    envelope.xtr_ports = &msg;
    return em_client_send(scene.client, &envelope, keep, on_envelope, NULL);
}

Test(client, any_message_gets_one_answer_or_many)
{
    scene_up(1, NULL);
    int64_t many = send_raw(true), single = send_raw(false);
    UNTIL(scene.one.n_log == 3);
    for (int i = 0; i < 2; i++) {
        fake_send_done(&scene.one, (uint64_t)many, 1);
        fake_send_error(&scene.one, (uint64_t)single, EM_E_NOT_FOUND, NULL);
    }
    UNTIL(n_envelopes == 3);
    em_client_cancel(scene.client, many);
    fake_send_done(&scene.one, (uint64_t)many, 1);
    scene_settle();
    cr_assert_eq(n_envelopes, 3);
}

Test(client, answer_in_parts_fails_with_its_session)
{
    scene_up(1, NULL);
    int64_t many = send_raw(true);
    UNTIL(scene.one.n_log == 2);
    fake_send_done(&scene.one, (uint64_t)many, 1);
    UNTIL(n_envelopes == 1);
    fake_cut(&scene.one);
    UNTIL(n_envelopes == 2);
    cr_assert_eq(envelope_err, EM_E_CLOSED);
}

/* ---- free from within ---- */

static void free_it(void)
{
    em_client_free(scene.client);
    scene.client = NULL;
}

static void free_on_reply(void *aux, const struct em_reply *reply)
{
    scene.seen.n_replies++;
    free_it();
}

static void free_on_up(void *aux, const struct em_welcome *welcome)
{
    scene.seen.n_up++;
    free_it();
}

static void free_on_down(void *aux, int err, const char *why)
{
    scene.seen.n_down++;
    free_it();
}

static void connect_with(const struct em_client_events *freeing)
{
    const char *server = scene.one.url;
    struct em_client_config config = {.servers = &server, .n_servers = 1, .timeout_ms = 20};
    char *why;
    cr_assert_eq(
        em_client_new_timed(scene.loop, &config, &scene_times, freeing, NULL, &scene.client, &why),
        0);
}

Test(client, can_be_freed_in_on_up)
{
    connect_with(&(struct em_client_events){free_on_up, scene_on_down});
    remove_node("a", 1);
    UNTIL(scene.seen.n_up == 1);
    UNTIL(!scene.one.conn);
    cr_assert_eq(fake_count(&scene.one, BODY(REMOVE_NODE)), 0);
    cr_assert_eq(scene.seen.n_down, 0, "nothing is called after free");
}

Test(client, can_be_freed_in_on_down)
{
    connect_with(&(struct em_client_events){scene_on_up, free_on_down});
    UNTIL(scene.seen.n_up == 1);
    fake_cut(&scene.one);
    UNTIL(scene.seen.n_down == 1);
    scene_settle();
    cr_assert_eq(scene.one.n_accepted, 1);
}

Test(client, can_be_freed_in_on_down_of_a_failed_attempt)
{
    fake_stop(&scene.one);
    connect_with(&(struct em_client_events){scene_on_up, free_on_down});
    UNTIL(scene.seen.n_down == 1);
    scene_settle();
    fake_start(&scene.one, scene.loop, "one");
}

Test(client, can_be_freed_in_a_reply)
{
    scene_up(1, NULL);
    int64_t a = em_client_remove_node(scene.client, "a", free_on_reply, NULL);
    int64_t b = em_client_remove_node(scene.client, "b", free_on_reply, NULL);
    UNTIL(scene.one.n_log == 3);
    fake_send_done(&scene.one, (uint64_t)a, 1);
    fake_send_done(&scene.one, (uint64_t)b, 1);
    UNTIL(scene.seen.n_replies == 1);
    scene_settle();
    cr_assert_eq(scene.seen.n_replies, 1);
}

Test(client, can_be_freed_in_a_reply_that_gives_up)
{
    connect_with(&scene_events);
    scene.one.is_silent = true;
    em_client_remove_node(scene.client, "a", free_on_reply, NULL);
    em_client_remove_node(scene.client, "b", free_on_reply, NULL);
    UNTIL(scene.seen.n_replies == 1);
    scene_settle();
    cr_assert_eq(scene.seen.n_replies, 1);
}

Test(client, can_be_freed_while_a_session_fails_its_requests)
{
    scene_up(1, NULL);
    em_client_heartbeat(scene.client, 1, free_on_reply, NULL);
    em_client_heartbeat(scene.client, 2, free_on_reply, NULL);
    UNTIL(scene.one.n_log == 3);
    fake_cut(&scene.one);
    UNTIL(scene.seen.n_replies == 1);
    scene_settle();
    cr_assert_eq(scene.seen.n_replies, 1);
    cr_assert_eq(scene.seen.n_down, 0);
}

Test(client, can_be_freed_at_once)
{
    scene_connect(1, NULL);
    remove_node("a", 1);
    free_it();
    scene_settle();
    cr_assert_eq(scene.one.n_accepted, 0);
}
