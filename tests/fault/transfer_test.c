/* A server that was away for so long that the log does not reach back to it: it is sent the
 * whole map, and that breaks at several points.  In the end it holds what the others hold.
 *
 *   restart --> fetching the map --> the whole map has come --> the map is in place
 *                  │ killed, the        │ killed                   │ killed
 *                  │ sender killed,
 *                  │ the link cut
 */
#include "base/clock.h"
#include "base/mem.h"
#include "server/caller.h"
#include "server/links.h"
#include "server/numbered.h"
#include "server/ordeal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N        ORDEAL_SERVERS
#define SLOW_KIB 5000 /* a second: the map takes some seconds */
#define CUT_US   3000000
#define POLL_US  500

/* What makes the leader forget what the absent one needs: more in the last entries than the
 * 24 MiB that it keeps. */
#define N_SMALL    3000
#define N_HEAVY    120
#define REFS       4096 /* of a heavy request, each with a port-id of the largest size */
#define N_MORE     1100 /* until it looks again */
#define FIRST_PORT 1000 /* above the keys of the traffic */

/* What makes the map large. */
#define N_LARGE   20
#define PORTS     55 /* of a large request */
#define NAMES     60 /* of each of its ports */
#define NAME_SIZE 243

#define FETCHING "fetching the map"
#define LOADING  "the whole map has come"
#define IN_PLACE "the map is in place"

static struct ordeal ordeal;
static struct real_cluster *const cluster = &ordeal.cluster;
static unsigned absent;
static size_t log_from; /* of its log, what came since it was started last */

static void setup(void)
{
    setenv("TMPDIR", "/dev/shm", 0); /* thousands of synced writes are made, one by one */
    if (!ordeal_start_linked(&ordeal))
        cr_skip_test("no network namespaces, or no nft");
}

static void teardown(void)
{
    ordeal_fini(&ordeal);
    links_remove();
}

TestSuite(transfer, .init = setup, .fini = teardown, .timeout = 400);

/* ---- a lot of map
 * -------------------------------------------------------------------------------- */

static void register_small(struct caller *caller, uint32_t first, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (caller_register(caller, ordeal.network_id, first + i, 1, "x900"))
            ordeal_fail(&ordeal, "port %u: %s", first + i, caller->message);
}

/* A DNS name of NAME_SIZE bytes that nobody else has. */
static void make_name(char *name, uint32_t number, unsigned k)
{
    memset(name, 'x', NAME_SIZE);
    for (unsigned i = 60; i < NAME_SIZE; i += 61)
        name[i] = '.';
    char head[24];
    int n = snprintf(head, sizeof(head), "p%u-%u-", number, k);
    memcpy(name, head, (size_t)n);
}

struct large {
    struct em_claim claims[PORTS];
    struct em_eid eids[PORTS][NAMES];
    char names[PORTS][NAMES][NAME_SIZE];
    struct em_location location;
};

static void on_written(void *aux, const struct em_reply *reply)
{
    struct caller *caller = aux;
    caller->err = reply->err;
    em_call_done(caller->call);
}

static void finish(struct caller *caller, int64_t id)
{
    caller->err = EM_E_TIMEOUT;
    if (id < 0 || em_call_wait(caller->call, 0) || caller->err)
        ordeal_fail(&ordeal, "a large request: %s", em_errname(id < 0 ? (int)id : caller->err));
}

/* Nearly as large as a request can be. */
static void register_large(struct caller *caller, struct large *large, uint32_t first)
{
    large->location = (struct em_location){.node_id = "x900", .priority = 1, .weight = 1};
    for (uint32_t i = 0; i < PORTS; i++) {
        for (unsigned k = 0; k < NAMES; k++) {
            make_name(large->names[i][k], first + i, k);
            large->eids[i][k] =
                (struct em_eid){.kind = EM_EID_NAME, .size = NAME_SIZE, .name = large->names[i][k]};
        }
        large->claims[i] = (struct em_claim){.port = {.id = numbered_id(first + i),
                                                      .network_id = ordeal.network_id,
                                                      .eids = large->eids[i],
                                                      .n_eids = NAMES,
                                                      .locations = &large->location,
                                                      .n_locations = 1},
                                             .is_attach = true};
    }
    finish(caller, em_client_register(em_call_client(caller->call), large->claims, PORTS, NULL,
                                      on_written, caller));
}

/* Much to write down, and nothing to do: it withdraws what is not there. */
static void write_heavy(struct caller *caller)
{
    struct em_port_ref *refs = em_calloc(REFS, sizeof(*refs));
    for (size_t i = 0; i < REFS; i++) {
        refs[i].id.size = EM_PORT_ID_SIZE;
        memset(refs[i].id.bytes, 'x', EM_PORT_ID_SIZE);
        int n = snprintf((char *)refs[i].id.bytes, 8, "%zu", i);
        refs[i].id.bytes[n] = 'x';
    }
    finish(caller,
           em_client_withdraw(em_call_client(caller->call), refs, REFS, NULL, on_written, caller));
    free(refs);
}

static void write_much(void)
{
    struct caller caller;
    struct large *large = em_malloc(sizeof(*large));
    uint64_t began_ms = em_now_ms();
    caller_open(&caller, cluster->servers[real_cluster_leader(cluster)].unix_url, "x900");
    register_small(&caller, FIRST_PORT, N_SMALL);
    for (uint32_t i = 0; i < N_LARGE; i++)
        register_large(&caller, large, 100000 + i * PORTS);
    for (uint32_t i = 0; i < N_HEAVY; i++)
        write_heavy(&caller);
    register_small(&caller, FIRST_PORT + N_SMALL, N_MORE);
    caller_close(&caller);
    free(large);
    fprintf(stderr, "written in %.1f s\n", (double)(em_now_ms() - began_ms) / 1e3);
}

/* ---- the absent one
 * ------------------------------------------------------------------------------ */

static bool has_said(const char *words)
{
    char *log = real_server_log(&cluster->servers[absent], log_from);
    bool is_there = strstr(log, words);
    free(log);
    return is_there;
}

static void await_words(const char *words)
{
    uint64_t end = em_now_ms() + ORDEAL_LIMIT_MS;
    while (!has_said(words)) {
        if (em_now_ms() > end)
            ordeal_fail(&ordeal, "\"%s\" is not in the log of %s", words, cluster->names[absent]);
        usleep(POLL_US);
    }
}

static void start_absent(void)
{
    log_from = real_server_log_size(&cluster->servers[absent]);
    real_cluster_restart(cluster, absent);
}

/* The link over which the map goes carries little, so that there is time to break it. */
static unsigned make_it_slow(void)
{
    unsigned leader = real_cluster_leader(cluster);
    const char *url = cluster->servers[leader].tls_url;
    links_slow(leader, (uint16_t)atoi(strrchr(url, ':') + 1), absent, SLOW_KIB);
    return leader;
}

/* A follower stops and much is written without it. */
static void fall_behind(void)
{
    ordeal_expect_writes(&ordeal, "before a server is away");
    absent = ordeal_follower(&ordeal);
    real_cluster_kill(cluster, absent);
    write_much();
}

/* Its old map answers meanwhile. */
static void expect_stale_reads(void)
{
    struct caller caller;
    caller_open(&caller, cluster->servers[absent].unix_url, NULL);
    if (caller_resolve(&caller, ordeal.network_id, FIRST_PORT))
        ordeal_fail(&ordeal, "no read while the map comes: %s", caller.message);
    cr_assert_eq(caller.n_positive, 0, "the old map has not what was written since");
    caller_close(&caller);
}

static void expect_all(void)
{
    links_heal();
    await_words(IN_PLACE);
    real_cluster_settle(cluster);
    ordeal_expect_writes(&ordeal, "when all is over");
    ordeal_end(&ordeal);
}

Test(transfer, the_old_map_answers_until_the_new_one_is_there)
{
    fall_behind();
    make_it_slow();
    start_absent();
    await_words(FETCHING);
    expect_stale_reads();
    expect_all();
}

Test(transfer, the_receiver_may_be_killed_at_any_point)
{
    static const char *const points[] = {FETCHING, LOADING, IN_PLACE};
    fall_behind();
    make_it_slow();
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        start_absent();
        await_words(points[i]);
        usleep(ordeal_draw(&ordeal, 100000));
        real_cluster_kill(cluster, absent);
        if (has_said(IN_PLACE))
            break; /* it will not be fetched again, even where the kill was meant to be earlier */
    }
    links_heal();
    real_cluster_restart(cluster, absent);
    real_cluster_settle(cluster);
    ordeal_expect_writes(&ordeal, "when all is over");
    ordeal_end(&ordeal);
}

Test(transfer, the_sender_may_be_killed)
{
    fall_behind();
    unsigned leader = make_it_slow();
    start_absent();
    await_words(FETCHING);
    usleep(ordeal_draw(&ordeal, 500000));
    real_cluster_kill(cluster, leader);
    usleep(CUT_US);
    real_cluster_restart(cluster, leader);
    expect_all();
}

Test(transfer, the_link_may_be_cut)
{
    fall_behind();
    unsigned leader = make_it_slow();
    start_absent();
    await_words(FETCHING);
    usleep(ordeal_draw(&ordeal, 500000));
    links_cut(leader, absent);
    links_cut(absent, leader);
    usleep(CUT_US);
    expect_all();
    char *log = real_server_log(&cluster->servers[absent], log_from);
    cr_assert_null(strstr(strstr(log, FETCHING) + 1, FETCHING), "it began anew");
    free(log);
}
