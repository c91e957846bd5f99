#include "ovs/client.h"

#include "base/mem.h"
#include "eidmap/error.h"
#include "net/socket.h"
#include "ovs/rpc.h"
#include "ovs/stream.h"
#include "base/saver.h"

#include <errno.h>
#include <ev.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE   65536
#define OUT_LIMIT   (64u << 20) /* a server that takes nothing is left */
#define LARGE       (64u << 10) /* a message that takes milliseconds to parse */
#define PAUSE_S     0.1
#define MAX_PAUSE_S 3.2
#define PATIENCE_S  5.0

struct ovs_client {
    struct ev_loop *loop;
    char *remote;
    const struct ovs_client_events *events;
    void *aux;
    struct ovs_monitor *monitor;
    int fd; /* -1: no connection */
    ev_io in, out;
    ev_timer again;
    double pause_s;
    ev_timer silence;       /* begins anew with all that comes */
    bool is_asked;          /* whether it is there */
    struct em_saver parser; /* of a large message, */
    json_t *parsed;         /* which becomes this */
    struct ovs_stream stream;
    struct em_buf bytes; /* to be sent */
};

/* Connections */

static void disconnect(struct ovs_client *client)
{
    ev_io_stop(client->loop, &client->in);
    ev_io_stop(client->loop, &client->out);
    ev_timer_stop(client->loop, &client->silence);
    client->is_asked = false;
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    em_saver_fini(&client->parser);
    json_decref(client->parsed);
    client->parsed = NULL;
    ovs_stream_fini(&client->stream);
    em_buf_fini(&client->bytes);
}

static void break_off(struct ovs_client *client, const char *why)
{
    disconnect(client);
    ev_timer_set(&client->again, client->pause_s, 0);
    ev_timer_start(client->loop, &client->again);
    client->pause_s = client->pause_s * 2 < MAX_PAUSE_S ? client->pause_s * 2 : MAX_PAUSE_S;
    ovs_monitor_down(client->monitor);
    client->events->on_down(client->aux, why);
}

static int open_socket(const struct ovs_client *client)
{
    struct em_address address;
    int r = em_address_parse(client->remote, &address, NULL);
    if (r || address.transport != EM_UNIX)
        return -EAFNOSUPPORT;
    return em_socket_connect(&address);
}

/* Takes the message.  What cannot be sent now waits for the socket. */
static void send_message(struct ovs_client *client, json_t *message)
{
    char *text = json_dumps(message, JSON_COMPACT);
    em_buf_append(&client->bytes, text, strlen(text));
    free(text);
    json_decref(message);
    ev_io_start(client->loop, &client->out);
}

static void on_silence(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct ovs_client *client = w->data;
    if (client->is_asked) {
        break_off(client, "ovsdb-server does not answer");
        return;
    }
    client->is_asked = true;
    send_message(client, ovs_rpc_request("echo", 0, json_array()));
}

/* Messages */

static int take_message(struct ovs_client *client, const json_t *message, char **ret_why)
{
    json_t *answer = NULL;
    bool was_synced = ovs_monitor_is_synced(client->monitor);
    int r = ovs_monitor_take(client->monitor, message, &answer, ret_why);
    if (r)
        return r;
    if (answer)
        send_message(client, answer);
    if (!was_synced && ovs_monitor_is_synced(client->monitor)) {
        client->pause_s = PAUSE_S;
        client->events->on_synced(client->aux);
    }
    return 0;
}

/* Nothing is read meanwhile, and so nothing overtakes it. */
static void parse_beside(struct ovs_client *client)
{
    struct em_buf bytes;
    ovs_stream_take(&client->stream, &bytes);
    ev_io_stop(client->loop, &client->in);
    ev_timer_stop(client->loop, &client->silence);
    em_saver_start_take(&client->parser, &bytes);
}

/* Takes the message. */
static int take_and_free(struct ovs_client *client, json_t *message, char **ret_why)
{
    int r = take_message(client, message, ret_why);
    json_decref(message);
    return r;
}

static int take_next(struct ovs_client *client, char **ret_why)
{
    json_t *message;
    size_t size;
    int r = ovs_stream_find(&client->stream, &size);
    if (!r && size >= LARGE) {
        parse_beside(client);
        return -EAGAIN;
    }
    if (!r)
        r = ovs_stream_next(&client->stream, &message);
    return r ? r : take_and_free(client, message, ret_why);
}

/* After 'r'. */
static void take_messages(struct ovs_client *client, int r, char *why_take)
{
    while (!r)
        r = take_next(client, &why_take);
    if (r != -EAGAIN)
        break_off(client, why_take         ? why_take
                          : r == -EMSGSIZE ? "ovsdb-server sends a message that is too long"
                                           : "ovsdb-server sends what is no JSON");
    free(why_take);
}

/* In a thread; no callback runs at that time. */
static int parse(void *to, const struct em_buf *bytes)
{
    return ovs_stream_parse(bytes, to);
}

static void on_parsed(void *aux, int err)
{
    struct ovs_client *client = aux;
    json_t *message = client->parsed;
    char *why = NULL;
    client->parsed = NULL;
    ev_io_start(client->loop, &client->in);
    ev_timer_again(client->loop, &client->silence);
    take_messages(client, err ? err : take_and_free(client, message, &why), why);
}

static void init_parser(struct ovs_client *client)
{
    em_saver_init(&client->parser, client->loop, parse, &client->parsed, on_parsed, client);
}

static void on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    static uint8_t bytes[READ_SIZE];
    struct ovs_client *client = w->data;
    ssize_t n = read(client->fd, bytes, sizeof bytes);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        break_off(client, n ? em_strerror(-errno) : "ovsdb-server has closed the connection");
        return;
    }
    client->is_asked = false;
    ev_timer_again(loop, &client->silence);
    ovs_stream_append(&client->stream, bytes, (size_t)n);
    take_messages(client, 0, NULL);
}

static void on_writable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct ovs_client *client = w->data;
    ssize_t n =
        send(client->fd, em_buf_head(&client->bytes), em_buf_size(&client->bytes), MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        break_off(client, em_strerror(-errno));
        return;
    }
    em_buf_take(&client->bytes, n > 0 ? (size_t)n : 0);
    if (em_buf_size(&client->bytes))
        return;
    em_buf_trim(&client->bytes);
    ev_io_stop(loop, w);
}

static void connect_now(struct ovs_client *client)
{
    char *why;
    ovs_stream_init(&client->stream, 0);
    em_buf_init(&client->bytes);
    init_parser(client);
    client->fd = open_socket(client);
    if (client->fd < 0) {
        why = em_asprintf("%s: %s", client->remote, em_strerror(client->fd));
        break_off(client, why);
        free(why);
        return;
    }
    ev_io_set(&client->in, client->fd, EV_READ);
    ev_io_set(&client->out, client->fd, EV_WRITE);
    ev_io_start(client->loop, &client->in);
    ev_timer_again(client->loop, &client->silence);
    send_message(client, ovs_monitor_up(client->monitor));
}

static void on_again(struct ev_loop *loop, ev_timer *w, int revents)
{
    connect_now(w->data);
}

int ovs_client_transact(struct ovs_client *client, json_t *ops, ovs_reply_fn *on_reply, void *aux)
{
    bool is_connected = client->fd >= 0 && em_buf_size(&client->bytes) < OUT_LIMIT;
    bool is_there = ops != NULL;
    if (!is_connected) {
        json_decref(ops);
        return -ENOTCONN;
    }
    json_t *request = ovs_monitor_transact(client->monitor, ops, on_reply, aux);
    if (!request)
        return is_there ? -ENOTCONN : -EINVAL;
    send_message(client, request);
    return 0;
}

bool ovs_client_is_synced(const struct ovs_client *client)
{
    return ovs_monitor_is_synced(client->monitor);
}

const struct ovs_rows *ovs_client_rows(const struct ovs_client *client)
{
    return ovs_monitor_rows(client->monitor);
}

/* Life */

static void on_interface(void *aux, struct ovs_interface *interface, bool is_there)
{
    struct ovs_client *client = aux;
    client->events->on_interface(client->aux, interface, is_there);
}

struct ovs_client *ovs_client_new(struct ev_loop *loop, const char *remote, const char *bridge,
                                  const struct ovs_client_events *events, void *aux)
{
    struct ovs_client *client = em_calloc(1, sizeof *client);
    client->loop = loop;
    client->remote = em_strdup(remote);
    client->events = events;
    client->aux = aux;
    client->fd = -1;
    client->pause_s = PAUSE_S;
    client->monitor = ovs_monitor_new(bridge, on_interface, client);
    ev_init(&client->in, on_readable);
    ev_init(&client->out, on_writable);
    init_parser(client);
    ev_timer_init(&client->again, on_again, 0, 0);
    ev_init(&client->silence, on_silence);
    client->silence.repeat = PATIENCE_S;
    client->in.data = client->out.data = client->again.data = client->silence.data = client;
    ev_timer_start(loop, &client->again);
    return client;
}

void ovs_client_set_patience(struct ovs_client *client, double seconds)
{
    client->silence.repeat = seconds;
    if (ev_is_active(&client->silence))
        ev_timer_again(client->loop, &client->silence);
}

void ovs_client_free(struct ovs_client *client)
{
    if (!client)
        return;
    ev_timer_stop(client->loop, &client->again);
    disconnect(client);
    ovs_monitor_free(client->monitor);
    free(client->remote);
    free(client);
}
