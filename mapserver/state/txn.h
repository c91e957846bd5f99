/* LMDB transactions for the files of this folder: one sticky error instead of a check
 * after each call, and LMDB's codes translated once.
 *
 * A write transaction carries the map's meta data as it will be; the outermost commit
 * stores it. */
#ifndef MS_TXN_H
#define MS_TXN_H

#include "state/env.h"

#include "eidmap/error.h"

/* Stored as one row, in this order: new ones go to the end. */
struct ms_meta {
    uint64_t applied; /* index of the last log entry in the map */
    uint64_t revision;
    uint64_t horizon;
    uint64_t last_network; /* highest network-id ever given; none is used twice */
    uint64_t n_networks, n_nodes, n_ports, n_eids;
    uint64_t applied_term;
    uint64_t members_index; /* log entry that the row "members" came with */
};

#define MS_N_META (sizeof(struct ms_meta) / sizeof(uint64_t))

/* Network-ids whose feeds have grown; may hold one more than once. */
struct ms_touched {
    uint32_t *ids;
    size_t n, room;
};

#define MS_N_EID_CURSORS 4 /* EIDs of a kind use the one of this number, modulo 4 */

struct ms_txn {
    struct ms_store *store;
    struct ms_env *env;
    struct ms_txn *parent; /* of a nested one */
    MDB_txn *mdb;
    int err; /* the first EM_E_STORAGE, EM_E_NO_SPACE...; nothing is written after it */
    bool is_writing, is_dirty;
    struct ms_meta meta;
    struct ms_touched *touched; /* NULL: nobody wants to know */
    /* Of a write: where it was last in each database; of EIDs, which lie by kind, in as many
     * places.  What lies beside that is found without a search from the root.  LMDB closes them
     * at the end. */
    MDB_cursor *cursors[MS_N_DBS + MS_N_EID_CURSORS - 1];
};

struct ms_reader {
    struct ms_txn txn; /* in the environment that it has entered */
    MDB_cursor *eid;   /* over MS_DB_EID, renewed when first used after begin */
    bool is_eid_fresh;
    size_t seen; /* LMDB's number of the transaction that txn.meta is of; 0: none */
    struct ms_recent *recent;
};

/* Write transactions; 'parent' NULL or the one that it is nested in. */
int ms_txn_begin(struct ms_store *store, struct ms_txn *parent, struct ms_touched *touched,
                 struct ms_txn *ret_txn);

/* A read transaction for once, ended by ms_txn_abort(). */
int ms_txn_look(struct ms_env *env, struct ms_txn *ret_txn);

/* Ends it.  0 or why nothing was kept; a nested failure fails the parent too. */
int ms_txn_commit(struct ms_txn *txn);
void ms_txn_abort(struct ms_txn *txn);

/* Translates an LMDB code. */
int ms_txn_error(int mdb_err);

/* Records the failure and returns it. */
int ms_txn_fail(struct ms_txn *txn, int err);

static inline struct ms_blob ms_blob(const void *data, size_t size)
{
    return (struct ms_blob){data, size};
}

/* 0, EM_E_NOT_FOUND, or the transaction's error.  The value is good until the next write. */
int ms_txn_get(struct ms_txn *txn, enum ms_db db, struct ms_blob key, struct ms_blob *ret_value);

void ms_txn_put(struct ms_txn *txn, enum ms_db db, struct ms_blob key, struct ms_blob value);

/* Room for a value of 'size' bytes that the caller writes at once; NULL after a failure. */
uint8_t *ms_txn_reserve(struct ms_txn *txn, enum ms_db db, struct ms_blob key, size_t size);

/* 'value' names one of several values under a key; NULL data: all of them.  What is absent
 * is deleted already. */
void ms_txn_delete(struct ms_txn *txn, enum ms_db db, struct ms_blob key, struct ms_blob value);

/* Values under a key of MS_DB_EID, MS_DB_NAME, MS_DB_LOC. */
size_t ms_txn_count(struct ms_txn *txn, enum ms_db db, struct ms_blob key);

/* A cursor, to be closed with mdb_cursor_close() before the transaction ends; NULL after a
 * failure. */
MDB_cursor *ms_txn_cursor(struct ms_txn *txn, enum ms_db db);

/* mdb_cursor_get() on blobs.  0, EM_E_NOT_FOUND, or the transaction's error. */
int ms_txn_seek(struct ms_txn *txn, MDB_cursor *cursor, MDB_cursor_op op, struct ms_blob *key,
                struct ms_blob *value);

/* The cluster's configuration, as of this log index; no bytes: there is none. */
void ms_txn_set_members(struct ms_txn *txn, uint64_t index, struct ms_blob members);

/* The row of counters. */
struct ms_blob ms_meta_key(void);
int ms_meta_load(struct ms_txn *txn);
struct ms_meta ms_meta_unpack(struct ms_blob row);
void ms_meta_pack(const struct ms_meta *meta, uint8_t ret_row[MS_N_META * 8]);

#endif
