#include "server/numbered.h"

#include <arpa/inet.h>
#include <string.h>

#define UUID_SIZE 17 /* 0x00 and 16 bytes */

static const uint8_t uuid_head[13] = {0, 0xe1, 0xd3, 0xa9};

static void put_number(uint8_t *at, uint32_t number)
{
    uint32_t number_be = htonl(number);
    memcpy(at, &number_be, sizeof(number_be));
}

struct em_eid numbered_ip(uint32_t number)
{
    struct em_eid eid = {.kind = EM_EID_IPV4, .size = 4};
    put_number(eid.addr, (10u << 24) + number);
    return eid;
}

struct em_port_id numbered_id(uint32_t number)
{
    struct em_port_id id = {.size = UUID_SIZE};
    memcpy(id.bytes, uuid_head, sizeof(uuid_head));
    put_number(id.bytes + sizeof(uuid_head), number);
    return id;
}

uint32_t numbered_of(const struct em_port_id *id)
{
    uint32_t number_be;
    if (id->size != UUID_SIZE || memcmp(id->bytes, uuid_head, sizeof(uuid_head)) != 0)
        return 0;
    memcpy(&number_be, id->bytes + sizeof(uuid_head), sizeof(number_be));
    return ntohl(number_be);
}

void numbered_port_init(struct numbered_port *ret_port, uint32_t network_id, uint32_t number,
                        const char *node)
{
    struct em_eid mac = {.kind = EM_EID_MAC, .size = EM_MAC_SIZE, .addr = {0x02}};
    put_number(mac.addr + 2, number);
    *ret_port = (struct numbered_port){
        .port = {.id = numbered_id(number),
                 .network_id = network_id,
                 .n_eids = 2,
                 .n_locations = 1},
        .eids = {mac, numbered_ip(number)},
        .location = {.node_id = node, .priority = 1, .weight = 1},
    };
    ret_port->port.eids = ret_port->eids;
    ret_port->port.locations = &ret_port->location;
}
