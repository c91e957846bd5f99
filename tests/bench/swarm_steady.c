/* Very many agents that are simply there, while a few of their ports move.
 *
 * They do not ask for nodes: none changes here, and when all of them boot each is told of each,
 * which the mix "fleet" shows; in one process it would take minutes. */
#include "base/mem.h"
#include "swarm_mixes.h"
#include "swarm_moves.h"
#include "usage.h"

#include <stdlib.h>

static void on_page(void *aux, unsigned agent, const struct em_feed *page)
{
    struct stage *stage = aux;
    struct moves *moves = stage->aux;
    if (moves->swarm)
        moves_page(moves, page);
}

static void on_acked(void *aux, uint32_t port)
{
    struct stage *stage = aux;
    struct moves *moves = stage->aux;
    if (moves->swarm)
        moves_acked(moves, port);
}

void swarm_steady(const struct bench *bench, const struct swarm_options *options)
{
    static const struct stage_shape shape = {10000, 2000, 5, 5};
    static const struct swarm_events events = {.on_page = on_page, .on_acked = on_acked};
    struct moves *moves = em_calloc(1, sizeof(*moves));
    struct stage stage;
    stage_open(&stage, bench, options, &shape, &events, moves);
    double anon = usage_anon(stage.server.pid);
    stage_figure(&stage, "steady", "boot", stage_boot(&stage), "s", "until all agents are served");
    stage_figure(&stage, "steady", "agents", stage.n_agents, "", "connected by TLS");
    stage_run_for(&stage, 1); /* what the boot has left behind */
    double cpu_s = usage_cpu_s(stage.server.pid);
    uint64_t start = bench_now_ns(), n_pages = swarm_counts(stage.swarm)->n_pages;
    moves_init(moves, stage.loop, stage.swarm, options->n_moves);
    moves_start(moves);
    stage_run_for(&stage, bench->seconds);
    moves_stop(moves);
    double seconds = (double)(bench_now_ns() - start) / 1e9;
    cpu_s = usage_cpu_s(stage.server.pid) - cpu_s;
    bench_latency(bench, "steady.moves", &moves->acked, (double)moves->n / seconds,
                  "attaches, each until the map has taken it");
    bench_latency(bench, "steady.told", &moves->told, 0, "");
    stage_figure(&stage, "steady", "pages",
                 (double)(swarm_counts(stage.swarm)->n_pages - n_pages) / seconds, "1/s",
                 "pages of feeds to all agents");
    stage_figure(&stage, "steady", "cpu", 100 * cpu_s / seconds, "%",
                 "of a core, for heartbeats, moves and pushes");
    stage_figure(&stage, "steady", "memory",
                 (usage_anon(stage.server.pid) - anon) / stage.n_agents / 1e3, "kB",
                 "of the server's own for a connection");
    stage_close(&stage);
    moves_fini(moves);
    free(moves);
}
