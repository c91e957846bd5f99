/* Frames and messages: the home of protobuf-c.
 *
 * A frame is a 4-byte big-endian length and one Envelope (proto/eidmap.proto).  Messages
 * are unpacked into an arena and live until it is reset.  A string with a NUL inside ends
 * there: protobuf-c hands out C strings. */
#ifndef EM_MSG_H
#define EM_MSG_H

#include "eidmap.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct em_arena;
struct em_buf;
struct em_field;

#define EM_FRAME_HEADER 4
#define EM_FRAME_MAX    (1u << 20) /* bytes of an Envelope */
#define EM_PROTOCOL     1          /* Hello.protocol */

/* Looks at the head of 'data': > 0 is the size of the first whole frame with its header,
 * 0 means that more bytes are needed, EM_E_FRAME that no frame begins like this. */
ssize_t em_frame_size(const uint8_t *data, size_t size);

/* NULL if 'data' is no valid Envelope or does not fit into the arena. */
Eidmap__Envelope *em_msg_unpack(struct em_arena *arena, const uint8_t *data, size_t size);

/* Is it an Envelope with this body?  Then its id, and the packed body, which points into 'data'. */
bool em_msg_find(const uint8_t *data, size_t size, Eidmap__Envelope__BodyCase body,
                 uint64_t *ret_id, struct em_field *ret_field);

/* Any other message type, NULL as above. */
void *em_msg_unpack_as(struct em_arena *arena, const ProtobufCMessageDescriptor *type,
                       const uint8_t *data, size_t size);

/* Appends one frame.  EM_E_LIMIT if it would be larger than EM_FRAME_MAX. */
int em_msg_append(struct em_buf *out, const Eidmap__Envelope *envelope);

/* Packs any message at the end of 'out', without a frame. */
void em_msg_pack(struct em_buf *out, const ProtobufCMessage *message);

/* An Error body in an Envelope, for replies: 'code' is an em_error or -errno. */
void em_msg_error(Eidmap__Envelope *envelope, Eidmap__Error *error, uint64_t id, int code,
                  const char *message);

#endif
