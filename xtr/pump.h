/* Carries operations from the map-cache to the data plane, a bounded number at a time, and
 * remembers what has to be tried again. */
#ifndef XTR_PUMP_H
#define XTR_PUMP_H

#include "dataplane/dataplane.h"
#include "mapcache.h"
#include "ports.h"

#define XTR_PUMP_RETRIES 256

struct xtr_pump {
    struct dataplane *plane;
    struct xtr_mapcache *cache;
    struct xtr_ports *ports;
    struct dp_op failed[XTR_PUMP_RETRIES];
    size_t n_failed;
    bool has_overflow;  /* more failed than could be remembered */
    bool is_shaken;     /* the kernel lacks what the shadow says: a repair is due */
    uint64_t n_foreign; /* refused because a stranger's entry is in the way */
};

void xtr_pump_init(struct xtr_pump *pump, struct dataplane *plane, struct xtr_mapcache *cache,
                   struct xtr_ports *ports);

/* Some batches, for about 'budget_us'.  What it learns of devices goes to the ports.  True
 * if more is queued. */
bool xtr_pump_turn(struct xtr_pump *pump, uint64_t budget_us);

/* Queues again what failed and the ports whose device was missing; call it each second. */
void xtr_pump_retry(struct xtr_pump *pump);

/* A person has looked: what strangers blocked is tried again, with all the rest. */
void xtr_pump_forgive(struct xtr_pump *pump);

#endif
