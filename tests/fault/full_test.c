/* A map server whose disk or map is full: it refuses to write and says so, it goes on reading,
 * and it writes again as soon as there is room, without a restart.  Where the disk ends under
 * a write all the same, it ends itself, since what is on the disk is not known any more, and
 * has all that was acknowledged when it starts again.
 *
 * The disk is a tmpfs in a private mount namespace, with a ballast file that can be freed. */
#include "server/caller.h"
#include "server/real_server.h"

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

#define N_MAX   200000 /* ports that never fit */
#define BALLAST (12 << 20)
#define NODE    "hv1"
#define WAIT_MS 10000

static struct real_server server;
static struct caller node, operator;
static uint32_t network_id;
static bool is_mounted;

static void connect_callers(void)
{
    caller_open(&operator, server.unix_url, NULL);
    caller_open(&node, server.unix_url, NODE);
}

static void start(const char *yaml, const char *tmpfs)
{
    real_server_init(&server, yaml);
    if (tmpfs) {
        if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
            cr_skip_test("no private mount namespace: %s", strerror(errno));
        cr_assert_eq(mkdir(server.data, 0700), 0);
        cr_assert_eq(mount("tmpfs", server.data, "tmpfs", 0, tmpfs), 0, "%s", strerror(errno));
        is_mounted = true;
    }
    real_server_start(&server);
    caller_open(&operator, server.unix_url, NULL);
    cr_assert_eq(caller_put_network(&operator, "t1"), 0, "%s", operator.message);
    network_id = operator.network_id;
    caller_open(&node, server.unix_url, NODE);
}

static void teardown(void)
{
    caller_close(&node);
    caller_close(&operator);
    real_server_kill(&server);
    if (is_mounted)
        umount(server.data);
    real_server_fini(&server);
}

TestSuite(full, .fini = teardown, .timeout = 60);

static char *ballast_path(void)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/ballast", server.data);
    return path;
}

static void put_ballast(void)
{
    int fd = open(ballast_path(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(posix_fallocate(fd, 0, BALLAST), 0);
    close(fd);
}

/* Registers until it is refused for want of space; how many ports were acknowledged. */
static uint32_t fill(uint32_t first, uint32_t batch)
{
    uint32_t n = 0;
    while (n < N_MAX && caller_register(&node, network_id, first + n, batch, NODE) == 0)
        n += batch;
    cr_assert_lt(n, N_MAX, "it never became full");
    cr_assert_eq(node.err, EM_E_NO_SPACE, "%s: %s", em_errname(node.err), node.message);
    return n;
}

static void on_port(void *aux, uint32_t number, const struct em_port *port)
{
    ++*(uint32_t *)aux;
}

static void expect_ports(uint32_t n)
{
    uint32_t n_seen = 0;
    cr_assert_eq(caller_resolve(&operator, network_id, 1), 0, "%s", operator.message);
    cr_assert_eq(operator.n_positive, 1, "port 1 resolves");
    cr_assert_eq(caller_dump(server.unix_url, network_id, on_port, &n_seen), 0);
    cr_assert_eq(n_seen, n, "%u ports of %u", n_seen, n);
}

static void expect_log(const char *words)
{
    char *log = real_server_log(&server, 0);
    cr_assert_not_null(strstr(log, words), "\"%s\" is not in the log:\n%s", words, log);
    free(log);
}

static void expect_all_after_a_restart(uint32_t n)
{
    caller_close(&node);
    caller_close(&operator);
    cr_assert_eq(real_server_stop(&server, WAIT_MS), 0);
    real_server_start(&server);
    connect_callers();
    expect_ports(n);
}

Test(full, disk_at_its_reserve_refuses_writes_goes_on_reading_and_recovers_when_freed)
{
    start("lease:\n  duration: 1h\nstore:\n  disk_reserve: 4MiB\n", "size=32m");
    put_ballast();
    uint32_t n = fill(1, 256);
    cr_assert_gt(n, 0);
    cr_assert_not_null(strstr(node.message, "free space"), "%s", node.message);
    expect_ports(n);
    cr_assert_eq(caller_status(&operator), 0);
    cr_assert_geq(operator.n_problems, 1, "the status shows it");
    expect_log("free space");
    cr_assert_eq(unlink(ballast_path()), 0);
    cr_assert_eq(caller_register(&node, network_id, 1 + n, 256, NODE), 0, "%s", node.message);
    expect_all_after_a_restart(n + 256);
}

/* Takes what is free but for 'left' bytes, behind the server's back. */
static void take_disk(off_t left)
{
    struct statvfs vfs;
    int fd = open(ballast_path(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(statvfs(server.data, &vfs), 0);
    cr_assert_eq(posix_fallocate(fd, 0, (off_t)(vfs.f_bavail * vfs.f_frsize) - left), 0);
    close(fd);
}

static void count_port(void *aux, uint32_t number, const struct em_port *port)
{
    ++*(uint32_t *)aux;
}

Test(full, disk_that_ends_under_a_write_ends_the_process_and_loses_nothing)
{
    uint32_t n = 0, n_seen = 0;
    start("lease:\n  duration: 1h\nstore:\n  disk_reserve: 1MiB\n", "size=64m");
    take_disk((1 << 20) + (64 << 10)); /* above the reserve, and less than a write takes */
    while (n < N_MAX && caller_register(&node, network_id, 1 + n, 4096, NODE) == 0)
        n += 4096;
    cr_assert_lt(n, N_MAX, "it never became full");
    for (int i = 0; i < WAIT_MS / 10 && real_server_is_alive(&server); i++)
        usleep(10000);
    cr_assert_not(real_server_is_alive(&server));
    expect_log("cannot go on");
    caller_close(&node);
    caller_close(&operator);
    cr_assert_eq(unlink(ballast_path()), 0);
    real_server_start(&server);
    connect_callers();
    cr_assert_eq(caller_dump(server.unix_url, network_id, count_port, &n_seen), 0);
    cr_assert(n_seen == n || n_seen == n + 4096, "%u ports, %u acknowledged", n_seen, n);
    cr_assert_eq(caller_register(&node, network_id, 1 + n, 4096, NODE), 0, "%s", node.message);
}

Test(full, map_at_its_size_refuses_writes_goes_on_reading_and_takes_ports_again_after_removals)
{
    start("lease:\n  duration: 1h\nstore:\n  size: 8MiB\n", NULL);
    uint32_t n = fill(1, 256);
    cr_assert_gt(n, 1024);
    cr_assert_not_null(strstr(node.message, "map size"), "%s", node.message);
    expect_ports(n);
    cr_assert_eq(caller_status(&operator), 0);
    cr_assert_geq(operator.n_problems, 1, "the status shows it");
    expect_log("map size");
    uint32_t n_removed = n / 2 / 256 * 256;
    for (uint32_t i = 0; i < n_removed; i += 256)
        cr_assert_eq(caller_withdraw(&operator, 1 + n - n_removed + i, 256), 0,
                     "removing works when the map is full: %s", operator.message);
    expect_ports(n - n_removed);
    cr_assert_eq(caller_register(&node, network_id, 1 + n, 256, NODE), 0, "%s", node.message);
    expect_all_after_a_restart(n - n_removed + 256);
}

Test(full, map_filled_by_one_large_transaction_after_another_keeps_what_was_acknowledged)
{
    start("lease:\n  duration: 1h\nstore:\n  size: 8MiB\n", NULL);
    uint32_t n = fill(1, 4096);
    expect_ports(n);
    expect_all_after_a_restart(n);
}
