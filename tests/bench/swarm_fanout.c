/* One change at a time: a port moves, and the next one does when the last subscriber has been
 * told.  The clock runs from the attach's request to the page in the last agent's hands, so the
 * commit is in it, and the agents' own share of the machine. */
#include "base/mem.h"
#include "server/numbered.h"
#include "swarm_floor.h"
#include "swarm_mixes.h"
#include "usage.h"

#include <stdlib.h>
#include <unistd.h>

#define LIMIT_S   30
#define PUSH_SIZE 200 /* about what a page of one port is as a TLS record */

struct fanout {
    uint32_t port; /* that moves now; 0: none does */
    unsigned n_told;
    struct hist hist;
};

static void on_page(void *aux, unsigned agent, const struct em_feed *page)
{
    struct stage *stage = aux;
    struct fanout *fanout = stage->aux;
    for (size_t i = 0; fanout->port && i < page->n_changes; i++) {
        const struct em_port *port = page->changes[i].port;
        if (port && numbered_of(&port->id) == fanout->port &&
            swarm_number(port->locations[0].node_id) == swarm_where(stage->swarm, fanout->port))
            fanout->n_told++;
    }
}

static bool are_told(const struct stage *stage)
{
    const struct fanout *fanout = stage->aux;
    return fanout->n_told >= stage->n_agents && swarm_is_acked(stage->swarm, fanout->port);
}

static void change_one(const struct stage *stage, unsigned *seed)
{
    struct fanout *fanout = stage->aux;
    fanout->port = 1 + (uint32_t)rand_r(seed) % swarm_n_ports(stage->swarm);
    fanout->n_told = 0;
    uint64_t start = bench_now_ns();
    while (!swarm_move(stage->swarm, fanout->port, (unsigned)rand_r(seed)))
        ; /* to itself */
    stage_wait(stage, are_told, LIMIT_S, "all subscribers are told of a change");
    hist_add(&fanout->hist, bench_now_ns() - start);
    fanout->port = 0;
}

/* Of the machine, beside which ours are to be read: without TLS, a map or a commit. */
static void floor_figures(const struct stage *stage)
{
    struct hist *rounds = em_calloc(1, sizeof(*rounds));
    swarm_raise_limit(3 * stage->n_agents);
    stage_figure(stage, "fanout.floor", "cpu", swarm_floor_us(stage->n_agents, PUSH_SIZE, rounds),
                 "us", "of a process that only writes as much to as many TCP connections");
    bench_latency(stage->bench, "fanout.floor.last", rounds, 0, "");
    free(rounds);
}

void swarm_fanout(const struct bench *bench, const struct swarm_options *options)
{
    static const struct stage_shape shape = {1000, 1, 1, 1, true};
    static const struct swarm_events events = {.on_page = on_page};
    struct fanout *fanout = em_calloc(1, sizeof(*fanout));
    struct stage stage;
    unsigned seed = 1;
    stage_open(&stage, bench, options, &shape, &events, fanout);
    stage_boot(&stage);
    double cpu_s = usage_cpu_s(stage.server.pid), own_s = usage_cpu_s(getpid());
    uint64_t start = bench_now_ns(), end = start + (uint64_t)(bench->seconds * 1e9);
    do
        change_one(&stage, &seed);
    while (bench_now_ns() < end);
    double seconds = (double)(bench_now_ns() - start) / 1e9, n = (double)fanout->hist.n;
    double per_push = 1e6 / (n * stage.n_agents);
    cpu_s = usage_cpu_s(stage.server.pid) - cpu_s;
    own_s = usage_cpu_s(getpid()) - own_s;
    stage_figure(&stage, "fanout", "subscribers", stage.n_agents, "", "agents in the network");
    bench_latency(bench, "fanout.last", &fanout->hist, n / seconds,
                  "changes, each until the last subscriber has it");
    stage_figure(&stage, "fanout", "cpu", cpu_s * per_push, "us",
                 "of the server for a push, its commit shared among them");
    stage_figure(&stage, "fanout", "agents_cpu", own_s * per_push, "us",
                 "of all the agents for a push");
    floor_figures(&stage);
    stage_close(&stage);
    free(fanout);
}
