/* The two ends of a copy of the map as a file; docs/snapshot.md has the format.  What is
 * between them is the servers' business. */
#ifndef CTL_SNAPFILE_H
#define CTL_SNAPFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CTL_SNAP_HEAD   16  /* bytes that ctl_snap_check_head() looks at */
#define CTL_SNAP_TAIL   560 /* the last bytes of a file, enough for ctl_snap_digest() */
#define CTL_SNAP_DIGEST 32

/* NULL: a copy of a map begins like this; else why not, to follow "FILE: ". */
const char *ctl_snap_check_head(const uint8_t *data, size_t size);

/* The SHA-256 of the map's content, out of the last bytes of the file; false: there is none. */
bool ctl_snap_digest(const uint8_t *tail, size_t size, uint8_t ret_digest[CTL_SNAP_DIGEST]);

#endif
