/* Records from packed messages without protobuf-c in between, which makes an object of each part.
 * What a value may be is said once, in convert.c: parts that are small are filled in here and
 * judged there. */
#include "wire/unpack.h"

#include "base/mem.h"
#include "wire/convert.h"
#include "wire/scan.h"

#include <string.h>

static inline ProtobufCBinaryData bytes_of(struct em_scan *scan, const struct em_field *field)
{
    struct em_scan inside = em_scan_inside(scan, field);
    return (ProtobufCBinaryData){(size_t)(inside.end - inside.at), (uint8_t *)inside.at};
}

/* A copy that ends with a NUL; one that has a NUL inside ends there.  NULL: no room. */
static char *copy_text(struct em_arena *arena, const void *data, size_t size)
{
    char *text = em_arena_alloc(arena, size + 1);
    if (!text)
        return NULL;
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

static inline const char *text_of(struct em_arena *arena, struct em_scan *scan,
                                  const struct em_field *field)
{
    ProtobufCBinaryData bytes = bytes_of(scan, field);
    const char *text = copy_text(arena, bytes.data, bytes.len);
    scan->is_bad |= !text;
    return text ? text : "";
}

/* A MAC or an address as everybody writes it, which most EIDs are: kind, size, bytes.  Inlined,
 * it would be compiled as something that is seldom: for size. */
__attribute__((noinline)) static bool take_host(const uint8_t *at, size_t size,
                                                struct em_eid *ret_eid)
{
    enum { HEAD = 4 };
    if (size < HEAD || at[0] != (1 << 3 | EM_WIRE_VARINT) || at[2] != (2 << 3 | EM_WIRE_BYTES) ||
        size != (size_t)HEAD + at[3])
        return false;
    *ret_eid = (struct em_eid){.kind = (enum em_eid_kind)at[1], .size = at[3]};
    if (ret_eid->kind == EM_EID_IPV4 && at[3] == 4)
        memcpy(ret_eid->addr, at + HEAD, 4);
    else if (ret_eid->kind == EM_EID_MAC && at[3] == EM_MAC_SIZE)
        memcpy(ret_eid->addr, at + HEAD, EM_MAC_SIZE);
    else if (ret_eid->kind == EM_EID_IPV6 && at[3] == 16)
        memcpy(ret_eid->addr, at + HEAD, 16);
    else
        return false;
    return true;
}

static bool unpack_any_eid(struct em_scan scan, struct em_eid *ret_eid)
{
    Eidmap__Eid msg = EIDMAP__EID__INIT;
    struct em_field field;
    while (em_scan_next(&scan, &field))
        switch (field.number) {
        case 1:
            msg.kind = (Eidmap__EidKind)em_scan_number(&scan, &field);
            break;
        case 2:
            msg.address = bytes_of(&scan, &field);
            break;
        case 3:
            msg.prefix_len = (uint32_t)em_scan_number(&scan, &field);
            break;
        case 4:
            msg.protocol = (uint32_t)em_scan_number(&scan, &field);
            break;
        case 5:
            msg.l4_port = (uint32_t)em_scan_number(&scan, &field);
            break;
        }
    return !scan.is_bad && !em_eid_from_msg(&msg, ret_eid);
}

static inline bool unpack_eid(const struct em_field *field, struct em_eid *ret_eid)
{
    if (field->type != EM_WIRE_BYTES)
        return false;
    return take_host(field->data, field->size, ret_eid) ||
           unpack_any_eid(em_scan(field->data, field->size), ret_eid);
}

static bool unpack_label(struct em_arena *arena, struct em_scan scan, struct em_label *label)
{
    struct em_field field;
    if (!label->key)
        *label = (struct em_label){"", ""};
    while (em_scan_next(&scan, &field))
        if (field.number == 1)
            label->key = text_of(arena, &scan, &field);
        else if (field.number == 2)
            label->value = text_of(arena, &scan, &field);
    return !scan.is_bad;
}

static bool unpack_view(struct em_arena *arena, struct em_scan scan, struct em_location *location)
{
    struct em_field field;
    while (em_scan_next(&scan, &field))
        if (field.number == 1)
            location->view_node = text_of(arena, &scan, &field);
        else if (field.number == 2)
            scan.is_bad |=
                !unpack_label(arena, em_scan_inside(&scan, &field), &location->view_label);
    return !scan.is_bad;
}

/* 'location' is zero. */
static bool unpack_location(struct em_arena *arena, struct em_scan scan,
                            struct em_location *location)
{
    uint32_t priority = 0, weight = 0;
    struct em_field field;
    location->node_id = "";
    while (em_scan_next(&scan, &field))
        switch (field.number) {
        case 1:
            location->node_id = text_of(arena, &scan, &field);
            break;
        case 2:
            location->segmentation_id = (uint32_t)em_scan_number(&scan, &field);
            break;
        case 3:
            priority = (uint32_t)em_scan_number(&scan, &field);
            break;
        case 4:
            weight = (uint32_t)em_scan_number(&scan, &field);
            break;
        case 5:
            scan.is_bad |= !unpack_view(arena, em_scan_inside(&scan, &field), location);
            break;
        case 6:
            location->is_pending = (Eidmap__LocationState)em_scan_number(&scan, &field) ==
                                   EIDMAP__LOCATION_STATE__LOCATION_PENDING;
            break;
        case 7:
            location->epoch = em_scan_number(&scan, &field);
            break;
        case 8:
            location->until_ms = em_scan_number(&scan, &field);
            break;
        }
    location->priority = (uint8_t)priority;
    location->weight = (uint8_t)weight;
    if (location->view_node && location->view_node[0])
        location->view_label = (struct em_label){0};
    else
        location->view_node = NULL;
    return !scan.is_bad && em_location_fits(priority, weight, location->segmentation_id);
}

static bool unpack_child(struct em_scan scan, struct em_child *ret_child)
{
    Eidmap__Child msg = EIDMAP__CHILD__INIT;
    struct em_field field;
    while (em_scan_next(&scan, &field))
        switch (field.number) {
        case 1:
            msg.id = bytes_of(&scan, &field);
            break;
        case 2:
            msg.tag = (uint32_t)em_scan_number(&scan, &field);
            break;
        case 3:
            msg.network_id = (uint32_t)em_scan_number(&scan, &field);
            break;
        }
    return !scan.is_bad && !em_child_from_msg(&msg, ret_child);
}

/* Parts that a Port has several of, in the order of their fields. */
struct parts {
    struct em_eid *eids;
    struct em_location *locations;
    const char **nodes;
    struct em_child *children;
};

struct counts {
    size_t n_eids, n_locations, n_nodes, n_children;
};

static bool count_parts(struct em_scan scan, struct counts *ret_counts)
{
    struct counts n = {0};
    struct em_field field;
    while (em_scan_next(&scan, &field)) {
        n.n_eids += field.number == 3;
        n.n_locations += field.number == 4;
        n.n_nodes += field.number == 9;
        n.n_children += field.number == 12;
    }
    *ret_counts = n;
    return !scan.is_bad;
}

/* All in one piece, which is zero: its sizes are multiples of what any part is aligned to. */
static struct em_port *new_port(struct em_arena *arena, const struct counts *n,
                                struct parts *ret_parts)
{
    size_t size = sizeof(struct em_port) + n->n_eids * sizeof(struct em_eid) +
                  n->n_locations * sizeof(struct em_location) + n->n_nodes * sizeof(char *) +
                  n->n_children * sizeof(struct em_child);
    struct em_port *port = em_arena_alloc(arena, size);
    if (!port)
        return NULL;
    memset(port, 0, size);
    ret_parts->eids = (struct em_eid *)(port + 1);
    ret_parts->locations = (struct em_location *)(ret_parts->eids + n->n_eids);
    ret_parts->nodes = (const char **)(ret_parts->locations + n->n_locations);
    ret_parts->children = (struct em_child *)(ret_parts->nodes + n->n_nodes);
    port->eids = ret_parts->eids;
    port->locations = ret_parts->locations;
    port->allowed_nodes = ret_parts->nodes;
    port->children = ret_parts->children;
    return port;
}

_Static_assert(sizeof(struct em_port) % _Alignof(uint64_t) == 0 &&
                   sizeof(struct em_eid) % _Alignof(uint64_t) == 0 &&
                   sizeof(struct em_location) % _Alignof(uint64_t) == 0,
               "each part begins where it may");

static inline void take_id(struct em_scan *scan, const struct em_field *field,
                           struct em_port_id *ret_id)
{
    ProtobufCBinaryData bytes = bytes_of(scan, field);
    scan->is_bad |= em_port_id_from_bytes(&bytes, ret_id) != 0;
}

/* Numbers, and bytes that a Port has one of. */
static void take_plain(struct em_scan *scan, const struct em_field *field, struct em_port *port)
{
    switch (field->number) {
    case 1:
        take_id(scan, field, &port->id);
        break;
    case 2:
        port->network_id = (uint32_t)em_scan_number(scan, field);
        break;
    case 5:
        port->revision = em_scan_number(scan, field);
        break;
    case 6:
        port->is_declared = em_scan_number(scan, field);
        break;
    case 7:
        port->is_multihomed = em_scan_number(scan, field);
        break;
    case 8:
        port->is_shared = em_scan_number(scan, field);
        break;
    case 10:
        port->parent.size = 0;
        if (field->type != EM_WIRE_BYTES || field->size)
            take_id(scan, field, &port->parent);
        break;
    case 11:
        scan->is_bad |= (uint32_t)em_scan_number(scan, field) > EM_TAG_MAX;
        port->tag = (uint16_t)field->value;
        break;
    }
}

struct em_port *em_port_unpack(struct em_arena *arena, const void *data, size_t size)
{
    struct em_scan scan = em_scan(data, size);
    struct em_field field;
    struct counts counts;
    struct parts parts;
    struct em_port *port;
    if (!count_parts(scan, &counts) || !(port = new_port(arena, &counts, &parts)))
        return NULL;
    while (em_scan_next(&scan, &field)) {
        bool is_good = true;
        if (field.number == 3)
            is_good = unpack_eid(&field, &parts.eids[port->n_eids++]);
        else if (field.number == 4)
            is_good = unpack_location(arena, em_scan_inside(&scan, &field),
                                      &parts.locations[port->n_locations++]);
        else if (field.number == 9)
            parts.nodes[port->n_allowed_nodes++] = text_of(arena, &scan, &field);
        else if (field.number == 12)
            is_good =
                unpack_child(em_scan_inside(&scan, &field), &parts.children[port->n_children++]);
        else
            take_plain(&scan, &field, port);
        scan.is_bad |= !is_good;
    }
    return scan.is_bad || !port->id.size ? NULL : port;
}

static bool unpack_resolve(struct em_scan scan, struct em_question *question)
{
    struct em_field field;
    size_t n_eids = 0;
    while (em_scan_next(&scan, &field))
        if (field.number == 1)
            question->network_id = (uint32_t)em_scan_number(&scan, &field);
        else if (field.number != 3 || n_eids++ || !unpack_eid(&field, &question->eid))
            return false;
    return !scan.is_bad && n_eids && question->network_id && question->eid.kind <= EM_EID_IPV6;
}

bool em_question_unpack(const void *data, size_t size, struct em_question *ret_question)
{
    struct em_scan scan = em_scan(data, size);
    struct em_field field;
    bool is_resolve = false;
    ret_question->id = 0;
    ret_question->network_id = 0;
    while (em_scan_next(&scan, &field))
        if (field.number == 1)
            ret_question->id = em_scan_number(&scan, &field);
        else if (field.number != EIDMAP__ENVELOPE__BODY_RESOLVE || is_resolve ||
                 !unpack_resolve(em_scan_inside(&scan, &field), ret_question))
            return false;
        else
            is_resolve = true;
    return !scan.is_bad && is_resolve;
}
