/* A port behind another one: it is where its parent is.  Pure: no database, no I/O. */
#ifndef MS_CHILD_H
#define MS_CHILD_H

#include "state/claim.h"
#include "state/store.h"

#define MS_PORT_CHILDREN 512 /* all are written when their parent moves */
#define MS_TAG_MAX       4094

/* May the claim make (or leave) its port a child of in->parent, as it is drafted in 'port'?
 * Sets parent, tag and locations there.  'revision': that the port gets.  0 or a fault. */
int ms_child_decide(const struct ms_claim *in, uint64_t revision, struct em_arena *arena,
                    struct ms_fault *fault, Eidmap__Port *port);

/* The locations of 'parent' become those of 'child', which so far were those of 'old' (NULL: it
 * is new).  One that its parent has kept since keeps its epoch.  0, or EM_E_LIMIT: the arena is
 * out of room. */
int ms_child_locate(const Eidmap__Port *parent, uint32_t segmentation_id, const Eidmap__Port *old,
                    uint64_t revision, struct em_arena *arena, Eidmap__Port *child);

/* Are the two ports in the same places, down to weights and views?  NULL: nowhere. */
bool ms_child_is_settled(const Eidmap__Port *a, const Eidmap__Port *b, struct em_arena *arena);

/* 'ret_list', with room for one more than the parent has: its children without the one of this
 * id, or with that one as 'port' says now, by tag.  Returns how many; 'room' is the entry of
 * 'port'. */
size_t ms_child_list(const Eidmap__Port *parent, struct ms_blob id, const Eidmap__Port *port,
                     Eidmap__Child *room, Eidmap__Child **ret_list);

#endif
