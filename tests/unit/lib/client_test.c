/* The client against servers that do what a test says, on one loop. */
#include "client/client.h"

#include "base/clock.h"
#include "base/mem.h"
#include "lib/fake_server.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 10000
#define BODY(name)  EIDMAP__ENVELOPE__BODY_##name

static struct ev_loop *loop;
static ev_timer tick; /* so that a turn of the loop always ends */
static struct fake_server one, two;
static struct em_client *client;

/* What the client's callbacks saw. */
static struct {
    unsigned n_up, n_down, n_replies;
    int down_err;
    char down_why[256];
    char server[80];
    int err;
    char message[128];
    uint64_t revision;
    uint64_t order[64]; /* 'aux' of each reply */
} seen;

static void on_tick(struct ev_loop *l, ev_timer *w, int revents)
{
}

static void setup(void)
{
    loop = ev_loop_new(EVFLAG_AUTO);
    ev_timer_init(&tick, on_tick, 0.01, 0.01);
    ev_timer_start(loop, &tick);
    fake_start(&one, loop, "one");
    fake_start(&two, loop, "two");
}

static void teardown(void)
{
    em_client_free(client);
    fake_stop(&one);
    fake_stop(&two);
    ev_loop_destroy(loop);
}

TestSuite(client, .init = setup, .fini = teardown, .timeout = 60);

#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t end_ = em_now_ms() + PATIENCE_MS;                                                 \
        while (!(condition)) {                                                                     \
            cr_assert_lt(em_now_ms(), end_, "in vain: %s", #condition);                            \
            ev_run(loop, EVRUN_ONCE);                                                              \
        }                                                                                          \
    } while (0)

/* For what must not happen: both sides had their turns. */
static void settle(void)
{
    for (int i = 0; i < 20; i++)
        ev_run(loop, EVRUN_ONCE);
}

static void on_up(void *aux, const struct em_welcome *welcome)
{
    seen.n_up++;
    snprintf(seen.server, sizeof(seen.server), "%s", welcome->server);
}

static void on_down(void *aux, int err, const char *why)
{
    seen.n_down++;
    seen.down_err = err;
    snprintf(seen.down_why, sizeof(seen.down_why), "%s", why);
}

static void on_reply(void *aux, const struct em_reply *reply)
{
    seen.order[seen.n_replies++ % 64] = (uintptr_t)aux;
    seen.err = reply->err;
    seen.revision = reply->revision;
    snprintf(seen.message, sizeof(seen.message), "%s", reply->message);
}

static const struct em_dialer_times quick = {
    .first_ms = 5, .max_ms = 20, .refused_ms = 60, .stable_ms = 10000};
static const struct em_client_events events = {on_up, on_down};

static void connect_to(size_t n_servers, const struct em_client_config *more)
{
    const char *servers[] = {one.url, two.url};
    struct em_client_config config = more ? *more : (struct em_client_config){0};
    char *why = NULL;
    config.servers = servers;
    config.n_servers = n_servers;
    cr_assert_eq(em_client_new_timed(loop, &config, &quick, &events, NULL, &client, &why), 0);
}

/* The server that has the session, and the other one. */
static struct fake_server *here(void)
{
    return strcmp(seen.server, one.url) == 0 ? &one : &two;
}

static struct fake_server *there(void)
{
    return here() == &one ? &two : &one;
}

static void up(size_t n_servers, const struct em_client_config *more)
{
    connect_to(n_servers, more);
    UNTIL(seen.n_up == 1);
}

static int64_t remove_node(const char *name, uintptr_t aux)
{
    return em_client_remove_node(client, name, on_reply, (void *)aux);
}

static const struct em_eid eid = {.kind = EM_EID_IPV4, .size = 4, .addr = {10, 0, 0, 7}};

/* ---- Hello ---- */

Test(client, says_who_it_is)
{
    struct em_rloc rloc = {.ip = {4, {192, 0, 2, 1}}, .encap = EM_ENCAP_VXLAN};
    up(1, &(struct em_client_config){
              .node_id = "hv1", .boot_epoch = 9, .software = "t 1", .rlocs = &rloc, .n_rlocs = 1});
    const Eidmap__Hello *hello = fake_nth(&one, BODY(HELLO), 0)->hello;
    cr_assert_eq(hello->protocol, 1);
    cr_assert_str_eq(hello->node_id, "hv1");
    cr_assert_str_eq(hello->software, "t 1");
    cr_assert_eq(hello->boot_epoch, 9);
    cr_assert_eq(hello->n_rlocs, 1);
    cr_assert_eq(hello->instance.len, 16);
    cr_assert(em_client_is_up(client));
}

Test(client, says_the_same_hello_on_every_connection)
{
    up(1, NULL);
    fake_cut(&one);
    UNTIL(seen.n_up == 2);
    cr_assert_arr_eq(fake_nth(&one, BODY(HELLO), 0)->hello->instance.data,
                     fake_nth(&one, BODY(HELLO), 1)->hello->instance.data, 16);
}

Test(client, refused_hello_is_told_and_not_repeated_soon)
{
    one.hello_error = EM_E_DENIED;
    connect_to(1, NULL);
    UNTIL(seen.n_down == 1);
    cr_assert_eq(seen.down_err, EM_E_DENIED);
    cr_assert(strstr(seen.down_why, "you are not wanted here"));
    cr_assert(strstr(seen.down_why, one.url), "it names the server");
    uint64_t refused_ms = em_now_ms();
    UNTIL(one.n_accepted == 2);
    cr_assert_geq(em_now_ms() - refused_ms + 2, quick.refused_ms);
}

Test(client, other_error_to_hello_leads_to_the_next_server)
{
    one.hello_error = EM_E_BUSY;
    connect_to(2, NULL);
    UNTIL(seen.n_up == 1);
    cr_assert_str_eq(seen.server, two.url);
}

Test(client, superseded_session_ends_with_that_code)
{
    up(1, NULL);
    fake_send_error(&one, 0, EM_E_SUPERSEDED, "a newer agent is here");
    UNTIL(seen.n_down == 1);
    cr_assert_eq(seen.down_err, EM_E_SUPERSEDED);
    cr_assert_not(em_client_is_up(client));
}

Test(client, dead_server_is_passed_by_at_once)
{
    fake_stop(&one);
    connect_to(2, NULL);
    UNTIL(seen.n_up == 1);
    cr_assert_str_eq(seen.server, two.url);
    cr_assert(seen.n_down == 0 || seen.down_err == -ENOENT);
    fake_start(&one, loop, "one");
}

static void check_refused(const struct em_client_config *config, const char *expected)
{
    struct em_client *none = NULL;
    char *why = NULL;
    cr_assert_lt(em_client_new(loop, config, NULL, NULL, &none, &why), 0);
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
    on_up(aux, welcome);
    remove_node("from-on-up", 3);
    cr_assert_eq(fake_count(&one, BODY(REMOVE_NODE)), 0, "nothing is sent before on_up returns");
}

Test(client, what_waited_is_sent_in_order_after_on_up)
{
    static const struct em_client_events sending = {on_up_send, on_down};
    const char *server = one.url;
    struct em_client_config config = {.servers = &server, .n_servers = 1};
    char *why;
    cr_assert_eq(em_client_new_timed(loop, &config, &quick, &sending, NULL, &client, &why), 0);
    remove_node("a", 1);
    remove_node("b", 2);
    UNTIL(fake_count(&one, BODY(REMOVE_NODE)) == 3);
    static const char *names[] = {"a", "b", "from-on-up"};
    for (size_t i = 0; i < 3; i++)
        cr_assert_str_eq(fake_nth(&one, BODY(REMOVE_NODE), i)->remove_node->node_id, names[i]);
}

Test(client, answer_reaches_its_own_request)
{
    up(1, NULL);
    int64_t a = remove_node("a", 1), b = remove_node("b", 2);
    cr_assert_lt(a, b);
    UNTIL(fake_count(&one, BODY(REMOVE_NODE)) == 2);
    fake_send_done(&one, (uint64_t)b, 11);
    fake_send_done(&one, (uint64_t)a, 12);
    UNTIL(seen.n_replies == 2);
    cr_assert_eq(seen.order[0], 2);
    cr_assert_eq(seen.order[1], 1);
    cr_assert_eq(seen.revision, 12);
}

Test(client, refusal_carries_sentence_and_code)
{
    up(1, NULL);
    int64_t id = remove_node("a", 1);
    UNTIL(one.n_log == 2);
    fake_send_error(&one, (uint64_t)id, EM_E_IN_USE, "the node has ports");
    UNTIL(seen.n_replies == 1);
    cr_assert_eq(seen.err, EM_E_IN_USE);
    cr_assert_str_eq(seen.message, "the node has ports");
    cr_assert(em_client_is_up(client), "an answer is not the end of the session");
}

Test(client, unanswered_are_sent_again_in_order_and_before_new_ones)
{
    up(2, NULL);
    struct fake_server *first = here(), *second = there();
    int64_t a = remove_node("a", 1), b = remove_node("b", 2), c = remove_node("c", 3);
    UNTIL(fake_count(first, BODY(REMOVE_NODE)) == 3);
    fake_send_done(first, (uint64_t)b, 1);
    UNTIL(seen.n_replies == 1);
    fake_cut(first);
    UNTIL(seen.n_down == 1);
    int64_t d = remove_node("d", 4);
    UNTIL(fake_count(second, BODY(REMOVE_NODE)) == 3);
    int64_t want[] = {a, c, d};
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(fake_nth(second, BODY(REMOVE_NODE), i)->id, want[i]);
    for (size_t i = 0; i < 3; i++)
        fake_send_done(second, (uint64_t)want[i], 1);
    UNTIL(seen.n_replies == 4);
    settle();
    cr_assert_eq(seen.n_replies, 4, "each is answered once");
}

Test(client, many_requests_keep_their_order_under_back_pressure)
{
    enum { N = 1500 };
    static char name[1024];
    memset(name, 'x', sizeof(name) - 1);
    connect_to(1, NULL);
    for (size_t i = 0; i < N; i++)
        cr_assert_gt(em_client_remove_node(client, name, NULL, NULL), 0);
    UNTIL(one.n_log == N + 1);
    for (size_t i = 1; i < N; i++)
        cr_assert_lt(one.log[i]->id, one.log[i + 1]->id);
}

Test(client, request_is_given_up_when_its_time_is_over)
{
    up(1, &(struct em_client_config){.timeout_ms = 30});
    int64_t answered = remove_node("a", 1);
    remove_node("b", 2);
    UNTIL(one.n_log == 3);
    fake_send_done(&one, (uint64_t)answered, 1);
    UNTIL(seen.n_replies == 2);
    cr_assert_eq(seen.err, EM_E_TIMEOUT);
    cr_assert_eq(seen.order[1], 2);
    fake_send_done(&one, (uint64_t)answered + 1, 1); /* too late */
    settle();
    cr_assert_eq(seen.n_replies, 2);
    cr_assert(em_client_is_up(client));
}

Test(client, request_without_any_server_is_given_up_too)
{
    one.is_silent = two.is_silent = true;
    connect_to(2, &(struct em_client_config){.timeout_ms = 20});
    remove_node("a", 1);
    UNTIL(seen.n_replies == 1);
    cr_assert_eq(seen.err, EM_E_TIMEOUT);
}

Test(client, cancelled_request_is_not_called_back)
{
    up(1, NULL);
    int64_t a = remove_node("a", 1);
    UNTIL(one.n_log == 2);
    em_client_cancel(client, a);
    em_client_cancel(client, a);
    em_client_cancel(client, 12345);
    fake_send_done(&one, (uint64_t)a, 1);
    settle();
    cr_assert_eq(seen.n_replies, 0);
    cr_assert(em_client_is_up(client));
}

Test(client, cancelled_request_that_waits_is_never_sent)
{
    connect_to(1, NULL);
    em_client_cancel(client, remove_node("a", 1));
    remove_node("b", 2);
    UNTIL(one.n_log == 2);
    cr_assert_str_eq(fake_nth(&one, BODY(REMOVE_NODE), 0)->remove_node->node_id, "b");
}

Test(client, more_than_the_protocol_allows_is_refused_at_once)
{
    static struct em_claim claims[4097];
    static struct em_eid eids[1025];
    static char name[2 << 20];
    connect_to(1, NULL);
    memset(name, 'x', sizeof(name) - 1);
    cr_assert_eq(em_client_register(client, claims, 4097, NULL, NULL, NULL), EM_E_LIMIT);
    cr_assert_eq(em_client_register(client, claims, 0, NULL, NULL, NULL), EM_E_LIMIT);
    cr_assert_eq(em_client_resolve(client, 1, NULL, eids, 1025, 0, NULL, NULL), EM_E_LIMIT);
    cr_assert_eq(em_client_remove_node(client, name, NULL, NULL), EM_E_LIMIT);
}

Test(client, waiting_requests_are_bounded)
{
    static char name[900 << 10];
    memset(name, 'x', sizeof(name) - 1);
    one.is_silent = true;
    connect_to(1, NULL);
    int64_t id, last = 0;
    size_t n = 0;
    while ((id = em_client_remove_node(client, name, NULL, NULL)) > 0) {
        last = id;
        n++;
    }
    cr_assert_eq(id, EM_E_BUSY);
    cr_assert_eq(n, 18);
    em_client_cancel(client, last);
    cr_assert_gt(em_client_remove_node(client, name, NULL, NULL), last);
}

Test(client, fail_over_leaves_for_the_other_server)
{
    up(2, NULL);
    char first[80];
    strcpy(first, seen.server);
    em_client_fail_over(client);
    cr_assert_not(em_client_is_up(client));
    UNTIL(seen.n_up == 2);
    cr_assert_str_neq(seen.server, first);
    cr_assert_eq(seen.n_down, 1);
}

Test(client, fail_over_without_another_server_stays)
{
    up(1, NULL);
    em_client_fail_over(client);
    settle();
    cr_assert(em_client_is_up(client));
    cr_assert_eq(seen.n_down, 0);
}

/* ---- registration ---- */

static void on_registered(void *aux, const struct em_reply *reply)
{
    on_reply(aux, reply);
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
    fake_send(&one, &envelope);
}

static int64_t register_two(em_reply_fn *fn)
{
    struct em_location location = {.node_id = "hv1", .priority = 1, .weight = 2};
    struct em_port port = {.id = {2, "p1"}, .eids = &eid, .n_eids = 1};
    port.locations = &location;
    port.n_locations = 1;
    struct em_claim claims[] = {{port, true, 0}, {port, false, 4}};
    return em_client_register(client, claims, 2, "blue", fn, NULL);
}

Test(client, register_says_all_of_its_claims)
{
    up(1, NULL);
    int64_t id = register_two(on_registered);
    UNTIL(one.n_log == 2);
    const Eidmap__Register *msg = fake_nth(&one, BODY(REGISTER), 0)->register_;
    cr_assert_str_eq(msg->network_name, "blue");
    cr_assert_eq(msg->n_claims, 2);
    cr_assert(msg->claims[0]->attach);
    cr_assert_eq(msg->claims[1]->epoch, 4);
    cr_assert_str_eq(msg->claims[1]->port->locations[0]->node_id, "hv1");
    send_epochs((uint64_t)id, 2);
    UNTIL(seen.n_replies == 1);
    cr_assert_eq(seen.revision, 8);
}

Test(client, reply_with_too_few_epochs_ends_the_session)
{
    up(1, NULL);
    int64_t id = register_two(on_registered);
    UNTIL(one.n_log == 2);
    send_epochs((uint64_t)id, 1);
    UNTIL(seen.n_down == 1);
    cr_assert_eq(seen.down_err, EM_E_MALFORMED);
    cr_assert_eq(seen.n_replies, 0);
}

Test(client, announce_keeps_its_place_between_requests)
{
    up(1, NULL);
    em_client_announce_begin(client, 77);
    register_two(NULL);
    em_client_announce_end(client, 77, on_reply, NULL);
    UNTIL(one.n_log == 4);
    cr_assert_eq(one.log[1]->body_case, BODY(ANNOUNCE_BEGIN));
    cr_assert_eq(one.log[2]->body_case, BODY(REGISTER));
    cr_assert_eq(one.log[3]->announce_end->sync_id, 77);
}

Test(client, announce_that_waited_is_sent_whole)
{
    connect_to(1, NULL);
    em_client_announce_begin(client, 77);
    em_client_announce_end(client, 77, on_reply, NULL);
    UNTIL(one.n_log == 3);
    cr_assert_eq(one.log[2]->body_case, BODY(ANNOUNCE_END));
}

Test(client, end_of_an_announce_does_not_cross_sessions)
{
    up(1, NULL);
    em_client_announce_begin(client, 77);
    UNTIL(one.n_log == 2);
    fake_cut(&one);
    UNTIL(seen.n_up == 2);
    em_client_announce_end(client, 77, on_reply, NULL);
    UNTIL(seen.n_replies == 1);
    cr_assert_eq(seen.err, EM_E_CLOSED);
    settle();
    cr_assert_eq(fake_count(&one, BODY(ANNOUNCE_END)), 0);
    cr_assert_eq(fake_count(&one, BODY(ANNOUNCE_BEGIN)), 1, "nor is its begin sent again");
}

Test(client, unanswered_end_of_an_announce_fails_with_its_session)
{
    up(1, NULL);
    em_client_announce_begin(client, 77);
    em_client_announce_end(client, 77, on_reply, NULL);
    UNTIL(one.n_log == 3);
    fake_cut(&one);
    UNTIL(seen.n_replies == 1);
    cr_assert_eq(seen.err, EM_E_CLOSED);
}

Test(client, heartbeat_is_of_one_session)
{
    connect_to(1, NULL);
    cr_assert_eq(em_client_heartbeat(client, 5, on_reply, NULL), EM_E_CLOSED);
    UNTIL(seen.n_up == 1);
    cr_assert_gt(em_client_heartbeat(client, 5, on_reply, NULL), 0);
    UNTIL(one.n_log == 2);
    cr_assert_eq(one.log[1]->heartbeat->installed_revision, 5);
    fake_cut(&one);
    UNTIL(seen.n_up == 2);
    cr_assert_eq(seen.err, EM_E_CLOSED);
    settle();
    cr_assert_eq(fake_count(&one, BODY(HEARTBEAT)), 1);
}

/* ---- watches ---- */

static void send_answer(struct fake_server *server, uint64_t id, bool is_push, size_t n)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__ResolveReply msg = EIDMAP__RESOLVE_REPLY__INIT;
    Eidmap__Answer answer = EIDMAP__ANSWER__INIT, *answers[] = {&answer, &answer};
    Eidmap__Eid asked = EIDMAP__EID__INIT;
    asked.kind = EIDMAP__EID_KIND__EID_IPV4;
    asked.address = (ProtobufCBinaryData){4, (uint8_t *)eid.addr};
    answer.eid = &asked;
    answer.action = EIDMAP__ACTION__ACTION_DROP;
    answer.ttl_s = 60;
    answer.reason = (char *)"nobody has registered it";
    msg.revision = 3;
    msg.answers = answers;
    msg.n_answers = n;
    msg.push = is_push;
    envelope.id = id;
    envelope.body_case = BODY(RESOLVE_REPLY);
    envelope.resolve_reply = &msg;
    fake_send(server, &envelope);
}

static void on_answer(void *aux, const struct em_reply *reply)
{
    on_reply(aux, reply);
    if (reply->err)
        return;
    cr_assert_eq(em_eid_compare(&reply->answers[0].eid, &eid), 0);
    cr_assert_null(reply->answers[0].port);
    cr_assert_eq(reply->answers[0].action, EM_ACTION_DROP);
    cr_assert_eq(reply->answers[0].ttl_s, 60);
    cr_assert_str_eq(reply->answers[0].reason, "nobody has registered it");
}

static int64_t watch(void)
{
    return em_client_resolve(client, 0, "blue", &eid, 1, EM_RESOLVE_WATCH | EM_RESOLVE_NODES,
                             on_answer, NULL);
}

Test(client, watch_is_told_every_change)
{
    up(1, NULL);
    int64_t id = watch();
    UNTIL(one.n_log == 2);
    cr_assert(one.log[1]->resolve->watch && one.log[1]->resolve->with_nodes);
    send_answer(&one, (uint64_t)id, false, 1);
    send_answer(&one, (uint64_t)id, true, 1);
    send_answer(&one, (uint64_t)id, true, 2);
    UNTIL(seen.n_replies == 3);
}

Test(client, watch_is_set_again_on_another_server)
{
    up(2, NULL);
    struct fake_server *first = here(), *second = there();
    int64_t id = watch();
    UNTIL(first->n_log == 2);
    send_answer(first, (uint64_t)id, false, 1);
    UNTIL(seen.n_replies == 1);
    fake_cut(first);
    UNTIL(fake_count(second, BODY(RESOLVE)) == 1);
    send_answer(second, (uint64_t)id, false, 1);
    UNTIL(seen.n_replies == 2);
}

Test(client, answered_watch_has_no_deadline)
{
    up(1, &(struct em_client_config){.timeout_ms = 20});
    int64_t id = watch();
    UNTIL(one.n_log == 2);
    send_answer(&one, (uint64_t)id, false, 1);
    UNTIL(seen.n_replies == 1);
    uint64_t later = em_now_ms() + 60;
    UNTIL(em_now_ms() > later);
    cr_assert_eq(seen.n_replies, 1);
    send_answer(&one, (uint64_t)id, true, 1);
    UNTIL(seen.n_replies == 2);
}

Test(client, refused_watch_is_over)
{
    up(1, NULL);
    int64_t id = watch();
    UNTIL(one.n_log == 2);
    fake_send_error(&one, (uint64_t)id, EM_E_NOT_FOUND, "no such network");
    UNTIL(seen.n_replies == 1);
    fake_cut(&one);
    UNTIL(seen.n_up == 2);
    settle();
    cr_assert_eq(fake_count(&one, BODY(RESOLVE)), 1);
}

Test(client, cancelled_watch_ends_on_the_server_too)
{
    up(1, NULL);
    int64_t id = watch();
    UNTIL(one.n_log == 2);
    em_client_cancel(client, id);
    UNTIL(fake_count(&one, BODY(UNWATCH)) == 1);
    cr_assert_eq(fake_nth(&one, BODY(UNWATCH), 0)->unwatch->watch_id, (uint64_t)id);
    send_answer(&one, (uint64_t)id, true, 1);
    fake_send_done(&one, fake_nth(&one, BODY(UNWATCH), 0)->id, 1);
    settle();
    cr_assert_eq(seen.n_replies, 0);
    cr_assert(em_client_is_up(client));
}

Test(client, fewer_answers_than_questions_end_the_session)
{
    up(1, NULL);
    struct em_eid eids[] = {eid, eid};
    int64_t id = em_client_resolve(client, 1, NULL, eids, 2, 0, on_answer, NULL);
    UNTIL(one.n_log == 2);
    send_answer(&one, (uint64_t)id, false, 1);
    UNTIL(seen.n_down == 1);
    cr_assert_eq(seen.down_err, EM_E_MALFORMED);
}

/* ---- subscriptions ---- */

static struct {
    unsigned n_pages;
    struct em_feed last;
    uint32_t gone_network;
    char node[64];
} fed;

static void on_feed(void *aux, const struct em_feed *page)
{
    fed.n_pages++;
    fed.last = *page;
    for (size_t i = 0; i < page->n_changes; i++) {
        const struct em_change *change = &page->changes[i];
        if (change->object == EM_OBJECT_NETWORK && change->is_gone)
            fed.gone_network = change->gone_network;
        if (change->object == EM_OBJECT_NODE)
            snprintf(fed.node, sizeof(fed.node), "%s",
                     change->is_gone ? change->gone_node : change->node->id);
    }
}

static void send_page(struct fake_server *server, uint64_t id, Eidmap__Changes *msg)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    envelope.id = id;
    envelope.body_case = BODY(CHANGES);
    envelope.changes = msg;
    fake_send(server, &envelope);
}

static void send_empty_page(struct fake_server *server, uint64_t id, uint32_t network_id,
                            uint64_t revision)
{
    Eidmap__Changes msg = EIDMAP__CHANGES__INIT;
    msg.network_id = network_id;
    msg.revision = revision;
    send_page(server, id, &msg);
}

static const Eidmap__Subscribe *subscribe_nth(const struct fake_server *server, size_t k)
{
    return fake_nth(server, BODY(SUBSCRIBE), k)->subscribe;
}

Test(client, feed_shows_records_and_what_is_gone)
{
    up(1, NULL);
    int64_t id = em_client_subscribe(client, 0, NULL, 0, on_feed, NULL);
    UNTIL(one.n_log == 2);
    Eidmap__Changes msg = EIDMAP__CHANGES__INIT;
    Eidmap__Change changes[3], *list[] = {&changes[0], &changes[1], &changes[2]};
    Eidmap__Node node = EIDMAP__NODE__INIT;
    Eidmap__Gone gone = EIDMAP__GONE__INIT;
    for (size_t i = 0; i < 3; i++)
        eidmap__change__init(&changes[i]);
    node.id = (char *)"hv1";
    changes[0].node = &node;
    gone.kind = EIDMAP__OBJECT_KIND__OBJECT_NETWORK;
    gone.id = (ProtobufCBinaryData){4, (uint8_t *)"\0\0\1\2"};
    changes[1].gone = &gone; /* changes[2] stays empty: an object of a later version */
    msg.changes = list;
    msg.n_changes = 3;
    msg.revision = 40;
    msg.start_over = msg.complete = true;
    send_page(&one, (uint64_t)id, &msg);
    UNTIL(fed.n_pages == 1);
    cr_assert_eq(fed.last.n_changes, 2, "what this library does not know is left out");
    cr_assert_eq(fed.last.revision, 40);
    cr_assert(fed.last.is_start_over && fed.last.is_complete && !fed.last.is_removed);
    cr_assert_str_eq(fed.node, "hv1");
    cr_assert_eq(fed.gone_network, 258);
}

Test(client, subscription_resumes_from_its_last_revision)
{
    up(2, NULL);
    struct fake_server *first = here(), *second = there();
    int64_t id = em_client_subscribe(client, 0, "blue", 17, on_feed, NULL);
    UNTIL(first->n_log == 2);
    cr_assert_str_eq(subscribe_nth(first, 0)->network_name, "blue");
    cr_assert_eq(subscribe_nth(first, 0)->cursor, 17);
    send_empty_page(first, (uint64_t)id, 5, 20);
    send_empty_page(first, (uint64_t)id, 5, 23);
    UNTIL(fed.n_pages == 2);
    fake_cut(first);
    UNTIL(fake_count(second, BODY(SUBSCRIBE)) == 1);
    cr_assert_eq(subscribe_nth(second, 0)->cursor, 23);
    cr_assert_eq(subscribe_nth(second, 0)->network_id, 5, "by id, once it is known");
    cr_assert_str_eq(subscribe_nth(second, 0)->network_name, "");
    send_empty_page(second, (uint64_t)id, 5, 24);
    UNTIL(fed.n_pages == 3);
}

Test(client, refused_subscription_is_over)
{
    up(1, NULL);
    int64_t id = em_client_subscribe(client, 9, NULL, 0, on_feed, NULL);
    UNTIL(one.n_log == 2);
    fake_send_error(&one, (uint64_t)id, EM_E_DENIED, "not your network");
    UNTIL(fed.n_pages == 1);
    cr_assert_eq(fed.last.err, EM_E_DENIED);
    cr_assert_eq(fed.last.network_id, 9);
    cr_assert_gt(em_client_subscribe(client, 9, NULL, 0, on_feed, NULL), 0);
}

Test(client, subscription_ends_with_its_network)
{
    up(1, NULL);
    int64_t id = em_client_subscribe(client, 9, NULL, 0, on_feed, NULL);
    UNTIL(one.n_log == 2);
    Eidmap__Changes msg = EIDMAP__CHANGES__INIT;
    msg.network_id = 9;
    msg.removed = true;
    send_page(&one, (uint64_t)id, &msg);
    UNTIL(fed.n_pages == 1);
    cr_assert(fed.last.is_removed);
    fake_cut(&one);
    UNTIL(seen.n_up == 2);
    settle();
    cr_assert_eq(fake_count(&one, BODY(SUBSCRIBE)), 1);
}

Test(client, same_network_is_not_subscribed_twice)
{
    connect_to(1, NULL);
    int64_t id = em_client_subscribe(client, 9, NULL, 0, on_feed, NULL);
    cr_assert_gt(em_client_subscribe(client, 8, NULL, 0, on_feed, NULL), 0);
    cr_assert_gt(em_client_subscribe(client, 0, "blue", 0, on_feed, NULL), 0);
    cr_assert_eq(em_client_subscribe(client, 9, NULL, 0, on_feed, NULL), EM_E_EXISTS);
    cr_assert_eq(em_client_subscribe(client, 0, "blue", 0, on_feed, NULL), EM_E_EXISTS);
    cr_assert_eq(em_client_subscribe(client, 0, "no name", 0, on_feed, NULL), -EINVAL);
    em_client_cancel(client, id);
    cr_assert_gt(em_client_subscribe(client, 9, NULL, 0, on_feed, NULL), id);
}

Test(client, cancelled_subscription_is_unsubscribed)
{
    up(1, NULL);
    int64_t id = em_client_subscribe(client, 9, NULL, 0, on_feed, NULL);
    UNTIL(one.n_log == 2);
    em_client_cancel(client, id);
    UNTIL(fake_count(&one, BODY(UNSUBSCRIBE)) == 1);
    cr_assert_eq(fake_nth(&one, BODY(UNSUBSCRIBE), 0)->unsubscribe->network_id, 9);
}

Test(client, subscription_cancelled_before_its_id_is_known_ends_with_its_first_page)
{
    up(1, NULL);
    int64_t id = em_client_subscribe(client, 0, "blue", 0, on_feed, NULL);
    UNTIL(one.n_log == 2);
    em_client_cancel(client, id);
    settle();
    cr_assert_eq(fake_count(&one, BODY(UNSUBSCRIBE)), 0);
    send_empty_page(&one, (uint64_t)id, 5, 20);
    UNTIL(fake_count(&one, BODY(UNSUBSCRIBE)) == 1);
    cr_assert_eq(fake_nth(&one, BODY(UNSUBSCRIBE), 0)->unsubscribe->network_id, 5);
    cr_assert_eq(fed.n_pages, 0);
}

Test(client, late_page_of_a_cancelled_subscription_leaves_its_successor_alone)
{
    up(1, NULL);
    int64_t old = em_client_subscribe(client, 0, "blue", 0, on_feed, NULL);
    UNTIL(one.n_log == 2);
    em_client_cancel(client, old);
    int64_t new = em_client_subscribe(client, 0, "blue", 0, on_feed, NULL);
    UNTIL(one.n_log == 3);
    send_empty_page(&one, (uint64_t)old, 5, 20);
    send_empty_page(&one, (uint64_t) new, 5, 20);
    UNTIL(fed.n_pages == 1);
    settle();
    cr_assert_eq(fake_count(&one, BODY(UNSUBSCRIBE)), 0);
}

Test(client, page_of_another_network_ends_the_session)
{
    up(1, NULL);
    int64_t id = em_client_subscribe(client, 9, NULL, 0, on_feed, NULL);
    UNTIL(one.n_log == 2);
    send_empty_page(&one, (uint64_t)id, 8, 20);
    UNTIL(seen.n_down == 1);
    cr_assert_eq(seen.down_err, EM_E_MALFORMED);
    cr_assert_eq(fed.n_pages, 0);
}

/* ---- hostile servers ---- */

static void check_hostile(const void *bytes, size_t size, int err)
{
    up(2, NULL);
    struct fake_server *first = here();
    char url[80];
    strcpy(url, seen.server);
    remove_node("a", 1);
    UNTIL(first->n_log == 2);
    fake_send_bytes(first, bytes, size);
    UNTIL(seen.n_up == 2);
    cr_assert_eq(seen.down_err, err);
    cr_assert_str_neq(seen.server, url, "the next server is tried");
    UNTIL(fake_count(here(), BODY(REMOVE_NODE)) == 1);
    cr_assert_eq(seen.n_replies, 0);
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
    check_hostile("\0\0\0\4\x08\x02\x6a\0", 8, EM_E_MALFORMED); /* id 2, HeartbeatReply */
}

Test(client, second_welcome_ends_the_session)
{
    check_hostile("\0\0\0\4\x08\x01\x5a\0", 8, EM_E_MALFORMED);
}

Test(client, answer_before_the_welcome_ends_the_session)
{
    one.is_silent = true;
    connect_to(1, NULL);
    remove_node("a", 1);
    UNTIL(one.n_log == 1);
    fake_send_done(&one, 2, 1);
    UNTIL(seen.n_down == 1);
    cr_assert_eq(seen.down_err, EM_E_MALFORMED);
    cr_assert_eq(seen.n_replies, 0);
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
    return em_client_send(client, &envelope, keep, on_envelope, NULL);
}

Test(client, any_message_gets_one_answer_or_many)
{
    up(1, NULL);
    int64_t many = send_raw(true), single = send_raw(false);
    UNTIL(one.n_log == 3);
    for (int i = 0; i < 2; i++) {
        fake_send_done(&one, (uint64_t)many, 1);
        fake_send_error(&one, (uint64_t)single, EM_E_NOT_FOUND, NULL);
    }
    UNTIL(n_envelopes == 3);
    em_client_cancel(client, many);
    fake_send_done(&one, (uint64_t)many, 1);
    settle();
    cr_assert_eq(n_envelopes, 3);
}

Test(client, answer_in_parts_fails_with_its_session)
{
    up(1, NULL);
    int64_t many = send_raw(true);
    UNTIL(one.n_log == 2);
    fake_send_done(&one, (uint64_t)many, 1);
    UNTIL(n_envelopes == 1);
    fake_cut(&one);
    UNTIL(n_envelopes == 2);
    cr_assert_eq(envelope_err, EM_E_CLOSED);
}

/* ---- free from within ---- */

static void free_it(void)
{
    em_client_free(client);
    client = NULL;
}

static void free_on_reply(void *aux, const struct em_reply *reply)
{
    seen.n_replies++;
    free_it();
}

static void free_on_feed(void *aux, const struct em_feed *page)
{
    fed.n_pages++;
    free_it();
}

static void free_on_up(void *aux, const struct em_welcome *welcome)
{
    seen.n_up++;
    free_it();
}

static void free_on_down(void *aux, int err, const char *why)
{
    seen.n_down++;
    free_it();
}

static void connect_with(const struct em_client_events *freeing)
{
    const char *server = one.url;
    struct em_client_config config = {.servers = &server, .n_servers = 1, .timeout_ms = 20};
    char *why;
    cr_assert_eq(em_client_new_timed(loop, &config, &quick, freeing, NULL, &client, &why), 0);
}

Test(client, can_be_freed_in_on_up)
{
    connect_with(&(struct em_client_events){free_on_up, on_down});
    remove_node("a", 1);
    UNTIL(seen.n_up == 1);
    UNTIL(!one.conn);
    cr_assert_eq(fake_count(&one, BODY(REMOVE_NODE)), 0);
    cr_assert_eq(seen.n_down, 0, "nothing is called after free");
}

Test(client, can_be_freed_in_on_down)
{
    connect_with(&(struct em_client_events){on_up, free_on_down});
    UNTIL(seen.n_up == 1);
    fake_cut(&one);
    UNTIL(seen.n_down == 1);
    settle();
    cr_assert_eq(one.n_accepted, 1);
}

Test(client, can_be_freed_in_on_down_of_a_failed_attempt)
{
    fake_stop(&one);
    connect_with(&(struct em_client_events){on_up, free_on_down});
    UNTIL(seen.n_down == 1);
    settle();
    fake_start(&one, loop, "one");
}

Test(client, can_be_freed_in_a_reply)
{
    up(1, NULL);
    int64_t a = em_client_remove_node(client, "a", free_on_reply, NULL);
    int64_t b = em_client_remove_node(client, "b", free_on_reply, NULL);
    UNTIL(one.n_log == 3);
    fake_send_done(&one, (uint64_t)a, 1);
    fake_send_done(&one, (uint64_t)b, 1);
    UNTIL(seen.n_replies == 1);
    settle();
    cr_assert_eq(seen.n_replies, 1);
}

Test(client, can_be_freed_in_a_reply_that_gives_up)
{
    connect_with(&events);
    one.is_silent = true;
    em_client_remove_node(client, "a", free_on_reply, NULL);
    em_client_remove_node(client, "b", free_on_reply, NULL);
    UNTIL(seen.n_replies == 1);
    settle();
    cr_assert_eq(seen.n_replies, 1);
}

Test(client, can_be_freed_while_a_session_fails_its_requests)
{
    up(1, NULL);
    em_client_heartbeat(client, 1, free_on_reply, NULL);
    em_client_heartbeat(client, 2, free_on_reply, NULL);
    UNTIL(one.n_log == 3);
    fake_cut(&one);
    UNTIL(seen.n_replies == 1);
    settle();
    cr_assert_eq(seen.n_replies, 1);
    cr_assert_eq(seen.n_down, 0);
}

Test(client, can_be_freed_in_a_page)
{
    up(1, NULL);
    int64_t id = em_client_subscribe(client, 9, NULL, 0, free_on_feed, NULL);
    UNTIL(one.n_log == 2);
    send_empty_page(&one, (uint64_t)id, 9, 20);
    send_empty_page(&one, (uint64_t)id, 9, 21);
    UNTIL(fed.n_pages == 1);
    settle();
    cr_assert_eq(fed.n_pages, 1);
}

Test(client, can_be_freed_at_once)
{
    connect_to(1, NULL);
    remove_node("a", 1);
    free_it();
    settle();
    cr_assert_eq(one.n_accepted, 0);
}
