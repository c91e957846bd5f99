#include "core/applier.h"

#include "mapserver/map.h"
#include "state/identity.h"
#include "state/snapshot.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MARK 10

static struct map m;
static struct ms_store *store;
static struct ms_applier *applier;
static struct ms_point point;
static const struct ms_mark mark = {MARK, 1, MARK, "members", 7};

/* Written on the applier's thread, looked at when it is stopped or has said so. */
static struct {
    char log[4096]; /* "commit result applied:11 " */
    sem_t synced;
    struct ms_mark mark;
    char members[32];
    int err;
    char why[256];
    sem_t gate; /* on_result waits here, with is_gated */
    bool is_gated;
} seen;

static void note(const char *format, unsigned long long n)
{
    size_t at = strlen(seen.log);
    snprintf(seen.log + at, sizeof(seen.log) - at, format, n);
}

static void on_commit(void *aux, uint64_t revision, const uint32_t *networks, size_t n)
{
    note("commit ", 0);
}

static void on_result(void *aux, const struct ms_result *result)
{
    if (seen.is_gated)
        sem_wait(&seen.gate);
    note(result->is_repeated ? "repeated:%llu " : "result:%llu ", result->seq);
}

static void on_applied(void *aux, struct ms_point reached)
{
    note("applied:%llu ", reached.index);
}

static void on_synced(void *aux, const struct ms_mark *at)
{
    seen.mark = *at;
    snprintf(seen.members, sizeof(seen.members), "%.*s", (int)at->members_size,
             (const char *)at->members);
    sem_post(&seen.synced);
}

static void on_fatal(void *aux, int err, const char *why)
{
    note("fatal ", 0);
    seen.err = err;
    snprintf(seen.why, sizeof(seen.why), "%s", why);
}

static void start(const struct ms_mark *from)
{
    static const struct ms_applier_events events = {on_commit, on_result, on_applied, on_synced,
                                                    on_fatal};
    const struct ms_store_config config = {
        .dir = m.dir, .generation = m.generation, .map_size = 64u << 20, .disk_reserve = 8u << 20};
    char *why = NULL;
    map_lend(&m);
    cr_assert_eq(ms_store_open(&config, &store, &why), 0, "%s", why);
    cr_assert_eq(ms_applier_start(store, from, &events, NULL, &applier, &point), 0);
}

static void stop(void)
{
    ms_applier_stop(applier);
    applier = NULL;
    ms_store_close(store);
    store = NULL;
    map_take_back(&m);
}

static void setup(void)
{
    map_open(&m, 0);
    memset(&seen, 0, sizeof(seen));
    sem_init(&seen.synced, 0, 0);
    sem_init(&seen.gate, 0, 0);
}

static void teardown(void)
{
    if (applier)
        stop();
    map_close(&m);
}

TestSuite(applier, .init = setup, .fini = teardown, .timeout = 60);

static void put(uint64_t index, enum raft_entry_type type, const void *data, size_t size)
{
    const struct ms_entry entry = {1, type, ms_payload_new(data, size), (uint32_t)size};
    ms_applier_put(applier, index, &entry);
    ms_payload_unref(entry.payload);
}

/* An entry of one command, which puts network "n<seq>". */
static void put_network(uint64_t index, uint64_t seq)
{
    char name[32];
    uint8_t bytes[256], entry[300];
    Eidmap__Command command = map_command(&m, "");
    Eidmap__Proposer proposer = EIDMAP__PROPOSER__INIT;
    Eidmap__PutNetwork body = EIDMAP__PUT_NETWORK__INIT;
    Eidmap__Network network = EIDMAP__NETWORK__INIT;
    Eidmap__Batch batch = EIDMAP__BATCH__INIT;
    snprintf(name, sizeof(name), "n%d", (int)seq);
    proposer.replica = proposer.incarnation = 1;
    proposer.seq = seq;
    command.proposer = &proposer;
    network.name = name;
    body.network = &network;
    command.body_case = EIDMAP__COMMAND__BODY_PUT_NETWORK;
    command.put_network = &body;
    ProtobufCBinaryData packed = {eidmap__command__pack(&command, bytes), bytes};
    batch.commands = &packed;
    batch.n_commands = 1;
    put(index, RAFT_COMMAND, entry, eidmap__batch__pack(&batch, entry));
}

static void sync_and_wait(void)
{
    ms_applier_sync(applier);
    sem_wait(&seen.synced);
}

Test(applier, first_start_takes_point_and_members_of_the_mark)
{
    struct ms_identity identity;
    start(&mark);
    cr_assert_eq(point.index, MARK);
    cr_assert_eq(point.term, 1);
    cr_assert_eq(ms_identity_get(store, &identity), 0);
    cr_assert_eq(identity.members_size, 7);
    cr_assert_eq(identity.members_index, MARK);
    ms_identity_fini(&identity);
}

Test(applier, results_come_in_order_and_before_the_point)
{
    start(&mark);
    for (uint64_t i = 1; i <= 5; i++)
        put_network(MARK + i, i);
    stop();
    const char *at = seen.log;
    for (int i = 1; i <= 5; i++) {
        char text[32];
        snprintf(text, sizeof(text), "result:%d ", i);
        at = strstr(at, text);
        cr_assert_not_null(at, "%d in %s", i, seen.log);
    }
    cr_assert(strncmp(seen.log, "commit ", 7) == 0, "%s", seen.log);
    cr_assert(strstr(at, "applied:15 "), "%s", seen.log);
    cr_assert_eq(ms_apply_point(m.apply).index, MARK + 5);
}

Test(applier, what_waits_goes_into_one_transaction)
{
    start(&mark);
    seen.is_gated = true;
    put_network(MARK + 1, 1);
    while (!strstr(seen.log, "commit"))
        usleep(1000);
    for (uint64_t i = 2; i <= 50; i++)
        put_network(MARK + i, i);
    for (int i = 0; i < 50; i++)
        sem_post(&seen.gate);
    stop();
    unsigned n_commits = 0;
    for (const char *at = seen.log; (at = strstr(at, "commit")); at++)
        n_commits++;
    cr_assert_eq(n_commits, 2);
}

Test(applier, what_the_map_has_is_skipped)
{
    start(&mark);
    put_network(MARK, 1);
    put_network(MARK + 1, 1);
    put_network(MARK + 2, 2);
    stop();
    seen.log[0] = '\0';
    start(&mark);
    cr_assert_eq(point.index, MARK + 2);
    put_network(MARK + 1, 1);
    put_network(MARK + 2, 2);
    put_network(MARK + 3, 3);
    stop();
    cr_assert_null(strstr(seen.log, "result:1 "), "%s", seen.log);
    cr_assert_null(strstr(seen.log, "repeated"), "%s", seen.log);
    cr_assert(strstr(seen.log, "result:3 "), "%s", seen.log);
}

Test(applier, entries_without_commands_move_the_point)
{
    start(&mark);
    put(MARK + 1, RAFT_BARRIER, "", 0);
    put(MARK + 2, RAFT_COMMAND, "", 0);
    put_network(MARK + 3, 1);
    put(MARK + 4, RAFT_BARRIER, "", 0);
    sync_and_wait();
    cr_assert_eq(seen.mark.index, MARK + 4);
    stop();
    cr_assert_eq(seen.err, 0, "%s", seen.why);
}

Test(applier, members_change_in_their_place)
{
    start(&mark);
    put_network(MARK + 1, 1);
    put(MARK + 2, RAFT_CHANGE, "changed", 7);
    put_network(MARK + 3, 2);
    sync_and_wait();
    cr_assert_eq(seen.mark.index, MARK + 3);
    cr_assert_eq(seen.mark.term, 1);
    cr_assert_eq(seen.mark.members_index, MARK + 2);
    cr_assert_str_eq(seen.members, "changed");
    stop();
    cr_assert(strstr(seen.log, "result:2 "), "%s", seen.log);
}

Test(applier, entry_that_is_no_batch_is_fatal_and_nothing_follows_it)
{
    start(&mark);
    put(MARK + 1, RAFT_COMMAND, "\x0a\xff", 2);
    put_network(MARK + 2, 1);
    stop();
    cr_assert_eq(seen.err, EM_E_MALFORMED);
    cr_assert(strstr(seen.why, "damaged"), "%s", seen.why);
    cr_assert_str_eq(seen.log, "fatal ");
    cr_assert_eq(ms_apply_point(m.apply).index, MARK);
}

/* A map of another generation with networks "n1".."n<n>", as if received. */
static void build_generation(uint64_t generation, uint64_t n)
{
    struct map other;
    struct ms_snapshot_info info;
    char *why = NULL, path[256];
    map_open(&other, 0);
    for (uint64_t i = 1; i <= n; i++) {
        char name[32];
        snprintf(name, sizeof(name), "n%d", (int)i);
        map_network(&other, name, NULL, NULL);
    }
    struct ms_identity identity;
    cr_assert_eq(ms_identity_get(other.store, &identity), 0);
    identity.applied = 100;
    identity.applied_term = 2;
    identity.members = em_memdup("theirs", 6);
    identity.members_size = 6;
    identity.members_index = 50;
    cr_assert_eq(ms_identity_set(other.store, &identity), 0);
    ms_identity_fini(&identity);
    snprintf(path, sizeof(path), "%s/copy", other.dir);
    cr_assert_eq(ms_snapshot_write(other.store, path, false, NULL, &info, &why), 0, "%s", why);
    ms_snapshot_info_fini(&info);
    const struct ms_snapshot_target target = {
        .dir = m.dir, .generation = generation, .map_size = 64u << 20, .disk_reserve = 8u << 20};
    cr_assert_eq(ms_snapshot_load(path, &target, NULL, &info, &why), 0, "%s", why);
    ms_snapshot_info_fini(&info);
    map_close(&other);
}

Test(applier, switch_drops_what_waits_and_goes_on_in_the_new_map)
{
    char *why = NULL;
    start(&mark);
    build_generation(1, 3);
    put_network(MARK + 1, 1);
    cr_assert_eq(ms_applier_switch(applier, 1, &why), 0, "%s", why);
    put_network(100, 1); /* it has that */
    put_network(101, 1);
    sync_and_wait();
    cr_assert_eq(seen.mark.index, 101);
    cr_assert_eq(seen.mark.members_index, 50);
    cr_assert_str_eq(seen.members, "theirs");
    m.generation = 1;
    stop();
    cr_assert_eq(seen.err, 0, "%s", seen.why);
}

Test(applier, switch_waits_for_the_transaction_that_is_under_way)
{
    char *why = NULL;
    start(&mark);
    build_generation(1, 1);
    seen.is_gated = true;
    put_network(MARK + 1, 1);
    while (!strstr(seen.log, "commit"))
        usleep(1000);
    for (uint64_t i = 2; i <= 20; i++)
        put_network(MARK + i, i);
    seen.is_gated = false;
    sem_post(&seen.gate);
    cr_assert_eq(ms_applier_switch(applier, 1, &why), 0, "%s", why);
    cr_assert(strstr(seen.log, "applied:11 "), "%s", seen.log);
    m.generation = 1;
    stop();
}

Test(applier, switch_to_what_is_not_there_leaves_the_old_map)
{
    char *why = NULL;
    start(&mark);
    cr_assert_neq(ms_applier_switch(applier, 9, &why), 0);
    cr_assert_not_null(why);
    free(why);
    put_network(MARK + 1, 1);
    stop();
    cr_assert(strstr(seen.log, "result:1 "), "%s", seen.log);
    cr_assert_eq(ms_apply_point(m.apply).index, MARK + 1);
}

static bool is_synced_within(long ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return sem_timedwait(&seen.synced, &until) == 0;
}

/* Of a lazy one that waits for more, which never comes. */
Test(applier, switch_takes_all_that_waits_and_the_thread_goes_on)
{
    char *why = NULL;
    start(&mark);
    build_generation(1, 3);
    ms_applier_set_lazy(applier, true);
    put_network(MARK + 1, 1);
    cr_assert_not(is_synced_within(10)); /* so that it waits for more */
    cr_assert_eq(ms_applier_switch(applier, 1, &why), 0, "%s", why);
    seen.log[0] = '\0';
    cr_assert_not(is_synced_within(150)); /* until it has given up to wait */
    cr_assert_str_eq(seen.log, "", "of nothing nothing is said");
    put_network(101, 1);
    sync_and_wait();
    cr_assert_eq(seen.mark.index, 101);
    m.generation = 1;
    stop();
    cr_assert_eq(seen.err, 0, "%s", seen.why);
}

Test(applier, backlog_counts_down_to_nothing)
{
    uint64_t n_done;
    start(&mark);
    seen.is_gated = true;
    for (uint64_t i = 1; i <= 5; i++)
        put_network(MARK + i, i);
    cr_assert_gt(ms_applier_backlog(applier, &n_done), 0);
    cr_assert_lt(n_done, 5);
    for (int i = 0; i < 5; i++)
        sem_post(&seen.gate);
    sync_and_wait();
    cr_assert_eq(ms_applier_backlog(applier, &n_done), 0);
    cr_assert_eq(n_done, 5);
}
