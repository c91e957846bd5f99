/* A map server, networks, and a swarm of agents: what each mix of the swarm plays on. */
#ifndef SWARM_STAGE_H
#define SWARM_STAGE_H

#include "bench.h"
#include "swarm_agents.h"

/* What the command line says, beside struct bench; 0 where it leaves it to the mix. */
struct swarm_options {
    double n_agents, n_networks, n_moves, lease_s;
};

struct stage {
    const struct bench *bench;
    struct real_server server;
    const char *url;
    struct ev_loop *loop;
    struct swarm *swarm;
    unsigned n_agents;
    uint32_t *networks; /* ids */
    char *pki;
    void *aux; /* of the mix */
};

/* How large a mix is where the command line does not say so. */
struct stage_shape {
    unsigned n_agents, n_networks, n_each, n_ports;
    bool has_nodes;
};

/* Everything but the agents' start. */
void stage_open(struct stage *ret_stage, const struct bench *bench,
                const struct swarm_options *options, const struct stage_shape *shape,
                const struct swarm_events *events, void *aux);

/* Ends the program when the server does not end well. */
void stage_close(struct stage *stage);

/* All agents connect at once; this returns when all are served, and gives the seconds. */
double stage_boot(struct stage *stage);

/* Runs the loop until it is so; ends the program after 'limit_s', saying what was waited for. */
typedef bool stage_test_fn(const struct stage *stage);
void stage_wait(const struct stage *stage, stage_test_fn *is_so, double limit_s, const char *what);
void stage_run_for(const struct stage *stage, double seconds);

bool stage_is_served(const struct stage *stage); /* every agent, and every port is acked */

/* NAME.MORE, of the benchmark's own. */
void stage_figure(const struct stage *stage, const char *name, const char *more, double value,
                  const char *unit, const char *what);

#endif
