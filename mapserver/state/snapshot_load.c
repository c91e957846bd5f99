/* Rows come in order, so each is appended: no page is split and no tree is searched.  Nobody
 * sees the directory before it is whole, durable and renamed. */
#include "base/mem.h"
#include "eidmap/error.h"
#include "state/snapshot_format.h"
#include "state/txn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define COMMIT_ROWS  20000u
#define FULL         ((uint64_t)1 << 20) /* a disk with less free is what broke a write */
#define COMMIT_BYTES ((size_t)8 << 20)   /* dirty pages are memory until the commit */

struct load {
    const struct ms_snapshot_target *target;
    const char *tmp;
    struct ms_env *env;
    struct ms_txn txn;
    MDB_cursor *cursor;
    enum ms_db db; /* of the cursor */
    unsigned n_rows;
    size_t n_bytes;
    uint64_t n_db_rows[MS_N_DBS];
    struct ms_walk walk;
    char **ret_why;
};

static int failed(struct load *load, int err)
{
    if (err == EM_E_NO_SPACE)
        *load->ret_why = em_asprintf("no room for the map in %s: free disk space, or raise the map "
                                     "size",
                                     load->target->dir);
    else
        *load->ret_why = em_asprintf("cannot build the map in %s: %s", load->tmp, em_strerror(err));
    return err;
}

static int failed_system(struct load *load)
{
    return failed(load, errno == ENOSPC || errno == EDQUOT ? EM_E_NO_SPACE : -errno);
}

static int begin(struct load *load)
{
    load->txn = (struct ms_txn){.env = load->env};
    load->n_rows = 0;
    load->n_bytes = 0;
    int r = mdb_txn_begin(load->env->mdb, NULL, 0, &load->txn.mdb);
    return r ? failed(load, ms_txn_error(r)) : 0;
}

/* Where the next row goes.  Only before the first row of a transaction: what it has changed
 * already is in the heap. */
static void give_back(struct load *load)
{
    MDB_val key, value;
    if (mdb_cursor_get(load->cursor, &key, &value, MDB_LAST))
        return;
    ms_walk_note(&load->walk, value.mv_data, value.mv_size);
    ms_walk_give_back(&load->walk);
}

static bool has_room(struct load *load, uint64_t bytes)
{
    struct statvfs vfs;
    return statvfs(load->target->dir, &vfs) || (uint64_t)vfs.f_bavail * vfs.f_frsize >= bytes;
}

static int check_disk(struct load *load)
{
    uint64_t reserve = load->target->disk_reserve;
    return has_room(load, reserve ? reserve : MS_DISK_RESERVE) ? 0 : failed(load, EM_E_NO_SPACE);
}

/* LMDB takes a write that the disk cut short for an I/O error. */
static int failed_commit(struct load *load, int err)
{
    return failed(load, err == EM_E_STORAGE && !has_room(load, FULL) ? EM_E_NO_SPACE : err);
}

static void close_cursor(struct load *load)
{
    if (load->cursor)
        mdb_cursor_close(load->cursor);
    load->cursor = NULL;
}

static int commit(struct load *load)
{
    MDB_txn *mdb = load->txn.mdb;
    close_cursor(load);
    load->txn.mdb = NULL;
    int r = mdb_txn_commit(mdb);
    return r ? failed_commit(load, ms_txn_error(r)) : check_disk(load);
}

static int on_row(void *aux, enum ms_db db, struct ms_blob key, struct ms_blob value, bool is_more)
{
    struct load *load = aux;
    MDB_val k = {key.size, (void *)key.data}, v = {value.size, (void *)value.data};
    int r = 0;
    if (load->n_rows == COMMIT_ROWS || load->n_bytes >= COMMIT_BYTES) {
        r = commit(load);
        if (!r)
            r = begin(load);
        if (r)
            return r;
    }
    if (load->cursor && load->db != db)
        close_cursor(load);
    if (!load->cursor) {
        r = mdb_cursor_open(load->txn.mdb, load->env->dbis[db], &load->cursor);
        if (!r && load->n_rows == 0)
            give_back(load);
    }
    load->db = db;
    if (!r)
        r = mdb_cursor_put(load->cursor, &k, &v, is_more ? MDB_APPENDDUP : MDB_APPEND);
    if (r)
        return failed(load, ms_txn_error(r));
    load->n_rows++;
    load->n_bytes += key.size + value.size;
    load->n_db_rows[db]++;
    return 0;
}

/* Does the map hold what was put into it? */
static int check_counts(struct load *load)
{
    MDB_stat stat;
    for (int db = 0; db < MS_N_DBS; db++) {
        int r = mdb_stat(load->txn.mdb, load->env->dbis[db], &stat);
        if (r)
            return failed(load, ms_txn_error(r));
        if (stat.ms_entries != load->n_db_rows[db])
            return failed(load, EM_E_STORAGE);
    }
    return 0;
}

/* Fills the environment; the last commit gives it its identity. */
static int fill(struct load *load, const char *path, struct ms_snapshot_job *job,
                struct ms_snapshot_info *info)
{
    int r = begin(load);
    if (!r)
        r = ms_snap_scan(path, on_row, load, job, info, load->ret_why);
    close_cursor(load);
    if (!r)
        r = check_counts(load);
    if (r) {
        ms_txn_abort(&load->txn);
        return r;
    }
    const struct ms_identity *identity = load->target->identity;
    ms_meta_load(&load->txn);
    ms_identity_write(&load->txn, identity ? identity : &info->identity);
    ms_identity_require(&load->txn, info->schema);
    r = ms_txn_commit(&load->txn);
    if (!r)
        r = ms_txn_error(mdb_env_sync(load->env->mdb, 1));
    return r ? failed_commit(load, r) : check_disk(load);
}

static int sync_file(struct load *load)
{
    char *path = em_asprintf("%s/data.mdb", load->tmp);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int r = fd < 0 || fsync(fd) ? failed_system(load) : 0;
    if (fd >= 0)
        close(fd);
    free(path);
    return r;
}

static int publish(struct load *load, const char *path)
{
    int r = sync_file(load);
    if (r)
        return r;
    errno = -ms_env_sync_dir(load->tmp);
    if (errno || rename(load->tmp, path))
        return failed_system(load);
    errno = -ms_env_sync_dir(load->target->dir);
    if (!errno)
        return 0;
    r = failed_system(load);
    ms_env_remove(path);
    return r;
}

static int build(struct load *load, const char *from, const char *path, struct ms_snapshot_job *job,
                 struct ms_snapshot_info *info)
{
    uint64_t map_size = load->target->map_size ? load->target->map_size : MS_MAP_SIZE;
    ms_env_remove(load->tmp);
    if (access(path, F_OK) == 0) {
        *load->ret_why = em_asprintf("%s is there already", path);
        return EM_E_EXISTS;
    }
    if (mkdir(load->tmp, 0700))
        return failed_system(load);
    int r = ms_env_build(load->tmp, map_size, &load->env, load->ret_why);
    if (!r)
        r = fill(load, from, job, info);
    ms_env_close(load->env, false);
    if (!r)
        r = publish(load, path);
    if (r)
        ms_env_remove(load->tmp);
    return r;
}

int ms_snapshot_load(const char *path, const struct ms_snapshot_target *target,
                     struct ms_snapshot_job *job, struct ms_snapshot_info *ret_info, char **ret_why)
{
    struct ms_snapshot_info info = {0};
    char *final = ms_env_path(target->dir, target->generation);
    char *tmp = em_asprintf("%s.tmp", final);
    struct load load = {.target = target, .tmp = tmp, .ret_why = ret_why};
    assert(target->generation > 0);
    int r = build(&load, path, final, job, &info);
    if (r)
        ms_snapshot_info_fini(&info);
    else
        *ret_info = info;
    free(final);
    free(tmp);
    return r;
}

void ms_snapshot_discard(const char *dir, uint64_t generation)
{
    char *path = ms_env_path(dir, generation);
    ms_env_remove(path);
    free(path);
}
