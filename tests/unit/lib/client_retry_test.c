/* Requests that a server refuses for now. */
#include "lib/client_scene.h"

#include <string.h>

TestSuite(client_retry, .init = scene_setup, .fini = scene_teardown, .timeout = 60);

#define RETRY_MS 30

static const struct em_client_config patient = {.timeout_ms = PATIENCE_MS};

static int64_t remove_node(const char *name, uintptr_t aux)
{
    return em_client_remove_node(scene.client, name, scene_on_reply, (void *)aux);
}

static void refuse(struct fake_server *server, int64_t id, int err)
{
    server->retry_after_ms = RETRY_MS;
    fake_send_error(server, (uint64_t)id, err, "not now");
}

static void refuse_and_await(int64_t id, int err)
{
    size_t before = fake_count(&scene.one, BODY(REMOVE_NODE));
    uint64_t begin = em_now_ms();
    refuse(&scene.one, id, err);
    UNTIL(fake_count(&scene.one, BODY(REMOVE_NODE)) == before + 1);
    cr_assert_geq(em_now_ms() - begin + 1, RETRY_MS);
    cr_assert_eq(fake_nth(&scene.one, BODY(REMOVE_NODE), before)->id, (uint64_t)id);
    cr_assert_eq(scene.seen.n_replies, 0);
}

Test(client_retry, a_write_comes_again_under_its_id_until_it_is_done)
{
    scene_up(1, &patient);
    int64_t id = remove_node("a", 1);
    UNTIL(scene.one.n_log == 2);
    refuse_and_await(id, EM_E_BUSY);
    refuse_and_await(id, EM_E_NOT_LEADER);
    refuse_and_await(id, EM_E_BUSY);
    fake_send_done(&scene.one, (uint64_t)id, 5);
    UNTIL(scene.seen.n_replies == 1);
    cr_assert_eq(scene.seen.err, 0);
    cr_assert_eq(scene.one.n_accepted, 1, "all at the same server");
    cr_assert_eq(scene.seen.n_down, 0);
}

Test(client_retry, other_refusals_are_told_at_once)
{
    scene_up(1, &patient);
    int64_t id = remove_node("a", 1);
    UNTIL(scene.one.n_log == 2);
    refuse(&scene.one, id, EM_E_NO_SPACE);
    UNTIL(scene.seen.n_replies == 1);
    cr_assert_eq(scene.seen.err, EM_E_NO_SPACE);
}

Test(client_retry, the_last_refusal_is_told_when_there_is_no_time_left)
{
    scene_up(1, &(struct em_client_config){.timeout_ms = 1000});
    int64_t id = remove_node("a", 1);
    size_t n = 1;
    while (!scene.seen.n_replies) {
        UNTIL(fake_count(&scene.one, BODY(REMOVE_NODE)) == n || scene.seen.n_replies);
        if (!scene.seen.n_replies)
            refuse(&scene.one, id, EM_E_BUSY);
        UNTIL(fake_count(&scene.one, BODY(REMOVE_NODE)) > n || scene.seen.n_replies);
        n++;
    }
    cr_assert_eq(scene.seen.err, EM_E_BUSY, "and not TIMEOUT, which would hide the reason");
    cr_assert_str_eq(scene.seen.message, "not now");
    cr_assert_geq(n, 3);
}

Test(client_retry, later_writes_wait_and_reads_do_not)
{
    scene_up(1, &patient);
    int64_t a = remove_node("a", 1);
    UNTIL(scene.one.n_log == 2);
    refuse_and_await(a, EM_E_BUSY);
    em_client_status(scene.client, false, scene_on_reply, NULL);
    UNTIL(fake_count(&scene.one, BODY(STATUS)) == 1);
    remove_node("b", 2);
    scene_settle();
    cr_assert_eq(fake_count(&scene.one, BODY(REMOVE_NODE)), 2);
    fake_send_done(&scene.one, (uint64_t)a, 5);
    UNTIL(fake_count(&scene.one, BODY(REMOVE_NODE)) == 3);
    cr_assert_str_eq(fake_nth(&scene.one, BODY(REMOVE_NODE), 2)->remove_node->node_id, "b");
}

Test(client_retry, a_write_never_comes_behind_a_later_one)
{
    scene_up(1, &patient);
    int64_t a = remove_node("a", 1), b = remove_node("b", 2);
    UNTIL(scene.one.n_log == 3);
    refuse(&scene.one, a, EM_E_BUSY);
    UNTIL(scene.seen.n_replies == 1);
    cr_assert_eq(scene.seen.order[0], 1);
    cr_assert_eq(scene.seen.err, EM_E_BUSY);
    refuse(&scene.one, b, EM_E_BUSY);
    UNTIL(fake_count(&scene.one, BODY(REMOVE_NODE)) == 3);
    cr_assert_eq(scene.one.log[3]->id, (uint64_t)b, "the last one may");
}

Test(client_retry, reads_come_again_in_any_order)
{
    scene_up(1, &patient);
    int64_t a = em_client_status(scene.client, false, scene_on_reply, NULL);
    int64_t b = em_client_status(scene.client, false, scene_on_reply, NULL);
    remove_node("a", 1);
    UNTIL(scene.one.n_log == 4);
    refuse(&scene.one, b, EM_E_BUSY);
    refuse(&scene.one, a, EM_E_BUSY);
    UNTIL(fake_count(&scene.one, BODY(STATUS)) == 4);
    cr_assert_eq(scene.seen.n_replies, 0);
}

Test(client_retry, what_waits_behind_goes_when_the_first_is_cancelled_or_over)
{
    scene_up(1, &(struct em_client_config){.timeout_ms = 1000});
    int64_t a = remove_node("a", 1);
    UNTIL(scene.one.n_log == 2);
    refuse_and_await(a, EM_E_BUSY);
    int64_t b = remove_node("b", 2);
    em_client_cancel(scene.client, a);
    UNTIL(scene.one.log[scene.one.n_log - 1]->id == (uint64_t)b);
    refuse(&scene.one, b, EM_E_BUSY);
    UNTIL(fake_count(&scene.one, BODY(REMOVE_NODE)) == 4); /* no answer: its time runs out */
    int64_t c = remove_node("c", 3);
    UNTIL(scene.one.log[scene.one.n_log - 1]->id == (uint64_t)c);
    cr_assert_eq(scene.seen.order[0], 2);
    cr_assert_eq(scene.seen.err, EM_E_TIMEOUT);
}

Test(client_retry, a_lost_connection_ends_the_waiting)
{
    scene_up(2, &patient);
    struct fake_server *first = scene_here(), *second = scene_there();
    int64_t a = remove_node("a", 1);
    UNTIL(first->n_log == 2);
    first->retry_after_ms = PATIENCE_MS / 2;
    fake_send_error(first, (uint64_t)a, EM_E_BUSY, "not now");
    scene_settle();
    cr_assert_eq(scene.seen.n_replies, 0);
    uint64_t begin = em_now_ms();
    fake_cut(first);
    int64_t b = remove_node("b", 2);
    UNTIL(fake_count(second, BODY(REMOVE_NODE)) == 2);
    cr_assert_eq(second->log[1]->id, (uint64_t)a);
    cr_assert_eq(second->log[2]->id, (uint64_t)b);
    cr_assert_lt(em_now_ms() - begin, PATIENCE_MS / 4);
}

static unsigned n_pages;

static void on_feed(void *aux, const struct em_feed *page)
{
    n_pages++;
}

Test(client_retry, a_subscription_comes_again_too)
{
    scene_up(1, NULL);
    int64_t id = em_client_subscribe(scene.client, 4, NULL, 17, on_feed, NULL);
    UNTIL(scene.one.n_log == 2);
    refuse(&scene.one, id, EM_E_BUSY);
    UNTIL(scene.one.n_log == 3);
    cr_assert_eq(scene.one.log[2]->subscribe->cursor, 17);
    cr_assert_eq(n_pages, 0);
}

Test(client_retry, the_end_of_an_announce_comes_again)
{
    scene_up(1, NULL);
    em_client_announce_begin(scene.client, 77);
    int64_t id = em_client_announce_end(scene.client, 77, scene_on_reply, NULL);
    UNTIL(scene.one.n_log == 3);
    refuse(&scene.one, id, EM_E_BUSY);
    UNTIL(scene.one.n_log == 4);
    cr_assert_eq(scene.one.log[3]->body_case, BODY(ANNOUNCE_END));
    cr_assert_eq(scene.one.log[3]->id, (uint64_t)id);
}

Test(client_retry, a_server_that_is_no_leader_is_left_at_once)
{
    static const struct em_dialer_times times = {
        .first_ms = 5, .max_ms = 20, .refused_ms = 10 * PATIENCE_MS, .stable_ms = 10000};
    const char *servers[] = {scene.one.url, scene.two.url};
    struct em_client_config config = {.servers = servers, .n_servers = 2};
    char *why;
    cr_assert_eq(
        em_client_new_timed(scene.loop, &config, &times, &scene_events, NULL, &scene.client, &why),
        0);
    UNTIL(scene.seen.n_up == 1);
    struct fake_server *first = scene_here();
    fake_send_error(first, 0, EM_E_NOT_LEADER, "I have lost the others");
    UNTIL(scene.seen.n_up == 2); /* that is no refusal */
    cr_assert_eq(scene.seen.down_err, EM_E_NOT_LEADER);
    cr_assert_neq(scene_here(), first);
}
