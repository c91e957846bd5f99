/* Clients, operators, housekeeping, and bad luck. */
#include "sim.h"

#include <stdio.h>
#include <string.h>

static uint64_t random_of(struct sim *sim, uint64_t least, uint64_t most)
{
    return rng_between(&sim->rng, least, most);
}

/* The newest one that can be spoken to. */
struct sim_replica *sim_leader(struct sim *sim)
{
    struct sim_replica *leader = NULL;
    for (unsigned i = 0; i < sim->n_replicas; i++) {
        struct sim_replica *replica = &sim->replicas[i];
        if (sim_is_up(replica) && replica->is_leader && replica->busy_until_ms <= sim->now_ms &&
            (!leader || leader->leader_term < replica->leader_term))
            leader = replica;
    }
    return leader;
}

/* ---- clients ----------------------------------------------------------------------------- */

static struct ms_payload *command(struct sim *sim)
{
    uint64_t number = ++sim->n_proposed;
    size_t size = rng_chance(&sim->rng, 1, 20) ? 0 : random_of(sim, 8, 200);
    struct ms_payload *payload = ms_payload_new(NULL, size);
    memset(payload->data, (int)number, size);
    if (size)
        memcpy(payload->data, &number, sizeof(number));
    return payload;
}

void sim_client(struct sim *sim)
{
    struct sim_replica *leader = sim_leader(sim);
    unsigned n = rng_chance(&sim->rng, 1, 3) ? (unsigned)random_of(sim, 2, 40) : 1;
    int r = 0;
    for (unsigned i = 0; leader && i < n && r == 0; i++) {
        uint64_t index, next = ms_engine_last_index(leader->engine) + 1;
        if (next > ms_engine_commit_index(leader->engine) + 4 * sim->engine.max_inflight)
            break;
        r = ms_engine_propose(leader->engine, sim->now_ms, command(sim), &index);
        if (r == 0 && index && index != next)
            sim_fail(sim, "a proposal stands where it should not");
    }
    if (leader)
        sim_after(leader, r);
}

/* ---- housekeeping ------------------------------------------------------------------------ */

void sim_housekeeping(struct sim *sim)
{
    struct sim_replica *replica = &sim->replicas[random_of(sim, 0, sim->n_replicas - 1)];
    struct disk *disk = &replica->disk;
    if (!sim_is_up(replica) || replica->busy_until_ms > sim->now_ms || !replica->state.members)
        return;
    if (replica->state.index > disk_last(disk)) {
        sim_fail(sim, "replica %llu: its state is ahead of its log",
                 (unsigned long long)replica->id);
        return;
    }
    disk_state_set(&disk->state, &replica->state);
    if (!sim->compacts || !rng_chance(&sim->rng, 2, 3))
        return;
    const struct ms_mark mark = disk_mark(&disk->state);
    sim_after(replica, ms_engine_compact(replica->engine, sim->now_ms, &mark));
}

/* ---- the operator ------------------------------------------------------------------------ */

static bool is_same(const struct raft_configuration *a, const struct raft_configuration *b)
{
    for (unsigned i = 0; i < a->n && a->n == b->n; i++)
        if (a->servers[i].id != b->servers[i].id || a->servers[i].role != b->servers[i].role)
            return false;
    return a->n == b->n;
}

static const struct raft_server *member(const struct ms_engine *engine, uint64_t id)
{
    const struct raft_configuration *members = ms_engine_members(engine);
    for (unsigned i = 0; i < members->n; i++)
        if (members->servers[i].id == id)
            return &members->servers[i];
    return NULL;
}

/* All are up, agree on the members, and know that these are committed. */
static bool is_settled(struct sim *sim)
{
    struct sim_replica *leader = sim_leader(sim);
    if (!leader || !ms_engine_is_ready(leader->engine))
        return false;
    for (unsigned i = 0; i < sim->n_replicas; i++) {
        struct sim_replica *replica = &sim->replicas[i];
        if (replica->life == SIM_GONE || !member(leader->engine, replica->id))
            continue;
        if (!sim_is_up(replica) || replica->state.members_index != leader->state.members_index ||
            !is_same(ms_engine_members(leader->engine), ms_engine_members(replica->engine)))
            return false;
    }
    return true;
}

static void change(struct sim *sim, struct sim_replica *leader, enum ms_engine_change what,
                   uint64_t id)
{
    static const char *const names[] = {"add", "promote", "demote", "remove"};
    char address[24];
    uint64_t index = 0;
    int err = 0;
    const char *why = "done";
    snprintf(address, sizeof(address), "s%llu", (unsigned long long)id);
    int r = ms_engine_change(leader->engine, sim->now_ms, what, id, address, &index, &err, &why);
    sim_log(sim, leader, "%s %llu at %llu: %s", names[what], (unsigned long long)id,
            (unsigned long long)index, err ? why : "done");
    sim->stats.changes += r == 0 && err == 0;
    if (what == MS_PROMOTE && !err && rng_chance(&sim->rng, 1, 12)) /* and the leader dies */
        sim->end_ms = sim->now_ms + random_of(sim, 0, 15);
    sim_after(leader, r);
}

static bool remove_gone(struct sim *sim, struct sim_replica *leader)
{
    for (unsigned i = 0; i < sim->n_replicas; i++) {
        struct sim_replica *replica = &sim->replicas[i];
        if (replica->life == SIM_GONE && member(leader->engine, replica->id)) {
            change(sim, leader, MS_REMOVE, replica->id);
            return true;
        }
    }
    sim->has_gone = sim->has_gone && !is_settled(sim);
    return sim->has_gone;
}

/* One that is up and no member, or a new one. */
static struct sim_replica *find_new(struct sim *sim, struct sim_replica *leader)
{
    for (unsigned i = 0; i < sim->n_replicas; i++)
        if (sim_is_up(&sim->replicas[i]) && !member(leader->engine, sim->replicas[i].id))
            return &sim->replicas[i];
    if (sim->n_replicas == SIM_MAX)
        return NULL;
    struct sim_replica *replica = sim_add(sim);
    sim_start(replica);
    return replica;
}

static void transfer(struct sim *sim, struct sim_replica *leader, uint64_t to)
{
    int err;
    int r = ms_engine_transfer(leader->engine, sim->now_ms, to, &err);
    sim_log(sim, leader, "gives leadership to %llu: %d", (unsigned long long)to, err);
    sim->stats.transfers += r == 0 && err == 0;
    sim_after(leader, r);
}

void sim_operator(struct sim *sim)
{
    struct sim_replica *leader = sim_leader(sim);
    if (!leader)
        return;
    const struct raft_configuration *members = ms_engine_members(leader->engine);
    const struct raft_server *server = &members->servers[random_of(sim, 0, members->n - 1)];
    uint64_t what = random_of(sim, 0, 9), id = server->id;
    if (what == 0 || sim->config.mode == SIM_THREE) {
        transfer(sim, leader, rng_chance(&sim->rng, 1, 2) ? id : 0);
        return;
    }
    if (remove_gone(sim, leader))
        return;
    bool is_small = ms_engine_n_voters(leader->engine) < 3;
    if (server->role == RAFT_STANDBY && (is_small || what < 8)) {
        change(sim, leader, MS_PROMOTE, id);
    } else if (members->n < SIM_MEMBERS && (is_small ? members->n < 3 : what < 5)) {
        struct sim_replica *replica = find_new(sim, leader);
        if (replica && sim_is_up(leader))
            change(sim, leader, MS_ADD, replica->id);
    } else if (!is_small || what == 9) {
        change(sim, leader, what & 1 ? MS_DEMOTE : MS_REMOVE, id);
    }
}

/* ---- trouble ----------------------------------------------------------------------------- */

/* Only when what is left is a majority for ever, whatever change may be under way. */
static void lose_a_disk(struct sim *sim)
{
    struct sim_replica *replica = &sim->replicas[random_of(sim, 0, sim->n_replicas - 1)];
    struct sim_replica *leader = sim_leader(sim);
    if (sim->config.mode == SIM_THREE || sim->has_gone || !is_settled(sim) ||
        ms_engine_n_voters(leader->engine) < 3 || replica->life != SIM_UP ||
        !member(leader->engine, replica->id))
        return;
    sim_wipe(replica);
    sim->has_gone = true;
}

static void pause(struct sim *sim, struct sim_replica *replica)
{
    replica->busy_until_ms = sim->now_ms + random_of(sim, 100, 900);
    sim_at(sim, replica->busy_until_ms, SIM_WAKE, replica->place)->life = replica->n_lives;
}

void sim_trouble(struct sim *sim)
{
    struct sim_replica *leader = sim_leader(sim);
    struct sim_replica *replica = &sim->replicas[random_of(sim, 0, sim->n_replicas - 1)];
    if (leader && rng_chance(&sim->rng, 1, 3))
        replica = leader;
    switch (random_of(sim, 0, 9)) {
    case 0:
    case 1:
    case 2:
        if (sim_is_up(replica))
            sim_crash(replica);
        break;
    case 3:
    case 4:
    case 5:
        sim_cut_randomly(sim);
        break;
    case 6:
        lose_a_disk(sim);
        break;
    default:
        if (sim_is_up(replica))
            pause(sim, replica);
        break;
    }
}
