#include "core/tail.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct ms_payload *ms_payload_new(const void *data, size_t size)
{
    struct ms_payload *payload = em_malloc(sizeof(*payload) + size);
    atomic_init(&payload->refs, 1);
    payload->size = size;
    if (data)
        memcpy(payload->data, data, size);
    return payload;
}

struct ms_payload *ms_payload_ref(struct ms_payload *payload)
{
    atomic_fetch_add(&payload->refs, 1);
    return payload;
}

void ms_payload_unref(struct ms_payload *payload)
{
    if (payload && atomic_fetch_sub(&payload->refs, 1) == 1)
        free(payload);
}

void ms_tail_init(struct ms_tail *tail, uint64_t first)
{
    *tail = (struct ms_tail){.first = first, .evicted = first - 1};
}

void ms_tail_fini(struct ms_tail *tail)
{
    ms_tail_reset(tail, 1);
    free(tail->slots);
}

void ms_tail_reset(struct ms_tail *tail, uint64_t first)
{
    ms_tail_truncate(tail, tail->first);
    tail->head = 0;
    tail->first = first;
    tail->evicted = first - 1;
}

struct ms_slot *ms_tail_at(const struct ms_tail *tail, uint64_t index)
{
    if (index < tail->first || index >= ms_tail_next(tail))
        return NULL;
    return &tail->slots[tail->head + (index - tail->first)];
}

static void make_room(struct ms_tail *tail)
{
    if (tail->head + tail->n < tail->room)
        return;
    if (tail->head >= tail->n && tail->head > 0) {
        memmove(tail->slots, tail->slots + tail->head, tail->n * sizeof(*tail->slots));
        tail->head = 0;
        return;
    }
    tail->room = tail->room ? tail->room * 2 : 64;
    tail->slots = em_realloc(tail->slots, tail->room * sizeof(*tail->slots));
}

void ms_tail_append(struct ms_tail *tail, const struct ms_entry *entry)
{
    make_room(tail);
    struct ms_slot *slot = &tail->slots[tail->head + tail->n++];
    *slot = (struct ms_slot){.term = entry->term, .type = entry->type, .size = entry->size};
    if (entry->payload) {
        slot->payload = ms_payload_ref(entry->payload);
        slot->size = (uint32_t)entry->payload->size;
        tail->memory += slot->size;
    }
    tail->size += slot->size;
}

static void drop_payload(struct ms_tail *tail, struct ms_slot *slot)
{
    if (!slot->payload)
        return;
    tail->memory -= slot->size;
    ms_payload_unref(slot->payload);
    slot->payload = NULL;
}

static void drop(struct ms_tail *tail, struct ms_slot *slot)
{
    drop_payload(tail, slot);
    tail->size -= slot->size;
    tail->n--;
}

void ms_tail_truncate(struct ms_tail *tail, uint64_t from)
{
    assert(from >= tail->first);
    while (ms_tail_next(tail) > from)
        drop(tail, ms_tail_at(tail, ms_tail_next(tail) - 1));
    if (tail->evicted >= from)
        tail->evicted = from - 1;
}

void ms_tail_forget(struct ms_tail *tail, uint64_t upto)
{
    while (tail->n > 0 && tail->first <= upto) {
        drop(tail, &tail->slots[tail->head]);
        tail->head++;
        tail->first++;
    }
    if (tail->evicted < tail->first - 1)
        tail->evicted = tail->first - 1;
}

void ms_tail_evict(struct ms_tail *tail, uint64_t upto, size_t max)
{
    while (tail->memory > max && tail->evicted < upto) {
        struct ms_slot *slot = ms_tail_at(tail, tail->evicted + 1);
        if (!slot)
            return;
        if (slot->type != RAFT_CHANGE)
            drop_payload(tail, slot);
        tail->evicted++;
    }
}
