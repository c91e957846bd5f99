/* The map server is killed again and again while eight agents register and withdraw: what it
 * has acknowledged must be there after each start, and no start needs a hand.
 *
 * An agent keeps WINDOW requests under way.  Its ports have numbers of their own and are
 * registered once; every fourth one is withdrawn again when it has been acknowledged.  What is
 * known of each port is in memory:
 *
 *   SENT --reply--> STANDS --every fourth--> LEAVES --reply--> GONE
 *
 * STANDS and GONE are promises.  The clients are libeidmap's: they connect again and send
 * again by themselves. */
#include "base/clock.h"
#include "base/mem.h"
#include "server/caller.h"
#include "server/numbered.h"
#include "server/real_server.h"

#include <criterion/criterion.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define N_AGENTS       8
#define N_KILLS        20
#define WINDOW         16
#define PORTS_MAX      60000 /* of one agent */
#define ACKS_MIN       100   /* promises to win before the next kill */
#define ROUND_S        20    /* in which they must come */
#define N_FIRST_STARTS 30
#define FIRST_START_US 12000 /* about what a first start takes */
#define UPTIME_MAX     400   /* ms more until the kill, at random */

enum promise { NONE, SENT, STANDS, LEAVES, GONE };

struct agent {
    struct em_client *client;
    char name[16];
    uint32_t first; /* number of its first port */
    uint32_t n;     /* ports it has begun with */
    enum promise ports[PORTS_MAX];
};

static struct real_server server;
static struct agent agents[N_AGENTS];
static struct ev_loop *loop;
static uint32_t network_id;
static uint64_t n_acks, n_acks_wanted;

static void next_request(struct agent *agent);

/* What a callback is about: the number of the port. */
static struct agent *agent_of(uint32_t number)
{
    return &agents[(number - 1) / PORTS_MAX];
}

static void acknowledged(struct agent *agent)
{
    if (++n_acks == n_acks_wanted)
        ev_break(loop, EVBREAK_ALL);
    next_request(agent);
}

static void on_withdrawn(void *aux, const struct em_reply *reply)
{
    uint32_t number = (uint32_t)(uintptr_t)aux;
    struct agent *agent = agent_of(number);
    cr_assert_eq(reply->err, 0, "withdraw: %s", reply->message);
    agent->ports[number - agent->first] = GONE;
    acknowledged(agent);
}

static void on_registered(void *aux, const struct em_reply *reply)
{
    uint32_t number = (uint32_t)(uintptr_t)aux;
    struct agent *agent = agent_of(number);
    cr_assert_eq(reply->err, 0, "register: %s", reply->message);
    agent->ports[number - agent->first] = STANDS;
    if (number % 4 == 0) {
        struct em_port_ref ref = {.id = numbered_id(number)};
        agent->ports[number - agent->first] = LEAVES;
        cr_assert_gt(em_client_withdraw(agent->client, &ref, 1, NULL, on_withdrawn, aux), 0);
        return;
    }
    acknowledged(agent);
}

static void next_request(struct agent *agent)
{
    struct numbered_port port;
    uint32_t k = agent->n++;
    uint32_t number = agent->first + k;
    cr_assert_lt(k, PORTS_MAX);
    numbered_port_init(&port, network_id, number, agent->name);
    struct em_claim claim = {.port = port.port, .is_attach = true};
    agent->ports[k] = SENT;
    cr_assert_gt(em_client_register(agent->client, &claim, 1, NULL, on_registered,
                                    (void *)(uintptr_t)number),
                 0);
}

static void start_agent(struct agent *agent, unsigned number)
{
    const char *servers[] = {server.unix_url};
    struct em_rloc rloc = {.ip = {4, {198, 18, 0, (uint8_t)(number + 1)}}, .encap = EM_ENCAP_VXLAN};
    char *why = NULL;
    snprintf(agent->name, sizeof(agent->name), "hv%u", number);
    agent->first = 1 + number * PORTS_MAX;
    const struct em_client_config config = {.servers = servers,
                                            .n_servers = 1,
                                            .node_id = agent->name,
                                            .boot_epoch = 1,
                                            .rlocs = &rloc,
                                            .n_rlocs = 1};
    cr_assert_eq(
        em_client_new(loop, &config, &(struct em_client_events){NULL}, NULL, &agent->client, &why),
        0, "%s", why);
    for (int i = 0; i < WINDOW; i++)
        next_request(agent);
}

/* ---- what the map holds, against what was promised --------------------------------------- */

struct seen {
    uint8_t is_there[N_AGENTS * PORTS_MAX + 1];
    uint32_t n_wrong_node;
};

static void on_port(void *aux, uint32_t number, const struct em_port *port)
{
    struct seen *seen = aux;
    char node[16];
    cr_assert_leq(number, N_AGENTS * PORTS_MAX);
    snprintf(node, sizeof(node), "hv%u", (number - 1) / PORTS_MAX);
    seen->is_there[number] = 1;
    if (port->n_locations != 1 || strcmp(port->locations[0].node_id, node) != 0)
        seen->n_wrong_node++;
}

static void check_promises(unsigned kill)
{
    struct seen *seen = em_calloc(1, sizeof(*seen));
    uint32_t n_lost = 0, n_risen = 0, n_kept = 0;
    int r = caller_dump(server.unix_url, network_id, on_port, seen);
    cr_assert_eq(r, 0, "after kill %u the map cannot be read: %s", kill, em_errname(r));
    for (int i = 0; i < N_AGENTS; i++) {
        const struct agent *agent = &agents[i];
        for (uint32_t k = 0; k < agent->n; k++) {
            bool is_there = seen->is_there[agent->first + k];
            n_kept += agent->ports[k] == STANDS && is_there;
            n_lost += agent->ports[k] == STANDS && !is_there;
            n_risen += agent->ports[k] == GONE && is_there;
        }
    }
    cr_assert_eq(n_lost, 0, "after kill %u: %u acknowledged ports are lost", kill, n_lost);
    cr_assert_eq(n_risen, 0, "after kill %u: %u withdrawn ports are back", kill, n_risen);
    cr_assert_eq(seen->n_wrong_node, 0);
    cr_assert_gt(n_kept, 0);
    free(seen);
}

/* One of the promises, by the other way of reading. */
static void check_resolves(unsigned random)
{
    struct agent *agent = &agents[random % N_AGENTS];
    struct caller caller;
    uint32_t k = random % agent->n;
    while (k && agent->ports[k] != STANDS)
        k--;
    if (agent->ports[k] != STANDS)
        return;
    caller_open(&caller, server.unix_url, NULL);
    cr_assert_eq(caller_resolve(&caller, network_id, agent->first + k), 0, "%s", caller.message);
    cr_assert_eq(caller.n_positive, 1);
    cr_assert_str_eq(caller.node, agent->name);
    caller_close(&caller);
}

/* ---- the story ----------------------------------------------------------------------------- */

static void on_limit(struct ev_loop *of, ev_timer *w, int revents)
{
    cr_assert_fail("only %lu of %lu requests were answered in %d s", (unsigned long)n_acks,
                   (unsigned long)n_acks_wanted, ROUND_S);
}

static void on_time(struct ev_loop *of, ev_timer *w, int revents)
{
    ev_break(of, EVBREAK_ALL);
}

static void run_for(unsigned ms)
{
    ev_timer timer;
    ev_now_update(loop);
    ev_timer_init(&timer, on_time, ms / 1000.0, 0);
    ev_timer_start(loop, &timer);
    ev_run(loop, 0);
    ev_timer_stop(loop, &timer);
}

static void run_until_acks(uint64_t wanted)
{
    ev_timer limit;
    ev_now_update(loop);
    ev_timer_init(&limit, on_limit, ROUND_S, 0);
    ev_timer_start(loop, &limit);
    n_acks_wanted = n_acks + wanted;
    ev_run(loop, 0);
    ev_timer_stop(loop, &limit);
}

static unsigned random_seed(void)
{
    unsigned seed;
    const char *given = getenv("SEED");
    if (given)
        seed = (unsigned)strtoul(given, NULL, 10);
    else if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        real_fail("no random seed");
    fprintf(stderr, "SEED=%u\n", seed);
    return seed;
}

Test(kill9, loses_no_acknowledged_write_and_needs_no_repair, .timeout = 120)
{
    unsigned seed = random_seed();
    struct caller caller;
    loop = ev_loop_new(EVFLAG_AUTO);
    real_server_init(&server, "log: warn\nlease:\n  duration: 1h\n");
    real_server_start(&server);
    caller_open(&caller, server.unix_url, NULL);
    cr_assert_eq(caller_put_network(&caller, "t1"), 0, "%s", caller.message);
    network_id = caller.network_id;
    caller_close(&caller);
    for (unsigned i = 0; i < N_AGENTS; i++)
        start_agent(&agents[i], i);
    for (unsigned kill = 1; kill <= real_rounds(N_KILLS); kill++) {
        run_until_acks(ACKS_MIN);
        run_for((unsigned)rand_r(&seed) % UPTIME_MAX);
        real_server_kill(&server);
        real_server_start(&server);
        check_promises(kill);
        check_resolves((unsigned)rand_r(&seed));
    }
    for (int i = 0; i < N_AGENTS; i++)
        em_client_free(agents[i].client);
    run_for(1); /* clients end in the loop */
    cr_assert_eq(real_server_stop(&server, 10000), 0);
    real_server_fini(&server);
    ev_loop_destroy(loop);
}

/* The map is made in several steps, each of which may be the last. */
Test(kill9, a_first_start_may_be_cut_short_at_any_moment, .timeout = 120)
{
    unsigned seed = random_seed();
    struct caller caller;
    real_server_init(&server, "log: warn\n");
    for (unsigned i = 0; i < real_rounds(N_FIRST_STARTS); i++) {
        real_remove_tree(server.data);
        real_server_spawn(&server);
        usleep((unsigned)rand_r(&seed) % FIRST_START_US);
        real_server_kill(&server);
        real_server_start(&server);
        caller_open(&caller, server.unix_url, NULL);
        cr_assert_eq(caller_put_network(&caller, "t1"), 0, "%s", caller.message);
        caller_close(&caller);
        cr_assert_eq(real_server_stop(&server, 10000), 0);
    }
    real_server_fini(&server);
}
