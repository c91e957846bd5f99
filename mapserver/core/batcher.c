#include "core/batcher.h"

#include "base/mem.h"
#include "wire/writer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void ms_batcher_clear(struct ms_batcher *batcher)
{
    for (size_t i = 0; i < batcher->n; i++)
        ms_payload_unref(batcher->commands[batcher->head + i]);
    batcher->head = batcher->n = batcher->size = 0;
}

void ms_batcher_fini(struct ms_batcher *batcher)
{
    ms_batcher_clear(batcher);
    free(batcher->commands);
    em_buf_fini(&batcher->out);
}

void ms_batcher_add_take(struct ms_batcher *batcher, struct ms_payload *command_take)
{
    if (batcher->head + batcher->n == batcher->room) {
        if (batcher->head >= batcher->n && batcher->head > 0) {
            memmove(batcher->commands, batcher->commands + batcher->head,
                    batcher->n * sizeof(struct ms_payload *));
        } else {
            batcher->room = batcher->room ? batcher->room * 2 : 256;
            batcher->commands =
                em_realloc(batcher->commands, batcher->room * sizeof(struct ms_payload *));
            memmove(batcher->commands, batcher->commands + batcher->head,
                    batcher->n * sizeof(struct ms_payload *));
        }
        batcher->head = 0;
    }
    batcher->commands[batcher->head + batcher->n++] = command_take;
    batcher->size += command_take->size;
}

struct ms_payload *ms_batcher_next(struct ms_batcher *batcher)
{
    struct em_buf *out = &batcher->out;
    size_t n = 0;
    assert(batcher->n > 0);
    while (n < batcher->n && n < MS_BATCH_LEN) {
        struct ms_payload *command = batcher->commands[batcher->head + n];
        if (n > 0 && em_buf_size(out) + command->size > MS_BATCH_SIZE)
            break;
        em_put_bytes(out, 1, command->data, command->size); /* Batch.commands */
        batcher->size -= command->size;
        ms_payload_unref(command);
        n++;
    }
    batcher->n_last = n;
    batcher->head += n;
    batcher->n -= n;
    if (batcher->n == 0)
        batcher->head = 0;
    struct ms_payload *payload = ms_payload_new(em_buf_head(out), em_buf_size(out));
    em_buf_take(out, em_buf_size(out));
    return payload;
}
