/* How many questions a map server answers: one connection and eight, 1 and 32 requests under
 * way on each, over TLS and over a unix socket; and, for orientation, an echo of the same
 * frames through the same connection code, one in frames as large as the answers are, and what
 * redis-server answers to its own load generator. */
#include "base/buf.h"
#include "bench.h"
#include "load.h"
#include "peer.h"
#include "redis.h"
#include "server/caller.h"
#include "server/numbered.h"
#include "wire/msg.h"

#include <stdio.h>
#include <stdlib.h>

#define PACKED_MAX 64
#define RECORD     64 /* bytes, about what an answer has */

struct question {
    uint32_t network_id;
    uint32_t n_ports;
    uint32_t next;
    uint8_t packed[PACKED_MAX];
    size_t size, address; /* where the four bytes of the address lie */
};

/* Packs one Resolve; later ones differ in the address only. */
static void question_init(struct question *question, uint32_t network_id, uint32_t n_ports)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Resolve resolve = EIDMAP__RESOLVE__INIT;
    Eidmap__Eid eid = EIDMAP__EID__INIT;
    Eidmap__Eid *eids[] = {&eid};
    struct em_eid ip = numbered_ip(1);
    eid.kind = EIDMAP__EID_KIND__EID_IPV4;
    eid.address = (ProtobufCBinaryData){ip.size, ip.addr};
    resolve.network_id = network_id;
    resolve.eids = eids;
    resolve.n_eids = 1;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_RESOLVE;
    envelope.resolve = &resolve;
    *question = (struct question){.network_id = network_id, .n_ports = n_ports};
    question->size = eidmap__envelope__get_packed_size(&envelope);
    if (question->size > PACKED_MAX)
        real_fail("a question is larger than expected");
    eidmap__envelope__pack(&envelope, question->packed);
    question->address = question->size - ip.size;
}

static void put_question(void *aux, unsigned conn, uint64_t id, struct em_buf *out)
{
    struct question *question = aux;
    question->next = (question->next + 7919) % question->n_ports; /* all over the map */
    struct em_eid ip = numbered_ip(1 + question->next);
    for (int i = 0; i < ip.size; i++)
        question->packed[question->address + (size_t)i] = ip.addr[i];
    load_put_packed(out, id, question->packed, question->size);
}

/* Every address of the preloaded map has an answer: a benchmark of misses would flatter. */
static void check_answer(const char *url, uint32_t network_id)
{
    struct caller caller;
    caller_open(&caller, url, NULL);
    if (caller_resolve(&caller, network_id, 77) || caller.n_positive != 1)
        real_fail("port 77 is not in the map: %s", caller.message);
    caller_close(&caller);
}

static double measure(const struct bench *bench, const struct load_config *config,
                      const char *prefix, const char *transport, const char *what, size_t *ret_size)
{
    struct load_result *result = malloc(sizeof(*result));
    char name[64];
    load_run(config, result);
    snprintf(name, sizeof(name), "%s%s.%ux%u", prefix, transport, config->n_conns,
             config->n_flight);
    bench_latency(bench, name, &result->hist, result->rate, what);
    double rate = result->rate;
    *ret_size = result->size;
    free(result);
    return rate;
}

/* What a transport is measured by. */
struct lane {
    const char *name, *url, *echo_url;
    struct em_tls *client, *peer_tls;
};

/* The same load against a peer that answers in frames of 'size' bytes, or as it was asked: 0. */
static double measure_echo(const struct bench *bench, const struct lane *lane,
                           const struct load_config *load, const char *prefix, size_t size)
{
    struct load_config config = *load;
    pid_t peer = peer_start(PEER_ECHO, lane->echo_url, lane->peer_tls, size);
    config.urls = &lane->echo_url;
    config.is_bare = true;
    double rate =
        measure(bench, &config, prefix, lane->name,
                size ? "echoed in frames of an answer's size" : "the same frames echoed", &size);
    peer_stop(peer);
    return rate;
}

static void figure(const struct bench *bench, const struct lane *lane,
                   const struct load_config *load, const char *of, double value, const char *what)
{
    char name[64];
    snprintf(name, sizeof(name), "%s.%ux%u.%s", lane->name, load->n_conns, load->n_flight, of);
    bench_figure(bench, name, value, "", what);
}

static void run(const struct bench *bench, const struct lane *lane, struct question *question)
{
    static const unsigned shapes[][2] = {{1, 1}, {1, 32}, {8, 1}, {8, 32}};
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        const struct load_config config = {
            .urls = &lane->url,
            .n_urls = 1,
            .tls = &lane->client,
            .n_tls = lane->client ? 1 : 0,
            .n_conns = shapes[i][0],
            .n_flight = shapes[i][1],
            .put = put_question,
            .aux = question,
            .seconds = bench->seconds,
        };
        size_t size;
        double rate = measure(bench, &config, "", lane->name,
                              "resolves of one EID, connections x in flight", &size);
        double echo = measure_echo(bench, lane, &config, "echo.", 0);
        double sized = measure_echo(bench, lane, &config, "sized.", size);
        figure(bench, lane, &config, "of_echo", rate / echo,
               "rate of resolves over rate of echoes");
        figure(bench, lane, &config, "of_sized", rate / sized,
               "over that of echoes as large as answers");
    }
}

static void run_redis(const struct bench *bench, const char *dir)
{
    struct redis redis;
    if (!redis_is_there()) {
        fprintf(stderr, "no figures of redis-server: it is not installed\n");
        return;
    }
    redis_start(&redis, dir, bench->n_ports, RECORD);
    bench_figure(bench, "redis.tcp.8x32.rate", redis_get(&redis, false, 8, 32, bench->seconds),
                 "1/s", "GETs of redis-server, no TLS");
    bench_figure(bench, "redis.unix.8x32.rate", redis_get(&redis, true, 8, 32, bench->seconds),
                 "1/s", "GETs of redis-server");
    redis_stop(&redis);
}

/* One front thread, as the echo has one. */
static void start_server(const struct bench *bench, struct real_server *server)
{
    char yaml[256];
    snprintf(yaml, sizeof(yaml), "%sworkers: 1\n", bench_yaml);
    real_server_init(server, yaml);
    server->program = bench->mapserver;
    real_server_start(server);
}

int main(int argc, char **argv)
{
    struct bench bench = bench_parse(argc, argv, "resolve", "questions a map server answers");
    struct real_server server;
    struct question question;
    char echo_url[128], echo_tls_url[48];
    start_server(&bench, &server);
    uint32_t network_id = caller_preload(server.unix_url, bench.n_ports);
    check_answer(server.unix_url, network_id);
    question_init(&question, network_id, bench.n_ports);
    struct em_tls *client = real_server_tls(&server, EM_ROLE_OPERATOR, "tester");
    struct em_tls *peer_tls = real_server_tls(&server, EM_ROLE_SERVER, "echo");
    snprintf(echo_url, sizeof(echo_url), "unix:%s/echo", server.dir);
    snprintf(echo_tls_url, sizeof(echo_tls_url), "tls://127.0.0.1:%u", real_free_port());
    bench_figure(&bench, "ports", bench.n_ports, "", "endpoints in the map");
    run(&bench, &(struct lane){"tls", server.tls_url, echo_tls_url, client, peer_tls}, &question);
    run(&bench, &(struct lane){"unix", server.unix_url, echo_url, NULL, NULL}, &question);
    run_redis(&bench, server.dir);
    em_tls_free(client);
    em_tls_free(peer_tls);
    int status = real_server_stop(&server, 10000);
    real_server_fini(&server);
    return status ? 1 : 0;
}
