/* A check in its parts: shared by the files that make it up (check.c draws which). */
#ifndef DP_CHECK_H
#define DP_CHECK_H

#include "kernel.h"

struct dp_check {
    struct dp *dp;
    bool is_repair;
    dp_visit_fn *visit;
    void *aux;
    struct dp_check_result result;
    unsigned phase;
    uint32_t at; /* records of the phase's table that are still to be looked at */
};

void dp_check_tell(struct dp_check *check, uint32_t network_id, const char *table, const char *kind,
                   const char *entry);

/* Keeps the first failure. */
void dp_check_note(struct dp_check *check, int r);

/* How many of the records below 'check->at' go into one batch of lookups, 'each' messages a
 * record; the walk goes backwards, so that records which are removed meanwhile (the last one
 * takes their place) hide none. */
uint32_t dp_check_share(struct dp_check *check, const struct dp_table *table, unsigned each);

/* What a lookup has brought. */
enum dp_found { DP_FOUND_NONE, DP_FOUND_ONE, DP_FOUND_UNKNOWN };
enum dp_found dp_check_found(int err, bool is_shown);

/* Each looks at some records below 'check->at' and moves it down. */

/* check_nexthop.c */
void dp_check_nexthops(struct dp_check *check);
void dp_check_sets(struct dp_check *check);

/* check_entry.c */
void dp_check_macs(struct dp_check *check);
void dp_check_neighs(struct dp_check *check, struct dp_table *table);
void dp_check_tell_fdb(struct dp_check *check, const char *kind, uint32_t network_id,
                       const struct dp_fdb *fdb);
void dp_check_tell_neigh(struct dp_check *check, const char *kind, uint32_t network_id,
                         const struct dp_neigh *neigh);

/* check_extra.c: one dump each, of a table that is small. */
void dp_check_extra_nexthops(struct dp_check *check);
void dp_check_extra_fdb(struct dp_check *check);
void dp_check_extra_neighs(struct dp_check *check, uint8_t family);

#endif
