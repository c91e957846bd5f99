/* How full the map and its disk are. */
#include "state/txn.h"

#include <string.h>
#include <sys/statvfs.h>

#define MAP_RESERVE_MIN (256ull << 10)
#define MAP_RESERVE_MAX (64ull << 20)

static int disk_free(const struct ms_store *store, uint64_t *ret_free)
{
    struct statvfs vfs;
    if (statvfs(ms_store_config(store)->dir, &vfs))
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

static int check_map(struct ms_env *env, uint64_t *ret_used, uint64_t *ret_size)
{
    MDB_envinfo info;
    MDB_stat stat;
    int r = mdb_env_info(env->mdb, &info);
    if (!r)
        r = mdb_env_stat(env->mdb, &stat);
    if (r)
        return ms_txn_error(r);
    *ret_size = env->limit;
    *ret_used = (info.me_last_pgno + 1) * (uint64_t)stat.ms_psize;
    if (*ret_used + map_reserve(*ret_size) <= *ret_size)
        return 0; /* surely enough; only near the end is the list of free pages worth a walk */
    MDB_txn *txn;
    r = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn);
    if (r)
        return ms_txn_error(r);
    r = ms_env_used(env, txn, ret_used);
    mdb_txn_abort(txn);
    return r;
}

/* Called before each batch: two system calls and, near the end of the map, a walk. */
int ms_store_check_room(struct ms_store *store, const char **ret_why)
{
    uint64_t n_free, used = 0, size = 0;
    int r = disk_free(store, &n_free);
    if (!r)
        r = check_map(ms_store_env(store), &used, &size);
    if (r) {
        *ret_why = "the disk cannot be read; look at the server's log and the disk";
        return r;
    }
    if (n_free < ms_store_config(store)->disk_reserve) {
        *ret_why = "the server's disk is nearly full; free space on it";
        return EM_E_NO_SPACE;
    }
    if (used + map_reserve(size) > size) {
        *ret_why = "the map is nearly full; raise the map size of the server, or remove ports";
        return EM_E_NO_SPACE;
    }
    return 0;
}

static int env_stats(struct ms_env *env, struct ms_stats *ret_stats)
{
    struct ms_txn txn;
    int r = ms_txn_look(env, &txn);
    if (r)
        return r;
    r = ms_env_used(env, txn.mdb, &ret_stats->store_used);
    ms_txn_abort(&txn);
    if (r)
        return r;
    ret_stats->store_size = env->limit;
    ret_stats->revision = txn.meta.revision;
    ret_stats->horizon = txn.meta.horizon;
    ret_stats->applied = txn.meta.applied;
    ret_stats->n_networks = txn.meta.n_networks;
    ret_stats->n_nodes = txn.meta.n_nodes;
    ret_stats->n_ports = txn.meta.n_ports;
    ret_stats->n_eids = txn.meta.n_eids;
    return 0;
}

int ms_store_stats(struct ms_store *store, struct ms_stats *ret_stats)
{
    struct ms_stats stats = {0};
    struct ms_env *env = ms_store_enter(store);
    int r = env_stats(env, &stats);
    ms_store_leave(store, env);
    if (!r)
        r = disk_free(store, &stats.disk_free);
    if (!r)
        *ret_stats = stats;
    return r;
}
