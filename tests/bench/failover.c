#include "failover.h"

#include "bench.h"
#include "base/mem.h"
#include "claims.h"
#include "net/pki.h"
#include "server/caller.h"
#include "server/numbered.h"
#include "server/real_cluster.h"

#include <ev.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define N_FLIGHT   8 /* of each client */
#define BEFORE_S   1.0
#define AFTER_S    3.0
#define DRAIN_S    30.0
#define AGAIN_S    0.005 /* before a registration that met "busy" is sent again */
#define REQUEST_MS 30000
#define REST_US    200000

struct failover;

struct slot {
    struct writer *writer;
    uint32_t number; /* of its port */
    uint64_t start_ns;
    ev_timer again;
};

struct writer {
    struct failover *failover;
    const char *node;
    struct em_client *client;
    struct slot slots[N_FLIGHT];
};

struct failover {
    struct real_cluster *cluster;
    struct claims *claims;
    struct ev_loop *loop;
    unsigned leader;
    uint64_t killed_ns; /* 0: not yet */
    uint64_t longest_ns;
    bool is_draining;
    unsigned n_open; /* slots that wait for an answer */
    ev_timer timer;
    struct writer writers[CLAIMS_NODES];
};

static void on_reply(void *aux, const struct em_reply *reply);

static void submit(struct slot *slot)
{
    struct writer *writer = slot->writer;
    struct numbered_port port;
    numbered_port_init(&port, writer->failover->claims->network_id, slot->number, writer->node);
    const struct em_claim claim = {.port = port.port, .is_attach = true};
    if (em_client_register(writer->client, &claim, 1, NULL, on_reply, slot) < 0)
        real_fail("%s: a registration cannot be sent", writer->node);
}

static void submit_next(struct slot *slot)
{
    slot->number = ++slot->writer->failover->claims->next;
    slot->start_ns = bench_now_ns();
    submit(slot);
}

static void on_again(struct ev_loop *loop, ev_timer *w, int revents)
{
    submit(w->data);
}

static void on_reply(void *aux, const struct em_reply *reply)
{
    struct slot *slot = aux;
    struct failover *failover = slot->writer->failover;
    if (reply->err && !em_error_is_retryable(reply->err))
        real_fail("%s: port %u is refused: %s", slot->writer->node, slot->number,
                  reply->message ? reply->message : em_strerror(reply->err));
    if (reply->err) {
        ev_timer_set(&slot->again, AGAIN_S, 0);
        ev_timer_start(failover->loop, &slot->again);
        return;
    }
    uint64_t took = bench_now_ns() - slot->start_ns;
    if (failover->killed_ns && took > failover->longest_ns)
        failover->longest_ns = took;
    if (!failover->is_draining)
        submit_next(slot);
    else if (--failover->n_open == 0)
        ev_break(failover->loop, EVBREAK_ALL);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct failover *failover = w->data;
    if (failover->is_draining)
        real_fail("%u registrations are not done %g s after the kill", failover->n_open,
                  AFTER_S + DRAIN_S);
    if (failover->killed_ns) {
        failover->is_draining = true;
        ev_timer_set(w, DRAIN_S, 0);
    } else {
        /* Waited for later: that would hold up the clients. */
        kill(failover->cluster->servers[failover->leader].pid, SIGKILL);
        failover->killed_ns = bench_now_ns();
        ev_timer_set(w, AFTER_S, 0);
    }
    ev_timer_start(loop, w);
}

static void open_writer(struct failover *failover, unsigned number)
{
    struct writer *writer = &failover->writers[number];
    const struct real_cluster *cluster = failover->cluster;
    const struct real_server *first = &cluster->servers[0];
    const char *servers[REAL_CLUSTER_MAX], *node = claims_nodes[number];
    char *why = NULL;
    for (unsigned i = 0; i < cluster->n; i++)
        servers[i] = cluster->servers[i].tls_url;
    real_server_issue(first, EM_ROLE_NODE, node);
    char *ca = em_asprintf("%s/ca.crt", first->pki);
    char *cert = em_pki_path(first->pki, EM_ROLE_NODE, node, "crt");
    char *key = em_pki_path(first->pki, EM_ROLE_NODE, node, "key");
    struct em_rloc rloc = {.ip = {4, {198, 18, 0, (uint8_t)(number + 1)}}, .encap = EM_ENCAP_VXLAN};
    const struct em_client_config config = {
        .servers = servers,
        .n_servers = cluster->n,
        .ca_file = ca,
        .cert_file = cert,
        .key_file = key,
        .software = "failover",
        .node_id = node,
        .boot_epoch = bench_now_ns(), /* grows from one run to the next */
        .rlocs = &rloc,
        .n_rlocs = 1,
        .timeout_ms = REQUEST_MS,
    };
    writer->failover = failover;
    writer->node = node;
    if (em_client_new(failover->loop, &config, NULL, NULL, &writer->client, &why))
        real_fail("%s: %s", node, why);
    free(ca);
    free(cert);
    free(key);
    for (unsigned i = 0; i < N_FLIGHT; i++) {
        writer->slots[i].writer = writer;
        ev_timer_init(&writer->slots[i].again, on_again, AGAIN_S, 0);
        writer->slots[i].again.data = &writer->slots[i];
        failover->n_open++;
        submit_next(&writer->slots[i]);
    }
}

static uint64_t count_ports(struct real_cluster *cluster)
{
    struct caller caller;
    caller_open(&caller, cluster->servers[real_cluster_leader(cluster)].unix_url, NULL);
    if (caller_status(&caller))
        real_fail("status: %s", caller.message);
    caller_close(&caller);
    return caller.n_ports;
}

/* What another load has left under way is in the map before this one is counted. */
static uint64_t count_at_rest(struct real_cluster *cluster)
{
    uint64_t n, before = count_ports(cluster);
    while (usleep(REST_US), (n = count_ports(cluster)) != before)
        before = n;
    return n;
}

uint64_t failover_run(struct real_cluster *cluster, struct claims *claims)
{
    struct failover failover = {.cluster = cluster, .claims = claims};
    uint64_t before = count_at_rest(cluster), first = claims->next;
    failover.loop = ev_loop_new(EVFLAG_AUTO);
    failover.leader = real_cluster_leader(cluster);
    for (unsigned i = 0; i < CLAIMS_NODES; i++)
        open_writer(&failover, i);
    ev_timer_init(&failover.timer, on_timer, BEFORE_S, 0);
    failover.timer.data = &failover;
    ev_timer_start(failover.loop, &failover.timer);
    ev_run(failover.loop, 0);
    for (unsigned i = 0; i < CLAIMS_NODES; i++)
        em_client_free(failover.writers[i].client);
    ev_loop_destroy(failover.loop);
    real_cluster_kill(cluster, failover.leader);
    real_cluster_restart(cluster, failover.leader);
    real_cluster_settle(cluster);
    uint64_t stored = count_ports(cluster) - before, done = claims->next - first;
    if (stored != done)
        real_fail("%lu registrations were acknowledged, %lu are in the map", (unsigned long)done,
                  (unsigned long)stored);
    return failover.longest_ns;
}
