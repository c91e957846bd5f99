/* The contract between the agent and a forwarding plane: what the map says, made real.
 *
 * The agent decides *what* has to stand; a data plane knows *how*.  It is told about
 * networks, sets of locations, endpoints, flood lists and local ports, in that order of
 * dependence, and keeps a shadow of what it has programmed: telling it twice costs nothing. */
#ifndef XTR_DP_H
#define XTR_DP_H

#include "eidmap/model.h"

#include <net/if.h>

struct dp;

struct dp_config {
    struct em_ip rlocs[2]; /* own underlay addresses, at most one per family; size 0: none */
    uint16_t udp_port;     /* VXLAN */

    /* Open vSwitch */
    enum em_encap encap; /* that this node takes; 0: VXLAN */
    const char *node_id;
    const char *bridge, *database, *run_dir;
    const char *datapath_type; /* "": as it is */
    bool is_open;              /* no port security */
};

struct dp_network {
    uint32_t id;
    uint32_t segmentation_id; /* that this node receives on */
    uint32_t mtu;             /* 0: what the underlay allows */
    enum em_flood flood;
};

/* Where frames of an endpoint go: one or several places that share by weight. */
struct dp_target {
    struct em_ip ip;
    uint16_t udp_port;        /* 0: the data plane's own */
    enum em_encap encap;      /* 0: VXLAN */
    uint8_t weight;           /* 1 .. 255 */
    uint32_t segmentation_id; /* that the target expects */
};

/* A set of locations.  The agent numbers them; every endpoint that lives at the same
 * places names the same set, so that a node's death or move is one op.  A set with no
 * targets is legal: frames to its endpoints are dropped. */
struct dp_set {
    uint32_t id; /* 1 .. 2^23 - 1 */
    const struct dp_target *targets;
    size_t n_targets;
};

enum dp_verb {
    DP_NETWORK_PUT,      /* network */
    DP_NETWORK_DELETE,   /* network.id; with all that hangs on it */
    DP_SET_PUT,          /* set */
    DP_SET_DELETE,       /* set.id */
    DP_MAC_PUT,          /* network.id, mac, set.id: a remote MAC */
    DP_MAC_DELETE,       /* network.id, mac; spares a local one */
    DP_NEIGHBOUR_PUT,    /* network.id, ip, mac: answered on this host, remote and local alike */
    DP_NEIGHBOUR_DELETE, /* network.id, ip */
    DP_FLOOD_PUT,        /* network.id, target: one more place for broadcast */
    DP_FLOOD_DELETE,     /* network.id, target */
    DP_PORT_PUT,         /* network.id, device: put it into the network */
    DP_PORT_DELETE,      /* network.id, device; with the MACs behind it */
    DP_LOCAL_PUT,        /* network.id, device, mac: a MAC behind a local port */
    DP_LOCAL_DELETE,     /* network.id, device, mac; spares one that is elsewhere by now */
    DP_COPY_PUT,         /* network.id, mac, target, device: frames to the MAC go to the target
                          * too.  device "": those that leave by the tunnel; else those that
                          * local ports send to the MAC behind this port */
    DP_COPY_DELETE,      /* network.id, mac */
};

struct dp_op {
    enum dp_verb verb;
    struct dp_network network; /* all of it for DP_NETWORK_PUT, else only id */
    struct dp_set set;         /* all of it for DP_SET_PUT, else only id */
    struct dp_target target;
    struct em_ip ip;
    uint8_t mac[EM_MAC_SIZE];
    char device[IFNAMSIZ];
    uint16_t vlan; /* with 'device': the port is behind this tag on the device; 0: untagged */
    /* DP_PORT_PUT: somebody else has put the device into the network and will take it out; it
     * goes on learning, and a delete leaves it where it is. */
    bool is_borrowed;

    /* Out: 0 or -errno.  For all verbs -EEXIST: a stranger's entry or device is in the way
     * and stays; -ENOENT: the network or set that the op names has not been put; -ENOBUFS:
     * whether it was done is not known, send it again.
     *   network   -EMSGSIZE: its mtu does not fit the underlay; -EINVAL: id or VNI
     *   set       -EBUSY: a MAC names it; -EAFNOSUPPORT: a target's address family is not
     *             that of the tunnels; -E2BIG: more than 64 targets
     *   flood     -EAFNOSUPPORT as above; -E2BIG: more places than the data plane can send to
     *   port      -ENODEV: no such device, or a borrowed one is in no bridge; -EBUSY: it has
     *             another master, is in another network, or is the underlay's; -EOPNOTSUPP: the
     *             data plane has no tagged ports, nor MACs behind them
     *   local     -ENODEV: the device is no port of the network (put it first)
     *   copy      -ENODEV as above; -EOPNOTSUPP: the kernel cannot, and never will; -ENOSPC: too
     *             many at once; -EAFNOSUPPORT as above.  What the MAC's entry is, if there is one,
     *             does not matter */
    int err;
};

/* One difference between the shadow and what stands. */
struct dp_difference {
    uint32_t network_id; /* 0: none */
    const char *table;   /* "fdb", "neighbour", "nexthop", "flood", "device", "copy" */
    const char *kind;    /* "missing", "extra", "wrong", "foreign" */
    const char *entry;   /* as the kernel's tools print it */
};
typedef void dp_eid_fn(void *aux, const struct em_eid *eid);
typedef void dp_visit_fn(void *aux, const struct dp_difference *difference);

/* The way of frames to one MAC, as the map wants it. */
struct dp_path {
    struct dp_network network;
    const char *from; /* device of the port that sends; NULL: none in particular */
    uint8_t mac[EM_MAC_SIZE];
    struct em_ip ip;          /* that the sender asks for by ARP or ND; size 0: none */
    const char *device;       /* the MAC is behind this local port; NULL: at the targets */
    uint16_t from_vlan, vlan; /* tags of 'from' and 'device', as in dp_op */
    const struct dp_target *targets;
    size_t n_targets;
};

/* One thing that a frame meets on that way, as it stands. */
struct dp_step {
    const char *name;   /* "bridge", "bridge-fdb", ... */
    bool is_wrong;      /* the frame is lost here, or goes astray */
    const char *found;  /* lent for the call, as 'advice' */
    const char *advice; /* what to do; "" where nothing has to be done */
};
typedef void dp_step_fn(void *aux, const struct dp_step *step);

struct dp_check;

struct dp_check_result {
    uint64_t n_compared; /* entries */
    uint64_t n_blocked;  /* that stay as a stranger has set them */
    uint32_t n_undumped; /* networks too large to look for extra entries in them */
    int err;             /* 0, or the first failure to look or to repair */
};

/* A limit that is near; 'object' is what it is about ("emx7", "IPv4"), and says in a later
 * visit that it is the same one; 'text' is a sentence with the remedy.  Both are lent. */
typedef void dp_limit_fn(void *aux, const char *object, const char *text);

/* One per forwarding plane.  Calls block but for 'start', none logs. */
struct dp_class {
    const char *name; /* "kernel", "null" */

    /* Checks that the underlay can be used, and adopts what an earlier run left: that
     * becomes the shadow.  Nobody is served meanwhile, so it takes a time that is linear: MACs of
     * a network with more than some 10,000 are not all read.  They are guessed from the
     * neighbours, and a put of one is sent over what stands; one without an address is found
     * when it is put or deleted, not swept.  Copies are not adopted but removed.  On failure
     * *ret_why is a sentence that says what to change (free() it): a missing address, a VXLAN
     * port that is taken, no permission. */
    int (*open)(const struct dp_config *config, struct dp **ret_dp, char **ret_why);

    /* Forgets; what is programmed goes on forwarding.  NULL is fine. */
    void (*close)(struct dp *dp);

    /* Applies 'n' ops in order and sets each op's 'err'.  A put replaces, a delete of
     * what is absent succeeds, an op that changes nothing sends nothing: any batch may
     * be sent again. */
    void (*apply)(struct dp *dp, struct dp_op *ops, size_t n);

    /* As apply(), but it may return before the ops are done; those behind, of any call, are done
     * after them.  'ops', but not what they point to, are lent until reached() has come to the
     * number that this returns, how far the data plane is; only then each has its 'err'.  'fd'
     * says when reached() has more to tell.  NULL: there is apply() alone. */
    uint64_t (*start)(struct dp *dp, struct dp_op *ops, size_t n);
    uint64_t (*reached)(struct dp *dp);

    /* After adoption: everything that was adopted and has not been put again since open
     * is removed, and only that ("the snapshot is complete").  'network_id' 0: sets and
     * networks.  A call takes a millisecond or two, so it is repeated until it returns 0;
     * else it returns the number of entries removed, or -errno. */
    int (*sweep)(struct dp *dp, uint32_t network_id);

    /* Begins a comparison of the shadow with what stands; each difference will be visited.
     * With 'repair' what is missing or wrong is put right and what is ours and extra is
     * removed; a stranger's entry ("foreign") is only reported.  In a table of more than
     * some 1,000 entries what is extra, or a stranger's and in nobody's way, is not found:
     * see 'n_undumped'. */
    struct dp_check *(*check_start)(struct dp *dp, bool repair, dp_visit_fn *visit, void *aux);

    /* Goes on for 'budget_us' and one more batch (a millisecond or two).  Anything may be
     * applied between two calls.  False: it is through. */
    bool (*check_step)(struct dp_check *check, uint64_t budget_us);

    /* Ends it, through or not. */
    struct dp_check_result (*check_end)(struct dp_check *check);

    /* The underlay address of this node is another from now on, of the same family: tunnels
     * send from it, with as little cut as can be.  -EADDRNOTAVAIL: no device has it;
     * -EAFNOSUPPORT: another family; else the first error of a network that could not
     * follow, which a check with 'repair' tries again. */
    int (*set_rloc)(struct dp *dp, const struct em_ip *rloc);

    /* Looks at each thing on the path, in the frame's order, and visits it; what cannot be
     * looked at for want of an earlier one is left out.  Reads single entries, from the
     * plane and not from the shadow, and changes nothing. */
    void (*look)(struct dp *dp, const struct dp_path *path, dp_step_fn *visit, void *aux);

    /* Has somebody else, since the last call, taken away what entries stand on, set a
     * device down or up, or has the kernel's news of it been lost?  Then a check with
     * 'repair' is due.  Cheap. */
    bool (*is_disturbed)(struct dp *dp);

    /* A port's device that has gone, or was taken out of its network, by somebody else: its port
     * put is due again.  Call it behind is_disturbed() until it says false.  NULL: it is not known.
     */
    bool (*lost)(struct dp *dp, char ret_device[IFNAMSIZ]);

    /* To be watched for reading; serve() is called then, true: what it has found may be a
     * disturbance.  NULL: there is nothing to watch. */
    int (*fd)(const struct dp *dp);
    bool (*serve)(struct dp *dp);

    /* Visits what the kernel's limits make of the entries that stand, sorted by nothing. */
    void (*limits)(struct dp *dp, dp_limit_fn *visit, void *aux);

    /* Misses of a network that has been put: what the data plane has no entry for can be read
     * from the descriptor, one frame a read (unicast to unknown MACs; ARP requests and neighbour
     * solicitations that it does not answer itself), and a frame that is written there comes
     * into the network.  Lent until miss_close(), or until the network is deleted.  -ENOENT: not
     * put; -EBUSY: another agent has it; -errno. */
    int (*miss_open)(struct dp *dp, uint32_t network_id, int *ret_fd);
    void (*miss_close)(struct dp *dp, uint32_t network_id);

    /* Since when has no frame gone to this remote MAC?  As the forwarding plane itself has
     * marked it; a put is a use.  -ENOENT: it has no entry. */
    int (*idle)(struct dp *dp, uint32_t network_id, const uint8_t *mac, uint64_t *ret_ms);

    /* Visits the addresses that were adopted and have not been put since: first those of
     * neighbours, then remote MACs. */
    void (*adopted)(struct dp *dp, uint32_t network_id, dp_eid_fn *visit, void *aux);

    /* Number of entries that stand by the shadow. */
    uint64_t (*count)(const struct dp *dp);
};

extern const struct dp_class dp_kernel;
extern const struct dp_class dp_ovs;
extern const struct dp_class dp_null; /* installs nothing */

#endif
