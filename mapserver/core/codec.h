/* Raft's messages as they travel: Consensus of proto/eidmap.proto. */
#ifndef MS_CODEC_H
#define MS_CODEC_H

#include "core/entry.h"
#include "wire/msg.h"

struct em_buf;

/* Appends a whole frame.  Every field travels, libraft's versions and features too: it tells
 * messages apart by them. */
void ms_codec_append(struct em_buf *out, const struct raft_message *message);

/* The buffers of entries are payloads, a reference each for the caller, and the array is the
 * caller's to free().  EM_E_MALFORMED: no such message; nothing is to be freed. */
int ms_codec_from_msg(const Eidmap__Consensus *msg, struct raft_message *ret_message,
                      struct raft_entry **ret_entries);

#endif
