/* The limits and the shapes of claims, without a map. */
#include "state/claim.h"

#include "base/mem.h"
#include "eidmap/addr.h"
#include "eidmap/error.h"
#include "state/record.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct em_arena arena;
static Eidmap__Port port, old;
static Eidmap__Claim claim;
static Eidmap__Origin origin;
static Eidmap__Network network;
static Eidmap__Location here, locations[20];
static Eidmap__Location *list[20];
static struct ms_fault fault;
static struct ms_verdict verdict;

static void setup(void)
{
    em_arena_init(&arena, 0);
    eidmap__port__init(&port);
    eidmap__port__init(&old);
    eidmap__claim__init(&claim);
    eidmap__origin__init(&origin);
    eidmap__network__init(&network);
    eidmap__location__init(&here);
    for (size_t i = 0; i < 20; i++) {
        eidmap__location__init(&locations[i]);
        locations[i].node_id = (char *)em_asprintf("n%zu", i);
        locations[i].epoch = 5 + i;
        locations[i].state = EIDMAP__LOCATION_STATE__LOCATION_ACTIVE;
        locations[i].segmentation_id = 4097;
        list[i] = &locations[i];
    }
    network.id = 1;
    network.name = (char *)"blue";
    network.segmentation_id = 4097;
    origin.role = EIDMAP__ROLE__ROLE_NODE;
    origin.name = (char *)"a";
    port.id = old.id = (ProtobufCBinaryData){1, (uint8_t *)"p"};
    port.network_id = old.network_id = 1;
    static Eidmap__Location *mine[] = {&here};
    port.locations = mine;
    port.n_locations = 1;
    old.locations = list;
    claim.port = &port;
}

static void teardown(void)
{
    for (size_t i = 0; i < 20; i++)
        free(locations[i].node_id);
    em_arena_fini(&arena);
}

TestSuite(claim, .init = setup, .fini = teardown);

static int decide(const Eidmap__Port *before)
{
    struct ms_claim in = {
        .old = before,
        .claim = &claim,
        .origin = &origin,
        .network = &network,
        .revision = 100,
    };
    fault = (struct ms_fault){.arena = &arena};
    return ms_claim_decide(&in, &arena, &fault, &verdict);
}

static void by_operator(size_t n_locations)
{
    origin.role = EIDMAP__ROLE__ROLE_OPERATOR;
    port.locations = list;
    port.n_locations = n_locations;
}

static void give_eids(size_t n)
{
    static Eidmap__Eid eids[65];
    static Eidmap__Eid *eid_list[65];
    static uint8_t addr[65][4];
    for (size_t i = 0; i < n; i++) {
        eidmap__eid__init(&eids[i]);
        memcpy(addr[i], (uint8_t[]){10, 0, 0, (uint8_t)(n - i)}, 4);
        eids[i].kind = EIDMAP__EID_KIND__EID_IPV4;
        eids[i].address = (ProtobufCBinaryData){4, addr[i]};
        eid_list[i] = &eids[i];
    }
    port.eids = eid_list;
    port.n_eids = n;
}

Test(claim, without_a_port_is_malformed)
{
    claim.port = NULL;
    cr_assert_eq(decide(NULL), EM_E_MALFORMED);
}

Test(claim, a_port_has_at_most_64_eids_in_one_order)
{
    give_eids(65);
    cr_assert_eq(decide(NULL), EM_E_LIMIT);
    give_eids(64);
    cr_assert_eq(decide(NULL), 0);
    cr_assert_eq(verdict.port->eids[0]->address.data[3], 1);
    cr_assert_eq(verdict.port->eids[63]->address.data[3], 64);
}

Test(claim, a_port_has_at_most_16_locations)
{
    by_operator(17);
    cr_assert_eq(decide(NULL), EM_E_LIMIT);
    by_operator(16);
    cr_assert_eq(decide(NULL), 0);
}

Test(claim, a_multihomed_port_is_full_at_16_too)
{
    old.multihomed = true;
    old.n_locations = 16;
    cr_assert_eq(decide(&old), EM_E_LIMIT, "a seventeenth node joins");
    old.n_locations = 15;
    cr_assert_eq(decide(&old), 0);
    cr_assert_eq(verdict.port->n_locations, 16);
}

Test(claim, allowed_nodes_are_16_well_formed_names)
{
    char *names[17];
    for (size_t i = 0; i < 17; i++)
        names[i] = locations[i].node_id;
    by_operator(1);
    port.allowed_nodes = names;
    port.n_allowed_nodes = 17;
    cr_assert_eq(decide(NULL), EM_E_LIMIT);
    port.n_allowed_nodes = 16;
    cr_assert_eq(decide(NULL), 0);
    names[3] = (char *)"not a node";
    cr_assert_eq(decide(NULL), EM_E_MALFORMED);
    cr_assert_str_eq(fault.field, "port.allowed_nodes[3]");
}

Test(claim, an_operators_locations_are_checked)
{
    by_operator(2);
    list[1] = &locations[0];
    cr_assert_eq(decide(NULL), EM_E_MALFORMED, "twice the same node");
    list[1] = &here;
    cr_assert_eq(decide(NULL), EM_E_MALFORMED, "no node-id");
    by_operator(0);
    cr_assert_eq(decide(NULL), EM_E_MALFORMED, "nowhere and not declared");
    port.declared = true;
    cr_assert_eq(decide(NULL), 0);
    cr_assert_eq(verdict.epoch, 0);
}

Test(claim, views_are_checked_and_copied)
{
    Eidmap__View view = EIDMAP__VIEW__INIT;
    Eidmap__Label label = EIDMAP__LABEL__INIT;
    here.view = &view;
    view.node_id = (char *)"no node";
    cr_assert_eq(decide(NULL), EM_E_MALFORMED);
    view.node_id = (char *)"";
    view.label = &label;
    cr_assert_eq(decide(NULL), EM_E_MALFORMED, "a label without a key");
    label.key = (char *)"rack";
    label.value = (char *)"r1";
    cr_assert_eq(decide(NULL), 0);
    cr_assert_neq(verdict.port->locations[0]->view, &view);
    cr_assert_str_eq(verdict.port->locations[0]->view->label->value, "r1");
}

Test(claim, a_field_of_a_newer_program_survives_a_change)
{
    ProtobufCMessageUnknownField unknown = {900, PROTOBUF_C_WIRE_TYPE_VARINT, 1, (uint8_t *)"\7"};
    locations[0].node_id[0] = 'a';
    locations[0].node_id[1] = '\0';
    old.n_locations = 1;
    old.base.unknown_fields = &unknown;
    old.base.n_unknown_fields = 1;
    give_eids(1);
    cr_assert_eq(decide(&old), 0);
    cr_assert(verdict.is_changed);
    cr_assert_eq(verdict.port->base.n_unknown_fields, 1);
    port.base = old.base;
    cr_assert_eq(decide(NULL), 0);
    cr_assert_eq(verdict.port->base.n_unknown_fields, 0, "but none is taken from a claim");
}

Test(claim, an_attach_where_the_port_is_keeps_its_epoch)
{
    locations[0].node_id[0] = 'a';
    locations[0].node_id[1] = '\0';
    old.n_locations = 1;
    claim.attach = true;
    cr_assert_eq(decide(&old), 0);
    cr_assert_not(verdict.is_changed);
    cr_assert_eq(verdict.epoch, 5);
    old.n_locations = 2;
    cr_assert_eq(decide(&old), 0);
    cr_assert_eq(verdict.epoch, 100, "with others beside it, it has moved");
    cr_assert_eq(verdict.port->n_locations, 1);
}

/* ---- any-local, and views */

Test(claim, any_local_is_alone_for_everyone_and_active)
{
    by_operator(1);
    port.declared = true;
    give_eids(1);
    char *name = locations[0].node_id;
    locations[0].node_id = (char *)MS_ANY_LOCAL;
    cr_assert_eq(decide(NULL), 0);
    cr_assert_eq(verdict.port->n_locations, 1);
    cr_assert_str_eq(verdict.port->locations[0]->node_id, "");
    cr_assert_eq(verdict.port->locations[0]->segmentation_id, 4097);
    cr_assert_eq(verdict.epoch, 100);

    port.n_locations = 2;
    cr_assert_eq(decide(NULL), EM_E_MALFORMED, "beside a node");
    port.n_locations = 1;
    locations[0].state = EIDMAP__LOCATION_STATE__LOCATION_PENDING;
    cr_assert_eq(decide(NULL), EM_E_MALFORMED, "pending");
    locations[0].state = EIDMAP__LOCATION_STATE__LOCATION_ACTIVE;
    Eidmap__View view = EIDMAP__VIEW__INIT;
    locations[0].view = &view;
    cr_assert_eq(decide(NULL), EM_E_MALFORMED, "in a view");
    locations[0].node_id = name;
}

/* However many nodes have an instance, the map has one location and does not change. */
Test(claim, a_node_with_an_instance_of_any_local_changes_nothing)
{
    char *name = locations[0].node_id;
    locations[0].node_id = (char *)MS_ANY_LOCAL;
    old.declared = true;
    old.n_locations = 1;
    for (int attach = 0; attach < 2; attach++) {
        claim.attach = attach;
        cr_assert_eq(decide(&old), 0);
        cr_assert_not(verdict.is_changed);
        cr_assert_eq(verdict.epoch, locations[0].epoch);
    }
    locations[0].node_id = name;
}

Test(claim, a_nodes_claim_leaves_the_operators_view_alone)
{
    Eidmap__View view = EIDMAP__VIEW__INIT;
    view.node_id = (char *)"n0";
    locations[0].view = &view;
    origin.name = locations[0].node_id;
    old.multihomed = true;
    old.n_locations = 2;
    here.weight = 9;
    cr_assert_eq(decide(&old), 0);
    cr_assert(verdict.is_changed);
    cr_assert_eq(verdict.port->locations[0]->weight, 9);
    cr_assert_not_null(verdict.port->locations[0]->view);
    cr_assert_str_eq(verdict.port->locations[0]->view->node_id, "n0");
    by_operator(1);
    locations[0].view = NULL;
    Eidmap__Location bare = locations[0];
    Eidmap__Location *alone[] = {&bare};
    locations[0].view = &view;
    port.locations = alone;
    cr_assert_eq(decide(&old), 0);
    cr_assert_null(verdict.port->locations[0]->view, "an operator takes it away");
    locations[0].view = NULL;
}
