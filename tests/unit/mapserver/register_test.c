#include "mapserver/map.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define MAC1 "02:00:00:00:00:01"
#define MAC2 "02:00:00:00:00:02"

static struct map m;
static uint32_t net;

static void setup(void)
{
    map_open(&m, 0);
    net = map_network(&m, "blue", "10.0.0.0/24", NULL);
    map_node_up(&m, "a", "192.0.2.1");
    map_node_up(&m, "b", "192.0.2.2");
}

static void teardown(void)
{
    map_close(&m);
}

TestSuite(reg, .init = setup, .fini = teardown);

Test(reg, a_new_port_gets_the_revision_as_epoch_and_the_networks_vni)
{
    const struct ms_result *r = REGISTER(&m, "a", "p", net, {MAC1, "10.0.0.1"}, .weight = 7);
    cr_assert_eq(r->err, 0, "%s", r->message);
    cr_assert_eq(r->n_epochs, 1);
    cr_assert_eq(r->epochs[0], r->revision);
    Eidmap__Port *port = map_port(&m, "p");
    cr_assert_eq(port->revision, port->locations[0]->epoch);
    cr_assert_eq(port->locations[0]->segmentation_id, map_get_network(&m, net)->segmentation_id);
    cr_assert_eq(port->locations[0]->weight, 7);
    cr_assert_eq(port->locations[0]->state, EIDMAP__LOCATION_STATE__LOCATION_ACTIVE);
    cr_assert_eq(m.batch.n_networks, 1);
    cr_assert_eq(m.batch.networks[0], net);
}

Test(reg, the_same_again_takes_no_revision)
{
    REGISTER(&m, "a", "p", net, {MAC1, "10.0.0.1"});
    uint64_t before = map_revision(&m);
    const struct ms_result *r = REGISTER(&m, "a", "p", net, {"10.0.0.1", MAC1}, .attach = true);
    cr_assert_eq(r->err, 0);
    cr_assert_not(r->is_changed);
    cr_assert_eq(r->epochs[0], before);
    cr_assert_eq(map_revision(&m), before);
    cr_assert_eq(m.batch.n_networks, 0);
}

Test(reg, new_eids_keep_the_epoch)
{
    uint64_t epoch = REGISTER(&m, "a", "p", net, {MAC1})->epochs[0];
    const struct ms_result *r = REGISTER(&m, "a", "p", net, {MAC2}, .priority = 3);
    cr_assert(r->is_changed);
    cr_assert_eq(r->epochs[0], epoch);
    cr_assert_gt(map_port(&m, "p")->revision, epoch);
    cr_assert_eq(REGISTER(&m, "b", "q", net, {MAC1})->err, 0, "MAC1 must be free again");
}

Test(reg, without_attach_a_port_elsewhere_has_moved)
{
    uint64_t epoch = REGISTER(&m, "a", "p", net, {MAC1})->epochs[0];
    const struct ms_result *r = REGISTER(&m, "b", "p", net, {MAC1}, .epoch = epoch - 1);
    cr_assert_eq(r->err, EM_E_MOVED);
    cr_assert_str_eq(r->field, "claims[0].port");
    cr_assert_str_eq(r->current->locations[0]->node_id, "a");
    cr_assert_not(r->is_changed);
}

Test(reg, attach_takes_over_and_the_old_node_cannot_steal_back)
{
    char want[64];
    REGISTER(&m, "a", "p", net, {MAC1});
    uint64_t epoch = REGISTER(&m, "b", "p", net, {MAC1}, .attach = true)->epochs[0];
    snprintf(want, sizeof(want), "b:%llu", (unsigned long long)epoch);
    cr_assert_str_eq(map_where(&m, "p"), want);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {MAC1}, .epoch = epoch - 1)->err, EM_E_MOVED);
    cr_assert_str_eq(map_where(&m, "p"), want);
}

Test(reg, multihomed_claims_add_their_location)
{
    REGISTER(&m, "a", "gw", net, {MAC1}, .multihomed = true);
    Eidmap__Location *a = map_port(&m, "gw")->locations[0];
    cr_assert_eq(REGISTER(&m, "b", "gw", net, {MAC1}, .multihomed = true, .priority = 2)->err, 0);
    Eidmap__Port *port = map_port(&m, "gw");
    cr_assert_eq(port->n_locations, 2);
    cr_assert_eq(port->locations[0]->epoch, a->epoch);
    cr_assert_eq(port->locations[1]->epoch, port->revision);
    cr_assert_eq(port->locations[1]->priority, 2);
}

Test(reg, multihomed_can_be_set_only_by_who_holds_the_port_alone)
{
    REGISTER(&m, "a", "p", net, {MAC1});
    cr_assert_eq(REGISTER(&m, "b", "p", net, {MAC1}, .multihomed = true)->err, EM_E_MOVED);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {MAC1}, .multihomed = true)->err, 0);
    cr_assert_eq(REGISTER(&m, "b", "p", net, {MAC1}, .multihomed = true)->err, 0);
    const struct ms_result *r =
        REGISTER(&m, "b", "p", net, {MAC1}, .multihomed = true, .shared = true);
    cr_assert_eq(r->err, EM_E_DENIED);
}

Test(reg, an_eid_of_another_port_is_a_conflict_that_names_it)
{
    REGISTER(&m, "a", "p", net, {MAC1, "10.0.0.1"});
    const struct ms_result *r = REGISTER(&m, "b", "q", net, {MAC2, "10.0.0.1"}, .attach = true);
    cr_assert_eq(r->err, EM_E_CONFLICT);
    cr_assert_str_eq(r->message, "10.0.0.1 is held by port p");
    cr_assert_str_eq(r->field, "claims[0].port.eids[1]");
    cr_assert_eq(r->current->id.len, 1);
    cr_assert_eq(r->current->id.data[0], 'p');
    cr_assert_null(map_port(&m, "q"));
}

Test(reg, the_same_eid_in_another_network_is_no_conflict)
{
    uint32_t red = map_network(&m, "red", NULL, NULL);
    REGISTER(&m, "a", "p", net, {MAC1, "10.0.0.1"});
    cr_assert_eq(REGISTER(&m, "b", "q", red, {MAC1, "10.0.0.1"})->err, 0);
}

Test(reg, shared_ports_hold_one_eid_together_and_the_lowest_answers)
{
    struct ms_answer answer;
    struct em_eid ip = map_eid("10.0.0.9");
    cr_assert_eq(REGISTER(&m, "b", "q", net, {"10.0.0.9"}, .shared = true)->err, 0);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {"10.0.0.9"}, .shared = true)->err, 0);
    cr_assert_eq(REGISTER(&m, "a", "r", net, {"10.0.0.9"})->err, EM_E_CONFLICT);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {"10.0.0.9"})->err, EM_E_CONFLICT, "no longer shared");
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(ms_reader_begin(m.reader), 0);
        cr_assert_eq(ms_resolve(m.reader, net, &ip, &answer), 0);
        Eidmap__Port *port = eidmap__port__unpack(NULL, answer.port.size, answer.port.data);
        cr_assert_eq(port->id.data[0], i == 0 ? 'p' : 'q');
        eidmap__port__free_unpacked(port, NULL);
        ms_reader_end(m.reader);
        map_withdraw(&m, "a", "", "p", 0);
    }
}

Test(reg, all_or_nothing_and_the_first_refused_is_named)
{
    REGISTER(&m, "a", "p", net, {MAC1});
    uint64_t before = map_revision(&m);
    struct reg regs[] = {
        {"b", "x", net, {"10.0.0.3"}},
        {"b", "y", net, {MAC1}},
        {"b", "z", net, {"10.0.0.4"}},
    };
    const struct ms_result *r = map_register(&m, regs, 3);
    cr_assert_eq(r->err, EM_E_CONFLICT);
    cr_assert_eq(r->record, 1);
    cr_assert_str_eq(r->field, "claims[1].port.eids[0]");
    cr_assert_eq(map_revision(&m), before);
    cr_assert_null(map_port(&m, "x"));
    regs[1].eids[0] = MAC2;
    r = map_register(&m, regs, 3);
    cr_assert_eq(r->err, 0);
    cr_assert_eq(r->n_epochs, 3);
    cr_assert_eq(map_revision(&m), before + 3);
}

Test(reg, claims_of_one_register_see_each_other)
{
    struct reg regs[] = {{"a", "x", net, {MAC1}}, {"a", "y", net, {MAC1}}};
    const struct ms_result *r = map_register(&m, regs, 2);
    cr_assert_eq(r->err, EM_E_CONFLICT);
    cr_assert_not_null(r->current);
    cr_assert_null(map_port(&m, "x"));
}

Test(reg, a_node_may_not_speak_for_another)
{
    cr_assert_eq(REGISTER(&m, "a", "p", net, {MAC1}, .at = {"b"})->err, EM_E_DENIED);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {MAC1}, .at = {"a"})->err, 0);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {MAC1}, .at = {"a", "b"})->err, EM_E_MALFORMED);
}

Test(reg, what_only_operators_may_is_denied_to_nodes)
{
    cr_assert_eq(REGISTER(&m, "a", "p", net, {MAC1}, .declared = true)->err, EM_E_DENIED);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {MAC1}, .allowed = {"a"})->err, EM_E_DENIED);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {MAC1}, .pending = true)->err, EM_E_DENIED);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {"10.0.0.0/28"})->err, EM_E_DENIED);
    cr_assert_eq(REGISTER(&m, NULL, "p", net, {"10.0.0.0/28"}, .at = {"a"})->err, 0);
}

Test(reg, addresses_are_inside_the_subnets_but_for_link_local)
{
    cr_assert_eq(REGISTER(&m, "a", "p", net, {"10.0.1.1"})->err, EM_E_MALFORMED);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {"tcp/10.0.1.1:80"})->err, EM_E_MALFORMED);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {"2001:db8::1"})->err, EM_E_MALFORMED);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {"fe80::1", "10.0.0.1"})->err, 0);
}

Test(reg, bad_eids_are_malformed)
{
    cr_assert_eq(REGISTER(&m, "a", "p", net, {MAC1, MAC1})->err, EM_E_MALFORMED);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {"port:q"})->err, EM_E_MALFORMED);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {MAC1}, .weight = 256)->err, EM_E_MALFORMED);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {MAC1}, .segment = 1 << 24)->err, EM_E_MALFORMED);
    cr_assert_eq(REGISTER(&m, "a", "", net, {MAC1})->err, EM_E_MALFORMED);
}

Test(reg, the_network_must_exist)
{
    cr_assert_eq(REGISTER(&m, "a", "p", 77, {MAC1})->err, EM_E_NOT_FOUND);
    cr_assert_eq(REGISTER(&m, "a", "p", 0, {MAC1})->err, EM_E_MALFORMED);
}

Test(reg, an_unknown_node_cannot_register)
{
    cr_assert_eq(REGISTER(&m, "zz", "p", net, {MAC1})->err, EM_E_NOT_FOUND);
    cr_assert_eq(REGISTER(&m, NULL, "p", net, {MAC1}, .at = {"zz"})->err, EM_E_NOT_FOUND);
}

Test(reg, a_declared_port_keeps_its_eids_and_outlives_its_location)
{
    cr_assert_eq(REGISTER(&m, NULL, "p", net, {MAC1, "10.0.0.1"}, .declared = true)->err, 0);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {MAC2})->err, EM_E_DENIED);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {MAC1})->err, 0);
    cr_assert_eq(map_port(&m, "p")->n_eids, 2);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {0}, .multihomed = true)->err, EM_E_DENIED);
    map_withdraw(&m, "a", "", "p", 0);
    cr_assert_str_eq(map_where(&m, "p"), "");
    cr_assert_eq(REGISTER(&m, "b", "p", net, {0})->err, 0, "empty means as declared");
    map_withdraw(&m, NULL, "", "p", 0);
    cr_assert_null(map_port(&m, "p"));
}

Test(reg, allowed_nodes_alone_may_claim)
{
    REGISTER(&m, NULL, "p", net, {MAC1}, .declared = true, .allowed = {"b"});
    cr_assert_eq(REGISTER(&m, "a", "p", net, {MAC1}, .attach = true)->err, EM_E_DENIED);
    cr_assert_eq(REGISTER(&m, "b", "p", net, {MAC1}, .attach = true)->err, 0);
}

Test(reg, an_operator_moves_a_port_with_all_that_it_has)
{
    REGISTER(&m, "a", "p", net, {MAC1}, .shared = true);
    cr_assert_eq(REGISTER(&m, NULL, "p", net, {0}, .at = {"b"}, .attach = true)->err, 0);
    Eidmap__Port *port = map_port(&m, "p");
    cr_assert_eq(port->n_locations, 1);
    cr_assert_str_eq(port->locations[0]->node_id, "b");
    cr_assert_eq(port->locations[0]->epoch, port->revision);
    cr_assert_eq(port->n_eids, 1);
    cr_assert(port->shared);
}

Test(reg, an_operators_locations_that_stay_keep_their_epoch)
{
    uint64_t epoch = REGISTER(&m, "a", "p", net, {MAC1})->epochs[0];
    REGISTER(&m, NULL, "p", net, {MAC1}, .at = {"b", "a"});
    Eidmap__Port *port = map_port(&m, "p");
    cr_assert_eq(port->locations[0]->epoch, port->revision);
    cr_assert_eq(port->locations[1]->epoch, epoch);
    uint64_t before = map_revision(&m);
    REGISTER(&m, NULL, "p", net, {MAC1});
    cr_assert_eq(map_revision(&m), before, "no locations given: the same port");
}

Test(reg, a_pending_location_waits_for_the_attach)
{
    REGISTER(&m, "a", "p", net, {MAC1});
    Eidmap__Port *port = map_port(&m, "p");
    REGISTER(&m, NULL, "p", net, {0}, .at = {"a", "b"}, .pending = true);
    cr_assert_eq(REGISTER(&m, "b", "p", net, {MAC1})->err, EM_E_MOVED);
    cr_assert_eq(REGISTER(&m, "b", "p", net, {MAC1}, .attach = true)->err, 0);
    port = map_port(&m, "p");
    cr_assert_eq(port->n_locations, 1);
    cr_assert_eq(port->locations[0]->state, EIDMAP__LOCATION_STATE__LOCATION_ACTIVE);
    cr_assert_eq(port->locations[0]->epoch, port->revision);
}

Test(reg, a_port_changes_network_only_with_its_sole_holder)
{
    uint32_t red = map_network(&m, "red", NULL, NULL);
    REGISTER(&m, "a", "p", net, {MAC1});
    cr_assert_eq(REGISTER(&m, "b", "p", red, {MAC1}, .attach = true)->err, EM_E_DENIED);
    const struct ms_result *r = REGISTER(&m, "a", "p", red, {MAC1});
    cr_assert_eq(r->err, 0);
    cr_assert_eq(m.batch.n_networks, 2, "both feeds have grown");
    cr_assert_eq(REGISTER(&m, "b", "q", net, {MAC1})->err, 0, "free in the old network");
    cr_assert_eq(REGISTER(&m, "b", "q2", red, {MAC1})->err, EM_E_CONFLICT);
}

Test(reg, a_node_has_no_more_ports_than_the_limit)
{
    m.max_node_ports = 2;
    REGISTER(&m, "a", "p1", net, {0});
    REGISTER(&m, "a", "p2", net, {0});
    cr_assert_eq(REGISTER(&m, "a", "p3", net, {0})->err, EM_E_LIMIT);
    cr_assert_eq(REGISTER(&m, "a", "p2", net, {MAC1})->err, 0, "what it has it may change");
    cr_assert_eq(REGISTER(&m, "b", "p3", net, {0})->err, 0);
}

Test(reg, sent_again_is_not_applied_again)
{
    map_agent_up(&m, "a", "192.0.2.1", 1, 10);
    uint64_t epoch = REGISTER(&m, "a", "p", net, {MAC1}, .seq = 5, .instance = 1)->epochs[0];
    const struct ms_result *r =
        REGISTER(&m, "a", "p", net, {MAC1}, .seq = 5, .instance = 1, .attach = true);
    cr_assert_eq(r->err, 0);
    cr_assert_eq(r->epochs[0], epoch);
    REGISTER(&m, "b", "p", net, {MAC1}, .attach = true, .seq = 1, .instance = 9);
    r = REGISTER(&m, "a", "p", net, {MAC1}, .seq = 5, .instance = 1, .attach = true);
    cr_assert_eq(r->err, EM_E_MOVED, "a late repetition must not take the port back");
    cr_assert_str_eq(r->current->locations[0]->node_id, "b");
    map_agent_up(&m, "a", "192.0.2.1", 2, 11);
    r = REGISTER(&m, "a", "p", net, {MAC1}, .seq = 1, .instance = 2, .attach = true);
    cr_assert_eq(r->err, 0, "a new process of the agent counts from the start");
}

Test(reg, a_repeated_register_does_not_bring_back_what_was_withdrawn)
{
    REGISTER(&m, "a", "p", net, {MAC1}, .seq = 5, .instance = 1);
    map_withdraw(&m, "a", "", "p", 0);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {MAC1}, .seq = 5, .instance = 1)->err, EM_E_MOVED);
    cr_assert_null(map_port(&m, "p"));
}

Test(reg, a_noop_is_known_without_a_command)
{
    Eidmap__Command command = map_command(&m, "a");
    Eidmap__Register body = EIDMAP__REGISTER__INIT;
    struct reg reg = {"a", "p", net, {MAC1}};
    Eidmap__Claim *claims[] = {map_claim(&m, &reg)};
    struct ms_result result;
    body.claims = claims;
    body.n_claims = 1;
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    cr_assert_not(ms_apply_is_noop(m.reader, command.origin, &body, &m.arena, &result));
    ms_reader_end(m.reader);
    uint64_t epoch = REGISTER(&m, "a", "p", net, {MAC1})->epochs[0];
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    cr_assert(ms_apply_is_noop(m.reader, command.origin, &body, &m.arena, &result));
    cr_assert_eq(result.n_epochs, 1);
    cr_assert_eq(result.epochs[0], epoch);
    command.origin->name = (char *)"b";
    cr_assert_not(ms_apply_is_noop(m.reader, command.origin, &body, &m.arena, &result));
    ms_reader_end(m.reader);
}

Test(reg, withdraw_frees_the_eids_and_respects_the_epoch)
{
    uint64_t epoch = REGISTER(&m, "a", "p", net, {MAC1})->epochs[0];
    cr_assert_eq(map_withdraw(&m, "a", "", "p", epoch + 1)->n_withdrawn, 0);
    cr_assert_eq(map_withdraw(&m, "b", "", "p", 0)->n_withdrawn, 0, "it is not there");
    cr_assert_eq(map_withdraw(&m, "b", "a", "p", 0)->err, EM_E_DENIED);
    cr_assert_eq(map_withdraw(&m, "a", "", "p", epoch)->n_withdrawn, 1);
    cr_assert_eq(map_withdraw(&m, "a", "", "p", epoch)->err, 0, "absent is withdrawn");
    cr_assert_null(map_port(&m, "p"));
    cr_assert_eq(REGISTER(&m, "b", "q", net, {MAC1})->err, 0);
}

Test(reg, withdraw_leaves_the_other_locations)
{
    REGISTER(&m, "a", "gw", net, {MAC1}, .multihomed = true);
    REGISTER(&m, "b", "gw", net, {MAC1}, .multihomed = true);
    map_withdraw(&m, "a", "", "gw", 0);
    Eidmap__Port *port = map_port(&m, "gw");
    cr_assert_eq(port->n_locations, 1);
    cr_assert_str_eq(port->locations[0]->node_id, "b");
}
