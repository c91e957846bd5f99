/* The machine of a probe, in virtual time. */
#include "probe.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define MS       1000ull
#define INTERVAL 300 /* ms */

static struct xtr_probe probe;
static uint64_t now_us, nonce;
static uint16_t jitter;

static void setup(void)
{
    now_us = 1000000000;
    nonce = 0;
    jitter = UINT16_MAX; /* as late as may be */
    xtr_probe_start(&probe, INTERVAL, now_us, 0);
}

TestSuite(probe, .init = setup);

/* Lets time pass to what the machine waits for; true if a probe, 'nonce', went out. */
static bool step(void)
{
    uint64_t next = xtr_probe_next_us(&probe);
    cr_assert(next != UINT64_MAX, "a machine that waits for nothing");
    now_us = next > now_us ? next : now_us;
    if (!xtr_probe_run(&probe, now_us, nonce + 1, jitter))
        return false;
    nonce++;
    return true;
}

static void send_one(void)
{
    while (!step())
        continue;
}

static bool answer(void)
{
    now_us += 1 * MS;
    return xtr_probe_answered(&probe, nonce, now_us);
}

static bool refuse(void)
{
    now_us += 1 * MS;
    return xtr_probe_refused(&probe, nonce, now_us);
}

static void is(enum xtr_probe_state state)
{
    cr_assert(eq(str, (char *)xtr_probe_name(probe.state), (char *)xtr_probe_name(state)));
}

static void bring_up(void)
{
    send_one();
    cr_assert(answer());
    is(XTR_PROBE_UP);
}

static void let_go_silent(void)
{
    while (probe.state != XTR_PROBE_SILENT)
        (void)step();
}

Test(probe, one_that_never_answered_is_no_verdict_however_long)
{
    for (int i = 0; i < 1000; i++)
        send_one();
    is(XTR_PROBE_UNKNOWN);
}

Test(probe, the_first_answer_brings_it_up_and_tells_the_way)
{
    bring_up();
    cr_assert(eq(u32, probe.rtt_us, 1000));
    cr_assert(eq(u64, probe.since_us, now_us));
}

Test(probe, three_intervals_after_the_last_answer_it_is_silent)
{
    for (int i = 0; i <= 10; i++) {
        setup();
        jitter = (uint16_t)(UINT16_MAX / 10 * i);
        bring_up();
        uint64_t heard_us = now_us;
        let_go_silent();
        cr_assert(eq(u64, now_us - heard_us, 3 * INTERVAL * MS));
        cr_assert(ge(u64, nonce, 4), "three probes were missed, not fewer");
    }
}

Test(probe, two_lost_packets_are_nothing)
{
    bring_up();
    for (int i = 0; i < 100; i++) {
        send_one();
        send_one();
        send_one();
        cr_assert(answer());
        is(XTR_PROBE_UP);
    }
}

Test(probe, the_answer_to_an_earlier_probe_counts_once)
{
    bring_up();
    send_one();
    uint64_t first = nonce;
    send_one();
    cr_assert(xtr_probe_answered(&probe, first, now_us));
    cr_assert(not(xtr_probe_answered(&probe, first, now_us)));
    cr_assert(eq(u32, probe.n_unanswered, 0));
}

Test(probe, a_nonce_that_was_not_sent_is_nothing)
{
    send_one();
    cr_assert(not(xtr_probe_answered(&probe, nonce + 1, now_us)));
    cr_assert(not(xtr_probe_answered(&probe, 0, now_us)), "nor is one of an empty place");
    cr_assert(not(xtr_probe_refused(&probe, nonce + 1, now_us)));
    is(XTR_PROBE_UNKNOWN);
}

Test(probe, a_pause_of_our_own_is_nobody_elses_silence)
{
    bring_up();
    now_us += 60 * 1000 * MS;
    send_one();
    is(XTR_PROBE_UP);
    send_one();
    is(XTR_PROBE_UP);
    send_one();
    is(XTR_PROBE_UP);
    cr_assert(gt(u64, xtr_probe_next_us(&probe), now_us), "the third has time for its answer");
    cr_assert(answer());
    is(XTR_PROBE_UP);
}

Test(probe, one_that_was_silent_has_to_answer_three_times_in_a_row)
{
    bring_up();
    let_go_silent();
    send_one();
    cr_assert(answer());
    send_one();
    cr_assert(answer());
    send_one(); /* stays unanswered */
    for (int i = 0; i < 3; i++) {
        is(XTR_PROBE_SILENT);
        send_one();
        cr_assert(answer());
    }
    is(XTR_PROBE_UP);
    uint64_t heard_us = now_us;
    let_go_silent();
    cr_assert(eq(u64, now_us - heard_us, 3 * INTERVAL * MS), "and is watched as before");
}

Test(probe, a_kernel_that_refuses_lives)
{
    bring_up();
    for (int i = 0; i < 100; i++) {
        send_one();
        if (i % 2)
            cr_assert(refuse(), "a kernel refuses once a second at most");
        is(i ? XTR_PROBE_REFUSED : XTR_PROBE_UP);
    }
    send_one();
    cr_assert(answer());
    is(XTR_PROBE_UP);
}

Test(probe, a_refused_one_is_silent_after_three_seconds)
{
    bring_up();
    send_one();
    cr_assert(refuse());
    is(XTR_PROBE_REFUSED);
    uint64_t heard_us = now_us;
    let_go_silent();
    cr_assert(eq(u64, now_us - heard_us, 3000 * MS));
}

Test(probe, a_kernel_alone_does_not_end_a_silence)
{
    bring_up();
    let_go_silent();
    for (int i = 0; i < 10; i++) {
        send_one();
        cr_assert(refuse());
        is(XTR_PROBE_SILENT);
    }
}

Test(probe, a_kernel_alone_brings_nobody_up)
{
    send_one();
    cr_assert(refuse());
    is(XTR_PROBE_UNKNOWN);
}

Test(probe, who_is_not_up_is_asked_once_a_second_at_most)
{
    jitter = 0;
    send_one();
    uint64_t begin_us = now_us;
    for (int i = 0; i < 100; i++)
        send_one();
    cr_assert(eq(u64, now_us - begin_us, 100 * 750 * MS));
    cr_assert(answer());
    begin_us = now_us;
    send_one();
    cr_assert(eq(u64, now_us - begin_us, INTERVAL * 750), "and at its own pace from then on");
}

Test(probe, a_shorter_interval_holds_at_once)
{
    xtr_probe_start(&probe, 60000, now_us, UINT16_MAX);
    xtr_probe_set_interval(&probe, 50, now_us);
    uint64_t begin_us = now_us;
    bring_up();
    cr_assert(le(u64, now_us - begin_us, 1001 * MS));
    begin_us = now_us;
    let_go_silent();
    cr_assert(eq(u64, now_us - begin_us, 150 * MS));
}
