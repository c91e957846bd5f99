/* Each command of a map server once, whatever it sends again. */
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

TestSuite(proposer, .init = setup, .fini = teardown, .timeout = 60);

/* Puts network "n<seq>-<what>"; true if that was done now. */
static bool run(uint64_t replica, uint64_t incarnation, uint64_t seq, const char *what)
{
    char name[64];
    Eidmap__Command command = map_command(&m, "");
    Eidmap__Proposer proposer = EIDMAP__PROPOSER__INIT;
    Eidmap__PutNetwork body = EIDMAP__PUT_NETWORK__INIT;
    Eidmap__Network network = EIDMAP__NETWORK__INIT;
    snprintf(name, sizeof(name), "n%d-%s", (int)seq, what);
    proposer.replica = replica;
    proposer.incarnation = incarnation;
    proposer.seq = seq;
    command.proposer = &proposer;
    network.name = name;
    body.network = &network;
    command.body_case = EIDMAP__COMMAND__BODY_PUT_NETWORK;
    command.put_network = &body;
    uint64_t before = map_revision(&m);
    const struct ms_result *result = map_run(&m, &command);
    cr_assert_eq(result->replica, replica);
    cr_assert_eq(result->incarnation, incarnation);
    cr_assert_eq(result->seq, seq);
    cr_assert_eq(map_revision(&m) > before, !result->is_repeated);
    return !result->is_repeated;
}

Test(proposer, the_next_number_is_applied_and_a_repeated_one_is_not)
{
    cr_assert(run(1, 1, 1, "a"));
    cr_assert(run(1, 1, 2, "a"));
    cr_assert_not(run(1, 1, 1, "again"));
    cr_assert_not(run(1, 1, 2, "again"));
    cr_assert(run(1, 1, 3, "a"));
}

/* What lies between was lost with a leader, and comes again in front of it. */
Test(proposer, a_number_behind_a_gap_waits_for_its_turn)
{
    cr_assert(run(1, 1, 1, "a"));
    cr_assert_not(run(1, 1, 3, "early"));
    cr_assert(run(1, 1, 2, "a"));
    cr_assert(run(1, 1, 3, "a"));
}

Test(proposer, a_later_incarnation_begins_at_one)
{
    cr_assert(run(1, 1, 1, "a"));
    cr_assert_not(run(1, 2, 2, "not the first"));
    cr_assert(run(1, 5, 1, "b"));
    cr_assert(run(1, 5, 2, "b"));
}

Test(proposer, nothing_of_an_earlier_incarnation_comes_through)
{
    cr_assert(run(1, 1, 1, "a"));
    cr_assert(run(1, 2, 1, "b"));
    cr_assert_not(run(1, 1, 2, "late"));
    cr_assert_not(run(1, 1, 1, "late"));
    cr_assert(run(1, 2, 2, "b"));
}

Test(proposer, servers_count_apart)
{
    cr_assert(run(1, 1, 1, "a"));
    cr_assert(run(2, 7, 1, "b"));
    cr_assert(run(1, 1, 2, "a"));
    cr_assert(run(2, 7, 2, "b"));
}

static void assert_last(uint64_t replica, uint64_t incarnation, uint64_t seq)
{
    uint64_t found[2];
    cr_assert_eq(ms_apply_proposer(m.store, replica, &found[0], &found[1]), 0);
    cr_assert_eq(found[0], incarnation);
    cr_assert_eq(found[1], seq);
}

Test(proposer, how_far_it_has_come_stands_in_the_map)
{
    assert_last(1, 0, 0);
    run(1, 4, 1, "a");
    run(1, 4, 2, "a");
    map_reopen(&m);
    assert_last(1, 4, 2);
    assert_last(2, 0, 0);
    cr_assert_not(run(1, 4, 2, "again"));
}

Test(proposer, a_refused_command_has_taken_its_number)
{
    cr_assert(run(1, 1, 1, "a"));
    Eidmap__Command command = map_command(&m, "");
    Eidmap__Proposer proposer = EIDMAP__PROPOSER__INIT;
    Eidmap__RemoveNetwork body = EIDMAP__REMOVE_NETWORK__INIT;
    proposer.replica = proposer.incarnation = 1;
    proposer.seq = 2;
    body.network_name = (char *)"nowhere";
    command.proposer = &proposer;
    command.body_case = EIDMAP__COMMAND__BODY_REMOVE_NETWORK;
    command.remove_network = &body;
    cr_assert_neq(map_run(&m, &command)->err, 0);
    assert_last(1, 1, 2);
    cr_assert(run(1, 1, 3, "a"));
}

Test(proposer, a_command_that_was_given_up_takes_a_number_and_does_nothing)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    Eidmap__Proposer proposer = EIDMAP__PROPOSER__INIT;
    proposer.replica = proposer.incarnation = proposer.seq = 1;
    command.proposer = &proposer;
    uint64_t before = map_revision(&m);
    const struct ms_result *result = map_run(&m, &command);
    cr_assert(result->is_given_up && !result->is_repeated);
    cr_assert_eq(map_revision(&m), before);
    cr_assert_not(run(1, 1, 1, "the command itself, late"));
    cr_assert(map_run(&m, &command)->is_repeated);
}
