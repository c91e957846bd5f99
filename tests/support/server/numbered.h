/* Ports by number: endpoints that a test can make, and recognise, by the million. */
#ifndef NUMBERED_H
#define NUMBERED_H

#include "eidmap.h"

/* One MAC, one IPv4 address, one location.  It points into itself: do not copy it. */
struct numbered_port {
    struct em_port port;
    struct em_eid eids[2];
    struct em_location location;
};

/* Number 1 .. 2^30: addresses from 10.0.0.1 on.  'node' is lent. */
void numbered_port_init(struct numbered_port *ret_port, uint32_t network_id, uint32_t number,
                        const char *node);

/* The IPv4 address and the port-id alone. */
struct em_eid numbered_ip(uint32_t number);
struct em_port_id numbered_id(uint32_t number);

/* The number of a port-id; 0: it is none of ours. */
uint32_t numbered_of(const struct em_port_id *id);

#endif
