/* Everything is read at fixed places, after the size was seen to reach there.  Ethernet pads
 * short frames, so what lies behind the length that a header gives is not looked at.
 *
 * ND behind an extension header is taken for plain IPv6: no host sends it so, and fragments
 * are forbidden (RFC 6980). */
#include "frame.h"

#include <assert.h>
#include <string.h>

#define ETH_HEADER  14
#define IPV6_HEADER 40
#define ARP_SIZE    28
#define ND_SIZE     24 /* of a message without options */

#define TYPE_IPV4  0x0800
#define TYPE_ARP   0x0806
#define TYPE_RARP  0x8035
#define TYPE_IPV6  0x86dd
#define ARP_ETHER  1
#define OP_REQUEST 1
#define OP_REPLY   2
#define OP_REVERSE 3

#define NEXT_ICMPV6   58
#define ND_SOLICIT    135
#define ND_ADVERT     136
#define ND_SOLICITED  0x40 /* flags of an advertisement */
#define ND_OVERRIDE   0x20
#define ND_SOURCE_MAC 1 /* options */
#define ND_TARGET_MAC 2

static unsigned get16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

static void put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

static bool is_station(const uint8_t *mac)
{
    return !(mac[0] & 1) && !is_zero(mac, EM_MAC_SIZE);
}

static bool is_multicast(const uint8_t ip[16])
{
    return ip[0] == 0xff;
}

static struct em_ip ip_of(const uint8_t *addr, uint8_t size)
{
    struct em_ip ip = {.size = is_zero(addr, size) ? 0 : size};
    memcpy(ip.addr, addr, size);
    return ip;
}

static bool is_same_ip(const struct em_ip *a, const struct em_ip *b)
{
    return a->size == b->size && !memcmp(a->addr, b->addr, a->size);
}

/* ARP and RARP */

/* RFC 826 takes any protocol on any hardware; for us it is IPv4 on Ethernet. */
static bool has_arp_header(const uint8_t *arp, size_t size)
{
    return size >= ARP_SIZE && get16(arp) == ARP_ETHER && get16(arp + 2) == TYPE_IPV4 &&
           arp[4] == EM_MAC_SIZE && arp[5] == 4;
}

static void take_arp_addresses(const uint8_t *arp, struct xtr_frame *frame)
{
    memcpy(frame->sender_mac, arp + 8, EM_MAC_SIZE);
    frame->sender = ip_of(arp + 14, 4);
    memcpy(frame->target_mac, arp + 18, EM_MAC_SIZE);
    frame->target = ip_of(arp + 24, 4);
    frame->has_sender_mac = true;
}

static bool parse_arp(const uint8_t *arp, size_t size, struct xtr_frame *frame)
{
    if (!has_arp_header(arp, size))
        return false;
    unsigned op = get16(arp + 6);
    if (op != OP_REQUEST && op != OP_REPLY)
        return true;
    take_arp_addresses(arp, frame);
    frame->has_target_mac = op == OP_REPLY;
    if (!is_station(frame->sender_mac) || (op == OP_REQUEST && !frame->target.size))
        return false; /* a reply to a probe has no target */
    if (is_same_ip(&frame->sender, &frame->target))
        frame->kind = XTR_FRAME_ARP_GRATUITOUS;
    else if (op == OP_REPLY)
        frame->kind = XTR_FRAME_ARP_REPLY;
    else
        frame->kind = frame->sender.size ? XTR_FRAME_ARP_REQUEST : XTR_FRAME_ARP_PROBE;
    return frame->sender.size || frame->kind == XTR_FRAME_ARP_PROBE;
}

static bool parse_rarp(const uint8_t *arp, size_t size, struct xtr_frame *frame)
{
    if (!has_arp_header(arp, size))
        return false;
    if (get16(arp + 6) != OP_REVERSE)
        return true;
    take_arp_addresses(arp, frame);
    frame->has_target_mac = true;
    frame->kind = XTR_FRAME_RARP;
    return is_station(frame->sender_mac) && is_station(frame->target_mac);
}

/* Neighbour discovery, RFC 4861 sections 4.3, 4.4, 7.1 */

uint16_t xtr_frame_icmp6_sum(const uint8_t src[16], const uint8_t dst[16], const uint8_t *packet,
                             size_t size)
{
    uint32_t sum = (uint32_t)size + NEXT_ICMPV6; /* at most 64 KiB, so the sum has room */
    for (size_t i = 0; i < 16; i += 2)
        sum += get16(src + i) + get16(dst + i);
    for (size_t i = 0; i + 1 < size; i += 2)
        sum += get16(packet + i);
    if (size & 1)
        sum += (uint32_t)packet[size - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* The MAC of the option of this type; false if an option has no length or reaches beyond. */
static bool find_option(const uint8_t *options, size_t size, unsigned type, bool *ret_has_mac,
                        uint8_t *ret_mac)
{
    while (size) {
        size_t len = size >= 2 ? options[1] * 8u : 0;
        if (!len || len > size)
            return false;
        if (options[0] == type && len == 8) {
            memcpy(ret_mac, options + 2, EM_MAC_SIZE);
            *ret_has_mac = true;
        }
        options += len;
        size -= len;
    }
    return true;
}

static bool is_solicited_node(const uint8_t ip[16])
{
    static const uint8_t prefix[13] = {0xff, 0x02, [11] = 0x01, [12] = 0xff};
    return !memcmp(ip, prefix, sizeof prefix);
}

static bool parse_solicit(const uint8_t *dst, const uint8_t *nd, size_t size,
                          struct xtr_frame *frame)
{
    if (!find_option(nd + ND_SIZE, size - ND_SIZE, ND_SOURCE_MAC, &frame->has_sender_mac,
                     frame->sender_mac))
        return false;
    frame->kind = frame->sender.size ? XTR_FRAME_ND_SOLICIT : XTR_FRAME_ND_PROBE;
    if (frame->kind == XTR_FRAME_ND_PROBE && (frame->has_sender_mac || !is_solicited_node(dst)))
        return false;
    return !frame->has_sender_mac || is_station(frame->sender_mac);
}

static bool parse_advert(const uint8_t *dst, const uint8_t *nd, size_t size,
                         struct xtr_frame *frame)
{
    bool is_solicited = nd[4] & ND_SOLICITED;
    if (!find_option(nd + ND_SIZE, size - ND_SIZE, ND_TARGET_MAC, &frame->has_target_mac,
                     frame->target_mac) ||
        !frame->sender.size || (is_solicited && is_multicast(dst)))
        return false;
    frame->kind = is_solicited ? XTR_FRAME_ND_ADVERT : XTR_FRAME_ND_UNSOLICITED;
    frame->is_override = nd[4] & ND_OVERRIDE;
    return !frame->has_target_mac || is_station(frame->target_mac);
}

static bool parse_nd(const uint8_t *ip, size_t size, struct xtr_frame *frame)
{
    const uint8_t *dst = ip + 24, *nd = ip + IPV6_HEADER;
    if (size < ND_SIZE || ip[7] != 255 || nd[1] || is_multicast(nd + 8) || is_zero(nd + 8, 16) ||
        xtr_frame_icmp6_sum(ip + 8, dst, nd, size))
        return false;
    frame->target = ip_of(nd + 8, 16);
    return nd[0] == ND_SOLICIT ? parse_solicit(dst, nd, size, frame)
                               : parse_advert(dst, nd, size, frame);
}

/* IP */

static bool parse_ipv6(const uint8_t *ip, size_t size, struct xtr_frame *frame)
{
    if (size < IPV6_HEADER || ip[0] >> 4 != 6 || get16(ip + 4) > size - IPV6_HEADER ||
        is_multicast(ip + 8))
        return false;
    size = get16(ip + 4);
    frame->sender = ip_of(ip + 8, 16);
    if (ip[6] == NEXT_ICMPV6 && size && (ip[40] == ND_SOLICIT || ip[40] == ND_ADVERT))
        return parse_nd(ip, size, frame);
    frame->target = ip_of(ip + 24, 16);
    frame->kind = XTR_FRAME_IPV6;
    return true;
}

static bool parse_ipv4(const uint8_t *ip, size_t size, struct xtr_frame *frame)
{
    if (size < 20 || ip[0] >> 4 != 4 || get16(ip + 2) < 20 || get16(ip + 2) > size)
        return false;
    frame->sender = ip_of(ip + 12, 4);
    frame->target = ip_of(ip + 16, 4);
    frame->kind = XTR_FRAME_IPV4;
    return true;
}

static bool parse_payload(unsigned type, const uint8_t *bytes, size_t size, struct xtr_frame *frame)
{
    switch (type) {
    case TYPE_ARP:
        return parse_arp(bytes, size, frame);
    case TYPE_RARP:
        return parse_rarp(bytes, size, frame);
    case TYPE_IPV4:
        return parse_ipv4(bytes, size, frame);
    case TYPE_IPV6:
        return parse_ipv6(bytes, size, frame);
    }
    return true;
}

bool xtr_frame_parse(const uint8_t *bytes, size_t size, struct xtr_frame *ret_frame)
{
    struct xtr_frame frame = {.kind = XTR_FRAME_OTHER};
    if (size < ETH_HEADER)
        return false;
    memcpy(frame.dst_mac, bytes, EM_MAC_SIZE);
    memcpy(frame.src_mac, bytes + EM_MAC_SIZE, EM_MAC_SIZE);
    if (!is_station(frame.src_mac) ||
        !parse_payload(get16(bytes + 12), bytes + ETH_HEADER, size - ETH_HEADER, &frame))
        return false;
    *ret_frame = frame;
    return true;
}

static bool is_own(const struct xtr_frame *frame, bool has_mac, const uint8_t *mac)
{
    return has_mac && !memcmp(mac, frame->src_mac, EM_MAC_SIZE);
}

/* Without the option, as a solicitation to one station may come (RFC 4861 section 4.3), the
 * address might be another's whose packet is passed on. */
bool xtr_frame_claim(const struct xtr_frame *frame, struct em_ip *ret_ip)
{
    switch (frame->kind) {
    case XTR_FRAME_ARP_REQUEST:
    case XTR_FRAME_ARP_REPLY:
    case XTR_FRAME_ARP_GRATUITOUS:
    case XTR_FRAME_ND_SOLICIT:
        *ret_ip = frame->sender;
        return is_own(frame, frame->has_sender_mac, frame->sender_mac);
    case XTR_FRAME_ND_ADVERT:
    case XTR_FRAME_ND_UNSOLICITED:
        *ret_ip = frame->target;
        return is_own(frame, frame->has_target_mac, frame->target_mac);
    case XTR_FRAME_OTHER:
    case XTR_FRAME_IPV4:
    case XTR_FRAME_IPV6:
    case XTR_FRAME_ARP_PROBE:
    case XTR_FRAME_RARP:
    case XTR_FRAME_ND_PROBE:
        break;
    }
    return false;
}

/* Answers */

static uint8_t *put_ethernet(uint8_t *at, const uint8_t *dst, const uint8_t *src, unsigned type)
{
    memcpy(at, dst, EM_MAC_SIZE);
    memcpy(at + EM_MAC_SIZE, src, EM_MAC_SIZE);
    put16(at + 12, type);
    return at + ETH_HEADER;
}

/* 'to' is the target's MAC and address in ARP: of the one who asked, or who is asked. */
static size_t put_arp(uint8_t *bytes, unsigned op, const uint8_t *mac, const uint8_t *ip,
                      const uint8_t *to_mac, const uint8_t *to_ip)
{
    static const uint8_t header[] = {0, ARP_ETHER, 8, 0, EM_MAC_SIZE, 4, 0};
    uint8_t *arp = put_ethernet(bytes, to_mac, mac, TYPE_ARP);
    memcpy(arp, header, sizeof header);
    arp[7] = (uint8_t)op;
    memcpy(arp + 8, mac, EM_MAC_SIZE);
    memcpy(arp + 14, ip, 4);
    memcpy(arp + 18, to_mac, EM_MAC_SIZE);
    memcpy(arp + 24, to_ip, 4);
    return ETH_HEADER + ARP_SIZE;
}

/* Lays out the headers for 'size' bytes of discovery, and returns where they are; zeroed. */
static uint8_t *put_nd(uint8_t *v6, const uint8_t *src, const uint8_t *dst, unsigned type,
                       const uint8_t *target, size_t size)
{
    uint8_t *nd = v6 + IPV6_HEADER;
    memset(v6, 0, IPV6_HEADER + size);
    v6[0] = 0x60;
    put16(v6 + 4, (unsigned)size);
    v6[6] = NEXT_ICMPV6;
    v6[7] = 255;
    memcpy(v6 + 8, src, 16);
    memcpy(v6 + 24, dst, 16);
    nd[0] = (uint8_t)type;
    memcpy(nd + 8, target, 16);
    return nd;
}

static size_t finish_nd(uint8_t *v6, size_t size)
{
    uint8_t *nd = v6 + IPV6_HEADER;
    put16(nd + 2, xtr_frame_icmp6_sum(v6 + 8, v6 + 24, nd, size));
    return ETH_HEADER + IPV6_HEADER + size;
}

static size_t advertisement(uint8_t *bytes, const struct em_ip *ip, const uint8_t *mac,
                            const struct em_ip *asker_ip, const uint8_t *asker_mac)
{
    static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 0x01};
    static const uint8_t all_nodes_mac[EM_MAC_SIZE] = {0x33, 0x33, 0, 0, 0, 1};
    bool has_asker = asker_ip->size;
    size_t size = ND_SIZE + 8;
    uint8_t *v6 = put_ethernet(bytes, has_asker ? asker_mac : all_nodes_mac, mac, TYPE_IPV6);
    uint8_t *nd =
        put_nd(v6, ip->addr, has_asker ? asker_ip->addr : all_nodes, ND_ADVERT, ip->addr, size);
    nd[4] = has_asker ? ND_SOLICITED | ND_OVERRIDE : ND_OVERRIDE; /* section 7.2.4 */
    nd[ND_SIZE] = ND_TARGET_MAC;
    nd[ND_SIZE + 1] = 1;
    memcpy(nd + ND_SIZE + 2, mac, EM_MAC_SIZE);
    return finish_nd(v6, size);
}

size_t xtr_frame_answer(uint8_t bytes[XTR_FRAME_ANSWER], const struct em_ip *ip,
                        const uint8_t mac[EM_MAC_SIZE], const struct em_ip *asker_ip,
                        const uint8_t asker_mac[EM_MAC_SIZE])
{
    assert(ip->size && (!asker_ip->size || asker_ip->size == ip->size));
    return ip->size == 4 ? put_arp(bytes, OP_REPLY, mac, ip->addr, asker_mac, asker_ip->addr)
                         : advertisement(bytes, ip, mac, asker_ip, asker_mac);
}

size_t xtr_frame_probe(uint8_t bytes[XTR_FRAME_PROBE], const struct em_ip *ip,
                       const uint8_t mac[EM_MAC_SIZE], const uint8_t own_mac[EM_MAC_SIZE])
{
    static const uint8_t nobody[16];
    uint8_t group[16] = {0xff, 0x02, [11] = 0x01, [12] = 0xff};
    assert(ip->size);
    if (ip->size == 4)
        return put_arp(bytes, OP_REQUEST, own_mac, nobody, mac, ip->addr);
    memcpy(group + 13, ip->addr + 13, 3);
    uint8_t *v6 = put_ethernet(bytes, mac, own_mac, TYPE_IPV6);
    put_nd(v6, nobody, group, ND_SOLICIT, ip->addr, ND_SIZE);
    return finish_nd(v6, ND_SIZE);
}
