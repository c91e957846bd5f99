/* What a crash leaves of a replica, in memory: its log and its state.
 *
 * A write is one transaction: done or not, never half.  The state is a hash over all that was
 * applied, so that two states are compared in one look. */
#ifndef TEST_DISK_H
#define TEST_DISK_H

#include "core/engine.h"

/* A state after 'index'.  A mark of the log is one without a hash. */
struct disk_state {
    uint64_t index, term;
    uint64_t hash;
    uint64_t members_index;
    struct ms_payload *members; /* a reference; NULL: nothing applied yet */
};

struct disk {
    uint64_t term, voted_for;
    bool has_mark;
    struct disk_state mark;
    uint64_t first; /* index of entries[0] */
    struct ms_entry *entries;
    size_t n, room;
    uint64_t generation;
    struct disk_state state; /* durable, of this generation */
    uint64_t incoming_generation;
    struct disk_state incoming; /* received, of no use before a write names its generation */
};

/* Empty: waits to be added to a cluster. */
void disk_init(struct disk *disk);
void disk_fini(struct disk *disk);

/* As a founder begins: these are the voters. */
void disk_found(struct disk *disk, const uint64_t *voters, unsigned n);

/* NULL, or what is wrong with the write; it is done only if nothing is. */
const char *disk_write(struct disk *disk, const struct ms_log_write *write);

/* NULL if there is no such entry. */
const struct ms_entry *disk_at(const struct disk *disk, uint64_t index);
/* 0: not known. */
uint64_t disk_term_at(const struct disk *disk, uint64_t index);
uint64_t disk_last(const struct disk *disk);

/* An engine that begins with what is here.  'with_payloads': not only those it must have. */
int disk_start(const struct disk *disk, const struct ms_engine_config *config, uint64_t now_ms,
               bool with_payloads, struct ms_engine **ret_engine);

void disk_state_set(struct disk_state *state, const struct disk_state *from);
void disk_state_fini(struct disk_state *state);
void disk_state_apply(struct disk_state *state, uint64_t index, const struct ms_entry *entry);
void disk_state_receive(struct disk *disk, uint64_t generation, const struct disk_state *state);
struct ms_mark disk_mark(const struct disk_state *state);

uint64_t disk_hash(uint64_t seed, const void *data, size_t size);

#endif
