/* A note is one word: kind, network slot and index.  What a note is about must be found
 * even if its record is gone by then; such things lie beside the ring as keys.
 *
 * The ring is made of parts, so that a burst of a million notes is not copied while it comes
 * in, and gives its memory back while it is worked off. */
#include "queue.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

#define PART_BITS 10
#define PART      (1u << PART_BITS) /* notes */
#define FEW_KEYS  64u               /* that are kept for the next time */
#define NO_KEY    UINT32_MAX

void xtr_queue_init(struct xtr_queue *queue)
{
    *queue = (struct xtr_queue){.free_key = NO_KEY};
    xtr_segments_init(&queue->keys, sizeof(struct xtr_key));
}

static uint64_t **part_of(const struct xtr_queue *queue, uint64_t position)
{
    return &queue->parts[position >> PART_BITS & (queue->n_parts - 1)];
}

static uint64_t *cell_at(const struct xtr_queue *queue, uint64_t position)
{
    return *part_of(queue, position) + (position & (PART - 1));
}

void xtr_queue_fini(struct xtr_queue *queue)
{
    for (uint64_t at = queue->head & ~(uint64_t)(PART - 1); at < queue->tail; at += PART)
        free(*part_of(queue, at));
    free(queue->parts);
    xtr_segments_fini(&queue->keys);
}

static void grow_ring(struct xtr_queue *queue)
{
    struct xtr_queue old = *queue;
    queue->n_parts = old.n_parts ? old.n_parts * 2 : 1;
    queue->parts = em_calloc(queue->n_parts, sizeof *queue->parts);
    for (uint64_t at = old.head & ~(uint64_t)(PART - 1); at < old.tail; at += PART)
        *part_of(queue, at) = *part_of(&old, at);
    free(old.parts);
}

static void add_part(struct xtr_queue *queue)
{
    if ((queue->tail >> PART_BITS) - (queue->head >> PART_BITS) == queue->n_parts)
        grow_ring(queue);
    *part_of(queue, queue->tail) = em_malloc(PART * sizeof **queue->parts);
}

void xtr_queue_push(struct xtr_queue *queue, struct xtr_note note)
{
    assert(note.network < 1u << 24);
    if (!(queue->tail & (PART - 1)))
        add_part(queue);
    *cell_at(queue, queue->tail++) =
        (uint64_t)note.kind << 56 | (uint64_t)note.network << 32 | note.index;
}

static struct xtr_key *key_at(const struct xtr_queue *queue, uint32_t index)
{
    return xtr_segments_at(&queue->keys, index);
}

static uint32_t take_key(struct xtr_queue *queue)
{
    uint32_t index = queue->free_key;
    if (index != NO_KEY) {
        queue->free_key = key_at(queue, index)->next_free;
        return index;
    }
    xtr_segments_push(&queue->keys);
    return queue->keys.len - 1;
}

void xtr_queue_push_key(struct xtr_queue *queue, uint32_t network, const struct xtr_key *key)
{
    uint32_t index = take_key(queue);
    *key_at(queue, index) = *key;
    xtr_queue_push(queue, (struct xtr_note){XTR_NOTE_KEY, network, index});
}

static struct xtr_note first(const struct xtr_queue *queue)
{
    uint64_t cell = *cell_at(queue, queue->head);
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
    return key_at(queue, note->index);
}

static void drop_key(struct xtr_queue *queue, uint32_t index)
{
    key_at(queue, index)->next_free = queue->free_key;
    queue->free_key = index;
}

void xtr_queue_pop(struct xtr_queue *queue)
{
    assert(queue->head != queue->tail);
    struct xtr_note note = first(queue);
    if (note.kind == XTR_NOTE_KEY)
        drop_key(queue, note.index);
    queue->head++;
    if (!(queue->head & (PART - 1)))
        free(*part_of(queue, queue->head - 1));
    if (queue->head == queue->tail && queue->keys.len > FEW_KEYS) {
        xtr_segments_fini(&queue->keys);
        queue->free_key = NO_KEY;
    }
}
