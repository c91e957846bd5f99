/* What has to happen as time goes by: leases run out, tombstones are forgotten.
 *
 * Time is decided here, once, and goes into commands; applying them needs no clock. */
#ifndef MS_KEEPER_H
#define MS_KEEPER_H

#include <stdint.h>

struct ms_front;
struct ms_keeper;

/* Reads the nodes of the map: each that is reachable is granted one full lease.  0 or
 * EM_E_STORAGE. */
int ms_keeper_new(struct ms_front *front, struct ms_keeper **ret_keeper);

/* After the core has stopped.  NULL is fine. */
void ms_keeper_free(struct ms_keeper *keeper);

/* Main loop, some times a second. */
void ms_keeper_tick(struct ms_keeper *keeper);

/* Any thread: the node has said Hello or sent a heartbeat.  Its lease is the longer one of
 * what it was told at its Hello and of what a reload has made of it. */
void ms_keeper_heard(struct ms_keeper *keeper, const char *node_id, uint32_t lease_ms);

#endif
