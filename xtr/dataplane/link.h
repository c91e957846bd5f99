/* Network devices: what a network's bridge, its vxlan device and its ports are made of.
 *
 * A device is eidmap's if its alias says so ("eidmap:7", IFLA_IFALIAS); a device that only
 * has the right name is a stranger's and stays as it is. */
#ifndef DP_LINK_H
#define DP_LINK_H

#include "eidmap/model.h"

#include <net/if.h>

struct dp_nl;

enum dp_link_kind { DP_LINK_OTHER, DP_LINK_BRIDGE, DP_LINK_VXLAN };

/* Flags of a bridge port, linux/if_link.h IFLA_BRPORT_*. */
struct dp_brport {
    bool learning;
    bool neigh_suppress;
    bool unicast_flood;
    bool mcast_flood;
    bool bcast_flood;
};

struct dp_link {
    uint32_t ifindex;
    uint32_t master; /* 0: none */
    char name[IFNAMSIZ];
    enum dp_link_kind kind;
    uint32_t network_id; /* by its alias; 0: not ours */
    uint32_t mtu;
    bool is_up;
    bool is_running; /* up, and the other end is */
    bool is_loopback;
    struct dp_brport brport; /* of a bridge's port */
    uint32_t vni;            /* vxlan only, the next three too */
    uint16_t udp_port;       /* host order */
    struct em_ip local;
    bool is_learning;
};

/* "emb7", "emx7", "emt7" and "emc7" for network 7: at most 11 characters. */
char *dp_bridge_name(uint32_t network_id, char name[IFNAMSIZ]);
char *dp_vxlan_name(uint32_t network_id, char name[IFNAMSIZ]);
char *dp_miss_name(uint32_t network_id, char name[IFNAMSIZ]);
char *dp_copy_device_name(uint32_t network_id, char name[IFNAMSIZ]);

bool dp_link_is_same_brport(const struct dp_brport *a, const struct dp_brport *b);

struct nlmsghdr;

/* Of RTM_NEWLINK or RTM_DELLINK; false for any other message. */
bool dp_link_parse(const struct nlmsghdr *message, struct dp_link *ret_link);

/* 0, -ENODEV, or -errno. */
int dp_link_get(struct dp_nl *nl, const char *name, struct dp_link *ret_link);
int dp_link_get_index(struct dp_nl *nl, uint32_t ifindex, struct dp_link *ret_link);

typedef void dp_link_fn(void *aux, const struct dp_link *link);
int dp_link_dump(struct dp_nl *nl, dp_link_fn *on_link, void *aux);

/* ifindex of the device that holds 'ip'; -EADDRNOTAVAIL if none does. */
int dp_link_find_address(struct dp_nl *nl, const struct em_ip *ip, uint32_t *ret_ifindex);

/* Make and mark a network's devices; each step is acknowledged before the next.  Of 'want'
 * the vxlan device takes network_id, mtu (bytes of IP packet), vni, udp_port and local. */
int dp_link_make_bridge(struct dp_nl *nl, uint32_t network_id, uint32_t mtu,
                        struct dp_link *ret_link);
int dp_link_make_vxlan(struct dp_nl *nl, const struct dp_link *want, const char *name,
                       struct dp_link *ret_link);

/* Marks a device that was made by another way as the network's, and takes it away again if
 * that fails. */
int dp_link_mark(struct dp_nl *nl, const char *name, uint32_t network_id, struct dp_link *ret_link);

/* Puts the port into the bridge, with these flags, and sets it up. */
int dp_link_enslave(struct dp_nl *nl, uint32_t ifindex, uint32_t bridge,
                    const struct dp_brport *brport);
int dp_link_release(struct dp_nl *nl, uint32_t ifindex);

/* Gives a vxlan device another address of its family, in place. */
int dp_link_set_local(struct dp_nl *nl, uint32_t ifindex, const struct em_ip *local);

/* MACs that a bridge may learn; kernels before 6.8 know no such limit, and set none. */
int dp_link_limit_bridge(struct dp_nl *nl, uint32_t ifindex, uint32_t most);

int dp_link_set_mtu(struct dp_nl *nl, uint32_t ifindex, uint32_t mtu);
int dp_link_set_up(struct dp_nl *nl, uint32_t ifindex);
int dp_link_delete(struct dp_nl *nl, uint32_t ifindex);

#endif
