/* The environment is opened with MDB_NOTLS, so that a read transaction belongs to its
 * object and not to a thread, and with MDB_NOSYNC, which is safe by what checkpoint.h says.
 * Never with MDB_WRITEMAP: the kernel would write pages of a transaction that has not ended. */
#include "state/env.h"

#include "base/mem.h"
#include "state/identity.h"
#include "state/txn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define SMALLEST_MAP       (1ull << 20)
#define BEYOND_LIMIT       (64ull << 20)
#define CHECKPOINT_READERS 2 /* the last one, and the next */

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

const char *ms_db_name(enum ms_db db)
{
    return dbs[db].name;
}

bool ms_db_is_multiple(enum ms_db db)
{
    return dbs[db].flags & MDB_DUPSORT;
}

char *ms_env_path(const char *dir, uint64_t generation)
{
    if (generation == 0)
        return em_asprintf("%s/state", dir);
    return em_asprintf("%s/state-%" PRIu64, dir, generation);
}

int ms_env_sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
    if (fd < 0 || fsync(fd))
        r = -errno;
    if (fd >= 0)
        close(fd);
    return r;
}

void ms_walk_note(struct ms_walk *walk, const void *data, size_t size)
{
    uintptr_t at = (uintptr_t)data;
    if (walk->low == 0 || at < walk->low)
        walk->low = at;
    if (at + size > walk->high)
        walk->high = at + size;
}

void ms_walk_give_back(struct ms_walk *walk)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), low = walk->low / page * page;
    if (walk->high > low)
        madvise((void *)low, walk->high - low, MADV_DONTNEED);
}

static const char *const files[] = {"data.mdb", "data.mdb.new", MS_CHECKPOINT_FILE,
                                    MS_CHECKPOINT_FILE ".new", "lock.mdb"};

static bool is_file_of_env(const char *name)
{
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (!strcmp(name, files[i]))
            return true;
    return false;
}

void ms_env_remove(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return;
    bool is_ours = true;
    for (struct dirent *entry; is_ours && (entry = readdir(dir));)
        is_ours = is_file_of_env(entry->d_name) || !strcmp(entry->d_name, ".") ||
                  !strcmp(entry->d_name, "..");
    if (is_ours) {
        for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
            unlinkat(dirfd(dir), files[i], 0);
        rmdir(path);
    }
    closedir(dir);
}

int ms_env_explain(const char *path, int mdb_err, char **ret_why)
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
static int walk(struct ms_env *env)
{
    MDB_txn *txn;
    int r = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn);
    if (r)
        return r;
    for (int db = 0; db < MS_N_DBS && !r; db++) {
        MDB_cursor *cursor;
        MDB_val key, value;
        r = mdb_cursor_open(txn, env->dbis[db], &cursor);
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
static int fill_up(struct ms_env *env, bool *ret_short)
{
    MDB_envinfo info;
    MDB_stat stat;
    struct stat st;
    int fd;
    int r = mdb_env_info(env->mdb, &info);
    if (!r)
        r = mdb_env_stat(env->mdb, &stat);
    if (!r)
        r = mdb_env_get_fd(env->mdb, &fd);
    if (r)
        return r;
    if (fstat(fd, &st))
        return errno;
    off_t need = (off_t)((info.me_last_pgno + 1) * stat.ms_psize);
    *ret_short = st.st_size < need;
    return *ret_short && ftruncate(fd, need) ? errno : 0;
}

static int open_dbs(struct ms_env *env, MDB_txn *txn, bool *ret_fresh)
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
        r = mdb_dbi_open(txn, dbs[db].name, dbs[db].flags | create, &env->dbis[db]);
    return r == MDB_NOTFOUND ? MDB_INVALID : r;
}

/* A new map's name and nothing else. */
static int begin_map(struct ms_txn *txn)
{
    struct ms_identity identity = {0};
    if (getrandom(identity.cluster_id, MS_CLUSTER_ID_SIZE, 0) != MS_CLUSTER_ID_SIZE)
        return errno;
    ms_identity_write(txn, &identity);
    return 0;
}

static int read_cluster_id(struct ms_env *env)
{
    struct ms_txn txn;
    struct ms_identity identity;
    int r = ms_txn_look(env, &txn);
    if (r)
        return MDB_CORRUPTED;
    r = ms_identity_read(&txn, &identity);
    ms_txn_abort(&txn);
    if (r)
        return MDB_CORRUPTED;
    memcpy(env->cluster_id, identity.cluster_id, MS_CLUSTER_ID_SIZE);
    ms_identity_fini(&identity);
    return 0;
}

/* 0, an LMDB code, or MDB_VERSION_MISMATCH with *ret_schema when a newer program wrote it. */
static int load(struct ms_env *env, uint32_t *ret_schema)
{
    struct ms_txn txn = {.env = env};
    bool is_fresh, is_short;
    int r = fill_up(env, &is_short);
    if (!r)
        r = mdb_txn_begin(env->mdb, NULL, 0, &txn.mdb);
    if (r)
        return r;
    r = open_dbs(env, txn.mdb, &is_fresh);
    if (!r && is_fresh)
        r = begin_map(&txn);
    else if (!r && !ms_identity_is_known(&txn, ret_schema))
        r = *ret_schema ? MDB_VERSION_MISMATCH : MDB_INVALID;
    if (r || txn.err) {
        ms_txn_abort(&txn);
        return r ? r : ENOSPC;
    }
    r = mdb_txn_commit(txn.mdb);
    if (!r && is_fresh && ms_checkpoint_now(env->checkpoint))
        r = EIO;
    if (!r && is_short)
        r = walk(env);
    return r ? r : read_cluster_id(env);
}

/* LMDB takes an empty file for a new map.  Here a new map gets its name only when its first
 * pages are on the disk, so an empty file is what is left of a map that was lost, and a crash
 * while the first one is made leaves nothing to repair. */
static int make_file(const char *dir, char **ret_why)
{
    char *path = em_asprintf("%s/data.mdb", dir);
    char *fresh = em_asprintf("%s/data.mdb.new", dir);
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
    if (!r && rename(fresh, path))
        r = errno;
    if (!r)
        r = -ms_env_sync_dir(dir);
    if (r)
        r = ms_env_explain(dir, r, ret_why);
out:
    free(path);
    free(fresh);
    return r;
}

/* 'beyond': bytes that LMDB may take over the limit. */
static int create(struct ms_env *env, uint64_t map_size, uint64_t beyond)
{
    int r = mdb_env_create(&env->mdb);
    env->limit = map_size < SMALLEST_MAP ? SMALLEST_MAP : map_size;
    if (!r)
        r = mdb_env_set_maxdbs(env->mdb, MS_N_DBS);
    if (!r)
        r = mdb_env_set_mapsize(env->mdb, env->limit + beyond);
    return r;
}

int ms_env_open(const char *path, const struct ms_store_config *config, struct ms_env **ret_env,
                char **ret_why)
{
    uint32_t schema = 0;
    uint64_t map_size = config->map_size;
    int r = make_file(path, ret_why);
    if (!r)
        r = ms_checkpoint_restore(path, ret_why);
    if (r)
        return r;
    struct ms_env *env = em_calloc(1, sizeof(*env));
    env->path = em_strdup(path);
    /* What is committed must be applied: the limit is kept where commands are proposed, and
     * those under way have some room beyond it. */
    r = create(env, map_size, map_size / 8 + BEYOND_LIMIT);
    if (!r)
        r = mdb_env_set_maxreaders(env->mdb, config->max_readers + CHECKPOINT_READERS);
    if (!r)
        r = mdb_env_open(env->mdb, path, MDB_NOTLS | MDB_NOSYNC, 0600);
    if (!r)
        r = ms_checkpoint_open(path, env->mdb, &env->checkpoint);
    if (!r)
        r = load(env, &schema);
    if (!r) {
        *ret_env = env;
        return 0;
    }
    ms_env_close(env, true); /* nothing was written: data.mdb is what it was */
    if (schema <= MS_SCHEMA_STORED)
        return ms_env_explain(path, r, ret_why);
    *ret_why = em_asprintf("%s/data.mdb was written by a newer eidmap (schema %u, this program "
                           "knows up to %d): install that version again",
                           path, schema, MS_SCHEMA_STORED);
    return EM_E_UNSUPPORTED;
}

int ms_env_build(const char *path, uint64_t map_size, struct ms_env **ret_env, char **ret_why)
{
    struct ms_env *env = em_calloc(1, sizeof(*env));
    MDB_txn *txn = NULL;
    bool is_fresh;
    env->path = em_strdup(path);
    int r = create(env, map_size, 0);
    if (!r)
        r = mdb_env_open(env->mdb, path, MDB_NOTLS | MDB_NOLOCK | MDB_NOSYNC, 0600);
    if (!r)
        r = mdb_txn_begin(env->mdb, NULL, 0, &txn);
    if (!r) {
        r = open_dbs(env, txn, &is_fresh);
        if (!r && is_fresh)
            r = mdb_txn_commit(txn);
        else
            mdb_txn_abort(txn);
    }
    if (!r) {
        *ret_env = env;
        return 0;
    }
    ms_env_close(env, false);
    return ms_env_explain(path, r, ret_why);
}

void ms_env_close(struct ms_env *env, bool is_orderly)
{
    if (!env)
        return;
    ms_checkpoint_close(env->checkpoint, is_orderly);
    if (env->mdb)
        mdb_env_close(env->mdb);
    free(env->path);
    free(env);
}

int ms_env_used(struct ms_env *env, MDB_txn *txn, uint64_t *ret_used)
{
    MDB_envinfo info;
    MDB_stat stat;
    MDB_cursor *cursor;
    MDB_val key, value;
    uint64_t n_free = 0;
    int r = mdb_env_info(env->mdb, &info);
    if (!r)
        r = mdb_env_stat(env->mdb, &stat);
    if (!r)
        r = mdb_cursor_open(txn, MS_FREE_PAGES_DBI, &cursor);
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
