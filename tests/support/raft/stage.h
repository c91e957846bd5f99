/* A few engines and what is between them, moved by hand: for scripted cases.
 *
 * Replicas have the ids 1 to n.  Nothing happens by itself: letters lie in a queue until
 * stage_run() or the test takes them, and time stands still until somebody's timer is let
 * fire. */
#ifndef TEST_STAGE_H
#define TEST_STAGE_H

#include "raft/disk.h"

#define STAGE_MAX 5

struct stage_letter {
    uint64_t from, to;
    struct raft_message message;
    struct raft_entry *entries; /* owned, a reference to each payload */
};

struct stage_replica {
    struct stage *stage;
    uint64_t id;
    struct disk disk;
    struct disk_state state;
    struct ms_engine *engine;
    bool is_full;        /* the next write fails */
    unsigned n_writes;   /* since the test has set it to 0 */
    unsigned n_early;    /* letters sent before the first of them */
    unsigned n_offers;   /* that it has made */
    uint64_t offered_to; /* the last one */
    uint64_t offered_index, offered_term;
};

struct stage {
    uint64_t now_ms;
    struct ms_engine_config config;
    struct stage_replica replicas[STAGE_MAX + 1]; /* by id */
    bool is_cut[STAGE_MAX + 1][STAGE_MAX + 1];    /* letters from, to are lost */
    bool has_manual_offers;                       /* stage_run() does not bring the state */
    struct stage_letter letters[256];
    size_t n_letters;
};

/* Founders are 1 to n_founders; the others up to STAGE_MAX are empty.  Nobody is started. */
void stage_open(struct stage *stage, unsigned n_founders, unsigned guards_off);
void stage_close(struct stage *stage);

void stage_start(struct stage *stage, uint64_t id);
void stage_start_all(struct stage *stage, unsigned n);
void stage_crash(struct stage *stage, uint64_t id);

struct ms_engine *stage_engine(struct stage *stage, uint64_t id);

/* Lets its timer fire, and ends its turn. */
void stage_tick(struct stage *stage, uint64_t id);
void stage_flush(struct stage *stage, uint64_t id);
/* Delivers the first letter; everything until nothing is left. */
void stage_run_one(struct stage *stage);
void stage_run(struct stage *stage);
/* Lets its timer fire until it leads, and everybody has heard of it; false: it does not. */
bool stage_elect(struct stage *stage, uint64_t id);
/* Returns the index; the letters wait. */
uint64_t stage_propose(struct stage *stage, uint64_t id, const char *text);
/* Brings the state of 'from' as an offer would; true: it was of use. */
bool stage_bring(struct stage *stage, uint64_t from, uint64_t to);
/* Shortens its log as far as the configuration lets it. */
void stage_compact(struct stage *stage, uint64_t id);
/* What ms_engine_change() says: 0 or *ret_err. */
int stage_change(struct stage *stage, uint64_t id, enum ms_engine_change change, uint64_t replica);

/* Gives it this message, whose entries' buffers are payloads, and ends its turn. */
void stage_give(struct stage *stage, uint64_t from, uint64_t to, struct raft_message *message);
/* The last letter of that type from one to the other, or NULL. */
const struct raft_message *stage_find(const struct stage *stage, uint64_t from, uint64_t to,
                                      enum raft_message_type type);
void stage_drop_letters(struct stage *stage);

/* An entry with its own payload, for a message. */
struct raft_entry stage_entry(uint64_t term, enum raft_entry_type type, const void *data,
                              size_t size);

#endif
