/* The files of the log, as they lie on the disk; core/log.c knows what they mean.
 *
 * A segment is a file of fixed size, all of it written before it is used: a write into it
 * changes nothing but its bytes, and fdatasync() is one write of the disk.
 *
 *   DIR/NUMBER.wal  head | record | record | ... | zeros, or what an older use left
 *   head            magic, version, number, salt, replica, sum
 *   record          magic, sum | numbers | each entry's numbers | members | payloads | zeros
 *                   up to a multiple of 8
 *
 * Numbers are big-endian.  The sums of records begin with their segment's salt, drawn anew
 * whenever a file is taken into use: neither what an older use left nor what a client put
 * into a payload is ever taken for a record. */
#ifndef MS_WAL_H
#define MS_WAL_H

#include "core/entry.h"

#include <stdbool.h>

#define MS_WAL_HEAD        56
#define MS_WAL_SEGMENT_MIN ((size_t)2 << 20)
#define MS_WAL_SEGMENT_MAX ((size_t)64 << 20) /* of any that is opened */
#define MS_WAL_NAME        24
#define MS_WAL_LMDB        "data.mdb" /* what development versions had */

/* One write: what holds from it on, and the last 'n_entries' of the entries below 'next'.
 * All members are uint64_t, and lie on the disk in this order. */
struct ms_wal_record {
    uint64_t size; /* of the whole record */
    uint64_t seq;  /* one more with each */
    uint64_t incarnation, term, voted_for, generation;
    uint64_t first, next; /* the log's entries are first .. next - 1 */
    uint64_t n_entries;
    uint64_t has_mark, mark_index, mark_term, mark_members_index;
    uint64_t has_members, members_size; /* they are in the first record of each segment */
};

struct ms_wal_entry {
    uint64_t term, type, size, sum;
};

#define MS_WAL_ENTRIES (8 + sizeof(struct ms_wal_record)) /* where they begin in a record */

struct ms_wal_segment {
    int fd;
    uint32_t number, size;
    uint64_t salt, replica;
};

/* "NUMBER.wal" */
void ms_wal_name(uint32_t number, char ret_name[MS_WAL_NAME]);
/* The number in such a name; 0: it is another. */
uint32_t ms_wal_number(const char *name);

/* Makes the segment of this number, size and replica, whole and durable under its name.
 * 'recycle': takes this one's file (which is large enough) instead of a new one; 0: none.
 * A name "spare" that a crash left is replaced. */
int ms_wal_make(int dir_fd, uint32_t recycle, struct ms_wal_segment *segment);

/* EM_E_MALFORMED: it has no such head. */
int ms_wal_open(int dir_fd, uint32_t number, struct ms_wal_segment *ret_segment);

/* Sets record->size.  'members': of the mark, where the record has them. */
void ms_wal_measure(struct ms_wal_record *record, const struct ms_entry *entries);
/* Writes record->size bytes. */
void ms_wal_encode(uint8_t *to, uint64_t salt, const struct ms_wal_record *record,
                   const struct ms_entry *entries, const void *members);

/* Whether a whole record begins here; then all of its sizes and sums are right. */
bool ms_wal_decode(const uint8_t *from, size_t size, uint64_t salt,
                   struct ms_wal_record *ret_record);
/* The i-th entry of such a record. */
struct ms_wal_entry ms_wal_entry_at(const uint8_t *record, size_t i);

/* What is no whole record: is it the beginning of one with this number? */
bool ms_wal_is_begun(const uint8_t *from, size_t size, uint64_t seq);
/* Does a whole record with a later number lie anywhere in these bytes? */
bool ms_wal_is_followed(const uint8_t *from, size_t size, uint64_t salt, uint64_t seq);

/* All of it, or -errno. */
int ms_wal_pwrite(int fd, const void *data, size_t size, uint64_t at);
int ms_wal_pread(int fd, void *data, size_t size, uint64_t at); /* -ENODATA: the file ends */

#endif
