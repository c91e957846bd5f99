/* A note is one word: kind, network slot and index.  What a note is about must be found
 * even if its record is gone by then; such things lie beside the ring as keys.
 *
 * The ring is made of parts, so that a burst of a million notes is not copied while it comes
 * in, and gives its memory back while it is worked off. */
#include "queue.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

#define PART_BITS 11
#define PART      (1u << PART_BITS) /* notes */
#define FEW_KEYS  4096u             /* whose memory is kept for the next time */
#define NO_KEY    UINT32_MAX

_Static_assert(PART * sizeof(uint64_t) == XTR_SEGMENT_BYTES, "a part is a segment");

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
        xtr_segment_unmap(*part_of(queue, at));
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
    *part_of(queue, queue->tail) = xtr_segment_map();
}

/* Records have 24 bits, and the number of those behind them the rest. */
#define MORE_SHIFT 24
#define ONE_MORE   (1ull << MORE_SHIFT)

static struct xtr_note note_at(const struct xtr_queue *queue, uint64_t position)
{
    uint64_t cell = *cell_at(queue, position);
    struct xtr_note note = {(enum xtr_note_kind)(cell >> 56), (uint32_t)(cell >> 32) & 0xffffffu,
                            (uint32_t)cell, 0};
    if (note.kind == XTR_NOTE_PORT) {
        note.n_more = (uint8_t)(note.index >> MORE_SHIFT);
        note.index &= ONE_MORE - 1;
    }
    return note;
}

static bool joins_last(const struct xtr_queue *queue, const struct xtr_note *note)
{
    if (note->kind != XTR_NOTE_PORT || queue->head == queue->tail)
        return false;
    struct xtr_note last = note_at(queue, queue->tail - 1);
    return last.kind == XTR_NOTE_PORT && last.network == note->network &&
           last.index + last.n_more + 1 == note->index && last.n_more < UINT8_MAX;
}

void xtr_queue_push(struct xtr_queue *queue, struct xtr_note note)
{
    assert(note.network < 1u << 24 && !note.n_more);
    assert(note.kind != XTR_NOTE_PORT || note.index < ONE_MORE);
    if (joins_last(queue, &note)) {
        *cell_at(queue, queue->tail - 1) += ONE_MORE;
        return;
    }
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
    xtr_queue_push(queue, (struct xtr_note){XTR_NOTE_KEY, network, index, 0});
}

bool xtr_queue_peek(const struct xtr_queue *queue, struct xtr_note *ret_note)
{
    if (queue->head == queue->tail)
        return false;
    *ret_note = note_at(queue, queue->head);
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
    struct xtr_note note = note_at(queue, queue->head);
    if (note.n_more) {
        *cell_at(queue, queue->head) += 1 - ONE_MORE;
        return;
    }
    if (note.kind == XTR_NOTE_KEY)
        drop_key(queue, note.index);
    queue->head++;
    if (!(queue->head & (PART - 1)))
        xtr_segment_unmap(*part_of(queue, queue->head - 1));
    if (queue->head == queue->tail && queue->keys.len > FEW_KEYS) {
        xtr_segments_fini(&queue->keys);
        queue->free_key = NO_KEY;
    }
}
