/* Making a copy of a large map takes a second or two, so a thread does it while requests wait.
 * A copy is a file that is read by offset: whoever fetches it may lose the connection and go
 * on, and several may fetch the same one. */
#include "front/copies.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "core/data.h"
#include "eidmap/error.h"
#include "front/deferred.h"
#include "front/context.h"
#include "front/session.h"
#include "state/snapshot.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define PIECE_MAX (256u << 10)
#define COPIES    2     /* the newest, and the one before for who has begun with it */
#define FRESH_MS  20000 /* a copy that is no older serves the next one who asks, too */
#define IDLE_MS   60000
#define PREFIX    "copy-"
#define PART_FILE "restore.part"

struct copy {
    uint64_t id; /* 0: none */
    int fd;
    uint64_t made_ms, used_ms;
    uint64_t index, revision, size;
};

/* A request that waits for the thread. */
struct waiting {
    struct waiting *next;
    struct ms_deferred *answer;
};

struct ms_copies {
    struct ms_front *front;
    char *dir;
    pthread_mutex_t lock;       /* for all that follows */
    struct copy copies[COPIES]; /* the newest first */
    pthread_t thread;
    bool has_thread; /* to be joined */
    bool is_working;
    struct waiting *waiting;
    struct ms_snapshot_job job;
    int part_fd; /* what is being restored; -1: nothing */
    uint64_t part_size;
    uint64_t restored; /* revision of the copy that takes the map's place */
};

static void remove_old(const char *dir)
{
    DIR *handle = opendir(dir);
    struct dirent *entry;
    while (handle && (entry = readdir(handle))) {
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0 ||
            strcmp(entry->d_name, PART_FILE) == 0)
            unlinkat(dirfd(handle), entry->d_name, 0);
    }
    if (handle)
        closedir(handle);
}

struct ms_copies *ms_copies_new(struct ms_front *front, const char *dir)
{
    struct ms_copies *copies = em_calloc(1, sizeof(*copies));
    copies->front = front;
    copies->dir = em_strdup(dir);
    copies->part_fd = -1;
    pthread_mutex_init(&copies->lock, NULL);
    remove_old(dir);
    return copies;
}

static void drop(struct copy *copy)
{
    if (copy->id)
        close(copy->fd);
    *copy = (struct copy){0};
}

void ms_copies_stop(struct ms_copies *copies)
{
    if (!copies)
        return;
    copies->job.is_cancelled = true;
    if (copies->has_thread)
        pthread_join(copies->thread, NULL);
    copies->has_thread = false;
}

void ms_copies_free(struct ms_copies *copies)
{
    if (!copies)
        return;
    ms_copies_stop(copies);
    for (int i = 0; i < COPIES; i++)
        drop(&copies->copies[i]);
    if (copies->part_fd >= 0)
        close(copies->part_fd);
    pthread_mutex_destroy(&copies->lock);
    free(copies->dir);
    free(copies);
}

void ms_copies_tick(struct ms_copies *copies)
{
    uint64_t now_ms = em_now_ms();
    pthread_mutex_lock(&copies->lock);
    for (int i = 0; i < COPIES; i++)
        if (copies->copies[i].id && now_ms > copies->copies[i].used_ms + IDLE_MS)
            drop(&copies->copies[i]);
    pthread_mutex_unlock(&copies->lock);
}

/* ---- the thread ------------------------------------------------------------------------ */

static void answer_all(struct ms_copies *copies, int err, const char *why)
{
    struct waiting *waiting = copies->waiting;
    copies->waiting = NULL;
    while (waiting) {
        struct waiting *next = waiting->next;
        ms_deferred_post(waiting->answer, err, why);
        free(waiting);
        waiting = next;
    }
}

/* The file has no name any more: it goes with its last reader. */
static int open_copy(const char *path, struct copy *ret_copy)
{
    uint64_t id = 0;
    while (id == 0)
        if (getrandom(&id, sizeof(id), 0) != sizeof(id))
            return -EIO;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    unlink(path);
    if (fd < 0)
        return -errno;
    *ret_copy = (struct copy){.id = id, .fd = fd, .made_ms = em_now_ms(), .used_ms = em_now_ms()};
    return 0;
}

static void *make(void *aux)
{
    struct ms_copies *copies = aux;
    struct ms_snapshot_info info;
    struct copy copy = {0};
    char *why = NULL, *path = em_asprintf("%s/" PREFIX "new", copies->dir);
    pthread_setname_np(pthread_self(), "copy map");
    int r = ms_snapshot_write(copies->front->store, path, false, &copies->job, &info, &why);
    if (r == 0) {
        r = open_copy(path, &copy);
        copy.index = info.identity.applied;
        copy.revision = info.revision;
        copy.size = info.n_bytes;
        ms_snapshot_info_fini(&info);
    }
    if (r)
        em_warn("no copy of the map can be made: %s", why ? why : em_strerror(r));
    pthread_mutex_lock(&copies->lock);
    if (r == 0) {
        drop(&copies->copies[COPIES - 1]);
        memmove(&copies->copies[1], &copies->copies[0], (COPIES - 1) * sizeof(struct copy));
        copies->copies[0] = copy;
    }
    answer_all(copies, r, why);
    copies->is_working = false;
    pthread_mutex_unlock(&copies->lock);
    free(why);
    free(path);
    return NULL;
}

/* Under the lock.  Starts the thread if it does not work already; only one kind of work waits
 * at a time. */
static int start(struct ms_copies *copies, void *(*work)(void *aux), struct ms_deferred *answer)
{
    struct waiting *waiting = em_malloc(sizeof(*waiting));
    *waiting = (struct waiting){copies->waiting, answer};
    copies->waiting = waiting;
    if (copies->is_working)
        return 0;
    if (copies->has_thread)
        pthread_join(copies->thread, NULL);
    int r = -pthread_create(&copies->thread, NULL, work, copies);
    copies->has_thread = copies->is_working = r == 0;
    if (r) {
        copies->waiting = waiting->next;
        free(waiting);
    }
    return r;
}

/* ---- fetch ------------------------------------------------------------------------------- */

static struct copy *find(struct ms_copies *copies, uint64_t id)
{
    for (int i = 0; i < COPIES; i++)
        if (copies->copies[i].id == id && id)
            return &copies->copies[i];
    return NULL;
}

static struct copy *find_fresh(struct ms_copies *copies, uint64_t min_index)
{
    struct copy *copy = &copies->copies[0];
    bool is_fresh = copy->id && copy->index >= min_index && em_now_ms() < copy->made_ms + FRESH_MS;
    return is_fresh ? copy : NULL;
}

static void send_piece(struct ms_session *session, uint64_t id, const struct copy *copy,
                       uint64_t offset, uint32_t size)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Chunk chunk = EIDMAP__CHUNK__INIT;
    size = size && size < PIECE_MAX ? size : PIECE_MAX;
    uint8_t *data = em_malloc(size);
    ssize_t n = pread(copy->fd, data, size, (off_t)offset);
    if (n < 0) {
        ms_session_refuse(session, id, EM_E_STORAGE, "the copy of the map cannot be read");
        free(data);
        return;
    }
    chunk.snapshot = copy->id;
    chunk.offset = offset;
    chunk.data = (ProtobufCBinaryData){(size_t)n, data};
    chunk.crc32c = em_crc32c(0, data, (size_t)n);
    chunk.total = copy->size;
    chunk.index = copy->index;
    chunk.revision = copy->revision;
    envelope.id = id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_CHUNK;
    envelope.chunk = &chunk;
    ms_session_send(session, &envelope);
    free(data);
}

static void finish_make(struct ms_deferred *answer)
{
    struct ms_session *session = answer->session;
    struct ms_copies *copies = session->worker->front->copies;
    if (answer->err) {
        ms_session_refuse(session, answer->id, answer->err, answer->message);
        return;
    }
    if (!session->conn)
        return;
    pthread_mutex_lock(&copies->lock);
    if (copies->copies[0].id)
        send_piece(session, answer->id, &copies->copies[0], 0, 0);
    else
        ms_session_refuse(session, answer->id, EM_E_BUSY, "the copy is gone; ask again");
    pthread_mutex_unlock(&copies->lock);
}

void ms_copy_fetch(struct ms_session *session, const Eidmap__Envelope *request)
{
    const Eidmap__Fetch *fetch = request->fetch;
    struct ms_front *front = session->worker->front;
    struct ms_copies *copies = front->copies;
    int r = 0;
    if (fetch->min_index > ms_core_applied(front->core)) {
        ms_session_refuse(session, request->id, EM_E_BUSY, "this server is behind itself");
        return;
    }
    pthread_mutex_lock(&copies->lock);
    struct copy *copy =
        fetch->snapshot ? find(copies, fetch->snapshot) : find_fresh(copies, fetch->min_index);
    if (copy) {
        copy->used_ms = em_now_ms();
        send_piece(session, request->id, copy, fetch->offset, fetch->size);
    } else if (!fetch->snapshot) {
        struct ms_deferred *answer = ms_deferred_new(session, request->id, finish_make);
        r = start(copies, make, answer);
        if (r)
            ms_deferred_post(answer, r, NULL);
    }
    pthread_mutex_unlock(&copies->lock);
    if (!copy && fetch->snapshot)
        ms_session_refuse(session, request->id, EM_E_NOT_FOUND,
                          "this server does not have that copy any more; begin again");
}

/* ---- restore ----------------------------------------------------------------------------- */

static void *check(void *aux)
{
    struct ms_copies *copies = aux;
    struct ms_snapshot_info info;
    uint64_t revision = 0;
    char *why = NULL;
    char *part = em_asprintf("%s/" PART_FILE, copies->dir);
    char *whole = em_asprintf("%s/" MS_RESTORE_FILE, copies->dir);
    int r = ms_snapshot_check(part, &copies->job, &info, &why);
    if (r == 0) {
        revision = info.revision;
        ms_snapshot_info_fini(&info);
        r = rename(part, whole) ? -errno : ms_env_sync_dir(copies->dir);
    }
    if (r)
        unlink(part);
    const char *rest = why && strncmp(why, part, strlen(part)) == 0 ? why + strlen(part) : NULL;
    char *told = rest ? em_asprintf("the file%s", rest) : NULL; /* our file is nothing to them */
    pthread_mutex_lock(&copies->lock);
    copies->restored = revision;
    answer_all(copies, r, told ? told : why);
    copies->is_working = false;
    pthread_mutex_unlock(&copies->lock);
    free(told);
    free(why);
    free(part);
    free(whole);
    return NULL;
}

static void send_done(struct ms_session *session, uint64_t id, uint64_t revision)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Done done = EIDMAP__DONE__INIT;
    done.revision = revision;
    envelope.id = id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_DONE;
    envelope.done = &done;
    ms_session_send(session, &envelope);
}

static void finish_check(struct ms_deferred *answer)
{
    struct ms_session *session = answer->session;
    if (answer->err) {
        ms_session_refuse(session, answer->id, answer->err, answer->message);
        return;
    }
    struct ms_front *front = session->worker->front;
    em_info("a copy of a map was received; this server starts again with it");
    pthread_mutex_lock(&front->copies->lock);
    uint64_t revision = front->copies->restored;
    pthread_mutex_unlock(&front->copies->lock);
    send_done(session, answer->id, revision);
    front->on_restart();
}

/* NULL, or why this is no place for a map. */
static const char *check_place(struct ms_front *front)
{
    struct ms_core_status status;
    struct ms_stats stats;
    ms_core_status(front->core, &status);
    size_t n_members = status.n_members;
    ms_core_status_fini(&status);
    if (n_members == 0)
        return "this server waits to be added to a cluster; restore into one that was started "
               "without 'join'";
    if (n_members > 1)
        return "this cluster has more than one member; restore into a new cluster of one server "
               "and add the others afterwards";
    if (ms_store_stats(front->store, &stats))
        return "the map cannot be read";
    if (stats.n_networks || stats.n_ports || stats.n_nodes)
        return "this cluster has a map already; restore into a new one";
    return NULL;
}

static int take_piece(struct ms_copies *copies, const Eidmap__Restore *piece, const char **ret_why)
{
    *ret_why = "the pieces of the copy do not fit; begin again";
    if (piece->offset == 0) {
        char *path = em_asprintf("%s/" PART_FILE, copies->dir);
        if (copies->part_fd >= 0)
            close(copies->part_fd);
        copies->part_fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        copies->part_size = 0;
        free(path);
    }
    if (copies->part_fd < 0 || piece->offset != copies->part_size || piece->data.len == 0 ||
        piece->data.len > PIECE_MAX || piece->offset + piece->data.len > piece->total)
        return EM_E_MALFORMED;
    if (em_crc32c(0, piece->data.data, piece->data.len) != piece->crc32c) {
        *ret_why = "a piece of the copy was damaged on its way; begin again";
        return EM_E_MALFORMED;
    }
    if (write(copies->part_fd, piece->data.data, piece->data.len) != (ssize_t)piece->data.len) {
        *ret_why = "the server's disk has no room for the copy";
        return EM_E_NO_SPACE;
    }
    copies->part_size += piece->data.len;
    return 0;
}

/* Under the lock: the last piece has come. */
static void begin_check(struct ms_copies *copies, struct ms_session *session, uint64_t id)
{
    struct ms_deferred *answer = ms_deferred_new(session, id, finish_check);
    int r = copies->is_working ? EM_E_BUSY : fdatasync(copies->part_fd) ? -errno : 0;
    close(copies->part_fd);
    copies->part_fd = -1;
    if (r == 0)
        r = start(copies, check, answer);
    if (r)
        ms_deferred_post(answer, r, NULL);
}

void ms_copy_restore(struct ms_session *session, const Eidmap__Envelope *request)
{
    const Eidmap__Restore *piece = request->restore;
    struct ms_front *front = session->worker->front;
    struct ms_copies *copies = front->copies;
    const char *why = check_place(front);
    int r = why ? EM_E_IN_USE : 0;
    bool is_last = piece->offset + piece->data.len == piece->total;
    pthread_mutex_lock(&copies->lock);
    if (r == 0 && copies->is_working)
        r = EM_E_BUSY;
    if (r == 0)
        r = take_piece(copies, piece, &why);
    if (r == 0 && is_last)
        begin_check(copies, session, request->id);
    pthread_mutex_unlock(&copies->lock);
    if (r)
        ms_session_refuse(session, request->id, r, why);
    else if (!is_last)
        send_done(session, request->id, front->revision);
}
