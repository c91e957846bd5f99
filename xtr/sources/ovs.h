/* Open vSwitch as a source of ports: which interfaces on the bridge are ports of the map.
 *
 * An interface with external_ids:iface-id is the port of that id.  Its MAC is
 * external_ids:attached-mac, else that of the port's record in the map, else the device's own
 * (mac_in_use: of no use where the device is the host's end of a pair).  Its addresses are
 * external_ids:eidmap-ips, its network is external_ids:eidmap-network; what is not there is taken
 * from the record, which somebody has registered.  external_ids:eidmap-pending=true: the guest has
 * still to arrive.
 *
 * Two interfaces with one iface-id are an old one that nobody took away and a new one: one that has
 * an OpenFlow port counts before one that has none, then the newer one.
 *
 * Facts go in, steps come out.  An interface that has just come is fresh evidence that the port is
 * here; one that was here before the agent started, or that only changes, is none: it does not
 * bring back a port that has moved on.  What the configuration or the control socket has attached
 * is theirs.
 *
 * No I/O; time is a parameter. */
#ifndef XTR_SOURCES_OVS_H
#define XTR_SOURCES_OVS_H

#include "ovs/rows.h"
#include "ports.h"

struct xtr_ovs;

#define XTR_OVS_INSTALLED    "eidmap-installed"    /* keys in external_ids: "true" and ... */
#define XTR_OVS_INSTALLED_TS "eidmap-installed-ts" /* ... since when, in ms since 1970 */

/* A sentence for the log, about what somebody has done to the bridge. */
typedef void xtr_ovs_tell_fn(void *aux, const char *text);

struct xtr_ovs *xtr_ovs_new(xtr_ovs_tell_fn *tell, void *aux);
void xtr_ovs_free(struct xtr_ovs *ovs);

/* A port of this source that an earlier run has left; it has just been attached. */
void xtr_ovs_restore(struct xtr_ovs *ovs, const struct xtr_port *port);

/* As ovs_rows_fn: the interface is kept until it has left. */
void xtr_ovs_interface(struct xtr_ovs *ovs, struct ovs_interface *interface, bool is_there);

/* All interfaces that there are have been shown: what an earlier run left and has none goes. */
void xtr_ovs_synced(struct xtr_ovs *ovs);

/* The answer to XTR_OVS_ASK: the port's record and its network's name, both NULL where the map has
 * none.  Also whenever the map shows that record again; of other ports it is passed over. */
void xtr_ovs_record(struct xtr_ovs *ovs, const struct em_port_id *id, const struct em_port *record,
                    const char *network, uint64_t now_ms);
/* There was no answer. */
void xtr_ovs_unanswered(struct xtr_ovs *ovs, const struct em_port_id *id, uint64_t now_ms);

/* The port as the agent has it: after XTR_OVS_ATTACH, and whenever something happens to it; NULL:
 * it is detached. */
void xtr_ovs_port(struct xtr_ovs *ovs, const struct em_port_id *id, const struct xtr_port *port);
/* The agent does not take it, and why. */
void xtr_ovs_refused(struct xtr_ovs *ovs, const struct em_port_id *id, const char *why,
                     uint64_t now_ms);

enum xtr_ovs_step {
    XTR_OVS_NONE,
    XTR_OVS_ASK,    /* wish.id: what is the port's record? */
    XTR_OVS_ATTACH, /* wish; not 'is_fresh': it takes no port over that has moved on */
    XTR_OVS_DETACH, /* wish.id */
};

struct xtr_ovs_action {
    enum xtr_ovs_step step;
    struct xtr_wish wish; /* lent until the next call */
    bool is_fresh;
};

/* What is due; call it until it says that nothing is. */
enum xtr_ovs_step xtr_ovs_next(struct xtr_ovs *ovs, uint64_t now_ms,
                               struct xtr_ovs_action *ret_action);

/* An interface whose mark in the database is not as it should be, and as it should be; lent until
 * the next call.  It is shown again until xtr_ovs_interface() shows that it has been done. */
struct xtr_ovs_mark {
    const char *uuid;
    const char *iface_id;
    bool is_installed;
};
bool xtr_ovs_next_mark(struct xtr_ovs *ovs, uint32_t *at, struct xtr_ovs_mark *ret_mark);

/* The i-th interface that should be a port and is none, a sentence for the caller to free; NULL:
 * there are no more. */
char *xtr_ovs_problem(const struct xtr_ovs *ovs, size_t i);

#endif
