/* The tables of what is programmed, without a kernel. */
#include "dataplane/shadow.h"
#include "xtr/ops.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

struct pair {
    uint32_t key;
    uint32_t value;
};

static struct dp_table table;

static void open_table(void)
{
    dp_table_init(&table, sizeof(struct pair), sizeof(uint32_t));
}

static void close_table(void)
{
    dp_table_fini(&table);
}

TestSuite(table, .init = open_table, .fini = close_table);

static struct pair *put(uint32_t key, uint32_t value)
{
    struct pair *pair = dp_table_put(&table, &key);
    pair->value = value;
    return pair;
}

Test(table, new_record_is_zero_but_for_its_key)
{
    uint32_t key = 7;
    struct pair *pair = dp_table_put(&table, &key);
    cr_assert_eq(pair->key, 7);
    cr_assert_eq(pair->value, 0);
}

Test(table, every_record_is_found_through_growth_and_removal)
{
    enum { N = 10000 };

    for (uint32_t i = 0; i < N; i++)
        put(i, i * 3);
    for (uint32_t i = 0; i < N; i += 2)
        dp_table_remove(&table, dp_table_find(&table, &i));
    cr_assert_eq(table.len, N / 2);
    for (uint32_t i = 0; i < N; i++) {
        const struct pair *pair = dp_table_find(&table, &i);
        if (i % 2 == 0)
            cr_assert_null(pair);
        else
            cr_assert(pair && pair->value == i * 3);
    }
}

Test(table, walking_backwards_may_remove_on_the_way)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < 100; i++)
        put(i, i);
    for (uint32_t i = table.len; i-- > 0;) {
        struct pair *pair = dp_table_at(&table, i);
        n++;
        if (pair->value % 3)
            dp_table_remove(&table, pair);
    }
    cr_assert_eq(n, 100, "each is visited once");
    cr_assert_eq(table.len, 34);
}

Test(table, record_that_was_removed_can_come_back)
{
    uint32_t key = 5;

    for (uint32_t i = 0; i < 3; i++) {
        put(key, i);
        dp_table_remove(&table, dp_table_find(&table, &key));
    }
    cr_assert_null(dp_table_find(&table, &key));
    cr_assert_eq(table.len, 0);
}

static struct dp_shadow shadow;

static void open_shadow(void)
{
    dp_shadow_init(&shadow);
}

static void close_shadow(void)
{
    dp_shadow_fini(&shadow);
}

TestSuite(shadow, .init = open_shadow, .fini = close_shadow);

Test(shadow, endpoint_costs_32_bytes)
{
    cr_assert_eq(sizeof(struct dp_mac_rec) + sizeof(struct dp_neigh4_rec), 32);
}

Test(shadow, one_mac_in_two_networks_is_two_records)
{
    const uint8_t mac[EM_MAC_SIZE] = {2, 0, 0, 0, 0, 1};

    dp_shadow_put_mac(&shadow, 1, mac)->place = 11;
    dp_shadow_put_mac(&shadow, 2, mac)->place = 22;
    cr_assert_eq(dp_shadow_mac(&shadow, 1, mac)->place, 11);
    cr_assert_eq(dp_shadow_mac(&shadow, 2, mac)->place, 22);
    cr_assert_null(dp_shadow_mac(&shadow, 3, mac));
}

Test(shadow, neighbours_of_both_families_come_back_whole)
{
    struct em_ip v4 = test_ip("10.0.0.1"), v6 = test_ip("a00:1::"), seen;
    uint32_t network;

    *dp_shadow_put_neigh(&shadow, 7, &v4).flags = DP_ADOPTED;
    memset(dp_shadow_put_neigh(&shadow, 7, &v6).mac, 0xee, EM_MAC_SIZE);
    cr_assert_eq(*dp_shadow_neigh(&shadow, 7, &v4).flags, DP_ADOPTED);
    cr_assert_eq(*dp_shadow_neigh(&shadow, 7, &v6).flags, 0, "the same first bytes");
    struct dp_neigh_ref ref = dp_shadow_neigh_at(&shadow.neighs6, 0, &network, &seen);
    cr_assert_eq(network, 7);
    cr_assert_eq(seen.size, 16);
    cr_assert_arr_eq(seen.addr, v6.addr, 16);
    cr_assert_eq(ref.mac[5], 0xee);
    cr_assert_null(dp_shadow_neigh(&shadow, 8, &v4).record);
}

Test(shadow, strangers_and_unanswered_entries_do_not_count)
{
    const uint8_t mac[EM_MAC_SIZE] = {2, 0, 0, 0, 0, 1};

    dp_shadow_put_mac(&shadow, 1, mac)->flags = DP_FOREIGN;
    dp_shadow_put_mac(&shadow, 2, mac)->flags = DP_NEW | DP_PENDING;
    cr_assert_eq(dp_shadow_count(&shadow), 0);
    dp_shadow_mac(&shadow, 2, mac)->flags = 0;
    cr_assert_eq(dp_shadow_count(&shadow), 1);
}

Test(shadow, device_that_was_renewed_points_to_its_new_role)
{
    dp_shadow_set_device(&shadow, 4, 1, DP_DEVICE_PORT);
    dp_shadow_set_device(&shadow, 4, 2, DP_DEVICE_VXLAN);
    cr_assert_eq(dp_shadow_device(&shadow, 4)->network_id, 2);
    dp_shadow_drop_device(&shadow, 4);
    cr_assert_null(dp_shadow_device(&shadow, 4));
    dp_shadow_drop_device(&shadow, 4);
}
