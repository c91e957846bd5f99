/* A generator of our own, so that a seed means the same everywhere. */
#ifndef SIM_RNG_H
#define SIM_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *rng) /* splitmix64 */
{
    uint64_t x = rng->state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* From 'least' to 'most'. */
static inline uint64_t rng_between(struct rng *rng, uint64_t least, uint64_t most)
{
    return least + rng_next(rng) % (most - least + 1);
}

/* True 'n' times out of 'of'. */
static inline bool rng_chance(struct rng *rng, uint64_t n, uint64_t of)
{
    return rng_next(rng) % of < n;
}

#endif
