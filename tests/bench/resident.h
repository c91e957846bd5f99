/* How much memory an agent takes that has subscribed to a whole network. */
#ifndef RESIDENT_H
#define RESIDENT_H

#include "bench.h"

/* Resident memory of a process; 0: this one. */
size_t resident_bytes(pid_t pid);

/* Starts a map server, fills it, starts an agent with the null data plane, and prints what it
 * takes.  0, or 1 if the work failed. */
int resident_agent(const struct bench *bench);

#endif
