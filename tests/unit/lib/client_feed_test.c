/* Watches and subscriptions: what lives longer than a session. */
#include "lib/client_scene.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

TestSuite(client_feed, .init = scene_setup, .fini = scene_teardown, .timeout = 60);

static const struct em_eid eid = {.kind = EM_EID_IPV4, .size = 4, .addr = {10, 0, 0, 7}};

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
    scene_on_reply(aux, reply);
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
    return em_client_resolve(scene.client, 0, "blue", &eid, 1, EM_RESOLVE_WATCH | EM_RESOLVE_NODES,
                             on_answer, NULL);
}

Test(client_feed, watch_is_told_every_change)
{
    scene_up(1, NULL);
    int64_t id = watch();
    UNTIL(scene.one.n_log == 2);
    cr_assert(scene.one.log[1]->resolve->watch && scene.one.log[1]->resolve->with_nodes);
    send_answer(&scene.one, (uint64_t)id, false, 1);
    send_answer(&scene.one, (uint64_t)id, true, 1);
    send_answer(&scene.one, (uint64_t)id, true, 2);
    UNTIL(scene.seen.n_replies == 3);
}

Test(client_feed, watch_is_set_again_where_the_other_server_is_busy_first)
{
    scene_up(2, NULL);
    struct fake_server *first = scene_here(), *second = scene_there();
    int64_t id = watch();
    UNTIL(first->n_log == 2);
    send_answer(first, (uint64_t)id, false, 1);
    UNTIL(scene.seen.n_replies == 1);
    fake_cut(first);
    UNTIL(fake_count(second, BODY(RESOLVE)) == 1);
    second->retry_after_ms = 20;
    fake_send_error(second, (uint64_t)id, EM_E_BUSY, "not now");
    UNTIL(fake_count(second, BODY(RESOLVE)) == 2);
    send_answer(second, (uint64_t)id, false, 1);
    UNTIL(scene.seen.n_replies == 2);
    cr_assert_eq(scene.seen.err, 0);
}

Test(client_feed, watch_is_set_again_on_another_server)
{
    scene_up(2, NULL);
    struct fake_server *first = scene_here(), *second = scene_there();
    int64_t id = watch();
    UNTIL(first->n_log == 2);
    send_answer(first, (uint64_t)id, false, 1);
    UNTIL(scene.seen.n_replies == 1);
    fake_cut(first);
    UNTIL(fake_count(second, BODY(RESOLVE)) == 1);
    send_answer(second, (uint64_t)id, false, 1);
    UNTIL(scene.seen.n_replies == 2);
}

Test(client_feed, answered_watch_has_no_deadline)
{
    scene_up(1, &(struct em_client_config){.timeout_ms = 20});
    int64_t id = watch();
    UNTIL(scene.one.n_log == 2);
    send_answer(&scene.one, (uint64_t)id, false, 1);
    UNTIL(scene.seen.n_replies == 1);
    uint64_t later = em_now_ms() + 60;
    UNTIL(em_now_ms() > later);
    cr_assert_eq(scene.seen.n_replies, 1);
    send_answer(&scene.one, (uint64_t)id, true, 1);
    UNTIL(scene.seen.n_replies == 2);
}

Test(client_feed, refused_watch_is_over)
{
    scene_up(1, NULL);
    int64_t id = watch();
    UNTIL(scene.one.n_log == 2);
    fake_send_error(&scene.one, (uint64_t)id, EM_E_NOT_FOUND, "no such network");
    UNTIL(scene.seen.n_replies == 1);
    fake_cut(&scene.one);
    UNTIL(scene.seen.n_up == 2);
    scene_settle();
    cr_assert_eq(fake_count(&scene.one, BODY(RESOLVE)), 1);
}

Test(client_feed, cancelled_watch_ends_on_the_server_too)
{
    scene_up(1, NULL);
    int64_t id = watch();
    UNTIL(scene.one.n_log == 2);
    em_client_cancel(scene.client, id);
    UNTIL(fake_count(&scene.one, BODY(UNWATCH)) == 1);
    cr_assert_eq(fake_nth(&scene.one, BODY(UNWATCH), 0)->unwatch->watch_id, (uint64_t)id);
    send_answer(&scene.one, (uint64_t)id, true, 1);
    fake_send_done(&scene.one, fake_nth(&scene.one, BODY(UNWATCH), 0)->id, 1);
    scene_settle();
    cr_assert_eq(scene.seen.n_replies, 0);
    cr_assert(em_client_is_up(scene.client));
}

Test(client_feed, fewer_answers_than_questions_end_the_session)
{
    scene_up(1, NULL);
    struct em_eid eids[] = {eid, eid};
    int64_t id = em_client_resolve(scene.client, 1, NULL, eids, 2, 0, on_answer, NULL);
    UNTIL(scene.one.n_log == 2);
    send_answer(&scene.one, (uint64_t)id, false, 1);
    UNTIL(scene.seen.n_down == 1);
    cr_assert_eq(scene.seen.down_err, EM_E_MALFORMED);
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

Test(client_feed, feed_shows_records_and_what_is_gone)
{
    scene_up(1, NULL);
    int64_t id = em_client_subscribe(scene.client, 0, NULL, 0, on_feed, NULL);
    UNTIL(scene.one.n_log == 2);
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
    send_page(&scene.one, (uint64_t)id, &msg);
    UNTIL(fed.n_pages == 1);
    cr_assert_eq(fed.last.n_changes, 2, "what this library does not know is left out");
    cr_assert_eq(fed.last.revision, 40);
    cr_assert(fed.last.is_start_over && fed.last.is_complete && !fed.last.is_removed);
    cr_assert_str_eq(fed.node, "hv1");
    cr_assert_eq(fed.gone_network, 258);
}

Test(client_feed, subscription_resumes_from_its_last_revision)
{
    scene_up(2, NULL);
    struct fake_server *first = scene_here(), *second = scene_there();
    int64_t id = em_client_subscribe(scene.client, 0, "blue", 17, on_feed, NULL);
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

Test(client_feed, refused_subscription_is_over)
{
    scene_up(1, NULL);
    int64_t id = em_client_subscribe(scene.client, 9, NULL, 0, on_feed, NULL);
    UNTIL(scene.one.n_log == 2);
    fake_send_error(&scene.one, (uint64_t)id, EM_E_DENIED, "not your network");
    UNTIL(fed.n_pages == 1);
    cr_assert_eq(fed.last.err, EM_E_DENIED);
    cr_assert_eq(fed.last.network_id, 9);
    cr_assert_gt(em_client_subscribe(scene.client, 9, NULL, 0, on_feed, NULL), 0);
}

Test(client_feed, subscription_ends_with_its_network)
{
    scene_up(1, NULL);
    int64_t id = em_client_subscribe(scene.client, 9, NULL, 0, on_feed, NULL);
    UNTIL(scene.one.n_log == 2);
    Eidmap__Changes msg = EIDMAP__CHANGES__INIT;
    msg.network_id = 9;
    msg.removed = true;
    send_page(&scene.one, (uint64_t)id, &msg);
    UNTIL(fed.n_pages == 1);
    cr_assert(fed.last.is_removed);
    fake_cut(&scene.one);
    UNTIL(scene.seen.n_up == 2);
    scene_settle();
    cr_assert_eq(fake_count(&scene.one, BODY(SUBSCRIBE)), 1);
}

Test(client_feed, same_network_is_not_subscribed_twice)
{
    scene_connect(1, NULL);
    int64_t id = em_client_subscribe(scene.client, 9, NULL, 0, on_feed, NULL);
    cr_assert_gt(em_client_subscribe(scene.client, 8, NULL, 0, on_feed, NULL), 0);
    cr_assert_gt(em_client_subscribe(scene.client, 0, "blue", 0, on_feed, NULL), 0);
    cr_assert_eq(em_client_subscribe(scene.client, 9, NULL, 0, on_feed, NULL), EM_E_EXISTS);
    cr_assert_eq(em_client_subscribe(scene.client, 0, "blue", 0, on_feed, NULL), EM_E_EXISTS);
    cr_assert_eq(em_client_subscribe(scene.client, 0, "no name", 0, on_feed, NULL), -EINVAL);
    em_client_cancel(scene.client, id);
    cr_assert_gt(em_client_subscribe(scene.client, 9, NULL, 0, on_feed, NULL), id);
}

Test(client_feed, cancelled_subscription_is_unsubscribed)
{
    scene_up(1, NULL);
    int64_t id = em_client_subscribe(scene.client, 9, NULL, 0, on_feed, NULL);
    UNTIL(scene.one.n_log == 2);
    em_client_cancel(scene.client, id);
    UNTIL(fake_count(&scene.one, BODY(UNSUBSCRIBE)) == 1);
    cr_assert_eq(fake_nth(&scene.one, BODY(UNSUBSCRIBE), 0)->unsubscribe->network_id, 9);
}

Test(client_feed, subscription_cancelled_before_its_id_is_known_ends_with_its_first_page)
{
    scene_up(1, NULL);
    int64_t id = em_client_subscribe(scene.client, 0, "blue", 0, on_feed, NULL);
    UNTIL(scene.one.n_log == 2);
    em_client_cancel(scene.client, id);
    scene_settle();
    cr_assert_eq(fake_count(&scene.one, BODY(UNSUBSCRIBE)), 0);
    send_empty_page(&scene.one, (uint64_t)id, 5, 20);
    UNTIL(fake_count(&scene.one, BODY(UNSUBSCRIBE)) == 1);
    cr_assert_eq(fake_nth(&scene.one, BODY(UNSUBSCRIBE), 0)->unsubscribe->network_id, 5);
    cr_assert_eq(fed.n_pages, 0);
}

Test(client_feed, late_page_of_a_cancelled_subscription_leaves_its_successor_alone)
{
    scene_up(1, NULL);
    int64_t old = em_client_subscribe(scene.client, 0, "blue", 0, on_feed, NULL);
    UNTIL(scene.one.n_log == 2);
    em_client_cancel(scene.client, old);
    int64_t new = em_client_subscribe(scene.client, 0, "blue", 0, on_feed, NULL);
    UNTIL(scene.one.n_log == 3);
    send_empty_page(&scene.one, (uint64_t)old, 5, 20);
    send_empty_page(&scene.one, (uint64_t) new, 5, 20);
    UNTIL(fed.n_pages == 1);
    scene_settle();
    cr_assert_eq(fake_count(&scene.one, BODY(UNSUBSCRIBE)), 0);
}

Test(client_feed, page_of_another_network_ends_the_session)
{
    scene_up(1, NULL);
    int64_t id = em_client_subscribe(scene.client, 9, NULL, 0, on_feed, NULL);
    UNTIL(scene.one.n_log == 2);
    send_empty_page(&scene.one, (uint64_t)id, 8, 20);
    UNTIL(scene.seen.n_down == 1);
    cr_assert_eq(scene.seen.down_err, EM_E_MALFORMED);
    cr_assert_eq(fed.n_pages, 0);
}

static void free_on_feed(void *aux, const struct em_feed *page)
{
    fed.n_pages++;
    em_client_free(scene.client);
    scene.client = NULL;
}

Test(client_feed, can_be_freed_in_a_page)
{
    scene_up(1, NULL);
    int64_t id = em_client_subscribe(scene.client, 9, NULL, 0, free_on_feed, NULL);
    UNTIL(scene.one.n_log == 2);
    send_empty_page(&scene.one, (uint64_t)id, 9, 20);
    send_empty_page(&scene.one, (uint64_t)id, 9, 21);
    UNTIL(fed.n_pages == 1);
    scene_settle();
    cr_assert_eq(fed.n_pages, 1);
}
