#include "swarm_stage.h"

#include "base/mem.h"
#include "swarm_setup.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>

#define BOOT_LIMIT_S 300

/* ---- open and close ------------------------------------------------------------------------ */

static unsigned choose(double given, unsigned otherwise)
{
    return given > 0 ? (unsigned)given : otherwise;
}

void stage_open(struct stage *ret_stage, const struct bench *bench,
                const struct swarm_options *options, const struct stage_shape *shape,
                const struct swarm_events *events, void *aux)
{
    struct stage *stage = ret_stage;
    char yaml[128];
    *stage = (struct stage){.bench = bench, .aux = aux};
    snprintf(yaml, sizeof(yaml), "log: warn\nlease:\n  duration: %.0fs\n", options->lease_s);
    real_server_init(&stage->server, yaml);
    stage->server.program = bench->mapserver;
    unsigned n_networks =
        choose(shape->n_networks > 1 ? options->n_networks : 0, shape->n_networks);
    unsigned n_each = shape->n_each < n_networks ? shape->n_each : n_networks;
    stage->n_agents = choose(options->n_agents, shape->n_agents);
    stage->url = stage->server.tls_url;
    struct swarm_config config = {
        .urls = &stage->url,
        .n_urls = 1,
        .pki = stage->pki = swarm_certs_make(&stage->server, stage->n_agents),
        .n_agents = stage->n_agents,
        .n_networks = n_networks,
        .n_each = n_each,
        .n_ports = shape->n_ports,
        .has_nodes = shape->has_nodes,
    };
    swarm_raise_limit(stage->n_agents); /* the server inherits it */
    real_server_start(&stage->server);
    config.networks = stage->networks = swarm_networks_make(stage->server.unix_url, n_networks);
    stage->loop = ev_loop_new(EVFLAG_AUTO);
    stage->swarm = swarm_new(stage->loop, &config, events, stage);
}

void stage_close(struct stage *stage)
{
    swarm_free(stage->swarm);
    ev_loop_destroy(stage->loop);
    int status = real_server_stop(&stage->server, 20000);
    if (status)
        real_fail("the map server ended with status %d:\n%s", status,
                  real_server_log(&stage->server, 0));
    real_server_fini(&stage->server);
    swarm_certs_remove(stage->pki);
    free(stage->networks);
}

/* ---- time ---------------------------------------------------------------------------------- */

void stage_wait(const struct stage *stage, stage_test_fn *is_so, double limit_s, const char *what)
{
    uint64_t end = bench_now_ns() + (uint64_t)(limit_s * 1e9);
    while (!is_so(stage)) {
        ev_run(stage->loop, EVRUN_ONCE);
        if (bench_now_ns() > end)
            real_fail("%s: not in %.0f s; %u of %u agents are served", what, limit_s,
                      swarm_n_served(stage->swarm), stage->n_agents);
    }
}

void stage_run_for(const struct stage *stage, double seconds)
{
    uint64_t end = bench_now_ns() + (uint64_t)(seconds * 1e9);
    while (bench_now_ns() < end)
        ev_run(stage->loop, EVRUN_ONCE);
}

bool stage_is_served(const struct stage *stage)
{
    return swarm_n_served(stage->swarm) == stage->n_agents &&
           swarm_n_acked(stage->swarm) == swarm_n_ports(stage->swarm);
}

double stage_boot(struct stage *stage)
{
    swarm_start(stage->swarm, 0, stage->n_agents);
    ev_now_update(stage->loop);
    uint64_t start = bench_now_ns();
    stage_wait(stage, stage_is_served, BOOT_LIMIT_S, "all agents are served");
    return (double)(bench_now_ns() - start) / 1e9;
}

void stage_figure(const struct stage *stage, const char *name, const char *more, double value,
                  const char *unit, const char *what)
{
    char full[64];
    snprintf(full, sizeof(full), "%s.%s", name, more);
    bench_figure(stage->bench, full, value, unit, what);
}
