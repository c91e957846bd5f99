/* The map's records as plain C: what callbacks of libeidmap show and what calls take.
 *
 * Records that a callback is given are lent for the call: pointers inside them point
 * into the message.  Records that a caller passes are copied before the call returns.
 * The meaning, unit and range of each field is the one of proto/eidmap.proto. */
#ifndef EIDMAP_MODEL_H
#define EIDMAP_MODEL_H

#include "eidmap/addr.h"

#ifdef __cplusplus
extern "C" {
#endif

enum em_encap { EM_ENCAP_VXLAN = 1, EM_ENCAP_GENEVE = 2, EM_ENCAP_GRE = 3 };

struct em_rloc {
    struct em_ip ip;
    enum em_encap encap;
    uint16_t udp_port; /* host order; 0: the encapsulation's own */
};

struct em_label {
    const char *key;
    const char *value;
};

#define EM_PRIORITY_NEVER 255 /* RFC 9300 section 12 */

struct em_location {
    const char *node_id;      /* "": any-local, each node's own instance */
    uint32_t segmentation_id; /* in a claim 0: the network's */
    uint8_t priority;         /* lower wins */
    uint8_t weight;
    bool is_pending;
    const char *view_node; /* NULL: everyone, or 'view_label' */
    struct em_label view_label; /* key NULL: no label */
    uint64_t epoch;
    uint64_t until_ms; /* is_pending: when it ends, ms since 1970 */
};

/* Of a packet to it nothing leaves the node that it starts from. */
static inline bool em_location_is_any_local(const struct em_location *location)
{
    return !location->node_id || !location->node_id[0];
}

/* Whom a location is shown to, as seen from one node; the greatest wins. */
enum em_view { EM_VIEW_OTHERS, EM_VIEW_EVERYONE, EM_VIEW_LABEL, EM_VIEW_NODE };

/* Of 'location', for the node 'node_id' with these labels. */
enum em_view em_location_view(const struct em_location *location, const char *node_id,
                              const struct em_label *labels, size_t n_labels);

#define EM_TAG_MAX 4094 /* IEEE 802.1Q */

/* A port behind another one's device, by VLAN tag. */
struct em_child {
    struct em_port_id id;
    uint16_t tag;
    uint32_t network_id; /* its own */
};

struct em_port {
    struct em_port_id id;
    uint32_t network_id;
    const struct em_eid *eids;
    size_t n_eids;
    const struct em_location *locations;
    size_t n_locations;
    uint64_t revision;
    bool is_declared;
    bool is_multihomed;
    bool is_shared;
    const char *const *allowed_nodes;
    size_t n_allowed_nodes;
    struct em_port_id parent; /* of a child: it is where that port is; size 0: none */
    uint16_t tag;             /* of a child, 1 .. EM_TAG_MAX */
    const struct em_child *children; /* by tag */
    size_t n_children;
};

enum em_node_state { EM_NODE_UNKNOWN = 0, EM_NODE_REACHABLE = 1, EM_NODE_UNREACHABLE = 2 };

struct em_node {
    const char *id;
    const struct em_rloc *rlocs;
    size_t n_rlocs;
    const struct em_label *labels;
    size_t n_labels;
    enum em_node_state state;
    uint64_t state_since_ms;
    uint64_t revision;
    bool is_declared;
    bool is_disabled;
    const char *version;
};

enum em_network_type {
    EM_NETWORK_OVERLAY = 1,
    EM_NETWORK_FLAT = 2,
    EM_NETWORK_VLAN = 3,
    EM_NETWORK_TRANSIT = 4,
};
enum em_flood { EM_FLOOD_BROADCAST = 1, EM_FLOOD_ALL = 2, EM_FLOOD_NONE = 3 };
enum em_fill { EM_FILL_SUBSCRIBE = 1, EM_FILL_RESOLVE = 2 };

/* How often agents probe each other. */
#define EM_PROBE_MS_MIN 50
#define EM_PROBE_MS_MAX 60000

struct em_network {
    uint32_t id;
    const char *name;
    enum em_network_type type;
    uint32_t segmentation_id;
    uint32_t mtu; /* 0: what the underlay allows */
    const struct em_eid *subnets;
    size_t n_subnets;
    const char *dns_domain;
    enum em_flood flood;
    enum em_fill fill;
    uint32_t probe_ms; /* 0: agents do not probe the RLOCs in use here */
    uint64_t revision;
};

/* LISP action codes of a negative answer: RFC 9301 section 5.4. */
enum em_action {
    EM_ACTION_NONE = 0,
    EM_ACTION_NATIVELY_FORWARD = 1,
    EM_ACTION_SEND_REQUEST = 2,
    EM_ACTION_DROP = 3,
    EM_ACTION_POLICY_DENIED = 4,
    EM_ACTION_AUTH_FAILURE = 5,
};

struct em_answer {
    struct em_eid eid;
    const struct em_port *port; /* NULL: negative */
    struct em_eid matched;
    struct em_eid covers; /* kind EM_EID_NONE: only the EID itself */
    enum em_action action;
    uint32_t ttl_s;
    const char *reason; /* "" in a positive answer */
};

enum em_object { EM_OBJECT_PORT = 1, EM_OBJECT_NODE = 2, EM_OBJECT_NETWORK = 3 };

/* One step of the feed: a record as it is now, or the id of one that is gone. */
struct em_change {
    enum em_object object;
    bool is_gone;
    const struct em_port *port; /* by 'object' one of these three, unless it is gone */
    const struct em_node *node;
    const struct em_network *network;
    struct em_port_id gone_port; /* is_gone: by 'object' one of these three */
    const char *gone_node;
    uint32_t gone_network;
};

#ifdef __cplusplus
}
#endif

#endif
