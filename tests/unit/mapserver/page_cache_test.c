#include "front/page_cache.h"

#include <criterion/criterion.h>
#include <string.h>

static struct ms_page_cache cache;

static void setup(void)
{
    ms_page_cache_init(&cache);
}

static void teardown(void)
{
    ms_page_cache_fini(&cache);
}

TestSuite(page_cache, .init = setup, .fini = teardown);

static void put(uint32_t network_id, uint64_t from, const char *body)
{
    const struct ms_cached_page page = {.network_id = network_id, .from = from, .to = from + 5};
    ms_page_cache_put(&cache, &page, (const uint8_t *)body, strlen(body));
}

static void expect(uint32_t network_id, uint64_t from, const char *body)
{
    const struct ms_cached_page *page = ms_page_cache_find(&cache, network_id, from);
    cr_assert_not_null(page);
    cr_assert_eq(page->to, from + 5);
    cr_assert_eq(em_buf_size(&page->body), strlen(body));
    cr_assert_eq(memcmp(em_buf_head(&page->body), body, strlen(body)), 0);
}

Test(page_cache, a_page_is_found_where_it_began_and_nowhere_else)
{
    put(1, 10, "one");
    expect(1, 10, "one");
    cr_assert_null(ms_page_cache_find(&cache, 1, 11));
    cr_assert_null(ms_page_cache_find(&cache, 1 + MS_PAGE_CACHE_SLOTS, 10));
    cr_assert_null(ms_page_cache_find(&cache, 2, 10));
}

Test(page_cache, nothing_is_found_in_an_empty_one)
{
    cr_assert_null(ms_page_cache_find(&cache, 0, 0));
}

Test(page_cache, a_later_page_takes_the_place_of_an_earlier)
{
    put(1, 10, "a long one to begin with");
    put(1, 15, "two");
    cr_assert_null(ms_page_cache_find(&cache, 1, 10));
    expect(1, 15, "two");
    put(1 + MS_PAGE_CACHE_SLOTS, 15, "three");
    cr_assert_null(ms_page_cache_find(&cache, 1, 15));
    expect(1 + MS_PAGE_CACHE_SLOTS, 15, "three");
}

Test(page_cache, networks_beside_each_other_keep_theirs)
{
    for (uint32_t i = 0; i < MS_PAGE_CACHE_SLOTS; i++)
        put(i, i, i % 2 ? "odd" : "even");
    for (uint32_t i = 0; i < MS_PAGE_CACHE_SLOTS; i++)
        expect(i, i, i % 2 ? "odd" : "even");
}

Test(page_cache, pages_are_of_one_state_of_the_map)
{
    ms_page_cache_keep(&cache, 7);
    put(1, 10, "one");
    ms_page_cache_keep(&cache, 7);
    expect(1, 10, "one");
    ms_page_cache_keep(&cache, 8);
    cr_assert_null(ms_page_cache_find(&cache, 1, 10));
}
