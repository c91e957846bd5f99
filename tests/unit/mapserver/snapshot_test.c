#include "base/crc32c.h"
#include "mapserver/copy_sums.h"
#include "mapserver/map.h"
#include "state/identity.h"
#include "state/snapshot.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static struct map m;
static char copy[160], other[160];
static uint32_t net;

static void add(struct reg reg)
{
    const struct ms_result *r = map_register(&m, &reg, 1);
    cr_assert_eq(r->err, 0, "%s", r->message);
}
#define ADD(...) add((struct reg){__VA_ARGS__})

static void setup(void)
{
    map_open(&m, 0);
    snprintf(copy, sizeof(copy), "%s/copy", m.dir);
    snprintf(other, sizeof(other), "%s/other", m.dir);
    net = map_network(&m, "blue", "10.0.0.0/8", NULL);
    map_node_up(&m, "a", "192.0.2.1");
    map_node_up(&m, "b", "2001:db8::1");
    ADD("a", "p", net, {"10.0.0.1", "02:00:00:00:00:01", "vm1.example"});
    ADD(NULL, "q", net, {"10.0.0.2", "10.1.0.0/16", "vm2.example"}, {"b"}, .shared = true);
    ADD("a", "r", net, {"10.0.0.2", "vm2.example"}, .shared = true);
    ADD("a", "gone", net, {"10.0.0.9"});
    map_withdraw(&m, "a", "", "gone", 0);
}

static void teardown(void)
{
    map_close(&m);
}

TestSuite(snapshot, .init = setup, .fini = teardown, .timeout = 120);

/* ----------------------------------------------------------------------------- helpers */

static struct ms_snapshot_info write_copy(const char *path)
{
    struct ms_snapshot_info info;
    char *why = NULL;
    int r = ms_snapshot_write(m.store, path, true, NULL, &info, &why);
    cr_assert_eq(r, 0, "%s", why ? why : "");
    return info;
}

static int try_load(const char *path, uint64_t generation, const struct ms_identity *identity,
                    char **ret_why)
{
    struct ms_snapshot_info info;
    struct ms_snapshot_target target = {.dir = m.dir,
                                        .generation = generation,
                                        .map_size = 64u << 20,
                                        .disk_reserve = 4096,
                                        .identity = identity};
    int r = ms_snapshot_load(path, &target, NULL, &info, ret_why);
    if (!r)
        ms_snapshot_info_fini(&info);
    return r;
}

static void load_copy(const char *path, uint64_t generation, const struct ms_identity *identity)
{
    char *why = NULL;
    int r = try_load(path, generation, identity, &why);
    cr_assert_eq(r, 0, "%s", why ? why : "");
}

static void switch_to(uint64_t generation)
{
    char *why = NULL;
    int r = ms_store_switch(m.store, generation, &why);
    cr_assert_eq(r, 0, "%s", why ? why : "");
    m.generation = generation;
}

static bool is_there(const char *format, uint64_t generation)
{
    char path[256];
    size_t n = (size_t)snprintf(path, sizeof(path), "%s/", m.dir);
    snprintf(path + n, sizeof(path) - n, format, (unsigned long long)generation);
    return access(path, F_OK) == 0;
}

static uint8_t *read_file(const char *path, size_t *ret_size)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert(fd >= 0 && fstat(fd, &st) == 0);
    uint8_t *data = em_malloc((size_t)st.st_size + 1);
    cr_assert_eq(read(fd, data, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret_size = (size_t)st.st_size;
    return data;
}

static void write_file(const char *path, const uint8_t *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
}

static const char *answer_to(const char *text)
{
    static char found[64];
    struct em_eid eid = map_eid(text);
    struct ms_answer answer;
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    cr_assert_eq(ms_resolve(m.reader, net, &eid, &answer), 0);
    Eidmap__Port *port = answer.port.data ? em_msg_unpack_as(&m.arena, &eidmap__port__descriptor,
                                                             answer.port.data, answer.port.size)
                                          : NULL;
    snprintf(found, sizeof(found), "%.*s", port ? (int)port->id.len : 1,
             port ? (char *)port->id.data : "-");
    ms_reader_end(m.reader);
    return found;
}

/* -------------------------------------------------------------------------- round trips */

Test(snapshot, a_map_that_was_written_and_loaded_gives_the_same_answers)
{
    static const char *const asked[] = {"10.0.0.1",         "10.0.0.2",    "10.1.2.3",
                                        "10.0.0.9",         "vm1.example", "vm2.example",
                                        "02:00:00:00:00:01"};
    char before[7][64];
    struct ms_stats stats, again;
    for (int i = 0; i < 7; i++)
        strcpy(before[i], answer_to(asked[i]));
    cr_assert_str_eq(before[0], "p");
    cr_assert_eq(ms_store_stats(m.store, &stats), 0);
    struct ms_snapshot_info info = write_copy(copy);
    load_copy(copy, 1, NULL);
    switch_to(1);
    for (int i = 0; i < 7; i++)
        cr_assert_str_eq(before[i], answer_to(asked[i]), "%s", asked[i]);
    cr_assert_eq(ms_store_stats(m.store, &again), 0);
    cr_assert_eq(stats.revision, again.revision);
    cr_assert_eq(stats.n_ports, again.n_ports);
    cr_assert_eq(stats.n_eids, again.n_eids);
    cr_assert_eq(stats.applied, again.applied);
    cr_assert_eq(info.n_ports, 3);
    cr_assert_eq(info.revision, stats.revision);
    ms_snapshot_info_fini(&info);
}

Test(snapshot, a_copy_of_a_loaded_map_is_the_same_file)
{
    size_t n_first, n_second;
    struct ms_snapshot_info first = write_copy(copy);
    load_copy(copy, 1, NULL);
    switch_to(1);
    struct ms_snapshot_info second = write_copy(other);
    cr_assert_arr_eq(first.digest, second.digest, EM_DIGEST_SIZE);
    uint8_t *a = read_file(copy, &n_first), *b = read_file(other, &n_second);
    cr_assert_eq(n_first, n_second);
    cr_assert_arr_eq(a, b, n_first);
    free(a);
    free(b);
    ms_snapshot_info_fini(&first);
    ms_snapshot_info_fini(&second);
}

Test(snapshot, check_tells_what_write_told)
{
    struct ms_snapshot_job job = {0};
    struct ms_snapshot_info written = write_copy(copy), checked;
    struct stat st;
    char *why = NULL;
    cr_assert_eq(ms_snapshot_check(copy, &job, &checked, &why), 0, "%s", why);
    cr_assert_eq(written.n_rows, checked.n_rows);
    cr_assert_eq(written.n_bytes, checked.n_bytes);
    cr_assert_eq(written.n_ports, checked.n_ports);
    cr_assert_eq(written.revision, checked.revision);
    cr_assert_arr_eq(written.digest, checked.digest, EM_DIGEST_SIZE);
    cr_assert_arr_eq(written.identity.cluster_id, checked.identity.cluster_id, MS_CLUSTER_ID_SIZE);
    cr_assert_eq(written.identity.applied, checked.identity.applied);
    cr_assert_eq(job.n_bytes, checked.n_bytes);
    cr_assert_eq(job.n_rows, checked.n_rows);
    cr_assert_eq(stat(copy, &st), 0);
    cr_assert_eq((uint64_t)st.st_size, checked.n_bytes);
    cr_assert_eq(st.st_mode & 0777, 0600);
}

Test(snapshot, the_digest_follows_the_map_and_not_whose_it_is)
{
    struct ms_identity identity = {.recovery = 3,
                                   .applied = 900,
                                   .applied_term = 7,
                                   .members_index = 899,
                                   .members = (uint8_t *)"abc",
                                   .members_size = 3,
                                   .cluster_id = {1, 2, 3}};
    struct ms_snapshot_info first = write_copy(copy);
    load_copy(copy, 1, &identity);
    switch_to(1);
    map_reopen(&m);
    struct ms_snapshot_info second = write_copy(other);
    cr_assert_arr_eq(first.digest, second.digest, EM_DIGEST_SIZE);
    cr_assert_eq(second.identity.recovery, 3);
    cr_assert_eq(second.identity.applied, 900);
    cr_assert_eq(second.identity.applied_term, 7);
    cr_assert_eq(second.identity.members_index, 899);
    cr_assert_eq(second.identity.members_size, 3);
    cr_assert_arr_eq(second.identity.members, "abc", 3);
    cr_assert_arr_eq(second.identity.cluster_id, identity.cluster_id, MS_CLUSTER_ID_SIZE);
    ADD("a", "more", net, {0});
    struct ms_snapshot_info third = write_copy(other);
    cr_assert_neq(memcmp(first.digest, third.digest, EM_DIGEST_SIZE), 0);
    ms_snapshot_info_fini(&second);
    ms_snapshot_info_fini(&third);
}

Test(snapshot, a_map_in_which_nothing_ever_happened_can_be_copied)
{
    struct ms_snapshot_info info;
    map_close(&m);
    map_open(&m, 0);
    snprintf(copy, sizeof(copy), "%s/copy", m.dir);
    info = write_copy(copy);
    cr_assert_eq(info.n_rows, 1, "the counters");
    load_copy(copy, 1, NULL);
    switch_to(1);
    map_reopen(&m);
    cr_assert_eq(map_revision(&m), 0);
    cr_assert_eq(map_network(&m, "blue", NULL, NULL), 1);
}

/* More than one piece, more than one commit, values under one key on many pages. */
Test(snapshot, a_map_of_many_rows_comes_back_whole)
{
    enum { N = 6000, AT_ONCE = 500 };
    static struct reg regs[AT_ONCE];
    static char ids[AT_ONCE][32], eids[AT_ONCE][32];
    for (size_t n = 0; n < N; n += AT_ONCE) {
        for (size_t i = 0; i < AT_ONCE; i++) {
            snprintf(ids[i], sizeof(ids[i]), "port-%06zu", n + i);
            snprintf(eids[i], sizeof(eids[i]), "10.2.%zu.%zu", (n + i) / 200, 1 + (n + i) % 200);
            regs[i] = (struct reg){"a", ids[i], net, {eids[i]}};
        }
        cr_assert_eq(map_register(&m, regs, AT_ONCE)->err, 0);
        em_arena_reset(&m.arena);
    }
    struct ms_snapshot_info first = write_copy(copy);
    cr_assert_eq(first.n_ports, N + 3);
    cr_assert_gt(first.n_rows, 20000, "%llu", (unsigned long long)first.n_rows);
    load_copy(copy, 1, NULL);
    switch_to(1);
    map_reopen(&m);
    struct ms_snapshot_info second = write_copy(other);
    cr_assert_arr_eq(first.digest, second.digest, EM_DIGEST_SIZE);
    cr_assert_eq(REGISTER(&m, "a", "port-003000x", net, {"10.200.0.1"})->err, 0);
    cr_assert_str_eq(answer_to("10.2.5.7"), "port-001006");
    cr_assert_str_eq(answer_to("10.200.0.1"), "port-003000x");
    map_withdraw(&m, "a", "", "port-000000", 0);
    cr_assert_null(map_port(&m, "port-000000"));
}

/* ------------------------------------------------------------------------------ switching */

Test(snapshot, a_reader_that_has_begun_goes_on_in_the_old_map)
{
    struct ms_blob blob;
    write_copy(copy);
    load_copy(copy, 7, NULL);
    ADD("a", "late", net, {0});
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    switch_to(7);
    cr_assert_eq(ms_reader_port(m.reader, "late", 4, &blob), 0, "it is in the old one still");
    cr_assert(is_there("state", 0));
    ms_reader_end(m.reader);
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    cr_assert_eq(ms_reader_port(m.reader, "late", 4, &blob), EM_E_NOT_FOUND);
    cr_assert_eq(ms_reader_port(m.reader, "p", 1, &blob), 0);
    cr_assert_not(is_there("state", 0), "the last reader has left it");
    cr_assert(is_there("state-%llu", 7));
    ms_reader_end(m.reader);
}

Test(snapshot, an_open_cursor_over_eids_follows_the_switch)
{
    write_copy(copy);
    load_copy(copy, 1, NULL);
    cr_assert_str_eq(answer_to("10.1.2.3"), "q");
    switch_to(1);
    cr_assert_str_eq(answer_to("10.1.2.3"), "q");
    cr_assert_str_eq(answer_to("10.1.2.4"), "q");
}

Test(snapshot, writing_goes_on_in_the_new_map_and_lasts)
{
    write_copy(copy);
    load_copy(copy, 1, NULL);
    uint64_t index = ms_apply_point(m.apply).index;
    switch_to(1);
    cr_assert_eq(REGISTER(&m, "a", "s", net, {"10.0.0.4"})->err, 0);
    cr_assert_eq(ms_store_sync(m.store), 0);
    cr_assert_eq(ms_store_generation(m.store), 1);
    map_reopen(&m);
    cr_assert_str_eq(answer_to("10.0.0.4"), "s");
    cr_assert_eq(ms_apply_point(m.apply).index, index + 1);
}

Test(snapshot, a_generation_that_is_not_there_leaves_the_old_map_in_place)
{
    char *why = NULL;
    cr_assert_eq(ms_store_switch(m.store, 5, &why), EM_E_STORAGE);
    cr_assert_not_null(strstr(why, "state-5"), "%s", why);
    free(why);
    cr_assert_eq(ms_store_generation(m.store), 0);
    cr_assert_str_eq(answer_to("10.0.0.1"), "p");
}

#define N_READERS  4
#define N_SWITCHES 24

static atomic_bool is_over;
static _Atomic unsigned n_torn, n_reads[2];

/* In odd generations there is the port "odd", in even ones "even", each with an EID of its
 * own and the revision that its file had. */
static uint64_t revisions[2];
static struct em_eid eids[2];

static bool sees(struct ms_reader *reader, bool is_odd)
{
    const char *port = is_odd ? "odd" : "even";
    struct ms_answer answer;
    struct ms_blob blob;
    bool has_port = ms_reader_port(reader, port, strlen(port), &blob) == 0;
    bool has_eid = ms_resolve(reader, net, &eids[is_odd], &answer) == 0 && answer.port.data;
    if (has_port != has_eid)
        n_torn++;
    return has_port;
}

static void *read_on(void *arg)
{
    struct ms_reader *reader = NULL;
    uint8_t id[MS_CLUSTER_ID_SIZE];
    struct ms_stats stats;
    if (ms_reader_new(m.store, &reader))
        abort();
    while (!atomic_load(&is_over)) {
        if (ms_reader_begin(reader))
            abort();
        bool is_odd = sees(reader, true);
        for (int i = 0; i < 3; i++) {
            bool is_whole = sees(reader, false) == !is_odd && sees(reader, true) == is_odd &&
                            ms_reader_revision(reader) == revisions[is_odd];
            n_torn += is_whole ? 0 : 1;
        }
        n_reads[is_odd]++;
        ms_reader_end(reader);
        ms_store_cluster_id(m.store, id);
        if (ms_store_stats(m.store, &stats) ||
            (stats.revision != revisions[0] && stats.revision != revisions[1]))
            n_torn++;
    }
    ms_reader_free(reader);
    return NULL;
}

Test(snapshot, readers_see_the_old_map_or_the_new_one_and_never_a_mixture)
{
    pthread_t threads[N_READERS];
    struct ms_identity identity = {0};
    eids[1] = map_eid("10.9.9.1");
    eids[0] = map_eid("10.9.9.2");
    ADD("a", "odd", net, {"10.9.9.1"});
    revisions[1] = map_revision(&m);
    write_copy(copy);
    map_withdraw(&m, "a", "", "odd", 0);
    ADD("a", "even", net, {"10.9.9.2"});
    revisions[0] = map_revision(&m);
    write_copy(other);
    ms_reader_free(m.reader);
    for (int i = 0; i < N_READERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, read_on, NULL), 0);
    for (uint64_t n = 1; n <= N_SWITCHES; n++) {
        unsigned before = n_reads[n % 2];
        identity.cluster_id[0] = (uint8_t)n;
        load_copy(n % 2 ? copy : other, n, &identity);
        switch_to(n);
        while (n_reads[n % 2] < before + 2 * N_READERS && !n_torn)
            sched_yield();
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < N_READERS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(n_torn, 0);
    for (uint64_t n = 1; n < N_SWITCHES; n++)
        cr_assert_not(is_there("state-%llu", n), "generation %d", (int)n);
    cr_assert_not(is_there("state", 0));
    cr_assert(is_there("state-%llu", N_SWITCHES));
    cr_assert_eq(ms_reader_new(m.store, &m.reader), 0);
}

/* ------------------------------------------------------------------------------- damage */

static int check_bytes(const uint8_t *data, size_t size, char **ret_why)
{
    struct ms_snapshot_info info;
    *ret_why = NULL;
    write_file(other, data, size);
    int r = ms_snapshot_check(other, NULL, &info, ret_why);
    if (!r)
        ms_snapshot_info_fini(&info);
    return r;
}

static void expect_refusal(const uint8_t *data, size_t size, int err, const char *sentence)
{
    char *why;
    int r = check_bytes(data, size, &why);
    cr_assert_eq(r, err, "%s: %s", em_errname(r), why ? why : "");
    cr_assert_not_null(strstr(why, sentence), "\"%s\" is not in: %s", sentence, why);
    free(why);
    r = try_load(other, 1, NULL, &why);
    cr_assert_eq(r, err, "%s", em_errname(r));
    cr_assert_not_null(strstr(why, sentence), "\"%s\" is not in: %s", sentence, why);
    free(why);
    cr_assert_not(is_there("state-1", 0), "nothing is left behind");
    cr_assert_not(is_there("state-1.tmp", 0), "nothing is left behind");
}

Test(snapshot, no_byte_can_change_without_being_noticed)
{
    size_t size;
    char *why = NULL;
    write_copy(copy);
    uint8_t *data = read_file(copy, &size);
    for (size_t i = 0; i < size; i++) {
        for (unsigned flip = 1u << i % 8; flip; flip = flip == 0xff ? 0 : 0xff) {
            data[i] ^= (uint8_t)flip;
            cr_assert_lt(check_bytes(data, size, &why), 0, "byte %zu of %zu, flip %#x", i, size,
                         flip);
            cr_assert_not_null(why);
            free(why);
            if (i % 61 == 0) {
                cr_assert_lt(try_load(other, 1, NULL, &why), 0, "byte %zu", i);
                free(why);
            }
            data[i] ^= (uint8_t)flip;
        }
    }
    cr_assert_eq(check_bytes(data, size, &why), 0);
    free(data);
    cr_assert_not(is_there("state-1", 0));
    cr_assert_not(is_there("state-1.tmp", 0));
}

Test(snapshot, a_file_of_any_other_length_is_refused)
{
    size_t size;
    char *why;
    write_copy(copy);
    uint8_t *data = read_file(copy, &size);
    for (size_t n = 0; n < size; n++) {
        cr_assert_eq(check_bytes(data, n, &why), EM_E_MALFORMED, "%zu bytes of %zu", n, size);
        cr_assert_not_null(strstr(why, "ends too early"), "%s", why);
        free(why);
    }
    expect_refusal(data, size / 2, EM_E_MALFORMED, "ends too early");
    data[size] = 0;
    expect_refusal(data, size + 1, EM_E_MALFORMED, "something follows");
    free(data);
}

Test(snapshot, a_foreign_file_is_refused_by_that_name)
{
    static const uint8_t text[] = "port,eid\nvm1,10.0.0.1\n";
    expect_refusal(text, sizeof(text), EM_E_MALFORMED, "not a copy of a map");
    expect_refusal(text, 1, EM_E_MALFORMED, "not a copy of a map");
}

Test(snapshot, a_newer_format_is_refused_by_its_number)
{
    size_t size;
    write_copy(copy);
    uint8_t *data = read_file(copy, &size);
    data[15] = 9;
    expect_refusal(data, size, EM_E_UNSUPPORTED, "newer eidmap (format 9");
    data[15] = 0;
    expect_refusal(data, size, EM_E_MALFORMED, "damaged");
    free(data);
}

/* As a program that errs, or means harm, would write it: with sums that are right. */
static void expect_refusal_of_change(unsigned piece, size_t offset, uint8_t byte, int err,
                                     const char *sentence)
{
    size_t size, n;
    write_copy(copy);
    uint8_t *data = read_file(copy, &size);
    uint8_t *content = copy_piece(data, size, piece, &n);
    cr_assert(content && offset < n, "no byte %zu in piece %u", offset, piece);
    cr_assert_neq(content[offset], byte);
    content[offset] = byte;
    copy_set_sums(data, size);
    expect_refusal(data, size, err, sentence);
    free(data);
}

Test(snapshot, right_sums_alone_do_not_make_a_copy)
{
    enum { HEAD, META, PORTS, EIDS, N_DBS_AT = 64, ROW = 1, KEY = 7 };
    static const struct {
        unsigned piece;
        size_t offset;
        uint8_t byte;
        int err;
        const char *sentence;
    } changes[] = {
        {HEAD, 3, 9, EM_E_UNSUPPORTED, "newer eidmap (schema 9"},
        {HEAD, 51, 99, EM_E_MALFORMED, "counters belong to another map"},
        {HEAD, 60, 0xff, EM_E_MALFORMED, "members are not whole"},
        {HEAD, N_DBS_AT, 0, EM_E_MALFORMED, "something follows the head"},
        {HEAD, N_DBS_AT, 200, EM_E_MALFORMED, "head is not whole"},
        {HEAD, N_DBS_AT + 1, 1, EM_E_MALFORMED, "of another kind"},
        {HEAD, N_DBS_AT + 3, 'X', EM_E_UNSUPPORTED, "the database \"Xeta\""},
        {META, 0, 200, EM_E_MALFORMED, "its database is wrong"},
        {META, KEY, 'X', EM_E_MALFORMED, "row of counters is missing"},
        {PORTS, 0, 0, EM_E_MALFORMED, "missing or too many"},
        {PORTS, ROW, 0xff, EM_E_MALFORMED, "a wrong size"},
        {PORTS, ROW + 1, 0, EM_E_MALFORMED, "a wrong size"},
        {PORTS, ROW + 2, 0xff, EM_E_MALFORMED, "a wrong size"},
        {PORTS, ROW + 4, 0xff, EM_E_MALFORMED, "a row is not whole"},
        {PORTS, KEY, 'z', EM_E_MALFORMED, "not in order"},
        {EIDS, 0, 1, EM_E_MALFORMED, "not in order"},
        {EIDS, ROW + 5, 0, EM_E_MALFORMED, "a wrong size"},
    };
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
        expect_refusal_of_change(changes[i].piece, changes[i].offset, changes[i].byte,
                                 changes[i].err, changes[i].sentence);
}

Test(snapshot, an_identity_among_the_rows_is_refused)
{
    size_t size, n;
    write_copy(copy);
    uint8_t *data = read_file(copy, &size), *rows = copy_piece(data, size, 1, &n);
    cr_assert_eq(memcmp(rows + 7, "counters", 8), 0);
    memcpy(rows + 1, (uint8_t[]){0, 6, 0, 0}, 4);
    rows[6] = (uint8_t)(n - 7 - 6);
    memcpy(rows + 7, "schema", 6);
    copy_set_sums(data, size);
    expect_refusal(data, size, EM_E_MALFORMED, "identity stands among the rows");
    free(data);
}

Test(snapshot, a_file_that_is_not_there_is_named)
{
    struct ms_snapshot_info info;
    char *why = NULL;
    cr_assert_eq(ms_snapshot_check("/nowhere/copy", NULL, &info, &why), -ENOENT);
    cr_assert_not_null(strstr(why, "/nowhere/copy"));
    free(why);
    cr_assert_eq(ms_snapshot_write(m.store, "/nowhere/copy", false, NULL, &info, &why), -ENOENT);
    cr_assert_not_null(strstr(why, "/nowhere/copy"));
    free(why);
}

Test(snapshot, a_generation_that_is_there_is_not_overwritten)
{
    char *why = NULL;
    write_copy(copy);
    load_copy(copy, 1, NULL);
    cr_assert_eq(try_load(copy, 1, NULL, &why), EM_E_EXISTS);
    cr_assert_not_null(strstr(why, "state-1"), "%s", why);
    free(why);
}

/* ------------------------------------------------------------------- an end before the end */

Test(snapshot, what_is_cancelled_leaves_nothing)
{
    struct ms_snapshot_job job = {.is_cancelled = true};
    struct ms_snapshot_info info;
    struct ms_snapshot_target target = {.dir = m.dir, .generation = 1, .map_size = 64u << 20};
    char *why = NULL;
    cr_assert_eq(ms_snapshot_write(m.store, copy, false, &job, &info, &why), -ECANCELED);
    free(why);
    cr_assert_neq(access(copy, F_OK), 0);
    write_copy(copy);
    cr_assert_eq(ms_snapshot_check(copy, &job, &info, &why), -ECANCELED);
    free(why);
    cr_assert_eq(ms_snapshot_load(copy, &target, &job, &info, &why), -ECANCELED);
    free(why);
    cr_assert_not(is_there("state-1", 0));
    cr_assert_not(is_there("state-1.tmp", 0));
}

static void mount_small(char *dir, const char *size)
{
    cr_assert_not_null(mkdtemp(dir));
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("tmpfs", dir, "tmpfs", 0, size)) {
        rmdir(dir);
        cr_skip_test("needs the right to mount");
    }
}

static size_t count_entries(const char *dir)
{
    char command[256];
    size_t n = 0;
    snprintf(command, sizeof(command), "find %s -mindepth 1 | wc -l", dir);
    FILE *in = popen(command, "r");
    cr_assert_eq(fscanf(in, "%zu", &n), 1);
    pclose(in);
    return n;
}

static void register_many(size_t first, size_t n)
{
    static struct reg regs[1000];
    static char ids[1000][32];
    for (size_t i = 0; i < n; i++) {
        snprintf(ids[i], sizeof(ids[i]), "port-%06zu", first + i);
        regs[i] = (struct reg){"a", ids[i], net, {0}};
    }
    cr_assert_eq(map_register(&m, regs, n)->err, 0);
}

Test(snapshot, a_disk_that_becomes_full_ends_it_and_nothing_is_left)
{
    char dir[] = "/tmp/eidmap-disk-XXXXXX", path[64], *why = NULL;
    struct ms_snapshot_info info;
    struct ms_snapshot_target target = {.dir = dir, .generation = 1, .map_size = 64u << 20};
    register_many(0, 1000);
    write_copy(copy);
    mount_small(dir, "size=64k");
    snprintf(path, sizeof(path), "%s/copy", dir);
    cr_assert_eq(ms_snapshot_write(m.store, path, true, NULL, &info, &why), EM_E_NO_SPACE);
    cr_assert_not_null(strstr(why, "free space"), "%s", why);
    free(why);
    for (target.disk_reserve = 1; target.disk_reserve <= 1u << 30; target.disk_reserve <<= 30) {
        int r = ms_snapshot_load(copy, &target, NULL, &info, &why);
        cr_assert_eq(r, EM_E_NO_SPACE, "%s", em_errname(r));
        cr_assert_not_null(strstr(why, "free disk space"), "%s", why);
        free(why);
        cr_assert_eq(mount("tmpfs", dir, "tmpfs", MS_REMOUNT, "size=8m"), 0);
    }
    cr_assert_eq(count_entries(dir), 0);
    umount2(dir, MNT_DETACH);
    rmdir(dir);
}

Test(snapshot, a_map_size_that_is_too_small_is_no_reason_to_leave_anything)
{
    struct ms_snapshot_info info;
    struct ms_snapshot_target target = {
        .dir = m.dir, .generation = 1, .map_size = 1, .disk_reserve = 1};
    char *why = NULL;
    for (size_t n = 0; n < 15000; n += 1000)
        register_many(n, 1000);
    write_copy(copy);
    int r = ms_snapshot_load(copy, &target, NULL, &info, &why);
    cr_assert_eq(r, EM_E_NO_SPACE, "%s", em_errname(r));
    cr_assert_not_null(strstr(why, "raise the map size"), "%s", why);
    free(why);
    cr_assert_not(is_there("state-1.tmp", 0));
}
