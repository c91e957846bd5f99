#include "state/checkpoint.h"

#include "base/crc32c.h"
#include "base/mem.h"
#include "eidmap/error.h"
#include "state/env.h"
#include "state/key.h"
#include "state/txn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The head of a meta page as LMDB 0.9 writes it (mdb.c: MDB_page, MDB_meta, MDB_db), in the
 * machine's byte order.  All of it lies in the disk's first sector of the page. */
struct db_head {
    uint32_t pad; /* of the first database: size of a page */
    uint16_t flags, depth;
    uint64_t n_branch, n_leaf, n_overflow, n_entries, root;
};

struct meta_page {
    uint64_t page;
    uint16_t pad, flags, lower, upper;
    uint32_t magic, version;
    uint64_t address, map_size;
    struct db_head free, main;
    uint64_t last_page;
    uint64_t txn;
};

#define LMDB_MAGIC   0xBEEFC0DEu
#define LMDB_VERSION 1u
#define P_META       0x08u
#define N_METAS      2

_Static_assert(sizeof(struct meta_page) == 152, "as LMDB lays it out on 64-bit machines");

/* One of the two places of the file. */
struct place {
    char format[16];
    uint64_t number; /* the higher is the newer */
    struct meta_page meta;
    uint32_t zero;
    uint32_t crc; /* of all before */
};

#define FORMAT     "eidmap checkpt1"
#define PLACE_SIZE 4096 /* apart from each other, so that one write never touches both */
#define N_PLACES   2

#define AT_ONCE (256 << 10) /* bytes of the map that the disk is given */
#define WRITE_AND_WAIT                                                                             \
    (SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER)
#define N_PASSES 2   /* over the file */
#define FEW      256 /* pages given up, and about as many to be written: these go at once */

struct ms_checkpoint {
    MDB_env *mdb;
    int fd; /* of the file */
    char *path;
    uint64_t number;
    uint64_t page_size;
    uint64_t n_kept; /* pages given up by the transactions up to 'counted'; the writer's */
    size_t counted;
    pthread_t thread;

    /* The thread's while it is busy, otherwise the writer's. */
    MDB_txn *held; /* at the checkpoint */
    MDB_txn *next; /* at the one under way, and its meta page */
    struct meta_page meta;
    bool is_small;
    ms_sync_fn *done; /* of it, or NULL */
    void *aux;

    pthread_mutex_t lock; /* for what follows */
    pthread_cond_t wake, idle;
    bool is_busy;           /* one is under way, */
    atomic_bool is_awaited; /* and somebody has nothing else to do */
    bool is_stopping;
    int err; /* sticky */
};

static uint32_t crc_of(const struct place *place)
{
    return em_crc32c(0, place, offsetof(struct place, crc));
}

/* ---- a start ---------------------------------------------------------------------------- */

static bool is_whole(const struct place *place)
{
    return memcmp(place->format, FORMAT, sizeof(FORMAT)) == 0 && place->crc == crc_of(place);
}

/* 0, -ENOENT: there is none, or EM_E_STORAGE: nothing in it is whole. */
static int read_newest(const char *path, struct place *ret_place)
{
    char *file = em_asprintf("%s/" MS_CHECKPOINT_FILE, path);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : EM_E_STORAGE;
    free(file);
    if (fd < 0)
        return r;
    for (int i = 0; i < N_PLACES; i++) {
        struct place place;
        if (pread(fd, &place, sizeof(place), (off_t)i * PLACE_SIZE) != sizeof(place) ||
            !is_whole(&place) || (r == 0 && place.number < ret_place->number))
            continue;
        *ret_place = place;
        r = 0;
    }
    close(fd);
    return r;
}

static bool is_meta(const struct meta_page *meta)
{
    return meta->flags & P_META && meta->magic == LMDB_MAGIC && meta->version == LMDB_VERSION;
}

/* The file that was synced after this state cannot be older than it. */
static int check_file(int fd, const struct meta_page *want)
{
    uint64_t newest = 0;
    for (int i = 0; i < N_METAS; i++) {
        struct meta_page meta;
        if (pread(fd, &meta, sizeof(meta), (off_t)i * want->free.pad) != sizeof(meta) ||
            !is_meta(&meta) || meta.free.pad != want->free.pad)
            return EM_E_STORAGE;
        if (meta.txn > newest)
            newest = meta.txn;
    }
    return newest < want->txn ? EM_E_STORAGE : 0;
}

static int put_back(int fd, struct meta_page meta)
{
    for (unsigned i = 0; i < N_METAS; i++) {
        meta.page = i;
        ssize_t n = pwrite(fd, &meta, sizeof(meta), (off_t)i * meta.free.pad);
        if (n != sizeof(meta))
            return n < 0 ? -errno : EM_E_NO_SPACE;
    }
    return 0;
}

int ms_checkpoint_restore(const char *path, char **ret_why)
{
    struct place place = {0};
    int r = read_newest(path, &place);
    if (r == -ENOENT)
        return 0;
    if (r == EM_E_STORAGE)
        *ret_why = em_asprintf("%s/" MS_CHECKPOINT_FILE " is damaged: put a copy of the whole data "
                               "directory back, or remove this server from the cluster, move the "
                               "directory away and add it again",
                               path);
    if (r)
        return r;
    char *file = em_asprintf("%s/data.mdb", path);
    int fd = open(file, O_RDWR | O_CLOEXEC);
    r = fd < 0 ? -errno : check_file(fd, &place.meta);
    if (r == EM_E_STORAGE)
        *ret_why = em_asprintf("%s is damaged, or is not the file that " MS_CHECKPOINT_FILE
                               " beside it belongs to: put a copy of the whole data directory back",
                               file);
    if (r == 0)
        r = put_back(fd, place.meta);
    if (fd >= 0)
        close(fd);
    free(file);
    return r;
}

/* ---- a checkpoint ----------------------------------------------------------------------- */

/* 0 or errno. */
static int write_place(int fd, uint64_t number, const struct meta_page *meta)
{
    struct place place = {.format = FORMAT, .number = number, .meta = *meta};
    place.crc = crc_of(&place);
    ssize_t n = pwrite(fd, &place, sizeof(place), (off_t)(number % N_PLACES) * PLACE_SIZE);
    if (n != sizeof(place))
        return n < 0 ? errno : ENOSPC;
    return fdatasync(fd) ? errno : 0;
}

/* A read transaction at the newest state, and its meta page: nobody commits meanwhile. */
static int hold(struct ms_checkpoint *checkpoint, MDB_txn **ret_txn, struct meta_page *ret_meta)
{
    int fd;
    MDB_txn *txn;
    int r = mdb_env_get_fd(checkpoint->mdb, &fd);
    if (!r)
        r = mdb_txn_begin(checkpoint->mdb, NULL, MDB_RDONLY, &txn);
    if (r)
        return r;
    uint64_t id = mdb_txn_id(txn);
    off_t at = (off_t)((id % N_METAS) * checkpoint->page_size);
    if (pread(fd, ret_meta, sizeof(*ret_meta), at) != sizeof(*ret_meta) || !is_meta(ret_meta) ||
        ret_meta->txn != id) {
        mdb_txn_abort(txn);
        return MDB_CORRUPTED;
    }
    *ret_txn = txn;
    return 0;
}

/* What each transaction gave up stands in LMDB's list of free pages under its number: a count,
 * and the pages. */
static uint64_t count_since(MDB_txn *txn, size_t id)
{
    MDB_cursor *cursor;
    MDB_val key = {sizeof(id), &id}, value;
    uint64_t sum = 0;
    if (mdb_cursor_open(txn, MS_FREE_PAGES_DBI, &cursor))
        return 0;
    for (int r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE); r == 0;
         r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        size_t n;
        memcpy(&n, value.mv_data, sizeof(n));
        sum += n;
    }
    mdb_cursor_close(cursor);
    return sum;
}

uint64_t ms_checkpoint_kept(struct ms_checkpoint *checkpoint)
{
    MDB_txn *txn;
    if (mdb_txn_begin(checkpoint->mdb, NULL, MDB_RDONLY, &txn) == 0) {
        if (mdb_txn_id(txn) > checkpoint->counted)
            checkpoint->n_kept += count_since(txn, checkpoint->counted + 1);
        checkpoint->counted = mdb_txn_id(txn);
        mdb_txn_abort(txn);
    }
    return checkpoint->n_kept * checkpoint->page_size;
}

/* Under the lock, with none under way. */
static int begin(struct ms_checkpoint *checkpoint, ms_sync_fn *done, void *aux)
{
    if (!checkpoint->err)
        checkpoint->err = ms_txn_error(hold(checkpoint, &checkpoint->next, &checkpoint->meta));
    if (checkpoint->err)
        return checkpoint->err;
    checkpoint->done = done;
    checkpoint->aux = aux;
    checkpoint->is_busy = true;
    checkpoint->is_small = checkpoint->n_kept < FEW;
    checkpoint->n_kept = 0;
    checkpoint->counted = checkpoint->meta.txn;
    pthread_cond_signal(&checkpoint->wake);
    return 0;
}

static void wait_until_idle(struct ms_checkpoint *checkpoint)
{
    while (checkpoint->is_busy) {
        checkpoint->is_awaited = true;
        pthread_cond_wait(&checkpoint->idle, &checkpoint->lock);
    }
}

int ms_checkpoint_begin(struct ms_checkpoint *checkpoint, ms_sync_fn *done, void *aux)
{
    pthread_mutex_lock(&checkpoint->lock);
    int r = checkpoint->is_busy ? EM_E_BUSY : begin(checkpoint, done, aux);
    pthread_mutex_unlock(&checkpoint->lock);
    return r;
}

int ms_checkpoint_now(struct ms_checkpoint *checkpoint)
{
    pthread_mutex_lock(&checkpoint->lock);
    wait_until_idle(checkpoint);
    int r = begin(checkpoint, NULL, NULL);
    wait_until_idle(checkpoint);
    r = r ? r : checkpoint->err;
    pthread_mutex_unlock(&checkpoint->lock);
    return r;
}

bool ms_checkpoint_is_busy(struct ms_checkpoint *checkpoint)
{
    pthread_mutex_lock(&checkpoint->lock);
    bool is_busy = checkpoint->is_busy;
    pthread_mutex_unlock(&checkpoint->lock);
    return is_busy;
}

void ms_checkpoint_wait(struct ms_checkpoint *checkpoint)
{
    pthread_mutex_lock(&checkpoint->lock);
    wait_until_idle(checkpoint);
    pthread_mutex_unlock(&checkpoint->lock);
}

/* ---- the thread --------------------------------------------------------------------------- */

/* A few pages at a time: to the disk all that is written at once is one long queue, and each sync
 * of the log, which clients wait for, stands at its end.  The second time it is what the writer
 * has added meanwhile; the sync that follows finds little.  Who waits for that has it all at
 * once.  0 or errno, which the sync does not tell again. */
static int write_out(struct ms_checkpoint *checkpoint)
{
    struct stat file;
    int fd, r = mdb_env_get_fd(checkpoint->mdb, &fd);
    if (r || checkpoint->is_small)
        return r;
    if (fstat(fd, &file))
        return errno;
    for (int pass = 0; pass < N_PASSES; pass++)
        for (off_t at = 0; at < file.st_size && !checkpoint->is_awaited; at += AT_ONCE)
            if (sync_file_range(fd, at, AT_ONCE, WRITE_AND_WAIT) && errno != ENOSYS)
                return errno;
    return 0;
}

static int make_durable(struct ms_checkpoint *checkpoint)
{
    int r = write_out(checkpoint);
    if (!r)
        r = mdb_env_sync(checkpoint->mdb, 1);
    if (!r)
        r = write_place(checkpoint->fd, checkpoint->number + 1, &checkpoint->meta);
    if (!r)
        checkpoint->number++;
    return ms_txn_error(r);
}

static void finish(struct ms_checkpoint *checkpoint)
{
    int err = make_durable(checkpoint);
    mdb_txn_abort(err ? checkpoint->next : checkpoint->held);
    if (!err)
        checkpoint->held = checkpoint->next;
    if (checkpoint->done)
        checkpoint->done(checkpoint->aux, err);
    pthread_mutex_lock(&checkpoint->lock);
    checkpoint->err = err;
    checkpoint->is_busy = false;
    checkpoint->is_awaited = false;
    pthread_cond_broadcast(&checkpoint->idle);
    pthread_mutex_unlock(&checkpoint->lock);
}

static bool wait_for_work(struct ms_checkpoint *checkpoint)
{
    pthread_mutex_lock(&checkpoint->lock);
    while (!checkpoint->is_busy && !checkpoint->is_stopping)
        pthread_cond_wait(&checkpoint->wake, &checkpoint->lock);
    bool is_busy = checkpoint->is_busy;
    pthread_mutex_unlock(&checkpoint->lock);
    return is_busy;
}

static void *work(void *aux)
{
    pthread_setname_np(pthread_self(), "checkpoint");
    while (wait_for_work(aux))
        finish(aux);
    return NULL;
}

/* ---- its life ------------------------------------------------------------------------------- */

/* The file has its name only when it is whole. */
static int make_file(struct ms_checkpoint *checkpoint, const char *dir,
                     const struct meta_page *meta)
{
    char *fresh = em_asprintf("%s.new", checkpoint->path);
    int r = mdb_env_sync(checkpoint->mdb, 1);
    checkpoint->number = 1;
    checkpoint->fd = open(fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (!r && checkpoint->fd < 0)
        r = errno;
    if (!r)
        r = write_place(checkpoint->fd, checkpoint->number, meta);
    if (!r && rename(fresh, checkpoint->path))
        r = errno;
    if (!r)
        r = -ms_env_sync_dir(dir);
    free(fresh);
    return r;
}

/* The one that was put back goes on. */
static int take_up(struct ms_checkpoint *checkpoint, const char *dir, const struct meta_page *meta)
{
    struct place place = {0};
    if (read_newest(dir, &place) || place.meta.txn != meta->txn)
        return make_file(checkpoint, dir, meta);
    checkpoint->number = place.number;
    checkpoint->fd = open(checkpoint->path, O_RDWR | O_CLOEXEC);
    return checkpoint->fd < 0 ? errno : 0;
}

static void destroy(struct ms_checkpoint *checkpoint)
{
    if (checkpoint->held)
        mdb_txn_abort(checkpoint->held);
    if (checkpoint->fd >= 0)
        close(checkpoint->fd);
    pthread_mutex_destroy(&checkpoint->lock);
    pthread_cond_destroy(&checkpoint->wake);
    pthread_cond_destroy(&checkpoint->idle);
    free(checkpoint->path);
    free(checkpoint);
}

int ms_checkpoint_open(const char *path, MDB_env *mdb, struct ms_checkpoint **ret_checkpoint)
{
    struct ms_checkpoint *checkpoint = em_calloc(1, sizeof(*checkpoint));
    MDB_stat stat;
    checkpoint->mdb = mdb;
    checkpoint->fd = -1;
    checkpoint->path = em_asprintf("%s/" MS_CHECKPOINT_FILE, path);
    pthread_mutex_init(&checkpoint->lock, NULL);
    pthread_cond_init(&checkpoint->wake, NULL);
    pthread_cond_init(&checkpoint->idle, NULL);
    int r = mdb_env_stat(mdb, &stat);
    checkpoint->page_size = stat.ms_psize;
    if (!r)
        r = hold(checkpoint, &checkpoint->held, &checkpoint->meta);
    if (!r)
        r = take_up(checkpoint, path, &checkpoint->meta);
    checkpoint->counted = checkpoint->meta.txn;
    if (!r)
        r = pthread_create(&checkpoint->thread, NULL, work, checkpoint);
    if (!r)
        *ret_checkpoint = checkpoint;
    else
        destroy(checkpoint);
    return r;
}

void ms_checkpoint_close(struct ms_checkpoint *checkpoint, bool is_orderly)
{
    if (!checkpoint)
        return;
    pthread_mutex_lock(&checkpoint->lock);
    checkpoint->is_stopping = true;
    pthread_cond_signal(&checkpoint->wake);
    pthread_mutex_unlock(&checkpoint->lock);
    pthread_join(checkpoint->thread, NULL);
    if (is_orderly && !checkpoint->err && mdb_env_sync(checkpoint->mdb, 1) == 0)
        unlink(checkpoint->path);
    destroy(checkpoint);
}
