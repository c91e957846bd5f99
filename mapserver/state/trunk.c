/* The order of writes is the same everywhere: the port, the parents whose lists it enters or leaves,
 * then its children by tag.  Each record is written once and has a revision of its own, so a
 * child's epoch is later than that of the location it follows. */
#include "state/trunk.h"

#include "base/mem.h"
#include "state/child.h"

#include <assert.h>

int ms_trunk_parent(struct ms_txn *txn, const Eidmap__Port *want, const Eidmap__Port *old,
                    struct em_arena *arena, Eidmap__Port **ret_parent)
{
    struct ms_blob id = ms_blob_of(want->parent);
    *ret_parent = NULL;
    if (id.size == 0 && old)
        id = ms_blob_of(old->parent);
    return id.size ? ms_port_get(txn, id.data, id.size, arena, ret_parent) : 0;
}

static bool is_kept(const Eidmap__Port *port)
{
    return port->n_locations || port->n_children || port->declared;
}

/* The parent's list, without the child of this id or with it as 'port' is now. */
static void list_child(struct ms_txn *txn, struct ms_blob parent_id, struct ms_blob id,
                       const Eidmap__Port *port, struct em_arena *arena)
{
    Eidmap__Port *old;
    Eidmap__Child room;
    int r = ms_port_get(txn, parent_id.data, parent_id.size, arena, &old);
    if (r) {
        ms_txn_fail(txn, r == EM_E_NOT_FOUND ? EM_E_STORAGE : r);
        return;
    }
    Eidmap__Port parent = *old;
    parent.children = em_arena_alloc(arena, (old->n_children + 1) * sizeof(*parent.children));
    if (!parent.children) {
        ms_txn_fail(txn, EM_E_INTERNAL);
        return;
    }
    parent.n_children = ms_child_list(old, id, port, &room, parent.children);
    if (is_kept(&parent))
        ms_port_put(txn, old, &parent);
    else
        ms_port_delete(txn, old);
}

static void tell_parents(struct ms_txn *txn, const Eidmap__Port *old, const Eidmap__Port *port,
                         struct em_arena *arena)
{
    struct ms_blob was = old ? ms_blob_of(old->parent) : (struct ms_blob){0};
    struct ms_blob is = port ? ms_blob_of(port->parent) : (struct ms_blob){0};
    bool is_same = ms_blob_equal(was, is);
    if (was.size && !is_same)
        list_child(txn, was, ms_blob_of(old->id), NULL, arena);
    if (is.size && (!is_same || old->tag != port->tag || old->network_id != port->network_id))
        list_child(txn, is, ms_blob_of(port->id), port, arena);
}

static int move_child(struct ms_txn *txn, const Eidmap__Port *parent, struct ms_blob id,
                      struct em_arena *arena)
{
    Eidmap__Port *old;
    Eidmap__Network *network;
    int r = ms_port_get(txn, id.data, id.size, arena, &old);
    if (!r)
        r = ms_network_get(txn, old->network_id, arena, &network);
    if (r)
        return r == EM_E_NOT_FOUND ? EM_E_STORAGE : r;
    Eidmap__Port child = *old;
    if (ms_child_locate(parent, network->segmentation_id, old, ms_next_revision(txn), arena,
                        &child))
        return EM_E_INTERNAL;
    ms_port_put(txn, old, &child);
    return txn->err;
}

void ms_trunk_put(struct ms_txn *txn, const Eidmap__Port *old, Eidmap__Port *port,
                  struct em_arena *arena)
{
    ms_port_put(txn, old, port);
    tell_parents(txn, old, port, arena);
    if (!port->n_children || ms_child_is_settled(old, port, arena))
        return;
    for (size_t i = 0; i < port->n_children && !txn->err; i++) {
        int r = move_child(txn, port, ms_blob_of(port->children[i]->id), arena);
        if (r)
            ms_txn_fail(txn, r);
    }
}

void ms_trunk_delete(struct ms_txn *txn, const Eidmap__Port *port, struct em_arena *arena)
{
    assert(!port->n_children);
    ms_port_delete(txn, port);
    tell_parents(txn, port, NULL, arena);
}
