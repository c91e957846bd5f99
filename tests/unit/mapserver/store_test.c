#include "mapserver/map.h"
#include "state/identity.h"
#include "state/txn.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct map m;

static void setup(void)
{
    map_open(&m, 0);
}

static void teardown(void)
{
    map_close(&m);
}

TestSuite(store, .init = setup, .fini = teardown, .timeout = 120);

static int try_open(const char *dir, char **why)
{
    struct ms_store *store;
    int r = ms_store_open(&(struct ms_store_config){.dir = dir}, &store, why);
    if (!r)
        ms_store_close(store);
    return r;
}

/* Opens the data of the closed map; puts the map back afterwards. */
static int open_damaged(void (*damage)(const char *path), const char *sentence)
{
    char from[512], path[256], dir[160], *why = NULL;
    snprintf(dir, sizeof(dir), "%s-copy", m.dir);
    mkdir(dir, 0700);
    snprintf(path, sizeof(path), "%s/state", dir);
    mkdir(path, 0700);
    snprintf(from, sizeof(from), "cp %s/state/data.mdb %s/data.mdb", m.dir, path);
    cr_assert_eq(system(from), 0);
    strcat(path, "/data.mdb");
    damage(path);
    int r = try_open(dir, &why);
    cr_assert_not_null(why);
    cr_assert_not_null(strstr(why, sentence), "%s", why);
    free(why);
    snprintf(from, sizeof(from), "rm -r %s", dir);
    cr_assert_eq(system(from), 0);
    return r;
}

Test(store, a_new_map_has_a_cluster_id_that_stays)
{
    uint8_t id[MS_CLUSTER_ID_SIZE], again[MS_CLUSTER_ID_SIZE], zero[MS_CLUSTER_ID_SIZE] = {0};
    ms_store_cluster_id(m.store, id);
    cr_assert_neq(memcmp(id, zero, sizeof(id)), 0);
    map_reopen(&m);
    ms_store_cluster_id(m.store, again);
    cr_assert_eq(memcmp(id, again, sizeof(id)), 0);
}

Test(store, what_was_applied_is_there_after_a_restart)
{
    uint32_t net = map_network(&m, "blue", NULL, NULL);
    map_node_up(&m, "a", "192.0.2.1");
    uint64_t epoch = REGISTER(&m, "a", "p", net, {"10.0.0.1"})->epochs[0];
    struct ms_point point = ms_apply_point(m.apply);
    map_reopen(&m);
    cr_assert_eq(ms_apply_point(m.apply).index, point.index);
    cr_assert_eq(ms_apply_point(m.apply).term, point.term);
    cr_assert_eq(map_revision(&m), epoch);
    cr_assert_eq(map_port(&m, "p")->locations[0]->epoch, epoch);
}

Test(store, counts_follow_the_records)
{
    struct ms_stats stats;
    uint32_t net = map_network(&m, "blue", NULL, NULL);
    map_node_up(&m, "a", "192.0.2.1");
    REGISTER(&m, "a", "p", net, {"10.0.0.1", "10.0.0.2"});
    REGISTER(&m, "a", "q", net, {"10.0.0.3"});
    REGISTER(&m, "a", "p", net, {"10.0.0.1"});
    cr_assert_eq(ms_store_stats(m.store, &stats), 0);
    cr_assert_eq(stats.n_networks, 1);
    cr_assert_eq(stats.n_nodes, 1);
    cr_assert_eq(stats.n_ports, 2);
    cr_assert_eq(stats.n_eids, 2);
    cr_assert_eq(stats.revision, map_revision(&m));
    cr_assert_gt(stats.store_used, 0);
    cr_assert_gt(stats.disk_free, 0);
    map_withdraw(&m, "a", "", "p", 0);
    cr_assert_eq(ms_store_stats(m.store, &stats), 0);
    cr_assert_eq(stats.n_ports, 1);
    cr_assert_eq(stats.n_eids, 1);
}

Test(store, a_second_server_on_the_same_data_is_refused)
{
    char *why = NULL;
    pid_t child = fork();
    if (child == 0)
        _exit(try_open(m.dir, &why) == -EBUSY ? 7 : 1);
    int status;
    waitpid(child, &status, 0);
    cr_assert_eq(WEXITSTATUS(status), 7);
}

Test(store, a_reader_sees_one_state_while_the_map_changes)
{
    uint32_t net = map_network(&m, "blue", NULL, NULL);
    struct ms_blob blob;
    map_node_up(&m, "a", "192.0.2.1");
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    uint64_t revision = ms_reader_revision(m.reader), state = ms_reader_state(m.reader);
    REGISTER(&m, "a", "p", net, {"10.0.0.1"});
    cr_assert_eq(ms_reader_port(m.reader, "p", 1, &blob), EM_E_NOT_FOUND);
    cr_assert_eq(ms_reader_revision(m.reader), revision);
    cr_assert_eq(ms_reader_state(m.reader), state);
    ms_reader_end(m.reader);
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    cr_assert_neq(ms_reader_state(m.reader), state);
    state = ms_reader_state(m.reader);
    cr_assert_eq(ms_reader_port(m.reader, "p", 1, &blob), 0);
    ms_reader_end(m.reader);
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    cr_assert_eq(ms_reader_state(m.reader), state, "nothing was committed since");
    ms_reader_end(m.reader);
}

Test(store, hostile_keys_are_not_found)
{
    static const char long_name[2000] = {[0 ... 1998] = 'x'};
    struct ms_blob blob;
    uint32_t id;
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    cr_assert_eq(ms_reader_port(m.reader, "", 0, &blob), EM_E_NOT_FOUND);
    cr_assert_eq(ms_reader_port(m.reader, long_name, 1999, &blob), EM_E_NOT_FOUND);
    cr_assert_eq(ms_reader_node(m.reader, "", &blob), EM_E_NOT_FOUND);
    cr_assert_eq(ms_reader_node(m.reader, long_name, &blob), EM_E_NOT_FOUND);
    cr_assert_eq(ms_reader_network_id(m.reader, long_name, &id), EM_E_NOT_FOUND);
    ms_reader_end(m.reader);
}

static int count_ids(void *aux, const uint8_t *id, size_t size)
{
    size_t *n = aux;
    cr_assert_eq(size, 2);
    cr_assert_eq(id[1], '0' + *n);
    return ++*n == 2 ? 99 : 0;
}

static int count_nodes(void *aux, const char *id, size_t size, struct ms_blob record)
{
    cr_assert_gt(record.size, 0);
    cr_assert_eq(size, 1);
    strncat(aux, id, size);
    return 0;
}

Test(store, visits_go_in_order_and_stop_when_told)
{
    uint32_t net = map_network(&m, "blue", NULL, NULL);
    char nodes[8] = "";
    size_t n = 0;
    map_node_up(&m, "b", "192.0.2.2");
    map_node_up(&m, "a", "192.0.2.1");
    REGISTER(&m, "a", "p1", net, {0});
    REGISTER(&m, "a", "p0", net, {0});
    REGISTER(&m, "b", "p9", net, {0});
    cr_assert_eq(ms_reader_begin(m.reader), 0);
    cr_assert_eq(ms_reader_node_ports(m.reader, "a", count_ids, &n), 99);
    cr_assert_eq(ms_reader_node_ports(m.reader, "zz", count_ids, &n), 0);
    cr_assert_eq(ms_reader_nodes(m.reader, count_nodes, nodes), 0);
    ms_reader_end(m.reader);
    cr_assert_eq(n, 2);
    cr_assert_str_eq(nodes, "ab");
}

/* --------------------------------------------------------------------- the directory */

static void make_dir(const char *name, const char *file)
{
    char command[512];
    snprintf(command, sizeof(command), "mkdir %s/%s && cp %s/state/data.mdb %s/%s/%s", m.dir, name,
             m.dir, m.dir, name, file);
    cr_assert_eq(system(command), 0);
}

static bool is_there(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", m.dir, name);
    return access(path, F_OK) == 0;
}

Test(store, maps_of_other_generations_and_half_made_ones_are_removed_at_the_start)
{
    make_dir("state-3", "data.mdb");
    make_dir("state-12", "lock.mdb");
    make_dir("state-4.tmp", "data.mdb");
    make_dir("state-5", "notes");
    make_dir("state-06", "data.mdb");
    make_dir("state-x", "data.mdb");
    make_dir("statement", "data.mdb");
    make_dir("log", "data.mdb");
    map_reopen(&m);
    cr_assert_not(is_there("state-3"));
    cr_assert_not(is_there("state-12"));
    cr_assert_not(is_there("state-4.tmp"));
    cr_assert(is_there("state-5/notes"), "what is not clearly ours stays");
    cr_assert(is_there("state-06"));
    cr_assert(is_there("state-x"));
    cr_assert(is_there("statement"));
    cr_assert(is_there("log"));
    cr_assert(is_there("state"));
}

Test(store, a_generation_is_opened_by_its_number)
{
    map_network(&m, "blue", NULL, NULL);
    uint64_t revision = map_revision(&m);
    make_dir("state-3", "data.mdb");
    m.generation = 3;
    map_reopen(&m);
    cr_assert_eq(map_revision(&m), revision);
    cr_assert_eq(ms_store_generation(m.store), 3);
    cr_assert(is_there("state-3"));
    cr_assert_not(is_there("state"));
}

static void expect_lost(uint64_t generation, const char *sentence)
{
    struct ms_store *store;
    char *why = NULL, dir[160], command[512];
    snprintf(dir, sizeof(dir), "%s-copy", m.dir);
    snprintf(command, sizeof(command), "mkdir %s && cp -r %s/state %s/state-4", dir, m.dir, dir);
    cr_assert_eq(system(command), 0);
    const struct ms_store_config config = {.dir = dir, .generation = generation};
    cr_assert_eq(ms_store_open(&config, &store, &why), EM_E_STORAGE);
    cr_assert_not_null(strstr(why, sentence), "%s", why);
    free(why);
    snprintf(command, sizeof(command), "test -f %s/state-4/data.mdb && rm -r %s", dir, dir);
    cr_assert_eq(system(command), 0, "what is there is left as it is");
}

Test(store, a_map_that_is_lost_is_no_reason_to_begin_anew)
{
    expect_lost(0, "state-4 has");
    expect_lost(7, "state-7 has no map");
}

Test(store, identity_and_members_last)
{
    struct ms_identity identity = {
        .cluster_id = {9}, .recovery = 2, .applied = 50, .applied_term = 4, .members_index = 44};
    struct ms_txn txn;
    uint8_t id[MS_CLUSTER_ID_SIZE];
    cr_assert_eq(ms_identity_set(m.store, &identity), 0);
    ms_store_cluster_id(m.store, id);
    cr_assert_eq(id[0], 9, "known at once");
    cr_assert_eq(ms_txn_begin(m.store, NULL, NULL, &txn), 0);
    ms_txn_set_members(&txn, 51, ms_blob("m1 m2 m3", 8));
    txn.meta.applied = 51;
    txn.meta.applied_term = 5;
    cr_assert_eq(ms_txn_commit(&txn), 0);
    cr_assert_eq(ms_store_sync(m.store), 0);
    map_reopen(&m);
    cr_assert_eq(ms_identity_get(m.store, &identity), 0);
    cr_assert_eq(identity.cluster_id[0], 9);
    cr_assert_eq(identity.recovery, 2);
    cr_assert_eq(identity.applied, 51);
    cr_assert_eq(identity.applied_term, 5);
    cr_assert_eq(identity.members_index, 51);
    cr_assert_eq(identity.members_size, 8);
    cr_assert_arr_eq(identity.members, "m1 m2 m3", 8);
    ms_identity_fini(&identity);
    cr_assert_null(identity.members);
}

Test(store, a_new_map_has_no_members_and_was_never_recovered)
{
    struct ms_identity identity;
    cr_assert_eq(ms_identity_get(m.store, &identity), 0);
    cr_assert_null(identity.members);
    cr_assert_eq(identity.recovery, 0);
    cr_assert_eq(identity.applied, 0);
}

/* ------------------------------------------------------------------------ damage */

static void overwrite(const char *path)
{
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 4096; i++)
        fputs("this is no map ", f);
    fclose(f);
}

static void cut(const char *path)
{
    cr_assert_eq(truncate(path, 3 * 4096), 0);
}

/* What another program, or a newer eidmap, has in its file. */
static void edit(const char *path, const char *db, const char *key, const void *value, size_t size)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val k = {strlen(key), (void *)key}, v = {size, (void *)value};
    cr_assert_eq(mdb_env_create(&env), 0);
    mdb_env_set_maxdbs(env, 4);
    cr_assert_eq(mdb_env_open(env, path, MDB_NOSUBDIR, 0600), 0);
    cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_dbi_open(txn, db, MDB_CREATE, &dbi), 0);
    cr_assert_eq(mdb_put(txn, dbi, &k, &v, 0), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void make_foreign(const char *path)
{
    unlink(path);
    edit(path, "others", "key", "value", 5);
}

static void make_newer(const char *path)
{
    edit(path, "meta", "schema", "\0\0\0\x63", 4);
}

Test(store, a_file_that_is_no_map_is_refused_with_what_to_do)
{
    cr_assert_lt(open_damaged(overwrite, "move the file away"), 0);
    cr_assert_lt(open_damaged(make_foreign, "not a map of eidmap"), 0);
}

Test(store, a_file_that_was_cut_is_refused_and_not_a_crash)
{
    map_network(&m, "blue", NULL, NULL);
    map_node_up(&m, "a", "192.0.2.1");
    cr_assert_lt(open_damaged(cut, "damaged"), 0);
}

Test(store, a_newer_schema_is_refused)
{
    cr_assert_eq(open_damaged(make_newer, "newer eidmap (schema 99"), EM_E_UNSUPPORTED);
}

Test(store, a_directory_that_cannot_be_made_is_explained)
{
    char *why = NULL;
    cr_assert_eq(try_open("/proc/nowhere", &why), -ENOENT);
    cr_assert_not_null(strstr(why, "/proc/nowhere"));
    free(why);
}

/* -------------------------------------------------------------------- a full map */

TestSuite(small, .fini = teardown, .timeout = 120);

static uint32_t open_small(void)
{
    map_open(&m, 1u << 20);
    uint32_t net = map_network(&m, "blue", NULL, NULL);
    map_node_up(&m, "a", "192.0.2.1");
    return net;
}

#define AT_ONCE 10 /* ports in a command: fewer commits, each of which is an fsync */

static const struct ms_result *fill(uint32_t net, size_t *n)
{
    const struct ms_result *r;
    char ids[AT_ONCE][32], eids[AT_ONCE][32];
    do {
        struct reg regs[AT_ONCE];
        for (size_t i = 0; i < AT_ONCE; i++) {
            size_t k = *n + i;
            snprintf(ids[i], sizeof(ids[i]), "port-%06zu", k);
            snprintf(eids[i], sizeof(eids[i]), "10.0.%zu.%zu", k / 200, 1 + k % 200);
            regs[i] = (struct reg){"a", ids[i], net, {eids[i]}};
        }
        r = map_register(&m, regs, AT_ONCE);
        *n += r->err == 0 ? AT_ONCE : 0;
        em_arena_reset(&m.arena);
    } while (r->err == 0);
    return r;
}

/* All that node "a" has, in portions: what a full map must still allow. */
static void empty_it(size_t n)
{
    Eidmap__Command command = map_command(&m, "");
    Eidmap__NodeExpire body = EIDMAP__NODE_EXPIRE__INIT;
    const struct ms_result *r;
    size_t n_gone = 0;
    body.node_id = (char *)"a";
    body.max_ports = 2 * AT_ONCE;
    command.origin->role = EIDMAP__ROLE__ROLE_SERVER;
    command.body_case = EIDMAP__COMMAND__BODY_NODE_EXPIRE;
    command.node_expire = &body;
    cr_assert_eq(map_node_down(&m, "a", 2000)->err, 0);
    do {
        r = map_run(&m, &command);
        cr_assert_eq(r->err, 0, "%s", r->message);
        n_gone += r->n_withdrawn;
    } while (r->is_more);
    cr_assert_eq(n_gone, n);
}

Test(small, a_full_map_refuses_growth_and_removal_frees)
{
    struct ms_stats stats;
    size_t n = 0;
    uint32_t net = open_small();
    const struct ms_result *r = fill(net, &n);
    cr_assert_eq(r->err, EM_E_NO_SPACE);
    cr_assert_not_null(strstr(r->message, "map"), "%s", r->message);
    cr_assert_gt(n, 100);
    cr_assert_not_null(map_port(&m, "port-000001"), "reads go on");
    cr_assert_eq(ms_store_stats(m.store, &stats), 0);
    cr_assert_eq(stats.n_ports, n);
    empty_it(n);
    Eidmap__Command command = map_command(&m, "");
    Eidmap__Trim body = EIDMAP__TRIM__INIT;
    body.below = UINT64_MAX;
    command.body_case = EIDMAP__COMMAND__BODY_TRIM;
    command.trim = &body;
    cr_assert_eq(map_run(&m, &command)->err, 0);
    size_t again = 0;
    cr_assert_eq(map_node_up(&m, "a", "192.0.2.1")->err, 0);
    fill(net, &again);
    cr_assert_gt(again, n / 2, "%zu after %zu", again, n);
}

/* A disk that is really full, in a mount namespace of the test's own. */
Test(small, a_full_disk_refuses_writes_and_reads_go_on)
{
    char dir[] = "/tmp/eidmap-disk-XXXXXX";
    size_t n = 0;
    cr_assert_not_null(mkdtemp(dir));
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("tmpfs", dir, "tmpfs", 0, "size=1m")) {
        map_open(&m, 0);
        rmdir(dir);
        cr_skip_test("needs the right to mount");
    }
    setenv("TMPDIR", dir, 1);
    map_open_reserved(&m, 0, 128u << 10);
    uint32_t net = map_network(&m, "blue", NULL, NULL);
    map_node_up(&m, "a", "192.0.2.1");
    cr_assert_eq(fill(net, &n)->err, EM_E_NO_SPACE);
    cr_assert_gt(n, 100);
    uint64_t revision = map_revision(&m);
    cr_assert_not_null(map_port(&m, "port-000001"));
    cr_assert_eq(REGISTER(&m, "a", "more", net, {0})->err, EM_E_NO_SPACE);
    cr_assert_eq(map_revision(&m), revision);
    cr_assert_eq(mount("tmpfs", dir, "tmpfs", MS_REMOUNT, "size=8m"), 0);
    cr_assert_eq(REGISTER(&m, "a", "more", net, {0})->err, 0, "with room it goes on by itself");
    map_close(&m);
    umount2(dir, MNT_DETACH);
    rmdir(dir);
    unsetenv("TMPDIR");
    map_open(&m, 0);
}

/* What is committed has to be applied; the next one is refused before it is proposed. */
Test(small, a_command_under_way_may_go_beyond_the_limit)
{
    enum { N = 2000 };
    static struct reg regs[N];
    static char names[N][200];
    uint32_t net = open_small();
    for (size_t i = 0; i < N; i++) {
        snprintf(names[i], sizeof(names[i]), "n%059zu.n%059zu.n%059zu", i, i, i);
        regs[i] = (struct reg){"a", names[i] + 140, net, {names[i]}};
    }
    const struct ms_result *r = map_register(&m, regs, N);
    cr_assert_eq(r->err, 0, "%s", r->message);
    cr_assert_eq(REGISTER(&m, "a", "p", net, {"10.0.0.1"})->err, EM_E_NO_SPACE);
    cr_assert_not_null(map_port(&m, names[0] + 140), "the map stays usable");
}

/* ------------------------------------------------------------------------ kill -9 */

/* Whatever was committed after the last sync is the log's to repeat. */
#define COMMITS_A_SYNC 7

TestSuite(kill, .timeout = 120);

static void commit_for_ever(int out)
{
    map_open(&m, 0);
    dprintf(out, "%s\n", m.dir);
    uint32_t net = map_network(&m, "blue", NULL, NULL);
    map_node_up(&m, "a", "192.0.2.1");
    for (unsigned i = 0;; i++) {
        char id[16];
        snprintf(id, sizeof(id), "p%u", i);
        if (REGISTER(&m, "a", id, net, {0})->err)
            _exit(1);
        em_arena_reset(&m.arena);
        if (i % COMMITS_A_SYNC)
            continue;
        if (ms_store_sync(m.store))
            _exit(1);
        dprintf(out, "%u\n", i);
    }
}

/* Returns the last one that the child has said to be durable. */
static unsigned kill_after(int n_syncs, char *dir, size_t size)
{
    int fds[2];
    char line[32] = "";
    cr_assert_eq(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0)
        commit_for_ever(fds[1]);
    close(fds[1]);
    FILE *in = fdopen(fds[0], "r");
    cr_assert_not_null(fgets(dir, (int)size, in));
    dir[strcspn(dir, "\n")] = '\0';
    for (int i = 0; i < n_syncs; i++)
        cr_assert_not_null(fgets(line, sizeof(line), in));
    kill(child, SIGKILL);
    unsigned last = (unsigned)atoi(line);
    while (fgets(line, sizeof(line), in)) /* what it said before it died counts too */
        last = (unsigned)atoi(line);
    fclose(in);
    waitpid(child, NULL, 0);
    return last;
}

Test(kill, minus_9_loses_nothing_that_was_synced)
{
    for (int round = 0; round < 5; round++) {
        char dir[128];
        unsigned last = kill_after(10 + 7 * round, dir, sizeof(dir));
        map_attach(&m, dir);
        for (unsigned i = 0; i <= last; i++) {
            char id[16];
            snprintf(id, sizeof(id), "p%u", i);
            cr_assert_not_null(map_port(&m, id), "%s of %u", id, last);
        }
        cr_assert_eq(REGISTER(&m, "a", "after", 1, {0})->err, 0);
        map_close(&m);
    }
}
