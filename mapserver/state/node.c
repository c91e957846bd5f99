/* Nodes: they come up, go down, expire; operators label, disable and remove them.
 *
 * A node's death is one change of one record: its ports stay as they are, and each agent
 * concludes from the node's state which of a port's locations to use.  Only when the hold
 * has run out are the locations themselves withdrawn, in portions, so that a node with very
 * many ports does not keep everybody else's writes waiting. */
#include "base/mem.h"
#include "eidmap/addr.h"
#include "state/claim.h"
#include "state/command.h"
#include "state/label.h"
#include "wire/convert.h"

#include <stdlib.h>
#include <string.h>

#define NODE_RLOCS   8
#define NODE_LABELS  16
#define VERSION_SIZE 64

static const char *rloc_text(const Eidmap__Rloc *rloc, char text[EM_IP_TEXT])
{
    return em_ip_format(rloc->address.data, rloc->address.len, text);
}

static bool is_rloc_of(const Eidmap__Node *node, const Eidmap__Rloc *rloc)
{
    for (size_t i = 0; i < node->n_rlocs; i++)
        if (ms_blob_equal(ms_blob_of(node->rlocs[i]->address), ms_blob_of(rloc->address)))
            return true;
    return false;
}

/* Builds the list afresh: a field that this program does not know is not taken over. */
static int set_rlocs(struct ms_command *c, Eidmap__Node *node, Eidmap__Rloc **want, size_t n)
{
    if (n > NODE_RLOCS)
        return ms_refuse(&c->fault, EM_E_LIMIT, "rlocs", "a node may have %d RLOCs, not %zu",
                         NODE_RLOCS, n);
    Eidmap__Rloc **list = em_arena_alloc(c->scratch, n * sizeof(*list));
    struct em_rloc *rlocs = em_arena_alloc(c->scratch, n * sizeof(*rlocs));
    if (!list || !rlocs)
        return ms_refuse(&c->fault, EM_E_LIMIT, "rlocs", "the node is too large");
    node->rlocs = list;
    node->n_rlocs = 0;
    for (size_t i = 0; i < n; i++) {
        const char *field = ms_format(c->keep, "rlocs[%zu]", i);
        if (em_rloc_from_msg(want[i], &rlocs[i]) ||
            !em_ip_is_usable(rlocs[i].ip.addr, rlocs[i].ip.size))
            return ms_refuse(&c->fault, EM_E_MALFORMED, field,
                             "an RLOC is a unicast IPv4 or IPv6 address, no loopback, with a known "
                             "encapsulation");
        if (is_rloc_of(node, want[i]))
            return ms_refuse(&c->fault, EM_E_MALFORMED, field, "the RLOC is there twice");
        list[i] = em_rloc_to_msg(c->scratch, &rlocs[i]);
        if (!list[i])
            return ms_refuse(&c->fault, EM_E_LIMIT, field, "the node is too large");
        node->n_rlocs++;
    }
    return 0;
}

/* Who else has the RLOC?  *ret_other is NULL when nobody has. */
static int get_rloc_holder(struct ms_command *c, const Eidmap__Node *node, const Eidmap__Rloc *rloc,
                           Eidmap__Node **ret_other)
{
    struct ms_blob id;
    int r = ms_rloc_holder(c->txn, rloc, &id);
    *ret_other = NULL;
    if (r)
        return r == EM_E_NOT_FOUND ? 0 : r;
    if (ms_blob_equal(id, ms_blob(node->id, strlen(node->id))))
        return 0;
    const char *other = ms_format(c->scratch, "%.*s", (int)id.size, (const char *)id.data);
    r = ms_node_get(c->txn, other, c->scratch, ret_other);
    return r == EM_E_NOT_FOUND ? ms_txn_fail(c->txn, EM_E_STORAGE) : r;
}

static int check_rlocs(struct ms_command *c, const Eidmap__Node *node)
{
    for (size_t i = 0; i < node->n_rlocs; i++) {
        Eidmap__Node *other;
        char text[EM_IP_TEXT];
        int r = get_rloc_holder(c, node, node->rlocs[i], &other);
        if (r)
            return r;
        if (other && other->state == EIDMAP__NODE_STATE__NODE_REACHABLE)
            return ms_refuse(&c->fault, EM_E_CONFLICT, ms_format(c->keep, "rlocs[%zu]", i),
                             "RLOC %s belongs to node %s, which is reachable",
                             rloc_text(node->rlocs[i], text), other->id);
    }
    return 0;
}

/* Silent nodes give up the RLOCs that this one has now. */
static void take_rlocs(struct ms_command *c, const Eidmap__Node *node)
{
    for (size_t i = 0; i < node->n_rlocs; i++) {
        Eidmap__Node *other;
        if (get_rloc_holder(c, node, node->rlocs[i], &other) || !other)
            continue;
        Eidmap__Node left = *other;
        left.n_rlocs = 0;
        left.rlocs = em_arena_alloc(c->scratch, other->n_rlocs * sizeof(*left.rlocs));
        if (!left.rlocs) {
            ms_txn_fail(c->txn, EM_E_INTERNAL);
            return;
        }
        for (size_t j = 0; j < other->n_rlocs; j++)
            if (!ms_blob_equal(ms_blob_of(other->rlocs[j]->address),
                               ms_blob_of(node->rlocs[i]->address)))
                left.rlocs[left.n_rlocs++] = other->rlocs[j];
        ms_node_put(c->txn, other, &left);
    }
}

/* Stores the node if it differs, and shows it in the result. */
static int store(struct ms_command *c, const Eidmap__Node *old, Eidmap__Node *node)
{
    if (!old || !ms_message_equal(&node->base, &old->base, c->scratch)) {
        take_rlocs(c, node);
        ms_node_put(c->txn, old, node);
        c->result->is_changed = true;
    }
    return c->txn->err;
}

static int show(struct ms_command *c, const char *id)
{
    Eidmap__Node *node;
    int r = ms_node_get(c->txn, id, c->keep, &node);
    if (!r)
        c->result->node = node;
    return r;
}

/* *ret_old is NULL when the node is new; *ret_node is what to change and store. */
static int draft(struct ms_command *c, const char *id, Eidmap__Node **ret_old,
                 Eidmap__Node *ret_node)
{
    *ret_old = NULL;
    int r = ms_node_get(c->txn, id, c->scratch, ret_old);
    if (r && r != EM_E_NOT_FOUND)
        return r;
    if (*ret_old)
        *ret_node = **ret_old;
    else
        eidmap__node__init(ret_node);
    ret_node->id = (char *)id;
    return 0;
}

static void set_state(struct ms_command *c, Eidmap__Node *node, Eidmap__NodeState state)
{
    if (node->state == state)
        return;
    node->state = state;
    node->state_since_ms = c->time_ms;
}

int ms_node_up(struct ms_command *c, const Eidmap__NodeUp *body)
{
    Eidmap__Node *old, node;
    em_arena_reset(c->scratch);
    int r = ms_session_check_start(c);
    if (!r)
        r = draft(c, c->origin->name, &old, &node);
    if (r)
        return r;
    if (node.disabled)
        return ms_refuse(&c->fault, EM_E_DENIED, "", "node %s has been disabled by an operator",
                         node.id);
    r = set_rlocs(c, &node, body->rlocs, body->n_rlocs);
    if (!r)
        r = check_rlocs(c, &node);
    if (r)
        return r;
    node.version = (char *)ms_format(c->scratch, "%.*s", VERSION_SIZE, body->version);
    set_state(c, &node, EIDMAP__NODE_STATE__NODE_REACHABLE);
    r = store(c, old, &node);
    if (r)
        return r;
    ms_session_start(c);
    return show(c, c->origin->name);
}

int ms_node_down(struct ms_command *c, const Eidmap__NodeDown *body)
{
    Eidmap__Node *old, node;
    em_arena_reset(c->scratch);
    int r = draft(c, body->node_id, &old, &node);
    if (r || !old || old->state != EIDMAP__NODE_STATE__NODE_REACHABLE)
        return r;
    set_state(c, &node, EIDMAP__NODE_STATE__NODE_UNREACHABLE);
    return store(c, old, &node);
}

/* Withdrawing reuses the scratch arena, so the node is looked up again. */
static int delete_node(struct ms_command *c, const char *id)
{
    Eidmap__Node *node;
    em_arena_reset(c->scratch);
    int r = ms_node_get(c->txn, id, c->scratch, &node);
    if (r)
        return r == EM_E_NOT_FOUND ? ms_txn_fail(c->txn, EM_E_STORAGE) : r;
    ms_node_delete(c->txn, node);
    c->result->is_changed = true;
    return c->txn->err;
}

int ms_node_expire(struct ms_command *c, const Eidmap__NodeExpire *body)
{
    Eidmap__Node *node;
    em_arena_reset(c->scratch);
    int r = ms_node_get(c->txn, body->node_id, c->scratch, &node);
    if (r == EM_E_NOT_FOUND || (!r && node->state != EIDMAP__NODE_STATE__NODE_UNREACHABLE))
        return 0; /* it is gone, or came back */
    if (r)
        return r;
    bool is_kept = node->declared;
    c->result->is_more =
        ms_withdraw_node(c, body->node_id, body->max_ports ? body->max_ports : MS_CLAIMS_MAX);
    if (c->txn->err || c->result->is_more || is_kept)
        return c->txn->err;
    return delete_node(c, body->node_id);
}

static int set_labels(struct ms_command *c, Eidmap__Node *node, const Eidmap__Node *want)
{
    if (want->n_labels > NODE_LABELS)
        return ms_refuse(&c->fault, EM_E_LIMIT, "node.labels", "a node may have %d labels, not %zu",
                         NODE_LABELS, want->n_labels);
    for (size_t i = 0; i < want->n_labels; i++) {
        const char *field = ms_format(c->keep, "node.labels[%zu]", i);
        if (!ms_label_is_valid(want->labels[i]))
            return ms_refuse(&c->fault, EM_E_MALFORMED, field, MS_LABEL_EXPECTED);
        for (size_t j = 0; j < i; j++)
            if (strcmp(want->labels[i]->key, want->labels[j]->key) == 0)
                return ms_refuse(&c->fault, EM_E_MALFORMED, field, "label %s is there twice",
                                 want->labels[i]->key);
    }
    node->labels = want->labels;
    node->n_labels = want->n_labels;
    return 0;
}

static int check_revision(struct ms_command *c, const Eidmap__Node *old, const Eidmap__Node *want)
{
    if (want->revision == 0 || (old && old->revision == want->revision))
        return 0;
    return ms_refuse(&c->fault, EM_E_STALE, "node.revision",
                     "node %s has changed since revision %llu; look again", want->id,
                     (unsigned long long)want->revision);
}

static int draft_change(struct ms_command *c, const Eidmap__Node *want, Eidmap__Node **ret_old,
                        Eidmap__Node *ret_node)
{
    int r = draft(c, want->id, ret_old, ret_node);
    if (!r)
        r = check_revision(c, *ret_old, want);
    if (!r)
        r = set_labels(c, ret_node, want);
    if (!r && want->n_rlocs > 0) /* none given: those that its agent has said */
        r = set_rlocs(c, ret_node, want->rlocs, want->n_rlocs);
    return r ? r : check_rlocs(c, ret_node);
}

int ms_node_change(struct ms_command *c, const Eidmap__PutNode *body)
{
    Eidmap__Node *old, node;
    const Eidmap__Node *want = body->node;
    char why[EM_ADDR_WHY] = "";
    em_arena_reset(c->scratch);
    if (!want || em_ident_check(want->id, why))
        return ms_refuse(&c->fault, EM_E_MALFORMED, "node.id", "%s",
                         want ? why : "there is no node in the request");
    if (ms_session_has(c)) {
        int shown = show(c, want->id);
        return shown == EM_E_NOT_FOUND
                   ? ms_refuse(&c->fault, shown, "node.id",
                               "node %s was changed, and removed since", want->id)
                   : shown;
    }
    int r = draft_change(c, want, &old, &node);
    if (r)
        return r;
    node.declared = true; /* what an operator has set must outlive the node's absence */
    node.disabled = want->disabled;
    r = store(c, old, &node);
    if (!r && want->disabled)
        ms_withdraw_node(c, want->id, UINT32_MAX);
    return c->txn->err ? c->txn->err : show(c, want->id);
}

int ms_node_remove(struct ms_command *c, const Eidmap__RemoveNode *body)
{
    Eidmap__Node *node;
    em_arena_reset(c->scratch);
    if (ms_session_has(c))
        return 0;
    int r = ms_node_get(c->txn, body->node_id, c->scratch, &node);
    if (r == EM_E_NOT_FOUND)
        return ms_refuse(&c->fault, r, "node_id", "there is no node %.63s", body->node_id);
    if (r)
        return r;
    ms_withdraw_node(c, body->node_id, UINT32_MAX);
    return c->txn->err ? c->txn->err : delete_node(c, body->node_id);
}
