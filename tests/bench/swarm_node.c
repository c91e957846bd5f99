/* A node with very many ports is lost, first by its lease, then by an operator who disables it
 * and so has its locations withdrawn: what others notice of that whose resolves have nothing to
 * do with it. */
#include "base/mem.h"
#include "server/caller.h"
#include "server/numbered.h"
#include "steady_resolver.h"
#include "swarm_mixes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODE       "lost900" /* its RLOC follows from the number */
#define FIRST_PORT 10000000  /* of its ports, beyond those of the agents */
#define BATCH      4096      /* of a Register */
#define LATE_S     60

struct loss {
    struct steady_resolver *resolver;
    struct hist hist; /* of the phase at hand */
    unsigned n_told;  /* agents that know the node to be unreachable */
    uint64_t n_gone;  /* ports, at all agents */
};

static void on_page(void *aux, unsigned agent, const struct em_feed *page)
{
    struct stage *stage = aux;
    struct loss *loss = stage->aux;
    for (size_t i = 0; i < page->n_changes; i++) {
        const struct em_change *change = &page->changes[i];
        if (change->node && strcmp(change->node->id, NODE) == 0)
            loss->n_told += change->node->state == EM_NODE_UNREACHABLE;
        loss->n_gone += change->is_gone && change->object == EM_OBJECT_PORT &&
                        numbered_of(&change->gone_port) >= FIRST_PORT;
    }
}

static void on_heard(void *aux, const struct em_reply *reply)
{
    if (reply->err)
        real_fail("%s is not heard: %s", NODE, reply->message);
    em_call_done(aux);
}

/* A fresh lease: to register may have taken longer than one. */
static void beat(struct caller *caller)
{
    em_client_heartbeat(em_call_client(caller->call), 0, on_heard, caller->call);
    if (em_call_wait(caller->call, 10000))
        real_fail("%s has no answer to its heartbeat in 10 s", NODE);
}

static void fill_node(const struct stage *stage)
{
    struct caller caller;
    caller_open(&caller, stage->server.unix_url, NODE);
    for (uint32_t done = 0, n; done < stage->bench->n_ports; done += n) {
        n = stage->bench->n_ports - done < BATCH ? stage->bench->n_ports - done : BATCH;
        if (caller_register(&caller, stage->networks[0], FIRST_PORT + done, n, NODE))
            real_fail("ports of %s: %s", NODE, caller.message);
    }
    beat(&caller);
    caller_close(&caller);
}

static void on_disabled(void *aux, const struct em_reply *reply)
{
    if (reply->err)
        real_fail("%s cannot be disabled: %s", NODE, reply->message);
    em_call_done(aux);
}

static void disable_node(const struct stage *stage)
{
    struct caller caller;
    const struct em_node node = {.id = NODE, .is_disabled = true};
    caller_open(&caller, stage->server.unix_url, NULL);
    em_client_put_node(em_call_client(caller.call), &node, on_disabled, caller.call);
    if (em_call_wait(caller.call, 10000))
        real_fail("%s cannot be disabled in 10 s", NODE);
    caller_close(&caller);
}

static bool is_unreachable(const struct stage *stage)
{
    const struct loss *loss = stage->aux;
    return loss->n_told >= stage->n_agents;
}

static bool is_withdrawn(const struct stage *stage)
{
    const struct loss *loss = stage->aux;
    return loss->n_gone >= (uint64_t)stage->n_agents * stage->bench->n_ports;
}

/* The phase is over: what its resolves had to wait. */
static void resolves(const struct stage *stage, const char *phase, const char *what)
{
    struct loss *loss = stage->aux;
    char name[32];
    uint64_t longest_ns = steady_resolver_take(loss->resolver, &loss->hist);
    snprintf(name, sizeof(name), "node.%s", phase);
    stage_figure(stage, name, "stall", (double)longest_ns / 1e6, "ms", what);
    bench_latency(stage->bench, name, &loss->hist, 0, "");
}

static void play(struct stage *stage, const struct swarm_options *options)
{
    struct loss *loss = stage->aux;
    stage_boot(stage);
    fill_node(stage);
    stage_run_for(stage, 1); /* agents take the ports in */
    loss->resolver = steady_resolver_start(&stage->server, stage->networks[0], stage->n_agents);
    steady_resolver_take(loss->resolver, &loss->hist);
    stage_figure(stage, "node", "ports", stage->bench->n_ports, "", "of the node that is lost");
    stage_run_for(stage, stage->bench->seconds);
    resolves(stage, "idle", "longest wait of a resolve while nothing happens");
    stage_wait(stage, is_unreachable, options->lease_s + LATE_S, "the node is unreachable");
    stage_run_for(stage, 1);
    resolves(stage, "lease", "longest wait while the node's lease runs out");
    uint64_t start = bench_now_ns();
    disable_node(stage);
    stage_wait(stage, is_withdrawn, LATE_S, "all ports of the node are withdrawn");
    uint64_t end = bench_now_ns();
    stage_run_for(stage, 1);
    resolves(stage, "disable", "longest wait while all its ports are withdrawn");
    stage_figure(stage, "node", "disable.time", (double)(end - start) / 1e6, "ms",
                 "from the operator's request until every agent knows of each port");
    steady_resolver_stop(loss->resolver);
}

void swarm_node(const struct bench *bench, const struct swarm_options *options)
{
    static const struct stage_shape shape = {20, 1, 1, 1, true};
    static const struct swarm_events events = {.on_page = on_page};
    struct loss *loss = em_calloc(1, sizeof(*loss));
    struct stage stage;
    stage_open(&stage, bench, options, &shape, &events, loss);
    play(&stage, options);
    stage_close(&stage);
    free(loss);
}
