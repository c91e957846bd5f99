/* The second connection: it costs nothing while all is well, and is there when it is not. */
#include "lib/client_scene.h"

#include <string.h>

TestSuite(client_warm, .init = scene_setup, .fini = scene_teardown, .timeout = 60);

static const struct em_client_config warm = {.is_warm = true};

static int64_t remove_node(const char *name)
{
    return em_client_remove_node(scene.client, name, scene_on_reply, NULL);
}

static size_t n_hellos(const struct fake_server *server, bool is_warm)
{
    size_t n = 0;
    const Eidmap__Envelope *envelope;
    for (size_t k = 0; (envelope = fake_nth(server, BODY(HELLO), k)); k++)
        n += envelope->hello->warm == is_warm;
    return n;
}

/* A session at scene_here(), a warm connection to scene_there() that has been welcomed. */
static void warm_up(void)
{
    scene_up(2, &warm);
    UNTIL(n_hellos(scene_there(), true) == 1);
    scene_settle();
}

Test(client_warm, the_other_server_hears_a_warm_hello_and_nothing_else)
{
    warm_up();
    struct fake_server *here = scene_here(), *there = scene_there();
    remove_node("a");
    UNTIL(fake_count(here, BODY(REMOVE_NODE)) == 1);
    scene_settle();
    cr_assert_eq(there->n_log, 1);
    cr_assert_eq(n_hellos(here, true), 0);
    cr_assert_eq(scene.seen.n_up, 1);
    const Eidmap__Envelope *first = here->log[0], *second = there->log[0];
    cr_assert_lt(second->id, first->id);
    cr_assert_arr_eq(first->hello->instance.data, second->hello->instance.data, 16);
}

Test(client_warm, is_made_only_by_who_wants_it_and_has_two_servers)
{
    scene_up(2, NULL);
    scene_settle();
    cr_assert_eq(scene_there()->n_accepted, 0);
    em_client_free(scene.client);
    unsigned before = scene.two.n_accepted;
    scene.seen.n_up = 0;
    scene_up(1, &warm);
    scene_settle();
    cr_assert_eq(scene.two.n_accepted, before);
    cr_assert_eq(n_hellos(&scene.one, true), 0);
}

Test(client_warm, a_lost_session_goes_on_there_without_a_new_connection)
{
    warm_up();
    struct fake_server *first = scene_here(), *second = scene_there();
    int64_t a = remove_node("a"), b = remove_node("b");
    UNTIL(fake_count(first, BODY(REMOVE_NODE)) == 2);
    fake_cut(first);
    UNTIL(fake_count(second, BODY(REMOVE_NODE)) == 2);
    cr_assert_eq(second->n_accepted, 1);
    cr_assert_eq(n_hellos(second, false), 1);
    cr_assert_lt(fake_nth(second, BODY(HELLO), 1)->id, (uint64_t)a);
    cr_assert_eq(scene.seen.n_down, 1);
    cr_assert_eq(scene.seen.n_up, 2);
    cr_assert_str_eq(scene.seen.server, second->url);
    cr_assert_eq(fake_nth(second, BODY(REMOVE_NODE), 0)->id, (uint64_t)a);
    cr_assert_eq(fake_nth(second, BODY(REMOVE_NODE), 1)->id, (uint64_t)b);
    fake_send_done(second, (uint64_t)a, 1);
    fake_send_done(second, (uint64_t)b, 1);
    UNTIL(scene.seen.n_replies == 2);
}

Test(client_warm, nothing_is_sent_there_before_its_welcome)
{
    warm_up();
    struct fake_server *first = scene_here(), *second = scene_there();
    second->is_silent = true;
    fake_cut(first);
    UNTIL(n_hellos(second, false) == 1);
    remove_node("a");
    scene_settle();
    cr_assert_eq(second->n_log, 2);
    cr_assert_not(em_client_is_up(scene.client));
}

static struct em_feed seen_page;

static void on_feed(void *aux, const struct em_feed *page)
{
    seen_page = *page;
}

static void send_page(struct fake_server *server, uint64_t id, uint64_t revision)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Changes msg = EIDMAP__CHANGES__INIT;
    msg.network_id = 4;
    msg.revision = revision;
    msg.complete = true;
    envelope.id = id;
    envelope.body_case = BODY(CHANGES);
    envelope.changes = &msg;
    fake_send(server, &envelope);
}

Test(client_warm, subscriptions_resume_there_from_their_cursors)
{
    warm_up();
    struct fake_server *first = scene_here(), *second = scene_there();
    int64_t id = em_client_subscribe(scene.client, 0, "blue", 0, on_feed, NULL);
    UNTIL(fake_count(first, BODY(SUBSCRIBE)) == 1);
    send_page(first, (uint64_t)id, 41);
    UNTIL(seen_page.revision == 41);
    fake_cut(first);
    UNTIL(fake_count(second, BODY(SUBSCRIBE)) == 1);
    const Eidmap__Subscribe *again = fake_nth(second, BODY(SUBSCRIBE), 0)->subscribe;
    cr_assert_eq(again->cursor, 41);
    cr_assert_eq(again->network_id, 4);
    send_page(second, (uint64_t)id, 42);
    UNTIL(seen_page.revision == 42);
    cr_assert_not(seen_page.is_start_over);
}

Test(client_warm, a_goodbye_is_as_good_as_a_lost_connection)
{
    warm_up();
    struct fake_server *first = scene_here(), *second = scene_there();
    fake_send_error(first, 0, EM_E_NOT_LEADER, "I have lost the others");
    UNTIL(scene.seen.n_up == 2);
    cr_assert_eq(scene.seen.down_err, EM_E_NOT_LEADER);
    cr_assert_str_eq(scene.seen.server, second->url);
    cr_assert_eq(second->n_accepted, 1);
}

Test(client_warm, fail_over_takes_it)
{
    warm_up();
    struct fake_server *second = scene_there();
    em_client_fail_over(scene.client);
    UNTIL(scene.seen.n_up == 2);
    cr_assert_eq(second->n_accepted, 1);
}

Test(client_warm, who_is_refused_at_one_server_does_not_ask_the_other)
{
    warm_up();
    struct fake_server *first = scene_here(), *second = scene_there();
    fake_send_error(first, 0, EM_E_SUPERSEDED, "a newer agent is here");
    UNTIL(scene.seen.n_down == 1);
    UNTIL(!second->conn);
    cr_assert_eq(n_hellos(second, false), 0);
    uint64_t refused_ms = em_now_ms();
    UNTIL(scene.seen.n_up == 2);
    cr_assert_geq(em_now_ms() - refused_ms + 10, scene_times.refused_ms);
}

Test(client_warm, after_a_move_there_is_a_new_one_to_another_server)
{
    warm_up();
    for (unsigned i = 1; i <= 4; i++) {
        struct fake_server *here = scene_here();
        size_t before = n_hellos(here, true);
        fake_cut(here);
        UNTIL(scene.seen.n_up == 1 + i);
        cr_assert_neq(scene_here(), here);
        UNTIL(n_hellos(here, true) == before + 1);
        scene_settle();
    }
    cr_assert_eq(scene.one.n_accepted + scene.two.n_accepted, 6);
}

Test(client_warm, its_own_end_is_no_matter_and_it_comes_back)
{
    warm_up();
    struct fake_server *there = scene_there();
    fake_cut(there);
    UNTIL(there->n_accepted == 2);
    scene_settle();
    cr_assert_eq(scene.seen.n_down, 0);
    cr_assert(em_client_is_up(scene.client));
}

Test(client_warm, a_server_that_does_not_want_it_is_left_alone)
{
    scene.one.hello_error = scene.two.hello_error = EM_E_DENIED;
    scene_connect(2, &warm);
    scene.one.hello_error = 0;
    UNTIL(scene.seen.n_up == 1);
    scene_settle();
    unsigned before = scene.two.n_accepted;
    uint64_t begin = em_now_ms();
    UNTIL(scene.two.n_accepted >= before + 3);
    cr_assert_geq(em_now_ms() - begin + 10, 2 * scene_times.refused_ms);
    cr_assert(em_client_is_up(scene.client));
}

Test(client_warm, nonsense_on_it_does_not_touch_the_session)
{
    warm_up();
    struct fake_server *there = scene_there();
    fake_send_done(there, 3, 1);
    UNTIL(there->n_accepted == 2);
    UNTIL(n_hellos(there, true) == 2);
    fake_send_bytes(there, "\0\0\0\3\xff\xff\xff", 7);
    UNTIL(there->n_accepted == 3);
    cr_assert_eq(scene.seen.n_down, 0);
    cr_assert(em_client_is_up(scene.client));
}

Test(client_warm, hello_is_said_again_now_and_then)
{
    scene.one.lease_ms = scene.two.lease_ms = 300;
    warm_up();
    UNTIL(n_hellos(scene_there(), true) == 4);
    cr_assert_eq(scene_there()->n_accepted, 1);
}

Test(client_warm, a_server_that_falls_silent_is_given_up)
{
    scene.one.lease_ms = scene.two.lease_ms = 300;
    warm_up();
    scene_there()->is_silent = true;
    UNTIL(scene_there()->n_accepted == 2);
    cr_assert(em_client_is_up(scene.client));
}

Test(client_warm, a_late_answer_to_a_warm_hello_is_not_the_sessions)
{
    scene.one.lease_ms = scene.two.lease_ms = 300;
    warm_up();
    struct fake_server *first = scene_here(), *second = scene_there();
    second->is_silent = true;
    UNTIL(n_hellos(second, true) >= 3);
    fake_cut(first);
    UNTIL(n_hellos(second, false) == 1);
    fake_welcome(second, EM_WARM_ID);
    scene_settle();
    cr_assert_eq(scene.seen.n_up, 1);
    fake_welcome(second, EM_HELLO_ID);
    UNTIL(scene.seen.n_up == 2);
}

Test(client_warm, one_that_breaks_when_it_is_needed_is_no_dead_end)
{
    warm_up();
    struct fake_server *first = scene_here(), *second = scene_there();
    second->is_silent = true;
    fake_cut(first);
    UNTIL(n_hellos(second, false) == 1);
    fake_cut(second);
    second->is_silent = false;
    UNTIL(scene.seen.n_up == 2);
    cr_assert_eq(scene.seen.n_down, 2);
}

Test(client_warm, both_may_break_at_once)
{
    warm_up();
    fake_cut(scene_there());
    fake_cut(scene_here());
    UNTIL(scene.seen.n_up == 2);
    UNTIL(n_hellos(scene_there(), true) >= 1);
}

static void free_it(void *aux, int err, const char *why)
{
    scene.seen.n_down++;
    em_client_free(scene.client);
    scene.client = NULL;
}

Test(client_warm, can_be_freed_with_it_and_while_it_takes_over)
{
    static const struct em_client_events freeing = {scene_on_up, free_it};
    const char *servers[] = {scene.one.url, scene.two.url};
    struct em_client_config config = {.servers = servers, .n_servers = 2, .is_warm = true};
    char *why;
    warm_up();
    em_client_free(scene.client);
    UNTIL(!scene.one.conn && !scene.two.conn);
    size_t before = n_hellos(&scene.one, true) + n_hellos(&scene.two, true);
    cr_assert_eq(
        em_client_new_timed(scene.loop, &config, &scene_times, &freeing, NULL, &scene.client, &why),
        0);
    UNTIL(scene.seen.n_up == 2);
    UNTIL(n_hellos(&scene.one, true) + n_hellos(&scene.two, true) == before + 1);
    scene_settle();
    fake_cut(scene_here());
    UNTIL(scene.seen.n_down == 1);
    UNTIL(!scene.one.conn && !scene.two.conn);
}
