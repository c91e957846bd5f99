/* Processes: what an engine asks for, what of it holds, and where they die.
 *
 * Every call of the engine is a place where the process may die: before a write, after it,
 * and between two messages.  From there on nothing it does has an effect. */
#include "sim.h"

#include "eidmap/error.h"

#include <stdlib.h>
#include <string.h>

static bool dies(struct sim_replica *replica)
{
    struct sim *sim = replica->sim;
    if (!replica->is_dying && !sim->is_calm && rng_chance(&sim->rng, 1, sim->dies_of))
        replica->is_dying = true;
    return replica->is_dying;
}

static void expect(struct sim_replica *replica, const char *broken)
{
    if (broken)
        sim_fail(replica->sim, "replica %llu: %s", (unsigned long long)replica->id, broken);
}

bool sim_is_up(const struct sim_replica *replica)
{
    return replica->life == SIM_UP && replica->engine;
}

struct sim_replica *sim_find(struct sim *sim, uint64_t id)
{
    for (unsigned i = 0; i < sim->n_replicas; i++)
        if (sim->replicas[i].id == id)
            return &sim->replicas[i];
    return NULL;
}

/* ---- what the engine calls --------------------------------------------------------------- */

static void note_entries(struct sim_replica *replica, const struct ms_log_write *write)
{
    uint64_t prev_term = write->n_entries ? disk_term_at(&replica->disk, write->first - 1) : 0;
    for (size_t i = 0; i < write->n_entries; i++) {
        const struct ms_entry *entry = &write->entries[i];
        expect(replica, truth_entry(&replica->sim->truth, write->first + i, entry->term, prev_term,
                                    entry->type, entry->payload->data, entry->payload->size));
        prev_term = entry->term;
    }
}

static int on_write(void *aux, const struct ms_log_write *write)
{
    struct sim_replica *replica = aux;
    struct sim *sim = replica->sim;
    if (dies(replica))
        return EM_E_STORAGE;
    if (write->truncate)
        expect(replica, truth_truncated(&sim->truth, &replica->disk, write->truncate));
    note_entries(replica, write);
    sim_log(sim, replica, "write term %llu vote %llu truncate %llu first %llu n %zu forget %llu",
            (unsigned long long)write->term, (unsigned long long)write->voted_for,
            (unsigned long long)write->truncate, (unsigned long long)write->first, write->n_entries,
            (unsigned long long)write->forget);
    expect(replica, disk_write(&replica->disk, write));
    bool is_slow = !sim->is_calm && rng_chance(&sim->rng, 1, 400);
    replica->write_ms += is_slow ? rng_between(&sim->rng, 200, 800) : rng_between(&sim->rng, 0, 4);
    sim->stats.compactions += write->forget && write->forget != UINT64_MAX;
    return dies(replica) ? EM_E_STORAGE : 0;
}

static int on_read(void *aux, uint64_t index, struct ms_payload **ret_payload)
{
    struct sim_replica *replica = aux;
    const struct ms_entry *entry = disk_at(&replica->disk, index);
    replica->sim->stats.reads++;
    if (!entry) {
        expect(replica, "it reads an entry that is not on its disk");
        return EM_E_NOT_FOUND;
    }
    *ret_payload = ms_payload_ref(entry->payload);
    return 0;
}

/* What a message promises must be on the disk before it leaves.  A later term there is as good
 * as a vote: it will never vote in the older one again. */
static const char *check_promise(const struct sim_replica *replica, uint64_t to,
                                 const struct raft_message *message)
{
    const struct disk *disk = &replica->disk;
    switch (message->type) {
    case RAFT_REQUEST_VOTE_RESULT:
        if (message->request_vote_result.pre_vote || !message->request_vote_result.vote_granted ||
            disk->term > message->request_vote_result.term)
            return NULL;
        return disk->term == message->request_vote_result.term && disk->voted_for == to
                   ? NULL
                   : "it sends a vote that is not written";
    case RAFT_REQUEST_VOTE:
        if (message->request_vote.pre_vote || disk->term > message->request_vote.term)
            return NULL;
        return disk->term == message->request_vote.term && disk->voted_for == replica->id
                   ? NULL
                   : "it asks for votes without having written its own";
    case RAFT_APPEND_ENTRIES_RESULT:
        if (message->append_entries_result.term > disk->term)
            return "it answers in a term that is not written";
        return message->append_entries_result.rejected ||
                       message->append_entries_result.last_log_index <= disk_last(disk)
                   ? NULL
                   : "it acknowledges an entry that is not written";
    case RAFT_APPEND_ENTRIES:
        return message->append_entries.term <= disk->term ? NULL : "its term is not written";
    case RAFT_TIMEOUT_NOW:
    case RAFT_INSTALL_SNAPSHOT:
        break;
    }
    return NULL;
}

static void note_sent(struct sim_replica *replica, const struct raft_append_entries *msg)
{
    uint64_t prev_term = msg->prev_log_term;
    for (unsigned i = 0; i < msg->n_entries; i++) {
        const struct raft_entry *entry = &msg->entries[i];
        expect(replica, truth_entry(&replica->sim->truth, msg->prev_log_index + 1 + i, entry->term,
                                    prev_term, entry->type, entry->buf.base, entry->buf.len));
        prev_term = entry->term;
    }
}

static void on_send(void *aux, uint64_t to, const struct raft_message *message)
{
    struct sim_replica *replica = aux;
    struct sim_replica *other = sim_find(replica->sim, to);
    if (dies(replica))
        return;
    expect(replica, check_promise(replica, to, message));
    if (message->type == RAFT_APPEND_ENTRIES)
        note_sent(replica, &message->append_entries);
    if (!other)
        expect(replica, "it sends to somebody unknown");
    else
        sim_send(replica->sim, replica->place, other->place, message, replica->write_ms);
}

static void on_flush(void *aux)
{
    dies(aux);
}

static void on_apply(void *aux, uint64_t index, const struct ms_entry *entry)
{
    struct sim_replica *replica = aux;
    if (dies(replica))
        return;
    if (disk_term_at(&replica->disk, index) != entry->term)
        expect(replica, "it applies what its log does not hold");
    if (index <= replica->state.index)
        return; /* after a start: the state had it already */
    if (index != replica->state.index + 1)
        expect(replica, "it leaves an entry out");
    disk_state_apply(&replica->state, index, entry);
    expect(replica, truth_applied(&replica->sim->truth, &replica->state, replica->disk.term));
}

static void on_offer(void *aux, uint64_t to, uint64_t index, uint64_t term)
{
    struct sim_replica *replica = aux;
    if (dies(replica))
        return;
    if (disk_term_at(&replica->disk, index) != term)
        expect(replica, "it offers what it does not hold");
    sim_offer(replica, to);
}

static int on_install(void *aux, const struct ms_mark *mark, uint64_t generation)
{
    struct sim_replica *replica = aux;
    if (dies(replica))
        return EM_E_STORAGE;
    if (replica->disk.generation != generation || replica->disk.state.index != mark->index)
        expect(replica, "it puts a state in place that is not the one");
    disk_state_set(&replica->state, &replica->disk.state);
    expect(replica, truth_applied(&replica->sim->truth, &replica->state, replica->disk.term));
    replica->sim->stats.installs++;
    return 0;
}

static const struct ms_engine_io engine_io = {on_write, on_read,  on_send,   on_flush,
                                              on_apply, on_offer, on_install};

/* ---- life -------------------------------------------------------------------------------- */

struct sim_replica *sim_add(struct sim *sim)
{
    struct sim_replica *replica = &sim->replicas[sim->n_replicas];
    *replica = (struct sim_replica){
        .sim = sim, .place = sim->n_replicas, .id = ++sim->next_id, .life = SIM_DOWN};
    disk_init(&replica->disk);
    sim->n_replicas++;
    return replica;
}

void sim_start(struct sim_replica *replica)
{
    struct sim *sim = replica->sim;
    struct ms_engine_config config = sim->engine;
    struct ms_engine *engine = NULL;
    const struct disk *disk = &replica->disk;
    config.id = replica->id;
    config.seed = (unsigned)rng_next(&sim->rng);
    config.io = &engine_io;
    config.aux = replica;
    if (disk->state.index < disk->mark.index || disk->state.index > disk_last(disk))
        expect(replica, "its state does not belong to its log");
    disk_state_set(&replica->state, &disk->state);
    replica->life = SIM_UP;
    replica->is_dying = replica->is_leader = replica->is_flushing = false;
    replica->commit = 0;
    replica->busy_until_ms = sim->now_ms;
    replica->n_lives++;
    int r = disk_start(disk, &config, sim->now_ms, rng_chance(&sim->rng, 1, 2), &engine);
    sim_log(sim, replica, "started: %d", r);
    replica->engine = engine;
    sim_after(replica, r);
}

static void drop_inbox(struct sim_replica *replica)
{
    for (size_t i = 0; i < replica->n_inbox; i++) {
        ms_payload_unref(replica->inbox[i].bytes);
        if (replica->inbox[i].kind == SIM_ARRIVE) /* comes to nothing */
            sim_at(replica->sim, replica->sim->now_ms + SIM_ENDED_MS, SIM_OFFER_ENDED, 0)->arg =
                replica->inbox[i].arg;
    }
    replica->n_inbox = 0;
}

static void end(struct sim_replica *replica)
{
    ms_engine_free(replica->engine);
    replica->engine = NULL;
    replica->n_lives++;
    drop_inbox(replica);
    disk_state_fini(&replica->state);
    sim_disconnect(replica->sim, replica->place);
}

/* The others may see its connections close. */
static void tell_others(struct sim_replica *replica)
{
    struct sim *sim = replica->sim;
    for (unsigned i = 0; i < sim->n_replicas; i++)
        if (sim_is_up(&sim->replicas[i]) && rng_chance(&sim->rng, 3, 4))
            sim_at(sim, sim->now_ms + rng_between(&sim->rng, 0, 30), SIM_LEADER_LOST, i)->from =
                replica->place;
}

void sim_crash(struct sim_replica *replica)
{
    struct sim *sim = replica->sim;
    uint64_t down_ms = rng_between(&sim->rng, 5, rng_chance(&sim->rng, 1, 3) ? 4000 : 400);
    sim_log(sim, replica, "crashes");
    sim->stats.crashes++;
    end(replica);
    replica->life = SIM_DOWN;
    if (replica->is_leader && rng_chance(&sim->rng, 1, 2))
        tell_others(replica);
    sim_at(sim, sim->now_ms + down_ms, SIM_START, replica->place)->life = replica->n_lives;
}

/* Its disk is lost: its id never comes back. */
void sim_wipe(struct sim_replica *replica)
{
    sim_log(replica->sim, replica, "loses its disk");
    end(replica);
    replica->life = SIM_GONE;
}

void sim_free(struct sim_replica *replica)
{
    ms_engine_free(replica->engine);
    drop_inbox(replica);
    free(replica->inbox);
    disk_state_fini(&replica->state);
    disk_fini(&replica->disk);
}

static void check_progress(struct sim_replica *replica)
{
    struct sim *sim = replica->sim;
    uint64_t term = ms_engine_term(replica->engine);
    bool is_leader = ms_engine_is_leader(replica->engine);
    uint64_t commit = ms_engine_commit_index(replica->engine);
    if (commit < replica->commit)
        expect(replica, "its commit index goes back");
    replica->commit = commit;
    if (is_leader && (!replica->is_leader || replica->leader_term != term)) {
        sim_log(sim, replica, "leads term %llu", (unsigned long long)term);
        expect(replica, truth_leader(&sim->truth, replica->id, term, &replica->disk));
        replica->leader_term = term;
    }
    replica->is_leader = is_leader;
}

void sim_after(struct sim_replica *replica, int r)
{
    struct sim *sim = replica->sim;
    if (replica->is_dying) {
        sim_crash(replica);
        return;
    }
    if (r) {
        sim_fail(sim, "replica %llu: it stops: %s", (unsigned long long)replica->id,
                 replica->engine ? ms_engine_why(replica->engine) : "at the start");
        return;
    }
    check_progress(replica);
    if (replica->write_ms > 0) {
        replica->busy_until_ms = sim->now_ms + replica->write_ms;
        replica->write_ms = 0;
        sim_at(sim, replica->busy_until_ms, SIM_WAKE, replica->place)->life = replica->n_lives;
    }
    if (!replica->is_flushing) {
        uint64_t at_ms = sim->now_ms + rng_between(&sim->rng, 0, sim->turn_ms);
        if (at_ms < replica->busy_until_ms)
            at_ms = replica->busy_until_ms;
        replica->is_flushing = true;
        sim_at(sim, at_ms, SIM_FLUSH, replica->place)->life = replica->n_lives;
    }
}

void sim_flush(struct sim_replica *replica)
{
    int r = ms_engine_flush(replica->engine, replica->sim->now_ms);
    replica->is_flushing = true; /* nothing is left to flush */
    sim_after(replica, r);
    replica->is_flushing = false;
}
