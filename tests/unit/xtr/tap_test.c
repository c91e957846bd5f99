/* A tap on one end of a veth pair; the guest is a packet socket on the other. */
#include "tap.h"

#include "bucket.h"
#include "xtr/frames.h"
#include "xtr/netns.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <ev.h>
#include <linux/capability.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define M1   "02:00:00:00:00:01"
#define ZERO "00:00:00:00:00:00"

static struct ev_loop *loop;
static struct xtr_tap *tap;
static int guest;
static unsigned n_seen, n_downs;
static int last_down;
static enum xtr_frame_kind last_kind;
static bool is_freed_by_frame, is_done_by_down;

static void on_frame(void *aux, const struct xtr_frame *frame, const uint8_t *bytes, size_t size)
{
    n_seen++;
    last_kind = frame->kind;
    if (!is_freed_by_frame)
        return;
    xtr_tap_free(tap);
    tap = NULL;
}

static void on_down(void *aux, int err)
{
    n_downs++;
    last_down = err;
    is_done_by_down = true;
}

static int packet_socket(const char *device)
{
    struct sockaddr_ll addr = {.sll_family = AF_PACKET,
                               .sll_protocol = htons(ETH_P_ALL),
                               .sll_ifindex = (int)if_nametoindex(device)};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));
    cr_assert(fd >= 0);
    cr_assert(eq(int, bind(fd, (struct sockaddr *)&addr, sizeof addr), 0));
    return fd;
}

static struct xtr_tap_config config_of(const char *device, uint32_t rate, uint32_t burst)
{
    return (struct xtr_tap_config){.ifindex = if_nametoindex(device),
                                   .device = device,
                                   .rate = rate,
                                   .burst = burst,
                                   .on_frame = on_frame,
                                   .on_down = on_down};
}

static void open_tap(uint32_t rate, uint32_t burst)
{
    struct xtr_tap_config config = config_of("t0", rate, burst);
    char *why = NULL;
    cr_assert(eq(int, xtr_tap_new(loop, &config, &tap, &why), 0), "%s", why);
}

static void setup(void)
{
    if (!netns_is_permitted())
        cr_skip_test("no permission to make a network namespace");
    netns_new();
    cr_assert(netns_ok("ip link add t0 type veth peer name t1"));
    cr_assert(
        netns_ok("sysctl -q net.ipv6.conf.t0.disable_ipv6=1 net.ipv6.conf.t1.disable_ipv6=1"));
    cr_assert(netns_ok("ip link set t0 up && ip link set t1 up"));
    guest = packet_socket("t1");
    loop = ev_loop_new(0);
}

static void teardown(void)
{
    xtr_tap_free(tap);
    ev_loop_destroy(loop);
    close(guest);
}

TestSuite(tap, .init = setup, .fini = teardown);

static void say(struct test_frame frame)
{
    cr_assert(eq(sz, (size_t)send(guest, frame.bytes, frame.size, 0), frame.size));
}

/* What is on the wire of a veth pair is there when send() returns. */
static void hear(void)
{
    for (int i = 0; i < 20; i++)
        ev_run(loop, EVRUN_NOWAIT);
}

static struct test_frame request(void)
{
    return frame_arp(1, M1, "10.0.0.1", ZERO, "10.0.0.2");
}

/* A frame of 'type' that is an ARP request otherwise. */
static struct test_frame other(unsigned type)
{
    struct test_frame frame = request();
    frame.bytes[12] = (uint8_t)(type >> 8);
    frame.bytes[13] = (uint8_t)type;
    return frame;
}

Test(tap, hears_resolution_and_nothing_else)
{
    open_tap(100, 100);
    say(other(0x0800));
    say(other(0x86dd));
    say(frame_nd(128, M1, "fd00::1", "fd00::2", "::", 0, 0));
    say(frame_nd(133, M1, "fd00::1", "ff02::2", "::", 0, 0));
    hear();
    cr_assert(eq(uint, n_seen, 0));
    say(request());
    say(frame_rarp(M1));
    say(frame_nd(135, M1, "fd00::1", "ff02::1:ff00:2", "fd00::2", 0, 1));
    say(frame_nd(136, M1, "fd00::1", "ff02::1", "fd00::1", 0x20, 2));
    hear();
    cr_assert(eq(uint, n_seen, 4));
    cr_assert(eq(int, last_kind, XTR_FRAME_ND_UNSOLICITED));
    cr_assert(eq(u64, xtr_tap_stats(tap).n_bad, 0), "the filter is in the kernel");
}

/* The kernel takes the tag out of the frame before a packet socket sees it. */
Test(tap, a_tagged_frame_is_not_heard)
{
    struct test_frame tagged = {.size = 64}, arp = request();
    open_tap(100, 100);
    memcpy(tagged.bytes, arp.bytes, 12);
    memcpy(tagged.bytes + 12, (uint8_t[]){0x81, 0, 0, 5}, 4);
    memcpy(tagged.bytes + 16, arp.bytes + 12, 48);
    say(tagged);
    hear();
    cr_assert(eq(uint, n_seen, 0));
    cr_assert(eq(u64, xtr_tap_stats(tap).n_bad, 0));
}

Test(tap, speaks_to_the_guest_and_does_not_hear_itself)
{
    struct test_frame frame = request();
    uint8_t got[128];
    open_tap(100, 100);
    cr_assert(eq(int, xtr_tap_send(tap, frame.bytes, frame.size), 0));
    hear();
    cr_assert(eq(uint, n_seen, 0));
    cr_assert(eq(sz, (size_t)recv(guest, got, sizeof got, 0), frame.size));
    cr_assert(not(memcmp(got, frame.bytes, frame.size)));
}

Test(tap, a_damaged_frame_is_counted_and_not_shown)
{
    struct test_frame frame = frame_nd(136, M1, "fd00::1", "ff02::1", "fd00::1", 0x20, 2);
    open_tap(100, 100);
    frame.bytes[60] ^= 1;
    say(frame);
    hear();
    cr_assert(eq(uint, n_seen, 0));
    cr_assert(eq(u64, xtr_tap_stats(tap).n_bad, 1));
}

Test(tap, a_flood_is_dropped_and_counted_beyond_the_burst)
{
    open_tap(1, 10);
    for (int i = 0; i < 500; i++)
        say(request());
    hear();
    struct xtr_tap_stats stats = xtr_tap_stats(tap);
    cr_assert(n_seen >= 10 && n_seen < 20, "%u", n_seen);
    cr_assert(stats.n_frames == n_seen && stats.n_dropped > 100);
}

Test(tap, hears_again_when_the_device_comes_back_up)
{
    open_tap(100, 100);
    cr_assert(netns_ok("ip link set t0 down"));
    hear();
    cr_assert(eq(uint, n_downs, 1));
    cr_assert(eq(int, last_down, -ENETDOWN));
    cr_assert(netns_ok("ip link set t0 up"));
    say(request());
    hear();
    cr_assert(eq(uint, n_seen, 1));
    cr_assert(netns_ok("ip link set t0 down"));
    hear();
    cr_assert(eq(uint, n_downs, 2));
}

Test(tap, tells_that_the_device_is_gone)
{
    open_tap(100, 100);
    cr_assert(netns_ok("ip link del t0"));
    hear();
    cr_assert(eq(int, last_down, -ENODEV));
    hear();
    cr_assert(eq(uint, n_downs, 1));
}

Test(tap, tells_that_a_device_has_gone_while_it_was_down)
{
    open_tap(100, 100);
    cr_assert(netns_ok("ip link set t0 down"));
    hear();
    is_done_by_down = false;
    cr_assert(netns_ok("ip link del t0"));
    while (!is_done_by_down)
        ev_run(loop, EVRUN_ONCE);
    cr_assert(eq(int, last_down, -ENODEV));
}

Test(tap, may_be_freed_by_what_it_hears)
{
    open_tap(100, 100);
    is_freed_by_frame = true;
    say(request());
    say(request());
    hear();
    cr_assert(eq(uint, n_seen, 1));
}

Test(tap, a_device_that_is_not_there_is_told_by_name)
{
    struct xtr_tap_config config = config_of("t0", 1, 1);
    char *why = NULL;
    config.ifindex = 4711;
    cr_assert(eq(int, xtr_tap_new(loop, &config, &tap, &why), -ENODEV));
    cr_assert(strstr(why, "device t0") != NULL);
    free(why);
}

/* Of this thread alone. */
static void drop_net_raw(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    cr_assert(eq(int, (int)syscall(SYS_capget, &header, data), 0));
    data[CAP_TO_INDEX(CAP_NET_RAW)].effective &= ~CAP_TO_MASK(CAP_NET_RAW);
    cr_assert(eq(int, (int)syscall(SYS_capset, &header, data), 0));
}

Test(tap, without_the_capability_the_sentence_names_it)
{
    struct xtr_tap_config config = config_of("t0", 1, 1);
    char *why = NULL;
    drop_net_raw();
    cr_assert(eq(int, xtr_tap_new(loop, &config, &tap, &why), -EPERM));
    cr_assert(strstr(why, "CAP_NET_RAW") != NULL);
    free(why);
}

Test(bucket, gives_the_burst_at_once_and_the_rate_in_the_long_run)
{
    struct xtr_bucket bucket;
    unsigned n = 0;
    xtr_bucket_init(&bucket, 10, 3, 1000);
    while (xtr_bucket_take(&bucket, 1000))
        n++;
    cr_assert(eq(uint, n, 3));
    cr_assert(not(xtr_bucket_take(&bucket, 1099)));
    cr_assert(xtr_bucket_take(&bucket, 1100));
    for (uint64_t ms = 1101; ms <= 11100; ms++)
        n += xtr_bucket_take(&bucket, ms);
    cr_assert(eq(uint, n, 3 + 100));
    cr_assert(not(xtr_bucket_take(&bucket, 5000)), "a clock that goes back gives nothing");
    for (n = 0; xtr_bucket_take(&bucket, UINT64_MAX);)
        n++;
    cr_assert(eq(uint, n, 3));
}
