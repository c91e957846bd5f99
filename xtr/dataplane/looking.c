/* See looking.h. */
#include "looking.h"

#include "kernel.h"
#include "route.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct look {
    const struct dp_teller *teller;
    struct dp_nl *nl;
    const struct em_ip *from;
    uint32_t mtu;
};
#define tell(l, ...) dp_tell((l)->teller, __VA_ARGS__)

void dp_tell(const struct dp_teller *teller, const char *name, const char *advice,
             const char *format, ...)
{
    char found[DP_LOOK_TEXT];
    va_list args;

    va_start(args, format);
    vsnprintf(found, sizeof(found), format, args);
    va_end(args);
    teller->visit(teller->aux, &(struct dp_step){.name = name,
                                                 .is_wrong = advice != NULL,
                                                 .found = found,
                                                 .advice = advice ? advice : ""});
}

/* What goes into the tunnel must come out of the device in one piece. */
static void look_mtu(const struct look *l, const struct dp_link *device, uint32_t mtu)
{
    uint32_t needed = l->mtu + dp_overhead(l->from);

    if (l->mtu == 0)
        tell(l, "underlay", NULL, "%s: up, mtu %u: enough for packets of %u", device->name, mtu,
             mtu - dp_overhead(l->from));
    else if (mtu >= needed || device->is_loopback)
        tell(l, "underlay", NULL, "%s: up, mtu %u; packets of %u need %u", device->name, mtu,
             l->mtu, needed);
    else
        tell(l, "underlay", "raise the underlay's mtu, or lower the network's",
             "%s: mtu %u, but packets of %u need %u", device->name, mtu, l->mtu, needed);
}

static void look_device(const struct look *l, const struct dp_route *route)
{
    struct dp_link device = {0};

    int r = dp_link_get_index(l->nl, route->ifindex, &device);
    if (r)
        tell(l, "underlay", "bring the device of the underlay back", "device %u: %s",
             route->ifindex, strerror(-r));
    else if (!device.is_up || !device.is_running)
        tell(l, "underlay", "set the device of the underlay up, and look at its cable", "%s: %s",
             device.name, device.is_up ? "no carrier" : "down");
    else
        look_mtu(l, &device, route->mtu && route->mtu < device.mtu ? route->mtu : device.mtu);
}

static const char *route_advice(int err)
{
    return err == -EINVAL ? "the source is none of this host's addresses: give it back, or change "
                            "rloc"
                          : "add a route to the RLOC";
}

static void look_route(const struct look *l, const struct em_ip *to)
{
    struct dp_route route;
    struct dp_link device = {0};
    char ip[EM_IP_TEXT], gateway[EM_IP_TEXT];

    em_ip_format(to->addr, to->size, ip);
    int r = dp_route_get(l->nl, to, l->from, &route);
    if (r) {
        tell(l, "route", route_advice(r), "%s: %s", ip, strerror(-r));
        return;
    }
    (void)dp_link_get_index(l->nl, route.ifindex, &device);
    if (route.gateway.size)
        tell(l, "route", NULL, "%s via %s dev %s", ip,
             em_ip_format(route.gateway.addr, route.gateway.size, gateway), device.name);
    else
        tell(l, "route", NULL, "%s dev %s", ip, device.name);
    look_device(l, &route);
}

void dp_look_underlay(const struct dp_teller *teller, struct dp_nl *nl, const struct em_ip *from,
                      const struct em_ip *to, uint32_t mtu)
{
    struct look l = {teller, nl, from, mtu};
    look_route(&l, to);
}
