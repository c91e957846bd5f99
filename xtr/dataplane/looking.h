/* What looks at a frame's way share: how a step is told, and the underlay. */
#ifndef DP_LOOKING_H
#define DP_LOOKING_H

#include "dp.h"

struct dp_nl;

#define DP_LOOK_REPAIR "mapctl xtr check --repair puts right what differs"
#define DP_LOOK_TEXT   512

struct dp_teller {
    dp_step_fn *visit;
    void *aux;
};

/* 'advice' NULL: all is well. */
void dp_tell(const struct dp_teller *teller, const char *name, const char *advice,
             const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Route and device of the underlay from one RLOC to another; 'mtu' is of the packets that guests
 * send, 0: not known. */
void dp_look_underlay(const struct dp_teller *teller, struct dp_nl *nl, const struct em_ip *from,
                      const struct em_ip *to, uint32_t mtu);

#endif
