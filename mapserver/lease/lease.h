/* Which nodes have been silent for too long.
 *
 * Pure: no clock, no I/O.  A node is alive while it has a lease; heartbeats renew it.  When
 * it runs out the node is to be declared down, and 'hold' later its locations expire.  A
 * tick costs only what has run out.  Times are monotonic ms. */
#ifndef MS_LEASE_H
#define MS_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ms_lease;

/* Both in ms. */
struct ms_lease *ms_lease_new(uint64_t lease_ms, uint64_t hold_ms);
void ms_lease_free(struct ms_lease *lease);

/* New limits for what is renewed or declared down from now on. */
void ms_lease_set(struct ms_lease *lease, uint64_t lease_ms, uint64_t hold_ms);

/* A session has begun or a heartbeat came: a full lease from 'now_ms'.  After a start of the
 * server, call it for each node that the map has as reachable. */
void ms_lease_renew(struct ms_lease *lease, const char *node_id, uint64_t now_ms);

/* The map has the node as unreachable for 'since_ms' already (may be 0): its hold runs. */
void ms_lease_hold(struct ms_lease *lease, const char *node_id, uint64_t since_ms, uint64_t now_ms);

/* The node is gone from the map. */
void ms_lease_forget(struct ms_lease *lease, const char *node_id);

/* Has its lease run out, and not been renewed since? */
bool ms_lease_is_down(const struct ms_lease *lease, const char *node_id);

enum ms_lease_verdict {
    MS_LEASE_DOWN,   /* propose NodeDown; its hold has begun */
    MS_LEASE_EXPIRE, /* propose NodeExpire; said again after a lease until it is forgotten */
};

/* 'node_id' is lent for the call, which may not change the leases. */
typedef void ms_lease_fn(void *aux, const char *node_id, enum ms_lease_verdict verdict);

/* Says each verdict that is due, at most 'max' of them; returns how many it said. */
size_t ms_lease_tick(struct ms_lease *lease, uint64_t now_ms, size_t max, ms_lease_fn *say,
                     void *aux);

/* When the next verdict is due; UINT64_MAX: never. */
uint64_t ms_lease_next(const struct ms_lease *lease);

#endif
