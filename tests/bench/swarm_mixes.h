/* What a swarm does: each mix makes a stage, plays, and prints its figures. */
#ifndef SWARM_MIXES_H
#define SWARM_MIXES_H

#include "swarm_stage.h"

typedef void swarm_mix_fn(const struct bench *bench, const struct swarm_options *options);

swarm_mix_fn swarm_fanout; /* one change to all subscribers of a network, again and again */
swarm_mix_fn swarm_fleet;  /* a boot storm, moves, a restart of the server, a rack failure */
swarm_mix_fn swarm_node;   /* a node with very many ports is lost */
swarm_mix_fn swarm_steady; /* very many agents, moves */

#endif
