/* Takes apart what a switch sends.  See openflow.h. */
#include "openflow_fields.h"

#include <errno.h>
#include <string.h>

#define MULTIPART_HEADER 16
#define MORE             1
#define FLOW_HEADER      48 /* before its match */
#define PORT_SIZE        40 /* at least */
#define GROUP_HEADER     8
#define PACKET_IN_HEADER 24 /* before its match */
#define MOST_FIELDS      32

/* Error types, OpenFlow 1.4 section 7.5.4. */
enum {
    BAD_REQUEST = 1,
    BAD_ACTION = 2,
    FLOW_MOD_FAILED = 5,
    GROUP_MOD_FAILED = 6,
    FLOW_TABLE_FULL = 1,
    GROUP_EXISTS = 0,
    OUT_OF_GROUPS = 3,
    UNKNOWN_GROUP = 8,
    BAD_OUT_PORT = 4,
    BAD_OUT_GROUP = 9,
    NOT_PERMITTED = 5,
};

int of_parse(const uint8_t *data, size_t size, struct of_message *ret_message)
{
    if (size < OF_HEADER_SIZE)
        return 0;
    size_t whole = of_get16(data + 2);
    if (whole < OF_HEADER_SIZE)
        return -EPROTO;
    if (size < whole)
        return 0;
    if (data[0] != OF_VERSION && data[1] != OF_HELLO)
        return -EPROTO;
    *ret_message = (struct of_message){
        .type = (enum of_type)data[1], .xid = of_get32(data + 4), .data = data, .size = whole};
    return (int)whole;
}

bool of_parse_error(const struct of_message *message, uint16_t *ret_type, uint16_t *ret_code)
{
    if (message->type != OF_ERROR || message->size < OF_HEADER_SIZE + 4)
        return false;
    *ret_type = of_get16(message->data + 8);
    *ret_code = of_get16(message->data + 10);
    return true;
}

int of_error_errno(uint16_t type, uint16_t code)
{
    if (type == FLOW_MOD_FAILED && code == FLOW_TABLE_FULL)
        return -ENOSPC;
    if (type == GROUP_MOD_FAILED && code == OUT_OF_GROUPS)
        return -ENOSPC;
    if (type == GROUP_MOD_FAILED && code == GROUP_EXISTS)
        return -EEXIST;
    if (type == GROUP_MOD_FAILED && code == UNKNOWN_GROUP)
        return -ENOENT;
    if (type == BAD_ACTION && (code == BAD_OUT_PORT || code == BAD_OUT_GROUP))
        return -ENOENT;
    if (type == BAD_REQUEST && code == NOT_PERMITTED)
        return -EPERM;
    return -EINVAL;
}

/* ---- answers in parts */

bool of_parse_multipart(const struct of_message *message, enum of_multipart type,
                        struct of_parts *ret_parts, bool *ret_has_more)
{
    if (message->type != OF_MULTIPART_REPLY || message->size < MULTIPART_HEADER ||
        of_get16(message->data + 8) != type)
        return false;
    *ret_has_more = of_get16(message->data + 10) & MORE;
    *ret_parts = (struct of_parts){message->data + MULTIPART_HEADER, message->data + message->size};
    return true;
}

/* The next part, that begins with its own length; NULL: no more. */
static const uint8_t *next_part(struct of_parts *parts, size_t least, size_t *ret_size)
{
    size_t left = (size_t)(parts->end - parts->at);
    const uint8_t *part = parts->at;
    if (left < least || of_get16(part) < least || of_get16(part) > left) {
        parts->at = parts->end;
        return NULL;
    }
    *ret_size = of_get16(part);
    parts->at += *ret_size;
    return part;
}

/* The match at 'data'; its size with padding, 0 if it is damaged. */
static size_t parse_match(const uint8_t *data, size_t size, const uint8_t **ret_match,
                          size_t *ret_size)
{
    if (size < 8 || of_get16(data) != OFPMT_OXM)
        return 0;
    size_t whole = of_get16(data + 2);
    if (whole < 4 || of_pad8(whole) > size)
        return 0;
    *ret_match = data + 4;
    *ret_size = whole - 4;
    return of_pad8(whole);
}

bool of_next_flow(struct of_parts *parts, struct of_seen_flow *ret_flow)
{
    size_t size = 0;
    const uint8_t *part = next_part(parts, FLOW_HEADER + 8, &size);
    if (!part)
        return false;
    *ret_flow = (struct of_seen_flow){.table = part[2],
                                      .priority = of_get16(part + 12),
                                      .cookie = of_get64(part + 24),
                                      .n_packets = of_get64(part + 32)};
    size_t matched = parse_match(part + FLOW_HEADER, size - FLOW_HEADER, &ret_flow->match,
                                 &ret_flow->match_size);
    if (!matched) {
        parts->at = parts->end;
        return false;
    }
    ret_flow->instructions = part + FLOW_HEADER + matched;
    ret_flow->instructions_size = size - FLOW_HEADER - matched;
    return true;
}

bool of_next_group(struct of_parts *parts, struct of_seen_group *ret_group)
{
    size_t size = 0;
    const uint8_t *part = next_part(parts, GROUP_HEADER, &size);
    if (!part)
        return false;
    *ret_group = (struct of_seen_group){.type = (enum of_group_type)part[2],
                                        .group_id = of_get32(part + 4),
                                        .buckets = part + GROUP_HEADER,
                                        .size = size - GROUP_HEADER};
    return true;
}

static void parse_port(const uint8_t *port, struct of_port *ret_port)
{
    ret_port->number = of_get32(port);
    memcpy(ret_port->name, port + 16, sizeof ret_port->name);
    ret_port->name[sizeof ret_port->name - 1] = 0;
}

bool of_next_port(struct of_parts *parts, struct of_port *ret_port)
{
    size_t left = (size_t)(parts->end - parts->at);
    const uint8_t *port = parts->at;
    if (left < PORT_SIZE || of_get16(port + 4) < PORT_SIZE || of_get16(port + 4) > left)
        return false;
    parse_port(port, ret_port);
    parts->at += of_get16(port + 4);
    return true;
}

bool of_parse_port_status(const struct of_message *message, uint8_t *ret_reason,
                          struct of_port *ret_port)
{
    if (message->type != OF_PORT_STATUS || message->size < OF_HEADER_SIZE + 8 + PORT_SIZE)
        return false;
    *ret_reason = message->data[8];
    parse_port(message->data + 16, ret_port);
    return true;
}

bool of_parse_packet_in(const struct of_message *message, struct of_packet_in *ret_packet)
{
    if (message->type != OF_PACKET_IN || message->size < PACKET_IN_HEADER + 8)
        return false;
    const uint8_t *data = message->data;
    size_t matched = parse_match(data + PACKET_IN_HEADER, message->size - PACKET_IN_HEADER,
                                 &ret_packet->match, &ret_packet->match_size);
    if (!matched || PACKET_IN_HEADER + matched + 2 > message->size)
        return false;
    ret_packet->cookie = of_get64(data + 16);
    ret_packet->frame = data + PACKET_IN_HEADER + matched + 2;
    ret_packet->size = message->size - PACKET_IN_HEADER - matched - 2;
    return true;
}

/* ---- matches */

/* The next field: its header and its value, or false. */
static bool next_oxm(const uint8_t **at, const uint8_t *end, const uint8_t **ret_oxm)
{
    if (end - *at < 4 || end - *at - 4 < (*at)[3])
        return false;
    *ret_oxm = *at;
    *at += 4 + (*at)[3];
    return true;
}

const uint8_t *of_seen_field(const uint8_t *match, size_t size, enum of_field field)
{
    const uint8_t *at = match, *oxm;
    while (next_oxm(&at, match + size, &oxm))
        if (of_get32(oxm) == of_oxm_headers[field])
            return oxm + 4;
    return NULL;
}

uint64_t of_seen_int(const uint8_t *match, size_t size, enum of_field field)
{
    const uint8_t *value = of_seen_field(match, size, field);
    uint64_t n = 0;
    for (uint32_t i = 0; value && i < OF_OXM_SIZE(of_oxm_headers[field]); i++)
        n = n << 8 | value[i];
    return n;
}

size_t of_sort_match(const uint8_t *match, size_t size, uint8_t *ret_match)
{
    const uint8_t *fields[MOST_FIELDS], *at = match, *oxm;
    size_t n = 0, written = 0;
    if (size > OF_MATCH_MAX)
        return 0;
    while (n < MOST_FIELDS && next_oxm(&at, match + size, &oxm)) {
        size_t i = n++;
        for (; i > 0 && of_get32(fields[i - 1]) > of_get32(oxm); i--)
            fields[i] = fields[i - 1];
        fields[i] = oxm;
    }
    if (at != match + size)
        return 0;
    for (size_t i = 0; i < n; i++) {
        size_t whole = 4u + fields[i][3];
        memcpy(ret_match + written, fields[i], whole);
        written += whole;
    }
    return written;
}

/* ---- actions */

struct of_parts of_applied(const uint8_t *instructions, size_t size)
{
    const uint8_t *at = instructions, *end = instructions + size;
    while (end - at >= 8) {
        size_t whole = of_get16(at + 2);
        if (whole < 8 || whole > (size_t)(end - at))
            break;
        if (of_get16(at) == OFPIT_APPLY_ACTIONS)
            return (struct of_parts){at + 8, at + whole};
        at += whole;
    }
    return (struct of_parts){end, end};
}

static enum of_field field_of(uint32_t header)
{
    int field = 0;
    while (field < OF_N_FIELDS && of_oxm_headers[field] != header)
        field++;
    return (enum of_field)field;
}

bool of_next_action(struct of_parts *parts, struct of_action *ret_action)
{
    size_t left = (size_t)(parts->end - parts->at);
    const uint8_t *action = parts->at;
    if (left < 8 || of_get16(action + 2) < 8 || of_get16(action + 2) > left)
        return false;
    size_t size = of_get16(action + 2);
    parts->at += size;
    *ret_action = (struct of_action){.kind = OF_ACT_OTHER, .field = OF_N_FIELDS};
    switch (of_get16(action)) {
    case OFPAT_OUTPUT:
        ret_action->kind = OF_ACT_OUTPUT;
        ret_action->number = of_get32(action + 4);
        break;
    case OFPAT_GROUP:
        ret_action->kind = OF_ACT_GROUP;
        ret_action->number = of_get32(action + 4);
        break;
    case OFPAT_SET_FIELD:
        ret_action->kind = OF_ACT_SET;
        ret_action->field = field_of(of_get32(action + 4));
        ret_action->value = action + 8;
        if (ret_action->field < OF_N_FIELDS &&
            8 + OF_OXM_SIZE(of_oxm_headers[ret_action->field]) > size)
            return false;
        break;
    }
    return true;
}
