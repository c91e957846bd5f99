/* Carries operations from the map-cache to the data plane, a bounded number at a time, and
 * remembers what has to be tried again. */
#ifndef XTR_PUMP_H
#define XTR_PUMP_H

#include "dataplane/dataplane.h"
#include "mapcache.h"
#include "ports.h"

#define XTR_PUMP_RETRIES 256
#define XTR_PUMP_FLIGHTS 8

/* Operations that the data plane was told and has not done yet. */
struct xtr_pump_flight {
    struct dp_op ops[XTR_OPS_MAX];
    size_t n;
    uint64_t start;    /* of dataplane_start() */
    uint64_t position; /* of the map-cache when they are done */
};

struct xtr_pump {
    struct dataplane *plane;
    struct xtr_mapcache *cache;
    struct xtr_ports *ports;
    struct xtr_pump_flight flights[XTR_PUMP_FLIGHTS];
    uint32_t first, n_flights;
    struct dp_op
        *failed; /* to be tried again: few puts, and each delete, of which nobody else knows */
    size_t n_failed, failed_size;
    bool has_overflow; /* more puts failed than are remembered */
    uint32_t *refused; /* networks that could not be put */
    size_t n_refused, refused_size;
    bool is_shaken;     /* the kernel lacks what the shadow says: a repair is due */
    uint64_t n_foreign; /* refused because a stranger's entry is in the way */
};

void xtr_pump_init(struct xtr_pump *pump, struct dataplane *plane, struct xtr_mapcache *cache,
                   struct xtr_ports *ports);
void xtr_pump_fini(struct xtr_pump *pump);

/* Some batches, for about 'budget_us'.  What it learns of devices goes to the ports.  True
 * if more is queued and can be told at once; else the data plane's descriptor says when there is
 * more to do here, if there is. */
bool xtr_pump_turn(struct xtr_pump *pump, uint64_t budget_us);

/* Queues again what failed and the ports whose device was missing; call it each second. */
void xtr_pump_retry(struct xtr_pump *pump);

/* A person has looked: what strangers blocked is tried again, with all the rest. */
void xtr_pump_forgive(struct xtr_pump *pump);

#endif
