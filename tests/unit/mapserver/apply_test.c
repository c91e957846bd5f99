/* What commands do is the same however they are divided into transactions: replicas divide them
 * as they come, and must stay equal byte by byte. */
#include "mapserver/map.h"
#include "state/txn.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_COMMANDS 600
#define N_SERVERS  12 /* more than a transaction remembers */
#define N_NODES    5
#define N_PORTS    40
#define N_CLAIMS   3

static struct map one, many; /* a command a transaction; some */
static unsigned seed;
static struct ms_blob commands[N_COMMANDS];
static struct {
    uint64_t revision, epochs;
    int err;
    bool is_repeated;
} results[N_COMMANDS];

static void setup(void)
{
    map_open(&one, 0);
    map_open(&many, 0);
    seed = 1;
}

static void teardown(void)
{
    map_close(&one);
    map_close(&many);
    for (size_t i = 0; i < N_COMMANDS; i++)
        free((void *)commands[i].data);
}

TestSuite(apply, .init = setup, .fini = teardown, .timeout = 120);

static unsigned below(unsigned n)
{
    seed = seed * 1103515245 + 12345;
    return (seed >> 16) % n;
}

/* ---- commands ---- */

static const char *text(const char *format, unsigned n)
{
    char *made = em_arena_alloc(&one.arena, 32);
    snprintf(made, 32, format, n);
    return made;
}

/* In the order of their numbers, but for some that come again or too early. */
static void tag(Eidmap__Command *command, Eidmap__Proposer *proposer)
{
    static uint64_t next[N_SERVERS];
    unsigned server = below(N_SERVERS);
    bool is_odd = below(10) == 0;
    eidmap__proposer__init(proposer);
    proposer->replica = server + 1;
    proposer->incarnation = 1;
    proposer->seq = is_odd ? 1 + below(50) : next[server] + 1;
    if (proposer->seq == next[server] + 1)
        next[server]++;
    command->proposer = proposer;
}

static struct ms_blob pack(Eidmap__Command *command)
{
    Eidmap__Proposer proposer;
    tag(command, &proposer);
    size_t size = eidmap__command__get_packed_size(command);
    uint8_t *bytes = em_malloc(size);
    eidmap__command__pack(command, bytes);
    return ms_blob(bytes, size);
}

/* Its subnet: a claim of an address outside is refused from then on. */
static struct ms_blob make_network(void)
{
    Eidmap__Command command = map_command(&one, "");
    Eidmap__PutNetwork body = EIDMAP__PUT_NETWORK__INIT;
    Eidmap__Network network = EIDMAP__NETWORK__INIT;
    uint8_t address[] = {10, 0, 0, 0};
    Eidmap__Eid subnet = EIDMAP__EID__INIT, *subnets[] = {&subnet};
    subnet.kind = EIDMAP__EID_KIND__EID_IPV4_PREFIX;
    subnet.address = (ProtobufCBinaryData){sizeof(address), address};
    subnet.prefix_len = 26 + below(3);
    network.subnets = subnets;
    network.n_subnets = 1;
    network.id = 1 + below(2);
    network.name = (char *)text("net%u", network.id);
    body.network = &network;
    command.body_case = EIDMAP__COMMAND__BODY_PUT_NETWORK;
    command.put_network = &body;
    return pack(&command);
}

static struct ms_blob make_withdraw(void)
{
    Eidmap__Command command = map_command(&one, "");
    Eidmap__Withdraw body = EIDMAP__WITHDRAW__INIT;
    Eidmap__PortRef ref = EIDMAP__PORT_REF__INIT, *refs[] = {&ref};
    const char *port = text("p%u", below(N_PORTS));
    ref.id = (ProtobufCBinaryData){strlen(port), (uint8_t *)port};
    body.ports = refs;
    body.n_ports = 1;
    body.node_id = (char *)"";
    command.body_case = EIDMAP__COMMAND__BODY_WITHDRAW;
    command.withdraw = &body;
    return pack(&command);
}

static struct ms_blob make_register(unsigned i)
{
    unsigned node = below(N_NODES), n = 1 + below(4) % N_CLAIMS;
    Eidmap__Command command = map_command(&one, text("n%u", node));
    Eidmap__Register body = EIDMAP__REGISTER__INIT;
    Eidmap__Claim *claims[N_CLAIMS];
    for (unsigned c = 0; c < n; c++) {
        unsigned port = below(N_PORTS);
        const struct reg reg = {
            .by = command.origin->name,
            .port = text("p%u", port),
            .network = 1 + port % 2,
            .eids = {text("02:00:00:00:00:%02x", port), text("10.0.0.%u", 1 + below(N_PORTS))},
            .attach = below(3) > 0};
        claims[c] = map_claim(&one, &reg);
    }
    body.claims = claims;
    body.n_claims = n;
    map_sign(&one, &command, 1, i + 1);
    command.body_case = EIDMAP__COMMAND__BODY_REGISTER;
    command.register_ = &body;
    return pack(&command);
}

static void make_commands(void)
{
    for (unsigned i = 0; i < N_COMMANDS; i++)
        commands[i] = i % 10 == 0   ? make_network()
                      : i % 10 == 5 ? make_withdraw()
                                    : make_register(i);
}

/* ---- maps ---- */

static void begin(struct map *map)
{
    for (unsigned i = 1; i <= 2; i++)
        cr_assert_eq(map_network(map, text("net%u", i), NULL, NULL), i);
    for (unsigned i = 0; i < N_NODES; i++)
        cr_assert_eq(map_agent_up(map, text("n%u", i), text("192.0.2.%u", i + 1), 1, 1)->err, 0);
}

static void run(struct map *map, size_t from, size_t n)
{
    const char *why = "";
    const struct ms_point at = {ms_apply_point(map->apply).index + 1, 1};
    cr_assert_eq(ms_apply_batch(map->apply, commands + from, n, at, &map->batch, &why), 0, "%s",
                 why);
}

static uint64_t sum(const struct ms_result *result)
{
    uint64_t all = result->n_epochs;
    for (size_t i = 0; i < result->n_epochs; i++)
        all = all * 31 + result->epochs[i];
    return all;
}

static unsigned run_one_by_one(void)
{
    unsigned n_done = 0;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        run(&one, i, 1);
        const struct ms_result *result = &one.batch.results[0];
        results[i].revision = result->revision;
        results[i].err = result->err;
        results[i].is_repeated = result->is_repeated;
        results[i].epochs = sum(result);
        n_done += result->is_changed;
    }
    return n_done;
}

static void run_in_batches(void)
{
    for (size_t at = 0, n; at < N_COMMANDS; at += n) {
        n = 1 + below(60);
        n = n < N_COMMANDS - at ? n : N_COMMANDS - at;
        run(&many, at, n);
        for (size_t i = 0; i < n; i++) {
            const struct ms_result *result = &many.batch.results[i];
            cr_assert_eq(result->err, results[at + i].err, "command %zu", at + i);
            cr_assert_eq(result->revision, results[at + i].revision, "command %zu", at + i);
            cr_assert_eq(result->is_repeated, results[at + i].is_repeated, "command %zu", at + i);
            cr_assert_eq(sum(result), results[at + i].epochs, "command %zu", at + i);
        }
    }
}

static void compare_db(struct ms_txn *a, struct ms_txn *b, enum ms_db db)
{
    MDB_cursor *in_a = ms_txn_cursor(a, db), *in_b = ms_txn_cursor(b, db);
    struct ms_blob key_a = {0}, key_b = {0}, value_a = {0}, value_b = {0};
    int r;
    do {
        r = ms_txn_seek(a, in_a, MDB_NEXT, &key_a, &value_a);
        cr_assert_eq(ms_txn_seek(b, in_b, MDB_NEXT, &key_b, &value_b), r, "%s", ms_db_name(db));
        if (r)
            break;
        cr_assert_eq(key_a.size, key_b.size, "%s", ms_db_name(db));
        cr_assert_eq(memcmp(key_a.data, key_b.data, key_a.size), 0, "%s", ms_db_name(db));
        cr_assert_eq(value_a.size, value_b.size, "%s", ms_db_name(db));
        cr_assert_eq(memcmp(value_a.data, value_b.data, value_a.size), 0, "%s", ms_db_name(db));
    } while (true);
    mdb_cursor_close(in_a);
    mdb_cursor_close(in_b);
}

/* But for the cluster's id and the index in the log. */
static void compare_maps(void)
{
    struct ms_txn a, b;
    cr_assert_eq(ms_txn_look(ms_store_env(one.store), &a), 0);
    cr_assert_eq(ms_txn_look(ms_store_env(many.store), &b), 0);
    for (int db = 0; db < MS_N_DBS; db++)
        if (db != MS_DB_META)
            compare_db(&a, &b, (enum ms_db)db);
    a.meta.applied = b.meta.applied = 0;
    cr_assert_eq(memcmp(&a.meta, &b.meta, sizeof(a.meta)), 0);
    ms_txn_abort(&a);
    ms_txn_abort(&b);
}

Test(apply, transactions_of_any_size_make_the_same_map)
{
    begin(&one);
    begin(&many);
    make_commands();
    unsigned n_done = run_one_by_one();
    cr_assert_gt(n_done, N_COMMANDS / 4, "only %u commands changed anything", n_done);
    run_in_batches();
    compare_maps();
}

/* A command that its server sends again changes nothing, and nothing is written. */
Test(apply, what_stood_in_the_log_before_is_no_change)
{
    begin(&one);
    make_commands();
    run(&one, 0, 20);
    const struct ms_meta before = {.revision = one.batch.revision};
    size_t id;
    struct ms_txn txn;
    cr_assert_eq(ms_txn_look(ms_store_env(one.store), &txn), 0);
    id = mdb_txn_id(txn.mdb);
    ms_txn_abort(&txn);
    run(&one, 0, 20);
    for (size_t i = 0; i < 20; i++)
        cr_assert(one.batch.results[i].is_repeated);
    cr_assert_eq(one.batch.revision, before.revision);
    cr_assert_eq(ms_txn_look(ms_store_env(one.store), &txn), 0);
    cr_assert_eq(mdb_txn_id(txn.mdb), id);
    ms_txn_abort(&txn);
}
