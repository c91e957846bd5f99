/* Keys of the map's databases: big-endian, so that LMDB's order is the numbers' order. */
#ifndef MS_KEY_H
#define MS_KEY_H

#include "eidmap/addr.h"
#include "state/txn.h"

#define MS_KEY_SIZE 272 /* network-id, a DNS name, and some */

struct ms_key {
    size_t size;
    uint8_t bytes[MS_KEY_SIZE];
};

static inline struct ms_blob ms_key_blob(const struct ms_key *key)
{
    return ms_blob(key->bytes, key->size);
}

static inline void ms_write_u32(uint8_t *to, uint32_t n)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(n >> (24 - 8 * i));
}

static inline void ms_write_u64(uint8_t *to, uint64_t n)
{
    ms_write_u32(to, (uint32_t)(n >> 32));
    ms_write_u32(to + 4, (uint32_t)n);
}

static inline uint32_t ms_read_u32(const uint8_t *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

static inline uint64_t ms_read_u64(const uint8_t *from)
{
    return (uint64_t)ms_read_u32(from) << 32 | ms_read_u32(from + 4);
}

#define MS_KEY_EID_HEAD 5 /* network-id and kind */

/* Key of an EID, and the database it is in:
 *   MS_DB_EID   network-id | kind | address
 *               prefixes: .. | kind | width - length | address, so that the longest comes
 *               first and the lengths in use are found by jumping
 *               services: .. | kind | protocol | port | address
 *   MS_DB_NAME  network-id | labels in reverse, each with a NUL behind it: what is below
 *               a domain lies together
 * Not for EM_EID_PORT_ID. */
enum ms_db ms_key_eid(struct ms_key *ret_key, uint32_t network_id, const struct em_eid *eid);

struct ms_key ms_key_u32(uint32_t n);
struct ms_key ms_key_u64(uint64_t n);
struct ms_key ms_key_feed(uint32_t network_id, uint64_t revision);
struct ms_key ms_key_netname(const char *name);
struct ms_key ms_key_vni(uint32_t vni);

#endif
