/* How long a fresh subscriber needs for a whole network: from connecting until the feed says
 * that it is complete; beside it the same number of bytes through the same connection code,
 * taken as they come by one side and made of nothing by the other. */
#include "base/mem.h"
#include "bench.h"
#include "net/conn.h"
#include "net/net.h"
#include "net/pki.h"
#include "net/socket.h"
#include "peer.h"
#include "server/caller.h"
#include "server/numbered.h"

#include <errno.h>
#include <ev.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_S 60

/* ---- through libeidmap ---------------------------------------------------------------- */

struct subscriber {
    struct ev_loop *loop;
    uint32_t n_ports;
    bool is_complete;
};

static void on_feed(void *aux, const struct em_feed *page)
{
    struct subscriber *subscriber = aux;
    if (page->err)
        real_fail("the feed is refused: %s", page->message);
    for (size_t i = 0; i < page->n_changes; i++)
        if (page->changes[i].port && numbered_of(&page->changes[i].port->id))
            subscriber->n_ports++;
    if (page->is_complete) {
        subscriber->is_complete = true;
        ev_break(subscriber->loop, EVBREAK_ALL);
    }
}

static void on_down(void *aux, int err, const char *why)
{
    real_fail("the session ends: %s", why);
}

static void on_limit(struct ev_loop *loop, ev_timer *w, int revents)
{
    real_fail("not complete after %d s", LIMIT_S);
}

/* Seconds from nothing to a complete network of 'n_ports'. */
static double subscribe(const struct real_server *server, const char *url, uint32_t network_id,
                        uint32_t n_ports)
{
    static const struct em_client_events events = {.on_down = on_down};
    char *ca = em_asprintf("%s/ca.crt", server->pki);
    char *cert = em_pki_path(server->pki, EM_ROLE_OPERATOR, "tester", "crt");
    char *key = em_pki_path(server->pki, EM_ROLE_OPERATOR, "tester", "key");
    const struct em_client_config config = {
        .servers = &url, .n_servers = 1, .ca_file = ca, .cert_file = cert, .key_file = key};
    struct subscriber subscriber = {.loop = ev_loop_new(EVFLAG_AUTO)};
    struct em_client *client;
    ev_timer limit;
    char *why = NULL;
    ev_timer_init(&limit, on_limit, LIMIT_S, 0);
    ev_timer_start(subscriber.loop, &limit);
    uint64_t start = bench_now_ns();
    if (em_client_new(subscriber.loop, &config, &events, NULL, &client, &why) ||
        em_client_subscribe(client, network_id, NULL, 0, on_feed, &subscriber) < 0)
        real_fail("%s: %s", url, why ? why : "cannot subscribe");
    ev_run(subscriber.loop, 0);
    uint64_t end = bench_now_ns();
    em_client_free(client);
    ev_timer_stop(subscriber.loop, &limit);
    ev_loop_destroy(subscriber.loop);
    free(ca);
    free(cert);
    free(key);
    if (!subscriber.is_complete || subscriber.n_ports != n_ports)
        real_fail("the feed showed %u of %u ports", subscriber.n_ports, n_ports);
    return (double)(end - start) / 1e9;
}

/* ---- bytes, through a bare connection -------------------------------------------------- */

struct taker {
    struct ev_loop *loop;
    uint32_t network_id; /* to subscribe to; 0: the other side is a peer */
    uint64_t wanted;     /* bytes of frames; 0: until Changes.complete */
    uint64_t taken;
    struct em_arena arena;
};

static void send_subscribe(struct em_conn *conn, uint32_t network_id)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Subscribe subscribe = EIDMAP__SUBSCRIBE__INIT;
    envelope.id = 2;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_SUBSCRIBE;
    envelope.subscribe = &subscribe;
    subscribe.network_id = network_id;
    em_conn_send(conn, &envelope);
}

static void on_open(struct em_conn *conn, void *aux)
{
    struct taker *taker = aux;
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Hello hello = EIDMAP__HELLO__INIT;
    hello.protocol = EM_PROTOCOL;
    envelope.id = 1;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;
    em_conn_send(conn, &envelope); /* to a peer: what it pours for */
    if (taker->network_id)
        send_subscribe(conn, taker->network_id);
}

/* The last page is small; the large ones need not be unpacked to be counted. */
static bool is_last_page(struct taker *taker, const uint8_t *data, size_t size)
{
    em_arena_reset(&taker->arena);
    const Eidmap__Envelope *envelope = em_msg_unpack(&taker->arena, data, size);
    if (!envelope || envelope->body_case == EIDMAP__ENVELOPE__BODY_ERROR)
        real_fail("the feed is refused");
    return envelope->body_case == EIDMAP__ENVELOPE__BODY_CHANGES && envelope->changes->complete;
}

static int on_frame(struct em_conn *conn, void *aux, const uint8_t *data, size_t size)
{
    struct taker *taker = aux;
    taker->taken += size;
    if (taker->wanted ? taker->taken >= taker->wanted : is_last_page(taker, data, size))
        ev_break(taker->loop, EVBREAK_ALL);
    return 0;
}

static void on_close(struct em_conn *conn, void *aux, int err, const char *why)
{
    if (err)
        real_fail("the connection ends: %s", why);
}

/* Seconds until all has come. */
static double take(struct taker *taker, const char *url, struct em_tls *tls)
{
    static const struct em_conn_events events = {on_open, on_frame, NULL, on_close};
    const struct em_conn_config config = {.events = &events, .tls = tls, .is_client = true};
    struct em_address address;
    char why[EM_ADDR_WHY];
    ev_timer limit;
    taker->loop = ev_loop_new(EVFLAG_AUTO);
    struct em_net *net = em_net_new(taker->loop);
    em_arena_init(&taker->arena, 0);
    ev_timer_init(&limit, on_limit, LIMIT_S, 0);
    ev_timer_start(taker->loop, &limit);
    uint64_t start = bench_now_ns();
    if (em_address_parse(url, &address, why))
        real_fail("%s: %s", url, why);
    int fd = em_socket_connect(&address);
    if (fd < 0)
        real_fail("%s: %s", url, em_strerror(fd));
    struct em_conn *conn = em_conn_new(net, fd, &config, taker);
    ev_run(taker->loop, 0);
    uint64_t end = bench_now_ns();
    em_conn_close(conn, 0, NULL);
    ev_timer_stop(taker->loop, &limit);
    em_net_free(net);
    em_arena_fini(&taker->arena);
    ev_loop_destroy(taker->loop);
    return (double)(end - start) / 1e9;
}

/* ---- the two transports --------------------------------------------------------------- */

static void figures(const struct bench *bench, const char *name, double seconds, uint64_t bytes,
                    const char *what)
{
    char part[64];
    snprintf(part, sizeof(part), "%s.time", name);
    bench_figure(bench, part, seconds * 1e3, "ms", what);
    snprintf(part, sizeof(part), "%s.throughput", name);
    bench_figure(bench, part, (double)bytes / seconds / 1e6, "MB/s", "of frames");
}

/* The best of as many rounds as the time allows: what disturbs a round only adds to it. */
static double best(const struct bench *bench, double (*round)(void *aux), void *aux)
{
    double least = round(aux), total = least;
    while (total < bench->seconds) {
        double seconds = round(aux);
        total += seconds;
        if (seconds < least)
            least = seconds;
    }
    return least;
}

struct scene {
    const struct real_server *server;
    const char *url, *peer_url;
    struct em_tls *client, *peer_tls;
    uint32_t network_id, n_ports;
    uint64_t bytes;
};

static double subscribe_round(void *aux)
{
    const struct scene *scene = aux;
    return subscribe(scene->server, scene->url, scene->network_id, scene->n_ports);
}

static double copy_round(void *aux)
{
    const struct scene *scene = aux;
    struct taker taker = {.wanted = scene->bytes};
    return take(&taker, scene->peer_url, scene->client);
}

static void run(const struct bench *bench, struct scene *scene, const char *transport)
{
    struct taker taker = {.network_id = scene->network_id};
    char name[32];
    take(&taker, scene->url, scene->client);
    scene->bytes = taker.taken;
    figures(bench, transport, best(bench, subscribe_round, scene), scene->bytes,
            "from connecting until libeidmap has the whole network");
    pid_t peer = peer_start(PEER_SOURCE, scene->peer_url, scene->peer_tls, scene->bytes);
    snprintf(name, sizeof(name), "copy.%s", transport);
    figures(bench, name, best(bench, copy_round, scene), scene->bytes,
            "the same bytes through the connection code alone");
    peer_stop(peer);
}

int main(int argc, char **argv)
{
    struct bench bench = bench_parse(argc, argv, "feed", "a fresh subscriber's whole network");
    struct real_server server;
    char unix_peer[128], tls_peer[48];
    bench_server(&bench, &server);
    struct scene scene = {.server = &server, .n_ports = bench.n_ports};
    scene.network_id = caller_preload(server.unix_url, bench.n_ports);
    bench_figure(&bench, "ports", bench.n_ports, "", "endpoints in the network");
    snprintf(unix_peer, sizeof(unix_peer), "unix:%s/peer", server.dir);
    snprintf(tls_peer, sizeof(tls_peer), "tls://127.0.0.1:%u", real_free_port());
    scene.url = server.unix_url;
    scene.peer_url = unix_peer;
    run(&bench, &scene, "unix");
    scene.url = server.tls_url;
    scene.peer_url = tls_peer;
    struct em_tls *client = real_server_tls(&server, EM_ROLE_OPERATOR, "tester");
    struct em_tls *peer_tls = real_server_tls(&server, EM_ROLE_SERVER, "peer");
    scene.client = client;
    scene.peer_tls = peer_tls;
    run(&bench, &scene, "tls");
    em_tls_free(client);
    em_tls_free(peer_tls);
    int status = real_server_stop(&server, 10000);
    real_server_fini(&server);
    return status ? 1 : 0;
}
