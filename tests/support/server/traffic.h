/* Clients that move, withdraw and look up ports all the time, and write down what they are
 * told: for fault tests, which break the servers meanwhile.
 *
 * They live on a thread of their own, each with a connection and one request under way, as
 * agents with a node each and as operators.  Keys are the numbered ports 1 .. n_keys. */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include "server/history.h"

struct traffic;

struct traffic_config {
    const char *const *servers;
    size_t n_servers;
    uint32_t network_id;
    uint32_t n_keys;
    unsigned n_agents, n_operators;
    unsigned seed;
    unsigned pause_us; /* of a client between two requests, at most */
};

struct traffic *traffic_start(const struct traffic_config *config);

/* No new requests; waits until all have an answer, and ends the thread.  NULL, or what a client
 * was told that it should never hear. */
char *traffic_stop(struct traffic *traffic);
void traffic_free(struct traffic *traffic);

/* After traffic_stop(); to be added to.  Times are em_now_us(), the key of port n is n - 1. */
struct history *traffic_history(struct traffic *traffic);

/* Writes that were acknowledged so far; any thread. */
uint64_t traffic_n_written(struct traffic *traffic);

/* Waits for 'n' more; false: they do not come within 'limit_ms'. */
bool traffic_await(struct traffic *traffic, uint64_t n, unsigned limit_ms);

/* After traffic_stop(): what a fault at 'at_us' did to writes, in microseconds. */
struct traffic_gap {
    uint64_t first;   /* until one that was begun afterwards was acknowledged */
    uint64_t longest; /* that a write waited on, of those begun before that */
};
struct traffic_gap traffic_gap(struct traffic *traffic, uint64_t at_us);

#endif
