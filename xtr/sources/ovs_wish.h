/* What an interface of Open vSwitch asks for, by what it says itself and by what the map has on
 * record of its port.  No I/O. */
#ifndef XTR_SOURCES_OVS_WISH_H
#define XTR_SOURCES_OVS_WISH_H

#include "ovs/rows.h"
#include "ports.h"

/* Of the port's record: all zero, there is none. */
struct xtr_ovs_record {
    bool is_nowhere; /* the map has no location for it */
    char *network;
    struct em_eid *eids; /* that a node may register */
    size_t n_eids;
};

void xtr_ovs_record_init(struct xtr_ovs_record *record, const struct em_port *port,
                         const char *network);
void xtr_ovs_record_fini(struct xtr_ovs_record *record);

/* Does the interface leave something to the record? */
bool xtr_ovs_needs_record(const struct ovs_interface *interface);

/* All but the port-id; strings are lent from both, the EIDs go to 'eids'.  NULL, or what is wrong,
 * the caller's. */
char *xtr_ovs_wish(const struct ovs_interface *interface, const struct xtr_ovs_record *record,
                   struct em_eid eids[XTR_PORT_EIDS], struct xtr_wish *ret_wish);

/* Two wishes with one hash are the same; never 0. */
uint64_t xtr_ovs_wish_hash(const struct xtr_wish *wish);

#endif
