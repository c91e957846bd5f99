#include "lib/fake_server.h"

#include "base/buf.h"
#include "base/mem.h"
#include "eidmap/error.h"
#include "net/net.h"
#include "net/socket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void fake_welcome(struct fake_server *server, uint64_t id)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Welcome msg = EIDMAP__WELCOME__INIT;
    uint8_t cluster[16] = "fake";
    msg.protocol = EM_PROTOCOL;
    msg.server_id = server->path;
    msg.cluster_id = (ProtobufCBinaryData){sizeof(cluster), cluster};
    msg.revision = 7;
    msg.lease_ms = server->lease_ms ? server->lease_ms : 15000;
    envelope.id = id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_WELCOME;
    envelope.welcome = &msg;
    fake_send(server, &envelope);
}

static void on_open(struct em_conn *conn, void *aux)
{
}

static int on_frame(struct em_conn *conn, void *aux, const uint8_t *data, size_t size)
{
    struct fake_server *server = aux;
    const Eidmap__Envelope *envelope = em_msg_unpack(server->arena, data, size);
    if (!envelope || server->n_log == FAKE_LOG)
        abort();
    /* Strings and bytes were copied into the arena by unpacking. */
    server->log[server->n_log++] = envelope;
    if (envelope->body_case != EIDMAP__ENVELOPE__BODY_HELLO) {
        if (server->handler)
            server->handler(server, envelope);
    } else if (server->hello_error) {
        fake_send_error(server, envelope->id, server->hello_error, "you are not wanted here");
    } else if (!server->is_silent) {
        fake_welcome(server, envelope->id);
    }
    return 0;
}

static void on_close(struct em_conn *conn, void *aux, int err, const char *why)
{
    struct fake_server *server = aux;
    if (server->conn == conn)
        server->conn = NULL;
}

static void on_accept(struct ev_loop *loop, ev_io *w, int revents)
{
    static const struct em_conn_events events = {on_open, on_frame, NULL, on_close};
    struct fake_server *server = w->data;
    int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    fake_cut(server);
    server->n_accepted++;
    struct em_conn_config config = {.events = &events, .tls = server->tls};
    server->conn = em_conn_new(server->net, fd, &config, server);
}

static int start_at(struct fake_server *server, struct ev_loop *loop, const char *url)
{
    struct em_address address;
    *server = (struct fake_server){.loop = loop, .net = em_net_new(loop)};
    server->arena = em_malloc(sizeof(*server->arena));
    em_arena_init(server->arena, 256u << 20);
    snprintf(server->url, sizeof(server->url), "%s", url);
    if (em_address_parse(server->url, &address, NULL))
        abort();
    int fd = em_socket_listen(&address, 0600);
    if (fd < 0)
        abort();
    ev_io_init(&server->io, on_accept, fd, EV_READ);
    server->io.data = server;
    ev_io_start(loop, &server->io);
    return fd;
}

void fake_start(struct fake_server *server, struct ev_loop *loop, const char *name)
{
    char url[80];
    const char *tmp = getenv("TMPDIR");
    snprintf(url, sizeof(url), "unix:%.30s/em-fake-%d-%.8s", tmp ? tmp : "/tmp", (int)getpid(),
             name);
    start_at(server, loop, url);
    snprintf(server->path, sizeof(server->path), "%s", url + strlen("unix:"));
}

void fake_start_tls(struct fake_server *server, struct ev_loop *loop, struct em_tls *tls)
{
    int fd = start_at(server, loop, "tls://127.0.0.1:0");
    server->tls = tls;
    snprintf(server->url, sizeof(server->url), "tls://127.0.0.1:%u", em_socket_port(fd));
}

void fake_stop(struct fake_server *server)
{
    fake_cut(server);
    ev_io_stop(server->loop, &server->io);
    close(server->io.fd);
    if (server->path[0])
        unlink(server->path);
    em_net_free(server->net);
    em_arena_fini(server->arena);
    free(server->arena);
}

void fake_cut(struct fake_server *server)
{
    if (server->conn)
        em_conn_close(server->conn, 0, NULL);
}

void fake_send(struct fake_server *server, Eidmap__Envelope *envelope)
{
    if (!server->conn || em_conn_send(server->conn, envelope))
        abort();
}

void fake_send_bytes(struct fake_server *server, const void *data, size_t size)
{
    em_buf_append(em_conn_out(server->conn), data, size);
    em_conn_sent(server->conn);
}

void fake_send_error(struct fake_server *server, uint64_t id, int code, const char *message)
{
    Eidmap__Envelope envelope;
    Eidmap__Error error;
    em_msg_error(&envelope, &error, id, code, message);
    error.retry_after_ms = server->retry_after_ms;
    fake_send(server, &envelope);
}

void fake_send_done(struct fake_server *server, uint64_t id, uint64_t revision)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Done done = EIDMAP__DONE__INIT;
    done.revision = revision;
    envelope.id = id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_DONE;
    envelope.done = &done;
    fake_send(server, &envelope);
}

const Eidmap__Envelope *fake_nth(const struct fake_server *server, Eidmap__Envelope__BodyCase body,
                                 size_t k)
{
    for (size_t i = 0; i < server->n_log; i++)
        if (server->log[i]->body_case == body && k-- == 0)
            return server->log[i];
    return NULL;
}

size_t fake_count(const struct fake_server *server, Eidmap__Envelope__BodyCase body)
{
    size_t n = 0;
    while (fake_nth(server, body, n))
        n++;
    return n;
}
