#include "witness.h"

#include "base/mem.h"
#include "bench.h"
#include "hosts.h"
#include "server/numbered.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef NDA_NH_ID
#define NDA_NH_ID 13 /* Linux 5.8 */
#endif

#define BUFFER    (512 << 20) /* of the socket: 50,000 ports come faster than they are read */
#define A_TIME    64
#define DATAGRAM  4096
#define FDB       1
#define NEIGHBOUR 2

/* Where in the witness' range the number lies; 'n': outside. */
static uint32_t index_of(const struct witness *witness, uint32_t number)
{
    uint32_t index = number - witness->first;
    return index < witness->n ? index : witness->n;
}

static uint32_t index_of_mac(const struct witness *witness, const struct rtattr *mac)
{
    const uint8_t *bytes = mac ? RTA_DATA(mac) : NULL;
    uint32_t number_be;
    if (!mac || RTA_PAYLOAD(mac) != EM_MAC_SIZE || bytes[0] != 0x02 || bytes[1])
        return witness->n;
    memcpy(&number_be, bytes + 2, sizeof(number_be));
    return index_of(witness, ntohl(number_be));
}

static uint32_t index_of_ip(const struct witness *witness, const struct rtattr *ip)
{
    struct em_eid zero = numbered_ip(0);
    uint32_t base_be, ip_be;
    if (!ip || RTA_PAYLOAD(ip) != sizeof(ip_be))
        return witness->n;
    memcpy(&base_be, zero.addr, sizeof(base_be));
    memcpy(&ip_be, RTA_DATA(ip), sizeof(ip_be));
    return index_of(witness, ntohl(ip_be) - ntohl(base_be));
}

static void see(struct witness *witness, uint32_t index, uint8_t what)
{
    if (witness->seen[index] & what)
        return;
    witness->seen[index] |= what;
    if (--witness->n_missing)
        return;
    witness->done_ns = bench_now_ns();
    ev_break(witness->loop, EVBREAK_ALL);
}

/* A vxlan device's FDB entry leads to an address or a group, a bridge's to a port.  A neighbour
 * that goes has no MAC any more. */
static void on_entry(struct witness *witness, const struct nlmsghdr *header)
{
    struct ndmsg *message = NLMSG_DATA(header);
    struct rtattr *attrs[NDA_NH_ID + 1] = {NULL};
    int size = (int)(header->nlmsg_len - NLMSG_LENGTH(sizeof(*message)));
    for (struct rtattr *attr = (struct rtattr *)(message + 1); RTA_OK(attr, size);
         attr = RTA_NEXT(attr, size))
        if (attr->rta_type <= NDA_NH_ID)
            attrs[attr->rta_type] = attr;
    uint32_t by_mac = index_of_mac(witness, attrs[NDA_LLADDR]);
    uint32_t by_ip = index_of_ip(witness, attrs[NDA_DST]);
    if (message->ndm_family == AF_BRIDGE && by_mac < witness->n &&
        (attrs[NDA_NH_ID] || attrs[NDA_DST]))
        see(witness, by_mac, FDB);
    if (message->ndm_family == AF_INET && by_ip < witness->n &&
        (by_ip == by_mac || witness->is_removal))
        see(witness, by_ip, NEIGHBOUR);
}

static void take(struct witness *witness, char *bytes, unsigned left)
{
    for (struct nlmsghdr *header = (struct nlmsghdr *)bytes; NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left))
        if (header->nlmsg_type == (witness->is_removal ? RTM_DELNEIGH : RTM_NEWNEIGH))
            on_entry(witness, header);
}

/* Each message is a datagram: read one by one they would come faster than they are read. */
static void on_netlink(struct ev_loop *loop, ev_io *w, int revents)
{
    struct witness *witness = w->data;
    static _Alignas(struct nlmsghdr) char bytes[A_TIME][DATAGRAM];
    struct iovec parts[A_TIME];
    struct mmsghdr messages[A_TIME] = {0};
    int n;
    for (int i = 0; i < A_TIME; i++) {
        parts[i] = (struct iovec){bytes[i], DATAGRAM};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    while ((n = recvmmsg(w->fd, messages, A_TIME, 0, NULL)) > 0)
        for (int i = 0; i < n; i++)
            take(witness, bytes[i], messages[i].msg_len);
    if (errno == ENOBUFS)
        real_fail("the witness has lost messages of the kernel");
}

void witness_open(struct witness *ret_witness, struct ev_loop *loop, const char *netns)
{
    const struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_NEIGH};
    int size = BUFFER, home = hosts_enter(netns);
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)))
        real_fail("rtnetlink: %s", strerror(errno));
    hosts_leave(home);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    *ret_witness = (struct witness){.loop = loop};
    ev_io_init(&ret_witness->io, on_netlink, fd, EV_READ);
    ret_witness->io.data = ret_witness;
    ev_io_start(loop, &ret_witness->io);
}

void witness_close(struct witness *witness)
{
    ev_io_stop(witness->loop, &witness->io);
    close(witness->io.fd);
    free(witness->seen);
}

void witness_expect(struct witness *witness, uint32_t first, uint32_t n, bool is_removal)
{
    free(witness->seen);
    witness->seen = em_calloc(n, 1);
    witness->first = first;
    witness->n = n;
    witness->n_missing = 2 * n;
    witness->is_removal = is_removal;
    witness->done_ns = 0;
}

static void on_limit(struct ev_loop *loop, ev_timer *w, int revents)
{
    ev_break(loop, EVBREAK_ALL);
}

void witness_await(struct witness *witness, double limit_s, const char *system)
{
    ev_timer limit;
    ev_timer_init(&limit, on_limit, limit_s, 0);
    ev_timer_start(witness->loop, &limit);
    while (!witness->done_ns && ev_is_active(&limit))
        ev_run(witness->loop, 0);
    ev_timer_stop(witness->loop, &limit);
    if (!witness->done_ns)
        real_fail("%s: %u of %u entries of the other host are missing", system, witness->n_missing,
                  2 * witness->n);
}
