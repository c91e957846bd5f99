/* Group commit: commands that wait on the leader become entries of the log. */
#ifndef MS_BATCHER_H
#define MS_BATCHER_H

#include "base/buf.h"
#include "core/entry.h"

#include <stdbool.h>

#define MS_BATCH_LEN  512         /* commands in one entry */
#define MS_BATCH_SIZE (64u << 10) /* bytes in one entry, but for a single larger command */
#define MS_BATCH_FEW  16          /* commands that no entry waits for */

struct ms_batcher {
    struct ms_payload **commands; /* [head, head + n) */
    size_t head, n, room;
    size_t size;   /* bytes */
    size_t n_last; /* commands of the last entry */
    struct em_buf out;
};

void ms_batcher_fini(struct ms_batcher *batcher);
void ms_batcher_clear(struct ms_batcher *batcher);
void ms_batcher_add_take(struct ms_batcher *batcher, struct ms_payload *command_take);

/* Would another command not fit into the next entry any more? */
static inline bool ms_batcher_is_full(const struct ms_batcher *batcher)
{
    return batcher->n >= MS_BATCH_LEN || batcher->size >= MS_BATCH_SIZE;
}

/* Would the next entry hold fewer commands than the last one, which held many? */
static inline bool ms_batcher_is_small(const struct ms_batcher *batcher)
{
    return batcher->n_last > MS_BATCH_FEW && batcher->n < batcher->n_last &&
           !ms_batcher_is_full(batcher);
}

/* The next entry's payload, a Batch; there must be a command. */
struct ms_payload *ms_batcher_next(struct ms_batcher *batcher);

#endif
