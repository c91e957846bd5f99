/* The log as it lies in memory, against a plain list. */
#include "core/tail.h"

#include <criterion/criterion.h>
#include <string.h>

static struct ms_tail tail;

static void setup(void)
{
    ms_tail_init(&tail, 5);
}

static void teardown(void)
{
    ms_tail_fini(&tail);
}

TestSuite(tail, .init = setup, .fini = teardown, .timeout = 60);

static void append_as(uint64_t term, enum raft_entry_type type, const char *text)
{
    struct ms_payload *payload = ms_payload_new(text, strlen(text));
    const struct ms_entry entry = {term, type, payload, 0};
    ms_tail_append(&tail, &entry);
    ms_payload_unref(payload);
}

static void append(uint64_t term, const char *text)
{
    append_as(term, RAFT_COMMAND, text);
}

static bool has(uint64_t index, const char *text)
{
    const struct ms_slot *slot = ms_tail_at(&tail, index);
    return slot && slot->payload && slot->payload->size == strlen(text) &&
           memcmp(slot->payload->data, text, strlen(text)) == 0;
}

Test(tail, empty_has_only_a_next_index)
{
    cr_assert_eq(ms_tail_next(&tail), 5);
    cr_assert_null(ms_tail_at(&tail, 4));
    cr_assert_null(ms_tail_at(&tail, 5));
}

Test(tail, keeps_what_is_appended)
{
    append(1, "a");
    append(2, "bb");
    cr_assert(has(5, "a"));
    cr_assert(has(6, "bb"));
    cr_assert_null(ms_tail_at(&tail, 4));
    cr_assert_null(ms_tail_at(&tail, 7));
    cr_assert_eq(ms_tail_at(&tail, 6)->term, 2);
    cr_assert_eq(tail.size, 3);
    cr_assert_eq(tail.memory, 3);
}

Test(tail, an_entry_may_be_on_the_disk_only)
{
    const struct ms_entry entry = {3, RAFT_COMMAND, NULL, 70};
    ms_tail_append(&tail, &entry);
    cr_assert_null(ms_tail_at(&tail, 5)->payload);
    cr_assert_eq(tail.size, 70);
    cr_assert_eq(tail.memory, 0);
}

Test(tail, payloads_are_shared_and_given_back)
{
    struct ms_payload *payload = ms_payload_new("x", 1);
    const struct ms_entry entry = {1, RAFT_COMMAND, payload, 0};
    ms_tail_append(&tail, &entry);
    cr_assert_eq(atomic_load(&payload->refs), 2);
    ms_tail_truncate(&tail, 5);
    cr_assert_eq(atomic_load(&payload->refs), 1);
    ms_payload_unref(payload);
}

Test(tail, truncates_from_an_index_on)
{
    append(1, "a");
    append(1, "b");
    append(1, "c");
    ms_tail_truncate(&tail, 6);
    cr_assert_eq(ms_tail_next(&tail), 6);
    cr_assert(has(5, "a"));
    append(2, "d");
    cr_assert(has(6, "d"));
    cr_assert_eq(tail.size, 2);
    ms_tail_truncate(&tail, 99);
    cr_assert_eq(ms_tail_next(&tail), 7, "nothing is there to go");
}

Test(tail, forgets_up_to_an_index)
{
    append(1, "a");
    append(1, "b");
    append(1, "c");
    ms_tail_forget(&tail, 6);
    cr_assert_eq(tail.first, 7);
    cr_assert(has(7, "c"));
    cr_assert_null(ms_tail_at(&tail, 6));
    ms_tail_forget(&tail, 99);
    cr_assert_eq(tail.first, 8);
    cr_assert_eq(ms_tail_next(&tail), 8);
    cr_assert_eq(tail.size, 0);
}

Test(tail, evicts_the_oldest_payloads_but_no_change_of_the_members)
{
    append(1, "aaaa");
    append_as(1, RAFT_CHANGE, "bbbb");
    append(1, "cccc");
    append(1, "dddd");
    ms_tail_evict(&tail, 7, 8);
    cr_assert_null(ms_tail_at(&tail, 5)->payload);
    cr_assert(has(6, "bbbb"));
    cr_assert_null(ms_tail_at(&tail, 7)->payload);
    cr_assert(has(8, "dddd"));
    cr_assert_eq(tail.memory, 8);
    cr_assert_eq(tail.size, 16, "the sizes stay");
    ms_tail_evict(&tail, 7, 0);
    cr_assert(has(8, "dddd"), "it is not applied yet");
}

Test(tail, what_replaces_evicted_entries_can_be_evicted_too)
{
    append(1, "aaaa");
    append(1, "bbbb");
    ms_tail_evict(&tail, 6, 0);
    ms_tail_truncate(&tail, 6);
    append(2, "cccc");
    cr_assert(has(6, "cccc"));
    ms_tail_evict(&tail, 6, 0);
    cr_assert_null(ms_tail_at(&tail, 6)->payload);
    cr_assert_eq(tail.memory, 0);
}

Test(tail, reset_begins_anew_elsewhere)
{
    append(1, "a");
    ms_tail_reset(&tail, 100);
    cr_assert_eq(ms_tail_next(&tail), 100);
    append(1, "b");
    cr_assert(has(100, "b"));
    cr_assert_eq(tail.size, 1);
}

/* Round and round through its memory: what is asked for is what was put in. */
Test(tail, a_long_life_keeps_order)
{
    uint64_t next = 5, first = 5, seed = 7;
    char text[32];
    for (int round = 0; round < 20000; round++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        unsigned what = (unsigned)(seed >> 60), n = (unsigned)(seed >> 40) % 20;
        for (unsigned i = 0; what < 9 && i < n; i++) {
            snprintf(text, sizeof(text), "%llu", (unsigned long long)next++);
            append(1, text);
        }
        if (what >= 9 && what < 14) {
            first = first + n < next ? first + n : next;
            ms_tail_forget(&tail, first - 1);
        } else if (what >= 14 && next - first > n) {
            next -= n;
            ms_tail_truncate(&tail, next);
        }
        cr_assert_eq(tail.first, first);
        cr_assert_eq(ms_tail_next(&tail), next);
        if (next > first) {
            uint64_t index = first + (seed >> 20) % (next - first);
            snprintf(text, sizeof(text), "%llu", (unsigned long long)index);
            cr_assert(has(index, text));
        }
    }
}
