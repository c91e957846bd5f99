/* A claim becomes a draft of the port as it shall be; when the draft equals the port that
 * stands, nothing has changed and nothing is written.  The steps are in the order in which
 * a refusal says most: the rights first, then where the port is (MOVED is what an agent must
 * hear even if its EIDs are wrong too), then the EIDs, then the flags. */
#include "state/claim.h"

#include "base/mem.h"
#include "eidmap/addr.h"
#include "eidmap/error.h"
#include "state/child.h"
#include "state/label.h"
#include "state/record.h"
#include "wire/convert.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct draft {
    const struct ms_claim *in;
    const Eidmap__Port *want; /* of the claim */
    struct em_arena *arena;
    struct ms_fault *fault;
    Eidmap__Port *port; /* as it shall be */
    uint64_t revision;  /* that the port gets */
    bool is_node;       /* else an operator claims */
};

static int out_of_room(struct ms_fault *fault)
{
    return ms_refuse(fault, EM_E_LIMIT, "", "the claim is too large");
}

static const char *field(struct draft *d, const char *name, size_t i)
{
    return ms_format(d->fault->arena, "port.%s[%zu]", name, i);
}

bool ms_message_equal(const ProtobufCMessage *a, const ProtobufCMessage *b, struct em_arena *arena)
{
    size_t size = protobuf_c_message_get_packed_size(a);
    if (size != protobuf_c_message_get_packed_size(b))
        return false;
    uint8_t *bytes = em_arena_alloc(arena, 2 * size);
    if (!bytes)
        return false; /* a write too many does no harm */
    protobuf_c_message_pack(a, bytes);
    protobuf_c_message_pack(b, bytes + size);
    return memcmp(bytes, bytes + size, size) == 0;
}

static bool is_link_local(const struct em_eid *eid)
{
    return eid->size == 16 && eid->addr[0] == 0xfe && (eid->addr[1] & 0xc0) == 0x80;
}

bool ms_network_holds(const Eidmap__Network *network, const struct em_eid *eid)
{
    if (network->n_subnets == 0 || is_link_local(eid))
        return true;
    struct em_eid host = *eid;
    host.kind = eid->size == 4 ? EM_EID_IPV4 : EM_EID_IPV6; /* of a service: its address */
    for (size_t i = 0; i < network->n_subnets; i++) {
        struct em_eid subnet;
        if (em_eid_from_msg(network->subnets[i], &subnet) == 0 && em_eid_covers(&subnet, &host))
            return true;
    }
    return false;
}

/* -------------------------------------------------------------------------- EIDs */

static bool has_eid(const Eidmap__Port *port, const struct em_eid *eid)
{
    for (size_t i = 0; i < port->n_eids; i++) {
        struct em_eid have;
        if (em_eid_from_msg(port->eids[i], &have) == 0 && em_eid_compare(&have, eid) == 0)
            return true;
    }
    return false;
}

static int check_eid(struct draft *d, size_t i, struct em_eid *ret_eid)
{
    char why[EM_ADDR_WHY] = "";
    if (em_eid_from_msg(d->want->eids[i], ret_eid) || ret_eid->kind == EM_EID_PORT_ID)
        return ms_refuse(d->fault, EM_E_MALFORMED, field(d, "eids", i),
                         "this is no EID that a port can have: kind %d with %zu bytes",
                         (int)d->want->eids[i]->kind, d->want->eids[i]->address.len);
    if (em_eid_check(ret_eid, why))
        return ms_refuse(d->fault, EM_E_MALFORMED, field(d, "eids", i), "%s", why);
    if (d->is_node && em_eid_is_prefix(ret_eid))
        return ms_refuse(
            d->fault, EM_E_DENIED, field(d, "eids", i),
            "a node may not register a prefix; an operator can (mapctl port register)");
    bool is_host = ret_eid->kind == EM_EID_IPV4 || ret_eid->kind == EM_EID_IPV6 ||
                   ret_eid->kind == EM_EID_SERVICE;
    if (is_host && !ms_network_holds(d->in->network, ret_eid)) {
        char text[EM_EID_TEXT];
        return ms_refuse(d->fault, EM_E_MALFORMED, field(d, "eids", i),
                         "%s is outside every subnet of network %s", em_eid_format(ret_eid, text),
                         d->in->network->name);
    }
    return 0;
}

static int compare_eids(const void *a, const void *b)
{
    return em_eid_compare(a, b);
}

/* Stored in one order, so that a claim that lists them in another changes nothing. */
static int set_eids(struct draft *d, struct em_eid *eids, size_t n)
{
    Eidmap__Eid **list = em_arena_alloc(d->arena, n * sizeof(*list));
    if (!list)
        return out_of_room(d->fault);
    qsort(eids, n, sizeof(*eids), compare_eids);
    for (size_t i = 0; i < n; i++) {
        char text[EM_EID_TEXT];
        if (i > 0 && em_eid_compare(&eids[i - 1], &eids[i]) == 0)
            return ms_refuse(d->fault, EM_E_MALFORMED, "port.eids", "%s is there twice",
                             em_eid_format(&eids[i], text));
        list[i] = em_eid_to_msg(d->arena, &eids[i]);
        if (!list[i])
            return out_of_room(d->fault);
    }
    d->port->eids = list;
    d->port->n_eids = n;
    return 0;
}

static int draft_eids(struct draft *d)
{
    size_t n = d->want->n_eids;
    const Eidmap__Port *old = d->in->old;
    bool is_fixed = d->is_node && old && old->declared;
    if (n > MS_PORT_EIDS)
        return ms_refuse(d->fault, EM_E_LIMIT, "port.eids", "a port may have %d EIDs, not %zu",
                         MS_PORT_EIDS, n);
    if (n == 0 && old && (is_fixed || !d->is_node))
        return 0;
    struct em_eid *eids = em_arena_alloc(d->arena, n * sizeof(*eids));
    if (!eids)
        return out_of_room(d->fault);
    for (size_t i = 0; i < n; i++) {
        int r = check_eid(d, i, &eids[i]);
        if (r)
            return r;
        if (is_fixed && !has_eid(old, &eids[i]))
            return ms_refuse(d->fault, EM_E_DENIED, field(d, "eids", i),
                             "an operator has declared this port without that EID");
    }
    return is_fixed ? 0 : set_eids(d, eids, n);
}

/* --------------------------------------------------------------------- locations */

static int check_location(struct draft *d, size_t i)
{
    const Eidmap__Location *want = d->want->locations[i];
    const Eidmap__View *view = want->view;
    const Eidmap__Label *label = view ? view->label : NULL;
    char why[EM_ADDR_WHY] = "";
    bool is_any_local = !d->is_node && !want->node_id[0];
    if (is_any_local && (view || want->state == EIDMAP__LOCATION_STATE__LOCATION_PENDING))
        return ms_refuse(d->fault, EM_E_MALFORMED, field(d, "locations", i),
                         "any-local is for everyone, and active");
    if (!d->is_node && !is_any_local && em_ident_check(want->node_id, why))
        return ms_refuse(d->fault, EM_E_MALFORMED, field(d, "locations", i), "node_id: %s", why);
    if (want->segmentation_id > EM_SEGMENT_MAX || want->priority > 255 || want->weight > 255)
        return ms_refuse(d->fault, EM_E_MALFORMED, field(d, "locations", i),
                         "segmentation_id is at most %u, priority and weight are at most 255",
                         EM_SEGMENT_MAX);
    if (view && view->node_id[0] && em_ident_check(view->node_id, why))
        return ms_refuse(d->fault, EM_E_MALFORMED, field(d, "locations", i), "view: %s", why);
    if (label && !ms_label_is_valid(label))
        return ms_refuse(d->fault, EM_E_MALFORMED, field(d, "locations", i),
                         "view: " MS_LABEL_EXPECTED);
    if (want->state != EIDMAP__LOCATION_STATE__LOCATION_UNSPECIFIED &&
        want->state != EIDMAP__LOCATION_STATE__LOCATION_ACTIVE &&
        want->state != EIDMAP__LOCATION_STATE__LOCATION_PENDING)
        return ms_refuse(d->fault, EM_E_MALFORMED, field(d, "locations", i), "unknown state %d",
                         (int)want->state);
    if (d->is_node && want->state == EIDMAP__LOCATION_STATE__LOCATION_PENDING)
        return ms_refuse(d->fault, EM_E_DENIED, field(d, "locations", i),
                         "a node may not register a pending location; an operator can");
    return 0;
}

/* Copies what is known; a field that this program does not know is not taken from a claim. */
static Eidmap__View *copy_view(struct draft *d, const Eidmap__View *from)
{
    Eidmap__View *view = em_arena_alloc(d->arena, sizeof(*view));
    Eidmap__Label *label = em_arena_alloc(d->arena, sizeof(*label));
    if (!view || !label)
        return NULL;
    eidmap__view__init(view);
    view->node_id = from->node_id;
    if (from->label) {
        eidmap__label__init(label);
        label->key = from->label->key;
        label->value = from->label->value;
        view->label = label;
    }
    return view;
}

static bool is_pending(const Eidmap__Location *location)
{
    return location->state == EIDMAP__LOCATION_STATE__LOCATION_PENDING;
}

/* When a pending location ends.  One that is claimed again keeps its time. */
static uint64_t until(const struct draft *d, const Eidmap__Location *location,
                      const Eidmap__Location *old)
{
    if (!is_pending(location))
        return 0;
    return old && is_pending(old) ? old->until_ms : d->in->time_ms + MS_PENDING_MS;
}

/* 'old' is the node's location so far, or NULL; 'epoch' what it gets.  Who sees it is the
 * operator's: a claim without a view leaves an old one alone. */
static Eidmap__Location *make_location(struct draft *d, const Eidmap__Location *want,
                                       const char *node_id, const Eidmap__Location *old,
                                       uint64_t epoch)
{
    Eidmap__Location *location = em_arena_alloc(d->arena, sizeof(*location));
    if (!location)
        return NULL;
    if (old)
        *location = *old;
    else
        eidmap__location__init(location);
    location->node_id = (char *)node_id;
    location->segmentation_id =
        want->segmentation_id ? want->segmentation_id : d->in->network->segmentation_id;
    location->priority = want->priority;
    location->weight = want->weight;
    location->state = want->state == EIDMAP__LOCATION_STATE__LOCATION_PENDING
                          ? EIDMAP__LOCATION_STATE__LOCATION_PENDING
                          : EIDMAP__LOCATION_STATE__LOCATION_ACTIVE;
    location->until_ms = until(d, location, old);
    location->epoch = epoch;
    if (!d->is_node)
        location->view = NULL;
    if (want->view) {
        location->view = copy_view(d, want->view);
        if (!location->view)
            return NULL;
    }
    return location;
}

/* 'port.locations' := the kept ones of the old port in their order, with 'mine' in place of
 * its predecessor or at the end. */
static int merge_location(struct draft *d, Eidmap__Location *mine, bool keep_others)
{
    const Eidmap__Port *old = d->in->old;
    size_t n_old = old ? old->n_locations : 0, n = 0;
    bool is_placed = false;
    Eidmap__Location **list = em_arena_alloc(d->arena, (n_old + 1) * sizeof(*list));
    if (!list || !mine)
        return out_of_room(d->fault);
    for (size_t i = 0; i < n_old; i++) {
        bool is_mine = strcmp(old->locations[i]->node_id, mine->node_id) == 0;
        if (is_mine || keep_others)
            list[n++] = is_mine ? mine : old->locations[i];
        is_placed |= is_mine;
    }
    if (!is_placed)
        list[n++] = mine;
    if (n > MS_PORT_LOCATIONS)
        return ms_refuse(d->fault, EM_E_LIMIT, "port.locations",
                         "a port may have %d locations, and it has them", MS_PORT_LOCATIONS);
    d->port->locations = list;
    d->port->n_locations = n;
    return 0;
}

static bool is_only_location(const Eidmap__Port *old, const char *node_id)
{
    for (size_t i = 0; old && i < old->n_locations; i++)
        if (strcmp(old->locations[i]->node_id, node_id) != 0)
            return false;
    return true;
}

static int locate_at_node(struct draft *d)
{
    const char *me = d->in->origin->name;
    const Eidmap__Port *old = d->in->old;
    const Eidmap__Location *have = old ? ms_port_location(old, me) : NULL;
    if (old && ms_port_location(old, MS_ANY_LOCAL))
        return 0; /* the node has its instance, and the map need not say so */
    bool is_alone = is_only_location(old, me);
    bool is_here = have && !is_pending(have);
    bool is_multihomed = old && old->multihomed;
    if (!is_here && !is_alone && !is_multihomed && !d->in->claim->attach)
        return ms_refuse(d->fault, EM_E_MOVED, "port", "the port has moved to node %s",
                         old->locations[0]->node_id);
    if (!have && d->in->is_node_full)
        return ms_refuse(d->fault, EM_E_LIMIT, "port",
                         "node %s has as many ports as a node may have", me);
    bool takes_over = !is_alone && !is_multihomed && d->in->claim->attach;
    uint64_t epoch = is_here && !takes_over ? have->epoch : d->revision;
    Eidmap__Location *mine = make_location(d, d->want->locations[0], me, have, epoch);
    return merge_location(d, mine, !takes_over);
}

static int locate_by_operator(struct draft *d)
{
    const Eidmap__Port *old = d->in->old;
    size_t n = d->want->n_locations;
    if (n == 0)
        return 0;
    Eidmap__Location **list = em_arena_alloc(d->arena, n * sizeof(*list));
    if (!list)
        return out_of_room(d->fault);
    for (size_t i = 0; i < n; i++) {
        const Eidmap__Location *want = d->want->locations[i];
        const Eidmap__Location *have = old ? ms_port_location(old, want->node_id) : NULL;
        for (size_t j = 0; j < i; j++)
            if (strcmp(d->want->locations[j]->node_id, want->node_id) == 0)
                return ms_refuse(d->fault, EM_E_MALFORMED, field(d, "locations", i),
                                 "node %s is there twice", want->node_id);
        bool is_arriving =
            have && is_pending(have) && want->state != EIDMAP__LOCATION_STATE__LOCATION_PENDING;
        list[i] = make_location(d, want, want->node_id, have,
                                have && !is_arriving ? have->epoch : d->revision);
        if (!list[i])
            return out_of_room(d->fault);
    }
    d->port->locations = list;
    d->port->n_locations = n;
    return 0;
}

static int refuse_child(struct draft *d)
{
    char text[EM_PORT_ID_TEXT];
    return ms_refuse(d->fault, EM_E_DENIED, "port",
                     "the port is a child: it is where port %s is, and only that one can be "
                     "attached or moved",
                     em_port_id_format(d->in->parent->id.data, d->in->parent->id.len, text));
}

/* --------------------------------------------------------------------- migration */

static const Eidmap__Location *find_pending(const Eidmap__Port *port)
{
    for (size_t i = 0; i < port->n_locations; i++)
        if (is_pending(port->locations[i]))
            return port->locations[i];
    return NULL;
}

static const Eidmap__Location *find_active(const Eidmap__Port *port)
{
    for (size_t i = 0; i < port->n_locations; i++)
        if (!is_pending(port->locations[i]))
            return port->locations[i];
    return NULL;
}

static bool is_allowed(const Eidmap__Port *port, const char *node_id)
{
    for (size_t i = 0; i < port->n_allowed_nodes; i++)
        if (strcmp(port->allowed_nodes[i], node_id) == 0)
            return true;
    return port->n_allowed_nodes == 0;
}

static int check_prepare(struct draft *d)
{
    const Eidmap__Port *old = d->in->old;
    const char *target = d->want->n_locations == 1 ? d->want->locations[0]->node_id : "";
    const Eidmap__Location *pending = find_pending(old);
    const Eidmap__Location *have = ms_port_location(old, target);
    if (!target[0])
        return ms_refuse(d->fault, EM_E_MALFORMED, "port.locations",
                         "the preparation of a migration names one node");
    if (d->in->claim->pending_ms > MS_PENDING_MAX_MS)
        return ms_refuse(d->fault, EM_E_MALFORMED, "pending_ms", "at most %u, a day",
                         MS_PENDING_MAX_MS);
    if (old->multihomed)
        return ms_refuse(d->fault, EM_E_DENIED, "port",
                         "a multihomed port is at several nodes by intent: it does not migrate");
    if (!find_active(old))
        return ms_refuse(d->fault, EM_E_NOT_FOUND, "port.locations",
                         "the port is nowhere, so there is nothing to migrate");
    if (have && !is_pending(have))
        return ms_refuse(d->fault, EM_E_EXISTS, "port.locations", "the port is at node %s already",
                         target);
    if (pending && !have)
        return ms_refuse(d->fault, EM_E_IN_USE, "port.locations",
                         "a migration to node %s is prepared: cancel that first", pending->node_id);
    if (!is_allowed(old, target))
        return ms_refuse(d->fault, EM_E_DENIED, "port.locations",
                         "node %s is not allowed to claim this port", target);
    return 0;
}

/* What is not said is as it is where the port is now. */
static int prepare(struct draft *d)
{
    int r = check_prepare(d);
    if (!r)
        r = check_location(d, 0);
    if (r)
        return r;
    const Eidmap__Location *want = d->want->locations[0];
    const Eidmap__Location *have = ms_port_location(d->in->old, want->node_id);
    Eidmap__Location like = *find_active(d->in->old);
    like.segmentation_id = want->segmentation_id;
    like.state = EIDMAP__LOCATION_STATE__LOCATION_PENDING;
    Eidmap__Location *mine =
        make_location(d, &like, want->node_id, have, have ? have->epoch : d->revision);
    uint32_t pending_ms = d->in->claim->pending_ms;
    if (mine)
        mine->until_ms = d->in->time_ms + (pending_ms ? pending_ms : MS_PENDING_MS);
    return merge_location(d, mine, true);
}

static int activate(struct draft *d)
{
    const Eidmap__Location *pending = find_pending(d->in->old);
    const Eidmap__Location *want = d->want->n_locations ? d->want->locations[0] : NULL;
    if (!pending || (want && strcmp(want->node_id, pending->node_id) != 0))
        return ms_refuse(d->fault, EM_E_NOT_FOUND, "port.locations",
                         "no migration of the port to this node is prepared");
    Eidmap__Location like = *pending;
    like.state = EIDMAP__LOCATION_STATE__LOCATION_ACTIVE;
    return merge_location(d, make_location(d, &like, pending->node_id, pending, d->revision),
                          false);
}

/* To cancel what is not prepared changes nothing. */
static int cancel(struct draft *d)
{
    const Eidmap__Port *old = d->in->old;
    Eidmap__Location **left = em_arena_alloc(d->arena, old->n_locations * sizeof(*left));
    if (!left)
        return out_of_room(d->fault);
    d->port->n_locations = 0;
    d->port->locations = left;
    for (size_t i = 0; i < old->n_locations; i++)
        if (!is_pending(old->locations[i]))
            left[d->port->n_locations++] = old->locations[i];
    if (d->port->n_locations == 0 && !old->declared)
        return ms_refuse(d->fault, EM_E_DENIED, "port.locations",
                         "the port has left where it was, the migration is all that it has");
    return 0;
}

static int draft_migration(struct draft *d)
{
    if (d->in->parent)
        return refuse_child(d);
    if (d->is_node)
        return ms_refuse(d->fault, EM_E_DENIED, "migration",
                         "an operator leads a migration; a node attaches the port");
    if (!d->in->old)
        return ms_refuse(d->fault, EM_E_NOT_FOUND, "port", "there is no such port");
    if (d->in->old->network_id != d->in->network->id)
        return ms_refuse(d->fault, EM_E_DENIED, "port.network_id", "the port is in network %u",
                         d->in->old->network_id);
    switch (d->in->claim->migration) {
    case EIDMAP__MIGRATION_STEP__MIGRATION_PREPARE:
        return prepare(d);
    case EIDMAP__MIGRATION_STEP__MIGRATION_ACTIVATE:
        return activate(d);
    case EIDMAP__MIGRATION_STEP__MIGRATION_CANCEL:
        return cancel(d);
    case EIDMAP__MIGRATION_STEP__MIGRATION_UNSPECIFIED:
    case _EIDMAP__MIGRATION_STEP_IS_INT_SIZE:
        break;
    }
    return ms_refuse(d->fault, EM_E_MALFORMED, "migration", "unknown step %d",
                     (int)d->in->claim->migration);
}

/* ------------------------------------------------------------------------- flags */

/* What a node may not touch at all. */
static int check_rights(struct draft *d)
{
    const Eidmap__Port *old = d->in->old;
    const char *me = d->in->origin->name;
    const Eidmap__Location *want = d->want->n_locations == 1 ? d->want->locations[0] : NULL;
    if (d->want->parent.len || d->want->tag)
        return ms_refuse(d->fault, EM_E_DENIED, "port.parent",
                         "only an operator may make a port a child");
    if (d->in->parent)
        return refuse_child(d);
    if (!want)
        return ms_refuse(d->fault, EM_E_MALFORMED, "port.locations",
                         "a node's claim has one location, not %zu", d->want->n_locations);
    if (want->node_id[0] && strcmp(want->node_id, me) != 0)
        return ms_refuse(d->fault, EM_E_DENIED, "port.locations[0].node_id",
                         "node %s may register ports on itself only", me);
    if (d->want->n_allowed_nodes > 0 || (d->want->declared && !(old && old->declared)))
        return ms_refuse(d->fault, EM_E_DENIED, "port",
                         "only an operator may declare a port or its allowed nodes");
    if (old && !is_allowed(old, me))
        return ms_refuse(d->fault, EM_E_DENIED, "port", "node %s is not allowed to claim this port",
                         me);
    if (old && old->network_id != d->in->network->id &&
        (old->declared || !is_only_location(old, me)))
        return ms_refuse(d->fault, EM_E_DENIED, "port.network_id",
                         "the port is in network %u and another holds it there", old->network_id);
    return 0;
}

static int draft_flags_by_node(struct draft *d)
{
    const Eidmap__Port *old = d->in->old;
    /* After an attach that takes the port over, this node is its only location. */
    bool will_be_alone = d->port->n_locations == 1;
    if (!old || (!old->declared && will_be_alone)) {
        d->port->multihomed = d->want->multihomed;
        d->port->shared = d->want->shared;
        return 0;
    }
    if ((d->want->multihomed && !old->multihomed) || (d->want->shared && !old->shared))
        return ms_refuse(d->fault, EM_E_DENIED, "port",
                         "multihomed and shared are set by whoever holds the port alone, or by an "
                         "operator");
    return 0;
}

static int draft_flags_by_operator(struct draft *d)
{
    const Eidmap__Port *old = d->in->old;
    size_t n = d->want->n_allowed_nodes;
    char why[EM_ADDR_WHY] = "";
    if (n > MS_PORT_ALLOWED)
        return ms_refuse(d->fault, EM_E_LIMIT, "port.allowed_nodes",
                         "a port may have %d allowed nodes, not %zu", MS_PORT_ALLOWED, n);
    for (size_t i = 0; i < n; i++)
        if (em_ident_check(d->want->allowed_nodes[i], why))
            return ms_refuse(d->fault, EM_E_MALFORMED, field(d, "allowed_nodes", i), "%s", why);
    d->port->declared = d->want->declared || (old && old->declared) || d->in->parent;
    if (!(old && d->in->claim->attach)) {
        d->port->multihomed = d->want->multihomed;
        d->port->shared = d->want->shared;
        d->port->allowed_nodes = d->want->allowed_nodes;
        d->port->n_allowed_nodes = n;
    }
    if (d->port->n_locations == 0 && !d->port->declared)
        return ms_refuse(d->fault, EM_E_MALFORMED, "port.locations",
                         "a port without a location must be declared");
    return 0;
}

/* ---------------------------------------------------------------------- the whole */

static int begin(struct draft *d)
{
    const struct ms_claim *in = d->in;
    char why[EM_ADDR_WHY] = "";
    if (em_port_id_check(d->want->id.data, d->want->id.len, why))
        return ms_refuse(d->fault, EM_E_MALFORMED, "port.id", "%s", why);
    if (d->want->n_locations > MS_PORT_LOCATIONS)
        return ms_refuse(d->fault, EM_E_LIMIT, "port.locations",
                         "a port may have %d locations, not %zu", MS_PORT_LOCATIONS,
                         d->want->n_locations);
    d->port = em_arena_alloc(d->arena, sizeof(*d->port));
    if (!d->port)
        return out_of_room(d->fault);
    if (in->old)
        *d->port = *in->old;
    else
        eidmap__port__init(d->port);
    d->port->id = d->want->id;
    d->port->network_id = in->network->id;
    /* Leaving a network is a change of its own, before this one. */
    d->revision = in->revision + (in->old && in->old->network_id != in->network->id);
    return 0;
}

/* Whoever has drafted it. */
static int check_any_local(struct draft *d)
{
    if (d->port->n_locations < 2 || !ms_port_location(d->port, MS_ANY_LOCAL))
        return 0;
    return ms_refuse(d->fault, EM_E_MALFORMED, "port.locations",
                     "any-local is a port's only location");
}

static int draft_for_node(struct draft *d)
{
    int r = check_rights(d);
    if (!r)
        r = check_location(d, 0);
    if (!r)
        r = locate_at_node(d);
    if (!r)
        r = draft_eids(d);
    return r ? r : draft_flags_by_node(d);
}

static int draft_for_operator(struct draft *d)
{
    int r = 0;
    if (d->want->tag && !d->in->parent)
        return ms_refuse(d->fault, EM_E_MALFORMED, "port.tag", "a tag without a parent");
    if (d->in->parent)
        r = ms_child_decide(d->in, d->revision, d->arena, d->fault, d->port);
    for (size_t i = 0; i < d->want->n_locations && !r; i++)
        r = check_location(d, i);
    if (!r)
        r = locate_by_operator(d);
    if (!r)
        r = draft_eids(d);
    return r ? r : draft_flags_by_operator(d);
}

int ms_claim_decide(const struct ms_claim *in, struct em_arena *arena, struct ms_fault *fault,
                    struct ms_verdict *ret_verdict)
{
    struct draft d = {
        .in = in,
        .want = in->claim->port,
        .arena = arena,
        .fault = fault,
        .is_node = in->origin->role == EIDMAP__ROLE__ROLE_NODE,
    };
    if (!d.want)
        return ms_refuse(fault, EM_E_MALFORMED, "port", "the claim names no port");
    assert(d.is_node || in->origin->role == EIDMAP__ROLE__ROLE_OPERATOR);
    int r = begin(&d);
    if (!r && in->claim->migration)
        r = draft_migration(&d);
    else if (!r)
        r = d.is_node ? draft_for_node(&d) : draft_for_operator(&d);
    if (!r)
        r = check_any_local(&d);
    if (r)
        return r;
    const char *node_id = d.is_node                 ? in->origin->name
                          : d.want->n_locations > 0 ? d.want->locations[0]->node_id
                                                    : NULL;
    const Eidmap__Location *located = node_id ? ms_port_place(d.port, node_id) : NULL;
    assert(located || !node_id || in->claim->migration);
    *ret_verdict = (struct ms_verdict){
        .is_changed = !in->old || !ms_message_equal(&d.port->base, &in->old->base, arena),
        .port = d.port,
        .epoch = located ? located->epoch : 0,
    };
    return 0;
}
