/* Ports that are plugged into br-int of an Open vSwitch, many in one transaction of its database:
 * numbered, as server/numbered.h has them, with their id as iface-id. */
#ifndef PLUG_H
#define PLUG_H

#include "vswitch.h"

enum plug {
    PLUG_WHOLE, /* the port, with its iface-id */
    PLUG_PORT,  /* the port without one; comes back when ovs-vswitchd has made it */
    PLUG_ID,    /* the iface-id of ports that are there */
};

/* Ports first .. first + n - 1.  Returns the time at which the transaction was handed over. */
uint64_t plug_ports(const struct vswitch *vswitch, enum plug what, uint32_t first, uint32_t n);

/* How many interfaces have 'key' in their external_ids, and "true" there. */
uint32_t plug_marks(const struct vswitch *vswitch, const char *key);

#endif
