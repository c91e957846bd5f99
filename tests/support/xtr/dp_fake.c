/* See dp_fake.h.  State is a flat list of puts that stand: small and obviously right. */
#include "xtr/dp_fake.h"

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct standing {
    struct dp_op op; /* its put; owns the targets */
    bool is_adopted;
};

/* A device that is in a network's bridge, whoever has put it there. */
struct plug {
    uint32_t network_id;
    char device[IFNAMSIZ];
};

struct dp {
    struct standing *entries;
    size_t n;
    struct dp_op *ops;
    size_t n_ops;
    uint64_t n_changes;
    size_t refuse_in;
    int refuse_err; /* 0: none */
    enum dp_verb never;
    int never_err; /* 0: none */
    char (*devices)[IFNAMSIZ];
    size_t n_devices;
};

/* What the last fake has left "in the kernel". */
static struct standing *left;
static size_t n_left;
static struct plug *plugs;
static size_t n_plugs;

static struct dp_op copy_op(const struct dp_op *op)
{
    struct dp_op copy = *op;
    if (op->set.targets && op->set.n_targets)
        copy.set.targets =
            em_memdup(op->set.targets, op->set.n_targets * sizeof(op->set.targets[0]));
    return copy;
}

static void free_op(struct dp_op *op)
{
    free((void *)op->set.targets);
}

/* The put that a delete undoes; MACs, remote and local, are one table. */
static enum dp_verb kind_of(enum dp_verb verb)
{
    switch (verb) {
    case DP_NETWORK_PUT:
    case DP_NETWORK_DELETE:
        return DP_NETWORK_PUT;
    case DP_SET_PUT:
    case DP_SET_DELETE:
        return DP_SET_PUT;
    case DP_MAC_PUT:
    case DP_MAC_DELETE:
    case DP_LOCAL_PUT:
    case DP_LOCAL_DELETE:
        return DP_MAC_PUT;
    case DP_NEIGHBOUR_PUT:
    case DP_NEIGHBOUR_DELETE:
        return DP_NEIGHBOUR_PUT;
    case DP_FLOOD_PUT:
    case DP_FLOOD_DELETE:
        return DP_FLOOD_PUT;
    case DP_PORT_PUT:
    case DP_PORT_DELETE:
        return DP_PORT_PUT;
    case DP_COPY_PUT:
    case DP_COPY_DELETE:
        return DP_COPY_PUT;
    }
    abort();
}

static bool is_same_target(const struct dp_target *a, const struct dp_target *b)
{
    return em_ip_equal(&a->ip, &b->ip) && a->udp_port == b->udp_port &&
           a->segmentation_id == b->segmentation_id;
}

/* The same device, and the same tag on it. */
static bool is_same_place(const struct dp_op *a, const struct dp_op *b)
{
    return a->vlan == b->vlan && strcmp(a->device, b->device) == 0;
}

static bool is_same_key(const struct dp_op *a, const struct dp_op *b)
{
    if (kind_of(a->verb) != kind_of(b->verb))
        return false;
    switch (kind_of(a->verb)) {
    case DP_NETWORK_PUT:
        return a->network.id == b->network.id;
    case DP_SET_PUT:
        return a->set.id == b->set.id;
    case DP_MAC_PUT:
    case DP_COPY_PUT:
        return a->network.id == b->network.id && memcmp(a->mac, b->mac, EM_MAC_SIZE) == 0;
    case DP_NEIGHBOUR_PUT:
        return a->network.id == b->network.id && em_ip_equal(&a->ip, &b->ip);
    case DP_FLOOD_PUT:
        return a->network.id == b->network.id && is_same_target(&a->target, &b->target);
    case DP_PORT_PUT:
        return a->network.id == b->network.id && is_same_place(a, b);
    case DP_NETWORK_DELETE:
    case DP_SET_DELETE:
    case DP_MAC_DELETE:
    case DP_NEIGHBOUR_DELETE:
    case DP_FLOOD_DELETE:
    case DP_PORT_DELETE:
    case DP_LOCAL_PUT:
    case DP_LOCAL_DELETE:
    case DP_COPY_DELETE:
        break;
    }
    abort();
}

static bool is_same_set(const struct dp_set *a, const struct dp_set *b)
{
    if (a->n_targets != b->n_targets)
        return false;
    for (size_t i = 0; i < a->n_targets; i++)
        if (!is_same_target(&a->targets[i], &b->targets[i]) ||
            a->targets[i].weight != b->targets[i].weight)
            return false;
    return true;
}

/* Of two puts with one key. */
static bool is_same_value(const struct dp_op *a, const struct dp_op *b)
{
    return a->verb == b->verb && a->network.segmentation_id == b->network.segmentation_id &&
           a->network.mtu == b->network.mtu && a->network.flood == b->network.flood &&
           (a->verb != DP_MAC_PUT || a->set.id == b->set.id) &&
           (a->verb != DP_PORT_PUT || a->is_borrowed == b->is_borrowed) &&
           (a->verb != DP_SET_PUT || is_same_set(&a->set, &b->set)) &&
           (a->verb != DP_LOCAL_PUT || is_same_place(a, b)) &&
           (a->verb != DP_COPY_PUT ||
            (is_same_place(a, b) && is_same_target(&a->target, &b->target))) &&
           (a->verb != DP_NEIGHBOUR_PUT || memcmp(a->mac, b->mac, EM_MAC_SIZE) == 0);
}

static struct standing *find(const struct dp *dp, const struct dp_op *op)
{
    for (size_t i = 0; i < dp->n; i++)
        if (is_same_key(&dp->entries[i].op, op))
            return &dp->entries[i];
    return NULL;
}

static void drop(struct dp *dp, struct standing *entry)
{
    free_op(&entry->op);
    *entry = dp->entries[--dp->n];
}

static bool has_network(const struct dp *dp, uint32_t id)
{
    struct dp_op op = {.verb = DP_NETWORK_PUT, .network = {.id = id}};
    return find(dp, &op);
}

static bool has_set(const struct dp *dp, uint32_t id)
{
    struct dp_op op = {.verb = DP_SET_PUT, .set = {.id = id}};
    return find(dp, &op);
}

static bool has_port(const struct dp *dp, const struct dp_op *op)
{
    struct dp_op port = *op;
    port.verb = DP_PORT_PUT;
    return find(dp, &port);
}

static bool has_device(const struct dp *dp, const char *name)
{
    for (size_t i = 0; i < dp->n_devices; i++)
        if (strcmp(dp->devices[i], name) == 0)
            return true;
    return dp->n_devices == 0;
}

static struct plug *find_plug(uint32_t network_id, const char *device)
{
    for (size_t i = 0; i < n_plugs; i++)
        if (plugs[i].network_id == network_id && strcmp(plugs[i].device, device) == 0)
            return &plugs[i];
    return NULL;
}

void dp_fake_plug(uint32_t network_id, const char *device)
{
    if (find_plug(network_id, device))
        return;
    plugs = em_realloc(plugs, (n_plugs + 1) * sizeof(*plugs));
    plugs[n_plugs] = (struct plug){.network_id = network_id};
    strncpy(plugs[n_plugs++].device, device, IFNAMSIZ - 1);
}

static void unplug(struct plug *plug)
{
    *plug = plugs[--n_plugs];
}

/* What a delete does to devices: a network's are free, a port's own is taken out. */
static void release(const struct dp_op *deleted, bool is_borrowed)
{
    for (size_t i = n_plugs; i-- > 0;)
        if (plugs[i].network_id == deleted->network.id &&
            (deleted->verb == DP_NETWORK_DELETE ||
             (deleted->verb == DP_PORT_DELETE && !is_borrowed &&
              strcmp(plugs[i].device, deleted->device) == 0)))
            unplug(&plugs[i]);
}

static int check_put(const struct dp *dp, const struct dp_op *op)
{
    uint32_t vni = op->network.segmentation_id;

    if (op->verb == DP_SET_PUT)
        return 0;
    if (op->verb == DP_NETWORK_PUT)
        return op->network.id == 0 || vni == 0 || vni > EM_SEGMENT_MAX ? -EINVAL : 0;
    if (!has_network(dp, op->network.id))
        return -ENOENT;
    if (op->verb == DP_MAC_PUT && !has_set(dp, op->set.id))
        return -ENOENT;
    if (op->verb == DP_PORT_PUT && (!has_device(dp, op->device) ||
                                    (op->is_borrowed && !find_plug(op->network.id, op->device))))
        return -ENODEV;
    bool has_device = op->verb == DP_LOCAL_PUT || (op->verb == DP_COPY_PUT && op->device[0]);
    if (has_device && !has_port(dp, op))
        return -ENODEV;
    return 0;
}

static int put(struct dp *dp, const struct dp_op *op)
{
    int r = check_put(dp, op);
    if (r)
        return r;
    if (op->verb == DP_PORT_PUT)
        dp_fake_plug(op->network.id, op->device);
    struct standing *entry = find(dp, op);
    if (entry && is_same_value(&entry->op, op)) {
        entry->is_adopted = false;
        return 0;
    }
    if (!entry) {
        dp->entries = em_realloc(dp->entries, (dp->n + 1) * sizeof(*dp->entries));
        entry = &dp->entries[dp->n++];
    } else {
        free_op(&entry->op);
    }
    *entry = (struct standing){.op = copy_op(op)};
    dp->n_changes++;
    return 0;
}

static bool is_named(const struct dp *dp, uint32_t set_id)
{
    for (size_t i = 0; i < dp->n; i++)
        if (dp->entries[i].op.verb == DP_MAC_PUT && dp->entries[i].op.set.id == set_id)
            return true;
    return false;
}

/* What hangs on a network or on a port. */
static bool hangs_on(const struct dp_op *entry, const struct dp_op *deleted)
{
    if (deleted->verb == DP_NETWORK_DELETE)
        return entry->verb != DP_SET_PUT && entry->network.id == deleted->network.id;
    return deleted->verb == DP_PORT_DELETE &&
           (entry->verb == DP_LOCAL_PUT || entry->verb == DP_COPY_PUT) &&
           entry->network.id == deleted->network.id && is_same_place(entry, deleted);
}

static int remove_put(struct dp *dp, const struct dp_op *op)
{
    struct standing *entry = find(dp, op);

    if (!entry)
        return 0;
    if (op->verb == DP_SET_DELETE && is_named(dp, op->set.id))
        return -EBUSY;
    if (op->verb == DP_MAC_DELETE && entry->op.verb != DP_MAC_PUT)
        return 0;
    if (op->verb == DP_LOCAL_DELETE &&
        (entry->op.verb != DP_LOCAL_PUT || !is_same_place(&entry->op, op)))
        return 0;
    release(op, entry->op.is_borrowed);
    drop(dp, entry);
    for (size_t i = dp->n; i-- > 0;)
        if (hangs_on(&dp->entries[i].op, op))
            drop(dp, &dp->entries[i]);
    dp->n_changes++;
    return 0;
}

static int apply_op(struct dp *dp, const struct dp_op *op)
{
    if (dp->refuse_err && dp->refuse_in-- == 0) {
        int err = dp->refuse_err;
        dp->refuse_err = 0;
        return err;
    }
    if (dp->never_err && op->verb == dp->never)
        return dp->never_err;
    switch (op->verb) {
    case DP_NETWORK_PUT:
    case DP_SET_PUT:
    case DP_MAC_PUT:
    case DP_NEIGHBOUR_PUT:
    case DP_FLOOD_PUT:
    case DP_PORT_PUT:
    case DP_LOCAL_PUT:
    case DP_COPY_PUT:
        return put(dp, op);
    case DP_NETWORK_DELETE:
    case DP_SET_DELETE:
    case DP_MAC_DELETE:
    case DP_NEIGHBOUR_DELETE:
    case DP_FLOOD_DELETE:
    case DP_PORT_DELETE:
    case DP_LOCAL_DELETE:
    case DP_COPY_DELETE:
        return remove_put(dp, op);
    }
    abort();
}

static void fake_apply(struct dp *dp, struct dp_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ops[i].err = apply_op(dp, &ops[i]);
        dp->ops = em_realloc(dp->ops, (dp->n_ops + 1) * sizeof(*dp->ops));
        dp->ops[dp->n_ops++] = copy_op(&ops[i]);
    }
}

static void forget_left(void)
{
    for (size_t i = 0; i < n_left; i++)
        free_op(&left[i].op);
    free(left);
    left = NULL;
    n_left = 0;
}

void dp_fake_wipe(void)
{
    forget_left();
    free(plugs);
    plugs = NULL;
    n_plugs = 0;
}

static int fake_open(const struct dp_config *config, struct dp **ret_dp, char **ret_why)
{
    if (config->rlocs[0].size == 0 && config->rlocs[1].size == 0) {
        *ret_why = em_strdup("no RLOC is known");
        return -EADDRNOTAVAIL;
    }
    struct dp *dp = em_calloc(1, sizeof(*dp));
    dp->entries = left;
    dp->n = n_left;
    left = NULL;
    n_left = 0;
    for (size_t i = dp->n; i-- > 0;)
        if (dp->entries[i].op.verb == DP_COPY_PUT)
            drop(dp, &dp->entries[i]);
        else
            dp->entries[i].is_adopted = true;
    *ret_dp = dp;
    return 0;
}

static void fake_close(struct dp *dp)
{
    if (!dp)
        return;
    forget_left();
    left = dp->entries;
    n_left = dp->n;
    dp_fake_reset_ops(dp);
    free(dp->devices);
    free(dp);
}

static int fake_sweep(struct dp *dp, uint32_t network_id)
{
    int n = 0;

    for (size_t i = dp->n; i-- > 0;) {
        const struct dp_op *op = &dp->entries[i].op;
        bool is_global = op->verb == DP_SET_PUT || op->verb == DP_NETWORK_PUT;
        if (!dp->entries[i].is_adopted || is_global != (network_id == 0) ||
            (network_id && op->network.id != network_id) ||
            (op->verb == DP_SET_PUT && is_named(dp, op->set.id)))
            continue;
        drop(dp, &dp->entries[i]);
        n++;
    }
    return n;
}

/* Nobody else can reach it, so a check finds nothing; one entry a turn. */
struct dp_check {
    const struct dp *dp;
    size_t at;
};

static struct dp_check *fake_check_start(struct dp *dp, bool repair, dp_visit_fn *visit, void *aux)
{
    struct dp_check *check = em_calloc(1, sizeof(*check));
    check->dp = dp;
    return check;
}

static bool fake_check_step(struct dp_check *check, uint64_t budget_us)
{
    check->at += check->at < check->dp->n;
    return check->at < check->dp->n;
}

static struct dp_check_result fake_check_end(struct dp_check *check)
{
    struct dp_check_result result = {.n_compared = check->at};
    free(check);
    return result;
}

static uint64_t fake_count(const struct dp *dp)
{
    return dp->n;
}

static int fake_set_rloc(struct dp *dp, const struct em_ip *rloc)
{
    return rloc->size == 4 ? 0 : -EAFNOSUPPORT;
}

/* One step: does the MAC stand, behind the device or at the targets that are wanted? */
static void fake_look(struct dp *dp, const struct dp_path *path, dp_step_fn *visit, void *aux)
{
    struct dp_op key = {.verb = DP_MAC_PUT, .network.id = path->network.id};
    memcpy(key.mac, path->mac, sizeof(key.mac));
    const struct standing *entry = find(dp, &key);
    struct dp_op set_key = {.verb = DP_SET_PUT, .set.id = entry ? entry->op.set.id : 0};
    const struct standing *set = find(dp, &set_key);
    struct dp_set wanted = {.targets = path->targets, .n_targets = path->n_targets};
    bool is_right;

    if (path->device)
        is_right =
            entry && entry->op.verb == DP_LOCAL_PUT && strcmp(entry->op.device, path->device) == 0;
    else
        is_right =
            entry && entry->op.verb == DP_MAC_PUT && set && is_same_set(&set->op.set, &wanted);
    visit(aux, &(struct dp_step){.name = "mac",
                                 .is_wrong = !is_right,
                                 .found = is_right ? "as wanted" : "missing or elsewhere",
                                 .advice = is_right ? "" : "put it"});
}

static bool fake_is_disturbed(struct dp *dp)
{
    return false;
}

static void fake_limits(struct dp *dp, dp_limit_fn *visit, void *aux)
{
}

static int fake_miss_open(struct dp *dp, uint32_t network_id, int *ret_fd)
{
    return -EOPNOTSUPP;
}

static void fake_miss_close(struct dp *dp, uint32_t network_id)
{
}

static int fake_idle(struct dp *dp, uint32_t network_id, const uint8_t *mac, uint64_t *ret_ms)
{
    struct dp_op op = {.verb = DP_MAC_PUT, .network.id = network_id};
    memcpy(op.mac, mac, EM_MAC_SIZE);
    const struct standing *entry = find(dp, &op);
    if (!entry || entry->op.verb != DP_MAC_PUT)
        return -ENOENT;
    *ret_ms = 0;
    return 0;
}

static void visit_adopted(const struct dp *dp, const struct dp_op *like, dp_eid_fn *visit,
                          void *aux)
{
    for (size_t i = 0; i < dp->n; i++) {
        const struct dp_op *op = &dp->entries[i].op;
        struct em_eid eid = {.kind = EM_EID_MAC, .size = EM_MAC_SIZE};
        if (!dp->entries[i].is_adopted || op->verb != like->verb ||
            op->network.id != like->network.id || op->ip.size != like->ip.size)
            continue;
        memcpy(eid.addr, op->mac, EM_MAC_SIZE);
        if (op->ip.size) {
            eid.kind = op->ip.size == 4 ? EM_EID_IPV4 : EM_EID_IPV6;
            eid.size = op->ip.size;
            memcpy(eid.addr, op->ip.addr, op->ip.size);
        }
        visit(aux, &eid);
    }
}

static void fake_adopted(struct dp *dp, uint32_t network_id, dp_eid_fn *visit, void *aux)
{
    static const struct {
        enum dp_verb verb;
        uint8_t size;
    } order[] = {{DP_NEIGHBOUR_PUT, 4}, {DP_NEIGHBOUR_PUT, 16}, {DP_MAC_PUT, 0}};
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        struct dp_op like = {
            .verb = order[i].verb, .network.id = network_id, .ip.size = order[i].size};
        visit_adopted(dp, &like, visit, aux);
    }
}

const struct dp_class dp_fake = {
    .name = "fake",
    .open = fake_open,
    .close = fake_close,
    .apply = fake_apply,
    .sweep = fake_sweep,
    .set_rloc = fake_set_rloc,
    .look = fake_look,
    .check_start = fake_check_start,
    .check_step = fake_check_step,
    .check_end = fake_check_end,
    .is_disturbed = fake_is_disturbed,
    .limits = fake_limits,
    .miss_open = fake_miss_open,
    .miss_close = fake_miss_close,
    .idle = fake_idle,
    .adopted = fake_adopted,
    .count = fake_count,
};

const struct dp_op *dp_fake_ops(const struct dp *dp, size_t *ret_n)
{
    *ret_n = dp->n_ops;
    return dp->ops;
}

void dp_fake_reset_ops(struct dp *dp)
{
    for (size_t i = 0; i < dp->n_ops; i++)
        free_op(&dp->ops[i]);
    free(dp->ops);
    dp->ops = NULL;
    dp->n_ops = 0;
}

uint64_t dp_fake_n_changes(const struct dp *dp)
{
    return dp->n_changes;
}

void dp_fake_refuse(struct dp *dp, size_t k, int err)
{
    dp->refuse_in = k;
    dp->refuse_err = err;
}

void dp_fake_refuse_always(struct dp *dp, enum dp_verb verb, int err)
{
    dp->never = verb;
    dp->never_err = err;
}

bool dp_fake_has(const struct dp *dp, const struct dp_op *put_op)
{
    const struct standing *entry = find(dp, put_op);
    return entry && is_same_value(&entry->op, put_op);
}

void dp_fake_add_device(struct dp *dp, const char *name)
{
    dp->devices = em_realloc(dp->devices, (dp->n_devices + 1) * sizeof(*dp->devices));
    memset(dp->devices[dp->n_devices], 0, IFNAMSIZ);
    strncpy(dp->devices[dp->n_devices++], name, IFNAMSIZ - 1);
}
