/* The state on its way from a leader to one that needs it, beside the consensus. */
#include "sim.h"

static bool is_alive(const struct sim *sim, const struct sim_job *job)
{
    const struct sim_replica *from = &sim->replicas[job->from];
    return sim_is_up(from) && from->n_lives == job->from_life;
}

static void end_at(struct sim *sim, uint64_t index, uint64_t in_ms)
{
    sim_at(sim, sim->now_ms + in_ms, SIM_OFFER_ENDED, 0)->arg = index;
}

static uint64_t travel_ms(struct sim *sim)
{
    return rng_between(&sim->rng, 1, !sim->is_calm && rng_chance(&sim->rng, 1, 4) ? 3000 : 100);
}

/* A leader has one transfer to each, and does not hear while it runs. */
void sim_offer(struct sim_replica *replica, uint64_t to)
{
    struct sim *sim = replica->sim;
    unsigned place = sim_find(sim, to)->place;
    struct sim_job *free_job = NULL;
    for (unsigned i = 0; i < SIM_JOBS; i++) {
        struct sim_job *job = &sim->jobs[i];
        if (!job->is_open)
            free_job = job;
        else if (job->from == replica->place && job->to == place &&
                 job->from_life == replica->n_lives)
            return;
    }
    if (!free_job)
        return;
    sim->stats.offers++;
    sim_log(sim, replica, "offers its state to %llu", (unsigned long long)to);
    *free_job = (struct sim_job){
        .is_open = true, .from = replica->place, .to = place, .from_life = replica->n_lives};
    sim_at(sim, sim->now_ms + travel_ms(sim), SIM_CAPTURE, 0)->arg =
        (uint64_t)(free_job - sim->jobs);
}

void sim_capture(struct sim *sim, uint64_t index)
{
    struct sim_job *job = &sim->jobs[index];
    if (!is_alive(sim, job) || (!sim->is_calm && rng_chance(&sim->rng, 1, 8))) {
        end_at(sim, index, rng_between(&sim->rng, 1, SIM_ENDED_MS));
        return;
    }
    disk_state_set(&job->state, &sim->replicas[job->from].state);
    sim_at(sim, sim->now_ms + travel_ms(sim), SIM_ARRIVE, job->to)->arg = index;
}

void sim_arrive(struct sim *sim, uint64_t index)
{
    struct sim_job *job = &sim->jobs[index];
    struct sim_replica *to = &sim->replicas[job->to];
    bool is_lost =
        sim->links[job->from][job->to].is_cut || (!sim->is_calm && rng_chance(&sim->rng, 1, 8));
    bool is_done = false;
    end_at(sim, index, rng_between(&sim->rng, 1, SIM_ENDED_MS));
    if (!sim_is_up(to) || is_lost)
        return;
    disk_state_receive(&to->disk, ++to->generation, &job->state);
    const struct ms_mark mark = disk_mark(&job->state);
    int r = ms_engine_install(to->engine, sim->now_ms, &mark, to->generation, &is_done);
    sim_log(sim, to, "has a state of %llu: %s", (unsigned long long)mark.index,
            is_done ? "taken" : "of no use");
    sim_after(to, r);
}

void sim_offer_ended(struct sim *sim, uint64_t index)
{
    struct sim_job *job = &sim->jobs[index];
    if (is_alive(sim, job))
        ms_engine_offer_ended(sim->replicas[job->from].engine, sim->replicas[job->to].id);
    disk_state_fini(&job->state);
    job->is_open = false;
}
