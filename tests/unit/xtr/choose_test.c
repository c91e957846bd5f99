#include "choose.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#define SEEN EM_VIEW_EVERYONE
/* node, segmentation-id, priority, weight, view, pending, usable, reachable */
#define PLACE(...) ((struct xtr_contender){__VA_ARGS__})

static struct xtr_choice chosen[16];

Test(choose, the_lowest_priority_is_used_alone)
{
    struct xtr_contender c[] = {PLACE(1, 10, 2, 0, SEEN, 0, 1, 1),
                                PLACE(2, 10, 1, 0, SEEN, 0, 1, 1)};
    cr_assert(eq(sz, xtr_choose(c, 2, chosen), 1));
    cr_assert(eq(u32, chosen[0].node, 2));
}

Test(choose, equal_priorities_share_by_weight)
{
    struct xtr_contender c[] = {PLACE(2, 10, 1, 30, SEEN, 0, 1, 1),
                                PLACE(1, 11, 1, 10, SEEN, 0, 1, 1)};
    cr_assert(eq(sz, xtr_choose(c, 2, chosen), 2));
    cr_assert(eq(u32, chosen[0].node, 1));
    cr_assert(eq(u32, chosen[0].segmentation_id, 11));
    cr_assert(eq(u8, chosen[0].weight, 10));
    cr_assert(eq(u8, chosen[1].weight, 30));
}

Test(choose, a_pending_location_gets_copies_and_no_traffic)
{
    struct xtr_contender c[] = {PLACE(1, 10, 5, 0, SEEN, 0, 1, 0),
                                PLACE(2, 11, 0, 9, SEEN, 1, 1, 1)};
    cr_assert(eq(sz, xtr_choose(c, 2, chosen), 1));
    cr_assert(eq(u32, chosen[0].node, 1), "it is not even preferred to the unreachable");
    cr_assert(eq(ptr, (void *)xtr_choose_pending(c, 2), &c[1]));
    c[1].is_usable = false;
    cr_assert(xtr_choose_pending(c, 2) == NULL, "the target is this node");
    c[1].is_usable = true;
    c[1].view = EM_VIEW_OTHERS;
    cr_assert(xtr_choose_pending(c, 2) == NULL, "not for us");
    cr_assert(xtr_choose_pending(c, 1) == NULL, "none is pending");
}

Test(choose, weights_of_zero_are_equal_shares)
{
    struct xtr_contender c[] = {PLACE(1, 10, 1, 0, SEEN, 0, 1, 1),
                                PLACE(2, 10, 1, 0, SEEN, 0, 1, 1)};
    cr_assert(eq(sz, xtr_choose(c, 2, chosen), 2));
    cr_assert(eq(u8, chosen[0].weight, 1));
    cr_assert(eq(u8, chosen[1].weight, 1));
}

Test(choose, weight_zero_beside_others_takes_nothing)
{
    struct xtr_contender c[] = {PLACE(1, 10, 1, 0, SEEN, 0, 1, 1),
                                PLACE(2, 10, 1, 5, SEEN, 0, 1, 1)};
    cr_assert(eq(sz, xtr_choose(c, 2, chosen), 1));
    cr_assert(eq(u32, chosen[0].node, 2));
}

Test(choose, a_reachable_node_beats_a_better_priority)
{
    struct xtr_contender c[] = {PLACE(1, 10, 1, 0, SEEN, 0, 1, 0),
                                PLACE(2, 10, 9, 0, SEEN, 0, 1, 1)};
    cr_assert(eq(sz, xtr_choose(c, 2, chosen), 1));
    cr_assert(eq(u32, chosen[0].node, 2));
}

Test(choose, an_unreachable_node_is_used_when_there_is_nothing_else)
{
    struct xtr_contender c[] = {PLACE(1, 10, 1, 0, SEEN, 0, 1, 0),
                                PLACE(2, 10, 0, 0, SEEN, 0, 0, 1)};
    cr_assert(eq(sz, xtr_choose(c, 2, chosen), 1));
    cr_assert(eq(u32, chosen[0].node, 1));
}

Test(choose, pending_and_never_and_unusable_do_not_count)
{
    struct xtr_contender c[] = {
        PLACE(1, 10, 1, 0, SEEN, 1, 1, 1), PLACE(2, 10, 255, 0, SEEN, 0, 1, 1),
        PLACE(3, 10, 1, 0, SEEN, 0, 0, 1), PLACE(4, 10, 1, 0, EM_VIEW_OTHERS, 0, 1, 1)};
    cr_assert(eq(sz, xtr_choose(c, 4, chosen), 0));
}

Test(choose, the_most_specific_view_wins_over_priority)
{
    struct xtr_contender c[] = {PLACE(1, 10, 1, 0, SEEN, 0, 1, 1),
                                PLACE(2, 10, 7, 0, EM_VIEW_LABEL, 0, 1, 1),
                                PLACE(3, 10, 9, 0, EM_VIEW_NODE, 0, 1, 1)};
    cr_assert(eq(sz, xtr_choose(c, 3, chosen), 1));
    cr_assert(eq(u32, chosen[0].node, 3));
    cr_assert(eq(sz, xtr_choose(c, 2, chosen), 1));
    cr_assert(eq(u32, chosen[0].node, 2));
}

Test(choose, no_location_is_no_choice)
{
    cr_assert(eq(sz, xtr_choose(NULL, 0, chosen), 0));
}

Test(choose, a_view_is_matched_against_this_node_and_its_labels)
{
    const struct em_label labels[] = {{"zone", "a"}, {"rack", "7"}};
    struct em_location l = {.node_id = "x"};
    cr_assert(em_location_view(&l, "h1", labels, 2) == EM_VIEW_EVERYONE);
    l.view_label = (struct em_label){"rack", "7"};
    cr_assert(em_location_view(&l, "h1", labels, 2) == EM_VIEW_LABEL);
    cr_assert(em_location_view(&l, "h1", labels, 1) == EM_VIEW_OTHERS);
    l.view_label.value = "8";
    cr_assert(em_location_view(&l, "h1", labels, 2) == EM_VIEW_OTHERS);
    l.view_node = "h1";
    cr_assert(em_location_view(&l, "h1", labels, 2) == EM_VIEW_NODE);
    cr_assert(em_location_view(&l, "h2", labels, 2) == EM_VIEW_OTHERS);
}

/* ---- why */

static enum xtr_why why(const struct xtr_contender *c, size_t n, size_t i)
{
    return xtr_choose_why(c, n, i);
}

Test(choose, every_rule_is_a_reason)
{
    struct xtr_contender c[] = {
        PLACE(1, 10, 1, 5, EM_VIEW_LABEL, 0, 1, 1), PLACE(2, 10, 1, 0, EM_VIEW_LABEL, 0, 1, 1),
        PLACE(3, 10, 2, 5, EM_VIEW_LABEL, 0, 1, 1), PLACE(4, 10, 1, 5, EM_VIEW_LABEL, 0, 1, 0),
        PLACE(5, 10, 1, 5, SEEN, 0, 1, 1),          PLACE(6, 10, 1, 5, EM_VIEW_LABEL, 0, 0, 1),
        PLACE(7, 10, 255, 5, SEEN, 0, 1, 1),        PLACE(8, 10, 1, 5, SEEN, 1, 1, 1),
        PLACE(9, 10, 1, 5, EM_VIEW_OTHERS, 0, 1, 1)};
    static const enum xtr_why wanted[] = {XTR_WHY_CHOSEN,      XTR_WHY_WEIGHT,  XTR_WHY_PRIORITY,
                                          XTR_WHY_UNREACHABLE, XTR_WHY_WIDER,   XTR_WHY_UNUSABLE,
                                          XTR_WHY_NEVER,       XTR_WHY_PENDING, XTR_WHY_OTHERS};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        cr_assert(why(c, 9, i) == wanted[i], "contender %zu: %d", i, why(c, 9, i));
}

/* Chosen is what xtr_choose() gives, whatever the contenders are. */
Test(choose, the_reasons_are_those_of_the_choice)
{
    struct xtr_contender c[4];
    for (unsigned draw = 0; draw < 20000; draw++) {
        size_t n_chosen = 0;
        for (size_t i = 0; i < 4; i++)
            c[i] = PLACE((uint32_t)i, 10, (uint8_t)(rand() % 3 == 2 ? 255 : rand() % 2),
                         (uint8_t)(rand() % 2), (enum em_view)(rand() % 4), rand() % 4 == 0,
                         rand() % 4 != 0, rand() % 2);
        size_t n = xtr_choose(c, 4, chosen);
        for (size_t i = 0; i < 4; i++)
            if (why(c, 4, i) == XTR_WHY_CHOSEN)
                cr_assert(eq(u32, chosen[n_chosen++].node, (uint32_t)i));
        cr_assert(eq(sz, n_chosen, n));
    }
}

Test(choose, any_local_is_for_everyone)
{
    struct em_location l = {.node_id = ""};
    cr_assert(em_location_is_any_local(&l));
    cr_assert(em_location_view(&l, "h1", NULL, 0) == EM_VIEW_EVERYONE);
}
