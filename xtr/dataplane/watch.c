/* What somebody else takes away: a bridge or vxlan device of ours deleted or pulled apart, a
 * nexthop deleted; and a device of ours, or the underlay's, that goes down or comes up.
 * Entries on a device that is gone fail; entries in the other half of a MAC do not, and a
 * quiet network sends none: so the kernel's own news are looked at.
 *
 * Our own deletions need no filter: by the time the news are read the shadow does not know
 * the thing any more, and neither ifindexes nor our nexthop ids come back soon.  That a
 * device which we have made comes up is no disturbance. */
#include "kernel.h"

#include <linux/rtnetlink.h>

struct watch {
    struct dp *dp;
    bool is_disturbed;
};

static void see_state(struct watch *watch, enum dp_link_state *state, bool is_up)
{
    if (*state != DP_LINK_NEW && (*state == DP_LINK_UP) != is_up)
        watch->is_disturbed = true;
    if (*state != DP_LINK_NEW || is_up)
        *state = is_up ? DP_LINK_UP : DP_LINK_DOWN;
}

/* A guest's device comes and goes with the guest: no disturbance of others. */
static void see_port_gone(struct dp *dp, const struct dp_device_rec *device)
{
    for (uint32_t i = 0; i < dp->shadow.ports.len; i++) {
        const struct dp_port_rec *port = dp_table_at(&dp->shadow.ports, i);
        if (port->ifindex == device->ifindex)
            dp_lost_add(&dp->lost, port->device);
    }
}

static void see_link(struct watch *watch, const struct nlmsghdr *event)
{
    const struct ifinfomsg *link = NLMSG_DATA(event);
    struct dp_device_rec *device = dp_shadow_device(&watch->dp->shadow, (uint32_t)link->ifi_index);
    bool is_up = (link->ifi_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);

    if ((uint32_t)link->ifi_index == watch->dp->underlay)
        see_state(watch, &watch->dp->underlay_state, is_up && event->nlmsg_type == RTM_NEWLINK);
    if (device && device->role == DP_DEVICE_PORT) {
        if (event->nlmsg_type == RTM_DELLINK) /* of the device, or of its place in the bridge */
            see_port_gone(watch->dp, device);
    } else if (device && event->nlmsg_type == RTM_DELLINK)
        watch->is_disturbed = true;
    else if (device)
        see_state(watch, &device->state, is_up);
}

static void see_nexthop(struct watch *watch, const struct nlmsghdr *event)
{
    struct dp_nexthop nexthop;

    if (dp_nexthop_parse(event, &nexthop) && nexthop.protocol == DP_PROTOCOL &&
        dp_table_find(&watch->dp->shadow.nexthop_ids, &nexthop.id))
        watch->is_disturbed = true;
}

static void see(void *aux, const struct nlmsghdr *event)
{
    if ((event->nlmsg_type == RTM_DELLINK || event->nlmsg_type == RTM_NEWLINK) &&
        event->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifinfomsg)))
        see_link(aux, event);
    else if (event->nlmsg_type == RTM_DELNEXTHOP)
        see_nexthop(aux, event);
}

bool dp_is_disturbed(struct dp *dp)
{
    struct watch watch = {.dp = dp, .is_disturbed = dp->is_torn};
    bool is_whole = dp_nl_events(dp->nl, see, &watch);

    dp->is_torn = false;
    return watch.is_disturbed || !is_whole;
}
