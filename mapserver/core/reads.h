/* Linearisable reads by index: no write, one round among the servers (Ongaro 2014, 6.4).
 *
 * The leader notes its commit index, asks the others whether it still leads, and when a
 * majority says so the index is right: whoever has applied up to it reads the truth.  A
 * follower asks the leader for such an index.  All who wait share a round.
 *
 * Pure: what is to be sent goes out through ms_reads_io, time is a parameter.  Threads: the
 * core's, but for ms_reads_add(). */
#ifndef MS_READS_H
#define MS_READS_H

#include "core/core.h"

struct ms_reads;

struct ms_reads_io {
    /* To every voter but this server. */
    void (*ping)(void *aux, uint64_t term, uint64_t nonce);
    /* From a follower to the leader. */
    void (*ask)(void *aux, uint64_t leader, uint64_t nonce);
    /* The answer to it; index 0: not the leader. */
    void (*reply)(void *aux, uint64_t replica, uint64_t nonce, uint64_t index);
    /* Are these replicas and this server a majority of the voters? */
    bool (*is_majority)(void *aux, const uint64_t *replicas, unsigned n);
};

/* How things stand. */
struct ms_reads_now {
    uint64_t now_ms, term, commit, applied;
    uint64_t leader; /* 0: none known, or it cannot be reached */
    bool is_leader;
    bool is_ready; /* leader, with an entry of its term committed */
    unsigned n_voters;
};

struct ms_reads *ms_reads_new(const struct ms_reads_io *io, void *aux);

/* Those that wait are answered EM_E_CLOSED. */
void ms_reads_free(struct ms_reads *reads);

/* Any thread; the core must be woken.  */
void ms_reads_add(struct ms_reads *reads, ms_core_answer_fn *answer, void *aux);

/* Every turn: begins rounds, answers what is ready, gives up what waits for too long. */
void ms_reads_run(struct ms_reads *reads, const struct ms_reads_now *now);
bool ms_reads_is_idle(const struct ms_reads *reads);

void ms_reads_on_pong(struct ms_reads *reads, uint64_t replica, uint64_t term, uint64_t nonce);
void ms_reads_on_ask(struct ms_reads *reads, uint64_t replica, uint64_t nonce);
void ms_reads_on_reply(struct ms_reads *reads, uint64_t nonce, uint64_t index);

#endif
