/* The Open vSwitch data plane from inside: shared by the files that make it up (ovs.c draws
 * which); besides them only their tests include it. */
#ifndef DP_OVS_H
#define DP_OVS_H

#include "ovs/ofconn.h"
#include "lost.h"
#include "shadow.h"

#include "dp.h"

/* Tables.  ovs_flows.c has a picture of the way through them. */
enum ovs_table {
    OVS_CLASSIFY = 0,  /* by the port that a frame comes in by */
    OVS_TUNNEL = 100,  /* from a tunnel: by its segmentation-id */
    OVS_SOURCE = 101,  /* port security: is the source MAC the port's? */
    OVS_ADDRESS = 102, /* and the source address? */
    OVS_ND = 103,      /* and what neighbour discovery says of itself? */
    OVS_RESPOND = 110, /* ARP and ND that are answered here */
    OVS_REPLY = 111,   /* the answer takes shape */
    OVS_ADVERTISE = 112,
    OVS_RETURN = 113,  /* and goes back where the question came from */
    OVS_FORWARD = 120, /* to its destination, wherever it is */
    OVS_DELIVER = 121, /* to its destination on this host */
    OVS_CHILD = 122,   /* out by a trunk, with a VLAN tag */
};

/* What a flow of ours is there for: the highest bits of its cookie say that it is ours and what it
 * is, the 48 lowest what its match does not. */
enum ovs_kind {
    OVS_BASE,    /* the same on every host */
    OVS_NETWORK, /* network-id */
    OVS_PORT,    /* network-id */
    OVS_LOCAL,   /* the port: OVS_PLACE() */
    OVS_REMOTE,  /* the set's group; 0: none */
    OVS_ADDR,    /* the MAC */
    OVS_FLOOD,   /* network-id */
};
#define OVS_COOKIE      0xe1d0000000000000u
#define OVS_COOKIE_MASK 0xfff0000000000000u

static inline uint64_t ovs_cookie(enum ovs_kind kind, uint64_t value)
{
    return OVS_COOKIE | (uint64_t)kind << 48 | value;
}

/* A local port as a number: its OpenFlow port, and its VLAN tag on that if it is a child. */
static inline uint32_t ovs_place(uint32_t ofport, uint16_t vlan)
{
    return (uint32_t)vlan << 16 | ofport;
}

/* Group ids of our own: groups have no cookie. */
#define OVS_GROUP_FIRST 0x0e100000u
#define OVS_GROUP_LAST  0x0effffffu

struct ovs_network_rec {
    uint32_t network_id;
    struct dp_network want; /* of an adopted one only id and segmentation_id */
    bool is_behind;         /* its flood flows are */
    uint32_t n_places;      /* for broadcast */
    int miss_fd, miss_in;   /* the agent's end, and ours; -1: no miss port */
    uint16_t flags;
};

#define OVS_GONE UINT32_MAX /* no ifindex */

struct ovs_port_rec {
    uint32_t network_id;
    char device[IFNAMSIZ];
    uint16_t vlan;
    uint16_t pad;
    uint32_t ofport;  /* 0: the switch has none for it now */
    uint32_t id;      /* what MACs name it by: unlike 'ofport' it stays */
    uint32_t ifindex; /* of its device, where we have plugged it; OVS_GONE; 0: not looked at yet */
    uint16_t flags;
    bool is_renumbered; /* its flows with the new number are still to come */
};

/* The key of the port with this id. */
struct ovs_port_id_rec {
    uint32_t id;
    uint32_t network_id;
    char device[IFNAMSIZ];
    uint16_t vlan;
    uint16_t pad;
};

/* A port of the bridge, whoever's. */
struct ovs_number_rec {
    char name[IFNAMSIZ];
    uint32_t number;
};

struct ovs_set_rec {
    uint32_t set_id;
    uint32_t group_id;
    uint32_t n_targets;
    uint32_t n_macs;       /* that name this set */
    uint32_t serial;       /* of the last group-mod */
    bool is_unsure;        /* the switch may have it otherwise, or not at all */
    struct em_buf buckets; /* as sent */
    struct dp_target *targets;
};

/* A group that was found at open and that no set has claimed yet. */
struct ovs_group_rec {
    uint32_t group_id;
    uint32_t n_macs; /* adopted ones that name it */
    struct em_buf buckets;
};

struct ovs_flood_rec {
    uint32_t network_id;
    uint32_t vni;
    uint16_t udp_port; /* as that of a struct ovs_tunnel */
    uint8_t encap;
    uint8_t size;
    uint8_t addr[16];
    uint16_t flags;
};

/* A local MAC: how many addresses it has told. */
struct ovs_local_rec {
    uint32_t network_id;
    uint8_t mac[EM_MAC_SIZE];
    uint16_t pad;
    uint32_t n_addrs;
};

struct ovs_copy_rec {
    uint32_t network_id;
    uint8_t mac[EM_MAC_SIZE];
    uint16_t flags;
    uint32_t place; /* id of the port that the MAC is behind; 0: it is remote */
    struct dp_target target;
};

/* Tunnel ports of the bridge, one for each encapsulation and UDP port that is in use. */
struct ovs_tunnel {
    enum em_encap encap;
    uint16_t udp_port; /* 0: the encapsulation has none */
    uint32_t ofport;
    char name[IFNAMSIZ];
};
#define OVS_TUNNELS 16

/* What a dump has shown of a flow, and what we have sent since: by the hash of its table,
 * priority and match. */
struct ovs_seen_rec {
    uint64_t key;
    uint64_t value; /* hash of cookie and instructions */
    uint16_t flags;
};
enum {
    OVS_SEEN_OURS = 1 << 0,
    OVS_SEEN_LATER = 1 << 1,   /* sent after the dump was asked for */
    OVS_SEEN_DELETED = 1 << 2, /* likewise */
    OVS_SEEN_KNOWN = 1 << 3,   /* a record stands for it */
};

/* A remote MAC whose use somebody asks about. */
struct ovs_use_rec {
    uint32_t network_id;
    uint8_t mac[EM_MAC_SIZE];
    uint16_t pad;
    uint64_t n_packets, since_ms;
};

/* Ops whose messages are on their way to the switch, or at the switch. */
struct ovs_flight {
    struct dp_op *ops; /* lent until it has landed */
    size_t n;
    uint32_t first_xid; /* of their messages */
    uint32_t *senders;  /* op of each message since */
    size_t n_senders, max_senders;
    uint32_t barrier; /* xid: its reply comes when all is done */
    bool is_bundled;  /* some of them are in bundles, */
    bool is_broken;   /* and the switch has refused one, or another of the messages */
};
#define OVS_FLIGHTS 16

/* One flow that was asked for. */
struct ovs_single {
    uint64_t key;
    bool is_there;
    uint64_t cookie, n_packets;
};

struct dp {
    struct of_conn *conn; /* NULL: lost, and not back yet */
    char *mgmt;           /* path */
    char *bridge, *db;
    uint64_t retry_ms; /* no attempt to reach the switch before then */
    bool is_db_slow;   /* the database has not answered in this turn */
    struct em_ip rlocs[2];
    uint16_t udp_port;
    bool is_secure;    /* port security */
    bool is_disturbed; /* a check with repair is due */
    struct dp_table networks, ports, sets, groups, floods, locals, copies, uses;
    struct dp_table macs, neighs4, neighs6; /* struct dp_mac_rec, dp_neigh4_rec, dp_neigh6_rec */
    struct em_index by_mac[2];              /* slots of neighs4 and neighs6 */
    struct dp_table group_ids;              /* uint32_t: taken, by us or by strangers */
    struct dp_table strangers;              /* uint64_t: keys of flows that are not ours */
    struct ovs_tunnel tunnels[OVS_TUNNELS];
    size_t n_tunnels;
    struct dp_table numbers;  /* struct ovs_number_rec: of the bridge, all of them */
    struct dp_table port_ids; /* struct ovs_port_id_rec */
    bool has_port_news;       /* a port of ours, or a tunnel, may have another number */
    bool has_dumped_ports;    /* in this start */
    struct dp_lost lost;
    uint32_t last_port_id;
    uint32_t next_group_id;
    struct of_flow flow; /* that is being built */
    struct em_buf scratch;
    uint32_t bundle_id, last_bundle_id; /* that is open, 0: none */
    bool is_bundling;                   /* flow-mods open one by themselves */
    uint64_t plain_ms;                  /* they do not before then */
    struct ovs_single single;
    uint32_t group_serial;
    struct dp_check *checks; /* under way */
    struct ovs_flight flights[OVS_FLIGHTS];
    uint64_t n_started, n_done; /* flights */
    struct ovs_flight *filling; /* the one that messages are being made for; NULL: none */
    uint32_t at;                /* its op that they are for; filling->n: nobody's */
    bool is_blocked;            /* the op's flow has a stranger's place */
    bool is_writing;            /* there is more to send than the socket takes */
    bool is_serving;            /* who calls will look for what has landed */
    bool is_swept;
    int epoll, timer;
};

/* ovs_flows.c: what flows a record stands for, one by one; 'flow' is lent for the call. */
typedef void ovs_flow_fn(struct dp *dp, void *aux, struct of_flow *flow);
void ovs_base_flows(struct dp *dp, ovs_flow_fn *visit, void *aux);
void ovs_tunnel_flows(struct dp *dp, const struct ovs_tunnel *tunnel, ovs_flow_fn *visit,
                      void *aux);
void ovs_network_flows(struct dp *dp, const struct ovs_network_rec *rec, ovs_flow_fn *visit,
                       void *aux);
void ovs_flood_flows(struct dp *dp, const struct ovs_network_rec *rec, ovs_flow_fn *visit,
                     void *aux);
void ovs_port_flows(struct dp *dp, const struct ovs_port_rec *rec, ovs_flow_fn *visit, void *aux);
void ovs_mac_flows(struct dp *dp, const struct dp_mac_rec *rec, ovs_flow_fn *visit, void *aux);
void ovs_neigh_flows(struct dp *dp, uint32_t network_id, const struct em_ip *ip, const uint8_t *mac,
                     ovs_flow_fn *visit, void *aux);
/* Of an address whose MAC is local: what that may say of itself. */
void ovs_guard_flows(struct dp *dp, uint32_t network_id, const struct em_ip *ip, const uint8_t *mac,
                     ovs_flow_fn *visit, void *aux);
/* The actions that send to a target; none if there is no tunnel port for it. */
void ovs_to_target(struct dp *dp, struct em_buf *actions, const struct dp_target *target);

/* ovs_flight.c: as in dp_class. */
uint64_t ovs_start(struct dp *dp, struct dp_op *ops, size_t n);
uint64_t ovs_reached(struct dp *dp);
void ovs_apply(struct dp *dp, struct dp_op *ops, size_t n);
/* Waits for all of them. */
void ovs_flights_land(struct dp *dp);
/* The switch has answered a barrier. */
void ovs_flight_landed(struct dp *dp, uint32_t barrier);
/* The switch has refused the message with this xid.  False: it was for no op that is under way. */
bool ovs_flight_refused(struct dp *dp, uint32_t xid, int err);
/* The connection is lost: -ENOBUFS for what was not refused before. */
void ovs_flights_fail(struct dp *dp);
/* The switch has been silent for too long. */
bool ovs_flights_are_overdue(struct dp *dp);
/* For a message that the op in hand answers for. */
uint32_t ovs_xid(struct dp *dp);

/* ovs_send.c: visitors that have a flow made, or removed if it is ours; 'aux' is not used. */
void ovs_add(struct dp *dp, void *aux, struct of_flow *flow);
void ovs_remove(struct dp *dp, void *aux, struct of_flow *flow);
/* What is added and removed until the commit comes into force at once, or not at all: then a
 * check with repair is due. */
void ovs_bundle_open(struct dp *dp);
void ovs_bundle_commit(struct dp *dp);
/* Before a message that is not for a bundle and whose place among the flow-mods matters. */
void ovs_bundle_interrupt(struct dp *dp);
/* The key of a flow in tables of struct ovs_seen_rec, 0: it is damaged; and its value. */
uint64_t ovs_flow_key(uint8_t table, uint16_t priority, const uint8_t *match, size_t size);
uint64_t ovs_flow_value(struct dp *dp, const struct of_flow *flow);
uint64_t ovs_seen_value(const struct of_seen_flow *flow);
/* All that the switch sends; 'aux' is the struct dp. */
void ovs_on_message(void *aux, const struct of_message *message);

/* ovs_entry.c: MACs, addresses, places for broadcast, copies. */
int ovs_mac_put(struct dp *dp, const struct dp_op *op);
int ovs_mac_delete(struct dp *dp, const struct dp_op *op);
int ovs_local_put(struct dp *dp, const struct dp_op *op);
int ovs_local_delete(struct dp *dp, const struct dp_op *op);
int ovs_neigh_put(struct dp *dp, const struct dp_op *op);
int ovs_neigh_delete(struct dp *dp, const struct dp_op *op);
int ovs_flood_put(struct dp *dp, const struct dp_op *op);
int ovs_flood_delete(struct dp *dp, const struct dp_op *op);
int ovs_copy_put(struct dp *dp, const struct dp_op *op);
int ovs_copy_delete(struct dp *dp, const struct dp_op *op);
void ovs_mac_remove(struct dp *dp, struct dp_mac_rec *rec);
void ovs_neigh_remove(struct dp *dp, struct dp_neigh_ref ref, uint32_t network_id,
                      const struct em_ip *ip);
struct dp_mac_rec *ovs_mac(const struct dp *dp, uint32_t network_id, const uint8_t *mac);
/* The local MAC's record, if it has one: adopted ones get it here. */
struct ovs_local_rec *ovs_local(const struct dp *dp, uint32_t network_id, const uint8_t *mac);
void ovs_count_addresses(struct dp *dp, uint32_t network_id, const uint8_t *mac);
/* The group that a remote MAC's record names; 0: none. */
uint32_t ovs_group_of(const struct dp *dp, const struct dp_mac_rec *rec);
/* Sends the flood flows of networks whose lists have changed; false: there are none. */
bool ovs_flush_floods(struct dp *dp);
void ovs_remove_place(struct dp *dp, struct ovs_flood_rec *rec);

/* ovs_neigh.c: the records of addresses, which are found by their MAC too. */
struct dp_neigh_ref ovs_neigh(struct dp *dp, uint32_t network_id, const struct em_ip *ip);
/* Makes the record if there is none. */
struct dp_neigh_ref ovs_neigh_set(struct dp *dp, uint32_t network_id, const struct em_ip *ip,
                                  const uint8_t *mac);
void ovs_neigh_drop(struct dp *dp, struct dp_neigh_ref ref);
/* Visits the addresses of a MAC; their number.  'visit' NULL: only counts. */
typedef void ovs_neigh_fn(struct dp *dp, uint32_t network_id, const struct em_ip *ip,
                          const uint8_t *mac);
uint32_t ovs_neighs_of_mac(struct dp *dp, uint32_t network_id, const uint8_t *mac,
                           ovs_neigh_fn *visit);

/* ovs_set.c */
int ovs_set_put(struct dp *dp, const struct dp_set *set);
int ovs_set_delete(struct dp *dp, uint32_t set_id);
int ovs_set_sweep(struct dp *dp);
/* Does it lead to these locations? */
bool ovs_set_is(struct dp *dp, const struct ovs_set_rec *rec, const struct dp_set *set);
void ovs_put_group(struct dp *dp, enum of_group_command command, struct ovs_set_rec *rec);
/* Tunnel ports have other numbers: groups that lead there are sent again. */
void ovs_sets_follow(struct dp *dp);
void ovs_set_fini(struct ovs_set_rec *rec);

/* ovs_network.c */
int ovs_network_put(struct dp *dp, const struct dp_network *want);
int ovs_network_delete(struct dp *dp, uint32_t network_id);
struct ovs_network_rec *ovs_network(const struct dp *dp, uint32_t network_id);

/* ovs_port.c */
int ovs_port_put(struct dp *dp, const struct dp_op *op);
int ovs_port_delete(struct dp *dp, uint32_t network_id, const char *device, uint16_t vlan);
struct ovs_port_rec *ovs_port(const struct dp *dp, uint32_t network_id, const char *device,
                              uint16_t vlan);
/* Makes the record. */
struct ovs_port_rec *ovs_new_port(struct dp *dp, uint32_t network_id, const char *device,
                                  uint16_t vlan);
const struct ovs_port_rec *ovs_port_at(const struct dp *dp, uint32_t id);
/* The OpenFlow port of a device on the bridge, as last read; 0: it is not there. */
uint32_t ovs_number(const struct dp *dp, const char *device);
/* Reads the bridge's port numbers; what is about a port whose number is another is sent again. */
int ovs_read_ports(struct dp *dp);
void ovs_on_ports(struct dp *dp, struct of_parts *parts);
void ovs_on_port_status(struct dp *dp, const struct of_message *message);

/* ovs_tunnel.c */
/* The tunnel port for an encapsulation and UDP port (0: the usual); NULL: none. */
const struct ovs_tunnel *ovs_tunnel(const struct dp *dp, enum em_encap encap, uint16_t udp_port);
/* OpenFlow port of the tunnel that a target is reached by; 0: there is none. */
uint32_t ovs_find_tunnel(const struct dp *dp, const struct dp_target *target);
/* Makes it if there is none.  *ret_why may be set on failure. */
int ovs_make_tunnel(struct dp *dp, enum em_encap encap, uint16_t udp_port, char **ret_why);
int ovs_adopt_tunnels(struct dp *dp, char **ret_why);
/* Takes over new numbers; true: there are some, and ovs_follow_tunnels() is due when those of all
 * ports are known. */
bool ovs_renumber_tunnels(struct dp *dp);
void ovs_follow_tunnels(struct dp *dp);
/* Makes those again that somebody has taken away. */
int ovs_mend_tunnels(struct dp *dp);

/* ovs_db.c: errors as those of ovs/bridge.h, but -ENOBUFS where nobody answers. */
struct ovs_port;
struct ovs_port_seen;
int ovs_db_add_port(struct dp *dp, struct ovs_port *port, char **ret_why);
int ovs_db_del_port(struct dp *dp, const char *device);
int ovs_db_ports(struct dp *dp, struct ovs_port_seen **ret_ports, size_t *ret_n, char **ret_why);

/* ovs_device.c */
/* The device that has this underlay address, and its MTU; 0: not known. */
bool ovs_device_of(const struct em_ip *ip, char ret_name[IFNAMSIZ]);
uint32_t ovs_device_mtu(const struct em_ip *ip);
bool ovs_device_has_master(const char *device);
/* A port that is down loses what is sent to it; one that cannot be set up is shown by its
 * carrier. */
void ovs_device_up(const char *device);

/* ovs_adopt.c: what an earlier run has left. */
int ovs_adopt(struct dp *dp);
void ovs_adopted(struct dp *dp, uint32_t network_id, dp_eid_fn *visit, void *aux);
int ovs_sweep(struct dp *dp, uint32_t network_id);

/* ovs_miss.c */
int ovs_miss_open(struct dp *dp, uint32_t network_id, int *ret_fd);
void ovs_miss_close(struct dp *dp, uint32_t network_id);
void ovs_miss_forget(struct dp *dp, struct ovs_network_rec *network);
void ovs_miss_serve(struct dp *dp, int fd);
void ovs_on_packet(struct dp *dp, const struct of_message *message);
void ovs_forget_use(struct dp *dp, const struct dp_mac_rec *rec);
/* The flow with the table, priority and match of dp->flow, as it stands, into dp->single. */
int ovs_ask(struct dp *dp);
int ovs_idle(struct dp *dp, uint32_t network_id, const uint8_t *mac, uint64_t *ret_ms);

/* ovs.c: connects again, if the switch is back; sends what was appended, as far as the switch takes
 * it now, and the rest when it does. */
bool ovs_reconnect(struct dp *dp);
int ovs_write(struct dp *dp);
/* The descriptor says that there is something to serve. */
void ovs_alert(struct dp *dp);

/* ovs_look.c */
void ovs_look(struct dp *dp, const struct dp_path *path, dp_step_fn *visit, void *aux);

#endif
