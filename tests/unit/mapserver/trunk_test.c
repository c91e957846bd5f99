/* Trunk ports in the map: a child is where its parent is, by the same command. */
#include "mapserver/map.h"

#include "state/child.h"
#include "state/identity.h"
#include "state/record.h"
#include "state/snapshot.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP(step) EIDMAP__MIGRATION_STEP__MIGRATION_##step

static struct map m;
static uint32_t blue, red;

static int register_one(struct reg reg)
{
    return map_register(&m, &reg, 1)->err;
}
#define CLAIM(...) register_one((struct reg){__VA_ARGS__})

static const char *message(void)
{
    return m.batch.results[0].message;
}

static void setup(void)
{
    map_open(&m, 0);
    blue = map_network(&m, "blue", "10.0.0.0/24", NULL);
    red = map_network(&m, "red", "10.1.0.0/24", NULL);
    map_node_up(&m, "a", "192.0.2.1");
    map_node_up(&m, "b", "192.0.2.2");
    cr_assert_eq(CLAIM("a", "vm", blue, {"02:00:00:00:00:01"}, .priority = 3, .weight = 9), 0);
    cr_assert_eq(
        CLAIM(NULL, "c1", red, {"02:00:00:00:01:01", "10.1.0.1"}, .parent = "vm", .tag = 101), 0);
    cr_assert_eq(CLAIM(NULL, "c2", blue, {"02:00:00:00:01:02"}, .parent = "vm", .tag = 7), 0);
}

static void teardown(void)
{
    map_close(&m);
}

TestSuite(trunk, .init = setup, .fini = teardown, .timeout = 60);

/* "tag:port@network ..." */
static const char *children(const char *name)
{
    static char text[256];
    const Eidmap__Port *port = map_port(&m, name);
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; port && i < port->n_children; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%u:%.*s@%u", i ? " " : "",
                              port->children[i]->tag, (int)port->children[i]->id.len,
                              (const char *)port->children[i]->id.data,
                              port->children[i]->network_id);
    return text;
}

/* "node node(pending)" */
static const char *places(const char *name)
{
    static char text[256];
    const Eidmap__Port *port = map_port(&m, name);
    text[0] = '\0';
    for (size_t i = 0; port && i < port->n_locations; i++) {
        strcat(text, i ? " " : "");
        strcat(text, port->locations[i]->node_id);
        if (port->locations[i]->state == EIDMAP__LOCATION_STATE__LOCATION_PENDING)
            strcat(text, "(pending)");
    }
    return port ? text : "none";
}

static void note(void *aux, const struct ms_feed_entry *entry)
{
    char *text = aux;
    sprintf(text + strlen(text), "%s%.*s ", entry->is_gone ? "-" : "+", (int)entry->id.size,
            (const char *)entry->id.data);
}

/* What a subscriber of the network that has seen 'since' is told. */
static const char *news(uint32_t network, uint64_t since)
{
    static char text[256];
    struct ms_feed_cursor cursor;
    text[0] = '\0';
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    cr_assert_not(ms_feed_start(m.reader, since, &cursor));
    cr_assert_eq(ms_feed_read(m.reader, network, &cursor, 100, 100000, note, text), 0);
    ms_reader_end(m.reader);
    return text;
}

Test(trunk, a_child_has_its_parents_place_in_its_own_network)
{
    const Eidmap__Port *c1 = map_port(&m, "c1");
    cr_assert_eq(c1->n_locations, 1);
    cr_assert_str_eq(c1->locations[0]->node_id, "a");
    cr_assert_eq(c1->locations[0]->priority, 3);
    cr_assert_eq(c1->locations[0]->weight, 9);
    cr_assert_eq(c1->locations[0]->segmentation_id, map_get_network(&m, red)->segmentation_id);
    cr_assert_eq(c1->locations[0]->epoch, c1->revision);
    cr_assert(c1->declared);
    cr_assert_eq(c1->tag, 101);
    cr_assert_str_eq(children("vm"), "7:c2@1 101:c1@2");
    cr_assert_eq(map_port(&m, "vm")->revision, map_revision(&m));
}

Test(trunk, the_move_of_a_parent_with_all_its_children_is_one_command)
{
    uint64_t before = map_revision(&m);
    struct ms_point at = ms_apply_point(m.apply);
    cr_assert_eq(CLAIM("b", "vm", blue, {"02:00:00:00:00:01"}, .attach = true), 0);
    cr_assert_eq(ms_apply_point(m.apply).index, at.index + 1);
    cr_assert_eq(map_revision(&m), before + 3);
    cr_assert_str_eq(places("c1"), "b");
    cr_assert_str_eq(places("c2"), "b");
    cr_assert_str_eq(news(blue, before), "+vm +c2 ");
    cr_assert_str_eq(news(red, before), "+c1 ");
    const Eidmap__Port *c1 = map_port(&m, "c1");
    cr_assert_eq(c1->locations[0]->epoch, c1->revision);
    cr_assert_eq(c1->locations[0]->weight, 0, "as its parent's is now");
    cr_assert_eq(m.batch.n_networks, 2, "subscribers of both networks are woken");
}

Test(trunk, a_child_whose_parent_stays_keeps_its_epoch)
{
    uint64_t epoch = map_port(&m, "c1")->locations[0]->epoch;
    cr_assert_eq(CLAIM("a", "vm", blue, {"02:00:00:00:00:01"}, .priority = 5), 0);
    cr_assert_eq(map_port(&m, "c1")->locations[0]->epoch, epoch);
    cr_assert_eq(map_port(&m, "c1")->locations[0]->priority, 5);
    uint64_t before = map_revision(&m);
    cr_assert_eq(CLAIM("a", "vm", blue, {"02:00:00:00:00:01", "10.0.0.9"}, .priority = 5), 0);
    cr_assert_eq(map_revision(&m), before + 1, "its addresses are no matter of its children");
    cr_assert_eq(CLAIM("a", "vm", blue, {"02:00:00:00:00:01", "10.0.0.9"}, .priority = 5), 0);
    cr_assert_eq(map_revision(&m), before + 1);
    cr_assert_str_eq(children("vm"), "7:c2@1 101:c1@2");
}

Test(trunk, a_migration_takes_the_children_along)
{
    cr_assert_eq(CLAIM(NULL, "vm", blue, {0}, {"b"}, .migration = STEP(PREPARE)), 0);
    cr_assert_str_eq(places("c1"), "a b(pending)");
    cr_assert_eq(map_port(&m, "c1")->locations[1]->until_ms,
                 map_port(&m, "vm")->locations[1]->until_ms);
    cr_assert_eq(CLAIM(NULL, "vm", blue, {0}, .migration = STEP(CANCEL)), 0);
    cr_assert_str_eq(places("c1"), "a");
    cr_assert_eq(CLAIM(NULL, "vm", blue, {0}, {"b"}, .migration = STEP(PREPARE)), 0);
    uint64_t epoch = map_port(&m, "c1")->locations[1]->epoch;
    cr_assert_eq(CLAIM(NULL, "vm", blue, {0}, .migration = STEP(ACTIVATE)), 0);
    cr_assert_str_eq(places("c1"), "b");
    cr_assert_gt(map_port(&m, "c1")->locations[0]->epoch, epoch);
}

/* A port-id is not looked at by the leader's clock, nor counted or swept for the node. */
static int count_id(void *aux, const uint8_t *id, size_t size)
{
    ++*(unsigned *)aux;
    return 0;
}

static unsigned n_ports_of(const char *node)
{
    unsigned n = 0;
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    cr_assert_eq(ms_reader_node_ports(m.reader, node, count_id, &n), 0);
    ms_reader_end(m.reader);
    return n;
}

Test(trunk, children_are_in_no_list_of_a_nodes_ports)
{
    cr_assert_eq(n_ports_of("a"), 1);
    cr_assert_eq(CLAIM(NULL, "vm", blue, {0}, {"b"}, .migration = STEP(PREPARE)), 0);
    cr_assert_eq(n_ports_of(MS_MIGRATING), 1);
    cr_assert_eq(CLAIM("a", "c3", red, {"02:00:00:00:01:03"}), 0);
    cr_assert_eq(n_ports_of("a"), 2);
    cr_assert_eq(CLAIM(NULL, "c3", red, {0}, .parent = "vm", .tag = 3), 0, "%s", message());
    cr_assert_eq(n_ports_of("a"), 1, "it was a port of its own before");
    cr_assert_str_eq(places("c3"), "a b(pending)");
}

Test(trunk, a_node_cannot_claim_a_child_nor_withdraw_it)
{
    cr_assert_eq(CLAIM("a", "c1", red, {"02:00:00:00:01:01"}, .attach = true), EM_E_DENIED);
    cr_assert(strstr(message(), "it is where port vm is"), "%s", message());
    cr_assert_eq(CLAIM("b", "x", red, {"02:00:00:00:01:09"}, .parent = "vm", .tag = 9),
                 EM_E_DENIED);
    cr_assert_eq(map_withdraw(&m, "a", "", "c1", 0)->err, 0);
    cr_assert_not(m.batch.results[0].is_changed);
    cr_assert_str_eq(places("c1"), "a");
}

Test(trunk, an_operator_cannot_part_a_child_from_its_parent)
{
    cr_assert_eq(CLAIM(NULL, "c1", red, {0}, {"b"}, .attach = true), EM_E_DENIED);
    cr_assert_str_eq(m.batch.results[0].field, "claims[0].port.locations");
    cr_assert_eq(CLAIM(NULL, "c1", red, {0}, {"b"}, .migration = STEP(PREPARE)), EM_E_DENIED);
    cr_assert_eq(map_withdraw(&m, NULL, "a", "c1", 0)->err, EM_E_DENIED);
    cr_assert_str_eq(m.batch.results[0].field, "ports[0]");
    cr_assert_str_eq(places("c1"), "a");
}

Test(trunk, tags_and_families_are_checked)
{
    struct reg reg = {NULL, "x", red, {"02:00:00:00:01:09"}, .parent = "vm", .tag = 101};
    cr_assert_eq(register_one(reg), EM_E_CONFLICT);
    cr_assert_str_eq(message(), "tag 101 on port vm is port c1's");
    reg.tag = 0;
    cr_assert_eq(register_one(reg), EM_E_MALFORMED);
    reg.tag = 4095;
    cr_assert_eq(register_one(reg), EM_E_MALFORMED);
    reg.tag = 5;
    reg.parent = "nobody";
    cr_assert_eq(register_one(reg), EM_E_NOT_FOUND);
    reg.parent = "x";
    cr_assert_eq(register_one(reg), EM_E_NOT_FOUND, "itself, which is not there yet");
    reg.parent = "c1";
    cr_assert_eq(register_one(reg), EM_E_DENIED, "no grandchildren");
    cr_assert_eq(CLAIM(NULL, "vm", blue, {0}, .parent = "c1", .tag = 1), EM_E_DENIED);
    cr_assert_eq(CLAIM(NULL, "vm", blue, {0}, .parent = "vm", .tag = 1), EM_E_MALFORMED);
    reg.parent = NULL;
    cr_assert_eq(register_one(reg), EM_E_MALFORMED, "a tag alone");
    reg.parent = "vm";
    cr_assert_eq(register_one(reg), 0);
    cr_assert_str_eq(children("vm"), "5:x@2 7:c2@1 101:c1@2");
}

Test(trunk, a_child_may_change_its_tag_its_parent_and_its_network)
{
    cr_assert_eq(CLAIM("b", "vm2", blue, {"02:00:00:00:00:02"}), 0);
    cr_assert_eq(CLAIM(NULL, "c1", red, {0}, .parent = "vm", .tag = 1), 0);
    cr_assert_str_eq(children("vm"), "1:c1@2 7:c2@1");
    cr_assert_eq(CLAIM(NULL, "c1", red, {"02:00:00:00:01:77"}), 0, "its parent stays");
    cr_assert_str_eq(children("vm"), "1:c1@2 7:c2@1");
    uint64_t before = map_revision(&m);
    cr_assert_eq(CLAIM(NULL, "c1", red, {0}, .parent = "vm2", .tag = 1), 0);
    cr_assert_str_eq(children("vm"), "7:c2@1");
    cr_assert_str_eq(children("vm2"), "1:c1@2");
    cr_assert_str_eq(places("c1"), "b");
    cr_assert_str_eq(news(blue, before), "+vm +vm2 ", "both agents are told");
    cr_assert_eq(CLAIM(NULL, "c1", blue, {0}), 0);
    cr_assert_str_eq(children("vm2"), "1:c1@1");
    cr_assert_eq(map_port(&m, "c1")->locations[0]->segmentation_id,
                 map_get_network(&m, blue)->segmentation_id);
}

Test(trunk, a_parent_outlives_its_locations_and_not_its_children)
{
    cr_assert_eq(map_withdraw(&m, "a", "", "vm", 0)->err, 0);
    cr_assert_str_eq(places("vm"), "");
    cr_assert_str_eq(places("c1"), "");
    cr_assert_eq(n_ports_of("a"), 0);
    cr_assert_eq(CLAIM("b", "vm", blue, {"02:00:00:00:00:01"}, .attach = true), 0);
    cr_assert_str_eq(places("c1"), "b");
    cr_assert_eq(map_withdraw(&m, NULL, "", "vm", 0)->err, EM_E_IN_USE);
    cr_assert(strstr(message(), "port c2"), "%s", message());
    cr_assert_str_eq(places("vm"), "b");
    cr_assert_eq(map_withdraw(&m, "b", "", "vm", 0)->err, 0);
    cr_assert_eq(map_withdraw(&m, NULL, "", "c1", 0)->err, 0);
    cr_assert_str_eq(children("vm"), "7:c2@1");
    cr_assert_eq(map_withdraw(&m, NULL, "", "c2", 0)->err, 0);
    cr_assert_str_eq(places("vm"), "none", "nobody declared it");
    struct ms_stats stats;
    cr_assert_eq(ms_store_stats(m.store, &stats), 0);
    cr_assert_eq(stats.n_ports, 0);
}

Test(trunk, a_dead_node_takes_the_places_of_children_with_it_when_the_hold_is_over)
{
    Eidmap__Command command = map_command(&m, "");
    Eidmap__NodeExpire body = EIDMAP__NODE_EXPIRE__INIT;
    map_node_down(&m, "a", 2000);
    cr_assert_str_eq(places("c1"), "a");
    body.node_id = (char *)"a";
    command.origin->role = EIDMAP__ROLE__ROLE_SERVER;
    command.body_case = EIDMAP__COMMAND__BODY_NODE_EXPIRE;
    command.node_expire = &body;
    cr_assert_eq(map_run(&m, &command)->err, 0);
    cr_assert_str_eq(places("c1"), "");
    cr_assert_str_eq(places("vm"), "");
    cr_assert_null(map_node(&m, "a"));
}

Test(trunk, an_any_local_parent_has_any_local_children)
{
    cr_assert_eq(CLAIM(NULL, "gw", blue, {"02:00:00:00:00:fe"}, {""}, .declared = true), 0);
    cr_assert_eq(CLAIM(NULL, "g1", red, {"02:00:00:00:01:fe"}, .parent = "gw", .tag = 1), 0);
    cr_assert_eq(map_port(&m, "g1")->n_locations, 1);
    cr_assert_str_eq(map_port(&m, "g1")->locations[0]->node_id, "");
}

Test(trunk, a_parent_has_so_many_children_and_all_follow)
{
    char names[MS_PORT_CHILDREN][8];
    size_t n = 0;
    for (uint32_t tag = 1000; n < MS_PORT_CHILDREN - 2; tag++, n++) {
        snprintf(names[n], sizeof names[n], "x%u", tag);
        cr_assert_eq(CLAIM(NULL, names[n], red, {0}, .parent = "vm", .tag = tag), 0);
    }
    cr_assert_eq(CLAIM(NULL, "over", red, {0}, .parent = "vm", .tag = 1), EM_E_LIMIT);
    cr_assert_eq(CLAIM(NULL, names[0], red, {0}, .parent = "vm", .tag = 1), 0, "it has a place");
    uint64_t before = map_revision(&m);
    cr_assert_eq(CLAIM("b", "vm", blue, {"02:00:00:00:00:01"}, .attach = true), 0);
    cr_assert_eq(map_revision(&m), before + 1 + MS_PORT_CHILDREN);
    cr_assert_str_eq(places(names[n - 1]), "b");
}

Test(trunk, an_older_server_is_not_asked_to_apply_it)
{
    struct reg reg = {NULL, "c9", red, {0}, .parent = "vm", .tag = 9};
    Eidmap__Command command = map_command(&m, "");
    Eidmap__Register body = EIDMAP__REGISTER__INIT;
    Eidmap__Claim *claim = map_claim(&m, &reg);
    body.claims = &claim;
    body.n_claims = 1;
    command.body_case = EIDMAP__COMMAND__BODY_REGISTER;
    command.register_ = &body;
    cr_assert_eq(ms_apply_schema(&command), MS_SCHEMA_TRUNKS);
    claim->port->parent.len = 0;
    claim->port->tag = 0;
    cr_assert_eq(ms_apply_schema(&command), 1);
}

static uint32_t schema_of_copy(struct map *map, const char *path)
{
    struct ms_snapshot_info info;
    char *why = NULL;
    int r = ms_snapshot_write(map->store, path, true, NULL, &info, &why);
    cr_assert_eq(r, 0, "%s", why ? why : "");
    uint32_t schema = info.schema;
    ms_snapshot_info_fini(&info);
    return schema;
}

Test(trunk, an_older_server_takes_a_map_without_children_only)
{
    struct map plain;
    char path[160];
    map_open(&plain, 0);
    snprintf(path, sizeof path, "%s/copy", m.dir);
    cr_assert_eq(schema_of_copy(&plain, path), MS_SCHEMA_STORED_FIRST);
    cr_assert_eq(schema_of_copy(&m, path), MS_SCHEMA_STORED_TRUNKS);
    map_close(&plain);
}

/* Also one that has got another identity, as when a backup is restored into a new cluster. */
Test(trunk, a_copy_has_the_children_and_says_what_it_takes_to_keep_them)
{
    struct ms_identity identity;
    struct ms_snapshot_info info;
    char path[160], *why = NULL;
    snprintf(path, sizeof path, "%s/copy", m.dir);
    cr_assert_eq(schema_of_copy(&m, path), MS_SCHEMA_STORED_TRUNKS);
    cr_assert_eq(ms_identity_get(m.store, &identity), 0);
    struct ms_snapshot_target target = {.dir = m.dir,
                                        .generation = 1,
                                        .map_size = 64u << 20,
                                        .disk_reserve = 4096,
                                        .identity = &identity};
    int r = ms_snapshot_load(path, &target, NULL, &info, &why);
    cr_assert_eq(r, 0, "%s", why ? why : "");
    ms_snapshot_info_fini(&info);
    ms_identity_fini(&identity);
    cr_assert_eq(ms_store_switch(m.store, 1, &why), 0);
    ms_apply_restart(m.apply);
    cr_assert_eq(CLAIM("b", "vm", blue, {"02:00:00:00:00:01"}, .attach = true), 0);
    cr_assert_str_eq(places("c1"), "b");
    cr_assert_eq(schema_of_copy(&m, path), MS_SCHEMA_STORED_TRUNKS);
}
