/* Agents and ports are arrays; what belongs to an agent is a list inside its ports.
 *
 * Writes of a session that has ended are cancelled, and told anew by the announce of the next
 * one, as an xTR does it: so what is sent is never older than where the port is. */
#include "swarm_agents.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "net/pki.h"
#include "server/numbered.h"

#include <assert.h>
#include <ev.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define TICK_S        0.05
#define SPARE_FILES   256
#define LEASE_PART    3 /* heartbeats in a lease */
#define DEFAULT_LEASE 15000
#define CLAIMS_MAX    4096
#define NAME          "hv"

struct port {
    struct swarm *swarm;
    struct em_list in_agent;
    uint32_t agent;
    bool is_acked;
    uint64_t epoch;
    int64_t request; /* its move, under way; 0: none */
};

struct feed {
    struct agent *agent;
    uint32_t network_id;
    bool is_complete; /* in this session */
};

struct agent {
    struct swarm *swarm;
    struct em_client *client; /* NULL: not started, or ended */
    struct em_list ports;
    struct feed *feeds;
    unsigned n_complete;
    bool is_announced, is_served;
    bool is_refused;     /* something was not taken for the moment: announce again */
    uint32_t *announced; /* ports of the Register under way */
    size_t n_announced;
    int64_t requests[2]; /* Register and end of the announce */
};

struct swarm {
    struct ev_loop *loop;
    struct swarm_config config;
    struct swarm_events events;
    void *aux;
    struct agent *agents;
    struct port *ports; /* by number - 1 */
    uint32_t n_acked;
    unsigned n_served;
    uint64_t sync_id;
    struct swarm_counts counts;
    uint32_t lease_ms; /* as the last Welcome said */
    unsigned next_beat;
    double n_beats;   /* that are due; a part of one waits for the next tick */
    uint64_t tick_ms; /* of the last */
    ev_timer tick;
};

const char *swarm_name(unsigned agent, char name[16])
{
    snprintf(name, 16, NAME "%u", agent);
    return name;
}

unsigned swarm_number(const char *name)
{
    unsigned number;
    return sscanf(name, NAME "%u", &number) == 1 ? number : UINT_MAX;
}

static unsigned number_of(const struct agent *agent)
{
    return (unsigned)(agent - agent->swarm->agents);
}

static struct port *port_of(const struct swarm *swarm, uint32_t port)
{
    assert(port >= 1 && port <= swarm_n_ports(swarm));
    return &swarm->ports[port - 1];
}

/* ---- who is in which network ---------------------------------------------------------------- */

/* The k-th network of an agent: far enough from the others that neighbours share one only. */
static unsigned index_of_network(const struct swarm_config *config, unsigned agent, unsigned k)
{
    return (agent + k * (config->n_networks / config->n_each)) % config->n_networks;
}

static unsigned index_of_port(const struct swarm *swarm, uint32_t port)
{
    const struct swarm_config *config = &swarm->config;
    uint32_t home = (port - 1) / config->n_ports, k = (port - 1) % config->n_ports;
    return index_of_network(config, home, k % config->n_each);
}

/* Any agent that has this network for its k-th, k at random; UINT_MAX if none has. */
static unsigned any_member(const struct swarm_config *config, unsigned network, unsigned random)
{
    unsigned k = random % config->n_each;
    unsigned shift = k * (config->n_networks / config->n_each) % config->n_networks;
    unsigned first = (network + config->n_networks - shift) % config->n_networks;
    if (first >= config->n_agents)
        return UINT_MAX;
    unsigned n = (config->n_agents - first - 1) / config->n_networks + 1;
    return first + random / config->n_each % n * config->n_networks;
}

/* ---- what the map is told ------------------------------------------------------------------ */

static unsigned n_feeds(const struct swarm *swarm)
{
    return swarm->config.n_each + swarm->config.has_nodes;
}

static void check_served(struct agent *agent)
{
    struct swarm *swarm = agent->swarm;
    bool is_served = agent->is_announced && agent->n_complete == n_feeds(swarm);
    if (is_served == agent->is_served)
        return;
    agent->is_served = is_served;
    swarm->n_served += is_served ? 1 : -1u;
    if (is_served && swarm->events.on_served)
        swarm->events.on_served(swarm->aux, number_of(agent));
}

/* A port that was taken already keeps its epoch for as long as it stays: another one says that
 * the map had forgotten it. */
static void acknowledge(struct swarm *swarm, uint32_t port, uint64_t epoch)
{
    struct port *it = port_of(swarm, port);
    if (it->is_acked && it->epoch != epoch)
        real_fail("port %u had the epoch %lu and comes back with %lu: it was lost", port,
                  (unsigned long)it->epoch, (unsigned long)epoch);
    swarm->n_acked += !it->is_acked;
    it->is_acked = true;
    it->epoch = epoch;
    it->request = 0;
    if (swarm->events.on_acked)
        swarm->events.on_acked(swarm->aux, port);
}

/* What passes is told again; anything else would be a defect. */
static bool is_taken(struct agent *agent, const struct em_reply *reply)
{
    if (reply->err == 0)
        return true;
    if (!em_error_is_retryable(reply->err))
        real_fail("agent %u: %s %s: %s", number_of(agent), em_errname(reply->err), reply->field,
                  reply->message);
    agent->is_refused = true;
    return false;
}

static void on_announced_ports(void *aux, const struct em_reply *reply)
{
    struct agent *agent = aux;
    agent->requests[0] = 0;
    if (!is_taken(agent, reply))
        return;
    for (size_t i = 0; i < agent->n_announced; i++)
        acknowledge(agent->swarm, agent->announced[i], reply->epochs[i]);
}

static void on_announce_end(void *aux, const struct em_reply *reply)
{
    struct agent *agent = aux;
    agent->requests[1] = 0;
    if (!is_taken(agent, reply) || agent->is_refused)
        return;
    agent->is_announced = true;
    check_served(agent);
}

static void cancel_writes(struct agent *agent)
{
    EM_FOREACH (port, &agent->ports, struct port, in_agent) {
        if (port->request)
            em_client_cancel(agent->client, port->request);
        port->request = 0;
    }
    for (int i = 0; i < 2; i++) {
        if (agent->requests[i])
            em_client_cancel(agent->client, agent->requests[i]);
        agent->requests[i] = 0;
    }
}

static int64_t must(int64_t id)
{
    if (id < 0)
        real_fail("a request cannot be made: %s", em_strerror((int)id));
    return id;
}

static void claim_init(struct em_claim *claim, struct numbered_port *numbered,
                       const struct swarm *swarm, uint32_t port)
{
    const struct port *it = port_of(swarm, port);
    numbered_port_init(numbered, swarm_network(swarm, port), port, "");
    *claim = (struct em_claim){
        .port = numbered->port, .is_attach = !it->is_acked, .epoch = it->is_acked ? it->epoch : 0};
}

static void register_all(struct agent *agent)
{
    struct swarm *swarm = agent->swarm;
    size_t n = 0, i = 0;
    EM_FOREACH (port, &agent->ports, struct port, in_agent)
        n++;
    agent->n_announced = n;
    if (!n)
        return;
    if (n > CLAIMS_MAX)
        real_fail("agent %u has more ports than fit into a Register", number_of(agent));
    struct numbered_port *numbered = em_calloc(n, sizeof(*numbered));
    struct em_claim *claims = em_calloc(n, sizeof(*claims));
    agent->announced = em_realloc(agent->announced, n * sizeof(*agent->announced));
    EM_FOREACH (port, &agent->ports, struct port, in_agent) {
        agent->announced[i] = (uint32_t)(port - swarm->ports) + 1;
        claim_init(&claims[i], &numbered[i], swarm, agent->announced[i]);
        i++;
    }
    agent->requests[0] =
        must(em_client_register(agent->client, claims, n, NULL, on_announced_ports, agent));
    free(claims);
    free(numbered);
}

static void announce(struct agent *agent)
{
    uint64_t sync_id = ++agent->swarm->sync_id;
    cancel_writes(agent);
    agent->is_announced = agent->is_refused = false;
    check_served(agent);
    must(em_client_announce_begin(agent->client, sync_id));
    register_all(agent);
    agent->requests[1] =
        must(em_client_announce_end(agent->client, sync_id, on_announce_end, agent));
}

/* ---- moves ------------------------------------------------------------------------------- */

static void on_moved(void *aux, const struct em_reply *reply)
{
    struct port *port = aux;
    struct swarm *swarm = port->swarm;
    port->request = 0;
    if (is_taken(&swarm->agents[port->agent], reply))
        acknowledge(swarm, (uint32_t)(port - swarm->ports) + 1, reply->epochs[0]);
}

bool swarm_move(struct swarm *swarm, uint32_t number, unsigned random)
{
    struct port *port = port_of(swarm, number);
    unsigned to = any_member(&swarm->config, index_of_port(swarm, number), random);
    if (to == UINT_MAX || to == port->agent || !port->is_acked || !swarm->agents[to].is_served ||
        !swarm->agents[port->agent].is_served)
        return false;
    struct agent *agent = &swarm->agents[to];
    struct numbered_port numbered;
    struct em_claim claim;
    em_list_remove(&port->in_agent);
    em_list_append(&agent->ports, &port->in_agent);
    port->agent = to;
    port->is_acked = false;
    swarm->n_acked--;
    claim_init(&claim, &numbered, swarm, number);
    port->request = must(em_client_register(agent->client, &claim, 1, NULL, on_moved, port));
    return true;
}

/* ---- sessions ------------------------------------------------------------------------------ */

static void on_page(void *aux, const struct em_feed *page)
{
    struct feed *feed = aux;
    struct agent *agent = feed->agent;
    struct swarm *swarm = agent->swarm;
    if (page->err || page->is_removed)
        real_fail("agent %u: the feed of network %u ends: %s", number_of(agent), feed->network_id,
                  page->err ? page->message : "it was removed");
    swarm->counts.n_pages++;
    swarm->counts.n_changes += page->n_changes;
    if (swarm->events.on_page)
        swarm->events.on_page(swarm->aux, number_of(agent), page);
    if (!page->is_complete || feed->is_complete)
        return;
    feed->is_complete = true;
    agent->n_complete++;
    check_served(agent);
}

static void on_up(void *aux, const struct em_welcome *welcome)
{
    struct agent *agent = aux;
    agent->swarm->counts.n_sessions++;
    if (welcome->lease_ms)
        agent->swarm->lease_ms = welcome->lease_ms;
    announce(agent);
}

static void on_down(void *aux, int err, const char *why)
{
    struct agent *agent = aux;
    agent->swarm->counts.n_ends++;
    if (err == EM_E_DENIED || err == EM_E_SUPERSEDED)
        real_fail("agent %u is refused: %s", number_of(agent), why);
    cancel_writes(agent);
    for (unsigned k = 0; k < n_feeds(agent->swarm); k++)
        agent->feeds[k].is_complete = false;
    agent->n_complete = 0;
    agent->is_announced = false;
    check_served(agent);
}

static void beat(struct agent *agent)
{
    if (!agent->client || !em_client_is_up(agent->client))
        return;
    if (agent->is_refused)
        announce(agent);
    em_client_heartbeat(agent->client, 0, NULL, NULL);
}

/* Each agent in its turn, so that heartbeats come evenly; after a long turn of the loop all
 * that should have come in it. */
static void on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct swarm *swarm = w->data;
    unsigned n_agents = swarm->config.n_agents;
    uint64_t now_ms = em_now_ms();
    swarm->n_beats += (double)(now_ms - swarm->tick_ms) * n_agents * LEASE_PART / swarm->lease_ms;
    swarm->tick_ms = now_ms;
    if (swarm->n_beats > n_agents)
        swarm->n_beats = n_agents;
    for (; swarm->n_beats >= 1; swarm->n_beats--) {
        beat(&swarm->agents[swarm->next_beat]);
        swarm->next_beat = (swarm->next_beat + 1) % n_agents;
    }
}

static void subscribe(struct agent *agent)
{
    const struct swarm_config *config = &agent->swarm->config;
    for (unsigned k = 0; k < n_feeds(agent->swarm); k++) {
        struct feed *feed = &agent->feeds[k];
        *feed = (struct feed){.agent = agent};
        if (k < config->n_each)
            feed->network_id = config->networks[index_of_network(config, number_of(agent), k)];
        must(em_client_subscribe(agent->client, feed->network_id, NULL, 0, on_page, feed));
    }
}

static void start(struct agent *agent)
{
    static const struct em_client_events events = {on_up, on_down};
    const struct swarm_config *config = &agent->swarm->config;
    unsigned number = number_of(agent);
    char name[16], *why = NULL;
    struct em_rloc rloc = {
        .encap = EM_ENCAP_VXLAN, /* RFC 6598's range */
        .ip = {4, {100, (uint8_t)(64 + (number >> 16)), (uint8_t)(number >> 8), (uint8_t)number}}};
    char *ca = em_asprintf("%s/ca.crt", config->pki);
    char *cert = em_pki_path(config->pki, EM_ROLE_NODE, swarm_name(number, name), "crt");
    char *key = em_pki_path(config->pki, EM_ROLE_NODE, name, "key");
    const struct em_client_config client = {.servers = config->urls,
                                            .n_servers = config->n_urls,
                                            .ca_file = ca,
                                            .cert_file = cert,
                                            .key_file = key,
                                            .software = "swarm",
                                            .node_id = name,
                                            .boot_epoch = em_wall_ms(),
                                            .rlocs = &rloc,
                                            .n_rlocs = 1};
    if (em_client_new(agent->swarm->loop, &client, &events, agent, &agent->client, &why))
        real_fail("agent %u: %s", number, why);
    subscribe(agent);
    free(ca);
    free(cert);
    free(key);
}

void swarm_start(struct swarm *swarm, unsigned first, unsigned n)
{
    for (unsigned i = first; i < first + n; i++)
        start(&swarm->agents[i]);
}

void swarm_end(struct swarm *swarm, unsigned first, unsigned n)
{
    for (unsigned i = first; i < first + n; i++) {
        struct agent *agent = &swarm->agents[i];
        if (!agent->client)
            continue;
        cancel_writes(agent);
        em_client_free(agent->client);
        agent->client = NULL;
        agent->is_announced = false;
        agent->n_complete = 0;
        check_served(agent);
    }
}

/* ---- the swarm ----------------------------------------------------------------------------- */

void swarm_raise_limit(unsigned n_agents)
{
    struct rlimit limit;
    rlim_t wanted = n_agents + SPARE_FILES;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted;
    if (limit.rlim_max < wanted)
        limit.rlim_max = wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit))
        real_fail("%u agents need %lu open files, and this process may have no more than "
                  "'ulimit -Hn' says: be root, or take fewer agents",
                  n_agents, (unsigned long)wanted);
}

static void own_ports(struct swarm *swarm, unsigned number)
{
    uint32_t n = swarm->config.n_ports;
    for (uint32_t i = number * n; i < (number + 1) * n; i++) {
        struct port *port = &swarm->ports[i];
        *port = (struct port){.swarm = swarm, .agent = number};
        em_list_append(&swarm->agents[number].ports, &port->in_agent);
    }
}

struct swarm *swarm_new(struct ev_loop *loop, const struct swarm_config *config,
                        const struct swarm_events *events, void *aux)
{
    struct swarm *swarm = em_calloc(1, sizeof(*swarm));
    assert(config->n_each >= 1 && config->n_each <= config->n_networks);
    swarm_raise_limit(config->n_agents);
    *swarm = (struct swarm){
        .loop = loop,
        .config = *config,
        .events = *events,
        .aux = aux,
        .lease_ms = DEFAULT_LEASE,
        .agents = em_calloc(config->n_agents, sizeof(*swarm->agents)),
        .ports = em_calloc((size_t)config->n_agents * config->n_ports, sizeof(*swarm->ports))};
    for (unsigned i = 0; i < config->n_agents; i++) {
        struct agent *agent = &swarm->agents[i];
        agent->swarm = swarm;
        agent->feeds = em_calloc(n_feeds(swarm), sizeof(*agent->feeds));
        em_list_init(&agent->ports);
        own_ports(swarm, i);
    }
    ev_timer_init(&swarm->tick, on_tick, TICK_S, TICK_S);
    swarm->tick.data = swarm;
    ev_timer_start(loop, &swarm->tick);
    return swarm;
}

void swarm_free(struct swarm *swarm)
{
    swarm_end(swarm, 0, swarm->config.n_agents);
    ev_timer_stop(swarm->loop, &swarm->tick);
    for (unsigned i = 0; i < swarm->config.n_agents; i++) {
        free(swarm->agents[i].feeds);
        free(swarm->agents[i].announced);
    }
    free(swarm->agents);
    free(swarm->ports);
    free(swarm);
}

unsigned swarm_n_served(const struct swarm *swarm)
{
    return swarm->n_served;
}

bool swarm_is_served(const struct swarm *swarm, unsigned agent)
{
    return swarm->agents[agent].is_served;
}

uint32_t swarm_n_ports(const struct swarm *swarm)
{
    return swarm->config.n_agents * swarm->config.n_ports;
}

uint32_t swarm_n_acked(const struct swarm *swarm)
{
    return swarm->n_acked;
}

uint32_t swarm_network(const struct swarm *swarm, uint32_t port)
{
    return swarm->config.networks[index_of_port(swarm, port)];
}

unsigned swarm_where(const struct swarm *swarm, uint32_t port)
{
    return port_of(swarm, port)->agent;
}

bool swarm_is_member(const struct swarm *swarm, unsigned agent, uint32_t port)
{
    for (unsigned k = 0; k < swarm->config.n_each; k++)
        if (index_of_network(&swarm->config, agent, k) == index_of_port(swarm, port))
            return true;
    return false;
}

bool swarm_is_acked(const struct swarm *swarm, uint32_t port)
{
    return port_of(swarm, port)->is_acked;
}

const struct swarm_counts *swarm_counts(const struct swarm *swarm)
{
    return &swarm->counts;
}
