/* A batch is one write transaction.  A command that is refused leaves no trace in it; a
 * failure of the storage ends the whole batch, and every command says so.  A batch that
 * changes nothing is not written at all, its index neither: applying it again would change
 * nothing again. */
#include "state/apply.h"

#include "base/mem.h"
#include "eidmap/addr.h"
#include "state/command.h"
#include "state/feed.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_LIMIT    (256u << 20) /* results of a batch: 512 refusals show 512 ports */
#define COMMAND_LIMIT (80u << 20)  /* twice and a half what a connection unpacks a frame into */

struct ms_apply {
    struct ms_store *store;
    uint32_t max_node_ports;
    uint64_t index;
    struct em_arena keep, command, scratch;
    struct ms_touched touched;
};

struct ms_apply *ms_apply_new(const struct ms_apply_config *config)
{
    struct ms_apply *apply = em_calloc(1, sizeof(*apply));
    struct ms_stats stats;
    apply->store = config->store;
    apply->max_node_ports = config->max_node_ports ? config->max_node_ports : MS_NODE_PORTS_MAX;
    if (ms_store_stats(config->store, &stats) == 0)
        apply->index = stats.applied;
    em_arena_init(&apply->keep, KEEP_LIMIT);
    em_arena_init(&apply->command, COMMAND_LIMIT);
    em_arena_init(&apply->scratch, 0);
    return apply;
}

void ms_apply_free(struct ms_apply *apply)
{
    if (!apply)
        return;
    em_arena_fini(&apply->keep);
    em_arena_fini(&apply->command);
    em_arena_fini(&apply->scratch);
    free(apply->touched.ids);
    free(apply);
}

uint64_t ms_apply_index(const struct ms_apply *apply)
{
    return apply->index;
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
    if (command->schema > MS_SCHEMA || command->body_case == EIDMAP__COMMAND__BODY__NOT_SET) {
        *ret_err = EM_E_UNSUPPORTED;
        *ret_why = "a committed command is of a newer eidmap: install that version here";
        return NULL;
    }
    return command;
}

/* Commands that only take away may go on when space is short, and so may NodeUp: without a
 * session an agent could not even read, and there are no more nodes than certificates. */
static bool is_growing(const Eidmap__Command *command)
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

#define BY(role) (1u << EIDMAP__ROLE__ROLE_##role)

static unsigned roles_for(const Eidmap__Command *command)
{
    switch (command->body_case) {
    case EIDMAP__COMMAND__BODY_REGISTER:
    case EIDMAP__COMMAND__BODY_WITHDRAW:
        return BY(NODE) | BY(OPERATOR);
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
    assert(!"unpack() lets no such command through");
    return EM_E_INTERNAL;
}

static void set_error(struct ms_result *result, int err, const char *message, const char *field)
{
    result->err = err;
    result->message = message ? message : em_strerror(err);
    result->field = field ? field : "";
}

/* Runs one command; whatever becomes of it, the result can be sent. */
static void run(struct ms_apply *apply, struct ms_txn *txn, const Eidmap__Command *command,
                struct ms_result *result)
{
    struct ms_command c = {
        .txn = txn,
        .origin = command->origin,
        .time_ms = command->time_ms,
        .max_node_ports = apply->max_node_ports,
        .keep = &apply->keep,
        .scratch = &apply->scratch,
        .fault.arena = &apply->keep,
        .result = result,
    };
    int r = check_origin(&c, command);
    if (!r)
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
    const char *why = NULL;
    int no_room = ms_store_check_room(apply->store, &why), r = 0;
    for (size_t i = 0; i < n && !txn->err; i++) {
        const Eidmap__Command *command = unpack(apply, commands[i], &r, ret_why);
        if (!command)
            return r;
        results[i].revision = txn->meta.revision;
        if (no_room && is_growing(command))
            set_error(&results[i], no_room, why, NULL);
        else
            run(apply, txn, command, &results[i]);
    }
    return 0;
}

static void fail_all(struct ms_result *results, size_t n, int err, uint64_t revision)
{
    for (size_t i = 0; i < n; i++) {
        results[i] = (struct ms_result){.revision = revision};
        set_error(&results[i], err, NULL, NULL);
    }
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

/* Ends the transaction; what was done either stands on the disk now, or no result says so. */
static void finish(struct ms_apply *apply, struct ms_txn *txn, size_t n, uint64_t last_index,
                   uint64_t old_revision, struct ms_result *results)
{
    int r = txn->err;
    if (r || !txn->is_dirty) {
        ms_txn_abort(txn);
    } else {
        txn->meta.applied = last_index;
        r = ms_txn_commit(txn);
    }
    if (r) {
        txn->meta.revision = old_revision;
        apply->touched.n = 0;
        fail_all(results, n, r, old_revision);
    } else {
        apply->index = last_index;
    }
    unique(&apply->touched);
}

int ms_apply_batch(struct ms_apply *apply, const struct ms_blob *commands, size_t n,
                   uint64_t last_index, struct ms_batch *ret_batch, const char **ret_why)
{
    struct ms_txn txn;
    em_arena_reset(&apply->keep);
    apply->touched.n = 0;
    struct ms_result *results = em_arena_alloc(&apply->keep, n * sizeof(*results));
    assert(results || n * sizeof(*results) > KEEP_LIMIT);
    if (!results)
        return EM_E_LIMIT;
    memset(results, 0, n * sizeof(*results));
    int r = ms_txn_begin(apply->store, NULL, &apply->touched, &txn);
    if (r) {
        fail_all(results, n, r, 0);
        *ret_batch = (struct ms_batch){.results = results};
        return 0;
    }
    uint64_t old_revision = txn.meta.revision;
    r = run_all(apply, &txn, commands, n, results, ret_why);
    if (r) {
        ms_txn_abort(&txn);
        return r;
    }
    finish(apply, &txn, n, last_index, old_revision, results);
    *ret_batch = (struct ms_batch){
        .results = results,
        .revision = txn.meta.revision,
        .networks = apply->touched.ids,
        .n_networks = apply->touched.n,
    };
    return 0;
}

bool ms_apply_is_noop(struct ms_reader *reader, const Eidmap__Origin *origin,
                      const Eidmap__Register *reg, struct em_arena *arena,
                      struct ms_result *ret_result)
{
    struct ms_result result = {.revision = ms_reader_revision(reader)};
    struct em_arena scratch;
    struct ms_command c = {
        .txn = &reader->txn,
        .origin = origin,
        .max_node_ports = UINT32_MAX, /* what is here already does not count again */
        .keep = arena,
        .scratch = &scratch,
        .fault.arena = arena,
        .result = &result,
    };
    em_arena_init(&scratch, 0);
    bool is_noop = ms_register_is_noop(&c, reg);
    em_arena_fini(&scratch);
    if (is_noop)
        *ret_result = result;
    return is_noop;
}
