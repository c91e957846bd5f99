#include "client/pending.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct em_pending_table table;

static void setup(void)
{
    em_pending_init(&table);
}

static void teardown(void)
{
    em_pending_fini(&table);
}

TestSuite(pending, .init = setup, .fini = teardown);

static struct em_pending *add(unsigned flags, uint64_t due_ms)
{
    struct em_pending proto = {.flags = flags, .due_ms = due_ms};
    return em_pending_add(&table, &proto, (const uint8_t *)"frame", 5);
}

Test(pending, ids_begin_behind_hello_and_are_never_used_again)
{
    struct em_pending *first = add(0, 0);
    cr_assert_eq(first->id, EM_HELLO_ID + 1);
    em_pending_remove(&table, first);
    cr_assert_eq(em_pending_next_id(&table), EM_HELLO_ID + 2);
    cr_assert_eq(add(0, 0)->id, EM_HELLO_ID + 2);
}

Test(pending, keeps_a_copy_of_the_frame)
{
    struct em_pending *request = add(0, 0);
    cr_assert_eq(request->size, 5);
    cr_assert_arr_eq(request->frame, "frame", 5);
}

Test(pending, finds_what_is_there_and_nothing_else)
{
    struct em_pending *a = add(0, 0), *b = add(0, 0);
    int64_t gone = a->id;
    em_pending_remove(&table, a);
    cr_assert_null(em_pending_find(&table, gone));
    cr_assert_eq(em_pending_find(&table, b->id), b);
    cr_assert_null(em_pending_find(&table, b->id + 1));
    cr_assert_null(em_pending_find(&table, INT64_MAX));
}

Test(pending, unsent_come_in_order_and_again_after_rewind)
{
    struct em_pending *a = add(0, 0), *b = add(0, 0);
    cr_assert_eq(em_pending_first_unsent(&table), a);
    em_pending_set_sent(&table, a);
    cr_assert(em_pending_is_sent(&table, a));
    cr_assert_not(em_pending_is_sent(&table, b));
    cr_assert_eq(em_pending_first_unsent(&table), b);
    em_pending_set_sent(&table, b);
    cr_assert_null(em_pending_first_unsent(&table));
    em_pending_rewind(&table);
    cr_assert_eq(em_pending_first_unsent(&table), a);
    cr_assert_not(em_pending_is_sent(&table, a));
}

Test(pending, first_deadline_skips_those_without)
{
    add(EM_PENDING_UNTIMED, 1);
    struct em_pending *b = add(0, 2), *c = add(0, 3);
    cr_assert_eq(em_pending_first_timed(&table), b);
    b->flags |= EM_PENDING_UNTIMED; /* a watch that was answered */
    cr_assert_eq(em_pending_first_timed(&table), c);
    em_pending_remove(&table, c);
    cr_assert_null(em_pending_first_timed(&table));
    cr_assert_eq(em_pending_first_timed(&table), NULL);
    struct em_pending *d = add(0, 4);
    cr_assert_eq(em_pending_first_timed(&table), d);
}

Test(pending, takes_no_more_than_its_bound)
{
    static uint8_t big[1 << 20];
    struct em_pending proto = {0};
    size_t n = 0;
    while (em_pending_add(&table, &proto, big, sizeof(big)))
        n++;
    cr_assert_eq(n, 15, "sixteen frames of 1 MiB and what holds them are over 16 MiB");
    em_pending_remove(&table, em_pending_after(&table, 0));
    cr_assert_not_null(em_pending_add(&table, &proto, big, sizeof(big)));
}

/* Against an array that says which ids live. */
Test(pending, stays_sorted_under_random_adds_and_removes)
{
    enum { STEPS = 20000 };
    static struct em_pending *alive[STEPS + 2];
    int64_t last = EM_HELLO_ID;
    srand(42);
    for (int step = 0; step < STEPS; step++) {
        if (rand() % 2) {
            struct em_pending *request = add(0, 0);
            cr_assert_eq(request->id, ++last);
            alive[last] = request;
        } else {
            int64_t from = rand() % (last + 1);
            struct em_pending *request = em_pending_after(&table, from);
            int64_t want = from + 1;
            while (want <= last && !alive[want])
                want++;
            cr_assert_eq(request, want <= last ? alive[want] : NULL);
            if (request) {
                alive[request->id] = NULL;
                em_pending_remove(&table, request);
            }
        }
    }
    for (int64_t id = 0; id <= last; id++)
        cr_assert_eq(em_pending_find(&table, id), alive[id]);
}

Test(pending, memory_of_gaps_comes_back)
{
    struct em_pending *keep = add(0, 0);
    for (int i = 0; i < 100000; i++)
        em_pending_remove(&table, add(0, 0));
    cr_assert_leq(table.n_room, 64);
    cr_assert_eq(em_pending_after(&table, 0), keep);
}
