/* Ports, nodes and networks with everything that follows from them: their indexes, the
 * feed, the counts.  What is written here is valid already. */
#ifndef MS_RECORD_H
#define MS_RECORD_H

#include "state/txn.h"
#include "wire/msg.h"

struct em_arena;

/* Unpacked into the arena.  0, EM_E_NOT_FOUND, or the transaction's error. */
int ms_port_get(struct ms_txn *txn, const void *id, size_t size, struct em_arena *arena,
                Eidmap__Port **ret_port);
int ms_node_get(struct ms_txn *txn, const char *id, struct em_arena *arena,
                Eidmap__Node **ret_node);
int ms_network_get(struct ms_txn *txn, uint32_t id, struct em_arena *arena,
                   Eidmap__Network **ret_network);

/* Revision of the next change. */
uint64_t ms_next_revision(const struct ms_txn *txn);

/* Replaces 'old' (NULL: it is new); the record gets the next revision. */
void ms_port_put(struct ms_txn *txn, const Eidmap__Port *old, Eidmap__Port *port);
void ms_node_put(struct ms_txn *txn, const Eidmap__Node *old, Eidmap__Node *node);
void ms_network_put(struct ms_txn *txn, const Eidmap__Network *old, Eidmap__Network *network);

/* Deletes; the tombstone gets the next revision.  A node has no locations any more. */
void ms_port_delete(struct ms_txn *txn, const Eidmap__Port *port);
void ms_node_delete(struct ms_txn *txn, const Eidmap__Node *node);
void ms_network_delete(struct ms_txn *txn, const Eidmap__Network *network);

/* Who has it?  0 with bytes that are good until the next write, or EM_E_NOT_FOUND. */
int ms_rloc_holder(struct ms_txn *txn, const Eidmap__Rloc *rloc, struct ms_blob *ret_node_id);
int ms_vni_holder(struct ms_txn *txn, uint32_t vni, uint32_t *ret_network_id);
int ms_name_holder(struct ms_txn *txn, const char *name, uint32_t *ret_network_id);

/* The lowest port-id that holds the EID in the network and is not 'except'. */
int ms_eid_holder(struct ms_txn *txn, uint32_t network_id, const Eidmap__Eid *eid,
                  struct ms_blob except, struct ms_blob *ret_port_id);

/* The node-id of a location that stands for every node's own instance. */
#define MS_ANY_LOCAL ""

/* The location of a node in a port; NULL: none.  The second form takes any-local for the
 * node's. */
Eidmap__Location *ms_port_location(const Eidmap__Port *port, const char *node_id);
Eidmap__Location *ms_port_place(const Eidmap__Port *port, const char *node_id);

static inline struct ms_blob ms_blob_of(ProtobufCBinaryData data)
{
    return ms_blob(data.data, data.len);
}

static inline bool ms_blob_equal(struct ms_blob a, struct ms_blob b)
{
    return a.size == b.size && (a.size == 0 || __builtin_memcmp(a.data, b.data, a.size) == 0);
}

#endif
