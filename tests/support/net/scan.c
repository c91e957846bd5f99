/* scan DEVICE arp SENDER FIRST COUNT      asks by ARP, in SENDER's name, for COUNT addresses
 * scan DEVICE unicast FIRST COUNT         sends a frame to each of as many MACs 06:00:a:b:c:d
 *
 * from FIRST on, with the device's own MAC and as fast as the device takes them: a guest that
 * scans, without filling the neighbour table of this kernel. */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/if_ether.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define TYPE_LOCAL 0x88b5 /* IEEE 802: for experiments */

struct frame {
    struct ether_header header;
    struct ether_arp arp;
} __attribute__((packed));

/* A packet socket bound to the device; -1 with a complaint. */
static int open_device(const char *name, uint8_t *ret_mac)
{
    struct ifreq request = {0};
    struct sockaddr_ll here = {.sll_family = AF_PACKET};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    memcpy(request.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
    if (fd >= 0 && ioctl(fd, SIOCGIFHWADDR, &request) == 0) {
        memcpy(ret_mac, request.ifr_hwaddr.sa_data, ETH_ALEN);
        here.sll_ifindex = (int)if_nametoindex(name);
        if (bind(fd, (struct sockaddr *)&here, sizeof here) == 0)
            return fd;
    }
    perror(name);
    if (fd >= 0)
        close(fd);
    return -1;
}

static void fill(struct frame *frame, bool is_arp, const uint8_t *mac, const char *sender)
{
    in_addr_t address = inet_addr(sender);
    *frame = (struct frame){.header.ether_type = htons(is_arp ? ETHERTYPE_ARP : TYPE_LOCAL)};
    memset(frame->header.ether_dhost, 0xff, ETH_ALEN);
    memcpy(frame->header.ether_shost, mac, ETH_ALEN);
    frame->arp.ea_hdr = (struct arphdr){htons(ARPHRD_ETHER), htons(ETHERTYPE_IP), ETH_ALEN, 4,
                                        htons(ARPOP_REQUEST)};
    memcpy(frame->arp.arp_sha, mac, ETH_ALEN);
    memcpy(frame->arp.arp_spa, &address, 4);
}

static void aim(struct frame *frame, bool is_arp, uint32_t address)
{
    const uint8_t mac[ETH_ALEN] = {6,
                                   0,
                                   (uint8_t)(address >> 24),
                                   (uint8_t)(address >> 16),
                                   (uint8_t)(address >> 8),
                                   (uint8_t)address};
    in_addr_t asked = htonl(address);
    if (is_arp)
        memcpy(frame->arp.arp_tpa, &asked, 4);
    else
        memcpy(frame->header.ether_dhost, mac, ETH_ALEN);
}

int main(int argc, char **argv)
{
    bool is_arp = argc == 6 && !strcmp(argv[2], "arp");
    struct frame frame;
    uint8_t mac[ETH_ALEN];
    if (!is_arp && (argc != 5 || strcmp(argv[2], "unicast"))) {
        fprintf(stderr, "usage: scan DEVICE arp SENDER FIRST COUNT | unicast FIRST COUNT\n");
        return 2;
    }
    int fd = open_device(argv[1], mac);
    if (fd < 0)
        return 1;
    fill(&frame, is_arp, mac, is_arp ? argv[3] : "0.0.0.0");
    uint32_t first = ntohl(inet_addr(argv[argc - 2]));
    for (uint32_t i = 0, n = (uint32_t)strtoul(argv[argc - 1], NULL, 10); i < n; i++) {
        aim(&frame, is_arp, first + i);
        if (send(fd, &frame, sizeof frame, 0) < 0) {
            perror("sending");
            return 1;
        }
    }
    close(fd);
    return 0;
}
