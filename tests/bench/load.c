#include "load.h"

#include "base/buf.h"
#include "base/mem.h"
#include "bench.h"
#include "eidmap/error.h"
#include "meter.h"
#include "net/conn.h"
#include "net/net.h"
#include "net/socket.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>

#define SLOT_BITS  10
#define ID_FIELD   0x08 /* tag of Envelope.id: field 1, varint */
#define ID_SIZE    10   /* bytes of a padded varint */
#define BODY_ERROR 2    /* Envelope.error */

_Static_assert(LOAD_FLIGHT_MAX == 1 << SLOT_BITS, "a slot is the low bits of an id");

struct load;

struct lane {
    struct load *load;
    struct em_conn *conn;
    unsigned number;
    uint64_t n_sent;
    uint64_t sent_ns[LOAD_FLIGHT_MAX]; /* by slot */
};

struct load {
    const struct load_config *config;
    struct meter meter;
    struct em_net *net;
    struct em_arena arena;
    struct lane *lanes;
    unsigned n_ready;
};

void load_put_packed(struct em_buf *out, uint64_t id, const void *packed, size_t size)
{
    uint32_t length_be = htonl((uint32_t)(1 + ID_SIZE + size));
    uint8_t *at = em_buf_reserve(out, EM_FRAME_HEADER + 1 + ID_SIZE + size);
    memcpy(at, &length_be, EM_FRAME_HEADER);
    at += EM_FRAME_HEADER;
    *at++ = ID_FIELD;
    for (int i = 0; i < ID_SIZE - 1; i++, id >>= 7)
        *at++ = (uint8_t)(id | 0x80);
    *at++ = (uint8_t)id;
    memcpy(at, packed, size);
    em_buf_commit(out, EM_FRAME_HEADER + 1 + ID_SIZE + size);
}

static const char *lane_url(const struct load *load, unsigned number)
{
    return load->config->urls[number % load->config->n_urls];
}

static void send_one(struct lane *lane, unsigned slot)
{
    const struct load_config *config = lane->load->config;
    uint64_t id = ++lane->n_sent << SLOT_BITS | slot;
    lane->sent_ns[slot] = bench_now_ns();
    config->put(config->aux, lane->number, id, em_conn_out(lane->conn));
}

static void fill(struct load *load)
{
    for (unsigned i = 0; i < load->config->n_conns; i++) {
        for (unsigned slot = 0; slot < load->config->n_flight; slot++)
            send_one(&load->lanes[i], slot);
        em_conn_sent(load->lanes[i].conn);
    }
}

/* The session of a lane stands; with the last one the clock starts. */
static void ready(struct load *load)
{
    if (++load->n_ready < load->config->n_conns)
        return;
    meter_start(&load->meter);
    fill(load);
}

static void on_open(struct em_conn *conn, void *aux)
{
    struct lane *lane = aux;
    const struct load_config *config = lane->load->config;
    if (config->is_bare) {
        ready(lane->load);
        return;
    }
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Hello hello = EIDMAP__HELLO__INIT;
    uint8_t instance[16] = {(uint8_t)lane->number};
    uint64_t now = bench_now_ns();
    memcpy(instance + 8, &now, sizeof(now));
    hello.protocol = EM_PROTOCOL;
    hello.software = (char *)"load";
    hello.instance = (ProtobufCBinaryData){sizeof(instance), instance};
    hello.boot_epoch = now;
    if (config->nodes)
        hello.node_id = (char *)config->nodes[lane->number];
    envelope.id = 1;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;
    if (em_conn_send(conn, &envelope))
        real_fail("Hello cannot be sent");
}

/* Envelope.id and the number of the body's field, which follow each other in every frame
 * that a server sends. */
static uint64_t head(const uint8_t *data, size_t size, unsigned *ret_body)
{
    uint64_t id = 0, tag = 0;
    size_t at = 1;
    unsigned shift = 0;
    if (size < 3 || data[0] != ID_FIELD)
        return 0;
    for (bool more = true; more && at < size; at++, shift += 7) {
        id |= (uint64_t)(data[at] & 0x7f) << (shift & 63);
        more = data[at] & 0x80;
    }
    shift = 0;
    for (bool more = true; more && at < size; at++, shift += 7) {
        tag |= (uint64_t)(data[at] & 0x7f) << (shift & 63);
        more = data[at] & 0x80;
    }
    *ret_body = (unsigned)(tag >> 3);
    return id;
}

static void fail_with(struct load *load, const uint8_t *data, size_t size)
{
    em_arena_reset(&load->arena);
    const Eidmap__Envelope *envelope = em_msg_unpack(&load->arena, data, size);
    if (envelope && envelope->body_case == EIDMAP__ENVELOPE__BODY_ERROR)
        real_fail("the server refuses: %s %s", envelope->error->message, envelope->error->field);
    real_fail("the server sends what was not asked for");
}

static int on_frame(struct em_conn *conn, void *aux, const uint8_t *data, size_t size)
{
    struct lane *lane = aux;
    struct load *load = lane->load;
    unsigned body = 0;
    uint64_t id = head(data, size, &body);
    if (body == BODY_ERROR || !body)
        fail_with(load, data, size);
    if (body == EIDMAP__ENVELOPE__BODY_WELCOME) {
        ready(load);
        return 0;
    }
    unsigned slot = id & (LOAD_FLIGHT_MAX - 1);
    if (id >> SLOT_BITS == 0 || slot >= load->config->n_flight)
        fail_with(load, data, size);
    meter_add(&load->meter, lane->sent_ns[slot]);
    if (size > load->meter.result->size)
        load->meter.result->size = size;
    send_one(lane, slot);
    em_conn_sent(conn);
    return 0;
}

static void on_close(struct em_conn *conn, void *aux, int err, const char *why)
{
    struct lane *lane = aux;
    if (!lane->load->meter.is_over)
        real_fail("%s: connection %u: %s", lane_url(lane->load, lane->number), lane->number, why);
}

static void open_lane(struct load *load, unsigned number)
{
    static const struct em_conn_events events = {on_open, on_frame, NULL, on_close};
    const struct load_config *config = load->config;
    struct lane *lane = &load->lanes[number];
    const struct em_conn_config conn_config = {
        .events = &events,
        .tls = config->n_tls ? config->tls[number % config->n_tls] : NULL,
        .is_client = true,
    };
    struct em_address address;
    char why[EM_ADDR_WHY];
    const char *url = lane_url(load, number);
    if (em_address_parse(url, &address, why))
        real_fail("%s: %s", url, why);
    int fd = em_socket_connect(&address);
    if (fd < 0)
        real_fail("%s: %s", url, em_strerror(fd));
    lane->load = load;
    lane->number = number;
    lane->conn = em_conn_new(load->net, fd, &conn_config, lane);
}

void load_run(const struct load_config *config, struct load_result *ret_result)
{
    struct load load = {.config = config};
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    assert(config->n_conns <= LOAD_CONNS_MAX && config->n_flight <= LOAD_FLIGHT_MAX);
    load.net = em_net_new(loop);
    load.lanes = em_calloc(config->n_conns, sizeof(*load.lanes));
    em_arena_init(&load.arena, 0);
    meter_init(&load.meter, loop, config->urls[0], config->seconds, ret_result);
    for (unsigned i = 0; i < config->n_conns; i++)
        open_lane(&load, i);
    ev_run(loop, 0);
    for (unsigned i = 0; i < config->n_conns; i++)
        em_conn_close(load.lanes[i].conn, 0, NULL);
    em_net_free(load.net);
    em_arena_fini(&load.arena);
    free(load.lanes);
    ev_loop_destroy(loop);
}
