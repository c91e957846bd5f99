/* The order of the rules is the order in which an operator thinks: what is out of the
 * question, who is meant, who is alive, who is preferred, who shares. */
#include "choose.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum xtr_view xtr_choose_view(const struct em_location *location, const char *node_id,
                              const struct em_label *labels, size_t n_labels)
{
    if (location->view_node)
        return strcmp(location->view_node, node_id) ? XTR_VIEW_OTHERS : XTR_VIEW_NODE;
    if (!location->view_label.key)
        return XTR_VIEW_EVERYONE;
    for (size_t i = 0; i < n_labels; i++)
        if (!strcmp(labels[i].key, location->view_label.key) &&
            !strcmp(labels[i].value, location->view_label.value))
            return XTR_VIEW_LABEL;
    return XTR_VIEW_OTHERS;
}

static bool counts(const struct xtr_candidate *c)
{
    return c->is_usable && !c->is_pending && c->priority != EM_PRIORITY_NEVER &&
           c->view != XTR_VIEW_OTHERS;
}

/* < 0: 'a' is the better place, 0: they share. */
static int rank(const struct xtr_candidate *a, const struct xtr_candidate *b)
{
    if (a->view != b->view)
        return a->view > b->view ? -1 : 1;
    if (a->is_reachable != b->is_reachable)
        return a->is_reachable ? -1 : 1;
    return (int)a->priority - (int)b->priority;
}

static int compare(const void *a, const void *b)
{
    const struct xtr_choice *x = a, *y = b;
    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    return (x->segmentation_id > y->segmentation_id) - (x->segmentation_id < y->segmentation_id);
}

size_t xtr_choose(const struct xtr_candidate *candidates, size_t n, struct xtr_choice *ret_choices)
{
    const struct xtr_candidate *best = NULL;
    bool has_weight = false;
    for (size_t i = 0; i < n; i++) {
        const struct xtr_candidate *c = &candidates[i];
        if (!counts(c))
            continue;
        int order = best ? rank(c, best) : -1;
        if (order < 0) {
            best = c;
            has_weight = c->weight;
        } else if (!order) {
            has_weight |= c->weight != 0;
        }
    }

    size_t n_choices = 0;
    for (size_t i = 0; i < n; i++) {
        const struct xtr_candidate *c = &candidates[i];
        if (!counts(c) || rank(c, best) || (has_weight && !c->weight))
            continue;
        ret_choices[n_choices++] =
            (struct xtr_choice){c->node, c->segmentation_id, has_weight ? c->weight : 1};
    }
    assert(!best || n_choices > 0);
    if (n_choices)
        qsort(ret_choices, n_choices, sizeof *ret_choices, compare);
    return n_choices;
}
