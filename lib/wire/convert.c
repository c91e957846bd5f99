#include "wire/convert.h"

#include "base/mem.h"

#include <errno.h>
#include <string.h>

#define NEW(arena, type)      ((type *)zeroed(arena, sizeof(type)))
#define NEW_N(arena, type, n) ((type *)zeroed(arena, sizeof(type) * (n)))

static void *zeroed(struct em_arena *arena, size_t size)
{
    void *p = em_arena_alloc(arena, size);
    if (p)
        memset(p, 0, size);
    return p;
}

static ProtobufCBinaryData lend(const void *data, size_t size)
{
    return (ProtobufCBinaryData){size, (uint8_t *)data};
}

const struct em_port em_no_port;

int em_port_id_from_bytes(const ProtobufCBinaryData *bytes, struct em_port_id *ret_id)
{
    if (bytes->len == 0 || bytes->len > EM_PORT_ID_SIZE)
        return -EINVAL;
    *ret_id = (struct em_port_id){.size = (uint8_t)bytes->len};
    memcpy(ret_id->bytes, bytes->data, bytes->len);
    return 0;
}

static bool is_size_right(const Eidmap__Eid *msg)
{
    size_t size = msg->address.len;
    switch (msg->kind) {
    case EIDMAP__EID_KIND__EID_MAC:
        return size == EM_MAC_SIZE;
    case EIDMAP__EID_KIND__EID_IPV4:
        return size == 4;
    case EIDMAP__EID_KIND__EID_IPV6:
        return size == 16;
    case EIDMAP__EID_KIND__EID_IPV4_PREFIX:
        return size == 4 && msg->prefix_len < 32;
    case EIDMAP__EID_KIND__EID_IPV6_PREFIX:
        return size == 16 && msg->prefix_len < 128;
    case EIDMAP__EID_KIND__EID_NAME:
        return size >= 1 && size <= EM_NAME_SIZE;
    case EIDMAP__EID_KIND__EID_SERVICE:
        return (size == 4 || size == 16) && msg->protocol >= 1 && msg->protocol <= 255 &&
               msg->l4_port >= 1 && msg->l4_port <= 65535;
    case EIDMAP__EID_KIND__EID_PORT_ID:
        return size >= 1 && size <= EM_PORT_ID_SIZE;
    case EIDMAP__EID_KIND__EID_UNSPECIFIED:
    case _EIDMAP__EID_KIND_IS_INT_SIZE:
        break;
    }
    return false; /* also a kind that a newer peer knows */
}

int em_eid_from_msg(const Eidmap__Eid *msg, struct em_eid *ret_eid)
{
    if (!is_size_right(msg))
        return -EINVAL;
    struct em_eid eid = {.kind = (enum em_eid_kind)msg->kind, .size = (uint8_t)msg->address.len};
    if (eid.kind == EM_EID_NAME || eid.kind == EM_EID_PORT_ID)
        eid.name = (const char *)msg->address.data;
    else
        memcpy(eid.addr, msg->address.data, msg->address.len);
    if (em_eid_is_prefix(&eid))
        eid.prefix_len = (uint8_t)msg->prefix_len;
    if (eid.kind == EM_EID_SERVICE) {
        eid.protocol = (uint8_t)msg->protocol;
        eid.l4_port = (uint16_t)msg->l4_port;
    }
    *ret_eid = eid;
    return 0;
}

static struct em_eid *eids_from_msg(struct em_arena *arena, Eidmap__Eid **msgs, size_t n)
{
    struct em_eid *eids = NEW_N(arena, struct em_eid, n);
    for (size_t i = 0; eids && i < n; i++)
        if (em_eid_from_msg(msgs[i], &eids[i]))
            return NULL;
    return eids;
}

static int location_from_msg(const Eidmap__Location *msg, struct em_location *ret_location)
{
    if (!em_location_fits(msg->priority, msg->weight, msg->segmentation_id))
        return -EINVAL;
    *ret_location = (struct em_location){
        .node_id = msg->node_id,
        .segmentation_id = msg->segmentation_id,
        .priority = (uint8_t)msg->priority,
        .weight = (uint8_t)msg->weight,
        .is_pending = msg->state == EIDMAP__LOCATION_STATE__LOCATION_PENDING,
        .epoch = msg->epoch,
        .until_ms = msg->until_ms,
    };
    if (msg->view && msg->view->node_id[0])
        ret_location->view_node = msg->view->node_id;
    else if (msg->view && msg->view->label)
        ret_location->view_label =
            (struct em_label){msg->view->label->key, msg->view->label->value};
    return 0;
}

int em_child_from_msg(const Eidmap__Child *msg, struct em_child *ret_child)
{
    if (msg->tag > EM_TAG_MAX || em_port_id_from_bytes(&msg->id, &ret_child->id))
        return -EINVAL;
    ret_child->tag = (uint16_t)msg->tag;
    ret_child->network_id = msg->network_id;
    return 0;
}

static bool family_from_msg(struct em_arena *arena, const Eidmap__Port *msg, struct em_port *port)
{
    struct em_child *children = NEW_N(arena, struct em_child, msg->n_children);
    if (!children || msg->tag > EM_TAG_MAX ||
        (msg->parent.len && em_port_id_from_bytes(&msg->parent, &port->parent)))
        return false;
    for (size_t i = 0; i < msg->n_children; i++)
        if (em_child_from_msg(msg->children[i], &children[i]))
            return false;
    port->tag = (uint16_t)msg->tag;
    port->children = children;
    port->n_children = msg->n_children;
    return true;
}

struct em_port *em_port_from_msg(struct em_arena *arena, const Eidmap__Port *msg)
{
    struct em_port *port = NEW(arena, struct em_port);
    struct em_location *locations = NEW_N(arena, struct em_location, msg->n_locations);
    struct em_eid *eids = eids_from_msg(arena, msg->eids, msg->n_eids);
    if (!port || !locations || !eids || em_port_id_from_bytes(&msg->id, &port->id) ||
        !family_from_msg(arena, msg, port))
        return NULL;
    for (size_t i = 0; i < msg->n_locations; i++)
        if (location_from_msg(msg->locations[i], &locations[i]))
            return NULL;
    port->network_id = msg->network_id;
    port->eids = eids;
    port->n_eids = msg->n_eids;
    port->locations = locations;
    port->n_locations = msg->n_locations;
    port->revision = msg->revision;
    port->is_declared = msg->declared;
    port->is_multihomed = msg->multihomed;
    port->is_shared = msg->shared;
    port->allowed_nodes = (const char *const *)msg->allowed_nodes;
    port->n_allowed_nodes = msg->n_allowed_nodes;
    return port;
}

int em_rloc_from_msg(const Eidmap__Rloc *msg, struct em_rloc *ret_rloc)
{
    if ((msg->address.len != 4 && msg->address.len != 16) || msg->udp_port > 65535 ||
        msg->encap > EIDMAP__ENCAP__ENCAP_GRE)
        return -EINVAL;
    *ret_rloc = (struct em_rloc){
        .ip.size = (uint8_t)msg->address.len,
        .encap = msg->encap ? (enum em_encap)msg->encap : EM_ENCAP_VXLAN,
        .udp_port = (uint16_t)msg->udp_port,
    };
    memcpy(ret_rloc->ip.addr, msg->address.data, msg->address.len);
    return 0;
}

struct em_node *em_node_from_msg(struct em_arena *arena, const Eidmap__Node *msg)
{
    struct em_node *node = NEW(arena, struct em_node);
    struct em_rloc *rlocs = NEW_N(arena, struct em_rloc, msg->n_rlocs);
    struct em_label *labels = NEW_N(arena, struct em_label, msg->n_labels);
    if (!node || !rlocs || !labels || msg->state > EIDMAP__NODE_STATE__NODE_UNREACHABLE)
        return NULL;
    for (size_t i = 0; i < msg->n_rlocs; i++)
        if (em_rloc_from_msg(msg->rlocs[i], &rlocs[i]))
            return NULL;
    for (size_t i = 0; i < msg->n_labels; i++)
        labels[i] = (struct em_label){msg->labels[i]->key, msg->labels[i]->value};
    *node = (struct em_node){
        .id = msg->id,
        .rlocs = rlocs,
        .n_rlocs = msg->n_rlocs,
        .labels = labels,
        .n_labels = msg->n_labels,
        .state = (enum em_node_state)msg->state,
        .state_since_ms = msg->state_since_ms,
        .revision = msg->revision,
        .is_declared = msg->declared,
        .is_disabled = msg->disabled,
        .version = msg->version,
    };
    return node;
}

struct em_network *em_network_from_msg(struct em_arena *arena, const Eidmap__Network *msg)
{
    struct em_network *network = NEW(arena, struct em_network);
    struct em_eid *subnets = eids_from_msg(arena, msg->subnets, msg->n_subnets);
    if (!network || !subnets || msg->type > EIDMAP__NETWORK_TYPE__NETWORK_TRANSIT ||
        msg->flood > EIDMAP__FLOOD__FLOOD_NONE || msg->fill > EIDMAP__FILL__FILL_RESOLVE ||
        msg->segmentation_id > EM_SEGMENT_MAX)
        return NULL;
    *network = (struct em_network){
        .id = msg->id,
        .name = msg->name,
        .type = msg->type ? (enum em_network_type)msg->type : EM_NETWORK_OVERLAY,
        .segmentation_id = msg->segmentation_id,
        .mtu = msg->mtu,
        .subnets = subnets,
        .n_subnets = msg->n_subnets,
        .dns_domain = msg->dns_domain,
        .flood = msg->flood ? (enum em_flood)msg->flood : EM_FLOOD_BROADCAST,
        .fill = msg->fill ? (enum em_fill)msg->fill : EM_FILL_SUBSCRIBE,
        .probe_ms = msg->probe_ms,
        .revision = msg->revision,
    };
    return network;
}

Eidmap__Eid *em_eid_to_msg(struct em_arena *arena, const struct em_eid *eid)
{
    Eidmap__Eid *msg = em_arena_alloc(arena, sizeof(*msg));
    if (!msg)
        return NULL;
    eidmap__eid__init(msg);
    msg->kind = (Eidmap__EidKind)eid->kind;
    if (eid->kind == EM_EID_NAME || eid->kind == EM_EID_PORT_ID)
        msg->address = lend(eid->name, eid->size);
    else
        msg->address = lend(eid->addr, eid->size);
    msg->prefix_len = em_eid_is_prefix(eid) ? eid->prefix_len : 0;
    msg->protocol = eid->protocol;
    msg->l4_port = eid->l4_port;
    return msg;
}

static Eidmap__Eid **eids_to_msg(struct em_arena *arena, const struct em_eid *eids, size_t n)
{
    Eidmap__Eid **msgs = NEW_N(arena, Eidmap__Eid *, n);
    for (size_t i = 0; msgs && i < n; i++)
        if (!(msgs[i] = em_eid_to_msg(arena, &eids[i])))
            return NULL;
    return msgs;
}

static Eidmap__Label *label_to_msg(struct em_arena *arena, const struct em_label *label)
{
    Eidmap__Label *msg = em_arena_alloc(arena, sizeof(*msg));
    if (!msg)
        return NULL;
    eidmap__label__init(msg);
    msg->key = (char *)label->key;
    msg->value = (char *)label->value;
    return msg;
}

static Eidmap__View *view_to_msg(struct em_arena *arena, const struct em_location *location)
{
    Eidmap__View *msg = em_arena_alloc(arena, sizeof(*msg));
    if (!msg)
        return NULL;
    eidmap__view__init(msg);
    if (location->view_node)
        msg->node_id = (char *)location->view_node;
    else if (!(msg->label = label_to_msg(arena, &location->view_label)))
        return NULL;
    return msg;
}

static Eidmap__Location *location_to_msg(struct em_arena *arena, const struct em_location *location)
{
    Eidmap__Location *msg = em_arena_alloc(arena, sizeof(*msg));
    if (!msg)
        return NULL;
    eidmap__location__init(msg);
    if (location->node_id)
        msg->node_id = (char *)location->node_id;
    msg->segmentation_id = location->segmentation_id;
    msg->priority = location->priority;
    msg->weight = location->weight;
    msg->epoch = location->epoch;
    msg->until_ms = location->until_ms;
    if (location->is_pending)
        msg->state = EIDMAP__LOCATION_STATE__LOCATION_PENDING;
    if ((location->view_node || location->view_label.key) &&
        !(msg->view = view_to_msg(arena, location)))
        return NULL;
    return msg;
}

static Eidmap__Child **children_to_msg(struct em_arena *arena, const struct em_port *port)
{
    Eidmap__Child **list = NEW_N(arena, Eidmap__Child *, port->n_children);
    for (size_t i = 0; list && i < port->n_children; i++) {
        if (!(list[i] = em_arena_alloc(arena, sizeof(**list))))
            return NULL;
        eidmap__child__init(list[i]);
        list[i]->id = lend(port->children[i].id.bytes, port->children[i].id.size);
        list[i]->tag = port->children[i].tag;
        list[i]->network_id = port->children[i].network_id;
    }
    return list;
}

Eidmap__Port *em_port_to_msg(struct em_arena *arena, const struct em_port *port)
{
    Eidmap__Port *msg = em_arena_alloc(arena, sizeof(*msg));
    Eidmap__Location **locations = NEW_N(arena, Eidmap__Location *, port->n_locations);
    Eidmap__Eid **eids = eids_to_msg(arena, port->eids, port->n_eids);
    Eidmap__Child **children = children_to_msg(arena, port);
    if (!msg || !locations || !eids || !children)
        return NULL;
    for (size_t i = 0; i < port->n_locations; i++)
        if (!(locations[i] = location_to_msg(arena, &port->locations[i])))
            return NULL;
    eidmap__port__init(msg);
    msg->id = lend(port->id.bytes, port->id.size);
    msg->network_id = port->network_id;
    msg->eids = eids;
    msg->n_eids = port->n_eids;
    msg->locations = locations;
    msg->n_locations = port->n_locations;
    msg->revision = port->revision;
    msg->declared = port->is_declared;
    msg->multihomed = port->is_multihomed;
    msg->shared = port->is_shared;
    msg->allowed_nodes = (char **)port->allowed_nodes;
    msg->n_allowed_nodes = port->n_allowed_nodes;
    if (port->parent.size)
        msg->parent = lend(port->parent.bytes, port->parent.size);
    msg->tag = port->tag;
    msg->children = children;
    msg->n_children = port->n_children;
    return msg;
}

Eidmap__Rloc *em_rloc_to_msg(struct em_arena *arena, const struct em_rloc *rloc)
{
    Eidmap__Rloc *msg = em_arena_alloc(arena, sizeof(*msg));
    if (!msg)
        return NULL;
    eidmap__rloc__init(msg);
    msg->address = lend(rloc->ip.addr, rloc->ip.size);
    msg->encap = rloc->encap ? (Eidmap__Encap)rloc->encap : EIDMAP__ENCAP__ENCAP_VXLAN;
    msg->udp_port = rloc->udp_port;
    return msg;
}

Eidmap__Node *em_node_to_msg(struct em_arena *arena, const struct em_node *node)
{
    Eidmap__Node *msg = em_arena_alloc(arena, sizeof(*msg));
    Eidmap__Rloc **rlocs = NEW_N(arena, Eidmap__Rloc *, node->n_rlocs);
    Eidmap__Label **labels = NEW_N(arena, Eidmap__Label *, node->n_labels);
    if (!msg || !rlocs || !labels)
        return NULL;
    for (size_t i = 0; i < node->n_rlocs; i++)
        if (!(rlocs[i] = em_rloc_to_msg(arena, &node->rlocs[i])))
            return NULL;
    for (size_t i = 0; i < node->n_labels; i++)
        if (!(labels[i] = label_to_msg(arena, &node->labels[i])))
            return NULL;
    eidmap__node__init(msg);
    msg->id = (char *)node->id;
    msg->rlocs = rlocs;
    msg->n_rlocs = node->n_rlocs;
    msg->labels = labels;
    msg->n_labels = node->n_labels;
    msg->state = (Eidmap__NodeState)node->state;
    msg->state_since_ms = node->state_since_ms;
    msg->revision = node->revision;
    msg->declared = node->is_declared;
    msg->disabled = node->is_disabled;
    if (node->version)
        msg->version = (char *)node->version;
    return msg;
}

Eidmap__Network *em_network_to_msg(struct em_arena *arena, const struct em_network *network)
{
    Eidmap__Network *msg = em_arena_alloc(arena, sizeof(*msg));
    Eidmap__Eid **subnets = eids_to_msg(arena, network->subnets, network->n_subnets);
    if (!msg || !subnets)
        return NULL;
    eidmap__network__init(msg);
    msg->id = network->id;
    msg->name = (char *)network->name;
    msg->type = (Eidmap__NetworkType)network->type;
    msg->segmentation_id = network->segmentation_id;
    msg->mtu = network->mtu;
    msg->subnets = subnets;
    msg->n_subnets = network->n_subnets;
    if (network->dns_domain)
        msg->dns_domain = (char *)network->dns_domain;
    msg->flood = (Eidmap__Flood)network->flood;
    msg->fill = (Eidmap__Fill)network->fill;
    msg->probe_ms = network->probe_ms;
    msg->revision = network->revision;
    return msg;
}
