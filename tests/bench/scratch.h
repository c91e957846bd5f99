/* A directory for all that a benchmark writes, which goes however the benchmark ends. */
#ifndef SCRATCH_H
#define SCRATCH_H

/* Goes on in a child process, whose TMPDIR is a new directory below the TMPDIR that was.  When
 * the child ends, or SIGINT, SIGTERM or SIGHUP comes, its own children are waited for (they
 * have to be of real_spawn(), which has them killed), the directory is removed, and the
 * program ends with the child's exit status. */
void scratch_enter(void);

#endif
