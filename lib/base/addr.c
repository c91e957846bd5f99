/* Text of addresses and identifiers, what a port may hold of them, and prefix arithmetic.
 *
 * The numeric forms of IPv4 and IPv6 are left to inet_pton(3), which takes neither leading
 * zeros nor a zone; everything around them is taken apart here, from whole strings only. */
#include "eidmap/addr.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define QUOTE_SIZE     40 /* bytes of input that a sentence repeats */
#define LABEL_SIZE     63 /* RFC 1035 section 2.3.4 */
#define UUID_TEXT_LEN  36
#define UUID_BYTES     16
#define UUID_TAG       0x00 /* first byte of a port-id that is a UUID */
#define PORT_ID_PREFIX "port:"

#define EXPECTED_IP "an IPv4 or IPv6 address such as 10.0.0.1 or 2001:db8::1"

/* ---- small pieces; no locale, unlike <ctype.h> ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_graph(char c)
{
    return c > 0x20 && c < 0x7f;
}

static char to_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    c = to_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int hex_byte(const char *text)
{
    int high = hex_value(text[0]);
    int low = high < 0 ? -1 : hex_value(text[1]);
    return low < 0 ? -1 : high << 4 | low;
}

static bool is_all(const uint8_t *bytes, size_t size, uint8_t value)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

/* A decimal number without sign, blanks or leading zeros; false above 'max'. */
static bool parse_number(const char *text, unsigned max, unsigned *ret_number)
{
    unsigned n = 0;
    if (!is_digit(text[0]) || (text[0] == '0' && text[1]))
        return false;
    for (; is_digit(*text); text++) {
        n = n * 10 + (unsigned)(*text - '0');
        if (n > max)
            return false;
    }
    if (*text)
        return false;
    *ret_number = n;
    return true;
}

__attribute__((format(printf, 2, 3))) static int refuse(char *why, const char *format, ...)
{
    if (why) {
        va_list args;
        va_start(args, format);
        vsnprintf(why, EM_ADDR_WHY, format, args);
        va_end(args);
    }
    return -EINVAL;
}

/* "expected X, got "text"", with what was typed cut short and made printable. */
static int refuse_text(char *why, const char *expected, const char *text)
{
    char quote[QUOTE_SIZE + 4];
    size_t n = strnlen(text, QUOTE_SIZE + 1);
    bool is_cut = n > QUOTE_SIZE;
    if (is_cut)
        n = QUOTE_SIZE;
    for (size_t i = 0; i < n; i++)
        quote[i] = is_graph(text[i]) || text[i] == ' ' ? text[i] : '?';
    strcpy(quote + n, is_cut ? "..." : "");
    return refuse(why, "expected %s, got \"%s\"", expected, quote);
}

/* ---- addresses ---- */

/* 'text' has 'size' bytes and need not end in NUL. */
static bool read_mac(const char *text, size_t size, uint8_t ret_mac[EM_MAC_SIZE])
{
    if (size != EM_MAC_TEXT - 1 || (text[2] != ':' && text[2] != '-'))
        return false;
    for (size_t i = 0; i < EM_MAC_SIZE; i++) {
        int byte = hex_byte(text + 3 * i);
        if (byte < 0 || (i > 0 && text[3 * i - 1] != text[2]))
            return false;
        ret_mac[i] = (uint8_t)byte;
    }
    return true;
}

int em_mac_parse(const char *text, uint8_t ret_mac[EM_MAC_SIZE], char *why)
{
    uint8_t mac[EM_MAC_SIZE];
    if (!read_mac(text, strnlen(text, EM_MAC_TEXT), mac))
        return refuse_text(why, "a MAC address such as 02:00:00:00:00:01", text);
    memcpy(ret_mac, mac, EM_MAC_SIZE);
    return 0;
}

char *em_mac_format(const uint8_t mac[EM_MAC_SIZE], char text[EM_MAC_TEXT])
{
    snprintf(text, EM_MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
             mac[4], mac[5]);
    return text;
}

int em_ip_parse(const char *text, struct em_ip *ret_ip, char *why)
{
    struct em_ip ip = {0};
    if (inet_pton(AF_INET, text, ip.addr) == 1)
        ip.size = 4;
    else if (inet_pton(AF_INET6, text, ip.addr) == 1)
        ip.size = 16;
    else
        return refuse_text(why, EXPECTED_IP, text);
    *ret_ip = ip;
    return 0;
}

char *em_ip_format(const uint8_t *addr, size_t size, char text[EM_IP_TEXT])
{
    strcpy(text, "none");
    if (size == 4) {
        inet_ntop(AF_INET, addr, text, EM_IP_TEXT);
    } else if (size == 16) {
        inet_ntop(AF_INET6, addr, text, EM_IP_TEXT);
        /* glibc writes the IPv4-compatible ::/96, which RFC 4291 has retired, with dots;
         * RFC 5952 section 5 keeps those for prefixes that are known to hold IPv4. */
        if (strchr(text, '.') && is_all(addr, 12, 0))
            snprintf(text, EM_IP_TEXT, "::%x:%x", addr[12] << 8 | addr[13],
                     addr[14] << 8 | addr[15]);
    }
    return text;
}

/* Takes "ADDRESS:PORT", "[v6]:PORT", and without ":PORT" ADDRESS, v6, [v6] if 'port' is set
 * beforehand; -1 beforehand asks for a port. */
static bool parse_host_port(const char *text, struct em_ip *ip, int *port)
{
    char host[EM_IP_TEXT];
    const char *end, *colon = strrchr(text, ':');
    bool is_bracketed = text[0] == '[';
    if (is_bracketed) {
        end = strchr(++text, ']');
        if (!end || (end[1] && end[1] != ':'))
            return false;
        colon = end[1] ? end + 1 : NULL;
    } else {
        if (colon && strchr(text, ':') != colon)
            colon = NULL; /* a bare IPv6 address has no port */
        end = colon ? colon : text + strlen(text);
    }
    size_t n = (size_t)(end - text);
    unsigned number = 0;
    if (n >= sizeof(host) || (!colon && *port < 0))
        return false;
    memcpy(host, text, n);
    host[n] = 0;
    if (em_ip_parse(host, ip, NULL) || (is_bracketed && ip->size != 16))
        return false;
    if (colon && !parse_number(colon + 1, UINT16_MAX, &number))
        return false;
    if (colon)
        *port = (int)number;
    return true;
}

int em_endpoint_parse(const char *text, uint16_t default_port, struct em_ip *ret_ip,
                      uint16_t *ret_port, char *why)
{
    struct em_ip ip;
    int port = default_port;
    if (!parse_host_port(text, &ip, &port))
        return refuse_text(why, "ADDRESS:PORT such as 10.0.0.1:4342 or [2001:db8::1]:4342", text);
    *ret_ip = ip;
    *ret_port = (uint16_t)port;
    return 0;
}

bool em_port_id_equal(const struct em_port_id *a, const struct em_port_id *b)
{
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

bool em_ip_equal(const struct em_ip *a, const struct em_ip *b)
{
    return a->size == b->size && memcmp(a->addr, b->addr, a->size) == 0;
}

bool em_ip_is_usable(const uint8_t *addr, size_t size)
{
    static const uint8_t loopback[16] = {[15] = 1};
    if (size == 4)
        return addr[0] != 0 && addr[0] != 127 && (addr[0] & 0xf0) != 224 && !is_all(addr, 4, 0xff);
    if (size != 16 || is_all(addr, 16, 0) || memcmp(addr, loopback, 16) == 0)
        return false;
    /* ::ffff:0:0/96 would be a second spelling of an IPv4 address. */
    bool is_mapped = is_all(addr, 10, 0) && is_all(addr + 10, 2, 0xff);
    return addr[0] != 0xff && !is_mapped;
}

/* ---- prefix arithmetic ---- */

unsigned em_common_bits(const uint8_t *a, const uint8_t *b, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (a[i] != b[i])
            return (unsigned)(i * 8) + (unsigned)__builtin_clz((unsigned)(a[i] ^ b[i])) - 24;
    return (unsigned)size * 8;
}

unsigned em_eid_width(const struct em_eid *eid)
{
    return eid->size * 8u;
}

unsigned em_eid_prefix_len(const struct em_eid *eid)
{
    return em_eid_is_prefix(eid) ? eid->prefix_len : em_eid_width(eid);
}

struct em_eid em_eid_range(const struct em_eid *eid, unsigned len)
{
    unsigned width = em_eid_width(eid);
    assert(em_eid_is_ip(eid) && len <= width);
    bool is_v4 = eid->size == 4, is_host = len == width;
    struct em_eid range = {.size = eid->size};
    if (is_host)
        range.kind = is_v4 ? EM_EID_IPV4 : EM_EID_IPV6;
    else
        range.kind = is_v4 ? EM_EID_IPV4_PREFIX : EM_EID_IPV6_PREFIX;
    range.prefix_len = (uint8_t)(is_host ? 0 : len);
    memcpy(range.addr, eid->addr, len / 8);
    if (len % 8)
        range.addr[len / 8] = (uint8_t)(eid->addr[len / 8] & 0xff00u >> len % 8);
    return range;
}

bool em_eid_covers(const struct em_eid *range, const struct em_eid *eid)
{
    if (!em_eid_is_ip(range) || !em_eid_is_ip(eid) || range->size != eid->size)
        return false;
    unsigned len = em_eid_prefix_len(range);
    return len <= em_eid_prefix_len(eid) &&
           em_common_bits(range->addr, eid->addr, range->size) >= len;
}

static struct em_eid eid_of_ip(const struct em_ip *ip)
{
    struct em_eid eid = {.kind = ip->size == 4 ? EM_EID_IPV4 : EM_EID_IPV6, .size = ip->size};
    memcpy(eid.addr, ip->addr, ip->size);
    return eid;
}

int em_prefix_parse(const char *text, struct em_eid *ret_eid, char *why)
{
    static const char expected[] = "a prefix such as 10.0.0.0/8 or 2001:db8::/32";
    char host[EM_IP_TEXT], should[EM_EID_TEXT];
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    struct em_ip ip;
    if (n >= sizeof(host))
        return refuse_text(why, expected, text);
    memcpy(host, text, n);
    host[n] = 0;
    if (em_ip_parse(host, &ip, NULL))
        return refuse_text(why, slash ? expected : EXPECTED_IP, text);
    struct em_eid host_eid = eid_of_ip(&ip);
    unsigned len = ip.size * 8u;
    if (slash && !parse_number(slash + 1, len, &len))
        return refuse_text(why, expected, text);
    struct em_eid range = em_eid_range(&host_eid, len);
    if (memcmp(range.addr, ip.addr, ip.size) != 0) {
        strcat(em_eid_format(&range, should), " (host bits are zero)");
        return refuse_text(why, should, text);
    }
    *ret_eid = range;
    return 0;
}

/* ---- names and identifiers ---- */

int em_ident_check(const char *text, char *why)
{
    size_t n = 0;
    while (n <= 63 && text[n] && (is_alnum(text[n]) || strchr("._-", text[n])))
        n++;
    if (text[n] || n == 0 || n > 63 || !is_alnum(text[0]))
        return refuse_text(why, "1 to 63 letters, digits, '.', '_' or '-', a letter or digit first",
                           text);
    return 0;
}

/* Labels of letters, digits, '-' and '_' (RFC 2782), neither beginning nor ending in '-'.
 * What reads as a MAC is one, and digits and dots alone are an address that may be wrong. */
static bool is_name(const char *text, size_t size)
{
    size_t label = 0;
    bool is_numeric = true;
    uint8_t mac[EM_MAC_SIZE];
    if (size == 0 || size > EM_NAME_SIZE || read_mac(text, size, mac))
        return false;
    for (size_t i = 0; i < size; i++) {
        is_numeric = is_numeric && (is_digit(text[i]) || text[i] == '.');
        bool is_last = i + 1 == size || text[i + 1] == '.';
        if (text[i] == '.' ? label == 0 || i + 1 == size : ++label > LABEL_SIZE)
            return false;
        if (text[i] == '.')
            label = 0;
        else if (text[i] == '-' ? label == 1 || is_last : !is_alnum(text[i]) && text[i] != '_')
            return false;
    }
    return !is_numeric;
}

static bool is_upper_in(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (to_lower(text[i]) != text[i])
            return true;
    return false;
}

/* 'text' has 'size' bytes and need not end in NUL. */
static bool parse_uuid(const char *text, size_t size, uint8_t ret_uuid[UUID_BYTES])
{
    static const uint8_t at[UUID_BYTES] = {0,  2,  4,  6,  9,  11, 14, 16,
                                           19, 21, 24, 26, 28, 30, 32, 34};
    if (size != UUID_TEXT_LEN)
        return false;
    for (size_t i = 0; i < UUID_BYTES; i++) {
        int byte = hex_byte(text + at[i]);
        if (byte < 0)
            return false;
        ret_uuid[i] = (uint8_t)byte;
    }
    return text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-';
}

int em_port_id_parse(const char *text, struct em_port_id *ret_id, char *why)
{
    struct em_port_id id = {0};
    while (id.size < EM_PORT_ID_SIZE && is_graph(text[id.size])) {
        id.bytes[id.size] = (uint8_t)text[id.size];
        id.size++;
    }
    if (text[id.size] || id.size == 0)
        return refuse_text(why, "a port-id of 1 to 63 printable characters without blanks", text);
    uint8_t uuid[UUID_BYTES];
    if (parse_uuid(text, id.size, uuid)) {
        id = (struct em_port_id){.size = UUID_BYTES + 1, .bytes = {UUID_TAG}};
        memcpy(id.bytes + 1, uuid, UUID_BYTES);
    }
    *ret_id = id;
    return 0;
}

int em_port_id_check(const uint8_t *bytes, size_t size, char *why)
{
    uint8_t uuid[UUID_BYTES];
    if (size == UUID_BYTES + 1 && bytes[0] == UUID_TAG)
        return 0;
    if (size == 0 || size > EM_PORT_ID_SIZE)
        return refuse(why, "expected a port-id of 1 to 63 bytes, got %zu", size);
    for (size_t i = 0; i < size; i++)
        if (!is_graph((char)bytes[i]))
            return refuse(why, "expected a port-id of printable characters, got byte 0x%02x",
                          bytes[i]);
    if (parse_uuid((const char *)bytes, size, uuid))
        return refuse(why, "expected a UUID port-id as 0x00 and 16 bytes, got its text");
    return 0;
}

char *em_port_id_format(const uint8_t *bytes, size_t size, char text[EM_PORT_ID_TEXT])
{
    char *end = text;
    if (size == UUID_BYTES + 1 && bytes[0] == UUID_TAG) {
        for (size_t i = 1; i < size; i++)
            end += sprintf(end, i == 5 || i == 7 || i == 9 || i == 11 ? "-%02x" : "%02x", bytes[i]);
        return text;
    }
    for (size_t i = 0; i < size && i < EM_PORT_ID_SIZE; i++)
        *end++ = is_graph((char)bytes[i]) ? (char)bytes[i] : '?';
    *end = 0;
    return text;
}

/* ---- EIDs ---- */

static const struct {
    const char *name;
    uint8_t protocol;
} protocols[] = {{"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}, {"sctp", IPPROTO_SCTP}};

#define N_PROTOCOLS (sizeof(protocols) / sizeof(protocols[0]))

static bool parse_protocol(const char *text, size_t len, uint8_t *ret_protocol)
{
    char word[8];
    unsigned number;
    if (len >= sizeof(word))
        return false;
    memcpy(word, text, len);
    word[len] = 0;
    for (size_t i = 0; i < N_PROTOCOLS; i++) {
        if (strcmp(word, protocols[i].name) == 0) {
            *ret_protocol = protocols[i].protocol;
            return true;
        }
    }
    if (!parse_number(word, UINT8_MAX, &number) || number == 0)
        return false;
    *ret_protocol = (uint8_t)number;
    return true;
}

static int parse_service(const char *text, size_t protocol_len, struct em_eid *ret_eid, char *why)
{
    struct em_ip ip;
    int port = -1;
    uint8_t protocol;
    if (!parse_protocol(text, protocol_len, &protocol) ||
        !parse_host_port(text + protocol_len + 1, &ip, &port) || port == 0)
        return refuse_text(why, "a service such as tcp/10.0.0.1:443 or udp/[2001:db8::1]:53", text);
    *ret_eid = eid_of_ip(&ip);
    ret_eid->kind = EM_EID_SERVICE;
    ret_eid->protocol = protocol;
    ret_eid->l4_port = (uint16_t)port;
    return 0;
}

static int parse_name(const char *text, struct em_eid *ret_eid, char *name_buf, char *why)
{
    size_t n = strnlen(text, EM_NAME_SIZE + 2);
    if (n > 1 && text[n - 1] == '.')
        n--;
    if (!is_name(text, n))
        return refuse_text(why, "a MAC, an address, a prefix, port:ID or a DNS name", text);
    for (size_t i = 0; i < n; i++)
        name_buf[i] = to_lower(text[i]);
    name_buf[n] = 0;
    *ret_eid = (struct em_eid){.kind = EM_EID_NAME, .size = (uint8_t)n, .name = name_buf};
    return 0;
}

static int parse_port_eid(const char *text, struct em_eid *ret_eid, char *name_buf, char *why)
{
    struct em_port_id id;
    int r = em_port_id_parse(text, &id, why);
    if (r)
        return r;
    memcpy(name_buf, id.bytes, id.size);
    *ret_eid = (struct em_eid){.kind = EM_EID_PORT_ID, .size = id.size, .name = name_buf};
    return 0;
}

int em_eid_parse(const char *text, struct em_eid *ret_eid, char *name_buf, char *why)
{
    struct em_eid mac = {.kind = EM_EID_MAC, .size = EM_MAC_SIZE};
    if (strncmp(text, PORT_ID_PREFIX, strlen(PORT_ID_PREFIX)) == 0)
        return parse_port_eid(text + strlen(PORT_ID_PREFIX), ret_eid, name_buf, why);
    if (em_mac_parse(text, mac.addr, NULL) == 0) {
        *ret_eid = mac;
        return 0;
    }
    const char *slash = strchr(text, '/');
    size_t before = slash ? (size_t)(slash - text) : 0;
    if (slash && !memchr(text, '.', before) && !memchr(text, ':', before))
        return parse_service(text, before, ret_eid, why);
    if (slash || strchr(text, ':') || (*text && strspn(text, "0123456789.") == strlen(text)))
        return em_prefix_parse(text, ret_eid, why);
    return parse_name(text, ret_eid, name_buf, why);
}

static char *format_service(const struct em_eid *eid, char text[EM_EID_TEXT])
{
    char ip[EM_IP_TEXT], number[4];
    const char *name = NULL;
    for (size_t i = 0; i < N_PROTOCOLS; i++)
        if (protocols[i].protocol == eid->protocol)
            name = protocols[i].name;
    snprintf(number, sizeof(number), "%u", eid->protocol);
    snprintf(text, EM_EID_TEXT, eid->size == 16 ? "%s/[%s]:%u" : "%s/%s:%u", name ? name : number,
             em_ip_format(eid->addr, eid->size, ip), eid->l4_port);
    return text;
}

static char *format_name(const struct em_eid *eid, char text[EM_EID_TEXT])
{
    size_t n = 0;
    for (; n < eid->size; n++)
        text[n] = is_graph(eid->name[n]) ? eid->name[n] : '?';
    text[n] = 0;
    return text;
}

char *em_eid_format(const struct em_eid *eid, char text[EM_EID_TEXT])
{
    char ip[EM_IP_TEXT];
    switch (eid->kind) {
    case EM_EID_NONE:
        break;
    case EM_EID_MAC:
        return em_mac_format(eid->addr, text);
    case EM_EID_IPV4:
    case EM_EID_IPV6:
        return em_ip_format(eid->addr, eid->size, text);
    case EM_EID_IPV4_PREFIX:
    case EM_EID_IPV6_PREFIX:
        snprintf(text, EM_EID_TEXT, "%s/%u", em_ip_format(eid->addr, eid->size, ip),
                 eid->prefix_len);
        return text;
    case EM_EID_NAME:
        return format_name(eid, text);
    case EM_EID_SERVICE:
        return format_service(eid, text);
    case EM_EID_PORT_ID:
        strcpy(text, PORT_ID_PREFIX);
        em_port_id_format((const uint8_t *)eid->name, eid->size, text + strlen(PORT_ID_PREFIX));
        return text;
    }
    return strcpy(text, "none");
}

static int check_size(const struct em_eid *eid, size_t size, char *why)
{
    if (eid->size == size)
        return 0;
    return refuse(why, "expected an address of %zu bytes, got %u", size, eid->size);
}

static int check_ip(const struct em_eid *eid, char *why)
{
    char text[EM_IP_TEXT];
    if (em_ip_is_usable(eid->addr, eid->size))
        return 0;
    return refuse(why,
                  "expected a unicast address that is neither unspecified nor loopback, got %s",
                  em_ip_format(eid->addr, eid->size, text));
}

static int check_mac(const struct em_eid *eid, char *why)
{
    char text[EM_MAC_TEXT];
    if (check_size(eid, EM_MAC_SIZE, why))
        return -EINVAL;
    if (eid->addr[0] & 1 || is_all(eid->addr, EM_MAC_SIZE, 0))
        return refuse(why, "expected a unicast MAC address, got %s",
                      em_mac_format(eid->addr, text));
    return 0;
}

/* Ranges that touch unicast space only in part, such as a default route, are fine. */
static int check_prefix(const struct em_eid *eid, size_t size, char *why)
{
    char text[EM_EID_TEXT], should[EM_EID_TEXT];
    const uint8_t *a = eid->addr;
    if (check_size(eid, size, why))
        return -EINVAL;
    unsigned len = eid->prefix_len, width = em_eid_width(eid);
    if (len >= width)
        return refuse(why, "expected a prefix length of 0 to %u, got %u", width - 1, len);
    struct em_eid range = em_eid_range(eid, len);
    if (memcmp(range.addr, a, size) != 0)
        return refuse(why, "expected %s (host bits are zero), got %s",
                      em_eid_format(&range, should), em_eid_format(eid, text));
    bool is_v4_special = size == 4 && ((a[0] == 127 && len >= 8) || (a[0] >= 224 && len >= 4));
    if (is_v4_special || (size == 16 && a[0] == 0xff && len >= 8))
        return refuse(why, "expected a prefix of unicast addresses, got %s",
                      em_eid_format(eid, text));
    return 0;
}

static int check_service(const struct em_eid *eid, char *why)
{
    if (eid->protocol == 0 || eid->l4_port == 0)
        return refuse(why, "expected a service with a protocol and a port, got %u and %u",
                      eid->protocol, eid->l4_port);
    return check_ip(eid, why);
}

static int check_name(const struct em_eid *eid, char *why)
{
    char text[EM_EID_TEXT];
    if (is_name(eid->name, eid->size) && !is_upper_in(eid->name, eid->size))
        return 0;
    return refuse_text(why, "a DNS name in lower case without a final dot", format_name(eid, text));
}

int em_eid_check(const struct em_eid *eid, char *why)
{
    switch (eid->kind) {
    case EM_EID_MAC:
        return check_mac(eid, why);
    case EM_EID_IPV4:
        return check_size(eid, 4, why) ? -EINVAL : check_ip(eid, why);
    case EM_EID_IPV6:
        return check_size(eid, 16, why) ? -EINVAL : check_ip(eid, why);
    case EM_EID_IPV4_PREFIX:
        return check_prefix(eid, 4, why);
    case EM_EID_IPV6_PREFIX:
        return check_prefix(eid, 16, why);
    case EM_EID_NAME:
        return check_name(eid, why);
    case EM_EID_SERVICE:
        return check_service(eid, why);
    case EM_EID_NONE:
    case EM_EID_PORT_ID:
        break;
    }
    return refuse(why, "expected an EID that a port may hold, got kind %d", (int)eid->kind);
}

int em_eid_compare(const struct em_eid *a, const struct em_eid *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    bool is_text = a->kind == EM_EID_NAME || a->kind == EM_EID_PORT_ID;
    size_t size = a->size < b->size ? a->size : b->size;
    int r = memcmp(is_text ? a->name : (const char *)a->addr,
                   is_text ? b->name : (const char *)b->addr, size);
    if (r == 0)
        r = a->size - b->size;
    if (r == 0)
        r = a->prefix_len - b->prefix_len;
    if (r == 0)
        r = a->protocol - b->protocol;
    return r ? r : a->l4_port - b->l4_port;
}
