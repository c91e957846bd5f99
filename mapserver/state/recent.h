/* Where hosts and MACs were found lately: what is asked for again costs one look into memory in
 * place of two into the map.
 *
 * Each reader has its own, without locks.  What they share is at which revision an EID's port
 * changed last, one number for each hash of a key: a collision, or what is left of a map that
 * was replaced, costs a needless look into the map, and nobody is ever given what is older than the
 * state that his reader sees. */
#ifndef MS_RECENT_H
#define MS_RECENT_H

#include "state/key.h"

#include <stdatomic.h>

#define MS_CHANGED 65536 /* a power of two */

struct ms_changed {
    _Atomic uint64_t revisions[MS_CHANGED];
};

/* The writer, before it commits: the port that has this EID is another one as of 'revision'. */
void ms_changed_note(struct ms_changed *changed, const struct ms_key *key, uint64_t revision);

/* Up to 131,072 EIDs of 128 bytes each; what came first goes first. */
struct ms_recent;

struct ms_recent *ms_recent_new(void);
void ms_recent_free(struct ms_recent *recent);

/* Of a key of MS_DB_EID, for the calls below. */
uint64_t ms_recent_hash(const struct ms_key *key);

/* The key will be looked for soon: the memory for it is fetched meanwhile, in two steps, since
 * where the second part is stands in the first. */
void ms_recent_fetch(const struct ms_recent *recent, const struct ms_changed *changed,
                     uint64_t hash);
void ms_recent_fetch_more(const struct ms_recent *recent, uint64_t hash);

/* The state that is seen: the environment's generation and revision. */
struct ms_seen {
    const struct ms_changed *changed;
    uint64_t generation, revision;
};

/* True: as packed Port, lent until the next call.  It is the one of the map. */
bool ms_recent_find(const struct ms_recent *recent, const struct ms_seen *seen,
                    const struct ms_key *key, uint64_t hash, struct ms_blob *ret_port);

/* What the map has; large ports are passed over. */
void ms_recent_put(struct ms_recent *recent, const struct ms_seen *seen, const struct ms_key *key,
                   uint64_t hash, struct ms_blob port);

#endif
