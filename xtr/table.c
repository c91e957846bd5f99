/* Records never move while they are used; freed slots form a list.
 *
 * A block has the record's slot and the field that leads to it as its owner, so that the
 * field follows when the block moves. */
#include "table.h"

#include "base/hash.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct xtr_record) == 30, "a record has no padding");

#define UUID_ID_SIZE 17 /* 0x00 and 16 bytes: proto/eidmap.proto, Port.id */
#define EID_HEAD     6  /* kind, prefix_len, protocol, size, l4_port */

/* Blocks begin with the number of bytes in use. */

enum field { FIELD_ID, FIELD_EIDS };

static uint8_t *field_of(struct xtr_record *record, enum field field)
{
    return field == FIELD_ID ? record->id : record->eids;
}

static uint32_t number_in(const uint8_t *field)
{
    uint32_t number;
    memcpy(&number, field, sizeof number);
    return number;
}

static void store(struct xtr_table *table, uint32_t slot, enum field field, const void *data,
                  uint32_t size)
{
    uint32_t ref = xtr_slab_alloc(&table->blocks, size + sizeof size, slot << 1 | (uint32_t)field);
    uint8_t *block = xtr_slab_at(&table->blocks, ref);
    memcpy(block, &size, sizeof size);
    memcpy(block + sizeof size, data, size);
    memcpy(field_of(xtr_table_at(table, slot), field), &ref, sizeof ref);
}

static void release(struct xtr_table *table, uint32_t slot, enum field field)
{
    uint32_t ref = number_in(field_of(xtr_table_at(table, slot), field));
    uint32_t owner = xtr_slab_free(&table->blocks, ref);
    if (owner != XTR_SLAB_NONE)
        memcpy(field_of(xtr_table_at(table, owner >> 1), owner & 1 ? FIELD_EIDS : FIELD_ID), &ref,
               sizeof ref);
}

static const uint8_t *load(const struct xtr_table *table, const uint8_t *field, uint32_t *ret_size)
{
    const uint8_t *block = xtr_slab_at(&table->blocks, number_in(field));
    *ret_size = number_in(block);
    return block + sizeof *ret_size;
}

/* Port-ids */

static bool is_uuid(const struct em_port_id *id)
{
    return id->size == UUID_ID_SIZE && !id->bytes[0];
}

static uint64_t id_hash(const struct em_port_id *id)
{
    return em_hash(id->bytes, id->size);
}

static uint64_t eid_hash(const struct em_eid *eid)
{
    uint8_t key[1 + sizeof eid->addr] = {(uint8_t)eid->kind};
    memcpy(key + 1, eid->addr, sizeof eid->addr);
    return em_hash(key, 1u + eid->size);
}

struct em_port_id xtr_table_id(const struct xtr_table *table, uint32_t slot)
{
    const struct xtr_record *r = xtr_table_at(table, slot);
    struct em_port_id id = {0};
    if (r->flags & XTR_RECORD_TEXT_ID) {
        uint32_t size;
        const uint8_t *text = load(table, r->id, &size);
        id.size = (uint8_t)size;
        memcpy(id.bytes, text, size);
    } else {
        id.size = UUID_ID_SIZE;
        memcpy(id.bytes + 1, r->id, sizeof r->id);
    }
    return id;
}

static bool has_id(const void *aux, uint32_t slot, const void *key)
{
    const struct em_port_id *wanted = key;
    const struct xtr_record *r = xtr_table_at(aux, slot);
    if (!(r->flags & XTR_RECORD_TEXT_ID))
        return is_uuid(wanted) && !memcmp(r->id, wanted->bytes + 1, sizeof r->id);
    struct em_port_id id = xtr_table_id(aux, slot);
    return em_port_id_equal(&id, wanted);
}

uint32_t xtr_table_find(const struct xtr_table *table, const struct em_port_id *id)
{
    return xtr_index_find(&table->index, id_hash(id), has_id, table, id);
}

void xtr_table_prefetch(const struct xtr_table *table, const struct em_port_id *id,
                        const struct em_eid *eids, size_t n)
{
    xtr_index_prefetch(&table->index, id_hash(id));
    for (size_t i = 0; i < n; i++)
        if (xtr_eid_is_entry(&eids[i]))
            xtr_index_prefetch(&table->index, eid_hash(&eids[i]));
}

static uint32_t take_slot(struct xtr_table *table)
{
    uint32_t slot = table->free;
    if (slot != XTR_SLOT_NONE) {
        table->free = number_in(xtr_table_at(table, slot)->id);
        return slot;
    }
    if (table->records.len == table->max)
        return XTR_SLOT_NONE;
    xtr_segments_push(&table->records);
    return table->records.len - 1;
}

uint32_t xtr_table_add(struct xtr_table *table, const struct em_port_id *id)
{
    assert(id->size <= EM_PORT_ID_SIZE);
    uint32_t slot = take_slot(table);
    if (slot == XTR_SLOT_NONE)
        return slot;
    struct xtr_record *r = xtr_table_at(table, slot);
    *r = (struct xtr_record){.flags = XTR_RECORD_USED};
    if (is_uuid(id)) {
        memcpy(r->id, id->bytes + 1, sizeof r->id);
    } else {
        r->flags |= XTR_RECORD_TEXT_ID;
        store(table, slot, FIELD_ID, id->bytes, id->size);
    }
    xtr_index_insert(&table->index, id_hash(id), slot, table);
    table->n_used++;
    return slot;
}

/* EIDs */

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
    const struct xtr_record *r = xtr_table_at(table, slot);
    size_t n = 0;
    if (r->flags & XTR_RECORD_PACKED) {
        uint32_t size;
        const uint8_t *at = load(table, r->eids, &size), *end = at + size;
        for (; at < end; n++)
            at = unpack_eid(at, &ret_eids[n]);
        return n;
    }
    if (r->flags & XTR_RECORD_HAS_MAC)
        ret_eids[n++] = inline_eid(EM_EID_MAC, r->eids, EM_MAC_SIZE);
    if (r->flags & XTR_RECORD_HAS_IPV4)
        ret_eids[n++] = inline_eid(EM_EID_IPV4, r->eids + EM_MAC_SIZE, 4);
    return n;
}

static void pack_eids(struct xtr_table *table, uint32_t slot, const struct em_eid *eids, size_t n)
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
    xtr_table_at(table, slot)->flags |= XTR_RECORD_PACKED;
    store(table, slot, FIELD_EIDS, packed, (uint32_t)(at - packed));
}

static void store_eids(struct xtr_table *table, uint32_t slot, const struct em_eid *eids, size_t n)
{
    struct xtr_record *r = xtr_table_at(table, slot);
    bool has_mac = n && eids[0].kind == EM_EID_MAC;
    bool has_ipv4 = n > has_mac && eids[has_mac].kind == EM_EID_IPV4;
    if (n != (size_t)has_mac + has_ipv4) {
        pack_eids(table, slot, eids, n);
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
            xtr_index_remove(&table->index, eid_hash(&eids[i]), slot);
    struct xtr_record *r = xtr_table_at(table, slot);
    if (r->flags & XTR_RECORD_PACKED)
        release(table, slot, FIELD_EIDS);
    r->flags &= ~(uint32_t)(XTR_RECORD_PACKED | XTR_RECORD_HAS_MAC | XTR_RECORD_HAS_IPV4 |
                            XTR_RECORD_SHARES);
}

/* The index shows every record that may have the EID; the best so far is kept here. */
struct search {
    const struct xtr_table *table;
    const struct em_eid *eid;
    uint32_t best;
};

static bool holds(const struct xtr_table *table, uint32_t slot, const struct em_eid *wanted)
{
    const struct xtr_record *r = xtr_table_at(table, slot);
    if (!(r->flags & XTR_RECORD_PACKED)) {
        if (wanted->kind == EM_EID_MAC)
            return r->flags & XTR_RECORD_HAS_MAC && !memcmp(r->eids, wanted->addr, EM_MAC_SIZE);
        return wanted->kind == EM_EID_IPV4 && r->flags & XTR_RECORD_HAS_IPV4 &&
               !memcmp(r->eids + EM_MAC_SIZE, wanted->addr, 4);
    }
    struct em_eid eids[XTR_EIDS_MAX];
    size_t n = xtr_table_eids(table, slot, eids);
    for (size_t i = 0; i < n; i++)
        if (eids[i].kind == wanted->kind && eids[i].size == wanted->size &&
            !memcmp(eids[i].addr, wanted->addr, wanted->size))
            return true;
    return false;
}

static bool is_other_holder(const void *aux, uint32_t slot, const void *key)
{
    const struct search *s = key;
    return slot != s->best && holds(s->table, slot, s->eid);
}

/* Of those that hold an address only the first can be without the mark. */
static void mark_shared(struct xtr_table *table, uint32_t slot, const struct em_eid *eid,
                        uint64_t hash)
{
    struct search search = {table, eid, slot};
    uint32_t other = xtr_index_find(&table->index, hash, is_other_holder, NULL, &search);
    if (other == XTR_SLOT_NONE)
        return;
    xtr_table_at(table, other)->flags |= XTR_RECORD_SHARES;
    xtr_table_at(table, slot)->flags |= XTR_RECORD_SHARES;
}

void xtr_table_set_eids(struct xtr_table *table, uint32_t slot, const struct em_eid *eids, size_t n)
{
    struct em_eid kept[XTR_EIDS_MAX];
    size_t n_kept = filter_eids(eids, n, kept);
    unindex_eids(table, slot);
    store_eids(table, slot, kept, n_kept);
    for (size_t i = 0; i < n_kept; i++) {
        if (!xtr_eid_is_entry(&kept[i]))
            continue;
        uint64_t hash = eid_hash(&kept[i]);
        mark_shared(table, slot, &kept[i], hash);
        xtr_index_insert(&table->index, hash, slot, table);
    }
}

void xtr_table_remove(struct xtr_table *table, uint32_t slot)
{
    struct xtr_record *r = xtr_table_at(table, slot);
    assert(r->flags & XTR_RECORD_USED);
    struct em_port_id id = xtr_table_id(table, slot);
    xtr_index_remove(&table->index, id_hash(&id), slot);
    unindex_eids(table, slot);
    if (r->flags & XTR_RECORD_TEXT_ID)
        release(table, slot, FIELD_ID);
    *r = (struct xtr_record){0};
    memcpy(r->id, &table->free, sizeof table->free);
    table->free = slot;
    table->n_used--;
}

static bool is_better(const struct search *s, uint32_t slot)
{
    if (s->best == XTR_SLOT_NONE)
        return true;
    uint32_t flags = xtr_table_at(s->table, slot)->flags;
    if ((flags ^ xtr_table_at(s->table, s->best)->flags) & XTR_RECORD_FRESH)
        return flags & XTR_RECORD_FRESH;
    struct em_port_id a = xtr_table_id(s->table, slot), b = xtr_table_id(s->table, s->best);
    int order = memcmp(a.bytes, b.bytes, sizeof a.bytes);
    return order < 0 || (!order && a.size < b.size);
}

static bool visit(const void *aux, uint32_t slot, const void *key)
{
    struct search *s = (struct search *)(uintptr_t)key;
    if (!(xtr_table_at(s->table, slot)->flags & XTR_RECORD_IS_LOCAL) &&
        holds(s->table, slot, s->eid) && is_better(s, slot))
        s->best = slot;
    return false;
}

uint32_t xtr_table_owner(const struct xtr_table *table, const struct em_eid *eid)
{
    struct search search = {table, eid, XTR_SLOT_NONE};
    xtr_index_find(&table->index, eid_hash(eid), visit, NULL, &search);
    return search.best;
}

uint32_t xtr_table_owner_of(const struct xtr_table *table, uint32_t slot, const struct em_eid *eid)
{
    uint32_t flags = xtr_table_at(table, slot)->flags;
    if (flags & XTR_RECORD_SHARES)
        return xtr_table_owner(table, eid);
    return flags & XTR_RECORD_IS_LOCAL ? XTR_SLOT_NONE : slot;
}

bool xtr_table_is_contested(const struct xtr_table *table, uint32_t slot)
{
    struct em_eid eids[XTR_EIDS_MAX];
    if (!(xtr_table_at(table, slot)->flags & XTR_RECORD_SHARES))
        return false;
    size_t n = xtr_table_eids(table, slot, eids);
    for (size_t i = 0; i < n; i++) {
        struct search search = {table, &eids[i], slot};
        if (xtr_eid_is_entry(&eids[i]) &&
            xtr_index_find(&table->index, eid_hash(&eids[i]), is_other_holder, NULL, &search) !=
                XTR_INDEX_NONE)
            return true;
    }
    return false;
}

void xtr_table_begin_pass(struct xtr_table *table)
{
    for (uint32_t slot = 0; slot < xtr_table_slots(table); slot++)
        xtr_table_at(table, slot)->flags &= ~(uint32_t)XTR_RECORD_FRESH;
}

size_t xtr_table_memory(const struct xtr_table *table)
{
    return xtr_segments_memory(&table->records) + xtr_index_memory(&table->index) +
           xtr_slab_memory(&table->blocks);
}

/* For the index: the port-id, and what of the EIDs is indexed, in their order. */
static size_t keys_of(const void *aux, uint32_t slot, uint64_t *ret_hashes)
{
    if (!ret_hashes) {
        __builtin_prefetch(xtr_table_at(aux, slot));
        return 0;
    }
    struct em_port_id id = xtr_table_id(aux, slot);
    struct em_eid eids[XTR_EIDS_MAX];
    size_t n_eids = xtr_table_eids(aux, slot, eids), n = 0;
    ret_hashes[n++] = id_hash(&id);
    for (size_t i = 0; i < n_eids; i++)
        if (xtr_eid_is_entry(&eids[i]))
            ret_hashes[n++] = eid_hash(&eids[i]);
    return n;
}

void xtr_table_init(struct xtr_table *table)
{
    *table = (struct xtr_table){.max = XTR_TABLE_PORTS, .free = XTR_SLOT_NONE};
    xtr_segments_init(&table->records, sizeof(struct xtr_record));
    xtr_index_init(&table->index, keys_of, 1 + XTR_EIDS_MAX);
    xtr_slab_init(&table->blocks);
}

void xtr_table_fini(struct xtr_table *table)
{
    xtr_segments_fini(&table->records);
    xtr_index_fini(&table->index);
    xtr_slab_fini(&table->blocks);
}
