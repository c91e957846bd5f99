/* How fast endpoints are registered durably: each request one port, 1, 16 and 256 under way,
 * from one node and from eight; beside it what the disk takes for one synchronous write. */
#include "base/mem.h"
#include "bench.h"
#include "claims.h"
#include "load.h"

#include <stdio.h>
#include <stdlib.h>

static void measure(const struct bench *bench, const struct real_server *server,
                    struct claims *claims, struct em_tls *const *tls, unsigned n_conns,
                    unsigned n_flight)
{
    struct load_result *result = em_malloc(sizeof(*result));
    const char *url = server->tls_url;
    char name[64];
    const struct load_config config = {
        .urls = &url,
        .n_urls = 1,
        .tls = tls,
        .n_tls = CLAIMS_NODES,
        .n_conns = n_conns,
        .n_flight = n_flight,
        .nodes = claims_nodes,
        .put = claims_put,
        .aux = claims,
        .seconds = bench->seconds,
    };
    load_run(&config, result);
    snprintf(name, sizeof(name), "%ux%u", n_conns, n_flight);
    bench_latency(bench, name, &result->hist, result->rate,
                  "durable registers of one port, nodes x in flight");
    free(result);
}

int main(int argc, char **argv)
{
    static const unsigned shapes[][2] = {{1, 1}, {1, 16}, {1, 256}, {8, 2}, {8, 32}};
    struct bench bench = bench_parse(argc, argv, "register", "durable registrations");
    struct real_server server;
    struct claims claims;
    struct em_tls *tls[CLAIMS_NODES];
    bench_server(&bench, &server);
    claims_init(&claims, server.unix_url);
    for (int i = 0; i < CLAIMS_NODES; i++)
        tls[i] = real_server_tls(&server, EM_ROLE_NODE, claims_nodes[i]);
    bench_disk(&bench, server.dir);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        measure(&bench, &server, &claims, tls, shapes[i][0], shapes[i][1]);
    claims_check(&claims, server.unix_url);
    for (int i = 0; i < CLAIMS_NODES; i++)
        em_tls_free(tls[i]);
    int status = real_server_stop(&server, 10000);
    real_server_fini(&server);
    return status ? 1 : 0;
}
