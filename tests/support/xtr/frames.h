/* Frames as guests send them, built by hand from the RFCs: shares no code with the parser but
 * its checksum, which has a test of its own. */
#ifndef TEST_FRAMES_H
#define TEST_FRAMES_H

#include <stddef.h>
#include <stdint.h>

struct test_frame {
    uint8_t bytes[128];
    size_t size;
};

/* 'op' of ARP: 1 request, 2 reply.  It is sent by, and speaks of, 'mac'. */
struct test_frame frame_arp(unsigned op, const char *mac, const char *sender_ip,
                            const char *target_mac, const char *target_ip);
/* As QEMU announces a guest. */
struct test_frame frame_rarp(const char *mac);

/* Neighbour discovery from 'mac'; 'type' 135 or 136, 'flags' of an advertisement (0x40 asked
 * for, 0x20 override), 'option' 1 or 2: a link-layer address of 'mac', 0: none. */
struct test_frame frame_nd(unsigned type, const char *mac, const char *src, const char *dst,
                           const char *target, unsigned flags, unsigned option);
/* After a change of a neighbour discovery's bytes. */
void frame_sum(struct test_frame *frame);

#endif
