#include "sim.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALM_ELECTIONS 20    /* of their timeouts, with clients, all faults over */
#define CALM_MS        10000 /* and so long, for a state that is under way */
#define CALM_COMMITS   40    /* entries that must be committed then */
#define QUIET_MS       60000 /* without: until all have all */

void sim_fail(struct sim *sim, const char *format, ...)
{
    va_list args;
    if (sim->is_failed)
        return;
    sim->is_failed = true;
    va_start(args, format);
    vsnprintf(sim->why, sizeof(sim->why), format, args);
    va_end(args);
    if (sim->config.is_verbose)
        printf("%8llu FAILED: %s\n", (unsigned long long)sim->now_ms, sim->why);
}

void sim_log(struct sim *sim, const struct sim_replica *replica, const char *format, ...)
{
    va_list args;
    if (!sim->config.is_verbose)
        return;
    printf("%8llu %llu: ", (unsigned long long)sim->now_ms, (unsigned long long)replica->id);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
}

/* ---- events ------------------------------------------------------------------------------ */

static bool is_for_process(const struct sim_event *event)
{
    return event->kind == SIM_MESSAGE || event->kind == SIM_LEADER_LOST ||
           event->kind == SIM_ARRIVE;
}

static void take_event(struct sim *sim, const struct sim_event *event)
{
    struct sim_replica *replica = &sim->replicas[event->to];
    switch (event->kind) {
    case SIM_MESSAGE:
        if (sim_is_up(replica))
            sim_deliver(sim, event);
        return;
    case SIM_LEADER_LOST:
        if (!sim_is_up(replica))
            return;
        ms_engine_leader_lost(replica->engine, sim->now_ms, sim->replicas[event->from].id);
        sim_after(replica, 0);
        return;
    case SIM_ARRIVE:
        sim_arrive(sim, event->arg);
        return;
    default:
        assert(!"not for a process");
    }
}

static void keep(struct sim_replica *replica, const struct sim_event *event)
{
    if (replica->n_inbox == replica->room_inbox) {
        replica->room_inbox = replica->room_inbox ? replica->room_inbox * 2 : 16;
        replica->inbox = em_realloc(replica->inbox, replica->room_inbox * sizeof(*replica->inbox));
    }
    replica->inbox[replica->n_inbox++] = *event;
}

/* It can hear again: what came in the meantime, in order. */
static void wake(struct sim *sim, struct sim_replica *replica)
{
    struct sim_event *inbox = replica->inbox;
    size_t n = replica->n_inbox, i = 0;
    replica->inbox = NULL;
    replica->n_inbox = replica->room_inbox = 0;
    for (; i < n && !sim->is_failed && replica->busy_until_ms <= sim->now_ms; i++) {
        take_event(sim, &inbox[i]);
        ms_payload_unref(inbox[i].bytes);
    }
    for (; i < n; i++)
        keep(replica, &inbox[i]);
    free(inbox);
}

static void take_later(struct sim *sim, struct sim_event *event)
{
    struct sim_replica *replica = &sim->replicas[event->to];
    if (sim_is_up(replica) && (replica->busy_until_ms > sim->now_ms || replica->n_inbox > 0)) {
        keep(replica, event);
        return;
    }
    take_event(sim, event);
    ms_payload_unref(event->bytes);
}

static void again(struct sim *sim, const struct sim_event *event, uint64_t least_ms,
                  uint64_t most_ms)
{
    sim_at(sim, sim->now_ms + rng_between(&sim->rng, least_ms, most_ms), event->kind, 0);
}

static void happen(struct sim *sim, struct sim_event *event)
{
    struct sim_replica *replica = &sim->replicas[event->to];
    bool is_same_life = event->life == replica->n_lives;
    if (is_for_process(event)) {
        take_later(sim, event);
        return;
    }
    switch (event->kind) {
    case SIM_FLUSH:
        if (is_same_life)
            sim_flush(replica);
        break;
    case SIM_WAKE:
        if (is_same_life)
            wake(sim, replica);
        break;
    case SIM_START:
        if (is_same_life)
            sim_start(replica);
        break;
    case SIM_CAPTURE:
        sim_capture(sim, event->arg);
        break;
    case SIM_OFFER_ENDED:
        sim_offer_ended(sim, event->arg);
        break;
    case SIM_CLIENT:
        if (!sim->is_quiet)
            sim_client(sim);
        again(sim, event, 1, sim->is_calm ? 150 : sim->client_ms);
        break;
    case SIM_OPERATOR:
        if (!sim->is_calm)
            sim_operator(sim);
        again(sim, event, 50, sim->config.mode == SIM_THREE ? 4000 : 600);
        break;
    case SIM_HOUSEKEEPING:
        sim_housekeeping(sim);
        again(sim, event, 5, 80);
        break;
    case SIM_TROUBLE:
        if (!sim->is_calm)
            sim_trouble(sim);
        again(sim, event, 20, sim->trouble_ms);
        break;
    case SIM_HEAL:
        if (event->arg == sim->partition)
            sim_heal(sim);
        break;
    case SIM_MESSAGE:
    case SIM_LEADER_LOST:
    case SIM_ARRIVE:
        break;
    }
}

static void tick(struct sim_replica *replica)
{
    struct sim *sim = replica->sim;
    sim_after(replica, ms_engine_tick(replica->engine, sim->now_ms));
}

static uint64_t due_ms(const struct sim_replica *replica)
{
    uint64_t due = ms_engine_due_ms(replica->engine);
    return due > replica->busy_until_ms ? due : replica->busy_until_ms;
}

static void step(struct sim *sim)
{
    struct sim_replica *next = NULL;
    struct sim_event event;
    for (unsigned i = 0; i < sim->n_replicas; i++)
        if (sim_is_up(&sim->replicas[i]) && (!next || due_ms(&sim->replicas[i]) < due_ms(next)))
            next = &sim->replicas[i];
    sim->stats.steps++;
    if (sim_next(sim, next ? due_ms(next) : UINT64_MAX, &event)) {
        if (sim->now_ms < event.at_ms)
            sim->now_ms = event.at_ms;
        happen(sim, &event);
        return;
    }
    if (sim->now_ms < due_ms(next))
        sim->now_ms = due_ms(next);
    tick(next);
}

/* ---- a run ------------------------------------------------------------------------------- */

static void choose_engine(struct sim *sim)
{
    struct rng *rng = &sim->rng;
    struct ms_engine_config *engine = &sim->engine;
    engine->election_ms = (unsigned)rng_between(rng, 100, 500);
    engine->heartbeat_ms = engine->election_ms / (unsigned)rng_between(rng, 4, 10);
    engine->max_inflight = (unsigned)rng_between(rng, 8, 32);
    engine->trailing = engine->max_inflight + (unsigned)rng_between(rng, 1, 8);
    engine->trailing_size = rng_between(rng, 0, 3000);
    engine->memory_size = rng_between(rng, 0, 1000);
    engine->message_size = rng_between(rng, 1, 800);
    engine->guards_off = sim->config.guards_off;
    sim->client_ms = rng_between(rng, 1, rng_chance(rng, 1, 2) ? 20 : 400);
    sim->compacts = rng_chance(rng, 7, 8);
    sim->trouble_ms = rng_between(rng, 100, 2000);
    sim->turn_ms = rng_between(rng, 0, rng_chance(rng, 1, 3) ? 30 : 3);
    sim->dies_of = rng_between(rng, 300, 6000);
}

static void begin(struct sim *sim, const struct sim_config *config)
{
    static const unsigned n_founders[SIM_MODES] = {3, 5, 1};
    uint64_t voters[SIM_MAX];
    *sim = (struct sim){.config = *config, .rng = {config->seed}, .now_ms = 1000};
    em_arena_init(&sim->arena, 0);
    truth_init(&sim->truth);
    choose_engine(sim);
    unsigned n = config->mode == SIM_FIVE ? (unsigned)rng_between(&sim->rng, 3, 5)
                                          : n_founders[config->mode];
    for (unsigned i = 0; i < n; i++)
        voters[i] = sim_add(sim)->id;
    for (unsigned i = 0; i < n; i++)
        disk_found(&sim->replicas[i].disk, voters, n);
    truth_applied(&sim->truth, &sim->replicas[0].disk.state, 0);
    for (unsigned i = 0; i < n; i++)
        sim_start(&sim->replicas[i]);
    for (int kind = SIM_CLIENT; kind <= SIM_TROUBLE; kind++)
        sim_at(sim, sim->now_ms + rng_between(&sim->rng, 1, 1000), (enum sim_event_kind)kind, 0);
}

/* Of those that would be left without 'down', the one with the best log. */
static const struct sim_replica *best_without(const struct sim *sim, const struct sim_replica *down)
{
    const struct sim_replica *best = NULL;
    for (unsigned i = 0; i < sim->n_replicas; i++) {
        const struct sim_replica *replica = &sim->replicas[i];
        const struct disk *disk = &replica->disk;
        uint64_t last = disk_last(disk);
        if (replica == down || !sim_is_up(replica) || !disk->has_mark)
            continue;
        uint64_t best_term = best ? disk_term_at(&best->disk, disk_last(&best->disk)) : 0;
        if (!best || disk_term_at(disk, last) > best_term ||
            (disk_term_at(disk, last) == best_term && last > disk_last(&best->disk)))
            best = replica;
    }
    return best;
}

/* Can the others do without it?  Who has the best log gets every vote that it asks for. */
static bool is_spare(struct sim *sim, const struct sim_replica *down)
{
    const struct sim_replica *best = best_without(sim, down);
    unsigned n_voters = 0, n_up = 0;
    bool is_voter = false;
    if (!best)
        return false;
    const struct raft_configuration *members = ms_engine_members(best->engine);
    for (unsigned i = 0; i < members->n; i++) {
        const struct sim_replica *voter = sim_find(sim, members->servers[i].id);
        if (members->servers[i].role != RAFT_VOTER)
            continue;
        n_voters++;
        n_up += voter != down && voter->life == SIM_UP;
        is_voter = is_voter || voter == best;
    }
    return is_voter && n_up > n_voters / 2;
}

/* All faults end, but one replica may stay away. */
static void calm_down(struct sim *sim)
{
    struct sim_replica *leader = sim_leader(sim);
    unsigned place = (unsigned)rng_between(&sim->rng, 0, sim->n_replicas - 1);
    struct sim_replica *away = leader ? leader : &sim->replicas[place];
    bool has_away = sim->end_ms || rng_chance(&sim->rng, 1, 2);
    sim->is_calm = true;
    sim->turn_ms = 1;
    sim_heal(sim);
    for (unsigned i = 0; i < sim->n_replicas; i++) {
        struct sim_replica *replica = &sim->replicas[i];
        if (replica->life == SIM_DOWN)
            sim_start(replica);
        else if (replica->life == SIM_UP)
            sim_flush(replica);
    }
    if (!sim->is_failed && has_away && sim_is_up(away) && is_spare(sim, away)) {
        sim_crash(away);
        away->n_lives++; /* its start is forgotten, and so is what it has sent */
        for (unsigned i = 0; i < SIM_MAX; i++)
            sim->links[away->place][i].is_cut = true;
    }
}

/* Until so much is committed, but not for ever. */
static void go_on_until(struct sim *sim, uint64_t n_chosen, uint64_t until_ms)
{
    while (sim->truth.n_chosen < n_chosen && sim->now_ms < until_ms && !sim->is_failed)
        step(sim);
}

/* NULL, or what is missing for a cluster that works. */
static const char *check_together(struct sim *sim)
{
    struct sim_replica *leader = sim_leader(sim);
    if (!leader || !ms_engine_is_ready(leader->engine))
        return "there is no leader";
    if (ms_engine_commit_index(leader->engine) != ms_engine_last_index(leader->engine))
        return "not everything is committed";
    const struct raft_configuration *members = ms_engine_members(leader->engine);
    for (unsigned i = 0; i < members->n; i++) {
        const struct sim_replica *replica = sim_find(sim, members->servers[i].id);
        if (replica->life == SIM_UP &&
            replica->state.index != ms_engine_commit_index(leader->engine))
            return "a member does not have everything";
    }
    return NULL;
}

static void come_together(struct sim *sim)
{
    const char *missing = NULL;
    calm_down(sim);
    uint64_t n_chosen = sim->truth.n_chosen + CALM_COMMITS;
    go_on_until(sim, n_chosen, sim->now_ms + CALM_ELECTIONS * sim->engine.election_ms + CALM_MS);
    if (!sim->is_failed && sim->truth.n_chosen < n_chosen)
        sim_fail(sim, "nothing is committed any more");
    sim->is_quiet = true;
    for (uint64_t until_ms = sim->now_ms + QUIET_MS; sim->now_ms < until_ms && !sim->is_failed;) {
        step(sim);
        missing = check_together(sim);
        if (!missing)
            return;
    }
    sim_fail(sim, "after the calm: %s", missing);
}

static void finish(struct sim *sim)
{
    sim->stats.committed = sim->truth.n_chosen;
    sim->stats.elections = sim->truth.n_leaders;
    for (unsigned i = 0; i < sim->n_replicas; i++)
        sim_free(&sim->replicas[i]);
    for (unsigned i = 0; i < SIM_JOBS; i++)
        disk_state_fini(&sim->jobs[i].state);
    sim_queue_fini(sim);
    truth_fini(&sim->truth);
    em_arena_fini(&sim->arena);
}

bool sim_run(struct sim *sim, const struct sim_config *config)
{
    begin(sim, config);
    while (sim->stats.steps < config->steps && !sim->is_failed &&
           (!sim->end_ms || sim->now_ms < sim->end_ms))
        step(sim);
    if (!sim->is_failed)
        come_together(sim);
    finish(sim);
    return !sim->is_failed;
}
