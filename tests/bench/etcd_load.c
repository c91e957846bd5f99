#include "etcd_load.h"

#include "base/buf.h"
#include "base/mem.h"
#include "bench.h"
#include "eidmap/error.h"
#include "meter.h"
#include "net/socket.h"
#include "server/numbered.h"
#include "wire/writer.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <ev.h>
#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE   (64u << 10)
#define WINDOW      (16 << 20) /* of a connection: etcd never waits for us */
#define GRPC_HEADER 5          /* not compressed; length of the message */
#define VALUE_MAX   1024
#define KEY         1 /* fields of etcdserverpb.PutRequest */
#define VALUE       2

struct etcd_load;

struct slot {
    struct lane *lane;
    uint64_t sent_ns;
    struct em_buf body;
    bool is_done; /* grpc-status: 0 */
};

struct lane {
    struct etcd_load *load;
    const char *url;
    int fd;
    nghttp2_session *session;
    struct em_buf out;
    bool is_ready; /* etcd's SETTINGS are here */
    ev_io readable, writable;
    struct slot slots[LOAD_FLIGHT_MAX];
};

struct etcd_load {
    const struct etcd_load_config *config;
    struct ev_loop *loop;
    struct meter meter;
    struct lane *lanes;
    unsigned n_ready;
};

static void put_request(struct slot *slot)
{
    static const uint8_t value[VALUE_MAX];
    const struct etcd_load_config *config = slot->lane->load->config;
    struct em_port_id key = numbered_id(++*config->next);
    struct em_buf *body = &slot->body;
    em_buf_take(body, em_buf_size(body));
    memset(em_buf_reserve(body, GRPC_HEADER), 0, GRPC_HEADER);
    em_buf_commit(body, GRPC_HEADER);
    em_put_bytes(body, KEY, key.bytes, key.size);
    em_put_bytes(body, VALUE, value, config->size - key.size);
    uint32_t length_be = htonl((uint32_t)(em_buf_size(body) - GRPC_HEADER));
    memcpy(em_buf_head(body) + 1, &length_be, sizeof(length_be));
}

static ssize_t on_body(nghttp2_session *session, int32_t stream, uint8_t *out, size_t size,
                       uint32_t *ret_flags, nghttp2_data_source *source, void *aux)
{
    struct em_buf *body = &((struct slot *)source->ptr)->body;
    size_t n = em_buf_size(body) < size ? em_buf_size(body) : size;
    memcpy(out, em_buf_head(body), n);
    em_buf_take(body, n);
    if (!em_buf_size(body))
        *ret_flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static nghttp2_nv header(const char *name, const char *value)
{
    return (nghttp2_nv){.name = (uint8_t *)name,
                        .value = (uint8_t *)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value),
                        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

static void send_one(struct slot *slot)
{
    const nghttp2_nv headers[] = {
        header(":method", "POST"),
        header(":scheme", "http"),
        header(":path", "/etcdserverpb.KV/Put"),
        header(":authority", "localhost"),
        header("content-type", "application/grpc"),
        header("te", "trailers"),
    };
    const nghttp2_data_provider body = {.source.ptr = slot, .read_callback = on_body};
    put_request(slot);
    slot->is_done = false;
    slot->sent_ns = bench_now_ns();
    int32_t stream = nghttp2_submit_request(slot->lane->session, NULL, headers,
                                            sizeof(headers) / sizeof(headers[0]), &body, slot);
    if (stream < 0)
        real_fail("%s: %s", slot->lane->url, nghttp2_strerror(stream));
}

/* The trailer that says how a call went. */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *aux)
{
    struct slot *slot = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (slot && name_size == 11 && memcmp(name, "grpc-status", 11) == 0)
        slot->is_done = value_size == 1 && *value == '0';
    if (slot && value_size && name_size == 12 && memcmp(name, "grpc-message", 12) == 0)
        real_fail("%s: etcd refuses: %.*s", slot->lane->url, (int)value_size, (const char *)value);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t err, void *aux)
{
    struct slot *slot = nghttp2_session_get_stream_user_data(session, stream);
    if (!slot || slot->lane->load->meter.is_over)
        return 0;
    if (err || !slot->is_done)
        real_fail("%s: a put fails: %s", slot->lane->url, nghttp2_http2_strerror(err));
    meter_add(&slot->lane->load->meter, slot->sent_ns);
    send_one(slot);
    return 0;
}

/* ---- bytes ---- */

static void flush(struct lane *lane)
{
    const uint8_t *data;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(lane->session, &data)) > 0)
        em_buf_append(&lane->out, data, (size_t)n);
    if (n < 0)
        real_fail("%s: %s", lane->url, nghttp2_strerror((int)n));
    n = em_buf_size(&lane->out)
            ? send(lane->fd, em_buf_head(&lane->out), em_buf_size(&lane->out), MSG_NOSIGNAL)
            : 0;
    if (n > 0)
        em_buf_take(&lane->out, (size_t)n);
    else if (n < 0 && errno != EAGAIN)
        real_fail("%s: %s", lane->url, strerror(errno));
    if (em_buf_size(&lane->out))
        ev_io_start(lane->load->loop, &lane->writable);
    else
        ev_io_stop(lane->load->loop, &lane->writable);
}

/* With the last connection the clock starts. */
static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *aux)
{
    struct lane *lane = aux;
    struct etcd_load *load = lane->load;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        real_fail("%s: etcd closes the connection", lane->url);
    if (lane->is_ready || frame->hd.type != NGHTTP2_SETTINGS || frame->hd.flags & NGHTTP2_FLAG_ACK)
        return 0;
    lane->is_ready = true;
    if (++load->n_ready < load->config->n_conns)
        return 0;
    meter_start(&load->meter);
    for (unsigned i = 0; i < load->config->n_conns; i++) {
        for (unsigned slot = 0; slot < load->config->n_flight; slot++)
            send_one(&load->lanes[i].slots[slot]);
        ev_io_start(load->loop, &load->lanes[i].writable);
    }
    return 0;
}

static void on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    uint8_t data[READ_SIZE];
    struct lane *lane = w->data;
    ssize_t n = recv(lane->fd, data, sizeof(data), 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        real_fail("%s: %s", lane->url, n ? strerror(errno) : "etcd has closed the connection");
    n = nghttp2_session_mem_recv(lane->session, data, (size_t)n);
    if (n < 0)
        real_fail("%s: %s", lane->url, nghttp2_strerror((int)n));
    flush(lane);
}

static void on_writable(struct ev_loop *loop, ev_io *w, int revents)
{
    flush(w->data);
}

static void open_session(struct lane *lane)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20},
    };
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks))
        real_fail("nghttp2: out of memory");
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    if (nghttp2_session_client_new(&lane->session, callbacks, lane) ||
        nghttp2_submit_settings(lane->session, NGHTTP2_FLAG_NONE, settings, 2) ||
        nghttp2_session_set_local_window_size(lane->session, NGHTTP2_FLAG_NONE, 0, WINDOW))
        real_fail("nghttp2: out of memory");
    nghttp2_session_callbacks_del(callbacks);
}

static void open_lane(struct etcd_load *load, unsigned number)
{
    struct lane *lane = &load->lanes[number];
    struct em_address address;
    char why[EM_ADDR_WHY];
    lane->load = load;
    lane->url = load->config->urls[number % load->config->n_urls];
    if (em_address_parse(lane->url, &address, why))
        real_fail("%s: %s", lane->url, why);
    lane->fd = em_socket_connect(&address);
    if (lane->fd < 0)
        real_fail("%s: %s", lane->url, em_strerror(lane->fd));
    for (unsigned i = 0; i < LOAD_FLIGHT_MAX; i++) {
        lane->slots[i].lane = lane;
        em_buf_init(&lane->slots[i].body);
    }
    em_buf_init(&lane->out);
    open_session(lane);
    ev_io_init(&lane->readable, on_readable, lane->fd, EV_READ);
    ev_io_init(&lane->writable, on_writable, lane->fd, EV_WRITE);
    lane->readable.data = lane->writable.data = lane;
    ev_io_start(load->loop, &lane->readable);
    ev_io_start(load->loop, &lane->writable);
}

static void close_lane(struct lane *lane)
{
    nghttp2_session_del(lane->session);
    ev_io_stop(lane->load->loop, &lane->readable);
    ev_io_stop(lane->load->loop, &lane->writable);
    close(lane->fd);
    em_buf_fini(&lane->out);
    for (unsigned i = 0; i < LOAD_FLIGHT_MAX; i++)
        em_buf_fini(&lane->slots[i].body);
}

void etcd_load_run(const struct etcd_load_config *config, struct load_result *ret_result)
{
    struct etcd_load load = {.config = config, .loop = ev_loop_new(EVFLAG_AUTO)};
    assert(config->n_conns <= LOAD_CONNS_MAX && config->n_flight <= LOAD_FLIGHT_MAX);
    assert(config->size > numbered_id(1).size && config->size <= VALUE_MAX);
    load.lanes = em_calloc(config->n_conns, sizeof(*load.lanes));
    meter_init(&load.meter, load.loop, config->urls[0], config->seconds, ret_result);
    for (unsigned i = 0; i < config->n_conns; i++)
        open_lane(&load, i);
    ev_run(load.loop, 0);
    for (unsigned i = 0; i < config->n_conns; i++)
        close_lane(&load.lanes[i]);
    free(load.lanes);
    ev_loop_destroy(load.loop);
}
