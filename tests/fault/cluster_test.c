/* A cluster of three, and what befalls it while agents move ports and operators look: kills,
 * pauses, a replica that loses its disk, clocks that jump.
 *
 * After each story every answer that a client was given must be explained by one order of the
 * operations (history.h), the three must hold the same map, and that map what was said last.
 * Which way chance goes is told by SEED, printed and taken from the environment. */
#include "base/clock.h"
#include "base/mem.h"
#include "server/caller.h"
#include "server/verdict.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define N         3
#define N_KEYS    8
#define N_KILLS   20
#define WRITES    50 /* acknowledged between two faults, at least */
#define AWAIT_MS  30000
#define DAY_S     86400
#define N_JUMPS   12
#define JUMP_US   300000
#define UPTIME_US 200000 /* more until the next fault, at most */

static struct real_cluster cluster;
static struct traffic *traffic;
static uint32_t network_id;
static unsigned seed;

static void setup(void)
{
    const char *servers[N];
    const char *given = getenv("SEED");
    struct caller caller;
    if (given)
        seed = (unsigned)strtoul(given, NULL, 10);
    else if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        real_fail("no random seed");
    fprintf(stderr, "SEED=%u\n", seed);
    real_cluster_init(&cluster, N, "lease:\n  duration: 1h\n");
    real_cluster_start(&cluster);
    caller_open(&caller, cluster.servers[0].unix_url, NULL);
    cr_assert_eq(caller_put_network(&caller, "t1"), 0, "%s", caller.message);
    network_id = caller.network_id;
    caller_close(&caller);
    for (unsigned i = 0; i < N; i++)
        servers[i] = cluster.servers[i].unix_url;
    traffic = traffic_start(&(struct traffic_config){.servers = servers,
                                                     .n_servers = N,
                                                     .network_id = network_id,
                                                     .n_keys = N_KEYS,
                                                     .n_agents = 6,
                                                     .n_operators = 3,
                                                     .seed = seed,
                                                     .pause_us = 20000});
}

static void teardown(void)
{
    traffic_free(traffic);
    real_cluster_fini(&cluster);
}

TestSuite(cluster, .init = setup, .fini = teardown, .timeout = 110);

static unsigned draw(unsigned n)
{
    return (unsigned)rand_r(&seed) % n;
}

/* Servers that are in order acknowledge again. */
static void expect_writes(const char *when)
{
    if (traffic_await(traffic, WRITES, AWAIT_MS))
        return;
    for (unsigned i = 0; i < N; i++) {
        char *log = real_server_log(&cluster.servers[i], 0);
        fprintf(stderr, "---- log of %s\n%s", cluster.names[i], log);
        free(log);
    }
    cr_assert_fail("%s: no %d writes in %d s", when, WRITES, AWAIT_MS / 1000);
}

static void expect_one_story(void)
{
    char *why = verdict_of(&cluster, traffic, network_id, N_KEYS);
    cr_assert_null(why, "%s", why);
    cr_assert_eq(real_cluster_stop(&cluster, AWAIT_MS), 0, "a server does not end in order");
}

static int compare_times(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* After expect_one_story(). */
static void report(const char *what, const uint64_t *at_us, size_t n)
{
    uint64_t first[N_KILLS], longest[N_KILLS];
    for (size_t i = 0; i < n; i++) {
        struct traffic_gap gap = traffic_gap(traffic, at_us[i]);
        first[i] = gap.first;
        longest[i] = gap.longest;
    }
    qsort(first, n, sizeof(*first), compare_times);
    qsort(longest, n, sizeof(*longest), compare_times);
    printf("%s, %zu times: the next write was acknowledged after %.3f s (p50), %.3f s (max); a "
           "write waited %.3f s (p50), %.3f s (max)\n",
           what, n, (double)first[n / 2] / 1e6, (double)first[n - 1] / 1e6,
           (double)longest[n / 2] / 1e6, (double)longest[n - 1] / 1e6);
}

static unsigned follower(void)
{
    return (real_cluster_leader(&cluster) + 1 + draw(N - 1)) % N;
}

/* ---- kills ------------------------------------------------------------------------------------
 */

static void kill_again_and_again(const char *what, unsigned n, bool is_leader)
{
    uint64_t at_us[N_KILLS];
    for (unsigned i = 0; i < n; i++) {
        expect_writes("before a kill");
        usleep(draw(UPTIME_US));
        unsigned victim = is_leader ? real_cluster_leader(&cluster) : follower();
        at_us[i] = em_now_us();
        real_cluster_kill(&cluster, victim);
        expect_writes("with two of three");
        real_cluster_restart(&cluster, victim);
        real_cluster_settle(&cluster);
    }
    expect_one_story();
    report(what, at_us, n);
}

Test(cluster, survives_kills_of_its_leader)
{
    kill_again_and_again("leader killed", N_KILLS, true);
}

Test(cluster, survives_kills_of_a_follower)
{
    kill_again_and_again("follower killed", N_KILLS / 2, false);
}

Test(cluster, survives_kills_of_all_at_once)
{
    uint64_t at_us[5];
    for (unsigned i = 0; i < 5; i++) {
        expect_writes("before all are killed");
        usleep(draw(UPTIME_US));
        at_us[i] = em_now_us();
        for (unsigned k = 0; k < N; k++)
            real_cluster_kill(&cluster, k);
        for (unsigned k = 0; k < N; k++)
            real_cluster_restart(&cluster, k);
        expect_writes("after all were killed");
    }
    expect_one_story();
    report("all killed", at_us, 5);
}

/* ---- pauses -------------------------------------------------------------------------------------
 */

static void pause_longer_and_longer(const char *what, bool is_leader)
{
    uint64_t at_us[5];
    for (unsigned i = 0; i < 5; i++) {
        expect_writes("before a pause");
        unsigned victim = is_leader ? real_cluster_leader(&cluster) : follower();
        at_us[i] = em_now_us();
        real_cluster_pause(&cluster, victim);
        usleep((i + 1) * 1000000);
        real_cluster_resume(&cluster, victim);
        expect_writes("after a pause");
        real_cluster_settle(&cluster);
    }
    expect_one_story();
    report(what, at_us, 5);
}

Test(cluster, survives_pauses_of_its_leader)
{
    pause_longer_and_longer("leader stopped for 1 to 5 s", true);
}

Test(cluster, survives_pauses_of_a_follower)
{
    pause_longer_and_longer("follower stopped for 1 to 5 s", false);
}

/* ---- a lost disk
 * --------------------------------------------------------------------------------- */

Test(cluster, takes_back_a_replica_that_lost_everything)
{
    for (unsigned i = 1; i < N; i++) {
        expect_writes("before a disk is lost");
        real_cluster_remove(&cluster, i);
        expect_writes("without it");
        real_cluster_add(&cluster, i);
        real_cluster_settle(&cluster);
    }
    expect_writes("when it is back");
    expect_one_story();
}

/* ---- clocks
 * -------------------------------------------------------------------------------------- */

struct clock_file {
    _Atomic int64_t seconds, n_reads;
};

static struct clock_file *make_clock(const struct real_server *server)
{
    char *path = em_asprintf("%s/clock", server->dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_eq(ftruncate(fd, sizeof(struct clock_file)), 0);
    void *clock = mmap(NULL, sizeof(struct clock_file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert_neq(clock, MAP_FAILED);
    close(fd);
    setenv("EM_SHIFTED_CLOCK", path, 1);
    free(path);
    return clock;
}

/* The server comes back with a clock that we hold the hands of. */
static struct clock_file *take_clock(unsigned i)
{
    const char *options = getenv("ASAN_OPTIONS");
    char *more = em_asprintf("%s:verify_asan_link_order=0", options ? options : "");
    struct clock_file *clock = make_clock(&cluster.servers[i]);
    setenv("ASAN_OPTIONS", more, 1);
    setenv("LD_PRELOAD", EM_SHIFTED_CLOCK_PATH, 1);
    real_cluster_kill(&cluster, i);
    real_cluster_restart(&cluster, i);
    unsetenv("LD_PRELOAD");
    free(more);
    real_cluster_settle(&cluster);
    return clock;
}

Test(cluster, does_not_care_for_clocks_that_jump)
{
    static const int64_t shifts[] = {0, 3000, -200, 10 * DAY_S, -3, 7};
    struct clock_file *clocks[N];
    for (unsigned i = 0; i < N; i++)
        clocks[i] = take_clock(i);
    for (unsigned i = 0; i < N_JUMPS; i++) {
        clocks[draw(N)]->seconds = shifts[draw(sizeof(shifts) / sizeof(shifts[0]))];
        usleep(JUMP_US);
        expect_writes("after a clock was set");
        if (i % 4 != 3)
            continue;
        unsigned leader = real_cluster_leader(&cluster);
        real_cluster_pause(&cluster, leader);
        expect_writes("with another leader and another clock");
        real_cluster_resume(&cluster, leader);
    }
    for (unsigned i = 0; i < N; i++)
        cr_assert_gt(clocks[i]->n_reads, 0, "%s does not look at our clock", cluster.names[i]);
    expect_one_story();
}
