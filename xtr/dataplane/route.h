/* Routes of the underlay, asked for one at a time. */
#ifndef DP_ROUTE_H
#define DP_ROUTE_H

#include "eidmap/addr.h"

struct dp_nl;

struct dp_route {
    uint32_t ifindex;     /* device that packets leave by */
    struct em_ip gateway; /* size 0: on the link */
    uint32_t mtu;         /* of the route itself; 0: the device's */
};

/* Which way packets from 'source' to 'ip' go now.  The batch must be empty.  0, or -errno as
 * the kernel's lookup gives it: -ENETUNREACH, -EHOSTUNREACH, -EINVAL (the source is no
 * address of this host). */
int dp_route_get(struct dp_nl *nl, const struct em_ip *ip, const struct em_ip *source,
                 struct dp_route *ret_route);

#endif
