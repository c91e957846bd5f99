/* Keys are bytes that memcmp() orders, since LMDB knows no other order.  An address keeps
 * its network byte order, numbers are big-endian, and what is searched by range (prefix
 * lengths, labels of a domain) stands before what is searched by value. */
#include "state/key.h"

#include <assert.h>
#include <string.h>

static void add(struct ms_key *key, const void *data, size_t size)
{
    assert(key->size + size <= sizeof(key->bytes));
    memcpy(key->bytes + key->size, data, size);
    key->size += size;
}

static void add_byte(struct ms_key *key, uint8_t byte)
{
    add(key, &byte, 1);
}

static void add_reversed_labels(struct ms_key *key, const char *name, size_t size)
{
    while (size > 0) {
        size_t start = size;
        while (start > 0 && name[start - 1] != '.')
            start--;
        add(key, name + start, size - start);
        add_byte(key, 0);
        size = start > 0 ? start - 1 : 0;
    }
}

enum ms_db ms_key_eid(struct ms_key *ret_key, uint32_t network_id, const struct em_eid *eid)
{
    ret_key->size = 4;
    ms_write_u32(ret_key->bytes, network_id);
    if (eid->kind == EM_EID_NAME) {
        add_reversed_labels(ret_key, eid->name, eid->size);
        return MS_DB_NAME;
    }
    assert(eid->kind != EM_EID_PORT_ID && eid->kind != EM_EID_NONE);
    add_byte(ret_key, (uint8_t)eid->kind);
    if (em_eid_is_prefix(eid))
        add_byte(ret_key, (uint8_t)(em_eid_width(eid) - eid->prefix_len));
    if (eid->kind == EM_EID_SERVICE) {
        add_byte(ret_key, eid->protocol);
        add_byte(ret_key, (uint8_t)(eid->l4_port >> 8));
        add_byte(ret_key, (uint8_t)eid->l4_port);
    }
    add(ret_key, eid->addr, eid->size);
    return MS_DB_EID;
}

struct ms_key ms_key_u32(uint32_t n)
{
    struct ms_key key; /* most of it is never needed: not cleared */
    key.size = 4;
    ms_write_u32(key.bytes, n);
    return key;
}

struct ms_key ms_key_u64(uint64_t n)
{
    struct ms_key key;
    key.size = 8;
    ms_write_u64(key.bytes, n);
    return key;
}

struct ms_key ms_key_feed(uint32_t network_id, uint64_t revision)
{
    struct ms_key key;
    key.size = 12;
    ms_write_u32(key.bytes, network_id);
    ms_write_u64(key.bytes + 4, revision);
    return key;
}

struct ms_key ms_key_netname(const char *name)
{
    struct ms_key key = {.size = 0};
    add_byte(&key, 'n');
    add(&key, name, strlen(name));
    return key;
}

struct ms_key ms_key_vni(uint32_t vni)
{
    struct ms_key key = {.size = 5, .bytes = {'v'}};
    ms_write_u32(key.bytes + 1, vni);
    return key;
}
