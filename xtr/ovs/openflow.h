/* OpenFlow 1.4 as Open vSwitch speaks it, as far as the data plane needs it: messages are
 * built and taken apart here, without a socket.
 *
 * Sources: OpenFlow Switch Specification 1.4.0 (ONF TS-012), section 7, for messages, match
 * fields and actions; ovs-fields(7) and ovs-actions(7) for what is Open vSwitch's own (registers,
 * tunnel addresses, move, resubmit, clone).  All integers are big-endian on the wire.
 *
 * Bytes that come from the switch are not trusted: an iterator ends at the first thing that
 * does not fit into its message. */
#ifndef OVS_OPENFLOW_H
#define OVS_OPENFLOW_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OF_VERSION     0x05 /* 1.4 */
#define OF_HEADER_SIZE 8
#define OF_MATCH_MAX   192   /* bytes of a match that is built here */
#define OF_MESSAGE_MAX 65535 /* its length has 16 bits */

/* OpenFlow 1.4, section 7.1.1. */
enum of_type {
    OF_HELLO = 0,
    OF_ERROR = 1,
    OF_ECHO_REQUEST = 2,
    OF_ECHO_REPLY = 3,
    OF_SET_CONFIG = 9,
    OF_PACKET_IN = 10,
    OF_PORT_STATUS = 12,
    OF_PACKET_OUT = 13,
    OF_FLOW_MOD = 14,
    OF_GROUP_MOD = 15,
    OF_MULTIPART_REQUEST = 18,
    OF_MULTIPART_REPLY = 19,
    OF_BARRIER_REQUEST = 20,
    OF_BARRIER_REPLY = 21,
    OF_BUNDLE_CONTROL = 33,
    OF_BUNDLE_ADD = 34,
};

/* Reserved port numbers, section 7.2.1. */
#define OF_PORT_MAX        0xffffff00u
#define OF_PORT_IN_PORT    0xfffffff8u
#define OF_PORT_CONTROLLER 0xfffffffdu
#define OF_PORT_ANY        0xffffffffu
#define OF_GROUP_ANY       0xffffffffu
#define OF_TABLE_ALL       0xff

/* Match fields, in the order in which a field's definition stands in openflow.c. */
enum of_field {
    OF_IN_PORT,
    OF_ETH_DST,
    OF_ETH_SRC,
    OF_ETH_TYPE,
    OF_VLAN_VID,
    OF_IP_PROTO,
    OF_IPV4_SRC,
    OF_IPV4_DST,
    OF_UDP_SRC,
    OF_UDP_DST,
    OF_ARP_OP,
    OF_ARP_SPA,
    OF_ARP_TPA,
    OF_ARP_SHA,
    OF_ARP_THA,
    OF_IPV6_SRC,
    OF_IPV6_DST,
    OF_ICMPV6_TYPE,
    OF_ICMPV6_CODE,
    OF_ND_TARGET,
    OF_ND_SLL,
    OF_ND_TLL,
    OF_TUN_ID,
    OF_REG0, /* network-id */
    OF_REG1,
    OF_REG4,
    OF_REG5,
    OF_REG6,
    OF_REG7,
    OF_XREG1, /* reg2 and reg3 */
    OF_TUN_IPV4_DST,
    OF_TUN_IPV6_DST,
    OF_ND_RESERVED,
    OF_ND_OPTIONS_TYPE,
    OF_N_FIELDS
};

/* A flow that is being built.  Made empty by of_flow_begin(); its memory is kept for the next
 * until of_flow_fini(). */
struct of_flow {
    uint8_t table;
    uint16_t priority;
    uint64_t cookie;
    uint8_t match[OF_MATCH_MAX]; /* OXM fields, without header and padding */
    size_t match_size;
    struct em_buf actions; /* applied at once */
    bool has_goto;
    uint8_t goto_table;
};

void of_flow_init(struct of_flow *flow);
void of_flow_fini(struct of_flow *flow);
void of_flow_begin(struct of_flow *flow, uint8_t table, uint16_t priority, uint64_t cookie);

/* 'value' has the field's size; integers by of_match_int(). */
void of_match(struct of_flow *flow, enum of_field field, const void *value);
void of_match_int(struct of_flow *flow, enum of_field field, uint64_t value);
void of_match_masked(struct of_flow *flow, enum of_field field, const void *value,
                     const void *mask);
static inline void of_goto(struct of_flow *flow, uint8_t table)
{
    flow->has_goto = true;
    flow->goto_table = table;
}

/* Actions are appended to a buffer: that of a flow, a bucket, or a packet-out. */
void of_set(struct em_buf *actions, enum of_field field, const void *value);
void of_set_int(struct em_buf *actions, enum of_field field, uint64_t value);
void of_move(struct em_buf *actions, enum of_field from, enum of_field to, uint16_t n_bits);
void of_output(struct em_buf *actions, uint32_t port);
/* From here on it may leave by the port that it came in by. */
void of_forget_in_port(struct em_buf *actions);
void of_group(struct em_buf *actions, uint32_t group_id);
void of_push_vlan(struct em_buf *actions);
void of_pop_vlan(struct em_buf *actions);
void of_resubmit(struct em_buf *actions, uint8_t table);
/* What is appended up to of_clone_end() works on a copy of the packet; 'clone' is what
 * of_clone_begin() returned. */
size_t of_clone_begin(struct em_buf *actions);
void of_clone_end(struct em_buf *actions, size_t clone);

/* Messages are appended to 'out'. */
enum of_flow_command { OF_FLOW_ADD = 0, OF_FLOW_DELETE = 3, OF_FLOW_DELETE_STRICT = 4 };

/* A deletion spares flows whose cookie differs in a bit of 'cookie_mask'.  False: the flow is
 * too long for a message, and nothing was appended. */
bool of_put_flow(struct em_buf *out, uint32_t xid, enum of_flow_command command,
                 const struct of_flow *flow, uint64_t cookie_mask);

/* OF_GROUP_PUT adds or modifies (OFPGC_ADD_OR_MOD, Open vSwitch's own). */
enum of_group_command {
    OF_GROUP_ADD = 0,
    OF_GROUP_MODIFY = 1,
    OF_GROUP_DELETE = 2,
    OF_GROUP_PUT = 0x8000
};
enum of_group_type { OF_GROUP_ALL = 0, OF_GROUP_SELECT = 1, OF_GROUP_INDIRECT = 2 };

/* One bucket; 'weight' is 0 in all groups but OF_GROUP_SELECT. */
void of_put_bucket(struct em_buf *buckets, uint16_t weight, const struct em_buf *actions);
bool of_put_group(struct em_buf *out, uint32_t xid, enum of_group_command command,
                  enum of_group_type type, uint32_t group_id, const void *buckets, size_t size);

void of_put_hello(struct em_buf *out, uint32_t xid);
void of_put_echo_reply(struct em_buf *out, uint32_t xid, const void *data, size_t size);
/* Has the switch send us packets, and news of ports: without it none come over this socket. */
void of_put_set_config(struct em_buf *out, uint32_t xid);
void of_put_barrier(struct em_buf *out, uint32_t xid);
void of_put_packet_out(struct em_buf *out, uint32_t xid, const struct em_buf *actions,
                       const void *frame, size_t size);
/* Flows of a table whose cookie has these bits; 'match' NULL: all, else those that are exactly
 * or more narrowly so. */
void of_put_flow_dump(struct em_buf *out, uint32_t xid, uint8_t table, uint64_t cookie,
                      uint64_t cookie_mask, const struct of_flow *match);
void of_put_group_dump(struct em_buf *out, uint32_t xid);
void of_put_port_dump(struct em_buf *out, uint32_t xid);

/* All messages between 'open' and 'commit' come into force at once, or none does. */
enum of_bundle { OF_BUNDLE_OPEN = 0, OF_BUNDLE_COMMIT = 4 };
void of_put_bundle_control(struct em_buf *out, uint32_t xid, uint32_t bundle_id,
                           enum of_bundle type);
/* 'message' is a flow-mod or group-mod, with the same xid.  False: it is too long. */
bool of_put_bundle_add(struct em_buf *out, uint32_t xid, uint32_t bundle_id, const void *message,
                       size_t size);

/* ---- what comes */

struct of_message {
    enum of_type type;
    uint32_t xid;
    const uint8_t *data; /* the whole of it */
    size_t size;
};

/* The message at the front of 'size' bytes: its size, 0 if more has to come, or -EPROTO. */
int of_parse(const uint8_t *data, size_t size, struct of_message *ret_message);

/* The type and the code of an error (OpenFlow 1.4, section 7.5.4); false: it is too short. */
bool of_parse_error(const struct of_message *message, uint16_t *ret_type, uint16_t *ret_code);
/* 0 .. -errno: what the numbers mean to a caller. */
int of_error_errno(uint16_t type, uint16_t code);

enum of_multipart {
    OF_MULTIPART_FLOW = 1,
    OF_MULTIPART_GROUP_DESC = 7,
    OF_MULTIPART_PORT_DESC = 13
};

struct of_parts {
    const uint8_t *at, *end;
};

/* False: it is no part of such an answer. */
bool of_parse_multipart(const struct of_message *message, enum of_multipart type,
                        struct of_parts *ret_parts, bool *ret_has_more);

/* A flow as it stands; pointers are into the message. */
struct of_seen_flow {
    uint8_t table;
    uint16_t priority;
    uint64_t cookie, n_packets;
    const uint8_t *match;
    size_t match_size;
    const uint8_t *instructions;
    size_t instructions_size;
};
bool of_next_flow(struct of_parts *parts, struct of_seen_flow *ret_flow);

/* Value of a field that is matched without a mask; NULL: it is not. */
const uint8_t *of_seen_field(const uint8_t *match, size_t size, enum of_field field);
uint64_t of_seen_int(const uint8_t *match, size_t size, enum of_field field); /* 0: not there */

/* Writes the fields in the order of their numbers, which is the same for equal matches however
 * the switch orders them.  'ret_match' has OF_MATCH_MAX bytes; its size, 0: it is damaged or
 * longer than any of ours. */
size_t of_sort_match(const uint8_t *match, size_t size, uint8_t *ret_match);

/* The instructions of a flow, as a switch shows them. */
void of_instructions(struct em_buf *out, const struct of_flow *flow);

struct of_seen_group {
    enum of_group_type type;
    uint32_t group_id;
    const uint8_t *buckets;
    size_t size;
};
bool of_next_group(struct of_parts *parts, struct of_seen_group *ret_group);

struct of_port {
    uint32_t number;
    char name[16];
};
bool of_next_port(struct of_parts *parts, struct of_port *ret_port);

/* OFPPR: 0 added, 1 deleted, 2 modified (section 7.4.3). */
bool of_parse_port_status(const struct of_message *message, uint8_t *ret_reason,
                          struct of_port *ret_port);

struct of_packet_in {
    uint64_t cookie;
    const uint8_t *match;
    size_t match_size;
    const uint8_t *frame;
    size_t size;
};
bool of_parse_packet_in(const struct of_message *message, struct of_packet_in *ret_packet);

/* Walks actions one by one. */
struct of_action {
    enum { OF_ACT_OUTPUT, OF_ACT_GROUP, OF_ACT_SET, OF_ACT_OTHER } kind;
    uint32_t number;     /* port or group */
    enum of_field field; /* OF_N_FIELDS: none that is known here */
    const uint8_t *value;
};
/* The actions that the instructions apply at once; empty if there are none. */
struct of_parts of_applied(const uint8_t *instructions, size_t size);
bool of_next_action(struct of_parts *parts, struct of_action *ret_action);

#endif
