/* Moves at a steady rate, and how soon who has to know of each does. */
#ifndef SWARM_MOVES_H
#define SWARM_MOVES_H

#include "hist.h"
#include "swarm_agents.h"

#include <ev.h>

struct moves {
    struct ev_loop *loop;
    struct swarm *swarm;
    double per_second;
    unsigned seed;
    uint64_t n; /* that were made */
    uint64_t start_us;
    uint64_t *sent_us; /* by port - 1, of its last move */
    struct hist acked, told;
    ev_timer timer;
};

void moves_init(struct moves *moves, struct ev_loop *loop, struct swarm *swarm, double per_second);
void moves_fini(struct moves *moves);

/* From now on ports move; moves_stop() ends it. */
void moves_start(struct moves *moves);
void moves_stop(struct moves *moves);

/* What the stage's events have to say to it. */
void moves_acked(struct moves *moves, uint32_t port);
void moves_page(struct moves *moves, const struct em_feed *page);

#endif
