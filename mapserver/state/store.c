/* The environment is opened with MDB_NOTLS, so that a read transaction belongs to its
 * object and not to a thread, and never with MDB_NOSYNC or MDB_WRITEMAP: both may leave a
 * damaged file after a power loss. */
#include "state/store.h"

#include "base/mem.h"
#include "state/key.h"
#include "state/txn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define STORE_SCHEMA    1
#define FORMAT          "eidmap map"
#define DEFAULT_MAP     (8ull << 30)
#define SMALLEST_MAP    (1ull << 20)
#define DEFAULT_RESERVE (64ull << 20)
#define DEFAULT_READERS 64u
#define MAP_RESERVE_MIN (256ull << 10)
#define MAP_RESERVE_MAX (64ull << 20)
#define FREE_PAGES_DBI  0 /* LMDB keeps its list of free pages there; mdb_stat reads it so */

struct ms_store {
    MDB_env *env;
    MDB_dbi dbis[MS_N_DBS];
    char *path;
    int lock_fd;
    uint64_t disk_reserve;
    uint8_t cluster_id[MS_CLUSTER_ID_SIZE];
};

static const struct {
    const char *name;
    unsigned flags;
} dbs[MS_N_DBS] = {
    [MS_DB_META] = {"meta", 0},         [MS_DB_PORT] = {"port", 0},
    [MS_DB_EID] = {"eid", MDB_DUPSORT}, [MS_DB_NAME] = {"name", MDB_DUPSORT},
    [MS_DB_NODE] = {"node", 0},         [MS_DB_NETWORK] = {"network", 0},
    [MS_DB_NETKEY] = {"netkey", 0},     [MS_DB_RLOC] = {"rloc", 0},
    [MS_DB_LOC] = {"loc", MDB_DUPSORT}, [MS_DB_FEED] = {"feed", 0},
    [MS_DB_TOMB] = {"tomb", 0},         [MS_DB_SESSION] = {"session", 0},
};

static const struct ms_blob format_key = {(const uint8_t *)"format", 6};
static const struct ms_blob schema_key = {(const uint8_t *)"schema", 6};
static const struct ms_blob cluster_key = {(const uint8_t *)"cluster-id", 10};

MDB_env *ms_store_env(struct ms_store *store)
{
    return store->env;
}

MDB_dbi ms_store_dbi(const struct ms_store *store, enum ms_db db)
{
    return store->dbis[db];
}

const uint8_t *ms_store_cluster_id(const struct ms_store *store)
{
    return store->cluster_id;
}

static int make_dir(const char *path, char **ret_why)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return 0;
    int err = -errno;
    *ret_why = em_asprintf("cannot make the directory %s: %s; make it, or set another data "
                           "directory",
                           path, em_strerror(err));
    return err;
}

static int lock_dir(struct ms_store *store, char **ret_why)
{
    store->lock_fd = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->lock_fd >= 0 && flock(store->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    int err = errno == EWOULDBLOCK ? -EBUSY : -errno;
    if (err == -EBUSY)
        *ret_why = em_asprintf("another map server uses %s; stop it, or set another data "
                               "directory",
                               store->path);
    else
        *ret_why = em_asprintf("cannot open the directory %s: %s", store->path, em_strerror(err));
    return err;
}

static int explain_open(const char *path, int mdb_err, char **ret_why)
{
    if (mdb_err == MDB_INVALID || mdb_err == MDB_CORRUPTED || mdb_err == MDB_VERSION_MISMATCH ||
        mdb_err == MDB_PAGE_NOTFOUND || mdb_err == MDB_INCOMPATIBLE)
        *ret_why = em_asprintf("%s/data.mdb is damaged or not a map of eidmap: put a copy back, or "
                               "move the file away to begin with an empty map",
                               path);
    else if (mdb_err == EACCES || mdb_err == EPERM)
        *ret_why = em_asprintf("may not read and write %s/data.mdb: give it to the user that runs "
                               "the map server",
                               path);
    else if (ms_txn_error(mdb_err) == EM_E_NO_SPACE)
        *ret_why =
            em_asprintf("no room to open %s/data.mdb: free disk space or raise the map size", path);
    else
        *ret_why = em_asprintf("cannot open %s/data.mdb: %s", path, mdb_strerror(mdb_err));
    return mdb_err == EACCES ? -EACCES : ms_txn_error(mdb_err);
}

/* Walks all that is reachable from the root. */
static int walk(struct ms_store *store)
{
    MDB_txn *txn;
    int r = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    if (r)
        return r;
    for (int db = 0; db < MS_N_DBS && !r; db++) {
        MDB_cursor *cursor;
        MDB_val key, value;
        r = mdb_cursor_open(txn, store->dbis[db], &cursor);
        if (r)
            break;
        while ((r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
            ;
        r = r == MDB_NOTFOUND ? 0 : r;
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return r;
}

/* A file that was cut would kill us with SIGBUS at the first page beyond its end.  LMDB
 * itself may leave the last pages unwritten when they were free again at the commit, so a
 * short file is no proof: it is filled up with zeros, which LMDB takes for damage when it
 * needs them, and *ret_short tells that it must be walked. */
static int fill_up(struct ms_store *store, bool *ret_short)
{
    MDB_envinfo info;
    MDB_stat stat;
    struct stat st;
    int fd;
    int r = mdb_env_info(store->env, &info);
    if (!r)
        r = mdb_env_stat(store->env, &stat);
    if (!r)
        r = mdb_env_get_fd(store->env, &fd);
    if (r)
        return r;
    if (fstat(fd, &st))
        return errno;
    off_t need = (off_t)((info.me_last_pgno + 1) * stat.ms_psize);
    *ret_short = st.st_size < need;
    return *ret_short && ftruncate(fd, need) ? errno : 0;
}

static int open_dbs(struct ms_store *store, MDB_txn *txn, bool *ret_fresh)
{
    MDB_dbi root;
    MDB_stat stat;
    int r = mdb_dbi_open(txn, NULL, 0, &root);
    if (!r)
        r = mdb_stat(txn, root, &stat);
    if (r)
        return r;
    *ret_fresh = stat.ms_entries == 0;
    /* Never add to a file that somebody else has filled. */
    unsigned create = *ret_fresh ? MDB_CREATE : 0;
    for (int db = 0; db < MS_N_DBS && !r; db++)
        r = mdb_dbi_open(txn, dbs[db].name, dbs[db].flags | create, &store->dbis[db]);
    return r == MDB_NOTFOUND ? MDB_INVALID : r;
}

static int write_identity(struct ms_store *store, struct ms_txn *txn)
{
    struct ms_key schema = ms_key_u32(STORE_SCHEMA);
    if (getrandom(store->cluster_id, sizeof(store->cluster_id), 0) != sizeof(store->cluster_id))
        return errno;
    ms_txn_put(txn, MS_DB_META, format_key, ms_blob(FORMAT, sizeof(FORMAT) - 1));
    ms_txn_put(txn, MS_DB_META, schema_key, ms_key_blob(&schema));
    ms_txn_put(txn, MS_DB_META, cluster_key, ms_blob(store->cluster_id, sizeof(store->cluster_id)));
    return 0;
}

/* 0, an LMDB code, or MDB_VERSION_MISMATCH with *ret_schema when a newer program wrote it. */
static int read_identity(struct ms_store *store, struct ms_txn *txn, uint32_t *ret_schema)
{
    struct ms_blob format, schema, id;
    if (ms_txn_get(txn, MS_DB_META, format_key, &format) || format.size != sizeof(FORMAT) - 1 ||
        memcmp(format.data, FORMAT, format.size) != 0 ||
        ms_txn_get(txn, MS_DB_META, schema_key, &schema) || schema.size != 4 ||
        ms_txn_get(txn, MS_DB_META, cluster_key, &id) || id.size != MS_CLUSTER_ID_SIZE)
        return MDB_INVALID;
    *ret_schema = ms_read_u32(schema.data);
    memcpy(store->cluster_id, id.data, id.size);
    return *ret_schema > STORE_SCHEMA ? MDB_VERSION_MISMATCH : 0;
}

static int load(struct ms_store *store, uint32_t *ret_schema)
{
    struct ms_txn txn = {.store = store};
    bool is_fresh, is_short;
    int r = fill_up(store, &is_short);
    if (!r)
        r = mdb_txn_begin(store->env, NULL, 0, &txn.mdb);
    if (r)
        return r;
    r = open_dbs(store, txn.mdb, &is_fresh);
    if (!r)
        r = is_fresh ? write_identity(store, &txn) : read_identity(store, &txn, ret_schema);
    if (r || txn.err) {
        ms_txn_abort(&txn);
        return r ? r : ENOSPC;
    }
    r = mdb_txn_commit(txn.mdb);
    return !r && is_short ? walk(store) : r;
}

/* LMDB takes an empty file for a new map.  Here a new map gets its name only when its first
 * pages are on the disk, so an empty file is what is left of a map that was lost, and a crash
 * while the first one is made leaves nothing to repair. */
static int make_file(struct ms_store *store, char **ret_why)
{
    char *path = em_asprintf("%s/data.mdb", store->path);
    char *fresh = em_asprintf("%s/data.mdb.new", store->path);
    MDB_env *env = NULL;
    struct stat st = {.st_size = 1};
    int r = 0;
    if (stat(path, &st) == 0 || errno != ENOENT) {
        if (st.st_size == 0) {
            *ret_why = em_asprintf("%s is empty: put a copy back, or remove the file to begin "
                                   "with an empty map",
                                   path);
            r = EM_E_STORAGE;
        }
        goto out;
    }
    unlink(fresh);
    r = mdb_env_create(&env);
    if (!r)
        r = mdb_env_open(env, fresh, MDB_NOSUBDIR | MDB_NOLOCK, 0600);
    if (!r)
        r = mdb_env_sync(env, 1);
    mdb_env_close(env);
    if (!r && (rename(fresh, path) || fsync(store->lock_fd)))
        r = errno;
    if (r)
        r = explain_open(store->path, r, ret_why);
out:
    free(path);
    free(fresh);
    return r;
}

static int open_env(struct ms_store *store, const struct ms_store_config *config, char **ret_why)
{
    uint32_t schema = 0;
    uint64_t size = config->map_size ? config->map_size : DEFAULT_MAP;
    int r = mdb_env_create(&store->env);
    if (!r)
        r = mdb_env_set_maxdbs(store->env, MS_N_DBS);
    if (!r)
        r = mdb_env_set_maxreaders(store->env,
                                   config->max_readers ? config->max_readers : DEFAULT_READERS);
    if (!r)
        r = mdb_env_set_mapsize(store->env, size < SMALLEST_MAP ? SMALLEST_MAP : size);
    if (!r)
        r = mdb_env_open(store->env, store->path, MDB_NOTLS, 0600);
    if (!r)
        r = load(store, &schema);
    if (schema > STORE_SCHEMA) {
        *ret_why = em_asprintf("%s/data.mdb was written by a newer eidmap (schema %u, this program "
                               "knows up to %d): install that version again",
                               store->path, schema, STORE_SCHEMA);
        return EM_E_UNSUPPORTED;
    }
    return r ? explain_open(store->path, r, ret_why) : 0;
}

int ms_store_open(const struct ms_store_config *config, struct ms_store **ret_store, char **ret_why)
{
    struct ms_store *store = em_calloc(1, sizeof(*store));
    store->lock_fd = -1;
    store->path = em_asprintf("%s/state", config->dir);
    store->disk_reserve = config->disk_reserve ? config->disk_reserve : DEFAULT_RESERVE;
    int r = make_dir(config->dir, ret_why);
    if (!r)
        r = make_dir(store->path, ret_why);
    if (!r)
        r = lock_dir(store, ret_why);
    if (!r)
        r = make_file(store, ret_why);
    if (!r)
        r = open_env(store, config, ret_why);
    if (r) {
        ms_store_close(store);
        return r;
    }
    *ret_store = store;
    return 0;
}

void ms_store_close(struct ms_store *store)
{
    if (!store)
        return;
    if (store->env)
        mdb_env_close(store->env);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    free(store->path);
    free(store);
}

/* Bytes of the map in use, as one transaction sees it. */
static int used_bytes(struct ms_store *store, MDB_txn *txn, uint64_t *ret_used)
{
    MDB_envinfo info;
    MDB_stat stat;
    MDB_cursor *cursor;
    MDB_val key, value;
    uint64_t n_free = 0;
    int r = mdb_env_info(store->env, &info);
    if (!r)
        r = mdb_env_stat(store->env, &stat);
    if (!r)
        r = mdb_cursor_open(txn, FREE_PAGES_DBI, &cursor);
    if (r)
        return ms_txn_error(r);
    while ((r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        size_t n;
        memcpy(&n, value.mv_data, sizeof(n));
        n_free += n;
    }
    mdb_cursor_close(cursor);
    uint64_t n_pages = info.me_last_pgno + 1;
    *ret_used = (n_pages > n_free ? n_pages - n_free : 0) * stat.ms_psize;
    return r == MDB_NOTFOUND ? 0 : ms_txn_error(r);
}

static int disk_free(const struct ms_store *store, uint64_t *ret_free)
{
    struct statvfs vfs;
    if (statvfs(store->path, &vfs))
        return EM_E_STORAGE;
    *ret_free = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    return 0;
}

/* A sixteenth of the map, within limits, is kept for commands that remove: to delete from
 * a copy-on-write tree takes free pages too. */
static uint64_t map_reserve(uint64_t map_size)
{
    uint64_t reserve = map_size / 16;
    if (reserve < MAP_RESERVE_MIN)
        return MAP_RESERVE_MIN;
    return reserve > MAP_RESERVE_MAX ? MAP_RESERVE_MAX : reserve;
}

static int check_map(struct ms_store *store, uint64_t *ret_used, uint64_t *ret_size)
{
    MDB_envinfo info;
    MDB_stat stat;
    int r = mdb_env_info(store->env, &info);
    if (!r)
        r = mdb_env_stat(store->env, &stat);
    if (r)
        return ms_txn_error(r);
    *ret_size = info.me_mapsize;
    *ret_used = (info.me_last_pgno + 1) * (uint64_t)stat.ms_psize;
    if (*ret_used + map_reserve(*ret_size) <= *ret_size)
        return 0; /* surely enough; only near the end is the list of free pages worth a walk */
    MDB_txn *txn;
    r = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    if (r)
        return ms_txn_error(r);
    r = used_bytes(store, txn, ret_used);
    mdb_txn_abort(txn);
    return r;
}

/* Called before each batch: two system calls and, near the end of the map, a walk. */
int ms_store_check_room(struct ms_store *store, const char **ret_why)
{
    uint64_t n_free, used = 0, size = 0;
    int r = disk_free(store, &n_free);
    if (!r)
        r = check_map(store, &used, &size);
    if (r) {
        *ret_why = "the disk cannot be read; look at the server's log and the disk";
        return r;
    }
    if (n_free < store->disk_reserve) {
        *ret_why = "the server's disk is nearly full; free space on it";
        return EM_E_NO_SPACE;
    }
    if (used + map_reserve(size) > size) {
        *ret_why = "the map is nearly full; raise the map size of the server, or remove ports";
        return EM_E_NO_SPACE;
    }
    return 0;
}

int ms_store_stats(struct ms_store *store, struct ms_stats *ret_stats)
{
    struct ms_txn txn = {.store = store};
    struct ms_stats stats = {0};
    MDB_envinfo info;
    int r = ms_txn_error(mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn.mdb));
    if (r)
        return r;
    r = ms_meta_load(&txn);
    if (r == 0 || r == EM_E_NOT_FOUND)
        r = used_bytes(store, txn.mdb, &stats.store_used);
    mdb_txn_abort(txn.mdb);
    if (!r)
        r = ms_txn_error(mdb_env_info(store->env, &info));
    if (!r)
        r = disk_free(store, &stats.disk_free);
    if (r)
        return r;
    stats.store_size = info.me_mapsize;
    stats.revision = txn.meta.revision;
    stats.horizon = txn.meta.horizon;
    stats.applied = txn.meta.applied;
    stats.n_networks = txn.meta.n_networks;
    stats.n_nodes = txn.meta.n_nodes;
    stats.n_ports = txn.meta.n_ports;
    stats.n_eids = txn.meta.n_eids;
    *ret_stats = stats;
    return 0;
}
