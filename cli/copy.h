/* What is said of a copy of the map while it is on its way, and at the end. */
#ifndef CTL_COPY_H
#define CTL_COPY_H

#include "command.h"

#define CTL_PIECE 262144u /* bytes in a message: the protocol's limit */

/* "12.0 MiB of 96.0 MiB (12 %), 48.0 MiB/s". */
void ctl_copy_progress(struct ctl *ctl, const char *phase, uint64_t done, uint64_t total,
                       uint64_t begun_ms);

/* "96.0 MiB in 2.010s". */
char *ctl_copy_text(uint64_t size, uint64_t ms);

#endif
