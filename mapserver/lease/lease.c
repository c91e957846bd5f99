/* A binary heap by due time, and a hash index from node-id to its place. */
#include "lease/lease.h"

#include "base/hash.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct node {
    char *id;
    uint64_t due_ms;
    uint32_t at; /* in the heap */
    bool is_down;
};

struct ms_lease {
    uint64_t lease_ms, hold_ms;
    struct node *nodes; /* slots of the index, without gaps */
    uint32_t *heap;     /* of slots; the first is due first */
    uint32_t n, room;
    struct em_index index;
};

struct ms_lease *ms_lease_new(uint64_t lease_ms, uint64_t hold_ms)
{
    struct ms_lease *lease = em_calloc(1, sizeof(*lease));
    ms_lease_set(lease, lease_ms, hold_ms);
    em_index_init(&lease->index);
    return lease;
}

void ms_lease_free(struct ms_lease *lease)
{
    if (!lease)
        return;
    for (uint32_t i = 0; i < lease->n; i++)
        free(lease->nodes[i].id);
    em_index_fini(&lease->index);
    free(lease->nodes);
    free(lease->heap);
    free(lease);
}

void ms_lease_set(struct ms_lease *lease, uint64_t lease_ms, uint64_t hold_ms)
{
    lease->lease_ms = lease_ms;
    lease->hold_ms = hold_ms;
}

static uint64_t due_at(const struct ms_lease *lease, uint32_t at)
{
    return lease->nodes[lease->heap[at]].due_ms;
}

static void put_at(struct ms_lease *lease, uint32_t at, uint32_t slot)
{
    lease->heap[at] = slot;
    lease->nodes[slot].at = at;
}

/* Two entries of the heap change places; each node knows its own. */
static void swap(struct ms_lease *lease, uint32_t a, uint32_t b)
{
    uint32_t slot = lease->heap[a];
    put_at(lease, a, lease->heap[b]);
    put_at(lease, b, slot);
}

/* Restores the order after the due time at one place has changed. */
static void settle(struct ms_lease *lease, uint32_t at)
{
    while (at > 0 && due_at(lease, at) < due_at(lease, (at - 1) / 2)) {
        swap(lease, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child + 1 < lease->n && due_at(lease, child + 1) < due_at(lease, child))
            child++;
        if (child >= lease->n || due_at(lease, at) <= due_at(lease, child))
            return;
        swap(lease, at, child);
        at = child;
    }
}

static bool has_id(const void *aux, uint32_t slot, const void *key)
{
    const struct ms_lease *lease = aux;
    return strcmp(lease->nodes[slot].id, key) == 0;
}

static uint32_t find(const struct ms_lease *lease, const char *node_id)
{
    return em_index_find(&lease->index, em_hash(node_id, strlen(node_id)), has_id, lease, node_id);
}

static uint32_t add(struct ms_lease *lease, const char *node_id)
{
    if (lease->n == lease->room) {
        lease->room = lease->room ? lease->room * 2 : 16;
        lease->nodes = em_realloc(lease->nodes, lease->room * sizeof(*lease->nodes));
        lease->heap = em_realloc(lease->heap, lease->room * sizeof(*lease->heap));
    }
    uint32_t slot = lease->n++;
    lease->nodes[slot] = (struct node){.id = em_strdup(node_id), .due_ms = UINT64_MAX};
    put_at(lease, slot, slot);
    em_index_insert(&lease->index, em_hash(node_id, strlen(node_id)), slot);
    return slot;
}

static void set(struct ms_lease *lease, const char *node_id, bool is_down, uint64_t due_ms)
{
    uint32_t slot = find(lease, node_id);
    if (slot == EM_INDEX_NONE)
        slot = add(lease, node_id);
    lease->nodes[slot].is_down = is_down;
    lease->nodes[slot].due_ms = due_ms;
    settle(lease, lease->nodes[slot].at);
}

void ms_lease_renew(struct ms_lease *lease, const char *node_id, uint64_t now_ms)
{
    set(lease, node_id, false, now_ms + lease->lease_ms);
}

void ms_lease_hold(struct ms_lease *lease, const char *node_id, uint64_t since_ms, uint64_t now_ms)
{
    uint64_t left = since_ms < lease->hold_ms ? lease->hold_ms - since_ms : 0;
    set(lease, node_id, true, now_ms + left);
}

/* Neither array keeps a gap: the last heap entry and the last slot move. */
void ms_lease_forget(struct ms_lease *lease, const char *node_id)
{
    uint32_t slot = find(lease, node_id);
    if (slot == EM_INDEX_NONE)
        return;
    uint32_t last = lease->n - 1, at = lease->nodes[slot].at;
    put_at(lease, at, lease->heap[last]);
    em_index_remove(&lease->index, em_hash(node_id, strlen(node_id)), slot);
    free(lease->nodes[slot].id);
    lease->n--;
    if (slot != last) {
        const char *moved = lease->nodes[last].id;
        em_index_move(&lease->index, em_hash(moved, strlen(moved)), last, slot);
        lease->nodes[slot] = lease->nodes[last];
        lease->heap[lease->nodes[slot].at] = slot;
    }
    if (at < lease->n)
        settle(lease, at);
}

bool ms_lease_is_down(const struct ms_lease *lease, const char *node_id)
{
    uint32_t slot = find(lease, node_id);
    return slot != EM_INDEX_NONE && lease->nodes[slot].is_down;
}

size_t ms_lease_tick(struct ms_lease *lease, uint64_t now_ms, size_t max, ms_lease_fn *say,
                     void *aux)
{
    size_t n = 0;
    while (n < max && lease->n > 0 && due_at(lease, 0) <= now_ms) {
        struct node *node = &lease->nodes[lease->heap[0]];
        enum ms_lease_verdict verdict = node->is_down ? MS_LEASE_EXPIRE : MS_LEASE_DOWN;
        uint64_t wait = node->is_down ? lease->lease_ms : lease->hold_ms;
        node->is_down = true;
        node->due_ms = now_ms + (wait ? wait : 1);
        settle(lease, 0);
        say(aux, node->id, verdict);
        n++;
    }
    return n;
}

uint64_t ms_lease_next(const struct ms_lease *lease)
{
    return lease->n > 0 ? due_at(lease, 0) : UINT64_MAX;
}
