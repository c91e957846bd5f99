/* Nodes and networks: what agents, operators and leases do to them. */
#include "mapserver/map.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct map m;

static void setup(void)
{
    map_open(&m, 0);
}

static void teardown(void)
{
    map_close(&m);
}

TestSuite(node, .init = setup, .fini = teardown);
TestSuite(network, .init = setup, .fini = teardown);
TestSuite(command, .init = setup, .fini = teardown);

static const struct ms_result *expire(const char *node, uint32_t max)
{
    Eidmap__Command command = map_command(&m, "");
    Eidmap__NodeExpire body = EIDMAP__NODE_EXPIRE__INIT;
    body.node_id = (char *)node;
    body.max_ports = max;
    command.origin->role = EIDMAP__ROLE__ROLE_SERVER;
    command.body_case = EIDMAP__COMMAND__BODY_NODE_EXPIRE;
    command.node_expire = &body;
    return map_run(&m, &command);
}

static const struct ms_result *put_node(const char *by, const char *id, bool disabled,
                                        const char *key, uint64_t revision)
{
    Eidmap__Command command = map_command(&m, by);
    Eidmap__PutNode body = EIDMAP__PUT_NODE__INIT;
    Eidmap__Node node = EIDMAP__NODE__INIT;
    Eidmap__Label label = EIDMAP__LABEL__INIT, *labels[] = {&label};
    label.key = (char *)key;
    label.value = (char *)"x";
    node.id = (char *)id;
    node.disabled = disabled;
    node.revision = revision;
    node.labels = labels;
    node.n_labels = key != NULL;
    body.node = &node;
    command.body_case = EIDMAP__COMMAND__BODY_PUT_NODE;
    command.put_node = &body;
    return map_run(&m, &command);
}

static const struct ms_result *remove_node(const char *id)
{
    Eidmap__Command command = map_command(&m, "");
    Eidmap__RemoveNode body = EIDMAP__REMOVE_NODE__INIT;
    body.node_id = (char *)id;
    command.body_case = EIDMAP__COMMAND__BODY_REMOVE_NODE;
    command.remove_node = &body;
    return map_run(&m, &command);
}

Test(node, comes_up_once)
{
    const struct ms_result *r = map_node_up(&m, "a", "192.0.2.1");
    cr_assert_eq(r->err, 0);
    cr_assert_eq(r->node->state, EIDMAP__NODE_STATE__NODE_REACHABLE);
    cr_assert_eq(r->node->state_since_ms, 1000);
    cr_assert_str_eq(r->node->version, "xtr 0.1.0");
    uint64_t before = map_revision(&m);
    r = map_node_up(&m, "a", "192.0.2.1");
    cr_assert_not(r->is_changed);
    cr_assert_not_null(r->node, "the record is shown all the same");
    cr_assert_eq(map_revision(&m), before);
}

Test(node, unusable_rlocs_are_malformed)
{
    cr_assert_eq(map_node_up(&m, "a", "127.0.0.1")->err, EM_E_MALFORMED);
    cr_assert_eq(map_node_up(&m, "a", "224.0.0.1")->err, EM_E_MALFORMED);
    cr_assert_eq(map_node_up(&m, "a", "::1")->err, EM_E_MALFORMED);
    cr_assert_null(map_node(&m, "a"));
}

Test(node, an_rloc_belongs_to_one_reachable_node)
{
    map_node_up(&m, "a", "192.0.2.1");
    const struct ms_result *r = map_node_up(&m, "b", "192.0.2.1");
    cr_assert_eq(r->err, EM_E_CONFLICT);
    cr_assert_str_eq(r->message, "RLOC 192.0.2.1 belongs to node a, which is reachable");
    cr_assert_eq(map_node_down(&m, "a", 2000)->err, 0);
    cr_assert_eq(map_node_up(&m, "b", "192.0.2.1")->err, 0);
    cr_assert_eq(map_node(&m, "a")->n_rlocs, 0, "the silent one gave it up");
    cr_assert_eq(map_node_up(&m, "a", "192.0.2.1")->err, EM_E_CONFLICT);
}

Test(node, a_new_rloc_frees_the_old_one)
{
    map_node_up(&m, "a", "192.0.2.1");
    map_node_up(&m, "a", "192.0.2.9");
    cr_assert_eq(map_node_up(&m, "b", "192.0.2.1")->err, 0);
    cr_assert_eq(map_node_up(&m, "c", "192.0.2.9")->err, EM_E_CONFLICT);
}

Test(node, going_down_keeps_its_ports)
{
    uint32_t net = map_network(&m, "blue", NULL, NULL);
    map_node_up(&m, "a", "192.0.2.1");
    REGISTER(&m, "a", "p", net, {"10.0.0.1"});
    uint64_t before = map_revision(&m);
    cr_assert(map_node_down(&m, "a", 7777)->is_changed);
    cr_assert_eq(map_revision(&m), before + 1, "one change, not one per port");
    cr_assert_eq(map_node(&m, "a")->state, EIDMAP__NODE_STATE__NODE_UNREACHABLE);
    cr_assert_eq(map_node(&m, "a")->state_since_ms, 7777);
    cr_assert_not_null(map_port(&m, "p"));
    cr_assert_not(map_node_down(&m, "a", 8888)->is_changed);
    cr_assert_not(map_node_down(&m, "zz", 8888)->is_changed);
    cr_assert_eq(map_node_up(&m, "a", "192.0.2.1")->node->state,
                 EIDMAP__NODE_STATE__NODE_REACHABLE);
}

Test(node, expires_in_portions_and_then_goes)
{
    uint32_t net = map_network(&m, "blue", NULL, NULL);
    char id[16];
    map_node_up(&m, "a", "192.0.2.1");
    for (int i = 0; i < 5; i++) {
        sprintf(id, "p%d", i);
        REGISTER(&m, "a", id, net, {0});
    }
    cr_assert_not(expire("a", 3)->is_changed, "it is reachable");
    map_node_down(&m, "a", 2000);
    const struct ms_result *r = expire("a", 3);
    cr_assert_eq(r->n_withdrawn, 3);
    cr_assert(r->is_more);
    cr_assert_not_null(map_node(&m, "a"));
    r = expire("a", 3);
    cr_assert_eq(r->n_withdrawn, 2);
    cr_assert_not(r->is_more);
    cr_assert_null(map_node(&m, "a"));
    cr_assert_null(map_port(&m, "p4"));
    cr_assert_eq(map_node_up(&m, "b", "192.0.2.1")->err, 0, "its RLOC is free");
    cr_assert_eq(expire("a", 3)->err, 0);
}

Test(node, a_declared_one_stays_when_it_expires)
{
    map_node_up(&m, "a", "192.0.2.1");
    cr_assert_eq(put_node("", "a", false, "rack", 0)->err, 0);
    map_node_down(&m, "a", 2000);
    expire("a", 0);
    cr_assert_eq(map_node(&m, "a")->n_labels, 1);
    cr_assert(map_node(&m, "a")->declared);
}

Test(node, disabled_withdraws_and_refuses)
{
    uint32_t net = map_network(&m, "blue", NULL, NULL);
    map_node_up(&m, "a", "192.0.2.1");
    REGISTER(&m, "a", "p", net, {"10.0.0.1"});
    const struct ms_result *r = put_node("", "a", true, NULL, 0);
    cr_assert_eq(r->err, 0);
    cr_assert(r->node->disabled);
    cr_assert_eq(r->node->n_rlocs, 1, "none given: its own stay");
    cr_assert_null(map_port(&m, "p"));
    cr_assert_eq(REGISTER(&m, "a", "p", net, {"10.0.0.1"})->err, EM_E_DENIED);
    cr_assert_eq(REGISTER(&m, NULL, "p", net, {"10.0.0.1"}, .at = {"a"})->err, EM_E_DENIED);
    cr_assert_eq(map_node_up(&m, "a", "192.0.2.1")->err, EM_E_DENIED);
    put_node("", "a", false, NULL, 0);
    cr_assert_eq(map_node_up(&m, "a", "192.0.2.1")->err, 0);
}

Test(node, a_change_on_an_old_revision_is_stale)
{
    uint64_t revision = map_node_up(&m, "a", "192.0.2.1")->revision;
    cr_assert_eq(put_node("", "a", false, "rack", revision)->err, 0);
    cr_assert_eq(put_node("", "a", false, "row", revision)->err, EM_E_STALE);
    cr_assert_eq(put_node("", "new", false, "row", 5)->err, EM_E_STALE);
}

Test(node, labels_are_checked)
{
    cr_assert_eq(put_node("", "a", false, "", 0)->err, EM_E_MALFORMED);
    cr_assert_eq(put_node("", "a", false, "Upper", 0)->err, EM_E_MALFORMED);
    cr_assert_eq(put_node("", "a", false, "example.org/rack_1-a", 0)->err, 0);
    cr_assert_eq(put_node("", "no such id!", false, "rack", 0)->err, EM_E_MALFORMED);
}

Test(node, removing_takes_its_locations_along)
{
    uint32_t net = map_network(&m, "blue", NULL, NULL);
    map_node_up(&m, "a", "192.0.2.1");
    map_node_up(&m, "b", "192.0.2.2");
    REGISTER(&m, "a", "p", net, {"10.0.0.1"});
    REGISTER(&m, "a", "gw", net, {"10.0.0.2"}, .multihomed = true);
    REGISTER(&m, "b", "gw", net, {"10.0.0.2"}, .multihomed = true);
    cr_assert_eq(remove_node("a")->err, 0);
    cr_assert_null(map_node(&m, "a"));
    cr_assert_null(map_port(&m, "p"));
    cr_assert_eq(map_port(&m, "gw")->n_locations, 1);
    cr_assert_eq(remove_node("a")->err, EM_E_NOT_FOUND);
}

/* ---------------------------------------------------------------------- networks */

static Eidmap__Network draft(const char *name)
{
    Eidmap__Network network = EIDMAP__NETWORK__INIT;
    network.name = (char *)name;
    return network;
}

static const struct ms_result *put_network(Eidmap__Network *network)
{
    Eidmap__Command command = map_command(&m, "");
    Eidmap__PutNetwork body = EIDMAP__PUT_NETWORK__INIT;
    body.network = network;
    command.body_case = EIDMAP__COMMAND__BODY_PUT_NETWORK;
    command.put_network = &body;
    return map_run(&m, &command);
}

static const struct ms_result *remove_network(uint32_t id, const char *name)
{
    Eidmap__Command command = map_command(&m, "");
    Eidmap__RemoveNetwork body = EIDMAP__REMOVE_NETWORK__INIT;
    body.network_id = id;
    body.network_name = (char *)name;
    command.body_case = EIDMAP__COMMAND__BODY_REMOVE_NETWORK;
    command.remove_network = &body;
    return map_run(&m, &command);
}

Test(network, gets_an_id_and_a_vni_above_4096)
{
    Eidmap__Network n = draft("blue");
    const struct ms_result *r = put_network(&n);
    cr_assert_eq(r->err, 0);
    cr_assert_eq(r->network->id, 1);
    cr_assert_eq(r->network->segmentation_id, 4097);
    cr_assert_eq(r->network->type, EIDMAP__NETWORK_TYPE__NETWORK_OVERLAY);
    cr_assert_eq(m.batch.n_networks, 1);
    cr_assert_eq(m.batch.networks[0], 0);
}

Test(network, a_taken_vni_is_stepped_over_or_named)
{
    Eidmap__Network first = draft("first"), second = draft("second"), third = draft("third");
    first.segmentation_id = 4098;
    cr_assert_eq(put_network(&first)->err, 0);
    cr_assert_eq(put_network(&second)->network->segmentation_id, 4099);
    third.segmentation_id = 4098;
    const struct ms_result *r = put_network(&third);
    cr_assert_eq(r->err, EM_E_CONFLICT);
    cr_assert_str_eq(r->message, "VNI 4098 belongs to network 1");
}

Test(network, names_are_unique)
{
    Eidmap__Network n = draft("blue"), other = draft("red");
    put_network(&n);
    cr_assert_eq(put_network(&n)->err, EM_E_EXISTS);
    put_network(&other);
    other.id = 2;
    other.name = (char *)"blue";
    cr_assert_eq(put_network(&other)->err, EM_E_EXISTS);
    other.name = (char *)"green";
    cr_assert_eq(put_network(&other)->err, 0);
    other.id = 0;
    other.name = (char *)"red";
    cr_assert_eq(put_network(&other)->err, 0, "the old name is free");
}

Test(network, fields_are_checked)
{
    Eidmap__Eid eid = EIDMAP__EID__INIT, *subnets[] = {&eid, &eid};
    uint8_t mac[6] = {2}, ip[4] = {10};
    Eidmap__Network n = draft("no/name");
    cr_assert_eq(put_network(&n)->err, EM_E_MALFORMED);
    n = draft("blue");
    n.mtu = 575;
    cr_assert_eq(put_network(&n)->err, EM_E_MALFORMED);
    n.mtu = 0;
    n.probe_ms = EM_PROBE_MS_MIN - 1;
    cr_assert_eq(put_network(&n)->err, EM_E_MALFORMED);
    n.probe_ms = EM_PROBE_MS_MAX + 1;
    cr_assert_eq(put_network(&n)->err, EM_E_MALFORMED);
    n.probe_ms = 0;
    n.segmentation_id = 1 << 24;
    cr_assert_eq(put_network(&n)->err, EM_E_MALFORMED);
    n.segmentation_id = 0;
    n.dns_domain = (char *)"not a domain";
    cr_assert_eq(put_network(&n)->err, EM_E_MALFORMED);
    n.dns_domain = (char *)"";
    n.type = (Eidmap__NetworkType)77;
    cr_assert_eq(put_network(&n)->err, EM_E_MALFORMED);
    n.type = 0;
    n.subnets = subnets;
    n.n_subnets = 1;
    eid.kind = EIDMAP__EID_KIND__EID_MAC;
    eid.address = (ProtobufCBinaryData){6, mac};
    cr_assert_eq(put_network(&n)->err, EM_E_MALFORMED);
    eid.kind = EIDMAP__EID_KIND__EID_IPV4_PREFIX;
    eid.address = (ProtobufCBinaryData){4, ip};
    eid.prefix_len = 8;
    n.n_subnets = 2;
    cr_assert_eq(put_network(&n)->err, EM_E_MALFORMED, "twice the same");
    n.n_subnets = 1;
    cr_assert_eq(put_network(&n)->err, 0);
}

Test(network, changes_need_the_right_revision)
{
    Eidmap__Network n = draft("blue");
    n.revision = put_network(&n)->network->revision;
    n.id = 1;
    n.mtu = 1400;
    n.probe_ms = 300;
    const struct ms_result *r = put_network(&n);
    cr_assert_eq(r->err, 0, "%s", r->message);
    cr_assert_eq(r->network->mtu, 1400);
    cr_assert_eq(r->network->probe_ms, 300);
    cr_assert_eq(r->network->segmentation_id, 4097, "none given: it stays");
    n.mtu = 1500;
    cr_assert_eq(put_network(&n)->err, EM_E_STALE);
    n.id = 9;
    cr_assert_eq(put_network(&n)->err, EM_E_NOT_FOUND);
}

Test(network, the_vni_is_fixed_while_there_are_ports)
{
    uint32_t net = map_network(&m, "blue", NULL, NULL);
    Eidmap__Network n = draft("blue");
    n.id = net;
    n.segmentation_id = 77;
    map_node_up(&m, "a", "192.0.2.1");
    REGISTER(&m, "a", "p", net, {"10.0.0.1"});
    cr_assert_eq(put_network(&n)->err, EM_E_IN_USE);
    map_withdraw(&m, "a", "", "p", 0);
    cr_assert_eq(put_network(&n)->network->segmentation_id, 77);
    Eidmap__Network other = draft("red");
    other.segmentation_id = 4097;
    cr_assert_eq(put_network(&other)->err, 0, "the old VNI is free");
}

Test(network, is_removed_only_when_it_is_empty)
{
    uint32_t net = map_network(&m, "blue", NULL, NULL);
    map_node_up(&m, "a", "192.0.2.1");
    REGISTER(&m, "a", "p", net, {0});
    cr_assert_eq(remove_network(net, "")->err, EM_E_IN_USE);
    map_withdraw(&m, "a", "", "p", 0);
    cr_assert_eq(remove_network(0, "blue")->err, 0);
    cr_assert_eq(m.batch.n_networks, 2, "its own subscribers must hear of it");
    cr_assert_null(map_get_network(&m, net));
    cr_assert_eq(remove_network(net, "")->err, EM_E_NOT_FOUND);
    cr_assert_neq(map_network(&m, "blue", NULL, NULL), net, "an id is never used twice");
}

/* ---------------------------------------------------------------------- commands */

Test(command, nodes_cannot_do_what_operators_do)
{
    map_node_up(&m, "a", "192.0.2.1");
    cr_assert_eq(put_node("a", "a", false, "rack", 0)->err, EM_E_DENIED);
    Eidmap__Command command = map_command(&m, "a");
    Eidmap__Trim trim = EIDMAP__TRIM__INIT;
    command.body_case = EIDMAP__COMMAND__BODY_TRIM;
    command.trim = &trim;
    cr_assert_eq(map_run(&m, &command)->err, EM_E_DENIED);
    command.origin = NULL;
    cr_assert_eq(map_run(&m, &command)->err, EM_E_DENIED);
}

static int apply_bytes(const uint8_t *bytes, size_t size, const char **why)
{
    struct ms_blob blob = {bytes, size};
    struct ms_batch batch;
    return ms_apply_batch(m.apply, &blob, 1, (struct ms_point){1, 1}, &batch, why);
}

Test(command, what_is_not_known_stops_the_process)
{
    uint8_t bytes[64];
    const char *why = NULL;
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    cr_assert_eq(apply_bytes((const uint8_t *)"\xff\xff", 2, &why), EM_E_MALFORMED);
    cr_assert_not_null(why);
    Eidmap__Trim trim = EIDMAP__TRIM__INIT;
    command.schema = MS_SCHEMA + 1;
    command.body_case = EIDMAP__COMMAND__BODY_TRIM;
    command.trim = &trim;
    size_t size = eidmap__command__pack(&command, bytes);
    cr_assert_eq(apply_bytes(bytes, size, &why), EM_E_UNSUPPORTED, "newer schema");
    cr_assert_eq(ms_apply_point(m.apply).index, 0);
}

Test(command, the_same_commands_make_the_same_map)
{
    struct map first = m, second;
    map_open(&second, 0);
    for (int i = 0; i < 2; i++) {
        m = i ? second : first;
        uint32_t net = map_network(&m, "blue", "10.0.0.0/8", NULL);
        map_node_up(&m, "a", "192.0.2.1");
        map_node_up(&m, "b", "192.0.2.2");
        REGISTER(&m, "a", "p", net, {"10.0.0.1", "02:00:00:00:00:01"});
        REGISTER(&m, "b", "p", net, {"10.0.0.1"}, .attach = true);
        REGISTER(&m, "b", "q", net, {"10.0.0.1"});
        if (i)
            second = m;
        else
            first = m;
    }
    m = first;
    Eidmap__Port *p = map_port(&first, "p"), *q = map_port(&second, "p");
    uint8_t a[512], b[512];
    size_t size = eidmap__port__pack(p, a);
    cr_assert_eq(eidmap__port__pack(q, b), size);
    cr_assert_eq(memcmp(a, b, size), 0);
    cr_assert_eq(map_revision(&first), map_revision(&second));
    map_close(&second);
}
