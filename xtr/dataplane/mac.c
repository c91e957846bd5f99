/* MACs, remote and local.
 *
 * A remote MAC has two halves: in the vxlan device's FDB, to a nexthop group (or to an
 * address, where a target has a VNI or UDP port of its own: nexthops carry neither), and in
 * the bridge's FDB, on the vxlan port.  One message with NTF_SELF|NTF_MASTER makes both.  A
 * local MAC has the bridge half only.  Every half is extern_learn: that marks it as ours,
 * keeps the bridge from ageing it, and lets a MAC change sides in one message, since the
 * bridge moves such an entry from port to port without a gap.
 *
 * An entry by address cannot be replaced by one with a group, nor the other way round: it
 * is deleted and added in one batch.
 *
 * A new vxlan entry is made with NLM_F_EXCL, so that a stranger's is not overwritten.  The
 * bridge has no such check for extern_learn entries; strangers that a dump has shown there
 * have a record (DP_FOREIGN), and a local MAC, of which there are few, is looked up first. */
#include "kernel.h"

#include <assert.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>

/* ---- entries as messages carry them */

/* Towards a set, or (by_dst) towards its first target. */
static struct dp_fdb vxlan_entry(const struct dp *dp, const struct dp_network_rec *network,
                                 const uint8_t *mac, const struct dp_set_rec *set)
{
    struct dp_fdb fdb = {
        .ifindex = network->vxlan, .flags = NTF_SELF | DP_FDB_MARK, .state = DP_FDB_STATE};

    memcpy(fdb.mac, mac, EM_MAC_SIZE);
    if (!dp_set_is_by_dst(set, network)) {
        fdb.nhid = set->group_id;
        return fdb;
    }
    fdb.dst = set->first.ip;
    if (set->first.segmentation_id != network->want.segmentation_id)
        fdb.vni = set->first.segmentation_id;
    if (set->first.udp_port != dp->udp_port)
        fdb.port = set->first.udp_port;
    return fdb;
}

static struct dp_fdb bridge_entry(uint32_t ifindex, const uint8_t *mac)
{
    struct dp_fdb fdb = {
        .ifindex = ifindex, .flags = NTF_MASTER | DP_FDB_MARK, .state = DP_FDB_STATE};
    memcpy(fdb.mac, mac, EM_MAC_SIZE);
    return fdb;
}

struct dp_fdb dp_mac_vxlan_entry(const struct dp *dp, const struct dp_mac_rec *rec)
{
    const struct dp_network_rec *network = dp_shadow_network(&dp->shadow, rec->network_id);

    assert(!(rec->flags & (DP_LOCAL | DP_ADOPTED)));
    return vxlan_entry(dp, network, rec->mac, dp_shadow_set(&dp->shadow, rec->place));
}

struct dp_fdb dp_mac_bridge_entry(const struct dp *dp, const struct dp_mac_rec *rec)
{
    const struct dp_network_rec *network = dp_shadow_network(&dp->shadow, rec->network_id);
    return bridge_entry(rec->flags & DP_LOCAL ? rec->place : network->vxlan, rec->mac);
}

/* ---- asking the kernel */

struct fdb_answer {
    struct dp_fdb fdb;
    bool is_there;
};

static void take_fdb(void *aux, const struct nlmsghdr *message)
{
    struct fdb_answer *answer = aux;
    answer->is_there = dp_fdb_parse(message, &answer->fdb);
}

int dp_fdb_lookup(struct dp *dp, uint32_t vxlan, const uint8_t *mac, uint8_t table,
                  struct dp_fdb *ret_fdb)
{
    struct dp_fdb key = {.ifindex = vxlan, .flags = table};
    struct fdb_answer answer = {.is_there = false};

    memcpy(key.mac, mac, EM_MAC_SIZE);
    dp_fdb_message(dp->nl, RTM_GETNEIGH, 0, &key);
    int r = dp_nl_read(dp->nl, take_fdb, &answer);
    if (r)
        return r;
    if (!answer.is_there)
        return -ENOENT;
    *ret_fdb = answer.fdb;
    return 0;
}

/* Somebody's static entry, in one of the two tables?  What a bridge has learned itself
 * ages and is no claim. */
static bool is_in_the_way(struct dp *dp, const struct dp_network_rec *network, const uint8_t *mac)
{
    struct dp_fdb fdb;

    if (dp_fdb_lookup(dp, network->vxlan, mac, NTF_MASTER, &fdb) == 0 &&
        !(fdb.flags & DP_FDB_MARK) && (fdb.state & (NUD_NOARP | NUD_PERMANENT)))
        return true;
    return dp_fdb_lookup(dp, network->vxlan, mac, NTF_SELF, &fdb) == 0 &&
           !(fdb.flags & DP_FDB_MARK);
}

/* A record of a stranger's entry goes when the entry is gone.  Flushes. */
static int check_foreign(struct dp *dp, const struct dp_op *op)
{
    struct dp_mac_rec *rec = dp_shadow_mac(&dp->shadow, op->network.id, op->mac);

    if (!rec || !(rec->flags & DP_FOREIGN))
        return 0;
    dp_flush(dp);
    if (is_in_the_way(dp, dp_network_of(dp, op), op->mac))
        return -EEXIST;
    rec = dp_shadow_mac(&dp->shadow, op->network.id, op->mac);
    dp_shadow_remove_mac(&dp->shadow, rec);
    return 0;
}

/* ---- remote MACs */

static void leave_set(struct dp *dp, const struct dp_mac_rec *rec)
{
    if (rec->flags & (DP_LOCAL | DP_ADOPTED | DP_NEW | DP_FOREIGN))
        return;
    struct dp_set_rec *set = dp_shadow_set(&dp->shadow, rec->place);
    assert(set && set->n_macs > 0);
    set->n_macs--;
    if (rec->flags & DP_BY_DST)
        set->n_by_dst--;
}

static void join_set(struct dp *dp, struct dp_mac_rec *rec, uint32_t set_id)
{
    struct dp_set_rec *set = dp_shadow_set(&dp->shadow, set_id);
    bool is_by_dst = dp_set_is_by_dst(set, dp_shadow_network(&dp->shadow, rec->network_id));

    rec->place = set_id;
    rec->flags = is_by_dst ? DP_BY_DST : 0;
    set->n_macs++;
    set->n_by_dst += is_by_dst;
}

void dp_mac_forget(struct dp *dp, struct dp_mac_rec *rec)
{
    leave_set(dp, rec);
    dp_shadow_remove_mac(&dp->shadow, rec);
}

static bool is_same_fdb(const struct dp_fdb *a, const struct dp_fdb *b)
{
    return a->nhid == b->nhid && a->vni == b->vni && a->port == b->port &&
           a->dst.size == b->dst.size && memcmp(a->dst.addr, b->dst.addr, a->dst.size) == 0;
}

/* Does what an earlier run left say the same as 'want'?  Flushes if it has to ask. */
static bool adopted_is_same(struct dp *dp, const struct dp_op *op, const struct dp_fdb *want)
{
    const struct dp_mac_rec *rec = dp_shadow_mac(&dp->shadow, op->network.id, op->mac);
    struct dp_fdb stands;

    if (!(rec->flags & DP_BY_DST))
        return want->nhid != 0 && rec->place == want->nhid;
    if (want->nhid != 0)
        return false;
    dp_flush(dp);
    return dp_fdb_lookup(dp, dp_network_of(dp, op)->vxlan, op->mac, NTF_SELF, &stands) == 0 &&
           is_same_fdb(&stands, want);
}

static bool mac_is_same(struct dp *dp, const struct dp_op *op, const struct dp_fdb *want)
{
    struct dp_mac_rec *rec = dp_shadow_mac(&dp->shadow, op->network.id, op->mac);

    if (!rec || rec->flags & (DP_LOCAL | DP_DIRTY | DP_GUESSED))
        return false;
    if (!(rec->flags & DP_ADOPTED))
        return rec->place == op->set.id;
    if (!adopted_is_same(dp, op, want))
        return false;
    join_set(dp, dp_shadow_mac(&dp->shadow, op->network.id, op->mac), op->set.id);
    return true;
}

/* Names no destination: the kernel would then spare an entry that has another one. */
static void add_vxlan_delete(struct dp *dp, const struct dp_network_rec *network,
                             const uint8_t *mac)
{
    struct dp_fdb fdb = {
        .ifindex = network->vxlan, .flags = NTF_SELF | DP_FDB_MARK, .state = DP_FDB_STATE};

    memcpy(fdb.mac, mac, EM_MAC_SIZE);
    dp_fdb_message(dp->nl, RTM_DELNEIGH, 0, &fdb);
}

/* Both halves, anew (NLM_F_EXCL) or over what is there (NLM_F_REPLACE). */
static void add_both(struct dp *dp, uint16_t flags, struct dp_fdb want)
{
    want.flags |= NTF_MASTER;
    dp_fdb_message(dp->nl, RTM_NEWNEIGH, NLM_F_CREATE | flags, &want);
}

/* Appends what makes 'want' stand, given what stands by the record (NULL: nothing). */
static void add_remote(struct dp *dp, const struct dp_network_rec *network,
                       const struct dp_mac_rec *rec, struct dp_fdb want)
{
    bool was_remote = rec && !(rec->flags & DP_LOCAL);
    bool is_dirty = rec && rec->flags & DP_DIRTY;
    bool was_by_dst = rec && rec->flags & DP_BY_DST;

    if (rec && rec->flags & DP_GUESSED) {
        add_both(dp, NLM_F_REPLACE, want);
        return;
    }
    if (was_remote && !is_dirty && was_by_dst == (want.nhid == 0)) {
        dp_fdb_message(dp->nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &want);
        return;
    }
    if (was_remote || is_dirty)
        add_vxlan_delete(dp, network, want.mac);
    add_both(dp, NLM_F_EXCL, want);
}

static int queue_mac_put(struct dp *dp, const struct dp_op *op)
{
    const struct dp_network_rec *network = dp_network_of(dp, op);
    const struct dp_set_rec *set = dp_shadow_set(&dp->shadow, op->set.id);

    if (!network || !set)
        return -ENOENT;
    int r = check_foreign(dp, op);
    if (r)
        return r;
    struct dp_fdb want = vxlan_entry(dp, network, op->mac, set);
    if (mac_is_same(dp, op, &want))
        return 0;

    struct dp_mac_rec *rec = dp_shadow_mac(&dp->shadow, op->network.id, op->mac);
    add_remote(dp, network, rec, want);
    if (!rec) {
        rec = dp_shadow_put_mac(&dp->shadow, op->network.id, op->mac);
        rec->flags = DP_NEW;
    }
    rec->flags |= DP_PENDING;
    return 0;
}

/* The vxlan table had an entry already, or one that cannot be replaced.  One that is ours
 * (left by a half-done change, or not seen at open) gives way unless it is the same; before a
 * stranger's we step back, and the bridge half goes where it was. */
static int settle_mac(struct dp *dp, const struct dp_op *op, const struct dp_mac_rec *rec)
{
    const struct dp_network_rec *network = dp_network_of(dp, op);
    struct dp_fdb want = vxlan_entry(dp, network, op->mac, dp_shadow_set(&dp->shadow, op->set.id));
    struct dp_fdb stands;

    int r = dp_fdb_lookup(dp, network->vxlan, op->mac, NTF_SELF, &stands);
    if (r == 0 && !(stands.flags & DP_FDB_MARK)) {
        struct dp_fdb back =
            bridge_entry(rec->flags & DP_LOCAL ? rec->place : network->vxlan, op->mac);
        if (rec->flags & DP_LOCAL)
            dp_fdb_message(dp->nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &back);
        else
            dp_fdb_message(dp->nl, RTM_DELNEIGH, 0, &back);
        (void)dp_nl_commit(dp->nl);
        return -EEXIST;
    }
    if (r == 0 && is_same_fdb(&stands, &want))
        return 0; /* and the bridge half has been made */
    add_vxlan_delete(dp, network, op->mac);
    add_both(dp, NLM_F_EXCL, want);
    return dp_nl_commit(dp->nl);
}

/* An op failed: a new record goes, another's entry may have been touched. */
static void mac_failed(struct dp *dp, struct dp_mac_rec *rec, int err)
{
    if (rec->flags & DP_NEW)
        dp_shadow_remove_mac(&dp->shadow, rec);
    else
        rec->flags = (rec->flags & ~DP_PENDING) | (err == -EEXIST ? 0 : DP_DIRTY);
}

static int done_mac_put(struct dp *dp, const struct dp_op *op, int err)
{
    struct dp_mac_rec *rec = dp_shadow_mac(&dp->shadow, op->network.id, op->mac);

    assert(rec && rec->flags & DP_PENDING);
    if (err == -EEXIST || (err && rec->flags & DP_GUESSED))
        err = settle_mac(dp, op, rec);
    if (err) {
        mac_failed(dp, rec, err);
        return err;
    }
    leave_set(dp, rec);
    join_set(dp, rec, op->set.id);
    return 0;
}

/* Both halves apart: where one is missing, the kernel would leave the other. */
static void add_mac_delete(struct dp *dp, const struct dp_mac_rec *rec)
{
    const struct dp_network_rec *network = dp_shadow_network(&dp->shadow, rec->network_id);
    struct dp_fdb fdb = dp_mac_bridge_entry(dp, rec);

    dp_fdb_message(dp->nl, RTM_DELNEIGH, 0, &fdb);
    if (rec->flags & DP_LOCAL && !(rec->flags & DP_DIRTY))
        return;
    add_vxlan_delete(dp, network, rec->mac);
}

/* An entry of an earlier run that was not seen at open, and has no neighbour to tell of it?
 * Then it gets a record, so that it can be removed.  Flushes. */
static struct dp_mac_rec *find_unseen(struct dp *dp, const struct dp_op *op)
{
    const struct dp_network_rec *network = dp_network_of(dp, op);
    struct dp_fdb fdb;

    if (!network || !network->is_cut)
        return NULL;
    dp_flush(dp);
    if (dp_fdb_lookup(dp, network->vxlan, op->mac, NTF_SELF, &fdb) || !(fdb.flags & DP_FDB_MARK))
        return NULL;
    struct dp_mac_rec *rec = dp_shadow_put_mac(&dp->shadow, op->network.id, op->mac);
    rec->flags = DP_ADOPTED | DP_GUESSED;
    return rec;
}

static int queue_mac_delete(struct dp *dp, const struct dp_op *op, bool is_local)
{
    struct dp_mac_rec *rec = dp_shadow_mac(&dp->shadow, op->network.id, op->mac);

    if (!rec && !is_local)
        rec = find_unseen(dp, op);
    if (!rec || rec->flags & DP_FOREIGN || !(rec->flags & DP_LOCAL) == is_local)
        return 0;
    if (is_local) {
        const struct dp_device_rec *device = dp_shadow_device(&dp->shadow, rec->place);
        struct dp_port_rec key = {.network_id = op->network.id};
        memcpy(key.device, op->device, sizeof(key.device));
        const struct dp_port_rec *port = dp_table_find(&dp->shadow.ports, &key);
        if (device && (!port || port->ifindex != rec->place))
            return 0; /* it is behind another port by now */
    }
    add_mac_delete(dp, rec);
    rec->flags |= DP_PENDING;
    return 0;
}

/* A device that is gone has taken its entries along. */
static int done_mac_delete(struct dp *dp, const struct dp_op *op, int err)
{
    struct dp_mac_rec *rec = dp_shadow_mac(&dp->shadow, op->network.id, op->mac);

    assert(rec && rec->flags & DP_PENDING);
    if (err && err != -ENODEV) {
        mac_failed(dp, rec, err);
        return err;
    }
    dp_mac_forget(dp, rec);
    return 0;
}

/* ---- local MACs */

static int queue_local_put(struct dp *dp, const struct dp_op *op)
{
    const struct dp_network_rec *network = dp_network_of(dp, op);
    struct dp_port_rec key = {.network_id = op->network.id};
    memcpy(key.device, op->device, sizeof(key.device));
    const struct dp_port_rec *port = dp_table_find(&dp->shadow.ports, &key);

    if (!network)
        return -ENOENT;
    if (!port)
        return -ENODEV;
    int r = check_foreign(dp, op);
    if (r)
        return r;
    struct dp_mac_rec *rec = dp_shadow_mac(&dp->shadow, op->network.id, op->mac);
    if (rec && rec->flags & DP_LOCAL && rec->place == port->ifindex && !(rec->flags & DP_DIRTY)) {
        rec->flags = DP_LOCAL;
        return 0;
    }
    if (!rec) {
        dp_flush(dp);
        if (is_in_the_way(dp, network, op->mac))
            return -EEXIST;
        rec = dp_shadow_put_mac(&dp->shadow, op->network.id, op->mac);
        rec->flags = DP_NEW;
    }
    struct dp_fdb fdb = bridge_entry(port->ifindex, op->mac);
    dp_fdb_message(dp->nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &fdb);
    if (!(rec->flags & DP_NEW))
        add_vxlan_delete(dp, network, op->mac);
    rec->flags |= DP_PENDING;
    return 0;
}

static int done_local_put(struct dp *dp, const struct dp_op *op, int err)
{
    struct dp_mac_rec *rec = dp_shadow_mac(&dp->shadow, op->network.id, op->mac);
    struct dp_port_rec key = {.network_id = op->network.id};
    memcpy(key.device, op->device, sizeof(key.device));

    if (err) {
        mac_failed(dp, rec, err);
        return err;
    }
    leave_set(dp, rec);
    rec->flags = DP_LOCAL;
    rec->place = ((const struct dp_port_rec *)dp_table_find(&dp->shadow.ports, &key))->ifindex;
    return 0;
}

/* ---- by verb */

bool dp_mac_is_pending(struct dp *dp, const struct dp_op *op)
{
    const struct dp_mac_rec *rec = dp_shadow_mac(&dp->shadow, op->network.id, op->mac);
    return rec && rec->flags & DP_PENDING;
}

int dp_mac_queue(struct dp *dp, const struct dp_op *op)
{
    if (op->verb == DP_MAC_PUT)
        return queue_mac_put(dp, op);
    if (op->verb == DP_LOCAL_PUT)
        return queue_local_put(dp, op);
    return queue_mac_delete(dp, op, op->verb == DP_LOCAL_DELETE);
}

int dp_mac_done(struct dp *dp, const struct dp_op *op, int err)
{
    if (op->verb == DP_MAC_PUT)
        return done_mac_put(dp, op, err);
    if (op->verb == DP_LOCAL_PUT)
        return done_local_put(dp, op, err);
    return done_mac_delete(dp, op, err);
}

/* ---- one at a time, for repair and sweep */

void dp_mac_resend_messages(struct dp *dp, const struct dp_mac_rec *rec)
{
    const struct dp_network_rec *network = dp_shadow_network(&dp->shadow, rec->network_id);
    struct dp_fdb fdb = dp_mac_bridge_entry(dp, rec);

    if (!(rec->flags & DP_LOCAL)) {
        add_vxlan_delete(dp, network, rec->mac);
        add_both(dp, NLM_F_EXCL, dp_mac_vxlan_entry(dp, rec));
    } else {
        dp_fdb_message(dp->nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &fdb);
        add_vxlan_delete(dp, network, rec->mac);
    }
}

int dp_mac_resend(struct dp *dp, struct dp_mac_rec *rec)
{
    dp_mac_resend_messages(dp, rec);
    int r = dp_nl_commit(dp->nl);
    rec->flags = r ? rec->flags | DP_DIRTY : rec->flags & ~DP_DIRTY;
    return r;
}

int dp_mac_remove(struct dp *dp, struct dp_mac_rec *rec)
{
    add_mac_delete(dp, rec);
    int r = dp_nl_commit(dp->nl);
    if (r && r != -ENODEV)
        return r;
    dp_mac_forget(dp, rec);
    return 0;
}
