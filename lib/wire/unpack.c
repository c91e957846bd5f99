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

static bool unpack_location(struct em_arena *arena, struct em_scan scan,
                            struct em_location *location)
{
    uint32_t priority = 0, weight = 0;
    struct em_field field;
    *location = (struct em_location){.node_id = ""};
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

/* A port, and room for the parts that most have: so the message need not be counted first. */
enum { EIDS = 4, LOCATIONS = 1 };
struct roomy_port {
    struct em_port port;
    struct em_eid eids[EIDS];
    struct em_location locations[LOCATIONS];
};

/* What a Port has several of. */
struct parts {
    struct em_eid *eids;
    struct em_location *locations;
    const char **nodes;
    struct em_child *children;
};

/* There are as many as there was room for, one more, and those in the rest: they move to where all
 * have room.  Were it given the scan itself, that could not stay in registers. */
__attribute__((noinline, cold)) static void *move_parts(struct em_arena *arena, const void *parts,
                                                        size_t n, size_t size, uint32_t number,
                                                        const uint8_t *rest, const uint8_t *end)
{
    size_t n_rest = em_scan_count(em_scan(rest, (size_t)(end - rest)), number);
    void *all = em_arena_alloc(arena, (n + 1 + n_rest) * size);
    if (all && n)
        memcpy(all, parts, n * size);
    return all;
}

static inline bool take_eid(struct em_arena *arena, const struct em_scan *scan,
                            const struct em_field *field, struct em_port *port, struct parts *parts)
{
    size_t n = port->n_eids;
    if (n == EIDS)
        parts->eids =
            move_parts(arena, parts->eids, n, sizeof(struct em_eid), 3, scan->at, scan->end);
    if (!parts->eids || !unpack_eid(field, &parts->eids[n]))
        return false;
    port->n_eids = n + 1;
    return true;
}

static inline bool take_location(struct em_arena *arena, const struct em_scan *scan,
                                 const struct em_field *field, struct em_port *port,
                                 struct parts *parts)
{
    size_t n = port->n_locations;
    if (n == LOCATIONS)
        parts->locations = move_parts(arena, parts->locations, n, sizeof(struct em_location), 4,
                                      scan->at, scan->end);
    if (!parts->locations || field->type != EM_WIRE_BYTES ||
        !unpack_location(arena, em_scan(field->data, field->size), &parts->locations[n]))
        return false;
    port->n_locations = n + 1;
    return true;
}

static bool take_node(struct em_arena *arena, struct em_scan *scan, const struct em_field *field,
                      struct em_port *port, struct parts *parts)
{
    size_t n = port->n_allowed_nodes++;
    if (n == 0)
        parts->nodes = move_parts(arena, NULL, n, sizeof(char *), 9, scan->at, scan->end);
    if (!parts->nodes)
        return false;
    parts->nodes[n] = text_of(arena, scan, field);
    return !scan->is_bad;
}

static bool take_child(struct em_arena *arena, const struct em_scan *scan,
                       const struct em_field *field, struct em_port *port, struct parts *parts)
{
    size_t n = port->n_children++;
    if (n == 0)
        parts->children =
            move_parts(arena, NULL, n, sizeof(struct em_child), 12, scan->at, scan->end);
    return parts->children && field->type == EM_WIRE_BYTES &&
           unpack_child(em_scan(field->data, field->size), &parts->children[n]);
}

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
    struct roomy_port *roomy = em_arena_alloc(arena, sizeof(*roomy));
    if (!roomy)
        return NULL;
    struct parts parts = {.eids = roomy->eids, .locations = roomy->locations};
    struct em_port *port = &roomy->port;
    *port = em_no_port;
    while (em_scan_next(&scan, &field)) {
        bool is_good = true;
        switch (field.number) {
        case 3:
            is_good = take_eid(arena, &scan, &field, port, &parts);
            break;
        case 4:
            is_good = take_location(arena, &scan, &field, port, &parts);
            break;
        case 9:
            is_good = take_node(arena, &scan, &field, port, &parts);
            break;
        case 12:
            is_good = take_child(arena, &scan, &field, port, &parts);
            break;
        default: /* those that there is one of */
            take_plain(&scan, &field, port);
        }
        scan.is_bad |= !is_good;
    }
    port->eids = parts.eids;
    port->locations = parts.locations;
    port->allowed_nodes = parts.nodes;
    port->children = parts.children;
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
