/* A row comes as "initial" or "insert" (columns with their default left out), "modify" (of columns
 * with several elements the difference: what is in it and was there has gone) or "delete"; see
 * ovsdb-server(7), "Update2 Notification".
 *
 * A row may be named by its parent before it is known; it is kept as long as it is known, named, or
 * shown. */
#include "ovs/rows.h"

#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"
#include "ovs/datum.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OFPORT 0xff00

enum kind { PORT, INTERFACE };

struct row {
    enum kind kind;
    bool is_known;
    bool is_stale;  /* not in the pass that is being taken */
    bool is_member; /* a port: of the bridge */
    bool is_shown;  /* an interface */
    bool is_dirty;
    uint32_t slot;
    struct row *port;       /* of an interface; NULL: not known */
    struct em_list sibling; /* of that port */
    struct em_list children;
    struct em_list dirty;
    struct ovs_interface data; /* a port has the uuid only */
};

struct ovs_rows {
    char *bridge;
    char bridge_uuid[OVS_UUID_TEXT]; /* "": it is not there */
    bool is_bridge_stale;
    bool is_restoring;
    uint32_t n_restored;
    ovs_rows_fn *on_interface;
    void *aux;
    struct row **items; /* NULL: a free slot */
    uint32_t n_items;
    uint32_t first_free; /* no free slot before it */
    struct em_index by_uuid;
    struct em_list dirty;
    uint64_t age;
};

const char *ovs_interface_id(const struct ovs_interface *interface, const char *key)
{
    for (size_t i = 0; i < interface->n_ids; i++)
        if (!strcmp(interface->ids[i].key, key))
            return interface->ids[i].value;
    return NULL;
}

/* Rows */

static bool has_uuid(const void *aux, uint32_t slot, const void *key)
{
    return !strcmp(((const struct ovs_rows *)aux)->items[slot]->data.uuid, key);
}

static uint64_t hash_of(const char *uuid)
{
    return em_hash(uuid, strlen(uuid));
}

static struct row *find(const struct ovs_rows *rows, const char *uuid)
{
    uint32_t slot = em_index_find(&rows->by_uuid, hash_of(uuid), has_uuid, rows, uuid);
    return slot == EM_INDEX_NONE ? NULL : rows->items[slot];
}

static uint32_t free_slot(struct ovs_rows *rows)
{
    while (rows->first_free < rows->n_items && rows->items[rows->first_free])
        rows->first_free++;
    if (rows->first_free < rows->n_items)
        return rows->first_free;
    uint32_t old = rows->n_items;
    rows->n_items = old ? old * 2 : 16;
    rows->items = em_realloc(rows->items, rows->n_items * sizeof(struct row *));
    memset(rows->items + old, 0, (rows->n_items - old) * sizeof(struct row *));
    return old;
}

static struct row *add(struct ovs_rows *rows, enum kind kind, const char *uuid)
{
    struct row *row = em_calloc(1, sizeof *row);
    row->kind = kind;
    row->slot = free_slot(rows);
    em_list_init(&row->sibling);
    em_list_init(&row->children);
    em_list_init(&row->dirty);
    memcpy(row->data.uuid, uuid, strlen(uuid));
    rows->items[row->slot] = row;
    em_index_insert(&rows->by_uuid, hash_of(uuid), row->slot);
    return row;
}

/* NULL: the uuid is malformed, or that of a row in another table. */
static struct row *find_or_add(struct ovs_rows *rows, enum kind kind, const char *uuid)
{
    if (!uuid || strlen(uuid) != OVS_UUID_TEXT - 1)
        return NULL;
    struct row *row = find(rows, uuid);
    if (!row)
        return add(rows, kind, uuid);
    return row->kind == kind ? row : NULL;
}

static void clear_ids(struct ovs_interface *interface)
{
    for (size_t i = 0; i < interface->n_ids; i++) {
        free(interface->ids[i].key);
        free(interface->ids[i].value);
    }
    free(interface->ids);
    interface->ids = NULL;
    interface->n_ids = 0;
}

/* The columns get their default. */
static void clear(struct ovs_interface *interface)
{
    clear_ids(interface);
    free(interface->error);
    interface->error = NULL;
    interface->has_mac = false;
    interface->ofport = 0;
}

static void row_free(struct row *row)
{
    clear(&row->data);
    free(row->data.name);
    free(row);
}

static void drop_if_unused(struct ovs_rows *rows, struct row *row)
{
    if (row->is_known || row->is_member || row->is_shown || row->is_dirty || row->port ||
        !em_list_is_empty(&row->children))
        return;
    em_index_remove(&rows->by_uuid, hash_of(row->data.uuid), row->slot);
    rows->items[row->slot] = NULL;
    if (row->slot < rows->first_free)
        rows->first_free = row->slot;
    row_free(row);
}

static void touch(struct ovs_rows *rows, struct row *row)
{
    if (row->is_dirty)
        return;
    row->is_dirty = true;
    em_list_append(&rows->dirty, &row->dirty);
}

static void touch_children(struct ovs_rows *rows, struct row *port)
{
    EM_FOREACH (child, &port->children, struct row, sibling)
        touch(rows, child);
}

/* Which hangs on which */

static void set_port(struct ovs_rows *rows, struct row *interface, struct row *port)
{
    struct row *old = interface->port;
    if (old == port)
        return;
    em_list_remove(&interface->sibling);
    interface->port = port;
    if (port)
        em_list_append(&port->children, &interface->sibling);
    touch(rows, interface);
    if (old)
        drop_if_unused(rows, old);
}

static void set_member(struct ovs_rows *rows, struct row *port, bool is_member)
{
    port->is_member = is_member;
    touch_children(rows, port);
    drop_if_unused(rows, port);
}

/* 'set' is the whole of the column, or with 'is_difference' what has come and gone. */
static int take_interfaces(struct ovs_rows *rows, struct row *port, const json_t *set,
                           bool is_difference)
{
    if (!is_difference)
        EM_FOREACH (child, &port->children, struct row, sibling)
            set_port(rows, child, NULL);
    for (size_t i = 0; i < ovs_datum_len(set); i++) {
        struct row *row = find_or_add(rows, INTERFACE, ovs_datum_uuid(ovs_datum_at(set, i)));
        if (!row)
            return -EBADMSG;
        set_port(rows, row, is_difference && row->port == port ? NULL : port);
    }
    return 0;
}

static void forget_members(struct ovs_rows *rows)
{
    for (uint32_t i = 0; i < rows->n_items; i++)
        if (rows->items[i] && rows->items[i]->is_member)
            set_member(rows, rows->items[i], false);
}

static int take_members(struct ovs_rows *rows, const json_t *set, bool is_difference)
{
    if (!is_difference)
        forget_members(rows);
    for (size_t i = 0; i < ovs_datum_len(set); i++) {
        struct row *row = find_or_add(rows, PORT, ovs_datum_uuid(ovs_datum_at(set, i)));
        if (!row)
            return -EBADMSG;
        set_member(rows, row, !(is_difference && row->is_member));
    }
    return 0;
}

/* Columns of an interface */

static void take_ofport(struct ovs_interface *interface, const json_t *value)
{
    int64_t number;
    bool is_one = ovs_datum_number(value, &number) && number > 0 && number < MAX_OFPORT;
    interface->ofport = is_one ? (uint16_t)number : 0;
}

static void take_mac(struct ovs_interface *interface, const json_t *value)
{
    const char *text = ovs_datum_text(value);
    interface->has_mac = text && !em_mac_parse(text, interface->mac, NULL);
}

static void take_error(struct ovs_interface *interface, const json_t *value)
{
    const char *text = ovs_datum_text(value);
    free(interface->error);
    interface->error = text ? em_strdup(text) : NULL;
}

static void put_id(struct ovs_interface *interface, const char *key, const char *value)
{
    size_t n = interface->n_ids;
    interface->ids = em_realloc(interface->ids, (n + 1) * sizeof *interface->ids);
    interface->ids[n] = (struct ovs_pair){em_strdup(key), em_strdup(value)};
    interface->n_ids = n + 1;
}

static void remove_id(struct ovs_interface *interface, size_t i)
{
    free(interface->ids[i].key);
    free(interface->ids[i].value);
    interface->ids[i] = interface->ids[--interface->n_ids];
}

/* A pair that was there has gone; a key that was there has another value. */
static void change_id(struct ovs_interface *interface, const char *key, const char *value)
{
    bool is_gone = false;
    for (size_t i = 0; i < interface->n_ids; i++) {
        if (strcmp(interface->ids[i].key, key) != 0)
            continue;
        is_gone = !strcmp(interface->ids[i].value, value);
        remove_id(interface, i);
        break;
    }
    if (!is_gone)
        put_id(interface, key, value);
}

static void take_ids(struct ovs_interface *interface, const json_t *map)
{
    const char *key, *value;
    for (size_t i = 0; ovs_datum_pair(map, i, &key, &value); i++)
        change_id(interface, key, value);
}

static const struct {
    const char *name;
    void (*take)(struct ovs_interface *interface, const json_t *value);
} columns[] = {
    {"ofport", take_ofport},
    {"mac_in_use", take_mac},
    {"error", take_error},
    {"external_ids", take_ids},
};
#define N_COLUMNS (sizeof columns / sizeof columns[0])

static bool take_name(struct ovs_interface *interface, const json_t *values)
{
    const char *name = ovs_datum_text(json_object_get(values, "name"));
    if (name) {
        free(interface->name);
        interface->name = em_strdup(name);
    }
    return interface->name;
}

static void take_columns(struct ovs_interface *interface, const json_t *values)
{
    for (size_t i = 0; i < N_COLUMNS; i++) {
        const json_t *value = json_object_get(values, columns[i].name);
        if (value)
            columns[i].take(interface, value);
    }
}

/* Updates */

struct change {
    const json_t *values; /* an object; NULL: the row is deleted */
    bool is_difference;
};

static int parse_change(const json_t *update, struct change *ret_change)
{
    static const char *const kinds[] = {"initial", "insert", "modify"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const json_t *values = json_object_get(update, kinds[i]);
        if (!json_is_object(values))
            continue;
        *ret_change = (struct change){.values = values, .is_difference = i == 2};
        return 0;
    }
    *ret_change = (struct change){0};
    return json_object_get(update, "delete") ? 0 : -EBADMSG;
}

static void delete_row(struct ovs_rows *rows, struct row *row)
{
    EM_FOREACH (child, &row->children, struct row, sibling)
        set_port(rows, child, NULL);
    row->is_known = false;
    if (row->kind == INTERFACE)
        touch(rows, row);
    else
        drop_if_unused(rows, row);
}

static void take_interface(struct ovs_rows *rows, struct row *row, const struct change *change)
{
    if (!change->is_difference)
        clear(&row->data);
    take_columns(&row->data, change->values);
    touch(rows, row);
}

static int take_row(struct ovs_rows *rows, enum kind kind, const char *uuid,
                    const struct change *change)
{
    struct row *row = find_or_add(rows, kind, uuid);
    if (!row)
        return -EBADMSG;
    bool is_new = change->values && !change->is_difference;
    if ((!is_new && !row->is_known) ||
        (is_new && kind == INTERFACE && !take_name(&row->data, change->values))) {
        drop_if_unused(rows, row);
        return -EBADMSG;
    }
    row->is_stale = false;
    if (!change->values) {
        delete_row(rows, row);
        return 0;
    }
    if (!row->is_known)
        row->data.age = rows->age;
    row->is_known = true;
    if (kind == PORT)
        return take_interfaces(rows, row, json_object_get(change->values, "interfaces"),
                               change->is_difference);
    take_interface(rows, row, change);
    return 0;
}

static int take_bridge(struct ovs_rows *rows, const char *uuid, const struct change *change)
{
    bool is_ours = !strcmp(rows->bridge_uuid, uuid);
    if (!change->values) {
        if (is_ours) {
            rows->bridge_uuid[0] = '\0';
            forget_members(rows);
        }
        return 0;
    }
    const char *name = ovs_datum_text(json_object_get(change->values, "name"));
    if (!is_ours && (!name || strcmp(name, rows->bridge) != 0))
        return 0;
    if (strlen(uuid) != OVS_UUID_TEXT - 1)
        return -EBADMSG;
    memcpy(rows->bridge_uuid, uuid, OVS_UUID_TEXT);
    rows->is_bridge_stale = false;
    return take_members(rows, json_object_get(change->values, "ports"),
                        change->is_difference && is_ours);
}

/* Of a difference: "true" has come or gone, another value has come or was there. */
static void take_config(struct ovs_rows *rows, const struct change *change)
{
    const json_t *map = change->values ? json_object_get(change->values, "other_config") : NULL;
    const char *value = map ? ovs_datum_get(map, "flow-restore-wait") : NULL;
    bool was_restoring = rows->is_restoring;

    if (!value && change->is_difference)
        return;
    rows->is_restoring =
        value && !strcmp(value, "true") && !(change->is_difference && was_restoring);
    rows->n_restored += was_restoring && !rows->is_restoring;
}

static int take_table(struct ovs_rows *rows, const char *table, const json_t *updates)
{
    const char *uuid;
    json_t *update;
    json_object_foreach((json_t *)updates, uuid, update)
    {
        struct change change;
        int r = parse_change(update, &change);
        if (r)
            return r;
        if (!strcmp(table, "Bridge"))
            r = take_bridge(rows, uuid, &change);
        else if (!strcmp(table, "Port"))
            r = take_row(rows, PORT, uuid, &change);
        else if (!strcmp(table, "Interface"))
            r = take_row(rows, INTERFACE, uuid, &change);
        else if (!strcmp(table, "Open_vSwitch"))
            take_config(rows, &change);
        if (r)
            return r;
    }
    return 0;
}

static void set_stale(struct ovs_rows *rows)
{
    rows->is_bridge_stale = true;
    for (uint32_t i = 0; i < rows->n_items; i++)
        if (rows->items[i])
            rows->items[i]->is_stale = rows->items[i]->is_known;
}

static void drop_stale(struct ovs_rows *rows)
{
    if (rows->is_bridge_stale) {
        rows->bridge_uuid[0] = '\0';
        forget_members(rows);
    }
    for (uint32_t i = 0; i < rows->n_items; i++)
        if (rows->items[i] && rows->items[i]->is_stale)
            delete_row(rows, rows->items[i]);
}

static bool is_on_bridge(const struct ovs_rows *rows, const struct row *row)
{
    return row->is_known && rows->bridge_uuid[0] && row->port && row->port->is_member;
}

static void show_dirty(struct ovs_rows *rows)
{
    EM_FOREACH (row, &rows->dirty, struct row, dirty) {
        bool was_shown = row->is_shown;
        em_list_remove(&row->dirty);
        row->is_dirty = false;
        row->is_shown = is_on_bridge(rows, row);
        if (row->is_shown || was_shown)
            rows->on_interface(rows->aux, &row->data, row->is_shown);
        drop_if_unused(rows, row);
    }
}

int ovs_rows_update(struct ovs_rows *rows, const json_t *updates, bool is_all)
{
    const char *table;
    json_t *of_table;
    int r = json_is_object(updates) ? 0 : -EBADMSG;
    rows->age++;
    if (is_all && !r)
        set_stale(rows);
    json_object_foreach((json_t *)updates, table, of_table)
    {
        if (!r)
            r = json_is_object(of_table) ? take_table(rows, table, of_table) : -EBADMSG;
    }
    if (is_all && !r)
        drop_stale(rows);
    if (!r)
        show_dirty(rows);
    return r;
}

/* Reading */

bool ovs_rows_has_bridge(const struct ovs_rows *rows)
{
    return rows->bridge_uuid[0] != '\0';
}

bool ovs_rows_is_restoring(const struct ovs_rows *rows)
{
    return rows->is_restoring;
}

uint32_t ovs_rows_n_restored(const struct ovs_rows *rows)
{
    return rows->n_restored;
}

const struct ovs_interface *ovs_rows_next(const struct ovs_rows *rows, uint32_t *at)
{
    while (*at < rows->n_items) {
        const struct row *row = rows->items[(*at)++];
        if (row && row->is_shown)
            return &row->data;
    }
    return NULL;
}

/* Life */

json_t *ovs_rows_requests(void)
{
    json_t *interface = json_array();
    json_array_append_new(interface, json_string("name"));
    for (size_t i = 0; i < N_COLUMNS; i++)
        json_array_append_new(interface, json_string(columns[i].name));
    return json_pack("{s[{s[ss]}] s[{s[s]}] s[{so}] s[{s[s]}]}", "Bridge", "columns", "name",
                     "ports", "Port", "columns", "interfaces", "Interface", "columns", interface,
                     "Open_vSwitch", "columns", "other_config");
}

struct ovs_rows *ovs_rows_new(const char *bridge, ovs_rows_fn *on_interface, void *aux)
{
    struct ovs_rows *rows = em_calloc(1, sizeof *rows);
    rows->bridge = em_strdup(bridge);
    rows->on_interface = on_interface;
    rows->aux = aux;
    em_index_init(&rows->by_uuid);
    em_list_init(&rows->dirty);
    return rows;
}

void ovs_rows_free(struct ovs_rows *rows)
{
    if (!rows)
        return;
    for (uint32_t i = 0; i < rows->n_items; i++)
        if (rows->items[i])
            row_free(rows->items[i]);
    em_index_fini(&rows->by_uuid);
    free(rows->items);
    free(rows->bridge);
    free(rows);
}
