/* A note is one word: kind, network slot and index.  What a note is about must be found
 * even if its record is gone by then; such things lie beside the ring as keys. */
#include "queue.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

#define SMALLEST 64u
#define NO_KEY   UINT32_MAX

void xtr_queue_init(struct xtr_queue *queue)
{
    *queue = (struct xtr_queue){.free_key = NO_KEY};
}

void xtr_queue_fini(struct xtr_queue *queue)
{
    free(queue->cells);
    free(queue->keys);
}

static void resize(struct xtr_queue *queue, uint64_t size)
{
    uint64_t *cells = em_calloc(size, sizeof *cells);
    for (uint64_t i = queue->head; i != queue->tail; i++)
        cells[i & (size - 1)] = queue->cells[i & (queue->size - 1)];
    free(queue->cells);
    queue->cells = cells;
    queue->size = size;
}

void xtr_queue_push(struct xtr_queue *queue, struct xtr_note note)
{
    assert(note.network < 1u << 24);
    if (queue->tail - queue->head == queue->size)
        resize(queue, queue->size ? queue->size * 2 : SMALLEST);
    queue->cells[queue->tail++ & (queue->size - 1)] =
        (uint64_t)note.kind << 56 | (uint64_t)note.network << 32 | note.index;
}

static uint32_t take_key(struct xtr_queue *queue)
{
    uint32_t index = queue->free_key;
    if (index != NO_KEY) {
        queue->free_key = queue->keys[index].next_free;
        return index;
    }
    if (queue->n_keys == queue->keys_size) {
        queue->keys_size = queue->keys_size ? queue->keys_size * 2 : SMALLEST;
        queue->keys = em_realloc(queue->keys, queue->keys_size * sizeof *queue->keys);
    }
    return queue->n_keys++;
}

void xtr_queue_push_key(struct xtr_queue *queue, uint32_t network, const struct xtr_key *key)
{
    uint32_t index = take_key(queue);
    queue->keys[index] = *key;
    xtr_queue_push(queue, (struct xtr_note){XTR_NOTE_KEY, network, index});
}

static struct xtr_note first(const struct xtr_queue *queue)
{
    uint64_t cell = queue->cells[queue->head & (queue->size - 1)];
    return (struct xtr_note){(enum xtr_note_kind)(cell >> 56), (uint32_t)(cell >> 32) & 0xffffffu,
                             (uint32_t)cell};
}

bool xtr_queue_peek(const struct xtr_queue *queue, struct xtr_note *ret_note)
{
    if (queue->head == queue->tail)
        return false;
    *ret_note = first(queue);
    return true;
}

const struct xtr_key *xtr_queue_key(const struct xtr_queue *queue, const struct xtr_note *note)
{
    assert(note->kind == XTR_NOTE_KEY);
    return &queue->keys[note->index];
}

/* A burst is over: its memory goes back. */
static void shrink(struct xtr_queue *queue)
{
    free(queue->cells);
    free(queue->keys);
    queue->cells = NULL;
    queue->keys = NULL;
    queue->size = 0;
    queue->n_keys = queue->keys_size = 0;
    queue->free_key = NO_KEY;
}

void xtr_queue_pop(struct xtr_queue *queue)
{
    assert(queue->head != queue->tail);
    struct xtr_note note = first(queue);
    if (note.kind == XTR_NOTE_KEY) {
        queue->keys[note.index].next_free = queue->free_key;
        queue->free_key = note.index;
    }
    queue->head++;
    if (queue->head == queue->tail && queue->size > 4096)
        shrink(queue);
}
