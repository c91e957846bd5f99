/* What lies in the data directory is not a map, is damaged, or is not ours to touch: the map
 * server does not start, says in a sentence what to do, exits with 1, and leaves it alone. */
#include "base/mem.h"
#include "server/caller.h"
#include "server/real_server.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY   65534
#define WAIT_MS  10000
#define DBS      32
#define MAP_SIZE (64u << 20)
#define N_PORTS  20000

static struct real_server server;
static char state[96], data_mdb[112];

static void setup(void)
{
    real_server_init(&server, NULL);
    snprintf(state, sizeof(state), "%s/state", server.data);
    snprintf(data_mdb, sizeof(data_mdb), "%s/data.mdb", state);
}

static void teardown(void)
{
    real_server_fini(&server);
}

TestSuite(files, .init = setup, .fini = teardown, .timeout = 60);

/* A map with some ports, closed cleanly. */
static void make_map(void)
{
    real_server_start(&server);
    caller_preload(server.unix_url, N_PORTS);
    cr_assert_eq(real_server_stop(&server, WAIT_MS), 0);
}

static void make_dirs(void)
{
    cr_assert_eq(mkdir(server.data, 0700), 0);
    cr_assert_eq(mkdir(state, 0700), 0);
}

static void write_at(off_t at, const void *data, size_t size)
{
    int fd = open(data_mdb, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0, "%s: %s", data_mdb, strerror(errno));
    cr_assert_eq(pwrite(fd, data, size, at), (ssize_t)size);
    close(fd);
}

static off_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_size : -1;
}

static void expect_refusal(const char *words)
{
    size_t from = real_server_log_size(&server);
    int status = real_server_run(&server);
    char *log = real_server_log(&server, from);
    cr_assert_eq(status, 1, "exit status %d:\n%s", status, log);
    cr_assert_not_null(strstr(log, words), "\"%s\" is not in the log:\n%s", words, log);
    free(log);
}

Test(files, garbage_instead_of_a_map_is_refused_and_left_as_it_is)
{
    uint8_t garbage[65536], after[sizeof(garbage)];
    for (size_t i = 0; i < sizeof(garbage); i++)
        garbage[i] = (uint8_t)(i * 7919 >> 5);
    make_dirs();
    write_at(0, garbage, sizeof(garbage));
    expect_refusal("damaged or not a map of eidmap");
    int fd = open(data_mdb, O_RDONLY | O_CLOEXEC);
    cr_assert_eq(pread(fd, after, sizeof(after), 0), (ssize_t)sizeof(after));
    close(fd);
    cr_assert_arr_eq(garbage, after, sizeof(garbage));
}

Test(files, an_empty_file_where_a_map_was_is_not_taken_for_a_new_map)
{
    make_map();
    cr_assert_eq(truncate(data_mdb, 0), 0);
    expect_refusal("data.mdb");
    cr_assert_eq(size_of(data_mdb), 0);
}

Test(files, a_first_start_that_was_cut_short_needs_no_repair)
{
    make_dirs();
    write_at(0, "half", 4);
    char *fresh = em_asprintf("%s.new", data_mdb);
    cr_assert_eq(rename(data_mdb, fresh), 0);
    real_server_start(&server);
    cr_assert_eq(access(fresh, F_OK), -1, "what was left is gone");
    free(fresh);
}

Test(files, a_map_that_was_cut_in_half_is_refused)
{
    make_map();
    off_t size = size_of(data_mdb);
    cr_assert_gt(size, 1 << 20, "a map of some size");
    cr_assert_eq(truncate(data_mdb, size / 2), 0);
    expect_refusal("damaged");
}

Test(files, damaged_head_pages_are_refused)
{
    static const uint8_t zeros[8192];
    make_map();
    write_at(0, zeros, sizeof(zeros));
    expect_refusal("damaged or not a map of eidmap");
}

/* ---- somebody else's --------------------------------------------------------------------------
 */

static MDB_env *open_env(MDB_txn **ret_txn)
{
    MDB_env *env;
    cr_assert_eq(mdb_env_create(&env), 0);
    mdb_env_set_maxdbs(env, DBS);
    mdb_env_set_mapsize(env, MAP_SIZE);
    cr_assert_eq(mdb_env_open(env, state, 0, 0600), 0);
    cr_assert_eq(mdb_txn_begin(env, NULL, 0, ret_txn), 0);
    return env;
}

static void put(MDB_txn *txn, const char *db, const char *key, const void *data, size_t size)
{
    MDB_dbi dbi;
    MDB_val k = {strlen(key), (void *)key}, v = {size, (void *)data};
    cr_assert_eq(mdb_dbi_open(txn, db, MDB_CREATE, &dbi), 0);
    cr_assert_eq(mdb_put(txn, dbi, &k, &v, 0), 0);
}

Test(files, the_database_of_another_program_is_refused_and_nothing_is_added_to_it)
{
    MDB_txn *txn;
    MDB_stat stat;
    MDB_dbi root;
    make_dirs();
    MDB_env *env = open_env(&txn);
    put(txn, "people", "ann", "1", 1);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    expect_refusal("not a map of eidmap");
    env = open_env(&txn);
    cr_assert_eq(mdb_dbi_open(txn, NULL, 0, &root), 0);
    cr_assert_eq(mdb_stat(txn, root, &stat), 0);
    cr_assert_eq(stat.ms_entries, 1);
    mdb_txn_abort(txn);
    mdb_env_close(env);
}

Test(files, a_map_of_a_newer_version_is_refused_by_that_name)
{
    static const uint8_t schema_be[4] = {0, 0, 0, 99};
    MDB_txn *txn;
    make_map();
    MDB_env *env = open_env(&txn);
    put(txn, "meta", "schema", schema_be, sizeof(schema_be));
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    expect_refusal("newer eidmap (schema 99");
}

Test(files, a_second_server_on_the_same_directory_is_refused_and_the_first_goes_on)
{
    struct caller caller;
    real_server_start(&server);
    struct real_server second = server;
    second.pid = 0;
    snprintf(second.log, sizeof(second.log), "%s/log2", server.dir);
    int status = real_server_run(&second);
    char *log = real_server_log(&second, 0);
    cr_assert_eq(status, 1, "%s", log);
    cr_assert_not_null(strstr(log, "another map server uses"), "%s", log);
    free(log);
    caller_open(&caller, server.unix_url, NULL);
    cr_assert_eq(caller_status(&caller), 0);
    caller_close(&caller);
}

/* ---- rights: root may do everything, so the server runs as somebody ----------------------------
 */

static int run_as_nobody(void)
{
    char *program = em_asprintf("%s/program", server.dir);
    char *argv[] = {program, (char *)"--config", server.config, NULL};
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (setgid(NOBODY) || setuid(NOBODY))
            _exit(99);
        _exit(real_wait(real_spawn(argv, NULL, server.log), WAIT_MS) & 0xff);
    }
    free(program);
    cr_assert_gt(pid, 0);
    return real_wait(pid, 2 * WAIT_MS);
}

/* The build may stand where nobody else may go, as under /root: it runs a copy. */
static void let_nobody_in(void)
{
    if (geteuid() != 0)
        cr_skip_test("only root can become somebody else");
    cr_assert_eq(chmod(server.dir, 0777), 0);
    cr_assert_eq(chmod(server.pki, 0755), 0);
    char *command = em_asprintf("cp %s %s/program; chmod 755 %s/program; chmod a+r %s/* %s; "
                                ": > %s; chmod 666 %s",
                                server.program, server.dir, server.dir, server.pki, server.config,
                                server.log, server.log);
    cr_assert_eq(system(command), 0);
    free(command);
}

static void expect_refusal_of_nobody(const char *words)
{
    int status = run_as_nobody();
    char *log = real_server_log(&server, 0);
    cr_assert_eq(status, 1, "exit status %d:\n%s", status, log);
    cr_assert_not_null(strstr(log, words), "\"%s\" is not in the log:\n%s", words, log);
    free(log);
}

Test(files, a_directory_of_another_user_is_refused)
{
    let_nobody_in();
    make_dirs();
    expect_refusal_of_nobody("give it to the user that runs");
}

Test(files, a_map_that_may_not_be_read_is_refused_with_what_to_do)
{
    let_nobody_in();
    make_map();
    cr_assert_eq(chmod(server.data, 0777), 0);
    cr_assert_eq(chmod(state, 0777), 0);
    cr_assert_eq(chmod(data_mdb, 0600), 0);
    expect_refusal_of_nobody("give it to the user that runs");
}

Test(files, a_data_directory_that_cannot_be_made_is_refused_with_what_to_do)
{
    let_nobody_in();
    cr_assert_eq(chmod(server.dir, 0755), 0);
    expect_refusal_of_nobody("cannot make the directory");
}

Test(files, a_file_where_the_directory_should_be_is_refused)
{
    int fd = open(server.data, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    close(fd);
    expect_refusal("cannot");
}
