#include "mapserver/map.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct map m;
static uint32_t net;

static void setup(void)
{
    map_open(&m, 0);
    net = map_network(&m, "blue", NULL, NULL);
    map_node_up(&m, "a", "192.0.2.1");
}

static void teardown(void)
{
    map_close(&m);
}

TestSuite(feed, .init = setup, .fini = teardown, .timeout = 60);

static bool trim(uint64_t below, uint32_t max)
{
    Eidmap__Command command = map_command(&m, "");
    Eidmap__Trim body = EIDMAP__TRIM__INIT;
    body.below = below;
    body.max_entries = max;
    command.body_case = EIDMAP__COMMAND__BODY_TRIM;
    command.trim = &body;
    const struct ms_result *r = map_run(&m, &command);
    cr_assert_eq(r->err, 0);
    return r->is_more;
}

struct seen {
    char text[512];
    size_t n;
};

/* Field 1 of a Port is its id, as long as the entry's. */
static bool is_own_record(const struct ms_feed_entry *e)
{
    return e->is_gone || e->kind != EM_OBJECT_PORT ||
           (e->record.size > 2 + e->id.size && !memcmp(e->record.data + 2, e->id.data, e->id.size));
}

static void note(void *aux, const struct ms_feed_entry *e)
{
    struct seen *seen = aux;
    size_t n = strlen(seen->text);
    cr_assert_eq(e->is_gone, e->record.data == NULL);
    cr_assert(is_own_record(e));
    if (e->kind == EM_OBJECT_NETWORK)
        snprintf(seen->text + n, sizeof(seen->text) - n, "%snet%u ", e->is_gone ? "-" : "+",
                 e->id.data[3]);
    else
        snprintf(seen->text + n, sizeof(seen->text) - n, "%s%.*s ", e->is_gone ? "-" : "+",
                 (int)e->id.size, (const char *)e->id.data);
    seen->n++;
}

static int read_feed(uint32_t network, struct ms_feed_cursor *cursor, size_t max_entries,
                     size_t max_bytes, struct seen *seen)
{
    memset(seen, 0, sizeof(*seen));
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    int r = ms_feed_read(m.reader, network, cursor, max_entries, max_bytes, note, seen);
    ms_reader_end(m.reader);
    return r;
}

static bool start(uint64_t since, struct ms_feed_cursor *cursor)
{
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    bool is_full = ms_feed_start(m.reader, since, cursor);
    ms_reader_end(m.reader);
    return is_full;
}

Test(feed, a_full_pass_shows_each_object_once_at_its_latest_revision)
{
    struct ms_feed_cursor cursor;
    struct seen seen;
    REGISTER(&m, "a", "p", net, {"10.0.0.1"});
    REGISTER(&m, "a", "q", net, {"10.0.0.2"});
    REGISTER(&m, "a", "p", net, {"10.0.0.3"});
    cr_assert(start(0, &cursor));
    cr_assert_eq(read_feed(net, &cursor, 100, 1 << 20, &seen), 0);
    cr_assert_str_eq(seen.text, "+q +p ");
    cr_assert_eq(cursor.revision, map_revision(&m));
    cr_assert_eq(read_feed(net, &cursor, 100, 1 << 20, &seen), 0);
    cr_assert_eq(seen.n, 0);
}

/* The order in which they came is another one than that of their ids, first now and then and
 * then always. */
Test(feed, ports_are_found_wherever_they_lie)
{
    struct ms_feed_cursor cursor;
    struct seen seen;
    char all[512] = "", id[8], ip[32];
    for (unsigned i = 0; i < 80; i++) {
        snprintf(id, sizeof(id), "p%02u", i < 20 ? i ^ (i % 10 > 7) : i * 37 % 60 + 20);
        snprintf(ip, sizeof(ip), "10.0.1.%u", i);
        REGISTER(&m, "a", id, net, {ip});
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "+%s ", id);
    }
    start(0, &cursor);
    cr_assert_eq(read_feed(net, &cursor, 100, 1 << 20, &seen), 0);
    cr_assert_eq(seen.n, 80);
    cr_assert_str_eq(seen.text, all);
}

Test(feed, resuming_shows_only_what_changed)
{
    struct ms_feed_cursor cursor;
    struct seen seen;
    REGISTER(&m, "a", "p", net, {"10.0.0.1"});
    REGISTER(&m, "a", "q", net, {"10.0.0.2"});
    uint64_t since = map_revision(&m);
    map_withdraw(&m, "a", "", "p", 0);
    REGISTER(&m, "a", "r", net, {"10.0.0.1"});
    cr_assert_not(start(since, &cursor));
    cr_assert_eq(read_feed(net, &cursor, 100, 1 << 20, &seen), 0);
    cr_assert_str_eq(seen.text, "-p +r ");
}

Test(feed, pages_end_at_entries_and_at_bytes)
{
    struct ms_feed_cursor cursor;
    struct seen seen;
    REGISTER(&m, "a", "p", net, {"10.0.0.1"});
    REGISTER(&m, "a", "q", net, {"10.0.0.2"});
    REGISTER(&m, "a", "r", net, {"10.0.0.3"});
    start(0, &cursor);
    cr_assert_eq(read_feed(net, &cursor, 2, 1 << 20, &seen), 1);
    cr_assert_str_eq(seen.text, "+p +q ");
    cr_assert_eq(read_feed(net, &cursor, 2, 1 << 20, &seen), 0);
    cr_assert_str_eq(seen.text, "+r ");
    start(0, &cursor);
    cr_assert_eq(read_feed(net, &cursor, 100, 1, &seen), 1, "one is always shown");
    cr_assert_eq(seen.n, 1);
}

Test(feed, network_0_carries_nodes_and_networks)
{
    struct ms_feed_cursor cursor;
    struct seen seen;
    start(0, &cursor);
    cr_assert_eq(read_feed(0, &cursor, 100, 1 << 20, &seen), 0);
    cr_assert_str_eq(seen.text, "+net1 +a ");
    map_node_down(&m, "a", 5000);
    cr_assert_eq(read_feed(0, &cursor, 100, 1 << 20, &seen), 0);
    cr_assert_str_eq(seen.text, "+a ");
}

Test(feed, an_unknown_network_is_not_found)
{
    struct ms_feed_cursor cursor;
    struct seen seen;
    start(0, &cursor);
    cr_assert_eq(read_feed(99, &cursor, 100, 1 << 20, &seen), EM_E_NOT_FOUND);
}

Test(feed, trimming_raises_the_horizon_to_the_last_tombstone)
{
    struct ms_feed_cursor old, kept;
    struct seen seen;
    REGISTER(&m, "a", "p", net, {"10.0.0.1"});
    REGISTER(&m, "a", "q", net, {"10.0.0.2"});
    uint64_t before = map_revision(&m);
    map_withdraw(&m, "a", "", "p", 0);
    uint64_t gone = map_revision(&m);
    map_withdraw(&m, "a", "", "q", 0);
    start(before, &old);
    start(gone, &kept);
    cr_assert(trim(UINT64_MAX, 1), "one more is left");
    cr_assert_eq(read_feed(net, &old, 100, 1 << 20, &seen), EM_E_STALE);
    cr_assert_eq(read_feed(net, &kept, 100, 1 << 20, &seen), 0);
    cr_assert_str_eq(seen.text, "-q ");
    cr_assert(start(before, &old), "a cursor below the horizon starts over");
    cr_assert_not(start(gone, &kept));
}

Test(feed, a_trim_of_nothing_changes_nothing)
{
    uint64_t horizon, before = map_revision(&m);
    REGISTER(&m, "a", "p", net, {"10.0.0.1"});
    trim(UINT64_MAX, 0);
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    horizon = ms_reader_horizon(m.reader);
    ms_reader_end(m.reader);
    cr_assert_eq(horizon, 0);
    cr_assert_eq(map_revision(&m), before + 1);
}

Test(feed, a_cursor_from_the_future_starts_over)
{
    struct ms_feed_cursor cursor;
    cr_assert(start(map_revision(&m) + 1, &cursor));
    cr_assert_not(start(map_revision(&m), &cursor));
}

Test(feed, a_long_full_pass_is_stale_only_for_deletions_after_its_start)
{
    struct ms_feed_cursor early, late;
    struct seen seen;
    char id[16];
    for (int i = 0; i < 4; i++) {
        sprintf(id, "p%d", i);
        REGISTER(&m, "a", id, net, {0});
    }
    start(0, &early);
    cr_assert_eq(read_feed(net, &early, 1, 1 << 20, &seen), 1);
    map_withdraw(&m, "a", "", "p0", 0);
    start(0, &late);
    cr_assert_eq(read_feed(net, &late, 1, 1 << 20, &seen), 1);
    trim(UINT64_MAX, 0);
    cr_assert_eq(read_feed(net, &early, 1, 1 << 20, &seen), EM_E_STALE, "it was shown p0");
    cr_assert_eq(read_feed(net, &late, 9, 1 << 20, &seen), 0, "it was not");
}

Test(feed, what_a_subscriber_has_seen_may_be_trimmed)
{
    struct ms_feed_cursor cursor;
    struct seen seen;
    REGISTER(&m, "a", "p", net, {0});
    start(0, &cursor);
    cr_assert_eq(read_feed(net, &cursor, 9, 1 << 20, &seen), 0);
    map_withdraw(&m, "a", "", "p", 0);
    cr_assert_eq(read_feed(net, &cursor, 9, 1 << 20, &seen), 0);
    cr_assert_str_eq(seen.text, "-p ");
    trim(UINT64_MAX, 0);
    cr_assert_eq(read_feed(net, &cursor, 9, 1 << 20, &seen), 0, "no need to start over");
}

/* ------------------------------------------------------------- a model subscriber */

#define IDS 12

struct subscriber {
    struct ms_feed_cursor cursor;
    uint64_t revision[IDS]; /* of the port as it has it; 0: it has none */
    bool mentioned[IDS];
    bool in_pass;
};

static void learn(void *aux, const struct ms_feed_entry *e)
{
    struct subscriber *s = aux;
    size_t i = (size_t)(e->id.data[0] - 'A');
    cr_assert_lt(i, IDS);
    s->revision[i] = e->is_gone ? 0 : e->revision;
    s->mentioned[i] = true;
}

/* One page; does what an agent does with start-over and its end. */
static int step(struct subscriber *s)
{
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    int r = ms_feed_read(m.reader, net, &s->cursor, 1 + (size_t)rand() % 4, 1 << 20, learn, s);
    if (r == EM_E_STALE) {
        ms_feed_start(m.reader, 0, &s->cursor);
        s->in_pass = true;
        memset(s->mentioned, 0, sizeof(s->mentioned));
    }
    ms_reader_end(m.reader);
    for (size_t i = 0; r == 0 && s->in_pass && i < IDS; i++)
        if (!s->mentioned[i])
            s->revision[i] = 0;
    if (r == 0)
        s->in_pass = false;
    return r;
}

static void restart(struct subscriber *s)
{
    /* A pass that was not finished is worth nothing to a new connection. */
    s->in_pass = start(s->in_pass ? 0 : s->cursor.revision, &s->cursor);
    if (s->in_pass)
        memset(s->mentioned, 0, sizeof(s->mentioned));
}

static void change_something(void)
{
    char id[2] = {(char)('A' + rand() % IDS)}, eid[32];
    sprintf(eid, "10.0.%d.%d", id[0], 1 + rand() % 200);
    switch (rand() % 8) {
    case 0:
    case 1:
    case 2:
        map_withdraw(&m, "a", "", id, 0);
        break;
    case 3:
        trim((uint64_t)rand() % (map_revision(&m) + 1), (uint32_t)rand() % 4);
        break;
    default: /* of a random number */
        cr_assert_eq(REGISTER(&m, "a", id, net, {eid})->err, 0);
    }
}

static void check_truth(const struct subscriber *s)
{
    for (int i = 0; i < IDS; i++) {
        char id[2] = {(char)('A' + i)};
        const Eidmap__Port *port = map_port(&m, id);
        cr_assert_eq(s->revision[i], port ? port->revision : 0, "port %s", id);
    }
}

Test(feed, any_subscriber_ends_with_the_true_state)
{
    struct subscriber subs[4] = {{{0}}};
    srand(9437);
    for (size_t k = 0; k < 4; k++)
        restart(&subs[k]);
    for (int round = 0; round < 400; round++) {
        for (int i = rand() % 6; i > 0; i--)
            change_something();
        struct subscriber *s = &subs[rand() % 4];
        if (rand() % 5 == 0)
            restart(s);
        for (int i = rand() % 3; i > 0; i--)
            step(s);
        if (round % 10)
            continue;
        while (step(s))
            ;
        check_truth(s);
    }
}
