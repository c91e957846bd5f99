/* The changes of one network in order, each object once, at its latest revision.
 *
 * Snapshot, resume, push and slow readers are all the same walk.  Network 0 carries nodes
 * and networks.  An object that goes leaves a tombstone; tombstones are trimmed, and the
 * horizon is the newest one that was: a cursor below it may have missed it. */
#ifndef MS_FEED_H
#define MS_FEED_H

#include "eidmap/model.h"
#include "state/store.h"

/* Where a subscriber stands.  A full pass sees every object that stood when it began, and
 * every deletion later than that: so it is spoilt only when the horizon passes 'sound'. */
struct ms_feed_cursor {
    uint64_t revision; /* of the last change it was shown */
    uint64_t sound;    /* deletions up to here need not be shown */
};

struct ms_txn;

struct ms_feed_entry {
    uint64_t revision;
    enum em_object kind;
    bool is_gone;
    struct ms_blob id;     /* Port.id, node-id, or 4 bytes big-endian of a network-id */
    struct ms_blob record; /* packed Port, Node or Network; NULL if it is gone */
};

/* Begins from what the subscriber says is the last revision it has seen (0: none).  True:
 * a full pass begins, what it does not mention by its end is gone.  False: it resumes. */
bool ms_feed_start(struct ms_reader *reader, uint64_t since, struct ms_feed_cursor *ret_cursor);

/* 'entry' is lent for the call. */
typedef void ms_feed_fn(void *aux, const struct ms_feed_entry *entry);

/* Shows at most 'max_entries' changes and stops after the one with which their ids and
 * records reach 'max_bytes' (at least one is shown); moves the cursor behind them.
 *   1: more are there;  0: all is shown, the cursor is at the map's revision;
 *   EM_E_STALE: trimming has passed the cursor, begin again with ms_feed_start(.., 0, ..);
 *   EM_E_NOT_FOUND: the network does not exist (any more);  EM_E_STORAGE. */
int ms_feed_read(struct ms_reader *reader, uint32_t network_id, struct ms_feed_cursor *cursor,
                 size_t max_entries, size_t max_bytes, ms_feed_fn *visit, void *aux);

/* For the writer: moves an object from its old revision (0: it is new) to its new one. */
void ms_feed_put(struct ms_txn *txn, uint32_t network_id, uint64_t old_revision, uint64_t revision,
                 enum em_object kind, struct ms_blob id);

/* Puts a tombstone at 'revision' in its place. */
void ms_feed_gone(struct ms_txn *txn, uint32_t network_id, uint64_t old_revision, uint64_t revision,
                  enum em_object kind, struct ms_blob id);

/* Tells the subscribers of the network to look again. */
void ms_feed_touch(struct ms_txn *txn, uint32_t network_id);

/* Does the network hold any object, or only tombstones? */
bool ms_feed_is_empty(struct ms_txn *txn, uint32_t network_id);

/* Forgets at most 'max' tombstones below a revision; true if more are left there. */
bool ms_feed_trim(struct ms_txn *txn, uint64_t below, uint32_t max);

#endif
