#include "plug.h"

#include "bench.h"
#include "eidmap/addr.h"
#include "ovs/datum.h"
#include "ovs/ops.h"
#include "ovs/ovsdb.h"
#include "server/numbered.h"

#include <jansson.h>
#include <stdio.h>

#define LIMIT_MS 120000

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

static void append_id(json_t **ops, uint32_t number)
{
    char name[16];
    snprintf(name, sizeof(name), "p%u", number);
    ovs_ops_append(ops, ovs_op_update("Interface", ovs_where_name(name),
                                      json_pack("{so}", "external_ids", ids_of(number))));
}

static json_t *make_ops(enum plug what, uint32_t first, uint32_t n)
{
    json_t *ops = json_array(), *added = json_array();
    for (uint32_t i = 0; i < n; i++) {
        if (what == PLUG_ID)
            append_id(&ops, first + i);
        else
            append_port(&ops, added, first + i, what == PLUG_WHOLE);
    }
    if (what == PLUG_ID)
        json_decref(added);
    else
        ovs_ops_append(&ops,
                       ovs_op_mutate("Bridge", ovs_where_name("br-int"),
                                     json_pack("[[ss[so]]]", "ports", "insert", "set", added)));
    return ops;
}

uint64_t plug_ports(const struct vswitch *vswitch, enum plug what, uint32_t first, uint32_t n)
{
    struct ovsdb *db = NULL;
    char *why = NULL;
    json_t *ops = make_ops(what, first, n);
    int r = ovsdb_open(vswitch->remote, LIMIT_MS, &db, &why);
    uint64_t begin = bench_now_ns();
    if (r == 0 && what == PLUG_PORT)
        r = ovsdb_configure(db, ops, NULL, &why);
    else if (r == 0)
        r = ovsdb_transact(db, ops, NULL, &why);
    if (r)
        real_fail("%s: %s", vswitch->remote, why);
    ovsdb_close(db);
    return begin;
}
