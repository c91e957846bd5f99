/* The address parsers: whatever they take must print, and the print must parse to the same. */
#include "target.h"

#include "eidmap/addr.h"
#include "net/socket.h"

#include <string.h>

static void try_eid(const char *text)
{
    char why[EM_ADDR_WHY], names[EM_EID_TEXT], more[EM_EID_TEXT], out[EM_EID_TEXT];
    struct em_eid eid, again;
    if (em_eid_parse(text, &eid, names, why)) {
        FUZZ_CHECK(memchr(why, 0, sizeof(why)) && strstr(why, "expected"));
        return;
    }
    em_eid_check(&eid, why);
    em_eid_format(&eid, out);
    FUZZ_CHECK(em_eid_parse(out, &again, more, why) == 0);
    FUZZ_CHECK(em_eid_compare(&eid, &again) == 0);
    FUZZ_CHECK(!em_eid_is_ip(&eid) || em_eid_covers(&eid, &again));
}

static void try_port_id(const char *text)
{
    char out[EM_PORT_ID_TEXT];
    struct em_port_id id, again;
    if (em_port_id_parse(text, &id, NULL))
        return;
    FUZZ_CHECK(em_port_id_check(id.bytes, id.size, NULL) == 0);
    em_port_id_format(id.bytes, id.size, out);
    FUZZ_CHECK(em_port_id_parse(out, &again, NULL) == 0);
    FUZZ_CHECK(id.size == again.size && memcmp(id.bytes, again.bytes, id.size) == 0);
}

static void try_rest(const char *text)
{
    char why[EM_ADDR_WHY], ip_text[EM_IP_TEXT];
    uint8_t mac[EM_MAC_SIZE];
    struct em_ip ip, again;
    struct em_eid eid;
    struct em_address address;
    uint16_t port;
    if (em_ip_parse(text, &ip, why) == 0) {
        em_ip_is_usable(ip.addr, ip.size);
        em_ip_format(ip.addr, ip.size, ip_text);
        FUZZ_CHECK(em_ip_parse(ip_text, &again, NULL) == 0);
        FUZZ_CHECK(ip.size == again.size && memcmp(ip.addr, again.addr, ip.size) == 0);
    }
    em_mac_parse(text, mac, why);
    em_prefix_parse(text, &eid, why);
    em_endpoint_parse(text, 1, &ip, &port, why);
    em_address_parse(text, &address, why);
    em_ident_check(text, why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    try_eid(text);
    try_port_id(text);
    try_rest(text);
    free(text);
    return 0;
}
