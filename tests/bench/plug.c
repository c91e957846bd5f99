#include "plug.h"

#include "bench.h"
#include "eidmap/addr.h"
#include "ovs/datum.h"
#include "ovs/ops.h"
#include "ovs/ovsdb.h"
#include "server/numbered.h"

#include <jansson.h>
#include <stdio.h>

#define LIMIT_MS 300000

static json_t *ids_of(uint32_t number)
{
    struct numbered_port port;
    char id[EM_PORT_ID_TEXT], mac[EM_MAC_TEXT];
    numbered_port_init(&port, 0, number, NULL);
    const char *const pairs[][2] = {
        {"iface-id", em_port_id_format(port.port.id.bytes, port.port.id.size, id)},
        {"attached-mac", em_mac_format(port.eids[0].addr, mac)}};
    return ovs_datum_new_map(pairs, 2);
}

static void append_port(json_t **ops, json_t *added, uint32_t number, bool has_id)
{
    char name[16], interface_id[24], port_id[24];
    snprintf(name, sizeof(name), "p%u", number);
    snprintf(interface_id, sizeof(interface_id), "i%u", number);
    snprintf(port_id, sizeof(port_id), "p%u", number);
    json_t *ids = has_id ? ids_of(number) : ovs_datum_new_map(NULL, 0);
    ovs_ops_append(ops, ovs_op_insert("Interface", interface_id,
                                      json_pack("{ssso}", "name", name, "external_ids", ids)));
    ovs_ops_append(ops, ovs_op_insert("Port", port_id,
                                      json_pack("{sss[ss]}", "name", name, "interfaces",
                                                "named-uuid", interface_id)));
    json_array_append_new(added, json_pack("[ss]", "named-uuid", port_id));
}

/* By its UUID: the server looks through all rows for any other column. */
static void append_id(json_t **ops, const json_t *row, uint32_t first, uint32_t n)
{
    unsigned number;
    const char *name = json_string_value(json_object_get(row, "name"));
    if (!name || sscanf(name, "p%u", &number) != 1 || number < first || number >= first + n)
        return;
    json_t *uuid = json_incref(json_object_get(row, "_uuid"));
    ovs_ops_append(ops, ovs_op_update("Interface", ovs_where("_uuid", "==", uuid),
                                      json_pack("{so}", "external_ids", ids_of(number))));
}

static json_t *make_id_ops(struct ovsdb *db, uint32_t first, uint32_t n)
{
    static const char *const columns[] = {"_uuid", "name", NULL};
    json_t *ops = json_array(), *results;
    char *why = NULL;
    ovs_ops_append(&ops, ovs_op_select("Interface", json_array(), columns));
    if (ovsdb_transact(db, ops, &results, &why))
        real_fail("interfaces: %s", why);
    const json_t *rows = ovs_result_rows(results, 0);
    ops = json_array();
    for (size_t i = 0; i < json_array_size(rows); i++)
        append_id(&ops, json_array_get(rows, i), first, n);
    if (json_array_size(ops) != n)
        real_fail("%zu of %u interfaces are there", json_array_size(ops), n);
    json_decref(results);
    return ops;
}

static json_t *make_port_ops(bool has_id, uint32_t first, uint32_t n)
{
    json_t *ops = json_array(), *added = json_array();
    for (uint32_t i = 0; i < n; i++)
        append_port(&ops, added, first + i, has_id);
    ovs_ops_append(&ops, ovs_op_mutate("Bridge", ovs_where_name("br-int"),
                                       json_pack("[[ss[so]]]", "ports", "insert", "set", added)));
    return ops;
}

static struct ovsdb *open_database(const struct vswitch *vswitch)
{
    struct ovsdb *db = NULL;
    char *why = NULL;
    if (ovsdb_open(vswitch->remote, LIMIT_MS, &db, &why))
        real_fail("%s: %s", vswitch->remote, why);
    return db;
}

uint32_t plug_marks(const struct vswitch *vswitch, const char *key)
{
    static const char *const columns[] = {"ofport", NULL};
    const char *const pair[][2] = {{key, "true"}};
    struct ovsdb *db = open_database(vswitch);
    json_t *ops = json_array(), *results;
    char *why = NULL;
    ovs_ops_append(&ops,
                   ovs_op_select("Interface",
                                 ovs_where("external_ids", "includes", ovs_datum_new_map(pair, 1)),
                                 columns));
    if (ovsdb_transact(db, ops, &results, &why))
        real_fail("interfaces: %s", why);
    uint32_t n = (uint32_t)json_array_size(ovs_result_rows(results, 0));
    json_decref(results);
    ovsdb_close(db);
    return n;
}

uint64_t plug_ports(const struct vswitch *vswitch, enum plug what, uint32_t first, uint32_t n)
{
    struct ovsdb *db = open_database(vswitch);
    char *why = NULL;
    json_t *ops =
        what == PLUG_ID ? make_id_ops(db, first, n) : make_port_ops(what == PLUG_WHOLE, first, n);
    uint64_t begin = bench_now_ns();
    int r = what == PLUG_PORT ? ovsdb_configure(db, ops, NULL, &why)
                              : ovsdb_transact(db, ops, NULL, &why);
    if (r)
        real_fail("%s: %s", vswitch->remote, why);
    ovsdb_close(db);
    return begin;
}
