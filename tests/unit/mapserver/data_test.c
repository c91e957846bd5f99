#include "core/data.h"

#include "core/applier.h"
#include "mapserver/map.h"
#include "state/identity.h"
#include "state/snapshot.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct map m;
static struct ms_data data;
static bool is_open;
static char *why;

static struct ms_data_config config(bool join)
{
    return (struct ms_data_config){.dir = m.dir,
                                   .server_id = "ms1",
                                   .address = "tls://10.0.0.1:4791",
                                   .join = join,
                                   .map_size = 64u << 20,
                                   .disk_reserve = 4096};
}

static int open_data(bool join)
{
    const struct ms_data_config c = config(join);
    free(why);
    why = NULL;
    int r = ms_data_open(&c, &data, &why);
    is_open = r == 0;
    if (r)
        cr_assert_gt(strlen(why), 10);
    return r;
}

static void close_data(void)
{
    ms_data_close(&data);
    is_open = false;
}

static char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", m.dir, name);
    return path;
}

static bool is_there(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

static void remove_dir(const char *name)
{
    char command[300];
    snprintf(command, sizeof(command), "rm -rf %s", path_of(name));
    cr_assert_eq(system(command), 0);
}

static void setup(void)
{
    map_open(&m, 0);
    map_lend(&m);
    remove_dir("state");
}

static void teardown(void)
{
    static const char *const ours[] = {"log", "state", "state-1", MS_RESTORE_FILE};
    if (is_open)
        close_data();
    free(why);
    for (size_t i = 0; i < 4; i++)
        remove_dir(ours[i]);
    map_take_back(&m);
    map_close(&m);
}

TestSuite(data, .init = setup, .fini = teardown, .timeout = 60);

/* The only member that the log's mark names; checks that it is the only one. */
static const char *only_member(uint64_t *ret_id)
{
    static char text[128];
    struct raft_configuration members;
    const struct raft_buffer buf = {(void *)data.state.mark.members, data.state.mark.members_size};
    cr_assert(data.state.has_mark);
    cr_assert_eq(raft_configuration_decode(&buf, &members), 0);
    cr_assert_eq(members.n, 1);
    cr_assert_eq(members.servers[0].role, RAFT_VOTER);
    snprintf(text, sizeof(text), "%s", members.servers[0].address);
    *ret_id = members.servers[0].id;
    raft_configuration_close(&members);
    return text;
}

/* ---- found -------------------------------------------------------------------------------- */

Test(data, empty_directory_founds_a_cluster_of_one)
{
    uint64_t id;
    cr_assert_eq(open_data(false), 0, "%s", why);
    cr_assert_str_eq(only_member(&id), "ms1 tls://10.0.0.1:4791");
    cr_assert_eq(id, data.state.replica);
    cr_assert_eq(data.state.mark.index, 2);
    cr_assert_eq(data.state.term, 1);
    close_data();
    cr_assert_eq(open_data(false), 0, "%s", why);
    cr_assert_eq(data.state.mark.index, 2, "only once");
    cr_assert_eq(data.state.incarnation, 3, "a founder loads its log twice");
}

Test(data, directory_that_cannot_be_made_is_said_so)
{
    struct ms_data_config c = config(false);
    c.dir = "/proc/nowhere/eidmap";
    cr_assert_neq(ms_data_open(&c, &data, &why), 0);
    cr_assert(strstr(why, "/proc/nowhere/eidmap"), "%s", why);
}

Test(data, one_that_joins_waits)
{
    cr_assert_eq(open_data(true), 0, "%s", why);
    cr_assert_not(data.state.has_mark);
    close_data();
    cr_assert_eq(open_data(false), 0, "%s", why);
    cr_assert(data.state.has_mark, "it need not go on waiting");
}

Test(data, map_of_before_clusters_is_taken_along)
{
    uint64_t id;
    map_take_back(&m);
    uint32_t net = map_network(&m, "blue", NULL, NULL);
    map_node_up(&m, "a", "192.0.2.1");
    REGISTER(&m, "a", "web", net, {0});
    uint64_t applied = ms_apply_point(m.apply).index;
    cr_assert_gt(applied, 2);
    map_lend(&m);
    cr_assert_eq(open_data(false), 0, "%s", why);
    cr_assert_eq(data.state.mark.index, applied);
    only_member(&id);
    close_data();
    map_take_back(&m);
    cr_assert_not_null(map_port(&m, "web"));
    map_lend(&m);
}

static void give_members(void)
{
    struct ms_identity identity;
    cr_assert_eq(ms_identity_get(data.store, &identity), 0);
    free(identity.members);
    identity.members = em_memdup(data.state.mark.members, data.state.mark.members_size);
    identity.members_size = data.state.mark.members_size;
    identity.members_index = identity.applied = data.state.mark.index;
    identity.applied_term = data.state.mark.term;
    cr_assert_eq(ms_identity_set(data.store, &identity), 0);
    ms_identity_fini(&identity);
}

Test(data, lost_log_is_no_reason_to_found_another_cluster)
{
    cr_assert_eq(open_data(false), 0, "%s", why);
    give_members();
    close_data();
    remove_dir("log");
    cr_assert_eq(open_data(false), EM_E_STORAGE);
    cr_assert(strstr(why, "its log is gone"), "%s", why);
    cr_assert(strstr(why, "restore"), "%s", why);
    cr_assert_neq(open_data(false), 0, "nor at the second start");
}

Test(data, lost_map_is_no_reason_to_begin_with_an_empty_one)
{
    cr_assert_eq(open_data(false), 0, "%s", why);
    const struct ms_log_write write = {.has_generation = true, .generation = 4};
    cr_assert_eq(ms_log_write(data.log, &write), 0);
    close_data();
    cr_assert_neq(open_data(false), 0);
    cr_assert(strstr(why, "state-4"), "%s", why);
    cr_assert(is_there("state"), "what is there is not removed");
}

Test(data, second_process_is_refused)
{
    struct ms_data second;
    const struct ms_data_config c = config(false);
    char *why_not = NULL;
    cr_assert_eq(open_data(false), 0, "%s", why);
    pid_t pid = fork();
    if (pid == 0)
        _exit(ms_data_open(&c, &second, &why_not) == 0 ? 0 : why_not ? 7 : 8);
    int status;
    waitpid(pid, &status, 0);
    cr_assert_eq(WEXITSTATUS(status), 7);
}

/* ---- restore ------------------------------------------------------------------------------- */

/* A copy of a map with port "old" in it. */
static void put_copy(const char *name)
{
    struct map other;
    struct ms_snapshot_info info;
    map_open(&other, 0);
    uint32_t net = map_network(&other, "blue", NULL, NULL);
    map_node_up(&other, "a", "192.0.2.1");
    REGISTER(&other, "a", "old", net, {0});
    cr_assert_eq(ms_snapshot_write(other.store, path_of(name), true, NULL, &info, &why), 0);
    ms_snapshot_info_fini(&info);
    map_close(&other);
}

static bool has_port(const char *name)
{
    struct ms_reader *reader;
    struct ms_blob blob;
    cr_assert_eq(ms_reader_new(data.store, &reader), 0);
    cr_assert_eq(ms_reader_begin(reader), 0);
    int r = ms_reader_port(reader, name, strlen(name), &blob);
    ms_reader_end(reader);
    ms_reader_free(reader);
    return r == 0;
}

Test(data, copy_takes_the_place_of_the_map_once)
{
    uint8_t before[MS_CLUSTER_ID_SIZE], after[MS_CLUSTER_ID_SIZE];
    uint64_t id;
    cr_assert_eq(open_data(false), 0, "%s", why);
    give_members();
    ms_store_cluster_id(data.store, before);
    close_data();
    put_copy(MS_RESTORE_FILE);
    cr_assert_eq(open_data(false), 0, "%s", why);
    cr_assert(has_port("old"));
    ms_store_cluster_id(data.store, after);
    cr_assert_eq(memcmp(before, after, sizeof(before)), 0, "the cluster stays who it is");
    cr_assert_eq(data.state.generation, 1);
    only_member(&id);
    cr_assert_eq(id, data.state.replica);
    cr_assert_not(is_there(MS_RESTORE_FILE));
    cr_assert_not(is_there("state"));
    close_data();
    cr_assert_eq(open_data(false), 0, "%s", why);
    cr_assert_eq(data.state.generation, 1);
    cr_assert(has_port("old"));
}

Test(data, first_start_may_be_from_a_copy)
{
    put_copy(MS_RESTORE_FILE);
    cr_assert_eq(open_data(false), 0, "%s", why);
    cr_assert(has_port("old"));
}

Test(data, damaged_copy_is_refused_and_the_old_map_stays)
{
    cr_assert_eq(open_data(false), 0, "%s", why);
    close_data();
    map_take_back(&m);
    map_network(&m, "mine", NULL, NULL);
    map_lend(&m);
    put_copy(MS_RESTORE_FILE);
    struct stat st;
    cr_assert_eq(stat(path_of(MS_RESTORE_FILE), &st), 0);
    cr_assert_eq(truncate(path_of(MS_RESTORE_FILE), st.st_size / 2), 0);
    cr_assert_neq(open_data(false), 0);
    cr_assert(strstr(why, MS_RESTORE_FILE), "%s", why);
    cr_assert(is_there(MS_RESTORE_FILE), "it is for the operator to say what becomes of it");
    cr_assert_eq(unlink(path_of(MS_RESTORE_FILE)), 0);
    cr_assert_eq(open_data(false), 0, "%s", why);
    uint32_t network;
    struct ms_reader *reader;
    cr_assert_eq(ms_reader_new(data.store, &reader), 0);
    cr_assert_eq(ms_reader_begin(reader), 0);
    cr_assert_eq(ms_reader_network_id(reader, "mine", &network), 0);
    ms_reader_end(reader);
    ms_reader_free(reader);
}

/* ---- members ------------------------------------------------------------------------------- */

/* The log now says that there are three. */
static void make_three(void)
{
    struct raft_configuration members;
    struct raft_buffer buf;
    raft_configuration_init(&members);
    cr_assert_eq(
        raft_configuration_add(&members, data.state.replica, "ms1 tls://10.0.0.1:4791", RAFT_VOTER),
        0);
    cr_assert_eq(raft_configuration_add(&members, 2, "ms2 tls://10.0.0.2:4791", RAFT_VOTER), 0);
    cr_assert_eq(raft_configuration_add(&members, 3, "ms3 tls://10.0.0.3:4791", RAFT_VOTER), 0);
    cr_assert_eq(raft_configuration_encode(&members, &buf), 0);
    const struct ms_entry entry = {1, RAFT_CHANGE, ms_payload_new(buf.base, buf.len), 0};
    const struct ms_log_write write = {
        .first = data.state.mark.index + 1, .entries = &entry, .n_entries = 1};
    cr_assert_eq(ms_log_write(data.log, &write), 0);
    ms_payload_unref(entry.payload);
    raft_free(buf.base);
    raft_configuration_close(&members);
}

Test(data, copy_is_not_put_into_a_map_that_others_share)
{
    cr_assert_eq(open_data(false), 0, "%s", why);
    make_three();
    close_data();
    put_copy(MS_RESTORE_FILE);
    cr_assert_eq(open_data(false), EM_E_IN_USE);
    cr_assert(strstr(why, "3 servers share"), "%s", why);
    cr_assert_eq(unlink(path_of(MS_RESTORE_FILE)), 0);
    cr_assert_eq(open_data(false), 0, "%s", why);
    cr_assert_eq(data.state.generation, 0);
}

/* ---- recover ------------------------------------------------------------------------------- */

static char asked[256];
static const char *alive;

static bool is_alive(void *aux, const char *name, const char *address)
{
    size_t n = strlen(asked);
    snprintf(asked + n, sizeof(asked) - n, "%s=%s ", name, address);
    return alive && strcmp(alive, name) == 0;
}

static int recover(void)
{
    const struct ms_data_config c = config(false);
    asked[0] = '\0';
    free(why);
    why = NULL;
    return ms_data_recover(&c, is_alive, NULL, &why);
}

/* An entry that puts this network stands behind what is there; it is not applied. */
static void log_network(uint64_t index, const char *name)
{
    uint8_t bytes[256];
    Eidmap__Command command = map_command(&m, "");
    Eidmap__Proposer proposer = EIDMAP__PROPOSER__INIT;
    Eidmap__PutNetwork body = EIDMAP__PUT_NETWORK__INIT;
    Eidmap__Network network = EIDMAP__NETWORK__INIT;
    Eidmap__Batch batch = EIDMAP__BATCH__INIT;
    proposer.replica = index;
    proposer.incarnation = proposer.seq = 1;
    network.name = (char *)name;
    body.network = &network;
    command.proposer = &proposer;
    command.body_case = EIDMAP__COMMAND__BODY_PUT_NETWORK;
    command.put_network = &body;
    ProtobufCBinaryData packed = {eidmap__command__pack(&command, bytes), bytes};
    batch.commands = &packed;
    batch.n_commands = 1;
    const struct ms_entry entry = {1, RAFT_COMMAND,
                                   ms_payload_new(NULL, eidmap__batch__get_packed_size(&batch)), 0};
    eidmap__batch__pack(&batch, entry.payload->data);
    const struct ms_log_write write = {.first = index, .entries = &entry, .n_entries = 1};
    cr_assert_eq(ms_log_write(data.log, &write), 0);
    ms_payload_unref(entry.payload);
}

static uint64_t recovery(void)
{
    struct ms_identity identity;
    cr_assert_eq(ms_identity_get(data.store, &identity), 0);
    uint64_t n = identity.recovery;
    cr_assert(n == 0 || identity.applied == data.state.mark.index);
    ms_identity_fini(&identity);
    return n;
}

Test(data, recovery_keeps_all_that_the_log_holds)
{
    uint64_t id, term;
    uint32_t network;
    struct ms_reader *reader;
    cr_assert_eq(open_data(false), 0, "%s", why);
    make_three();
    log_network(4, "first");
    log_network(5, "second");
    term = data.state.term;
    close_data();
    cr_assert_eq(recover(), 0, "%s", why);
    cr_assert_str_eq(asked, "ms2=tls://10.0.0.2:4791 ms3=tls://10.0.0.3:4791 ");
    cr_assert_eq(open_data(false), 0, "%s", why);
    cr_assert_str_eq(only_member(&id), "ms1 tls://10.0.0.1:4791");
    cr_assert_eq(id, data.state.replica);
    cr_assert_eq(data.state.mark.index, 5);
    cr_assert_eq(data.state.n_entries, 0);
    cr_assert_gt(data.state.term, term);
    cr_assert_eq(recovery(), 1);
    cr_assert_eq(ms_reader_new(data.store, &reader), 0);
    cr_assert_eq(ms_reader_begin(reader), 0);
    cr_assert_eq(ms_reader_network_id(reader, "first", &network), 0);
    cr_assert_eq(ms_reader_network_id(reader, "second", &network), 0);
    ms_reader_end(reader);
    ms_reader_free(reader);
    close_data();
    cr_assert_eq(recover(), 0, "%s", why);
    cr_assert_eq(open_data(false), 0, "%s", why);
    cr_assert_eq(recovery(), 2);
}

Test(data, recovery_is_refused_while_somebody_lives)
{
    cr_assert_eq(open_data(false), 0, "%s", why);
    make_three();
    close_data();
    alive = "ms3";
    cr_assert_eq(recover(), EM_E_IN_USE);
    cr_assert(strstr(why, "ms3 at tls://10.0.0.3:4791 is alive"), "%s", why);
    cr_assert_eq(open_data(false), 0, "%s", why);
    cr_assert_eq(data.state.mark.index, 2, "nothing was done");
    cr_assert_eq(recovery(), 0);
}

Test(data, where_no_server_was_nothing_is_recovered)
{
    cr_assert_eq(recover(), EM_E_NOT_FOUND);
    cr_assert(strstr(why, "nothing to recover"), "%s", why);
    cr_assert_eq(open_data(true), 0, "%s", why);
    cr_assert_not(data.state.has_mark, "nor founded");
}
