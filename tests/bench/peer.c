#include "peer.h"

#include "base/buf.h"
#include "base/mem.h"
#include "net/conn.h"
#include "net/listener.h"
#include "net/net.h"
#include "server/real_server.h"
#include "wire/writer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOURCE_FRAME (64u << 10)
#define SEND_AHEAD   (256u << 10) /* as the feed pump of the map server */

struct peer {
    enum peer_kind kind;
    struct em_tls *tls;
    struct em_net *net;
    uint64_t bytes;
};

struct guest {
    struct peer *peer;
    uint64_t left; /* bytes to send */
};

static void put_frame(struct em_buf *out, const void *data, uint32_t size)
{
    uint32_t length_be = htonl(size);
    em_buf_append(out, &length_be, sizeof(length_be));
    em_buf_append(out, data, size);
}

static void echo(struct em_buf *out, const void *data, uint32_t size, uint32_t least)
{
    uint32_t padded = size < least ? least : size;
    uint32_t length_be = htonl(padded);
    em_buf_append(out, &length_be, sizeof(length_be));
    em_buf_append(out, data, size);
    memset(em_buf_reserve(out, padded - size), 0, padded - size);
    em_buf_commit(out, padded - size);
}

static void pour(struct em_conn *conn, struct guest *guest)
{
    static const uint8_t page[SOURCE_FRAME];
    while (guest->left && em_conn_pending(conn) < SEND_AHEAD) {
        uint32_t size = guest->left < SOURCE_FRAME ? (uint32_t)guest->left : SOURCE_FRAME;
        put_frame(em_conn_out(conn), page, size);
        guest->left -= size;
    }
    em_conn_sent(conn);
}

static void on_open(struct em_conn *conn, void *aux)
{
}

static int on_frame(struct em_conn *conn, void *aux, const uint8_t *data, size_t size)
{
    struct guest *guest = aux;
    switch (guest->peer->kind) {
    case PEER_ECHO:
        echo(em_conn_out(conn), data, (uint32_t)size, (uint32_t)guest->peer->bytes);
        em_conn_sent(conn);
        break;
    case PEER_SOURCE:
        guest->left = guest->peer->bytes;
        pour(conn, guest);
        break;
    }
    return 0;
}

static void on_drain(struct em_conn *conn, void *aux)
{
    struct guest *guest = aux;
    if (guest->left)
        pour(conn, guest);
}

static void on_close(struct em_conn *conn, void *aux, int err, const char *why)
{
    free(aux);
}

static void on_accept(void *aux, const struct em_address *address, int fd_take)
{
    static const struct em_conn_events events = {on_open, on_frame, on_drain, on_close};
    struct peer *peer = aux;
    const struct em_conn_config config = {.events = &events, .tls = peer->tls};
    struct guest *guest = em_calloc(1, sizeof(*guest));
    guest->peer = peer;
    if (!em_conn_new(peer->net, fd_take, &config, guest))
        free(guest);
}

static void serve(struct peer *peer, const char *url, int ready_fd)
{
    struct em_listener *listener;
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    char *why = NULL;
    peer->net = em_net_new(loop);
    if (em_listener_new(loop, url, 0600, on_accept, peer, &listener, &why))
        real_fail("%s", why);
    if (write(ready_fd, "", 1) != 1)
        _exit(1);
    close(ready_fd);
    ev_run(loop, 0);
}

pid_t peer_start(enum peer_kind kind, const char *url, struct em_tls *tls, uint64_t bytes)
{
    struct peer peer = {.kind = kind, .tls = tls, .bytes = bytes};
    int ready[2];
    char byte;
    if (pipe(ready))
        real_fail("pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        real_fail("fork: %s", strerror(errno));
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ready[0]);
        serve(&peer, url, ready[1]);
        _exit(0);
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        real_fail("the peer at %s does not serve", url);
    close(ready[0]);
    return pid;
}

void peer_stop(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
