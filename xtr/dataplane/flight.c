/* Batches of messages, from the ops that they are for to their results.
 *
 * A batch that is well filled goes to the writer, so that the kernel's work and ours go on at
 * the same time, and so does one that comes after it; a few messages are sent here, which
 * takes less time than waking a thread twice. */
#include "kernel.h"

#include <assert.h>

#define FEW (DP_NL_BATCH / 2) /* messages */

struct dp_flight *dp_flight(struct dp *dp)
{
    return &dp->flights[dp->n_put % DP_FLIGHTS];
}

/* The batch being built is empty: what an op needs once its result is known is sent at once. */
static void complete(struct dp *dp, struct dp_flight *flight)
{
    assert(dp_nl_len(dp->nl) == 0);
    size_t n = flight->n_queued;
    flight->n_queued = 0;
    for (size_t i = 0; i < n; i++) {
        struct dp_queued *queued = &flight->queue[i];
        int err = 0;
        for (unsigned k = queued->first; k < (unsigned)queued->first + queued->n; k++)
            err = err ? err : flight->sending.errs[k];
        queued->op->err = dp_endpoint_done(dp, queued->op, err);
    }
}

static void complete_to(struct dp *dp, uint64_t n)
{
    while (dp->n_done < n)
        complete(dp, &dp->flights[dp->n_done++ % DP_FLIGHTS]);
}

/* Not more than there are flights to be built in meanwhile. */
static void put(struct dp *dp)
{
    struct dp_flight *flight = dp_flight(dp);
    struct dp_flight *next = &dp->flights[(dp->n_put + 1) % DP_FLIGHTS];

    assert(dp->n_put - dp->n_done < DP_FLIGHTS - 1);
    flight->sending.batch = dp_nl_swap_take(dp->nl, next->sending.batch);
    next->sending.batch = NULL;
    dp->n_put++;
    dp_writer_put(dp->writer, &flight->sending);
    if (dp->n_put - dp->n_done < DP_FLIGHTS - 1)
        return;
    dp_writer_wait(dp->writer, dp->n_done + 1);
    complete_to(dp, dp->n_done + 1);
}

void dp_take_off(struct dp *dp)
{
    if (dp_nl_len(dp->nl) == 0)
        return;
    if (dp->n_put > dp->n_done || dp_nl_len(dp->nl) > FEW) {
        put(dp);
        return;
    }
    (void)dp_nl_send(dp->nl, dp_flight(dp)->sending.errs);
    complete(dp, dp_flight(dp));
}

void dp_flush(struct dp *dp)
{
    dp_take_off(dp);
    if (dp->n_put == dp->n_done)
        return;
    dp_writer_wait(dp->writer, dp->n_put);
    complete_to(dp, dp->n_put);
}

uint64_t dp_flights_reached(struct dp *dp)
{
    if (dp->n_put > dp->n_done)
        complete_to(dp, dp_writer_sent(dp->writer));
    return dp->n_done;
}

int dp_flights_open(struct dp *dp)
{
    /* The first is built in the batch that the socket has. */
    for (size_t i = 1; i < DP_FLIGHTS; i++)
        dp->flights[i].sending.batch = dp_nl_batch_new();
    return dp_writer_new(&dp->writer);
}

void dp_flights_close(struct dp *dp)
{
    dp_writer_free(dp->writer);
    for (size_t i = 0; i < DP_FLIGHTS; i++)
        dp_nl_batch_free(dp->flights[i].sending.batch);
}
