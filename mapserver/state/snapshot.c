#include "state/snapshot.h"

#include "base/mem.h"
#include "state/snapshot_format.h"
#include "state/txn.h"

#include <errno.h>

void ms_snapshot_info_fini(struct ms_snapshot_info *info)
{
    ms_identity_fini(&info->identity);
}

int ms_snapshot_check(const char *path, struct ms_snapshot_job *job,
                      struct ms_snapshot_info *ret_info, char **ret_why)
{
    return ms_snap_scan(path, NULL, NULL, job, ret_info, ret_why);
}

struct ms_meta ms_snap_common(const struct ms_meta *meta)
{
    struct ms_meta common = *meta;
    common.applied = 0;
    common.applied_term = 0;
    common.members_index = 0;
    return common;
}

void ms_snap_add_counters(struct ms_snapshot_info *info, const struct ms_meta *meta)
{
    info->revision = meta->revision;
    info->n_networks = meta->n_networks;
    info->n_nodes = meta->n_nodes;
    info->n_ports = meta->n_ports;
    info->n_eids = meta->n_eids;
}

int ms_snap_report(struct ms_snapshot_job *job, uint64_t n_bytes, uint64_t n_rows, char **ret_why)
{
    if (!job)
        return 0;
    atomic_store_explicit(&job->n_bytes, n_bytes, memory_order_relaxed);
    atomic_store_explicit(&job->n_rows, n_rows, memory_order_relaxed);
    if (!atomic_load_explicit(&job->is_cancelled, memory_order_relaxed))
        return 0;
    *ret_why = em_strdup("the copying of the map was given up");
    return -ECANCELED;
}
