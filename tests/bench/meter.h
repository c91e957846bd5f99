/* The clock of a load: a tenth of the time to warm up, then the time that counts. */
#ifndef METER_H
#define METER_H

#include "load.h"

#include <ev.h>
#include <stdbool.h>

struct meter {
    struct ev_loop *loop;
    const char *name; /* of what is measured, for a sentence about its failure */
    double seconds;
    struct load_result *result;
    bool is_started, is_measuring, is_over;
    uint64_t start_ns;
    ev_timer timer;
};

/* From now on there are 30 s until meter_start() has to be called. */
void meter_init(struct meter *meter, struct ev_loop *loop, const char *name, double seconds,
                struct load_result *ret_result);

/* All connections stand.  The loop is broken when the time is over; that is later than
 * 'seconds' while there is no answer at all, and the program's end after 30 s without one. */
void meter_start(struct meter *meter);

/* A request that was sent at 'sent_ns' is answered. */
void meter_add(struct meter *meter, uint64_t sent_ns);

#endif
