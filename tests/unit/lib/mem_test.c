#include "base/mem.h"

#include <criterion/criterion.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

Test(mem, nothing_can_be_allocated_too)
{
    void *a = em_malloc(0), *b = em_calloc(0, 8), *c = em_memdup(NULL, 0);
    cr_assert(a && b && c);
    free(a);
    free(b);
    free(em_realloc(c, 0));
}

Test(mem, copies_are_copies)
{
    char text[] = "abc";
    char *dup = em_strdup(text), *copy = em_memdup(text, 2), *made = em_asprintf("%s-%d", text, 7);
    text[0] = 'x';
    cr_assert_str_eq(dup, "abc");
    cr_assert_eq(memcmp(copy, "ab", 2), 0);
    cr_assert_str_eq(made, "abc-7");
    free(dup);
    free(copy);
    free(made);
}

Test(mem, arena_memory_is_aligned_and_apart)
{
    struct em_arena arena;
    uint8_t *all[200];
    em_arena_init(&arena, 0);
    for (size_t i = 0; i < 200; i++) {
        all[i] = em_arena_alloc(&arena, i * 7);
        cr_assert_eq((uintptr_t)all[i] % alignof(max_align_t), 0);
        memset(all[i], (int)i, i * 7);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t j = 0; j < i * 7; j++)
            cr_assert_eq(all[i][j], (uint8_t)i);
    em_arena_fini(&arena);
}

Test(mem, arena_hands_out_no_more_than_its_limit)
{
    struct em_arena arena;
    em_arena_init(&arena, 64 << 10);
    cr_assert_null(em_arena_alloc(&arena, (64 << 10) + 1));
    cr_assert_null(em_arena_alloc(&arena, SIZE_MAX));
    cr_assert_null(em_arena_alloc(&arena, SIZE_MAX - 8));
    cr_assert_not_null(em_arena_alloc(&arena, 40 << 10));
    cr_assert_not_null(em_arena_alloc(&arena, 24 << 10));
    cr_assert_null(em_arena_alloc(&arena, 1));
    em_arena_reset(&arena);
    cr_assert_not_null(em_arena_alloc(&arena, 64 << 10), "a reset gives everything back");
    em_arena_fini(&arena);
}

Test(mem, arena_hands_out_all_of_its_limit_in_small_pieces)
{
    struct em_arena arena;
    size_t n = 0;
    em_arena_init(&arena, 40 << 10); /* two blocks and a half */
    while (em_arena_alloc(&arena, EM_ARENA_ALIGN))
        n++;
    cr_assert_eq(n, (40 << 10) / EM_ARENA_ALIGN);
    cr_assert_null(em_arena_alloc(&arena, 1));
    cr_assert_not_null(em_arena_alloc(&arena, 0));
    em_arena_fini(&arena);
}

Test(mem, arena_reset_keeps_one_block)
{
    struct em_arena arena;
    em_arena_init(&arena, 0);
    void *first = em_arena_alloc(&arena, 100);
    for (int i = 0; i < 100; i++)
        em_arena_alloc(&arena, 4096);
    em_arena_reset(&arena);
    cr_assert_eq(em_arena_alloc(&arena, 100), first, "the next message needs no malloc");
    em_arena_fini(&arena);
    em_arena_fini(&arena);
}
