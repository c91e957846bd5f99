/* What a VLAN device is in a guest whose kernel has none: carries frames between a card, where
 * they have a VLAN tag, and the host's end of a container's device, where they have none.
 *
 *   tagger NETNS CARD TAG DEVICE
 *
 * "ready" on stdout when it hears both.  Frames that this host sends itself are not carried.
 * SIGTERM ends it, with 0. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME_SIZE 65536
#define MACS_SIZE  12
#define TAG_SIZE   4
#define TAG_MASK   0xfff

static void die(const char *what)
{
    fprintf(stderr, "tagger: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int open_device(const char *name)
{
    struct sockaddr_ll at = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETH_P_ALL),
                             .sll_ifindex = (int)if_nametoindex(name)};
    struct packet_mreq all = {.mr_ifindex = at.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
    int one = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));

    if (!at.sll_ifindex || fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) ||
        setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) ||
        setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)))
        die(name);
    return fd;
}

/* Its tag is where the kernel has put it, beside the frame; 0: none. */
static ssize_t read_frame(int fd, uint8_t *frame, uint16_t *ret_tag)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
    } control;
    struct iovec io = {frame, FRAME_SIZE};
    struct msghdr message = {.msg_iov = &io,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(fd, &message, 0);
    struct cmsghdr *head = n < 0 ? NULL : CMSG_FIRSTHDR(&message);

    *ret_tag = 0;
    if (head && head->cmsg_type == PACKET_AUXDATA) {
        struct tpacket_auxdata aux;
        memcpy(&aux, CMSG_DATA(head), sizeof(aux));
        if (aux.tp_status & TP_STATUS_VLAN_VALID)
            *ret_tag = aux.tp_vlan_tci & TAG_MASK;
    }
    return n;
}

static void write_tagged(int fd, const uint8_t *frame, size_t n, uint16_t tag)
{
    uint8_t tagged[FRAME_SIZE + TAG_SIZE];
    const uint16_t words[] = {htons(ETH_P_8021Q), htons(tag)};

    memcpy(tagged, frame, MACS_SIZE);
    memcpy(tagged + MACS_SIZE, words, TAG_SIZE);
    memcpy(tagged + MACS_SIZE + TAG_SIZE, frame + MACS_SIZE, n - MACS_SIZE);
    (void)!send(fd, tagged, n + TAG_SIZE, 0);
}

static void carry(int card, int device, uint16_t tag, short card_events, short device_events)
{
    static uint8_t frame[FRAME_SIZE];
    uint16_t seen;
    ssize_t n;

    if (card_events && (n = read_frame(card, frame, &seen)) > MACS_SIZE && seen == tag)
        (void)!send(device, frame, (size_t)n, 0);
    if (device_events && (n = read_frame(device, frame, &seen)) > MACS_SIZE && !seen)
        write_tagged(card, frame, (size_t)n, tag);
}

static void on_term(int number)
{
    _exit(0);
}

int main(int argc, char **argv)
{
    char path[256];

    if (argc != 5)
        return 2;
    snprintf(path, sizeof(path), "/run/netns/%s", argv[1]);
    int ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET))
        die(path);
    signal(SIGTERM, on_term);
    struct pollfd fds[] = {{.fd = open_device(argv[2]), .events = POLLIN},
                           {.fd = open_device(argv[4]), .events = POLLIN}};
    puts("ready");
    fflush(stdout);
    while (poll(fds, 2, -1) >= 0 || errno == EINTR)
        carry(fds[0].fd, fds[1].fd, (uint16_t)atoi(argv[3]), fds[0].revents, fds[1].revents);
    die("poll");
}
