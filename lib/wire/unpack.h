/* Records straight from packed messages: several times as fast as by way of protobuf-c's objects,
 * for what comes by the million.  What they hold lives in the arena and points into the bytes. */
#ifndef EM_UNPACK_H
#define EM_UNPACK_H

#include "eidmap/model.h"

struct em_arena;

/* As em_port_from_msg() of the unpacked message; NULL: not valid, or no room. */
struct em_port *em_port_unpack(struct em_arena *arena, const void *data, size_t size);

#endif
