#include "swarm_moves.h"

#include "base/clock.h"
#include "base/mem.h"
#include "server/numbered.h"

#include <stdlib.h>

#define TICK_S   0.01
#define ATTEMPTS 8 /* a port that cannot move now is left out */

/* As many as are due by now, so that a late turn loses none. */
static void on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct moves *moves = w->data;
    struct swarm *swarm = moves->swarm;
    uint64_t now = em_now_us();
    double due = (double)(now - moves->start_us) / 1e6 * moves->per_second;
    unsigned n_attempts = 0;
    while ((double)moves->n < due && n_attempts < ATTEMPTS * due) {
        uint32_t port = 1 + (uint32_t)rand_r(&moves->seed) % swarm_n_ports(swarm);
        n_attempts++;
        if (!swarm_move(swarm, port, (unsigned)rand_r(&moves->seed)))
            continue;
        moves->sent_us[port - 1] = now;
        moves->n++;
    }
}

void moves_init(struct moves *moves, struct ev_loop *loop, struct swarm *swarm, double per_second)
{
    *moves = (struct moves){
        .loop = loop,
        .swarm = swarm,
        .per_second = per_second,
        .seed = 1,
        .sent_us = em_calloc(swarm_n_ports(swarm), sizeof(*moves->sent_us)),
    };
    ev_timer_init(&moves->timer, on_timer, 0, TICK_S);
    moves->timer.data = moves;
}

void moves_fini(struct moves *moves)
{
    free(moves->sent_us);
}

void moves_start(struct moves *moves)
{
    moves->start_us = em_now_us();
    moves->n = 0;
    ev_timer_start(moves->loop, &moves->timer);
}

void moves_stop(struct moves *moves)
{
    ev_timer_stop(moves->loop, &moves->timer);
}

void moves_acked(struct moves *moves, uint32_t port)
{
    if (moves->sent_us[port - 1])
        hist_add(&moves->acked, 1000 * (em_now_us() - moves->sent_us[port - 1]));
}

/* What an older move of the port says comes late, and is not counted. */
void moves_page(struct moves *moves, const struct em_feed *page)
{
    for (size_t i = 0; i < page->n_changes; i++) {
        const struct em_port *port = page->changes[i].port;
        uint32_t number = port ? numbered_of(&port->id) : 0;
        if (number && moves->sent_us[number - 1] && port->n_locations &&
            swarm_number(port->locations[0].node_id) == swarm_where(moves->swarm, number))
            hist_add(&moves->told, 1000 * (em_now_us() - moves->sent_us[number - 1]));
    }
}
