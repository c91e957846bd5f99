/* The agent's side of a data plane. */
#include "dataplane.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "eidmap/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define SLOW_OPEN_MS 200

struct dataplane {
    const struct dp_class *class;
    struct dp *dp;
    uint64_t n_ops, n_failed, apply_us;
    bool has_told_copies; /* that the kernel cannot make them */
};

const char *dataplane_verb(enum dp_verb verb)
{
    switch (verb) {
    case DP_NETWORK_PUT:
        return "network put";
    case DP_NETWORK_DELETE:
        return "network delete";
    case DP_SET_PUT:
        return "set put";
    case DP_SET_DELETE:
        return "set delete";
    case DP_MAC_PUT:
        return "MAC put";
    case DP_MAC_DELETE:
        return "MAC delete";
    case DP_NEIGHBOUR_PUT:
        return "neighbour put";
    case DP_NEIGHBOUR_DELETE:
        return "neighbour delete";
    case DP_FLOOD_PUT:
        return "flood put";
    case DP_FLOOD_DELETE:
        return "flood delete";
    case DP_PORT_PUT:
        return "port put";
    case DP_PORT_DELETE:
        return "port delete";
    case DP_LOCAL_PUT:
        return "local MAC put";
    case DP_LOCAL_DELETE:
        return "local MAC delete";
    case DP_COPY_PUT:
        return "copy put";
    case DP_COPY_DELETE:
        return "copy delete";
    }
    return "?";
}

char *dataplane_describe(const struct dp_op *op, char text[DATAPLANE_TEXT])
{
    char mac[EM_MAC_TEXT], ip[EM_IP_TEXT];

    switch (op->verb) {
    case DP_NETWORK_PUT:
    case DP_NETWORK_DELETE:
        snprintf(text, DATAPLANE_TEXT, "network %u", op->network.id);
        break;
    case DP_SET_PUT:
    case DP_SET_DELETE:
        snprintf(text, DATAPLANE_TEXT, "set %u", op->set.id);
        break;
    case DP_MAC_PUT:
    case DP_MAC_DELETE:
    case DP_COPY_PUT:
    case DP_COPY_DELETE:
        snprintf(text, DATAPLANE_TEXT, "%s in network %u", em_mac_format(op->mac, mac),
                 op->network.id);
        break;
    case DP_NEIGHBOUR_PUT:
    case DP_NEIGHBOUR_DELETE:
        snprintf(text, DATAPLANE_TEXT, "%s in network %u",
                 em_ip_format(op->ip.addr, op->ip.size, ip), op->network.id);
        break;
    case DP_FLOOD_PUT:
    case DP_FLOOD_DELETE:
        snprintf(text, DATAPLANE_TEXT, "%s in network %u",
                 em_ip_format(op->target.ip.addr, op->target.ip.size, ip), op->network.id);
        break;
    case DP_PORT_PUT:
    case DP_PORT_DELETE:
        snprintf(text, DATAPLANE_TEXT, "device %s in network %u", op->device, op->network.id);
        break;
    case DP_LOCAL_PUT:
    case DP_LOCAL_DELETE:
        snprintf(text, DATAPLANE_TEXT, "%s on device %s in network %u", em_mac_format(op->mac, mac),
                 op->device, op->network.id);
        break;
    }
    return text;
}

int dataplane_open(const struct dp_class *class, const struct dp_config *config,
                   struct dataplane **ret_plane, char **ret_why)
{
    struct dp *dp;
    uint64_t begin = em_now_ms();

    int r = class->open(config, &dp, ret_why);
    if (r)
        return r;
    uint64_t took = em_now_ms() - begin;
    struct dataplane *plane = em_calloc(1, sizeof(*plane));
    plane->class = class;
    plane->dp = dp;
    em_info("data plane open plane=%s adopted=%llu", class->name,
            (unsigned long long)class->count(dp));
    if (took >= SLOW_OPEN_MS)
        em_warn("reading what an earlier run has left took %llu ms: the kernel dumps large tables "
                "slowly",
                (unsigned long long)took);
    *ret_plane = plane;
    return 0;
}

void dataplane_close(struct dataplane *plane)
{
    if (!plane)
        return;
    plane->class->close(plane->dp);
    free(plane);
}

/* What the reader can do about it, where the code alone does not say. */
static const char *advice(const struct dp_op *op)
{
    switch (op->err) {
    case -EEXIST:
        return "an entry or device that xtr has not made is in the way and stays: remove it";
    case -EMSGSIZE:
        return "the network's mtu does not fit the underlay: lower it or raise the underlay's";
    case -EBUSY:
        return op->verb == DP_PORT_PUT ? "the device belongs to another bridge or to the underlay"
                                       : "still in use";
    case -EOPNOTSUPP:
        return op->verb == DP_COPY_PUT ? "this kernel has no cls_u32 or act_mirred, so a live "
                                         "migration loses the frames of some milliseconds more"
                                       : em_strerror(op->err);
    case -EAFNOSUPPORT:
        return "the target's address family is not that of this node's RLOC";
    }
    return em_strerror(op->err);
}

/* What a kernel cannot do it does not learn: that is said once, and not with each migration. */
static void log_failure(struct dataplane *plane, const struct dp_op *op)
{
    char text[DATAPLANE_TEXT];
    bool is_for_good = op->verb == DP_COPY_PUT && op->err == -EOPNOTSUPP;
    if (is_for_good && plane->has_told_copies)
        return;
    plane->has_told_copies |= is_for_good;
    em_warn_limited("%s refused object=\"%s\" error=%s why=\"%s\"", dataplane_verb(op->verb),
                    dataplane_describe(op, text), em_errname(op->err), advice(op));
}

static size_t note_results(struct dataplane *plane, const struct dp_op *ops, size_t n)
{
    size_t n_failed = 0;

    for (size_t i = 0; i < n; i++) {
        if (ops[i].err == 0)
            continue;
        n_failed++;
        log_failure(plane, &ops[i]);
    }
    plane->n_ops += n;
    plane->n_failed += n_failed;
    return n_failed;
}

size_t dataplane_apply(struct dataplane *plane, struct dp_op *ops, size_t n)
{
    uint64_t start = em_now_us();

    plane->class->apply(plane->dp, ops, n);
    plane->apply_us += em_now_us() - start;
    return note_results(plane, ops, n);
}

uint64_t dataplane_start(struct dataplane *plane, struct dp_op *ops, size_t n)
{
    uint64_t start = em_now_us(), reached = 0;

    if (plane->class->start)
        reached = plane->class->start(plane->dp, ops, n);
    else
        plane->class->apply(plane->dp, ops, n);
    plane->apply_us += em_now_us() - start;
    return reached;
}

bool dataplane_finish(struct dataplane *plane, uint64_t start, const struct dp_op *ops, size_t n)
{
    if (plane->class->start && plane->class->reached(plane->dp) < start)
        return false;
    (void)note_results(plane, ops, n);
    return true;
}

int dataplane_sweep(struct dataplane *plane, uint32_t network_id)
{
    int r = plane->class->sweep(plane->dp, network_id);

    if (r > 0)
        em_info("swept network=%u entries=%d", network_id, r);
    else if (r < 0)
        em_warn_limited("sweep failed network=%u error=%s", network_id, em_errname(r));
    return r;
}

struct dp_check *dataplane_check_start(struct dataplane *plane, bool repair, dp_visit_fn *visit,
                                       void *aux)
{
    return plane->class->check_start(plane->dp, repair, visit, aux);
}

bool dataplane_check_step(struct dataplane *plane, struct dp_check *check, uint64_t budget_us)
{
    return plane->class->check_step(check, budget_us);
}

struct dp_check_result dataplane_check_end(struct dataplane *plane, struct dp_check *check)
{
    return plane->class->check_end(check);
}

int dataplane_set_rloc(struct dataplane *plane, const struct em_ip *rloc)
{
    char ip[EM_IP_TEXT];

    int r = plane->class->set_rloc(plane->dp, rloc);
    em_ip_format(rloc->addr, rloc->size, ip);
    if (r)
        em_warn_limited("tunnels cannot all follow to the RLOC %s: %s", ip, em_strerror(r));
    else
        em_info("tunnels send from the RLOC %s now", ip);
    return r;
}

void dataplane_look(struct dataplane *plane, const struct dp_path *path, dp_step_fn *visit,
                    void *aux)
{
    plane->class->look(plane->dp, path, visit, aux);
}

int dataplane_miss_open(struct dataplane *plane, uint32_t network_id, int *ret_fd)
{
    return plane->class->miss_open(plane->dp, network_id, ret_fd);
}

void dataplane_miss_close(struct dataplane *plane, uint32_t network_id)
{
    plane->class->miss_close(plane->dp, network_id);
}

int dataplane_idle(struct dataplane *plane, uint32_t network_id, const uint8_t *mac,
                   uint64_t *ret_ms)
{
    return plane->class->idle(plane->dp, network_id, mac, ret_ms);
}

void dataplane_adopted(struct dataplane *plane, uint32_t network_id, dp_eid_fn *visit, void *aux)
{
    plane->class->adopted(plane->dp, network_id, visit, aux);
}

bool dataplane_is_disturbed(struct dataplane *plane)
{
    return plane->class->is_disturbed(plane->dp);
}

bool dataplane_lost(struct dataplane *plane, char ret_device[IFNAMSIZ])
{
    return plane->class->lost && plane->class->lost(plane->dp, ret_device);
}

int dataplane_fd(const struct dataplane *plane)
{
    return plane->class->fd ? plane->class->fd(plane->dp) : -1;
}

bool dataplane_serve(struct dataplane *plane)
{
    return plane->class->serve(plane->dp);
}

void dataplane_limits(struct dataplane *plane, dp_limit_fn *visit, void *aux)
{
    plane->class->limits(plane->dp, visit, aux);
}

struct dataplane_stats dataplane_stats(const struct dataplane *plane)
{
    return (struct dataplane_stats){.plane = plane->class->name,
                                    .n_ops = plane->n_ops,
                                    .n_failed = plane->n_failed,
                                    .n_entries = plane->class->count(plane->dp),
                                    .apply_us = plane->apply_us};
}
