/* The frame of a fault test: a cluster of real servers, and clients that write down what they
 * are told while the test breaks things.
 *
 *   ordeal_init, [changes to the servers], ordeal_start, faults ..., ordeal_end, ordeal_fini
 *
 * Failures are the test's: a sentence on stderr, with what the servers logged, and exit(1). */
#ifndef ORDEAL_H
#define ORDEAL_H

#include "server/verdict.h"

#define ORDEAL_SERVERS  3
#define ORDEAL_KEYS     8
#define ORDEAL_LIMIT_MS 90000 /* for whatever has to happen */

struct ordeal {
    struct real_cluster cluster;
    struct traffic *traffic;
    uint32_t network_id;
    unsigned seed; /* SEED of the environment, or random; printed */
};

/* 'addresses': as for real_cluster_init_at(). */
void ordeal_init(struct ordeal *ordeal, const char *yaml, const char *const *addresses);
void ordeal_start(struct ordeal *ordeal);

/* Both, with each server in a namespace of links.h; links_remove() afterwards.  False: as from
 * links_make(). */
bool ordeal_start_linked(struct ordeal *ordeal);

/* Checks that all answers have one explanation and that all servers hold the map that was told
 * last, and stops them. */
void ordeal_end(struct ordeal *ordeal);
void ordeal_fini(struct ordeal *ordeal);

unsigned ordeal_draw(struct ordeal *ordeal, unsigned n);

/* Waits for some writes to be acknowledged from now on. */
void ordeal_expect_writes(struct ordeal *ordeal, const char *when);

/* A server that does not lead, at random. */
unsigned ordeal_follower(struct ordeal *ordeal);

/* After ordeal_end(): prints how long writes waited after the 'n' faults at these times, n <= 20.
 */
void ordeal_report(struct ordeal *ordeal, const char *what, const uint64_t *at_us, size_t n);

__attribute__((noreturn, format(printf, 2, 3))) void ordeal_fail(struct ordeal *ordeal,
                                                                 const char *format, ...);

#endif
