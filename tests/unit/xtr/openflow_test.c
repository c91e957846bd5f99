/* OpenFlow's messages.  Those that are built are shown to ovs-ofctl, which says what a switch makes
 * of them; where that is not there, the bytes that the specification gives still count. */
#include "ovs/openflow.h"

#include "base/buf.h"
#include "base/mem.h"
#include "xtr/netns.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct em_buf out, actions;
static struct of_flow flow;

static void set_up(void)
{
    em_buf_init(&out);
    em_buf_init(&actions);
    of_flow_init(&flow);
}

static void tear_down(void)
{
    em_buf_fini(&out);
    em_buf_fini(&actions);
    of_flow_fini(&flow);
}

TestSuite(openflow, .init = set_up, .fini = tear_down);

static char *hex(const struct em_buf *buf)
{
    char *text = em_malloc(em_buf_size(buf) * 2 + 1);
    text[0] = '\0';
    for (size_t i = 0; i < em_buf_size(buf); i++)
        sprintf(text + 2 * i, "%02x", em_buf_head(buf)[i]);
    return text;
}

/* What is in 'out'. */
static void assert_bytes(const char *expected)
{
    char *text = hex(&out);
    cr_assert_str_eq(text, expected);
    free(text);
}

/* ovs-ofctl prints what is in 'out' with all of these words; then 'out' is empty. */
#define assert_printed(...) assert_words((const char *const[]){__VA_ARGS__, NULL})
static void assert_words(const char *const *words)
{
    char *bytes = hex(&out);
    if (!netns_ok("command -v ovs-ofctl"))
        cr_skip_test("no ovs-ofctl");
    char *text = netns_run("ovs-ofctl ofp-print %s", bytes);
    for (; *words; words++)
        cr_assert(strstr(text, *words), "\"%s\" is not in \"%s\"", *words, text);
    free(text);
    free(bytes);
    em_buf_take(&out, em_buf_size(&out));
}

/* ---- messages that are built */

Test(openflow, messages_without_a_body_have_the_bytes_of_the_specification)
{
    of_put_hello(&out, 1);
    of_put_barrier(&out, 0x01020304);
    of_put_set_config(&out, 3);
    of_put_echo_reply(&out, 4, "ab", 2);
    assert_bytes("0500000800000001"
                 "0514000801020304"
                 "0509000c000000030000ffff"
                 "0503000a000000046162");
}

Test(openflow, dumps_have_the_bytes_of_the_specification)
{
    of_put_group_dump(&out, 1);
    of_put_port_dump(&out, 2);
    assert_bytes("05120010000000010007000000000000"
                 "0512001000000002000d000000000000");
}

Test(openflow, flow_dump_asks_for_a_table_a_cookie_and_a_match)
{
    of_flow_begin(&flow, 7, 1, 0);
    of_match_int(&flow, OF_REG0, 5);
    of_put_flow_dump(&out, 1, 7, 0xab00, 0xff00, &flow);
    assert_bytes("0512004000000001"
                 "0001000000000000"
                 "07000000ffffffffffffffff00000000"
                 "000000000000ab00000000000000ff00"
                 "0001000c00010004"
                 "0000000500000000");
    assert_printed("OFPST_FLOW request (OF1.4)", "table=7", "reg0=0x5");
    of_put_flow_dump(&out, 1, OF_TABLE_ALL, 0, 0, NULL);
    assert_printed("OFPST_FLOW request (OF1.4)");
}

Test(openflow, flow_mod_has_the_bytes_of_the_specification)
{
    of_flow_begin(&flow, 3, 0x0102, 0x1122334455667788);
    of_match_int(&flow, OF_IN_PORT, 9);
    of_output(&flow.actions, 10);
    cr_assert(of_put_flow(&out, 5, OF_FLOW_ADD, &flow, 0));
    assert_bytes("050e005800000005"
                 "1122334455667788"
                 "0000000000000000"
                 "0300000000000102"
                 "ffffffffffffffffffffffff00000000"
                 "0001000c8000000400000009"
                 "00000000"
                 "0004001800000000"
                 "000000100000000a0000000000000000");
}

Test(openflow, flow_commands)
{
    of_flow_begin(&flow, 120, 20, 0xe1d0);
    of_goto(&flow, 121);
    (void)of_put_flow(&out, 1, OF_FLOW_ADD, &flow, 0xffff);
    assert_printed("OFPT_FLOW_MOD (OF1.4)", "ADD table:120", "priority=20", "cookie:0xe1d0",
                   "goto_table:121");
    (void)of_put_flow(&out, 1, OF_FLOW_DELETE_STRICT, &flow, 0xfff0);
    assert_printed("DEL_STRICT table:120", "priority=20", "cookie:0xe1d0/0xfff0");
}

/* Each field in a match that has what it depends on. */
Test(openflow, match_fields)
{
    static const uint8_t mac[] = {2, 0, 0, 0, 0, 1}, bit[] = {1, 0, 0, 0, 0, 0};
    static const uint8_t v4[] = {192, 0, 2, 1}, v6[16] = {0x20, 1, 0x0d, 0xb8};

    of_flow_begin(&flow, 0, 1, 0);
    of_match_int(&flow, OF_IN_PORT, 1);
    of_match(&flow, OF_ETH_SRC, mac);
    of_match_masked(&flow, OF_ETH_DST, bit, bit);
    of_match_int(&flow, OF_VLAN_VID, 0x1000 | 12);
    of_match_int(&flow, OF_ETH_TYPE, 0x0806);
    of_match_int(&flow, OF_ARP_OP, 1);
    of_match(&flow, OF_ARP_SPA, v4);
    of_match(&flow, OF_ARP_TPA, v4);
    of_match(&flow, OF_ARP_SHA, mac);
    of_match(&flow, OF_ARP_THA, mac);
    (void)of_put_flow(&out, 1, OF_FLOW_ADD, &flow, 0);
    assert_printed("in_port=1", "dl_src=02:00:00:00:00:01",
                   "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00", "dl_vlan=12", "arp", "arp_op=1",
                   "arp_spa=192.0.2.1", "arp_tpa=192.0.2.1", "arp_sha=02:00:00:00:00:01",
                   "arp_tha=02:00:00:00:00:01");
    of_flow_begin(&flow, 0, 1, 0);
    of_match_int(&flow, OF_ETH_TYPE, 0x86dd);
    of_match_int(&flow, OF_IP_PROTO, 58);
    of_match(&flow, OF_IPV6_SRC, v6);
    of_match(&flow, OF_IPV6_DST, v6);
    of_match_int(&flow, OF_ICMPV6_TYPE, 135);
    of_match_int(&flow, OF_ICMPV6_CODE, 0);
    of_match(&flow, OF_ND_TARGET, v6);
    of_match(&flow, OF_ND_SLL, mac);
    (void)of_put_flow(&out, 1, OF_FLOW_ADD, &flow, 0);
    assert_printed("icmp6", "icmp_type=135", "icmp_code=0", "ipv6_src=2001:db8::",
                   "ipv6_dst=2001:db8::", "nd_target=2001:db8::", "nd_sll=02:00:00:00:00:01");
    of_flow_begin(&flow, 0, 1, 0);
    of_match_int(&flow, OF_ETH_TYPE, 0x0800);
    of_match_int(&flow, OF_IP_PROTO, 17);
    of_match(&flow, OF_IPV4_SRC, v4);
    of_match(&flow, OF_IPV4_DST, v4);
    of_match_int(&flow, OF_UDP_SRC, 68);
    of_match_int(&flow, OF_UDP_DST, 67);
    (void)of_put_flow(&out, 1, OF_FLOW_ADD, &flow, 0);
    assert_printed("udp", "nw_src=192.0.2.1", "nw_dst=192.0.2.1", "tp_src=68", "tp_dst=67");
    of_flow_begin(&flow, 0, 1, 0);
    of_match_int(&flow, OF_TUN_ID, 0x123456);
    of_match_int(&flow, OF_REG0, 1);
    of_match_int(&flow, OF_REG4, 4);
    of_match_int(&flow, OF_REG5, 5);
    of_match_int(&flow, OF_REG6, 6);
    of_match_int(&flow, OF_REG7, 7);
    (void)of_put_flow(&out, 1, OF_FLOW_ADD, &flow, 0);
    assert_printed("tun_id=0x123456", "reg0=0x1", "reg4=0x4", "reg5=0x5", "reg6=0x6", "reg7=0x7");
}

Test(openflow, actions_that_set)
{
    static const uint8_t v4[] = {192, 0, 2, 1}, v6[16] = {0x20, 1, 0x0d, 0xb8};

    of_flow_begin(&flow, 0, 1, 0);
    of_set(&flow.actions, OF_TUN_IPV4_DST, v4);
    of_set(&flow.actions, OF_TUN_IPV6_DST, v6);
    of_set_int(&flow.actions, OF_TUN_ID, 77);
    of_set_int(&flow.actions, OF_REG7, 0x20001);
    of_set_int(&flow.actions, OF_XREG1, 0x020000000001);
    of_output(&flow.actions, OF_PORT_CONTROLLER);
    of_output(&flow.actions, OF_PORT_IN_PORT);
    of_group(&flow.actions, 0x0e100000);
    (void)of_put_flow(&out, 1, OF_FLOW_ADD, &flow, 0);
    assert_printed("set_field:192.0.2.1->tun_dst", "set_field:2001:db8::->tun_ipv6_dst",
                   "set_field:0x4d->tun_id", "set_field:0x20001->reg7",
                   "set_field:0x20000000001->xreg1", "CONTROLLER:65535", "IN_PORT",
                   "group:235929600");
}

Test(openflow, actions_that_move_and_change)
{
    of_flow_begin(&flow, 0, 1, 0);
    of_match_int(&flow, OF_ETH_TYPE, 0x0806);
    of_move(&flow.actions, OF_ETH_SRC, OF_ETH_DST, 48);
    of_move(&flow.actions, OF_XREG1, OF_ARP_SHA, 48);
    of_move(&flow.actions, OF_ARP_TPA, OF_REG5, 32);
    size_t clone = of_clone_begin(&flow.actions);
    of_push_vlan(&flow.actions);
    of_set_int(&flow.actions, OF_VLAN_VID, 0x1000 | 12);
    of_clone_end(&flow.actions, clone);
    of_resubmit(&flow.actions, 122);
    (void)of_put_flow(&out, 1, OF_FLOW_ADD, &flow, 0);
    assert_printed("move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]",
                   "move:OXM_OF_PKT_REG1[0..47]->NXM_NX_ARP_SHA[]",
                   "move:NXM_OF_ARP_TPA[]->NXM_NX_REG5[]", "clone(push_vlan:0x8100",
                   "set_field:4108->vlan_vid", "resubmit(,122)");
    of_flow_begin(&flow, 0, 1, 0);
    of_match_int(&flow, OF_VLAN_VID, 0x1000 | 12);
    of_pop_vlan(&flow.actions);
    (void)of_put_flow(&out, 1, OF_FLOW_ADD, &flow, 0);
    assert_printed("pop_vlan");
}

Test(openflow, groups)
{
    struct em_buf buckets;

    em_buf_init(&buckets);
    of_output(&actions, 5);
    of_put_bucket(&buckets, 30, &actions);
    of_put_bucket(&buckets, 70, &actions);
    cr_assert(of_put_group(&out, 1, OF_GROUP_ADD, OF_GROUP_SELECT, 9, em_buf_head(&buckets),
                           em_buf_size(&buckets)));
    assert_printed("OFPT_GROUP_MOD (OF1.4)", "ADD group_id=9,type=select", "weight:30", "weight:70",
                   "actions=output:5");
    em_buf_take(&buckets, em_buf_size(&buckets));
    of_put_bucket(&buckets, 0, &actions);
    cr_assert(of_put_group(&out, 1, OF_GROUP_MODIFY, OF_GROUP_INDIRECT, 9, em_buf_head(&buckets),
                           em_buf_size(&buckets)));
    assert_printed("MOD group_id=9,type=indirect", "actions=output:5");
    cr_assert(of_put_group(&out, 1, OF_GROUP_DELETE, OF_GROUP_ALL, 9, NULL, 0));
    assert_printed("DEL group_id=9");
    em_buf_fini(&buckets);
}

Test(openflow, packet_out)
{
    static const uint8_t frame[64] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5};
    of_set_int(&actions, OF_REG0, 3);
    of_resubmit(&actions, 120);
    of_put_packet_out(&out, 1, &actions, frame, sizeof frame);
    assert_printed("OFPT_PACKET_OUT (OF1.4)", "in_port=CONTROLLER", "set_field:0x3->reg0",
                   "resubmit(,120)", "data_len=64", "dl_dst=02:00:00:00:00:01");
}

Test(openflow, what_is_too_long_is_refused_and_leaves_nothing_behind)
{
    static uint8_t buckets[OF_MESSAGE_MAX];

    of_put_barrier(&out, 1);
    of_flow_begin(&flow, 0, 1, 0);
    for (int i = 0; i < 4090; i++)
        of_output(&flow.actions, 1);
    cr_assert(of_put_flow(&out, 2, OF_FLOW_ADD, &flow, 0), "65,504 bytes");
    size_t size = em_buf_size(&out);
    for (int i = 0; i < 4; i++)
        of_output(&flow.actions, 1);
    cr_assert_not(of_put_flow(&out, 2, OF_FLOW_ADD, &flow, 0));
    cr_assert_eq(em_buf_size(&out), size);
    cr_assert(of_put_flow(&out, 2, OF_FLOW_DELETE_STRICT, &flow, 0), "which has no actions");
    size = em_buf_size(&out);
    cr_assert_not(of_put_group(&out, 3, OF_GROUP_ADD, OF_GROUP_ALL, 1, buckets, sizeof buckets));
    cr_assert_eq(em_buf_size(&out), size);
}

/* ---- messages that come */

static int parse(const void *data, size_t size, struct of_message *ret_message)
{
    return of_parse(data, size, ret_message);
}

Test(openflow, header_says_how_long_a_message_is)
{
    static const uint8_t barrier[] = {5, 21, 0, 8, 1, 2, 3, 4, 9, 9};
    static const uint8_t long_one[] = {5, 21, 0, 9, 0, 0, 0, 1};
    static const uint8_t short_one[] = {5, 21, 0, 7, 0, 0, 0, 1};
    static const uint8_t other[] = {4, 21, 0, 8, 0, 0, 0, 1}, hello[] = {4, 0, 0, 8, 0, 0, 0, 1};
    struct of_message message;

    cr_assert_eq(parse(barrier, sizeof barrier, &message), 8);
    cr_assert_eq((int)message.type, OF_BARRIER_REPLY);
    cr_assert_eq(message.xid, 0x01020304);
    for (size_t size = 0; size < 8; size++)
        cr_assert_eq(parse(barrier, size, &message), 0);
    cr_assert_eq(parse(long_one, sizeof long_one, &message), 0);
    cr_assert_eq(parse(short_one, sizeof short_one, &message), -EPROTO);
    cr_assert_eq(parse(other, sizeof other, &message), -EPROTO);
    cr_assert_eq(parse(hello, sizeof hello, &message), 8, "of any version");
}

static struct of_message message_of(enum of_type type, const void *body, size_t size)
{
    uint8_t header[] = {5, (uint8_t)type, (uint8_t)((size + 8) >> 8), (uint8_t)(size + 8), 0, 0, 0,
                        1};
    struct of_message message;

    em_buf_take(&out, em_buf_size(&out));
    em_buf_append(&out, header, sizeof header);
    em_buf_append(&out, body, size);
    cr_assert_eq(of_parse(em_buf_head(&out), em_buf_size(&out), &message), (int)size + 8);
    return message;
}

Test(openflow, errors)
{
    static const uint8_t full[] = {0, 5, 0, 1};
    uint16_t type = 0, code = 0;
    struct of_message message = message_of(OF_ERROR, full, sizeof full);

    cr_assert(of_parse_error(&message, &type, &code));
    cr_assert_eq(of_error_errno(type, code), -ENOSPC);
    message.size--;
    cr_assert_not(of_parse_error(&message, &type, &code));
    message = message_of(OF_BARRIER_REPLY, full, sizeof full);
    cr_assert_not(of_parse_error(&message, &type, &code));
    cr_assert_eq(of_error_errno(6, 0), -EEXIST);
    cr_assert_eq(of_error_errno(6, 3), -ENOSPC);
    cr_assert_eq(of_error_errno(6, 8), -ENOENT);
    cr_assert_eq(of_error_errno(2, 9), -ENOENT);
    cr_assert_eq(of_error_errno(1, 5), -EPERM);
    cr_assert_eq(of_error_errno(0xffff, 0xffff), -EINVAL);
}

/* A part of an answer to a dump of flows: the flow that is being built, as a switch shows it. */
static void append_flow(struct em_buf *body)
{
    uint8_t head[48] = {0};
    size_t start = em_buf_size(body), whole = 4 + flow.match_size,
           pad = (whole + 7) / 8 * 8 - whole;
    uint8_t match[] = {0, 1, (uint8_t)(whole >> 8), (uint8_t)whole};

    head[2] = flow.table;
    head[12] = (uint8_t)(flow.priority >> 8);
    head[13] = (uint8_t)flow.priority;
    head[31] = (uint8_t)flow.cookie;
    head[39] = 42; /* packets */
    em_buf_append(body, head, sizeof head);
    em_buf_append(body, match, sizeof match);
    em_buf_append(body, flow.match, flow.match_size);
    em_buf_append(body, head + 3, pad);
    of_instructions(body, &flow);
    size_t size = em_buf_size(body) - start;
    em_buf_head(body)[start] = (uint8_t)(size >> 8);
    em_buf_head(body)[start + 1] = (uint8_t)size;
}

/* With two flows. */
static void append_flows(struct em_buf *body)
{
    static const uint8_t head[] = {0, 1, 0, 1, 0, 0, 0, 0}, mac[] = {2, 0, 0, 0, 0, 1};

    em_buf_append(body, head, sizeof head);
    of_flow_begin(&flow, 120, 20, 7);
    of_match_int(&flow, OF_REG0, 5);
    of_match(&flow, OF_ETH_DST, mac);
    of_set_int(&flow.actions, OF_TUN_ID, 77);
    of_group(&flow.actions, 9);
    of_output(&flow.actions, 3);
    of_pop_vlan(&flow.actions);
    append_flow(body);
    of_flow_begin(&flow, 121, 1, 8);
    of_goto(&flow, 122);
    append_flow(body);
}

Test(openflow, flows_of_a_dump)
{
    struct em_buf body;
    struct of_parts parts, applied;
    struct of_seen_flow seen;
    struct of_action action;
    bool has_more = false;

    em_buf_init(&body);
    append_flows(&body);
    struct of_message message =
        message_of(OF_MULTIPART_REPLY, em_buf_head(&body), em_buf_size(&body));
    cr_assert_not(of_parse_multipart(&message, OF_MULTIPART_GROUP_DESC, &parts, &has_more));
    cr_assert(of_parse_multipart(&message, OF_MULTIPART_FLOW, &parts, &has_more));
    cr_assert(has_more);
    cr_assert(of_next_flow(&parts, &seen));
    cr_assert_eq(seen.table, 120);
    cr_assert_eq(seen.priority, 20);
    cr_assert_eq(seen.cookie, 7);
    cr_assert_eq(seen.n_packets, 42);
    cr_assert_eq(of_seen_int(seen.match, seen.match_size, OF_REG0), 5);
    cr_assert_eq(of_seen_field(seen.match, seen.match_size, OF_ETH_DST)[5], 1);
    cr_assert_null(of_seen_field(seen.match, seen.match_size, OF_ETH_SRC));
    applied = of_applied(seen.instructions, seen.instructions_size);
    cr_assert(of_next_action(&applied, &action));
    cr_assert_eq((int)action.kind, OF_ACT_SET);
    cr_assert_eq((int)action.field, OF_TUN_ID);
    cr_assert_eq(action.value[7], 77);
    cr_assert(of_next_action(&applied, &action) && action.kind == OF_ACT_GROUP);
    cr_assert_eq(action.number, 9);
    cr_assert(of_next_action(&applied, &action) && action.kind == OF_ACT_OUTPUT);
    cr_assert_eq(action.number, 3);
    cr_assert(of_next_action(&applied, &action) && action.kind == OF_ACT_OTHER);
    cr_assert_not(of_next_action(&applied, &action));
    cr_assert(of_next_flow(&parts, &seen));
    cr_assert_eq(seen.table, 121);
    cr_assert_eq(seen.match_size, 0);
    applied = of_applied(seen.instructions, seen.instructions_size);
    cr_assert_not(of_next_action(&applied, &action), "it only goes on");
    cr_assert_not(of_next_flow(&parts, &seen));
    em_buf_fini(&body);
}

static size_t count_flows(struct of_parts parts)
{
    struct of_seen_flow seen;
    size_t n = 0;
    while (of_next_flow(&parts, &seen))
        n++;
    return n;
}

/* Memory of its own for each, so that one byte too far is seen by the address sanitizer. */
Test(openflow, dump_that_ends_early_has_fewer_flows)
{
    struct em_buf body;
    em_buf_init(&body);
    append_flows(&body);
    const uint8_t *data = em_buf_head(&body) + 8;
    size_t whole = em_buf_size(&body) - 8, first = (size_t)data[0] << 8 | data[1];
    for (size_t size = 0; size <= whole; size++) {
        uint8_t *copy = em_malloc(size + 1);
        memcpy(copy, data, size);
        size_t n = count_flows((struct of_parts){copy, copy + size});
        cr_assert_eq(n, size == whole ? 2 : size >= first ? 1 : 0, "%zu: %zu", size, n);
        free(copy);
    }
    em_buf_fini(&body);
}

Test(openflow, flow_that_is_shorter_or_longer_than_it_says_ends_the_dump)
{
    static const uint8_t lengths[][2] = {{0, 0}, {0, 1}, {0, 55}, {0xff, 0xff}};
    struct em_buf body;
    em_buf_init(&body);
    append_flows(&body);
    uint8_t *data = em_buf_head(&body) + 8;
    struct of_parts parts = {data, data + em_buf_size(&body) - 8};
    uint16_t length = (uint16_t)(data[0] << 8 | data[1]);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        memcpy(data, lengths[i], 2);
        cr_assert_eq(count_flows(parts), 0);
    }
    data[0] = (uint8_t)(length >> 8);
    data[1] = (uint8_t)length;
    data[51] = 0xff; /* the match's */
    cr_assert_eq(count_flows(parts), 0);
    data[51] = 3;
    cr_assert_eq(count_flows(parts), 0);
    em_buf_fini(&body);
}

Test(openflow, action_without_a_length_ends_the_list)
{
    static const uint8_t empty[8] = {0, 25}, odd[] = {0, 25, 0, 8, 0x80, 0, 6, 6};
    struct of_action action;
    struct of_parts parts = {empty, empty + sizeof empty};
    cr_assert_not(of_next_action(&parts, &action));
    parts = (struct of_parts){odd, odd + sizeof odd};
    cr_assert_not(of_next_action(&parts, &action), "a MAC does not fit into it");
    parts = of_applied(empty, sizeof empty);
    cr_assert_not(of_next_action(&parts, &action));
}

Test(openflow, groups_of_a_dump)
{
    static const uint8_t body[] = {0, 16, 1, 0, 0, 0, 0, 9,  1, 2, 3, 4, 5, 6, 7, 8,
                                   0, 8,  2, 0, 0, 0, 0, 10, 0, 7, 2, 0, 0, 0, 0, 11};
    struct of_parts parts = {body, body + sizeof body};
    struct of_seen_group group;
    cr_assert(of_next_group(&parts, &group));
    cr_assert_eq(group.group_id, 9);
    cr_assert_eq((int)group.type, OF_GROUP_SELECT);
    cr_assert_eq(group.size, 8);
    cr_assert(of_next_group(&parts, &group));
    cr_assert_eq(group.size, 0);
    cr_assert_not(of_next_group(&parts, &group), "shorter than its head");
    cr_assert_not(of_next_group(&parts, &group));
}

Test(openflow, ports_of_a_dump_and_their_news)
{
    uint8_t body[8 + 40 + 40] = {2}; /* modified */
    struct of_parts parts = {body + 8, body + sizeof body};
    struct of_port port;
    uint8_t reason;

    body[8 + 3] = 7;
    body[8 + 5] = 40;
    memset(body + 8 + 16, 'x', 16); /* without an end */
    body[48 + 3] = 8;
    body[48 + 5] = 41;
    cr_assert(of_next_port(&parts, &port));
    cr_assert_eq(port.number, 7);
    cr_assert_eq(strlen(port.name), 15);
    cr_assert_not(of_next_port(&parts, &port), "longer than the message");
    struct of_message message = message_of(OF_PORT_STATUS, body, 48);
    cr_assert(of_parse_port_status(&message, &reason, &port));
    cr_assert_eq(reason, 2);
    cr_assert_eq(port.number, 7);
    message = message_of(OF_PORT_STATUS, body, 47);
    cr_assert_not(of_parse_port_status(&message, &reason, &port));
}

Test(openflow, packet_ins)
{
    uint8_t body[16 + 16 + 2 + 14] = {0};
    struct of_packet_in packet;

    body[15] = 5; /* cookie */
    body[17] = 1;
    body[19] = 12;
    memcpy(body + 20, "\x00\x01\x00\x04\x00\x00\x00\x09", 8); /* reg0 */
    body[34] = 2;
    struct of_message message = message_of(OF_PACKET_IN, body, sizeof body);
    cr_assert(of_parse_packet_in(&message, &packet));
    cr_assert_eq(packet.cookie, 5);
    cr_assert_eq(of_seen_int(packet.match, packet.match_size, OF_REG0), 9);
    cr_assert_eq(packet.size, 14);
    cr_assert_eq(packet.frame[0], 2);
    for (size_t size = 0; size < 34; size++) {
        message = message_of(OF_PACKET_IN, body, size);
        cr_assert_not(of_parse_packet_in(&message, &packet), "%zu", size);
    }
    message = message_of(OF_PACKET_IN, body, 34);
    cr_assert(of_parse_packet_in(&message, &packet));
    cr_assert_eq(packet.size, 0);
}

/* ---- matches */

Test(openflow, equal_matches_are_equal_bytes_whatever_their_order)
{
    static const uint8_t mac[] = {2, 0, 0, 0, 0, 1};
    uint8_t first[OF_MATCH_MAX], second[OF_MATCH_MAX];

    of_flow_begin(&flow, 0, 0, 0);
    of_match_int(&flow, OF_REG0, 5);
    of_match_masked(&flow, OF_ETH_DST, mac, mac);
    of_match_int(&flow, OF_ETH_TYPE, 0x0806);
    size_t size = of_sort_match(flow.match, flow.match_size, first);
    cr_assert_eq(size, flow.match_size);
    of_flow_begin(&flow, 0, 0, 0);
    of_match_int(&flow, OF_ETH_TYPE, 0x0806);
    of_match_masked(&flow, OF_ETH_DST, mac, mac);
    of_match_int(&flow, OF_REG0, 5);
    cr_assert_eq(of_sort_match(flow.match, flow.match_size, second), size);
    cr_assert_arr_eq(first, second, size);
}

Test(openflow, damaged_and_overlong_matches_have_no_order)
{
    static const uint8_t many[OF_MATCH_MAX + 4];
    uint8_t sorted[OF_MATCH_MAX];

    of_flow_begin(&flow, 0, 0, 0);
    of_match_int(&flow, OF_REG0, 5);
    for (size_t size = 0; size < flow.match_size; size++)
        cr_assert_eq(of_sort_match(flow.match, size, sorted), 0);
    cr_assert_eq(of_sort_match(many, sizeof many, sorted), 0, "too long");
    cr_assert_eq(of_sort_match(many, OF_MATCH_MAX, sorted), 0, "48 fields");
    cr_assert_null(of_seen_field(many, 3, OF_REG0));
}
