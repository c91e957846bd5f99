/* Routes.  Source: linux/rtnetlink.h, rtnetlink(7). */
#include "route.h"

#include "netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

static void take_metrics(const struct nlattr *metrics, struct dp_route *route)
{
    const struct nlattr *attr;

    mnl_attr_for_each_nested(attr, metrics)
    {
        if (mnl_attr_get_type(attr) == RTAX_MTU && mnl_attr_get_payload_len(attr) == 4)
            route->mtu = mnl_attr_get_u32(attr);
    }
}

static void take_route(void *aux, const struct nlmsghdr *message)
{
    struct dp_route *route = aux;
    const struct nlattr *attr;

    if (message->nlmsg_type != RTM_NEWROUTE)
        return;
    mnl_attr_for_each(attr, message, sizeof(struct rtmsg))
    {
        size_t size = mnl_attr_get_payload_len(attr);
        switch (mnl_attr_get_type(attr)) {
        case RTA_OIF:
            route->ifindex = size == 4 ? mnl_attr_get_u32(attr) : 0;
            break;
        case RTA_GATEWAY:
            if (size != 4 && size != 16)
                break;
            route->gateway.size = (uint8_t)size;
            memcpy(route->gateway.addr, mnl_attr_get_payload(attr), size);
            break;
        case RTA_METRICS:
            take_metrics(attr, route);
            break;
        }
    }
}

int dp_route_get(struct dp_nl *nl, const struct em_ip *ip, const struct em_ip *source,
                 struct dp_route *ret_route)
{
    struct nlmsghdr *message = dp_nl_begin(nl, RTM_GETROUTE, 0, sizeof(struct rtmsg));
    struct rtmsg *rtm = mnl_nlmsg_get_payload(message);
    struct dp_route route = {0};

    rtm->rtm_family = ip->size == 16 ? AF_INET6 : AF_INET;
    rtm->rtm_dst_len = rtm->rtm_src_len = (uint8_t)(8 * ip->size);
    mnl_attr_put(message, RTA_DST, ip->size, ip->addr);
    mnl_attr_put(message, RTA_SRC, source->size, source->addr);
    int r = dp_nl_read(nl, take_route, &route);
    if (r)
        return r;
    if (!route.ifindex)
        return -ENETUNREACH;
    *ret_route = route;
    return 0;
}
