#include "mapserver/wal_sums.h"

#include "base/crc32c.h"
#include "core/wal.h"
#include "state/key.h"

#define SALT_AT      24
#define SUM_AT       48
#define ENTRY_SIZE   sizeof(struct ms_wal_entry)
#define ENTRY_SUM_AT 24

/* Where these numbers lie in a record. */
#define NUMBER_AT(name) (8 + offsetof(struct ms_wal_record, name))

static void set_entry_sums(uint8_t *record, size_t size, uint64_t n, uint64_t payload)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t payload_size = ms_wal_entry_at(record, i).size;
        if (payload > size || payload_size > size - payload)
            break;
        ms_write_u64(record + MS_WAL_ENTRIES + ENTRY_SIZE * i + ENTRY_SUM_AT,
                     em_crc32c(0, record + payload, payload_size));
        payload += payload_size;
    }
}

/* Returns the record's size; 0: it is none. */
static uint64_t set_record_sums(uint8_t *record, size_t left, const uint8_t *salt)
{
    if (left < MS_WAL_ENTRIES)
        return 0;
    uint64_t size = ms_read_u64(record + NUMBER_AT(size));
    uint64_t n = ms_read_u64(record + NUMBER_AT(n_entries));
    uint64_t members_size = ms_read_u64(record + NUMBER_AT(members_size));
    if (size < MS_WAL_ENTRIES || size > left || n > size / ENTRY_SIZE || members_size > size)
        return 0;
    uint64_t front = MS_WAL_ENTRIES + ENTRY_SIZE * n + members_size;
    if (front > size)
        return 0;
    set_entry_sums(record, size, n, front);
    ms_write_u32(record + 4, em_crc32c(em_crc32c(0, salt, 8), record + 8, front - 8));
    return size;
}

void wal_set_sums(uint8_t *segment, size_t size)
{
    if (size < MS_WAL_HEAD)
        return;
    ms_write_u64(segment + SUM_AT, em_crc32c(0, segment, SUM_AT));
    for (size_t at = MS_WAL_HEAD; at < size;) {
        uint64_t record_size = set_record_sums(segment + at, size - at, segment + SALT_AT);
        if (record_size == 0)
            break;
        at += record_size;
    }
}
