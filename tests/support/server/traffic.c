#include "server/traffic.h"

#include "base/clock.h"
#include "base/mem.h"
#include "eidmap.h"
#include "server/numbered.h"
#include "server/real_server.h"

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REQUEST_MS 30000
#define OPS_MAX    400000

struct client {
    struct traffic *traffic;
    struct em_client *client;
    char name[16]; /* of its node */
    uint32_t node; /* 0: an operator */
    unsigned seed;
    ev_timer pause;
    struct history_op op; /* under way */
    unsigned n_downs;     /* sessions that ended since it began */
};

struct traffic {
    struct traffic_config config;
    struct ev_loop *loop;
    pthread_t thread;
    ev_async stop;
    bool is_stopping;
    unsigned n_open; /* clients with a request under way */
    atomic_ullong n_written;
    struct history history;
    char *complaint; /* the first */
    size_t n_clients;
    struct client clients[];
};

static unsigned draw(struct client *client, unsigned n)
{
    return (unsigned)rand_r(&client->seed) % n;
}

/* ---- answers ------------------------------------------------------------------------------- */

/* The server has refused it, and nothing of it was done: no session ended since it was sent. */
static bool is_refused(const struct client *client, const struct em_reply *reply)
{
    return reply->err == EM_E_NO_SPACE && client->n_downs == 0;
}

/* It may have been done or not. */
static bool is_unknown(int err)
{
    return err == EM_E_TIMEOUT || err == EM_E_BUSY || err == EM_E_NOT_LEADER ||
           err == EM_E_CLOSED || err == EM_E_NO_SPACE;
}

static uint32_t node_of(const char *name)
{
    return (uint32_t)strtoul(name + 1, NULL, 10);
}

static void take_answer(struct history_op *op, const struct em_reply *reply)
{
    if (op->kind == HISTORY_MOVE && reply->n_epochs)
        op->epoch = reply->epochs[0];
    const struct em_port *port = reply->n_answers ? reply->answers[0].port : NULL;
    if (op->kind == HISTORY_READ && port && port->n_locations) {
        op->node = node_of(port->locations[0].node_id);
        op->epoch = port->locations[0].epoch;
    }
}

/* Writes the operation down.  MOVED answers a registration that was sent again: it was done,
 * and the port has left since. */
static void keep(struct client *client, const struct em_reply *reply)
{
    struct traffic *traffic = client->traffic;
    struct history_op *op = &client->op;
    op->end = em_now_us();
    if (reply->err && reply->err != EM_E_MOVED && !is_unknown(reply->err)) {
        if (!traffic->complaint)
            traffic->complaint = em_asprintf("%s is told %s: %s", client->name,
                                             em_errname(reply->err), reply->message);
        return;
    }
    op->is_open = is_unknown(reply->err);
    if (is_refused(client, reply) || (op->is_open && op->kind == HISTORY_READ))
        return;
    if (!reply->err)
        take_answer(op, reply);
    history_add(&traffic->history, op);
    if (!reply->err && op->kind != HISTORY_READ)
        traffic->n_written++;
}

static void check_end(struct traffic *traffic)
{
    if (traffic->is_stopping && traffic->n_open == 0)
        ev_break(traffic->loop, EVBREAK_ALL);
}

static void on_reply(void *aux, const struct em_reply *reply)
{
    struct client *client = aux;
    struct traffic *traffic = client->traffic;
    keep(client, reply);
    traffic->n_open--;
    if (!traffic->is_stopping && traffic->history.n < OPS_MAX) {
        unsigned pause_us = reply->err ? 100000 : draw(client, traffic->config.pause_us + 1);
        ev_timer_set(&client->pause, pause_us / 1e6, 0);
        ev_timer_start(traffic->loop, &client->pause);
    }
    check_end(traffic);
}

static void on_down(void *aux, int err, const char *why)
{
    struct client *client = aux;
    client->n_downs++;
}

/* ---- requests ------------------------------------------------------------------------------ */

static int64_t send_move(struct client *client, uint32_t number)
{
    struct numbered_port port;
    numbered_port_init(&port, client->traffic->config.network_id, number, client->name);
    const struct em_claim claim = {.port = port.port, .is_attach = true};
    return em_client_register(client->client, &claim, 1, NULL, on_reply, client);
}

static int64_t send_read(struct client *client, uint32_t number)
{
    const struct em_eid eid = numbered_ip(number);
    return em_client_resolve(client->client, client->traffic->config.network_id, NULL, &eid, 1,
                             EM_RESOLVE_CONSISTENT, on_reply, client);
}

static int64_t send_withdraw(struct client *client, uint32_t number)
{
    const struct em_port_ref ref = {.id = numbered_id(number)};
    return em_client_withdraw(client->client, &ref, 1, client->node ? NULL : "", on_reply, client);
}

/* Agents mostly move, operators mostly look. */
static enum history_kind choose(struct client *client)
{
    unsigned n = draw(client, 100);
    if (client->node)
        return n < 55 ? HISTORY_MOVE : n < 70 ? HISTORY_LEAVE : HISTORY_READ;
    return n < 10 ? HISTORY_REMOVE : HISTORY_READ;
}

static int64_t submit(struct client *client, uint32_t number)
{
    switch (client->op.kind) {
    case HISTORY_MOVE:
        return send_move(client, number);
    case HISTORY_LEAVE:
    case HISTORY_REMOVE:
        return send_withdraw(client, number);
    case HISTORY_READ:
        return send_read(client, number);
    }
    return -1;
}

static void on_pause(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct client *client = w->data;
    struct traffic *traffic = client->traffic;
    uint32_t key = draw(client, traffic->config.n_keys);
    if (traffic->is_stopping)
        return;
    client->n_downs = em_client_is_up(client->client) ? 0 : 1;
    client->op = (struct history_op){.kind = choose(client), .key = key, .begin = em_now_us()};
    if (client->op.kind == HISTORY_MOVE || client->op.kind == HISTORY_LEAVE)
        client->op.node = client->node;
    if (submit(client, key + 1) < 0)
        real_fail("%s: a request cannot be sent", client->name);
    traffic->n_open++;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void on_stop(struct ev_loop *loop, ev_async *w, int revents)
{
    struct traffic *traffic = w->data;
    traffic->is_stopping = true;
    check_end(traffic);
}

static void open_client(struct traffic *traffic, unsigned i)
{
    struct client *client = &traffic->clients[i];
    char *why = NULL;
    client->traffic = traffic;
    client->node = i < traffic->config.n_agents ? i + 1 : 0;
    client->seed = traffic->config.seed * 1000 + i;
    snprintf(client->name, sizeof(client->name), "n%u", i + 1);
    const struct em_rloc rloc = {.ip = {4, {198, 18, 1, (uint8_t)(i + 1)}},
                                 .encap = EM_ENCAP_VXLAN};
    const struct em_client_config config = {
        .servers = traffic->config.servers,
        .n_servers = traffic->config.n_servers,
        .software = "traffic",
        .node_id = client->node ? client->name : NULL,
        .boot_epoch = 1,
        .rlocs = &rloc,
        .n_rlocs = client->node ? 1 : 0,
        .timeout_ms = REQUEST_MS,
        .is_warm = true,
    };
    const struct em_client_events events = {.on_down = on_down};
    if (em_client_new(traffic->loop, &config, &events, client, &client->client, &why))
        real_fail("%s: %s", client->name, why);
    ev_timer_init(&client->pause, on_pause, 0, 0);
    client->pause.data = client;
    ev_timer_start(traffic->loop, &client->pause);
}

static void *run(void *aux)
{
    struct traffic *traffic = aux;
    ev_run(traffic->loop, 0);
    for (size_t i = 0; i < traffic->n_clients; i++) {
        ev_timer_stop(traffic->loop, &traffic->clients[i].pause);
        em_client_free(traffic->clients[i].client);
    }
    ev_run(traffic->loop, EVRUN_NOWAIT); /* clients end in the loop */
    return NULL;
}

struct traffic *traffic_start(const struct traffic_config *config)
{
    size_t n = config->n_agents + config->n_operators;
    struct traffic *traffic = em_calloc(1, sizeof(*traffic) + n * sizeof(traffic->clients[0]));
    traffic->config = *config;
    traffic->n_clients = n;
    traffic->loop = ev_loop_new(EVFLAG_AUTO);
    ev_async_init(&traffic->stop, on_stop);
    traffic->stop.data = traffic;
    ev_async_start(traffic->loop, &traffic->stop);
    for (unsigned i = 0; i < n; i++)
        open_client(traffic, i);
    if (pthread_create(&traffic->thread, NULL, run, traffic))
        real_fail("no thread for the traffic");
    return traffic;
}

char *traffic_stop(struct traffic *traffic)
{
    ev_async_send(traffic->loop, &traffic->stop);
    pthread_join(traffic->thread, NULL);
    return traffic->complaint;
}

void traffic_free(struct traffic *traffic)
{
    ev_async_stop(traffic->loop, &traffic->stop);
    ev_loop_destroy(traffic->loop);
    history_fini(&traffic->history);
    free(traffic->complaint);
    free(traffic);
}

struct history *traffic_history(struct traffic *traffic)
{
    return &traffic->history;
}

uint64_t traffic_n_written(struct traffic *traffic)
{
    return traffic->n_written;
}

bool traffic_await(struct traffic *traffic, uint64_t n, unsigned limit_ms)
{
    uint64_t goal = traffic->n_written + n, end = em_now_ms() + limit_ms;
    while (traffic->n_written < goal) {
        if (em_now_ms() > end)
            return false;
        usleep(2000);
    }
    return true;
}

/* ---- how long writes waited ---------------------------------------------------------------------
 */

static bool is_acknowledged_write(const struct history_op *op)
{
    return op->kind != HISTORY_READ && !op->is_open;
}

struct traffic_gap traffic_gap(struct traffic *traffic, uint64_t at_us)
{
    const struct history *history = &traffic->history;
    uint64_t first = UINT64_MAX, longest = 0;
    for (size_t i = 0; i < history->n; i++) {
        const struct history_op *op = &history->ops[i];
        if (is_acknowledged_write(op) && op->begin >= at_us && op->end < first)
            first = op->end;
    }
    for (size_t i = 0; i < history->n; i++) {
        const struct history_op *op = &history->ops[i];
        uint64_t from = op->begin > at_us ? op->begin : at_us;
        if (is_acknowledged_write(op) && op->begin <= first && op->end > at_us &&
            op->end - from > longest)
            longest = op->end - from;
    }
    return (struct traffic_gap){first - at_us, longest};
}
