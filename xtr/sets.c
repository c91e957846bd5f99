/* Sets are interned: the same list of locations in the same network gives the same set, and
 * a set's id is its place in an array.  Each location hangs in a list of its node, so that
 * a node's change finds its sets without a search. */
#include "sets.h"

#include "base/mem.h"
#include "choose.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SETS XTR_SETS_MAX

/* What is looked for: the locations that this node may see, in the map's order. */
struct wanted {
    const struct xtr_sets *sets;
    uint32_t network;
    size_t n;
    const struct em_location *locations[XTR_SET_LOCATIONS];
};

void xtr_sets_init(struct xtr_sets *sets)
{
    *sets = (struct xtr_sets){0};
    em_index_init(&sets->index);
}

static void set_free(struct xtr_nodes *nodes, struct xtr_set *set)
{
    for (size_t i = 0; i < set->n_locations; i++) {
        struct xtr_setloc *loc = &set->locations[i];
        em_list_remove(&loc->by_node);
        xtr_nodes_unref(nodes, loc->node);
        free((char *)(uintptr_t)loc->label.key);
        free((char *)(uintptr_t)loc->label.value);
    }
    free(set);
}

void xtr_sets_fini(struct xtr_sets *sets, struct xtr_nodes *nodes)
{
    for (uint32_t i = 0; i < sets->n_items; i++)
        if (sets->items[i])
            set_free(nodes, sets->items[i]);
    free(sets->items);
    free(sets->free_ids);
    em_index_fini(&sets->index);
}

struct xtr_set *xtr_sets_get(const struct xtr_sets *sets, uint32_t id)
{
    return id && id <= sets->n_items ? sets->items[id - 1] : NULL;
}

static uint64_t hash_location(uint64_t hash, const struct em_location *l)
{
    uint32_t numbers[2] = {l->segmentation_id, (uint32_t)l->priority << 16 |
                                                   (uint32_t)l->weight << 8 |
                                                   (l->view_node ? 2u : 0) | l->is_pending};
    hash = em_hash_more(hash, l->node_id, strlen(l->node_id) + 1);
    hash = em_hash_more(hash, numbers, sizeof numbers);
    if (!l->view_node && l->view_label.key) {
        hash = em_hash_more(hash, l->view_label.key, strlen(l->view_label.key) + 1);
        hash = em_hash_more(hash, l->view_label.value, strlen(l->view_label.value) + 1);
    }
    return hash;
}

static bool same_label(const struct em_label *a, const struct em_location *l)
{
    if (l->view_node || !l->view_label.key || !a->key)
        return !a->key && (l->view_node || !l->view_label.key);
    return !strcmp(a->key, l->view_label.key) && !strcmp(a->value, l->view_label.value);
}

static bool same_location(const struct xtr_setloc *a, const struct em_location *b)
{
    return a->segmentation_id == b->segmentation_id && a->priority == b->priority &&
           a->weight == b->weight && a->is_pending == b->is_pending &&
           a->is_own_view == (b->view_node != NULL) && same_label(&a->label, b) &&
           !strcmp(a->node->id, b->node_id);
}

static bool is_wanted(const void *aux, uint32_t slot, const void *key)
{
    const struct wanted *wanted = key;
    const struct xtr_set *set = wanted->sets->items[slot];
    if (set->network != wanted->network || set->n_locations != wanted->n)
        return false;
    for (size_t i = 0; i < wanted->n; i++)
        if (!same_location(&set->locations[i], wanted->locations[i]))
            return false;
    return true;
}

/* 0: none is left. */
static uint32_t take_id(struct xtr_sets *sets)
{
    if (sets->n_free)
        return sets->free_ids[--sets->n_free];
    if (sets->n_items == MAX_SETS)
        return 0;
    if (!(sets->n_items & (sets->n_items - 1))) {
        size_t size = sets->n_items ? sets->n_items * 2u : 1;
        sets->items = em_realloc(sets->items, size * sizeof(struct xtr_set *));
    }
    return ++sets->n_items;
}

static struct xtr_set *set_new(struct xtr_nodes *nodes, const struct wanted *wanted)
{
    struct xtr_set *set = em_calloc(1, sizeof *set + wanted->n * sizeof set->locations[0]);
    set->network = wanted->network;
    set->n_locations = (uint8_t)wanted->n;
    for (size_t i = 0; i < wanted->n; i++) {
        const struct em_location *from = wanted->locations[i];
        struct xtr_setloc *loc = &set->locations[i];
        *loc = (struct xtr_setloc){.set = set,
                                   .node = xtr_nodes_ref(nodes, from->node_id),
                                   .segmentation_id = from->segmentation_id,
                                   .priority = from->priority,
                                   .weight = from->weight,
                                   .is_pending = from->is_pending,
                                   .is_own_view = from->view_node != NULL};
        if (!from->view_node && from->view_label.key)
            loc->label = (struct em_label){em_strdup(from->view_label.key),
                                           em_strdup(from->view_label.value)};
        em_list_append(&loc->node->locations, &loc->by_node);
    }
    return set;
}

struct xtr_set *xtr_sets_ref(struct xtr_sets *sets, struct xtr_nodes *nodes, uint32_t network,
                             const struct em_location *locations, size_t n)
{
    struct wanted wanted = {.sets = sets, .network = network};
    uint64_t hash = em_hash(&network, sizeof network);
    for (size_t i = 0; i < n && wanted.n < XTR_SET_LOCATIONS; i++) {
        const struct em_location *l = &locations[i];
        if (l->view_node && strcmp(l->view_node, nodes->self->id))
            continue;
        wanted.locations[wanted.n++] = l;
        hash = hash_location(hash, l);
    }

    uint32_t slot = em_index_find(&sets->index, hash, is_wanted, NULL, &wanted);
    if (slot != EM_INDEX_NONE) {
        sets->items[slot]->refs++;
        return sets->items[slot];
    }
    uint32_t id = take_id(sets);
    if (!id)
        return NULL;
    struct xtr_set *set = set_new(nodes, &wanted);
    set->id = id;
    set->hash = hash;
    set->refs = 1;
    sets->items[id - 1] = set;
    em_index_insert(&sets->index, hash, id - 1);
    return set;
}

void xtr_sets_free(struct xtr_sets *sets, struct xtr_nodes *nodes, struct xtr_set *set)
{
    assert(!set->refs && sets->items[set->id - 1] == set);
    em_index_remove(&sets->index, set->hash, set->id - 1);
    sets->items[set->id - 1] = NULL;
    if (sets->n_free == sets->free_size) {
        sets->free_size = sets->free_size ? sets->free_size * 2 : 16;
        sets->free_ids = em_realloc(sets->free_ids, sets->free_size * sizeof *sets->free_ids);
    }
    sets->free_ids[sets->n_free++] = set->id;
    set_free(nodes, set);
}

struct em_location xtr_setloc_show(const struct xtr_setloc *loc, const struct xtr_nodes *nodes)
{
    return (struct em_location){.node_id = loc->node->id,
                                .segmentation_id = loc->segmentation_id,
                                .priority = loc->priority,
                                .weight = loc->weight,
                                .is_pending = loc->is_pending,
                                .view_node = loc->is_own_view ? nodes->self->id : NULL,
                                .view_label = loc->label};
}

static struct xtr_contender contender(const struct xtr_setloc *loc, const struct xtr_nodes *nodes)
{
    struct em_location shown = xtr_setloc_show(loc, nodes);
    const struct em_node *self = nodes->self->record;
    return (struct xtr_contender){
        .node = loc->node->slot,
        .segmentation_id = loc->segmentation_id,
        .priority = loc->priority,
        .weight = loc->weight,
        .view = em_location_view(&shown, nodes->self->id, self ? self->labels : NULL,
                                 self ? self->n_labels : 0),
        .is_pending = loc->is_pending,
        .is_usable = loc->node->is_usable,
        .is_reachable = xtr_node_is_reachable(loc->node),
    };
}

/* Two nodes may claim one RLOC: a place is in a set once, with both weights. */
static size_t add_target(struct dp_target *targets, size_t n, const struct dp_target *target)
{
    for (size_t i = 0; i < n; i++) {
        struct dp_target *t = &targets[i];
        if (xtr_is_same_target(t, target)) {
            unsigned weight = (unsigned)t->weight + target->weight;
            t->weight = (uint8_t)(weight > UINT8_MAX ? UINT8_MAX : weight);
            return n;
        }
    }
    targets[n] = *target;
    return n + 1;
}

static void list_contenders(const struct xtr_set *set, const struct xtr_nodes *nodes,
                            struct xtr_contender contenders[XTR_SET_LOCATIONS])
{
    for (size_t i = 0; i < set->n_locations; i++)
        contenders[i] = contender(&set->locations[i], nodes);
}

void xtr_set_whys(const struct xtr_set *set, const struct xtr_nodes *nodes, enum xtr_why *ret_whys)
{
    struct xtr_contender contenders[XTR_SET_LOCATIONS];
    list_contenders(set, nodes, contenders);
    for (size_t i = 0; i < set->n_locations; i++)
        ret_whys[i] = xtr_choose_why(contenders, set->n_locations, i);
}

/* Asked for every MAC that goes to the data plane, and nearly always answered at once. */
bool xtr_set_pending(const struct xtr_set *set, const struct xtr_nodes *nodes, uint16_t own_port,
                     struct dp_target *ret_target)
{
    struct xtr_contender contenders[XTR_SET_LOCATIONS];
    bool has_pending = false;
    for (size_t i = 0; i < set->n_locations; i++)
        has_pending |= set->locations[i].is_pending;
    if (!has_pending)
        return false;
    list_contenders(set, nodes, contenders);
    const struct xtr_contender *pending = xtr_choose_pending(contenders, set->n_locations);
    if (!pending)
        return false;
    *ret_target =
        xtr_node_target(nodes->items[pending->node], pending->segmentation_id, 1, own_port);
    return true;
}

size_t xtr_set_targets(const struct xtr_set *set, const struct xtr_nodes *nodes, uint16_t own_port,
                       struct dp_target ret_targets[XTR_SET_LOCATIONS])
{
    struct xtr_contender contenders[XTR_SET_LOCATIONS];
    struct xtr_choice choices[XTR_SET_LOCATIONS];
    list_contenders(set, nodes, contenders);
    size_t n_choices = xtr_choose(contenders, set->n_locations, choices);

    size_t n = 0;
    for (size_t i = 0; i < n_choices; i++) {
        struct dp_target target = xtr_node_target(
            nodes->items[choices[i].node], choices[i].segmentation_id, choices[i].weight, own_port);
        n = add_target(ret_targets, n, &target);
    }
    return n;
}
