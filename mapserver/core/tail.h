/* The log as it lies in memory: terms and sizes of all entries, payloads of the newer ones. */
#ifndef MS_TAIL_H
#define MS_TAIL_H

#include "core/entry.h"

struct ms_slot {
    uint64_t term;
    struct ms_payload *payload; /* NULL: on the disk only */
    uint32_t size;              /* of the payload */
    enum raft_entry_type type;
};

struct ms_tail {
    struct ms_slot *slots;
    size_t head, n, room; /* slots[head .. head + n) */
    uint64_t first;       /* index of the first one, also when there is none */
    uint64_t evicted;     /* payloads up to here are on the disk only */
    size_t size;          /* bytes of all payloads */
    size_t memory;        /* bytes of those in memory */
};

void ms_tail_init(struct ms_tail *tail, uint64_t first);
void ms_tail_fini(struct ms_tail *tail);

/* Empties it; the next entry is 'first'. */
void ms_tail_reset(struct ms_tail *tail, uint64_t first);

static inline uint64_t ms_tail_next(const struct ms_tail *tail)
{
    return tail->first + tail->n;
}

/* NULL if there is no such entry. */
struct ms_slot *ms_tail_at(const struct ms_tail *tail, uint64_t index);

/* Takes a reference; a payload of NULL is allowed. */
void ms_tail_append(struct ms_tail *tail, const struct ms_entry *entry);
void ms_tail_truncate(struct ms_tail *tail, uint64_t from);
void ms_tail_forget(struct ms_tail *tail, uint64_t upto);

/* Drops payloads up to 'upto' until no more than 'max' bytes are in memory. */
void ms_tail_evict(struct ms_tail *tail, uint64_t upto, size_t max);

#endif
