/* "port register" and "xtr attach" describe a port with the same options, one to the map and
 * one to the host's own agent.  Every value is checked before a connection is made. */
#include "port_args.h"

#include <stdlib.h>
#include <string.h>

bool ctl_port_id(struct ctl *ctl, struct em_port_id *ret_id)
{
    char why[EM_ADDR_WHY];
    if (em_port_id_parse(ctl->words[0], ret_id, why) == 0)
        return true;
    ctl_fail(ctl, CTL_USAGE, "port %s: %s", ctl->words[0], why);
    return false;
}

static int parse_mac(const char *text, struct em_eid *eid, char *name, char *why)
{
    (void)name; /* room for EIDs that are names */
    *eid = (struct em_eid){.kind = EM_EID_MAC, .size = EM_MAC_SIZE};
    return em_mac_parse(text, eid->addr, why);
}

static int parse_ip(const char *text, struct em_eid *eid, char *name, char *why)
{
    (void)name;
    return em_prefix_parse(text, eid, why);
}

typedef int parse_fn(const char *text, struct em_eid *eid, char *name, char *why);

static bool add_eids(struct ctl *ctl, struct ctl_port *port, const char *option, parse_fn *parse)
{
    char why[EM_ADDR_WHY];
    size_t pos = 0;
    for (const char *text; (text = ctl_option_next(ctl, option, &pos));) {
        size_t i = port->port.n_eids;
        if (i == CTL_MAX_EIDS) {
            ctl_fail(ctl, CTL_USAGE, "--%s: a port has at most %d EIDs", option, CTL_MAX_EIDS);
            return false;
        }
        if (parse(text, &port->eids[i], port->names[i], why) || em_eid_check(&port->eids[i], why)) {
            ctl_fail(ctl, CTL_USAGE, "--%s %s: %s", option, text, why);
            return false;
        }
        port->port.n_eids++;
    }
    return true;
}

bool ctl_port_eids(struct ctl *ctl, struct ctl_port *port)
{
    port->port.eids = port->eids;
    port->port.n_eids = 0;
    if (!add_eids(ctl, port, "mac", parse_mac) || !add_eids(ctl, port, "ip", parse_ip) ||
        !add_eids(ctl, port, "eid", em_eid_parse))
        return false;
    if (port->port.n_eids)
        return true;
    ctl_fail(ctl, CTL_USAGE, "port %s: no EID given; expected --mac MAC, --ip ADDRESS",
             ctl->words[0]);
    return false;
}

bool ctl_port_rank(struct ctl *ctl, uint8_t *priority, uint8_t *weight)
{
    uint64_t p = *priority, w = *weight;
    if (!ctl_option_uint(ctl, "priority", 0, EM_PRIORITY_NEVER, &p) ||
        !ctl_option_uint(ctl, "weight", 0, 255, &w))
        return false;
    *priority = (uint8_t)p;
    *weight = (uint8_t)w;
    return true;
}

bool ctl_port_place(struct ctl *ctl, const char *text, char *node, struct em_location *location)
{
    char why[EM_ADDR_WHY];
    const char *colon = strchr(text, ':');
    size_t size = colon ? (size_t)(colon - text) : strlen(text);
    snprintf(node, EM_PORT_ID_TEXT, "%.*s", (int)size, text);
    if (size >= EM_PORT_ID_TEXT || em_ident_check(node, why)) {
        ctl_fail(ctl, CTL_USAGE, "node %s: expected NODE or NODE:VNI", text);
        return false;
    }
    location->node_id = node;
    location->segmentation_id = 0;
    if (!colon)
        return true;
    char *end;
    unsigned long vni = strtoul(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end || vni < 1 || vni > EM_SEGMENT_MAX) {
        ctl_fail(ctl, CTL_USAGE, "node %s: expected a VNI from 1 to %u behind the colon", text,
                 EM_SEGMENT_MAX);
        return false;
    }
    location->segmentation_id = (uint32_t)vni;
    return true;
}

bool ctl_port_parent(struct ctl *ctl, struct em_port *port)
{
    const char *parent = ctl_option(ctl, "parent");
    char why[EM_ADDR_WHY];
    uint64_t tag = 0;
    if (!ctl_option_uint(ctl, "tag", 1, EM_TAG_MAX, &tag))
        return false;
    if (!parent != !tag) {
        ctl_fail(ctl, CTL_USAGE, "port %s: a child has both --parent PORT and --tag N",
                 ctl->words[0]);
        return false;
    }
    if (parent && em_port_id_parse(parent, &port->parent, why)) {
        ctl_fail(ctl, CTL_USAGE, "--parent %s: %s", parent, why);
        return false;
    }
    port->tag = (uint16_t)tag;
    return true;
}

bool ctl_port_locations(struct ctl *ctl, struct ctl_port *port)
{
    struct em_location rank = {0};
    size_t pos = 0, n = 0;
    if (!ctl_port_rank(ctl, &rank.priority, &rank.weight))
        return false;
    for (const char *text; (text = ctl_option_next(ctl, "node", &pos)); n++) {
        if (n == CTL_MAX_LOCATIONS) {
            ctl_fail(ctl, CTL_USAGE, "--node: a port has at most %d locations", CTL_MAX_LOCATIONS);
            return false;
        }
        port->locations[n] = rank;
        if (!ctl_port_place(ctl, text, port->nodes[n], &port->locations[n]))
            return false;
    }
    if (ctl_option(ctl, "any-local")) {
        if (n) {
            ctl_fail(ctl, CTL_USAGE, "--any-local: no node can be named beside it");
            return false;
        }
        port->locations[n++] = rank; /* of no node */
    }
    port->port.locations = port->locations;
    port->port.n_locations = n;
    return true;
}
