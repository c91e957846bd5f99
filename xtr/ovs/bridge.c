#include "ovs/bridge.h"

#include "base/mem.h"
#include "ovs/datum.h"
#include "ovs/ops.h"
#include "ovs/ovsdb.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

/* Of a new bridge; ovs-ofctl speaks the first if it is not told otherwise. */
static const char *const protocols[] = {"OpenFlow10", "OpenFlow13", "OpenFlow14", "OpenFlow15"};
#define N_PROTOCOLS (sizeof protocols / sizeof protocols[0])
#define FIRST_OURS  1 /* what we speak begins here */

static json_t *bridge_row(const struct ovs_bridge *bridge)
{
    const char *const mark[][2] = {{OVS_MARK, bridge->node_id}};
    return json_pack("{ss s[ss] ss ss so so}", "name", bridge->name, "ports", "named-uuid", "port",
                     "fail_mode", "secure", "datapath_type", bridge->datapath_type, "protocols",
                     ovs_datum_new_set(protocols, N_PROTOCOLS), "external_ids",
                     ovs_datum_new_map(mark, 1));
}

/* A bridge has a port and an interface of its own name, and hangs on the database's one root. */
static json_t *create_ops(const struct ovs_bridge *bridge)
{
    json_t *ops = json_array();
    ovs_ops_append(&ops,
                   ovs_op_insert("Interface", "interface",
                                 json_pack("{ssss}", "name", bridge->name, "type", "internal")));
    ovs_ops_append(&ops, ovs_op_insert("Port", "port",
                                       json_pack("{sss[ss]}", "name", bridge->name, "interfaces",
                                                 "named-uuid", "interface")));
    ovs_ops_append(&ops, ovs_op_insert("Bridge", "bridge", bridge_row(bridge)));
    ovs_ops_append(
        &ops, ovs_op_mutate("Open_vSwitch", json_array(),
                            json_pack("[[ss[ss]]]", "bridges", "insert", "named-uuid", "bridge")));
    return ops;
}

/* No versions said: all are spoken. */
static void add_missing_protocols(const json_t *row, json_t *mutations)
{
    const json_t *old = json_object_get(row, "protocols");
    if (!ovs_datum_len(old))
        return;
    for (size_t i = FIRST_OURS; i < N_PROTOCOLS; i++)
        if (!ovs_datum_has(old, protocols[i]))
            json_array_append_new(mutations, ovs_mutation("protocols", "insert",
                                                          ovs_datum_new_set(protocols + i, 1)));
}

static json_t *repair_ops(const struct ovs_bridge *bridge, const json_t *row)
{
    json_t *ops = json_array(), *mutations = json_array();
    add_missing_protocols(row, mutations);
    if (bridge->is_ours) {
        ovs_mutations_put(mutations, "external_ids", OVS_MARK, bridge->node_id);
        ovs_ops_append(&ops, ovs_op_update("Bridge", ovs_where_name(bridge->name),
                                           json_pack("{ss}", "fail_mode", "secure")));
    }
    ovs_ops_append(&ops, ovs_op_mutate("Bridge", ovs_where_name(bridge->name), mutations));
    return ops;
}

static int check_datapath(const struct ovs_bridge *bridge, const json_t *row, char **ret_why)
{
    const char *type = ovs_datum_text(json_object_get(row, "datapath_type"));
    const char *old = type && *type ? type : "system";
    if (!*bridge->datapath_type || !strcmp(old, bridge->datapath_type))
        return 0;
    *ret_why =
        em_asprintf("bridge %s is there with datapath_type %s, not %s: to change it, delete the "
                    "bridge first",
                    bridge->name, old, bridge->datapath_type);
    return -EEXIST;
}

static int find(struct ovsdb *db, struct ovs_bridge *bridge, json_t **ret_results, char **ret_why)
{
    static const char *const columns[] = {"fail_mode", "protocols", "datapath_type", "external_ids",
                                          NULL};
    json_t *ops = json_array(), *results;
    ovs_ops_append(&ops, ovs_op_select("Bridge", ovs_where_name(bridge->name), columns));
    int r = ovsdb_transact(db, ops, &results, ret_why);
    if (r)
        return r;
    const json_t *row = ovs_result_row(results, 0);
    const char *fail_mode = ovs_datum_text(json_object_get(row, "fail_mode"));
    bridge->is_new = !row;
    bridge->is_ours = !row || ovs_datum_get(json_object_get(row, "external_ids"), OVS_MARK);
    bridge->is_standalone = !bridge->is_ours && (!fail_mode || strcmp(fail_mode, "secure") != 0);
    *ret_results = results;
    return 0;
}

int ovs_bridge_ensure(struct ovsdb *db, struct ovs_bridge *bridge, char **ret_why)
{
    json_t *results;
    int r = find(db, bridge, &results, ret_why);
    if (r)
        return r;
    const json_t *row = ovs_result_row(results, 0);
    if (!bridge->is_new)
        r = check_datapath(bridge, row, ret_why);
    if (!r)
        r = ovsdb_configure(db, bridge->is_new ? create_ops(bridge) : repair_ops(bridge, row), NULL,
                            ret_why);
    json_decref(results);
    return r;
}
