/* A copy comes from another machine or from a shelf: nothing in it is believed before its
 * sum was checked, no size before it was bounded, and no order without a look. */
#include "base/crc32c.h"
#include "base/mem.h"
#include "eidmap/error.h"
#include "state/key.h"
#include "state/snapshot_format.h"
#include "state/txn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct db {
    enum ms_db db;
    uint64_t n_rows;
};

struct last {
    size_t size;
    uint8_t bytes[MS_SNAP_KEY_MAX];
};

struct scan {
    const char *path;
    int fd;
    uint64_t at;    /* bytes read */
    uint64_t piece; /* where the piece began that is looked at */
    char tag[4];
    uint8_t *content; /* of the piece */
    size_t size, room;
    size_t taken; /* of the content */
    struct db dbs[MS_SNAP_DBS_MAX];
    unsigned n_dbs;
    unsigned db; /* index of the last row's */
    struct last key, value;
    bool has_counters;
    struct em_digest *digest;
    ms_snap_row_fn *visit;
    void *aux;
    struct ms_snapshot_job *job;
    struct ms_snapshot_info info;
    char **ret_why;
};

/* ------------------------------------------------------------------------ what is wrong */

static int damaged(struct scan *s, const char *what)
{
    *s->ret_why = em_asprintf("%s is damaged in the piece at byte %" PRIu64 ": %s; take another "
                              "copy",
                              s->path, s->piece, what);
    return EM_E_MALFORMED;
}

static int cut_off(struct scan *s)
{
    *s->ret_why = em_asprintf("%s ends too early, at byte %" PRIu64 ": fetch it again, or take "
                              "another copy",
                              s->path, s->at);
    return EM_E_MALFORMED;
}

static int foreign(struct scan *s)
{
    *s->ret_why =
        em_asprintf("%s is not a copy of a map: name a file that eidmap has written", s->path);
    return EM_E_MALFORMED;
}

static int newer(struct scan *s, const char *what, uint32_t version, uint32_t known)
{
    *s->ret_why = em_asprintf("%s was written by a newer eidmap (%s %" PRIu32 ", this program "
                              "knows up to %" PRIu32 "): install that version",
                              s->path, what, version, known);
    return EM_E_UNSUPPORTED;
}

/* ------------------------------------------------------------------------------- pieces */

/* Up to 'size' bytes; fewer at the end of the file. */
static int read_in(struct scan *s, void *to, size_t size, size_t *ret_n)
{
    size_t n = 0;
    while (n < size) {
        ssize_t got = read(s->fd, (uint8_t *)to + n, size - n);
        if (got == 0)
            break;
        if (got < 0 && errno != EINTR) {
            int err = -errno;
            *s->ret_why = em_asprintf("cannot read %s: %s", s->path, em_strerror(err));
            return err;
        }
        n += got > 0 ? (size_t)got : 0;
    }
    s->at += n;
    *ret_n = n;
    return 0;
}

static int read_exactly(struct scan *s, void *to, size_t size)
{
    size_t n;
    int r = read_in(s, to, size, &n);
    if (r)
        return r;
    return n < size ? cut_off(s) : 0;
}

static int read_piece(struct scan *s)
{
    uint8_t head[MS_SNAP_PIECE_HEAD];
    s->piece = s->at;
    int r = read_exactly(s, head, sizeof(head));
    if (r)
        return r;
    if (ms_read_u32(head + 12) != em_crc32c(0, head, 12))
        return damaged(s, "the sum of its head is wrong");
    memcpy(s->tag, head, sizeof(s->tag));
    s->size = ms_read_u32(head + 4);
    s->taken = 0;
    if (s->size > MS_SNAP_PIECE_MAX)
        return damaged(s, "it is larger than any piece");
    if (s->size > s->room) {
        s->content = em_realloc(s->content, s->size);
        s->room = s->size;
    }
    r = read_exactly(s, s->content, s->size);
    if (!r && ms_read_u32(head + 8) != em_crc32c(0, s->content, s->size))
        r = damaged(s, "the sum of its content is wrong");
    return r;
}

static bool is_piece(const struct scan *s, const char *tag)
{
    return memcmp(s->tag, tag, sizeof(s->tag)) == 0;
}

/* The next bytes of the content; NULL when there are not so many. */
static const uint8_t *take(struct scan *s, size_t size)
{
    if (s->size - s->taken < size)
        return NULL;
    const uint8_t *at = s->content + s->taken;
    s->taken += size;
    return at;
}

/* --------------------------------------------------------------------------------- head */

static int take_db(struct scan *s)
{
    const uint8_t *sizes = take(s, 2);
    const uint8_t *name = sizes ? take(s, sizes[1]) : NULL;
    if (!name || sizes[1] > MS_SNAP_NAME_MAX)
        return damaged(s, "a database has no name");
    for (int i = 0; i < MS_N_DBS; i++) {
        enum ms_db db = (enum ms_db)i;
        if (strlen(ms_db_name(db)) != sizes[1] || memcmp(ms_db_name(db), name, sizes[1]) != 0)
            continue;
        if (ms_db_is_multiple(db) != sizes[0])
            return damaged(s, "a database is of another kind");
        for (unsigned k = 0; k < s->n_dbs; k++)
            if (s->dbs[k].db == db)
                return damaged(s, "a database comes twice");
        s->dbs[s->n_dbs++].db = db;
        return 0;
    }
    *s->ret_why = em_asprintf("%s was written by a newer eidmap (it has the database \"%.*s\"): "
                              "install that version",
                              s->path, sizes[1], (const char *)name);
    return EM_E_UNSUPPORTED;
}

static int take_members(struct scan *s)
{
    struct ms_identity *identity = &s->info.identity;
    const uint8_t *size = take(s, 4);
    identity->members_size = size ? ms_read_u32(size) : 0;
    const uint8_t *members = size ? take(s, identity->members_size) : NULL;
    if (!members || identity->members_size > MS_MEMBERS_MAX) {
        identity->members_size = 0;
        return damaged(s, "the members are not whole");
    }
    if (identity->members_size)
        identity->members = em_memdup(members, identity->members_size);
    return 0;
}

static int take_head(struct scan *s)
{
    struct ms_identity *identity = &s->info.identity;
    const uint8_t *at = is_piece(s, MS_SNAP_HEAD) ? take(s, 4) : NULL;
    if (!at)
        return damaged(s, "it should be the head");
    s->info.schema = ms_read_u32(at);
    if (s->info.schema > MS_SCHEMA_STORED)
        return newer(s, "schema", s->info.schema, MS_SCHEMA_STORED);
    at = take(s, MS_CLUSTER_ID_SIZE + 5 * 8);
    if (!at)
        return damaged(s, "the head is not whole");
    memcpy(identity->cluster_id, at, MS_CLUSTER_ID_SIZE);
    at += MS_CLUSTER_ID_SIZE;
    identity->recovery = ms_read_u64(at);
    identity->applied = ms_read_u64(at + 8);
    identity->applied_term = ms_read_u64(at + 16);
    s->info.revision = ms_read_u64(at + 24);
    identity->members_index = ms_read_u64(at + 32);
    int r = take_members(s);
    const uint8_t *n = r ? NULL : take(s, 1);
    if (!r && (!n || *n > MS_SNAP_DBS_MAX))
        r = damaged(s, "the head is not whole");
    for (unsigned i = 0; !r && i < *n; i++)
        r = take_db(s);
    return !r && s->taken != s->size ? damaged(s, "something follows the head") : r;
}

/* --------------------------------------------------------------------------------- rows */

static int compare(const struct last *last, struct ms_blob blob)
{
    size_t size = last->size < blob.size ? last->size : blob.size;
    int r = size ? memcmp(last->bytes, blob.data, size) : 0;
    return r ? r : (last->size > blob.size) - (last->size < blob.size);
}

static void keep(struct last *last, struct ms_blob blob)
{
    memcpy(last->bytes, blob.data, blob.size);
    last->size = blob.size;
}

static int check_counters(struct scan *s, struct ms_blob row)
{
    if (row.size % 8 || row.size < 16 || row.size > 8 * MS_SNAP_COUNTERS)
        return damaged(s, "the row of counters is of a wrong size");
    struct ms_meta meta = ms_meta_unpack(row);
    if (row.size > MS_N_META * 8)
        return newer(s, "counters", (uint32_t)(row.size / 8), MS_N_META);
    if (meta.revision != s->info.revision)
        return damaged(s, "the counters belong to another map");
    ms_snap_add_counters(&s->info, &meta);
    s->has_counters = true;
    return 0;
}

/* LMDB's order, so that rows can be appended. */
static int check_order(struct scan *s, struct ms_blob key, struct ms_blob value, bool *ret_is_more)
{
    struct db *db = &s->dbs[s->db];
    bool is_multiple = ms_db_is_multiple(db->db);
    int order = db->n_rows ? compare(&s->key, key) : -1;
    if (is_multiple && (value.size == 0 || value.size > MS_SNAP_KEY_MAX))
        return damaged(s, "a row is of a wrong size");
    *ret_is_more = order == 0;
    if (order > 0 || (order == 0 && (!is_multiple || compare(&s->value, value) >= 0)))
        return damaged(s, "the rows are not in order");
    keep(&s->key, key);
    if (is_multiple)
        keep(&s->value, value);
    return 0;
}

static int take_row(struct scan *s)
{
    struct db *db = &s->dbs[s->db];
    const uint8_t *head = take(s, MS_SNAP_ROW_HEAD);
    if (!head)
        return damaged(s, "a row is not whole");
    struct ms_blob key = {.size = (size_t)head[0] << 8 | head[1]};
    struct ms_blob value = {.size = ms_read_u32(head + 2)};
    if (key.size == 0 || key.size > MS_SNAP_KEY_MAX || value.size > MS_SNAP_VALUE_MAX)
        return damaged(s, "a row is of a wrong size");
    key.data = take(s, key.size);
    value.data = key.data ? take(s, value.size) : NULL;
    if (!value.data)
        return damaged(s, "a row is not whole");
    bool is_more;
    int r = check_order(s, key, value, &is_more);
    if (!r && db->db == MS_DB_META) {
        struct ms_blob counters = ms_meta_key();
        if (ms_identity_owns(key))
            r = damaged(s, "the identity stands among the rows");
        else if (key.size == counters.size && memcmp(key.data, counters.data, key.size) == 0)
            r = check_counters(s, value);
    }
    if (!r && s->visit)
        r = s->visit(s->aux, db->db, key, value, is_more);
    db->n_rows++;
    s->info.n_rows++;
    return r;
}

static int take_rows(struct scan *s)
{
    const uint8_t *at = take(s, 1);
    if (!at || *at >= s->n_dbs || *at < s->db)
        return damaged(s, "its database is wrong");
    s->db = *at;
    const char *name = ms_db_name(s->dbs[s->db].db);
    if (s->dbs[s->db].n_rows == 0)
        em_digest_add(s->digest, name, strlen(name) + 1);
    em_digest_add(s->digest, s->content + 1, s->size - 1);
    int r = 0;
    do
        r = take_row(s);
    while (!r && s->taken < s->size);
    return r ? r : ms_snap_report(s->job, s->at, s->info.n_rows, s->ret_why);
}

/* --------------------------------------------------------------------------------- tail */

static int take_tail(struct scan *s)
{
    uint8_t more;
    size_t n_more;
    const uint8_t *at = take(s, 8 * s->n_dbs + EM_DIGEST_SIZE);
    if (!is_piece(s, MS_SNAP_TAIL) || !at || s->taken != s->size)
        return damaged(s, "it should be rows or the tail");
    em_digest_end(s->digest, s->info.digest);
    for (unsigned i = 0; i < s->n_dbs; i++)
        if (ms_read_u64(at + 8 * i) != s->dbs[i].n_rows)
            return damaged(s, "rows are missing or too many");
    if (memcmp(at + 8 * s->n_dbs, s->info.digest, EM_DIGEST_SIZE) != 0)
        return damaged(s, "the sum of all rows is wrong");
    if (!s->has_counters)
        return damaged(s, "the row of counters is missing");
    s->info.n_bytes = s->at;
    int r = read_in(s, &more, 1, &n_more);
    if (!r && n_more)
        r = damaged(s, "something follows the tail");
    return r ? r : ms_snap_report(s->job, s->at, s->info.n_rows, s->ret_why);
}

static int scan_all(struct scan *s)
{
    uint8_t head[MS_SNAP_FILE_HEAD];
    size_t n;
    int r = read_in(s, head, sizeof(head), &n);
    if (r)
        return r;
    size_t n_magic = n < MS_SNAP_MAGIC_SIZE ? n : MS_SNAP_MAGIC_SIZE;
    if (memcmp(head, MS_SNAP_MAGIC, n_magic) != 0)
        return foreign(s);
    if (n < sizeof(head))
        return cut_off(s);
    uint32_t version = ms_read_u32(head + MS_SNAP_MAGIC_SIZE);
    if (version > MS_SNAP_VERSION)
        return newer(s, "format", version, MS_SNAP_VERSION);
    if (version == 0)
        return damaged(s, "its version is 0");
    r = read_piece(s);
    if (!r)
        r = take_head(s);
    while (!r && (r = read_piece(s)) == 0 && is_piece(s, MS_SNAP_ROWS))
        r = take_rows(s);
    return r ? r : take_tail(s);
}

int ms_snap_scan(const char *path, ms_snap_row_fn *visit, void *aux, struct ms_snapshot_job *job,
                 struct ms_snapshot_info *ret_info, char **ret_why)
{
    struct scan s = {.path = path, .visit = visit, .aux = aux, .job = job, .ret_why = ret_why};
    s.fd = open(path, O_RDONLY | O_CLOEXEC);
    if (s.fd < 0) {
        int err = -errno;
        *ret_why = em_asprintf("cannot open %s: %s", path, em_strerror(err));
        return err;
    }
    posix_fadvise(s.fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    s.digest = em_digest_new();
    int r = scan_all(&s);
    em_digest_free(s.digest);
    free(s.content);
    close(s.fd);
    if (r)
        ms_snapshot_info_fini(&s.info);
    else
        *ret_info = s.info;
    return r;
}
