/* A dump of the switch as a table of hashes: what stands, and whether it is as it should be. */
#include "ovs_check.h"

#include <errno.h>

static struct dp_check *check_of(const struct dp *dp, uint32_t xid)
{
    struct dp_check *check = dp->checks;
    while (check && check->xid_flows != xid && check->xid_groups != xid)
        check = check->next;
    return check;
}

/* What was sent since the dump was asked for is newer than what it shows. */
static void note(struct dp_table *table, uint64_t key, uint64_t value, uint16_t flags)
{
    struct ovs_seen_rec *rec = dp_table_find(table, &key);
    if (!rec)
        rec = dp_table_put(table, &key);
    else if (rec->flags & OVS_SEEN_LATER && !(flags & OVS_SEEN_LATER))
        return;
    rec->value = value;
    rec->flags = (uint16_t)(flags | (rec->flags & OVS_SEEN_KNOWN));
}

void ovs_checks_note(struct dp *dp, const struct of_flow *flow, bool is_there)
{
    for (struct dp_check *check = dp->checks; check; check = check->next)
        if (check->is_asked)
            note(&check->flows,
                 ovs_flow_key(flow->table, flow->priority, flow->match, flow->match_size),
                 is_there ? ovs_flow_value(dp, flow) : 0,
                 OVS_SEEN_LATER | (is_there ? OVS_SEEN_OURS : OVS_SEEN_DELETED));
}

void ovs_checks_fail(struct dp *dp, int err)
{
    for (struct dp_check *check = dp->checks; check; check = check->next) {
        check->result.err = check->result.err ? check->result.err : err;
        check->xid_flows = check->xid_groups = 0;
    }
}

static void read_flows(struct dp_check *check, struct of_parts *parts)
{
    struct of_seen_flow flow;

    while (of_next_flow(parts, &flow)) {
        uint64_t key = ovs_flow_key(flow.table, flow.priority, flow.match, flow.match_size);
        bool is_ours = (flow.cookie & OVS_COOKIE_MASK) == OVS_COOKIE;
        if (check->on_flow)
            check->on_flow(check->dp, check, &flow);
        if (key)
            note(&check->flows, key, ovs_seen_value(&flow), is_ours ? OVS_SEEN_OURS : 0);
    }
}

static void read_groups(struct dp_check *check, struct of_parts *parts)
{
    struct of_seen_group group;

    while (of_next_group(parts, &group)) {
        if (check->on_group)
            check->on_group(check->dp, check, &group);
        note(&check->groups, group.group_id, em_hash(group.buckets, group.size), 0);
    }
}

void ovs_on_parts(struct dp *dp, const struct of_message *message)
{
    struct dp_check *check = check_of(dp, message->xid);
    struct of_parts parts;
    bool has_more;

    if (of_parse_multipart(message, OF_MULTIPART_PORT_DESC, &parts, &has_more)) {
        ovs_on_ports(dp, &parts);
    } else if (check && of_parse_multipart(message, OF_MULTIPART_FLOW, &parts, &has_more)) {
        read_flows(check, &parts);
        check->xid_flows = has_more ? check->xid_flows : 0;
    } else if (check && of_parse_multipart(message, OF_MULTIPART_GROUP_DESC, &parts, &has_more)) {
        read_groups(check, &parts);
        check->xid_groups = has_more ? check->xid_groups : 0;
    } else if (of_parse_multipart(message, OF_MULTIPART_FLOW, &parts, &has_more)) {
        ovs_on_single(dp, &parts);
    }
}

void ovs_mirror_ask(struct dp_check *check)
{
    struct dp *dp = check->dp;

    check->xid_flows = of_xid(dp->conn);
    check->xid_groups = of_xid(dp->conn);
    check->serial = dp->group_serial;
    check->is_asked = true;
    of_put_group_dump(of_out(dp->conn), check->xid_groups);
    of_put_flow_dump(of_out(dp->conn), check->xid_flows, OF_TABLE_ALL, 0, 0, NULL);
}

bool ovs_mirror_read(struct dp_check *check, size_t budget)
{
    struct dp *dp = check->dp;
    int r = dp->conn ? of_send(dp->conn) : -ENOTCONN;

    if (r == 0 && (check->xid_flows || check->xid_groups))
        r = of_receive(dp->conn, budget);
    if (r < 0) {
        check->result.err = r;
        return false;
    }
    return check->xid_flows || check->xid_groups;
}

enum ovs_verdict ovs_mirror_judge(struct dp_check *check, const struct of_flow *flow)
{
    uint64_t key = ovs_flow_key(flow->table, flow->priority, flow->match, flow->match_size);
    struct ovs_seen_rec *rec = dp_table_find(&check->flows, &key);

    if (!rec || rec->flags & OVS_SEEN_DELETED)
        return OVS_MISSING;
    rec->flags |= OVS_SEEN_KNOWN;
    if (!(rec->flags & OVS_SEEN_OURS)) {
        if (!dp_table_find(&check->dp->strangers, &key))
            dp_table_put(&check->dp->strangers, &key);
        return OVS_FOREIGN;
    }
    return rec->value == ovs_flow_value(check->dp, flow) ? OVS_STANDS : OVS_WRONG;
}
