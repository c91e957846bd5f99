/* A batch is one write transaction.  A command that is refused leaves no trace in it but its
 * place in its proposer's order; a failure of the storage ends the whole batch.  A batch that
 * changes nothing is not written at all, its index neither: applying it again would change
 * nothing again. */
#include "state/apply.h"

#include "base/mem.h"
#include "eidmap/addr.h"
#include "state/command.h"
#include "state/feed.h"
#include "state/identity.h"
#include "state/key.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_LIMIT                                                                                 \
    (256u << 20) /* results of a batch: 2,559 refusals, the most, show as many ports */
#define COMMAND_LIMIT (80u << 20) /* twice and a half what a connection unpacks a frame into */

struct ms_apply {
    struct ms_store *store;
    struct ms_point point;
    struct em_arena keep, command, scratch;
    struct ms_touched touched;
    struct ms_proposers proposers;
    struct ms_network_memo memo;
};

void ms_apply_restart(struct ms_apply *apply)
{
    struct ms_identity identity;
    if (ms_identity_get(apply->store, &identity))
        return;
    apply->point = (struct ms_point){identity.applied, identity.applied_term};
    ms_identity_fini(&identity);
}

struct ms_apply *ms_apply_new(struct ms_store *store)
{
    struct ms_apply *apply = em_calloc(1, sizeof(*apply));
    apply->store = store;
    ms_apply_restart(apply);
    em_arena_init(&apply->keep, KEEP_LIMIT);
    em_arena_init(&apply->command, COMMAND_LIMIT);
    em_arena_init(&apply->scratch, 0);
    em_arena_init(&apply->memo.arena, 0);
    return apply;
}

void ms_apply_free(struct ms_apply *apply)
{
    if (!apply)
        return;
    em_arena_fini(&apply->keep);
    em_arena_fini(&apply->command);
    em_arena_fini(&apply->scratch);
    em_arena_fini(&apply->memo.arena);
    free(apply->touched.ids);
    free(apply);
}

struct ms_point ms_apply_point(const struct ms_apply *apply)
{
    return apply->point;
}

/* ------------------------------------------------------------------- one command */

static const Eidmap__Command *unpack(struct ms_apply *apply, struct ms_blob bytes, int *ret_err,
                                     const char **ret_why)
{
    em_arena_reset(&apply->command);
    const Eidmap__Command *command =
        em_msg_unpack_as(&apply->command, &eidmap__command__descriptor, bytes.data, bytes.size);
    if (!command) {
        *ret_err = EM_E_MALFORMED;
        *ret_why = "a committed entry is no command: the log is damaged, restore this server";
        return NULL;
    }
    if (command->schema > MS_SCHEMA) {
        *ret_err = EM_E_UNSUPPORTED;
        *ret_why = "a committed command is of a newer eidmap: install that version here";
        return NULL;
    }
    return command;
}

/* Commands that only take away may go on when space is short, and so may NodeUp: without a
 * session an agent could not even read, and there are no more nodes than certificates. */
bool ms_apply_is_growing(const Eidmap__Command *command)
{
    switch (command->body_case) {
    case EIDMAP__COMMAND__BODY_REGISTER:
    case EIDMAP__COMMAND__BODY_PUT_NETWORK:
    case EIDMAP__COMMAND__BODY_PUT_NODE:
        return true;
    case EIDMAP__COMMAND__BODY_NODE_UP:
    case EIDMAP__COMMAND__BODY_WITHDRAW:
    case EIDMAP__COMMAND__BODY_NODE_DOWN:
    case EIDMAP__COMMAND__BODY_NODE_EXPIRE:
    case EIDMAP__COMMAND__BODY_TRIM:
    case EIDMAP__COMMAND__BODY_REMOVE_NETWORK:
    case EIDMAP__COMMAND__BODY_REMOVE_NODE:
    case EIDMAP__COMMAND__BODY__NOT_SET:
    case _EIDMAP__COMMAND__BODY__CASE_IS_INT_SIZE:
        break;
    }
    return false;
}

static uint32_t greater(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* A location without a node is a node's own when the node claims it, else any-local. */
static uint32_t schema_of_claim(const Eidmap__Claim *claim, bool is_node)
{
    if (claim->port && (claim->port->parent.len || claim->port->tag))
        return MS_SCHEMA_TRUNKS;
    if (claim->migration)
        return MS_SCHEMA_PLACES;
    for (size_t i = 0; claim->port && i < claim->port->n_locations; i++) {
        const Eidmap__Location *location = claim->port->locations[i];
        if (location->state == EIDMAP__LOCATION_STATE__LOCATION_PENDING ||
            (!is_node && !location->node_id[0]))
            return MS_SCHEMA_PLACES;
    }
    return 1;
}

uint32_t ms_apply_schema(const Eidmap__Command *command)
{
    bool is_node = command->origin->role == EIDMAP__ROLE__ROLE_NODE, is_new = false;
    uint32_t schema = 1;
    if (command->body_case == EIDMAP__COMMAND__BODY_REGISTER)
        for (size_t i = 0; i < command->register_->n_claims; i++)
            schema = greater(schema, schema_of_claim(command->register_->claims[i], is_node));
    if (command->body_case == EIDMAP__COMMAND__BODY_WITHDRAW)
        is_new = command->origin->role == EIDMAP__ROLE__ROLE_SERVER;
    if (command->body_case == EIDMAP__COMMAND__BODY_PUT_NETWORK)
        is_new = command->put_network->network && command->put_network->network->probe_ms;
    return is_new ? MS_SCHEMA_PLACES : schema;
}

#define BY(role) (1u << EIDMAP__ROLE__ROLE_##role)

static unsigned roles_for(const Eidmap__Command *command)
{
    switch (command->body_case) {
    case EIDMAP__COMMAND__BODY_REGISTER:
        return BY(NODE) | BY(OPERATOR);
    case EIDMAP__COMMAND__BODY_WITHDRAW:
        return BY(NODE) | BY(OPERATOR) | BY(SERVER);
    case EIDMAP__COMMAND__BODY_NODE_UP:
        return BY(NODE);
    case EIDMAP__COMMAND__BODY_NODE_DOWN:
    case EIDMAP__COMMAND__BODY_NODE_EXPIRE:
    case EIDMAP__COMMAND__BODY_TRIM:
        return BY(SERVER) | BY(OPERATOR);
    case EIDMAP__COMMAND__BODY_PUT_NETWORK:
    case EIDMAP__COMMAND__BODY_REMOVE_NETWORK:
    case EIDMAP__COMMAND__BODY_PUT_NODE:
    case EIDMAP__COMMAND__BODY_REMOVE_NODE:
        return BY(OPERATOR);
    case EIDMAP__COMMAND__BODY__NOT_SET:
    case _EIDMAP__COMMAND__BODY__CASE_IS_INT_SIZE:
        break;
    }
    return 0;
}

static int check_origin(struct ms_command *c, const Eidmap__Command *command)
{
    const Eidmap__Origin *origin = command->origin;
    char why[EM_ADDR_WHY] = "";
    if (!origin || origin->role < EIDMAP__ROLE__ROLE_NODE ||
        origin->role > EIDMAP__ROLE__ROLE_SERVER || !(roles_for(command) & 1u << origin->role))
        return ms_refuse(&c->fault, EM_E_DENIED, "", "this is not allowed with your certificate");
    if (origin->role == EIDMAP__ROLE__ROLE_NODE && em_ident_check(origin->name, why))
        return ms_refuse(&c->fault, EM_E_DENIED, "", "not a node-id: %s", why);
    return 0;
}

static int trim(struct ms_command *c, const Eidmap__Trim *body)
{
    uint64_t horizon = c->txn->meta.horizon;
    uint32_t max = body->max_entries ? body->max_entries : UINT32_MAX;
    c->result->is_more = ms_feed_trim(c->txn, body->below, max);
    c->result->is_changed = horizon != c->txn->meta.horizon;
    c->result->is_more |= ms_session_trim(c, max);
    return c->txn->err;
}

static int dispatch(struct ms_command *c, const Eidmap__Command *command)
{
    switch (command->body_case) {
    case EIDMAP__COMMAND__BODY_REGISTER:
        return ms_register(c, command->register_);
    case EIDMAP__COMMAND__BODY_WITHDRAW:
        return ms_withdraw(c, command->withdraw);
    case EIDMAP__COMMAND__BODY_NODE_UP:
        return ms_node_up(c, command->node_up);
    case EIDMAP__COMMAND__BODY_NODE_DOWN:
        return ms_node_down(c, command->node_down);
    case EIDMAP__COMMAND__BODY_NODE_EXPIRE:
        return ms_node_expire(c, command->node_expire);
    case EIDMAP__COMMAND__BODY_TRIM:
        return trim(c, command->trim);
    case EIDMAP__COMMAND__BODY_PUT_NETWORK:
        return ms_network_change(c, command->put_network);
    case EIDMAP__COMMAND__BODY_REMOVE_NETWORK:
        return ms_network_remove(c, command->remove_network);
    case EIDMAP__COMMAND__BODY_PUT_NODE:
        return ms_node_change(c, command->put_node);
    case EIDMAP__COMMAND__BODY_REMOVE_NODE:
        return ms_node_remove(c, command->remove_node);
    case EIDMAP__COMMAND__BODY__NOT_SET:
    case _EIDMAP__COMMAND__BODY__CASE_IS_INT_SIZE:
        break;
    }
    assert(!"run() lets no such command through");
    return EM_E_INTERNAL;
}

static void set_error(struct ms_result *result, int err, const char *message, const char *field)
{
    result->err = err;
    result->message = message ? message : em_strerror(err);
    result->field = field ? field : "";
}

static bool is_new(struct ms_apply *apply, struct ms_txn *txn, const Eidmap__Command *command,
                   struct ms_result *result)
{
    const Eidmap__Proposer *proposer = command->proposer;
    if (!proposer || proposer->replica == 0)
        return true;
    result->replica = proposer->replica;
    result->incarnation = proposer->incarnation;
    result->seq = proposer->seq;
    return ms_proposer_is_new(txn, &apply->proposers, proposer);
}

/* Runs one command; whatever becomes of it, the result can be sent. */
static void run(struct ms_apply *apply, struct ms_txn *txn, const Eidmap__Command *command,
                struct ms_result *result)
{
    struct ms_command c = {
        .txn = txn,
        .origin = command->origin,
        .time_ms = command->time_ms,
        .max_node_ports = command->max_node_ports ? command->max_node_ports : MS_NODE_PORTS_MAX,
        .keep = &apply->keep,
        .scratch = &apply->scratch,
        .memo = &apply->memo,
        .fault.arena = &apply->keep,
        .result = result,
    };
    result->is_given_up = command->body_case == EIDMAP__COMMAND__BODY__NOT_SET;
    if (command->body_case != EIDMAP__COMMAND__BODY_REGISTER)
        ms_network_memo_reset(&apply->memo); /* it may change networks */
    int r = result->is_given_up ? 0 : check_origin(&c, command);
    if (!r && !result->is_given_up)
        r = dispatch(&c, command);
    if (!r && result->is_changed)
        ms_session_put(&c);
    if (r)
        set_error(result, r, c.fault.message, c.fault.field);
    assert(!r || !result->is_changed || txn->err);
    result->revision = txn->meta.revision;
}

/* --------------------------------------------------------------------- the batch */

static int run_all(struct ms_apply *apply, struct ms_txn *txn, const struct ms_blob *commands,
                   size_t n, struct ms_result *results, const char **ret_why)
{
    int r = 0;
    apply->proposers.n = 0;
    for (size_t i = 0; i < n && !txn->err; i++) {
        const Eidmap__Command *command = unpack(apply, commands[i], &r, ret_why);
        if (!command)
            return r;
        results[i].revision = txn->meta.revision;
        if (is_new(apply, txn, command, &results[i]))
            run(apply, txn, command, &results[i]);
        else
            results[i].is_repeated = true;
    }
    ms_proposers_store(txn, &apply->proposers);
    return 0;
}

static int explain(int err, const char **ret_why)
{
    if (err == EM_E_NO_SPACE)
        *ret_why = "no room for a change that is committed: free disk space, or raise store.size, "
                   "and start again; nothing is lost";
    else
        *ret_why =
            "the map cannot be written: free disk space if the disk is full, else look at its "
            "health in the kernel's log";
    return err;
}

static int compare_ids(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return (x > y) - (x < y);
}

static void unique(struct ms_touched *touched)
{
    size_t n = 0;
    if (touched->n > 1)
        qsort(touched->ids, touched->n, sizeof(*touched->ids), compare_ids);
    for (size_t i = 0; i < touched->n; i++)
        if (i == 0 || touched->ids[i] != touched->ids[i - 1])
            touched->ids[n++] = touched->ids[i];
    touched->n = n;
}

/* Ends a transaction that reaches 'last'. */
static int finish(struct ms_apply *apply, struct ms_txn *txn, struct ms_point last,
                  const char **ret_why)
{
    int r = txn->err;
    if (r || !txn->is_dirty) {
        ms_txn_abort(txn);
    } else {
        txn->meta.applied = last.index;
        txn->meta.applied_term = last.term;
        r = ms_txn_commit(txn);
    }
    if (r)
        return explain(r, ret_why);
    apply->point = last;
    return 0;
}

int ms_apply_batch(struct ms_apply *apply, const struct ms_blob *commands, size_t n,
                   struct ms_point last, struct ms_batch *ret_batch, const char **ret_why)
{
    struct ms_txn txn;
    em_arena_reset(&apply->keep);
    apply->touched.n = 0;
    ms_network_memo_reset(&apply->memo);
    struct ms_result *results = em_arena_alloc(&apply->keep, n * sizeof(*results));
    assert(results || n * sizeof(*results) > KEEP_LIMIT);
    if (!results) {
        *ret_why = "an entry of the log holds too many commands";
        return EM_E_LIMIT;
    }
    memset(results, 0, n * sizeof(*results));
    int r = ms_txn_begin(apply->store, NULL, &apply->touched, &txn);
    if (r)
        return explain(r, ret_why);
    r = run_all(apply, &txn, commands, n, results, ret_why);
    if (r) {
        ms_txn_abort(&txn);
        return r;
    }
    r = finish(apply, &txn, last, ret_why);
    if (r)
        return r;
    unique(&apply->touched);
    *ret_batch = (struct ms_batch){
        .results = results,
        .revision = txn.meta.revision,
        .networks = apply->touched.ids,
        .n_networks = apply->touched.n,
    };
    return 0;
}

int ms_apply_members(struct ms_apply *apply, struct ms_blob members, struct ms_point at,
                     const char **ret_why)
{
    struct ms_txn txn;
    int r = ms_txn_begin(apply->store, NULL, NULL, &txn);
    if (r)
        return explain(r, ret_why);
    ms_txn_set_members(&txn, at.index, members);
    return finish(apply, &txn, at, ret_why);
}

int ms_apply_settle(struct ms_apply *apply, const char **ret_why)
{
    struct ms_txn txn;
    int r = ms_txn_begin(apply->store, NULL, NULL, &txn);
    if (r)
        return explain(r, ret_why);
    txn.is_dirty = txn.meta.applied < apply->point.index;
    return finish(apply, &txn, apply->point, ret_why);
}

bool ms_apply_is_noop(struct ms_reader *reader, const Eidmap__Origin *origin,
                      const Eidmap__Register *reg, struct em_arena *arena,
                      struct ms_result *ret_result)
{
    struct ms_result result = {.revision = ms_reader_revision(reader)};
    struct em_arena scratch;
    struct ms_network_memo memo = {.network = NULL};
    struct ms_command c = {
        .txn = &reader->txn,
        .origin = origin,
        .max_node_ports = UINT32_MAX, /* what is here already does not count again */
        .keep = arena,
        .scratch = &scratch,
        .memo = &memo,
        .fault.arena = arena,
        .result = &result,
    };
    em_arena_init(&scratch, 0);
    em_arena_init(&memo.arena, 0);
    bool is_noop = ms_register_is_noop(&c, reg);
    em_arena_fini(&scratch);
    em_arena_fini(&memo.arena);
    if (is_noop)
        *ret_result = result;
    return is_noop;
}
