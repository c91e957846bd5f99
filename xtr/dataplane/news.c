/* A socket of its own: addresses change seldom, and must not wait for the turn of a table of
 * a hundred thousand entries. */
#include "news.h"

#include "base/mem.h"
#include "link.h"
#include "netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <sys/socket.h>

#define DRAIN_MAX 1024 /* messages: a host may have a routing daemon with a full table */

struct dp_news {
    struct mnl_socket *socket;
    struct dp_nl *nl; /* for questions */
};

static int join(struct mnl_socket *socket, bool has_routes)
{
    static const int groups[] = {RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
                                 RTNLGRP_IPV6_ROUTE};

    if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0)
        return -errno;
    for (size_t i = 0; i < (has_routes ? 4 : 2); i++) {
        int group = groups[i];
        if (mnl_socket_setsockopt(socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
            return -errno;
    }
    return 0;
}

int dp_news_open(bool has_routes, struct dp_news **ret_news)
{
    struct dp_news *news = em_calloc(1, sizeof(*news));

    news->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int r = news->socket ? join(news->socket, has_routes) : -errno;
    if (r == 0)
        r = dp_nl_open(&news->nl);
    if (r) {
        dp_news_close(news);
        return r;
    }
    *ret_news = news;
    return 0;
}

void dp_news_close(struct dp_news *news)
{
    if (!news)
        return;
    if (news->socket)
        mnl_socket_close(news->socket);
    dp_nl_close(news->nl);
    free(news);
}

int dp_news_fd(const struct dp_news *news)
{
    return mnl_socket_get_fd(news->socket);
}

void dp_news_drain(struct dp_news *news)
{
    char byte; /* the rest of each message is dropped */

    for (unsigned i = 0; i < DRAIN_MAX; i++)
        if (recv(dp_news_fd(news), &byte, sizeof(byte), 0) < 0 && errno != ENOBUFS &&
            errno != EINTR)
            return;
}

bool dp_news_has_address(struct dp_news *news, const struct em_ip *ip)
{
    uint32_t ifindex;
    return dp_link_find_address(news->nl, ip, &ifindex) != -EADDRNOTAVAIL;
}
