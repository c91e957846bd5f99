/* What becomes of a port when somebody claims something of it.  Pure: no database, no I/O.
 *
 * A node says "this port is here": one location, on itself.
 *   - no such port:          it is made, here
 *   - it is here:            EIDs, priority, weight are replaced; the epoch stays
 *   - it is nowhere:         it is here now, with a new epoch
 *   - it is multihomed:      this location is added to, or updated beside, the others
 *   - it is elsewhere:       with fresh evidence (attach) it is taken over and is only here;
 *                            without, the claim is stale: MOVED
 * A pending location is not "here": the port arrives by an attach.  What an operator has
 * declared, a node cannot change: its claim may name declared EIDs only (none: all).
 *
 * An operator may set everything.  Locations that are given replace the port's, those that
 * stay keep their epoch; none given keeps them.  No EIDs given keeps those too.  With attach
 * on a port that stands (a move), flags and allowed nodes stay as well.
 *
 * An operator can also lead a migration.  Prepare adds a pending location, one at a time, to a
 * port that is somewhere; it lasts until 'until_ms'.  Activate makes it the only location,
 * cancel takes it away.  An attach anywhere ends the migration too: the port is there.
 *
 * A child (child.h) is where its parent is: an operator makes it, and nobody claims a location
 * of it.
 *
 * Not decided here, since it needs other records: whether another port has the EIDs, and
 * whether the nodes of an operator's locations exist. */
#ifndef MS_CLAIM_H
#define MS_CLAIM_H

#include "state/fault.h"
#include "wire/msg.h"

#include <stdbool.h>

#define MS_PORT_EIDS      64
#define MS_PORT_LOCATIONS 16
#define MS_PORT_ALLOWED   16

#define MS_PENDING_MS     600000u   /* that a location is pending, by default */
#define MS_PENDING_MAX_MS 86400000u /* and at most */

struct ms_claim {
    const Eidmap__Port *old; /* NULL: there is none */
    const Eidmap__Claim *claim;
    const Eidmap__Origin *origin;
    const Eidmap__Network *network; /* the one that the claim names */
    const Eidmap__Port *parent;     /* that the port has or shall have; NULL: it is no child */
    uint64_t revision;              /* that the next change of the map will have */
    uint64_t time_ms;               /* of the command */
    bool is_node_full;              /* the claiming node may have no more locations */
};

struct ms_verdict {
    bool is_changed;    /* false: the port is already as claimed */
    Eidmap__Port *port; /* as it shall be; shares parts with 'old' and the claim */
    uint64_t epoch;     /* of the claim's (first) location; 0: it has none */
};

/* 0, or a fault with the field relative to the claim ("port.eids[0]").  The result lives in
 * the arena, and as long as what 'in' points to. */
int ms_claim_decide(const struct ms_claim *in, struct em_arena *arena, struct ms_fault *fault,
                    struct ms_verdict *ret_verdict);

/* The same content, field by field, unknown ones too? */
bool ms_message_equal(const ProtobufCMessage *a, const ProtobufCMessage *b, struct em_arena *arena);

/* Is the address of an IP or service EID inside one of the network's subnets?  True where
 * there are none, and for IPv6 link-local addresses. */
struct em_eid;
bool ms_network_holds(const Eidmap__Network *network, const struct em_eid *eid);

#endif
