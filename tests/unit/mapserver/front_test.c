/* The map server as its clients see it: real sockets, a real store, two worker threads. */
#include "mapserver/scene.h"

#include "base/buf.h"
#include "net/socket.h"
#include "server/raw.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAC1 "02:00:00:00:00:01"
#define MAC2 "02:00:00:00:00:02"

static struct scene *scene;
static struct em_call *op, *hv1, *hv2;
static uint32_t blue; /* the network's number */

static void setup(void)
{
    scene = scene_start(0);
    op = scene_client(scene, NULL, 0);
    hv1 = scene_client(scene, "hv1", 1);
    hv2 = scene_client(scene, "hv2", 1);
    struct scene_reply reply = scene_put_network(op, "blue", "10.0.0.0/16");
    cr_assert_eq(reply.err, 0, "%s", reply.message);
    blue = reply.network_id;
}

static void teardown(void)
{
    em_call_close(op);
    em_call_close(hv1);
    em_call_close(hv2);
    scene_stop(scene);
}

TestSuite(front, .init = setup, .fini = teardown, .timeout = 60);

static struct em_eid mac_of(unsigned n)
{
    return (struct em_eid){
        .kind = EM_EID_MAC, .size = 6, .addr = {2, 1, 0, 0, (uint8_t)(n >> 8), (uint8_t)n}};
}

/* Ports p0, p1, ... with a MAC each, in batches. */
static void register_many(struct em_call *call, unsigned n_ports)
{
    enum { BATCH = 500 };
    static struct em_claim claims[BATCH];
    static struct em_eid eids[BATCH];
    const struct em_location location = {.weight = 1};
    for (unsigned done = 0; done < n_ports; done += BATCH) {
        for (unsigned i = 0; i < BATCH; i++) {
            unsigned n = done + i;
            char id[32];
            snprintf(id, sizeof(id), "p%u", n);
            eids[i] = mac_of(n);
            claims[i] = (struct em_claim){
                .port = {.eids = &eids[i], .n_eids = 1, .locations = &location, .n_locations = 1}};
            cr_assert_eq(em_port_id_parse(id, &claims[i].port.id, NULL), 0);
        }
        struct scene_wait wait = {call};
        em_client_register(em_call_client(call), claims, BATCH, "blue", scene_on_reply, &wait);
        struct scene_reply reply = scene_await(&wait);
        cr_assert_eq(reply.err, 0, "%s", reply.message);
    }
}

Test(front, what_is_registered_is_resolved)
{
    struct scene_reply reply = scene_claim(hv1, "blue", "web", MAC1, "10.0.0.1", true, 0);
    cr_assert_eq(reply.err, 0, "%s", reply.message);
    cr_assert_eq(reply.n_epochs, 1);
    cr_assert_eq(reply.epochs[0], reply.revision);
    static const char *const eids[] = {"10.0.0.1", MAC1, "port:web"};
    for (size_t i = 0; i < 3; i++) {
        struct scene_reply answer = scene_resolve(hv2, "blue", eids[i]);
        cr_assert(answer.is_positive, "%s", eids[i]);
        cr_assert_str_eq(answer.port, "web");
        cr_assert_str_eq(answer.node, "hv1");
        cr_assert_geq(answer.revision, reply.revision);
    }
}

/* ---- questions by the network's number, many at once ---- */

enum { N_QUESTIONS = 300 };

static struct quiz {
    unsigned n_answered;
    bool is_known[N_QUESTIONS];
} quiz;

static void on_quiz(void *aux, const struct em_reply *reply)
{
    unsigned i = (unsigned)(uintptr_t)aux;
    struct em_eid mac = mac_of(i);
    cr_assert_eq(reply->err, 0);
    cr_assert_eq(i, quiz.n_answered++, "answers come in the order of the questions");
    cr_assert_eq(reply->n_answers, 1);
    cr_assert_eq(em_eid_compare(&reply->answers[0].eid, &mac), 0);
    quiz.is_known[i] = reply->answers[0].port != NULL;
    if (quiz.is_known[i])
        cr_assert_eq(em_eid_compare(&reply->answers[0].port->eids[0], &mac), 0);
}

static void ask_all(uint32_t network_id)
{
    quiz = (struct quiz){0};
    for (uintptr_t i = 0; i < N_QUESTIONS; i++) {
        struct em_eid mac = mac_of((unsigned)i);
        /* Some are not as the others are: more than a number and a MAC. */
        bool is_plain = i % 67 != 66;
        em_client_resolve(em_call_client(op), is_plain ? network_id : 0, is_plain ? NULL : "blue",
                          &mac, 1, 0, on_quiz, (void *)i);
    }
    scene_resolve(op, "blue", MAC1); /* the last: all others are answered before it */
    cr_assert_eq(quiz.n_answered, N_QUESTIONS);
}

Test(front, questions_that_come_together_are_each_answered)
{
    ask_all(blue);
    for (unsigned i = 0; i < N_QUESTIONS; i++)
        cr_assert_not(quiz.is_known[i]);
    register_many(hv1, 500);
    for (int round = 0; round < 2; round++) { /* what was remembered is the same */
        ask_all(blue);
        for (unsigned i = 0; i < N_QUESTIONS; i++)
            cr_assert(quiz.is_known[i]);
    }
    ask_all(blue + 1);
    cr_assert_not(quiz.is_known[0], "another network has it not");
}

/* Numbers with gaps, in one write: what a client of ours would not do. */
static uint64_t number_of(unsigned i)
{
    return 7 + 1000u * i;
}

static bool put_question(struct em_buf *buf, unsigned i)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Resolve resolve = EIDMAP__RESOLVE__INIT;
    Eidmap__Eid eid = EIDMAP__EID__INIT, *eids[] = {&eid};
    struct em_eid mac = mac_of(i);
    eid.kind = EIDMAP__EID_KIND__EID_MAC;
    eid.address = (ProtobufCBinaryData){mac.size, mac.addr};
    resolve.network_id = blue;
    resolve.eids = eids;
    resolve.n_eids = 1;
    envelope.id = number_of(i);
    envelope.body_case = EIDMAP__ENVELOPE__BODY_RESOLVE;
    envelope.resolve = &resolve;
    return em_msg_append(buf, &envelope) == 0;
}

Test(front, each_answer_has_the_number_of_its_question)
{
    struct raw raw;
    struct em_buf buf;
    raw_open(&raw, scene_address(scene));
    cr_assert(raw_hello(&raw, NULL));
    em_buf_init(&buf);
    for (unsigned i = 0; i < N_QUESTIONS; i++)
        cr_assert(put_question(&buf, i));
    cr_assert(raw_send_bytes(&raw, em_buf_head(&buf), em_buf_size(&buf)));
    for (unsigned i = 0; i < N_QUESTIONS; i++) {
        const Eidmap__Envelope *answer = raw_read(&raw);
        cr_assert(answer && answer->body_case == EIDMAP__ENVELOPE__BODY_RESOLVE_REPLY);
        cr_assert_eq(answer->id, number_of(i));
        cr_assert_eq(answer->resolve_reply->n_answers, 1);
        cr_assert_eq(answer->resolve_reply->answers[0]->eid->address.data[5], (uint8_t)i);
    }
    em_buf_fini(&buf);
    raw_close(&raw);
}

static struct scene_reply ask(const char *ip)
{
    struct scene_wait wait = {op};
    struct em_eid eid;
    cr_assert_eq(em_eid_parse(ip, &eid, NULL, NULL), 0);
    em_client_resolve(em_call_client(op), blue, NULL, &eid, 1, 0, scene_on_reply, &wait);
    return scene_await(&wait);
}

Test(front, a_question_is_never_answered_as_before_a_change)
{
    for (int i = 0; i < 20; i++) {
        struct em_call *hv = i % 2 ? hv2 : hv1;
        cr_assert_eq(scene_claim(hv, "blue", "web", MAC1, "10.0.0.1", true, 0).err, 0);
        cr_assert_str_eq(ask("10.0.0.1").node, i % 2 ? "hv2" : "hv1");
    }
    cr_assert_eq(scene_withdraw(hv2, "web").err, 0);
    cr_assert_not(ask("10.0.0.1").is_positive);
}

/* "gw" with two locations, each in its own node's view; or one that is any-local. */
static void declare_gateway(const struct em_location *locations, size_t n)
{
    struct em_eid eid = {.kind = EM_EID_IPV4, .size = 4, .addr = {10, 0, 0, 254}};
    struct em_claim claim = {.port = {.id = {2, "gw"},
                                      .eids = &eid,
                                      .n_eids = 1,
                                      .locations = locations,
                                      .n_locations = n,
                                      .is_declared = n > 1,
                                      .is_multihomed = n > 1}};
    struct scene_wait wait = {op};
    em_client_register(em_call_client(op), &claim, 1, "blue", scene_on_reply, &wait);
    struct scene_reply reply = scene_await(&wait);
    cr_assert_eq(reply.err, 0, "%s", reply.message);
}

Test(front, a_node_is_not_shown_what_is_for_another_alone)
{
    const struct em_location each[] = {{.node_id = "hv1", .view_node = "hv1"},
                                       {.node_id = "hv2", .view_node = "hv2"}};
    struct em_eid eid = {.kind = EM_EID_IPV4, .size = 4, .addr = {10, 0, 0, 254}};
    struct scene_wait watch = {hv2};
    declare_gateway(each, 2);
    cr_assert_str_eq(scene_resolve(hv1, "blue", "10.0.0.254").node, "hv1");
    cr_assert_str_eq(scene_resolve(hv2, "blue", "10.0.0.254").node, "hv2");
    cr_assert_str_eq(scene_resolve(hv2, "blue", "port:gw").node, "hv2");
    cr_assert_str_eq(scene_resolve(op, "blue", "10.0.0.254").node, "hv1", "an operator sees all");
    em_client_resolve(em_call_client(hv2), 0, "blue", &eid, 1, EM_RESOLVE_WATCH, scene_on_reply,
                      &watch);
    cr_assert_str_eq(scene_await(&watch).node, "hv2");
    const struct em_location more[] = {each[0],
                                       {.node_id = "hv2", .view_node = "hv2", .weight = 9}};
    declare_gateway(more, 2);
    cr_assert_str_eq(scene_await(&watch).node, "hv2", "so it is in what is pushed");
}

Test(front, any_local_is_an_answer_and_an_instance_is_no_change)
{
    declare_gateway(&(struct em_location){.node_id = ""}, 1);
    struct scene_reply answer = scene_resolve(hv1, "blue", "10.0.0.254");
    cr_assert(answer.is_positive);
    cr_assert_str_eq(answer.node, "");
    uint64_t revision = scene_resolve(op, "blue", "10.0.0.254").revision;
    for (int i = 0; i < 2; i++) {
        struct scene_reply reply =
            scene_claim(i ? hv2 : hv1, "blue", "gw", NULL, "10.0.0.254", true, 0);
        cr_assert_eq(reply.err, 0, "%s", reply.message);
        cr_assert_eq(reply.n_epochs, 1);
        cr_assert_neq(reply.epochs[0], 0);
    }
    cr_assert_eq(scene_claim(hv1, "blue", "gw", NULL, "10.0.0.253", true, 0).err, EM_E_DENIED,
                 "the operator has said what it is");
    cr_assert_eq(scene_withdraw(hv1, "gw").err, 0);
    answer = scene_resolve(op, "blue", "10.0.0.254");
    cr_assert(answer.is_positive);
    cr_assert_eq(answer.revision, revision);
}

Test(front, negative_answers_say_why_and_for_how_long)
{
    struct scene_reply nobody = scene_resolve(op, "blue", "10.0.9.9");
    cr_assert_not(nobody.is_positive);
    cr_assert_eq(nobody.action, EM_ACTION_DROP);
    cr_assert_eq(nobody.ttl_s, 60);
    struct scene_reply outside = scene_resolve(op, "blue", "192.168.0.1");
    cr_assert_eq(outside.action, EM_ACTION_NATIVELY_FORWARD);
    cr_assert_eq(outside.ttl_s, 900);
    struct scene_reply no_network = scene_resolve(op, "red", "10.0.0.1");
    cr_assert_eq(no_network.err, 0);
    cr_assert_eq(no_network.ttl_s, 900);
}

Test(front, only_an_attach_takes_a_port_over)
{
    uint64_t epoch = scene_claim(hv1, "blue", "web", MAC1, "10.0.0.1", true, 0).epochs[0];
    struct scene_reply stale = scene_claim(hv2, "blue", "web", MAC1, "10.0.0.1", false, 0);
    cr_assert_eq(stale.err, EM_E_MOVED);
    cr_assert_str_eq(stale.current_node, "hv1");
    struct scene_reply moved = scene_claim(hv2, "blue", "web", MAC1, "10.0.0.1", true, 0);
    cr_assert_eq(moved.err, 0);
    cr_assert_gt(moved.epochs[0], epoch);
    struct scene_reply thief = scene_claim(hv1, "blue", "web", MAC1, "10.0.0.1", false, epoch);
    cr_assert_eq(thief.err, EM_E_MOVED);
    cr_assert_str_eq(thief.current_node, "hv2");
}

Test(front, a_second_holder_of_an_address_is_told_who_has_it)
{
    scene_claim(hv1, "blue", "web", MAC1, "10.0.0.1", true, 0);
    struct scene_reply reply = scene_claim(hv2, "blue", "db", MAC2, "10.0.0.1", true, 0);
    cr_assert_eq(reply.err, EM_E_CONFLICT);
    cr_assert_str_eq(reply.current_node, "hv1");
    cr_assert(strstr(reply.field, "claims[0].port.eids["), "%s", reply.field);
    cr_assert_not(scene_resolve(op, "blue", MAC2).is_positive, "nothing of it was done");
}

Test(front, nodes_may_not_do_what_operators_do)
{
    cr_assert_eq(scene_put_network(hv1, "red", NULL).err, EM_E_DENIED);
    struct scene_wait wait = {hv1};
    em_client_status(em_call_client(hv1), false, scene_on_reply, &wait);
    cr_assert_eq(scene_await(&wait).err, EM_E_DENIED);
    em_client_remove_node(em_call_client(hv1), "hv2", scene_on_reply, &wait);
    cr_assert_eq(scene_await(&wait).err, EM_E_DENIED);
}

Test(front, a_subscriber_gets_the_snapshot_then_each_change)
{
    scene_claim(hv1, "blue", "web", MAC1, "10.0.0.1", true, 0);
    struct scene_feed feed = {hv2};
    em_client_subscribe(em_call_client(hv2), 0, "blue", 0, scene_on_feed, &feed);
    scene_feed_await(&feed, "complete");
    cr_assert_str_eq(feed.log, "+web complete ");
    cr_assert_eq(feed.n_start_over, 1);
    scene_claim(hv1, "blue", "db", MAC2, "10.0.0.2", true, 0);
    scene_feed_await(&feed, "+db");
    scene_withdraw(hv1, "web");
    scene_feed_await(&feed, "-web");
    cr_assert_eq(feed.n_start_over, 1);
}

Test(front, a_subscriber_resumes_where_it_was)
{
    struct scene_reply first = scene_claim(hv1, "blue", "web", MAC1, "10.0.0.1", true, 0);
    scene_claim(hv1, "blue", "db", MAC2, "10.0.0.2", true, 0);
    struct scene_feed feed = {hv2};
    em_client_subscribe(em_call_client(hv2), 0, "blue", first.revision, scene_on_feed, &feed);
    scene_feed_await(&feed, "complete");
    cr_assert_str_eq(feed.log, "+db complete ");
    cr_assert_eq(feed.n_start_over, 0);
}

Test(front, ten_thousand_ports_arrive_each_once)
{
    register_many(hv1, 10000);
    struct scene_feed feed = {hv2};
    em_client_subscribe(em_call_client(hv2), 0, "blue", 0, scene_on_feed, &feed);
    while (!feed.n_complete)
        cr_assert_eq(em_call_wait(hv2, 5000), 0);
    cr_assert_eq(feed.n_changes, 10000);
    cr_assert_gt(feed.n_pages, 1);
}

/* Those who stand where others stand are sent the same pages; one of them begins later, and is sent
 * his own. */
Test(front, many_subscribers_get_each_change_once_and_in_order)
{
    struct em_call *calls[6];
    struct scene_feed feeds[6];
    scene_claim(hv1, "blue", "web", MAC1, "10.0.0.1", true, 0);
    for (int i = 0; i < 6; i++) {
        calls[i] = scene_client(scene, NULL, 0);
        feeds[i] = (struct scene_feed){calls[i]};
        if (i == 5)
            scene_withdraw(hv1, "web");
        em_client_subscribe(em_call_client(calls[i]), 0, "blue", 0, scene_on_feed, &feeds[i]);
        scene_feed_await(&feeds[i], "complete");
    }
    register_many(hv1, 9000);
    for (int i = 0; i < 6; i++) {
        unsigned wanted = i == 5 ? 9001 : 9002; /* "web" comes and goes */
        while (feeds[i].n_changes < wanted)
            cr_assert_eq(em_call_wait(calls[i], 5000), 0, "%u of %u", feeds[i].n_changes, wanted);
        cr_assert_eq(feeds[i].n_start_over, 1);
    }
    uint64_t revision = scene_withdraw(hv2, "nothing").revision;
    for (int i = 0; i < 6; i++) {
        cr_assert_leq(feeds[i].revision, revision);
        cr_assert_eq(feeds[i].n_changes, i == 5 ? 9001 : 9002);
        em_call_close(calls[i]);
    }
}

Test(front, network_0_shows_nodes_and_networks)
{
    struct scene_feed feed = {op};
    em_client_subscribe(em_call_client(op), 0, NULL, 0, scene_on_feed, &feed);
    scene_feed_await(&feed, "complete");
    cr_assert(strstr(feed.log, "+hv1 ") && strstr(feed.log, "+hv2 ") && strstr(feed.log, "+blue "),
              "%s", feed.log);
}

Test(front, a_removed_network_ends_its_subscription)
{
    struct scene_feed feed = {hv1}, networks = {hv1};
    em_client_subscribe(em_call_client(hv1), 0, "blue", 0, scene_on_feed, &feed);
    em_client_subscribe(em_call_client(hv1), 0, NULL, 0, scene_on_feed, &networks);
    scene_feed_await(&feed, "complete");
    struct scene_wait wait = {op};
    em_client_remove_network(em_call_client(op), "blue", scene_on_reply, &wait);
    cr_assert_eq(scene_await(&wait).err, 0);
    scene_feed_await(&networks, "-#");
    scene_feed_await(&feed, "removed");
}

/* Until a resume from there is stale, for deletions in network red. */
static void trim_past(uint64_t cursor)
{
    struct scene_feed trimmed;
    for (unsigned i = 0; i < 100; i++) {
        scene_claim(hv1, "red", "gone", MAC2, NULL, true, 0);
        scene_withdraw(hv1, "gone");
        usleep(50000);
        trimmed = (struct scene_feed){op};
        int64_t id =
            em_client_subscribe(em_call_client(op), 0, "red", cursor, scene_on_feed, &trimmed);
        scene_feed_await(&trimmed, "complete");
        em_client_cancel(em_call_client(op), id);
        if (trimmed.n_start_over)
            break;
    }
    cr_assert_eq(trimmed.n_start_over, 1);
}

static void forgetful_scene(void)
{
    teardown();
    scene = scene_start_forgetful(1);
    op = scene_client(scene, NULL, 0);
    hv1 = scene_client(scene, "hv1", 1);
    hv2 = scene_client(scene, "hv2", 1);
    scene_put_network(op, "blue", NULL);
    scene_put_network(op, "red", NULL);
}

/* What is trimmed after a subscriber has had all there is, it has not missed. */
Test(front, a_quiet_subscription_does_not_start_over_when_others_are_trimmed)
{
    forgetful_scene();
    struct scene_feed feed = {hv2};
    em_client_subscribe(em_call_client(hv2), 0, "blue", 0, scene_on_feed, &feed);
    scene_feed_await(&feed, "complete");
    trim_past(scene_claim(hv1, "red", "gone", MAC2, NULL, true, 0).revision);
    scene_claim(hv1, "blue", "web", MAC1, NULL, true, 0);
    scene_feed_await(&feed, "+web");
    cr_assert_eq(feed.n_start_over, 1, "%s", feed.log);
}

static struct scene_reply heartbeat(struct em_call *call)
{
    struct scene_wait wait = {call};
    em_client_heartbeat(em_call_client(call), 0, scene_on_reply, &wait);
    struct scene_reply reply = scene_await(&wait);
    cr_assert_eq(reply.err, 0);
    return reply;
}

/* The page, if there is one, comes right behind the heartbeat's answer: before the next one. */
Test(front, a_quiet_subscriber_hears_how_far_the_feed_is_and_resumes_from_there)
{
    forgetful_scene();
    scene_claim(hv1, "blue", "web", MAC1, NULL, true, 0);
    struct scene_feed feed = {hv2};
    int64_t id = em_client_subscribe(em_call_client(hv2), 0, "blue", 0, scene_on_feed, &feed);
    scene_feed_await(&feed, "complete");
    uint64_t before = feed.revision;
    trim_past(before);
    cr_assert_eq(feed.revision, before, "nobody has asked");
    uint64_t now = heartbeat(hv2).revision;
    heartbeat(hv2);
    cr_assert_geq(feed.revision, now);
    unsigned n_pages = feed.n_pages;
    usleep(5000); /* longer than deletions are kept */
    heartbeat(hv2);
    heartbeat(hv2);
    cr_assert_eq(feed.n_pages, n_pages, "what has been told is not told again");
    em_client_cancel(em_call_client(hv2), id);
    struct scene_feed again = {hv2};
    em_client_subscribe(em_call_client(hv2), 0, "blue", feed.revision, scene_on_feed, &again);
    scene_feed_await(&again, "complete");
    cr_assert_str_eq(again.log, "complete ");
    cr_assert_eq(again.n_start_over, 0);
}

Test(front, subscribing_to_what_is_not_there_is_refused)
{
    struct scene_feed feed = {hv1};
    em_client_subscribe(em_call_client(hv1), 0, "nowhere", 0, scene_on_feed, &feed);
    scene_feed_await(&feed, "error");
    cr_assert_eq(feed.err, EM_E_NOT_FOUND);
}

/* ---- watches ------------------------------------------------------------------------- */

static void watch(struct scene_wait *wait, const char *text)
{
    struct em_eid eid;
    char name[EM_EID_TEXT];
    cr_assert_eq(em_eid_parse(text, &eid, name, NULL), 0);
    em_client_resolve(em_call_client(wait->call), 0, "blue", &eid, 1, EM_RESOLVE_WATCH,
                      scene_on_reply, wait);
    cr_assert_eq(scene_await(wait).err, 0);
}

Test(front, a_watched_negative_answer_is_pushed_when_somebody_registers)
{
    struct scene_wait wait = {hv2};
    watch(&wait, "10.0.0.1");
    cr_assert_not(wait.reply.is_positive);
    scene_claim(hv1, "blue", "web", MAC1, "10.0.0.1", true, 0);
    struct scene_reply pushed = scene_await(&wait);
    cr_assert(pushed.is_positive);
    cr_assert_str_eq(pushed.node, "hv1");
}

Test(front, a_watched_port_is_pushed_when_it_moves_and_when_it_goes)
{
    scene_claim(hv1, "blue", "web", MAC1, "10.0.0.1", true, 0);
    struct scene_wait wait = {op};
    watch(&wait, "10.0.0.1");
    cr_assert_str_eq(wait.reply.node, "hv1");
    scene_claim(hv2, "blue", "web", MAC1, "10.0.0.1", true, 0);
    cr_assert_str_eq(scene_await(&wait).node, "hv2");
    scene_withdraw(hv2, "web");
    cr_assert_not(scene_await(&wait).is_positive);
}

Test(front, a_watch_is_quiet_about_others)
{
    struct scene_wait wait = {hv2};
    watch(&wait, MAC1);
    scene_claim(hv1, "blue", "db", MAC2, "10.0.0.2", true, 0);
    scene_claim(hv1, "blue", "web", MAC1, "10.0.0.1", true, 0);
    struct scene_reply pushed = scene_await(&wait);
    cr_assert_str_eq(pushed.port, "web", "the first push is the one of the watched address");
}

/* Else a cache would go on answering "nobody" for an address that somebody has. */
Test(front, a_watched_range_is_pushed_again_when_it_narrows)
{
    struct scene_wait wait = {hv2};
    watch(&wait, "10.0.0.1");
    cr_assert_str_eq(wait.reply.covers, "10.0.0.0/16");
    scene_claim(hv1, "blue", "db", MAC2, "10.0.0.2", true, 0);
    struct scene_reply pushed = scene_await(&wait);
    cr_assert_not(pushed.is_positive);
    cr_assert_str_eq(pushed.covers, "10.0.0.0/31");
    scene_claim(hv1, "blue", "web", MAC1, "10.0.7.7", true, 0);
    scene_claim(hv1, "blue", "app", NULL, "10.0.0.1", true, 0);
    cr_assert_str_eq(scene_await(&wait).port, "app", "what lies outside does not matter");
}

static int resolve_watching(struct scene_wait *wait, const char *network, const struct em_eid *eids,
                            size_t n)
{
    wait->reply.n_calls = 0;
    em_client_resolve(em_call_client(wait->call), 0, network, eids, n, EM_RESOLVE_WATCH,
                      scene_on_reply, wait);
    return scene_await(wait).err;
}

Test(front, a_watch_without_a_network_is_refused)
{
    struct em_eid eid;
    char name[EM_EID_TEXT];
    struct scene_wait wait = {hv2};
    cr_assert_eq(em_eid_parse("port:web", &eid, name, NULL), 0);
    cr_assert_eq(resolve_watching(&wait, NULL, &eid, 1), EM_E_NOT_FOUND);
    cr_assert_eq(resolve_watching(&wait, "blue", &eid, 1), 0);
}

Test(front, a_watch_too_many_is_refused_and_not_answered)
{
    enum { EIDS = 1024 };
    static struct em_eid eids[EIDS];
    struct scene_wait wait = {hv2};
    for (unsigned i = 0; i < EIDS; i++)
        eids[i] = (struct em_eid){.kind = EM_EID_IPV4, .size = 4, .addr = {10, 0, 0, 1}};
    for (unsigned i = 0; i < 16384 / EIDS; i++)
        cr_assert_eq(resolve_watching(&wait, "blue", eids, EIDS), 0);
    cr_assert_eq(resolve_watching(&wait, "blue", eids, 1), EM_E_LIMIT);
    cr_assert_eq(wait.reply.n_calls, 1);
}

/* A client may watch the same EID many times over: its pushes wait for it, not in memory. */
Test(front, pushes_go_as_fast_as_the_client_takes_them)
{
    enum { REQUESTS = 16, EIDS = 1024, MACS = 63 };
    static struct em_eid watched[EIDS], eids[MACS + 1];
    struct scene_wait wait = {hv2}, claimed = {hv1};
    cr_assert_eq(em_eid_parse("10.0.0.1", &eids[MACS], NULL, NULL), 0);
    for (unsigned i = 0; i < EIDS; i++)
        watched[i] = eids[MACS];
    for (unsigned i = 0; i < MACS; i++)
        eids[i] =
            (struct em_eid){.kind = EM_EID_MAC, .size = 6, .addr = {2, 2, 2, 2, 2, (uint8_t)i}};
    for (unsigned i = 0; i < REQUESTS; i++) {
        em_client_resolve(em_call_client(hv2), 0, "blue", watched, EIDS, EM_RESOLVE_WATCH,
                          scene_on_reply, &wait);
        cr_assert_eq(scene_await(&wait).n_answers, EIDS);
    }
    const struct em_location location = {.weight = 1};
    struct em_claim claim = {
        .port = {.eids = eids, .n_eids = MACS + 1, .locations = &location, .n_locations = 1}};
    cr_assert_eq(em_port_id_parse("large", &claim.port.id, NULL), 0);
    em_client_register(em_call_client(hv1), &claim, 1, "blue", scene_on_reply, &claimed);
    cr_assert_eq(scene_await(&claimed).err, 0, "%s", claimed.reply.message);
    while (wait.reply.n_calls < REQUESTS + REQUESTS * EIDS)
        cr_assert_eq(em_call_wait(hv2, 5000), 0, "%u calls", wait.reply.n_calls);
    cr_assert(wait.reply.is_positive);
}

/* ---- announce ------------------------------------------------------------------------ */

Test(front, what_is_not_announced_is_withdrawn)
{
    scene_claim(hv1, "blue", "web", MAC1, "10.0.0.1", true, 0);
    scene_claim(hv1, "blue", "db", MAC2, "10.0.0.2", true, 0);
    em_client_announce_begin(em_call_client(hv1), 5);
    cr_assert_eq(scene_claim(hv1, "blue", "web", MAC1, "10.0.0.1", false, 0).err, 0);
    struct scene_wait wait = {hv1};
    em_client_announce_end(em_call_client(hv1), 5, scene_on_reply, &wait);
    struct scene_reply reply = scene_await(&wait);
    cr_assert_eq(reply.err, 0, "%s", reply.message);
    cr_assert_eq(reply.n_withdrawn, 1);
    cr_assert(scene_resolve(op, "blue", MAC1).is_positive);
    cr_assert_not(scene_resolve(op, "blue", MAC2).is_positive);
}

static struct scene_reply prepare(const char *port, const char *node, uint32_t ms)
{
    struct em_location target = {.node_id = node};
    struct em_claim claim = {.port = {.locations = &target, .n_locations = 1},
                             .migration = EM_MIGRATION_PREPARE,
                             .pending_ms = ms};
    struct scene_wait wait = {op};
    em_port_id_parse(port, &claim.port.id, NULL);
    em_client_register(em_call_client(op), &claim, 1, "blue", scene_on_reply, &wait);
    return scene_await(&wait);
}

Test(front, a_pending_location_is_no_ghost_of_its_node)
{
    scene_claim(hv1, "blue", "web", MAC1, "10.0.0.1", true, 0);
    cr_assert_eq(prepare("web", "hv2", 0).err, 0);
    em_client_announce_begin(em_call_client(hv2), 5);
    struct scene_wait wait = {hv2};
    em_client_announce_end(em_call_client(hv2), 5, scene_on_reply, &wait);
    cr_assert_eq(scene_await(&wait).n_withdrawn, 0);
}

Test(front, a_migration_that_nobody_ends_is_over_in_its_time)
{
    scene_claim(hv1, "blue", "web", MAC1, "10.0.0.1", true, 0);
    cr_assert_eq(prepare("web", "hv2", 1).err, 0);
    struct scene_feed feed = {op};
    em_client_subscribe(em_call_client(op), 0, "blue", 0, scene_on_feed, &feed);
    scene_feed_await(&feed, "complete ");
    if (!strstr(feed.log, "+web complete +web")) /* unless it was over before */
        scene_feed_await(&feed, "+web complete +web");
    cr_assert_str_eq(scene_resolve(op, "blue", MAC1).node, "hv1");
}

/* More than one command's worth, each of which the server must take for its own. */
Test(front, thousands_of_ghosts_are_withdrawn_in_one_announce)
{
    register_many(hv1, 2500);
    em_client_announce_begin(em_call_client(hv1), 7);
    struct scene_wait wait = {hv1};
    em_client_announce_end(em_call_client(hv1), 7, scene_on_reply, &wait);
    struct scene_reply reply = scene_await(&wait);
    cr_assert_eq(reply.err, 0, "%s", reply.message);
    cr_assert_eq(reply.n_withdrawn, 2500);
    cr_assert_not(scene_resolve(op, "blue", "port:p2499").is_positive);
}

/* The sweep goes on in chunks until nothing is left: what comes meanwhile is no ghost. */
Test(front, what_is_registered_during_a_sweep_stays)
{
    register_many(hv1, 2500);
    em_client_announce_begin(em_call_client(hv1), 8);
    struct scene_wait wait = {hv1};
    em_client_announce_end(em_call_client(hv1), 8, scene_on_reply, &wait);
    struct scene_wait claim = {hv1};
    struct em_eid eid;
    const struct em_location location = {.weight = 1};
    struct em_claim new_port = {
        .port = {.eids = &eid, .n_eids = 1, .locations = &location, .n_locations = 1}};
    cr_assert_eq(em_eid_parse(MAC1, &eid, NULL, NULL), 0);
    cr_assert_eq(em_port_id_parse("late", &new_port.port.id, NULL), 0);
    em_client_register(em_call_client(hv1), &new_port, 1, "blue", scene_on_reply, &claim);
    while (!wait.reply.n_calls || !claim.reply.n_calls)
        cr_assert_eq(em_call_wait(hv1, 5000), 0);
    cr_assert_eq(claim.reply.err, 0, "%s", claim.reply.message);
    cr_assert_eq(wait.reply.n_withdrawn, 2500);
    cr_assert(scene_resolve(op, "blue", MAC1).is_positive);
}

/* What is announced is remembered, whether it was taken or not: that has a limit. */
Test(front, an_announce_beyond_the_limit_withdraws_nothing)
{
    enum { CLAIMS = 4096, REQUESTS = 200000 / CLAIMS + 1 };
    struct em_claim *claims = calloc(CLAIMS, sizeof(*claims));
    cr_assert_eq(scene_claim(hv1, "blue", "web", MAC1, NULL, true, 0).err, 0);
    em_client_announce_begin(em_call_client(hv1), 9);
    for (unsigned i = 0; i < REQUESTS; i++) {
        for (unsigned j = 0; j < CLAIMS; j++) {
            claims[j].port.id.size = 4;
            memcpy(claims[j].port.id.bytes, &(uint32_t){i * CLAIMS + j}, 4);
        }
        struct scene_wait wait = {hv1};
        em_client_register(em_call_client(hv1), claims, CLAIMS, "nowhere", scene_on_reply, &wait);
        cr_assert_eq(scene_await(&wait).err, EM_E_NOT_FOUND);
    }
    free(claims);
    struct scene_wait end = {hv1};
    em_client_announce_end(em_call_client(hv1), 9, scene_on_reply, &end);
    cr_assert_eq(scene_await(&end).err, EM_E_LIMIT, "%s", end.reply.message);
    cr_assert(scene_resolve(op, "blue", MAC1).is_positive);
}

Test(front, announcing_the_same_again_changes_nothing)
{
    scene_claim(hv1, "blue", "web", MAC1, "10.0.0.1", true, 0);
    uint64_t before = scene_resolve(op, "blue", MAC1).revision;
    em_client_announce_begin(em_call_client(hv1), 6);
    scene_claim(hv1, "blue", "web", MAC1, "10.0.0.1", false, before);
    struct scene_wait wait = {hv1};
    em_client_announce_end(em_call_client(hv1), 6, scene_on_reply, &wait);
    cr_assert_eq(scene_await(&wait).n_withdrawn, 0);
    cr_assert_eq(scene_resolve(op, "blue", MAC1).revision, before);
}

/* ---- sessions ------------------------------------------------------------------------ */

static int open_as(const char *node_id, uint64_t boot_epoch, uint8_t rloc)
{
    struct em_call *call = NULL;
    char *why = NULL;
    const char *servers[] = {scene_address(scene)};
    struct em_rloc where = {.ip = {.size = 4, .addr = {192, 0, 2, rloc}}};
    const struct em_client_config config = {.servers = servers,
                                            .n_servers = 1,
                                            .node_id = node_id,
                                            .boot_epoch = boot_epoch,
                                            .rlocs = &where,
                                            .n_rlocs = 1,
                                            .timeout_ms = 3000};
    int r = em_call_open(&config, &call, &why);
    em_call_close(call);
    free(why);
    return r;
}

Test(front, a_second_agent_of_a_node_needs_a_newer_boot_epoch)
{
    cr_assert_eq(open_as("hv1", 1, '1'), EM_E_SUPERSEDED);
    cr_assert_eq(open_as("hv1", 0, '1'), EM_E_SUPERSEDED);
    cr_assert_eq(open_as("hv1", 2, '1'), 0);
}

Test(front, an_rloc_belongs_to_one_node)
{
    cr_assert_eq(open_as("hv9", 1, '1'), EM_E_CONFLICT, "hv1 is reachable there");
}

Test(front, a_node_that_falls_silent_becomes_unreachable_and_keeps_its_ports)
{
    teardown();
    scene = scene_start(400);
    op = scene_client(scene, NULL, 0);
    hv2 = scene_client(scene, "hv2", 1);
    scene_put_network(op, "blue", NULL);
    hv1 = scene_client(scene, "hv1", 1);
    scene_claim(hv1, "blue", "web", MAC1, NULL, true, 0);
    struct scene_feed feed = {op};
    em_client_subscribe(em_call_client(op), 0, NULL, 0, scene_on_feed, &feed);
    scene_feed_await(&feed, "complete ");
    feed.log[0] = '\0';
    scene_feed_await(&feed, "+hv1 ");
    struct scene_reply answer = scene_resolve(op, "blue", MAC1);
    cr_assert(answer.is_positive);
    cr_assert_str_eq(answer.node, "hv1");
}

Test(front, a_shorter_lease_is_for_those_who_were_told)
{
    struct scene_wait wait = {hv1};
    scene_set_lease(scene, 100);
    usleep(300000); /* the keeper's tick */
    em_client_heartbeat(em_call_client(hv1), 0, scene_on_reply, &wait);
    cr_assert_eq(scene_await(&wait).err, 0);
    usleep(700000);
    em_client_heartbeat(em_call_client(hv1), 0, scene_on_reply, &wait);
    cr_assert_eq(scene_await(&wait).err, 0, "its session stands");
}

/* Its session would go on, with every Register refused, for as long as the agent lives. */
Test(front, a_removed_node_that_lives_comes_back)
{
    struct scene_wait gone = {op}, beat = {hv1};
    em_client_remove_node(em_call_client(op), "hv1", scene_on_reply, &gone);
    cr_assert_eq(scene_await(&gone).err, 0);
    em_client_heartbeat(em_call_client(hv1), 0, scene_on_reply, &beat);
    cr_assert_neq(scene_await(&beat).err, 0);
    cr_assert_eq(scene_claim(hv1, "blue", "web", MAC1, NULL, true, 0).err, 0);
}

Test(front, everything_acknowledged_is_there_after_a_restart)
{
    scene_claim(hv1, "blue", "web", MAC1, "10.0.0.1", true, 0);
    uint64_t before = scene_resolve(op, "blue", MAC1).revision;
    scene_restart(scene);
    struct em_call *again = scene_client(scene, NULL, 0);
    struct scene_reply answer = scene_resolve(again, "blue", MAC1);
    cr_assert(answer.is_positive);
    cr_assert_geq(answer.revision, before);
    em_call_close(again);
}

/* ---- hostile bytes ------------------------------------------------------------------- */

static int connect_raw(void)
{
    struct em_address address;
    cr_assert_eq(em_address_parse(scene_address(scene), &address, NULL), 0);
    int fd = em_socket_connect(&address);
    cr_assert_geq(fd, 0);
    return fd;
}

static void assert_serving(void)
{
    cr_assert_eq(scene_resolve(op, "blue", MAC1).err, 0);
}

/* The server must end the connection within 5 s. */
static void assert_cut_off(int fd)
{
    char byte[4096];
    for (int i = 0; i < 500; i++) {
        ssize_t n = recv(fd, byte, sizeof(byte), MSG_DONTWAIT);
        if (n == 0) {
            close(fd);
            return;
        }
        usleep(10000);
    }
    cr_assert(false, "still connected");
}

Test(front, garbage_ends_the_connection_and_nothing_else)
{
    static const char *const garbage[] = {"\xff\xff\xff\xff", "GET / HTTP/1.0\r\n\r\n",
                                          "\0\0\0\5hello"};
    static const size_t sizes[] = {4, 18, 9};
    for (size_t i = 0; i < 3; i++) {
        int fd = connect_raw();
        usleep(10000);
        cr_assert_eq(send(fd, garbage[i], sizes[i], 0), (ssize_t)sizes[i]);
        assert_cut_off(fd);
        assert_serving();
    }
}

Test(front, one_that_never_says_hello_is_cut_off)
{
    int fd = connect_raw();
    assert_cut_off(fd);
    assert_serving();
}
