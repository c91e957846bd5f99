/* One LMDB environment: a whole map in a directory of its own.
 *
 * For the files of this folder.  store.c says which environment is the current one; it may
 * be replaced while readers are in it, so each reader and each long walk holds a reference
 * (ms_store_enter()) and takes the databases' handles from the environment it is in. */
#ifndef MS_ENV_H
#define MS_ENV_H

#include "state/checkpoint.h"
#include "state/store.h"

#include <lmdb.h>

enum ms_db {
    MS_DB_META,    /* text -> bytes */
    MS_DB_PORT,    /* port-id -> Port */
    MS_DB_EID,     /* key.h -> port-ids, the lowest answers */
    MS_DB_NAME,    /* key.h -> port-ids */
    MS_DB_NODE,    /* node-id -> Node */
    MS_DB_NETWORK, /* network-id -> Network */
    MS_DB_NETKEY,  /* 'n' name, 'v' VNI -> network-id: both are unique */
    MS_DB_RLOC,    /* address -> node-id: an RLOC belongs to one node */
    MS_DB_LOC,     /* node-id -> port-ids that have a location there; also MS_MIGRATING */
    MS_DB_FEED,    /* network-id, revision -> kind, gone, id */
    MS_DB_TOMB,    /* revision -> network-id of each tombstone in the feed */
    MS_DB_SESSION, /* session.c: who writes, and what was applied of it */
    MS_N_DBS,
};

#define MS_MAP_SIZE     (8ull << 30)  /* by default */
#define MS_DISK_RESERVE (64ull << 20) /* by default */

struct ms_env {
    MDB_env *mdb;
    MDB_dbi dbis[MS_N_DBS];
    struct ms_checkpoint *checkpoint; /* NULL: is being built */
    char *path;
    uint64_t limit; /* bytes the map may grow to */
    uint64_t generation;
    uint8_t cluster_id[MS_CLUSTER_ID_SIZE]; /* under the store's lock */
    unsigned n_refs;                        /* under the store's lock */
};

/* LMDB keeps its list of free pages there; its own tools read it so. */
#define MS_FREE_PAGES_DBI 0

struct ms_changed;

const char *ms_db_name(enum ms_db db);
bool ms_db_is_multiple(enum ms_db db); /* several values under a key, in order (MDB_DUPSORT) */

/* Where a generation lies: "<dir>/state", "<dir>/state-7".  To be freed. */
char *ms_env_path(const char *dir, uint64_t generation);

/* Translates an LMDB code, and makes the sentence for a map that cannot be opened. */
int ms_env_explain(const char *path, int mdb_err, char **ret_why);

/* Opens the map in 'path'; the directory must exist.  An absent file is made, with a new
 * cluster id.  'config': complete. */
int ms_env_open(const char *path, const struct ms_store_config *config, struct ms_env **ret_env,
                char **ret_why);

/* Opens an empty one without locks or syncs, to be filled by one thread before anybody else
 * sees it; a crash may leave it damaged.  It is a map when it has an identity. */
int ms_env_build(const char *path, uint64_t map_size, struct ms_env **ret_env, char **ret_why);

/* NULL is fine.  'is_orderly': all that was committed becomes durable, data.mdb alone is the
 * map; otherwise a later start begins at the last checkpoint. */
void ms_env_close(struct ms_env *env, bool is_orderly);

/* Bytes of the map in use, as one transaction sees it. */
int ms_env_used(struct ms_env *env, MDB_txn *txn, uint64_t *ret_used);

/* Mapped pages that a long walk has touched stay resident; these are given back to the
 * kernel's cache now and then.  Whoever reads them too notices minor faults only. */
struct ms_walk {
    uintptr_t low, high; /* where values were found; 0, 0: nowhere yet */
};

void ms_walk_note(struct ms_walk *walk, const void *data, size_t size);
void ms_walk_give_back(struct ms_walk *walk);

/* Removes the directory if it holds an environment and nothing else. */
void ms_env_remove(const char *path);

/* The current environment: with a reference, or for the writer, during whose transactions
 * nothing is switched. */
struct ms_env *ms_store_enter(struct ms_store *store);
void ms_store_leave(struct ms_store *store, struct ms_env *env);
struct ms_env *ms_store_env(struct ms_store *store);

/* Waits for a checkpoint when too much is kept for the last one.  0 or EM_E_*. */
int ms_store_before_write(struct ms_store *store);

/* When each EID changed (state/recent.h). */
struct ms_changed *ms_store_changed(struct ms_store *store);

const struct ms_store_config *ms_store_config(const struct ms_store *store);
void ms_store_note_cluster(struct ms_store *store, const uint8_t id[MS_CLUSTER_ID_SIZE]);

#endif
