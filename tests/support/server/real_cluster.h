/* A cluster of real map servers on loopback, named ms1, ms2, ...: for fault tests and
 * benchmarks.  Servers are counted from 0.  Failures as in real_server.h. */
#ifndef REAL_CLUSTER_H
#define REAL_CLUSTER_H

#include "server/real_server.h"

#define REAL_CLUSTER_MAX 5

struct real_cluster {
    unsigned n;
    struct real_server servers[REAL_CLUSTER_MAX];
    char names[REAL_CLUSTER_MAX][8];
    char peer_urls[REAL_CLUSTER_MAX][48];
    bool is_paused[REAL_CLUSTER_MAX];
};

/* Makes directories, certificates and configurations for 'n' servers; 'yaml' as for
 * real_server_init(). */
void real_cluster_init(struct real_cluster *cluster, unsigned n, const char *yaml);

/* The same, each server at its own address: in a network namespace of its own, say, which the
 * caller sets afterwards (servers[i].netns).  NULL: all at 127.0.0.1. */
void real_cluster_init_at(struct real_cluster *cluster, unsigned n, const char *yaml,
                          const char *const *addresses);
void real_cluster_fini(struct real_cluster *cluster);

/* Starts ms1 on its own and adds the others, one after the other; all are voters then. */
void real_cluster_start(struct real_cluster *cluster);

/* Adds server 'i', which has an empty directory, as a standby, and promotes it when it has the
 * log. */
void real_cluster_add(struct real_cluster *cluster, unsigned i);

/* The cluster forgets server 'i', it is killed, and its directory is emptied. */
void real_cluster_remove(struct real_cluster *cluster, unsigned i);

/* SIGTERM to all; 0, or the exit status of the first that did not end with it. */
int real_cluster_stop(struct real_cluster *cluster, unsigned limit_ms);

/* SIGKILL, and starts it again without waiting. */
void real_cluster_kill(struct real_cluster *cluster, unsigned i);
void real_cluster_restart(struct real_cluster *cluster, unsigned i);

/* SIGSTOP and SIGCONT. */
void real_cluster_pause(struct real_cluster *cluster, unsigned i);
void real_cluster_resume(struct real_cluster *cluster, unsigned i);

/* Who leads, asked of each running server on its unix socket until one says that it does: of
 * two that say so, the one of the higher term. */
unsigned real_cluster_leader(struct real_cluster *cluster);

/* The end of the leader's log. */
uint64_t real_cluster_last_index(struct real_cluster *cluster);

/* Waits until the leader has all servers connected, as voters, with all that was in its log
 * when it was asked first. */
void real_cluster_settle(struct real_cluster *cluster);

#endif
