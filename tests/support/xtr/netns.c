/* See netns.h.  The witness is iproute2, by shell: it shares no code with what is tested. */
#include "xtr/netns.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* netns_is_permitted() has made one by trying. */
static bool is_fresh;

bool netns_is_permitted(void)
{
    is_fresh = is_fresh || unshare(CLONE_NEWNET) == 0;
    return is_fresh;
}

int netns_new(void)
{
    cr_assert(netns_is_permitted(), "no network namespace: %m");
    is_fresh = false;
    int ns = open("/proc/thread-self/ns/net", O_RDONLY);
    cr_assert_geq(ns, 0);
    cr_assert(netns_ok("ip link set lo up"));
    return ns;
}

void netns_enter(int ns)
{
    cr_assert_eq(setns(ns, CLONE_NEWNET), 0);
}

void netns_connect(int ns_a, const char *dev_a, int ns_b, const char *dev_b)
{
    netns_enter(ns_a);
    cr_assert(netns_ok("ip link add %s type veth peer name %s netns /proc/self/fd/%d", dev_a, dev_b,
                       ns_b));
    cr_assert(netns_ok("ip link set %s up", dev_a));
    netns_enter(ns_b);
    cr_assert(netns_ok("ip link set %s up", dev_b));
}

static char *run(const char *command, int *ret_status)
{
    char *output = NULL;
    size_t size = 0;
    FILE *pipe = popen(command, "r");

    cr_assert(pipe);
    if (getdelim(&output, &size, '\0', pipe) < 0) { /* all of it: it is text */
        free(output);
        output = em_strdup("");
    }
    *ret_status = pclose(pipe);
    return output;
}

static char *run_args(const char *format, va_list args, int *ret_status)
{
    char command[2048];
    int n = vsnprintf(command, sizeof(command) - 8, format, args);

    cr_assert(n > 0 && (size_t)n < sizeof(command) - 8);
    strcat(command, " 2>&1");
    return run(command, ret_status);
}

char *netns_run(const char *format, ...)
{
    int status;
    va_list args;

    va_start(args, format);
    char *output = run_args(format, args, &status);
    va_end(args);
    return output;
}

bool netns_ok(const char *format, ...)
{
    int status;
    va_list args;

    va_start(args, format);
    char *output = run_args(format, args, &status);
    va_end(args);
    if (status != 0)
        fprintf(stderr, "%s: %s", format, output);
    free(output);
    return status == 0;
}

bool netns_has_line(const char *command, const char *text, const char *more)
{
    char *output = netns_run("%s", command), *rest = output, *line;
    bool is_there = false;

    while (!is_there && (line = strsep(&rest, "\n")))
        is_there = strstr(line, text) && strstr(line, more);
    free(output);
    return is_there;
}

bool netns_shows(const char *command, const char *text)
{
    return netns_has_line(command, text, "");
}

struct netns_tap {
    int fd;
};

struct netns_tap *netns_tap_open(const char *device)
{
    struct netns_tap *tap = em_calloc(1, sizeof(*tap));
    struct sockaddr_ll addr = {.sll_family = AF_PACKET,
                               .sll_protocol = htons(ETH_P_ALL),
                               .sll_ifindex = (int)if_nametoindex(device)};

    tap->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));
    cr_assert_geq(tap->fd, 0);
    cr_assert_eq(bind(tap->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return tap;
}

static bool is_resolution(const uint8_t *frame, size_t size)
{
    if (size < 14)
        return false;
    unsigned type = frame[12] << 8 | frame[13];
    if (type == ETH_P_ARP)
        return true;
    return type == ETH_P_IPV6 && size > 54 && frame[20] == IPPROTO_ICMPV6 &&
           (frame[54] == 135 || frame[54] == 136);
}

/* The inner frame of VXLAN over IPv4 or IPv6 without options, else NULL. */
static const uint8_t *inner_frame(const uint8_t *frame, size_t size, size_t *ret_size)
{
    if (size < 14)
        return NULL;
    unsigned type = frame[12] << 8 | frame[13];
    size_t udp = type == ETH_P_IP ? 34 : 54;
    unsigned protocol = type == ETH_P_IP ? 23 : 20;
    if ((type != ETH_P_IP && type != ETH_P_IPV6) || size < udp + 16 ||
        frame[protocol] != IPPROTO_UDP || (frame[udp + 2] << 8 | frame[udp + 3]) != 4789)
        return NULL;
    *ret_size = size - udp - 16;
    return frame + udp + 16;
}

struct netns_seen netns_tap_close(struct netns_tap *tap)
{
    struct netns_seen seen = {0};
    uint8_t frame[65536];
    ssize_t size;

    while ((size = recv(tap->fd, frame, sizeof(frame), 0)) > 0) {
        size_t inner_size = 0;
        const uint8_t *inner = inner_frame(frame, (size_t)size, &inner_size);
        if (!inner || inner_size < 14)
            continue;
        seen.n_vxlan++;
        seen.n_resolution += is_resolution(inner, inner_size);
        seen.n_unicast += !(inner[0] & 1);
    }
    close(tap->fd);
    free(tap);
    return seen;
}
