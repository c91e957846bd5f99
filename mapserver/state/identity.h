/* Which map this is, and how far it has come: what a replica needs before it takes part.
 *
 * The map treats the members as bytes; the cluster's code knows what they mean. */
#ifndef MS_IDENTITY_H
#define MS_IDENTITY_H

#include "state/store.h"

/* Of a stored map: the least that a program must know to keep it right.  Where there are no
 * children of ports, an older program may take it over. */
#define MS_SCHEMA_STORED_FIRST  1
#define MS_SCHEMA_STORED_TRUNKS 2
#define MS_SCHEMA_STORED        2 /* highest that is known here */
#define MS_MEMBERS_MAX          ((size_t)1 << 20)

struct ms_txn;

struct ms_identity {
    uint8_t cluster_id[MS_CLUSTER_ID_SIZE];
    uint64_t recovery;              /* how often the cluster was recovered by force */
    uint64_t applied, applied_term; /* of the last log entry in the map */
    uint64_t members_index;         /* log entry that 'members' came with */
    uint8_t *members;               /* configuration of the cluster; NULL: none was written */
    size_t members_size;
};

/* Of the current map; to be freed with ms_identity_fini().  Any thread. */
int ms_identity_get(struct ms_store *store, struct ms_identity *ret_identity);
void ms_identity_fini(struct ms_identity *identity);

/* Replaces all of it, durably.  Only while nobody writes. */
int ms_identity_set(struct ms_store *store, const struct ms_identity *identity);

/* Within a transaction.  Reading: 0 or EM_E_STORAGE; the members are the caller's. */
int ms_identity_read(struct ms_txn *txn, struct ms_identity *ret_identity);
void ms_identity_write(struct ms_txn *txn, const struct ms_identity *identity);

/* The map's schema; and it is no less from now on. */
uint32_t ms_identity_schema(struct ms_txn *txn);
void ms_identity_require(struct ms_txn *txn, uint32_t schema);

/* Is this a map that is known here?  *ret_schema is 0 when it is no map. */
bool ms_identity_is_known(struct ms_txn *txn, uint32_t *ret_schema);

/* Rows of MS_DB_META that tell who the map is, not what is in it. */
bool ms_identity_owns(struct ms_blob meta_key);

#endif
