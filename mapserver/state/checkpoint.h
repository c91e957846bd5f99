/* The state of a map that no power loss can take.
 *
 * LMDB writes a transaction's pages, and then one of its two meta pages, which says where the
 * newest state begins.  Were each commit synced, every change would wait for the disk a second
 * time: it is in the log already.  So commits are not synced (MDB_NOSYNC), and what a power
 * loss would then leave of the file is anybody's guess, but for this:
 *
 *   1. A read transaction is held at the last checkpoint: none of its pages is used again.
 *   2. A new checkpoint is a committed state; the whole file is synced after that commit, with
 *      the writer going on meanwhile, and then the state's meta page is written into a file of
 *      its own, "checkpoint", and that is synced too.  Now the first read transaction moves on.
 *      The file goes to the disk a few pages at a time, since clients wait for the same disk:
 *      for the log.
 *   3. A start finds that file and puts its meta page back into both places, so that the map is
 *      the checkpoint's again, whatever was written later.  The log has the rest, for it is
 *      shortened up to a checkpoint only.
 *
 * Every start that follows anything but an orderly end goes this way, so that it is trodden.
 * An orderly end syncs the file and removes "checkpoint": then data.mdb alone is the map.
 *
 * The file has two places, used in turn, each with a number and a checksum: a write that was
 * cut short leaves the other.  The price is paid in pages that cannot be used again until the
 * next checkpoint; ms_checkpoint_kept() says how much. */
#ifndef MS_CHECKPOINT_H
#define MS_CHECKPOINT_H

#include "state/store.h"

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>

#define MS_CHECKPOINT_FILE "checkpoint" /* beside data.mdb */

struct ms_checkpoint;

/* Before LMDB opens the file in this directory: makes it the checkpoint's, if there is one.
 * 0, -errno, or EM_E_STORAGE with a sentence (free() it). */
int ms_checkpoint_restore(const char *path, char **ret_why);

/* The state that was just opened is the checkpoint.  0 or an LMDB code or errno.  The sync
 * of later ones is done by a thread of its own. */
int ms_checkpoint_open(const char *path, MDB_env *mdb, struct ms_checkpoint **ret_checkpoint);

/* After what is under way; NULL is fine.  'is_orderly': the newest state becomes durable and
 * the file goes. */
void ms_checkpoint_close(struct ms_checkpoint *checkpoint, bool is_orderly);

/* The writer's thread, between its transactions: what is committed becomes the checkpoint.
 * 'done' comes later, on another thread, with 0 or an error after which nothing more may be
 * written; EM_E_BUSY: one is under way, nothing is called. */
int ms_checkpoint_begin(struct ms_checkpoint *checkpoint, ms_sync_fn *done, void *aux);

/* The same thread; returns when it is durable.  Waits for one that is under way, too. */
int ms_checkpoint_now(struct ms_checkpoint *checkpoint);

/* Is one under way?  Any thread. */
bool ms_checkpoint_is_busy(struct ms_checkpoint *checkpoint);

/* Until none is under way and its 'done' has returned.  Any thread. */
void ms_checkpoint_wait(struct ms_checkpoint *checkpoint);

/* Bytes given up since the last one was begun, which are kept for it or for the one before;
 * the writer's thread. */
uint64_t ms_checkpoint_kept(struct ms_checkpoint *checkpoint);

#endif
