/* The bodies of commands, one function each; apply.c calls them inside its transaction.
 *
 * A function either changes the map and fills in the result, or refuses: then it has
 * written nothing (a nested transaction sees to that where it takes several steps), and the
 * fault says why.  What breaks the transaction itself shows in txn->err. */
#ifndef MS_COMMAND_H
#define MS_COMMAND_H

#include "base/mem.h"
#include "state/apply.h"
#include "state/fault.h"
#include "state/record.h"

/* The network of the last claim: nearly always the next one's too, also in the next command.  To be
 * reset when a network may have changed. */
struct ms_network_memo {
    struct em_arena arena;
    const Eidmap__Network *network; /* NULL: none */
};

static inline void ms_network_memo_reset(struct ms_network_memo *memo)
{
    memo->network = NULL;
    em_arena_reset(&memo->arena);
}

struct ms_command {
    struct ms_txn *txn;
    const Eidmap__Origin *origin;
    uint64_t time_ms;
    uint32_t max_node_ports;
    struct em_arena *keep;    /* lives as long as the result */
    struct em_arena *scratch; /* reset at each record */
    struct ms_network_memo *memo;
    struct ms_fault fault;
    struct ms_result *result;
};

static inline bool ms_command_is_by(const struct ms_command *c, Eidmap__Role role)
{
    return c->origin->role == role;
}

int ms_register(struct ms_command *c, const Eidmap__Register *body);
int ms_withdraw(struct ms_command *c, const Eidmap__Withdraw *body);
int ms_node_up(struct ms_command *c, const Eidmap__NodeUp *body);
int ms_node_down(struct ms_command *c, const Eidmap__NodeDown *body);
int ms_node_expire(struct ms_command *c, const Eidmap__NodeExpire *body);
int ms_node_change(struct ms_command *c, const Eidmap__PutNode *body);
int ms_node_remove(struct ms_command *c, const Eidmap__RemoveNode *body);
int ms_network_change(struct ms_command *c, const Eidmap__PutNetwork *body);
int ms_network_remove(struct ms_command *c, const Eidmap__RemoveNetwork *body);

/* Withdraws at most 'max' locations of a node, those of children counted, and at least one; counts
 * in the result those of its own ports.  True: more are left. */
bool ms_withdraw_node(struct ms_command *c, const char *node_id, uint32_t max);

/* The part of ms_register() that only looks: true if it would change nothing and refuse
 * nothing; then the result has the epochs. */
bool ms_register_is_noop(struct ms_command *c, const Eidmap__Register *body);

/* Exactly once: has this request, of a node's agent or of an operator's program, been applied
 * already?  It has from ms_session_put() on. */
bool ms_session_has(struct ms_command *c);
void ms_session_put(struct ms_command *c);

/* EM_E_SUPERSEDED: the command is of an agent that has been replaced. */
int ms_session_check(struct ms_command *c);

/* NodeUp: the agent speaks for its node from now on.  EM_E_SUPERSEDED: one that was started
 * later does. */
int ms_session_check_start(struct ms_command *c);
void ms_session_start(struct ms_command *c);

/* Forgets up to 'max' programs of operators whose last write is an hour older than this
 * command.  True: more are left. */
bool ms_session_trim(struct ms_command *c, uint32_t max);

/* proposer.c: how far the commands of some map servers have come, while a transaction lasts. */
#define MS_PROPOSERS 8

struct ms_progress {
    uint64_t replica, incarnation, seq;
    bool is_changed;
};

struct ms_proposers {
    struct ms_progress rows[MS_PROPOSERS];
    size_t n; /* 0 when the transaction begins */
};

/* Is this the next command of its map server?  Notes it if so. */
bool ms_proposer_is_new(struct ms_txn *txn, struct ms_proposers *proposers,
                        const Eidmap__Proposer *proposer);

/* Writes them, and forgets them. */
void ms_proposers_store(struct ms_txn *txn, struct ms_proposers *proposers);

#endif
