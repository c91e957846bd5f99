/* The network: messages travel as the bytes of their frames.
 *
 * As real connections are: in order, and when one breaks, all that was on its way is lost.
 * Nasty: each message for itself, lost, twice, late, and into the next life of a process. */
#include "sim.h"

#include "core/codec.h"
#include "wire/msg.h"

#include <assert.h>
#include <stdlib.h>

static void enqueue(struct sim *sim, unsigned from, unsigned to, uint64_t at_ms,
                    struct ms_payload *bytes)
{
    struct sim_event *event = sim_at(sim, at_ms, SIM_MESSAGE, to);
    event->from = from;
    event->life = sim->links[from][to].life;
    event->bytes = ms_payload_ref(bytes);
}

static void send_nasty(struct sim *sim, unsigned from, unsigned to, uint64_t delay_ms,
                       struct ms_payload *bytes)
{
    unsigned copies = sim->is_calm ? 1 : !rng_chance(&sim->rng, 8, 100);
    copies += copies && !sim->is_calm && rng_chance(&sim->rng, 6, 100);
    for (unsigned i = 0; i < copies; i++) {
        bool is_late = !sim->is_calm && rng_chance(&sim->rng, 10, 100);
        uint64_t travel_ms = rng_between(&sim->rng, 1, is_late ? 1500 : 8);
        enqueue(sim, from, to, sim->now_ms + delay_ms + travel_ms, bytes);
    }
}

static void send_in_order(struct sim *sim, unsigned from, unsigned to, uint64_t delay_ms,
                          struct ms_payload *bytes)
{
    struct sim_link *link = &sim->links[from][to];
    uint64_t at_ms = sim->now_ms + delay_ms + rng_between(&sim->rng, 1, 8);
    if (!sim->is_calm && rng_chance(&sim->rng, 1, 2000))
        link->life++;
    if (at_ms < link->last_ms)
        at_ms = link->last_ms;
    link->last_ms = at_ms;
    enqueue(sim, from, to, at_ms, bytes);
}

void sim_send(struct sim *sim, unsigned from, unsigned to, const struct raft_message *message,
              uint64_t delay_ms)
{
    struct sim_link *link = &sim->links[from][to];
    struct em_buf buf;
    sim->stats.messages++;
    if (link->is_cut) {
        link->life++;
        return;
    }
    em_buf_init(&buf);
    ms_codec_append(&buf, message);
    struct ms_payload *bytes = ms_payload_new(em_buf_head(&buf), em_buf_size(&buf));
    em_buf_fini(&buf);
    if (sim->config.is_nasty)
        send_nasty(sim, from, to, delay_ms, bytes);
    else
        send_in_order(sim, from, to, delay_ms, bytes);
    ms_payload_unref(bytes);
}

/* The process at 'place' has ended. */
void sim_disconnect(struct sim *sim, unsigned place)
{
    for (unsigned i = 0; i < SIM_MAX; i++) {
        sim->links[place][i].life++;
        sim->links[i][place].life++;
    }
}

void sim_deliver(struct sim *sim, const struct sim_event *event)
{
    struct sim_replica *replica = &sim->replicas[event->to];
    const struct sim_link *link = &sim->links[event->from][event->to];
    const struct ms_payload *bytes = event->bytes;
    struct raft_message message;
    struct raft_entry *entries;
    if ((!sim->config.is_nasty && event->life != link->life) || link->is_cut)
        return;
    em_arena_reset(&sim->arena);
    assert(em_frame_size(bytes->data, bytes->size) == (ssize_t)bytes->size);
    const Eidmap__Envelope *envelope =
        em_msg_unpack(&sim->arena, bytes->data + EM_FRAME_HEADER, bytes->size - EM_FRAME_HEADER);
    if (!envelope || envelope->body_case != EIDMAP__ENVELOPE__BODY_CONSENSUS ||
        ms_codec_from_msg(envelope->consensus, &message, &entries)) {
        sim_fail(sim, "a message cannot be read");
        return;
    }
    int r =
        ms_engine_receive(replica->engine, sim->now_ms, sim->replicas[event->from].id, &message);
    free(entries);
    sim_after(replica, r);
}

/* ---- partitions -------------------------------------------------------------------------- */

static void cut(struct sim *sim, unsigned from, unsigned to)
{
    sim->links[from][to].is_cut = true;
    sim->links[from][to].life++;
}

static void split(struct sim *sim)
{
    uint64_t sides = rng_next(&sim->rng);
    for (unsigned i = 0; i < SIM_MAX; i++)
        for (unsigned j = 0; j < SIM_MAX; j++)
            if ((sides >> i & 1) != (sides >> j & 1))
                cut(sim, i, j);
}

static void isolate(struct sim *sim, bool is_deaf, bool is_mute)
{
    unsigned place = (unsigned)rng_between(&sim->rng, 0, sim->n_replicas - 1);
    for (unsigned i = 0; i < SIM_MAX; i++) {
        if (is_deaf)
            cut(sim, i, place);
        if (is_mute)
            cut(sim, place, i);
    }
}

void sim_cut_randomly(struct sim *sim)
{
    unsigned kind = (unsigned)rng_between(&sim->rng, 0, 4);
    if (kind == 0)
        split(sim);
    else if (kind == 4)
        cut(sim, (unsigned)rng_between(&sim->rng, 0, sim->n_replicas - 1),
            (unsigned)rng_between(&sim->rng, 0, sim->n_replicas - 1));
    else
        isolate(sim, kind & 1, kind & 2);
    sim_at(sim, sim->now_ms + rng_between(&sim->rng, 200, 3000), SIM_HEAL, 0)->arg =
        ++sim->partition;
}

void sim_heal(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_MAX; i++)
        for (unsigned j = 0; j < SIM_MAX; j++)
            sim->links[i][j].is_cut = false;
}
