/* The machine of a guest that migrates, as QEMU is one: it holds the guest's network card and
 * a tap on each of two hosts, and carries frames between the card and the tap where the guest
 * runs now.  On the other tap it neither reads nor writes, as a QEMU that waits for its guest.
 *
 *   machine FIFO CARD-NETNS CARD MAC IPV4 IPV6 NETNS TAP NETNS TAP
 *
 * Makes the three devices; "ready" on stdout.  Then a line from FIFO moves the guest:
 *
 *   LEG HOW [MS]   to leg 0 or 1; for MS milliseconds it runs on neither.  HOW it announces
 *                  itself there: rarp (QEMU's), garp, na, or none
 *
 * and is answered by "runs" and the time of day at which it does again, in seconds.  SIGTERM ends
 * it, with 0. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define FRAME_SIZE 65536

struct machine {
    int orders, card, legs[2];
    unsigned leg;
    uint8_t mac[6], ipv4[4], ipv6[16];
};

static void die(const char *what)
{
    fprintf(stderr, "machine: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int open_tap(const char *netns, const char *name, const uint8_t *mac)
{
    char path[256];
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};

    snprintf(path, sizeof(path), "/run/netns/%s", netns);
    int ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET))
        die(path);
    close(ns);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request))
        die(name);
    if (mac) {
        request.ifr_hwaddr.sa_family = 1; /* ARPHRD_ETHER */
        memcpy(request.ifr_hwaddr.sa_data, mac, 6);
        if (ioctl(fd, SIOCSIFHWADDR, &request))
            die("address of the card");
    }
    return fd;
}

static void carry(int from, int to)
{
    static uint8_t frame[FRAME_SIZE];
    for (int i = 0; i < 64; i++) {
        ssize_t n = read(from, frame, sizeof(frame));
        if (n <= 0)
            return;
        ssize_t r = write(to, frame, (size_t)n); /* what does not fit is lost, as on a wire */
        (void)r;
    }
}

static size_t put_ether(uint8_t *frame, const uint8_t *dst, const uint8_t *src, uint16_t type)
{
    memcpy(frame, dst, 6);
    memcpy(frame + 6, src, 6);
    frame[12] = (uint8_t)(type >> 8);
    frame[13] = (uint8_t)type;
    return 14;
}

/* RFC 826 and 903: operation 1 is a request, 3 a reverse request. */
static size_t put_arp(const struct machine *m, uint8_t *frame, bool is_reverse)
{
    static const uint8_t all[6] = {255, 255, 255, 255, 255, 255};
    size_t at = put_ether(frame, all, m->mac, is_reverse ? 0x8035 : ETHERTYPE_ARP);
    const uint8_t head[8] = {0, 1, 8, 0, 6, 4, 0, is_reverse ? 3 : 1};

    memcpy(frame + at, head, 8);
    memcpy(frame + at + 8, m->mac, 6);
    memcpy(frame + at + 18, m->mac, 6);
    if (!is_reverse) {
        memset(frame + at + 18, 0, 6);
        memcpy(frame + at + 14, m->ipv4, 4);
        memcpy(frame + at + 24, m->ipv4, 4);
    }
    return 60;
}

static uint32_t sum(const uint8_t *bytes, size_t size)
{
    uint32_t total = 0;
    for (size_t i = 0; i < size; i += 2)
        total += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
    return total;
}

/* RFC 4861 section 7.2.6, to all nodes, with the override flag. */
static size_t put_advert(const struct machine *m, uint8_t *frame)
{
    static const uint8_t all_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
    static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};
    const uint8_t ip6[8] = {0x60, 0, 0, 0, 0, 32, 58, 255};
    uint8_t *ip = frame + put_ether(frame, all_mac, m->mac, ETHERTYPE_IPV6), *icmp = ip + 40;

    memcpy(ip, ip6, 8);
    memcpy(ip + 8, m->ipv6, 16);
    memcpy(ip + 24, all_nodes, 16);
    icmp[0] = 136;
    icmp[4] = 0x20;
    memcpy(icmp + 8, m->ipv6, 16);
    icmp[24] = 2;
    icmp[25] = 1;
    memcpy(icmp + 26, m->mac, 6);
    uint32_t total = sum(ip + 8, 32) + 32 + 58 + sum(icmp, 32);
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    icmp[2] = (uint8_t)(~total >> 8);
    icmp[3] = (uint8_t)~total;
    return 14 + 40 + 32;
}

static void announce(const struct machine *m, const char *how)
{
    uint8_t frame[128] = {0};
    size_t size = 0;

    if (strcmp(how, "rarp") == 0)
        size = put_arp(m, frame, true);
    else if (strcmp(how, "garp") == 0)
        size = put_arp(m, frame, false);
    else if (strcmp(how, "na") == 0)
        size = put_advert(m, frame);
    if (size && write(m->legs[m->leg], frame, size) < 0)
        die("announce");
}

static void obey(struct machine *m)
{
    char line[64] = "", how[16] = "none";
    unsigned leg, ms = 0;
    ssize_t n = read(m->orders, line, sizeof(line) - 1);

    if (n <= 0 || sscanf(line, "%u %15s %u", &leg, how, &ms) < 2 || leg > 1) {
        fprintf(stderr, "machine: not understood: %s\n", line);
        exit(1);
    }
    if (ms)
        usleep(ms * 1000);
    m->leg = leg;
    announce(m, how);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    printf("runs %lld.%06ld\n", (long long)now.tv_sec, now.tv_nsec / 1000);
    fflush(stdout);
}

static void on_term(int signal)
{
    _exit(0);
}

int main(int argc, char **argv)
{
    struct machine m = {0};

    if (argc != 11 ||
        sscanf(argv[4], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &m.mac[0], &m.mac[1], &m.mac[2], &m.mac[3],
               &m.mac[4], &m.mac[5]) != 6 ||
        inet_pton(AF_INET, argv[5], m.ipv4) != 1 || inet_pton(AF_INET6, argv[6], m.ipv6) != 1) {
        fprintf(stderr, "usage: machine FIFO CARD-NETNS CARD MAC IPV4 IPV6 NETNS TAP NETNS TAP\n");
        return 2;
    }
    signal(SIGTERM, on_term);
    m.orders = open(argv[1], O_RDWR | O_CLOEXEC); /* its own writer, so that it never ends */
    if (m.orders < 0)
        die(argv[1]);
    m.card = open_tap(argv[2], argv[3], m.mac);
    m.legs[0] = open_tap(argv[7], argv[8], NULL);
    m.legs[1] = open_tap(argv[9], argv[10], NULL);
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        struct pollfd fds[] = {{.fd = m.orders, .events = POLLIN},
                               {.fd = m.card, .events = POLLIN},
                               {.fd = m.legs[m.leg], .events = POLLIN}};
        if (poll(fds, 3, -1) < 0)
            die("poll");
        if (fds[0].revents)
            obey(&m);
        carry(m.card, m.legs[m.leg]);
        carry(m.legs[m.leg], m.card);
    }
}
