/* One port of this node as somebody asked for it, and how far it has come.
 *
 * A port waits for its network, its device and a map server; is registered; is being
 * installed until the map's feed is complete, the data plane has been told all that was
 * queued by then, and the state file has the port as it is; is installed.  Or the map refuses it:
 * then it is out of the data plane until somebody attaches it again.  What is installed stays so
 * when the servers are gone.
 *
 * A port may be pending: the target of a live migration.  Its device is put into the network, and
 * no more, until the guest is heard on it or the map says that the port is here; then it goes
 * the way of all others.
 *
 * A port may be a child of another one here (source "trunk"): behind a VLAN tag on its parent's
 * device.  It comes, is pending and goes with its parent, by the map's word, and is not registered:
 * the map has it here when its parent is.
 *
 * No I/O: the agent reports facts, xtr_port_update() draws the conclusion. */
#ifndef XTR_PORT_H
#define XTR_PORT_H

#include "base/list.h"
#include "eidmap/model.h"

#include <net/if.h>

struct xtr_ports;

#define XTR_PORT_EIDS 64

/* The values are those of PortPhase in the protocol. */
enum xtr_phase {
    XTR_WAITING = 1,
    XTR_REGISTERING = 2,
    XTR_INSTALLING = 3,
    XTR_INSTALLED = 4,
    XTR_REFUSED = 5,
    XTR_PENDING = 6,
};

enum xtr_source {
    XTR_SOURCE_CONFIG,
    XTR_SOURCE_SOCKET,
    XTR_SOURCE_WATCH,
    XTR_SOURCE_OVS,
    XTR_SOURCE_TRUNK
};

/* What somebody asks for. */
struct xtr_wish {
    struct em_port_id id;
    const char *network;
    const char *device;
    const struct em_eid *eids; /* no names; at least one MAC */
    size_t n_eids;
    uint8_t priority;
    uint8_t weight;
    bool is_multihomed;
    bool is_pending; /* the guest has still to arrive */
    bool is_early;   /* nobody sends to it yet, and its device is there: it is registered at once */
    enum xtr_source source;
    struct em_port_id parent; /* of a child, which may have no MAC yet */
    uint16_t vlan;            /* of a child: its tag, else 0 */
};

struct xtr_port {
    struct em_port_id id;
    struct xtr_ports *ports; /* that it is one of, ... */
    uint32_t slot;           /* ... here */
    struct em_list awake;
    bool is_looked_at; /* since it was woken last */
    char *network;
    char device[IFNAMSIZ];
    struct em_eid *eids;
    size_t n_eids;
    uint8_t priority;
    uint8_t weight;
    bool is_multihomed;
    bool is_pending;
    enum xtr_source source;
    struct em_port_id parent;
    uint16_t vlan;

    enum xtr_phase phase;
    char *problem;            /* "" when all is well */
    uint32_t network_id;      /* 0: the map has no such network, as far as we know */
    uint32_t segmentation_id; /* that this node receives on; 0: the network's */
    uint64_t epoch;           /* held; 0: none */
    uint32_t version;         /* grows with each change of the wish */
    bool is_attach;           /* fresh evidence that the map has not acknowledged yet */
    bool is_acked;            /* the map has this version */
    bool is_due;              /* has to be registered (again) in this session */
    bool is_refused;
    bool is_denied;         /* refused for what this node may do: asked again next session */
    bool has_record;        /* the map has shown it since it was attached */
    uint32_t map_segment;   /* of a child: that the map has it on here; 0: not yet */
    bool is_kept;           /* the server's map does not have its network, and is doubted */
    bool is_plugged;        /* the data plane has its device */
    bool is_early;          /* it need not, for the port to be registered */
    int device_err;         /* of the data plane; 0: fine or not told yet */
    uint32_t plane_network; /* in the map-cache under this network-id; 0: it is not */
    uint32_t plane_version; /* and as of this version */
    bool has_position;
    uint64_t position; /* that the data plane has to reach */
    uint32_t change;   /* grows with each change of what the state file says of it */
    uint32_t saving;   /* the change that is being written, and that has been */
    uint32_t saved;
    uint8_t *packed; /* what the state file says of it, as of 'packed_change'; NULL: pack it */
    size_t packed_size;
    uint32_t packed_change;
    uint64_t attached_us;
    uint64_t attach_us; /* from attach to installed; 0: not yet */
};

/* Would attaching it change nothing but what a refusal has done?  A port that has arrived is as
 * wished by one who thinks it pending. */
bool xtr_port_is_as_wished(const struct xtr_port *port, const struct xtr_wish *wish);

/* What an earlier run left: the map knows it by 'epoch', so it is no attach any more. */
void xtr_port_restore(struct xtr_port *port, uint64_t epoch);

/* There is something to be done for it, or to be concluded: see xtr_ports_wake().  All that follows
 * here does so by itself. */
void xtr_port_wake(struct xtr_port *port);

/* The state file may say something else of it from now on, even if nobody waits for that. */
void xtr_port_forget_packed(struct xtr_port *port);

/* Facts of one port. */
void xtr_port_network(struct xtr_port *port, uint32_t network_id, uint32_t segmentation_id);
/* The device was put into the network, or could not be; and what else fails on it. */
void xtr_port_plugged(struct xtr_port *port, int err);
void xtr_port_failed(struct xtr_port *port, int err);
/* The device is in the network, but what failed with it stays so. */
void xtr_port_stands(struct xtr_port *port);
/* It is out of the data plane. */
void xtr_port_unplugged(struct xtr_port *port);
/* That, and its device was plugged anew: it is installed when the data plane has seen so. */
void xtr_port_replugged(struct xtr_port *port);
/* It has to be registered, if it is not refused; and has been. */
void xtr_port_due(struct xtr_port *port);
void xtr_port_acked(struct xtr_port *port, uint64_t epoch);
void xtr_port_refuse(struct xtr_port *port, const char *why);
/* Refused for what an operator lets this node do; what he thinks by the next session is for
 * xtr_port_ask_again() to find out.  That is no fresh evidence: a port that has been taken
 * over meanwhile stays where it is. */
void xtr_port_deny(struct xtr_port *port, const char *why);
void xtr_port_ask_again(struct xtr_port *port);

/* The guest of a pending port is here: it is registered, as fresh evidence. */
void xtr_port_arrive(struct xtr_port *port, uint64_t now_us);

/* The map shows a pending port.  True if it says that the port is here: it has arrived, and
 * that is no evidence of ours. */
bool xtr_port_activated(struct xtr_port *port, const struct em_port *seen, const char *own_id,
                        uint64_t now_us);

/* The map shows the port.  True if it has moved on to another node: it is refused then. */
bool xtr_port_seen(struct xtr_port *port, const struct em_port *seen, const char *own_id);

static inline bool xtr_port_is_child(const struct xtr_port *port)
{
    return port->source == XTR_SOURCE_TRUNK;
}

/* The map shows a child: is it here, as its parent should be? */
void xtr_port_child_seen(struct xtr_port *port, const struct em_port *seen, const char *own_id);

/* Facts of all. */
struct xtr_facts {
    bool is_up;       /* a session with a map server stands */
    bool knows_map;   /* network 0 has been shown to its end */
    bool is_complete; /* the feed of this port's network has */
    int save_err;     /* of the last write of the state file; 0: fine */
    uint64_t done;    /* positions of the map-cache */
    uint64_t tail;
    uint64_t now_us;
};

/* Draws the conclusion; true if the phase or the problem changed. */
bool xtr_port_update(struct xtr_port *port, const struct xtr_facts *facts);

const char *xtr_phase_name(enum xtr_phase phase);

/* "config", "socket", "watch", "ovs", "trunk"; any other name is the socket's. */
const char *xtr_source_name(enum xtr_source source);
enum xtr_source xtr_source_parse(const char *name);

#endif
