#include "guard.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct xtr_guard guard;

static void setup(void)
{
    xtr_guard_init(&guard, 50);
    xtr_guard_session(&guard, "ms1");
}

static void teardown(void)
{
    xtr_guard_fini(&guard);
}

TestSuite(xtr_guard, .init = setup, .fini = teardown);

/* The verdict on network 7 that had so many and lacks so many. */
static enum xtr_verdict judge(uint64_t n_known, uint64_t n_missing)
{
    struct xtr_loss loss = {.n_known = n_known, .n_missing = n_missing};
    return xtr_guard_judge(&guard, 7, &loss, 1);
}

Test(xtr_guard, more_than_half_gone_is_doubted)
{
    cr_assert(judge(100, 0) == XTR_BELIEVED);
    cr_assert(judge(100, 50) == XTR_BELIEVED);
    cr_assert(xtr_guard_find(&guard, 7) == NULL);
    cr_assert(judge(100, 51) == XTR_DOUBTED);
    cr_assert(eq(str, (char *)xtr_guard_find(&guard, 7)->server_id, "ms1"));
    cr_assert(xtr_guard_find(&guard, 8) == NULL);
}

Test(xtr_guard, an_empty_snapshot_of_a_network_with_one_remote_port_is_doubted)
{
    cr_assert(judge(1, 1) == XTR_DOUBTED);
    cr_assert(judge(0, 0) == XTR_BELIEVED, "there was nothing to lose");
    cr_assert(xtr_guard_find(&guard, 7) == NULL);
}

Test(xtr_guard, a_few_of_a_few_may_go)
{
    cr_assert(judge(2, 1) == XTR_BELIEVED);
    cr_assert(judge(4, 3) == XTR_BELIEVED);
    cr_assert(judge(5, 4) == XTR_DOUBTED);
    cr_assert(judge(3, 3) == XTR_DOUBTED, "nothing is left");
}

Test(xtr_guard, what_something_stands_on_is_never_lost_silently)
{
    struct xtr_loss losses[] = {{10, 0, false}, {.n_known = 9, .n_missing = 1, .is_vital = true}};
    cr_assert(xtr_guard_judge(&guard, 0, losses, 2) == XTR_DOUBTED);
    losses[1].is_vital = false;
    cr_assert(xtr_guard_judge(&guard, 0, losses, 2) == XTR_BELIEVED);
}

Test(xtr_guard, each_sort_of_record_counts_for_itself)
{
    struct xtr_loss losses[] = {{1000, 0, false}, {8, 8, false}};
    cr_assert(xtr_guard_judge(&guard, 0, losses, 2) == XTR_DOUBTED);
}

Test(xtr_guard, the_same_server_does_not_confirm_itself)
{
    cr_assert(judge(100, 90) == XTR_DOUBTED);
    cr_assert(judge(100, 90) == XTR_DOUBTED);
    cr_assert(xtr_guard_wants_other(&guard));
    cr_assert(not(xtr_guard_can_ask(&guard, xtr_guard_find(&guard, 7))));
}

Test(xtr_guard, another_server_confirms)
{
    cr_assert(judge(100, 90) == XTR_DOUBTED);
    xtr_guard_session(&guard, "ms2");
    cr_assert(xtr_guard_can_ask(&guard, xtr_guard_find(&guard, 7)));
    cr_assert(judge(100, 89) == XTR_CONFIRMED, "something was made meanwhile");
    cr_assert(xtr_guard_find(&guard, 7) == NULL);
    cr_assert(not(xtr_guard_wants_other(&guard)));
    cr_assert(judge(100, 90) == XTR_DOUBTED, "the next loss is another one");
}

Test(xtr_guard, another_server_that_shows_all_ends_the_doubt)
{
    cr_assert(judge(100, 90) == XTR_DOUBTED);
    xtr_guard_session(&guard, "ms2");
    cr_assert(judge(100, 10) == XTR_BELIEVED);
    cr_assert(xtr_guard_find(&guard, 7) == NULL);
}

Test(xtr_guard, whatever_another_map_lacks_is_doubted_and_its_servers_agree_in_vain)
{
    guard.is_other_map = true;
    cr_assert(judge(100, 1) == XTR_DOUBTED);
    cr_assert(not(xtr_guard_wants_other(&guard)));
    xtr_guard_session(&guard, "ms2");
    cr_assert(judge(100, 1) == XTR_DOUBTED);
    guard.is_other_map = false;
    xtr_guard_session(&guard, "ms3");
    cr_assert(judge(100, 90) == XTR_DOUBTED, "it is still the word of that map");
    cr_assert(judge(100, 0) == XTR_BELIEVED);
    cr_assert(xtr_guard_find(&guard, 7) == NULL);
}

Test(xtr_guard, a_person_has_the_last_word)
{
    guard.is_other_map = guard.is_waived = true;
    cr_assert(judge(100, 100) == XTR_BELIEVED);
    cr_assert(xtr_guard_find(&guard, 7) == NULL);
}

Test(xtr_guard, a_hundred_percent_is_never_doubted)
{
    guard.shrink_percent = 100;
    guard.is_other_map = true;
    cr_assert(judge(100, 100) == XTR_BELIEVED);
}

Test(xtr_guard, a_doubt_of_an_earlier_run_goes_on)
{
    xtr_guard_restore(&guard, &(struct xtr_doubt){.network_id = 7, .server_id = "ms1"});
    cr_assert(judge(100, 90) == XTR_DOUBTED);
    xtr_guard_restore(&guard, &(struct xtr_doubt){.network_id = 9, .server_id = "ms2"});
    xtr_guard_forget(&guard, 7);
    xtr_guard_forget(&guard, 7);
    cr_assert(xtr_guard_find(&guard, 7) == NULL);
    cr_assert(eq(str, (char *)xtr_guard_find(&guard, 9)->server_id, "ms2"));
}
