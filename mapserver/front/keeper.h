/* What has to happen as time goes by: leases run out, tombstones are forgotten.
 *
 * Only the leader does it, from what all servers hear.  Time is decided here, once, and goes
 * into commands; applying them needs no clock. */
#ifndef MS_KEEPER_H
#define MS_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

struct ms_front;
struct ms_keeper;

/* 0 or EM_E_STORAGE. */
int ms_keeper_new(struct ms_front *front, struct ms_keeper **ret_keeper);

/* After the core has stopped.  NULL is fine. */
void ms_keeper_free(struct ms_keeper *keeper);

/* Any thread: it is this server's job from now on, or not any more.  A new leader has heard of
 * nobody: it grants each reachable node a whole lease first. */
void ms_keeper_lead(struct ms_keeper *keeper, bool is_leader);

/* Main loop, some times a second. */
void ms_keeper_tick(struct ms_keeper *keeper);

/* Any thread: the node has said Hello or sent a heartbeat.  Its lease is the longer one of
 * what it was told at its Hello and of what a reload has made of it. */
void ms_keeper_heard(struct ms_keeper *keeper, const char *node_id, uint32_t lease_ms);

#endif
