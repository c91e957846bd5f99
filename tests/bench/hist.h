/* Latencies in a histogram: 32 steps in each power of two, so percentiles err by 3 %. */
#ifndef HIST_H
#define HIST_H

#include <stdint.h>

#define HIST_STEPS 32
#define HIST_CELLS (60 * HIST_STEPS)

struct hist {
    uint64_t cells[HIST_CELLS];
    uint64_t n;
};

void hist_add(struct hist *hist, uint64_t ns);

/* The upper edge of the cell in which the 'percent'-th value lies; 0 of an empty one. */
uint64_t hist_percentile_ns(const struct hist *hist, double percent);

#endif
