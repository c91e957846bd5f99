/* What a request does that comes again, and an agent that has been replaced. */
#include "mapserver/map.h"

#include <criterion/criterion.h>
#include <string.h>

#define MAC1    "02:00:00:00:00:01"
#define HOUR_MS 3600000u

static struct map m;
static uint32_t net;

static void setup(void)
{
    map_open(&m, 0);
    net = map_network(&m, "blue", NULL, NULL);
    cr_assert_eq(map_agent_up(&m, "a", "192.0.2.1", 1, 10)->err, 0);
}

static void teardown(void)
{
    map_close(&m);
}

TestSuite(session, .init = setup, .fini = teardown);

/* ---- nodes ---- */

static bool is_agent(uint8_t instance)
{
    struct ms_blob blob;
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    cr_assert_eq(ms_reader_agent(m.reader, "a", &blob), 0);
    bool answer = blob.size == 16 && blob.data[0] == instance;
    ms_reader_end(m.reader);
    return answer;
}

Test(session, a_node_has_the_agent_that_came_up_last)
{
    struct ms_blob blob;
    cr_assert(is_agent(1));
    cr_assert_eq(map_agent_up(&m, "a", "192.0.2.1", 2, 11)->err, 0);
    cr_assert(is_agent(2));
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    cr_assert_eq(ms_reader_agent(m.reader, "nobody", &blob), EM_E_NOT_FOUND);
    ms_reader_end(m.reader);
}

Test(session, an_agent_that_was_started_earlier_does_not_get_its_node_back)
{
    const struct ms_result *r = map_agent_up(&m, "a", "192.0.2.9", 2, 9);
    cr_assert_eq(r->err, EM_E_SUPERSEDED);
    cr_assert_not_null(strstr(r->message, "started later"));
    cr_assert(is_agent(1));
    cr_assert_eq(map_node(&m, "a")->rlocs[0]->address.data[3], 1, "nor are its RLOCs taken");
}

Test(session, the_same_agent_may_come_up_again)
{
    cr_assert_eq(map_agent_up(&m, "a", "192.0.2.1", 1, 10)->err, 0);
    REGISTER(&m, "a", "p", net, {MAC1}, .instance = 1, .seq = 5);
    map_withdraw(&m, "a", "", "p", 0);
    cr_assert_eq(map_agent_up(&m, "a", "192.0.2.1", 1, 10)->err, 0);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {MAC1}, .instance = 1, .seq = 5)->err, EM_E_MOVED,
                 "what it had applied is remembered");
}

Test(session, an_operator_makes_room_for_an_agent_whose_clock_went_back)
{
    Eidmap__Command command = map_command(&m, "");
    Eidmap__RemoveNode body = EIDMAP__REMOVE_NODE__INIT;
    body.node_id = (char *)"a";
    command.body_case = EIDMAP__COMMAND__BODY_REMOVE_NODE;
    command.remove_node = &body;
    cr_assert_eq(map_run(&m, &command)->err, 0);
    cr_assert_eq(map_agent_up(&m, "a", "192.0.2.1", 2, 1)->err, 0);
}

Test(session, a_replaced_agent_moves_no_port_back)
{
    REGISTER(&m, "a", "p", net, {MAC1}, .instance = 1, .seq = 5);
    map_node_up(&m, "b", "192.0.2.2");
    map_agent_up(&m, "a", "192.0.2.1", 2, 11);
    REGISTER(&m, "b", "p", net, {MAC1}, .attach = true);
    const struct ms_result *r =
        REGISTER(&m, "a", "p", net, {MAC1}, .instance = 1, .seq = 6, .attach = true);
    cr_assert_eq(r->err, EM_E_SUPERSEDED);
    cr_assert_eq(strncmp(map_where(&m, "p"), "b:", 2), 0);
}

/* Its announce ends with a sweep of what it does not have: that may be the new agent's. */
Test(session, a_replaced_agent_withdraws_nothing)
{
    map_agent_up(&m, "a", "192.0.2.1", 2, 11);
    REGISTER(&m, "a", "p", net, {MAC1}, .instance = 2, .seq = 1);
    Eidmap__Command command = map_command(&m, "a");
    Eidmap__Withdraw body = EIDMAP__WITHDRAW__INIT;
    Eidmap__PortRef ref = EIDMAP__PORT_REF__INIT, *refs[] = {&ref};
    ref.id = (ProtobufCBinaryData){1, (uint8_t *)"p"};
    body.ports = refs;
    body.n_ports = 1;
    command.body_case = EIDMAP__COMMAND__BODY_WITHDRAW;
    command.withdraw = &body;
    map_sign(&m, &command, 1, 0);
    cr_assert_eq(map_run(&m, &command)->err, EM_E_SUPERSEDED);
    cr_assert_not_null(map_port(&m, "p"));
}

Test(session, a_replaced_agent_is_not_told_that_nothing_changes)
{
    Eidmap__Command command = map_command(&m, "a");
    Eidmap__Register body = EIDMAP__REGISTER__INIT;
    struct reg reg = {"a", "p", net, {MAC1}};
    Eidmap__Claim *claims[] = {map_claim(&m, &reg)};
    struct ms_result result;
    body.claims = claims;
    body.n_claims = 1;
    REGISTER(&m, "a", "p", net, {MAC1}, .instance = 1);
    for (uint8_t instance = 1; instance <= 2; instance++) {
        map_sign(&m, &command, instance, 0);
        cr_assert_eq(ms_reader_begin(m.reader), 0);
        cr_assert_eq(ms_apply_is_noop(m.reader, command.origin, &body, &m.arena, &result),
                     instance == 1);
        ms_reader_end(m.reader);
    }
}

/* ---- operators ---- */

static const struct ms_result *put_network(const char *name, uint32_t id, uint32_t mtu,
                                           uint8_t instance, uint64_t seq, uint64_t time_ms)
{
    Eidmap__Command command = map_command(&m, "");
    Eidmap__PutNetwork body = EIDMAP__PUT_NETWORK__INIT;
    Eidmap__Network network = EIDMAP__NETWORK__INIT;
    network.name = (char *)name;
    network.id = id;
    network.mtu = mtu;
    body.network = &network;
    command.body_case = EIDMAP__COMMAND__BODY_PUT_NETWORK;
    command.put_network = &body;
    command.time_ms = time_ms;
    map_sign(&m, &command, instance, seq);
    return map_run(&m, &command);
}

static const struct ms_result *remove_network(const char *name, uint8_t instance, uint64_t seq)
{
    Eidmap__Command command = map_command(&m, "");
    Eidmap__RemoveNetwork body = EIDMAP__REMOVE_NETWORK__INIT;
    body.network_name = (char *)name;
    command.body_case = EIDMAP__COMMAND__BODY_REMOVE_NETWORK;
    command.remove_network = &body;
    map_sign(&m, &command, instance, seq);
    return map_run(&m, &command);
}

static const struct ms_result *put_node(const char *id, bool is_disabled, uint8_t instance,
                                        uint64_t seq)
{
    Eidmap__Command command = map_command(&m, "");
    Eidmap__PutNode body = EIDMAP__PUT_NODE__INIT;
    Eidmap__Node node = EIDMAP__NODE__INIT;
    node.id = (char *)id;
    node.disabled = is_disabled;
    body.node = &node;
    command.body_case = EIDMAP__COMMAND__BODY_PUT_NODE;
    command.put_node = &body;
    map_sign(&m, &command, instance, seq);
    return map_run(&m, &command);
}

static const struct ms_result *remove_node(const char *id, uint8_t instance, uint64_t seq)
{
    Eidmap__Command command = map_command(&m, "");
    Eidmap__RemoveNode body = EIDMAP__REMOVE_NODE__INIT;
    body.node_id = (char *)id;
    command.body_case = EIDMAP__COMMAND__BODY_REMOVE_NODE;
    command.remove_node = &body;
    map_sign(&m, &command, instance, seq);
    return map_run(&m, &command);
}

static bool trim(uint64_t time_ms, uint32_t max)
{
    Eidmap__Command command = map_command(&m, "");
    Eidmap__Trim body = EIDMAP__TRIM__INIT;
    body.max_entries = max;
    command.origin->role = EIDMAP__ROLE__ROLE_SERVER;
    command.body_case = EIDMAP__COMMAND__BODY_TRIM;
    command.trim = &body;
    command.time_ms = time_ms;
    const struct ms_result *r = map_run(&m, &command);
    cr_assert_eq(r->err, 0);
    return r->is_more;
}

Test(session, a_network_is_created_once)
{
    uint32_t id = put_network("red", 0, 0, 7, 3, 1000)->network->id;
    uint64_t revision = map_revision(&m);
    const struct ms_result *again = put_network("red", 0, 0, 7, 3, 1500);
    cr_assert_eq(again->err, 0, "%s", again->message);
    cr_assert_eq(again->network->id, id);
    cr_assert_str_eq(again->network->name, "red");
    cr_assert_eq(map_revision(&m), revision);
    cr_assert_eq(put_network("red", 0, 0, 7, 4, 1500)->err, EM_E_EXISTS, "a new request");
}

Test(session, a_late_repetition_does_not_undo_what_another_operator_did)
{
    put_network("blue", net, 1400, 7, 3, 1000);
    put_network("blue", net, 9000, 8, 3, 1000);
    const struct ms_result *again = put_network("blue", net, 1400, 7, 3, 1000);
    cr_assert_eq(again->err, 0);
    cr_assert_eq(again->network->mtu, 9000, "what holds now is the answer");
    cr_assert_eq(map_get_network(&m, net)->mtu, 9000);
}

Test(session, a_network_that_is_gone_since_is_not_made_again)
{
    put_network("red", 0, 0, 7, 3, 1000);
    cr_assert_eq(remove_network("red", 8, 3)->err, 0);
    cr_assert_eq(put_network("red", 0, 0, 7, 3, 1000)->err, EM_E_NOT_FOUND);
}

Test(session, a_repeated_removal_is_done_and_spares_what_came_after_it)
{
    cr_assert_eq(remove_network("blue", 7, 3)->err, 0);
    cr_assert_eq(remove_network("blue", 7, 3)->err, 0);
    uint32_t id = put_network("blue", 0, 0, 8, 3, 1000)->network->id;
    cr_assert_eq(remove_network("blue", 7, 3)->err, 0);
    cr_assert_not_null(map_get_network(&m, id));
    cr_assert_eq(remove_network("blue", 7, 4)->err, 0);
    cr_assert_null(map_get_network(&m, id));
}

Test(session, changes_of_nodes_are_made_once)
{
    cr_assert_eq(put_node("a", true, 7, 3)->err, 0);
    cr_assert_eq(put_node("a", false, 8, 3)->err, 0);
    const struct ms_result *again = put_node("a", true, 7, 3);
    cr_assert_eq(again->err, 0);
    cr_assert_not(again->node->disabled);
    cr_assert_eq(remove_node("a", 7, 4)->err, 0);
    cr_assert_eq(put_node("a", true, 7, 3)->err, EM_E_NOT_FOUND);
    cr_assert_eq(map_agent_up(&m, "a", "192.0.2.1", 1, 10)->err, 0);
    cr_assert_eq(remove_node("a", 7, 4)->err, 0);
    cr_assert_not_null(map_node(&m, "a"), "it came back after the removal");
}

Test(session, a_repeated_register_of_an_operator_shows_the_epochs_of_the_first)
{
    const struct reg port = {NULL, "p", net, {MAC1}, {"a"}, .instance = 7, .seq = 3};
    const struct reg none = {NULL, "q", net, .declared = true, .instance = 7, .seq = 4};
    uint64_t epoch = map_register(&m, &port, 1)->epochs[0];
    cr_assert_gt(epoch, 0);
    cr_assert_eq(map_register(&m, &port, 1)->epochs[0], epoch);
    cr_assert_eq(map_register(&m, &none, 1)->err, 0);
    const struct ms_result *again = map_register(&m, &none, 1);
    cr_assert_eq(again->err, 0);
    cr_assert_eq(again->epochs[0], 0);
    map_withdraw(&m, NULL, "", "q", 0);
    cr_assert_eq(map_register(&m, &none, 1)->err, EM_E_MOVED);
    cr_assert_null(map_port(&m, "q"));
}

Test(session, operators_of_one_name_do_not_share_their_numbers)
{
    cr_assert_eq(put_network("red", 0, 0, 7, 3, 1000)->err, 0);
    cr_assert_eq(put_network("green", 0, 0, 8, 3, 1000)->err, 0);
    cr_assert_str_eq(put_network("green", 0, 0, 8, 3, 1000)->network->name, "green");
}

Test(session, an_operator_is_forgotten_an_hour_after_its_last_write)
{
    put_network("red", 0, 0, 7, 3, 1000);
    trim(1000 + HOUR_MS, 0);
    cr_assert_eq(put_network("red", 0, 0, 7, 3, 1000)->err, 0, "not yet");
    trim(1001 + HOUR_MS, 0);
    cr_assert_eq(put_network("red", 0, 0, 7, 3, 1000)->err, EM_E_EXISTS);
}

Test(session, a_later_write_keeps_an_operator)
{
    put_network("red", 0, 0, 7, 3, 1000);
    put_network("green", 0, 0, 7, 4, 2000);
    trim(1500 + HOUR_MS, 0);
    cr_assert_eq(put_network("red", 0, 0, 7, 3, 1000)->err, 0);
    trim(2001 + HOUR_MS, 0);
    cr_assert_eq(put_network("red", 0, 0, 7, 3, 1000)->err, EM_E_EXISTS);
}

Test(session, operators_are_forgotten_in_portions_the_oldest_first)
{
    char name[] = "net-?";
    for (uint8_t i = 0; i < 5; i++) {
        name[4] = (char)('a' + i);
        put_network(name, 0, 0, (uint8_t)(20 + i), 3, 5000 - i);
    }
    cr_assert(trim(9000 + HOUR_MS, 2));
    cr_assert_eq(put_network("net-e", 0, 0, 24, 3, 1)->err, EM_E_EXISTS);
    cr_assert_eq(put_network("net-d", 0, 0, 23, 3, 1)->err, EM_E_EXISTS);
    cr_assert_eq(put_network("net-c", 0, 0, 22, 3, 1)->err, 0);
    cr_assert(trim(9000 + HOUR_MS, 2));
    cr_assert_not(trim(9000 + HOUR_MS, 2));
    cr_assert_eq(put_network("net-a", 0, 0, 20, 3, 1)->err, EM_E_EXISTS);
    cr_assert(is_agent(1), "a node's row stays");
}

Test(session, trimming_where_time_has_only_begun_forgets_nothing)
{
    put_network("red", 0, 0, 7, 3, 0);
    cr_assert_not(trim(HOUR_MS - 1, 0));
    cr_assert_eq(put_network("red", 0, 0, 7, 3, 0)->err, 0);
}
