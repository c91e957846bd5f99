/* A child's epochs are of its own revisions, since these are what its network's feed counts.  One
 * is always later than the parent's that it follows: so a parent's later one has moved since. */
#include "state/child.h"

#include "base/mem.h"
#include "eidmap/addr.h"
#include "state/record.h"

#include <string.h>

static const char *id_text(const Eidmap__Port *port, char text[EM_PORT_ID_TEXT])
{
    return em_port_id_format(port->id.data, port->id.len, text);
}

int ms_child_locate(const Eidmap__Port *parent, uint32_t segmentation_id, const Eidmap__Port *old,
                    uint64_t revision, struct em_arena *arena, Eidmap__Port *child)
{
    size_t n = parent->n_locations;
    Eidmap__Location **list = em_arena_alloc(arena, n * sizeof(*list));
    Eidmap__Location *locations = em_arena_alloc(arena, n * sizeof(*locations));
    if (!list || !locations)
        return EM_E_LIMIT;
    for (size_t i = 0; i < n; i++) {
        const Eidmap__Location *like = parent->locations[i];
        const Eidmap__Location *had = old ? ms_port_location(old, like->node_id) : NULL;
        locations[i] = *like;
        locations[i].segmentation_id = segmentation_id;
        locations[i].epoch = had && had->epoch > like->epoch ? had->epoch : revision;
        list[i] = &locations[i];
    }
    child->locations = list;
    child->n_locations = n;
    return 0;
}

bool ms_child_is_settled(const Eidmap__Port *a, const Eidmap__Port *b, struct em_arena *arena)
{
    Eidmap__Port places[2] = {EIDMAP__PORT__INIT, EIDMAP__PORT__INIT};
    const Eidmap__Port *ports[] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        places[i].locations = ports[i] ? ports[i]->locations : NULL;
        places[i].n_locations = ports[i] ? ports[i]->n_locations : 0;
    }
    return ms_message_equal(&places[0].base, &places[1].base, arena);
}

size_t ms_child_list(const Eidmap__Port *parent, struct ms_blob id, const Eidmap__Port *port,
                     Eidmap__Child *room, Eidmap__Child **ret_list)
{
    size_t n = 0;
    if (port) {
        eidmap__child__init(room);
        room->id = port->id;
        room->tag = port->tag;
        room->network_id = port->network_id;
    }
    for (size_t i = 0; i < parent->n_children; i++) {
        Eidmap__Child *child = parent->children[i];
        if (ms_blob_equal(ms_blob_of(child->id), id))
            continue;
        if (port && child->tag > port->tag) {
            ret_list[n++] = room;
            port = NULL;
        }
        ret_list[n++] = child;
    }
    if (port)
        ret_list[n++] = room;
    return n;
}

/* What the other records say against it. */
static int check_family(const struct ms_claim *in, const Eidmap__Port *port, struct ms_fault *fault)
{
    const Eidmap__Port *parent = in->parent;
    char text[EM_PORT_ID_TEXT], other[EM_PORT_ID_TEXT];
    if (ms_blob_equal(ms_blob_of(parent->id), ms_blob_of(port->id)))
        return ms_refuse(fault, EM_E_MALFORMED, "port.parent", "a port cannot be its own parent");
    if (parent->parent.len)
        return ms_refuse(fault, EM_E_DENIED, "port.parent",
                         "port %s is a child itself, and has no children", id_text(parent, text));
    if (port->n_children)
        return ms_refuse(fault, EM_E_DENIED, "port.parent",
                         "the port has children, and cannot be one");
    bool is_listed = false;
    for (size_t i = 0; i < parent->n_children; i++) {
        const Eidmap__Child *child = parent->children[i];
        bool is_same = ms_blob_equal(ms_blob_of(child->id), ms_blob_of(port->id));
        is_listed |= is_same;
        if (!is_same && child->tag == port->tag)
            return ms_refuse(fault, EM_E_CONFLICT, "port.tag", "tag %u on port %s is port %s's",
                             port->tag, id_text(parent, text),
                             em_port_id_format(child->id.data, child->id.len, other));
    }
    if (!is_listed && parent->n_children >= MS_PORT_CHILDREN)
        return ms_refuse(fault, EM_E_LIMIT, "port.parent",
                         "a port may have %d children, and port %s has them", MS_PORT_CHILDREN,
                         id_text(parent, text));
    return 0;
}

int ms_child_decide(const struct ms_claim *in, uint64_t revision, struct em_arena *arena,
                    struct ms_fault *fault, Eidmap__Port *port)
{
    const Eidmap__Port *want = in->claim->port;
    char text[EM_PORT_ID_TEXT];
    if (want->n_locations)
        return ms_refuse(fault, EM_E_DENIED, "port.locations",
                         "the port is a child: it is where port %s is, and only that one can be "
                         "moved",
                         id_text(in->parent, text));
    port->parent = in->parent->id;
    if (want->parent.len || want->tag)
        port->tag = want->tag;
    if (port->tag < 1 || port->tag > MS_TAG_MAX)
        return ms_refuse(fault, EM_E_MALFORMED, "port.tag", "a child's tag is 1 .. %d, not %u",
                         MS_TAG_MAX, port->tag);
    int r = check_family(in, port, fault);
    if (!r &&
        ms_child_locate(in->parent, in->network->segmentation_id, in->old, revision, arena, port))
        r = ms_refuse(fault, EM_E_LIMIT, "", "the claim is too large");
    return r;
}
