/* Records straight from packed messages: several times as fast as by way of protobuf-c's objects,
 * for what comes by the million.  What they hold lives in the arena and points into the bytes. */
#ifndef EM_UNPACK_H
#define EM_UNPACK_H

#include "eidmap/model.h"

#include <stdbool.h>

struct em_arena;

/* As em_port_from_msg() of the unpacked message; NULL: not valid, or no room. */
struct em_port *em_port_unpack(struct em_arena *arena, const void *data, size_t size);

/* The Resolve that is asked most often: one MAC or address of a network that is given by its
 * number, and nothing said but that. */
struct em_question {
    uint64_t id; /* of the envelope */
    uint32_t network_id;
    struct em_eid eid;
};

/* False: it is another message, or none at all. */
bool em_question_unpack(const void *data, size_t size, struct em_question *ret_question);

#endif
