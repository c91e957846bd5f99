/* A heap of events: by time, and what was put in first comes first. */
#include "sim.h"

#include <stdlib.h>

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void swap(struct sim *sim, size_t a, size_t b)
{
    struct sim_event event = sim->events[a];
    sim->events[a] = sim->events[b];
    sim->events[b] = event;
}

static size_t sift_up(struct sim *sim, size_t at)
{
    while (at > 0 && is_before(&sim->events[at], &sim->events[(at - 1) / 2])) {
        swap(sim, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
    return at;
}

static void sift_down(struct sim *sim, size_t at)
{
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < sim->n; child++)
            if (is_before(&sim->events[child], &sim->events[least]))
                least = child;
        if (least == at)
            return;
        swap(sim, at, least);
        at = least;
    }
}

/* The pointer is good until the next call. */
struct sim_event *sim_at(struct sim *sim, uint64_t at_ms, enum sim_event_kind kind, unsigned to)
{
    if (sim->n == sim->room) {
        sim->room = sim->room ? sim->room * 2 : 256;
        sim->events = em_realloc(sim->events, sim->room * sizeof(*sim->events));
    }
    sim->events[sim->n] = (struct sim_event){
        .at_ms = at_ms, .order = sim->n_events++, .kind = kind, .to = to, .from = to};
    return &sim->events[sift_up(sim, sim->n++)];
}

/* False: nothing happens before that time. */
bool sim_next(struct sim *sim, uint64_t before_ms, struct sim_event *ret_event)
{
    if (sim->n == 0 || sim->events[0].at_ms > before_ms)
        return false;
    *ret_event = sim->events[0];
    sim->events[0] = sim->events[--sim->n];
    sift_down(sim, 0);
    return true;
}

void sim_queue_fini(struct sim *sim)
{
    for (size_t i = 0; i < sim->n; i++)
        ms_payload_unref(sim->events[i].bytes);
    free(sim->events);
}
