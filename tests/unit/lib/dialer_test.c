#include "client/dialer.h"

#include <criterion/criterion.h>

#define YEAR_MS (365ull * 24 * 3600 * 1000)

static struct em_dialer start(size_t n_servers, uint64_t random)
{
    struct em_dialer dialer;
    em_dialer_init(&dialer, &em_dialer_default_times, n_servers, 1000, random);
    return dialer;
}

static void fail(struct em_dialer *dialer, uint64_t random)
{
    em_dialer_dial(dialer);
    em_dialer_closed(dialer, dialer->due_ms, random);
}

static void stand(struct em_dialer *dialer, uint64_t for_ms)
{
    uint64_t now = dialer->due_ms;
    em_dialer_dial(dialer);
    em_dialer_opened(dialer);
    em_dialer_welcomed(dialer, now);
    em_dialer_closed(dialer, now + for_ms, UINT64_MAX);
}

/* The pause that the largest random number gives, which is its cap. */
static uint64_t longest_pause(struct em_dialer dialer)
{
    uint64_t longest = 0;
    for (uint64_t random = 0; random < 40000; random++) {
        struct em_dialer copy = dialer;
        uint64_t now = copy.due_ms;
        fail(&copy, random);
        longest = copy.due_ms - now > longest ? copy.due_ms - now : longest;
    }
    return longest;
}

Test(dialer, first_attempt_is_due_at_once)
{
    struct em_dialer dialer = start(3, 0);
    cr_assert_eq(dialer.state, EM_DIALER_WAITING);
    cr_assert_eq(dialer.due_ms, 1000);
}

Test(dialer, begins_at_a_random_server_and_goes_on_in_order)
{
    struct em_dialer dialer = start(3, 5);
    cr_assert_eq(dialer.server, 2);
    fail(&dialer, 0);
    cr_assert_eq(dialer.server, 0);
    fail(&dialer, 0);
    cr_assert_eq(dialer.server, 1);
}

Test(dialer, next_server_is_tried_at_once_until_all_have_failed)
{
    struct em_dialer dialer = start(3, 0);
    fail(&dialer, 150);
    cr_assert_eq(dialer.due_ms, 1000);
    fail(&dialer, 150);
    cr_assert_eq(dialer.due_ms, 1000);
    fail(&dialer, 150);
    cr_assert_eq(dialer.due_ms, 1150);
}

Test(dialer, pauses_grow_by_half_up_to_thirty_seconds)
{
    static const uint64_t caps[] = {200,  300,  450,   675,   1012,  1518,  2277, 3415,
                                    5122, 7683, 11524, 17286, 25929, 30000, 30000};
    struct em_dialer dialer = start(1, 0);
    for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
        cr_assert_eq(longest_pause(dialer), caps[i]);
        fail(&dialer, 0);
    }
}

Test(dialer, jitter_is_full)
{
    struct em_dialer dialer = start(1, 0);
    fail(&dialer, 0);
    cr_assert_eq(dialer.due_ms, 1000, "a pause may be none at all");
}

Test(dialer, stable_session_makes_up_for_failures)
{
    struct em_dialer dialer = start(1, 0);
    for (int i = 0; i < 5; i++)
        fail(&dialer, 0);
    stand(&dialer, 10000);
    cr_assert_eq(dialer.n_rounds, 1, "its own end counts again");
    cr_assert_eq(longest_pause(dialer), 300);
}

Test(dialer, short_session_does_not)
{
    struct em_dialer dialer = start(1, 0);
    for (int i = 0; i < 5; i++)
        fail(&dialer, 0);
    stand(&dialer, 9999);
    cr_assert_eq(dialer.n_rounds, 6);
}

Test(dialer, refusal_waits_thirty_seconds_and_tries_another)
{
    struct em_dialer dialer = start(2, 0);
    em_dialer_dial(&dialer);
    em_dialer_opened(&dialer);
    em_dialer_refused(&dialer, 2000);
    cr_assert_eq(dialer.due_ms, 32000);
    cr_assert_eq(dialer.server, 1);
}

/* ---- the connection beside ---- */

Test(dialer, adopted_connection_needs_no_dialing)
{
    struct em_dialer dialer = start(3, 0);
    em_dialer_adopt(&dialer, 2);
    cr_assert_eq(dialer.state, EM_DIALER_GREETING);
    em_dialer_welcomed(&dialer, 5000);
    cr_assert_eq(dialer.state, EM_DIALER_UP);
    em_dialer_closed(&dialer, 5001, 0);
    cr_assert_eq(dialer.server, 0, "it goes on from there");
}

Test(dialer, adopting_does_not_wait_for_a_pause_to_end)
{
    struct em_dialer dialer = start(1, 0);
    fail(&dialer, 150);
    cr_assert_eq(dialer.due_ms, 1150);
    em_dialer_adopt(&dialer, 0);
    cr_assert_eq(dialer.state, EM_DIALER_GREETING);
}

Test(dialer, beside_a_session_its_server_is_left_out)
{
    struct em_dialer dialer = start(3, 1);
    em_dialer_beside(&dialer, 1, 1000, 0);
    static const size_t order[] = {2, 0, 2, 0};
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(dialer.server, order[i]);
        fail(&dialer, 0);
    }
    em_dialer_beside(&dialer, 2, 1000, 0);
    cr_assert_neq(dialer.server, 2);
}

Test(dialer, beside_a_session_each_other_server_has_one_attempt_before_a_pause)
{
    struct em_dialer dialer = start(2, 0);
    em_dialer_beside(&dialer, 0, 1000, 0);
    uint64_t due = dialer.due_ms;
    fail(&dialer, 150);
    cr_assert_eq(dialer.due_ms, due + 150);
    cr_assert_eq(longest_pause(dialer), 300);
}

Test(dialer, beside_a_session_the_first_attempt_is_spread)
{
    uint64_t latest = 0;
    for (uint64_t random = 0; random < 4000; random++) {
        struct em_dialer dialer = start(2, 0);
        em_dialer_beside(&dialer, 0, 5000, random);
        latest = dialer.due_ms > latest ? dialer.due_ms : latest;
        cr_assert_geq(dialer.due_ms, 5000);
    }
    cr_assert_eq(latest, 7000);
}

/* Else sessions that come and go would make it dial a dead server without a pause. */
Test(dialer, a_new_session_does_not_end_a_pause)
{
    struct em_dialer dialer = start(2, 0);
    em_dialer_beside(&dialer, 0, 1000, 0);
    em_dialer_dial(&dialer);
    em_dialer_opened(&dialer);
    em_dialer_refused(&dialer, 2000);
    em_dialer_beside(&dialer, 0, 3000, 0);
    cr_assert_eq(dialer.due_ms, 32000);
}

Test(dialer, leaving_is_no_failure)
{
    struct em_dialer dialer = start(1, 0);
    for (int i = 0; i < 3; i++) {
        em_dialer_dial(&dialer);
        em_dialer_left(&dialer, 2000);
        cr_assert_eq(dialer.due_ms, 2000);
    }
    cr_assert_eq(dialer.n_rounds, 0);
}

Test(dialer, a_year_without_servers_costs_two_attempts_a_minute_at_least)
{
    struct em_dialer dialer = start(3, 0);
    uint64_t n = 0, random = 1;
    while (dialer.due_ms < YEAR_MS) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        fail(&dialer, random >> 16);
        n++;
    }
    /* A pause lasts 15 s on average and comes once for three attempts. */
    cr_assert_gt(n, YEAR_MS / 30000 * 3);
    cr_assert_lt(n, YEAR_MS / 15000 * 3 * 102 / 100);
}
