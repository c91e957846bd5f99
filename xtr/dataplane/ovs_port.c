/* Local ports, and the numbers that the switch has for devices. */
#include "ovs.h"

#include "base/mem.h"
#include "ovs/bridge.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEWS_BYTES 1048576

static struct ovs_port_rec port_key(uint32_t network_id, const char *device, uint16_t vlan)
{
    struct ovs_port_rec key = {.network_id = network_id, .vlan = vlan};
    snprintf(key.device, sizeof key.device, "%s", device);
    return key;
}

struct ovs_port_rec *ovs_port(const struct dp *dp, uint32_t network_id, const char *device,
                              uint16_t vlan)
{
    struct ovs_port_rec key = port_key(network_id, device, vlan);
    return dp_table_find(&dp->ports, &key);
}

struct ovs_port_rec *ovs_new_port(struct dp *dp, uint32_t network_id, const char *device,
                                  uint16_t vlan)
{
    struct ovs_port_rec key = port_key(network_id, device, vlan);
    struct ovs_port_rec *rec = dp_table_put(&dp->ports, &key);

    rec->id = ++dp->last_port_id;
    struct ovs_port_id_rec *id = dp_table_put(&dp->port_ids, &rec->id);
    id->network_id = network_id;
    id->vlan = vlan;
    memcpy(id->device, rec->device, sizeof id->device);
    return rec;
}

const struct ovs_port_rec *ovs_port_at(const struct dp *dp, uint32_t id)
{
    const struct ovs_port_id_rec *rec = dp_table_find(&dp->port_ids, &id);
    return rec ? ovs_port(dp, rec->network_id, rec->device, rec->vlan) : NULL;
}

static struct ovs_number_rec number_key(const char *device)
{
    struct ovs_number_rec key = {.number = 0};
    memcpy(key.name, device, strnlen(device, sizeof key.name - 1));
    return key;
}

uint32_t ovs_number(const struct dp *dp, const char *device)
{
    struct ovs_number_rec key = number_key(device);
    const struct ovs_number_rec *rec = dp_table_find(&dp->numbers, &key);
    return rec ? rec->number : 0;
}

static bool is_underlay(const struct dp *dp, const char *device)
{
    char name[IFNAMSIZ];
    for (size_t i = 0; i < 2; i++)
        if (dp->rlocs[i].size && ovs_device_of(&dp->rlocs[i], name) && strcmp(name, device) == 0)
            return true;
    return false;
}

/* Have we put the device on the bridge, for whatever port of ours? */
static bool is_plugged_by_us(const struct dp *dp, const char *device)
{
    for (uint32_t i = 0; i < dp->ports.len; i++) {
        const struct ovs_port_rec *rec = dp_table_at(&dp->ports, i);
        if (!(rec->flags & DP_BORROWED) && strcmp(rec->device, device) == 0)
            return true;
    }
    return false;
}

/* Onto the bridge, if it is not there yet; 'ret_is_ours' says whether it goes with the port. */
static int plug(struct dp *dp, const struct dp_op *op, bool *ret_is_ours)
{
    struct ovs_port port = {.name = op->device, .type = "", .mark = "port"};
    char *why = NULL;

    int r = of_receive(dp->conn, NEWS_BYTES); /* it may have been put there just now */
    if (r >= 0 && (dp->has_port_news || (!ovs_number(dp, op->device) && !dp->has_dumped_ports)))
        r = ovs_read_ports(dp);
    if (r < 0)
        return r;
    bool is_there = ovs_number(dp, op->device) != 0;
    *ret_is_ours = is_plugged_by_us(dp, op->device);
    if (is_there && (op->is_borrowed || *ret_is_ours))
        return 0;
    if (op->is_borrowed || !if_nametoindex(op->device))
        return -ENODEV;
    if (!is_there && (ovs_device_has_master(op->device) || is_underlay(dp, op->device)))
        return -EBUSY;
    r = ovs_db_add_port(dp, &port, &why);
    free(why);
    if (r)
        return r == -EEXIST ? -EBUSY : r;
    *ret_is_ours = port.is_ours;
    ovs_device_up(op->device);
    if (!port.ofport)
        return -ENODEV;
    return is_there ? 0 : ovs_read_ports(dp);
}

/* The port's flows, and those of the MACs behind it. */
static void port_flows(struct dp *dp, const struct ovs_port_rec *rec, ovs_flow_fn *visit)
{
    struct ovs_network_rec *network = ovs_network(dp, rec->network_id);

    if (network)
        network->is_behind = true;
    ovs_port_flows(dp, rec, visit, NULL);
    for (uint32_t i = 0; i < dp->macs.len; i++) {
        const struct dp_mac_rec *mac = dp_table_at(&dp->macs, i);
        if (mac->flags & DP_LOCAL && mac->place == rec->id)
            ovs_mac_flows(dp, mac, visit, NULL);
    }
}

static void remove_behind(struct dp *dp, const struct ovs_port_rec *port)
{
    for (uint32_t i = dp->copies.len; i-- > 0;) {
        struct ovs_copy_rec *rec = dp_table_at(&dp->copies, i);
        if (rec->place == port->id)
            dp_table_remove(&dp->copies, rec);
    }
    for (uint32_t i = dp->macs.len; i-- > 0;) {
        struct dp_mac_rec *rec = dp_table_at(&dp->macs, i);
        if (rec->flags & DP_LOCAL && rec->place == port->id)
            ovs_mac_remove(dp, rec);
    }
}

/* All but its place on the bridge. */
static void drop_port(struct dp *dp, const struct ovs_port_rec *port)
{
    struct ovs_network_rec *network = ovs_network(dp, port->network_id);

    remove_behind(dp, port);
    ovs_port_flows(dp, port, ovs_remove, NULL);
    dp_table_remove(&dp->port_ids, dp_table_find(&dp->port_ids, &port->id));
    dp_table_remove(&dp->ports, dp_table_find(&dp->ports, port));
    if (network)
        network->is_behind = true;
}

/* The same port in another network: there may be only one that its frames come into.  -EBUSY, or it
 * is what an earlier run has left and gives way; '*ret_is_ours' is then whether we have plugged it.
 */
static int oust(struct dp *dp, const struct dp_op *op, bool *ret_is_ours)
{
    for (uint32_t i = dp->ports.len; i-- > 0;) {
        struct ovs_port_rec old = *(struct ovs_port_rec *)dp_table_at(&dp->ports, i);
        if (old.network_id == op->network.id || old.vlan != op->vlan ||
            strcmp(old.device, op->device) != 0)
            continue;
        if (!(old.flags & DP_ADOPTED))
            return -EBUSY;
        *ret_is_ours |= !(old.flags & DP_BORROWED);
        drop_port(dp, &old);
    }
    return 0;
}

static void set_ifindex(struct dp *dp, const char *device, uint32_t ifindex)
{
    for (uint32_t i = 0; i < dp->ports.len; i++) {
        struct ovs_port_rec *rec = dp_table_at(&dp->ports, i);
        if (strcmp(rec->device, device) == 0)
            rec->ifindex = ifindex;
    }
}

/* The switch holds on to a device that has gone, even when there is another of that name: what we
 * have plugged is taken off the bridge when its device comes again, to be plugged anew. */
static int follow_device(struct dp *dp, const struct ovs_port_rec *port, bool *ret_is_off)
{
    uint32_t was = port->ifindex, ifindex = if_nametoindex(port->device);
    uint32_t now = ifindex ? ifindex : OVS_GONE;

    if (port->flags & DP_BORROWED)
        return 0;
    if (now != was)
        set_ifindex(dp, port->device, now);
    if (now == OVS_GONE)
        return -ENODEV;
    *ret_is_off = was && was != now;
    dp->has_port_news |= *ret_is_off;
    return *ret_is_off ? ovs_db_del_port(dp, port->device) : 0;
}

int ovs_port_put(struct dp *dp, const struct dp_op *op)
{
    struct ovs_network_rec *network = ovs_network(dp, op->network.id);
    struct ovs_port_rec *rec = ovs_port(dp, op->network.id, op->device, op->vlan);
    bool is_ours = false, was_ours = false, is_off = false;

    if (!network || dp_is_nobodys(network->flags))
        return -ENOENT;
    int r = rec ? follow_device(dp, rec, &is_off) : 0;
    if (r)
        return r;
    if (rec && !is_off && rec->ofport && rec->ofport == ovs_number(dp, op->device) &&
        !(rec->flags & (DP_DIRTY | DP_FOREIGN))) {
        rec->flags &= (uint16_t)~DP_ADOPTED;
        return 0;
    }
    r = oust(dp, op, &was_ours);
    if (r == 0)
        r = plug(dp, op, &is_ours);
    if (r)
        return r;
    rec = ovs_port(dp, op->network.id, op->device, op->vlan); /* may have moved */
    bool is_new = !rec;
    if (is_new) {
        rec = ovs_new_port(dp, op->network.id, op->device, op->vlan);
        rec->flags = DP_BORROWED;
    }
    rec->ofport = ovs_number(dp, op->device);
    rec->flags &= DP_BORROWED;
    if (is_ours || was_ours)
        rec->flags = 0;
    rec->ifindex = rec->flags & DP_BORROWED ? 0 : if_nametoindex(op->device);
    dp->is_blocked = false;
    network->is_behind = true;
    if (is_new) /* there are no MACs behind it */
        ovs_port_flows(dp, rec, ovs_add, NULL);
    else
        port_flows(dp, rec, ovs_add);
    if (!dp->is_blocked)
        return 0;
    rec->flags |= DP_FOREIGN;
    return -EEXIST;
}

static int unplug(struct dp *dp, const char *device)
{
    for (uint32_t i = 0; i < dp->ports.len; i++) {
        const struct ovs_port_rec *other = dp_table_at(&dp->ports, i);
        if (strcmp(other->device, device) == 0)
            return 0; /* a child, or its parent, is still there */
    }
    dp->has_port_news = true;
    return ovs_db_del_port(dp, device);
}

int ovs_port_delete(struct dp *dp, uint32_t network_id, const char *device, uint16_t vlan)
{
    struct ovs_port_rec *rec = ovs_port(dp, network_id, device, vlan);

    if (!rec) /* perhaps the database has not answered the last time */
        return ovs_number(dp, device) ? unplug(dp, device) : 0;
    struct ovs_port_rec old = *rec;
    drop_port(dp, &old);
    return old.flags & DP_BORROWED ? 0 : unplug(dp, old.device);
}

/* ---- numbers */

static void set_number(struct dp *dp, const struct of_port *port)
{
    struct ovs_number_rec key = number_key(port->name);
    struct ovs_number_rec *rec = dp_table_find(&dp->numbers, &key);

    if (port->number == 0 || port->number >= OF_PORT_MAX)
        return;
    if (!rec)
        rec = dp_table_put(&dp->numbers, &key);
    rec->number = port->number;
}

void ovs_on_ports(struct dp *dp, struct of_parts *parts)
{
    struct of_port port;

    while (of_next_port(parts, &port))
        set_number(dp, &port);
}

static bool is_ours(const struct dp *dp, const char *device)
{
    for (size_t i = 0; i < dp->n_tunnels; i++)
        if (strcmp(dp->tunnels[i].name, device) == 0)
            return true;
    for (uint32_t i = 0; i < dp->ports.len; i++) {
        const struct ovs_port_rec *rec = dp_table_at(&dp->ports, i);
        if (strcmp(rec->device, device) == 0)
            return true;
    }
    return false;
}

/* A port that is none of ours is only noted: there may be thousands of them at once. */
void ovs_on_port_status(struct dp *dp, const struct of_message *message)
{
    enum { DELETED = 1 };
    struct of_port port;
    uint8_t reason;

    if (!of_parse_port_status(message, &reason, &port))
        return;
    struct ovs_number_rec key = number_key(port.name);
    struct ovs_number_rec *rec = dp_table_find(&dp->numbers, &key);
    if (reason != DELETED && rec && rec->number == port.number) {
        if (is_ours(dp, port.name)) /* it is up or down: perhaps its device has gone */
            dp_lost_add(&dp->lost, port.name);
        return;
    }
    dp->has_port_news |= is_ours(dp, port.name);
    if (reason != DELETED)
        set_number(dp, &port);
    else if (rec && rec->number == port.number)
        dp_table_remove(&dp->numbers, rec);
}

/* All old flows go before the first new one comes, since numbers may have been exchanged; and no
 * frame meets the one without the other. */
static void renumber(struct dp *dp)
{
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < dp->ports.len; i++) {
            struct ovs_port_rec *rec = dp_table_at(&dp->ports, i);
            uint32_t number = ovs_number(dp, rec->device);
            if (pass == 0 ? number == rec->ofport : !rec->is_renumbered)
                continue;
            if (!dp->bundle_id)
                ovs_bundle_open(dp);
            if (pass == 0 && rec->ofport)
                port_flows(dp, rec, ovs_remove);
            dp->is_disturbed |= !number && !(rec->flags & DP_BORROWED);
            rec->is_renumbered = pass == 0;
            rec->ofport = number;
            if (pass == 1)
                port_flows(dp, rec, ovs_add);
        }
    if (dp->bundle_id)
        ovs_bundle_commit(dp);
}

int ovs_read_ports(struct dp *dp)
{
    uint32_t xid = of_xid(dp->conn);

    while (dp->numbers.len)
        dp_table_remove(&dp->numbers, dp_table_at(&dp->numbers, dp->numbers.len - 1));
    dp->has_port_news = false;
    dp->has_dumped_ports = true;
    of_put_port_dump(of_out(dp->conn), xid);
    int r = of_wait(dp->conn, xid);
    if (r)
        return r;
    bool has_moved = ovs_renumber_tunnels(dp);
    renumber(dp);
    if (has_moved)
        ovs_follow_tunnels(dp);
    return 0;
}
