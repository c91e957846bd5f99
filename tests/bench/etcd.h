/* A cluster of three members of the machine's own etcd on loopback, to compare with.
 *
 * Each write is synced, as by default; nothing is compacted.  A failure ends the program
 * with a sentence. */
#ifndef ETCD_H
#define ETCD_H

#include <stdint.h>
#include <sys/types.h>

#define ETCD_MEMBERS 3

struct etcd_member {
    pid_t pid;             /* 0: it does not run */
    char url[32];          /* for clients, "tcp://127.0.0.1:PORT" */
    uint16_t client, peer; /* ports */
};

struct etcd {
    char dir[64]; /* below TMPDIR or /tmp, removed by etcd_stop() */
    struct etcd_member members[ETCD_MEMBERS];
};

/* The program: the environment's EIDMAP_ETCD, or Debian's; NULL when there is none. */
const char *etcd_program(void);

/* Starts three members and waits until all of them are healthy. */
void etcd_start(struct etcd *etcd);
unsigned etcd_leader(const struct etcd *etcd);

/* Of the key space, at the leader: it grows by one with each put, from 1. */
uint64_t etcd_revision(const struct etcd *etcd);

void etcd_stop(struct etcd *etcd);

#endif
