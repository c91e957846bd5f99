/* Entries of the kernel's FDB, neighbour and nexthop tables: to messages, from messages,
 * to text.  Building is apart from sending, so that a test can look at what would go out. */
#ifndef DP_ENTRY_H
#define DP_ENTRY_H

#include "eidmap/addr.h"

#include <linux/nexthop.h>

struct dp_nl;
struct nlmsghdr;

#define DP_PROTOCOL   225 /* marks nexthops and neighbours as eidmap's */
#define DP_ENTRY_TEXT 256 /* room for an entry's text */
#define DP_GROUP_MAX  64  /* members of a group */

/* One entry of a forwarding database.  A vxlan device's own table (NTF_SELF) has either
 * 'nhid' or 'dst'; the bridge's (NTF_MASTER) has none of them. */
struct dp_fdb {
    uint32_t ifindex;
    uint32_t master; /* ifindex of the bridge, in what was read */
    uint8_t mac[EM_MAC_SIZE];
    uint8_t flags;  /* NTF_* */
    uint16_t state; /* NUD_* */
    uint32_t nhid;  /* 0: none */
    struct em_ip dst;
    uint32_t vni;     /* 0: the device's */
    uint16_t port;    /* host order; 0: the device's */
    uint64_t age_ms;  /* in what was read: since a frame came from there */
    uint64_t used_ms; /* likewise: since a frame went to this MAC, or the entry was made */
};

struct dp_neigh {
    uint32_t ifindex;
    struct em_ip ip;
    uint8_t mac[EM_MAC_SIZE];
    uint16_t state; /* NUD_* */
    uint8_t protocol;
};

/* A nexthop to one address, or a group of them. */
struct dp_nexthop {
    uint32_t id;
    uint8_t protocol;
    bool is_fdb;
    struct em_ip ip; /* size 0: a group */
    size_t n_members;
    struct nexthop_grp members[DP_GROUP_MAX]; /* 'weight' is one less, as in the uapi */
};

/* Each appends one message; 'type' is RTM_NEW..., RTM_DEL... or RTM_GET... of its table. */
void dp_fdb_message(struct dp_nl *nl, uint16_t type, uint16_t flags, const struct dp_fdb *fdb);
void dp_neigh_message(struct dp_nl *nl, uint16_t type, uint16_t flags,
                      const struct dp_neigh *neigh);
void dp_nexthop_message(struct dp_nl *nl, uint16_t type, uint16_t flags,
                        const struct dp_nexthop *nexthop);

/* Dump requests: all FDBs (family AF_BRIDGE), or all neighbours of one family; the FDBs of
 * one bridge and its ports. */
void dp_neigh_dump_message(struct dp_nl *nl, uint8_t family);
void dp_fdb_dump_message(struct dp_nl *nl, uint32_t bridge);
void dp_nexthop_dump_message(struct dp_nl *nl);

/* False if the message is no such entry. */
bool dp_fdb_parse(const struct nlmsghdr *message, struct dp_fdb *ret_fdb);
bool dp_neigh_parse(const struct nlmsghdr *message, struct dp_neigh *ret_neigh);
bool dp_nexthop_parse(const struct nlmsghdr *message, struct dp_nexthop *ret_nexthop);

/* As bridge(8) and ip(8) print it; 'device' and 'master' are names, 'master' may be NULL.
 * Return 'text' of DP_ENTRY_TEXT bytes. */
char *dp_fdb_format(const struct dp_fdb *fdb, const char *device, const char *master, char *text);
char *dp_neigh_format(const struct dp_neigh *neigh, const char *device, char *text);
char *dp_nexthop_format(const struct dp_nexthop *nexthop, char *text);

#endif
