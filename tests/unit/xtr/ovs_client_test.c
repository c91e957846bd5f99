/* The lasting connection, against a real Open vSwitch: plugging, a restart of the server, calls. */
#include "ovs/client.h"
#include "base/clock.h"
#include "xtr/netns.h"
#include "xtr/ovs.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <ev.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_MS 30000

static struct ovs *ovs;
static struct ev_loop *loop;
static struct ovs_client *client;
static int n_synced, n_down, n_there, n_left, reply_err;
static bool has_reply;
static char down_why[128]; /* at first */

static void on_interface(void *aux, struct ovs_interface *interface, bool is_there)
{
    is_there ? n_there++ : n_left++;
}

static void on_synced(void *aux)
{
    n_synced++;
}

static void on_down(void *aux, const char *why)
{
    if (!n_down)
        snprintf(down_why, sizeof down_why, "%s", why);
    n_down++;
}

static const struct ovs_client_events events = {on_interface, on_synced, on_down};

static void start(void)
{
    if (!ovs_is_permitted())
        cr_skip_test("no Open vSwitch, or no permission to make a network namespace");
    ovs = ovs_new();
    cr_assert(ovs_vsctl_ok(ovs, "add-br br-int -- set Bridge br-int datapath_type=netdev"));
    cr_assert(netns_ok("ip tuntap add tap0 mode tap"));
    loop = ev_loop_new(0);
    client = ovs_client_new(loop, ovs->remote, "br-int", &events, NULL);
}

static void stop(void)
{
    ovs_client_free(client);
    if (loop)
        ev_loop_destroy(loop);
    ovs_stop(ovs);
}

TestSuite(ovs_client, .init = start, .fini = stop, .timeout = 110);

static void on_timer(struct ev_loop *l, ev_timer *w, int revents)
{
}

/* Runs the loop until it is so. */
static void until(bool (*is_so)(void), const char *what)
{
    uint64_t end_ms = em_now_ms() + LIMIT_MS;
    ev_timer timer;
    ev_timer_init(&timer, on_timer, 0.01, 0.01);
    ev_timer_start(loop, &timer);
    while (!is_so()) {
        cr_assert_lt(em_now_ms(), end_ms, "%s", what);
        ev_run(loop, EVRUN_ONCE);
    }
    ev_timer_stop(loop, &timer);
}

static bool is_synced(void)
{
    return ovs_client_is_synced(client);
}

static bool is_down(void)
{
    return !ovs_client_is_synced(client) && n_down > 0;
}

static const struct ovs_interface *tap0(void)
{
    const struct ovs_interface *interface;
    for (uint32_t at = 0; (interface = ovs_rows_next(ovs_client_rows(client), &at));)
        if (!strcmp(interface->name, "tap0"))
            return interface;
    return NULL;
}

static bool is_plugged(void)
{
    const struct ovs_interface *tap = tap0();
    return tap && tap->ofport && tap->has_mac && ovs_interface_id(tap, "iface-id");
}

static bool is_unplugged(void)
{
    return !tap0();
}

static bool is_replied(void)
{
    return has_reply;
}

static void plug(void)
{
    cr_assert(ovs_vsctl_ok(ovs, "add-port br-int tap0 -- set Interface tap0 "
                                "external_ids:iface-id=p1"));
}

Test(ovs_client, a_port_is_seen_as_it_is_plugged_and_unplugged)
{
    until(is_synced, "synced");
    plug();
    until(is_plugged, "plugged");
    cr_assert(ovs_vsctl_ok(ovs, "del-port tap0"));
    until(is_unplugged, "unplugged");
    cr_assert_eq(n_left, 1);
}

/* Of the key; a value that makes any message with it a large one. */
static bool pad(const char *key)
{
    return ovs_vsctl_ok(
        ovs, "set Interface tap0 external_ids:%s=$(head -c 70000 /dev/zero | tr '\\0' x)", key);
}

static bool has_news(void)
{
    const struct ovs_interface *tap = tap0();
    return tap && ovs_interface_id(tap, "news");
}

Test(ovs_client, large_messages_come_in_their_order)
{
    plug();
    cr_assert(pad("old"));
    until(is_synced, "synced");
    cr_assert_eq(strlen(ovs_interface_id(tap0(), "old")), 70000);
    cr_assert(pad("new"));
    cr_assert(ovs_vsctl_ok(ovs, "set Interface tap0 external_ids:news=1"));
    until(has_news, "small news behind large ones");
    cr_assert_eq(strlen(ovs_interface_id(tap0(), "new")), 70000);
    cr_assert_eq(n_down, 0);
}

Test(ovs_client, what_stands_is_shown_before_it_is_synced)
{
    plug();
    until(is_synced, "synced");
    cr_assert(is_plugged());
    cr_assert_eq(n_synced, 1);
}

Test(ovs_client, a_restart_of_the_server_is_survived)
{
    plug();
    until(is_synced, "synced");
    ovs_kill_server(ovs);
    until(is_down, "down");
    cr_assert(tap0(), "what is known stays known");
    ovs_start_server(ovs);
    until(is_synced, "synced again");
    cr_assert(tap0()->ofport && ovs_interface_id(tap0(), "iface-id"));
    until(is_plugged, "with a MAC, which the database forgets and ovs-vswitchd writes again");
    cr_assert_eq(n_left, 0);
}

Test(ovs_client, a_server_that_is_silent_for_want_of_news_stays)
{
    until(is_synced, "synced");
    ovs_client_set_patience(client, 1);
    for (int i = 0; i < 7; i++)
        ev_run(loop, EVRUN_ONCE); /* silence, a question, an answer; twice */
    cr_assert_eq(n_down, 0);
}

Test(ovs_client, a_server_that_hangs_is_down)
{
    until(is_synced, "synced");
    ovs_client_set_patience(client, 0.05);
    cr_assert_eq(kill(ovs->server, SIGSTOP), 0);
    until(is_down, "down");
    cr_assert(strstr(down_why, "does not answer"), "%s", down_why);
    cr_assert_eq(kill(ovs->server, SIGCONT), 0);
    ovs_client_set_patience(client, 5);
    until(is_synced, "synced again");
}

Test(ovs_client, what_went_while_the_server_was_away_is_missed)
{
    plug();
    until(is_synced, "synced");
    ovs_kill_server(ovs);
    until(is_down, "down");
    ovs_start_server(ovs);
    cr_assert(ovs_vsctl_ok(ovs, "--no-wait del-port tap0"));
    until(is_synced, "synced again");
    cr_assert(is_unplugged());
    cr_assert_eq(n_left, 1);
}

static void on_reply(void *aux, int err, const json_t *results, const char *why)
{
    has_reply = true;
    reply_err = err;
}

static json_t *comment_op(void)
{
    return json_pack("[{ssss}]", "op", "comment", "comment", "hello");
}

Test(ovs_client, a_transaction_has_a_reply)
{
    cr_assert_eq(ovs_client_transact(client, comment_op(), on_reply, NULL), -ENOTCONN);
    until(is_synced, "synced");
    cr_assert_eq(ovs_client_transact(client, NULL, on_reply, NULL), -EINVAL);
    cr_assert_eq(ovs_client_transact(client, comment_op(), on_reply, NULL), 0);
    until(is_replied, "replied");
    cr_assert_eq(reply_err, 0);
}

Test(ovs_client, a_transaction_fails_with_its_connection)
{
    until(is_synced, "synced");
    ovs_kill_server(ovs);
    cr_assert_eq(ovs_client_transact(client, comment_op(), on_reply, NULL), 0);
    until(is_replied, "replied");
    cr_assert_eq(reply_err, -ECONNRESET);
}
