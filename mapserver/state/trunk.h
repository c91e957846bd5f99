/* Trunk ports in the map: what a change of a port brings for its parent and its children.
 *
 * A parent's record lists its children, so it is their index; both sides are kept in step here,
 * in the transaction of the change and therefore in the same entry of the log.  A port with
 * children outlives its locations as a declared one does, and goes with the last child. */
#ifndef MS_TRUNK_H
#define MS_TRUNK_H

#include "state/record.h"

/* The parent that a port has or shall have: of the claim, or else of 'old' (NULL: there is
 * none); *ret_parent NULL: none.  0, EM_E_NOT_FOUND, or the transaction's error. */
int ms_trunk_parent(struct ms_txn *txn, const Eidmap__Port *want, const Eidmap__Port *old,
                    struct em_arena *arena, Eidmap__Port **ret_parent);

/* ms_port_put() and ms_port_delete() with all that follows.  What is deleted has no children. */
void ms_trunk_put(struct ms_txn *txn, const Eidmap__Port *old, Eidmap__Port *port,
                  struct em_arena *arena);
void ms_trunk_delete(struct ms_txn *txn, const Eidmap__Port *port, struct em_arena *arena);

#endif
