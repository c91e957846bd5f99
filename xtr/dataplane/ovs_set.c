/* Sets of locations as groups: one for each set, whatever the number of MACs that name it. */
#include "ovs.h"

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TARGETS 64

/* One bucket needs no choice, and costs no hashing of each packet. */
static enum of_group_type type_of(const struct ovs_set_rec *rec)
{
    return rec->n_targets > 1    ? OF_GROUP_SELECT
           : rec->n_targets == 1 ? OF_GROUP_INDIRECT
                                 : OF_GROUP_ALL;
}

void ovs_put_group(struct dp *dp, enum of_group_command command, struct ovs_set_rec *rec)
{
    rec->serial = ++dp->group_serial;
    ovs_bundle_interrupt(dp);
    if (dp->conn)
        of_put_group(of_out(dp->conn), ovs_xid(dp), command, type_of(rec), rec->group_id,
                     em_buf_head(&rec->buckets), em_buf_size(&rec->buckets));
}

static void delete_group(struct dp *dp, uint32_t group_id)
{
    ovs_bundle_interrupt(dp);
    if (dp->conn)
        of_put_group(of_out(dp->conn), ovs_xid(dp), OF_GROUP_DELETE, OF_GROUP_ALL, group_id, NULL,
                     0);
}

/* A tunnel in userspace drops packets until the switch has seen the underlay's ARP or ND for their
 * way, and asks when the first one comes: that is to be this frame of nobody's, in VNI 0, and not a
 * guest's.  A question of this host's kernel would not do, which may know the way from the other
 * one's question; the switch learns from answers only. */
static void ask_for_way(struct dp *dp, const struct dp_target *target)
{
    static const uint8_t frame[60] = {[12] = 0x88, [13] = 0xb5}; /* for local experiments */
    struct dp_target nobody = *target;
    struct em_buf actions;

    nobody.segmentation_id = 0;
    em_buf_init(&actions);
    ovs_to_target(dp, &actions, &nobody);
    if (dp->conn)
        of_put_packet_out(of_out(dp->conn), of_xid(dp->conn), &actions, frame, sizeof frame);
    em_buf_fini(&actions);
}

static int make_ways(struct dp *dp, const struct dp_set *set)
{
    int r = 0;

    for (size_t i = 0; i < set->n_targets && r == 0; i++) {
        char *why = NULL;
        r = ovs_make_tunnel(dp, set->targets[i].encap, set->targets[i].udp_port, &why);
        free(why);
        ask_for_way(dp, &set->targets[i]);
    }
    return r;
}

static void make_buckets(struct dp *dp, const struct dp_target *targets, size_t n,
                         struct em_buf *ret_buckets)
{
    struct em_buf actions;

    em_buf_init(&actions);
    for (size_t i = 0; i < n; i++) {
        em_buf_take(&actions, em_buf_size(&actions));
        ovs_to_target(dp, &actions, &targets[i]);
        of_put_bucket(ret_buckets, n > 1 ? targets[i].weight : 0, &actions);
    }
    em_buf_fini(&actions);
}

static bool is_same(const struct em_buf *a, const struct em_buf *b)
{
    return em_buf_size(a) == em_buf_size(b) &&
           (em_buf_size(a) == 0 || memcmp(em_buf_head(a), em_buf_head(b), em_buf_size(a)) == 0);
}

/* A group that an earlier run has left for these very locations; set numbers are each run's own. */
static struct ovs_group_rec *find_left(struct dp *dp, const struct em_buf *buckets)
{
    for (uint32_t i = 0; i < dp->groups.len; i++) {
        struct ovs_group_rec *group = dp_table_at(&dp->groups, i);
        if (is_same(&group->buckets, buckets))
            return group;
    }
    return NULL;
}

static uint32_t free_group_id(struct dp *dp)
{
    uint32_t id = dp->next_group_id;

    while (id < OVS_GROUP_FIRST || id > OVS_GROUP_LAST || dp_table_find(&dp->group_ids, &id))
        id = id < OVS_GROUP_FIRST || id >= OVS_GROUP_LAST ? OVS_GROUP_FIRST : id + 1;
    dp->next_group_id = id + 1;
    return id;
}

static void keep_targets(struct ovs_set_rec *rec, const struct dp_set *set)
{
    free(rec->targets);
    rec->targets = em_calloc(set->n_targets + 1, sizeof *rec->targets);
    if (set->n_targets)
        memcpy(rec->targets, set->targets, set->n_targets * sizeof *rec->targets);
    rec->n_targets = (uint32_t)set->n_targets;
}

void ovs_set_fini(struct ovs_set_rec *rec)
{
    em_buf_fini(&rec->buckets);
    free(rec->targets);
}

static void make_set(struct dp *dp, const struct dp_set *set, struct em_buf *buckets)
{
    struct ovs_group_rec *left = find_left(dp, buckets);
    struct ovs_set_rec *rec = dp_table_put(&dp->sets, &set->id);

    rec->buckets = *buckets;
    keep_targets(rec, set);
    if (left) {
        rec->group_id = left->group_id;
        em_buf_fini(&left->buckets);
        dp_table_remove(&dp->groups, left);
        return;
    }
    rec->group_id = free_group_id(dp);
    dp_table_put(&dp->group_ids, &rec->group_id);
    ovs_put_group(dp, OF_GROUP_ADD, rec);
}

/* The buckets are taken. */
static void change(struct dp *dp, struct ovs_set_rec *rec, struct em_buf *buckets)
{
    if (!rec->is_unsure && is_same(&rec->buckets, buckets)) {
        em_buf_fini(buckets);
        return;
    }
    em_buf_fini(&rec->buckets);
    rec->buckets = *buckets;
    ovs_put_group(dp, rec->is_unsure ? OF_GROUP_PUT : OF_GROUP_MODIFY, rec);
    rec->is_unsure = false;
}

void ovs_sets_follow(struct dp *dp)
{
    for (uint32_t i = 0; i < dp->sets.len; i++) {
        struct ovs_set_rec *rec = dp_table_at(&dp->sets, i);
        struct em_buf buckets;
        em_buf_init(&buckets);
        make_buckets(dp, rec->targets, rec->n_targets, &buckets);
        rec->is_unsure |= !is_same(&rec->buckets, &buckets);
        change(dp, rec, &buckets);
    }
}

int ovs_set_put(struct dp *dp, const struct dp_set *set)
{
    struct em_buf buckets;

    if (set->n_targets > MOST_TARGETS)
        return -E2BIG;
    int r = make_ways(dp, set);
    if (r)
        return r;
    em_buf_init(&buckets);
    make_buckets(dp, set->targets, set->n_targets, &buckets);
    struct ovs_set_rec *rec = dp_table_find(&dp->sets, &set->id);
    if (!rec) {
        make_set(dp, set, &buckets);
        return 0;
    }
    keep_targets(rec, set);
    change(dp, rec, &buckets);
    return 0;
}

int ovs_set_delete(struct dp *dp, uint32_t set_id)
{
    struct ovs_set_rec *rec = dp_table_find(&dp->sets, &set_id);

    if (!rec)
        return 0;
    if (rec->n_macs)
        return -EBUSY;
    delete_group(dp, rec->group_id);
    dp_table_remove(&dp->group_ids, dp_table_find(&dp->group_ids, &rec->group_id));
    ovs_set_fini(rec);
    dp_table_remove(&dp->sets, rec);
    return 0;
}

int ovs_set_sweep(struct dp *dp)
{
    int n = 0;

    for (uint32_t i = dp->groups.len; i-- > 0;) {
        struct ovs_group_rec *group = dp_table_at(&dp->groups, i);
        if (group->n_macs)
            continue; /* of a network that is not complete yet */
        n++;
        delete_group(dp, group->group_id);
        dp_table_remove(&dp->group_ids, dp_table_find(&dp->group_ids, &group->group_id));
        em_buf_fini(&group->buckets);
        dp_table_remove(&dp->groups, group);
    }
    return n;
}

bool ovs_set_is(struct dp *dp, const struct ovs_set_rec *rec, const struct dp_set *set)
{
    struct em_buf buckets;

    em_buf_init(&buckets);
    make_buckets(dp, set->targets, set->n_targets, &buckets);
    bool is_same_one = is_same(&buckets, &rec->buckets);
    em_buf_fini(&buckets);
    return is_same_one;
}
