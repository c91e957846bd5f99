/* The shadow: what the data plane has programmed, so that it need not ask the kernel.
 *
 * Dumping a FDB is quadratic in the kernel (a minute for a million entries), so this is
 * what every op is compared with.  A remote endpoint with MAC and IPv4 address costs 32
 * bytes and two index cells; records are plain data. */
#ifndef DP_SHADOW_H
#define DP_SHADOW_H

#include "dptable.h"
#include "entry.h"

#include "dp.h"

/* State of a record that stands for a kernel entry. */
enum {
    DP_ADOPTED = 1 << 0,   /* found at open, not put since */
    DP_PENDING = 1 << 1,   /* in the batch that has not been sent */
    DP_DIRTY = 1 << 2,     /* the kernel's state is not known to be as recorded: send again */
    DP_NEW = 1 << 3,       /* with DP_PENDING: goes away if the kernel refuses */
    DP_FOREIGN = 1 << 4,   /* a stranger's, in the way */
    DP_LOCAL = 1 << 5,     /* MAC: behind a local port */
    DP_BY_DST = 1 << 6,    /* remote MAC: its vxlan entry names an address, not a group */
    DP_ON_BRIDGE = 1 << 7, /* MAC: which halves a dump has shown */
    DP_ON_VXLAN = 1 << 8,
    DP_SEEN = 1 << 9,      /* shown by the dump of a check */
    DP_BORROWED = 1 << 10, /* port: somebody else has put its device into the bridge */
    DP_GUESSED = 1 << 11, /* MAC, with DP_ADOPTED: 'place' and even its being there are not known */
    DP_WANTED = 1 << 12,  /* network, with DP_ADOPTED: put since, and refused: it stays as it is */
};

/* What an earlier run has left of a network that nobody has put since. */
static inline bool dp_is_nobodys(uint16_t flags)
{
    return (flags & (DP_ADOPTED | DP_WANTED)) == DP_ADOPTED;
}

struct dp_mac_rec {
    uint32_t network_id;
    uint8_t mac[EM_MAC_SIZE];
    uint16_t flags;
    uint32_t place; /* local: ifindex.  Remote: set.id; adopted: group id, or 0 by dst */
};

struct dp_neigh4_rec {
    uint32_t network_id;
    uint8_t addr[4];
    uint16_t flags;
    uint8_t mac[EM_MAC_SIZE];
};

struct dp_neigh6_rec {
    uint32_t network_id;
    uint8_t addr[16];
    uint16_t flags;
    uint8_t mac[EM_MAC_SIZE];
};

struct dp_flood_rec {
    uint32_t network_id;
    uint32_t vni;  /* that the target expects, never 0: the network's own may change */
    uint16_t port; /* never 0 */
    uint8_t size;
    uint8_t addr[16];
    uint8_t pad;
    uint16_t flags;
};

struct dp_copy_rec {
    uint32_t network_id;
    uint8_t mac[EM_MAC_SIZE];
    uint16_t flags;
    uint16_t pref;    /* of its filter */
    uint32_t ifindex; /* of the device that the filter is on */
    struct dp_target target;
};

struct dp_network_rec {
    uint32_t network_id;
    struct dp_network want; /* as put; of an adopted one only id and VNI */
    uint32_t mtu;           /* in force */
    uint32_t bridge, vxlan; /* ifindex */
    uint32_t n_macs;        /* records, strangers' too */
    uint32_t miss;          /* ifindex of the miss port; 0: none */
    int miss_fd;            /* of its tap */
    uint32_t copy;          /* ifindex; 0: the network has no copies */
    bool is_cut;            /* its FDBs were too large to be dumped at open */
    uint16_t flags;
};

struct dp_port_rec {
    uint32_t network_id;
    char device[IFNAMSIZ];
    uint32_t ifindex;
    uint16_t flags;
};

/* DP_LINK_NEW: has not come up yet since it was made or found. */
enum dp_link_state { DP_LINK_NEW, DP_LINK_UP, DP_LINK_DOWN };

/* Which network, and what, a device is; for what a dump shows. */
struct dp_device_rec {
    uint32_t ifindex;
    uint32_t network_id;
    enum { DP_DEVICE_BRIDGE, DP_DEVICE_VXLAN, DP_DEVICE_PORT, DP_DEVICE_COPY } role;
    enum dp_link_state state; /* as the kernel's news say; of a port DOWN: a check found it out of
                               * place, and cannot mend that */
};

struct dp_set_rec {
    uint32_t set_id;
    uint32_t group_id; /* the kernel's nexthop group */
    uint32_t n_macs;   /* that name this set */
    uint32_t n_by_dst; /* of these, by address */
    bool is_empty;     /* no targets: frames are dropped */
    bool is_plain;     /* all targets have the same VNI, and the data plane's UDP port */
    uint16_t flags;
    struct dp_target first; /* what entries by address use; 'is_plain': its VNI is all's */
    uint32_t n_members;
    struct nexthop_grp *members; /* sorted by id; owned */
};

/* A group that was found at open and that no set has claimed yet. */
struct dp_group_rec {
    uint32_t group_id;
    uint32_t n_members;
    struct nexthop_grp *members; /* sorted by id; owned */
};

struct dp_nexthop_rec {
    uint8_t size;
    uint8_t addr[16];
    uint16_t flags;
    uint32_t id;
    uint32_t n_refs; /* memberships */
};

struct dp_shadow {
    struct dp_table networks, ports, devices, sets, groups, nexthops;
    struct dp_table nexthop_ids; /* of uint32_t: taken, ours or not */
    struct dp_table macs, neighs4, neighs6, floods, copies;
};

void dp_shadow_init(struct dp_shadow *shadow);
void dp_shadow_fini(struct dp_shadow *shadow);

struct dp_network_rec *dp_shadow_network(const struct dp_shadow *shadow, uint32_t network_id);
struct dp_set_rec *dp_shadow_set(const struct dp_shadow *shadow, uint32_t set_id);
struct dp_device_rec *dp_shadow_device(const struct dp_shadow *shadow, uint32_t ifindex);
void dp_shadow_set_device(struct dp_shadow *shadow, uint32_t ifindex, uint32_t network_id,
                          int role);
void dp_shadow_drop_device(struct dp_shadow *shadow, uint32_t ifindex);

struct dp_mac_rec *dp_shadow_mac(const struct dp_shadow *shadow, uint32_t network_id,
                                 const uint8_t *mac);
void dp_shadow_prefetch_mac(const struct dp_shadow *shadow, uint32_t network_id,
                            const uint8_t *mac);
struct dp_mac_rec *dp_shadow_put_mac(struct dp_shadow *shadow, uint32_t network_id,
                                     const uint8_t *mac);
void dp_shadow_remove_mac(struct dp_shadow *shadow, struct dp_mac_rec *record);

/* IPv4 and IPv6 neighbours have records of their own size; this is one of either. */
struct dp_neigh_ref {
    struct dp_table *table;
    void *record;    /* NULL: none */
    uint16_t *flags; /* into the record */
    uint8_t *mac;
};
struct dp_neigh_ref dp_shadow_refer(struct dp_table *table, void *record);
struct dp_neigh_ref dp_shadow_neigh(struct dp_shadow *shadow, uint32_t network_id,
                                    const struct em_ip *ip);
void dp_shadow_prefetch_neigh(struct dp_shadow *shadow, uint32_t network_id,
                              const struct em_ip *ip);
struct dp_neigh_ref dp_shadow_put_neigh(struct dp_shadow *shadow, uint32_t network_id,
                                        const struct em_ip *ip);
struct dp_neigh_ref dp_shadow_neigh_at(struct dp_table *table, uint32_t i, uint32_t *ret_network,
                                       struct em_ip *ret_ip);

/* Entries that stand: neither pending ones nor strangers'. */
uint64_t dp_shadow_count(const struct dp_shadow *shadow);

#endif
