/* Register: claims to ports, all or nothing.
 *
 * claim.c decides about each; here is what needs the map: the port that is claimed, its
 * network, the nodes and the other ports that may be in its way.  The claims of one request
 * are applied in order and each sees what those before it have done. */
#include "base/mem.h"
#include "eidmap/addr.h"
#include "state/claim.h"
#include "state/command.h"
#include "state/trunk.h"
#include "wire/convert.h"

#include <assert.h>
#include <string.h>

/* Of one Register, while its claims are walked. */
struct walk {
    struct ms_command *c;
    struct ms_txn *txn; /* nested where there are several claims */
    const Eidmap__Register *body;
    uint32_t named_network; /* id of body->network_name; 0: not looked up yet */
    struct ms_fault fault;  /* its field is relative to the claim */
};

/* A refusal shows the port that is in its way, as the transaction sees it. */
static void show_current(struct ms_command *c, struct ms_txn *txn, struct ms_blob id)
{
    Eidmap__Port *current;
    if (ms_port_get(txn, id.data, id.size, c->keep, &current) == 0)
        c->result->current = current;
}

static int find_named_network(struct walk *w)
{
    if (w->named_network)
        return 0;
    if (!w->body->network_name[0])
        return ms_refuse(&w->fault, EM_E_MALFORMED, "port.network_id",
                         "the claim names no network, and the Register none");
    int r = ms_name_holder(w->txn, w->body->network_name, &w->named_network);
    if (r == EM_E_NOT_FOUND)
        return ms_refuse(&w->fault, r, "network_name",
                         "there is no network %.63s; an operator makes it (mapctl network add)",
                         w->body->network_name);
    return r;
}

static int find_network(struct walk *w, const Eidmap__Port *port)
{
    struct ms_network_memo *memo = w->c->memo;
    Eidmap__Network *network;
    uint32_t id = port->network_id;
    if (id == 0) {
        int r = find_named_network(w);
        if (r)
            return r;
        id = w->named_network;
    }
    if (memo->network && memo->network->id == id)
        return 0;
    ms_network_memo_reset(memo);
    int r = ms_network_get(w->txn, id, &memo->arena, &network);
    if (r == EM_E_NOT_FOUND)
        return ms_refuse(&w->fault, r, "port.network_id", "there is no network %u", id);
    if (!r)
        memo->network = network;
    return r;
}

static int check_holder(struct walk *w, const Eidmap__Port *port, size_t i)
{
    struct ms_blob id;
    Eidmap__Port *holder;
    struct em_eid eid;
    char eid_text[EM_EID_TEXT], id_text[EM_PORT_ID_TEXT];
    int r = ms_eid_holder(w->txn, port->network_id, port->eids[i], ms_blob_of(port->id), &id);
    if (r)
        return r == EM_E_NOT_FOUND ? 0 : r;
    r = ms_port_get(w->txn, id.data, id.size, w->c->scratch, &holder);
    if (r)
        return ms_txn_fail(w->txn, EM_E_STORAGE);
    if (holder->shared && port->shared)
        return 0;
    show_current(w->c, w->txn, id);
    r = em_eid_from_msg(port->eids[i], &eid);
    assert(r == 0);
    return ms_refuse(&w->fault, EM_E_CONFLICT, ms_format(w->c->keep, "port.eids[%zu]", i),
                     "%s is held by port %s", em_eid_format(&eid, eid_text),
                     em_port_id_format(holder->id.data, holder->id.len, id_text));
}

/* Of an operator's locations; a node was checked before the first claim. */
static int check_node(struct walk *w, const Eidmap__Port *old, const Eidmap__Location *location)
{
    Eidmap__Node *node;
    if (strcmp(location->node_id, MS_ANY_LOCAL) == 0 ||
        (old && ms_port_location(old, location->node_id)))
        return 0;
    int r = ms_node_get(w->txn, location->node_id, w->c->scratch, &node);
    if (r == EM_E_NOT_FOUND)
        return ms_refuse(&w->fault, r, "port.locations", "there is no node %s", location->node_id);
    if (!r && node->disabled)
        return ms_refuse(&w->fault, EM_E_DENIED, "port.locations", "node %s is disabled",
                         location->node_id);
    return r;
}

static int check_others(struct walk *w, const Eidmap__Port *old, const Eidmap__Port *port)
{
    int r = 0;
    if (ms_command_is_by(w->c, EIDMAP__ROLE__ROLE_OPERATOR))
        for (size_t i = 0; i < port->n_locations && !r; i++)
            r = check_node(w, old, port->locations[i]);
    for (size_t i = 0; i < port->n_eids && !r; i++)
        r = check_holder(w, port, i);
    return r;
}

static bool is_node_full(struct walk *w)
{
    const char *name = w->c->origin->name;
    return ms_command_is_by(w->c, EIDMAP__ROLE__ROLE_NODE) &&
           ms_txn_count(w->txn, MS_DB_LOC, ms_blob(name, strlen(name))) >= w->c->max_node_ports;
}

static int find_parent(struct walk *w, const Eidmap__Port *want, const Eidmap__Port *old,
                       Eidmap__Port **ret_parent)
{
    char text[EM_PORT_ID_TEXT];
    int r = ms_trunk_parent(w->txn, want, old, w->c->scratch, ret_parent);
    if (r != EM_E_NOT_FOUND)
        return r;
    if (!want->parent.len)
        return ms_txn_fail(w->txn, EM_E_STORAGE); /* a parent is not removed before its child */
    return ms_refuse(&w->fault, r, "port.parent", "there is no port %s",
                     em_port_id_format(want->parent.data, want->parent.len, text));
}

/* Decides one claim, in the scratch arena; *ret_old is the port as it is, or NULL. */
static int decide(struct walk *w, size_t i, Eidmap__Port **ret_old, struct ms_verdict *ret_verdict)
{
    const Eidmap__Claim *claim = w->body->claims[i];
    Eidmap__Port *parent;
    *ret_old = NULL;
    em_arena_reset(w->c->scratch);
    if (!claim->port)
        return ms_refuse(&w->fault, EM_E_MALFORMED, "port", "the claim names no port");
    int r = find_network(w, claim->port);
    if (r)
        return r;
    r = ms_port_get(w->txn, claim->port->id.data, claim->port->id.len, w->c->scratch, ret_old);
    if (r && r != EM_E_NOT_FOUND)
        return r;
    r = find_parent(w, claim->port, *ret_old, &parent);
    if (r)
        return r;
    struct ms_claim in = {
        .old = *ret_old,
        .claim = claim,
        .origin = w->c->origin,
        .network = w->c->memo->network,
        .parent = parent,
        .revision = ms_next_revision(w->txn),
        .time_ms = w->c->time_ms,
        .is_node_full = is_node_full(w),
    };
    r = ms_claim_decide(&in, w->c->scratch, &w->fault, ret_verdict);
    if (r == EM_E_MOVED)
        show_current(w->c, w->txn, ms_blob_of(claim->port->id));
    if (!r && ret_verdict->is_changed)
        r = check_others(w, *ret_old, ret_verdict->port);
    return r;
}

static int check_node_record(struct ms_command *c)
{
    Eidmap__Node *node;
    if (!ms_command_is_by(c, EIDMAP__ROLE__ROLE_NODE))
        return 0;
    int r = ms_node_get(c->txn, c->origin->name, c->scratch, &node);
    if (r == EM_E_NOT_FOUND)
        return ms_refuse(&c->fault, r, "", "node %s is not in the map; connect again",
                         c->origin->name);
    if (!r && node->disabled)
        return ms_refuse(&c->fault, EM_E_DENIED, "", "node %s has been disabled by an operator",
                         c->origin->name);
    return r;
}

static int check_request(struct ms_command *c, const Eidmap__Register *body)
{
    if (body->n_claims == 0)
        return ms_refuse(&c->fault, EM_E_MALFORMED, "claims", "there is no claim");
    if (body->n_claims > MS_CLAIMS_MAX)
        return ms_refuse(&c->fault, EM_E_LIMIT, "claims", "at most %d claims, not %zu",
                         MS_CLAIMS_MAX, body->n_claims);
    int r = ms_session_check(c);
    return r ? r : check_node_record(c);
}

/* A fault of claim 'i' becomes one of the command. */
static int blame(struct walk *w, size_t i, int r)
{
    struct ms_command *c = w->c;
    c->result->record = (uint32_t)i;
    if (!w->fault.err)
        return r;
    c->fault = w->fault;
    if (strcmp(w->fault.field, "network_name") != 0)
        c->fault.field = ms_format(c->keep, "claims[%zu].%s", i, w->fault.field);
    return r;
}

static int walk_claims(struct walk *w, uint64_t *epochs)
{
    for (size_t i = 0; i < w->body->n_claims; i++) {
        struct ms_verdict verdict;
        Eidmap__Port *old;
        int r = decide(w, i, &old, &verdict);
        if (r)
            return blame(w, i, r);
        epochs[i] = verdict.epoch;
        if (!verdict.is_changed)
            continue;
        assert(verdict.port->n_locations > 0 || verdict.port->n_children > 0 ||
               verdict.port->declared);
        ms_trunk_put(w->txn, old, verdict.port, w->c->scratch);
        w->c->result->is_changed = true;
        if (w->txn->err)
            return w->txn->err;
    }
    return 0;
}

/* A refusal at the fifth claim takes the first four back; a single one is decided before
 * anything is written. */
static int walk_all_or_nothing(struct walk *w, uint64_t *epochs)
{
    struct ms_txn nested;
    if (w->body->n_claims == 1)
        return walk_claims(w, epochs);
    int r = ms_txn_begin(w->txn->store, w->c->txn, w->c->txn->touched, &nested);
    if (r)
        return ms_txn_fail(w->c->txn, r);
    w->txn = &nested;
    r = walk_claims(w, epochs);
    if (!r)
        return ms_txn_commit(&nested);
    ms_txn_abort(&nested);
    w->c->result->is_changed = false;
    return r;
}

/* Whose location's epoch the answer shows.  NULL: the claim has none, an operator's may. */
static const char *claimed_node(const struct ms_command *c, const Eidmap__Claim *claim)
{
    if (ms_command_is_by(c, EIDMAP__ROLE__ROLE_NODE))
        return c->origin->name;
    if (claim->migration == EIDMAP__MIGRATION_STEP__MIGRATION_CANCEL)
        return NULL;
    return claim->port && claim->port->n_locations ? claim->port->locations[0]->node_id : NULL;
}

/* The request was applied before its reply was lost: what holds now is the answer. */
static int answer_again(struct ms_command *c, const Eidmap__Register *body, uint64_t *epochs)
{
    for (size_t i = 0; i < body->n_claims; i++) {
        Eidmap__Port *port = NULL;
        const Eidmap__Location *here = NULL;
        const char *node_id = claimed_node(c, body->claims[i]);
        em_arena_reset(c->scratch);
        if (body->claims[i]->port)
            ms_port_get(c->txn, body->claims[i]->port->id.data, body->claims[i]->port->id.len,
                        c->scratch, &port);
        if (c->txn->err)
            return c->txn->err;
        if (port && node_id)
            here = ms_port_place(port, node_id);
        if (!port || (node_id && !here)) {
            c->result->record = (uint32_t)i;
            if (port)
                show_current(c, c->txn, ms_blob_of(port->id));
            return ms_refuse(&c->fault, EM_E_MOVED, ms_format(c->keep, "claims[%zu].port", i),
                             "the port has left node %s since", node_id ? node_id : "\"\"");
        }
        epochs[i] = here ? here->epoch : 0;
    }
    return 0;
}

static int register_claims(struct walk *w)
{
    struct ms_command *c = w->c;
    size_t n = w->body->n_claims;
    uint64_t *epochs = em_arena_alloc(c->keep, n * sizeof(*epochs));
    if (!epochs)
        return ms_refuse(&c->fault, EM_E_BUSY, "", "too much at once, try again");
    int r = ms_session_has(c) ? answer_again(c, w->body, epochs) : walk_all_or_nothing(w, epochs);
    if (r)
        return r;
    c->result->epochs = epochs;
    c->result->n_epochs = n;
    return 0;
}

int ms_register(struct ms_command *c, const Eidmap__Register *body)
{
    struct walk w = {.c = c, .txn = c->txn, .body = body, .fault.arena = c->keep};
    int r = check_request(c, body);
    return r ? r : register_claims(&w);
}

static bool is_noop(struct walk *w)
{
    size_t n = w->body->n_claims;
    uint64_t *epochs = em_arena_alloc(w->c->keep, n * sizeof(*epochs));
    for (size_t i = 0; epochs && i < n; i++) {
        struct ms_verdict verdict;
        Eidmap__Port *old;
        if (decide(w, i, &old, &verdict) || verdict.is_changed)
            return false;
        epochs[i] = verdict.epoch;
    }
    w->c->result->epochs = epochs;
    w->c->result->n_epochs = epochs ? n : 0;
    return epochs != NULL;
}

bool ms_register_is_noop(struct ms_command *c, const Eidmap__Register *body)
{
    struct walk w = {.c = c, .txn = c->txn, .body = body, .fault.arena = c->keep};
    return ms_command_is_by(c, EIDMAP__ROLE__ROLE_NODE) && check_request(c, body) == 0 &&
           is_noop(&w);
}
