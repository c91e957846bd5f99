/* Traffic control, as much of it as copies need: on the way out of a device, frames to a MAC are
 * mirrored to another device (tc-u32(8), tc-mirred(8)).
 *
 * Each filter has a preference of its own, from a range of ours; that is how it is found again
 * and taken away, whatever else hangs on the device. */
#ifndef DP_TC_H
#define DP_TC_H

#include "eidmap/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dp_nl;

#define DP_TC_PREF_FIRST 0xe000u
#define DP_TC_PREF_LAST  0xefffu

struct dp_tc_mirror {
    uint32_t ifindex;   /* on the way out of this device ... */
    uint16_t pref;      /* ... with this preference, and the next */
    const uint8_t *mac; /* frames to this MAC ... */
    uint32_t except;    /* ... that did not come in by this device (0: all) ... */
    uint32_t copies;    /* ... go out of this one too */
};

/* 0 or -errno; -EOPNOTSUPP: this kernel has not what it takes. */
int dp_tc_mirror_put(struct dp_nl *nl, const struct dp_tc_mirror *mirror);

/* Both filters of a pair; fine for what is not there. */
int dp_tc_mirror_delete(struct dp_nl *nl, uint32_t ifindex, uint16_t pref);

/* The preferences of our range that are in use on the way out of a device, at most 'max'; their
 * number, or -errno.  A device without filters has none. */
int dp_tc_list(struct dp_nl *nl, uint32_t ifindex, uint16_t *ret_prefs, size_t max);

#endif
