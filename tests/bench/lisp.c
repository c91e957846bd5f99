#include "lisp.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#define MAP_REQUEST  1
#define MAP_REPLY    2
#define MAP_REGISTER 3
#define MAP_NOTIFY   4
#define ENCAPSULATED 8

#define WANT_NOTIFY   0x00000100 /* M of a Map-Register */
#define PROXY_REPLY   0x08000000 /* P */
#define AFI_NONE      0
#define AFI_IPV4      1
#define HMAC_SHA_1    1 /* Algorithm ID, as small as OOR has one */
#define DIGEST        20
#define HEADER        12 /* type and flags, nonce */
#define RECORD        28 /* a record of one IPv4 EID with one IPv4 locator */
#define TTL_MINUTES   1440
#define PRIORITY      1
#define WEIGHT        100
#define REACHABLE     0x0001     /* R of a locator */
#define AUTHORITATIVE 0x10       /* A of a record, behind three bits of action */
#define NETWORK       0x0a000000 /* 10.0.0.0 */
#define LOCATOR       0xc0000201 /* 192.0.2.1 */

const char lisp_prefix[] = "10.0.0.0/8";

struct writer {
    uint8_t *start, *at;
};

static void put8(struct writer *w, uint8_t value)
{
    *w->at++ = value;
}

static void put16(struct writer *w, uint16_t value)
{
    put8(w, (uint8_t)(value >> 8));
    put8(w, (uint8_t)value);
}

static void put32(struct writer *w, uint32_t value)
{
    put16(w, (uint16_t)(value >> 16));
    put16(w, (uint16_t)value);
}

static void put_nonce(struct writer *w, uint64_t nonce)
{
    put32(w, (uint32_t)(nonce >> 32));
    put32(w, (uint32_t)nonce);
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint32_t eid(uint32_t number)
{
    return NETWORK | (number & 0xffffff);
}

static uint16_t checksum(const void *header, size_t size)
{
    const uint8_t *at = header;
    uint32_t sum = 0;
    for (size_t i = 0; i < size; i += 2)
        sum += (uint32_t)at[i] << 8 | at[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    sum += sum >> 16;
    return htons((uint16_t)~sum);
}

/* RFC 9301 section 5.8: the inner addresses are EIDs or RLOCs; a UDP checksum of zero is taken. */
static void put_inner(struct writer *w, uint32_t itr_be, uint32_t number, uint16_t port_be)
{
    struct iphdr ip = {.version = 4,
                       .ihl = sizeof(ip) / 4,
                       .ttl = 64,
                       .protocol = IPPROTO_UDP,
                       .saddr = itr_be,
                       .daddr = htonl(eid(number))};
    struct udphdr udp = {.source = port_be, .dest = htons(LISP_UDP_PORT)};
    size_t message = HEADER + 2 + 6 + 8; /* as lisp_put_request() writes it */
    udp.len = htons((uint16_t)(sizeof(udp) + message));
    ip.tot_len = htons((uint16_t)(sizeof(ip) + sizeof(udp) + message));
    ip.check = checksum(&ip, sizeof(ip));
    memcpy(w->at, &ip, sizeof(ip));
    memcpy(w->at + sizeof(ip), &udp, sizeof(udp));
    w->at += sizeof(ip) + sizeof(udp);
}

/* RFC 9301 section 5.2: no source EID, one ITR-RLOC, one record. */
size_t lisp_put_request(uint8_t out[LISP_SIZE_MAX], uint64_t nonce, uint32_t number,
                        uint32_t itr_be, uint16_t port_be)
{
    struct writer w = {out, out};
    put32(&w, (uint32_t)ENCAPSULATED << 28);
    put_inner(&w, itr_be, number, port_be);
    put32(&w, (uint32_t)MAP_REQUEST << 28 | 1);
    put_nonce(&w, nonce);
    put16(&w, AFI_NONE);
    put16(&w, AFI_IPV4);
    put32(&w, ntohl(itr_be));
    put8(&w, 0);
    put8(&w, 32);
    put16(&w, AFI_IPV4);
    put32(&w, eid(number));
    return (size_t)(w.at - w.start);
}

/* RFC 9301 section 5.4, which 5.6 refers to. */
static void put_record(struct writer *w, uint32_t number)
{
    put32(w, TTL_MINUTES);
    put8(w, 1); /* locator */
    put8(w, 32);
    put8(w, AUTHORITATIVE);
    put8(w, 0);
    put16(w, 0); /* map version */
    put16(w, AFI_IPV4);
    put32(w, eid(number));
    put8(w, PRIORITY);
    put8(w, WEIGHT);
    put8(w, 255); /* multicast: never */
    put8(w, 0);
    put16(w, REACHABLE);
    put16(w, AFI_IPV4);
    put32(w, LOCATOR);
}

/* RFC 9301 section 5.6: the digest is of the whole message, with zeroes in its own place. */
size_t lisp_put_register(uint8_t out[LISP_SIZE_MAX], uint64_t nonce, uint32_t first, unsigned n,
                         const char *key)
{
    struct writer w = {out, out};
    assert(n <= LISP_RECORDS_MAX);
    put32(&w, (uint32_t)MAP_REGISTER << 28 | PROXY_REPLY | WANT_NOTIFY | n);
    put_nonce(&w, nonce);
    put16(&w, HMAC_SHA_1); /* Key ID 0, Algorithm ID */
    put16(&w, DIGEST);
    uint8_t *digest = w.at;
    memset(digest, 0, DIGEST);
    w.at += DIGEST;
    for (unsigned i = 0; i < n; i++)
        put_record(&w, first + i);
    size_t size = (size_t)(w.at - w.start);
    uint8_t made[EVP_MAX_MD_SIZE];
    HMAC(EVP_sha1(), key, (int)strlen(key), out, size, made, NULL);
    memcpy(digest, made, DIGEST);
    return size;
}

static bool is_of_type(const uint8_t *data, size_t size, unsigned type, uint64_t *ret_nonce)
{
    if (size < HEADER || data[0] >> 4 != type)
        return false;
    *ret_nonce = (uint64_t)get32(data + 4) << 32 | get32(data + 8);
    return true;
}

bool lisp_is_notify(const uint8_t *data, size_t size, uint64_t *ret_nonce)
{
    return is_of_type(data, size, MAP_NOTIFY, ret_nonce);
}

bool lisp_is_reply(const uint8_t *data, size_t size, uint64_t *ret_nonce)
{
    return is_of_type(data, size, MAP_REPLY, ret_nonce);
}

bool lisp_is_positive(const uint8_t *data, size_t size, uint32_t number)
{
    const uint8_t *record = data + HEADER;
    return size == HEADER + RECORD && data[3] == 1 && record[4] == 1 && record[5] == 32 &&
           get32(record + 12) == eid(number) && get32(record + 24) == LOCATOR;
}

bool lisp_is_request(const uint8_t *data, size_t size, uint64_t *ret_nonce)
{
    const size_t outer = 4 + sizeof(struct iphdr) + sizeof(struct udphdr);
    return size > outer && is_of_type(data + outer, size - outer, MAP_REQUEST, ret_nonce);
}
