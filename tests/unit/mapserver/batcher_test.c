#include "core/batcher.h"

#include "base/mem.h"
#include "wire/msg.h"

#include <criterion/criterion.h>
#include <string.h>

static struct ms_batcher batcher;
static struct em_arena arena;

static void setup(void)
{
    batcher = (struct ms_batcher){0};
    em_arena_init(&arena, 64u << 20);
}

static void teardown(void)
{
    ms_batcher_fini(&batcher);
    em_arena_fini(&arena);
}

TestSuite(batcher, .init = setup, .fini = teardown, .timeout = 20);

/* A command of this size that begins with its number. */
static void add(uint32_t number, size_t size)
{
    struct ms_payload *command = ms_payload_new(NULL, size);
    memset(command->data, 'x', size);
    memcpy(command->data, &number, sizeof(number));
    ms_batcher_add_take(&batcher, command);
}

/* The next entry's commands; they must be numbered on from '*number'. */
static size_t take(uint32_t *number, size_t *ret_size)
{
    struct ms_payload *entry = ms_batcher_next(&batcher);
    em_arena_reset(&arena);
    const Eidmap__Batch *batch =
        em_msg_unpack_as(&arena, &eidmap__batch__descriptor, entry->data, entry->size);
    cr_assert_not_null(batch);
    for (size_t i = 0; i < batch->n_commands; i++, ++*number)
        cr_assert_eq(memcmp(batch->commands[i].data, number, sizeof(*number)), 0);
    *ret_size = entry->size;
    ms_payload_unref(entry);
    return batch->n_commands;
}

Test(batcher, all_that_waits_is_one_entry_in_order)
{
    uint32_t number = 0;
    size_t size;
    for (uint32_t i = 0; i < 100; i++)
        add(i, 100);
    cr_assert_not(ms_batcher_is_full(&batcher));
    cr_assert_eq(take(&number, &size), 100);
    cr_assert_eq(batcher.n, 0);
    cr_assert_eq(batcher.size, 0);
}

static void add_many(uint32_t *number, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        add((*number)++, 8);
}

Test(batcher, entry_is_small_beside_a_large_one_before_it)
{
    uint32_t added = 0, taken = 0;
    size_t size;
    add_many(&added, 1);
    cr_assert_not(ms_batcher_is_small(&batcher), "nothing was before it");
    add_many(&added, MS_BATCH_FEW);
    take(&taken, &size);
    add_many(&added, MS_BATCH_FEW);
    cr_assert(ms_batcher_is_small(&batcher));
    add_many(&added, 1);
    cr_assert_not(ms_batcher_is_small(&batcher));
    take(&taken, &size);
    add(added++, MS_BATCH_SIZE);
    cr_assert_not(ms_batcher_is_small(&batcher), "it is full");
}

Test(batcher, entry_is_never_small_beside_a_few)
{
    uint32_t added = 0, taken = 0;
    size_t size;
    add_many(&added, MS_BATCH_FEW);
    take(&taken, &size);
    add_many(&added, 1);
    cr_assert_not(ms_batcher_is_small(&batcher));
}

Test(batcher, entry_has_no_more_than_so_many_commands)
{
    uint32_t number = 0;
    size_t size;
    for (uint32_t i = 0; i < MS_BATCH_LEN + 3; i++)
        add(i, 8);
    cr_assert(ms_batcher_is_full(&batcher));
    cr_assert_eq(take(&number, &size), MS_BATCH_LEN);
    cr_assert_not(ms_batcher_is_full(&batcher));
    cr_assert_eq(take(&number, &size), 3);
}

Test(batcher, entry_has_no_more_than_so_many_bytes)
{
    uint32_t number = 0;
    size_t size, n = 0;
    for (uint32_t i = 0; i < 100; i++)
        add(i, MS_BATCH_SIZE / 10);
    while (batcher.n > 0) {
        n += take(&number, &size);
        cr_assert_leq(size, MS_BATCH_SIZE + 16);
    }
    cr_assert_eq(n, 100);
}

Test(batcher, larger_command_is_an_entry_of_its_own)
{
    uint32_t number = 0;
    size_t size;
    add(0, 10);
    add(1, 4 * MS_BATCH_SIZE);
    add(2, 10);
    cr_assert(ms_batcher_is_full(&batcher));
    cr_assert_eq(take(&number, &size), 1);
    cr_assert_eq(take(&number, &size), 1);
    cr_assert_gt(size, 4 * MS_BATCH_SIZE);
    cr_assert_eq(take(&number, &size), 1);
}

Test(batcher, order_stands_while_it_fills_and_empties)
{
    uint32_t number = 0, next = 0;
    size_t size;
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < (round * 37) % 700; i++)
            add(next++, 8);
        if (batcher.n > 0)
            take(&number, &size);
    }
    while (batcher.n > 0)
        take(&number, &size);
    cr_assert_eq(number, next);
    cr_assert_eq(batcher.size, 0);
}

Test(batcher, cleared_is_empty_and_goes_on)
{
    uint32_t number = 5;
    size_t size;
    for (uint32_t i = 0; i < 600; i++)
        add(i, 8);
    ms_batcher_clear(&batcher);
    cr_assert_eq(batcher.n, 0);
    cr_assert_eq(batcher.size, 0);
    add(5, 8);
    cr_assert_eq(take(&number, &size), 1);
}
