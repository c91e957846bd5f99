/* A cluster of three, and what befalls it while agents move ports and operators look: kills,
 * pauses, a replica that loses its disk, clocks that jump.
 *
 * After each story every answer that a client was given must be explained by one order of the
 * operations (history.h), the three must hold the same map, and that map what was said last.
 * Which way chance goes is told by SEED, printed and taken from the environment. */
#include "base/clock.h"
#include "base/mem.h"
#include "server/ordeal.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define N         ORDEAL_SERVERS
#define N_KILLS   20
#define N_OTHERS  5
#define DAY_S     86400
#define N_JUMPS   12
#define JUMP_US   300000
#define PAUSE_US  1500000
#define UPTIME_US 200000 /* more until the next fault, at most */

static struct ordeal ordeal;
static struct real_cluster *const cluster = &ordeal.cluster;

static void setup(void)
{
    ordeal_init(&ordeal, "lease:\n  duration: 1h\n", NULL);
    ordeal_start(&ordeal);
}

static void teardown(void)
{
    ordeal_fini(&ordeal);
}

TestSuite(cluster, .init = setup, .fini = teardown, .timeout = 280);

/* ---- kills ------------------------------------------------------------------------------------
 */

static void kill_again_and_again(const char *what, unsigned n, bool is_leader)
{
    uint64_t at_us[N_KILLS];
    for (unsigned i = 0; i < n; i++) {
        ordeal_expect_writes(&ordeal, "before a kill");
        usleep(ordeal_draw(&ordeal, UPTIME_US));
        unsigned victim = is_leader ? real_cluster_leader(cluster) : ordeal_follower(&ordeal);
        at_us[i] = em_now_us();
        real_cluster_kill(cluster, victim);
        ordeal_expect_writes(&ordeal, "with two of three");
        real_cluster_restart(cluster, victim);
        real_cluster_settle(cluster);
    }
    ordeal_end(&ordeal);
    ordeal_report(&ordeal, what, at_us, n);
}

Test(cluster, survives_kills_of_its_leader)
{
    kill_again_and_again("leader killed", real_rounds(N_KILLS), true);
}

Test(cluster, survives_kills_of_a_follower)
{
    kill_again_and_again("follower killed", real_rounds(N_KILLS / 2), false);
}

Test(cluster, survives_kills_of_all_at_once)
{
    uint64_t at_us[N_OTHERS];
    unsigned n = real_rounds(N_OTHERS);
    for (unsigned i = 0; i < n; i++) {
        ordeal_expect_writes(&ordeal, "before all are killed");
        usleep(ordeal_draw(&ordeal, UPTIME_US));
        at_us[i] = em_now_us();
        for (unsigned k = 0; k < N; k++)
            real_cluster_kill(cluster, k);
        for (unsigned k = 0; k < N; k++)
            real_cluster_restart(cluster, k);
        ordeal_expect_writes(&ordeal, "after all were killed");
    }
    ordeal_end(&ordeal);
    ordeal_report(&ordeal, "all killed", at_us, n);
}

/* ---- pauses -------------------------------------------------------------------------------------
 */

static void pause_longer_and_longer(const char *what, bool is_leader)
{
    uint64_t at_us[5];
    for (unsigned i = 0; i < 5; i++) {
        ordeal_expect_writes(&ordeal, "before a pause");
        unsigned victim = is_leader ? real_cluster_leader(cluster) : ordeal_follower(&ordeal);
        at_us[i] = em_now_us();
        real_cluster_pause(cluster, victim);
        usleep((i + 1) * 1000000);
        real_cluster_resume(cluster, victim);
        ordeal_expect_writes(&ordeal, "after a pause");
        real_cluster_settle(cluster);
    }
    ordeal_end(&ordeal);
    ordeal_report(&ordeal, what, at_us, 5);
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
        ordeal_expect_writes(&ordeal, "before a disk is lost");
        real_cluster_remove(cluster, i);
        ordeal_expect_writes(&ordeal, "without it");
        real_cluster_add(cluster, i);
        real_cluster_settle(cluster);
    }
    ordeal_expect_writes(&ordeal, "when it is back");
    ordeal_end(&ordeal);
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
    struct clock_file *clock = make_clock(&cluster->servers[i]);
    setenv("ASAN_OPTIONS", more, 1);
    setenv("LD_PRELOAD", EM_SHIFTED_CLOCK_PATH, 1);
    real_cluster_kill(cluster, i);
    real_cluster_restart(cluster, i);
    unsetenv("LD_PRELOAD");
    free(more);
    real_cluster_settle(cluster);
    return clock;
}

Test(cluster, does_not_care_for_clocks_that_jump)
{
    static const int64_t shifts[] = {0, 3000, -200, 10 * DAY_S, -3, 7};
    struct clock_file *clocks[N];
    for (unsigned i = 0; i < N; i++)
        clocks[i] = take_clock(i);
    for (unsigned i = 0; i < N_JUMPS; i++) {
        clocks[ordeal_draw(&ordeal, N)]->seconds =
            shifts[ordeal_draw(&ordeal, sizeof(shifts) / sizeof(shifts[0]))];
        usleep(JUMP_US);
        ordeal_expect_writes(&ordeal, "after a clock was set");
        if (i % 4 != 3)
            continue;
        unsigned leader = real_cluster_leader(cluster);
        real_cluster_pause(cluster, leader);
        usleep(PAUSE_US); /* another leads then, by another clock */
        real_cluster_resume(cluster, leader);
    }
    for (unsigned i = 0; i < N; i++)
        cr_assert_gt(clocks[i]->n_reads, 0, "%s does not look at our clock", cluster->names[i]);
    ordeal_end(&ordeal);
}
