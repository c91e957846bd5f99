/* Sources: net/bridge/br_fdb.c for what a bridge tells of its entries (RTNLGRP_NEIGH), and
 * net/core/rtnetlink.c for a device's master (RTNLGRP_LINK).
 *
 * A device leaves a bridge by a new RTM_NEWLINK without a master, or by RTM_DELLINK; messages
 * of family AF_BRIDGE say the same once more and are not looked at. */
#include "learn.h"

#include "entry.h"
#include "link.h"
#include "netlink.h"
#include "shadow.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/filter.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define EVENT_BUFFER (4 << 20)
#define EVENT_SIZE   16384
#define TURN_EVENTS  256

struct bridge_rec {
    uint32_t ifindex;
    uint32_t network_id;
    bool is_limited;
};

struct port_rec {
    uint32_t ifindex;
    uint32_t bridge;
    char device[IFNAMSIZ];
    bool is_seen; /* by the dump that is running */
};

struct dp_learn {
    dp_learned_fn *on_learned;
    void *aux;
    struct dp_nl *nl; /* for dumps and questions */
    struct mnl_socket *events;
    struct dp_table bridges, ports;
    _Alignas(NLMSG_ALIGNTO) uint8_t in[EVENT_SIZE];
};

/* Links are all taken; of neighbours neither deletions, nor what carries a mark of ours. */
static int set_filter(const struct dp_learn *learn)
{
    const uint32_t flags = NLMSG_HDRLEN + offsetof(struct ndmsg, ndm_flags);
    const uint32_t state = NLMSG_HDRLEN + offsetof(struct ndmsg, ndm_state);
    /* Numbers are in host order there, and the filter reads them as of the network. */
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELNEIGH), 8, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWNEIGH), 0, 6),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, NLMSG_HDRLEN),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_BRIDGE, 0, 2),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, flags),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NTF_EXT_LEARNED, 3, 0),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, state),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, htons(NUD_PERMANENT | NUD_NOARP), 1, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    const struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    return setsockopt(mnl_socket_get_fd(learn->events), SOL_SOCKET, SO_ATTACH_FILTER, &program,
                      sizeof program)
               ? -errno
               : 0;
}

static int listen_to(const struct dp_learn *learn, int group)
{
    return mnl_socket_setsockopt(learn->events, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0
               ? -errno
               : 0;
}

static int open_events(struct dp_learn *learn)
{
    int size = EVENT_BUFFER;
    learn->events = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (!learn->events || mnl_socket_bind(learn->events, 0, MNL_SOCKET_AUTOPID) < 0)
        return -errno;
    (void)setsockopt(mnl_socket_get_fd(learn->events), SOL_SOCKET, SO_RCVBUFFORCE, &size,
                     sizeof size);
    int r = set_filter(learn);
    if (!r)
        r = listen_to(learn, RTNLGRP_LINK);
    return r ? r : listen_to(learn, RTNLGRP_NEIGH);
}

int dp_learn_open(dp_learned_fn *on_learned, void *aux, struct dp_learn **ret_learn)
{
    struct dp_learn *learn = em_calloc(1, sizeof *learn);
    learn->on_learned = on_learned;
    learn->aux = aux;
    dp_table_init(&learn->bridges, sizeof(struct bridge_rec), sizeof(uint32_t));
    dp_table_init(&learn->ports, sizeof(struct port_rec), sizeof(uint32_t));
    int r = dp_nl_open(&learn->nl);
    if (!r)
        r = open_events(learn);
    if (r) {
        dp_learn_close(learn);
        return r;
    }
    *ret_learn = learn;
    return 0;
}

void dp_learn_close(struct dp_learn *learn)
{
    if (!learn)
        return;
    dp_nl_close(learn->nl);
    if (learn->events)
        mnl_socket_close(learn->events);
    dp_table_fini(&learn->bridges);
    dp_table_fini(&learn->ports);
    free(learn);
}

int dp_learn_fd(const struct dp_learn *learn)
{
    return mnl_socket_get_fd(learn->events);
}

/* Devices */

static void show_port(const struct dp_learn *learn, enum dp_learned_kind kind,
                      const struct port_rec *port, const uint8_t *mac)
{
    const struct bridge_rec *bridge = dp_table_find(&learn->bridges, &port->bridge);
    struct dp_learned learned = {.kind = kind, .ifindex = port->ifindex};
    if (!bridge)
        return;
    learned.network_id = bridge->network_id;
    memcpy(learned.device, port->device, sizeof learned.device);
    if (mac)
        memcpy(learned.mac, mac, EM_MAC_SIZE);
    learn->on_learned(learn->aux, &learned);
}

static void drop_port(struct dp_learn *learn, struct port_rec *port)
{
    if (!port)
        return;
    show_port(learn, DP_LEARNED_NO_PORT, port, NULL);
    dp_table_remove(&learn->ports, port);
}

static void drop_bridge(struct dp_learn *learn, struct bridge_rec *bridge)
{
    for (uint32_t i = learn->ports.len; i-- > 0;) {
        struct port_rec *port = dp_table_at(&learn->ports, i);
        if (port->bridge == bridge->ifindex)
            drop_port(learn, port);
    }
    dp_table_remove(&learn->bridges, bridge);
}

static void see_bridge(struct dp_learn *learn, const struct dp_link *link)
{
    struct bridge_rec *rec = dp_table_find(&learn->bridges, &link->ifindex);
    if (!rec)
        rec = dp_table_put(&learn->bridges, &link->ifindex);
    rec->network_id = link->network_id;
}

static void see_device(struct dp_learn *learn, const struct dp_link *link)
{
    struct port_rec *rec = dp_table_find(&learn->ports, &link->ifindex);
    bool is_port = dp_table_find(&learn->bridges, &link->master);
    if (rec && (rec->bridge != link->master || strcmp(rec->device, link->name) != 0)) {
        drop_port(learn, rec);
        rec = NULL;
    }
    if (!rec && is_port) {
        rec = dp_table_put(&learn->ports, &link->ifindex);
        rec->bridge = link->master;
        memcpy(rec->device, link->name, sizeof rec->device);
        show_port(learn, DP_LEARNED_PORT, rec, NULL);
    }
    if (rec)
        rec->is_seen = true;
}

/* Other devices with our alias are the tunnels. */
static void see_link(struct dp_learn *learn, const struct nlmsghdr *message)
{
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
    struct dp_link link;
    if (info->ifi_family == AF_BRIDGE || !dp_link_parse(message, &link))
        return;
    struct bridge_rec *bridge = dp_table_find(&learn->bridges, &link.ifindex);
    if (message->nlmsg_type == RTM_DELLINK) {
        drop_port(learn, dp_table_find(&learn->ports, &link.ifindex));
        if (bridge)
            drop_bridge(learn, bridge);
    } else if (link.network_id && link.kind == DP_LINK_BRIDGE) {
        see_bridge(learn, &link);
    } else if (!link.network_id && !bridge) {
        see_device(learn, &link);
    }
}

/* Entries */

static void see_mac(const struct dp_learn *learn, const struct nlmsghdr *message)
{
    struct dp_fdb fdb;
    if (!dp_fdb_parse(message, &fdb) || fdb.flags & (NTF_EXT_LEARNED | NTF_SELF) ||
        fdb.state != NUD_REACHABLE)
        return;
    const struct port_rec *port = dp_table_find(&learn->ports, &fdb.ifindex);
    if (port)
        show_port(learn, DP_LEARNED_MAC, port, fdb.mac);
}

static void see_neighbour(const struct dp_learn *learn, const struct nlmsghdr *message)
{
    const uint16_t known = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE;
    struct dp_neigh neigh;
    if (!dp_neigh_parse(message, &neigh) || neigh.protocol == DP_PROTOCOL || !(neigh.state & known))
        return;
    const struct bridge_rec *bridge = dp_table_find(&learn->bridges, &neigh.ifindex);
    if (!bridge)
        return;
    struct dp_learned learned = {
        .kind = DP_LEARNED_IP, .network_id = bridge->network_id, .ip = neigh.ip};
    memcpy(learned.mac, neigh.mac, EM_MAC_SIZE);
    learn->on_learned(learn->aux, &learned);
}

static void see(void *aux, const struct nlmsghdr *message)
{
    struct dp_learn *learn = aux;
    const struct ndmsg *ndm = mnl_nlmsg_get_payload(message);
    if (message->nlmsg_type == RTM_NEWLINK || message->nlmsg_type == RTM_DELLINK)
        see_link(learn, message);
    else if (message->nlmsg_type == RTM_NEWNEIGH && ndm->ndm_family == AF_BRIDGE)
        see_mac(learn, message);
    else if (message->nlmsg_type == RTM_NEWNEIGH)
        see_neighbour(learn, message);
}

int dp_learn_read(struct dp_learn *learn)
{
    for (int i = 0; i < TURN_EVENTS; i++) {
        ssize_t got = recv(dp_learn_fd(learn), learn->in, sizeof learn->in, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno == EAGAIN ? 0 : -errno;
        int left = (int)got;
        for (const struct nlmsghdr *event = (const void *)learn->in; mnl_nlmsg_ok(event, left);
             event = mnl_nlmsg_next(event, &left))
            see(learn, event);
    }
    return 0;
}

static int dump(struct dp_learn *learn, uint16_t type, uint8_t family, size_t extra)
{
    struct nlmsghdr *message = dp_nl_begin(learn->nl, type, NLM_F_DUMP, extra);
    *(uint8_t *)mnl_nlmsg_get_payload(message) = family; /* first in all of them */
    int r = dp_nl_read(learn->nl, see, learn);
    return r == -EAGAIN ? 0 : r; /* a torn dump is a true list; events tell the rest */
}

static void drop_unseen(struct dp_learn *learn)
{
    for (uint32_t i = learn->ports.len; i-- > 0;) {
        struct port_rec *port = dp_table_at(&learn->ports, i);
        if (!port->is_seen)
            drop_port(learn, port);
    }
}

/* A dump of links may show a port before its bridge, so bridges are found first. */
int dp_learn_all(struct dp_learn *learn)
{
    for (uint32_t i = 0; i < learn->ports.len; i++)
        ((struct port_rec *)dp_table_at(&learn->ports, i))->is_seen = false;
    int r = dump(learn, RTM_GETLINK, AF_UNSPEC, sizeof(struct ifinfomsg));
    if (!r)
        r = dump(learn, RTM_GETLINK, AF_UNSPEC, sizeof(struct ifinfomsg));
    if (r)
        return r;
    drop_unseen(learn);
    for (uint32_t i = 0; i < learn->ports.len; i++)
        show_port(learn, DP_LEARNED_PORT, dp_table_at(&learn->ports, i), NULL);
    static const uint8_t families[] = {AF_BRIDGE, AF_INET, AF_INET6};
    for (size_t i = 0; i < sizeof families && !r; i++)
        r = dump(learn, RTM_GETNEIGH, families[i], sizeof(struct ndmsg));
    return r;
}

int dp_learn_limit(struct dp_learn *learn, uint32_t network_id, uint32_t most)
{
    for (uint32_t i = 0; i < learn->bridges.len; i++) {
        struct bridge_rec *bridge = dp_table_at(&learn->bridges, i);
        if (bridge->network_id != network_id)
            continue;
        int r = bridge->is_limited ? 0 : dp_link_limit_bridge(learn->nl, bridge->ifindex, most);
        bridge->is_limited = !r;
        return r;
    }
    return -ENODEV;
}

struct answer {
    struct dp_fdb fdb;
    bool is_there;
};

static void take_answer(void *aux, const struct nlmsghdr *message)
{
    struct answer *answer = aux;
    answer->is_there = dp_fdb_parse(message, &answer->fdb);
}

int dp_learn_age(struct dp_learn *learn, const char *device, const uint8_t mac[EM_MAC_SIZE],
                 uint64_t *ret_age_ms)
{
    struct dp_fdb key = {.ifindex = if_nametoindex(device), .flags = NTF_MASTER};
    struct answer answer = {.is_there = false};
    if (!key.ifindex)
        return -ENOENT;
    memcpy(key.mac, mac, EM_MAC_SIZE);
    dp_fdb_message(learn->nl, RTM_GETNEIGH, 0, &key);
    int r = dp_nl_read(learn->nl, take_answer, &answer);
    if (!r && (!answer.is_there || answer.fdb.ifindex != key.ifindex))
        r = -ENOENT;
    if (!r)
        *ret_age_ms = answer.fdb.age_ms;
    return r;
}
