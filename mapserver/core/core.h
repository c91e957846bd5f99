/* The one way into the map: commands in, committed results out.
 *
 * One thread takes everything that waits, up to 512 commands or 1 MiB, into one durable
 * transaction; what arrives meanwhile is the next.  So one fsync serves many, and no timer
 * is needed.  Consensus will stand between proposing and applying; callers see no more of
 * it than is in this header: a result comes when the command is committed and applied. */
#ifndef MS_CORE_H
#define MS_CORE_H

#include "state/apply.h"

struct ms_core;

/* On the core's thread, once for each accepted proposal, after the commit.  Everything in
 * 'result' is lent for the call. */
typedef void ms_core_done_fn(void *aux, const struct ms_result *result);

/* All on the core's thread. */
struct ms_core_events {
    /* The map has changed and readers see it.  Before the done calls of the same batch.
     * 'networks': whose feeds have grown, 0 too. */
    void (*on_commit)(void *aux, uint64_t revision, const uint32_t *networks, size_t n);
    /* The process must stop; 'why' is a sentence.  Every proposal is answered
     * EM_E_INTERNAL from here on. */
    void (*on_fatal)(void *aux, int err, const char *why);
};

struct ms_core_config {
    struct ms_store *store;
    uint32_t max_node_ports;  /* 0: MS_NODE_PORTS_MAX */
    size_t max_waiting;       /* commands, 0: 16384 */
    size_t max_waiting_bytes; /* 0: 64 MiB */
};

int ms_core_start(const struct ms_core_config *config, const struct ms_core_events *events,
                  void *aux, struct ms_core **ret_core);

/* Takes no more proposals, finishes those it has (each is answered), ends the thread and
 * frees.  Nobody may propose during or after the call.  NULL is fine. */
void ms_core_stop(struct ms_core *core);

/* Any thread.  Takes the packed Command (malloc'ed), also when it fails.  EM_E_BUSY: too
 * much waits already.  'done' may be NULL. */
int ms_core_propose(struct ms_core *core, uint8_t *bytes_take, size_t size, ms_core_done_fn *done,
                    void *aux);

/* Any thread: true when the core has nothing to do, or has done something since the last
 * call.  False twice in a row, some seconds apart, means that it hangs. */
bool ms_core_is_alive(struct ms_core *core);

#endif
