/* docs/snapshot.md in C: what the writer and the reader of a copy agree on. */
#ifndef MS_SNAPSHOT_FORMAT_H
#define MS_SNAPSHOT_FORMAT_H

#include "state/env.h"
#include "state/snapshot.h"

#define MS_SNAP_MAGIC                                                                              \
    "\x89"                                                                                         \
    "eidmap\r\n\x1a\n" /* and its NUL */
#define MS_SNAP_MAGIC_SIZE ((size_t)12)
#define MS_SNAP_VERSION    1

#define MS_SNAP_FILE_HEAD  (MS_SNAP_MAGIC_SIZE + 4)
#define MS_SNAP_PIECE_HEAD ((size_t)16) /* tag, size, CRC of the content, CRC of these */

#define MS_SNAP_HEAD "HEAD"
#define MS_SNAP_ROWS "ROWS"
#define MS_SNAP_TAIL "TAIL"

#define MS_SNAP_BLOCK     ((size_t)64 << 10) /* a piece of rows; a single row may be larger */
#define MS_SNAP_ROW_HEAD  ((size_t)6)        /* sizes of key and value */
#define MS_SNAP_KEY_MAX   ((size_t)511)      /* LMDB's */
#define MS_SNAP_VALUE_MAX ((size_t)4 << 20)
#define MS_SNAP_PIECE_MAX ((size_t)5 << 20)
#define MS_SNAP_DBS_MAX   64
#define MS_SNAP_NAME_MAX  32
#define MS_SNAP_COUNTERS  64 /* numbers in the row of counters */

/* Rows of the map in order; 'is_more' when the key is that of the row before. */
typedef int ms_snap_row_fn(void *aux, enum ms_db db, struct ms_blob key, struct ms_blob value,
                           bool is_more);

/* Reads and checks a whole file; 'visit' may be NULL, and stops it by a return other than 0
 * (with *ret_why set). */
int ms_snap_scan(const char *path, ms_snap_row_fn *visit, void *aux, struct ms_snapshot_job *job,
                 struct ms_snapshot_info *ret_info, char **ret_why);

/* The counters as every replica has them: without how far this one has come. */
struct ms_meta;
struct ms_meta ms_snap_common(const struct ms_meta *meta);

void ms_snap_add_counters(struct ms_snapshot_info *info, const struct ms_meta *meta);

/* -ECANCELED when the watcher wants an end. */
int ms_snap_report(struct ms_snapshot_job *job, uint64_t n_bytes, uint64_t n_rows, char **ret_why);

#endif
