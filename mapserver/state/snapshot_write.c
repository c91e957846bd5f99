/* One read transaction over all databases.
 *
 * LMDB's pages are mapped memory: walking the map once would make all of it resident, so they
 * are given back as the walk goes on. */
#include "base/buf.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "eidmap/error.h"
#include "state/key.h"
#include "state/snapshot_format.h"
#include "state/txn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define GIVE_BACK   ((uint64_t)1 << 20) /* bytes of rows after which mapped pages are given back */
#define CHECK_BYTES ((uint64_t)4 << 20) /* bytes of file after which the disk is asked */

struct writer {
    struct ms_txn txn;
    const char *path;
    int fd;
    uint64_t disk_reserve;
    struct ms_snapshot_job *job;
    struct em_digest *digest;
    struct em_buf block; /* rows of 'db' */
    enum ms_db db;
    uint64_t n_db_rows[MS_N_DBS];
    uint64_t n_rows, n_bytes;
    uint64_t next_check, n_since_given;
    struct ms_walk walk;
    char **ret_why;
};

static int failed(struct writer *w, int err)
{
    if (err == -ENOSPC || err == -EDQUOT) {
        *w->ret_why = em_asprintf("no room to write %s: free space on its disk", w->path);
        return EM_E_NO_SPACE;
    }
    *w->ret_why = em_asprintf("cannot write %s: %s", w->path, em_strerror(err));
    return err;
}

static int check_disk(struct writer *w)
{
    struct statvfs vfs;
    if (w->n_bytes < w->next_check)
        return 0;
    w->next_check = w->n_bytes + CHECK_BYTES;
    if (fstatvfs(w->fd, &vfs))
        return failed(w, -errno);
    bool has_room = (uint64_t)vfs.f_bavail * vfs.f_frsize >= w->disk_reserve;
    return has_room ? 0 : failed(w, -ENOSPC);
}

static int write_out(struct writer *w, const void *data, size_t size)
{
    const uint8_t *at = data;
    w->n_bytes += size;
    while (size) {
        ssize_t n = write(w->fd, at, size);
        if (n < 0 && errno != EINTR)
            return failed(w, -errno);
        at += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int write_piece(struct writer *w, const char *tag, const struct em_buf *content)
{
    uint8_t head[MS_SNAP_PIECE_HEAD];
    size_t size = em_buf_size(content);
    assert(size <= MS_SNAP_PIECE_MAX);
    memcpy(head, tag, 4);
    ms_write_u32(head + 4, (uint32_t)size);
    ms_write_u32(head + 8, em_crc32c(0, em_buf_head(content), size));
    ms_write_u32(head + 12, em_crc32c(0, head, 12));
    int r = check_disk(w);
    if (!r)
        r = write_out(w, head, sizeof(head));
    return r ? r : write_out(w, em_buf_head(content), size);
}

static void put_u8(struct em_buf *buf, size_t n)
{
    uint8_t byte = (uint8_t)n;
    em_buf_append(buf, &byte, 1);
}

static void put_u32(struct em_buf *buf, size_t n)
{
    ms_write_u32(em_buf_reserve(buf, 4), (uint32_t)n);
    em_buf_commit(buf, 4);
}

static void put_u64(struct em_buf *buf, uint64_t n)
{
    ms_write_u64(em_buf_reserve(buf, 8), n);
    em_buf_commit(buf, 8);
}

static int write_head(struct writer *w, const struct ms_identity *identity)
{
    uint8_t head[MS_SNAP_FILE_HEAD];
    struct em_buf buf;
    memcpy(head, MS_SNAP_MAGIC, MS_SNAP_MAGIC_SIZE);
    ms_write_u32(head + MS_SNAP_MAGIC_SIZE, MS_SNAP_VERSION);
    int r = write_out(w, head, sizeof(head));
    if (r)
        return r;
    em_buf_init(&buf);
    put_u32(&buf, ms_identity_schema(&w->txn));
    em_buf_append(&buf, identity->cluster_id, MS_CLUSTER_ID_SIZE);
    put_u64(&buf, identity->recovery);
    put_u64(&buf, identity->applied);
    put_u64(&buf, identity->applied_term);
    put_u64(&buf, w->txn.meta.revision);
    put_u64(&buf, identity->members_index);
    put_u32(&buf, identity->members_size);
    em_buf_append(&buf, identity->members, identity->members_size);
    put_u8(&buf, MS_N_DBS);
    for (int db = 0; db < MS_N_DBS; db++) {
        const char *name = ms_db_name((enum ms_db)db);
        put_u8(&buf, ms_db_is_multiple((enum ms_db)db));
        put_u8(&buf, strlen(name));
        em_buf_append(&buf, name, strlen(name));
    }
    r = write_piece(w, MS_SNAP_HEAD, &buf);
    em_buf_fini(&buf);
    return r;
}

static int flush(struct writer *w)
{
    if (em_buf_size(&w->block) == 0)
        return 0;
    em_digest_add(w->digest, em_buf_head(&w->block) + 1, em_buf_size(&w->block) - 1);
    int r = write_piece(w, MS_SNAP_ROWS, &w->block);
    em_buf_take(&w->block, em_buf_size(&w->block));
    if (w->n_since_given >= GIVE_BACK) {
        ms_walk_give_back(&w->walk);
        w->n_since_given = 0;
    }
    return r ? r : ms_snap_report(w->job, w->n_bytes, w->n_rows, w->ret_why);
}

static int write_row(struct writer *w, struct ms_blob key, struct ms_blob value)
{
    size_t size = MS_SNAP_ROW_HEAD + key.size + value.size;
    if (key.size > MS_SNAP_KEY_MAX || value.size > MS_SNAP_VALUE_MAX) {
        *w->ret_why = em_asprintf("the map has a row of %zu bytes, which no copy can hold", size);
        return EM_E_LIMIT;
    }
    int r = em_buf_size(&w->block) + size > MS_SNAP_BLOCK ? flush(w) : 0;
    if (r)
        return r;
    if (w->n_db_rows[w->db] == 0) /* with the NUL */
        em_digest_add(w->digest, ms_db_name(w->db), strlen(ms_db_name(w->db)) + 1);
    if (em_buf_size(&w->block) == 0)
        put_u8(&w->block, w->db);
    put_u8(&w->block, key.size >> 8);
    put_u8(&w->block, key.size);
    put_u32(&w->block, value.size);
    em_buf_append(&w->block, key.data, key.size);
    em_buf_append(&w->block, value.data, value.size);
    w->n_db_rows[w->db]++;
    w->n_rows++;
    return 0;
}

static int write_counters(struct writer *w)
{
    struct ms_meta common = ms_snap_common(&w->txn.meta);
    uint8_t row[MS_N_META * 8];
    ms_meta_pack(&common, row);
    return write_row(w, ms_meta_key(), ms_blob(row, sizeof(row)));
}

static int compare(struct ms_blob a, struct ms_blob b)
{
    int r = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return r ? r : (a.size > b.size) - (a.size < b.size);
}

/* Identity is in the head; the counters get their place even in a map that has none yet. */
static int write_meta_row(struct writer *w, struct ms_blob key, struct ms_blob value,
                          bool *has_counters)
{
    int order = compare(key, ms_meta_key()), r = 0;
    if (ms_identity_owns(key))
        return 0;
    if (order >= 0 && !*has_counters) {
        *has_counters = true;
        r = write_counters(w);
    }
    return r || order == 0 ? r : write_row(w, key, value);
}

static int write_db(struct writer *w, enum ms_db db)
{
    struct ms_blob key = {0}, value = {0};
    bool has_counters = db != MS_DB_META;
    int r;
    w->db = db;
    MDB_cursor *cursor = ms_txn_cursor(&w->txn, db);
    if (!cursor)
        return w->txn.err;
    while ((r = ms_txn_seek(&w->txn, cursor, MDB_NEXT, &key, &value)) == 0) {
        ms_walk_note(&w->walk, value.data, value.size);
        w->n_since_given += value.size;
        if (db == MS_DB_META)
            r = write_meta_row(w, key, value, &has_counters);
        else
            r = write_row(w, key, value);
        if (r)
            break;
    }
    mdb_cursor_close(cursor);
    r = r == EM_E_NOT_FOUND ? 0 : r;
    if (!r && !has_counters)
        r = write_counters(w);
    return r ? r : flush(w);
}

static int write_tail(struct writer *w, uint8_t ret_digest[EM_DIGEST_SIZE])
{
    struct em_buf buf;
    em_buf_init(&buf);
    em_digest_end(w->digest, ret_digest);
    for (int db = 0; db < MS_N_DBS; db++)
        put_u64(&buf, w->n_db_rows[db]);
    em_buf_append(&buf, ret_digest, EM_DIGEST_SIZE);
    int r = write_piece(w, MS_SNAP_TAIL, &buf);
    em_buf_fini(&buf);
    return r;
}

static int write_all(struct writer *w, struct ms_snapshot_info *info)
{
    int r = ms_identity_read(&w->txn, &info->identity);
    if (!r)
        r = write_head(w, &info->identity);
    for (int db = 0; db < MS_N_DBS && !r; db++)
        r = write_db(w, (enum ms_db)db);
    if (!r)
        r = write_tail(w, info->digest);
    info->schema = ms_identity_schema(&w->txn);
    info->n_rows = w->n_rows;
    info->n_bytes = w->n_bytes;
    ms_snap_add_counters(info, &w->txn.meta);
    return r ? r : ms_snap_report(w->job, w->n_bytes, w->n_rows, w->ret_why);
}

static int write_file(struct writer *w, bool is_durable, struct ms_snapshot_info *info)
{
    unlink(w->path);
    w->fd = open(w->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (w->fd < 0)
        return failed(w, -errno);
    int r = write_all(w, info);
    if (!r && is_durable && fdatasync(w->fd))
        r = failed(w, -errno);
    close(w->fd);
    if (r)
        unlink(w->path);
    return r;
}

int ms_snapshot_write(struct ms_store *store, const char *path, bool is_durable,
                      struct ms_snapshot_job *job, struct ms_snapshot_info *ret_info,
                      char **ret_why)
{
    struct ms_env *env = ms_store_enter(store);
    struct ms_snapshot_info info = {0};
    char *why = NULL;
    struct writer w = {
        .path = path,
        .disk_reserve = ms_store_config(store)->disk_reserve,
        .job = job,
        .ret_why = &why,
    };
    int r = ms_txn_look(env, &w.txn);
    if (!r) {
        w.digest = em_digest_new();
        em_buf_init(&w.block);
        r = write_file(&w, is_durable, &info);
        em_buf_fini(&w.block);
        em_digest_free(w.digest);
        ms_txn_abort(&w.txn);
    }
    ms_store_leave(store, env);
    if (!r) {
        *ret_info = info;
        return 0;
    }
    ms_snapshot_info_fini(&info);
    *ret_why = why ? why : em_asprintf("the map cannot be read: %s", em_strerror(r));
    return r;
}
