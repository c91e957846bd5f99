/* Addresses and identifiers: MAC, IPv4, IPv6, prefixes, EIDs, port-ids, and their text.
 *
 * Every address has one text form (IPv6 as RFC 5952, MAC in lower case with colons)
 * and one binary form (network byte order).  A parser takes only a whole string;
 * what it refuses it explains with a sentence that says what was expected. */
#ifndef EIDMAP_ADDR_H
#define EIDMAP_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EM_MAC_SIZE       6
#define EM_MAC_TEXT       18  /* text sizes include the final NUL */
#define EM_IP_TEXT        46
#define EM_PREFIX_TEXT    50
#define EM_PORT_ID_SIZE   63  /* most bytes of a port-id */
#define EM_PORT_ID_TEXT   64
#define EM_NAME_SIZE      253 /* most bytes of a DNS name, RFC 1035 section 2.3.4 */
#define EM_EID_TEXT       256
#define EM_ADDR_WHY       160 /* room for a parser's sentence */
#define EM_VXLAN_UDP_PORT 4789 /* RFC 7348 section 5 */
#define EM_SEGMENT_MAX    16777215u /* 24 bits: RFC 7348 section 5 */

/* An IPv4 or IPv6 address. */
struct em_ip {
    uint8_t size; /* 4 or 16; 0: none */
    uint8_t addr[16];
};

/* The values are those of EidKind in the protocol. */
enum em_eid_kind {
    EM_EID_NONE = 0,
    EM_EID_MAC = 1,
    EM_EID_IPV4 = 2,
    EM_EID_IPV6 = 3,
    EM_EID_IPV4_PREFIX = 4,
    EM_EID_IPV6_PREFIX = 5,
    EM_EID_NAME = 6,
    EM_EID_SERVICE = 7,
    EM_EID_PORT_ID = 8,
};

/* An endpoint identifier.  Plain data: copied by assignment, but for 'name'. */
struct em_eid {
    enum em_eid_kind kind;
    uint8_t prefix_len; /* bits, prefix kinds only */
    uint8_t protocol;   /* IP protocol, EM_EID_SERVICE only */
    uint8_t size;       /* bytes of 'addr', or of 'name' */
    uint16_t l4_port;   /* host order, EM_EID_SERVICE only */
    uint8_t addr[16];   /* all kinds but EM_EID_NAME and EM_EID_PORT_ID; the rest is zero */
    const char *name;   /* EM_EID_NAME (text) and EM_EID_PORT_ID (bytes): lent, 'size' bytes */
};

/* A port-id in its binary form: text, or 0x00 and the 16 bytes of a UUID.
 * Two texts of one UUID (upper, lower case) are the same port-id. */
struct em_port_id {
    uint8_t size;
    uint8_t bytes[EM_PORT_ID_SIZE];
};

/* Parsers: 0, or -EINVAL with a sentence in 'why' (EM_ADDR_WHY bytes; may be NULL). */
int em_mac_parse(const char *text, uint8_t ret_mac[EM_MAC_SIZE], char *why);
int em_ip_parse(const char *text, struct em_ip *ret_ip, char *why);

/* "10.0.0.0/8", "2001:db8::/32"; a plain address is a host, EM_EID_IPV4 or _IPV6, and so
 * is one with /32 or /128.  Host bits below the mask are refused. */
int em_prefix_parse(const char *text, struct em_eid *ret_eid, char *why);

/* Any EID as a person writes it: a MAC, an address, a prefix, "tcp/10.0.0.1:443",
 * "tcp/[2001:db8::1]:443" (tcp, udp, sctp or a number), "port:ID", else a DNS name.
 * A name and a port-id point into 'text' and into 'name_buf' (EM_EID_TEXT bytes). */
int em_eid_parse(const char *text, struct em_eid *ret_eid, char *name_buf, char *why);

/* "ADDRESS:PORT", "[v6]:PORT" with a numeric host; a missing port is 'default_port'. */
int em_endpoint_parse(const char *text, uint16_t default_port, struct em_ip *ret_ip,
                      uint16_t *ret_port, char *why);

int em_port_id_parse(const char *text, struct em_port_id *ret_id, char *why);

/* 1 .. 63 bytes of [A-Za-z0-9._-], beginning with a letter or digit: node-ids, networks. */
int em_ident_check(const char *text, char *why);

/* Printers return 'text'. */
char *em_mac_format(const uint8_t mac[EM_MAC_SIZE], char text[EM_MAC_TEXT]);
char *em_ip_format(const uint8_t *addr, size_t size, char text[EM_IP_TEXT]);
char *em_eid_format(const struct em_eid *eid, char text[EM_EID_TEXT]);
char *em_port_id_format(const uint8_t *bytes, size_t size, char text[EM_PORT_ID_TEXT]);

/* Is this, as it came from outside, a well-formed EID that a port may hold: right length,
 * host bits zero, unicast, not unspecified, not loopback?  0 or -EINVAL with 'why'. */
int em_eid_check(const struct em_eid *eid, char *why);

/* Is 'bytes' a port-id as em_port_id_parse() makes it?  0 or -EINVAL with 'why'. */
int em_port_id_check(const uint8_t *bytes, size_t size, char *why);

bool em_port_id_equal(const struct em_port_id *a, const struct em_port_id *b);

bool em_ip_equal(const struct em_ip *a, const struct em_ip *b);

/* May this be an underlay address: unicast, not unspecified, not loopback, not multicast? */
bool em_ip_is_usable(const uint8_t *addr, size_t size);

/* Total order by kind, address, length; 0 if equal. */
int em_eid_compare(const struct em_eid *a, const struct em_eid *b);

/* Does 'range' (a prefix or an address) hold the address or prefix 'eid'? */
bool em_eid_covers(const struct em_eid *range, const struct em_eid *eid);

/* Bits of an IP EID's address (32, 128), and of the part that is significant. */
unsigned em_eid_width(const struct em_eid *eid);
unsigned em_eid_prefix_len(const struct em_eid *eid);

/* The range of 'len' bits around the address of 'eid' (host bits zeroed); a full length
 * gives a host address. */
struct em_eid em_eid_range(const struct em_eid *eid, unsigned len);

/* Leading bits that two addresses of 'size' bytes share. */
unsigned em_common_bits(const uint8_t *a, const uint8_t *b, size_t size);

static inline bool em_eid_is_prefix(const struct em_eid *eid)
{
    return eid->kind == EM_EID_IPV4_PREFIX || eid->kind == EM_EID_IPV6_PREFIX;
}

static inline bool em_eid_is_ip(const struct em_eid *eid)
{
    return eid->kind >= EM_EID_IPV4 && eid->kind <= EM_EID_IPV6_PREFIX;
}

#ifdef __cplusplus
}
#endif

#endif
