#include "groups.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define N 1000

static struct xtr_groups groups;
static unsigned keys[N]; /* of the slots; 0: free */

static bool has_key(const void *aux, uint32_t slot, const void *key)
{
    return keys[slot] == *(const unsigned *)key;
}

static void add(uint32_t slot, unsigned key)
{
    xtr_groups_add(&groups, key, has_key, NULL, &key, slot);
    keys[slot] = key;
}

static void take(uint32_t slot)
{
    xtr_groups_remove(&groups, keys[slot], slot);
    keys[slot] = 0;
}

static unsigned count(unsigned key)
{
    unsigned n = 0;
    uint32_t first = xtr_groups_find(&groups, key, has_key, NULL, &key);
    for (uint32_t slot = first; slot != EM_INDEX_NONE;
         slot = xtr_groups_next(&groups, slot, first), n++)
        cr_assert(eq(uint, keys[slot], key));
    return n;
}

static void setup(void)
{
    xtr_groups_init(&groups);
}

static void teardown(void)
{
    xtr_groups_fini(&groups);
}

TestSuite(groups, .init = setup, .fini = teardown);

Test(groups, a_group_has_those_with_its_key_whoever_was_first)
{
    for (uint32_t slot = 0; slot < N; slot++)
        add(slot, 1 + slot % 3);
    cr_assert(eq(uint, count(1), 334));
    cr_assert(eq(uint, count(2), 333));
    for (uint32_t slot = 0; slot < N; slot += 2)
        take(slot);
    cr_assert(eq(uint, count(1) + count(2) + count(3), N / 2));
    for (uint32_t slot = 0; slot < N; slot++)
        if (keys[slot] == 2)
            take(slot);
    cr_assert(eq(uint, count(2), 0));
    add(0, 2);
    cr_assert(eq(uint, count(2), 1));
    cr_assert(eq(uint, count(1), 167));
}
