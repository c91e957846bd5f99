#include "resolver.h"

#include "base/mem.h"
#include "bucket.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define NONE    EM_INDEX_NONE
#define FULL_MS 2000 /* a bucket is full again, whatever the rate */

struct xtr_asker {
    struct em_list item;
    struct em_port_id id;
    struct xtr_bucket bucket;
    size_t held_bytes;
    uint32_t n_asking, n_found;
};

struct key {
    uint32_t network_id;
    const struct em_eid *eid;
    const struct em_port_id *port;
};

/* Indexes */

static uint64_t eid_hash(uint32_t network_id, const struct em_eid *eid)
{
    uint32_t head[3] = {network_id, (uint32_t)eid->kind, eid->prefix_len};
    return em_hash_more(em_hash(head, sizeof head), eid->addr, sizeof eid->addr);
}

static uint64_t port_hash(uint32_t network_id, const struct em_port_id *id)
{
    return em_hash_more(em_hash(&network_id, sizeof network_id), id->bytes, id->size);
}

static bool is_same_port(const struct em_port_id *a, const struct em_port_id *b)
{
    return a->size == b->size && !memcmp(a->bytes, b->bytes, a->size);
}

static bool has_eid(const void *aux, uint32_t slot, const void *key)
{
    const struct xtr_target *target = ((const struct xtr_resolver *)aux)->targets[slot];
    const struct key *wanted = key;
    return target->network_id == wanted->network_id && !em_eid_compare(&target->eid, wanted->eid);
}

static bool has_range(const void *aux, uint32_t slot, const void *key)
{
    const struct xtr_target *target = ((const struct xtr_resolver *)aux)->targets[slot];
    const struct key *wanted = key;
    return target->network_id == wanted->network_id &&
           !em_eid_compare(&target->covers, wanted->eid);
}

static bool has_port(const void *aux, uint32_t slot, const void *key)
{
    const struct xtr_target *target = ((const struct xtr_resolver *)aux)->targets[slot];
    const struct key *wanted = key;
    return target->network_id == wanted->network_id && is_same_port(&target->port, wanted->port);
}

static struct xtr_target *find(const struct xtr_resolver *resolver, uint32_t network_id,
                               const struct em_eid *eid)
{
    struct key key = {.network_id = network_id, .eid = eid};
    uint32_t slot =
        em_index_find(&resolver->by_eid, eid_hash(network_id, eid), has_eid, resolver, &key);
    return slot == NONE ? NULL : resolver->targets[slot];
}

bool xtr_resolver_names(const struct xtr_resolver *resolver, uint32_t network_id,
                        const struct em_port_id *port)
{
    struct key key = {.network_id = network_id, .port = port};
    return em_index_find(&resolver->by_port, port_hash(network_id, port), has_port, resolver,
                         &key) != NONE;
}

/* Does a negative answer hold for the address?  One look for each length of range there is. */
static bool is_covered(const struct xtr_resolver *resolver, uint32_t network_id,
                       const struct em_eid *eid)
{
    if (!em_eid_is_ip(eid))
        return false;
    const uint32_t *n = resolver->n_ranges[eid->size == 16];
    for (unsigned len = 0; len < em_eid_width(eid); len++) {
        struct em_eid range = em_eid_range(eid, len);
        struct key key = {.network_id = network_id, .eid = &range};
        if (n[len] && em_index_find(&resolver->by_range, eid_hash(network_id, &range), has_range,
                                    resolver, &key) != NONE)
            return true;
    }
    return false;
}

/* Sources */

static struct xtr_asker *source_get(struct xtr_resolver *resolver, const struct em_port_id *id,
                                    uint64_t now_ms)
{
    EM_FOREACH (source, &resolver->sources, struct xtr_asker, item)
        if (is_same_port(&source->id, id))
            return source;
    struct xtr_asker *source = em_calloc(1, sizeof *source);
    source->id = *id;
    xtr_bucket_init(&source->bucket, resolver->limits.rate, 2 * resolver->limits.rate, now_ms);
    em_list_append(&resolver->sources, &source->item);
    return source;
}

void xtr_resolver_tidy(struct xtr_resolver *resolver, uint64_t now_ms)
{
    EM_FOREACH (source, &resolver->sources, struct xtr_asker, item) {
        if (source->n_asking || source->n_found || source->held_bytes ||
            now_ms - source->bucket.last_ms < FULL_MS)
            continue;
        em_list_remove(&source->item);
        free(source);
    }
}

/* Held frames */

static bool has_room(const struct xtr_target *target, const struct xtr_asker *source, size_t size)
{
    const struct xtr_resolver *resolver = target->resolver;
    unsigned n = 0;
    EM_FOREACH (held, &target->held, struct xtr_held, item)
        n += held->source == source;
    return n < XTR_HELD_SOURCE && target->n_held < XTR_HELD_TARGET &&
           resolver->held_bytes + size <= XTR_HELD_BYTES &&
           source->held_bytes + size <= XTR_HELD_SOURCE_SIZE;
}

static void hold(struct xtr_target *target, struct xtr_asker *source, const uint8_t *frame,
                 size_t size)
{
    struct xtr_held *held = em_malloc(sizeof *held + size);
    held->source = source;
    held->size = size;
    memcpy(held->bytes, frame, size);
    em_list_append(&target->held, &held->item);
    target->n_held++;
    target->resolver->held_bytes += size;
    source->held_bytes += size;
}

static void unhold(struct xtr_target *target, struct xtr_held *held)
{
    em_list_remove(&held->item);
    target->n_held--;
    target->resolver->held_bytes -= held->size;
    held->source->held_bytes -= held->size;
    held->source = NULL;
}

static void drop_held(struct xtr_target *target)
{
    EM_FOREACH (held, &target->held, struct xtr_held, item) {
        unhold(target, held);
        free(held);
    }
}

static void make_ready(struct xtr_target *target)
{
    em_list_remove(&target->ready);
    if (target->state == XTR_TARGET_FOUND && target->n_held)
        em_list_append(&target->resolver->ready, &target->ready);
}

struct xtr_held *xtr_resolver_take_held(struct xtr_resolver *resolver, uint64_t position,
                                        const struct xtr_target **ret_target)
{
    EM_FOREACH (target, &resolver->ready, struct xtr_target, ready) {
        if (target->position > position)
            continue;
        struct xtr_held *held = em_container_of(target->held.next, struct xtr_held, item);
        unhold(target, held);
        if (!target->n_held)
            em_list_remove(&target->ready);
        *ret_target = target;
        return held;
    }
    return NULL;
}

/* Targets */

static uint32_t free_slot(struct xtr_resolver *resolver)
{
    if (resolver->n_free)
        for (uint32_t i = 0; i < resolver->n_targets; i++)
            if (!resolver->targets[i]) {
                resolver->n_free--;
                return i;
            }
    resolver->targets =
        em_realloc(resolver->targets, (resolver->n_targets + 1) * sizeof(struct xtr_target *));
    return resolver->n_targets++;
}

static struct xtr_target *target_new(struct xtr_resolver *resolver, uint32_t network_id,
                                     const struct em_eid *eid, struct xtr_asker *source,
                                     uint64_t due_ms)
{
    struct xtr_target *target = em_calloc(1, sizeof *target);
    target->resolver = resolver;
    target->slot = free_slot(resolver);
    target->network_id = network_id;
    target->eid = *eid;
    target->due_ms = due_ms;
    target->source = source;
    em_list_init(&target->held);
    em_list_init(&target->ready);
    em_list_append(&resolver->asking, &target->item);
    resolver->n_asking++;
    if (source)
        source->n_asking++;
    resolver->targets[target->slot] = target;
    em_index_insert(&resolver->by_eid, eid_hash(network_id, eid), target->slot);
    return target;
}

/* Out of what its state has put it into; true if that was the last that named its port. */
static bool leave_state(struct xtr_target *target)
{
    struct xtr_resolver *resolver = target->resolver;
    bool has_gone = false;
    em_list_remove(&target->item);
    em_list_remove(&target->ready);
    switch (target->state) {
    case XTR_TARGET_ASKING:
        resolver->n_asking--;
        if (target->source)
            target->source->n_asking--;
        break;
    case XTR_TARGET_FOUND:
        em_index_remove(&resolver->by_port, port_hash(target->network_id, &target->port),
                        target->slot);
        has_gone = !xtr_resolver_names(resolver, target->network_id, &target->port);
        resolver->counts.n_found--;
        if (target->source)
            target->source->n_found--;
        break;
    case XTR_TARGET_NOBODY:
        resolver->n_nobody--;
        if (target->covers.kind == EM_EID_NONE)
            break;
        em_index_remove(&resolver->by_range, eid_hash(target->network_id, &target->covers),
                        target->slot);
        resolver->n_ranges[target->covers.size == 16][target->covers.prefix_len]--;
        break;
    }
    return has_gone;
}

static void enter_found(struct xtr_target *target, const struct em_port_id *port,
                        const uint8_t *mac)
{
    struct xtr_resolver *resolver = target->resolver;
    target->state = XTR_TARGET_FOUND;
    target->port = *port;
    memcpy(target->mac, mac, EM_MAC_SIZE);
    target->position = UINT64_MAX; /* until the caller has put the port */
    em_list_append(&resolver->found, &target->item);
    em_index_insert(&resolver->by_port, port_hash(target->network_id, port), target->slot);
    resolver->counts.n_found++;
    if (target->source)
        target->source->n_found++;
    make_ready(target);
}

static void enter_nobody(struct xtr_target *target, const struct em_answer *answer, uint64_t now_ms)
{
    struct xtr_resolver *resolver = target->resolver;
    target->state = XTR_TARGET_NOBODY;
    target->source = NULL; /* it may be forgotten: nothing counts this target any more */
    target->due_ms = now_ms + answer->ttl_s * 1000ull;
    target->covers =
        em_eid_is_prefix(&answer->covers) && em_eid_covers(&answer->covers, &target->eid)
            ? answer->covers
            : (struct em_eid){.kind = EM_EID_NONE};
    em_list_append(&resolver->nobody, &target->item);
    resolver->n_nobody++;
    drop_held(target);
    if (target->covers.kind == EM_EID_NONE)
        return;
    em_index_insert(&resolver->by_range, eid_hash(target->network_id, &target->covers),
                    target->slot);
    resolver->n_ranges[target->covers.size == 16][target->covers.prefix_len]++;
}

bool xtr_resolver_drop(struct xtr_target *target, struct em_port_id *ret_gone)
{
    struct xtr_resolver *resolver = target->resolver;
    bool has_gone = leave_state(target);
    if (has_gone)
        *ret_gone = target->port;
    resolver->counts.n_dropped += target->n_held;
    drop_held(target);
    em_index_remove(&resolver->by_eid, eid_hash(target->network_id, &target->eid), target->slot);
    resolver->targets[target->slot] = NULL;
    resolver->n_free++;
    free(target);
    return has_gone;
}

/* Misses */

static uint32_t n_found_in(const struct xtr_resolver *resolver, uint32_t network_id)
{
    uint32_t n = 0;
    EM_FOREACH (target, &resolver->found, struct xtr_target, item)
        n += target->network_id == network_id;
    return n;
}

/* May one more be asked for?  The bound of a network is looked at only where it can be near. */
static bool may_ask(const struct xtr_resolver *resolver, const struct xtr_asker *source,
                    uint32_t network_id)
{
    const struct xtr_resolver_limits *limits = &resolver->limits;
    if (resolver->n_asking >= XTR_ASKING_MAX || source->n_asking >= XTR_ASKING_SOURCE ||
        resolver->counts.n_found >= XTR_FOUND_MAX || source->n_found >= (limits->max_found + 1) / 2)
        return false;
    return resolver->counts.n_found < limits->max_found ||
           n_found_in(resolver, network_id) < limits->max_found;
}

static enum xtr_miss miss(struct xtr_resolver *resolver, struct xtr_asker *source,
                          uint32_t network_id, const struct em_eid *eid, const uint8_t *frame,
                          size_t size, uint64_t now_ms, struct xtr_target **ret_target)
{
    struct xtr_target *target = find(resolver, network_id, eid);
    if ((target && target->state == XTR_TARGET_NOBODY) ||
        (!target && is_covered(resolver, network_id, eid)))
        return XTR_MISS_NONE;
    bool is_new = !target;
    if (target && !has_room(target, source, size))
        return XTR_MISS_FULL;
    if ((is_new && !may_ask(resolver, source, network_id)) ||
        !xtr_bucket_take(&source->bucket, now_ms))
        return XTR_MISS_FULL;
    if (is_new)
        target = target_new(resolver, network_id, eid, source, now_ms + XTR_HOLD_MS);
    if (is_new && !has_room(target, source, size)) {
        /* Ask all the same: the guest will try again. */
        *ret_target = target;
        return XTR_MISS_ASK;
    }
    hold(target, source, frame, size);
    make_ready(target);
    *ret_target = target;
    return is_new ? XTR_MISS_ASK : XTR_MISS_HELD;
}

enum xtr_miss xtr_resolver_miss(struct xtr_resolver *resolver, const struct em_port_id *source,
                                uint32_t network_id, const struct em_eid *eid, const uint8_t *frame,
                                size_t size, uint64_t now_ms, struct xtr_target **ret_target)
{
    enum xtr_miss verdict = miss(resolver, source_get(resolver, source, now_ms), network_id, eid,
                                 frame, size, now_ms, ret_target);
    resolver->counts.n_misses++;
    resolver->counts.n_dropped += verdict == XTR_MISS_FULL;
    return verdict;
}

struct xtr_target *xtr_resolver_adopt(struct xtr_resolver *resolver, uint32_t network_id,
                                      const struct em_eid *eid)
{
    if (resolver->counts.n_found + resolver->n_asking >= XTR_FOUND_MAX ||
        find(resolver, network_id, eid))
        return NULL;
    return target_new(resolver, network_id, eid, NULL, UINT64_MAX);
}

/* Answers */

static const struct em_eid *first_mac(const struct em_port *port)
{
    for (size_t i = 0; i < port->n_eids; i++)
        if (port->eids[i].kind == EM_EID_MAC)
            return &port->eids[i];
    return NULL;
}

bool xtr_resolver_answer(struct xtr_target *target, const struct em_answer *answer,
                         uint64_t revision, uint64_t now_ms, struct xtr_outcome *ret_outcome)
{
    struct xtr_resolver *resolver = target->resolver;
    const struct em_port *port = answer->port;
    const struct em_eid *mac = port ? first_mac(port) : NULL;
    bool is_found = mac && !em_eid_is_prefix(&answer->matched);
    struct em_port_id old = target->port;
    if (revision < target->revision || (target->is_kept && !is_found))
        return false;
    target->revision = revision;
    target->is_kept = false;
    *ret_outcome = (struct xtr_outcome){.is_found = is_found, .gone = old};
    ret_outcome->has_gone = leave_state(target);
    if (is_found) {
        enter_found(target, &port->id, mac->addr);
        resolver->counts.n_resolved++;
        ret_outcome->has_gone &= !is_same_port(&old, &port->id);
    } else {
        enter_nobody(target, answer, now_ms);
        resolver->counts.n_negative++;
    }
    return true;
}

/* Time */

struct xtr_target *xtr_resolver_next_expired(struct xtr_resolver *resolver, uint64_t now_ms)
{
    EM_FOREACH (target, &resolver->asking, struct xtr_target, item)
        if (target->due_ms <= now_ms)
            return target;
    if (resolver->n_nobody > XTR_NOBODY_MAX)
        return em_container_of(resolver->nobody.next, struct xtr_target, item);
    EM_FOREACH (target, &resolver->nobody, struct xtr_target, item)
        if (target->due_ms <= now_ms)
            return target;
    return NULL;
}

struct xtr_target *xtr_resolver_next_found(struct xtr_resolver *resolver)
{
    if (em_list_is_empty(&resolver->found))
        return NULL;
    struct xtr_target *target = em_container_of(resolver->found.next, struct xtr_target, item);
    em_list_remove(&target->item);
    em_list_append(&resolver->found, &target->item);
    return target;
}

void xtr_resolver_restart(struct xtr_resolver *resolver, bool is_believed)
{
    for (uint32_t i = 0; i < resolver->n_targets; i++) {
        struct xtr_target *target = resolver->targets[i];
        if (!target)
            continue;
        bool was_known = target->state == XTR_TARGET_FOUND ||
                         (target->state == XTR_TARGET_ASKING && !target->source);
        target->revision = 0;
        target->is_kept = was_known && !is_believed;
    }
}

/* Life */

void xtr_resolver_init(struct xtr_resolver *resolver, const struct xtr_resolver_limits *limits)
{
    *resolver = (struct xtr_resolver){.limits = *limits};
    em_index_init(&resolver->by_eid);
    em_index_init(&resolver->by_range);
    em_index_init(&resolver->by_port);
    em_list_init(&resolver->asking);
    em_list_init(&resolver->found);
    em_list_init(&resolver->nobody);
    em_list_init(&resolver->ready);
    em_list_init(&resolver->sources);
}

void xtr_resolver_fini(struct xtr_resolver *resolver)
{
    struct em_port_id gone;
    for (uint32_t i = 0; i < resolver->n_targets; i++)
        if (resolver->targets[i])
            (void)xtr_resolver_drop(resolver->targets[i], &gone);
    free(resolver->targets);
    EM_FOREACH (source, &resolver->sources, struct xtr_asker, item)
        free(source);
    em_index_fini(&resolver->by_eid);
    em_index_fini(&resolver->by_range);
    em_index_fini(&resolver->by_port);
}
