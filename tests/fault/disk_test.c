/* One of three servers runs out of disk while agents move ports and operators look: its data
 * directory is a tmpfs in a private mount namespace, with a file in it that takes the room.
 *
 * A server that cannot write its log ends with a sentence; the others go on, and when there is
 * room and it is started again it catches up.  Before it comes to that, a leader below its
 * reserve (store.disk_reserve) refuses what makes the map grow. */
#include "server/ordeal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "server/caller.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define N       ORDEAL_SERVERS
#define TMPFS   "size=48m"
#define RESERVE (8u << 20) /* as configured below */
#define TRY_US  20000

static struct ordeal ordeal;
static struct real_cluster *const cluster = &ordeal.cluster;
static bool is_mounted;

static void setup(void)
{
    ordeal_init(&ordeal, "lease:\n  duration: 1h\nstore:\n  disk_reserve: 8MiB\n", NULL);
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
        cr_skip_test("no private mount namespace: %s", strerror(errno));
    for (unsigned i = 0; i < N; i++) {
        cr_assert_eq(mkdir(cluster->servers[i].data, 0700), 0);
        cr_assert_eq(mount("tmpfs", cluster->servers[i].data, "tmpfs", 0, TMPFS), 0);
    }
    is_mounted = true;
    ordeal_start(&ordeal);
}

static void teardown(void)
{
    if (ordeal.traffic)
        traffic_free(ordeal.traffic);
    ordeal.traffic = NULL;
    for (unsigned i = 0; i < N; i++) {
        real_cluster_kill(cluster, i);
        if (is_mounted)
            umount(cluster->servers[i].data);
    }
    ordeal_fini(&ordeal);
}

TestSuite(disk, .init = setup, .fini = teardown, .timeout = 110);

static char *ballast_path(unsigned i)
{
    return em_asprintf("%s/ballast", cluster->servers[i].data);
}

/* Takes all room but 'left' bytes. */
static void fill(unsigned i, uint64_t left)
{
    struct statvfs vfs;
    char *path = ballast_path(i);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(statvfs(cluster->servers[i].data, &vfs), 0);
    uint64_t n_free = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    struct stat st;
    cr_assert_eq(fstat(fd, &st), 0);
    if (n_free > left) {
        int r = posix_fallocate(fd, st.st_size, (off_t)(n_free - left));
        cr_assert(r == 0 || r == ENOSPC, "%s", strerror(r)); /* the server takes some, too */
    }
    close(fd);
    free(path);
}

static void make_room(unsigned i)
{
    char *path = ballast_path(i);
    cr_assert_eq(unlink(path), 0);
    free(path);
}

/* The server's log shall say it. */
static void expect_log(unsigned i, const char *words)
{
    char *log = real_server_log(&cluster->servers[i], 0);
    if (!strstr(log, words))
        ordeal_fail(&ordeal, "\"%s\" is not in the log of %s", words, cluster->names[i]);
    free(log);
}

/* Fills the disk up again and again, as the server gives back a little, until it ends.  Its log has
 * room that was taken beforehand: that is filled by withdrawals of nothing, which no reserve
 * holds up. */
static void fill_until_it_ends(unsigned i)
{
    uint64_t end = em_now_ms() + ORDEAL_LIMIT_MS;
    struct caller caller;
    caller_open(&caller, cluster->servers[(i + 1) % N].unix_url, NULL);
    while (real_server_is_alive(&cluster->servers[i]) && em_now_ms() < end) {
        fill(i, 0);
        (void)caller_withdraw(&caller, 100000, 4096);
        usleep(TRY_US);
    }
    caller_close(&caller);
}

/* What the full disk did to the server; it is back with room afterwards. */
static void recover(unsigned i)
{
    bool is_alive = real_server_is_alive(&cluster->servers[i]);
    fprintf(stderr, "%s %s\n", cluster->names[i], is_alive ? "goes on without room" : "has ended");
    if (!is_alive)
        expect_log(i, "space");
    make_room(i);
    if (!is_alive) {
        real_cluster_kill(cluster, i);
        real_cluster_restart(cluster, i);
    }
    real_cluster_settle(cluster);
}

Test(disk, a_follower_without_room_stops_nobody_and_catches_up)
{
    ordeal_expect_writes(&ordeal, "before the disk is full");
    unsigned victim = ordeal_follower(&ordeal);
    fill_until_it_ends(victim);
    ordeal_expect_writes(&ordeal, "while a follower has no room");
    recover(victim);
    ordeal_expect_writes(&ordeal, "when there is room again");
    ordeal_end(&ordeal);
}

Test(disk, a_leader_without_room_is_replaced_and_catches_up)
{
    ordeal_expect_writes(&ordeal, "before the disk is full");
    unsigned victim = real_cluster_leader(cluster);
    fill_until_it_ends(victim);
    if (real_server_is_alive(&cluster->servers[victim]))
        ordeal_fail(&ordeal, "a leader that cannot write its log still runs");
    ordeal_expect_writes(&ordeal, "when the leader has no room");
    recover(victim);
    ordeal_expect_writes(&ordeal, "when there is room again");
    ordeal_end(&ordeal);
}

static int claim(struct caller *caller, uint32_t number)
{
    return caller_register(caller, ordeal.network_id, number, 1, "x900");
}

/* Until it is answered so: servers tell each other of their room a few times a second. */
static void await_claim(struct caller *caller, int err)
{
    static uint32_t number = 1000;
    uint64_t end = em_now_ms() + ORDEAL_LIMIT_MS;
    int r;
    while ((r = claim(caller, ++number)) != err) {
        if (em_now_ms() > end)
            ordeal_fail(&ordeal, "a registration is answered %s, not %s: %s", em_errname(r),
                        em_errname(err), caller->message);
        usleep(TRY_US);
    }
}

Test(disk, a_leader_below_its_reserve_refuses_growth_on_all_servers_until_there_is_room)
{
    struct caller caller;
    ordeal_expect_writes(&ordeal, "before the disk is full");
    unsigned leader = real_cluster_leader(cluster);
    caller_open(&caller, cluster->servers[(leader + 1) % N].unix_url, "x900");
    await_claim(&caller, 0);
    fill(leader, RESERVE / 2);
    await_claim(&caller, EM_E_NO_SPACE);
    cr_assert_neq(caller.message[0], '\0', "a sentence says why");
    cr_assert_eq(real_cluster_leader(cluster), leader, "nothing has ended");
    cr_assert_eq(caller_resolve_now(&caller, ordeal.network_id, 1001), 0, "reads go on: %s",
                 caller.message);
    cr_assert_eq(caller.n_positive, 1);
    cr_assert_eq(caller_withdraw(&caller, 1001, 1), 0, "what frees room goes on: %s",
                 caller.message);
    make_room(leader);
    await_claim(&caller, 0);
    caller_close(&caller);
    ordeal_expect_writes(&ordeal, "when there is room again");
    ordeal_end(&ordeal);
}
