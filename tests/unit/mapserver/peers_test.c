/* Connections between map servers: several of them on one loop, with real TLS. */
#include "core/peers.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "eidmap/error.h"
#include "mapserver/authority.h"
#include "net/conn.h"
#include "net/net.h"
#include "net/socket.h"
#include "state/apply.h"

#include <criterion/criterion.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N 3

/* One server, and what it has seen. */
struct side {
    struct ms_peers *peers;
    struct em_tls *tls;
    struct ms_peers_self self;
    char address[32];
    uint8_t cluster_id[MS_CLUSTER_ID_SIZE];
    bool is_kept[N]; /* its members */
    unsigned n_up, n_gone;
    uint64_t gone;
    char log[1024]; /* "101:7 ": from, nonce of the ping */
};

static struct authority authority;
static struct ev_loop *loop;
static struct em_net *net;
static ev_timer tick;
static struct side sides[N];
static bool is_sharing_id; /* a copied data directory */

static void tell_self(void *aux, struct ms_peers_self *ret_self)
{
    const struct side *side = aux;
    *ret_self = side->self;
}

static void on_message(void *aux, uint64_t replica, const Eidmap__Envelope *envelope)
{
    struct side *side = aux;
    size_t n = strlen(side->log);
    if (envelope->body_case == EIDMAP__ENVELOPE__BODY_PING)
        snprintf(side->log + n, sizeof(side->log) - n, "%d:%d ", (int)replica,
                 (int)envelope->ping->nonce);
}

static void on_up(void *aux, uint64_t replica)
{
    struct side *side = aux;
    side->n_up++;
}

static void on_gone(void *aux, uint64_t replica)
{
    struct side *side = aux;
    side->n_gone++;
    side->gone = replica;
}

static const struct ms_peers_events events = {tell_self, on_message, on_up, on_gone};

static void keep(struct side *side)
{
    ms_peers_begin(side->peers);
    for (unsigned i = 0; i < N; i++)
        if (side->is_kept[i])
            ms_peers_keep(side->peers, is_sharing_id ? 999 : 100 + i,
                          (char[]){'m', (char)('0' + i), 0}, sides[i].address);
    ms_peers_end(side->peers);
}

static void on_tick(struct ev_loop *l, ev_timer *w, int revents)
{
    for (unsigned i = 0; i < N; i++) {
        if (!sides[i].peers)
            continue;
        keep(&sides[i]);
        ms_peers_tick(sides[i].peers, em_now_ms());
    }
}

static void start(unsigned i)
{
    char *why = NULL;
    cr_assert_eq(ms_peers_new(net, sides[i].address, sides[i].tls, &events, &sides[i],
                              &sides[i].peers, &why),
                 0, "%s", why);
}

static void stop(unsigned i)
{
    ms_peers_free(sides[i].peers);
    sides[i].peers = NULL;
}

static void setup(void)
{
    static const char *const names[] = {"m0", "m1", "m2"};
    authority_open(&authority);
    loop = ev_loop_new(0);
    net = em_net_new(loop);
    ev_timer_init(&tick, on_tick, 0.01, 0.01);
    ev_timer_start(loop, &tick);
    for (unsigned i = 0; i < N; i++) {
        struct side *side = &sides[i];
        authority_address(side->address, sizeof(side->address));
        side->tls = authority_tls(&authority, EM_ROLE_SERVER, names[i]);
        memset(side->cluster_id, 1, sizeof(side->cluster_id));
        side->self = (struct ms_peers_self){.name = names[i],
                                            .replica = 100 + i,
                                            .cluster_id = side->cluster_id,
                                            .address = side->address};
    }
}

static void teardown(void)
{
    for (unsigned i = 0; i < N; i++) {
        stop(i);
        em_tls_free(sides[i].tls);
    }
    ev_timer_stop(loop, &tick);
    em_net_free(net);
    ev_loop_destroy(loop);
    authority_close(&authority);
}

TestSuite(peers, .init = setup, .fini = teardown, .timeout = 60);

/* Runs the loop until it is so. */
#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t until_ms = em_now_ms() + 8000;                                                    \
        while (!(condition)) {                                                                     \
            cr_assert_lt(em_now_ms(), until_ms, "never: %s", #condition);                          \
            ev_run(loop, EVRUN_ONCE);                                                              \
        }                                                                                          \
    } while (0)

static void run_for(uint64_t ms)
{
    for (uint64_t until_ms = em_now_ms() + ms; em_now_ms() < until_ms;)
        ev_run(loop, EVRUN_ONCE);
}

static void know(unsigned a, unsigned b)
{
    sides[a].is_kept[b] = true;
}

static bool is_up(unsigned from, unsigned to)
{
    const struct ms_peer_info *info = ms_peers_info(sides[from].peers, 100 + to);
    return info && info->is_connected;
}

static void ping(unsigned from, unsigned to, uint64_t nonce)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Ping msg = EIDMAP__PING__INIT;
    msg.nonce = nonce;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_PING;
    envelope.ping = &msg;
    ms_peers_send(sides[from].peers, 100 + to, &envelope);
    ms_peers_flush(sides[from].peers);
}

static void start_pair(void)
{
    start(0);
    start(1);
    know(0, 1);
    know(1, 0);
}

Test(peers, members_connect_and_messages_arrive_in_order)
{
    start_pair();
    start(2);
    know(0, 2);
    know(1, 2);
    know(2, 0);
    know(2, 1);
    for (unsigned a = 0; a < N; a++)
        for (unsigned b = 0; b < N; b++)
            if (a != b)
                UNTIL(is_up(a, b));
    for (unsigned i = 1; i <= 3; i++) {
        ping(0, 1, i);
        ping(2, 1, 10 * i);
    }
    UNTIL(strstr(sides[1].log, "100:3 ") && strstr(sides[1].log, "102:30 "));
    cr_assert_lt(strstr(sides[1].log, "100:1 "), strstr(sides[1].log, "100:2 "));
    cr_assert_lt(strstr(sides[1].log, "100:2 "), strstr(sides[1].log, "100:3 "));
    cr_assert_gt(ms_peers_info(sides[1].peers, 100)->heard_ms, 0);
}

Test(peers, hello_tells_where_clients_are_served)
{
    static const char *const servers[] = {"tls://a:1", "unix:/b"};
    sides[1].self.servers = servers;
    sides[1].self.n_servers = 2;
    start_pair();
    UNTIL(is_up(0, 1));
    const struct ms_peer_info *info = ms_peers_info(sides[0].peers, 101);
    cr_assert_eq(info->n_servers, 2);
    cr_assert_str_eq(info->servers[1], "unix:/b");
    cr_assert_eq(info->schema, MS_SCHEMA);
    cr_assert(strstr(info->software, "mapserver"));
}

/* It says who it is, knows nobody, and is answered. */
Test(peers, one_that_was_added_elsewhere_is_answered)
{
    sides[1].self.cluster_id = NULL;
    start_pair();
    sides[1].is_kept[0] = false;
    UNTIL(is_up(0, 1));
    UNTIL(is_up(1, 0));
    ping(1, 0, 5);
    UNTIL(strstr(sides[0].log, "101:5 "));
}

static void assert_apart(void)
{
    run_for(700);
    cr_assert_not(is_up(0, 1));
    cr_assert_not(is_up(1, 0));
    cr_assert_null(ms_peers_out(sides[0].peers, 101));
    cr_assert_eq(sides[0].n_up + sides[1].n_up, 0);
}

Test(peers, other_cluster_is_no_peer)
{
    sides[1].cluster_id[0] = 9;
    start_pair();
    assert_apart();
}

Test(peers, one_that_a_recovery_left_behind_is_no_peer)
{
    sides[1].self.recovery = 1;
    start_pair();
    assert_apart();
}

Test(peers, certificate_must_be_the_members)
{
    em_tls_free(sides[1].tls);
    sides[1].tls = authority_tls(&authority, EM_ROLE_SERVER, "other");
    start_pair();
    assert_apart();
}

Test(peers, wiped_data_directory_is_another_replica)
{
    sides[1].self.replica = 555;
    start_pair();
    sides[1].is_kept[0] = false;
    run_for(700);
    cr_assert_not(is_up(0, 1));
}

Test(peers, own_replica_id_is_a_copied_data_directory)
{
    is_sharing_id = true;
    sides[0].self.replica = sides[1].self.replica = 999;
    start_pair();
    run_for(700);
    cr_assert_eq(sides[0].n_up + sides[1].n_up, 0);
}

/* ---- who calls ---------------------------------------------------------------------------- */

/* A caller of its own making. */
static struct {
    struct em_conn *conn;
    char said[256]; /* what the first answer was */
    bool is_closed, is_open;
} caller;

static void on_call_open(struct em_conn *conn, void *aux)
{
    caller.is_open = true;
}

static int on_call_frame(struct em_conn *conn, void *aux, const uint8_t *data, size_t size)
{
    struct em_arena arena;
    em_arena_init(&arena, 0);
    const Eidmap__Envelope *envelope = em_msg_unpack(&arena, data, size);
    cr_assert_not_null(envelope);
    snprintf(caller.said, sizeof(caller.said), "%s",
             envelope->body_case == EIDMAP__ENVELOPE__BODY_ERROR        ? envelope->error->message
             : envelope->body_case == EIDMAP__ENVELOPE__BODY_PEER_HELLO ? "hello"
                                                                        : "?");
    em_arena_fini(&arena);
    return 0;
}

static void on_call_close(struct em_conn *conn, void *aux, int err, const char *why)
{
    caller.is_closed = true;
    caller.conn = NULL;
}

static void call(unsigned to, enum em_role role, const char *name)
{
    static const struct em_conn_events call_events = {on_call_open, on_call_frame, NULL,
                                                      on_call_close};
    struct em_tls *tls = authority_tls(&authority, role, name);
    const struct em_conn_config config = {
        .events = &call_events, .tls = tls, .is_client = true, .handshake_ms = 3000};
    struct em_address address;
    memset(&caller, 0, sizeof(caller));
    cr_assert_eq(em_address_parse(sides[to].address, &address, NULL), 0);
    int fd = em_socket_connect(&address);
    cr_assert_geq(fd, 0);
    caller.conn = em_conn_new(net, fd, &config, NULL);
    em_tls_free(tls);
    UNTIL(caller.is_open || caller.is_closed);
}

static void say_hello(uint64_t replica, uint8_t cluster, uint32_t protocol)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__PeerHello hello = EIDMAP__PEER_HELLO__INIT;
    uint8_t id[MS_CLUSTER_ID_SIZE];
    memset(id, cluster, sizeof(id));
    hello.protocol = protocol;
    hello.replica = replica;
    hello.schema = MS_SCHEMA;
    hello.cluster_id = (ProtobufCBinaryData){sizeof(id), id};
    envelope.body_case = EIDMAP__ENVELOPE__BODY_PEER_HELLO;
    envelope.peer_hello = &hello;
    em_conn_send(caller.conn, &envelope);
}

static void assert_said(const char *part)
{
    UNTIL(caller.is_closed);
    cr_assert(strstr(caller.said, part), "%s", caller.said);
}

Test(peers, agents_are_told_that_this_is_no_place_for_them)
{
    start(0);
    call(0, EM_ROLE_NODE, "hv1");
    say_hello(101, 1, EM_PROTOCOL);
    assert_said("for map servers");
}

Test(peers, refusals_are_told)
{
    start(0);
    call(0, EM_ROLE_SERVER, "m1");
    say_hello(101, 2, EM_PROTOCOL);
    assert_said("another cluster");
    call(0, EM_ROLE_SERVER, "m1");
    say_hello(100, 1, EM_PROTOCOL);
    assert_said("own replica id");
    call(0, EM_ROLE_SERVER, "m1");
    say_hello(0, 1, EM_PROTOCOL);
    assert_said("own replica id");
    call(0, EM_ROLE_SERVER, "m1");
    say_hello(101, 1, EM_PROTOCOL - 1);
    assert_said("older protocol");
    know(0, 1);
    run_for(50);
    call(0, EM_ROLE_SERVER, "m2");
    say_hello(101, 1, EM_PROTOCOL);
    assert_said("not the one of this member");
}

Test(peers, caller_that_says_nothing_is_cut_off)
{
    start(0);
    call(0, EM_ROLE_SERVER, "m1");
    UNTIL(caller.is_closed);
    cr_assert_str_eq(caller.said, "");
}

Test(peers, newest_connection_of_a_sender_displaces_the_older_one)
{
    start(0);
    know(0, 1);
    call(0, EM_ROLE_SERVER, "m1");
    say_hello(101, 1, EM_PROTOCOL);
    UNTIL(caller.said[0]);
    cr_assert_str_eq(caller.said, "hello");
    cr_assert_not(caller.is_closed);
    start(1);
    know(1, 0);
    UNTIL(is_up(1, 0));
    UNTIL(caller.is_closed);
    ping(1, 0, 4);
    UNTIL(strstr(sides[0].log, "101:4 "));
}

/* Anybody can connect that far. */
Test(peers, strangers_displace_each_other_and_no_server)
{
    int strangers[300];
    struct em_address address;
    start_pair();
    UNTIL(is_up(0, 1) && is_up(1, 0));
    unsigned before = sides[1].n_up;
    cr_assert_eq(em_address_parse(sides[0].address, &address, NULL), 0);
    for (int i = 0; i < 300; i++) {
        strangers[i] = em_socket_connect(&address);
        cr_assert_geq(strangers[i], 0);
        ev_run(loop, EVRUN_NOWAIT);
    }
    run_for(200);
    cr_assert(is_up(1, 0));
    cr_assert_eq(sides[1].n_up, before);
    ping(1, 0, 5);
    UNTIL(strstr(sides[0].log, "101:5 "));
    for (int i = 0; i < 300; i++)
        close(strangers[i]);
}

/* ---- up and down --------------------------------------------------------------------------- */

Test(peers, lost_connection_is_made_again)
{
    start_pair();
    UNTIL(is_up(0, 1) && is_up(1, 0));
    unsigned before = sides[0].n_up;
    stop(1);
    UNTIL(!is_up(0, 1));
    cr_assert_null(ms_peers_out(sides[0].peers, 101));
    start(1);
    UNTIL(is_up(0, 1) && is_up(1, 0));
    cr_assert_eq(sides[0].n_up, before + 1);
    ping(0, 1, 8);
    UNTIL(strstr(sides[1].log, "100:8 "));
}

Test(peers, process_that_is_gone_is_told_once)
{
    start_pair();
    UNTIL(is_up(0, 1) && is_up(1, 0));
    cr_assert_eq(sides[0].n_gone, 0);
    stop(1);
    UNTIL(sides[0].n_gone == 1);
    cr_assert_eq(sides[0].gone, 101);
    run_for(1500);
    cr_assert_eq(sides[0].n_gone, 1);
}

Test(peers, one_that_was_never_there_is_not_gone)
{
    start(0);
    know(0, 1);
    run_for(700);
    cr_assert_eq(sides[0].n_gone, 0);
}

Test(peers, one_that_is_no_member_any_more_is_left)
{
    start(0);
    start(1);
    know(0, 1);
    UNTIL(is_up(0, 1));
    sides[0].is_kept[1] = false;
    UNTIL(!ms_peers_info(sides[0].peers, 101));
}

/* ---- probes -------------------------------------------------------------------------------- */

static struct {
    unsigned n;
    char name[64], why[256];
    uint64_t replica;
} probed;

static void on_probed(void *aux, const Eidmap__PeerHello *hello, const char *name, const char *why)
{
    probed.n++;
    snprintf(probed.name, sizeof(probed.name), "%s", name ? name : "");
    snprintf(probed.why, sizeof(probed.why), "%s", why ? why : "");
    probed.replica = hello ? hello->replica : 0;
}

Test(peers, probe_tells_who_is_there)
{
    sides[1].self.cluster_id = NULL;
    start(0);
    start(1);
    ms_peers_probe(sides[0].peers, sides[1].address, on_probed, NULL);
    UNTIL(probed.n == 1);
    cr_assert_str_eq(probed.name, "m1");
    cr_assert_eq(probed.replica, 101);
    run_for(300);
    cr_assert_eq(probed.n, 1);
}

Test(peers, probe_of_nobody_ends)
{
    static const char *const nowhere[] = {"", "nonsense", "unix:/nowhere"};
    start(0);
    ms_peers_probe(sides[0].peers, sides[1].address, on_probed, NULL);
    UNTIL(probed.n == 1);
    cr_assert_neq(probed.why[0], '\0');
    for (unsigned i = 0; i < 3; i++) {
        ms_peers_probe(sides[0].peers, nowhere[i], on_probed, NULL);
        UNTIL(probed.n == 2 + i);
        cr_assert_neq(probed.why[0], '\0');
    }
}

Test(peers, probe_is_told_why_it_is_refused)
{
    sides[1].cluster_id[0] = 9;
    start(0);
    start(1);
    ms_peers_probe(sides[0].peers, sides[1].address, on_probed, NULL);
    UNTIL(probed.n == 1);
    cr_assert(strstr(probed.why, "another cluster"), "%s", probed.why);
}

Test(peers, probe_ends_with_the_server)
{
    start(0);
    ms_peers_probe(sides[0].peers, sides[1].address, on_probed, NULL);
    stop(0);
    cr_assert_eq(probed.n, 1);
    cr_assert(strstr(probed.why, "closing"), "%s", probed.why);
}
