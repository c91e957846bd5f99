/* Three map servers serve a few hundred agents that register their ports and move them about,
 * while one server after the other is killed and comes back.
 *
 * What the agents say of each port is the truth (tests/bench/swarm_agents.h), and a port that the
 * map has taken must not be forgotten: its epoch would change.  In the end every server's map
 * and every agent's own view, made of nothing but the pages of its feeds, show that truth. */
#include "base/clock.h"
#include "base/mem.h"
#include "server/caller.h"
#include "server/numbered.h"
#include "server/real_cluster.h"
#include "swarm_moves.h"
#include "swarm_setup.h"

#include <criterion/criterion.h>
#include <ev.h>
#include <limits.h>
#include <stdlib.h>

#define N_SERVERS   3
#define N_AGENTS    300
#define N_NETWORKS  60
#define N_EACH      3
#define N_PORTS     4 /* of an agent */
#define N_KILLS     4
#define PER_SECOND  200 /* moves */
#define BOOT_MS     400 /* until the first kill: not all have registered by then */
#define DEAD_MS     300
#define ROUND_MOVES 100 /* that must be taken between two kills */
#define LIMIT_MS    90000

#define ALL_PORTS (N_AGENTS * N_PORTS)

struct view {
    uint16_t where[ALL_PORTS]; /* agent + 1; 0: nowhere */
};

static struct real_cluster cluster;
static struct ev_loop *loop;
static struct swarm *swarm;
static struct moves moves;
static struct view views[N_AGENTS];
static uint64_t n_acks, n_acks_wanted;

/* ---- what each agent sees ------------------------------------------------------------------ */

static void see(struct view *view, uint32_t number, const struct em_port *port)
{
    if (number >= 1 && number <= ALL_PORTS)
        view->where[number - 1] = port && port->n_locations
                                      ? (uint16_t)(swarm_number(port->locations[0].node_id) + 1)
                                      : 0;
}

/* A pass that starts over mentions all that there is. */
static void forget(struct view *view, uint32_t network_id)
{
    for (uint32_t port = 1; port <= ALL_PORTS; port++)
        if (swarm_network(swarm, port) == network_id)
            view->where[port - 1] = 0;
}

static void on_page(void *aux, unsigned agent, const struct em_feed *page)
{
    struct view *view = &views[agent];
    if (page->is_start_over)
        forget(view, page->network_id);
    for (size_t i = 0; i < page->n_changes; i++) {
        const struct em_change *change = &page->changes[i];
        if (change->object == EM_OBJECT_PORT)
            see(view, numbered_of(change->is_gone ? &change->gone_port : &change->port->id),
                change->port);
    }
}

static void on_acked(void *aux, uint32_t port)
{
    n_acks++;
}

/* How many ports of its networks an agent (UINT_MAX: all networks) sees somewhere else. */
static unsigned n_wrong(const struct view *view, unsigned agent)
{
    unsigned n = 0;
    for (uint32_t port = 1; port <= ALL_PORTS; port++)
        if (agent == UINT_MAX || swarm_is_member(swarm, agent, port))
            n += view->where[port - 1] != swarm_where(swarm, port) + 1;
    return n;
}

/* ---- conditions ------------------------------------------------------------------------------ */

static bool has_moved(void)
{
    return n_acks >= n_acks_wanted;
}

static bool is_served(void)
{
    return swarm_n_served(swarm) == N_AGENTS && swarm_n_acked(swarm) == ALL_PORTS;
}

static bool is_seen(void)
{
    for (unsigned i = 0; i < N_AGENTS; i++)
        if (n_wrong(&views[i], i))
            return false;
    return true;
}

static void run_for(unsigned ms)
{
    uint64_t end = em_now_ms() + ms;
    while (em_now_ms() < end)
        ev_run(loop, EVRUN_ONCE); /* the swarm's own timer turns it */
}

static void wait_until(bool (*is_so)(void), const char *what)
{
    uint64_t end = em_now_ms() + LIMIT_MS;
    while (!is_so()) {
        run_for(20);
        cr_assert_lt(em_now_ms(), end,
                     "%s: not in %d s; %u of %d agents are served, %u of %d "
                     "ports taken",
                     what, LIMIT_MS / 1000, swarm_n_served(swarm), N_AGENTS, swarm_n_acked(swarm),
                     ALL_PORTS);
    }
}

/* ---- the story ----------------------------------------------------------------------------- */

static void kill_one(unsigned i)
{
    real_cluster_kill(&cluster, i);
    run_for(DEAD_MS);
    real_cluster_restart(&cluster, i);
}

static void on_port(void *aux, uint32_t number, const struct em_port *port)
{
    see(aux, number, port);
}

static unsigned n_wrong_at(unsigned i, const uint32_t *networks)
{
    struct view *view = em_calloc(1, sizeof(*view));
    for (unsigned k = 0; k < N_NETWORKS; k++) {
        int r = caller_dump(cluster.servers[i].unix_url, networks[k], on_port, view);
        cr_assert_eq(r, 0, "server %u cannot be read: %s", i, em_errname(r));
    }
    unsigned n = n_wrong(view, UINT_MAX);
    free(view);
    return n;
}

/* A server that has the whole log may still be applying it. */
static void check_server(unsigned i, const uint32_t *networks)
{
    uint64_t end = em_now_ms() + LIMIT_MS;
    unsigned n;
    while ((n = n_wrong_at(i, networks)))
        cr_assert_lt(em_now_ms(), end, "%u ports are wrong in the map of server %u", n, i);
}

Test(swarm, keeps_what_was_taken_and_shows_all_the_same_while_servers_are_killed, .timeout = 300)
{
    static const struct swarm_events events = {.on_page = on_page, .on_acked = on_acked};
    const char *urls[N_SERVERS];
    real_cluster_init(&cluster, N_SERVERS, "log: warn\n");
    real_cluster_start(&cluster);
    for (int i = 0; i < N_SERVERS; i++)
        urls[i] = cluster.servers[i].tls_url;
    char *pki = swarm_certs_make(&cluster.servers[0], N_AGENTS);
    uint32_t *networks = swarm_networks_make(cluster.servers[0].unix_url, N_NETWORKS);
    const struct swarm_config config = {.urls = urls,
                                        .n_urls = N_SERVERS,
                                        .pki = pki,
                                        .n_agents = N_AGENTS,
                                        .networks = networks,
                                        .n_networks = N_NETWORKS,
                                        .n_each = N_EACH,
                                        .has_nodes = true,
                                        .n_ports = N_PORTS};
    loop = ev_loop_new(EVFLAG_AUTO);
    swarm = swarm_new(loop, &config, &events, NULL);
    moves_init(&moves, loop, swarm, PER_SECOND);
    swarm_start(swarm, 0, N_AGENTS);
    moves_start(&moves);
    run_for(BOOT_MS);
    for (unsigned kill = 0; kill < real_rounds(N_KILLS); kill++) {
        kill_one(real_cluster_leader(&cluster));
        n_acks_wanted = n_acks + ROUND_MOVES;
        wait_until(has_moved, "ports move again");
    }
    moves_stop(&moves);
    wait_until(is_served, "all agents are served and all ports taken");
    wait_until(is_seen, "all agents see the same");
    real_cluster_settle(&cluster);
    for (unsigned i = 0; i < N_SERVERS; i++)
        check_server(i, networks);
    moves_fini(&moves);
    swarm_free(swarm);
    ev_loop_destroy(loop);
    free(networks);
    swarm_certs_remove(pki);
    cr_assert_eq(real_cluster_stop(&cluster, 20000), 0);
    real_cluster_fini(&cluster);
}
