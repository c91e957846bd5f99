/* Which limits of the kernel are near, and what to do about it?  Decides, does no I/O. */
#ifndef DP_LIMITS_H
#define DP_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#define DP_LIMIT_TEXT 320

struct dp_version {
    unsigned major, minor;
};

/* From the release that uname(2) gives, such as "6.1.0-23-amd64"; 0.0 if it is none. */
struct dp_version dp_version_parse(const char *release);

/* A vxlan device of 'n_macs' entries.  NULL: all is well; else a sentence in 'text'. */
const char *dp_limit_vxlan(struct dp_version version, const char *device, uint32_t n_macs,
                           char text[DP_LIMIT_TEXT]);

/* The neighbour table of one address family, which is the whole kernel's. */
struct dp_neigh_table {
    bool is_v6;
    uint32_t n_entries; /* in all namespaces */
    uint32_t n_ours;    /* of these, that this agent has made: permanent ones */
    uint32_t n_rlocs;   /* of other nodes, each of which may need an entry */
    uint32_t thresh;    /* gc_thresh3; 0: not known */
    uint64_t n_refused; /* since the agent's start, because the table was full */
};

const char *dp_limit_neigh(struct dp_version version, const struct dp_neigh_table *table,
                           char text[DP_LIMIT_TEXT]);

#endif
