/* Questions that have come together, in a run of frames, are answered together: read without
 * protobuf-c, in one transaction, and with all memory on its way before the first is looked for. */
#ifndef MS_BATCH_H
#define MS_BATCH_H

#include <stddef.h>
#include <stdint.h>

struct ms_session;

/* As on_frames of net/conn.h.  Other requests than plain questions (wire/unpack.h) are left. */
unsigned ms_batch_answer(struct ms_session *session, const uint8_t *data, size_t size, unsigned max,
                         size_t *ret_size);

#endif
