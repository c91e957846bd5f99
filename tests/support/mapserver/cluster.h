/* Several whole map servers in one process, by TLS on loopback: real stores, cores and fronts,
 * a thread for each one's main loop.  Server 0 founds the cluster, the others wait to be added. */
#ifndef TEST_CLUSTER_H
#define TEST_CLUSTER_H

#include "core/core.h"
#include "front/front.h"
#include "mapserver/authority.h"

#define CLUSTER_MAX 3

struct cluster_server;

struct cluster {
    struct authority authority;
    struct authority_files op; /* certificate of an operator */
    char dir[64];
    unsigned trailing; /* of the log; 0: the default */
    struct cluster_server *servers[CLUSTER_MAX];
};

/* Starts server 0. */
void cluster_start(struct cluster *cluster, unsigned trailing);
/* Stops all; fails the test if one of them had to stop. */
void cluster_stop(struct cluster *cluster);

void cluster_up(struct cluster *cluster, unsigned i);
void cluster_down(struct cluster *cluster, unsigned i); /* in order: a leader hands over */

/* Makes servers 1 .. n - 1 voters. */
void cluster_grow(struct cluster *cluster, unsigned n);

struct ms_core *cluster_core(const struct cluster *cluster, unsigned i);
const char *cluster_name(unsigned i);                                   /* "ms1" */
const char *cluster_peers(const struct cluster *cluster, unsigned i);   /* address */
const char *cluster_serving(const struct cluster *cluster, unsigned i); /* address */

/* What came of a call; blocking, at most 15 s. */
struct cluster_answer {
    int err;
    char message[256];
    uint64_t revision;
};
struct cluster_answer cluster_put(struct cluster *cluster, unsigned i, const char *network);
struct cluster_answer cluster_read(struct cluster *cluster, unsigned i);
struct cluster_answer cluster_change(struct cluster *cluster, unsigned i,
                                     enum ms_member_change change, const char *name,
                                     const char *address);

/* Is this network in the map of server i now? */
bool cluster_has(struct cluster *cluster, unsigned i, const char *network);

/* Waits for one; of those that run. */
unsigned cluster_leader(struct cluster *cluster);

/* Role of a server as server i sees it, 0: no member. */
Eidmap__MemberRole cluster_role(struct cluster *cluster, unsigned i, unsigned of);

#define CLUSTER_UNTIL(condition)                                                                   \
    do {                                                                                           \
        for (int tries = 0; !(condition); tries++) {                                               \
            cr_assert_lt(tries, 1500, "never: %s", #condition);                                    \
            usleep(10000);                                                                         \
        }                                                                                          \
    } while (0)

#endif
