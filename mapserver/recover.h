/* mapserver --recover: a cluster that has lost its majority for good goes on with one server. */
#ifndef MS_RECOVER_H
#define MS_RECOVER_H

#include <stdbool.h>

/* Explains; with 'is_sure' looks whether other members are alive, and if none is, makes this
 * server the only one.  Returns the exit status.  'file' NULL: defaults. */
int ms_recover_run(const char *file, bool is_sure);

#endif
