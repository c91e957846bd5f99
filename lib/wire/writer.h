/* Writes protobuf by hand where a stored record goes out as it lies in the database:
 * the feed and resolve answers embed its bytes without unpacking them. */
#ifndef EM_WRITER_H
#define EM_WRITER_H

#include "base/buf.h"

#include <stdint.h>

/* Begins a frame in 'out' with Envelope.id; returns its position, for em_frame_end(). */
size_t em_frame_begin(struct em_buf *out, uint64_t id);

/* Ends it.  The frame is taken back and EM_E_LIMIT returned if it is too large. */
int em_frame_end(struct em_buf *out, size_t start);

/* Takes back what was written since em_frame_begin(). */
void em_frame_drop(struct em_buf *out, size_t start);

/* Begins an embedded message in field 'number'; returns its position, for em_nest_end(). */
size_t em_nest_begin(struct em_buf *out, uint32_t number);
void em_nest_end(struct em_buf *out, size_t start);

/* One field each; a zero number and an empty string are left out, as proto3 does. */
void em_put_uint(struct em_buf *out, uint32_t number, uint64_t value);
void em_put_bytes(struct em_buf *out, uint32_t number, const void *data, size_t size);
/* An embedded message 'number' of which these bytes, which must be some, are the only field,
 * 'inner'. */
void em_put_wrapped(struct em_buf *out, uint32_t number, uint32_t inner, const void *data,
                    size_t size);
void em_put_fixed64(struct em_buf *out, uint32_t number, uint64_t value);

#endif
