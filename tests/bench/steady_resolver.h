/* Somebody who goes on asking while something else happens, and sees how long he has to wait.
 *
 * A thread with two TLS connections, one for each of a map server's two workers; it asks on them
 * in turn, one question at a time, so a worker that is held up holds it up. */
#ifndef STEADY_RESOLVER_H
#define STEADY_RESOLVER_H

#include "hist.h"
#include "server/real_server.h"

struct steady_resolver;

/* Asks for ports 1 .. n_ports of the network, which are there, from now on. */
struct steady_resolver *steady_resolver_start(const struct real_server *server, uint32_t network_id,
                                              uint32_t n_ports);
void steady_resolver_stop(struct steady_resolver *resolver);

/* What it has met since the last time; the longest wait, in nanoseconds. */
uint64_t steady_resolver_take(struct steady_resolver *resolver, struct hist *ret_hist);

#endif
