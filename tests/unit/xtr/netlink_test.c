/* Batches, results and dumps against a kernel of its own; messages as they are built. */
#include "dataplane/entry.h"
#include "dataplane/link.h"
#include "dataplane/netlink.h"
#include "xtr/netns.h"
#include "xtr/ops.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

static struct dp_nl *nl;

static void open_socket(void)
{
    if (!netns_is_permitted())
        cr_skip_test("no permission to make a network namespace");
    netns_new();
    cr_assert_eq(dp_nl_open(&nl), 0);
}

static void close_socket(void)
{
    dp_nl_close(nl);
}

TestSuite(netlink, .init = open_socket, .fini = close_socket);

static struct dp_nexthop nexthop(uint32_t id)
{
    return (struct dp_nexthop){
        .id = id, .protocol = DP_PROTOCOL, .is_fdb = true, .ip = test_ip("192.0.2.2")};
}

static void add_nexthop(uint32_t id)
{
    struct dp_nexthop entry = nexthop(id);
    dp_nexthop_message(nl, RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_EXCL, &entry);
}

static void count_message(void *aux, const struct nlmsghdr *message)
{
    struct dp_nexthop entry;
    if (dp_nexthop_parse(message, &entry))
        (*(int *)aux)++;
}

static int count_nexthops(void)
{
    int n = 0;
    dp_nexthop_dump_message(nl);
    cr_assert_eq(dp_nl_read(nl, count_message, &n), 0);
    return n;
}

Test(netlink, each_message_gets_its_own_result)
{
    int errs[DP_NL_BATCH];

    add_nexthop(1);
    add_nexthop(1);
    add_nexthop(2);
    add_nexthop(2);
    cr_assert_eq(dp_nl_len(nl), 4);
    cr_assert_eq(dp_nl_send(nl, errs), -EEXIST);
    cr_assert_eq(errs[0], 0);
    cr_assert_eq(errs[1], -EEXIST);
    cr_assert_eq(errs[2], 0);
    cr_assert_eq(errs[3], -EEXIST, "the last one, which also carries the acknowledgement");
    cr_assert_eq(dp_nl_len(nl), 0);
    cr_assert_eq(dp_nl_n_sent(nl), 4);
    cr_assert_eq(count_nexthops(), 2);
}

Test(netlink, full_batch_is_sent_whole)
{
    int errs[DP_NL_BATCH];

    for (uint32_t i = 1; i <= DP_NL_BATCH; i++) {
        cr_assert(dp_nl_has_room(nl, 1));
        add_nexthop(i);
    }
    cr_assert_not(dp_nl_has_room(nl, 1));
    cr_assert_eq(dp_nl_send(nl, errs), 0);
    cr_assert_eq(count_nexthops(), DP_NL_BATCH);
}

Test(netlink, full_batch_of_errors_is_attributed)
{
    int errs[DP_NL_BATCH];

    for (int i = 0; i < DP_NL_BATCH; i++)
        add_nexthop(i % 2 ? 1 : (uint32_t)i + 2);
    dp_nl_send(nl, errs);
    for (int i = 0; i < DP_NL_BATCH; i++)
        cr_assert_eq(errs[i], i % 2 && i > 1 ? -EEXIST : 0, "message %d: %d", i, errs[i]);
}

Test(netlink, delete_of_what_is_absent_is_done)
{
    struct dp_nexthop entry = nexthop(77);
    dp_nexthop_message(nl, RTM_DELNEXTHOP, 0, &entry);
    cr_assert_eq(dp_nl_commit(nl), 0);
}

Test(netlink, empty_batch_is_done)
{
    int errs[DP_NL_BATCH];
    cr_assert_eq(dp_nl_send(nl, errs), 0);
    cr_assert_eq(dp_nl_n_sent(nl), 0);
}

Test(netlink, dump_larger_than_one_datagram_is_complete)
{
    for (uint32_t i = 0; i < 2000; i++) {
        add_nexthop(i + 1);
        if (!dp_nl_has_room(nl, 1))
            cr_assert_eq(dp_nl_commit(nl), 0);
    }
    cr_assert_eq(dp_nl_commit(nl), 0);
    cr_assert_eq(count_nexthops(), 2000);
}

static void take_nexthop(void *aux, const struct nlmsghdr *message)
{
    cr_assert(dp_nexthop_parse(message, aux));
}

Test(netlink, group_comes_back_as_it_went)
{
    struct dp_nexthop group = {.id = 9,
                               .protocol = DP_PROTOCOL,
                               .is_fdb = true,
                               .n_members = 2,
                               .members = {{.id = 1, .weight = 0}, {.id = 2, .weight = 254}}};
    struct dp_nexthop seen, key = {.id = 9};
    char text[DP_ENTRY_TEXT];

    add_nexthop(1);
    add_nexthop(2);
    dp_nexthop_message(nl, RTM_NEWNEXTHOP, NLM_F_CREATE, &group);
    cr_assert_eq(dp_nl_commit(nl), 0);
    dp_nexthop_message(nl, RTM_GETNEXTHOP, 0, &key);
    cr_assert_eq(dp_nl_read(nl, take_nexthop, &seen), 0);
    cr_assert_eq(seen.n_members, 2);
    cr_assert_eq(seen.protocol, DP_PROTOCOL);
    cr_assert(seen.is_fdb);
    cr_assert_eq(seen.members[1].weight, 254);
    cr_assert_str_eq(dp_nexthop_format(&seen, text), "id 9 group 1,1/2,255 proto 225 fdb");
}

Test(netlink, read_of_what_is_absent_fails)
{
    struct dp_nexthop seen, key = {.id = 9};
    struct dp_link link;

    dp_nexthop_message(nl, RTM_GETNEXTHOP, 0, &key);
    cr_assert_eq(dp_nl_read(nl, take_nexthop, &seen), -ENOENT);
    cr_assert_eq(dp_link_get(nl, "none", &link), -ENODEV);
}

Test(netlink, link_is_read_with_its_attributes)
{
    struct dp_link link;

    cr_assert(
        netns_ok("ip link add v6 type vxlan id 77 local 2001:db8::1 dstport 4790 nolearning"));
    cr_assert(netns_ok("ip link set v6 alias eidmap:4294967295 mtu 1400"));
    cr_assert_eq(dp_link_get(nl, "v6", &link), 0);
    cr_assert_eq(link.kind, DP_LINK_VXLAN);
    cr_assert_eq(link.vni, 77);
    cr_assert_eq(link.udp_port, 4790);
    cr_assert_eq(link.network_id, UINT32_MAX);
    cr_assert_eq(link.mtu, 1400);
    cr_assert_not(link.is_learning);
    struct em_ip want = test_ip("2001:db8::1");
    cr_assert_eq(link.local.size, 16);
    cr_assert_arr_eq(link.local.addr, want.addr, 16);
}

Test(netlink, alias_that_is_not_exactly_ours_marks_nothing)
{
    const char *aliases[] = {"eidmap:", "eidmap:7x", "eidmap:4294967296", "xeidmap:7", "eidmap"};
    struct dp_link link;

    cr_assert(netns_ok("ip link add b0 type bridge"));
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        cr_assert(netns_ok("ip link set b0 alias %s", aliases[i]));
        cr_assert_eq(dp_link_get(nl, "b0", &link), 0);
        cr_assert_eq(link.network_id, 0, "%s", aliases[i]);
    }
}

Test(entry, texts_are_those_of_the_kernels_tools)
{
    struct dp_fdb fdb = {
        .mac = {2, 0, 0, 0, 0, 1}, .flags = NTF_SELF | NTF_EXT_LEARNED, .nhid = 237};
    struct dp_neigh neigh = {.mac = {2, 0, 0, 0, 0, 1},
                             .ip = test_ip("2001:db8::1"),
                             .state = NUD_PERMANENT,
                             .protocol = 225};
    char text[DP_ENTRY_TEXT];

    cr_assert_str_eq(dp_fdb_format(&fdb, "emx1", NULL, text),
                     "02:00:00:00:00:01 dev emx1 nhid 237 self extern_learn");
    fdb.nhid = 0;
    fdb.dst = test_ip("192.0.2.2");
    fdb.vni = 5;
    fdb.port = 4790;
    cr_assert_str_eq(dp_fdb_format(&fdb, "emx1", NULL, text),
                     "02:00:00:00:00:01 dev emx1 dst 192.0.2.2 port 4790 vni 5 self extern_learn");
    cr_assert_str_eq(dp_neigh_format(&neigh, "emb1", text),
                     "2001:db8::1 dev emb1 lladdr 02:00:00:00:00:01 PERMANENT proto 225");
}

Test(entry, foreign_messages_are_not_taken)
{
    char buf[256] = {0};
    struct nlmsghdr *message = mnl_nlmsg_put_header(buf);
    struct dp_fdb fdb;
    struct dp_neigh neigh;
    struct dp_nexthop seen;

    message->nlmsg_type = RTM_NEWLINK;
    mnl_nlmsg_put_extra_header(message, sizeof(struct ndmsg));
    cr_assert_not(dp_fdb_parse(message, &fdb));
    cr_assert_not(dp_neigh_parse(message, &neigh));
    cr_assert_not(dp_nexthop_parse(message, &seen));
    message->nlmsg_type = RTM_NEWNEIGH;
    cr_assert_not(dp_neigh_parse(message, &neigh), "neither family nor address");
}
