#include "attach.h"

#include "base/mem.h"
#include "bench.h"
#include "client/request.h"
#include "server/numbered.h"
#include "wire/convert.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIMIT_MS  15000
#define AT_A_TIME 128

static void attach_next(struct attacher *attacher);

static void on_attached(void *aux, int err, const Eidmap__Envelope *reply)
{
    struct attacher *attacher = aux;
    if (err)
        real_fail("attach: %s", em_strerror(err));
    if (reply->body_case != EIDMAP__ENVELOPE__BODY_XTR_ATTACH_REPLY)
        real_fail("attach: %s", reply->body_case == EIDMAP__ENVELOPE__BODY_ERROR
                                    ? reply->error->message
                                    : "an answer to something else");
    const Eidmap__LocalPort *port = reply->xtr_attach_reply->port;
    if (attacher->is_waiting && port->phase != EIDMAP__PORT_PHASE__PHASE_INSTALLED)
        real_fail("attach: not installed: %s", port->problem);
    attacher->n_under_way--;
    attach_next(attacher);
    if (attacher->n_under_way)
        return;
    attacher->answered_ns = bench_now_ns();
    ev_break(em_call_loop(attacher->call), EVBREAK_ALL);
}

static void ask(struct attacher *attacher, uint32_t number, const struct numbered_port *numbered)
{
    char own_device[16];
    struct em_arena arena;
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__XtrAttach body = EIDMAP__XTR_ATTACH__INIT;
    Eidmap__LocalPort port = EIDMAP__LOCAL_PORT__INIT;
    Eidmap__Eid *eids[2];
    em_arena_init(&arena, 0);
    for (int i = 0; i < 2; i++)
        eids[i] = em_eid_to_msg(&arena, &numbered->eids[i]);
    port.id = (ProtobufCBinaryData){numbered->port.id.size, (uint8_t *)numbered->port.id.bytes};
    port.network_name = (char *)attacher->network;
    port.eids = eids;
    port.n_eids = 2;
    snprintf(own_device, sizeof(own_device), "d%u", number);
    port.device = attacher->device ? (char *)attacher->device : own_device;
    body.port = &port;
    body.wait = attacher->is_waiting;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_XTR_ATTACH;
    envelope.xtr_attach = &body;
    int64_t id =
        em_client_send(em_call_client(attacher->call), &envelope, false, on_attached, attacher);
    em_arena_fini(&arena);
    if (id < 0)
        real_fail("attach: %s", em_strerror((int)id));
}

static void attach_next(struct attacher *attacher)
{
    while (attacher->n_under_way < AT_A_TIME && attacher->next < attacher->end) {
        struct numbered_port port;
        numbered_port_init(&port, 0, attacher->next, NULL);
        attacher->n_under_way++;
        ask(attacher, attacher->next++, &port);
    }
}

uint64_t attach_start(struct attacher *attacher, uint32_t first, uint32_t n, const char *device,
                      bool wait)
{
    uint64_t start = bench_now_ns();
    attacher->next = first;
    attacher->end = first + n;
    attacher->device = device;
    attacher->is_waiting = wait;
    attacher->answered_ns = 0;
    attach_next(attacher);
    return start;
}

void attach_await(struct attacher *attacher)
{
    while (!attacher->answered_ns)
        ev_run(em_call_loop(attacher->call), 0);
}

struct ev_loop *attach_loop(const struct attacher *attacher)
{
    return em_call_loop(attacher->call);
}

void attach_open(struct attacher *ret_attacher, const char *dir, char name, const char *network)
{
    char *url = em_asprintf("unix:%s/%c.sock", dir, name);
    const char *servers[] = {url};
    const struct em_client_config config = {
        .servers = servers, .n_servers = 1, .timeout_ms = LIMIT_MS};
    uint64_t end = bench_now_ns() + LIMIT_MS * 1000000ull;
    *ret_attacher = (struct attacher){.network = network};
    while (!ret_attacher->call) {
        char *why = NULL;
        if (em_call_open(&config, &ret_attacher->call, &why) && bench_now_ns() > end) {
            bench_run("cat %s/%c.log >&2", dir, name);
            real_fail("%s: %s", url, why);
        }
        free(why);
        if (!ret_attacher->call)
            usleep(10000);
    }
    free(url);
}

void attach_close(struct attacher *attacher)
{
    em_call_close(attacher->call);
    attacher->call = NULL;
}
