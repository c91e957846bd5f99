#include "core/wal.h"

#include "base/crc32c.h"
#include "base/mem.h"
#include "eidmap/error.h"
#include "state/key.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define SPARE        "spare"
#define VERSION      1
#define CHUNK        ((size_t)1 << 20) /* zeros at once, so that the log's writes get between */
#define RECORD_MAGIC 0xff57a1edu       /* 0xff: in no text */
#define N_NUMBERS    (sizeof(struct ms_wal_record) / 8)
#define ENTRY_SIZE   sizeof(struct ms_wal_entry)

static const char head_magic[8] = "eidmapwl";

static void put_numbers(uint8_t *to, const void *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t number;
        memcpy(&number, (const uint8_t *)numbers + 8 * i, 8);
        ms_write_u64(to + 8 * i, number);
    }
}

static void get_numbers(const uint8_t *from, void *ret_numbers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t number = ms_read_u64(from + 8 * i);
        memcpy((uint8_t *)ret_numbers + 8 * i, &number, 8);
    }
}

int ms_wal_pwrite(int fd, const void *data, size_t size, uint64_t at)
{
    const uint8_t *from = data;
    while (size > 0) {
        ssize_t n = pwrite(fd, from, size, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        from += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

int ms_wal_pread(int fd, void *data, size_t size, uint64_t at)
{
    uint8_t *to = data;
    while (size > 0) {
        ssize_t n = pread(fd, to, size, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENODATA;
        to += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

/* ---- segments -------------------------------------------------------------------------- */

void ms_wal_name(uint32_t number, char ret_name[MS_WAL_NAME])
{
    snprintf(ret_name, MS_WAL_NAME, "%016" PRIx32 ".wal", number);
}

uint32_t ms_wal_number(const char *name)
{
    char again[MS_WAL_NAME];
    unsigned long long number = strtoull(name, NULL, 16);
    if (number > UINT32_MAX)
        return 0;
    ms_wal_name((uint32_t)number, again);
    return strcmp(name, again) == 0 ? (uint32_t)number : 0;
}

static void encode_head(uint8_t head[MS_WAL_HEAD], const struct ms_wal_segment *segment)
{
    memcpy(head, head_magic, 8);
    put_numbers(head + 8, (uint64_t[]){VERSION, segment->number, segment->salt, segment->replica},
                4);
    ms_write_u64(head + 40, 0);
    ms_write_u64(head + 48, em_crc32c(0, head, 48));
}

static bool decode_head(const uint8_t head[MS_WAL_HEAD], struct ms_wal_segment *segment)
{
    if (memcmp(head, head_magic, 8) != 0 || ms_read_u64(head + 8) != VERSION ||
        ms_read_u64(head + 16) != segment->number ||
        ms_read_u64(head + 48) != em_crc32c(0, head, 48))
        return false;
    segment->salt = ms_read_u64(head + 24);
    segment->replica = ms_read_u64(head + 32);
    return true;
}

/* The blocks are there at once or not at all; zeros make them written ones. */
static int fill(int fd, size_t size)
{
    int r = -posix_fallocate(fd, 0, (off_t)size);
    uint8_t *zeros = r ? NULL : em_calloc(1, CHUNK);
    for (size_t at = 0; r == 0 && at < size; at += CHUNK) {
        r = ms_wal_pwrite(fd, zeros, size - at < CHUNK ? size - at : CHUNK, at);
        if (r == 0 && fdatasync(fd))
            r = -errno;
    }
    free(zeros);
    return r;
}

/* The directory is synced between the old name and the new head: a file never has the name of
 * one segment and the head of another. */
static int get_file(int dir_fd, uint32_t recycle, struct ms_wal_segment *segment)
{
    char name[MS_WAL_NAME];
    struct stat st;
    int r = 0;
    if (recycle) {
        ms_wal_name(recycle, name);
        if (renameat(dir_fd, name, dir_fd, SPARE) || fsync(dir_fd))
            return -errno;
    }
    segment->fd =
        openat(dir_fd, SPARE, O_RDWR | O_CLOEXEC | (recycle ? 0 : O_CREAT | O_TRUNC), 0600);
    if (segment->fd < 0)
        return -errno;
    if (recycle)
        r = fstat(segment->fd, &st) ? -errno : 0;
    else
        r = fill(segment->fd, segment->size);
    if (r == 0 && recycle)
        segment->size = (uint32_t)st.st_size;
    return r;
}

static int name_file(int dir_fd, struct ms_wal_segment *segment)
{
    uint8_t head[MS_WAL_HEAD];
    char name[MS_WAL_NAME];
    if (getrandom(&segment->salt, sizeof(segment->salt), 0) != sizeof(segment->salt))
        return -EIO;
    encode_head(head, segment);
    ms_wal_name(segment->number, name);
    int r = ms_wal_pwrite(segment->fd, head, sizeof(head), 0);
    if (r == 0 &&
        (fdatasync(segment->fd) || renameat(dir_fd, SPARE, dir_fd, name) || fsync(dir_fd)))
        r = -errno;
    return r;
}

int ms_wal_make(int dir_fd, uint32_t recycle, struct ms_wal_segment *segment)
{
    segment->fd = -1;
    int r = get_file(dir_fd, recycle, segment);
    if (r == 0)
        r = name_file(dir_fd, segment);
    if (r == 0)
        return 0;
    unlinkat(dir_fd, SPARE, 0);
    if (segment->fd >= 0)
        close(segment->fd);
    segment->fd = -1;
    return r;
}

int ms_wal_open(int dir_fd, uint32_t number, struct ms_wal_segment *ret_segment)
{
    struct ms_wal_segment segment = {.number = number};
    uint8_t head[MS_WAL_HEAD];
    char name[MS_WAL_NAME];
    struct stat st;
    ms_wal_name(number, name);
    segment.fd = openat(dir_fd, name, O_RDWR | O_CLOEXEC);
    if (segment.fd < 0)
        return -errno;
    int r = fstat(segment.fd, &st) ? -errno : 0;
    if (r == 0 && (st.st_size < MS_WAL_HEAD || (size_t)st.st_size > MS_WAL_SEGMENT_MAX))
        r = EM_E_MALFORMED;
    if (r == 0)
        r = ms_wal_pread(segment.fd, head, sizeof(head), 0);
    if (r == 0 && !decode_head(head, &segment))
        r = EM_E_MALFORMED;
    if (r) {
        close(segment.fd);
        return r;
    }
    segment.size = (uint32_t)st.st_size;
    *ret_segment = segment;
    return 0;
}

/* ---- records --------------------------------------------------------------------------- */

static uint64_t padded(uint64_t size)
{
    return (size + 7) & ~7ull;
}

/* Up to the payloads, which have sums of their own. */
static uint64_t front_size(const struct ms_wal_record *record)
{
    return MS_WAL_ENTRIES + ENTRY_SIZE * record->n_entries + record->members_size;
}

static uint32_t front_sum(const uint8_t *from, uint64_t salt, const struct ms_wal_record *record)
{
    uint8_t bytes[8];
    ms_write_u64(bytes, salt);
    return em_crc32c(em_crc32c(0, bytes, 8), from + 8, front_size(record) - 8);
}

void ms_wal_measure(struct ms_wal_record *record, const struct ms_entry *entries)
{
    record->size = front_size(record);
    for (size_t i = 0; i < record->n_entries; i++)
        record->size += entries[i].payload->size;
    record->size = padded(record->size);
}

void ms_wal_encode(uint8_t *to, uint64_t salt, const struct ms_wal_record *record,
                   const struct ms_entry *entries, const void *members)
{
    uint8_t *at = to + front_size(record), *end = to + record->size;
    put_numbers(to + 8, record, N_NUMBERS);
    for (size_t i = 0; i < record->n_entries; i++) {
        const struct ms_payload *payload = entries[i].payload;
        const struct ms_wal_entry entry = {entries[i].term, entries[i].type, payload->size,
                                           em_crc32c(0, payload->data, payload->size)};
        put_numbers(to + MS_WAL_ENTRIES + ENTRY_SIZE * i, &entry, ENTRY_SIZE / 8);
        memcpy(at, payload->data, payload->size);
        at += payload->size;
    }
    if (record->members_size)
        memcpy(to + MS_WAL_ENTRIES + ENTRY_SIZE * record->n_entries, members, record->members_size);
    memset(at, 0, (size_t)(end - at));
    ms_write_u32(to, RECORD_MAGIC);
    ms_write_u32(to + 4, front_sum(to, salt, record));
}

struct ms_wal_entry ms_wal_entry_at(const uint8_t *record, size_t i)
{
    struct ms_wal_entry entry;
    get_numbers(record + MS_WAL_ENTRIES + ENTRY_SIZE * i, &entry, ENTRY_SIZE / 8);
    return entry;
}

/* The numbers that say how long the parts are, within 'size'. */
static bool decode_numbers(const uint8_t *from, size_t size, struct ms_wal_record *record)
{
    if (size < MS_WAL_ENTRIES || ms_read_u32(from) != RECORD_MAGIC)
        return false;
    get_numbers(from + 8, record, N_NUMBERS);
    return record->size <= size && record->size % 8 == 0 && record->n_entries < size &&
           record->members_size < size && front_size(record) <= record->size;
}

static bool are_payloads_whole(const uint8_t *from, const struct ms_wal_record *record)
{
    uint64_t at = front_size(record);
    for (size_t i = 0; i < record->n_entries; i++) {
        struct ms_wal_entry entry = ms_wal_entry_at(from, i);
        if (entry.size > record->size - at || entry.sum != em_crc32c(0, from + at, entry.size))
            return false;
        at += entry.size;
    }
    if (padded(at) != record->size)
        return false;
    while (at < record->size && from[at] == 0)
        at++;
    return at == record->size;
}

bool ms_wal_decode(const uint8_t *from, size_t size, uint64_t salt,
                   struct ms_wal_record *ret_record)
{
    return decode_numbers(from, size, ret_record) &&
           ms_read_u32(from + 4) == front_sum(from, salt, ret_record) &&
           are_payloads_whole(from, ret_record);
}

bool ms_wal_is_begun(const uint8_t *from, size_t size, uint64_t seq)
{
    return size >= MS_WAL_ENTRIES && ms_read_u32(from) == RECORD_MAGIC &&
           ms_read_u64(from + 16) == seq;
}

bool ms_wal_is_followed(const uint8_t *from, size_t size, uint64_t salt, uint64_t seq)
{
    struct ms_wal_record record;
    for (size_t at = 0; size - at >= MS_WAL_ENTRIES; at += 8) {
        if (ms_read_u32(from + at) != RECORD_MAGIC)
            continue;
        uint64_t later = ms_read_u64(from + at + 16) - seq; /* what is older becomes huge */
        if (later > 0 && later <= size && ms_wal_decode(from + at, size - at, salt, &record))
            return true;
    }
    return false;
}
