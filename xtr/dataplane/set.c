/* Sets of locations: one FDB nexthop for each address, shared and counted, and one FDB
 * nexthop group for each set.  FDB entries name the group, so that a change of a set is one
 * group replace for all its endpoints.
 *
 * A set without targets must drop frames, and an entry that is missing would not do: the
 * vxlan device would then use its flood list.  Its group therefore points to our own RLOC.
 * The vxlan device delivers such a frame to itself without sending it, and the bridge drops
 * it there, since it never forwards to the port that a frame came from.
 *
 * All members of a group are of one address family, the RLOC's. */
#include "kernel.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#define ID_ATTEMPTS 64 /* strangers' ids in our range that are stepped over */

bool dp_set_is_by_dst(const struct dp_set_rec *set, const struct dp_network_rec *network)
{
    uint32_t vni = set->first.segmentation_id;

    if (set->is_empty)
        return false;
    return !set->is_plain || (vni != 0 && vni != network->want.segmentation_id);
}

struct dp_nexthop dp_set_group_entry(const struct dp_set_rec *set)
{
    struct dp_nexthop group = {
        .id = set->group_id, .protocol = DP_PROTOCOL, .is_fdb = true, .n_members = set->n_members};
    memcpy(group.members, set->members, set->n_members * sizeof(set->members[0]));
    return group;
}

struct dp_nexthop dp_set_nexthop_entry(const struct dp_nexthop_rec *rec)
{
    struct dp_nexthop nexthop = {
        .id = rec->id, .protocol = DP_PROTOCOL, .is_fdb = true, .ip = {.size = rec->size}};
    memcpy(nexthop.ip.addr, rec->addr, rec->size);
    return nexthop;
}

static int compare_members(const void *a, const void *b)
{
    uint32_t x = ((const struct nexthop_grp *)a)->id, y = ((const struct nexthop_grp *)b)->id;
    return (x > y) - (x < y);
}

void dp_set_sort(struct nexthop_grp *members, size_t n)
{
    qsort(members, n, sizeof(members[0]), compare_members);
}

static bool is_same_group(const struct nexthop_grp *a, size_t n_a, const struct nexthop_grp *b,
                          size_t n_b)
{
    if (n_a != n_b)
        return false;
    for (size_t i = 0; i < n_a; i++)
        if (a[i].id != b[i].id || a[i].weight != b[i].weight)
            return false;
    return true;
}

static uint32_t take_id(struct dp *dp)
{
    uint32_t id;

    do {
        id = dp->next_nexthop_id;
        dp->next_nexthop_id = id == DP_NEXTHOP_LAST ? DP_NEXTHOP_FIRST : id + 1;
    } while (dp_table_find(&dp->shadow.nexthop_ids, &id));
    (void)dp_table_put(&dp->shadow.nexthop_ids, &id);
    return id;
}

static void free_id(struct dp *dp, uint32_t id)
{
    void *record = dp_table_find(&dp->shadow.nexthop_ids, &id);
    if (record)
        dp_table_remove(&dp->shadow.nexthop_ids, record);
}

/* Creates it under a free id, stepping over those of strangers. */
static int create(struct dp *dp, struct dp_nexthop *nexthop)
{
    int r = -EEXIST;

    for (int i = 0; i < ID_ATTEMPTS && r == -EEXIST; i++) {
        nexthop->id = take_id(dp);
        dp_nexthop_message(dp->nl, RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_EXCL, nexthop);
        r = dp_nl_commit(dp->nl);
        if (r && r != -EEXIST)
            free_id(dp, nexthop->id);
    }
    return r;
}

static int remove_id(struct dp *dp, uint32_t id)
{
    struct dp_nexthop nexthop = {.id = id};

    dp_nexthop_message(dp->nl, RTM_DELNEXTHOP, 0, &nexthop);
    int r = dp_nl_commit(dp->nl);
    if (r == 0)
        free_id(dp, id);
    return r;
}

static struct dp_nexthop_rec *find_nexthop(struct dp *dp, const struct em_ip *ip)
{
    struct dp_nexthop_rec key = {.size = ip->size};
    memcpy(key.addr, ip->addr, ip->size);
    return dp_table_find(&dp->shadow.nexthops, &key);
}

/* One more reference to the nexthop for 'ip'; makes it if there is none. */
static int hold_nexthop(struct dp *dp, const struct em_ip *ip, uint32_t *ret_id)
{
    struct dp_nexthop_rec *rec = find_nexthop(dp, ip);

    if (!rec) {
        struct dp_nexthop nexthop = {.protocol = DP_PROTOCOL, .is_fdb = true, .ip = *ip};
        int r = create(dp, &nexthop);
        if (r)
            return r;
        struct dp_nexthop_rec key = {.size = ip->size};
        memcpy(key.addr, ip->addr, ip->size);
        rec = dp_table_put(&dp->shadow.nexthops, &key);
        rec->id = nexthop.id;
    }
    rec->n_refs++;
    *ret_id = rec->id;
    return 0;
}

static struct dp_nexthop_rec *nexthop_by_id(struct dp *dp, uint32_t id)
{
    for (uint32_t i = 0; i < dp->shadow.nexthops.len; i++) {
        struct dp_nexthop_rec *rec = dp_table_at(&dp->shadow.nexthops, i);
        if (rec->id == id)
            return rec;
    }
    return NULL;
}

static void drop_nexthops(struct dp *dp, const struct nexthop_grp *members, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct dp_nexthop_rec *rec = nexthop_by_id(dp, members[i].id);
        assert(rec && rec->n_refs > 0);
        if (--rec->n_refs == 0 && remove_id(dp, rec->id) == 0)
            dp_table_remove(&dp->shadow.nexthops, rec);
    }
}

/* Adds a member, or its weight to the one with the same address. */
static bool add_member(struct dp_nexthop *group, uint32_t id, uint8_t weight)
{
    unsigned more = weight ? weight : 1;

    for (size_t i = 0; i < group->n_members; i++) {
        if (group->members[i].id == id) {
            unsigned sum = group->members[i].weight + 1u + more;
            group->members[i].weight = (uint8_t)((sum > 255 ? 255 : sum) - 1);
            return false;
        }
    }
    group->members[group->n_members++] =
        (struct nexthop_grp){.id = id, .weight = (uint8_t)(more - 1)};
    return true;
}

/* Holds the nexthops of all targets and lists them; nothing is held on failure. */
static int gather(struct dp *dp, const struct dp_set *set, struct dp_nexthop *group)
{
    struct dp_target none = {.ip = dp->rloc, .weight = 1};
    const struct dp_target *targets = set->n_targets ? set->targets : &none;
    size_t n = set->n_targets ? set->n_targets : 1;

    for (size_t i = 0; i < n; i++) {
        uint32_t id;
        int r = hold_nexthop(dp, &targets[i].ip, &id);
        if (r) {
            drop_nexthops(dp, group->members, group->n_members);
            return r;
        }
        if (!add_member(group, id, targets[i].weight))
            find_nexthop(dp, &targets[i].ip)->n_refs--;
    }
    dp_set_sort(group->members, group->n_members);
    return 0;
}

static void forget_group(struct dp *dp, struct dp_group_rec *rec)
{
    drop_nexthops(dp, rec->members, rec->n_members);
    free(rec->members);
    dp_table_remove(&dp->shadow.groups, rec);
}

/* An adopted group with this content becomes the set's: nothing is sent. */
static bool claim_group(struct dp *dp, struct dp_nexthop *group)
{
    for (uint32_t i = 0; i < dp->shadow.groups.len; i++) {
        struct dp_group_rec *rec = dp_table_at(&dp->shadow.groups, i);
        if (!is_same_group(rec->members, rec->n_members, group->members, group->n_members))
            continue;
        group->id = rec->group_id;
        forget_group(dp, rec);
        return true;
    }
    return false;
}

/* Makes the kernel's group; 'group->id' is set. */
static int send_group(struct dp *dp, const struct dp_set_rec *old, struct dp_nexthop *group)
{
    if (!old)
        return claim_group(dp, group) ? 0 : create(dp, group);
    group->id = old->group_id;
    if (is_same_group(old->members, old->n_members, group->members, group->n_members) &&
        !(old->flags & DP_DIRTY))
        return 0;
    dp_nexthop_message(dp->nl, RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_REPLACE, group);
    return dp_nl_commit(dp->nl);
}

static void describe(const struct dp *dp, const struct dp_set *set, struct dp_set_rec *rec)
{
    rec->is_empty = set->n_targets == 0;
    rec->is_plain = true;
    rec->first = (struct dp_target){0};
    if (rec->is_empty)
        return;
    rec->first = set->targets[0];
    for (size_t i = 0; i < set->n_targets; i++) {
        const struct dp_target *target = &set->targets[i];
        if ((target->udp_port && target->udp_port != dp->udp_port) ||
            target->segmentation_id != rec->first.segmentation_id)
            rec->is_plain = false;
    }
}

/* A group replace moves entries that name the group.  Those by address, and those that
 * have to change from one to the other, are sent again. */
static int refit(struct dp *dp, uint32_t set_id)
{
    int r = 0;

    for (uint32_t i = 0; i < dp->shadow.macs.len; i++) {
        struct dp_mac_rec *rec = dp_table_at(&dp->shadow.macs, i);
        struct dp_set_rec *set = dp_shadow_set(&dp->shadow, set_id);
        if (rec->flags & (DP_LOCAL | DP_ADOPTED | DP_FOREIGN) || rec->place != set_id)
            continue;
        bool was_by_dst = rec->flags & DP_BY_DST;
        bool is_by_dst = dp_set_is_by_dst(set, dp_shadow_network(&dp->shadow, rec->network_id));
        if (!was_by_dst && !is_by_dst)
            continue;
        set->n_by_dst = set->n_by_dst + is_by_dst - was_by_dst;
        rec->flags = (uint16_t)((rec->flags & ~DP_BY_DST) | (is_by_dst ? DP_BY_DST : 0));
        int err = dp_mac_resend(dp, rec);
        r = r ? r : err;
    }
    return r;
}

static int check_targets(const struct dp *dp, const struct dp_set *set)
{
    if (set->n_targets > DP_GROUP_MAX)
        return -E2BIG;
    for (size_t i = 0; i < set->n_targets; i++)
        if (set->targets[i].ip.size != dp->rloc.size)
            return -EAFNOSUPPORT;
    return 0;
}

int dp_set_put(struct dp *dp, const struct dp_set *set)
{
    struct dp_set_rec *rec = dp_shadow_set(&dp->shadow, set->id);
    struct dp_set_rec old = rec ? *rec : (struct dp_set_rec){0};
    struct dp_nexthop group = {.protocol = DP_PROTOCOL, .is_fdb = true};

    int r = check_targets(dp, set);
    if (r)
        return r;
    r = gather(dp, set, &group);
    if (r)
        return r;
    r = send_group(dp, rec, &group);
    if (r) {
        drop_nexthops(dp, group.members, group.n_members);
        return r;
    }

    if (!rec)
        rec = dp_table_put(&dp->shadow.sets, &set->id);
    rec->group_id = group.id;
    rec->n_members = (uint32_t)group.n_members;
    rec->members = em_memdup(group.members, group.n_members * sizeof(group.members[0]));
    rec->flags = 0;
    describe(dp, set, rec);
    /* A walk over all MACs for each of its sets would make a node's death slow. */
    bool has_moved = old.n_by_dst > 0 || rec->is_plain != old.is_plain ||
                     rec->is_empty != old.is_empty ||
                     rec->first.segmentation_id != old.first.segmentation_id;
    drop_nexthops(dp, old.members, old.n_members);
    free(old.members);
    return rec->n_macs > 0 && has_moved ? refit(dp, set->id) : 0;
}

int dp_set_delete(struct dp *dp, uint32_t set_id)
{
    struct dp_set_rec *rec = dp_shadow_set(&dp->shadow, set_id);

    if (!rec)
        return 0;
    if (rec->n_macs > 0)
        return -EBUSY;
    int r = remove_id(dp, rec->group_id);
    if (r)
        return r;
    drop_nexthops(dp, rec->members, rec->n_members);
    free(rec->members);
    dp_table_remove(&dp->shadow.sets, rec);
    return 0;
}

int dp_set_rehome(struct dp *dp)
{
    int r = 0;

    for (uint32_t i = 0; i < dp->shadow.sets.len; i++) {
        const struct dp_set_rec *rec = dp_table_at(&dp->shadow.sets, i);
        if (!rec->is_empty)
            continue;
        int err = dp_set_put(dp, &(struct dp_set){.id = rec->set_id});
        r = r ? r : err;
    }
    return r;
}

/* A group that adopted entries still use stays until their network is swept: the kernel
 * would flush them with it.  False: any may be in use. */
static bool find_used(const struct dp *dp, struct dp_table *used)
{
    for (uint32_t i = 0; i < dp->shadow.macs.len; i++) {
        const struct dp_mac_rec *rec = dp_table_at(&dp->shadow.macs, i);
        if (!(rec->flags & DP_ADOPTED) || rec->flags & DP_LOCAL)
            continue;
        if (rec->flags & DP_GUESSED)
            return false;
        if (!dp_table_find(used, &rec->place))
            (void)dp_table_put(used, &rec->place);
    }
    return true;
}

static int sweep_groups(struct dp *dp, const struct dp_table *used, int *ret_n)
{
    int r = 0;

    for (uint32_t i = dp->shadow.groups.len; i-- > 0;) {
        struct dp_group_rec *rec = dp_table_at(&dp->shadow.groups, i);
        if (dp_table_find(used, &rec->group_id))
            continue;
        int err = remove_id(dp, rec->group_id);
        r = r ? r : err;
        if (err)
            continue;
        forget_group(dp, rec);
        ++*ret_n;
    }
    return r;
}

int dp_set_sweep(struct dp *dp)
{
    struct dp_table used;
    int n = 0, r = 0;

    dp_table_init(&used, sizeof(uint32_t), sizeof(uint32_t));
    if (find_used(dp, &used))
        r = sweep_groups(dp, &used, &n);
    dp_table_fini(&used);
    for (uint32_t i = dp->shadow.nexthops.len; i-- > 0;) {
        struct dp_nexthop_rec *rec = dp_table_at(&dp->shadow.nexthops, i);
        if (rec->n_refs > 0)
            continue;
        int err = remove_id(dp, rec->id);
        r = r ? r : err;
        if (err)
            continue;
        dp_table_remove(&dp->shadow.nexthops, rec);
        n++;
    }
    return r ? r : n;
}
