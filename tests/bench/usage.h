/* What a process has used, as the kernel counts it. */
#ifndef USAGE_H
#define USAGE_H

#include <sys/types.h>

/* Processor time of all its threads, in user and kernel mode, in seconds: utime and stime of
 * /proc/PID/stat, which count in steps of 10 ms.  What the kernel does for its sockets while it
 * sends is in it; on loopback that is the way into the receiver's socket, too. */
double usage_cpu_s(pid_t pid);

/* Memory in bytes, of /proc/PID/status: what is its own (RssAnon: neither the map's pages nor
 * the program), and the most that was ever resident with these (VmHWM). */
double usage_anon(pid_t pid);
double usage_peak(pid_t pid);

#endif
