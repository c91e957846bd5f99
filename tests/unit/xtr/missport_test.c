/* The miss port of the kernel data plane, in a kernel of its own, and the kernel's use marks. */
#include "dataplane/kernel.h"

#include "base/clock.h"
#include "frame.h"
#include "xtr/checks.h"
#include "xtr/netns.h"
#include "xtr/ops.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GUEST  "02:00:00:00:00:01"
#define REMOTE "02:00:00:00:00:02"

static struct dp *dp;

/* A host with a guest behind p0, in network 1, where one remote MAC is known. */
static void open_host(void)
{
    struct dp_config config = {.rlocs = {test_ip("192.0.2.1")}, .udp_port = 4789};
    struct dp_target target = test_target("192.0.2.2", 100, 1);
    char *why = NULL;
    if (!netns_is_permitted())
        cr_skip_test("no permission to make a network namespace");
    netns_new();
    if (access("/dev/net/tun", R_OK | W_OK))
        cr_skip_test("no /dev/net/tun");
    cr_assert(netns_ok("ip link add u0 type veth peer name u1 && ip link set u0 up && "
                       "ip addr add 192.0.2.1/24 dev u0"));
    cr_assert(netns_ok("ip link add p0 type veth peer name p1 address " GUEST
                       " && ip link set p1 up && "
                       "ip addr add 10.0.0.1/24 dev p1"));
    cr_assert_eq(dp_kernel.open(&config, &dp, &why), 0, "%s", why);
    struct dp_op network = op_network(1, 100);
    network.network.flood = EM_FLOOD_NONE;
    cr_assert_eq(op_apply(&dp_kernel, dp, network), 0);
    cr_assert_eq(op_apply(&dp_kernel, dp, op_set(1, &target, 1)), 0);
    cr_assert_eq(op_apply(&dp_kernel, dp, op_mac(1, REMOTE, 1)), 0);
    cr_assert_eq(op_apply(&dp_kernel, dp, op_neigh(1, "10.0.0.2", REMOTE)), 0);
    cr_assert_eq(op_apply(&dp_kernel, dp, op_port(DP_PORT_PUT, 1, "p0")), 0);
}

static void close_host(void)
{
    dp_kernel.close(dp);
}

TestSuite(missport, .init = open_host, .fini = close_host, .timeout = 60);

/* The next frame from the miss port that asks for the IPv4 address; false when none comes. */
static bool asks_for(int fd, const char *ip, int wait_ms)
{
    struct em_ip wanted = test_ip(ip);
    uint64_t end = em_now_ms() + (uint64_t)wait_ms;
    for (uint64_t now; (now = em_now_ms()) < end;) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        struct xtr_frame frame;
        uint8_t bytes[2048];
        if (poll(&poll_fd, 1, (int)(end - now)) <= 0)
            continue;
        ssize_t size = read(fd, bytes, sizeof bytes);
        if (size > 0 && xtr_frame_parse(bytes, (size_t)size, &frame) &&
            frame.kind == XTR_FRAME_ARP_REQUEST && !memcmp(frame.target.addr, wanted.addr, 4))
            return true;
    }
    return false;
}

static bool ask(const char *ip)
{
    return !netns_ok("ping -c 1 -W 1 %s", ip);
}

Test(missport, it_is_read_for_what_nobody_knows_and_for_nothing_else)
{
    int fd;
    cr_assert_eq(dp_kernel.miss_open(dp, 2, &fd), -ENOENT);
    cr_assert_eq(dp_kernel.miss_open(dp, 1, &fd), 0);
    cr_assert(netns_has_line("ip -d link show emt1", "alias eidmap:1", ""));
    cr_assert(netns_shows("ip -d link show emt1", "learning off flood on"));
    cr_assert(netns_shows("ip -d link show emt1", "neigh_suppress on"));
    cr_assert(netns_has_line("ip link show emt1", "mtu 1450", "master emb1"));

    (void)ask("10.0.0.2"); /* answered by the kernel; then unicast to a known MAC */
    (void)ask("10.0.0.9");
    cr_assert(asks_for(fd, "10.0.0.9", 10000), "unknown: it comes here, and first");
    (void)ask("10.0.0.2");
    cr_assert_not(asks_for(fd, "10.0.0.2", 200), "known: the kernel has answered");
}

Test(missport, frames_that_are_written_reach_the_guest)
{
    int fd;
    struct em_ip ip = test_ip("10.0.0.9"), asker = test_ip("10.0.0.1");
    static const uint8_t mac[] = {2, 0, 0, 0, 0, 9}, guest[] = {2, 0, 0, 0, 0, 1};
    uint8_t bytes[XTR_FRAME_ANSWER];
    cr_assert_eq(dp_kernel.miss_open(dp, 1, &fd), 0);
    (void)ask("10.0.0.9");
    size_t size = xtr_frame_answer(bytes, &ip, mac, &asker, guest);
    cr_assert_eq(write(fd, bytes, size), (ssize_t)size);
    cr_assert(netns_ok("ping -c 1 -W 1 10.0.0.9; ip neigh show dev p1 | grep -q "
                       "'10.0.0.9 lladdr 02:00:00:00:00:09'"));
    cr_assert_not(netns_has_line("bridge fdb show", "02:00:00:00:00:09", "emt1"), "not learned");
}

Test(missport, it_goes_with_the_data_plane_and_leaves_nothing)
{
    int fd;
    cr_assert_eq(dp_kernel.miss_open(dp, 1, &fd), 0);
    dp_kernel.miss_close(dp, 1);
    cr_assert_not(netns_ok("ip link show emt1"));
    cr_assert_eq(dp_kernel.miss_open(dp, 1, &fd), 0);
    dp_kernel.close(dp);
    dp = NULL;
    cr_assert_not(netns_ok("ip link show emt1"));
}

Test(missport, a_strangers_device_stays)
{
    int fd;
    cr_assert(netns_ok("ip tuntap add emt1 mode tap"));
    cr_assert_eq(dp_kernel.miss_open(dp, 1, &fd), -EBUSY);
    cr_assert_not(netns_shows("ip link show emt1", "master"));
}

static void note(void *aux, const struct dp_difference *difference)
{
    unsigned *n = aux;
    *n += !strcmp(difference->kind, "wrong");
}

Test(missport, check_puts_it_back_into_its_bridge)
{
    int fd;
    unsigned n = 0;
    cr_assert_eq(dp_kernel.miss_open(dp, 1, &fd), 0);
    cr_assert_eq(check_all(&dp_kernel, dp, true, note, &n).err, 0);
    cr_assert_eq(n, 0u);
    cr_assert(netns_ok("ip link set emt1 nomaster"));
    cr_assert_eq(check_all(&dp_kernel, dp, true, note, &n).err, 0);
    cr_assert_eq(n, 1u);
    cr_assert(netns_shows("ip link show emt1", "master emb1"));
    cr_assert(netns_ok("ip link del emb1"));
    cr_assert_eq(check_all(&dp_kernel, dp, true, note, &n).err, 0);
    cr_assert(netns_shows("ip link show emt1", "master emb1"), "a new bridge has it again");
}

Test(missport, the_kernel_says_since_when_a_mac_is_idle)
{
    static const uint8_t remote[] = {2, 0, 0, 0, 0, 2}, nobody[] = {2, 0, 0, 0, 0, 9};
    uint64_t idle_ms = 0;
    cr_assert_eq(dp_kernel.idle(dp, 1, nobody, &idle_ms), -ENOENT);
    uint64_t end = em_now_ms() + 30000;
    while (idle_ms < 300 && em_now_ms() < end) {
        cr_assert_eq(dp_kernel.idle(dp, 1, remote, &idle_ms), 0);
        usleep(20000);
    }
    cr_assert_geq(idle_ms, 300u, "it grows when nothing is sent");
    uint64_t begin = em_now_ms();
    (void)netns_ok("ip neigh replace 10.0.0.2 lladdr " REMOTE " dev p1; ping -c 1 -W 1 10.0.0.2");
    cr_assert_eq(dp_kernel.idle(dp, 1, remote, &idle_ms), 0);
    cr_assert_leq(idle_ms, em_now_ms() - begin + 20, "a frame is a use");
}
