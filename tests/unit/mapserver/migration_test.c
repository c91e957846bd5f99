/* A live migration in the map: prepared, activated, cancelled, over in time. */
#include "mapserver/map.h"

#include "state/claim.h"
#include "state/record.h"

#include <criterion/criterion.h>
#include <string.h>

#define MAC1       "02:00:00:00:00:01"
#define STEP(step) EIDMAP__MIGRATION_STEP__MIGRATION_##step
#define NOW_MS     1000 /* of map_command() */

static struct map m;
static uint32_t net;

static void setup(void)
{
    map_open(&m, 0);
    net = map_network(&m, "blue", "10.0.0.0/24", NULL);
    map_node_up(&m, "a", "192.0.2.1");
    map_node_up(&m, "b", "192.0.2.2");
    map_node_up(&m, "c", "192.0.2.3");
    cr_assert_eq(REGISTER(&m, "a", "p", net, {MAC1, "10.0.0.1"}, .priority = 3, .weight = 9)->err,
                 0);
}

static void teardown(void)
{
    map_close(&m);
}

TestSuite(migration, .init = setup, .fini = teardown);

static int step(Eidmap__MigrationStep what, const char *node)
{
    return REGISTER(&m, NULL, "p", net, {0}, .at = {node}, .migration = what)->err;
}

static const Eidmap__Location *location(const char *node)
{
    return ms_port_location(map_port(&m, "p"), node);
}

/* "node node(pending)". */
static const char *places(void)
{
    static char text[128];
    const Eidmap__Port *port = map_port(&m, "p");
    text[0] = 0;
    for (size_t i = 0; port && i < port->n_locations; i++) {
        strcat(text, i ? " " : "");
        strcat(text, port->locations[i]->node_id);
        if (port->locations[i]->state == EIDMAP__LOCATION_STATE__LOCATION_PENDING)
            strcat(text, "(pending)");
    }
    return text;
}

/* The ports that the leader's clock looks at. */
static int count_id(void *aux, const uint8_t *id, size_t size)
{
    ++*(unsigned *)aux;
    return 0;
}

static unsigned n_watched(void)
{
    unsigned n = 0;
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    cr_assert_eq(ms_reader_node_ports(m.reader, MS_MIGRATING, count_id, &n), 0);
    ms_reader_end(m.reader);
    return n;
}

/* As the leader does when the time is over. */
static const struct ms_result *end_by_server(const char *node, uint64_t epoch)
{
    Eidmap__Command command = map_command(&m, "");
    Eidmap__Withdraw body = EIDMAP__WITHDRAW__INIT;
    Eidmap__PortRef ref = EIDMAP__PORT_REF__INIT, *refs[] = {&ref};
    command.origin->role = EIDMAP__ROLE__ROLE_SERVER;
    ref.id = (ProtobufCBinaryData){1, (uint8_t *)"p"};
    ref.epoch = epoch;
    body.ports = refs;
    body.n_ports = 1;
    body.node_id = (char *)node;
    command.body_case = EIDMAP__COMMAND__BODY_WITHDRAW;
    command.withdraw = &body;
    return map_run(&m, &command);
}

Test(migration, prepare_adds_a_pending_location_that_is_like_the_active_one)
{
    uint64_t epoch = location("a")->epoch;
    cr_assert_eq(step(STEP(PREPARE), "b"), 0);
    cr_assert_str_eq(places(), "a b(pending)");
    const Eidmap__Location *b = location("b");
    cr_assert_eq(b->epoch, map_revision(&m));
    cr_assert_eq(b->priority, 3);
    cr_assert_eq(b->weight, 9);
    cr_assert_eq(b->segmentation_id, location("a")->segmentation_id);
    cr_assert_eq(b->until_ms, NOW_MS + MS_PENDING_MS);
    cr_assert_eq(location("a")->epoch, epoch, "where it is, nothing has changed");
    cr_assert_eq(map_port(&m, "p")->n_eids, 2);
    cr_assert_eq(n_watched(), 1);
}

Test(migration, the_time_is_the_operators_to_choose_within_a_day)
{
    struct reg reg = {NULL, "p", net, {0}, .at = {"b"}, .migration = STEP(PREPARE)};
    reg.pending_ms = MS_PENDING_MAX_MS + 1;
    cr_assert_eq(map_register(&m, &reg, 1)->err, EM_E_MALFORMED);
    cr_assert_str_eq(m.batch.results[0].field, "claims[0].pending_ms");
    reg.pending_ms = 5000;
    cr_assert_eq(map_register(&m, &reg, 1)->err, 0);
    uint64_t epoch = location("b")->epoch;
    cr_assert_eq(location("b")->until_ms, NOW_MS + 5000);
    reg.pending_ms = 7000;
    cr_assert_eq(map_register(&m, &reg, 1)->err, 0, "prepared again: more time");
    cr_assert_eq(location("b")->until_ms, NOW_MS + 7000);
    cr_assert_eq(location("b")->epoch, epoch);
}

Test(migration, what_cannot_be_prepared_says_why)
{
    cr_assert_eq(step(STEP(PREPARE), "nowhere"), EM_E_NOT_FOUND, "no such node");
    cr_assert_eq(step(STEP(PREPARE), "a"), EM_E_EXISTS, "it is there");
    cr_assert_eq(step(STEP(PREPARE), NULL), EM_E_MALFORMED, "no node is named");
    cr_assert_eq(step(STEP(PREPARE), "b"), 0);
    cr_assert_eq(step(STEP(PREPARE), "c"), EM_E_IN_USE, "one at a time");
    cr_assert_eq(REGISTER(&m, NULL, "q", net, {0}, .at = {"b"}, .migration = STEP(PREPARE))->err,
                 EM_E_NOT_FOUND, "no such port");
    REGISTER(&m, NULL, "q", net, {0}, .declared = true);
    cr_assert_eq(REGISTER(&m, NULL, "q", net, {0}, .at = {"b"}, .migration = STEP(PREPARE))->err,
                 EM_E_NOT_FOUND, "it is nowhere");
    REGISTER(&m, NULL, "r", net, {0}, .at = {"a"}, .allowed = {"a", "c"});
    cr_assert_eq(REGISTER(&m, NULL, "r", net, {0}, .at = {"b"}, .migration = STEP(PREPARE))->err,
                 EM_E_DENIED, "b may not have it");
    REGISTER(&m, "a", "s", net, {0}, .multihomed = true);
    cr_assert_eq(REGISTER(&m, NULL, "s", net, {0}, .at = {"b"}, .migration = STEP(PREPARE))->err,
                 EM_E_DENIED, "multihomed");
    cr_assert_eq(REGISTER(&m, "b", "p", net, {0}, .migration = STEP(PREPARE))->err, EM_E_DENIED,
                 "a node");
    cr_assert_eq(step(99, "b"), EM_E_MALFORMED, "a step of a newer program");
}

Test(migration, an_attach_at_the_target_ends_it_there)
{
    step(STEP(PREPARE), "b");
    cr_assert_eq(REGISTER(&m, "b", "p", net, {MAC1, "10.0.0.1"})->err, EM_E_MOVED,
                 "pending is not here");
    cr_assert_eq(REGISTER(&m, "b", "p", net, {MAC1, "10.0.0.1"}, .attach = true)->err, 0);
    cr_assert_str_eq(places(), "b");
    cr_assert_eq(location("b")->until_ms, 0);
    cr_assert_eq(location("b")->epoch, map_revision(&m));
    cr_assert_eq(n_watched(), 0);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {MAC1, "10.0.0.1"})->err, EM_E_MOVED);
}

Test(migration, an_attach_elsewhere_or_where_it_was_ends_it_too)
{
    step(STEP(PREPARE), "b");
    REGISTER(&m, "c", "p", net, {MAC1, "10.0.0.1"}, .attach = true);
    cr_assert_str_eq(places(), "c");
    step(STEP(PREPARE), "b");
    REGISTER(&m, "c", "p", net, {MAC1, "10.0.0.1"}, .attach = true);
    cr_assert_str_eq(places(), "c");
    cr_assert_eq(n_watched(), 0);
}

Test(migration, a_registration_again_where_it_is_leaves_it)
{
    step(STEP(PREPARE), "b");
    uint64_t before = map_revision(&m);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {MAC1, "10.0.0.1"}, .priority = 3, .weight = 9)->err,
                 0);
    cr_assert_eq(map_revision(&m), before);
    cr_assert_str_eq(places(), "a b(pending)");
}

Test(migration, activate_makes_the_pending_location_the_only_one)
{
    cr_assert_eq(step(STEP(ACTIVATE), NULL), EM_E_NOT_FOUND, "nothing is prepared");
    step(STEP(PREPARE), "b");
    uint64_t before = map_revision(&m);
    cr_assert_eq(step(STEP(ACTIVATE), "c"), EM_E_NOT_FOUND, "not there");
    cr_assert_eq(step(STEP(ACTIVATE), NULL), 0);
    cr_assert_str_eq(places(), "b");
    cr_assert_eq(map_revision(&m), before + 1, "one change in the feed");
    cr_assert_eq(location("b")->epoch, before + 1);
    cr_assert_eq(location("b")->until_ms, 0);
    cr_assert_eq(location("b")->weight, 9);
    cr_assert_eq(n_watched(), 0);
}

Test(migration, cancel_takes_the_pending_location_and_no_other)
{
    uint64_t before = map_revision(&m);
    cr_assert_eq(step(STEP(CANCEL), NULL), 0, "nothing to do");
    cr_assert_eq(map_revision(&m), before);
    step(STEP(PREPARE), "b");
    cr_assert_eq(step(STEP(CANCEL), NULL), 0);
    cr_assert_str_eq(places(), "a");
    cr_assert_eq(n_watched(), 0);
    cr_assert_eq(step(STEP(PREPARE), "c"), 0, "free for another");
}

Test(migration, a_source_that_goes_leaves_the_target)
{
    step(STEP(PREPARE), "b");
    map_withdraw(&m, "a", "", "p", 0);
    cr_assert_str_eq(places(), "b(pending)");
    cr_assert_eq(step(STEP(CANCEL), NULL), EM_E_DENIED, "nothing would be left");
    cr_assert_eq(step(STEP(ACTIVATE), NULL), 0);
    cr_assert_str_eq(places(), "b");
}

Test(migration, the_leader_ends_one_by_its_epoch_only)
{
    step(STEP(PREPARE), "b");
    uint64_t epoch = location("b")->epoch;
    cr_assert_eq(end_by_server("b", 0)->err, EM_E_DENIED);
    cr_assert_eq(end_by_server("", epoch)->err, EM_E_DENIED);
    step(STEP(ACTIVATE), NULL);
    cr_assert_eq(end_by_server("b", epoch)->err, 0);
    cr_assert_not(m.batch.results[0].is_changed);
    cr_assert_str_eq(places(), "b", "it was activated before");
    step(STEP(PREPARE), "a");
    cr_assert_eq(end_by_server("a", location("a")->epoch)->err, 0);
    cr_assert_str_eq(places(), "b");
}

Test(migration, an_older_server_does_not_take_it_for_a_claim)
{
    struct reg reg = {NULL, "p", net, {0}, .at = {"b"}};
    Eidmap__Command command = map_command(&m, "");
    Eidmap__Register body = EIDMAP__REGISTER__INIT;
    Eidmap__Claim *claim = map_claim(&m, &reg);
    body.claims = &claim;
    body.n_claims = 1;
    command.body_case = EIDMAP__COMMAND__BODY_REGISTER;
    command.register_ = &body;
    cr_assert_eq(ms_apply_schema(&command), 1);
    claim->migration = STEP(CANCEL);
    cr_assert_eq(ms_apply_schema(&command), MS_SCHEMA_PLACES);
    claim->migration = 0;
    claim->port->locations[0]->state = EIDMAP__LOCATION_STATE__LOCATION_PENDING;
    cr_assert_eq(ms_apply_schema(&command), MS_SCHEMA_PLACES);
    claim->port->locations[0]->state = EIDMAP__LOCATION_STATE__LOCATION_ACTIVE;
    claim->port->locations[0]->node_id = (char *)"";
    cr_assert_eq(ms_apply_schema(&command), MS_SCHEMA_PLACES, "any-local");
    command.origin->role = EIDMAP__ROLE__ROLE_NODE;
    cr_assert_eq(ms_apply_schema(&command), 1, "a node means itself");
}
