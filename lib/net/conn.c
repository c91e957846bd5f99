/* Life of a connection:
 *
 *   CONNECTING --writable--> HANDSHAKE --done--> OPEN --close--> CLOSED
 *        \______________________\__________________\___error____/
 *
 * A plain or unix socket passes HANDSHAKE at once.  CLOSED is final: watchers are stopped,
 * on_close has been called, and the object lies with the reaper until the stack is unwound.
 *
 * Input is read into the loop's scratch space and frames are handed out from there; only a
 * frame that is not whole yet is copied into the connection.  One turn takes at most
 * TURN_FRAMES frames and TURN_READS reads, and writes some TURN_WRITE bytes, then other connections
 * have theirs. */
#include "net/conn.h"

#include "base/buf.h"
#include "base/mem.h"
#include "eidmap/addr.h"
#include "eidmap/error.h"
#include "net/net.h"
#include "net/net_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <ev.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURN_FRAMES       64
#define TURN_READS        4
#define TURN_WRITE        (80u << 10) /* bytes; then other connections have their turn */
#define BULK              (16u << 10) /* with more to write it waits for those that have less */
#define DEFAULT_HANDSHAKE 10000
#define KEEP_OUT          (16u << 10) /* an output buffer that grew beyond is given back */

enum state { CONNECTING, HANDSHAKE, OPEN, CLOSED };

struct em_conn {
    struct em_net *net;
    const struct em_conn_events *events;
    void *aux;
    int fd;
    enum state state;
    struct em_tls_session *tls;
    bool is_client;
    bool is_full;     /* output is above the high mark: no reading */
    bool wants_write; /* the socket or TLS waits to be writable */
    unsigned n_pauses;
    struct em_buf in, out;
    struct em_list flush; /* in net's lists while queued */
    struct em_list ready;
    ev_io io;
    ev_timer timer; /* handshake limit, then idle limit */
    uint32_t idle_ms;
    ev_tstamp last_input;
    struct em_peer peer;
};

static bool may_read(const struct em_conn *conn)
{
    return conn->state == OPEN && !conn->is_full && conn->n_pauses == 0;
}

static void watch(struct em_conn *conn, int events)
{
    struct ev_loop *loop = em_net_loop(conn->net);
    if (ev_is_active(&conn->io) && (conn->io.events & (EV_READ | EV_WRITE)) == events)
        return;
    ev_io_stop(loop, &conn->io);
    ev_io_set(&conn->io, conn->fd, events);
    if (events)
        ev_io_start(loop, &conn->io);
}

static void rewatch(struct em_conn *conn)
{
    if (conn->state == OPEN)
        watch(conn, (may_read(conn) ? EV_READ : 0) | (conn->wants_write ? EV_WRITE : 0));
}

static void describe_peer(struct em_conn *conn)
{
    struct sockaddr_storage ss = {0};
    socklen_t size = sizeof(ss);
    struct em_peer *peer = &conn->peer;
    char ip[EM_IP_TEXT];
    if (getpeername(conn->fd, (struct sockaddr *)&ss, &size) != 0)
        return;
    if (ss.ss_family == AF_UNIX) {
        struct ucred cred;
        socklen_t cred_size = sizeof(cred);
        peer->is_unix = true;
        peer->uid = (uid_t)-1;
        if (getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, &cred, &cred_size) == 0)
            peer->uid = cred.uid;
        snprintf(peer->text, sizeof(peer->text), "uid %u", (unsigned)peer->uid);
    } else if (ss.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&ss;
        em_ip_format((const uint8_t *)&in->sin_addr, 4, ip);
        snprintf(peer->text, sizeof(peer->text), "%s:%u", ip, ntohs(in->sin_port));
    } else {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&ss;
        em_ip_format((const uint8_t *)&in6->sin6_addr, 16, ip);
        snprintf(peer->text, sizeof(peer->text), "[%s]:%u", ip, ntohs(in6->sin6_port));
    }
}

static ssize_t raw_result(ssize_t n)
{
    if (n > 0)
        return n;
    if (n == 0)
        return EM_E_CLOSED;
    return errno == EINTR || errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

static ssize_t read_some(struct em_conn *conn, void *data, size_t size)
{
    int events = EV_READ;
    if (!conn->tls)
        return raw_result(recv(conn->fd, data, size, 0));
    ssize_t n = em_tls_read(conn->tls, data, size, &events);
    if (n == -EAGAIN && events == EV_WRITE)
        conn->wants_write = true;
    return n;
}

static ssize_t write_some(struct em_conn *conn, const void *data, size_t size)
{
    int events = EV_WRITE; /* TLS 1.3 never asks for EV_READ in order to write */
    if (!conn->tls)
        return raw_result(send(conn->fd, data, size, MSG_NOSIGNAL));
    return em_tls_write(conn->tls, data, size, &events);
}

static const char *io_why(const struct em_conn *conn, int err)
{
    return err == EM_E_TLS ? em_tls_session_why(conn->tls) : em_strerror(err);
}

/* Writes what the socket takes, at most 'left' bytes.  0 or the error that ends the connection. */
static int write_out(struct em_conn *conn, size_t left)
{
    size_t size;
    conn->wants_write = false;
    while ((size = em_buf_size(&conn->out)) && left) {
        ssize_t n = write_some(conn, em_buf_head(&conn->out), size < left ? size : left);
        if (n == -EAGAIN) {
            conn->wants_write = true;
            return 0;
        }
        if (n < 0)
            return (int)n;
        em_buf_take(&conn->out, (size_t)n);
        left -= (size_t)n;
    }
    if (conn->out.size > KEEP_OUT)
        em_buf_trim(&conn->out);
    return 0;
}

static void free_conn(void *object)
{
    struct em_conn *conn = object;
    em_tls_session_free(conn->tls);
    em_buf_fini(&conn->in);
    em_buf_fini(&conn->out);
    free(conn);
}

void em_conn_close(struct em_conn *conn, int err, const char *why)
{
    if (conn->state == CLOSED)
        return;
    struct ev_loop *loop = em_net_loop(conn->net);
    if (conn->state == OPEN)
        write_out(conn, SIZE_MAX); /* an Error frame that says why, if the socket takes it */
    if (conn->tls)
        em_tls_shutdown(conn->tls);
    conn->state = CLOSED;
    ev_io_stop(loop, &conn->io);
    ev_timer_stop(loop, &conn->timer);
    em_list_remove(&conn->flush);
    em_list_remove(&conn->ready);
    close(conn->fd);
    conn->fd = -1;
    em_net_reap(conn->net, conn, free_conn);
    conn->events->on_close(conn, conn->aux, err, why ? why : em_strerror(err));
}

static void queue_flush(struct em_conn *conn)
{
    em_net_queue_flush(conn->net, &conn->flush, em_buf_size(&conn->out) > BULK);
}

/* Returns how many bytes it has written. */
static size_t flush(struct em_conn *conn, size_t most)
{
    size_t before = em_buf_size(&conn->out);
    if (before > EM_CONN_MAX) {
        em_conn_close(conn, EM_E_LIMIT, "the peer does not take what is sent to it");
        return 0;
    }
    int r = write_out(conn, most);
    if (r) {
        em_conn_close(conn, r, io_why(conn, r));
        return 0;
    }
    size_t left = em_buf_size(&conn->out);
    if (left && !conn->wants_write)
        queue_flush(conn);
    if (conn->is_full && left <= EM_CONN_LOW) {
        conn->is_full = false;
        em_net_queue_ready(conn->net, &conn->ready); /* frames may wait in 'in' */
    }
    rewatch(conn);
    if (before && left <= EM_CONN_LOW && conn->events->on_drain)
        conn->events->on_drain(conn, conn->aux);
    return before - left;
}

void em_conn_flush(struct em_conn *conn)
{
    if (conn->state == OPEN && em_buf_size(&conn->out))
        flush(conn, SIZE_MAX);
}

size_t em_conn_flush_item(struct em_list *item)
{
    struct em_conn *conn = em_container_of(item, struct em_conn, flush);
    return conn->state == OPEN ? flush(conn, TURN_WRITE) : 0;
}

/* Each takes from *budget what it hands out, and returns its size: 0 when there is nothing. */
static size_t hand_out_many(struct em_conn *conn, const uint8_t *data, size_t size,
                            unsigned *budget)
{
    size_t taken = 0;
    if (conn->events->on_frames)
        *budget -= conn->events->on_frames(conn, conn->aux, data, size, *budget, &taken);
    return taken;
}

static ssize_t hand_out_one(struct em_conn *conn, const uint8_t *data, size_t size,
                            unsigned *budget)
{
    ssize_t frame = em_frame_size(data, size);
    if (frame <= 0)
        return frame;
    (*budget)--;
    int r = conn->events->on_frame(conn, conn->aux, data + EM_FRAME_HEADER,
                                   (size_t)frame - EM_FRAME_HEADER);
    return r ? r : frame;
}

/* Hands out whole frames; returns how many bytes they were, or the error that ends the
 * connection. */
static ssize_t hand_out(struct em_conn *conn, const uint8_t *data, size_t size, unsigned *budget)
{
    size_t done = 0;
    while (*budget && may_read(conn)) {
        ssize_t n = (ssize_t)hand_out_many(conn, data + done, size - done, budget);
        if (!n)
            n = hand_out_one(conn, data + done, size - done, budget);
        if (n < 0)
            return n;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static const char *frame_why(int err)
{
    return err == EM_E_FRAME ? "not an eidmap frame (length 0 or over 1 MiB)" : em_strerror(err);
}

/* Frames that lie in 'in' from an earlier turn.  False when the connection has ended. */
static bool drain_in(struct em_conn *conn, unsigned *budget)
{
    if (!em_buf_size(&conn->in))
        return true;
    ssize_t n = hand_out(conn, em_buf_head(&conn->in), em_buf_size(&conn->in), budget);
    if (conn->state == CLOSED)
        return false;
    if (n < 0) {
        em_conn_close(conn, (int)n, frame_why((int)n));
        return false;
    }
    em_buf_take(&conn->in, (size_t)n);
    em_buf_trim(&conn->in);
    return true;
}

static bool take_input(struct em_conn *conn, const uint8_t *data, size_t size, unsigned *budget)
{
    if (em_buf_size(&conn->in)) {
        em_buf_append(&conn->in, data, size);
        return drain_in(conn, budget);
    }
    ssize_t n = hand_out(conn, data, size, budget);
    if (conn->state == CLOSED)
        return false;
    if (n < 0) {
        em_conn_close(conn, (int)n, frame_why((int)n));
        return false;
    }
    em_buf_append(&conn->in, data + n, size - (size_t)n);
    return true;
}

/* After a read of 'n' bytes: is there more that no event would tell of, or is there likely to
 * be?  Most often one read has it all, and a second would only find that out. */
static bool has_more(const struct em_conn *conn, size_t n)
{
    return conn->tls ? em_tls_has_pending(conn->tls) : n == EM_NET_SCRATCH;
}

static void read_turn(struct em_conn *conn)
{
    unsigned budget = TURN_FRAMES;
    uint8_t *scratch = em_net_scratch(conn->net);
    if (!drain_in(conn, &budget))
        return;
    for (int i = 0; i < TURN_READS && budget && may_read(conn); i++) {
        ssize_t n = read_some(conn, scratch, EM_NET_SCRATCH);
        if (n == -EAGAIN) {
            rewatch(conn);
            return;
        }
        if (n < 0) {
            em_conn_close(conn, (int)n, io_why(conn, (int)n));
            return;
        }
        conn->last_input = ev_now(em_net_loop(conn->net));
        if (!take_input(conn, scratch, (size_t)n, &budget))
            return;
        if (budget && !has_more(conn, (size_t)n)) {
            rewatch(conn);
            return;
        }
    }
    rewatch(conn);
    if (may_read(conn)) /* more may lie in 'in' or inside OpenSSL, where no event tells */
        em_net_queue_ready(conn->net, &conn->ready);
}

size_t em_conn_ready_item(struct em_list *item)
{
    struct em_conn *conn = em_container_of(item, struct em_conn, ready);
    if (may_read(conn))
        read_turn(conn);
    return 0;
}

static void opened(struct em_conn *conn)
{
    struct ev_loop *loop = em_net_loop(conn->net);
    conn->state = OPEN;
    conn->last_input = ev_now(loop);
    em_conn_set_idle(conn, conn->idle_ms);
    rewatch(conn);
    conn->events->on_open(conn, conn->aux);
    if (may_read(conn)) /* the peer's first frames may have come with its last flight */
        em_net_queue_ready(conn->net, &conn->ready);
}

static void handshake(struct em_conn *conn)
{
    int events = EV_READ;
    int r = conn->tls ? em_tls_handshake(conn->tls, &events) : 0;
    if (r == -EAGAIN) {
        watch(conn, events);
        return;
    }
    if (r == 0 && conn->tls)
        r = em_tls_peer(conn->tls, &conn->peer.identity);
    if (r) {
        em_conn_close(conn, r, r == EM_E_CLOSED ? em_strerror(r) : em_tls_session_why(conn->tls));
        return;
    }
    if (conn->tls && conn->is_client && conn->peer.identity.role != EM_ROLE_SERVER) {
        em_conn_close(conn, EM_E_DENIED, "the peer's certificate is not a server's");
        return;
    }
    opened(conn);
}

static void connected(struct em_conn *conn)
{
    int err = 0;
    socklen_t size = sizeof(err);
    if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &err, &size) != 0)
        err = errno;
    if (err) {
        em_conn_close(conn, -err, em_strerror(-err));
        return;
    }
    describe_peer(conn);
    conn->state = HANDSHAKE;
    handshake(conn);
}

static void on_io(struct ev_loop *loop, ev_io *w, int revents)
{
    struct em_conn *conn = w->data;
    switch (conn->state) {
    case CONNECTING:
        connected(conn);
        return;
    case HANDSHAKE:
        handshake(conn);
        return;
    case OPEN:
        if (revents & EV_WRITE)
            queue_flush(conn); /* many may be writable at once */
        if ((revents & EV_READ || conn->tls) && may_read(conn))
            read_turn(conn);
        return;
    case CLOSED:
        return;
    }
}

/* The loop may have been away for longer than the peer may be silent: libev shows the timer before
 * what lies in the socket, so that is looked at here. */
static ev_tstamp time_left(const struct em_conn *conn)
{
    return conn->last_input + conn->idle_ms / 1000.0 - ev_now(em_net_loop(conn->net));
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct em_conn *conn = w->data;
    if (conn->state != OPEN) {
        if (conn->state == HANDSHAKE)
            handshake(conn);
        if (conn->state != OPEN)
            em_conn_close(conn, EM_E_TIMEOUT, "no handshake in time");
        return;
    }
    /* Input only moves last_input; the timer looks at it when it fires.  A peer that is not
     * listened to cannot be called silent. */
    if (conn->n_pauses)
        conn->last_input = ev_now(loop);
    if (time_left(conn) <= 0 && may_read(conn))
        read_turn(conn);
    if (conn->state != OPEN || ev_is_active(w) || !conn->idle_ms)
        return;
    ev_tstamp left = time_left(conn);
    if (left <= 0) {
        em_conn_close(conn, EM_E_TIMEOUT, "nothing heard from the peer in time");
        return;
    }
    ev_timer_set(w, left, 0);
    ev_timer_start(loop, w);
}

struct em_conn *em_conn_new(struct em_net *net, int fd_take, const struct em_conn_config *config,
                            void *aux)
{
    struct ev_loop *loop = em_net_loop(net);
    struct em_conn *conn = em_calloc(1, sizeof(*conn));
    uint32_t limit_ms = config->handshake_ms ? config->handshake_ms : DEFAULT_HANDSHAKE;
    conn->net = net;
    conn->events = config->events;
    conn->aux = aux;
    conn->fd = fd_take;
    conn->is_client = config->is_client;
    conn->idle_ms = config->idle_ms;
    em_list_init(&conn->flush);
    em_list_init(&conn->ready);
    if (config->tls) {
        conn->tls = config->is_client ? em_tls_connect(config->tls, fd_take, config->resume)
                                      : em_tls_accept(config->tls, fd_take);
        if (!conn->tls) {
            close(fd_take);
            free(conn);
            return NULL;
        }
    }
    describe_peer(conn);
    ev_io_init(&conn->io, on_io, fd_take, EV_WRITE);
    conn->io.data = conn;
    ev_timer_init(&conn->timer, on_timer, limit_ms / 1000.0, 0);
    conn->timer.data = conn;
    ev_timer_start(loop, &conn->timer);
    watch(conn, EV_WRITE);
    return conn;
}

struct em_buf *em_conn_out(struct em_conn *conn)
{
    return &conn->out;
}

void em_conn_sent(struct em_conn *conn)
{
    if (conn->state != OPEN)
        return;
    if (em_buf_size(&conn->out) > EM_CONN_HIGH && !conn->is_full) {
        conn->is_full = true;
        rewatch(conn);
    }
    if (!conn->wants_write || em_buf_size(&conn->out) > EM_CONN_MAX) /* this ends the connection */
        queue_flush(conn);
}

int em_conn_send(struct em_conn *conn, const Eidmap__Envelope *envelope)
{
    if (conn->state != OPEN)
        return EM_E_CLOSED;
    int r = em_msg_append(&conn->out, envelope);
    em_conn_sent(conn);
    return r;
}

size_t em_conn_pending(const struct em_conn *conn)
{
    return em_buf_size(&conn->out);
}

void em_conn_pause(struct em_conn *conn)
{
    conn->n_pauses++;
    rewatch(conn);
}

void em_conn_resume(struct em_conn *conn)
{
    assert(conn->n_pauses);
    if (--conn->n_pauses || conn->state != OPEN)
        return;
    rewatch(conn);
    em_net_queue_ready(conn->net, &conn->ready);
}

void em_conn_hand_over(struct em_conn *conn, const struct em_conn_events *events, void *aux)
{
    assert(conn->state == OPEN);
    conn->events = events;
    conn->aux = aux;
}

void em_conn_set_idle(struct em_conn *conn, uint32_t idle_ms)
{
    struct ev_loop *loop = em_net_loop(conn->net);
    conn->idle_ms = idle_ms;
    if (conn->state != OPEN)
        return;
    ev_timer_stop(loop, &conn->timer);
    if (!idle_ms)
        return;
    ev_timer_set(&conn->timer, idle_ms / 1000.0, 0);
    ev_timer_start(loop, &conn->timer);
}

const struct em_peer *em_conn_peer(const struct em_conn *conn)
{
    return &conn->peer;
}

bool em_conn_was_resumed(const struct em_conn *conn)
{
    return conn->tls && em_tls_was_resumed(conn->tls);
}
