/* How fast endpoints are registered durably: each request one port, 1, 16 and 256 under way,
 * from one node and from eight; beside it what the disk takes for one synchronous write. */
#include "base/buf.h"
#include "base/mem.h"
#include "bench.h"
#include "load.h"
#include "server/caller.h"
#include "server/numbered.h"
#include "wire/convert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_NODES 8
#define BLOCK   4096

static const char *const nodes[N_NODES] = {"n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"};

struct source {
    struct em_arena arena;
    uint32_t network_id;
    uint32_t next; /* number of the next port: each is registered once */
};

static void put_claim(void *aux, unsigned conn, uint64_t id, struct em_buf *out)
{
    struct source *source = aux;
    struct numbered_port port;
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Register reg = EIDMAP__REGISTER__INIT;
    Eidmap__Claim claim = EIDMAP__CLAIM__INIT;
    Eidmap__Claim *claims[] = {&claim};
    numbered_port_init(&port, source->network_id, ++source->next, nodes[conn]);
    em_arena_reset(&source->arena);
    claim.port = em_port_to_msg(&source->arena, &port.port);
    claim.attach = true;
    reg.claims = claims;
    reg.n_claims = 1;
    envelope.id = id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_REGISTER;
    envelope.register_ = &reg;
    if (em_msg_append(out, &envelope))
        real_fail("a claim of one port does not fit into a frame");
}

static void measure(const struct bench *bench, const struct real_server *server,
                    struct source *source, struct em_tls *const *tls, unsigned n_conns,
                    unsigned n_flight)
{
    struct load_result *result = em_malloc(sizeof(*result));
    const char *url = server->tls_url;
    char name[64];
    const struct load_config config = {
        .urls = &url,
        .n_urls = 1,
        .tls = tls,
        .n_tls = N_NODES,
        .n_conns = n_conns,
        .n_flight = n_flight,
        .nodes = nodes,
        .put = put_claim,
        .aux = source,
        .seconds = bench->seconds,
    };
    load_run(&config, result);
    snprintf(name, sizeof(name), "%ux%u", n_conns, n_flight);
    bench_latency(bench, name, &result->hist, result->rate,
                  "durable registers of one port, nodes x in flight");
    free(result);
}

static void measure_disk(const struct bench *bench, const char *dir)
{
    static const uint8_t block[BLOCK] = {1};
    struct hist *hist = em_calloc(1, sizeof(*hist));
    char *path = em_asprintf("%s/sync", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    uint64_t start = bench_now_ns(), now = start;
    uint64_t end = start + (uint64_t)(bench->seconds * 1e9);
    for (off_t at = 0; fd >= 0 && now < end; at = (at + BLOCK) % (BLOCK << 10)) {
        if (pwrite(fd, block, BLOCK, at) != BLOCK || fdatasync(fd))
            real_fail("%s: %s", path, strerror(errno));
        uint64_t done = bench_now_ns();
        hist_add(hist, done - now);
        now = done;
    }
    if (fd < 0)
        real_fail("%s: %s", path, strerror(errno));
    bench_latency(bench, "fdatasync", hist, (double)hist->n * 1e9 / (double)(now - start),
                  "4 KiB written and synced on the same disk, one after the other");
    close(fd);
    free(path);
    free(hist);
}

/* A benchmark of what was not stored would flatter: the last one is asked for. */
static void check_stored(const struct real_server *server, const struct source *source)
{
    struct caller caller;
    caller_open(&caller, server->unix_url, NULL);
    if (caller_resolve(&caller, source->network_id, 1) || caller.n_positive != 1)
        real_fail("the first port is not in the map: %s", caller.message);
    caller_close(&caller);
}

int main(int argc, char **argv)
{
    static const unsigned shapes[][2] = {{1, 1}, {1, 16}, {1, 256}, {8, 2}, {8, 32}};
    struct bench bench = bench_parse(argc, argv, "register", "durable registrations");
    struct real_server server;
    struct source source = {.next = 0};
    struct caller caller;
    struct em_tls *tls[N_NODES];
    bench_server(&bench, &server);
    em_arena_init(&source.arena, 0);
    caller_open(&caller, server.unix_url, NULL);
    if (caller_put_network(&caller, "bench"))
        real_fail("network: %s", caller.message);
    source.network_id = caller.network_id;
    caller_close(&caller);
    for (int i = 0; i < N_NODES; i++)
        tls[i] = real_server_tls(&server, EM_ROLE_NODE, nodes[i]);
    measure_disk(&bench, server.dir);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        measure(&bench, &server, &source, tls, shapes[i][0], shapes[i][1]);
    check_stored(&server, &source);
    for (int i = 0; i < N_NODES; i++)
        em_tls_free(tls[i]);
    em_arena_fini(&source.arena);
    int status = real_server_stop(&server, 10000);
    real_server_fini(&server);
    return status ? 1 : 0;
}
