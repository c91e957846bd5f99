/* The life of a fleet: all agents boot at once, ports move, a rack of agents dies, and the map
 * server dies and comes back. */
#include "base/mem.h"
#include "swarm_mixes.h"
#include "swarm_moves.h"
#include "usage.h"

#include <stdlib.h>
#include <unistd.h>

#define RACK          40 /* agents that die together, but at most a quarter */
#define LATE_S        60 /* beyond the lease */
#define AGAIN_LIMIT_S 120

struct fleet {
    struct moves moves;
    unsigned n_dead;    /* the first so many agents */
    uint64_t n_notices; /* of them, to those that live */
    uint64_t first_ns;
    bool is_moving;
};

static void count_notice(struct fleet *fleet, const struct em_node *node)
{
    if (node->state != EM_NODE_UNREACHABLE || swarm_number(node->id) >= fleet->n_dead)
        return;
    if (!fleet->n_notices++)
        fleet->first_ns = bench_now_ns();
}

static void on_page(void *aux, unsigned agent, const struct em_feed *page)
{
    struct stage *stage = aux;
    struct fleet *fleet = stage->aux;
    if (fleet->is_moving)
        moves_page(&fleet->moves, page);
    for (size_t i = 0; fleet->n_dead && i < page->n_changes; i++)
        if (page->changes[i].node)
            count_notice(fleet, page->changes[i].node);
}

static void on_acked(void *aux, uint32_t port)
{
    struct stage *stage = aux;
    struct fleet *fleet = stage->aux;
    if (fleet->is_moving)
        moves_acked(&fleet->moves, port);
}

/* ---- boot storm ---------------------------------------------------------------------------- */

static void storm(struct stage *stage)
{
    pid_t pid = stage->server.pid;
    double anon = usage_anon(pid), cpu_s = usage_cpu_s(pid), own_s = usage_cpu_s(getpid());
    double seconds = stage_boot(stage), n = stage->n_agents;
    stage_figure(stage, "storm", "agents", n, "", "that connect at once");
    stage_figure(stage, "storm", "ports", swarm_n_ports(stage->swarm), "", "that they register");
    stage_figure(stage, "storm", "time", seconds, "s", "until all are served and all registered");
    stage_figure(stage, "storm", "cpu", usage_cpu_s(pid) - cpu_s, "s", "of the server");
    stage_figure(stage, "storm", "agents_cpu", usage_cpu_s(getpid()) - own_s, "s",
                 "of all the agents, on the same machine");
    stage_figure(stage, "storm", "failed", (double)swarm_counts(stage->swarm)->n_ends, "",
                 "attempts of agents to connect that failed");
    stage_figure(stage, "storm", "changes", (double)swarm_counts(stage->swarm)->n_changes / n, "",
                 "that each agent was told");
    stage_figure(stage, "storm", "memory", (usage_anon(pid) - anon) / n / 1e3, "kB",
                 "of the server's own for a connection");
    stage_figure(stage, "storm", "peak", usage_peak(pid) / 1e6, "MB",
                 "most memory of the server, the map's pages with it");
}

/* ---- moves --------------------------------------------------------------------------------- */

static void move(struct stage *stage, double per_second)
{
    struct fleet *fleet = stage->aux;
    double cpu_s = usage_cpu_s(stage->server.pid);
    moves_init(&fleet->moves, stage->loop, stage->swarm, per_second);
    fleet->is_moving = true;
    moves_start(&fleet->moves);
    stage_run_for(stage, stage->bench->seconds);
    moves_stop(&fleet->moves);
    stage_wait(stage, stage_is_served, AGAIN_LIMIT_S, "all moves are taken");
    fleet->is_moving = false;
    bench_latency(stage->bench, "moves", &fleet->moves.acked,
                  (double)fleet->moves.n / stage->bench->seconds,
                  "attaches, each until the map has taken it");
    bench_latency(stage->bench, "moves.told", &fleet->moves.told, 0, "");
    stage_figure(stage, "moves", "cpu",
                 100 * (usage_cpu_s(stage->server.pid) - cpu_s) / stage->bench->seconds, "%",
                 "of a core");
    moves_fini(&fleet->moves);
}

/* ---- a rack fails -------------------------------------------------------------------------- */

static bool are_noticed(const struct stage *stage)
{
    const struct fleet *fleet = stage->aux;
    return fleet->n_notices >= (uint64_t)fleet->n_dead * (stage->n_agents - fleet->n_dead);
}

static void fail_rack(struct stage *stage, double lease_s)
{
    struct fleet *fleet = stage->aux;
    fleet->n_dead = stage->n_agents / 4 < RACK ? stage->n_agents / 4 : RACK;
    double cpu_s = usage_cpu_s(stage->server.pid);
    uint64_t start = bench_now_ns();
    swarm_end(stage->swarm, 0, fleet->n_dead);
    stage_wait(stage, are_noticed, lease_s + LATE_S, "all are told that the rack is dead");
    uint64_t end = bench_now_ns();
    stage_figure(stage, "rack", "nodes", fleet->n_dead, "", "that die at once");
    stage_figure(stage, "rack", "last", (double)(end - start) / 1e9, "s",
                 "until the last agent knows of the last node; the lease is in it");
    stage_figure(stage, "rack", "spread", (double)(end - fleet->first_ns) / 1e6, "ms",
                 "from the first notice of a node to the last of all");
    stage_figure(stage, "rack", "cpu", usage_cpu_s(stage->server.pid) - cpu_s, "s",
                 "of the server meanwhile, heartbeats with it");
    fleet->n_dead = 0;
}

/* ---- the server dies ----------------------------------------------------------------------- */

static bool is_noticed(const struct stage *stage)
{
    return swarm_n_served(stage->swarm) == 0;
}

static void restart(struct stage *stage)
{
    uint64_t start = bench_now_ns();
    struct swarm_counts before = *swarm_counts(stage->swarm);
    real_server_kill(&stage->server);
    real_server_spawn(&stage->server);
    stage_wait(stage, is_noticed, AGAIN_LIMIT_S, "all sessions end");
    stage_wait(stage, stage_is_served, AGAIN_LIMIT_S, "all agents are served again");
    stage_figure(stage, "restart", "time", (double)(bench_now_ns() - start) / 1e9, "s",
                 "from SIGKILL until all agents are served again");
    stage_figure(stage, "restart", "failed",
                 (double)(swarm_counts(stage->swarm)->n_ends - before.n_ends - stage->n_agents), "",
                 "attempts of agents to connect that failed");
    stage_figure(stage, "restart", "cpu", usage_cpu_s(stage->server.pid), "s", "of the server");
    stage_figure(stage, "restart", "changes",
                 (double)(swarm_counts(stage->swarm)->n_changes - before.n_changes) /
                     stage->n_agents,
                 "", "that each agent was told");
    stage_figure(stage, "restart", "peak", usage_peak(stage->server.pid) / 1e6, "MB",
                 "most memory of the server, the map's pages with it");
}

void swarm_fleet(const struct bench *bench, const struct swarm_options *options)
{
    static const struct stage_shape shape = {2000, 400, 5, 10, true};
    static const struct swarm_events events = {.on_page = on_page, .on_acked = on_acked};
    struct fleet *fleet = em_calloc(1, sizeof(*fleet));
    struct stage stage;
    stage_open(&stage, bench, options, &shape, &events, fleet);
    storm(&stage);
    move(&stage, options->n_moves);
    restart(&stage);
    fail_rack(&stage, options->lease_s);
    stage_close(&stage);
    free(fleet);
}
