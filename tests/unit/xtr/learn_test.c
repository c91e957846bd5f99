/* What a real kernel tells of its bridges; the guest is a packet socket behind a veth pair. */
#include "dataplane/learn.h"

#include "dataplane/kernel.h"
#include "xtr/frames.h"
#include "xtr/netns.h"
#include "xtr/ops.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define M1   "02:00:00:00:00:01"
#define M2   "02:00:00:00:00:02"
#define ZERO "00:00:00:00:00:00"

static struct dp *dp;
static struct dp_learn *learn;
static char seen[4096]; /* "+p0 " a port, "-p0 ", "p0:02:... " a MAC, "10.0.0.1@02:... " */

static void on_learned(void *aux, const struct dp_learned *learned)
{
    static const char *const formats[] = {"+%s ", "-%s ", "%s:"};
    char mac[EM_MAC_TEXT], ip[EM_IP_TEXT];
    size_t n = strlen(seen);
    cr_assert(eq(u32, learned->network_id, 1));
    if (learned->kind == DP_LEARNED_IP) {
        snprintf(seen + n, sizeof seen - n, "%s@%s ",
                 em_ip_format(learned->ip.addr, learned->ip.size, ip),
                 em_mac_format(learned->mac, mac));
        return;
    }
    n += (size_t)snprintf(seen + n, sizeof seen - n, formats[learned->kind], learned->device);
    if (learned->kind == DP_LEARNED_MAC)
        snprintf(seen + n, sizeof seen - n, "%s ", em_mac_format(learned->mac, mac));
}

static int apply(struct dp_op op)
{
    return op_apply(&dp_kernel, dp, op);
}

/* Network 1 with a remote MAC, and two devices beside it. */
static void setup(void)
{
    struct dp_config config = {.rlocs = {test_ip("192.0.2.1")}, .udp_port = 4789};
    struct dp_target target = test_target("192.0.2.2", 100, 1);
    char *why = NULL;
    if (!netns_is_permitted())
        cr_skip_test("no permission to make a network namespace");
    netns_new();
    cr_assert(netns_ok("sysctl -q net.ipv6.conf.default.disable_ipv6=1"));
    cr_assert(netns_ok("ip link add u0 type veth peer name u1 && ip link set u0 up && "
                       "ip addr add 192.0.2.1/24 dev u0"));
    cr_assert(netns_ok("ip link add p0 type veth peer name g0 && ip link set p0 up && "
                       "ip link set g0 up"));
    cr_assert(netns_ok("ip link add p1 type veth peer name g1 && ip link set p1 up && "
                       "ip link set g1 up"));
    cr_assert(eq(int, dp_kernel.open(&config, &dp, &why), 0), "%s", why);
    cr_assert(eq(int, apply(op_network(1, 100)), 0));
    cr_assert(eq(int, apply(op_set(1, &target, 1)), 0));
    cr_assert(eq(int, dp_learn_open(on_learned, NULL, &learn), 0));
}

static void teardown(void)
{
    dp_learn_close(learn);
    dp_kernel.close(dp);
}

TestSuite(learn, .init = setup, .fini = teardown);

static void say(const char *device, const char *mac)
{
    struct sockaddr_ll addr = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(device)};
    struct test_frame frame = frame_arp(1, mac, "10.0.0.1", ZERO, "10.0.0.2");
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    cr_assert(fd >= 0);
    cr_assert(eq(
        sz, (size_t)sendto(fd, frame.bytes, frame.size, 0, (struct sockaddr *)&addr, sizeof addr),
        frame.size));
    close(fd);
}

/* What has been seen since the last time. */
static const char *news(void)
{
    static char text[sizeof seen];
    cr_assert(eq(int, dp_learn_read(learn), 0));
    memcpy(text, seen, sizeof text);
    seen[0] = 0;
    return text;
}

static const char *all(void)
{
    seen[0] = 0;
    cr_assert(eq(int, dp_learn_all(learn), 0));
    return news();
}

#define SHOWS(what, text) cr_assert(eq(str, (char *)(uintptr_t)what, text))

Test(learn, a_device_and_what_speaks_behind_it_are_told)
{
    SHOWS(all(), "");
    cr_assert(netns_ok("ip link set p0 master emb1"));
    SHOWS(news(), "+p0 ");
    say("g0", M1);
    SHOWS(news(), "p0:" M1 " ");
    say("g0", M1);
    SHOWS(news(), "");
    cr_assert(netns_ok("ip link set p1 master emb1"));
    say("g1", M1);
    SHOWS(news(), "+p1 p1:" M1 " ");
    cr_assert(netns_ok("ip link set p0 nomaster"));
    SHOWS(news(), "-p0 ");
    cr_assert(netns_ok("ip link del p1"));
    SHOWS(news(), "-p1 ");
}

Test(learn, what_stood_before_is_told_by_a_look_at_all)
{
    cr_assert(netns_ok("ip link set p0 master emb1"));
    say("g0", M1);
    SHOWS(all(), "+p0 +p0 p0:" M1 " p0:" M1 " "); /* by the dump, and as an event */
    SHOWS(all(), "+p0 p0:" M1 " ");
}

Test(learn, what_is_ours_is_never_told)
{
    SHOWS(all(), "");
    cr_assert(netns_ok("ip link set p0 master emb1"));
    SHOWS(news(), "+p0 ");
    struct dp_op port = op_port(DP_PORT_PUT, 1, "p0");
    port.is_borrowed = true;
    cr_assert(eq(int, apply(port), 0));
    cr_assert(eq(int, apply(op_local(DP_LOCAL_PUT, 1, "p0", M1)), 0));
    cr_assert(eq(int, apply(op_mac(1, M2, 1)), 0));
    cr_assert(eq(int, apply(op_neigh(1, "10.0.0.2", M2)), 0));
    SHOWS(news(), "");
    SHOWS(all(), "+p0 ");
}

/* Not even to the socket: it would be full. */
Test(learn, what_is_programmed_costs_nothing_here)
{
    int size = 1;
    SHOWS(all(), "");
    cr_assert(
        eq(int, setsockopt(dp_learn_fd(learn), SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0));
    for (int i = 0; i < 200; i++) {
        char mac[EM_MAC_TEXT], ip[EM_IP_TEXT];
        snprintf(mac, sizeof mac, "02:00:00:00:01:%02x", (unsigned)i);
        snprintf(ip, sizeof ip, "10.0.1.%d", i);
        cr_assert(eq(int, apply(op_mac(1, mac, 1)), 0));
        cr_assert(eq(int, apply(op_neigh(1, ip, mac)), 0));
    }
    SHOWS(news(), "");
}

/* As when a guest moves here without a word: the bridge takes the entry over. */
Test(learn, a_remote_mac_that_speaks_here_is_told)
{
    SHOWS(all(), "");
    cr_assert(netns_ok("ip link set p0 master emb1"));
    cr_assert(eq(int, apply(op_mac(1, M1, 1)), 0));
    SHOWS(news(), "+p0 ");
    say("g0", M1);
    SHOWS(news(), "p0:" M1 " ");
}

Test(learn, other_bridges_are_not_looked_at)
{
    SHOWS(all(), "");
    cr_assert(netns_ok("ip link add br9 type bridge && ip link set br9 up"));
    cr_assert(netns_ok("ip link set p0 master br9"));
    say("g0", M1);
    SHOWS(news(), "");
    cr_assert(netns_ok("ip link set p0 nomaster && ip link set p0 master emb1"));
    SHOWS(news(), "+p0 ");
}

Test(learn, a_bridge_that_goes_takes_its_ports_along)
{
    SHOWS(all(), "");
    cr_assert(netns_ok("ip link set p0 master emb1"));
    SHOWS(news(), "+p0 ");
    cr_assert(netns_ok("ip link del emb1"));
    SHOWS(news(), "-p0 ");
}

Test(learn, neighbours_that_the_host_has_found_are_told)
{
    SHOWS(all(), "");
    cr_assert(netns_ok("ip neigh replace 10.0.0.1 lladdr " M1 " dev emb1 nud reachable"));
    SHOWS(news(), "10.0.0.1@" M1 " ");
    cr_assert(netns_ok("ip neigh replace 10.0.0.2 lladdr " M1 " dev u0 nud reachable"));
    SHOWS(news(), "");
}

Test(learn, the_age_of_an_entry_is_that_of_its_last_frame)
{
    uint64_t age_ms = 0, later_ms = 0;
    uint8_t mac[EM_MAC_SIZE];
    em_mac_parse(M1, mac, NULL);
    cr_assert(netns_ok("ip link set p0 master emb1 && ip link set p1 master emb1"));
    cr_assert(eq(int, dp_learn_age(learn, "p0", mac, &age_ms), -ENOENT));
    say("g0", M1);
    cr_assert(eq(int, dp_learn_age(learn, "p0", mac, &age_ms), 0));
    cr_assert(lt(u64, age_ms, 60000));
    cr_assert(eq(int, dp_learn_age(learn, "p1", mac, &later_ms), -ENOENT), "it is behind p0");
    cr_assert(eq(int, dp_learn_age(learn, "p9", mac, &later_ms), -ENOENT));
    do
        cr_assert(eq(int, dp_learn_age(learn, "p0", mac, &later_ms), 0));
    while (later_ms < 30);
    say("g0", M1);
    cr_assert(eq(int, dp_learn_age(learn, "p0", mac, &age_ms), 0));
    cr_assert(lt(u64, age_ms, later_ms));
}

Test(learn, a_guest_that_makes_macs_up_fills_no_memory)
{
    char *release = netns_run("uname -r");
    unsigned major = 0, minor = 0;
    sscanf(release, "%u.%u", &major, &minor);
    free(release);
    if (major < 6 || (major == 6 && minor < 8))
        cr_skip_test("this kernel has no limit for what a bridge learns");
    SHOWS(all(), "");
    cr_assert(eq(int, dp_learn_limit(learn, 2, 8), -ENODEV));
    cr_assert(eq(int, dp_learn_limit(learn, 1, 8), 0));
    cr_assert(netns_ok("ip link set p0 master emb1"));
    for (int i = 0; i < 64; i++) {
        char mac[EM_MAC_TEXT];
        snprintf(mac, sizeof mac, "02:00:00:00:01:%02x", (unsigned)i);
        say("g0", mac);
    }
    cr_assert(netns_ok("[ $(bridge fdb show dev p0 | grep -c 02:00:00:00:01) = 8 ]"));
    cr_assert(eq(int, apply(op_mac(1, M2, 1)), 0), "what is programmed does not count");
}

/* More than the socket holds: said, and made good by a look at all. */
Test(learn, what_is_lost_is_said)
{
    int size = 1, r;
    SHOWS(all(), "");
    cr_assert(
        eq(int, setsockopt(dp_learn_fd(learn), SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0));
    cr_assert(netns_ok("ip link set p0 master emb1"));
    for (int i = 0; i < 64; i++) {
        char mac[EM_MAC_TEXT];
        snprintf(mac, sizeof mac, "02:00:00:00:01:%02x", (unsigned)i);
        say("g0", mac);
    }
    for (int i = 0; (r = dp_learn_read(learn)) == 0 && i < 10; i++)
        ;
    cr_assert(eq(int, r, -ENOBUFS));
    cr_assert(strstr(all(), "p0:02:00:00:00:01:3f ") != NULL);
}
