/* Commands to changes of the map: the replicated state machine.
 *
 * Deterministic: the same commands on the same map give the same map and the same results
 * on every machine.  No clock, no random number; time is Command.time_ms. */
#ifndef MS_APPLY_H
#define MS_APPLY_H

#include "state/store.h"
#include "wire/msg.h"

#define MS_SCHEMA         3      /* highest Command.schema that is known here */
#define MS_SCHEMA_PLACES  2      /* pending and any-local locations, probes of a network */
#define MS_SCHEMA_TRUNKS  3      /* children of ports */
#define MS_CLAIMS_MAX     4096   /* claims of a Register, references of a Withdraw */
#define MS_NODE_PORTS_MAX 200000 /* locations on one node, by default */

struct em_arena;

/* What the reply to a command needs.  Lent until the next batch. */
struct ms_result {
    int err;                     /* 0 or why nothing of this command was done */
    const char *message;         /* with 'err': a sentence */
    const char *field;           /* with 'err': "claims[3].port.eids[0]", or "" */
    uint32_t record;             /* with 'err': index of the refused claim */
    const Eidmap__Port *current; /* MOVED: the port as it is; CONFLICT: the holder */
    uint64_t revision;           /* of the map after the command */
    const uint64_t *epochs;      /* Register: one per claim, of the claim's location */
    size_t n_epochs;
    const Eidmap__Network *network; /* PutNetwork: as stored */
    const Eidmap__Node *node;       /* PutNode, NodeUp: as stored */
    uint32_t n_withdrawn;           /* Withdraw, NodeExpire: locations or ports that went */
    bool is_more;                   /* NodeExpire, Trim: the limit stopped it */
    bool is_changed;
    /* Who brought the command in; replica 0: nobody said. */
    uint64_t replica, incarnation, seq;
    bool is_repeated; /* it stood in the log before, and was not applied again */
    bool is_given_up; /* its place in the order, and no more */
};

/* What one batch did.  Lent until the next batch. */
struct ms_batch {
    const struct ms_result *results; /* one per command */
    uint64_t revision;
    const uint32_t *networks; /* whose feeds have grown, each once, 0 too; in no order */
    size_t n_networks;
};

struct ms_apply;

/* A point of the log. */
struct ms_point {
    uint64_t index, term;
};

/* One per store, used by one thread. */
struct ms_apply *ms_apply_new(struct ms_store *store);
void ms_apply_free(struct ms_apply *apply);

/* Up to where the log has been applied.  Entries that changed nothing count, though they may
 * not be on the disk: to apply them again changes nothing again. */
struct ms_point ms_apply_point(const struct ms_apply *apply);

/* The map was replaced: ms_store_switch(). */
void ms_apply_restart(struct ms_apply *apply);

/* Applies packed Commands in order, in one transaction; 'last', the point of the log that it
 * reaches, is stored with it.  0: every command has its result.  Else nothing was done and the
 * process must stop, since going on would part it from the other replicas: EM_E_NO_SPACE,
 * EM_E_STORAGE, EM_E_UNSUPPORTED (a command that this program does not know),
 * EM_E_MALFORMED.  *ret_why then is a sentence in static storage. */
int ms_apply_batch(struct ms_apply *apply, const struct ms_blob *commands, size_t n,
                   struct ms_point last, struct ms_batch *ret_batch, const char **ret_why);

/* The entry at 'at' makes these the members of the cluster; as above. */
int ms_apply_members(struct ms_apply *apply, struct ms_blob members, struct ms_point at,
                     const char **ret_why);

/* How far the commands of a map server have come: its last incarnation and the last number of
 * that; zeros if there was none. */
int ms_apply_proposer(struct ms_store *store, uint64_t replica, uint64_t *ret_incarnation,
                      uint64_t *ret_seq);

/* Writes ms_apply_point() into the map, for a sync to come; as above. */
int ms_apply_settle(struct ms_apply *apply, const char **ret_why);

/* Does the command make the map grow?  Such ones are refused when space is short, before they
 * are proposed: what is committed must be applied everywhere. */
bool ms_apply_is_growing(const Eidmap__Command *command);

/* Which Command.schema a server must know to apply this command, its origin set: the least that
 * will do, so that a cluster goes on while its servers are upgraded one by one. */
uint32_t ms_apply_schema(const Eidmap__Command *command);

/* Would this Register of a node change nothing?  Then it needs no command: *ret_result is
 * the reply, its arrays in the arena.  False: propose it. */
bool ms_apply_is_noop(struct ms_reader *reader, const Eidmap__Origin *origin,
                      const Eidmap__Register *reg, struct em_arena *arena,
                      struct ms_result *ret_result);

#endif
