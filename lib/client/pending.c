/* A removed request leaves a gap in the array, so that removing costs a search and no move.
 * Gaps are closed when the array would have to grow and they are more than half of it: the
 * array stays within twice the largest number of live requests. */
#include "client/pending.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST 16

struct em_pending_slot {
    int64_t id;
    struct em_pending *request; /* NULL: a gap */
};

void em_pending_init(struct em_pending_table *table)
{
    *table = (struct em_pending_table){.last_id = EM_HELLO_ID};
}

static void request_free(struct em_pending *request)
{
    if (request)
        free(request->cursor.network);
    free(request);
}

void em_pending_fini(struct em_pending_table *table)
{
    for (size_t i = 0; i < table->n_slots; i++)
        request_free(table->slots[i].request);
    free(table->slots);
    *table = (struct em_pending_table){0};
}

int64_t em_pending_next_id(const struct em_pending_table *table)
{
    return table->last_id + 1;
}

/* What a request costs; for one without a frame too, so that these are bounded as well. */
static size_t weight(const struct em_pending *request)
{
    return sizeof(struct em_pending_slot) + sizeof(*request) + request->size;
}

static void close_gaps(struct em_pending_table *table)
{
    size_t n = 0;
    for (size_t i = 0; i < table->n_slots; i++)
        if (table->slots[i].request)
            table->slots[n++] = table->slots[i];
    table->n_slots = n;
    table->n_gaps = 0;
}

static struct em_pending_slot *slot_new(struct em_pending_table *table)
{
    if (table->n_slots == table->n_room && table->n_gaps > table->n_slots / 2)
        close_gaps(table);
    if (table->n_slots == table->n_room) {
        table->n_room = table->n_room ? table->n_room * 2 : SMALLEST;
        table->slots = em_realloc(table->slots, table->n_room * sizeof(table->slots[0]));
    }
    return &table->slots[table->n_slots++];
}

struct em_pending *em_pending_add(struct em_pending_table *table, const struct em_pending *proto,
                                  const uint8_t *frame, size_t size)
{
    if (table->bytes + size + sizeof(*proto) > EM_PENDING_MAX_SIZE)
        return NULL;
    struct em_pending *request = em_malloc(sizeof(*request) + size);
    *request = *proto;
    request->size = size;
    if (size)
        memcpy(request->frame, frame, size);
    request->id = ++table->last_id;
    assert(!table->n_slots || table->slots[table->n_slots - 1].id < request->id);
    table->bytes += weight(request);
    *slot_new(table) = (struct em_pending_slot){request->id, request};
    return request;
}

/* The first slot with an id of at least 'id'. */
static size_t lower_bound(const struct em_pending_table *table, int64_t id)
{
    size_t low = 0, high = table->n_slots;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->slots[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct em_pending *em_pending_find(const struct em_pending_table *table, int64_t id)
{
    size_t i = lower_bound(table, id);
    return i < table->n_slots && table->slots[i].id == id ? table->slots[i].request : NULL;
}

struct em_pending *em_pending_after(const struct em_pending_table *table, int64_t id)
{
    for (size_t i = lower_bound(table, id + 1); i < table->n_slots; i++)
        if (table->slots[i].request)
            return table->slots[i].request;
    return NULL;
}

void em_pending_remove(struct em_pending_table *table, struct em_pending *request)
{
    size_t i = lower_bound(table, request->id);
    assert(i < table->n_slots && table->slots[i].request == request);
    table->bytes -= weight(request);
    table->slots[i].request = NULL;
    table->n_gaps++;
    if (table->n_gaps == table->n_slots)
        close_gaps(table);
    request_free(request);
}

struct em_pending *em_pending_first_unsent(const struct em_pending_table *table)
{
    return em_pending_after(table, table->sent_id);
}

void em_pending_set_sent(struct em_pending_table *table, const struct em_pending *request)
{
    assert(request->id > table->sent_id && request->id <= table->last_id);
    table->sent_id = request->id;
}

bool em_pending_is_sent(const struct em_pending_table *table, const struct em_pending *request)
{
    return request->id <= table->sent_id;
}

void em_pending_rewind(struct em_pending_table *table)
{
    table->sent_id = 0;
}

struct em_pending *em_pending_first_timed(struct em_pending_table *table)
{
    struct em_pending *request;
    while ((request = em_pending_after(table, table->timed_id)) &&
           request->flags & EM_PENDING_UNTIMED)
        table->timed_id = request->id;
    return request;
}
