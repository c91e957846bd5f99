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
    net = map_network(&m, "blue", "10.0.0.0/16", "2001:db8::/64");
    map_node_up(&m, "a", "192.0.2.1");
}

static void teardown(void)
{
    map_close(&m);
}

TestSuite(resolve, .init = setup, .fini = teardown, .timeout = 60);

static struct ms_answer ask(uint32_t network, const char *text)
{
    struct ms_answer answer;
    struct em_eid eid = map_eid(text);
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    cr_assert_eq(ms_resolve(m.reader, network, &eid, &answer), 0);
    ms_reader_end(m.reader);
    return answer;
}

static void expect(uint32_t network, const char *text, const char *matched, const char *covers)
{
    struct ms_answer answer = ask(network, text);
    char got[EM_EID_TEXT];
    if (matched)
        cr_assert_not_null(answer.port.data, "%s: %s", text, answer.reason);
    else
        cr_assert_null(answer.port.data, "%s", text);
    if (matched)
        cr_assert_str_eq(em_eid_format(&answer.matched, got), matched, "%s matched %s", text, got);
    cr_assert_str_eq(em_eid_format(&answer.covers, got), covers, "%s covers %s", text, got);
}

static void expect_no(uint32_t network, const char *text, enum em_action action, uint32_t ttl_s)
{
    struct ms_answer answer = ask(network, text);
    cr_assert_null(answer.port.data);
    cr_assert_eq(answer.action, action, "%s: %s", text, answer.reason);
    cr_assert_eq(answer.ttl_s, ttl_s);
    cr_assert_gt(strlen(answer.reason), 0);
}

Test(resolve, each_kind_of_eid_leads_to_its_port)
{
    static const char *const eids[] = {"02:00:00:00:00:01", "10.0.0.1", "2001:db8::1",
                                       "tcp/10.0.0.1:80", "web.blue.example"};
    REGISTER(&m, "a", "p", net, {eids[0], eids[1], eids[2], eids[3], eids[4]});
    for (size_t i = 0; i < 5; i++)
        expect(net, eids[i], eids[i], eids[i]);
    expect_no(net, "02:00:00:00:00:02", EM_ACTION_DROP, 60);
    expect_no(net, "tcp/10.0.0.1:81", EM_ACTION_DROP, 60);
    expect_no(net, "blue.example", EM_ACTION_DROP, 60);
}

Test(resolve, a_port_id_is_found_even_where_no_node_has_it)
{
    REGISTER(&m, NULL, "p", net, {"10.0.0.1"}, .declared = true);
    cr_assert_not_null(ask(net, "port:p").port.data);
    cr_assert_not_null(ask(0, "port:p").port.data);
    cr_assert_null(ask(net + 1, "port:p").port.data);
    cr_assert_null(ask(0, "port:q").port.data);
    expect_no(net, "10.0.0.1", EM_ACTION_DROP, 60);
}

Test(resolve, negative_answers_say_why)
{
    expect_no(net, "10.0.0.1", EM_ACTION_DROP, 60);
    expect_no(net, "10.1.0.1", EM_ACTION_NATIVELY_FORWARD, 900);
    expect_no(net, "fe80::1", EM_ACTION_DROP, 60);
    expect_no(99, "10.0.0.1", EM_ACTION_NATIVELY_FORWARD, 900);
    expect_no(99, "02:00:00:00:00:01", EM_ACTION_NATIVELY_FORWARD, 900);
}

Test(resolve, the_longest_prefix_answers)
{
    REGISTER(&m, NULL, "default", net, {"0.0.0.0/0"}, .at = {"a"});
    REGISTER(&m, NULL, "wide", net, {"10.0.0.0/8"}, .at = {"a"});
    REGISTER(&m, NULL, "narrow", net, {"10.0.128.0/17"}, .at = {"a"});
    REGISTER(&m, "a", "host", net, {"10.0.128.5"});
    expect(net, "10.0.128.5", "10.0.128.5", "10.0.128.5");
    expect(net, "10.0.128.4", "10.0.128.0/17", "10.0.128.4");
    expect(net, "10.0.200.1", "10.0.128.0/17", "10.0.192.0/18");
    expect(net, "10.0.0.1", "10.0.0.0/8", "10.0.0.0/17");
    expect(net, "10.200.0.1", "10.0.0.0/8", "10.128.0.0/9");
    expect(net, "192.0.2.1", "0.0.0.0/0", "128.0.0.0/1");
}

Test(resolve, an_asked_prefix_finds_what_covers_it)
{
    char text[EM_EID_TEXT];
    REGISTER(&m, NULL, "wide", net, {"10.0.0.0/16"}, .at = {"a"});
    expect(net, "10.0.0.0/16", "10.0.0.0/16", "10.0.0.0/16");
    expect(net, "10.0.64.0/18", "10.0.0.0/16", "10.0.0.0/16");
    cr_assert_null(ask(net, "10.0.0.0/15").port.data);
    REGISTER(&m, "a", "host", net, {"10.0.64.0"});
    struct ms_answer answer = ask(net, "10.0.64.0/18");
    cr_assert_str_eq(em_eid_format(&answer.matched, text), "10.0.0.0/16");
    cr_assert_eq(answer.covers.kind, EM_EID_NONE, "a mapping lies at its first address");
}

Test(resolve, negative_ranges_stay_clear_of_everything_else)
{
    expect(net, "10.0.0.1", NULL, "10.0.0.0/16");
    expect(net, "10.1.0.1", NULL, "10.1.0.0/16");
    expect(net, "192.0.2.1", NULL, "128.0.0.0/1");
    expect(net, "fe80::1", NULL, "fe80::/10");
    expect(net, "fd00::1", NULL, "fc00::/7");
    expect(99, "10.0.0.1", NULL, "0.0.0.0/0");
    REGISTER(&m, "a", "p", net, {"10.0.0.2"});
    expect(net, "10.0.0.1", NULL, "10.0.0.0/31");
    expect(net, "10.0.0.3", NULL, "10.0.0.3");
    expect(net, "10.0.128.1", NULL, "10.0.128.0/17");
}

Test(resolve, other_networks_do_not_matter)
{
    uint32_t red = map_network(&m, "red", NULL, NULL);
    REGISTER(&m, NULL, "d", red, {"0.0.0.0/0"}, .at = {"a"});
    REGISTER(&m, "a", "p", red, {"10.0.0.2"});
    expect(net, "10.0.0.2", NULL, "10.0.0.0/16");
}

/* ---------------------------------------------------------- against brute force */

#define SPACE 64 /* addresses 10.0.0.0 .. 10.0.0.63: small enough to meet every case */

struct mapping {
    unsigned base, len; /* len 26 .. 32, of the whole address */
};

static struct mapping model[24];
static size_t n_model;

static bool contains(struct mapping range, struct mapping inner)
{
    return range.len <= inner.len &&
           (inner.base >> (32 - range.len)) == range.base >> (32 - range.len);
}

static struct mapping random_mapping(void)
{
    unsigned len = 26 + (unsigned)rand() % 7;
    unsigned base = (unsigned)rand() % SPACE;
    return (struct mapping){base & (unsigned)(~0ull << (32 - len)), len};
}

/* -1: none, else the index of the longest mapping that covers. */
static int best(struct mapping asked)
{
    int found = -1;
    for (size_t i = 0; i < n_model; i++)
        if (contains(model[i], asked) && (found < 0 || model[i].len > model[found].len))
            found = (int)i;
    return found;
}

/* May this be the range of an answer: does it hold the same for all of it, with nothing
 * more specific inside? */
static bool is_clean(struct mapping range, int match)
{
    if (match >= 0 && !contains(model[match], range))
        return false;
    for (size_t i = 0; i < n_model; i++)
        if ((int)i != match && contains(range, model[i]) &&
            (match < 0 || model[i].len > model[match].len))
            return false;
    return best(range) == match;
}

static void mapping_text(struct mapping range, char *text)
{
    sprintf(text, range.len == 32 ? "10.0.0.%u" : "10.0.0.%u/%u", range.base, range.len);
}

static void fill_model(void)
{
    char text[32], id[32];
    size_t want = 1 + (size_t)rand() % 20;
    for (n_model = 0; n_model < want;) {
        struct mapping new = random_mapping();
        bool is_known = false;
        for (size_t i = 0; i < n_model; i++)
            is_known |= model[i].base == new.base &&model[i].len == new.len;
        want -= is_known && want > n_model;
        if (is_known)
            continue;
        mapping_text(new, text);
        sprintf(id, "m%zu", n_model);
        cr_assert_eq(REGISTER(&m, NULL, id, net, {text}, .at = {"a"})->err, 0);
        model[n_model++] = new;
    }
}

static void clear_model(void)
{
    char id[32];
    for (size_t i = 0; i < n_model; i++) {
        sprintf(id, "m%zu", i);
        map_withdraw(&m, NULL, "", id, 0);
    }
}

static void check_one(struct mapping asked)
{
    char text[32], matched[EM_EID_TEXT], wanted[32];
    mapping_text(asked, text);
    struct ms_answer answer = ask(net, text);
    int match = best(asked);
    cr_assert_eq(answer.port.data != NULL, match >= 0, "%s", text);
    if (match >= 0) {
        mapping_text(model[match], wanted);
        cr_assert_str_eq(em_eid_format(&answer.matched, matched), wanted, "%s", text);
    }
    unsigned widest = 33; /* none: not even the first address is clean */
    for (unsigned len = 17; len <= 32 && widest == 33; len++)
        if (is_clean((struct mapping){asked.base & (unsigned)(~0ull << (32 - len)), len}, match))
            widest = len;
    if (widest == 33)
        cr_assert_eq(answer.covers.kind, EM_EID_NONE, "%s", text);
    else
        cr_assert_eq(em_eid_prefix_len(&answer.covers), widest, "%s: %u, not %u", text,
                     em_eid_prefix_len(&answer.covers), widest);
}

Test(resolve, agrees_with_brute_force)
{
    unsigned seed = 4342;
    srand(seed);
    net = map_network(&m, "model", "10.0.0.0/17", NULL);
    for (int round = 0; round < 60; round++) {
        fill_model();
        for (unsigned i = 0; i < SPACE; i++)
            check_one((struct mapping){i, 32});
        for (int i = 0; i < 40; i++)
            check_one(random_mapping());
        clear_model();
    }
}

/* What a reader remembers. */

static void same_as_new_reader(const char *text, const char *when)
{
    struct em_eid eid = map_eid(text);
    struct ms_answer fresh, remembered;
    struct ms_reader *reader;
    cr_assert_eq(ms_reader_new(m.store, &reader), 0);
    cr_assert_eq(ms_reader_begin(reader), 0);
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    cr_assert_eq(ms_resolve(reader, net, &eid, &fresh), 0);
    cr_assert_eq(ms_resolve(m.reader, net, &eid, &remembered), 0);
    cr_assert_eq(remembered.port.size, fresh.port.size, "%s %s", text, when);
    if (fresh.port.size)
        cr_assert_arr_eq(remembered.port.data, fresh.port.data, fresh.port.size, "%s %s", text,
                         when);
    cr_assert(em_eid_compare(&remembered.covers, &fresh.covers) == 0, "%s %s", text, when);
    cr_assert_eq(remembered.action, fresh.action);
    cr_assert_eq(remembered.has_view, fresh.has_view);
    ms_reader_end(m.reader);
    ms_reader_end(reader);
    ms_reader_free(reader);
}

/* Each address is asked for before and after each step, so that all are remembered. */
static void step(uint32_t n)
{
    static const char *const nodes[] = {"a", "b", "c"};
    static const char *const ips[] = {"10.0.0.1", "10.0.0.2", "10.0.0.3"};
    static const char *const macs[] = {"02:00:00:00:00:01", "02:00:00:00:00:02"};
    static const char *const ports[] = {"p", "q", "r"};
    const char *node = nodes[n % 3], *port = ports[n / 3 % 3], *ip = ips[n / 9 % 3];
    if (n / 27 % 4 == 0)
        map_withdraw(&m, NULL, n % 2 ? "" : node, port, 0);
    else
        REGISTER(&m, node, port, net, {ip, macs[n / 7 % 2]}, .attach = true, .shared = n % 5 == 0);
    for (size_t i = 0; i < 3; i++)
        same_as_new_reader(ips[i], port);
    for (size_t i = 0; i < 2; i++)
        same_as_new_reader(macs[i], port);
}

Test(resolve, what_is_remembered_is_what_the_map_has)
{
    uint32_t n = 12345;
    map_node_up(&m, "b", "192.0.2.2");
    map_node_up(&m, "c", "192.0.2.3");
    for (int i = 0; i < 400; i++)
        step((n = n * 1103515245 + 12345) >> 8);
    map_reopen(&m);
    same_as_new_reader("10.0.0.1", "after a restart");
}

Test(resolve, who_sees_an_older_state_is_not_given_a_newer_one)
{
    struct em_eid eid = map_eid("10.0.0.1");
    struct ms_answer answer;
    REGISTER(&m, "a", "p", net, {"10.0.0.1"});
    (void)ask(net, "10.0.0.1");
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    map_withdraw(&m, NULL, "", "p", 0);
    cr_assert_eq(ms_resolve(m.reader, net, &eid, &answer), 0);
    cr_assert_not_null(answer.port.data);
    ms_reader_end(m.reader);
    cr_assert_null(ask(net, "10.0.0.1").port.data);
    expect(net, "10.0.0.1", NULL, "10.0.0.0/16");
}
