/* Clocks, in the units that names carry. */
#ifndef EM_CLOCK_H
#define EM_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t em_clock_us(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

/* Never goes back; for intervals. */
static inline uint64_t em_now_us(void)
{
    return em_clock_us(CLOCK_MONOTONIC);
}

static inline uint64_t em_now_ms(void)
{
    return em_now_us() / 1000u;
}

/* Since 1970; may jump. */
static inline uint64_t em_wall_ms(void)
{
    return em_clock_us(CLOCK_REALTIME) / 1000u;
}

#endif
