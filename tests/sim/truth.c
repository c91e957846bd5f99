#include "truth.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void truth_init(struct truth *truth)
{
    *truth = (struct truth){.room = 1024};
    truth->entries = em_calloc(truth->room, sizeof(*truth->entries));
}

void truth_fini(struct truth *truth)
{
    free(truth->entries);
    free(truth->chosen);
    free(truth->leaders);
}

static struct truth_entry *find(struct truth_entry *entries, size_t room, uint64_t index,
                                uint64_t term)
{
    const uint64_t key[] = {index, term};
    size_t at = disk_hash(0, key, sizeof(key)) & (room - 1);
    while (entries[at].index && (entries[at].index != index || entries[at].term != term))
        at = (at + 1) & (room - 1);
    return &entries[at];
}

static void grow(struct truth *truth)
{
    size_t room = truth->room * 2;
    struct truth_entry *entries = em_calloc(room, sizeof(*entries));
    for (size_t i = 0; i < truth->room; i++) {
        const struct truth_entry *old = &truth->entries[i];
        if (old->index)
            *find(entries, room, old->index, old->term) = *old;
    }
    free(truth->entries);
    truth->entries = entries;
    truth->room = room;
}

const char *truth_entry(struct truth *truth, uint64_t index, uint64_t term, uint64_t prev_term,
                        enum raft_entry_type type, const void *data, size_t size)
{
    struct truth_entry *entry = find(truth->entries, truth->room, index, term);
    uint64_t hash = disk_hash(type, data, size);
    if (!prev_term || prev_term > term)
        return "an entry has no predecessor, or one of a later term";
    if (entry->index && entry->hash != hash)
        return "two payloads at one index and term";
    if (entry->index && entry->prev_term != prev_term)
        return "two predecessors at one index and term";
    if (entry->index)
        return NULL;
    *entry = (struct truth_entry){index, term, prev_term, hash};
    if (++truth->n > truth->room / 2)
        grow(truth);
    return NULL;
}

static void *at_least(void *array, size_t *room, uint64_t index, size_t size)
{
    size_t more = *room ? *room * 2 : 1024;
    if (index < *room)
        return array;
    while (index >= more)
        more *= 2;
    array = em_realloc(array, more * size);
    memset((char *)array + *room * size, 0, (more - *room) * size);
    *room = more;
    return array;
}

const char *truth_applied(struct truth *truth, const struct disk_state *state, uint64_t by_term)
{
    const struct truth_chosen now = {state->term, state->hash, state->members_index, by_term};
    truth->chosen = at_least(truth->chosen, &truth->room_chosen, state->index, sizeof(now));
    struct truth_chosen *chosen = &truth->chosen[state->index];
    if (state->index > truth->n_chosen + 1)
        return "something was applied that nobody has seen before";
    if (state->index == truth->n_chosen + 1) {
        *chosen = now;
        truth->n_chosen++;
        return NULL;
    }
    return chosen->term == now.term && chosen->hash == now.hash &&
                   chosen->members_index == now.members_index
               ? NULL
               : "two replicas have applied different things";
}

const char *truth_leader(struct truth *truth, uint64_t id, uint64_t term, const struct disk *disk)
{
    truth->leaders = at_least(truth->leaders, &truth->room_leaders, term, sizeof(*truth->leaders));
    if (truth->leaders[term] && truth->leaders[term] != id)
        return "two leaders in one term";
    truth->n_leaders += !truth->leaders[term];
    truth->leaders[term] = id;
    if (disk->mark.index > truth->n_chosen)
        return "a log begins behind all that is committed";
    for (uint64_t i = disk->mark.index + 1; i <= truth->n_chosen; i++)
        if (truth->chosen[i].by_term < term && disk_term_at(disk, i) != truth->chosen[i].term)
            return "a leader has not all that is committed";
    return NULL;
}

const char *truth_truncated(const struct truth *truth, const struct disk *disk, uint64_t from)
{
    for (uint64_t i = from; i <= disk_last(disk) && i <= truth->n_chosen; i++)
        if (disk_term_at(disk, i) == truth->chosen[i].term)
            return "a committed entry is taken out of a log";
    return NULL;
}
