#include "core/core_state.h"

#include "core/data.h"
#include "mapserver/map.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROPOSERS 4
#define EACH      250
#define MANY      40

static struct map m;
static struct ms_data data;
static struct ms_core *core;
static atomic_size_t n_done, n_refused, n_commits, n_fatal;
static atomic_size_t n_allowed; /* the gate that holds the core up after so many */
static _Atomic uint64_t last_commit;

static void on_commit(void *aux, uint64_t revision, const uint32_t *networks, size_t n)
{
    cr_assert_gt(n, 0);
    cr_assert_gt(revision, last_commit);
    last_commit = revision;
    n_commits++;
}

static void on_fatal(void *aux, int err, const char *why)
{
    cr_assert_neq(strlen(why), 0);
    n_fatal++;
}

static void on_lead(void *aux, bool is_leader)
{
}

static void start(size_t max_waiting)
{
    static const struct ms_core_events events = {
        .on_commit = on_commit, .on_lead = on_lead, .on_fatal = on_fatal};
    const struct ms_data_config on_disk = {.dir = m.dir,
                                           .server_id = "ms1",
                                           .address = "",
                                           .map_size = 64u << 20,
                                           .disk_reserve = 4096};
    char *why = NULL;
    map_lend(&m);
    cr_assert_eq(ms_data_open(&on_disk, &data, &why), 0, "%s", why);
    const struct ms_core_config config = {.store = data.store,
                                          .log = data.log,
                                          .state = &data.state,
                                          .dir = m.dir,
                                          .server_id = "ms1",
                                          .max_waiting = max_waiting};
    cr_assert_eq(ms_core_start(&config, &events, NULL, &core, &why), 0, "%s", why);
}

static void stop(void)
{
    ms_core_stop(core);
    core = NULL;
    ms_data_close(&data);
    map_take_back(&m);
}

static void setup(void)
{
    map_open(&m, 0);
    map_network(&m, "blue", NULL, NULL);
    map_node_up(&m, "a", "192.0.2.1");
}

static void teardown(void)
{
    if (core)
        stop();
    map_close(&m);
}

TestSuite(core, .init = setup, .fini = teardown, .timeout = 60);

static uint8_t *pack_register(const char *id, size_t *ret_size)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    Eidmap__Origin origin = EIDMAP__ORIGIN__INIT;
    Eidmap__Register body = EIDMAP__REGISTER__INIT;
    Eidmap__Claim claim = EIDMAP__CLAIM__INIT, *claims[] = {&claim};
    Eidmap__Port port = EIDMAP__PORT__INIT;
    Eidmap__Location location = EIDMAP__LOCATION__INIT, *locations[] = {&location};
    port.id = (ProtobufCBinaryData){strlen(id), (uint8_t *)id};
    port.network_id = 1;
    port.locations = locations;
    port.n_locations = 1;
    claim.port = &port;
    body.claims = claims;
    body.n_claims = 1;
    origin.role = EIDMAP__ROLE__ROLE_NODE;
    origin.name = (char *)"a";
    command.schema = MS_SCHEMA;
    command.origin = &origin;
    command.body_case = EIDMAP__COMMAND__BODY_REGISTER;
    command.register_ = &body;
    uint8_t *bytes = em_malloc(eidmap__command__get_packed_size(&command));
    *ret_size = eidmap__command__pack(&command, bytes);
    return bytes;
}

/* The commit of what it is told of has been announced before. */
static void on_done(void *aux, const struct ms_result *result)
{
    while (n_done >= n_allowed)
        usleep(1000);
    if (result->err == 0)
        cr_assert_leq(result->revision, last_commit);
    else
        n_refused++;
    n_done++;
}

static int submit(const char *id, ms_core_done_fn *done)
{
    size_t size;
    uint8_t *bytes = pack_register(id, &size);
    const char *why;
    return ms_core_submit(core, bytes, size, true, done, NULL, &why);
}

static int propose(const char *id)
{
    int r = submit(id, on_done);
    if (r == 0)
        ms_core_wake(core);
    return r;
}

/* The core stands at the gate, behind its first commit. */
static void hold_up(void)
{
    cr_assert_eq(propose("first"), 0);
    while (n_commits == 0)
        usleep(1000);
}

static void *propose_many(void *aux)
{
    char id[32];
    for (int i = 0; i < EACH; i++) {
        snprintf(id, sizeof(id), "t%d-%d", *(int *)aux, i);
        cr_assert_eq(propose(id), 0);
    }
    return NULL;
}

Test(core, every_proposal_is_answered_once_and_many_share_a_commit)
{
    pthread_t threads[PROPOSERS];
    int numbers[PROPOSERS];
    n_allowed = SIZE_MAX;
    start(0);
    for (int i = 0; i < PROPOSERS; i++) {
        numbers[i] = i;
        pthread_create(&threads[i], NULL, propose_many, &numbers[i]);
    }
    for (int i = 0; i < PROPOSERS; i++)
        pthread_join(threads[i], NULL);
    stop();
    cr_assert_eq(n_done, PROPOSERS * EACH, "stop finishes what waits");
    cr_assert_eq(n_refused, 0);
    cr_assert_leq(n_commits, n_done);
    cr_assert_not_null(map_port(&m, "t3-249"));
}

Test(core, what_waits_during_a_commit_shares_the_next_ones)
{
    char id[32];
    start(0);
    hold_up();
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof(id), "p%d", i);
        cr_assert_eq(propose(id), 0);
    }
    n_allowed = SIZE_MAX;
    stop();
    cr_assert_eq(n_done, 101);
    cr_assert_leq(n_commits, 10);
}

Test(core, more_than_a_batch_waits_for_the_next)
{
    char id[32];
    start(0);
    hold_up();
    for (int i = 0; i < 600; i++) {
        snprintf(id, sizeof(id), "p%d", i);
        cr_assert_eq(propose(id), 0);
    }
    n_allowed = 2; /* one of the next batch: the rest of it, and of the queue, waits */
    while (n_done < 2)
        usleep(1000);
    cr_assert_eq(propose("last"), 0);
    n_allowed = SIZE_MAX;
    stop();
    cr_assert_eq(n_done, 602);
    cr_assert_not_null(map_port(&m, "p599"));
    cr_assert_not_null(map_port(&m, "last"));
}

/* A turn of the core that has begun since the call, and so seen what was submitted before. */
static void await_turn(void)
{
    core->is_probed = true;
    ms_core_wake(core);
    while (core->is_probed)
        usleep(1000);
}

static void on_late(void *aux, const struct ms_result *result)
{
    cr_assert_geq(n_done, 1 + MANY);
    on_done(aux, result);
}

Test(core, a_few_after_many_wait_until_these_are_in_the_map)
{
    char id[32];
    start(0);
    hold_up();
    for (int i = 0; i < MANY; i++) {
        snprintf(id, sizeof(id), "p%d", i);
        cr_assert_eq(submit(id, on_done), 0);
    }
    await_turn();
    await_turn(); /* the first one has ended: they are in the log */
    cr_assert_eq(submit("late", on_late), 0);
    ms_core_wake(core);
    while (!core->is_gathering)
        usleep(1000);
    cr_assert_eq(submit("later", on_late), 0);
    ms_core_wake(core);
    n_allowed = SIZE_MAX;
    while (n_done < 1 + MANY + 2) /* and not only because of a stop */
        usleep(1000);
    stop();
    cr_assert_eq(n_refused, 0);
    cr_assert_not_null(map_port(&m, "late"));
    cr_assert_not_null(map_port(&m, "later"));
}

Test(core, a_full_queue_is_busy)
{
    start(3);
    hold_up();
    cr_assert_eq(propose("p1"), 0);
    cr_assert_eq(propose("p2"), 0);
    cr_assert_eq(propose("p3"), 0);
    cr_assert_eq(propose("p4"), EM_E_BUSY);
    n_allowed = SIZE_MAX;
    stop();
    cr_assert_eq(n_done, 4);
}

Test(core, a_hanging_core_is_seen)
{
    start(0);
    while (!ms_core_is_alive(core)) /* it has just begun */
        usleep(50000);
    usleep(200000);
    cr_assert(ms_core_is_alive(core), "idle is alive");
    hold_up();
    usleep(200000);
    ms_core_is_alive(core);
    usleep(200000);
    cr_assert_not(ms_core_is_alive(core));
    n_allowed = SIZE_MAX;
}

Test(core, an_unknown_command_is_fatal_and_nothing_is_applied_after_it)
{
    uint8_t *bytes = em_memdup("\xff\xff", 2);
    n_allowed = SIZE_MAX;
    start(0);
    const char *why;
    cr_assert_eq(ms_core_propose(core, bytes, 2, false, on_done, NULL, &why), 0);
    while (n_fatal == 0)
        usleep(1000);
    cr_assert_eq(propose("p"), 0);
    stop();
    cr_assert_eq(n_refused, 2);
    cr_assert_eq(n_fatal, 1);
    cr_assert_null(map_port(&m, "p"));
}
