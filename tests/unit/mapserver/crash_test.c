/* The order of durability, as core/log.h states it: a replica dies before each single thing
 * that it does to its disk, by a crash and by a power loss, and must start again with all that
 * it has acknowledged.  Map, log and applier are real; the consensus is one voter's. */
#include "core/applier.h"
#include "core/core.h"
#include "core/data.h"

#include "crash/crash.h"
#include "mapserver/map.h"
#include "state/identity.h"
#include "state/snapshot.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RECEIVED 20   /* networks of the map that is received */
#define AT       1000 /* log index of it */

/* In a process that dies nothing is asserted: it says so and ends. */
#define MUST(x)                                                                                    \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #x, life.why ? life.why : "");  \
            _exit(99);                                                                             \
        }                                                                                          \
    } while (0)

/* What the outside knows when it is over. */
static struct shared {
    char kind;            /* of the networks: "n1", or "r1" in the restored map */
    unsigned acked;       /* up to here */
    uint64_t incarnation; /* seen */
    bool may_restore, is_restored, has_recovered;
} * shared;

static char base[128], received[160], restored[160], dir[160];
static uint8_t members[128];
static size_t members_size;

static struct {
    struct ms_data data;
    struct ms_applier *applier;
    uint64_t next;             /* index */
    uint64_t incarnation, seq; /* of the next command */
    uint64_t term;
    _Atomic uint64_t applied;
    sem_t synced;
    struct ms_mark mark;
    char *why;
    int fatal;
} life;

static const struct ms_data_config *config(void)
{
    static struct ms_data_config c;
    c = (struct ms_data_config){.dir = dir,
                                .server_id = "ms1",
                                .address = "tls://10.0.0.1:4791",
                                .map_size = 16u << 20,
                                .disk_reserve = 8u << 20};
    return &c;
}

/* ---- a replica ---------------------------------------------------------------------------- */

static void on_commit(void *aux, uint64_t revision, const uint32_t *networks, size_t n)
{
}

static void on_result(void *aux, const struct ms_result *result)
{
    if (result->err)
        life.fatal = result->err;
}

static void on_applied(void *aux, struct ms_point point)
{
    life.applied = point.index;
}

static void on_synced(void *aux, const struct ms_mark *mark)
{
    life.mark = *mark;
    life.mark.members = em_memdup(mark->members, mark->members_size);
    sem_post(&life.synced);
}

static void on_fatal(void *aux, int err, const char *why)
{
    fprintf(stderr, "fatal: %s\n", why);
    life.fatal = err;
}

static void await_applied(void)
{
    while (life.applied + 1 < life.next && !life.fatal)
        usleep(50);
}

/* What a start does with what it finds: the map is repaired from the log. */
static void take_up(void)
{
    static const struct ms_applier_events events = {on_commit, on_result, on_applied, on_synced,
                                                    on_fatal};
    struct ms_log_state *state = &life.data.state;
    struct ms_point point;
    MUST(state->has_mark);
    MUST(ms_applier_start(life.data.store, &state->mark, &events, NULL, &life.applier, &point) ==
         0);
    life.next = state->n_entries ? state->first + state->n_entries : state->mark.index + 1;
    life.incarnation = 10 * state->incarnation;
    life.seq = 1;
    life.term = state->term;
    life.applied = point.index;
    life.fatal = 0;
    MUST(point.index >= state->mark.index); /* log.h, 3 */
    MUST(point.index < life.next);          /* log.h, 2 */
    MUST(state->incarnation > shared->incarnation);
    shared->incarnation = state->incarnation;
    for (size_t i = 0; i < state->n_entries; i++) {
        struct ms_entry entry = state->entries[i];
        MUST(ms_log_read(life.data.log, state->first + i, &entry.payload) == 0);
        ms_applier_put(life.applier, state->first + i, &entry);
        ms_payload_unref(entry.payload);
    }
    await_applied();
    MUST(life.fatal == 0);
}

static void begin(void)
{
    MUST(ms_data_open(config(), &life.data, &life.why) == 0);
    take_up();
}

static void end(void)
{
    ms_applier_stop(life.applier);
    life.applier = NULL;
    ms_data_close(&life.data);
}

/* A Command that puts network "n<number>"; malloc'ed. */
static uint8_t *pack_command(char kind, unsigned number, Eidmap__Proposer *proposer,
                             size_t *ret_size)
{
    char name[32];
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    Eidmap__Origin origin = EIDMAP__ORIGIN__INIT;
    Eidmap__PutNetwork body = EIDMAP__PUT_NETWORK__INIT;
    Eidmap__Network network = EIDMAP__NETWORK__INIT;
    snprintf(name, sizeof(name), "%c%u", kind, number);
    origin.role = EIDMAP__ROLE__ROLE_OPERATOR;
    origin.name = (char *)"root";
    network.name = name;
    body.network = &network;
    command.schema = 1;
    command.origin = &origin;
    command.proposer = proposer;
    command.body_case = EIDMAP__COMMAND__BODY_PUT_NETWORK;
    command.put_network = &body;
    uint8_t *bytes = em_malloc(eidmap__command__get_packed_size(&command));
    *ret_size = eidmap__command__pack(&command, bytes);
    return bytes;
}

/* The next entry. */
static struct ms_payload *pack_network(char kind, unsigned number)
{
    Eidmap__Proposer proposer = EIDMAP__PROPOSER__INIT;
    Eidmap__Batch batch = EIDMAP__BATCH__INIT;
    ProtobufCBinaryData packed;
    proposer.replica = life.data.state.replica;
    proposer.incarnation = life.incarnation;
    proposer.seq = life.seq;
    packed.data = pack_command(kind, number, &proposer, &packed.len);
    batch.commands = &packed;
    batch.n_commands = 1;
    struct ms_payload *payload = ms_payload_new(NULL, eidmap__batch__get_packed_size(&batch));
    eidmap__batch__pack(&batch, payload->data);
    free(packed.data);
    return payload;
}

static void log_network(char kind, unsigned number, uint64_t truncate)
{
    struct ms_entry entry = {life.term, RAFT_COMMAND, pack_network(kind, number), 0};
    const struct ms_log_write write = {
        .truncate = truncate, .first = life.next, .entries = &entry, .n_entries = 1};
    MUST(ms_log_write(life.data.log, &write) == 0);
    if (number) {
        shared->acked = number;
        life.seq++;
        ms_applier_put(life.applier, life.next, &entry);
    }
    life.next++;
    ms_payload_unref(entry.payload);
}

static void propose(char kind, unsigned number)
{
    log_network(kind, number, 0);
    await_applied();
    MUST(life.fatal == 0);
}

static void compact(void)
{
    ms_applier_sync(life.applier);
    do /* one may have been under way */
        sem_wait(&life.synced);
    while (life.mark.index + 1 < life.next);
    const struct ms_log_write write = {.mark = &life.mark, .forget = life.mark.index - 1};
    MUST(ms_log_write(life.data.log, &write) == 0);
    free((void *)life.mark.members);
}

/* Two entries that nobody acknowledged give way to a later leader's. */
static void lose_a_term(unsigned number)
{
    uint64_t from = life.next;
    log_network('x', 0, 0);
    log_network('y', 0, 0);
    const struct ms_log_write vote = {.has_vote = true, .term = ++life.term, .voted_for = 7};
    MUST(ms_log_write(life.data.log, &vote) == 0);
    life.next = from;
    log_network('n', number, from);
    await_applied();
}

static void install(void)
{
    struct ms_snapshot_info info;
    const struct ms_snapshot_target target = {.dir = dir,
                                              .generation = life.data.state.generation + 1,
                                              .map_size = 16u << 20,
                                              .disk_reserve = 8u << 20};
    MUST(ms_snapshot_load(received, &target, NULL, &info, &life.why) == 0);
    const struct ms_identity *identity = &info.identity;
    const struct ms_mark mark = {identity->applied, identity->applied_term, identity->members_index,
                                 identity->members, identity->members_size};
    const struct ms_log_write write = {.mark = &mark,
                                       .forget = UINT64_MAX,
                                       .has_generation = true,
                                       .generation = target.generation};
    MUST(ms_log_write(life.data.log, &write) == 0);
    shared->acked = RECEIVED;
    MUST(ms_applier_switch(life.applier, target.generation, &life.why) == 0);
    life.next = mark.index + 1;
    life.applied = mark.index;
    life.incarnation++; /* the map that came has not heard of this one */
    life.seq = 1;
    ms_snapshot_info_fini(&info);
}

static void put_restore_file(void)
{
    char to[200];
    snprintf(to, sizeof(to), "%s/" MS_RESTORE_FILE, dir);
    MUST(link(restored, to) == 0);
    shared->may_restore = true;
}

/* ---- its life ------------------------------------------------------------------------------- */

static void live(void)
{
    begin(); /* founds */
    for (unsigned i = 1; i <= 4; i++)
        propose('n', i);
    compact();
    propose('n', 5);
    lose_a_term(6);
    end();
    begin();
    propose('n', 7);
    compact();
    install();
    propose('n', RECEIVED + 1);
    compact();
    propose('n', RECEIVED + 2);
    end();
}

static void live_and_restore(void)
{
    begin();
    propose('n', 1);
    propose('n', 2);
    end();
    put_restore_file();
    begin();
    shared->kind = 'r';
    shared->is_restored = true;
    shared->acked = 2;
    propose('r', 3);
    compact();
    end();
    begin();
    propose('r', 4);
    end();
}

static bool nobody(void *aux, const char *name, const char *address)
{
    return false;
}

static void live_and_recover(void)
{
    begin();
    propose('n', 1);
    propose('n', 2);
    compact();
    propose('n', 3);
    end();
    MUST(ms_data_recover(config(), nobody, NULL, &life.why) == 0);
    shared->has_recovered = true;
    begin();
    propose('n', 4);
    end();
}

/* ---- the same with the real core, as a cluster of one ------------------------------------- */

static void on_lead(void *aux, bool is_leader)
{
}

static void on_proposed(void *aux, const struct ms_result *result)
{
    life.fatal = result->err;
    sem_post(&life.synced);
}

static void live_in_core(void)
{
    static const struct ms_core_events events = {
        .on_commit = on_commit, .on_lead = on_lead, .on_fatal = on_fatal};
    struct ms_core *core;
    const char *why;
    MUST(ms_data_open(config(), &life.data, &life.why) == 0);
    const struct ms_core_config in_core = {.store = life.data.store,
                                           .log = life.data.log,
                                           .state = &life.data.state,
                                           .dir = dir,
                                           .server_id = "ms1",
                                           .trailing = 16,
                                           .trailing_bytes = 1,
                                           .sync_entries = 8};
    shared->incarnation = life.data.state.incarnation;
    MUST(ms_core_start(&in_core, &events, NULL, &core, &life.why) == 0);
    for (unsigned i = 1; i <= 120; i++) {
        size_t size;
        uint8_t *bytes = pack_command('n', i, NULL, &size);
        MUST(ms_core_propose(core, bytes, size, true, on_proposed, NULL, &why) == 0);
        sem_wait(&life.synced);
        MUST(life.fatal == 0);
        shared->acked = i;
        if (i % 30 == 0)
            usleep(120000); /* for the core to make the map durable, and shorten the log */
    }
    ms_core_stop(core);
    ms_data_close(&life.data);
}

/* ---- the outside ---------------------------------------------------------------------------- */

static void build_copy(const char *path, char kind, unsigned n)
{
    struct map map;
    struct ms_snapshot_info info;
    struct ms_identity identity;
    char *why = NULL, name[32];
    map_open(&map, 16u << 20);
    for (unsigned i = 1; i <= n; i++) {
        snprintf(name, sizeof(name), "%c%u", kind, i);
        map_network(&map, name, NULL, NULL);
    }
    cr_assert_eq(ms_identity_get(map.store, &identity), 0);
    identity.applied = identity.members_index = AT;
    identity.applied_term = 2;
    identity.members = em_memdup(members, members_size);
    identity.members_size = members_size;
    cr_assert_eq(ms_identity_set(map.store, &identity), 0);
    ms_identity_fini(&identity);
    cr_assert_eq(ms_snapshot_write(map.store, path, true, NULL, &info, &why), 0, "%s", why);
    ms_snapshot_info_fini(&info);
    map_close(&map);
}

static void setup(void)
{
    struct raft_configuration conf;
    struct raft_buffer buf;
    const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(base, sizeof(base), "%s/eidmap-crash-XXXXXX", tmp);
    cr_assert_not_null(mkdtemp(base));
    snprintf(received, sizeof(received), "%s/received", base);
    snprintf(restored, sizeof(restored), "%s/restored", base);
    snprintf(dir, sizeof(dir), "%s/data", base);
    raft_configuration_init(&conf);
    cr_assert_eq(raft_configuration_add(&conf, 7, "ms1 tls://10.0.0.1:4791", RAFT_VOTER), 0);
    cr_assert_eq(raft_configuration_encode(&conf, &buf), 0);
    members_size = buf.len;
    memcpy(members, buf.base, buf.len);
    raft_free(buf.base);
    raft_configuration_close(&conf);
    build_copy(received, 'n', RECEIVED);
    build_copy(restored, 'r', 2);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(shared, MAP_FAILED);
    sem_init(&life.synced, 0, 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void remove_all(const char *path)
{
    nftw(path, remove_one, 4, FTW_DEPTH | FTW_PHYS);
}

static void teardown(void)
{
    munmap(shared, sizeof(*shared));
    remove_all(base);
}

TestSuite(crash, .init = setup, .fini = teardown, .timeout = 500);

static bool has_network(struct ms_store *store, char kind, unsigned number)
{
    char name[32];
    struct ms_reader *reader;
    uint32_t id;
    snprintf(name, sizeof(name), "%c%u", kind, number);
    MUST(ms_reader_new(store, &reader) == 0);
    MUST(ms_reader_begin(reader) == 0);
    int r = ms_reader_network_id(reader, name, &id);
    ms_reader_end(reader);
    ms_reader_free(reader);
    return r == 0;
}

/* A start after the crash, in a process of its own: all that was acknowledged is there,
 * nothing is twice or too much, and it goes on. */
static void look(void)
{
    char kind = 'n';
    begin();
    if (shared->may_restore)
        kind = has_network(life.data.store, 'r', 1) ? 'r' : 'n';
    MUST(!shared->is_restored || kind == 'r');
    unsigned acked = kind == shared->kind ? shared->acked : 2; /* the copy has two */
    for (unsigned i = 1; i <= acked; i++)
        MUST(has_network(life.data.store, kind, i));
    MUST(!has_network(life.data.store, kind == 'n' ? 'r' : 'n', 1));
    MUST(!has_network(life.data.store, 'n', shared->acked + 2) || shared->acked < RECEIVED);
    propose(kind, acked + 50);
    compact();
    end();
    begin();
    MUST(has_network(life.data.store, kind, acked + 50));
    MUST(acked == 0 || has_network(life.data.store, kind, 1));
    end();
}

/* Its exit code. */
static int run_apart(void (*what)(void), long at, enum crash_kind kind)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        if (at) /* its log is of no interest */
            dup2(null, 2);
        crash_arm(at, kind);
        what();
        _exit(0);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void die_at_every(long nth, void (*what)(void), enum crash_kind kind)
{
    for (long at = 1 + time(NULL) % nth;; at += nth) {
        *shared = (struct shared){.kind = 'n'};
        remove_all(dir);
        int code = run_apart(what, at, kind);
        if (code == 0) {
            cr_assert_gt(at, 50, "too few steps: nothing was watched");
            return;
        }
        cr_assert_eq(code, CRASH_EXIT, "step %ld: exit code %d", at, code);
        cr_assert_eq(run_apart(look, 0, CRASH_PROCESS), 0,
                     "after a %s before step %ld, with %c%u acknowledged",
                     kind == CRASH_PROCESS ? "crash" : "power loss", at, shared->kind,
                     shared->acked);
    }
}

/* A run dies at a part of the steps, and the next run at others; with EIDMAP_NIGHTLY=1 at all of
 * them.  A sanitizer looks at the code, which fewer steps show as well. */
static long stride(void)
{
    const char *nightly = getenv("EIDMAP_NIGHTLY");
    if (nightly && strcmp(nightly, "1") == 0)
        return 1;
#ifdef __SANITIZE_ADDRESS__
    return 17;
#else
    return 5;
#endif
}

static void die_everywhere(void (*what)(void), enum crash_kind kind)
{
    die_at_every(stride(), what, kind);
}

/* Its threads make no two lives the same, so that fewer points are as good as all. */
Test(crash, real_core_keeps_what_it_acknowledged)
{
    die_at_every(stride() > 1 ? 23 : 11, live_in_core, CRASH_POWER);
}

Test(crash, whatever_was_acknowledged_is_there_after_a_crash)
{
    die_everywhere(live, CRASH_PROCESS);
}

Test(crash, whatever_was_acknowledged_is_there_after_a_power_loss)
{
    die_everywhere(live, CRASH_POWER);
}

Test(crash, whatever_was_acknowledged_is_there_when_a_power_loss_tears_files)
{
    die_everywhere(live, CRASH_POWER_TORN);
}

Test(crash, real_core_keeps_what_it_acknowledged_when_files_are_torn)
{
    die_at_every(stride() > 1 ? 23 : 11, live_in_core, CRASH_POWER_TORN);
}

Test(crash, restored_map_is_put_in_place_whole_and_once_after_a_crash)
{
    die_everywhere(live_and_restore, CRASH_PROCESS);
}

Test(crash, restored_map_is_put_in_place_whole_and_once_after_a_power_loss)
{
    die_everywhere(live_and_restore, CRASH_POWER);
}

/* A recovery that was cut short is done again, or not at all. */
Test(crash, recovery_that_is_cut_short_loses_nothing)
{
    die_everywhere(live_and_recover, CRASH_PROCESS);
}

Test(crash, recovery_that_loses_power_loses_nothing)
{
    die_everywhere(live_and_recover, CRASH_POWER);
}
