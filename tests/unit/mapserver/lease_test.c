#include "lease/lease.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEASE 15000u
#define HOLD  86400000u

static struct ms_lease *leases;
static char said[512];

static void setup(void)
{
    leases = ms_lease_new(LEASE, HOLD);
}

static void teardown(void)
{
    ms_lease_free(leases);
}

TestSuite(lease, .init = setup, .fini = teardown);

static void note(void *aux, const char *node_id, enum ms_lease_verdict verdict)
{
    size_t n = strlen(said);
    snprintf(said + n, sizeof(said) - n, "%s%s ",
             verdict == MS_LEASE_DOWN ? "down:" : "expire:", node_id);
}

static const char *tick(uint64_t now_ms, size_t max)
{
    said[0] = '\0';
    ms_lease_tick(leases, now_ms, max, note, NULL);
    return said;
}

Test(lease, runs_out_exactly_when_it_is_not_renewed)
{
    ms_lease_renew(leases, "a", 1000);
    ms_lease_renew(leases, "b", 2000);
    cr_assert_eq(ms_lease_next(leases), 1000 + LEASE);
    cr_assert_str_eq(tick(1000 + LEASE - 1, 9), "");
    ms_lease_renew(leases, "a", 5000);
    cr_assert_str_eq(tick(2000 + LEASE, 9), "down:b ");
    cr_assert_str_eq(tick(2000 + LEASE, 9), "");
    cr_assert_str_eq(tick(5000 + LEASE, 9), "down:a ");
}

Test(lease, hold_begins_with_the_silence)
{
    ms_lease_renew(leases, "a", 0);
    cr_assert_str_eq(tick(LEASE, 9), "down:a ");
    cr_assert_eq(ms_lease_next(leases), LEASE + HOLD);
    cr_assert_str_eq(tick(LEASE + HOLD, 9), "expire:a ");
    cr_assert_str_eq(tick(LEASE + HOLD + LEASE, 9), "expire:a ", "until it is forgotten");
    ms_lease_forget(leases, "a");
    cr_assert_eq(ms_lease_next(leases), UINT64_MAX);
    ms_lease_forget(leases, "a");
}

Test(lease, a_heartbeat_ends_the_hold)
{
    ms_lease_renew(leases, "a", 0);
    tick(LEASE, 9);
    cr_assert(ms_lease_is_down(leases, "a"));
    ms_lease_renew(leases, "a", LEASE + 10);
    cr_assert_not(ms_lease_is_down(leases, "a"));
    cr_assert_not(ms_lease_is_down(leases, "unknown"));
    cr_assert_str_eq(tick(2 * LEASE + 9, 9), "");
    cr_assert_str_eq(tick(2 * LEASE + 10, 9), "down:a ");
}

Test(lease, after_a_restart_the_rest_of_the_hold_is_left)
{
    ms_lease_hold(leases, "old", HOLD + 1, 100);
    ms_lease_hold(leases, "new", HOLD - 50, 100);
    cr_assert_str_eq(tick(100, 9), "expire:old ");
    cr_assert_str_eq(tick(150, 9), "expire:new ");
}

Test(lease, no_more_is_said_than_was_asked_for)
{
    for (int i = 0; i < 5; i++)
        ms_lease_renew(leases, (const char *[]){"a", "b", "c", "d", "e"}[i], (uint64_t)i);
    cr_assert_str_eq(tick(LEASE + 100, 2), "down:a down:b ");
    cr_assert_str_eq(tick(LEASE + 100, 9), "down:c down:d down:e ");
}

Test(lease, new_limits_hold_from_the_next_renewal)
{
    ms_lease_renew(leases, "a", 0);
    ms_lease_set(leases, 10, 20);
    cr_assert_eq(ms_lease_next(leases), LEASE);
    ms_lease_renew(leases, "a", 100);
    cr_assert_str_eq(tick(110, 9), "down:a ");
    cr_assert_str_eq(tick(130, 9), "expire:a ");
}

/* ---------------------------------------------------------------- against a model */

#define N 200

static uint64_t due[N]; /* 0: unknown */
static uint64_t now;
static size_t n_said;

static void check(void *aux, const char *node_id, enum ms_lease_verdict verdict)
{
    int i = atoi(node_id);
    cr_assert_neq(due[i], 0);
    cr_assert_leq(due[i], now);
    due[i] = now + (verdict == MS_LEASE_DOWN ? HOLD : LEASE);
    n_said++;
}

static void do_something(void)
{
    int i = rand() % N;
    char id[16];
    sprintf(id, "%d", i);
    if (rand() % 4) {
        ms_lease_renew(leases, id, now);
        due[i] = now + LEASE;
    } else {
        ms_lease_forget(leases, id);
        due[i] = 0;
    }
}

Test(lease, says_what_a_scan_of_all_nodes_would_say)
{
    srand(15);
    for (int round = 0; round < 5000; round++) {
        size_t n_due = 0;
        uint64_t next = UINT64_MAX;
        now += (uint64_t)rand() % 2000;
        do_something();
        for (int i = 0; i < N; i++) {
            n_due += due[i] && due[i] <= now;
            next = due[i] && due[i] < next ? due[i] : next;
        }
        cr_assert_eq(ms_lease_next(leases), next);
        n_said = 0;
        cr_assert_eq(ms_lease_tick(leases, now, N, check, NULL), n_due);
        cr_assert_eq(n_said, n_due);
    }
}
