#include "state/recent.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct ms_changed *changed;
static struct ms_recent *recent;

static void setup(void)
{
    changed = calloc(1, sizeof *changed);
    recent = ms_recent_new();
}

static void teardown(void)
{
    ms_recent_free(recent);
    free(changed);
}

TestSuite(recent, .init = setup, .fini = teardown, .timeout = 60);

static struct ms_key key_of(uint32_t number)
{
    struct em_eid eid = {.kind = EM_EID_IPV4, .size = 4};
    struct ms_key key;
    ms_write_u32(eid.addr, number);
    ms_key_eid(&key, 1, &eid);
    return key;
}

static struct ms_seen at(uint64_t revision)
{
    return (struct ms_seen){changed, 0, revision};
}

static void put(uint32_t number, uint64_t revision)
{
    struct ms_key key = key_of(number);
    struct ms_seen seen = at(revision);
    ms_recent_put(recent, &seen, &key, ms_recent_hash(&key), ms_blob(&number, sizeof number));
}

static bool has_in(uint64_t generation, uint32_t number, uint64_t revision)
{
    struct ms_key key = key_of(number);
    struct ms_seen seen = {changed, generation, revision};
    struct ms_blob port;
    if (!ms_recent_find(recent, &seen, &key, ms_recent_hash(&key), &port))
        return false;
    cr_assert_eq(port.size, sizeof number);
    cr_assert_arr_eq(port.data, &number, sizeof number);
    return true;
}

static bool has(uint32_t number, uint64_t revision)
{
    return has_in(0, number, revision);
}

static void note(uint32_t number, uint64_t revision)
{
    struct ms_key key = key_of(number);
    ms_changed_note(changed, &key, revision);
}

Test(recent, it_holds_until_its_own_key_changes)
{
    put(1, 5);
    put(2, 5);
    cr_assert(has(1, 5));
    note(1, 6);
    cr_assert(!has(1, 6));
    cr_assert(has(2, 6));
    put(1, 6);
    cr_assert(has(1, 7));
}

Test(recent, who_looked_before_the_change_is_not_believed_after_it)
{
    note(1, 6); /* by a writer that has not committed yet */
    put(1, 5);
    cr_assert(!has(1, 5));
    cr_assert(!has(1, 6));
}

Test(recent, another_map_shares_nothing)
{
    put(1, 5);
    cr_assert(!has_in(1, 1, 5));
    cr_assert(!has(1, 4), "its revisions began anew");
}

Test(recent, what_came_first_goes_first)
{
    for (uint32_t i = 0; i < 131072; i++)
        put(i, 5);
    cr_assert(has(0, 5));
    for (uint32_t i = 200000; i < 200010; i++)
        put(i, 5);
    for (uint32_t i = 0; i < 10; i++)
        cr_assert(!has(i, 5));
    cr_assert(has(10, 5));
    cr_assert(has(131071, 5));
    cr_assert(has(200000, 5));
    cr_assert(has(200009, 5));
}

Test(recent, a_large_port_is_passed_over)
{
    static const uint8_t large[86];
    struct ms_key key = key_of(1);
    struct ms_seen seen = at(5);
    struct ms_blob port;
    ms_recent_put(recent, &seen, &key, ms_recent_hash(&key), ms_blob(large, sizeof large));
    cr_assert(!ms_recent_find(recent, &seen, &key, ms_recent_hash(&key), &port));
    ms_recent_put(recent, &seen, &key, ms_recent_hash(&key), ms_blob(large, sizeof large - 1));
    cr_assert(ms_recent_find(recent, &seen, &key, ms_recent_hash(&key), &port));
}
