/* The checker of the fault tests refuses what no map can have told, and nothing else. */
#include "server/history.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define N_LONG 20000

static struct history history;

static void teardown(void)
{
    history_fini(&history);
}

TestSuite(history, .fini = teardown, .timeout = 30);

static void add(enum history_kind kind, uint32_t key, uint32_t node, uint64_t epoch, uint64_t begin,
                uint64_t end)
{
    history_add(&history, &(struct history_op){.kind = kind,
                                               .is_open = end == 0,
                                               .key = key,
                                               .node = node,
                                               .epoch = epoch,
                                               .begin = begin,
                                               .end = end});
}

static void move(uint32_t node, uint64_t epoch, uint64_t begin, uint64_t end)
{
    add(HISTORY_MOVE, 0, node, epoch, begin, end);
}

static void leave(uint32_t node, uint64_t begin, uint64_t end)
{
    add(HISTORY_LEAVE, 0, node, 0, begin, end);
}

static void read(uint32_t node, uint64_t epoch, uint64_t begin, uint64_t end)
{
    add(HISTORY_READ, 0, node, epoch, begin, end);
}

static void expect(bool is_possible)
{
    char *why = history_check(&history);
    if (is_possible)
        cr_assert_null(why, "%s", why);
    else
        cr_assert_not_null(why, "it was taken for possible");
    free(why);
}

Test(history, nothing_is_possible)
{
    expect(true);
}

Test(history, one_after_the_other_is_possible)
{
    read(0, 0, 1, 2);
    move(1, 10, 3, 4);
    read(1, 10, 5, 6);
    move(2, 11, 7, 8);
    leave(1, 9, 10); /* not there any more */
    read(2, 11, 11, 12);
    move(2, 11, 13, 14); /* it is there already */
    leave(2, 15, 16);
    read(0, 0, 17, 18);
    expect(true);
}

Test(history, a_lost_write_is_refused)
{
    move(1, 10, 1, 2);
    read(0, 0, 3, 4);
    expect(false);
}

Test(history, a_stale_read_is_refused)
{
    move(1, 10, 1, 2);
    move(2, 11, 3, 4);
    read(1, 10, 5, 6);
    expect(false);
}

Test(history, a_read_beside_a_write_may_see_either)
{
    move(1, 10, 1, 2);
    move(2, 11, 3, 10);
    read(1, 10, 4, 5);
    read(2, 11, 6, 7);
    expect(true);
}

Test(history, reads_beside_a_write_may_not_go_back)
{
    move(1, 10, 1, 2);
    move(2, 11, 3, 10);
    read(2, 11, 4, 5);
    read(1, 10, 6, 7);
    expect(false);
}

Test(history, a_withdrawal_that_comes_back_is_refused)
{
    move(1, 10, 1, 2);
    leave(1, 3, 4);
    read(1, 10, 5, 6);
    expect(false);
}

Test(history, a_removal_takes_it_from_anybody)
{
    move(1, 10, 1, 2);
    add(HISTORY_REMOVE, 0, 0, 0, 3, 4);
    read(0, 0, 5, 6);
    expect(true);
    read(1, 10, 7, 8);
    expect(false);
}

Test(history, an_epoch_that_nobody_was_given_is_refused)
{
    move(1, 10, 1, 2);
    read(1, 12, 3, 4);
    expect(false);
}

Test(history, a_write_without_an_answer_may_have_been_done)
{
    move(1, 10, 1, 2);
    move(2, 0, 3, 0);
    read(1, 10, 5, 6);
    read(2, 12, 7, 8);
    read(2, 12, 9, 10);
    expect(true);
}

Test(history, a_write_without_an_answer_may_never_be_done)
{
    move(1, 10, 1, 2);
    move(2, 0, 3, 0);
    leave(1, 4, 0);
    read(1, 10, 5, 6);
    expect(true);
}

Test(history, a_write_without_an_answer_is_done_once)
{
    move(1, 10, 1, 2);
    move(2, 0, 3, 0);
    read(2, 11, 5, 6);
    move(1, 12, 7, 8);
    read(2, 13, 9, 10);
    expect(false);
}

Test(history, a_write_without_an_answer_cannot_have_been_done_before_it_began)
{
    read(2, 10, 1, 2);
    move(2, 0, 3, 0);
    expect(false);
}

Test(history, an_answered_write_without_an_epoch_must_have_been_done)
{
    move(1, 10, 1, 2);
    move(2, 0, 3, 4);
    read(1, 10, 5, 6);
    expect(false);
}

Test(history, a_new_epoch_where_nothing_moved_is_refused)
{
    move(1, 10, 1, 2);
    move(1, 11, 3, 4);
    expect(false);
}

Test(history, an_epoch_that_falls_is_refused)
{
    move(1, 10, 1, 2);
    leave(1, 3, 4);
    move(1, 9, 5, 6);
    expect(false);
}

Test(history, an_epoch_that_falls_between_keys_is_refused)
{
    add(HISTORY_MOVE, 0, 1, 10, 1, 2);
    add(HISTORY_MOVE, 1, 2, 9, 3, 4);
    expect(false);
}

Test(history, epochs_of_moves_beside_each_other_come_in_any_order)
{
    add(HISTORY_MOVE, 0, 1, 10, 1, 4);
    add(HISTORY_MOVE, 1, 2, 9, 2, 3);
    expect(true);
}

Test(history, two_keys_cannot_have_one_epoch)
{
    add(HISTORY_MOVE, 0, 1, 10, 1, 4);
    add(HISTORY_MOVE, 1, 2, 10, 2, 3);
    expect(false);
}

Test(history, keys_do_not_mix)
{
    add(HISTORY_MOVE, 0, 1, 10, 1, 2);
    add(HISTORY_READ, 1, 0, 0, 3, 4);
    add(HISTORY_MOVE, 1, 2, 11, 5, 6);
    add(HISTORY_READ, 0, 1, 10, 7, 8);
    expect(true);
}

/* Four clients, each operation beside three others; and the same with one wrong answer. */
static void fill_long(size_t wrong)
{
    for (size_t i = 0; i < N_LONG; i++) {
        uint64_t at = 10 * i;
        uint32_t node = 1 + (uint32_t)(i / 2 % 4);
        uint64_t epoch = i / 2 + 1;
        if (i % 2 == 0)
            move(node, epoch, at < 15 ? 0 : at - 15, at + 15);
        else
            read(node, i == wrong ? epoch - 8 : epoch, at - 5, at + 15);
    }
    move(3, 0, 100, 0);
    leave(1, 200, 0);
}

Test(history, a_long_one_is_checked)
{
    fill_long(N_LONG);
    expect(true);
}

Test(history, one_wrong_answer_in_a_long_one_is_found)
{
    fill_long(N_LONG / 2 + 1);
    expect(false);
}
