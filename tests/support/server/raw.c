#include "server/raw.h"

#include "base/buf.h"
#include "base/mem.h"
#include "eidmap/error.h"
#include "net/socket.h"
#include "server/real_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_S   10
#define WRITE_US 250000

/* 0 or -errno. */
static int open_raw(struct raw *raw, const char *url)
{
    struct em_address address;
    struct timeval read_limit = {.tv_sec = READ_S}, write_limit = {.tv_usec = WRITE_US};
    int err = 0;
    socklen_t size = sizeof(err);
    char why[EM_ADDR_WHY];
    if (em_address_parse(url, &address, why))
        real_fail("%s: %s", url, why);
    raw->fd = em_socket_connect(&address);
    if (raw->fd < 0)
        return raw->fd;
    struct pollfd pollfd = {.fd = raw->fd, .events = POLLOUT};
    if (poll(&pollfd, 1, READ_S * 1000) != 1)
        err = ETIMEDOUT;
    else if (getsockopt(raw->fd, SOL_SOCKET, SO_ERROR, &err, &size))
        err = errno;
    if (err) {
        close(raw->fd);
        return -err;
    }
    fcntl(raw->fd, F_SETFL, fcntl(raw->fd, F_GETFL) & ~O_NONBLOCK);
    setsockopt(raw->fd, SOL_SOCKET, SO_RCVTIMEO, &read_limit, sizeof(read_limit));
    setsockopt(raw->fd, SOL_SOCKET, SO_SNDTIMEO, &write_limit, sizeof(write_limit));
    raw->arena = em_malloc(sizeof(*raw->arena));
    em_arena_init(raw->arena, 0);
    return 0;
}

void raw_open(struct raw *raw, const char *url)
{
    int r = open_raw(raw, url);
    if (r)
        real_fail("%s: cannot connect: %s", url, strerror(-r));
}

bool raw_try_open(struct raw *raw, const char *url)
{
    return open_raw(raw, url) == 0;
}

void raw_set_patience(struct raw *raw, unsigned ms)
{
    struct timeval limit = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    setsockopt(raw->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

void raw_close(struct raw *raw)
{
    close(raw->fd);
    em_arena_fini(raw->arena);
    free(raw->arena);
}

bool raw_send_bytes(struct raw *raw, const void *data, size_t size)
{
    const uint8_t *at = data;
    while (size) {
        ssize_t n = send(raw->fd, at, size, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

bool raw_send(struct raw *raw, const Eidmap__Envelope *envelope)
{
    struct em_buf buf;
    em_buf_init(&buf);
    bool is_sent = em_msg_append(&buf, envelope) == 0 &&
                   raw_send_bytes(raw, em_buf_head(&buf), em_buf_size(&buf));
    em_buf_fini(&buf);
    return is_sent;
}

static bool read_bytes(struct raw *raw, uint8_t *data, size_t size)
{
    while (size) {
        ssize_t n = recv(raw->fd, data, size, 0);
        if (n <= 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

const Eidmap__Envelope *raw_read(struct raw *raw)
{
    const Eidmap__Envelope *envelope = NULL;
    uint32_t length_be;
    if (!read_bytes(raw, (uint8_t *)&length_be, sizeof(length_be)))
        return NULL;
    uint32_t length = ntohl(length_be);
    if (length > EM_FRAME_MAX)
        real_fail("the server sends a frame of %u bytes", length);
    uint8_t *data = em_malloc(length);
    em_arena_reset(raw->arena);
    if (read_bytes(raw, data, length) && !(envelope = em_msg_unpack(raw->arena, data, length)))
        real_fail("the server sends what is no message");
    free(data);
    return envelope;
}

bool raw_is_open(struct raw *raw)
{
    uint8_t byte;
    return recv(raw->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

bool raw_reads_end(struct raw *raw)
{
    uint8_t data[4096];
    ssize_t n;
    while ((n = recv(raw->fd, data, sizeof(data), 0)) > 0)
        ;
    return n == 0 || errno == ECONNRESET || errno == EPIPE;
}

bool raw_hello(struct raw *raw, const char *node_id)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Hello hello = EIDMAP__HELLO__INIT;
    Eidmap__Rloc rloc = EIDMAP__RLOC__INIT, *rlocs[] = {&rloc};
    static uint64_t boot_epoch; /* the next session of a node takes over from the last */
    uint8_t address[] = {198, 18, 255, 1}, instance[16];
    if (getrandom(instance, sizeof(instance), 0) != sizeof(instance))
        return false;
    hello.protocol = EM_PROTOCOL;
    hello.instance = (ProtobufCBinaryData){sizeof(instance), instance};
    hello.boot_epoch = ++boot_epoch;
    if (node_id) {
        hello.node_id = (char *)node_id;
        rloc.address = (ProtobufCBinaryData){sizeof(address), address};
        hello.rlocs = rlocs;
        hello.n_rlocs = 1;
    }
    envelope.id = 1;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;
    if (!raw_send(raw, &envelope))
        return false;
    const Eidmap__Envelope *reply = raw_read(raw);
    return reply && reply->body_case == EIDMAP__ENVELOPE__BODY_WELCOME;
}
