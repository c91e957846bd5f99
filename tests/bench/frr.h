/* FRR's EVPN, as Debian has it: a route reflector among the servers, zebra and bgpd on two hosts
 * that have one network, the bridge "br100" with the device "vx100".
 *
 * What goes wrong here ends the program with a sentence. */
#ifndef FRR_H
#define FRR_H

#include "hosts.h"

#include <stdbool.h>

#define FRR_HOSTS 3 /* the reflector's first */

struct frr {
    const struct hosts *hosts;
    char dir[64]; /* below /tmp, removed by frr_stop() */
    pid_t zebra[FRR_HOSTS], bgpd[FRR_HOSTS];
};

bool frr_is_there(void);

/* With a port "t0" in the bridge of either host; routes can be exchanged when this returns. */
void frr_start(struct frr *ret_frr, const struct hosts *hosts);

/* Numbered ports appear on 't0' of host a, as if they had sent their first frames; returns when. */
uint64_t frr_attach(const struct frr *frr, uint32_t first, uint32_t n);

/* bgpd of host a ends at once, and the reflector's kernel tells it so; returns when. */
uint64_t frr_kill(struct frr *frr);

void frr_stop(struct frr *frr);

#endif
