/* What was ever seen of all replicas, and so what must never be contradicted.  Each function
 * returns NULL or the invariant that is broken. */
#ifndef SIM_TRUTH_H
#define SIM_TRUTH_H

#include "raft/disk.h"

/* An entry that somebody has written or sent: Raft's log matching says that there is one
 * payload and one predecessor for each index and term. */
struct truth_entry {
    uint64_t index, term, prev_term, hash;
};

/* The state after an index, as the first who applied it had it. */
struct truth_chosen {
    uint64_t term, hash, members_index;
    uint64_t by_term; /* committed in this term, or in an earlier one */
};

struct truth {
    struct truth_entry *entries; /* a hash table */
    size_t n, room;
    struct truth_chosen *chosen; /* by index */
    size_t room_chosen;
    uint64_t n_chosen;
    uint64_t *leaders; /* by term */
    size_t room_leaders;
    uint64_t n_leaders;
};

void truth_init(struct truth *truth);
void truth_fini(struct truth *truth);

const char *truth_entry(struct truth *truth, uint64_t index, uint64_t term, uint64_t prev_term,
                        enum raft_entry_type type, const void *data, size_t size);

/* 'state' after it has applied its index, in the replica's term. */
const char *truth_applied(struct truth *truth, const struct disk_state *state, uint64_t by_term);

/* It is a leader now: the only one in this term, with all that was committed
 * in earlier ones. */
const char *truth_leader(struct truth *truth, uint64_t id, uint64_t term, const struct disk *disk);

/* Entries from 'from' on go from this log. */
const char *truth_truncated(const struct truth *truth, const struct disk *disk, uint64_t from);

#endif
