/* A process that dies before the n-th thing that it does to its disk.
 *
 * Stands in front of the C library's write(), fsync(), rename() and their like, for this
 * program and the libraries that it uses.  A power loss also takes back what no fsync() has
 * made durable: all of it, or, torn, some of the writes, since a disk keeps no order of its
 * own.  What was renamed or unlinked without a sync of the directory comes back. */
#ifndef TEST_CRASH_H
#define TEST_CRASH_H

#include <stdbool.h>

#define CRASH_EXIT 42

enum crash_kind { CRASH_PROCESS, CRASH_POWER, CRASH_POWER_TORN };

/* From now on; 0: never, but count.  Call it in a process that was forked for it. */
void crash_arm(long at, enum crash_kind kind);

/* Things done since crash_arm(). */
long crash_count(void);

#endif
