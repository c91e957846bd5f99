#include "base/hash.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 5000u

/* The caller's array: each slot holds a number, which is its key. */
static uint32_t keys[KEYS];
static uint64_t (*hash_of)(uint32_t key);

static uint64_t spread(uint32_t key)
{
    return em_hash(&key, sizeof(key));
}

/* Every key at one of four homes at the end of the table, so that runs wrap around. */
static uint64_t crowded(uint32_t key)
{
    return UINT64_C(0x5a5a5a5a00000000) | (0xfffffffcu + key % 4);
}

static bool is_equal(const void *aux, uint32_t slot, const void *key)
{
    const uint32_t *all = aux;
    return all[slot] == *(const uint32_t *)key;
}

static uint32_t find(const struct em_index *index, uint32_t key)
{
    return em_index_find(index, hash_of(key), is_equal, keys, &key);
}

/* Inserts, removes and moves at random and compares with a plain array. */
static void churn(uint64_t (*hash)(uint32_t key), uint32_t n, unsigned steps)
{
    struct em_index index;
    bool *is_in = calloc(n, sizeof(bool));
    em_index_init(&index);
    hash_of = hash;
    srand(7);
    for (uint32_t i = 0; i < n; i++)
        keys[i] = i;
    for (unsigned i = 0; i < steps; i++) {
        uint32_t slot = (uint32_t)rand() % n;
        if (is_in[slot])
            em_index_remove(&index, hash(slot), slot);
        else
            em_index_insert(&index, hash(slot), slot);
        is_in[slot] = !is_in[slot];
        uint32_t probe = (uint32_t)rand() % n;
        cr_assert_eq(find(&index, probe), is_in[probe] ? probe : EM_INDEX_NONE);
    }
    uint32_t n_in = 0;
    for (uint32_t i = 0; i < n; i++) {
        cr_assert_eq(find(&index, i), is_in[i] ? i : EM_INDEX_NONE);
        n_in += is_in[i];
    }
    cr_assert_eq(index.used, n_in);
    em_index_fini(&index);
    free(is_in);
}

/* The first vectors of the SipHash-1-3 reference with the key 00 01 .. 0f, message 00 01 .. */
Test(hash, siphash_agrees_with_published_vectors)
{
    const uint64_t key[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    uint8_t message[16];
    for (size_t i = 0; i < sizeof(message); i++)
        message[i] = (uint8_t)i;
    cr_assert_eq(em_siphash13(key, message, 0), 0xabac0158050fc4dcu);
    cr_assert_eq(em_siphash13(key, message, 1), 0xc9f49bf37d57ca93u);
    cr_assert_eq(em_siphash13(key, message, 8), 0x369095118d299a8eu);
    cr_assert_eq(em_siphash13(key, message, 15), 0xd320d86d2a519956u);
}

Test(hash, every_byte_and_the_length_count)
{
    uint8_t data[24] = {0};
    uint64_t plain = em_hash(data, sizeof(data));
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = 1;
        cr_assert_neq(em_hash(data, sizeof(data)), plain);
        data[i] = 0;
    }
    for (size_t i = 0; i < sizeof(data); i++)
        cr_assert_neq(em_hash(data, i), plain);
    cr_assert_eq(em_hash(data, sizeof(data)), plain);
}

Test(hash, parts_hash_in_their_order)
{
    uint64_t a_b = em_hash_more(em_hash("a", 1), "b", 1);
    cr_assert_neq(a_b, em_hash_more(em_hash("b", 1), "a", 1));
    cr_assert_neq(a_b, em_hash("ab", 2));
    cr_assert_eq(a_b, em_hash_more(em_hash("a", 1), "b", 1));
}

Test(hash, empty_index_finds_nothing)
{
    struct em_index index;
    em_index_init(&index);
    hash_of = spread;
    cr_assert_eq(find(&index, 1), EM_INDEX_NONE);
    em_index_fini(&index);
}

Test(hash, index_agrees_with_an_array_under_churn)
{
    churn(spread, KEYS, 60000);
}

Test(hash, index_survives_colliding_hashes_that_wrap_around)
{
    churn(crowded, 60, 20000);
}

Test(hash, equal_hashes_are_told_apart_by_the_key)
{
    struct em_index index;
    em_index_init(&index);
    hash_of = crowded;
    for (uint32_t i = 0; i < 12; i++) {
        keys[i] = i;
        em_index_insert(&index, crowded(0), i);
    }
    for (uint32_t i = 0; i < 12; i++)
        cr_assert_eq(em_index_find(&index, crowded(0), is_equal, keys, &i), i);
    em_index_fini(&index);
}

Test(hash, moved_key_is_found_in_its_new_slot)
{
    struct em_index index;
    em_index_init(&index);
    hash_of = spread;
    keys[3] = keys[9] = 42;
    em_index_insert(&index, spread(42), 3);
    em_index_move(&index, spread(42), 3, 9);
    cr_assert_eq(find(&index, 42), 9);
    em_index_remove(&index, spread(42), 9);
    cr_assert_eq(find(&index, 42), EM_INDEX_NONE);
    em_index_fini(&index);
}

Test(hash, index_is_never_fuller_than_three_quarters)
{
    struct em_index index;
    em_index_init(&index);
    for (uint32_t i = 0; i < 1000; i++) {
        em_index_insert(&index, spread(i), i);
        cr_assert_leq(index.used * 4, (index.mask + 1) * 3);
    }
    em_index_fini(&index);
}
