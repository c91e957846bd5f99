#include "frame.h"

#include "xtr/frames.h"
#include "xtr/ops.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#define M1   "02:00:00:00:00:01"
#define M2   "02:00:00:00:00:02"
#define ZERO "00:00:00:00:00:00"

static struct xtr_frame frame;

static bool parse(struct test_frame raw)
{
    return xtr_frame_parse(raw.bytes, raw.size, &frame);
}

static bool is_ip(const struct em_ip *ip, const char *text)
{
    struct em_ip want = test_ip(text);
    return ip->size == want.size && !memcmp(ip->addr, want.addr, want.size);
}

static bool is_mac(const uint8_t *mac, const char *text)
{
    uint8_t want[EM_MAC_SIZE];
    return !em_mac_parse(text, want, NULL) && !memcmp(mac, want, EM_MAC_SIZE);
}

/* What the frame claims: "" for nothing. */
static bool claims(struct test_frame raw, const char *text)
{
    struct em_ip ip;
    cr_assert(parse(raw));
    return xtr_frame_claim(&frame, &ip) ? is_ip(&ip, text) : !text[0];
}

Test(frame, arp_request_and_reply_tell_the_senders_address)
{
    cr_assert(claims(frame_arp(1, M1, "10.0.0.1", ZERO, "10.0.0.2"), "10.0.0.1"));
    cr_assert(eq(int, frame.kind, XTR_FRAME_ARP_REQUEST));
    cr_assert(is_ip(&frame.target, "10.0.0.2"));
    cr_assert(not(frame.has_target_mac));
    cr_assert(claims(frame_arp(2, M1, "10.0.0.1", M2, "10.0.0.2"), "10.0.0.1"));
    cr_assert(eq(int, frame.kind, XTR_FRAME_ARP_REPLY));
    cr_assert(frame.has_target_mac && is_mac(frame.target_mac, M2));
    cr_assert(is_mac(frame.src_mac, M1) && is_mac(frame.sender_mac, M1));
}

Test(frame, gratuitous_arp_has_two_forms)
{
    cr_assert(claims(frame_arp(1, M1, "10.0.0.1", ZERO, "10.0.0.1"), "10.0.0.1"));
    cr_assert(eq(int, frame.kind, XTR_FRAME_ARP_GRATUITOUS));
    cr_assert(claims(frame_arp(2, M1, "10.0.0.1", M1, "10.0.0.1"), "10.0.0.1"));
    cr_assert(eq(int, frame.kind, XTR_FRAME_ARP_GRATUITOUS));
}

Test(frame, a_probe_and_a_rarp_claim_nothing)
{
    cr_assert(claims(frame_arp(1, M1, "0.0.0.0", ZERO, "10.0.0.1"), ""));
    cr_assert(eq(int, frame.kind, XTR_FRAME_ARP_PROBE));
    cr_assert(eq(int, frame.sender.size, 0));
    cr_assert(claims(frame_rarp(M1), ""));
    cr_assert(eq(int, frame.kind, XTR_FRAME_RARP));
    cr_assert(is_mac(frame.target_mac, M1));
}

Test(frame, arp_of_another_mac_than_the_frames_claims_nothing)
{
    struct test_frame raw = frame_arp(1, M1, "10.0.0.1", ZERO, "10.0.0.2");
    raw.bytes[11] = 9;
    cr_assert(claims(raw, ""));
    cr_assert(is_mac(frame.sender_mac, M1));
}

Test(frame, arp_that_makes_no_sense_is_refused)
{
    cr_assert(not(parse(frame_arp(2, M1, "0.0.0.0", M2, "10.0.0.2"))), "a reply of nobody");
    cr_assert(not(parse(frame_arp(1, M1, "10.0.0.1", ZERO, "0.0.0.0"))), "about nothing");
    cr_assert(not(parse(frame_arp(1, "03:00:00:00:00:01", "10.0.0.1", ZERO, "10.0.0.2"))));
    cr_assert(not(parse(frame_arp(1, ZERO, "10.0.0.1", ZERO, "10.0.0.2"))));
    static const struct {
        size_t at;
        uint8_t value;
    } header[] = {{15, 6}, {16, 0x86}, {18, 8}, {19, 16}};
    for (size_t i = 0; i < 4; i++) {
        struct test_frame raw = frame_arp(1, M1, "10.0.0.1", ZERO, "10.0.0.2");
        raw.bytes[header[i].at] = header[i].value;
        cr_assert(not(parse(raw)), "byte %zu", header[i].at);
    }
    cr_assert(parse(frame_arp(8, M1, "10.0.0.1", ZERO, "10.0.0.2")));
    cr_assert(eq(int, frame.kind, XTR_FRAME_OTHER), "InARP is none of ours");
}

Test(frame, every_shortened_frame_is_refused)
{
    struct test_frame raws[] = {frame_arp(1, M1, "10.0.0.1", ZERO, "10.0.0.2"), frame_rarp(M1),
                                frame_nd(135, M1, "fd00::1", "ff02::1:ff00:2", "fd00::2", 0, 1),
                                frame_nd(136, M1, "fd00::1", "ff02::1", "fd00::1", 0x20, 2)};
    size_t whole[] = {42, 42, 86, 86};
    for (size_t i = 0; i < 4; i++) {
        for (raws[i].size = 0; raws[i].size < whole[i]; raws[i].size++)
            cr_assert(not(parse(raws[i])), "frame %zu of %zu bytes", i, raws[i].size);
        cr_assert(parse(raws[i]));
    }
}

Test(frame, solicitation_tells_its_sender_and_a_probe_does_not)
{
    cr_assert(claims(frame_nd(135, M1, "fd00::1", "ff02::1:ff00:2", "fd00::2", 0, 1), "fd00::1"));
    cr_assert(eq(int, frame.kind, XTR_FRAME_ND_SOLICIT));
    cr_assert(is_ip(&frame.target, "fd00::2"));
    cr_assert(claims(frame_nd(135, M1, "fd00::1", "fd00::2", "fd00::2", 0, 0), ""));
    cr_assert(claims(frame_nd(135, M1, "::", "ff02::1:ff00:2", "fd00::2", 0, 0), ""));
    cr_assert(eq(int, frame.kind, XTR_FRAME_ND_PROBE));
    cr_assert(not(parse(frame_nd(135, M1, "::", "ff02::1:ff00:2", "fd00::2", 0, 1))));
    cr_assert(not(parse(frame_nd(135, M1, "::", "fd00::2", "fd00::2", 0, 0))));
}

Test(frame, advertisement_tells_its_target)
{
    cr_assert(claims(frame_nd(136, M1, "fe80::1", "fd00::2", "fd00::1", 0x60, 2), "fd00::1"));
    cr_assert(eq(int, frame.kind, XTR_FRAME_ND_ADVERT));
    cr_assert(frame.is_override);
    cr_assert(claims(frame_nd(136, M1, "fd00::1", "ff02::1", "fd00::1", 0, 2), "fd00::1"));
    cr_assert(eq(int, frame.kind, XTR_FRAME_ND_UNSOLICITED));
    cr_assert(not(frame.is_override));
    cr_assert(claims(frame_nd(136, M1, "fd00::1", "fd00::2", "fd00::1", 0x40, 0), ""));
    cr_assert(not(parse(frame_nd(136, M1, "fd00::1", "ff02::1", "fd00::1", 0x40, 2))));
    cr_assert(not(parse(frame_nd(136, M1, "::", "ff02::1", "fd00::1", 0, 2))));
}

Test(frame, discovery_that_rfc_4861_forbids_is_refused)
{
    static const struct {
        size_t at;
        uint8_t value;
        const char *why;
    } wrong[] = {
        {21, 254, "a router has passed it on"}, {55, 1, "its code is not 0"},
        {62, 0xff, "its target is multicast"},  {79, 0, "an option has no length"},
        {79, 2, "an option reaches beyond"},    {80, 1, "a link-layer address is multicast"},
        {22, 0xff, "its source is multicast"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct test_frame raw = frame_nd(136, M1, "fd00::1", "ff02::1", "fd00::1", 0x20, 2);
        raw.bytes[wrong[i].at] = wrong[i].value;
        frame_sum(&raw);
        cr_assert(not(parse(raw)), "%s", wrong[i].why);
    }
    struct test_frame raw = frame_nd(136, M1, "fd00::1", "ff02::1", "fd00::1", 0x20, 2);
    raw.bytes[85] ^= 1;
    cr_assert(not(parse(raw)), "its checksum is wrong");
}

Test(frame, checksum_is_that_of_a_known_packet)
{
    /* fe80::1 asks for fe80::2; summed up by other means. */
    static const uint8_t src[16] = {0xfe, 0x80, [15] = 1};
    static const uint8_t dst[16] = {0xff, 0x02, [11] = 1, [12] = 0xff, [15] = 2};
    static const uint8_t nd[32] = {135, 0, 0x7a, 0x97, [8] = 0xfe, 0x80, [23] = 2, [24] = 1,
                                   1,   2, 0,    0,    0,          0,    1};
    cr_assert(eq(int, xtr_frame_icmp6_sum(src, dst, nd, sizeof nd), 0));
    static const uint8_t odd[3] = {128, 0, 1};
    cr_assert(eq(int, xtr_frame_icmp6_sum((uint8_t[16]){0}, (uint8_t[16]){0}, odd, 3),
                 0xffff - (3 + 58 + 0x8000 + 0x0100)));
}

Test(frame, plain_packets_are_told_by_their_addresses)
{
    struct test_frame raw = {.bytes = {2, 0,    0, 0, 0,  2,         2, 0, 0, 0,  0, 1, 8,
                                       0, 0x45, 0, 0, 20, [26] = 10, 0, 0, 1, 10, 0, 0, 2},
                             .size = 60};
    cr_assert(parse(raw));
    cr_assert(eq(int, frame.kind, XTR_FRAME_IPV4));
    cr_assert(is_ip(&frame.sender, "10.0.0.1") && is_ip(&frame.target, "10.0.0.2"));
    raw.size = 33;
    cr_assert(not(parse(raw)));
    raw = frame_nd(128, M1, "fd00::1", "fd00::2", "::", 0, 0);
    cr_assert(claims(raw, ""));
    cr_assert(eq(int, frame.kind, XTR_FRAME_IPV6));
    cr_assert(is_ip(&frame.target, "fd00::2"));
}

Test(frame, a_vlan_tag_hides_what_is_in_it)
{
    struct test_frame raw = {.size = 64}, arp = frame_arp(1, M1, "10.0.0.1", ZERO, "10.0.0.2");
    memcpy(raw.bytes, arp.bytes, 12);
    memcpy(raw.bytes + 12, (uint8_t[]){0x81, 0, 0, 5}, 4);
    memcpy(raw.bytes + 16, arp.bytes + 12, 48);
    cr_assert(claims(raw, ""));
    cr_assert(eq(int, frame.kind, XTR_FRAME_OTHER));
}

static struct test_frame answer(const char *ip, const char *asker_ip)
{
    struct test_frame raw = {0};
    struct em_ip own = test_ip(ip), asker = asker_ip ? test_ip(asker_ip) : (struct em_ip){0};
    raw.size = xtr_frame_answer(raw.bytes, &own, (uint8_t[]){2, 0, 0, 0, 0, 1}, &asker,
                                (uint8_t[]){2, 0, 0, 0, 0, 2});
    return raw;
}

Test(frame, a_probe_asks_one_station_and_claims_nothing)
{
    static const char *const ips[] = {"10.0.0.1", "fd00::1"};
    for (size_t i = 0; i < 2; i++) {
        struct test_frame raw = {0};
        struct em_ip ip = test_ip(ips[i]);
        raw.size = xtr_frame_probe(raw.bytes, &ip, (uint8_t[]){2, 0, 0, 0, 0, 1},
                                   (uint8_t[]){2, 0, 0, 0, 0, 2});
        cr_assert(claims(raw, ""));
        cr_assert(eq(int, frame.kind, i ? XTR_FRAME_ND_PROBE : XTR_FRAME_ARP_PROBE));
        cr_assert(is_mac(frame.dst_mac, M1) && is_mac(frame.src_mac, M2));
        cr_assert(is_ip(&frame.target, ips[i]));
    }
}

Test(frame, an_answer_is_what_the_rfcs_want)
{
    cr_assert(claims(answer("10.0.0.1", "10.0.0.2"), "10.0.0.1"));
    cr_assert(eq(int, frame.kind, XTR_FRAME_ARP_REPLY));
    cr_assert(is_mac(frame.dst_mac, M2) && is_mac(frame.target_mac, M2));
    cr_assert(is_ip(&frame.target, "10.0.0.2"));
    cr_assert(claims(answer("10.0.0.1", NULL), "10.0.0.1"));
    cr_assert(eq(int, frame.target.size, 0));
    cr_assert(claims(answer("fd00::1", "fd00::2"), "fd00::1"));
    cr_assert(eq(int, frame.kind, XTR_FRAME_ND_ADVERT));
    cr_assert(frame.is_override && is_mac(frame.dst_mac, M2));
    cr_assert(claims(answer("fd00::1", NULL), "fd00::1"));
    cr_assert(eq(int, frame.kind, XTR_FRAME_ND_UNSOLICITED));
    cr_assert(is_mac(frame.dst_mac, "33:33:00:00:00:01"), "a probe is answered to all");
}
