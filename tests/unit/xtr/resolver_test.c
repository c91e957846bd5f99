#include "resolver.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NET 7

static struct xtr_resolver resolver;
static const struct xtr_resolver_limits limits = {.rate = 10, .max_found = 8, .idle_ms = 60000};
static const struct em_port_id guest = {2, "g1"}, scanner = {2, "s1"};

static void setup(void)
{
    xtr_resolver_init(&resolver, &limits);
}

static void teardown(void)
{
    xtr_resolver_fini(&resolver);
}

TestSuite(resolver, .init = setup, .fini = teardown);

static struct em_eid eid(const char *text)
{
    char names[EM_EID_TEXT];
    struct em_eid eid;
    cr_assert(eq(int, em_eid_parse(text, &eid, names, NULL), 0));
    return eid;
}

/* A frame of one byte. */
static enum xtr_miss miss_by(const struct em_port_id *source, const char *text, uint64_t now_ms,
                             struct xtr_target **ret_target)
{
    struct em_eid wanted = eid(text);
    return xtr_resolver_miss(&resolver, source, NET, &wanted, (const uint8_t *)"f", 1, now_ms,
                             ret_target);
}

static enum xtr_miss miss(const char *text, uint64_t now_ms)
{
    struct xtr_target *target;
    return miss_by(&guest, text, now_ms, &target);
}

static struct xtr_target *asked(const char *text, uint64_t now_ms)
{
    struct xtr_target *target;
    cr_assert(eq(int, miss_by(&guest, text, now_ms, &target), XTR_MISS_ASK));
    return target;
}

/* "This port has it", with a MAC that ends as the port's name does. */
static struct xtr_outcome found(struct xtr_target *target, const char *port_id, uint64_t revision)
{
    struct em_eid eids[2] = {eid("02:00:00:00:00:00"), target->eid};
    struct em_port port = {.eids = eids, .n_eids = 2};
    struct em_answer answer = {.eid = target->eid, .port = &port, .matched = target->eid};
    struct xtr_outcome outcome = {0};
    port.id.size = (uint8_t)strlen(port_id);
    memcpy(port.id.bytes, port_id, port.id.size);
    eids[0].addr[5] = (uint8_t)port_id[port.id.size - 1];
    cr_assert(xtr_resolver_answer(target, &answer, revision, 0, &outcome));
    target->position = 10;
    return outcome;
}

static struct xtr_outcome nobody(struct xtr_target *target, const char *covers, uint64_t now_ms)
{
    struct em_answer answer = {
        .eid = target->eid, .covers = eid(covers), .action = EM_ACTION_DROP, .ttl_s = 60};
    struct xtr_outcome outcome;
    cr_assert(xtr_resolver_answer(target, &answer, target->revision, now_ms, &outcome));
    return outcome;
}

static bool is_id(const struct em_port_id *id, const char *text)
{
    return id->size == strlen(text) && !memcmp(id->bytes, text, id->size);
}

/* Frames that can go at the position, counted. */
static unsigned released(uint64_t position)
{
    const struct xtr_target *target;
    unsigned n = 0;
    for (struct xtr_held *held; (held = xtr_resolver_take_held(&resolver, position, &target)); n++)
        free(held);
    return n;
}

Test(resolver, an_address_is_asked_for_once_and_its_frames_are_held)
{
    struct xtr_target *target = asked("10.0.0.2", 0), *again;
    cr_assert(eq(int, miss_by(&guest, "10.0.0.2", 1, &again), XTR_MISS_HELD));
    cr_assert(eq(ptr, again, target));
    cr_assert(eq(int, miss_by(&scanner, "10.0.0.2", 1, &again), XTR_MISS_HELD));
    cr_assert(eq(u32, released(100), 0), "no answer yet");

    struct xtr_outcome outcome = found(target, "p", 5);
    cr_assert(outcome.is_found && !outcome.has_gone);
    cr_assert(eq(u32, released(9), 0), "the data plane has not been told yet");
    cr_assert(eq(u32, released(10), 3));
    cr_assert(eq(u32, released(10), 0), "each goes once");
    cr_assert(eq(u8, target->mac[5], 'p'));
    cr_assert(eq(sz, resolver.held_bytes, 0));
}

Test(resolver, a_frame_for_what_is_known_goes_at_once)
{
    struct xtr_target *target = asked("02:00:00:00:00:09", 0);
    found(target, "p", 5);
    cr_assert(eq(u32, released(10), 1));
    cr_assert(eq(int, miss("02:00:00:00:00:09", 0), XTR_MISS_HELD));
    cr_assert(eq(u32, released(10), 1));
}

Test(resolver, networks_are_apart)
{
    struct em_eid wanted = eid("10.0.0.2");
    struct xtr_target *other;
    nobody(asked("10.0.0.2", 0), "10.0.0.0/8", 0);
    cr_assert(eq(
        int,
        xtr_resolver_miss(&resolver, &guest, NET + 1, &wanted, (const uint8_t *)"f", 1, 0, &other),
        XTR_MISS_ASK));
    cr_assert_not(xtr_resolver_names(&resolver, NET, &guest));
}

Test(resolver, a_negative_answer_holds_for_its_range_and_its_time)
{
    struct xtr_target *target = asked("10.1.0.2", 0);
    cr_assert_not(nobody(target, "10.1.0.0/16", 1000).is_found);
    cr_assert(eq(u32, released(UINT64_MAX), 0), "what was held is dropped");
    cr_assert(eq(sz, resolver.held_bytes, 0));
    cr_assert(eq(int, miss("10.1.0.2", 1000), XTR_MISS_NONE));
    cr_assert(eq(int, miss("10.1.255.1", 1000), XTR_MISS_NONE));
    cr_assert(eq(int, miss("10.2.0.1", 1000), XTR_MISS_ASK));
    cr_assert(eq(int, miss("fd00::1", 1000), XTR_MISS_ASK));
    xtr_resolver_fini(&resolver);
    xtr_resolver_init(&resolver, &limits);

    target = asked("10.1.0.2", 0);
    nobody(target, "10.1.0.0/16", 1000);
    cr_assert(eq(ptr, xtr_resolver_next_expired(&resolver, 60999), NULL));
    cr_assert(eq(ptr, xtr_resolver_next_expired(&resolver, 61000), target));
    struct em_port_id gone;
    cr_assert_not(xtr_resolver_drop(target, &gone));
    cr_assert(eq(int, miss("10.1.255.1", 61000), XTR_MISS_ASK));
}

Test(resolver, a_push_narrows_a_negative_answer)
{
    struct xtr_target *target = asked("10.1.0.2", 0);
    nobody(target, "10.1.0.0/16", 0);
    nobody(target, "10.1.0.0/24", 0);
    cr_assert(eq(int, miss("10.1.0.77", 0), XTR_MISS_NONE));
    cr_assert(eq(int, miss("10.1.1.1", 0), XTR_MISS_ASK));
}

Test(resolver, a_range_that_does_not_hold_the_address_is_no_range)
{
    nobody(asked("10.1.0.2", 0), "10.2.0.0/16", 0);
    cr_assert(eq(int, miss("10.2.0.1", 0), XTR_MISS_ASK));
    cr_assert(eq(int, miss("10.1.0.2", 0), XTR_MISS_NONE));
}

Test(resolver, a_push_takes_a_negative_answer_back)
{
    struct xtr_target *target = asked("10.1.0.2", 0);
    nobody(target, "10.1.0.0/16", 0);
    cr_assert(found(target, "p", 6).is_found);
    cr_assert(eq(int, miss("10.1.0.2", 0), XTR_MISS_HELD));
    cr_assert(eq(int, miss("10.1.0.3", 0), XTR_MISS_ASK), "its range went with it");
    cr_assert(eq(ptr, xtr_resolver_next_expired(&resolver, 2000), NULL));
}

Test(resolver, who_asked_may_be_forgotten_before_a_push_finds_somebody)
{
    struct xtr_target *target = asked("10.0.0.2", 0);
    nobody(target, "10.0.0.0/30", 0);
    xtr_resolver_tidy(&resolver, 5000);
    cr_assert(em_list_is_empty(&resolver.sources));
    cr_assert(found(target, "p", 5).is_found);
    cr_assert(nobody(target, "10.0.0.2/32", 6000).has_gone);
}

Test(resolver, a_port_leaves_with_the_last_address_that_named_it)
{
    struct xtr_target *a = asked("10.0.0.2", 0), *b = asked("fd00::2", 0);
    struct em_port_id gone;
    found(a, "p", 1);
    found(b, "p", 1);
    cr_assert_not(nobody(a, "10.0.0.2", 0).has_gone);
    struct xtr_outcome outcome = nobody(b, "fd00::2", 0);
    cr_assert(outcome.has_gone && is_id(&outcome.gone, "p"));

    cr_assert_not(found(a, "p", 2).has_gone);
    cr_assert_not(found(a, "p", 3).has_gone, "the same one, changed");
    outcome = found(a, "q", 4);
    cr_assert(outcome.is_found && outcome.has_gone && is_id(&outcome.gone, "p"));
    cr_assert(xtr_resolver_drop(a, &gone));
    cr_assert(is_id(&gone, "q"));
}

Test(resolver, an_answer_of_an_older_revision_is_ignored)
{
    struct xtr_target *target = asked("10.0.0.2", 0);
    struct em_answer old = {.eid = target->eid, .ttl_s = 60};
    struct xtr_outcome outcome;
    found(target, "p", 9);
    cr_assert_not(xtr_resolver_answer(target, &old, 8, 0, &outcome));
    cr_assert(eq(int, target->state, XTR_TARGET_FOUND));
    xtr_resolver_restart(&resolver, true);
    cr_assert(xtr_resolver_answer(target, &old, 1, 0, &outcome), "of another database");
    cr_assert(eq(int, target->state, XTR_TARGET_NOBODY));
}

Test(resolver, what_was_known_is_kept_until_another_map_has_named_it)
{
    struct em_eid known = eid("10.0.0.9");
    struct xtr_target *found_before = asked("10.0.0.2", 0), *asking = asked("10.0.0.3", 0);
    struct xtr_target *adopted = xtr_resolver_adopt(&resolver, NET, &known);
    struct em_answer no = {.ttl_s = 60};
    struct xtr_outcome outcome;
    found(found_before, "p", 9);
    xtr_resolver_restart(&resolver, false);
    cr_assert_not(xtr_resolver_answer(found_before, &no, 1, 0, &outcome));
    cr_assert_not(xtr_resolver_answer(adopted, &no, 1, 0, &outcome));
    cr_assert(xtr_resolver_answer(asking, &no, 1, 0, &outcome), "nothing was known");
    found(found_before, "p", 2);
    cr_assert(xtr_resolver_answer(found_before, &no, 3, 0, &outcome));
    cr_assert(outcome.has_gone);
}

Test(resolver, a_prefix_is_no_neighbour)
{
    struct xtr_target *target = asked("10.0.0.2", 0);
    struct em_eid eids[] = {eid("02:00:00:00:00:01"), eid("10.0.0.0/24")};
    struct em_port port = {.id = guest, .eids = eids, .n_eids = 2};
    struct em_answer answer = {
        .eid = target->eid, .port = &port, .matched = eids[1], .covers = eids[1], .ttl_s = 60};
    struct xtr_outcome outcome;
    cr_assert(xtr_resolver_answer(target, &answer, 1, 0, &outcome));
    cr_assert_not(outcome.is_found);
}

Test(resolver, a_port_pays_for_its_misses_and_for_nobody_elses)
{
    char text[32];
    struct xtr_target *target;
    unsigned n_asked = 0;
    for (unsigned i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "10.0.0.%u", i + 1);
        n_asked += miss_by(&scanner, text, 1000, &target) == XTR_MISS_ASK;
    }
    cr_assert(eq(u32, n_asked, 20), "a burst of twice the rate");
    cr_assert(eq(u64, resolver.counts.n_dropped, 80));
    cr_assert(eq(int, miss_by(&guest, "10.0.1.1", 1000, &target), XTR_MISS_ASK));
    cr_assert(eq(int, miss_by(&scanner, "10.0.1.2", 1099, &target), XTR_MISS_FULL));
    cr_assert(eq(int, miss_by(&scanner, "10.0.1.2", 1100, &target), XTR_MISS_ASK));
    cr_assert(eq(int, miss_by(&scanner, "10.0.1.3", 1100, &target), XTR_MISS_FULL));
}

Test(resolver, what_is_known_to_be_nobodys_costs_nothing)
{
    nobody(asked("10.1.0.2", 0), "10.1.0.0/16", 0);
    for (unsigned i = 0; i < 100; i++)
        cr_assert(eq(int, miss("10.1.3.4", 0), XTR_MISS_NONE));
    cr_assert(eq(int, miss("10.2.0.1", 0), XTR_MISS_ASK));
    cr_assert(eq(u64, resolver.counts.n_dropped, 0));
    cr_assert(eq(u64, resolver.counts.n_misses, 102));
}

Test(resolver, held_frames_are_bounded)
{
    static uint8_t large[XTR_HELD_SOURCE_SIZE / 2 + 1];
    struct em_eid a = eid("10.0.0.1"), b = eid("10.0.0.2");
    struct xtr_target *target;
    asked("10.0.0.9", 0);
    cr_assert(eq(int, miss("10.0.0.9", 0), XTR_MISS_HELD));
    cr_assert(eq(int, miss("10.0.0.9", 0), XTR_MISS_HELD));
    cr_assert(eq(int, miss("10.0.0.9", 0), XTR_MISS_FULL), "three from one port");
    cr_assert(eq(int,
                 xtr_resolver_miss(&resolver, &scanner, NET, &a, large, sizeof large, 0, &target),
                 XTR_MISS_ASK));
    cr_assert(eq(u32, target->n_held, 1));
    cr_assert(eq(int,
                 xtr_resolver_miss(&resolver, &scanner, NET, &b, large, sizeof large, 0, &target),
                 XTR_MISS_ASK));
    cr_assert(eq(u32, target->n_held, 0), "asked for, not held");
    cr_assert(eq(int,
                 xtr_resolver_miss(&resolver, &guest, NET, &b, large, sizeof large, 0, &target),
                 XTR_MISS_HELD),
              "another's frames have room of their own");
}

Test(resolver, questions_without_an_answer_are_bounded)
{
    char text[32];
    struct xtr_target *target;
    unsigned n = 0;
    for (unsigned i = 0; i < 2 * XTR_ASKING_SOURCE; i++) {
        snprintf(text, sizeof text, "10.0.0.%u", i + 1);
        n += miss_by(&scanner, text, i * 1000, &target) == XTR_MISS_ASK;
    }
    cr_assert(eq(u32, n, XTR_ASKING_SOURCE));
    cr_assert(eq(int, miss("10.0.1.1", 0), XTR_MISS_ASK));
}

Test(resolver, a_question_without_an_answer_ends)
{
    struct xtr_target *target = asked("10.0.0.2", 100);
    struct em_port_id gone;
    cr_assert(eq(ptr, xtr_resolver_next_expired(&resolver, 100 + XTR_HOLD_MS - 1), NULL));
    cr_assert(eq(ptr, xtr_resolver_next_expired(&resolver, 100 + XTR_HOLD_MS), target));
    cr_assert_not(xtr_resolver_drop(target, &gone));
    cr_assert(eq(u64, resolver.counts.n_dropped, 1));
    cr_assert(eq(int, miss("10.0.0.2", 5000), XTR_MISS_ASK));
}

Test(resolver, what_a_network_and_a_port_have_resolved_is_bounded)
{
    char text[32];
    struct xtr_target *target;
    for (unsigned i = 0; i < 4; i++) {
        snprintf(text, sizeof text, "10.0.0.%u", i + 1);
        cr_assert(eq(int, miss_by(&scanner, text, 0, &target), XTR_MISS_ASK));
        found(target, text, 1);
    }
    cr_assert(eq(int, miss_by(&scanner, "10.0.0.5", 0, &target), XTR_MISS_FULL),
              "half of the network's for one port");
    for (unsigned i = 4; i < 8; i++) {
        snprintf(text, sizeof text, "10.0.0.%u", i + 1);
        cr_assert(eq(int, miss_by(&guest, text, 0, &target), XTR_MISS_ASK));
        found(target, text, 1);
        if (i == 6)
            xtr_resolver_adopt(&resolver, NET, &(struct em_eid){.kind = EM_EID_IPV4, .size = 4});
    }
    const struct em_port_id third = {2, "g3"};
    cr_assert(eq(int, miss_by(&third, "10.0.0.9", 0, &target), XTR_MISS_FULL));
    struct em_eid other = eid("10.0.0.9");
    cr_assert(eq(int,
                 xtr_resolver_miss(&resolver, &third, NET + 1, &other, (const uint8_t *)"f", 1, 0,
                                   &target),
                 XTR_MISS_ASK),
              "another network's room is its own");
}

Test(resolver, the_oldest_of_too_many_negative_answers_goes_first)
{
    static const struct xtr_resolver_limits many = {.rate = 10000, .max_found = 8, .idle_ms = 1};
    char text[32];
    struct xtr_target *first = NULL, *target;
    struct em_port_id gone;
    xtr_resolver_fini(&resolver);
    xtr_resolver_init(&resolver, &many);
    for (unsigned i = 0; i <= XTR_NOBODY_MAX; i++) {
        cr_assert(eq(ptr, xtr_resolver_next_expired(&resolver, 0), NULL));
        snprintf(text, sizeof text, "02:00:00:00:%02x:%02x", i >> 8, i & 0xff);
        target = asked(text, 0);
        first = first ? first : target;
        nobody(target, text, 0);
    }
    cr_assert(eq(ptr, xtr_resolver_next_expired(&resolver, 0), first));
    xtr_resolver_drop(first, &gone);
    cr_assert(eq(ptr, xtr_resolver_next_expired(&resolver, 0), NULL));
}

Test(resolver, what_is_adopted_is_asked_for_without_end)
{
    struct em_eid known = eid("10.0.0.2");
    struct xtr_target *target = xtr_resolver_adopt(&resolver, NET, &known);
    cr_assert(ne(ptr, target, NULL));
    cr_assert(eq(ptr, xtr_resolver_adopt(&resolver, NET, &known), NULL), "once");
    cr_assert(eq(ptr, xtr_resolver_next_expired(&resolver, UINT64_MAX - 1), NULL));
    cr_assert(eq(int, miss("10.0.0.2", 0), XTR_MISS_HELD));
    found(target, "p", 1);
    cr_assert(eq(u32, released(10), 1));
    cr_assert(eq(ptr, xtr_resolver_next_found(&resolver), target));
}

Test(resolver, found_targets_come_round_one_by_one)
{
    struct xtr_target *a = asked("10.0.0.1", 0), *b = asked("10.0.0.2", 0);
    cr_assert(eq(ptr, xtr_resolver_next_found(&resolver), NULL));
    found(a, "p", 1);
    found(b, "q", 1);
    cr_assert(eq(ptr, xtr_resolver_next_found(&resolver), a));
    cr_assert(eq(ptr, xtr_resolver_next_found(&resolver), b));
    cr_assert(eq(ptr, xtr_resolver_next_found(&resolver), a));
}

Test(resolver, quiet_ports_are_forgotten)
{
    struct xtr_target *target = asked("10.0.0.1", 0);
    struct em_port_id gone;
    found(target, "p", 1);
    cr_assert(eq(u32, released(10), 1));
    xtr_resolver_tidy(&resolver, 100000);
    cr_assert_not(em_list_is_empty(&resolver.sources), "it has something resolved");
    xtr_resolver_drop(target, &gone);
    xtr_resolver_tidy(&resolver, 1999);
    cr_assert_not(em_list_is_empty(&resolver.sources), "its bucket is not full again");
    xtr_resolver_tidy(&resolver, 2000);
    cr_assert(em_list_is_empty(&resolver.sources));
}
