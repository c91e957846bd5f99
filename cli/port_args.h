/* Ports as the command line describes them; for "port register" and "xtr attach". */
#ifndef CTL_PORT_ARGS_H
#define CTL_PORT_ARGS_H

#include "command.h"
#include "eidmap.h"

#define CTL_MAX_EIDS      64 /* of the protocol */
#define CTL_MAX_LOCATIONS 16
#define CTL_MAX_ALLOWED   16

/* A port, and room for what it points to. */
struct ctl_port {
    struct em_port port;
    struct em_eid eids[CTL_MAX_EIDS];
    char names[CTL_MAX_EIDS][EM_EID_TEXT];
    struct em_location locations[CTL_MAX_LOCATIONS];
    char nodes[CTL_MAX_LOCATIONS][EM_PORT_ID_TEXT];
    const char *allowed[CTL_MAX_ALLOWED];
};

/* The port-id of the first word. */
bool ctl_port_id(struct ctl *ctl, struct em_port_id *ret_id);

/* From --mac, --ip and --eid: at least one.  All of these complain themselves. */
bool ctl_port_eids(struct ctl *ctl, struct ctl_port *port);

/* From --node, --any-local, --priority and --weight. */
bool ctl_port_locations(struct ctl *ctl, struct ctl_port *port);

/* From --parent and --tag. */
bool ctl_port_parent(struct ctl *ctl, struct em_port *port);

/* "NODE" or "NODE:VNI" into 'location'; 'node' has room for EM_PORT_ID_TEXT. */
bool ctl_port_place(struct ctl *ctl, const char *text, char *node, struct em_location *location);

/* --priority and --weight, which stay as they are when not given. */
bool ctl_port_rank(struct ctl *ctl, uint8_t *priority, uint8_t *weight);

#endif
