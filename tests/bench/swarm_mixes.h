/* What a swarm does: each mix makes a stage, plays, and prints its figures. */
#ifndef SWARM_MIXES_H
#define SWARM_MIXES_H

#include "swarm_stage.h"

typedef void swarm_mix_fn(const struct bench *bench, const struct swarm_options *options);

swarm_mix_fn swarm_fanout; /* one change to all subscribers of a network, again and again */

#endif
