/* Records from packed messages without protobuf-c in between, which makes an object of each part.
 * What a value may be is said once, in convert.c: parts that are small are filled in here and
 * judged there. */
#include "wire/unpack.h"

#include "base/mem.h"
#include "wire/convert.h"
#include "wire/scan.h"

#include <string.h>

static ProtobufCBinaryData bytes_of(struct em_scan *scan, const struct em_field *field)
{
    struct em_scan inside = em_scan_inside(scan, field);
    return (ProtobufCBinaryData){(size_t)(inside.end - inside.at), (uint8_t *)inside.at};
}

/* A copy that ends with a NUL; one that has a NUL inside ends there. */
static char *text_of(struct em_arena *arena, struct em_scan *scan, const struct em_field *field)
{
    ProtobufCBinaryData bytes = bytes_of(scan, field);
    char *text = em_arena_alloc(arena, bytes.len + 1);
    if (!text) {
        scan->is_bad = true;
        return (char *)"";
    }
    if (bytes.len)
        memcpy(text, bytes.data, bytes.len);
    text[bytes.len] = '\0';
    return text;
}

static bool unpack_eid(struct em_scan scan, struct em_eid *ret_eid)
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

static bool unpack_label(struct em_arena *arena, struct em_scan scan, Eidmap__Label *label)
{
    struct em_field field;
    while (em_scan_next(&scan, &field))
        if (field.number == 1)
            label->key = text_of(arena, &scan, &field);
        else if (field.number == 2)
            label->value = text_of(arena, &scan, &field);
    return !scan.is_bad;
}

static bool unpack_view(struct em_arena *arena, struct em_scan scan, Eidmap__View *view,
                        Eidmap__Label *label)
{
    struct em_field field;
    while (em_scan_next(&scan, &field))
        if (field.number == 1) {
            view->node_id = text_of(arena, &scan, &field);
        } else if (field.number == 2) {
            view->label = label;
            scan.is_bad |= !unpack_label(arena, em_scan_inside(&scan, &field), label);
        }
    return !scan.is_bad;
}

static bool unpack_location(struct em_arena *arena, struct em_scan scan,
                            struct em_location *ret_location)
{
    Eidmap__Location msg = EIDMAP__LOCATION__INIT;
    Eidmap__View view = EIDMAP__VIEW__INIT;
    Eidmap__Label label = EIDMAP__LABEL__INIT;
    struct em_field field;
    while (em_scan_next(&scan, &field))
        switch (field.number) {
        case 1:
            msg.node_id = text_of(arena, &scan, &field);
            break;
        case 2:
            msg.segmentation_id = (uint32_t)em_scan_number(&scan, &field);
            break;
        case 3:
            msg.priority = (uint32_t)em_scan_number(&scan, &field);
            break;
        case 4:
            msg.weight = (uint32_t)em_scan_number(&scan, &field);
            break;
        case 5:
            msg.view = &view;
            scan.is_bad |= !unpack_view(arena, em_scan_inside(&scan, &field), &view, &label);
            break;
        case 6:
            msg.state = (Eidmap__LocationState)em_scan_number(&scan, &field);
            break;
        case 7:
            msg.epoch = em_scan_number(&scan, &field);
            break;
        case 8:
            msg.until_ms = em_scan_number(&scan, &field);
            break;
        }
    return !scan.is_bad && !em_location_from_msg(&msg, ret_location);
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

/* Room for the parts that a Port has several of, in the order of their fields. */
struct parts {
    struct em_eid *eids;
    struct em_location *locations;
    const char **nodes;
    struct em_child *children;
};

static bool make_room(struct em_arena *arena, struct em_scan scan, struct parts *ret_parts)
{
    size_t n[13] = {0};
    struct em_field field;
    while (em_scan_next(&scan, &field))
        if (field.number < sizeof n / sizeof *n)
            n[field.number]++;
    *ret_parts = (struct parts){
        em_arena_alloc(arena, n[3] * sizeof(struct em_eid)),
        em_arena_alloc(arena, n[4] * sizeof(struct em_location)),
        em_arena_alloc(arena, n[9] * sizeof(char *)),
        em_arena_alloc(arena, n[12] * sizeof(struct em_child)),
    };
    return !scan.is_bad && ret_parts->eids && ret_parts->locations && ret_parts->nodes &&
           ret_parts->children;
}

static void take_id(struct em_scan *scan, const struct em_field *field, struct em_port_id *ret_id)
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
    struct em_port *port = em_arena_alloc(arena, sizeof *port);
    struct em_scan scan = em_scan(data, size);
    struct em_field field;
    struct parts parts;
    if (!port || !make_room(arena, scan, &parts))
        return NULL;
    *port = (struct em_port){.eids = parts.eids,
                             .locations = parts.locations,
                             .allowed_nodes = parts.nodes,
                             .children = parts.children};
    while (em_scan_next(&scan, &field)) {
        bool is_good = true;
        if (field.number == 3)
            is_good = unpack_eid(em_scan_inside(&scan, &field), &parts.eids[port->n_eids++]);
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
        else if (field.number != 3 || n_eids++ ||
                 !unpack_eid(em_scan_inside(&scan, &field), &question->eid))
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
        else if (field.number != EIDMAP__ENVELOPE__BODY_RESOLVE || is_resolve)
            return false;
        else
            is_resolve = unpack_resolve(em_scan_inside(&scan, &field), ret_question);
    return !scan.is_bad && is_resolve;
}
