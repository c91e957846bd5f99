/* The end of a fault test: is what the clients were told what the servers hold, all of them? */
#ifndef VERDICT_H
#define VERDICT_H

#include "server/real_cluster.h"
#include "server/traffic.h"

#define VERDICT_DIGEST 32

/* The SHA-256 of the map of one server when it has that log index, or more, as docs/snapshot.md
 * defines it; false: it gives none. */
bool verdict_digest(const struct real_server *server, uint64_t min_index,
                    uint8_t ret_digest[VERDICT_DIGEST]);

/* Waits until all servers of the cluster hold the same map; false: they do not. */
bool verdict_await_same(struct real_cluster *cluster);

/* Stops the traffic, waits for the servers to settle, reads each key once more on each server,
 * consistently, and checks the whole history.  NULL: all is well; else a sentence. */
char *verdict_of(struct real_cluster *cluster, struct traffic *traffic, uint32_t network_id,
                 uint32_t n_keys);

#endif
