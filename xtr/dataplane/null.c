/* The null data plane: takes every operation and installs nothing.
 *
 * An agent with it follows the map, keeps its map-cache and shows both, on a host that must
 * not or cannot forward: for monitoring, and for measuring what the rest of the agent costs.
 * It keeps no shadow, so it has nothing to count, to compare or to sweep.  A local port is
 * registered without a look at its device, since frames are somebody else's business. */
#include "dp.h"

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>

struct dp {
    struct dp_config config; /* nothing depends on it; an object has to be something */
};

static int null_open(const struct dp_config *config, struct dp **ret_dp, char **ret_why)
{
    *ret_dp = em_memdup(config, sizeof(*config));
    return 0;
}

static void null_close(struct dp *dp)
{
    free(dp);
}

static void null_apply(struct dp *dp, struct dp_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ops[i].err = 0;
}

static int null_sweep(struct dp *dp, uint32_t network_id)
{
    return 0;
}

/* Nothing stands that might differ. */
static struct dp_check *null_check_start(struct dp *dp, bool repair, dp_visit_fn *visit, void *aux)
{
    return (struct dp_check *)dp;
}

static bool null_check_step(struct dp_check *check, uint64_t budget_us)
{
    return false;
}

static struct dp_check_result null_check_end(struct dp_check *check)
{
    return (struct dp_check_result){0};
}

static int null_set_rloc(struct dp *dp, const struct em_ip *rloc)
{
    return 0;
}

static void null_look(struct dp *dp, const struct dp_path *path, dp_step_fn *visit, void *aux)
{
    visit(aux, &(struct dp_step){.name = "data-plane",
                                 .is_wrong = true,
                                 .found = "null: this node forwards nothing",
                                 .advice = "set dataplane: kernel in its configuration"});
}

static int null_miss_open(struct dp *dp, uint32_t network_id, int *ret_fd)
{
    return -EOPNOTSUPP;
}

static void null_miss_close(struct dp *dp, uint32_t network_id)
{
}

static int null_idle(struct dp *dp, uint32_t network_id, const uint8_t *mac, uint64_t *ret_ms)
{
    return -ENOENT;
}

static void null_adopted(struct dp *dp, uint32_t network_id, dp_eid_fn *visit, void *aux)
{
}

static void null_limits(struct dp *dp, dp_limit_fn *visit, void *aux)
{
}

static bool null_is_disturbed(struct dp *dp)
{
    return false;
}

static uint64_t null_count(const struct dp *dp)
{
    return 0;
}

const struct dp_class dp_null = {
    .name = "null",
    .open = null_open,
    .close = null_close,
    .apply = null_apply,
    .sweep = null_sweep,
    .check_start = null_check_start,
    .check_step = null_check_step,
    .check_end = null_check_end,
    .set_rloc = null_set_rloc,
    .look = null_look,
    .is_disturbed = null_is_disturbed,
    .limits = null_limits,
    .miss_open = null_miss_open,
    .miss_close = null_miss_close,
    .idle = null_idle,
    .adopted = null_adopted,
    .count = null_count,
};
