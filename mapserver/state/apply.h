/* Commands to changes of the map: the replicated state machine.
 *
 * Deterministic: the same commands on the same map give the same map and the same results
 * on every machine.  No clock, no random number; time is Command.time_ms. */
#ifndef MS_APPLY_H
#define MS_APPLY_H

#include "state/store.h"
#include "wire/msg.h"

#define MS_SCHEMA         1      /* highest Command.schema that is known here */
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
};

/* What one batch did.  Lent until the next batch. */
struct ms_batch {
    const struct ms_result *results; /* one per command */
    uint64_t revision;
    const uint32_t *networks; /* whose feeds have grown, each once, 0 too; in no order */
    size_t n_networks;
};

struct ms_apply;

struct ms_apply_config {
    struct ms_store *store;
    uint32_t max_node_ports; /* the same on every machine; 0: MS_NODE_PORTS_MAX */
};

/* One per store, used by one thread. */
struct ms_apply *ms_apply_new(const struct ms_apply_config *config);
void ms_apply_free(struct ms_apply *apply);

/* Index of the last command that was applied. */
uint64_t ms_apply_index(const struct ms_apply *apply);

/* Applies packed Commands in order, in one durable transaction; the last one's index is
 * stored with it.  0: every command has its result.  When the disk fails or is full, or the
 * map is, nothing of the batch is done and each result says so (EM_E_NO_SPACE,
 * EM_E_STORAGE); the return is 0 still.  EM_E_UNSUPPORTED: a command that this program
 * does not know, EM_E_MALFORMED: no command at all; then nothing was done and the process
 * must stop, since going on would part it from the other replicas.  *ret_why then is a
 * sentence in static storage. */
int ms_apply_batch(struct ms_apply *apply, const struct ms_blob *commands, size_t n,
                   uint64_t last_index, struct ms_batch *ret_batch, const char **ret_why);

/* Would this Register of a node change nothing?  Then it needs no command: *ret_result is
 * the reply, its arrays in the arena.  False: propose it. */
bool ms_apply_is_noop(struct ms_reader *reader, const Eidmap__Origin *origin,
                      const Eidmap__Register *reg, struct em_arena *arena,
                      struct ms_result *ret_result);

#endif
