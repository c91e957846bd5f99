/* Sources: linux/pkt_cls.h, linux/tc_act/tc_mirred.h, and net/sched/cls_u32.c for two things.
 * Offsets count from the network header, so the destination MAC of Ethernet lies at -14; keys
 * are read as 32 bits at multiples of four.  And a filter that is bound to an input device
 * matches only what came in by it; one without an action ends the search, and the frame goes
 * its way: that is how frames from the tunnel are spared. */
#include "tc.h"

#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <net/if.h>
#include <string.h>

#define EGRESS TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)

static struct nlmsghdr *begin(struct dp_nl *nl, uint16_t type, uint16_t flags, uint32_t ifindex,
                              uint32_t parent, uint16_t pref)
{
    struct nlmsghdr *message = dp_nl_begin(nl, type, flags, sizeof(struct tcmsg));
    struct tcmsg *tc = mnl_nlmsg_get_payload(message);

    tc->tcm_family = AF_UNSPEC;
    tc->tcm_ifindex = (int)ifindex;
    tc->tcm_parent = parent;
    tc->tcm_info = pref ? TC_H_MAKE((uint32_t)pref << 16, htons(ETH_P_ALL)) : 0;
    return message;
}

/* Kinds that the kernel does not know, and cannot load, are ENOENT there. */
static int translate(int r)
{
    return r == -ENOENT ? -EOPNOTSUPP : r;
}

static int put_qdisc(struct dp_nl *nl, uint32_t ifindex)
{
    struct nlmsghdr *message =
        begin(nl, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, ifindex, TC_H_CLSACT, 0);
    ((struct tcmsg *)mnl_nlmsg_get_payload(message))->tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
    mnl_attr_put_strz(message, TCA_KIND, "clsact");

    int r = dp_nl_commit(nl);
    return r == -EEXIST ? 0 : translate(r);
}

static void put_selector(struct nlmsghdr *message, const uint8_t *mac)
{
    const struct tc_u32_sel sel = {.flags = TC_U32_TERMINAL, .nkeys = 2};
    struct tc_u32_key keys[2] = {
        {.off = -16, .mask = htonl(0xffff), .val = htonl((uint32_t)(mac[0] << 8 | mac[1]))},
        {.off = -12, .mask = UINT32_MAX},
    };
    uint8_t match[sizeof(sel) + sizeof(keys)];

    memcpy(&keys[1].val, mac + 2, sizeof(keys[1].val));
    memcpy(match, &sel, sizeof(sel));
    memcpy(match + sizeof(sel), keys, sizeof(keys));
    mnl_attr_put(message, TCA_U32_SEL, sizeof(match), match);
}

static void put_action(struct nlmsghdr *message, uint32_t copies)
{
    const struct tc_mirred mirror = {
        .action = TC_ACT_PIPE, .eaction = TCA_EGRESS_MIRROR, .ifindex = copies};

    struct nlattr *actions = mnl_attr_nest_start(message, TCA_U32_ACT);
    struct nlattr *first = mnl_attr_nest_start(message, 1);
    mnl_attr_put_strz(message, TCA_ACT_KIND, "mirred");
    struct nlattr *options = mnl_attr_nest_start(message, TCA_ACT_OPTIONS);
    mnl_attr_put(message, TCA_MIRRED_PARMS, sizeof(mirror), &mirror);
    mnl_attr_nest_end(message, options);
    mnl_attr_nest_end(message, first);
    mnl_attr_nest_end(message, actions);
}

/* 'except_name' NULL: mirrors; else spares what came in by that device. */
static int put_filter(struct dp_nl *nl, const struct dp_tc_mirror *mirror, uint16_t pref,
                      const char *except_name)
{
    struct nlmsghdr *message =
        begin(nl, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, mirror->ifindex, EGRESS, pref);
    mnl_attr_put_strz(message, TCA_KIND, "u32");
    struct nlattr *options = mnl_attr_nest_start(message, TCA_OPTIONS);
    put_selector(message, mirror->mac);
    if (except_name)
        mnl_attr_put_strz(message, TCA_U32_INDEV, except_name);
    else
        put_action(message, mirror->copies);
    mnl_attr_nest_end(message, options);
    return translate(dp_nl_commit(nl));
}

int dp_tc_mirror_put(struct dp_nl *nl, const struct dp_tc_mirror *mirror)
{
    char except[IFNAMSIZ];

    if (mirror->except && !if_indextoname(mirror->except, except))
        return -ENODEV;
    int r = put_qdisc(nl, mirror->ifindex);
    if (!r && mirror->except)
        r = put_filter(nl, mirror, mirror->pref, except);
    if (!r)
        r = put_filter(nl, mirror, (uint16_t)(mirror->pref + 1), NULL);
    if (r)
        (void)dp_tc_mirror_delete(nl, mirror->ifindex, mirror->pref);
    return r;
}

int dp_tc_mirror_delete(struct dp_nl *nl, uint32_t ifindex, uint16_t pref)
{
    int r = 0;

    /* The mirror first: what it was spared for must not be copied meanwhile. */
    for (int i = 1; i >= 0; i--) {
        begin(nl, RTM_DELTFILTER, 0, ifindex, EGRESS, (uint16_t)(pref + i));
        int err = dp_nl_commit(nl);
        bool is_gone = err == -ENOENT || err == -EINVAL || err == -ENODEV; /* or its device */
        r = r || is_gone ? r : err;
    }
    return r;
}

struct listing {
    uint16_t *prefs;
    size_t n, max;
};

static bool is_u32(const struct nlmsghdr *message)
{
    const struct nlattr *attr;

    mnl_attr_for_each(attr, message, sizeof(struct tcmsg))
    {
        if (mnl_attr_get_type(attr) == TCA_KIND)
            return strcmp(mnl_attr_get_str(attr), "u32") == 0;
    }
    return false;
}

/* A filter is shown more than once: its table, and each node in it. */
static void take_filter(void *aux, const struct nlmsghdr *message)
{
    struct listing *listing = aux;
    if (message->nlmsg_type != RTM_NEWTFILTER || !is_u32(message))
        return;
    const struct tcmsg *tc = mnl_nlmsg_get_payload(message);
    uint16_t pref = (uint16_t)(tc->tcm_info >> 16);
    bool is_ours = pref >= DP_TC_PREF_FIRST && pref <= DP_TC_PREF_LAST;
    bool is_known = listing->n > 0 && listing->prefs[listing->n - 1] == pref;
    if (is_ours && !is_known && listing->n < listing->max)
        listing->prefs[listing->n++] = pref;
}

int dp_tc_list(struct dp_nl *nl, uint32_t ifindex, uint16_t *ret_prefs, size_t max)
{
    struct listing listing = {.prefs = ret_prefs, .max = max};

    begin(nl, RTM_GETTFILTER, NLM_F_DUMP, ifindex, EGRESS, 0);
    int r = dp_nl_read(nl, take_filter, &listing);
    return r && r != -EINVAL && r != -ENODEV && r != -EAGAIN ? r : (int)listing.n;
}
