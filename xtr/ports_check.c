/* May a port be as somebody wishes it, beside those that are here? */
#include "ports.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int refuse(char *why, int err, const char *format, const char *a, const char *b)
{
    if (why)
        snprintf(why, EM_ADDR_WHY, format, a, b);
    return err;
}

static int check_eids(const struct xtr_wish *wish, char *why)
{
    bool has_mac = false;
    if (wish->n_eids > XTR_PORT_EIDS)
        return refuse(why, -EINVAL, "a port has at most 64 addresses%s%s", "", "");
    for (size_t i = 0; i < wish->n_eids; i++) {
        const struct em_eid *e = &wish->eids[i];
        int r = em_eid_check(e, why);
        if (r)
            return r;
        if (e->kind == EM_EID_NAME || e->kind == EM_EID_PORT_ID)
            return refuse(why, -EINVAL, "names are for operators to register, with mapctl%s%s", "",
                          "");
        has_mac |= e->kind == EM_EID_MAC;
    }
    return has_mac ? 0 : refuse(why, -EINVAL, "a local port needs at least one MAC%s%s", "", "");
}

/* What the kernel takes, but for bytes that would garble a terminal or a log. */
static bool is_device_name(const char *name)
{
    size_t size = strlen(name);
    if (!size || size >= IFNAMSIZ || !strcmp(name, ".") || !strcmp(name, ".."))
        return false;
    for (size_t i = 0; i < size; i++)
        if (name[i] <= ' ' || name[i] > '~' || name[i] == '/' || name[i] == ':')
            return false;
    return true;
}

/* Of a port that somebody else wishes than the map. */
static int check_child(const struct xtr_ports *ports, const struct xtr_wish *wish, char *why)
{
    const struct xtr_port *port = xtr_ports_find(ports, &wish->id);
    char id[EM_PORT_ID_TEXT];
    if (!port || !xtr_port_is_child(port))
        return 0;
    return refuse(why, -EBUSY, "it is a child of port %s, and comes and goes with that%s",
                  em_port_id_format(port->parent.bytes, port->parent.size, id), "");
}

/* All on a device are in one network, but for those behind tags. */
static int check_device(const struct xtr_ports *ports, const struct xtr_wish *wish,
                        const struct xtr_port *self, char *why)
{
    char id[EM_PORT_ID_TEXT];
    const struct xtr_port *other = xtr_ports_on(ports, wish->device);
    while (other && (other == self || other->vlan))
        other = xtr_ports_next_on(ports, other);
    if (!other || !strcmp(other->network, wish->network))
        return 0;
    return refuse(why, -EBUSY, "device %s belongs to port %s in another network", wish->device,
                  em_port_id_format(other->id.bytes, other->id.size, id));
}

static int check_holders(const struct xtr_ports *ports, const struct xtr_wish *wish,
                         const struct xtr_port *self, char *why)
{
    char id[EM_PORT_ID_TEXT], text[EM_EID_TEXT];
    for (size_t i = 0; i < wish->n_eids; i++) {
        const struct em_eid *eid = &wish->eids[i];
        const struct xtr_port *other = xtr_ports_holder(ports, wish->network, eid, self);
        if (other)
            return refuse(why, -EBUSY, "%s belongs to port %s of this host",
                          em_eid_format(eid, text),
                          em_port_id_format(other->id.bytes, other->id.size, id));
    }
    return 0;
}

int xtr_ports_check(const struct xtr_ports *ports, const struct xtr_wish *wish, char *why)
{
    int r = em_port_id_check(wish->id.bytes, wish->id.size, why);
    if (!r)
        r = em_ident_check(wish->network, why);
    if (!r)
        r = check_eids(wish, why);
    if (!r)
        r = check_child(ports, wish, why);
    if (r)
        return r;
    if (!is_device_name(wish->device))
        return refuse(why, -EINVAL,
                      "the name of a device is 1 to 15 printable characters without '/', ':' and "
                      "space%s%s",
                      "", "");
    const struct xtr_port *self = xtr_ports_find(ports, &wish->id);
    r = check_device(ports, wish, self, why);
    return r ? r : check_holders(ports, wish, self, why);
}
