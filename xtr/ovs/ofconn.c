/* See ofconn.h. */
#include "ofconn.h"

#include "base/clock.h"
#include "base/mem.h"
#include "openflow_fields.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_MS 8000 /* with thousands of ports ovs-vswitchd takes seconds over each change */
#define READ_SIZE   65536
#define ECHO_MAX                                                                                   \
    1048576 /* bytes that wait to be sent: a switch that takes nothing asks in vain                \
             */

struct of_conn {
    int fd;
    bool is_lost;
    uint8_t hello; /* version that the switch has greeted with; 0: not yet */
    struct em_buf in, out;
    uint32_t xid;
    uint32_t awaited;  /* an xid; 0: none, or it has come */
    int refusal;       /* 0, or -errno: what came for it is an error */
    uint64_t alive_ms; /* when it last took or answered something */
    of_message_fn *on_message;
    void *aux;
};

static int lose(struct of_conn *conn, int err)
{
    conn->is_lost = true;
    return err == -EPROTO || err == -ETIMEDOUT ? err : -ENOTCONN;
}

static int dial(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    if (size >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, size + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

int of_fd(const struct of_conn *conn)
{
    return conn->fd;
}

bool of_is_lost(const struct of_conn *conn)
{
    return conn->is_lost;
}

struct em_buf *of_out(struct of_conn *conn)
{
    return &conn->out;
}

uint32_t of_xid(struct of_conn *conn)
{
    if (++conn->xid == 0)
        conn->xid = 1;
    return conn->xid;
}

static bool is_last(const struct of_message *message)
{
    return message->type != OF_MULTIPART_REPLY || message->size < 12 ||
           !(of_get16(message->data + 10) & 1);
}

/* What a switch sends of its own accord is no answer, however much of it comes. */
static bool is_news(const struct of_message *message)
{
    return message->type == OF_PACKET_IN || message->type == OF_PORT_STATUS ||
           message->type == OF_ECHO_REQUEST;
}

static void end_wait(struct of_conn *conn, const struct of_message *message)
{
    uint16_t type, code;
    conn->awaited = 0;
    conn->refusal = of_parse_error(message, &type, &code) ? of_error_errno(type, code) : 0;
}

static void handle(struct of_conn *conn, const struct of_message *message)
{
    if (!is_news(message))
        conn->alive_ms = em_now_ms();
    if (message->type == OF_ECHO_REQUEST) {
        if (em_buf_size(&conn->out) < ECHO_MAX)
            of_put_echo_reply(&conn->out, message->xid, message->data + OF_HEADER_SIZE,
                              message->size - OF_HEADER_SIZE);
        return;
    }
    if (message->type == OF_HELLO) {
        conn->hello = message->data[0];
        return;
    }
    conn->on_message(conn->aux, message);
    if (message->xid == conn->awaited && is_last(message) && !is_news(message))
        end_wait(conn, message);
}

static int parse_all(struct of_conn *conn)
{
    struct of_message message;
    int n;
    while ((n = of_parse(em_buf_head(&conn->in), em_buf_size(&conn->in), &message)) > 0) {
        handle(conn, &message);
        em_buf_take(&conn->in, (size_t)n);
    }
    return n < 0 ? lose(conn, n) : 0;
}

int of_receive(struct of_conn *conn, size_t budget)
{
    size_t total = 0;
    while (total < budget && !conn->is_lost) {
        ssize_t n = recv(conn->fd, em_buf_reserve(&conn->in, READ_SIZE), READ_SIZE, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0)
            return lose(conn, n ? -errno : -ECONNRESET);
        em_buf_commit(&conn->in, (size_t)n);
        total += (size_t)n;
        int r = parse_all(conn);
        if (r)
            return r;
    }
    return conn->is_lost ? -ENOTCONN : (int)total;
}

int of_send(struct of_conn *conn)
{
    while (em_buf_size(&conn->out) > 0 && !conn->is_lost) {
        ssize_t n = send(conn->fd, em_buf_head(&conn->out), em_buf_size(&conn->out), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n < 0)
            return lose(conn, -errno);
        em_buf_take(&conn->out, (size_t)n);
        conn->alive_ms = em_now_ms();
    }
    return conn->is_lost ? -ENOTCONN : 0;
}

void of_expect(struct of_conn *conn)
{
    conn->alive_ms = em_now_ms();
}

static int patience_ms(const struct of_conn *conn)
{
    uint64_t silent_ms = em_now_ms() - conn->alive_ms;
    return silent_ms < PATIENCE_MS ? (int)(PATIENCE_MS - silent_ms) : 0;
}

bool of_is_overdue(struct of_conn *conn)
{
    if (patience_ms(conn))
        return false;
    /* It may be we who have not looked for so long. */
    if (of_receive(conn, READ_SIZE) >= 0 && patience_ms(conn))
        return false;
    (void)lose(conn, -ETIMEDOUT);
    return true;
}

/* One round of sending and receiving.  What the switch sends is read even while it does not
 * take anything, since it may wait for that. */
static int exchange(struct of_conn *conn)
{
    struct pollfd fd = {.fd = conn->fd, .events = POLLIN};
    int r = of_send(conn);
    if (r)
        return r;
    if (em_buf_size(&conn->out) > 0)
        fd.events |= POLLOUT;
    int left_ms = patience_ms(conn);
    if (!left_ms)
        return lose(conn, -ETIMEDOUT);
    r = poll(&fd, 1, left_ms);
    if (r < 0 && errno != EINTR)
        return lose(conn, -errno);
    r = r > 0 && fd.revents & ~POLLOUT ? of_receive(conn, READ_SIZE) : 0;
    return r < 0 ? r : 0;
}

int of_wait(struct of_conn *conn, uint32_t xid)
{
    int r = conn->is_lost ? -ENOTCONN : 0;
    conn->awaited = xid;
    conn->refusal = 0;
    conn->alive_ms = em_now_ms();
    while (r == 0 && conn->awaited == xid)
        r = exchange(conn);
    return r ? r : conn->refusal;
}

int of_barrier(struct of_conn *conn)
{
    uint32_t xid = of_xid(conn);
    of_put_barrier(&conn->out, xid);
    return of_wait(conn, xid);
}

static int greet(struct of_conn *conn)
{
    int r = 0;
    of_put_hello(&conn->out, of_xid(conn));
    conn->alive_ms = em_now_ms();
    while (r == 0 && !conn->hello)
        r = exchange(conn);
    if (r == 0 && conn->hello < OF_VERSION)
        r = -EPROTO;
    if (r)
        return r;
    of_put_set_config(&conn->out, of_xid(conn));
    r = of_barrier(conn);
    return r == -ENOTCONN ? -EPROTO : r; /* it takes a hello for another version amiss */
}

int of_connect(const char *path, of_message_fn *on_message, void *aux, struct of_conn **ret_conn)
{
    int fd = dial(path);
    if (fd < 0)
        return fd;
    struct of_conn *conn = em_calloc(1, sizeof *conn);
    *conn = (struct of_conn){.fd = fd, .on_message = on_message, .aux = aux};
    em_buf_init(&conn->in);
    em_buf_init(&conn->out);
    int r = greet(conn);
    if (r) {
        of_close(conn);
        return r;
    }
    *ret_conn = conn;
    return 0;
}

void of_close(struct of_conn *conn)
{
    if (!conn)
        return;
    close(conn->fd);
    em_buf_fini(&conn->in);
    em_buf_fini(&conn->out);
    free(conn);
}
