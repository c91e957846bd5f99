/* Between protobuf-c's messages and the plain records of eidmap/model.h.
 *
 * Everything that a conversion makes lives in the arena that it is given; strings and
 * bytes point into the source.  NULL (or -EINVAL) means: not valid, or no room. */
#ifndef EM_CONVERT_H
#define EM_CONVERT_H

#include "eidmap/model.h"
#include "wire/msg.h"

/* From messages, checking lengths and ranges of what the structs can hold. */
int em_eid_from_msg(const Eidmap__Eid *msg, struct em_eid *ret_eid);
struct em_port *em_port_from_msg(struct em_arena *arena, const Eidmap__Port *msg);
struct em_node *em_node_from_msg(struct em_arena *arena, const Eidmap__Node *msg);
struct em_network *em_network_from_msg(struct em_arena *arena, const Eidmap__Network *msg);
int em_rloc_from_msg(const Eidmap__Rloc *msg, struct em_rloc *ret_rloc);
int em_child_from_msg(const Eidmap__Child *msg, struct em_child *ret_child);
int em_port_id_from_bytes(const ProtobufCBinaryData *bytes, struct em_port_id *ret_id);

/* What a port is before anything is known of it.  It is copied, where there are many, since gcc
 * clears a struct of this size by an instruction that takes as long as to fill it in. */
extern const struct em_port em_no_port;

/* What a location can hold. */
static inline bool em_location_fits(uint32_t priority, uint32_t weight, uint32_t segmentation_id)
{
    return priority <= 255 && weight <= 255 && segmentation_id <= EM_SEGMENT_MAX;
}

/* To messages.  The source must outlive the result. */
Eidmap__Eid *em_eid_to_msg(struct em_arena *arena, const struct em_eid *eid);
Eidmap__Port *em_port_to_msg(struct em_arena *arena, const struct em_port *port);
Eidmap__Node *em_node_to_msg(struct em_arena *arena, const struct em_node *node);
Eidmap__Network *em_network_to_msg(struct em_arena *arena, const struct em_network *network);
Eidmap__Rloc *em_rloc_to_msg(struct em_arena *arena, const struct em_rloc *rloc);

#endif
