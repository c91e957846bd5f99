/* A thread that sends batches to the kernel while its owner builds the next ones.
 *
 * It knows messages and a socket, and nothing of what they are about: what comes of a batch is
 * looked at by the owner, in the owner's thread.  Batches are sent in the order in which they
 * were put, one after the other.  All calls are the owner's. */
#ifndef DP_WRITER_H
#define DP_WRITER_H

#include "netlink.h"

#define DP_WRITER_MAX 16 /* batches that have been put and not sent yet */

struct dp_writer;

/* A batch and its results; the writer's from dp_writer_put() until it is sent. */
struct dp_sending {
    struct dp_nl_batch *batch;
    int errs[DP_NL_BATCH]; /* as of dp_nl_send() */
};

/* 0 or -errno.  The socket belongs to the network namespace of the caller.  The thread begins
 * with the first batch; where none can be had, dp_writer_put() sends. */
int dp_writer_new(struct dp_writer **ret_writer);

/* When all that was put has been sent.  NULL is fine. */
void dp_writer_free(struct dp_writer *writer);

void dp_writer_put(struct dp_writer *writer, struct dp_sending *sending);

/* How many have been sent, of all that were ever put; and waits until 'n' have been. */
uint64_t dp_writer_sent(struct dp_writer *writer);
void dp_writer_wait(struct dp_writer *writer, uint64_t n);

/* To be watched for reading: batches have been sent since dp_writer_serve(), and few or none are
 * left. */
int dp_writer_fd(const struct dp_writer *writer);
void dp_writer_serve(struct dp_writer *writer);

#endif
