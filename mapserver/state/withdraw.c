/* Withdraw: locations go, and ports with their last one.
 *
 * Nothing here is refused because it is gone already: a client that lost its connection
 * sends the same Withdraw again.  An epoch in the reference protects a port that has come
 * back to this node since: an old Withdraw must not take it away.  The leader withdraws pending
 * locations whose time is over, each by its epoch: one that has become active has another.
 *
 * What an operator asks for is refused where it would tear a trunk: a port with children is not
 * removed, and a child's location is its parent's. */
#include "base/mem.h"
#include "eidmap/addr.h"
#include "state/command.h"
#include "state/trunk.h"

#include <assert.h>
#include <string.h>

/* Takes the node's location out of the port; the port goes with its last location unless
 * an operator has declared it, or it has children. */
static void remove_location(struct ms_command *c, const Eidmap__Port *old, const char *node_id)
{
    assert(ms_port_location(old, node_id));
    Eidmap__Port port = *old;
    Eidmap__Location **left = em_arena_alloc(c->scratch, old->n_locations * sizeof(*left));
    if (!left) {
        ms_txn_fail(c->txn, EM_E_INTERNAL);
        return;
    }
    port.n_locations = 0;
    port.locations = left;
    for (size_t i = 0; i < old->n_locations; i++)
        if (strcmp(old->locations[i]->node_id, node_id) != 0)
            left[port.n_locations++] = old->locations[i];
    if (port.n_locations == 0 && !old->declared && !old->n_children)
        ms_port_delete(c->txn, old);
    else
        ms_trunk_put(c->txn, old, &port, c->scratch);
}

static void withdraw_one(struct ms_command *c, const Eidmap__PortRef *ref, const char *node_id)
{
    Eidmap__Port *port;
    em_arena_reset(c->scratch);
    if (ms_port_get(c->txn, ref->id.data, ref->id.len, c->scratch, &port))
        return; /* what is absent is withdrawn */
    if (node_id[0]) {
        const Eidmap__Location *location = ms_port_location(port, node_id);
        if (!location || port->parent.len || (ref->epoch && ref->epoch != location->epoch))
            return;
        remove_location(c, port, node_id);
    } else {
        ms_trunk_delete(c->txn, port, c->scratch);
    }
    c->result->n_withdrawn++;
    c->result->is_changed = true;
}

static int check_server(struct ms_command *c, const Eidmap__Withdraw *body)
{
    bool is_exact = body->node_id[0];
    for (size_t i = 0; i < body->n_ports; i++)
        is_exact &= body->ports[i]->epoch != 0;
    return is_exact ? 0
                    : ms_refuse(&c->fault, EM_E_DENIED, "ports",
                                "a server withdraws a node's locations by their epochs only");
}

static int check_trunk(struct ms_command *c, const Eidmap__Port *port, const char *node_id,
                       const char *field)
{
    char text[EM_PORT_ID_TEXT];
    if (node_id[0] && port->parent.len)
        return ms_refuse(&c->fault, EM_E_DENIED, field,
                         "the port is a child: it is where port %s is, as long as that is there",
                         em_port_id_format(port->parent.data, port->parent.len, text));
    if (node_id[0] || !port->n_children)
        return 0;
    const Eidmap__Child *child = port->children[0];
    return ms_refuse(&c->fault, EM_E_IN_USE, field,
                     "the port has %zu children (port %s, ...): remove them first",
                     port->n_children, em_port_id_format(child->id.data, child->id.len, text));
}

/* A node that has lost a port to a parent withdraws in vain, and is not told. */
static int check_operator(struct ms_command *c, const Eidmap__Withdraw *body)
{
    int r = ms_session_check(c);
    if (!ms_command_is_by(c, EIDMAP__ROLE__ROLE_OPERATOR) || ms_session_has(c))
        return r;
    for (size_t i = 0; i < body->n_ports && !r; i++) {
        const ProtobufCBinaryData *id = &body->ports[i]->id;
        Eidmap__Port *port;
        em_arena_reset(c->scratch);
        if (ms_port_get(c->txn, id->data, id->len, c->scratch, &port) == 0)
            r = check_trunk(c, port, body->node_id, ms_format(c->keep, "ports[%zu]", i));
    }
    return r;
}

int ms_withdraw(struct ms_command *c, const Eidmap__Withdraw *body)
{
    bool is_node = ms_command_is_by(c, EIDMAP__ROLE__ROLE_NODE);
    const char *node_id = is_node ? c->origin->name : body->node_id;
    char why[EM_ADDR_WHY] = "";
    if (is_node && body->node_id[0] && strcmp(body->node_id, node_id) != 0)
        return ms_refuse(&c->fault, EM_E_DENIED, "node_id",
                         "node %s may withdraw its own locations only", node_id);
    if (!is_node && node_id[0] && em_ident_check(node_id, why))
        return ms_refuse(&c->fault, EM_E_MALFORMED, "node_id", "%s", why);
    if (body->n_ports == 0)
        return ms_refuse(&c->fault, EM_E_MALFORMED, "ports", "there is no port");
    if (body->n_ports > MS_CLAIMS_MAX)
        return ms_refuse(&c->fault, EM_E_LIMIT, "ports", "at most %d ports, not %zu", MS_CLAIMS_MAX,
                         body->n_ports);
    int r = ms_command_is_by(c, EIDMAP__ROLE__ROLE_SERVER) ? check_server(c, body)
                                                           : check_operator(c, body);
    if (r || ms_session_has(c))
        return r;
    for (size_t i = 0; i < body->n_ports && !c->txn->err; i++)
        withdraw_one(c, body->ports[i], node_id);
    return c->txn->err;
}

static bool next_port(struct ms_command *c, const char *node_id, Eidmap__Port **ret_port)
{
    struct ms_blob id;
    int r = ms_txn_get(c->txn, MS_DB_LOC, ms_blob(node_id, strlen(node_id)), &id);
    if (r)
        return false;
    em_arena_reset(c->scratch);
    r = ms_port_get(c->txn, id.data, id.size, c->scratch, ret_port);
    if (r == EM_E_NOT_FOUND)
        ms_txn_fail(c->txn, EM_E_STORAGE);
    return r == 0;
}

bool ms_withdraw_node(struct ms_command *c, const char *node_id, uint32_t max)
{
    Eidmap__Port *port;
    while (next_port(c, node_id, &port)) {
        uint32_t n = 1 + (uint32_t)port->n_children; /* that are written */
        if (max == 0)
            return true;
        max -= n < max ? n : max;
        remove_location(c, port, node_id);
        c->result->n_withdrawn++;
        c->result->is_changed = true;
    }
    return false;
}
