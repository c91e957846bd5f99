#include "core/proposals.h"

#include "base/clock.h"
#include "base/mem.h"
#include "eidmap/error.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define REPLICA     77
#define INCARNATION 3
#define LATER_MS    10050 /* after these an unsent one is given up */

static struct ms_proposals *proposals;
static struct em_arena arena;
static char told[512]; /* "0:0 1:-1007 ", in order */

static void setup(void)
{
    told[0] = '\0';
    em_arena_init(&arena, 8u << 20);
    proposals = ms_proposals_new(REPLICA, INCARNATION, 200, 1u << 20);
}

static void teardown(void)
{
    ms_proposals_free(proposals);
    em_arena_fini(&arena);
}

TestSuite(proposals, .init = setup, .fini = teardown, .timeout = 20);

static void on_done(void *aux, const struct ms_result *result)
{
    size_t n = strlen(told);
    snprintf(told + n, sizeof(told) - n, "%d:%d ", (int)(intptr_t)aux, result->err);
    if (result->err)
        cr_assert_gt(strlen(result->message), 0);
}

/* A command that is told apart by its time. */
static int add(int number)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    command.schema = 1;
    command.time_ms = 1000 + (uint64_t)number;
    size_t size = eidmap__command__get_packed_size(&command);
    uint8_t *bytes = em_malloc(size);
    eidmap__command__pack(&command, bytes);
    return ms_proposals_add(proposals, bytes, size, on_done, (void *)(intptr_t)number);
}

/* The next to be sent; NULL: none. */
static const Eidmap__Command *next(uint64_t now_ms)
{
    struct ms_payload *payload = ms_proposals_next(proposals, now_ms, SIZE_MAX);
    if (!payload)
        return NULL;
    const Eidmap__Command *command =
        em_msg_unpack_as(&arena, &eidmap__command__descriptor, payload->data, payload->size);
    ms_payload_unref(payload);
    cr_assert_not_null(command);
    cr_assert_not_null(command->proposer);
    cr_assert_eq(command->proposer->replica, REPLICA);
    cr_assert_eq(command->proposer->incarnation, INCARNATION);
    return command;
}

static void assert_next(int number, uint64_t seq)
{
    const Eidmap__Command *command = next(em_now_ms());
    cr_assert_not_null(command);
    cr_assert_eq(command->time_ms, 1000 + (uint64_t)number);
    cr_assert_eq(command->proposer->seq, seq);
}

static struct ms_result result_of(uint64_t seq)
{
    return (struct ms_result){
        .message = "", .replica = REPLICA, .incarnation = INCARNATION, .seq = seq};
}

static void settle(uint64_t seq)
{
    struct ms_result result = result_of(seq);
    ms_proposals_settle(proposals, &result);
}

Test(proposals, are_numbered_sent_and_told_in_order)
{
    for (int i = 0; i < 150; i++)
        cr_assert_eq(add(i), 0);
    for (int i = 0; i < 150; i++)
        assert_next(i, (uint64_t)i + 1);
    cr_assert_null(next(em_now_ms()));
    settle(1);
    settle(2);
    cr_assert_str_eq(told, "0:0 1:0 ");
    cr_assert_eq(ms_proposals_len(proposals), 148);
}

Test(proposals, one_that_is_too_large_for_the_message_waits_for_the_next)
{
    add(0);
    struct ms_payload *payload = ms_proposals_next(proposals, em_now_ms(), SIZE_MAX);
    size_t size = payload->size;
    ms_payload_unref(payload);
    add(1);
    cr_assert_null(ms_proposals_next(proposals, em_now_ms(), size - 1));
    payload = ms_proposals_next(proposals, em_now_ms(), size);
    cr_assert_not_null(payload);
    ms_payload_unref(payload);
}

Test(proposals, only_the_oldest_is_settled_and_once)
{
    add(0);
    add(1);
    settle(2);
    cr_assert_str_eq(told, "", "what came before it is not in the map");
    settle(1);
    settle(1);
    cr_assert_str_eq(told, "0:0 ");
    settle(2);
    settle(3);
    cr_assert_str_eq(told, "0:0 1:0 ");
}

Test(proposals, results_of_others_are_not_ours)
{
    struct ms_result result = result_of(1);
    add(0);
    result.replica = 1;
    ms_proposals_settle(proposals, &result);
    result = result_of(1);
    result.incarnation = INCARNATION - 1;
    ms_proposals_settle(proposals, &result);
    result = result_of(1);
    result.is_repeated = true;
    ms_proposals_settle(proposals, &result);
    cr_assert_str_eq(told, "");
}

Test(proposals, rewind_sends_what_is_open_again_in_order)
{
    for (int i = 0; i < 4; i++)
        add(i);
    for (int i = 0; i < 3; i++)
        next(em_now_ms());
    settle(1);
    ms_proposals_rewind(proposals);
    for (int i = 1; i < 4; i++)
        assert_next(i, (uint64_t)i + 1);
    cr_assert_null(next(em_now_ms()));
}

Test(proposals, what_is_applied_before_it_was_sent_again_is_not_sent)
{
    add(0);
    add(1);
    next(em_now_ms());
    ms_proposals_rewind(proposals);
    settle(1);
    assert_next(1, 2);
}

Test(proposals, order_stands_while_the_ring_turns_and_grows)
{
    uint64_t settled = 0;
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(add(i), 0);
        assert_next(i, (uint64_t)i + 1);
        if (i % 3)
            settle(++settled);
        if (i - (int)settled > 150)
            while ((int)settled < i)
                settle(++settled);
        told[0] = '\0';
    }
    ms_proposals_rewind(proposals);
    assert_next((int)settled, settled + 1);
}

Test(proposals, command_that_found_no_leader_gives_its_place_to_an_empty_one)
{
    add(0);
    const Eidmap__Command *command = next(em_now_ms() + LATER_MS);
    cr_assert_eq(command->body_case, EIDMAP__COMMAND__BODY__NOT_SET);
    cr_assert_eq(command->time_ms, 0);
    cr_assert_eq(command->proposer->seq, 1);
    cr_assert_str_eq(told, "", "it may have been logged before");
    struct ms_result result = result_of(1);
    result.is_given_up = true;
    ms_proposals_settle(proposals, &result);
    char expected[32];
    snprintf(expected, sizeof(expected), "0:%d ", EM_E_BUSY);
    cr_assert_str_eq(told, expected);
}

Test(proposals, command_that_was_logged_before_it_was_given_up_is_told_as_done)
{
    add(0);
    next(em_now_ms());
    ms_proposals_rewind(proposals);
    next(em_now_ms() + LATER_MS);
    settle(1);
    cr_assert_str_eq(told, "0:0 ");
}

Test(proposals, skip_tells_what_the_received_map_holds)
{
    char expected[64];
    for (int i = 0; i < 4; i++)
        add(i);
    ms_proposals_skip(proposals, INCARNATION - 1, 3);
    cr_assert_str_eq(told, "", "numbers of an earlier start");
    ms_proposals_skip(proposals, INCARNATION, 2);
    snprintf(expected, sizeof(expected), "0:%d 1:%d ", EM_E_BUSY, EM_E_BUSY);
    cr_assert_str_eq(told, expected);
    assert_next(2, 3);
    ms_proposals_skip(proposals, INCARNATION, 2);
    ms_proposals_skip(proposals, INCARNATION, 100);
    cr_assert_eq(ms_proposals_len(proposals), 0);
    cr_assert_eq(add(9), 0);
    assert_next(9, 5);
}

Test(proposals, too_many_are_busy)
{
    for (int i = 0; i < 200; i++)
        cr_assert_eq(add(i), 0);
    cr_assert_eq(add(200), EM_E_BUSY);
    settle(1);
    cr_assert_eq(add(200), 0);
}

static int add_large(size_t size)
{
    return ms_proposals_add(proposals, em_calloc(1, size), size, on_done, NULL);
}

Test(proposals, too_many_bytes_are_busy_but_one_always_goes)
{
    ms_proposals_free(proposals);
    proposals = ms_proposals_new(REPLICA, INCARNATION, 200, 1000);
    cr_assert_eq(add_large(100000), 0);
    cr_assert_eq(add_large(10), EM_E_BUSY);
    settle(1);
    cr_assert_eq(add_large(500), 0);
    cr_assert_eq(add_large(400), 0);
    cr_assert_eq(add_large(400), EM_E_BUSY);
}

Test(proposals, what_fits_in_no_frame_is_refused)
{
    cr_assert_eq(add_large(EM_FRAME_MAX), EM_E_LIMIT);
    cr_assert_eq(add_large(EM_FRAME_MAX - 4096), 0);
}

Test(proposals, only_what_was_sent_can_be_stuck)
{
    uint64_t now = em_now_ms();
    cr_assert_not(ms_proposals_is_stuck(proposals, now + 1));
    add(0);
    cr_assert_not(ms_proposals_is_stuck(proposals, now + 100000));
    next(now);
    cr_assert_not(ms_proposals_is_stuck(proposals, now));
    cr_assert(ms_proposals_is_stuck(proposals, now + 1));
    ms_proposals_rewind(proposals);
    cr_assert_not(ms_proposals_is_stuck(proposals, now + 1));
}

Test(proposals, end_tells_all_that_are_open)
{
    char expected[64];
    add(0);
    next(em_now_ms());
    add(1);
    ms_proposals_free(proposals);
    proposals = NULL;
    snprintf(expected, sizeof(expected), "0:%d 1:%d ", EM_E_CLOSED, EM_E_CLOSED);
    cr_assert_str_eq(told, expected);
}
