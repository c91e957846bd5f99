/* "restore": a copy of a map into a cluster that is new: one server, an empty map.
 *
 * The pieces go in order, a few ahead of their answers.  They belong to one session: when it
 * ends, the server forgets them, and so the command ends too.  The last answer comes when the
 * map is in place. */
#include "call.h"
#include "command.h"
#include "copy.h"
#include "output.h"
#include "progress.h"
#include "snapfile.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "client/request.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WINDOW   4      /* pieces without an answer */
#define PATIENCE 300000 /* ms: the last answer waits for the whole map to be built */

struct restore {
    struct ctl *ctl;
    int fd;
    uint64_t total;
    uint64_t sent, taken;     /* bytes */
    int64_t requests[WINDOW]; /* in order from 'head' on */
    size_t head, n;
    uint64_t begun_ms;
    uint64_t revision;
    uint8_t data[CTL_PIECE];
};

static void on_done(void *aux, int err, const Eidmap__Envelope *reply);

static enum ctl_exit cannot_read(struct ctl *ctl, int err)
{
    return ctl_fail(ctl, CTL_REFUSED, "%s: cannot be read: %s", ctl->subject, em_strerror(err));
}

/* Its size; the head is checked before anything is sent. */
static enum ctl_exit open_file(struct restore *r, const char *path)
{
    struct ctl *ctl = r->ctl;
    struct stat st;
    uint8_t head[CTL_SNAP_HEAD];
    r->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (r->fd < 0 || fstat(r->fd, &st))
        return cannot_read(ctl, -errno);
    if (!S_ISREG(st.st_mode))
        return ctl_fail(ctl, CTL_REFUSED, "%s: it is no file", ctl->subject);
    ssize_t size = pread(r->fd, head, sizeof(head), 0);
    if (size < 0)
        return cannot_read(ctl, -errno);
    const char *wrong = ctl_snap_check_head(head, (size_t)size);
    if (wrong)
        return ctl_fail(ctl, CTL_REFUSED, "%s: %s", ctl->subject, wrong);
    r->total = (uint64_t)st.st_size;
    return CTL_DONE;
}

static void on_status(void *aux, const struct em_reply *reply)
{
    struct restore *r = aux;
    struct ctl *ctl = r->ctl;
    const struct em_status *s = reply->status;
    if (reply->err)
        ctl_refused(ctl, reply);
    else if (s->n_members > 1)
        ctl_finish(ctl, ctl_fail(ctl, CTL_REFUSED,
                                 "%s: the cluster of %s has %zu members; a copy goes into a new "
                                 "one of a single server, which grows afterwards",
                                 ctl->subject, s->server_id, s->n_members));
    else if (s->n_networks || s->n_nodes || s->n_ports)
        ctl_finish(ctl,
                   ctl_fail(ctl, CTL_REFUSED,
                            "%s: the map of %s is not empty (%" PRIu64 " networks, %" PRIu64
                            " nodes, %" PRIu64 " ports); a copy goes into a new one",
                            ctl->subject, s->server_id, s->n_networks, s->n_nodes, s->n_ports));
    else
        ctl_finish(ctl, CTL_DONE);
}

static void finish(struct restore *r, enum ctl_exit code)
{
    for (; r->n; r->n--, r->head++)
        em_client_cancel(em_call_client(r->ctl->call), r->requests[r->head % WINDOW]);
    ctl_finish(r->ctl, code);
}

/* 'keep': not to be sent again to another session. */
static int64_t send_piece(struct restore *r, size_t size)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Restore msg = EIDMAP__RESTORE__INIT;
    msg.offset = r->sent;
    msg.data = (ProtobufCBinaryData){size, r->data};
    msg.crc32c = em_crc32c(0, r->data, size);
    msg.total = r->total;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_RESTORE;
    envelope.restore = &msg;
    return em_client_send(em_call_client(r->ctl->call), &envelope, true, on_done, r);
}

/* The first goes alone: it asks whether there may be others. */
static enum ctl_exit send_more(struct restore *r)
{
    size_t window = r->taken ? WINDOW : 1;
    while (r->n < window && r->sent < r->total) {
        uint64_t rest = r->total - r->sent;
        size_t size = rest < CTL_PIECE ? (size_t)rest : CTL_PIECE;
        ssize_t got = pread(r->fd, r->data, size, (off_t)r->sent);
        if (got < 0)
            return cannot_read(r->ctl, -errno);
        if ((size_t)got != size)
            return ctl_fail(r->ctl, CTL_REFUSED, "%s: it has become shorter meanwhile",
                            r->ctl->subject);
        int64_t id = send_piece(r, size);
        if (id < 0)
            return ctl_fail(r->ctl, CTL_REFUSED, "%s: %s", r->ctl->subject, em_strerror((int)id));
        r->requests[(r->head + r->n++) % WINDOW] = id;
        r->sent += size;
    }
    return CTL_DONE;
}

static const char *hint_for(int err)
{
    switch (err) {
    case EM_E_UNSUPPORTED:
        return "; the map server must be at least as new as the one that made the copy";
    case EM_E_IN_USE:
    case EM_E_EXISTS:
        return "; a copy goes only into a new cluster: one server, an empty map";
    case EM_E_NO_SPACE:
    case EM_E_LIMIT:
        return "; give the map server more room, then begin again";
    case EM_E_CLOSED:
        return "; nothing was put in place, unless that was the last moment: look at \"mapctl "
               "status\", then begin again";
    }
    return "";
}

static void refuse(struct restore *r, int err, const char *message)
{
    enum ctl_exit code = err == EM_E_CLOSED || err == EM_E_TIMEOUT ? CTL_NO_SERVER : CTL_REFUSED;
    finish(r, ctl_fail(r->ctl, code, "%s: %s%s", r->ctl->subject,
                       message && message[0] ? message : em_strerror(err), hint_for(err)));
}

static void take_done(struct restore *r, const Eidmap__Done *done)
{
    struct ctl *ctl = r->ctl;
    em_client_cancel(em_call_client(ctl->call), r->requests[r->head]);
    r->head = (r->head + 1) % WINDOW;
    r->n--;
    uint64_t rest = r->total - r->taken;
    r->taken += rest < CTL_PIECE ? rest : CTL_PIECE;
    if (r->taken == r->total) {
        r->revision = done->revision;
        ctl_finish(ctl, CTL_DONE);
        return;
    }
    if (r->total - r->taken <= CTL_PIECE)
        ctl_progress(ctl, "placing", "the server puts the map in place");
    else
        ctl_copy_progress(ctl, "sending", r->taken, r->total, r->begun_ms);
    enum ctl_exit code = send_more(r);
    if (code)
        finish(r, code);
}

static void on_done(void *aux, int err, const Eidmap__Envelope *reply)
{
    struct restore *r = aux;
    if (!r->ctl->is_waiting)
        return;
    r->ctl->n_heard++;
    if (err)
        refuse(r, err,
               err == EM_E_CLOSED ? "the connection was lost"
                                  : "the server did not answer in time; -t allows more");
    else if (reply->body_case == EIDMAP__ENVELOPE__BODY_ERROR)
        refuse(r, em_error_from_wire((int)reply->error->code), reply->error->message);
    else if (reply->body_case != EIDMAP__ENVELOPE__BODY_DONE)
        refuse(r, EM_E_UNSUPPORTED, "the answer is none that mapctl knows");
    else
        take_done(r, reply->done);
}

static void report(const struct restore *r)
{
    struct ctl *ctl = r->ctl;
    struct ctl_json json = {ctl->out};
    uint64_t ms = em_now_ms() - r->begun_ms;
    if (!ctl->is_json) {
        char *text = ctl_copy_text(r->total, ms);
        ctl_say(ctl, "%s: %s, revision %" PRIu64, ctl->subject, text, r->revision);
        ctl_say(ctl, "the map is in place; \"mapctl member add\" makes the cluster larger");
        free(text);
        return;
    }
    ctl_progress_clear(ctl);
    ctl_json_begin(&json, NULL, '{');
    ctl_json_uint(&json, "bytes", r->total);
    ctl_json_uint(&json, "ms", ms);
    ctl_json_uint(&json, "revision", r->revision);
    ctl_json_end(&json, '}');
}

static enum ctl_exit upload(struct restore *r)
{
    struct ctl *ctl = r->ctl;
    enum ctl_exit code =
        ctl_wait(ctl, em_client_status(em_call_client(ctl->call), false, on_status, r));
    if (code)
        return code;
    r->begun_ms = em_now_ms();
    ctl_copy_progress(ctl, "sending", 0, r->total, r->begun_ms);
    code = send_more(r);
    if (code)
        return code;
    code = ctl_wait(ctl, r->requests[r->head]);
    if (!code)
        report(r);
    return code;
}

static enum ctl_exit run_restore(struct ctl *ctl)
{
    struct restore *r = em_calloc(1, sizeof(*r));
    r->ctl = ctl;
    ctl_subject(ctl, "restore %s", ctl->words[0]);
    ctl_set_patience(ctl, PATIENCE);
    enum ctl_exit code = open_file(r, ctl->words[0]);
    if (!code && !(code = ctl_open(ctl))) {
        code = upload(r);
        ctl_close(ctl);
    }
    if (r->fd >= 0)
        close(r->fd);
    free(r);
    return code;
}

const struct ctl_command ctl_restore_commands[] = {
    {"", "FILE", 1, 1, NULL, run_restore, "Put a copy of a map into a new cluster",
     "The cluster must be new: one server that was started with an empty data directory, and\n"
     "nothing in its map.  It keeps its own identity: agents see a new cluster, start over, and\n"
     "announce what they have.  \"mapctl member add\" makes the cluster larger afterwards.\n",
     "mapctl -s 192.0.2.10:4342 restore /var/backups/map-2026-11-25.eidmap"},
    {NULL},
};
