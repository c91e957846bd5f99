/* SipHash-1-3 (Aumasson and Bernstein, 2012) and an open-addressing index over it.
 *
 * The index grows at three quarters and removes by shifting back, so that it never holds
 * tombstones: a table that lives for months under churn stays as fast as a fresh one. */
#include "base/hash.h"

#include "base/mem.h"

#include <assert.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SMALLEST 16u

static uint64_t hash_key[2];

/* Before main(), so that em_hash() needs no lock and no test. */
__attribute__((constructor)) static void draw_key(void)
{
    if (getrandom(hash_key, sizeof(hash_key), 0) != (ssize_t)sizeof(hash_key)) {
        fputs("eidmap: the system has no random numbers\n", stderr);
        abort();
    }
}

static inline uint64_t rotate(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

uint64_t em_siphash13(const uint64_t key[2], const void *data, size_t size)
{
    uint64_t v[4] = {
        key[0] ^ 0x736f6d6570736575u,
        key[1] ^ 0x646f72616e646f6du,
        key[0] ^ 0x6c7967656e657261u,
        key[1] ^ 0x7465646279746573u,
    };
    const uint8_t *p = data;
    for (size_t n = size / 8; n; n--, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        sip_word(v, le64toh(word));
    }
    uint64_t last = (uint64_t)size << 56;
    for (size_t i = 0; i < size % 8; i++)
        last |= (uint64_t)p[i] << 8 * i;
    sip_word(v, last);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t em_hash(const void *data, size_t size)
{
    return em_siphash13(hash_key, data, size);
}

uint64_t em_hash_more(uint64_t seed, const void *data, size_t size)
{
    uint64_t key[2] = {hash_key[0] ^ seed, hash_key[1]};
    return em_siphash13(key, data, size);
}

static inline uint64_t cell_of(uint64_t hash, uint32_t slot)
{
    return hash << 32 | (slot + 1);
}

static inline uint32_t home_of(const struct em_index *index, uint64_t cell)
{
    return (uint32_t)(cell >> 32) & index->mask;
}

void em_index_init(struct em_index *index)
{
    *index = (struct em_index){0};
}

void em_index_fini(struct em_index *index)
{
    free(index->cells);
    em_index_init(index);
}

uint32_t em_index_find(const struct em_index *index, uint64_t hash, em_index_equal_fn *equal,
                       const void *aux, const void *key)
{
    if (!index->cells)
        return EM_INDEX_NONE;
    for (uint32_t i = (uint32_t)hash & index->mask; index->cells[i]; i = (i + 1) & index->mask) {
        uint64_t cell = index->cells[i];
        uint32_t slot = (uint32_t)cell - 1;
        if (cell >> 32 == (uint32_t)hash && equal(aux, slot, key))
            return slot;
    }
    return EM_INDEX_NONE;
}

static bool is_equal(const void *aux, uint32_t slot, const void *key)
{
    return true;
}

uint32_t em_index_peek(const struct em_index *index, uint64_t hash)
{
    return em_index_find(index, hash, is_equal, NULL, NULL);
}

static void place(struct em_index *index, uint64_t cell)
{
    uint32_t i = home_of(index, cell);
    while (index->cells[i])
        i = (i + 1) & index->mask;
    index->cells[i] = cell;
}

static void grow(struct em_index *index)
{
    uint64_t *old = index->cells;
    uint32_t n = old ? index->mask + 1 : 0;
    assert(n <= UINT32_MAX / 2);
    index->mask = n ? n * 2 - 1 : SMALLEST - 1;
    index->cells = em_calloc((size_t)index->mask + 1, sizeof(*index->cells));
    for (uint32_t i = 0; i < n; i++)
        if (old[i])
            place(index, old[i]);
    free(old);
}

void em_index_insert(struct em_index *index, uint64_t hash, uint32_t slot)
{
    assert(slot < EM_INDEX_NONE - 1);
    if (!index->cells || index->used >= (index->mask / 4 + 1) * 3)
        grow(index);
    place(index, cell_of(hash, slot));
    index->used++;
}

static uint32_t position_of(const struct em_index *index, uint64_t hash, uint32_t slot)
{
    assert(index->cells);
    uint64_t cell = cell_of(hash, slot);
    uint32_t i = home_of(index, cell);
    while (index->cells[i] != cell) {
        assert(index->cells[i]);
        i = (i + 1) & index->mask;
    }
    return i;
}

void em_index_remove(struct em_index *index, uint64_t hash, uint32_t slot)
{
    uint32_t hole = position_of(index, hash, slot);
    for (uint32_t i = (hole + 1) & index->mask; index->cells[i]; i = (i + 1) & index->mask) {
        /* A cell may fill the hole unless its home lies behind the hole. */
        uint32_t from_home = (i - home_of(index, index->cells[i])) & index->mask;
        if (from_home >= ((i - hole) & index->mask)) {
            index->cells[hole] = index->cells[i];
            hole = i;
        }
    }
    index->cells[hole] = 0;
    index->used--;
}

void em_index_move(struct em_index *index, uint64_t hash, uint32_t from, uint32_t to)
{
    assert(to < EM_INDEX_NONE - 1);
    index->cells[position_of(index, hash, from)] = cell_of(hash, to);
}
