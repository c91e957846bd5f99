/* Records lie in one array and never move while they are used; freed slots form a list.
 * The array grows by a quarter, not by half of itself: at a million ports doubling would
 * waste as much as everything else takes.
 *
 * The pool holds what does not fit into a record.  It is only ever appended to, and written
 * anew when half of it is holes. */
#include "table.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct xtr_record) == 32, "a record is two to a cache line");

#define UUID_ID_SIZE 17 /* 0x00 and 16 bytes: proto/eidmap.proto, Port.id */
#define EID_HEAD     6  /* kind, prefix_len, protocol, size, l4_port */

static uint32_t offset_of(const uint8_t *field)
{
    uint32_t offset;
    memcpy(&offset, field, sizeof offset);
    return offset;
}

void xtr_table_init(struct xtr_table *table)
{
    *table = (struct xtr_table){.free = XTR_SLOT_NONE};
    em_index_init(&table->by_id);
    em_index_init(&table->by_eid);
}

void xtr_table_fini(struct xtr_table *table)
{
    em_index_fini(&table->by_id);
    em_index_fini(&table->by_eid);
    free(table->records);
    free(table->pool);
}

/* A pool entry is a 4-byte size and so many bytes. */

static uint32_t pool_entry_size(const struct xtr_table *table, uint32_t offset)
{
    return (uint32_t)sizeof(uint32_t) + offset_of(table->pool + offset);
}

static void pool_reserve(struct xtr_table *table, uint32_t size)
{
    if (table->pool_size - table->pool_tail >= size)
        return;
    uint32_t grown = table->pool_size + table->pool_size / 4;
    table->pool_size = grown - table->pool_tail >= size && grown > table->pool_tail
                           ? grown
                           : table->pool_tail + size + 256;
    table->pool = em_realloc(table->pool, table->pool_size);
}

static void pool_store(struct xtr_table *table, const void *data, uint32_t size, uint8_t *field)
{
    pool_reserve(table, size + (uint32_t)sizeof size);
    memcpy(field, &table->pool_tail, sizeof table->pool_tail);
    memcpy(table->pool + table->pool_tail, &size, sizeof size);
    memcpy(table->pool + table->pool_tail + sizeof size, data, size);
    table->pool_tail += size + (uint32_t)sizeof size;
}

static void pool_move(struct xtr_table *table, const uint8_t *from, uint8_t *field)
{
    uint32_t size;
    const uint8_t *entry = from + offset_of(field);
    memcpy(&size, entry, sizeof size);
    memcpy(table->pool + table->pool_tail, entry, size + sizeof size);
    memcpy(field, &table->pool_tail, sizeof table->pool_tail);
    table->pool_tail += size + (uint32_t)sizeof size;
}

/* Closes the holes when they are half of the pool. */
static void pool_compact(struct xtr_table *table)
{
    if (table->pool_waste < 4096 || table->pool_waste < table->pool_tail / 2)
        return;
    uint8_t *old = table->pool;
    table->pool_size = table->pool_tail - table->pool_waste;
    table->pool = em_malloc(table->pool_size);
    table->pool_tail = table->pool_waste = 0;
    for (uint32_t slot = 0; slot < table->n_records; slot++) {
        struct xtr_record *r = &table->records[slot];
        if (r->flags & XTR_RECORD_TEXT_ID)
            pool_move(table, old, r->id);
        if (r->flags & XTR_RECORD_PACKED)
            pool_move(table, old, r->eids);
    }
    assert(table->pool_tail == table->pool_size);
    free(old);
}

static void pool_release(struct xtr_table *table, const uint8_t *field)
{
    table->pool_waste += pool_entry_size(table, offset_of(field));
}

/* Port-ids */

static uint64_t id_hash(const struct em_port_id *id)
{
    return em_hash(id->bytes, id->size);
}

struct em_port_id xtr_table_id(const struct xtr_table *table, uint32_t slot)
{
    const struct xtr_record *r = &table->records[slot];
    struct em_port_id id = {0};
    if (r->flags & XTR_RECORD_TEXT_ID) {
        const uint8_t *entry = table->pool + offset_of(r->id);
        id.size = (uint8_t)offset_of(entry);
        memcpy(id.bytes, entry + sizeof(uint32_t), id.size);
    } else {
        id.size = UUID_ID_SIZE;
        memcpy(id.bytes + 1, r->id, sizeof r->id);
    }
    return id;
}

static bool has_id(const void *aux, uint32_t slot, const void *key)
{
    const struct em_port_id *wanted = key;
    struct em_port_id id = xtr_table_id(aux, slot);
    return id.size == wanted->size && !memcmp(id.bytes, wanted->bytes, id.size);
}

uint32_t xtr_table_find(const struct xtr_table *table, const struct em_port_id *id)
{
    return em_index_find(&table->by_id, id_hash(id), has_id, table, id);
}

static uint32_t take_slot(struct xtr_table *table)
{
    uint32_t slot = table->free;
    if (slot != XTR_SLOT_NONE) {
        table->free = table->records[slot].set;
        return slot;
    }
    if (table->n_records == table->size) {
        table->size += table->size / 4 + 16;
        table->records = em_realloc(table->records, table->size * sizeof *table->records);
    }
    return table->n_records++;
}

uint32_t xtr_table_add(struct xtr_table *table, const struct em_port_id *id)
{
    assert(id->size <= EM_PORT_ID_SIZE && xtr_table_find(table, id) == XTR_SLOT_NONE);
    uint32_t slot = take_slot(table);
    struct xtr_record *r = &table->records[slot];
    *r = (struct xtr_record){.flags = XTR_RECORD_USED};
    if (id->size == UUID_ID_SIZE && !id->bytes[0]) {
        memcpy(r->id, id->bytes + 1, sizeof r->id);
    } else {
        r->flags |= XTR_RECORD_TEXT_ID;
        pool_store(table, id->bytes, id->size, r->id);
    }
    em_index_insert(&table->by_id, id_hash(id), slot);
    table->n_used++;
    return slot;
}

/* EIDs */

static uint64_t eid_hash(const struct em_eid *eid)
{
    uint8_t kind = (uint8_t)eid->kind;
    return em_hash_more(em_hash(&kind, 1), eid->addr, eid->size);
}

static struct em_eid inline_eid(enum em_eid_kind kind, const uint8_t *addr, uint8_t size)
{
    struct em_eid eid = {.kind = kind, .size = size};
    memcpy(eid.addr, addr, size);
    return eid;
}

static const uint8_t *unpack_eid(const uint8_t *at, struct em_eid *ret_eid)
{
    *ret_eid =
        (struct em_eid){.kind = at[0], .prefix_len = at[1], .protocol = at[2], .size = at[3]};
    memcpy(&ret_eid->l4_port, at + 4, sizeof ret_eid->l4_port);
    at += EID_HEAD;
    if (ret_eid->kind == EM_EID_NAME)
        ret_eid->name = (const char *)at;
    else
        memcpy(ret_eid->addr, at, ret_eid->size);
    return at + ret_eid->size;
}

size_t xtr_table_eids(const struct xtr_table *table, uint32_t slot,
                      struct em_eid ret_eids[XTR_EIDS_MAX])
{
    const struct xtr_record *r = &table->records[slot];
    size_t n = 0;
    if (r->flags & XTR_RECORD_PACKED) {
        const uint8_t *at = table->pool + offset_of(r->eids);
        const uint8_t *end = at + pool_entry_size(table, offset_of(r->eids));
        for (at += sizeof(uint32_t); at < end; n++)
            at = unpack_eid(at, &ret_eids[n]);
        return n;
    }
    if (r->flags & XTR_RECORD_HAS_MAC)
        ret_eids[n++] = inline_eid(EM_EID_MAC, r->eids, EM_MAC_SIZE);
    if (r->flags & XTR_RECORD_HAS_IPV4)
        ret_eids[n++] = inline_eid(EM_EID_IPV4, r->eids + EM_MAC_SIZE, 4);
    return n;
}

static void pack_eids(struct xtr_table *table, struct xtr_record *r, const struct em_eid *eids,
                      size_t n)
{
    uint8_t packed[XTR_EIDS_MAX * (EID_HEAD + UINT8_MAX)];
    uint8_t *at = packed;
    for (size_t i = 0; i < n; i++) {
        const struct em_eid *e = &eids[i];
        at[0] = (uint8_t)e->kind;
        at[1] = e->prefix_len;
        at[2] = e->protocol;
        at[3] = e->size;
        memcpy(at + 4, &e->l4_port, sizeof e->l4_port);
        memcpy(at + EID_HEAD, e->kind == EM_EID_NAME ? (const uint8_t *)e->name : e->addr, e->size);
        at += EID_HEAD + e->size;
    }
    r->flags |= XTR_RECORD_PACKED;
    pool_store(table, packed, (uint32_t)(at - packed), r->eids);
}

static void store_eids(struct xtr_table *table, struct xtr_record *r, const struct em_eid *eids,
                       size_t n)
{
    bool has_mac = n && eids[0].kind == EM_EID_MAC;
    bool has_ipv4 = n > has_mac && eids[has_mac].kind == EM_EID_IPV4;
    if (n != (size_t)has_mac + has_ipv4) {
        pack_eids(table, r, eids, n);
        return;
    }
    if (has_mac) {
        r->flags |= XTR_RECORD_HAS_MAC;
        memcpy(r->eids, eids[0].addr, EM_MAC_SIZE);
    }
    if (has_ipv4) {
        r->flags |= XTR_RECORD_HAS_IPV4;
        memcpy(r->eids + EM_MAC_SIZE, eids[has_mac].addr, 4);
    }
}

/* Does what a record may hold, and nothing else, so that unpacking can trust it. */
static size_t filter_eids(const struct em_eid *eids, size_t n, struct em_eid *ret_eids)
{
    size_t n_kept = 0;
    for (size_t i = 0; i < n && n_kept < XTR_EIDS_MAX; i++) {
        const struct em_eid *e = &eids[i];
        if (e->kind == EM_EID_NONE || e->kind == EM_EID_PORT_ID)
            continue;
        if (e->kind != EM_EID_NAME && e->size > sizeof e->addr)
            continue;
        ret_eids[n_kept++] = *e;
    }
    return n_kept;
}

static void unindex_eids(struct xtr_table *table, uint32_t slot)
{
    struct em_eid eids[XTR_EIDS_MAX];
    size_t n = xtr_table_eids(table, slot, eids);
    for (size_t i = 0; i < n; i++)
        if (xtr_eid_is_entry(&eids[i]))
            em_index_remove(&table->by_eid, eid_hash(&eids[i]), slot);
    struct xtr_record *r = &table->records[slot];
    if (r->flags & XTR_RECORD_PACKED)
        pool_release(table, r->eids);
    r->flags &= (uint8_t) ~(XTR_RECORD_PACKED | XTR_RECORD_HAS_MAC | XTR_RECORD_HAS_IPV4);
}

void xtr_table_set_eids(struct xtr_table *table, uint32_t slot, const struct em_eid *eids, size_t n)
{
    struct em_eid kept[XTR_EIDS_MAX];
    size_t n_kept = filter_eids(eids, n, kept);
    unindex_eids(table, slot);
    store_eids(table, &table->records[slot], kept, n_kept);
    for (size_t i = 0; i < n_kept; i++)
        if (xtr_eid_is_entry(&kept[i]))
            em_index_insert(&table->by_eid, eid_hash(&kept[i]), slot);
    pool_compact(table);
}

void xtr_table_remove(struct xtr_table *table, uint32_t slot)
{
    struct xtr_record *r = &table->records[slot];
    assert(r->flags & XTR_RECORD_USED);
    struct em_port_id id = xtr_table_id(table, slot);
    em_index_remove(&table->by_id, id_hash(&id), slot);
    unindex_eids(table, slot);
    if (r->flags & XTR_RECORD_TEXT_ID)
        pool_release(table, r->id);
    *r = (struct xtr_record){.set = table->free};
    table->free = slot;
    table->n_used--;
    pool_compact(table);
}

/* The index shows every record that may have the EID; the best so far is kept here. */
struct search {
    const struct xtr_table *table;
    const struct em_eid *eid;
    uint8_t generation;
    uint32_t best;
};

static bool holds(const struct xtr_table *table, uint32_t slot, const struct em_eid *wanted)
{
    struct em_eid eids[XTR_EIDS_MAX];
    size_t n = xtr_table_eids(table, slot, eids);
    for (size_t i = 0; i < n; i++)
        if (eids[i].kind == wanted->kind && eids[i].size == wanted->size &&
            !memcmp(eids[i].addr, wanted->addr, wanted->size))
            return true;
    return false;
}

static bool is_better(const struct search *s, uint32_t slot)
{
    if (s->best == XTR_SLOT_NONE)
        return true;
    const struct xtr_record *records = s->table->records;
    bool is_fresh = records[slot].generation == s->generation;
    if (is_fresh != (records[s->best].generation == s->generation))
        return is_fresh;
    struct em_port_id a = xtr_table_id(s->table, slot), b = xtr_table_id(s->table, s->best);
    int order = memcmp(a.bytes, b.bytes, sizeof a.bytes);
    return order < 0 || (!order && a.size < b.size);
}

static bool visit(const void *aux, uint32_t slot, const void *key)
{
    struct search *s = (struct search *)(uintptr_t)key;
    if (!(s->table->records[slot].flags & XTR_RECORD_IS_LOCAL) && holds(s->table, slot, s->eid) &&
        is_better(s, slot))
        s->best = slot;
    return false;
}

uint32_t xtr_table_owner(const struct xtr_table *table, const struct em_eid *eid,
                         uint8_t generation)
{
    struct search search = {table, eid, generation, XTR_SLOT_NONE};
    em_index_find(&table->by_eid, eid_hash(eid), visit, NULL, &search);
    return search.best;
}

static bool is_other_holder(const void *aux, uint32_t slot, const void *key)
{
    const struct search *s = key;
    return slot != s->best && holds(s->table, slot, s->eid);
}

bool xtr_table_is_contested(const struct xtr_table *table, uint32_t slot)
{
    struct em_eid eids[XTR_EIDS_MAX];
    size_t n = xtr_table_eids(table, slot, eids);
    for (size_t i = 0; i < n; i++) {
        struct search search = {table, &eids[i], 0, slot};
        if (xtr_eid_is_entry(&eids[i]) &&
            em_index_find(&table->by_eid, eid_hash(&eids[i]), is_other_holder, NULL, &search) !=
                EM_INDEX_NONE)
            return true;
    }
    return false;
}

size_t xtr_table_memory(const struct xtr_table *table)
{
    return table->size * sizeof *table->records + table->pool_size +
           ((size_t)table->by_id.mask + 1 + table->by_eid.mask + 1) * sizeof(uint64_t);
}
