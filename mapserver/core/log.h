/* The log on the disk: entries, term, vote and the mark, in files of its own.
 *
 * Why its own: it changes all the time and must be durable at each write, at the price of one
 * sync of the disk; the map is read by many and may lag.
 *
 * The order of durability, which all else relies on:
 *   1. ms_log_write() is one record, all or nothing, synced before it returns: term and vote,
 *      what is cut off, what is added.  It is the step between "received" and "acknowledged".
 *   2. The map follows: an entry is applied only when it is durable here, so the map is never
 *      ahead of the log.  A start that follows a crash begins at the map's last checkpoint
 *      (state/checkpoint.h), and has the rest from the log.
 *   3. The log is shortened (a new mark, entries below it gone) only after a checkpoint of the
 *      map that has all up to that mark.
 *   4. A state that was received is whole and durable under a generation of its own before
 *      one record here names it, sets the mark and empties the log: that is the switch.
 * A crash between any two of these leaves what the next start expects. */
#ifndef MS_LOG_H
#define MS_LOG_H

#include "core/entry.h"

struct ms_log; /* one thread at a time */

/* What a start finds. */
struct ms_log_state {
    uint64_t replica;     /* id of this data directory, drawn when it was made; not 0 */
    uint64_t incarnation; /* one more with each start */
    uint64_t term, voted_for;
    uint64_t generation; /* of the map */
    bool has_mark;
    struct ms_mark mark; /* members: freed with the state */
    uint64_t first;      /* index of entries[0], or of the next one */
    struct ms_entry *entries;
    size_t n_entries;
};

/* Opens or makes '<dir>/log'; one process at a time (-EBUSY).  *ret_is_new: there was none.  On
 * failure *ret_why is a sentence that says what to do (free() it). */
int ms_log_open(const char *dir, struct ms_log **ret_log, bool *ret_is_new, char **ret_why);
void ms_log_close(struct ms_log *log);

/* Reads all but the payloads of batches, and counts the incarnation up, durably. */
int ms_log_load(struct ms_log *log, struct ms_log_state *ret_state, char **ret_why);
void ms_log_state_fini(struct ms_log_state *state);

/* One durable record.  A failure is final: what is on the disk is not known any more, and each
 * later write fails as well. */
int ms_log_write(struct ms_log *log, const struct ms_log_write *write);

/* A reference to the payload of one entry.  EM_E_NOT_FOUND, EM_E_STORAGE. */
int ms_log_read(struct ms_log *log, uint64_t index, struct ms_payload **ret_payload);

/* Bytes on the disk. */
uint64_t ms_log_size(const struct ms_log *log);

#endif
