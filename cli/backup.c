/* "backup": a copy of the whole map, piece by piece, from a server that goes on serving.
 *
 * The server makes the copy at the first Fetch and holds it; several pieces are asked for at a
 * time, and written in order.  When the connection breaks, the library asks again for those
 * that did not come.  Then two things may be: the same server has the copy still, and it goes
 * on; or another answers (or the old one has dropped it), and all begins anew.  Pieces of two
 * copies are never mixed: each must say what the first said. */
#include "call.h"
#include "command.h"
#include "copy.h"
#include "output.h"
#include "progress.h"
#include "record.h"
#include "snapfile.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "client/request.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define WINDOW    8 /* pieces asked for at a time */
#define MAX_BEGUN 5
#define PATIENCE  30000 /* ms: the server has to make the copy first */

struct piece {
    struct backup *backup;
    int64_t request; /* 0: it has all come */
    uint64_t offset;
    uint32_t size, have;
    uint8_t data[CTL_PIECE];
};

struct backup {
    struct ctl *ctl;
    FILE *file;
    char *path, *part; /* NULL: standard output */
    uint64_t snapshot; /* 0: none yet */
    uint64_t total, index, revision;
    uint64_t asked; /* bytes up to which pieces were asked for */
    uint64_t written;
    uint64_t begun_ms;
    unsigned n_begun;
    struct piece *pieces; /* WINDOW of them, those in use from 'head' on */
    size_t head, n;
    uint8_t tail[CTL_SNAP_TAIL]; /* the last bytes written */
    size_t tail_size;
};

static void on_chunk(void *aux, int err, const Eidmap__Envelope *reply);

static enum ctl_exit cannot_write(struct backup *b, const char *name, int err)
{
    return ctl_fail(b->ctl, CTL_REFUSED, "%s: cannot write %s: %s", b->ctl->subject, name,
                    em_strerror(err));
}

/* ---- asking ---- */

static void ask(struct piece *piece)
{
    struct backup *b = piece->backup;
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Fetch fetch = EIDMAP__FETCH__INIT;
    fetch.snapshot = b->snapshot;
    fetch.offset = piece->offset + piece->have;
    fetch.size = piece->size - piece->have;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_FETCH;
    envelope.fetch = &fetch;
    piece->request =
        em_client_send(em_call_client(b->ctl->call), &envelope, false, on_chunk, piece);
    assert(piece->request > 0); /* small, and few at a time */
}

static void ask_for(struct backup *b, uint32_t size)
{
    struct piece *piece = &b->pieces[(b->head + b->n++) % WINDOW];
    piece->backup = b;
    piece->offset = b->asked;
    piece->size = size;
    piece->have = 0;
    b->asked += size;
    ask(piece);
}

/* The rest is asked for when it is known how much there is. */
static void begin(struct backup *b)
{
    b->n_begun++;
    b->snapshot = b->asked = b->written = 0;
    b->head = b->n = b->tail_size = 0;
    b->begun_ms = em_now_ms();
    ask_for(b, CTL_PIECE);
}

static void ask_for_more(struct backup *b)
{
    while (b->n < WINDOW && b->asked < b->total) {
        uint64_t rest = b->total - b->asked;
        ask_for(b, rest < CTL_PIECE ? (uint32_t)rest : CTL_PIECE);
    }
}

static void cancel(struct backup *b)
{
    for (size_t i = 0; i < b->n; i++) {
        struct piece *piece = &b->pieces[(b->head + i) % WINDOW];
        if (piece->request)
            em_client_cancel(em_call_client(b->ctl->call), piece->request);
    }
}

static void finish(struct backup *b, enum ctl_exit code)
{
    cancel(b);
    ctl_finish(b->ctl, code);
}

static void start_over(struct backup *b)
{
    struct ctl *ctl = b->ctl;
    cancel(b);
    if (b->n_begun == MAX_BEGUN) {
        finish(b, ctl_fail(ctl, CTL_REFUSED,
                           "%s: the copy was lost %d times; name the one server that is to be "
                           "asked with -s",
                           ctl->subject, MAX_BEGUN));
    } else if (!b->path && b->written) {
        finish(b, ctl_fail(ctl, CTL_REFUSED,
                           "%s: the server has lost its copy, and what was written already cannot "
                           "be taken back; begin again",
                           ctl->subject));
    } else if (b->path &&
               (fflush(b->file) || ftruncate(fileno(b->file), 0) || fseeko(b->file, 0, SEEK_SET))) {
        finish(b, cannot_write(b, b->part, -errno));
    } else {
        ctl_progress(ctl, "starting over", "the server has lost its copy; starting over");
        begin(b);
    }
}

/* ---- taking ---- */

static void keep_tail(struct backup *b, const uint8_t *data, size_t size)
{
    size_t taken = size < CTL_SNAP_TAIL ? size : CTL_SNAP_TAIL;
    size_t kept = CTL_SNAP_TAIL - taken < b->tail_size ? CTL_SNAP_TAIL - taken : b->tail_size;
    memmove(b->tail, b->tail + b->tail_size - kept, kept);
    memcpy(b->tail + kept, data + size - taken, taken);
    b->tail_size = kept + taken;
}

/* Writes what is whole, in order. */
static int write_out(struct backup *b)
{
    while (b->n && !b->pieces[b->head].request) {
        const struct piece *piece = &b->pieces[b->head];
        if (fwrite(piece->data, 1, piece->size, b->file) != piece->size)
            return -errno;
        keep_tail(b, piece->data, piece->size);
        b->written += piece->size;
        b->head = (b->head + 1) % WINDOW;
        b->n--;
    }
    return 0;
}

static bool is_of_this_copy(const struct backup *b, const Eidmap__Chunk *chunk)
{
    return chunk->snapshot == b->snapshot && chunk->total == b->total && chunk->index == b->index &&
           chunk->revision == b->revision;
}

/* NULL, or what is wrong with it. */
static const char *check(const struct piece *piece, const Eidmap__Chunk *chunk)
{
    if (!chunk->snapshot || chunk->offset != piece->offset + piece->have || !chunk->data.len ||
        chunk->data.len > piece->size - piece->have)
        return "it is not what was asked for";
    if (em_crc32c(0, chunk->data.data, chunk->data.len) != chunk->crc32c)
        return "it was damaged on its way or on the server's disk (checksum)";
    return NULL;
}

static void take_first(struct backup *b, struct piece *piece, const Eidmap__Chunk *chunk)
{
    b->snapshot = chunk->snapshot;
    b->total = chunk->total;
    b->index = chunk->index;
    b->revision = chunk->revision;
    if (piece->size > b->total)
        piece->size = (uint32_t)b->total;
    b->asked = piece->size;
}

static void take(struct piece *piece, const Eidmap__Chunk *chunk)
{
    struct backup *b = piece->backup;
    struct ctl *ctl = b->ctl;
    if (!b->snapshot)
        take_first(b, piece, chunk);
    else if (!is_of_this_copy(b, chunk)) {
        start_over(b);
        return;
    }
    const char *wrong = check(piece, chunk);
    if (wrong) {
        finish(b, ctl_fail(ctl, CTL_REFUSED, "%s: the piece at byte %" PRIu64 ": %s", ctl->subject,
                           piece->offset + piece->have, wrong));
        return;
    }
    memcpy(piece->data + piece->have, chunk->data.data, chunk->data.len);
    piece->have += (uint32_t)chunk->data.len;
    if (piece->have < piece->size)
        ask(piece); /* a server may give less at a time */
    int r = write_out(b);
    if (r) {
        finish(b, cannot_write(b, b->part ? b->part : "standard output", r));
        return;
    }
    ctl_copy_progress(ctl, "copying", b->written, b->total, b->begun_ms);
    ask_for_more(b);
    if (b->written == b->total)
        ctl_finish(ctl, CTL_DONE);
}

static void on_chunk(void *aux, int err, const Eidmap__Envelope *reply)
{
    struct piece *piece = aux;
    struct backup *b = piece->backup;
    struct ctl *ctl = b->ctl;
    piece->request = 0;
    ctl->n_heard++;
    if (!err && reply->body_case == EIDMAP__ENVELOPE__BODY_CHUNK) {
        take(piece, reply->chunk);
        return;
    }
    if (!err && reply->body_case == EIDMAP__ENVELOPE__BODY_ERROR) {
        err = em_error_from_wire((int)reply->error->code);
        if (err == EM_E_NOT_FOUND && b->snapshot) {
            start_over(b);
            return;
        }
        ctl_refused_with(ctl, err, reply->error->message);
    } else {
        ctl_refused_with(ctl, err ? err : EM_E_UNSUPPORTED,
                         err ? "no map server sent the next piece in time; -t allows more"
                             : "the answer is none that mapctl knows");
    }
    cancel(b);
}

/* ---- the file ---- */

/* The file to write, empty and locked; or -EWOULDBLOCK: another backup writes it, or has just now
 * renamed or removed what was opened here; or another -errno.  Where files have no locks it goes
 * without. */
static int open_part(const char *part)
{
    struct stat opened, there;
    int r = 0, fd = open(part, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if ((flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) || fstat(fd, &opened) ||
        lstat(part, &there) || opened.st_ino != there.st_ino)
        r = -EWOULDBLOCK;
    else if (fchmod(fd, 0600) || ftruncate(fd, 0))
        r = -errno;
    if (r)
        close(fd);
    return r ? r : fd;
}

static enum ctl_exit open_file(struct backup *b, const char *path)
{
    struct ctl *ctl = b->ctl;
    if (strcmp(path, "-") == 0) {
        b->file = ctl->out;
        if (isatty(fileno(ctl->out)))
            return ctl_fail(ctl, CTL_USAGE, "%s: a terminal is no place for it; redirect it",
                            ctl->subject);
        return CTL_DONE;
    }
    struct stat st;
    if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return ctl_fail(ctl, CTL_REFUSED,
                        "%s: it is there, and no plain file; \"-\" is standard output",
                        ctl->subject);
    b->path = em_strdup(path);
    b->part = em_asprintf("%s.part", path);
    int fd = open_part(b->part);
    if (fd == -EWOULDBLOCK)
        return ctl_fail(ctl, CTL_REFUSED, "%s: another backup writes %s", ctl->subject, b->part);
    if (fd < 0)
        return cannot_write(b, b->part, fd);
    if (!(b->file = fdopen(fd, "wb"))) {
        int err = -errno;
        close(fd);
        return cannot_write(b, b->part, err);
    }
    return CTL_DONE;
}

/* The new name survives a power loss once its directory is on the disk. */
static int sync_directory(const char *path)
{
    char *copy = em_strdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 || fsync(fd) ? -errno : 0;
    if (fd >= 0)
        close(fd);
    free(copy);
    return r;
}

static enum ctl_exit keep_file(struct backup *b)
{
    if (fflush(b->file))
        return cannot_write(b, b->part ? b->part : "standard output", -errno);
    if (!b->path)
        return CTL_DONE;
    ctl_progress(b->ctl, "syncing", "writing it to the disk");
    if (fsync(fileno(b->file)))
        return cannot_write(b, b->part, -errno);
    if (rename(b->part, b->path))
        return cannot_write(b, b->path, -errno);
    free(b->part);
    b->part = NULL; /* the name may be another backup's from now on */
    int r = sync_directory(b->path);
    return r ? cannot_write(b, b->path, r) : CTL_DONE;
}

static void close_file(struct backup *b, enum ctl_exit code)
{
    if (b->part && b->file && code)
        unlink(b->part); /* while it is locked: afterwards it may be another's */
    if (b->path && b->file)
        fclose(b->file);
    free(b->path);
    free(b->part);
}

static void digest_text(const struct backup *b, char ret_text[2 * CTL_SNAP_DIGEST + 1])
{
    uint8_t digest[CTL_SNAP_DIGEST];
    ret_text[0] = '\0';
    if (!ctl_snap_digest(b->tail, b->tail_size, digest))
        return;
    for (size_t i = 0; i < CTL_SNAP_DIGEST; i++)
        snprintf(ret_text + 2 * i, 3, "%02x", digest[i]);
}

/* Off standard output when that has the copy. */
static void report(const struct backup *b)
{
    struct ctl *ctl = b->ctl;
    FILE *out = b->path ? ctl->out : ctl->err;
    char sha256[2 * CTL_SNAP_DIGEST + 1];
    uint64_t ms = em_now_ms() - b->begun_ms;
    digest_text(b, sha256);
    ctl_progress_clear(ctl);
    if (!ctl->is_json) {
        char *text = ctl_copy_text(b->total, ms);
        fprintf(out, "%s: %s, revision %" PRIu64 ", log index %" PRIu64 "%s%s\n", ctl->subject,
                text, b->revision, b->index, sha256[0] ? "\nsha256 of the map: " : "", sha256);
        free(text);
        return;
    }
    struct ctl_json json = {out};
    ctl_json_begin(&json, NULL, '{');
    ctl_json_text(&json, "file", b->path ? b->path : "-");
    ctl_json_uint(&json, "bytes", b->total);
    ctl_json_uint(&json, "ms", ms);
    ctl_json_uint(&json, "revision", b->revision);
    ctl_json_uint(&json, "index", b->index);
    ctl_json_text(&json, "sha256", sha256);
    ctl_json_end(&json, '}');
}

static enum ctl_exit run_backup(struct ctl *ctl)
{
    struct backup b = {.ctl = ctl};
    ctl_subject(ctl, "backup %s", ctl->words[0]);
    ctl_set_patience(ctl, PATIENCE);
    enum ctl_exit code = ctl_open(ctl);
    if (code)
        return code;
    code = open_file(&b, ctl->words[0]);
    if (!code) {
        b.pieces = em_calloc(WINDOW, sizeof(*b.pieces));
        ctl_progress(ctl, "beginning", "the server makes a copy");
        begin(&b);
        code = ctl_wait(ctl, b.pieces[b.head].request);
        if (code)
            cancel(&b);
    }
    if (!code)
        code = keep_file(&b);
    if (!code)
        report(&b);
    ctl_close(ctl);
    close_file(&b, code);
    free(b.pieces);
    return code;
}

const struct ctl_command ctl_backup_commands[] = {
    {"", "FILE", 1, 1, NULL, run_backup, "Copy the map into a file",
     "Any server of a cluster makes the copy, of one moment, and goes on serving.  It is written\n"
     "to FILE.part, readable to you alone, and renamed when it is whole and on the disk.  FILE -\n"
     "is standard output; what is to be said then goes to standard error.\n",
     "mapctl backup /var/backups/map-$(date +%F).eidmap\n"
     "mapctl backup - | ssh vault 'cat > map.eidmap'"},
    {NULL},
};
