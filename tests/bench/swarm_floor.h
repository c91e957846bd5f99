/* What the machine takes for a push when there is nothing but the push: the limit of any server. */
#ifndef SWARM_FLOOR_H
#define SWARM_FLOOR_H

/* Microseconds of processor time, for one write of 'size' bytes to each of 'n' TCP connections in
 * turn, on loopback: by a process that does nothing else, while this one takes what comes. */
double swarm_floor_us(unsigned n, unsigned size);

#endif
