/* How long writes wait when the leader of a cluster is killed. */
#ifndef FAILOVER_H
#define FAILOVER_H

#include <stdint.h>

struct claims;
struct real_cluster;

/* Eight nodes, with a client of libeidmap each that knows all servers, keep 8 registrations
 * under way; then the leader is killed with SIGKILL, and they go on for some seconds.  Each
 * registration is sent until it is done.  Returns the longest time, in ns, that one took; the
 * killed server runs again then, and the cluster is whole.  Ends the program when one is
 * refused, lost, or not done in 30 s. */
uint64_t failover_run(struct real_cluster *cluster, struct claims *claims);

#endif
