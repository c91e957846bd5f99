/* Builds messages.  See openflow.h. */
#include "openflow.h"

#include "openflow_fields.h"

#include <assert.h>
#include <string.h>

#define EXPERIMENTER_NICIRA 0x00002320u
#define NXAST_REG_MOVE      6
#define NXAST_REG_LOAD      7
#define NXAST_RESUBMIT      14
#define NXAST_CLONE         42
#define NXM_IN_PORT         0xfff8 /* resubmit as if from the same port */
#define TPID_VLAN           0x8100
#define NO_BUFFER           0xffffffffu
#define NO_LENGTH           0xffffu

#define OXM(class, field, size) ((uint32_t)(class) << 16 | (field) << 9 | (size))
#define BASIC                   0x8000u
#define NXM_1                   0x0001u
#define PACKET_REGS             0x8001u
#define ERICSSON                0x1000u

const uint32_t of_oxm_headers[OF_N_FIELDS] = {
    [OF_IN_PORT] = OXM(BASIC, 0, 4),        [OF_ETH_DST] = OXM(BASIC, 3, 6),
    [OF_ETH_SRC] = OXM(BASIC, 4, 6),        [OF_ETH_TYPE] = OXM(BASIC, 5, 2),
    [OF_VLAN_VID] = OXM(BASIC, 6, 2),       [OF_IP_PROTO] = OXM(BASIC, 10, 1),
    [OF_IPV4_SRC] = OXM(BASIC, 11, 4),      [OF_IPV4_DST] = OXM(BASIC, 12, 4),
    [OF_UDP_SRC] = OXM(BASIC, 15, 2),       [OF_UDP_DST] = OXM(BASIC, 16, 2),
    [OF_ARP_OP] = OXM(BASIC, 21, 2),        [OF_ARP_SPA] = OXM(BASIC, 22, 4),
    [OF_ARP_TPA] = OXM(BASIC, 23, 4),       [OF_ARP_SHA] = OXM(BASIC, 24, 6),
    [OF_ARP_THA] = OXM(BASIC, 25, 6),       [OF_IPV6_SRC] = OXM(BASIC, 26, 16),
    [OF_IPV6_DST] = OXM(BASIC, 27, 16),     [OF_ICMPV6_TYPE] = OXM(BASIC, 29, 1),
    [OF_ICMPV6_CODE] = OXM(BASIC, 30, 1),   [OF_ND_TARGET] = OXM(BASIC, 31, 16),
    [OF_ND_SLL] = OXM(BASIC, 32, 6),        [OF_ND_TLL] = OXM(BASIC, 33, 6),
    [OF_TUN_ID] = OXM(BASIC, 38, 8),        [OF_REG0] = OXM(NXM_1, 0, 4),
    [OF_REG1] = OXM(NXM_1, 1, 4),           [OF_REG4] = OXM(NXM_1, 4, 4),
    [OF_REG5] = OXM(NXM_1, 5, 4),           [OF_REG6] = OXM(NXM_1, 6, 4),
    [OF_REG7] = OXM(NXM_1, 7, 4),           [OF_XREG1] = OXM(PACKET_REGS, 1, 8),
    [OF_TUN_IPV4_DST] = OXM(NXM_1, 32, 4),  [OF_TUN_IPV6_DST] = OXM(NXM_1, 110, 16),
    [OF_ND_RESERVED] = OXM(ERICSSON, 1, 4), [OF_ND_OPTIONS_TYPE] = OXM(ERICSSON, 2, 1),
};

/* A move names fields by their older headers where there are any (NXM_OF_ETH_SRC and so on), as
 * the switch itself does when it shows one: what is sent and what is shown can be compared. */
static const uint32_t nxm_headers[OF_N_FIELDS] = {
    [OF_ETH_DST] = OXM(0, 1, 6),         [OF_ETH_SRC] = OXM(0, 2, 6),
    [OF_ARP_SPA] = OXM(0, 16, 4),        [OF_ARP_TPA] = OXM(0, 17, 4),
    [OF_ARP_SHA] = OXM(NXM_1, 17, 6),    [OF_ARP_THA] = OXM(NXM_1, 18, 6),
    [OF_IPV6_SRC] = OXM(NXM_1, 19, 16),  [OF_IPV6_DST] = OXM(NXM_1, 20, 16),
    [OF_ND_TARGET] = OXM(NXM_1, 23, 16), [OF_ND_TLL] = OXM(NXM_1, 25, 6),
};

/* ---- bytes */

static void put8(struct em_buf *buf, uint8_t value)
{
    em_buf_append(buf, &value, 1);
}

static void put16(struct em_buf *buf, uint16_t value)
{
    uint8_t bytes[] = {(uint8_t)(value >> 8), (uint8_t)value};
    em_buf_append(buf, bytes, sizeof bytes);
}

static void put32(struct em_buf *buf, uint32_t value)
{
    uint8_t bytes[] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                       (uint8_t)value};
    em_buf_append(buf, bytes, sizeof bytes);
}

static void put64(struct em_buf *buf, uint64_t value)
{
    put32(buf, (uint32_t)(value >> 32));
    put32(buf, (uint32_t)value);
}

static void put_zeros(struct em_buf *buf, size_t n)
{
    static const uint8_t zeros[16];
    assert(n <= sizeof zeros);
    em_buf_append(buf, zeros, n);
}

static void set16(struct em_buf *buf, size_t at, size_t value)
{
    uint8_t *p = em_buf_head(buf) + at;
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void to_bytes(uint64_t value, uint8_t *ret_bytes, size_t size)
{
    assert(size <= 8);
    for (size_t i = size; i-- > 0; value >>= 8)
        ret_bytes[i] = (uint8_t)value;
}

/* ---- flows */

void of_flow_init(struct of_flow *flow)
{
    memset(flow, 0, sizeof *flow);
    em_buf_init(&flow->actions);
}

void of_flow_fini(struct of_flow *flow)
{
    em_buf_fini(&flow->actions);
}

void of_flow_begin(struct of_flow *flow, uint8_t table, uint16_t priority, uint64_t cookie)
{
    flow->table = table;
    flow->priority = priority;
    flow->cookie = cookie;
    flow->match_size = 0;
    flow->has_goto = false;
    em_buf_take(&flow->actions, em_buf_size(&flow->actions));
}

static void add_match(struct of_flow *flow, const void *data, size_t size)
{
    assert(flow->match_size + size <= OF_MATCH_MAX);
    memcpy(flow->match + flow->match_size, data, size);
    flow->match_size += size;
}

void of_match(struct of_flow *flow, enum of_field field, const void *value)
{
    uint8_t header[4];
    to_bytes(of_oxm_headers[field], header, sizeof header);
    add_match(flow, header, sizeof header);
    add_match(flow, value, OF_OXM_SIZE(of_oxm_headers[field]));
}

void of_match_int(struct of_flow *flow, enum of_field field, uint64_t value)
{
    uint8_t bytes[8];
    to_bytes(value, bytes, OF_OXM_SIZE(of_oxm_headers[field]));
    of_match(flow, field, bytes);
}

void of_match_masked(struct of_flow *flow, enum of_field field, const void *value, const void *mask)
{
    uint32_t size = OF_OXM_SIZE(of_oxm_headers[field]);
    uint8_t header[4];
    to_bytes((of_oxm_headers[field] | OF_OXM_MASKED) + size, header, sizeof header);
    add_match(flow, header, sizeof header);
    add_match(flow, value, size);
    add_match(flow, mask, size);
}

/* ---- actions */

static void put_action(struct em_buf *actions, uint16_t type, uint16_t size)
{
    put16(actions, type);
    put16(actions, size);
}

void of_set(struct em_buf *actions, enum of_field field, const void *value)
{
    size_t size = 8 + OF_OXM_SIZE(of_oxm_headers[field]);
    put_action(actions, OFPAT_SET_FIELD, (uint16_t)of_pad8(size));
    put32(actions, of_oxm_headers[field]);
    em_buf_append(actions, value, size - 8);
    put_zeros(actions, of_pad8(size) - size);
}

void of_set_int(struct em_buf *actions, enum of_field field, uint64_t value)
{
    uint8_t bytes[8];
    to_bytes(value, bytes, OF_OXM_SIZE(of_oxm_headers[field]));
    of_set(actions, field, bytes);
}

static void put_nicira(struct em_buf *actions, uint16_t subtype, uint16_t size)
{
    put_action(actions, OFPAT_EXPERIMENTER, size);
    put32(actions, EXPERIMENTER_NICIRA);
    put16(actions, subtype);
}

void of_move(struct em_buf *actions, enum of_field from, enum of_field to, uint16_t n_bits)
{
    put_nicira(actions, NXAST_REG_MOVE, 24);
    put16(actions, n_bits);
    put32(actions, 0); /* both from bit 0 */
    put32(actions, nxm_headers[from] ? nxm_headers[from] : of_oxm_headers[from]);
    put32(actions, nxm_headers[to] ? nxm_headers[to] : of_oxm_headers[to]);
}

/* OpenFlow forbids set-field here; Nicira's load knows ports of 16 bits. */
void of_forget_in_port(struct em_buf *actions)
{
    put_nicira(actions, NXAST_REG_LOAD, 24);
    put16(actions, 16 - 1);       /* bits, from bit 0 */
    put32(actions, OXM(0, 0, 2)); /* NXM_OF_IN_PORT */
    put64(actions, 0);
}

void of_output(struct em_buf *actions, uint32_t port)
{
    put_action(actions, OFPAT_OUTPUT, 16);
    put32(actions, port);
    put16(actions, port == OF_PORT_CONTROLLER ? NO_LENGTH : 0);
    put_zeros(actions, 6);
}

void of_group(struct em_buf *actions, uint32_t group_id)
{
    put_action(actions, OFPAT_GROUP, 8);
    put32(actions, group_id);
}

void of_push_vlan(struct em_buf *actions)
{
    put_action(actions, OFPAT_PUSH_VLAN, 8);
    put16(actions, TPID_VLAN);
    put_zeros(actions, 2);
}

void of_pop_vlan(struct em_buf *actions)
{
    put_action(actions, OFPAT_POP_VLAN, 8);
    put_zeros(actions, 4);
}

void of_resubmit(struct em_buf *actions, uint8_t table)
{
    put_nicira(actions, NXAST_RESUBMIT, 16);
    put16(actions, NXM_IN_PORT);
    put8(actions, table);
    put_zeros(actions, 3);
}

size_t of_clone_begin(struct em_buf *actions)
{
    size_t at = em_buf_size(actions);
    put_nicira(actions, NXAST_CLONE, 16);
    put_zeros(actions, 6);
    return at;
}

void of_clone_end(struct em_buf *actions, size_t clone)
{
    set16(actions, clone + 2, em_buf_size(actions) - clone);
}

/* ---- messages */

static size_t begin(struct em_buf *out, enum of_type type, uint32_t xid)
{
    size_t at = em_buf_size(out);
    put8(out, OF_VERSION);
    put8(out, (uint8_t)type);
    put16(out, 0);
    put32(out, xid);
    return at;
}

static bool end(struct em_buf *out, size_t at)
{
    size_t size = em_buf_size(out) - at;
    if (size > OF_MESSAGE_MAX) {
        out->tail -= size;
        return false;
    }
    set16(out, at + 2, size);
    return true;
}

static void put_match(struct em_buf *out, const uint8_t *match, size_t size)
{
    size_t whole = 4 + size;
    put16(out, OFPMT_OXM);
    put16(out, (uint16_t)whole);
    em_buf_append(out, match, size);
    put_zeros(out, of_pad8(whole) - whole);
}

void of_instructions(struct em_buf *out, const struct of_flow *flow)
{
    size_t size = em_buf_size(&flow->actions);
    if (size) {
        put16(out, OFPIT_APPLY_ACTIONS);
        put16(out, (uint16_t)(8 + size));
        put32(out, 0);
        em_buf_append(out, em_buf_head(&flow->actions), size);
    }
    if (flow->has_goto) {
        put16(out, OFPIT_GOTO_TABLE);
        put16(out, 8);
        put8(out, flow->goto_table);
        put_zeros(out, 3);
    }
}

bool of_put_flow(struct em_buf *out, uint32_t xid, enum of_flow_command command,
                 const struct of_flow *flow, uint64_t cookie_mask)
{
    size_t at = begin(out, OF_FLOW_MOD, xid);
    put64(out, flow->cookie);
    put64(out, command == OF_FLOW_ADD ? 0 : cookie_mask);
    put8(out, flow->table);
    put8(out, (uint8_t)command);
    put32(out, 0); /* no timeouts */
    put16(out, flow->priority);
    put32(out, NO_BUFFER);
    put32(out, OF_PORT_ANY);
    put32(out, OF_GROUP_ANY);
    put32(out, 0);
    put_match(out, flow->match, flow->match_size);
    if (command == OF_FLOW_ADD)
        of_instructions(out, flow);
    return end(out, at);
}

void of_put_bucket(struct em_buf *buckets, uint16_t weight, const struct em_buf *actions)
{
    size_t size = em_buf_size(actions);
    put16(buckets, (uint16_t)(16 + size));
    put16(buckets, weight);
    put32(buckets, OF_PORT_ANY);
    put32(buckets, OF_GROUP_ANY);
    put32(buckets, 0);
    em_buf_append(buckets, em_buf_head(actions), size);
}

bool of_put_group(struct em_buf *out, uint32_t xid, enum of_group_command command,
                  enum of_group_type type, uint32_t group_id, const void *buckets, size_t size)
{
    size_t at = begin(out, OF_GROUP_MOD, xid);
    put16(out, (uint16_t)command);
    put8(out, (uint8_t)type);
    put8(out, 0);
    put32(out, group_id);
    em_buf_append(out, buckets, size);
    return end(out, at);
}

void of_put_hello(struct em_buf *out, uint32_t xid)
{
    size_t at = begin(out, OF_HELLO, xid);
    end(out, at);
}

void of_put_echo_reply(struct em_buf *out, uint32_t xid, const void *data, size_t size)
{
    size_t at = begin(out, OF_ECHO_REPLY, xid);
    em_buf_append(out, data, size);
    end(out, at);
}

void of_put_set_config(struct em_buf *out, uint32_t xid)
{
    size_t at = begin(out, OF_SET_CONFIG, xid);
    put16(out, 0);
    put16(out, NO_LENGTH);
    end(out, at);
}

void of_put_barrier(struct em_buf *out, uint32_t xid)
{
    size_t at = begin(out, OF_BARRIER_REQUEST, xid);
    end(out, at);
}

void of_put_packet_out(struct em_buf *out, uint32_t xid, const struct em_buf *actions,
                       const void *frame, size_t size)
{
    size_t at = begin(out, OF_PACKET_OUT, xid);
    put32(out, NO_BUFFER);
    put32(out, OF_PORT_CONTROLLER);
    put16(out, (uint16_t)em_buf_size(actions));
    put_zeros(out, 6);
    em_buf_append(out, em_buf_head(actions), em_buf_size(actions));
    em_buf_append(out, frame, size);
    end(out, at);
}

static size_t begin_multipart(struct em_buf *out, uint32_t xid, enum of_multipart type)
{
    size_t at = begin(out, OF_MULTIPART_REQUEST, xid);
    put16(out, (uint16_t)type);
    put_zeros(out, 6);
    return at;
}

void of_put_flow_dump(struct em_buf *out, uint32_t xid, uint8_t table, uint64_t cookie,
                      uint64_t cookie_mask, const struct of_flow *match)
{
    size_t at = begin_multipart(out, xid, OF_MULTIPART_FLOW);
    put8(out, table);
    put_zeros(out, 3);
    put32(out, OF_PORT_ANY);
    put32(out, OF_GROUP_ANY);
    put32(out, 0);
    put64(out, cookie);
    put64(out, cookie_mask);
    put_match(out, match ? match->match : NULL, match ? match->match_size : 0);
    end(out, at);
}

void of_put_group_dump(struct em_buf *out, uint32_t xid)
{
    size_t at = begin_multipart(out, xid, OF_MULTIPART_GROUP_DESC);
    end(out, at);
}

void of_put_port_dump(struct em_buf *out, uint32_t xid)
{
    size_t at = begin_multipart(out, xid, OF_MULTIPART_PORT_DESC);
    end(out, at);
}

/* OpenFlow 1.4, section 7.3.9. */
static size_t begin_bundle(struct em_buf *out, enum of_type type, uint32_t xid, uint32_t bundle_id,
                           uint16_t kind)
{
    enum { ATOMIC = 1, ORDERED = 2 };
    size_t at = begin(out, type, xid);
    put32(out, bundle_id);
    put16(out, kind);
    put16(out, ATOMIC | ORDERED);
    return at;
}

void of_put_bundle_control(struct em_buf *out, uint32_t xid, uint32_t bundle_id,
                           enum of_bundle type)
{
    size_t at = begin_bundle(out, OF_BUNDLE_CONTROL, xid, bundle_id, (uint16_t)type);
    end(out, at);
}

bool of_put_bundle_add(struct em_buf *out, uint32_t xid, uint32_t bundle_id, const void *message,
                       size_t size)
{
    size_t at = begin_bundle(out, OF_BUNDLE_ADD, xid, bundle_id, 0);
    em_buf_append(out, message, size);
    return end(out, at);
}
