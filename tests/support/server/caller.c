#include "server/caller.h"

#include "base/mem.h"
#include "server/numbered.h"
#include "server/real_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_MS 10000
#define DUMP_MS  20000
#define BATCH    4096 /* claims of a Register */
#define N_NODES  10

/* No two nodes may have the same. */
static struct em_rloc rloc_of(const char *node_id)
{
    unsigned number = (unsigned)atoi(node_id + strcspn(node_id, "0123456789")) + 1;
    return (struct em_rloc){
        .ip = {4, {198, 18, (uint8_t)(number >> 8), (uint8_t)number}}, /* RFC 2544's range */
        .encap = EM_ENCAP_VXLAN,
    };
}

void caller_open(struct caller *caller, const char *url, const char *node_id)
{
    struct em_rloc rloc = rloc_of(node_id ? node_id : "");
    const char *servers[] = {url};
    const struct em_client_config config = {
        .servers = servers,
        .n_servers = 1,
        .software = "tester",
        .node_id = node_id,
        .boot_epoch = 1,
        .rlocs = &rloc,
        .n_rlocs = node_id ? 1 : 0,
        .timeout_ms = LIMIT_MS,
    };
    char *why = NULL;
    *caller = (struct caller){.err = 0};
    int r = em_call_open(&config, &caller->call, &why);
    if (r)
        real_fail("%s: %s", url, why ? why : em_strerror(r));
}

void caller_close(struct caller *caller)
{
    em_call_close(caller->call);
    caller->call = NULL;
}

static void keep_answers(struct caller *caller, const struct em_reply *reply)
{
    for (size_t i = 0; i < reply->n_answers; i++) {
        const struct em_port *port = reply->answers[i].port;
        if (!port)
            continue;
        caller->n_positive++;
        if (!port->n_locations)
            continue;
        caller->epoch = port->locations[0].epoch;
        snprintf(caller->node, sizeof(caller->node), "%s", port->locations[0].node_id);
    }
}

static void on_reply(void *aux, const struct em_reply *reply)
{
    struct caller *caller = aux;
    caller->err = reply->err;
    if (reply->message)
        snprintf(caller->message, sizeof(caller->message), "%s", reply->message);
    caller->revision = reply->revision;
    if (reply->n_epochs)
        caller->epoch = reply->epochs[0];
    if (reply->network)
        caller->network_id = reply->network->id;
    if (reply->status) {
        caller->n_ports = reply->status->n_ports;
        caller->store_used = reply->status->store_used;
        caller->n_problems = reply->status->n_problems;
        if (caller->n_problems)
            snprintf(caller->problem, sizeof(caller->problem), "%s", reply->status->problems[0]);
    }
    keep_answers(caller, reply);
    em_call_done(caller->call);
}

static struct em_client *begin(struct caller *caller)
{
    *caller = (struct caller){.call = caller->call, .err = EM_E_TIMEOUT};
    return em_call_client(caller->call);
}

static int finish(struct caller *caller, int64_t id)
{
    if (id < 0)
        return caller->err = (int)id;
    if (em_call_wait(caller->call, LIMIT_MS)) {
        em_client_cancel(em_call_client(caller->call), id);
        caller->err = EM_E_TIMEOUT;
    }
    return caller->err;
}

int caller_put_network(struct caller *caller, const char *name)
{
    const struct em_network network = {.name = name, .type = EM_NETWORK_OVERLAY};
    struct em_client *client = begin(caller);
    return finish(caller, em_client_put_network(client, &network, on_reply, caller));
}

int caller_register(struct caller *caller, uint32_t network_id, uint32_t first, size_t n,
                    const char *node)
{
    struct em_client *client = begin(caller);
    struct numbered_port *ports = em_calloc(n, sizeof(*ports));
    struct em_claim *claims = em_calloc(n, sizeof(*claims));
    for (size_t i = 0; i < n; i++) {
        numbered_port_init(&ports[i], network_id, first + (uint32_t)i, node);
        ports[i].port.n_locations = node ? 1 : 0;
        ports[i].port.is_declared = !node;
        claims[i] = (struct em_claim){.port = ports[i].port, .is_attach = node != NULL};
    }
    int64_t id = em_client_register(client, claims, n, NULL, on_reply, caller);
    free(claims);
    free(ports);
    return finish(caller, id);
}

int caller_claim(struct caller *caller, const struct em_claim *claim)
{
    struct em_client *client = begin(caller);
    return finish(caller, em_client_register(client, claim, 1, NULL, on_reply, caller));
}

int caller_withdraw(struct caller *caller, uint32_t first, size_t n)
{
    struct em_client *client = begin(caller);
    struct em_port_ref *refs = em_calloc(n, sizeof(*refs));
    for (size_t i = 0; i < n; i++)
        refs[i].id = numbered_id(first + (uint32_t)i);
    int64_t id = em_client_withdraw(client, refs, n, NULL, on_reply, caller);
    free(refs);
    return finish(caller, id);
}

static int resolve(struct caller *caller, uint32_t network_id, uint32_t number, unsigned flags)
{
    struct em_client *client = begin(caller);
    struct em_eid eid = numbered_ip(number);
    return finish(caller,
                  em_client_resolve(client, network_id, NULL, &eid, 1, flags, on_reply, caller));
}

int caller_resolve(struct caller *caller, uint32_t network_id, uint32_t number)
{
    return resolve(caller, network_id, number, 0);
}

int caller_resolve_now(struct caller *caller, uint32_t network_id, uint32_t number)
{
    return resolve(caller, network_id, number, EM_RESOLVE_CONSISTENT);
}

int caller_status(struct caller *caller)
{
    struct em_client *client = begin(caller);
    return finish(caller, em_client_status(client, false, on_reply, caller));
}

static void preload_node(const char *url, uint32_t network_id, const char *node, uint32_t first,
                         uint32_t n)
{
    struct caller caller;
    caller_open(&caller, url, node);
    while (n) {
        uint32_t batch = n < BATCH ? n : BATCH;
        if (caller_register(&caller, network_id, first, batch, node))
            real_fail("preload: %s: %s", em_errname(caller.err), caller.message);
        first += batch;
        n -= batch;
    }
    caller_close(&caller);
}

uint32_t caller_preload(const char *url, uint32_t n)
{
    struct caller caller;
    char node[16];
    caller_open(&caller, url, NULL);
    if (caller_put_network(&caller, "bench"))
        real_fail("network: %s", caller.message);
    uint32_t network_id = caller.network_id;
    caller_close(&caller);
    for (uint32_t i = 0, first = 1; i < N_NODES; i++) {
        uint32_t share = n / N_NODES + (i < n % N_NODES);
        snprintf(node, sizeof(node), "n%u", i);
        preload_node(url, network_id, node, first, share);
        first += share;
    }
    return network_id;
}

struct dump {
    struct em_call *call;
    caller_port_fn *visit;
    void *aux;
    int err;
};

static void on_feed(void *aux, const struct em_feed *page)
{
    struct dump *dump = aux;
    for (size_t i = 0; i < page->n_changes; i++) {
        const struct em_change *change = &page->changes[i];
        uint32_t number = change->port ? numbered_of(&change->port->id) : 0;
        if (number)
            dump->visit(dump->aux, number, change->port);
    }
    if (page->err || page->is_complete) {
        dump->err = page->err;
        em_call_done(dump->call);
    }
}

int caller_dump(const char *url, uint32_t network_id, caller_port_fn *visit, void *aux)
{
    struct caller caller;
    caller_open(&caller, url, NULL);
    struct dump dump = {.call = caller.call, .visit = visit, .aux = aux};
    int64_t id =
        em_client_subscribe(em_call_client(caller.call), network_id, NULL, 0, on_feed, &dump);
    int r = id < 0 ? (int)id : em_call_wait(caller.call, DUMP_MS);
    caller_close(&caller);
    return r ? r : dump.err;
}
