#include "xtr/frames.h"

#include "frame.h"
#include "xtr/ops.h"

#include <criterion/criterion.h>
#include <string.h>

static void put_mac(uint8_t *at, const char *text)
{
    cr_assert_eq(em_mac_parse(text, at, NULL), 0, "%s", text);
}

static void put_ip(uint8_t *at, const char *text)
{
    struct em_ip ip = test_ip(text);
    memcpy(at, ip.addr, ip.size);
}

static struct test_frame ethernet(const char *dst, const char *src, unsigned type)
{
    struct test_frame frame = {.size = 14};
    put_mac(frame.bytes, dst);
    put_mac(frame.bytes + 6, src);
    frame.bytes[12] = (uint8_t)(type >> 8);
    frame.bytes[13] = (uint8_t)type;
    return frame;
}

struct test_frame frame_arp(unsigned op, const char *mac, const char *sender_ip,
                            const char *target_mac, const char *target_ip)
{
    struct test_frame frame = ethernet("ff:ff:ff:ff:ff:ff", mac, 0x0806);
    memcpy(frame.bytes + 14, (uint8_t[]){0, 1, 8, 0, 6, 4, 0, (uint8_t)op}, 8);
    put_mac(frame.bytes + 22, mac);
    put_ip(frame.bytes + 28, sender_ip);
    put_mac(frame.bytes + 32, target_mac);
    put_ip(frame.bytes + 38, target_ip);
    frame.size = 60; /* padded */
    return frame;
}

struct test_frame frame_rarp(const char *mac)
{
    struct test_frame frame = frame_arp(3, mac, "0.0.0.0", mac, "0.0.0.0");
    frame.bytes[12] = 0x80;
    frame.bytes[13] = 0x35;
    return frame;
}

struct test_frame frame_nd(unsigned type, const char *mac, const char *src, const char *dst,
                           const char *target, unsigned flags, unsigned option)
{
    struct test_frame frame = ethernet("33:33:00:00:00:01", mac, 0x86dd);
    uint8_t *ip = frame.bytes + 14;
    ip[0] = 0x60;
    ip[5] = option ? 32 : 24;
    ip[6] = 58;
    ip[7] = 255;
    put_ip(ip + 8, src);
    put_ip(ip + 24, dst);
    ip[40] = (uint8_t)type;
    ip[44] = (uint8_t)flags;
    put_ip(ip + 48, target);
    if (option) {
        ip[64] = (uint8_t)option;
        ip[65] = 1;
        put_mac(ip + 66, mac);
    }
    frame.size = 14u + 40 + ip[5];
    frame_sum(&frame);
    return frame;
}

void frame_sum(struct test_frame *frame)
{
    uint8_t *ip = frame->bytes + 14;
    ip[42] = ip[43] = 0;
    uint16_t sum = xtr_frame_icmp6_sum(ip + 8, ip + 24, ip + 40, ip[5]);
    ip[42] = (uint8_t)(sum >> 8);
    ip[43] = (uint8_t)sum;
}
