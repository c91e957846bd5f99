/* The order of the rules is the order in which an operator thinks: what is out of the
 * question, who is meant, who is alive, who is preferred, who shares. */
#include "choose.h"

#include <assert.h>
#include <stdlib.h>

/* The server has one pending location of a port at a time. */
const struct xtr_contender *xtr_choose_pending(const struct xtr_contender *contenders, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (contenders[i].is_pending && contenders[i].is_usable &&
            contenders[i].view != EM_VIEW_OTHERS)
            return &contenders[i];
    return NULL;
}

static bool counts(const struct xtr_contender *c)
{
    return c->is_usable && !c->is_pending && c->priority != EM_PRIORITY_NEVER &&
           c->view != EM_VIEW_OTHERS;
}

/* < 0: 'a' is the better place, 0: they share. */
static int rank(const struct xtr_contender *a, const struct xtr_contender *b)
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

/* NULL: none counts.  *ret_has_weight: one that is as good as it has a weight. */
static const struct xtr_contender *find_best(const struct xtr_contender *contenders, size_t n,
                                             bool *ret_has_weight)
{
    const struct xtr_contender *best = NULL;
    bool has_weight = false;
    for (size_t i = 0; i < n; i++) {
        const struct xtr_contender *c = &contenders[i];
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
    *ret_has_weight = has_weight;
    return best;
}

size_t xtr_choose(const struct xtr_contender *contenders, size_t n, struct xtr_choice *ret_choices)
{
    bool has_weight;
    const struct xtr_contender *best = find_best(contenders, n, &has_weight);
    size_t n_choices = 0;
    for (size_t i = 0; i < n; i++) {
        const struct xtr_contender *c = &contenders[i];
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

enum xtr_why xtr_choose_why(const struct xtr_contender *contenders, size_t n, size_t i)
{
    const struct xtr_contender *c = &contenders[i];
    bool has_weight;
    const struct xtr_contender *best = find_best(contenders, n, &has_weight);
    if (c->view == EM_VIEW_OTHERS)
        return XTR_WHY_OTHERS;
    if (c->is_pending)
        return XTR_WHY_PENDING;
    if (c->priority == EM_PRIORITY_NEVER)
        return XTR_WHY_NEVER;
    if (!counts(c))
        return XTR_WHY_UNUSABLE;
    if (c->view != best->view)
        return XTR_WHY_WIDER;
    if (c->is_reachable != best->is_reachable)
        return XTR_WHY_UNREACHABLE;
    if (rank(c, best))
        return XTR_WHY_PRIORITY;
    return has_weight && !c->weight ? XTR_WHY_WEIGHT : XTR_WHY_CHOSEN;
}
