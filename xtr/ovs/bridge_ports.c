#include "ovs/bridge.h"

#include "base/mem.h"
#include "ovs/datum.h"
#include "ovs/ops.h"
#include "ovs/ovsdb.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RACES      3 /* times that somebody else may be quicker with a name */
#define MAX_OFPORT 0xff00

static const char *const bridge_columns[] = {"_uuid", "ports", NULL};
static const char *const port_columns[] = {"_uuid", "name", "external_ids", NULL};
static const char *const interface_columns[] = {"name", "type", "options", "ofport", "error", NULL};

/* Reading */

static const char *mark_of(const json_t *port_row)
{
    return ovs_datum_get(json_object_get(port_row, "external_ids"), OVS_MARK);
}

static bool is_on(const json_t *bridge_row, const json_t *port_row)
{
    const char *uuid = ovs_datum_uuid(json_object_get(port_row, "_uuid"));
    const json_t *ports = json_object_get(bridge_row, "ports");
    for (size_t i = 0; uuid && i < ovs_datum_len(ports); i++) {
        const char *other = ovs_datum_uuid(ovs_datum_at(ports, i));
        if (other && !strcmp(other, uuid))
            return true;
    }
    return false;
}

static uint16_t ofport_of(const json_t *interface_row)
{
    int64_t number;
    if (!ovs_datum_number(json_object_get(interface_row, "ofport"), &number) || number <= 0 ||
        number >= MAX_OFPORT)
        return 0;
    return (uint16_t)number;
}

/* The results: the bridge's row, and of each name the port's. */
static int find_ports(struct ovsdb *db, const char *bridge, const char *const *names, size_t n,
                      json_t **ret_results, char **ret_why)
{
    json_t *ops = json_array(), *results;
    ovs_ops_append(&ops, ovs_op_select("Bridge", ovs_where_name(bridge), bridge_columns));
    for (size_t i = 0; i < n; i++)
        ovs_ops_append(&ops, ovs_op_select("Port", ovs_where_name(names[i]), port_columns));
    int r = ovsdb_transact(db, ops, &results, ret_why);
    if (r)
        return r;
    if (!ovs_result_row(results, 0)) {
        json_decref(results);
        *ret_why = em_asprintf("there is no bridge %s", bridge);
        return -ENOENT;
    }
    *ret_results = results;
    return 0;
}

/* Adding */

static bool is_tunnel(const struct ovs_port *port)
{
    return !strcmp(port->type, "vxlan") || !strcmp(port->type, "geneve") ||
           !strcmp(port->type, "gre");
}

static json_t *options(const struct ovs_port *port)
{
    const char *pairs[4][2];
    char number[8];
    size_t n = 0;
#define PUT(key, value) (pairs[n][0] = (key), pairs[n++][1] = (value))
    if (is_tunnel(port)) {
        PUT("remote_ip", "flow");
        PUT("key", "flow");
        if (port->local_ip)
            PUT("local_ip", port->local_ip);
    }
    if (port->udp_port) {
        snprintf(number, sizeof number, "%u", port->udp_port);
        PUT("dst_port", number);
    }
    if (port->peer)
        PUT("peer", port->peer);
#undef PUT
    return ovs_datum_new_map((const char *const(*)[2])pairs, n);
}

static json_t *mark_map(const struct ovs_port *port)
{
    const char *const mark[][2] = {{OVS_MARK, port->mark}};
    return ovs_datum_new_map(mark, 1);
}

static void append_insert(json_t **ops, json_t *added, const struct ovs_port *port, size_t i)
{
    char interface_id[32], port_id[32];
    snprintf(interface_id, sizeof interface_id, "interface%zu", i);
    snprintf(port_id, sizeof port_id, "port%zu", i);
    ovs_ops_append(
        ops, ovs_op_insert("Interface", interface_id,
                           json_pack("{sssssoso}", "name", port->name, "type", port->type,
                                     "options", options(port), "external_ids", mark_map(port))));
    ovs_ops_append(
        ops, ovs_op_insert("Port", port_id,
                           json_pack("{sss[ss]so}", "name", port->name, "interfaces", "named-uuid",
                                     interface_id, "external_ids", mark_map(port))));
    json_array_append_new(added, json_pack("[ss]", "named-uuid", port_id));
}

static void append_update(json_t **ops, const struct ovs_port *port)
{
    ovs_ops_append(
        ops, ovs_op_update("Interface", ovs_where_name(port->name),
                           json_pack("{ssso}", "type", port->type, "options", options(port))));
}

static int check_found(const char *bridge, struct ovs_port *ports, size_t n, const json_t *results,
                       char **ret_why)
{
    for (size_t i = 0; i < n; i++) {
        const json_t *row = ovs_result_row(results, 1 + i);
        ports[i].was_there = row != NULL;
        ports[i].is_ours = !row || mark_of(row);
        if (row && !is_on(ovs_result_row(results, 0), row)) {
            *ret_why = em_asprintf("port %s is on another bridge than %s", ports[i].name, bridge);
            return -EEXIST;
        }
    }
    return 0;
}

static json_t *add_ops(const char *bridge, const struct ovs_port *ports, size_t n)
{
    json_t *ops = json_array(), *added = json_array();
    for (size_t i = 0; i < n; i++) {
        if (!ports[i].was_there)
            append_insert(&ops, added, &ports[i], i);
        else if (ports[i].is_ours)
            append_update(&ops, &ports[i]);
    }
    ovs_ops_append(&ops, ovs_op_mutate("Bridge", ovs_where_name(bridge),
                                       json_pack("[[ss[so]]]", "ports", "insert", "set", added)));
    return ops;
}

static int try_add(struct ovsdb *db, const char *bridge, struct ovs_port *ports, size_t n,
                   const char *const *names, char **ret_why)
{
    json_t *results;
    int r = find_ports(db, bridge, names, n, &results, ret_why);
    if (r)
        return r;
    r = check_found(bridge, ports, n, results, ret_why);
    json_decref(results);
    return r ? r : ovsdb_configure(db, add_ops(bridge, ports, n), NULL, ret_why);
}

static int read_back(struct ovsdb *db, struct ovs_port *ports, size_t n, char **ret_why)
{
    json_t *ops = json_array(), *results;
    for (size_t i = 0; i < n; i++)
        ovs_ops_append(
            &ops, ovs_op_select("Interface", ovs_where_name(ports[i].name), interface_columns));
    int r = ovsdb_transact(db, ops, &results, ret_why);
    if (r)
        return r;
    for (size_t i = 0; i < n; i++) {
        const json_t *row = ovs_result_row(results, i);
        const char *error = ovs_datum_text(json_object_get(row, "error"));
        ports[i].ofport = ofport_of(row);
        ports[i].problem[0] = '\0';
        if (!ports[i].ofport)
            snprintf(ports[i].problem, sizeof ports[i].problem, "%s",
                     error ? error : "ovs-vswitchd gives it no OpenFlow port");
    }
    json_decref(results);
    return 0;
}

int ovs_bridge_add_ports(struct ovsdb *db, const char *bridge, struct ovs_port *ports, size_t n,
                         char **ret_why)
{
    const char **names = em_calloc(n, sizeof *names);
    int r = -EEXIST;
    for (size_t i = 0; i < n; i++)
        names[i] = ports[i].name;
    for (int i = 0; r == -EEXIST && i < RACES; i++) {
        if (i)
            free(*ret_why);
        r = try_add(db, bridge, ports, n, names, ret_why);
    }
    free(names);
    return r ? r : read_back(db, ports, n, ret_why);
}

/* Deleting: rows that nothing refers to are gone. */

int ovs_bridge_del_ports(struct ovsdb *db, const char *bridge, const char *const *names, size_t n,
                         char **ret_why)
{
    json_t *results, *gone = json_array(), *ops = json_array();
    int r = find_ports(db, bridge, names, n, &results, ret_why);
    if (r)
        goto out;
    for (size_t i = 0; i < n; i++) {
        const json_t *row = ovs_result_row(results, 1 + i);
        const char *uuid = ovs_datum_uuid(json_object_get(row, "_uuid"));
        if (uuid && mark_of(row) && is_on(ovs_result_row(results, 0), row))
            json_array_append_new(gone, ovs_datum_new_uuid(uuid));
    }
    json_decref(results);
    ovs_ops_append(&ops, ovs_op_mutate("Bridge", ovs_where_name(bridge),
                                       json_pack("[[ss[sO]]]", "ports", "delete", "set", gone)));
    r = ovsdb_configure(db, json_incref(ops), NULL, ret_why);
out:
    json_decref(gone);
    json_decref(ops);
    return r;
}

/* Listing */

static void copy(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from ? from : "");
}

static const json_t *find_row(const json_t *rows, const char *name)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const char *other = json_string_value(json_object_get(json_array_get(rows, i), "name"));
        if (other && !strcmp(other, name))
            return json_array_get(rows, i);
    }
    return NULL;
}

static struct ovs_port_seen seen_of(const char *name, const char *mark, const json_t *interface_row)
{
    struct ovs_port_seen seen = {.ofport = ofport_of(interface_row)};
    const json_t *given = json_object_get(interface_row, "options");
    const char *udp_port = ovs_datum_get(given, "dst_port");
    copy(seen.name, sizeof seen.name, name);
    copy(seen.mark, sizeof seen.mark, mark);
    copy(seen.type, sizeof seen.type, ovs_datum_text(json_object_get(interface_row, "type")));
    copy(seen.local_ip, sizeof seen.local_ip, ovs_datum_get(given, "local_ip"));
    copy(seen.peer, sizeof seen.peer, ovs_datum_get(given, "peer"));
    seen.udp_port = udp_port ? (uint16_t)strtoul(udp_port, NULL, 10) : 0;
    return seen;
}

int ovs_bridge_ports(struct ovsdb *db, const char *bridge, struct ovs_port_seen **ret_ports,
                     size_t *ret_n, char **ret_why)
{
    json_t *ops = json_array(), *results;
    ovs_ops_append(&ops, ovs_op_select("Bridge", ovs_where_name(bridge), bridge_columns));
    ovs_ops_append(&ops, ovs_op_select("Port", json_array(), port_columns));
    ovs_ops_append(&ops, ovs_op_select("Interface", json_array(), interface_columns));
    int r = ovsdb_transact(db, ops, &results, ret_why);
    if (r)
        return r;
    const json_t *rows = ovs_result_rows(results, 1);
    struct ovs_port_seen *ports = em_calloc(json_array_size(rows) + 1, sizeof *ports);
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *name = json_string_value(json_object_get(row, "name"));
        if (name && mark_of(row) && is_on(ovs_result_row(results, 0), row))
            ports[n++] = seen_of(name, mark_of(row), find_row(ovs_result_rows(results, 2), name));
    }
    json_decref(results);
    *ret_ports = ports;
    *ret_n = n;
    return 0;
}
