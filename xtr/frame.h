/* Ethernet frames of guests: what they say of addresses, read; and answers to them, built.
 *
 * Read are ARP (RFC 826, 5227), RARP (RFC 903, as QEMU announces a migrated guest with it) and
 * IPv6 neighbour discovery (RFC 4861).  Every byte may be a lie: a frame that is damaged, or
 * says what its RFC forbids, is refused; whether an address is the guest's to use is not for
 * this file to judge. */
#ifndef XTR_FRAME_H
#define XTR_FRAME_H

#include "eidmap/addr.h"

enum xtr_frame_kind {
    XTR_FRAME_OTHER,          /* anything else; a frame with a VLAN tag, too */
    XTR_FRAME_IPV4,           /* any packet, with its source and destination */
    XTR_FRAME_IPV6,           /* likewise, but for neighbour discovery */
    XTR_FRAME_ARP_REQUEST,    /* who has the target's address? */
    XTR_FRAME_ARP_REPLY,      /* the sender has its address */
    XTR_FRAME_ARP_GRATUITOUS, /* request or reply in which the sender speaks of itself */
    XTR_FRAME_ARP_PROBE,      /* may I have the target's address?  Nobody's by that */
    XTR_FRAME_RARP,           /* a guest is here now; no address */
    XTR_FRAME_ND_SOLICIT,     /* who has the target's address? */
    XTR_FRAME_ND_PROBE,       /* duplicate address detection: may I have it? */
    XTR_FRAME_ND_ADVERT,      /* the target's address is had; an answer */
    XTR_FRAME_ND_UNSOLICITED, /* the same, asked by nobody */
};

struct xtr_frame {
    enum xtr_frame_kind kind;
    uint8_t dst_mac[EM_MAC_SIZE]; /* of the Ethernet header */
    uint8_t src_mac[EM_MAC_SIZE];
    struct em_ip sender; /* of IP and ND the source address; size 0: none, or unspecified */
    struct em_ip target; /* of IP the destination; size 0: none */
    bool has_sender_mac; /* ARP, RARP; a solicitation's source link-layer option */
    bool has_target_mac; /* a reply's, RARP's; an advertisement's target link-layer option */
    uint8_t sender_mac[EM_MAC_SIZE];
    uint8_t target_mac[EM_MAC_SIZE];
    bool is_override; /* of an advertisement */
};

/* False: damaged, or not allowed where it came from (a source that is no station, ND that has
 * passed a router, a wrong checksum); *ret_frame is then untouched. */
bool xtr_frame_parse(const uint8_t *bytes, size_t size, struct xtr_frame *ret_frame);

/* The address that the sender of the frame says is its own, at the MAC that it sends with.
 * False where it says no such thing. */
bool xtr_frame_claim(const struct xtr_frame *frame, struct em_ip *ret_ip);

#define XTR_FRAME_ANSWER 86 /* most bytes of an answer */

/* Answers: "'ip' is at 'mac'", to the one who asked, by whose MAC and address it is found; an
 * asker without an address (size 0, duplicate address detection) is told by multicast.  Both
 * addresses are IPv4: an ARP reply; or IPv6: a neighbour advertisement.  Returns its size. */
size_t xtr_frame_answer(uint8_t bytes[XTR_FRAME_ANSWER], const struct em_ip *ip,
                        const uint8_t mac[EM_MAC_SIZE], const struct em_ip *asker_ip,
                        const uint8_t asker_mac[EM_MAC_SIZE]);

#define XTR_FRAME_PROBE 78 /* most bytes of a probe */

/* "Have you 'ip'?", to the station 'mac', from 'own_mac' without an address, as one asks for a
 * duplicate: who has it answers, and learns nothing.  Returns its size. */
size_t xtr_frame_probe(uint8_t bytes[XTR_FRAME_PROBE], const struct em_ip *ip,
                       const uint8_t mac[EM_MAC_SIZE], const uint8_t own_mac[EM_MAC_SIZE]);

/* RFC 1071, over the pseudo-header of RFC 8200 section 8.1 and a packet of ICMPv6 whose own
 * checksum is in it: 0 if that is right. */
uint16_t xtr_frame_icmp6_sum(const uint8_t src[16], const uint8_t dst[16], const uint8_t *packet,
                             size_t size);

#endif
