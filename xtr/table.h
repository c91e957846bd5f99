/* The ports of one network, as compact as a million of them have to be.
 *
 * A record is 32 bytes: a UUID port-id, one MAC and one IPv4 address lie in it; other
 * port-ids and other sets of EIDs lie packed in a pool of bytes.  Two indexes of 8 bytes a
 * cell lead from port-id and from address to the record.  Several ports may hold one
 * address (anycast, or a port that the map has changed and the feed not shown yet). */
#ifndef XTR_TABLE_H
#define XTR_TABLE_H

#include "base/hash.h"
#include "eidmap/model.h"

#define XTR_EIDS_MAX  64 /* proto/eidmap.proto: Port.eids */
#define XTR_SLOT_NONE EM_INDEX_NONE

enum xtr_record_flag {
    XTR_RECORD_USED = 1,
    XTR_RECORD_TEXT_ID = 2,   /* 'id' is an offset into the pool */
    XTR_RECORD_PACKED = 4,    /* 'eids' is an offset into the pool */
    XTR_RECORD_HAS_MAC = 8,   /* 'eids' begins with a MAC */
    XTR_RECORD_HAS_IPV4 = 16, /* an IPv4 address follows at byte 6 */
    XTR_RECORD_QUEUED = 32,   /* of the map-cache: waits to be looked at */
    XTR_RECORD_IS_LOCAL = 64, /* of the map-cache: the port is on this node */
};

struct xtr_record {
    uint8_t id[16];
    uint8_t eids[10];
    uint8_t generation; /* of the full pass that showed it last */
    uint8_t flags;
    uint32_t set;
};

struct xtr_table {
    struct xtr_record *records;
    uint32_t n_records; /* slots that have ever been used */
    uint32_t n_used;
    uint32_t size;
    uint32_t free; /* head of the list of free slots, through 'set' */
    struct em_index by_id;
    struct em_index by_eid;
    uint8_t *pool;
    uint32_t pool_tail, pool_size, pool_waste;
};

void xtr_table_init(struct xtr_table *table);
void xtr_table_fini(struct xtr_table *table);

/* The slot of the port, or XTR_SLOT_NONE. */
uint32_t xtr_table_find(const struct xtr_table *table, const struct em_port_id *id);

/* A new record without EIDs, and its slot; the port must not be there yet. */
uint32_t xtr_table_add(struct xtr_table *table, const struct em_port_id *id);

/* Replaces the EIDs; no more than XTR_EIDS_MAX count.  Lent names end here. */
void xtr_table_set_eids(struct xtr_table *table, uint32_t slot, const struct em_eid *eids,
                        size_t n);

void xtr_table_remove(struct xtr_table *table, uint32_t slot);

/* Unpacks; names are lent until the table changes.  Returns the number of EIDs. */
size_t xtr_table_eids(const struct xtr_table *table, uint32_t slot,
                      struct em_eid ret_eids[XTR_EIDS_MAX]);
struct em_port_id xtr_table_id(const struct xtr_table *table, uint32_t slot);

/* The port that a MAC or host address belongs to: of those that are not local one of
 * the pass 'generation', of these the one with the least port-id; XTR_SLOT_NONE if
 * nobody has it. */
uint32_t xtr_table_owner(const struct xtr_table *table, const struct em_eid *eid,
                         uint8_t generation);

/* Does another port hold an address of this one? */
bool xtr_table_is_contested(const struct xtr_table *table, uint32_t slot);

/* Bytes on the heap. */
size_t xtr_table_memory(const struct xtr_table *table);

/* MACs and host addresses: what a data plane has entries for. */
static inline bool xtr_eid_is_entry(const struct em_eid *eid)
{
    return eid->kind == EM_EID_MAC || eid->kind == EM_EID_IPV4 || eid->kind == EM_EID_IPV6;
}

#endif
