#include "hist.h"

#include <math.h>

#define STEP_BITS 5 /* of HIST_STEPS */

/* Values below 32 have a cell each; above, the cell is the power of two and the five bits
 * behind the leading one. */
static unsigned cell_of(uint64_t ns)
{
    if (ns < HIST_STEPS)
        return (unsigned)ns;
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - STEP_BITS;
    unsigned cell = shift * HIST_STEPS + (unsigned)(ns >> shift);
    return cell < HIST_CELLS ? cell : HIST_CELLS - 1;
}

static uint64_t upper_edge(unsigned cell)
{
    if (cell < 2 * HIST_STEPS)
        return cell;
    unsigned shift = cell / HIST_STEPS - 1;
    return ((uint64_t)(cell % HIST_STEPS + HIST_STEPS + 1) << shift) - 1;
}

void hist_add(struct hist *hist, uint64_t ns)
{
    hist->cells[cell_of(ns)]++;
    hist->n++;
}

uint64_t hist_percentile_ns(const struct hist *hist, double percent)
{
    uint64_t rank = (uint64_t)ceil((double)hist->n * percent / 100);
    uint64_t seen = 0;
    if (!hist->n)
        return 0;
    for (unsigned cell = 0; cell < HIST_CELLS; cell++) {
        seen += hist->cells[cell];
        if (seen >= rank)
            return upper_edge(cell);
    }
    return 0;
}
