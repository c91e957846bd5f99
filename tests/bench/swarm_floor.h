/* What the machine takes for a push when there is nothing but the push: the limit of any server. */
#ifndef SWARM_FLOOR_H
#define SWARM_FLOOR_H

#include "hist.h"

/* Microseconds of processor time, for one write of 'size' bytes to each of 'n' TCP connections in
 * turn, on loopback: by a process that does nothing else, while this one takes what comes.  And how
 * long it is until the last one has it, each time; *ret_rounds is zero before. */
double swarm_floor_us(unsigned n, unsigned size, struct hist *ret_rounds);

#endif
