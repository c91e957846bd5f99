/* From a port that is plugged into Open vSwitch on host a until its flow stands on host b: eidmap
 * with one map server and with three, and OVN.  Beside them the limit: the same transaction of a's
 * database, and flow-mods to b's switch that are written without being told of anything.
 *
 *   ebNs: mapserver, or ovn-northd and OVN's databases
 *      ebNa: ovsdb-server, ovs-vswitchd, xtr or ovn-controller
 *      ebNb: the same
 *
 * All are told alike: the port is declared beforehand, and one transaction of a's database brings
 * its interface and iface-id.  Witness is b's switch, which tells of changes in the table of such
 * flows, and is asked how many it has that lead to ports of a.  Both mark what is installed on its
 * interface: of many at once it is told too when the last of a's own has its mark. */
#include "base/mem.h"
#include "bench.h"
#include "dataplane/ovs.h"
#include "hosts.h"
#include "ovn.h"
#include "plug.h"
#include "scratch.h"
#include "server/caller.h"
#include "server/numbered.h"
#include "server/real_cluster.h"
#include "sources/ovs.h"
#include "vswitch.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIPPED      77
#define A_NETWORK    1000 /* ports */
#define LIMIT_S      300
#define WAIT_MS      1000
#define BULK_US      5000  /* between two looks for many */
#define REST_US      20000 /* between one port and the next */
#define MARKS_US     100000
#define QUIET_US     2000000
#define N_BULKS      2
#define N_SYSTEMS    4
#define MAX_NETWORKS 20
#define GROUPS       64 /* that are looked at */

static const unsigned bulks[N_BULKS] = {1000, 5000};

struct figures {
    struct hist one, make, id;
    double bulk[N_BULKS], marked[N_BULKS]; /* ms */
};

enum kind { BARE, EIDMAP, OVN };

struct system {
    const char *name;
    enum kind kind;
    unsigned n_servers; /* of eidmap */
    uint8_t table;      /* that gets a flow for each port of another host */
    const char *mark;   /* key in external_ids of an interface whose port is installed */
    /* Of eidmap: that flows of a's ports lead to, one for each network. */
    uint32_t groups[MAX_NETWORKS];
    struct vswitch hosts[2];
    struct of_conn *witness;
    struct of_conn *writer; /* of flow-mods without a system */
    struct figures figures;
};

struct scene {
    const struct bench *bench;
    struct hosts hosts;
    struct real_cluster cluster;
    pid_t agents[2];
    struct ovn ovn;
    uint32_t n_ports, next;
    unsigned n_networks;
};

static struct scene scene;

/* The first port of either host in a network.  Others are numbered through, A_NETWORK in each: a
 * flow that floods to more than 4,000 ports of one host does not fit into a message. */
static uint32_t first_port(unsigned network, unsigned host)
{
    return scene.n_ports + 1 + 2 * network + host;
}

/* ---- eidmap ---- */

static void declare(const char *url)
{
    struct caller caller;
    char name[16];
    caller_open(&caller, url, NULL);
    for (unsigned i = 0; i < scene.n_networks; i++) {
        uint32_t first = i * A_NETWORK + 1, left = scene.n_ports - first + 1;
        snprintf(name, sizeof(name), "bench%u", i);
        if (caller_put_network(&caller, name))
            real_fail("network: %s", caller.message);
        uint32_t id = caller.network_id;
        if (caller_register(&caller, id, first, left < A_NETWORK ? left : A_NETWORK, NULL) ||
            caller_register(&caller, id, first_port(i, 0), 2, NULL))
            real_fail("ports cannot be declared: %s", caller.message);
    }
    caller_close(&caller);
}

static void start_eidmap(struct system *system)
{
    static const char *const addresses[] = {"10.99.0.10", "10.99.0.11", "10.99.0.12"};
    struct real_cluster *cluster = &scene.cluster;
    char servers[192] = "";
    real_cluster_init_at(cluster, system->n_servers, bench_yaml, addresses);
    for (unsigned i = 0; i < cluster->n; i++) {
        struct real_server *server = &cluster->servers[i];
        server->netns = scene.hosts.names[0];
        server->program = scene.bench->mapserver;
        snprintf(servers + strlen(servers), sizeof(servers) - strlen(servers), "%s\"%s\"",
                 i ? "," : "[", server->tls_url);
    }
    strcat(servers, "]");
    real_cluster_start(cluster);
    declare(cluster->servers[real_cluster_leader(cluster)].unix_url);
    for (unsigned i = 0; i < 2; i++) {
        const struct vswitch *host = &system->hosts[i];
        char *lines = em_asprintf("dataplane: ovs\novs:\n  db: %s\n  run_dir: %s\n"
                                  "  datapath_type: netdev\n  ports: true\n",
                                  host->remote, host->dir);
        scene.agents[i] = hosts_start_agent(&scene.hosts, i + 1, scene.bench->xtr,
                                            &cluster->servers[0], servers, lines);
        free(lines);
    }
}

static void stop_eidmap(void)
{
    for (unsigned i = 0; i < 2; i++) {
        kill(scene.agents[i], SIGKILL);
        waitpid(scene.agents[i], NULL, 0);
    }
    for (unsigned i = 0; i < scene.cluster.n; i++)
        real_server_kill(&scene.cluster.servers[i]);
    real_cluster_fini(&scene.cluster);
}

/* ---- OVN ---- */

static void start_ovn(struct system *system)
{
    char dir[64];
    snprintf(dir, sizeof(dir), "%.40s/central", getenv("TMPDIR"));
    ovn_start(&scene.ovn, dir, scene.hosts.names[0]);
    for (unsigned i = 0; i < 2; i++)
        ovn_join(&scene.ovn, i, &system->hosts[i]);
    for (unsigned i = 0; i < scene.n_networks; i++) {
        uint32_t first = i * A_NETWORK + 1, left = scene.n_ports - first + 1;
        ovn_declare(&scene.ovn, i, first, left < A_NETWORK ? left : A_NETWORK);
        ovn_declare(&scene.ovn, i, first_port(i, 0), 2);
    }
    ovn_sync(&scene.ovn);
}

/* ---- neither ---- */

static void start_bare(struct system *system)
{
    for (unsigned i = 0; i < 2; i++)
        bench_run("ovs-vsctl --db=%s add-br br-int -- set Bridge br-int datapath_type=netdev "
                  "fail-mode=secure",
                  system->hosts[i].remote);
    system->writer = vswitch_connect(&system->hosts[1]);
}

static void write_flows(const struct system *system, uint32_t first, uint32_t n)
{
    struct of_conn *conn = system->writer;
    struct numbered_port port;
    struct of_flow flow;
    of_flow_init(&flow);
    for (uint32_t i = 0; i < n; i++) {
        numbered_port_init(&port, 0, first + i, NULL);
        of_flow_begin(&flow, system->table, 20, 0);
        of_match(&flow, OF_ETH_DST, port.eids[0].addr);
        of_put_flow(of_out(conn), of_xid(conn), OF_FLOW_ADD, &flow, 0);
    }
    if (of_barrier(conn))
        real_fail("the switch does not answer");
    of_flow_fini(&flow);
}

/* ---- the witness ---- */

/* Of eidmap a declared port has a flow before it is anywhere; it leads to another group. */
static uint64_t count(const struct system *system, unsigned network)
{
    uint32_t group = system->kind == EIDMAP ? system->groups[network] : OF_GROUP_ANY;
    return vswitch_count(system->witness, system->table, group);
}

static uint64_t count_all(const struct system *system)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < (system->kind == EIDMAP ? scene.n_networks : 1); i++)
        n += count(system, i);
    return n;
}

__attribute__((noreturn)) static void give_up(const struct system *system)
{
    real_fail("%s: b does not have all ports of a in %d s", system->name, LIMIT_S);
}

static uint64_t limit(void)
{
    return bench_now_ns() + LIMIT_S * 1000000000ull;
}

/* All that was to be done has been: nothing changes any more. */
static uint64_t await_quiet(const struct system *system)
{
    uint64_t n, before = count_all(system);
    while (usleep(QUIET_US), (n = count_all(system)) != before)
        before = n;
    return n;
}

/* ---- figures ---- */

static void figure(const char *system, const char *name, double value, const char *unit,
                   const char *what)
{
    char full[48];
    snprintf(full, sizeof(full), "%s.%s", system, name);
    bench_figure(scene.bench, full, value, unit, what);
}

static double ms_of(const struct hist *hist, double percent)
{
    return (double)hist_percentile_ns(hist, percent) / 1e6;
}

static void tell_one(const struct system *system, const char *name, const struct hist *hist,
                     const char *what)
{
    char full[16];
    snprintf(full, sizeof(full), "%s.p50", name);
    figure(system->name, full, ms_of(hist, 50), "ms", what);
    snprintf(full, sizeof(full), "%s.p95", name);
    figure(system->name, full, ms_of(hist, 95), "ms", "95 of 100 take no longer");
}

/* ---- measuring ---- */

static uint32_t take_numbers(uint32_t n)
{
    uint32_t first = scene.next;
    scene.next += n;
    return first;
}

static bool is_known(const struct system *system, unsigned n, uint32_t group)
{
    for (unsigned i = 0; i < n; i++)
        if (system->groups[i] == group)
            return true;
    return false;
}

/* The new one that a single flow leads to. */
static uint32_t find_group(const struct system *system, unsigned network)
{
    uint64_t end = limit();
    while (bench_now_ns() < end) {
        for (uint32_t group = OVS_GROUP_FIRST; group < OVS_GROUP_FIRST + GROUPS; group++)
            if (!is_known(system, network, group) &&
                vswitch_count(system->witness, system->table, group) == 1)
                return group;
        usleep(BULK_US);
    }
    give_up(system);
}

/* One port on each host in each network, so that both take part. */
static void plug_first(struct system *system)
{
    for (unsigned i = 0; i < scene.n_networks; i++) {
        for (unsigned host = 0; host < 2; host++)
            (void)plug_ports(&system->hosts[host], PLUG_WHOLE, first_port(i, host), 1);
        if (system->kind == EIDMAP)
            system->groups[i] = find_group(system, i);
    }
}

static void begin(struct system *system)
{
    of_close(vswitch_connect(&system->hosts[0]));
    system->witness = vswitch_connect(&system->hosts[1]);
    if (system->kind != BARE)
        plug_first(system);
    for (int i = 0; i < 2; i++) {
        if (system->kind == OVN)
            ovn_sync(&scene.ovn);
        (void)await_quiet(system);
    }
}

static uint64_t plug(const struct system *system, enum plug what, uint32_t first, uint32_t n)
{
    uint64_t start = plug_ports(&system->hosts[0], what, first, n);
    if (system->kind == BARE)
        write_flows(system, first, n);
    return start;
}

/* When b's switch had told of the flow.  It is asked only then, so that it has nothing else to do.
 */
static uint64_t await_flow(const struct system *system, struct of_conn *watcher, unsigned network,
                           uint64_t before)
{
    uint64_t end = limit(), told = 0, last;
    do {
        if (bench_now_ns() > end)
            give_up(system);
        last = vswitch_await_change(watcher, WAIT_MS);
        told = last ? last : told;
    } while (count(system, network) == before);
    last = vswitch_await_change(watcher, 0);
    return last ? last : told;
}

static void measure_one(struct system *system, enum plug what, uint32_t first, struct hist *hist)
{
    struct of_conn *watcher = vswitch_connect(&system->hosts[1]);
    vswitch_watch(watcher, system->table);
    for (uint32_t number = first; number < first + scene.bench->n_times; number++) {
        unsigned network = (number - 1) / A_NETWORK;
        uint64_t before = count(system, network);
        uint64_t start = plug(system, what, number, 1);
        hist_add(hist, await_flow(system, watcher, network, before) - start);
        usleep(REST_US);
    }
    of_close(watcher);
}

/* Ports without an iface-id are nobody's but the switch's. */
static void make_ports(struct system *system, uint32_t first, struct hist *hist)
{
    for (uint32_t number = first; number < first + scene.bench->n_times; number++) {
        uint64_t start = plug_ports(&system->hosts[0], PLUG_PORT, number, 1);
        hist_add(hist, bench_now_ns() - start);
        usleep(REST_US);
    }
}

static double ms_since(uint64_t start)
{
    return (double)(bench_now_ns() - start) / 1e6;
}

static double await_marks(const struct system *system, uint64_t start, uint32_t before, uint32_t n)
{
    uint64_t end = limit();
    while (plug_marks(&system->hosts[0], system->mark) < before + n) {
        if (bench_now_ns() > end)
            real_fail("%s: not all ports are marked as installed in %d s", system->name, LIMIT_S);
        usleep(MARKS_US);
    }
    return ms_since(start);
}

/* 'ret_marked' is when all have their mark. */
static double measure_bulk(struct system *system, uint32_t first, uint32_t n, double *ret_marked)
{
    uint64_t end = limit(), before = await_quiet(system);
    uint32_t n_marked = system->mark ? plug_marks(&system->hosts[0], system->mark) : 0;
    uint64_t start = plug(system, PLUG_ID, first, n);
    while (count_all(system) < before + n) {
        if (bench_now_ns() > end)
            give_up(system);
        usleep(BULK_US);
    }
    double ms = ms_since(start);
    *ret_marked = system->mark ? await_marks(system, start, n_marked, n) : 0;
    return ms;
}

static uint32_t size_of(unsigned bulk)
{
    return bulks[bulk] < scene.bench->n_ports ? bulks[bulk] : scene.bench->n_ports;
}

static void measure_single(struct system *system)
{
    struct figures *figures = &system->figures;
    unsigned n_times = scene.bench->n_times;
    bool is_bare = system->kind == BARE;
    uint32_t first = take_numbers(n_times);
    if (!is_bare) {
        measure_one(system, PLUG_WHOLE, first, &figures->one);
        tell_one(system, "one", &figures->one, "a port is plugged into a until b has its flow");
    }
    first = take_numbers(n_times);
    make_ports(system, first, &figures->make);
    tell_one(system, "make", &figures->make,
             "of this, what ovs-vswitchd alone takes to make a port: not ours, nor OVN's");
    measure_one(system, PLUG_ID, first, &figures->id);
    tell_one(system, "id", &figures->id,
             is_bare
                 ? "the database takes an iface-id, and b a flow-mod by a bare socket: the limit"
                 : "a port that is there gets its iface-id");
}

static void measure_many(struct system *system, unsigned bulk)
{
    uint32_t n = size_of(bulk), first = take_numbers(n);
    double *ms = &system->figures.bulk[bulk], *marked = &system->figures.marked[bulk];
    char name[32];
    uint64_t start = plug_ports(&system->hosts[0], PLUG_PORT, first, n);
    snprintf(name, sizeof(name), "make%u", n);
    figure(system->name, name, ms_since(start), "ms",
           "ovs-vswitchd takes to make so many ports: not ours, nor OVN's");
    *ms = measure_bulk(system, first, n, marked);
    snprintf(name, sizeof(name), "ids%u", n);
    figure(system->name, name, *ms, "ms",
           system->kind == BARE ? "the database takes so many, and b their flow-mods: the limit"
                                : "so many ports get their iface-id at once until b has all");
    if (!system->mark)
        return;
    snprintf(name, sizeof(name), "marks%u", n);
    figure(system->name, name, *marked, "ms", "until a has marked all of them as installed");
}

static void start(struct system *system)
{
    switch (system->kind) {
    case BARE:
        start_bare(system);
        break;
    case EIDMAP:
        start_eidmap(system);
        break;
    case OVN:
        start_ovn(system);
        break;
    }
}

static void stop(struct system *system)
{
    of_close(system->witness);
    of_close(system->writer);
    if (system->kind == EIDMAP)
        stop_eidmap();
    else if (system->kind == OVN)
        ovn_stop(&scene.ovn);
    for (unsigned i = 0; i < 2; i++)
        vswitch_stop(&system->hosts[i]);
}

static void measure(struct system *system)
{
    scene.next = 1;
    for (unsigned i = 0; i < 2; i++) {
        char dir[64];
        snprintf(dir, sizeof(dir), "%.40s/%s%u", getenv("TMPDIR"), system->name, i);
        vswitch_start(&system->hosts[i], dir, scene.hosts.names[i + 1]);
    }
    start(system);
    begin(system);
    measure_single(system);
    for (unsigned i = 0; i < N_BULKS; i++)
        measure_many(system, i);
    stop(system);
}

static void tell_times(const struct system *system, const struct system *ovn)
{
    const struct figures *a = &system->figures, *b = &ovn->figures;
    static const char what[] = "OVN takes so many times as long";
    char name[32];
    figure(system->name, "one.p50.times", ms_of(&b->one, 50) / ms_of(&a->one, 50), "", what);
    figure(system->name, "one.p95.times", ms_of(&b->one, 95) / ms_of(&a->one, 95), "", what);
    figure(system->name, "id.p50.times", ms_of(&b->id, 50) / ms_of(&a->id, 50), "", what);
    figure(system->name, "id.p95.times", ms_of(&b->id, 95) / ms_of(&a->id, 95), "", what);
    for (unsigned i = 0; i < N_BULKS; i++) {
        snprintf(name, sizeof(name), "ids%u.times", size_of(i));
        figure(system->name, name, b->bulk[i] / a->bulk[i], "", what);
        snprintf(name, sizeof(name), "marks%u.times", size_of(i));
        figure(system->name, name, b->marked[i] / a->marked[i], "", what);
    }
}

static void close_hosts(void)
{
    hosts_close(&scene.hosts);
}

/* Namespaces are not gone with the process. */
static void on_signal(int number)
{
    exit(128 + number);
}

int main(int argc, char **argv)
{
    static struct system systems[N_SYSTEMS] = {
        {.name = "ovn", .kind = OVN, .table = OVN_REMOTE_TABLE, .mark = "ovn-installed"},
        {.name = "bare", .kind = BARE, .table = OVS_FORWARD},
        {.name = "eidmap",
         .kind = EIDMAP,
         .n_servers = 1,
         .table = OVS_FORWARD,
         .mark = XTR_OVS_INSTALLED},
        {.name = "eidmap3",
         .kind = EIDMAP,
         .n_servers = 3,
         .table = OVS_FORWARD,
         .mark = XTR_OVS_INSTALLED},
    };
    struct bench bench = bench_parse(argc, argv, "ovs_peers",
                                     "from a port in Open vSwitch to its flow on another host");
    if (geteuid() != 0 || !vswitch_is_there()) {
        puts("skipped: needs root and Open vSwitch");
        return SKIPPED;
    }
    scratch_enter();
    scene.bench = &bench;
    atexit(close_hosts);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    hosts_open(&scene.hosts);
    for (unsigned i = 1; i < 3; i++) {
        hosts_add(&scene.hosts);
        bench_run("ip -n %s address add 10.99.0.1%u/24 dev br0", scene.hosts.names[0], i);
    }
    scene.n_ports = 2 * bench.n_times;
    for (unsigned i = 0; i < N_BULKS; i++)
        scene.n_ports += size_of(i);
    scene.n_networks = (scene.n_ports + A_NETWORK - 1) / A_NETWORK;
    for (unsigned i = 0; i < N_SYSTEMS; i++) {
        if (bench.only && strcmp(bench.only, systems[i].name) != 0)
            continue;
        if (systems[i].kind == OVN && !ovn_is_there())
            continue;
        measure(&systems[i]);
    }
    for (unsigned i = 0; i < N_SYSTEMS && systems[0].figures.one.n; i++)
        if (systems[i].kind == EIDMAP && systems[i].figures.one.n)
            tell_times(&systems[i], &systems[0]);
    return 0;
}
