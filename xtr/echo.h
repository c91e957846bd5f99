/* The packet of a probe and of its answer: 20 bytes of UDP, the same size both ways, so that
 * nobody gains by sending one under another's address.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+---------------+---------------+
 *     |      'e'      |      'i'      |      'd'      |      'm'      |
 *     +---------------+---------------+---------------+---------------+
 *     |  version: 1   |1: ask 2: answer|             zero             |
 *     +---------------+---------------+-------------------------------+
 *     |                    tag: the asker's own                       |
 *     +---------------------------------------------------------------+
 *     |                    nonce: the asker's own                     |
 *     |                                                               |
 *     +---------------------------------------------------------------+
 *
 * It is the echo function of BFD in spirit, not RFC 5880 on the wire. */
#ifndef XTR_ECHO_H
#define XTR_ECHO_H

#include <stddef.h>
#include <stdint.h>

#define XTR_ECHO_SIZE 20

enum xtr_echo_type { XTR_ECHO_ASK = 1, XTR_ECHO_ANSWER = 2 };

struct xtr_echo {
    enum xtr_echo_type type;
    uint32_t tag;
    uint64_t nonce; /* as drawn: an answer repeats its bytes */
};

void xtr_echo_pack(const struct xtr_echo *echo, uint8_t ret_bytes[XTR_ECHO_SIZE]);

/* 0, or EM_E_MALFORMED for everything else. */
int xtr_echo_parse(const uint8_t *bytes, size_t size, struct xtr_echo *ret_echo);

#endif
