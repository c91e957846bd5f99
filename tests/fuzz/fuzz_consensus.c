/* Bytes of another map server: a bare Envelope with a message of Raft in it.
 *
 * What is taken must be what is sent again: packed and read once more it is the same. */
#include "target.h"

#include "base/buf.h"
#include "base/mem.h"
#include "core/codec.h"

#include <string.h>

static void free_entries(const struct raft_message *message, struct raft_entry *entries)
{
    for (unsigned i = 0; entries && i < message->append_entries.n_entries; i++)
        ms_payload_unref(ms_payload_of(&entries[i].buf));
    free(entries);
}

static bool read_message(struct em_arena *arena, const uint8_t *data, size_t size,
                         struct raft_message *message, struct raft_entry **entries)
{
    em_arena_reset(arena);
    const Eidmap__Envelope *envelope = em_msg_unpack(arena, data, size);
    return envelope && envelope->body_case == EIDMAP__ENVELOPE__BODY_CONSENSUS &&
           ms_codec_from_msg(envelope->consensus, message, entries) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct em_arena arena;
    struct em_buf first, second;
    struct raft_message message, again;
    struct raft_entry *entries, *entries_again;
    em_arena_init(&arena, 0);
    em_buf_init(&first);
    em_buf_init(&second);
    /* A frame has a limit, and entries grow by a few bytes each when they are packed. */
    if (size < EM_FRAME_MAX / 4 && read_message(&arena, data, size, &message, &entries)) {
        ms_codec_append(&first, &message);
        FUZZ_CHECK(read_message(&arena, em_buf_head(&first) + EM_FRAME_HEADER,
                                em_buf_size(&first) - EM_FRAME_HEADER, &again, &entries_again));
        ms_codec_append(&second, &again);
        FUZZ_CHECK(em_buf_size(&first) == em_buf_size(&second) &&
                   memcmp(em_buf_head(&first), em_buf_head(&second), em_buf_size(&first)) == 0);
        free_entries(&message, entries);
        free_entries(&again, entries_again);
    }
    em_buf_fini(&first);
    em_buf_fini(&second);
    em_arena_fini(&arena);
    return 0;
}
