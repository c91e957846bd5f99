/* The ports of one network, as compact as a million of them have to be.
 *
 * A record is 30 bytes: a UUID port-id, one MAC and one IPv4 address lie in it; other
 * port-ids and other sets of EIDs lie in blocks of their own.  An index with a cell of
 * 4 bytes a key leads from port-id and from address to the record.  Several ports may hold
 * one address (anycast, or a port that the map has changed and the feed not shown yet).
 *
 * Records keep their slots, nothing is ever copied to grow, and what a change frees serves
 * the next one: a million typical ports take about 43 bytes each, however long they come
 * and go. */
#ifndef XTR_TABLE_H
#define XTR_TABLE_H

#include "eidmap/model.h"
#include "index.h"

#define XTR_EIDS_MAX    64 /* proto/eidmap.proto: Port.eids */
#define XTR_SLOT_NONE   XTR_INDEX_NONE
#define XTR_SETS_MAX    ((1u << 22) - 1)
#define XTR_TABLE_PORTS (XTR_INDEX_SLOT_MAX + 1) /* that a table has room for */

enum xtr_record_flag {
    XTR_RECORD_USED = 1,
    XTR_RECORD_TEXT_ID = 2,   /* 'id' is a reference to a block */
    XTR_RECORD_PACKED = 4,    /* 'eids' is a reference to a block */
    XTR_RECORD_HAS_MAC = 8,   /* 'eids' begins with a MAC */
    XTR_RECORD_HAS_IPV4 = 16, /* an IPv4 address follows at byte 6 */
    XTR_RECORD_QUEUED = 32,   /* of the map-cache: waits to be looked at */
    XTR_RECORD_IS_LOCAL = 64, /* of the map-cache: the port is on this node */
    XTR_RECORD_FRESH = 128,   /* of the map-cache: the last full pass has shown it */
    XTR_RECORD_KEPT = 256,    /* of the map-cache: a pass that was doubted has not */
    XTR_RECORD_SHARES = 512,  /* another record has, or had, one of its addresses */
};

struct xtr_record {
    uint8_t id[16];
    uint8_t eids[10];
    uint32_t set : 22; /* location set, at most XTR_SETS_MAX */
    uint32_t flags : 10;
} __attribute__((packed));

struct xtr_table {
    struct xtr_segments records; /* a slot for each that has ever been used */
    uint32_t n_used;
    uint32_t max;  /* slots: XTR_TABLE_PORTS, less in tests */
    uint32_t free; /* head of the list of free slots, through 'id' */
    struct xtr_index index;
    struct xtr_slab blocks; /* what does not fit into a record */
};

void xtr_table_init(struct xtr_table *table);
void xtr_table_fini(struct xtr_table *table);

/* The slot of the port, or XTR_SLOT_NONE. */
uint32_t xtr_table_find(const struct xtr_table *table, const struct em_port_id *id);

/* The port will be looked for soon, or added, with these EIDs: memory for it is fetched
 * meanwhile. */
void xtr_table_prefetch(const struct xtr_table *table, const struct em_port_id *id,
                        const struct em_eid *eids, size_t n);

static inline uint32_t xtr_table_slots(const struct xtr_table *table)
{
    return table->records.len;
}

/* Of a slot below xtr_table_slots(), used or not; lent until a port is added. */
static inline struct xtr_record *xtr_table_at(const struct xtr_table *table, uint32_t slot)
{
    return xtr_segments_at(&table->records, slot);
}

/* No record is fresh any more. */
void xtr_table_begin_pass(struct xtr_table *table);

/* A new record without EIDs, and its slot; the port must not be there yet.  XTR_SLOT_NONE:
 * there are as many as there may be. */
uint32_t xtr_table_add(struct xtr_table *table, const struct em_port_id *id);

/* Replaces the EIDs; no more than XTR_EIDS_MAX count.  Lent names end here. */
void xtr_table_set_eids(struct xtr_table *table, uint32_t slot, const struct em_eid *eids,
                        size_t n);

void xtr_table_remove(struct xtr_table *table, uint32_t slot);

/* Unpacks; names are lent until the table changes.  Returns the number of EIDs. */
size_t xtr_table_eids(const struct xtr_table *table, uint32_t slot,
                      struct em_eid ret_eids[XTR_EIDS_MAX]);
struct em_port_id xtr_table_id(const struct xtr_table *table, uint32_t slot);

/* The port that a MAC or host address belongs to: of those that are not local a fresh one,
 * of these the one with the least port-id; XTR_SLOT_NONE if nobody has it. */
uint32_t xtr_table_owner(const struct xtr_table *table, const struct em_eid *eid);

/* The same for an address of the record in 'slot', which is nearly always its own owner. */
uint32_t xtr_table_owner_of(const struct xtr_table *table, uint32_t slot, const struct em_eid *eid);

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
