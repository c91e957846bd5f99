/* From a port that is plugged into Open vSwitch on host a until its flow stands on host b: eidmap
 * with one map server and with three, and OVN.
 *
 *   ebNs: mapserver, or ovn-northd and OVN's databases
 *      ebNa: ovsdb-server, ovs-vswitchd, xtr or ovn-controller
 *      ebNb: the same
 *
 * All are told alike: the port is declared beforehand, and one transaction of a's database brings
 * its interface and iface-id.  Witness is b's switch, asked how many flows it has that lead to
 * ports of a. */
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
#include "vswitch.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIPPED  77
#define NETWORK  "bench"
#define DECLARED 4000 /* in one request */
#define LIMIT_S  60
#define POLL_US  200   /* for one port */
#define BULK_US  5000  /* for many */
#define REST_US  50000 /* between one port and the next */
#define QUIET_US 2000000
#define N_BULKS  2

static const unsigned bulks[N_BULKS] = {1000, 5000};

struct figures {
    struct hist one;
    double whole[N_BULKS], ids[N_BULKS]; /* ms */
};

struct system {
    const char *name;
    unsigned n_servers; /* of eidmap; 0: OVN */
    uint8_t table;      /* that gets a flow for each port of another host */
    uint32_t group;     /* that such flows lead to */
    struct vswitch hosts[2];
    struct of_conn *witness;
    struct figures figures;
};

struct scene {
    const struct bench *bench;
    struct hosts hosts;
    struct real_cluster cluster;
    pid_t agents[2];
    struct ovn ovn;
    uint32_t n_ports, next;
};

static struct scene scene;

/* ---- eidmap ---- */

static void declare(const char *url)
{
    struct caller caller;
    caller_open(&caller, url, NULL);
    if (caller_put_network(&caller, NETWORK))
        real_fail("network: %s", caller.message);
    uint32_t network_id = caller.network_id;
    for (uint32_t i = 1; i <= scene.n_ports; i += DECLARED) {
        uint32_t n = scene.n_ports - i + 1 < DECLARED ? scene.n_ports - i + 1 : DECLARED;
        if (caller_register(&caller, network_id, i, n, NULL))
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
    ovn_declare(&scene.ovn, scene.n_ports);
    ovn_sync(&scene.ovn);
}

/* ---- the witness ---- */

static uint64_t count(const struct system *system)
{
    return vswitch_count(system->witness, system->table, system->group);
}

static void await(const struct system *system, uint64_t n, unsigned pause_us)
{
    uint64_t end = bench_now_ns() + LIMIT_S * 1000000000ull, found;
    while ((found = count(system)) < n) {
        if (bench_now_ns() > end)
            real_fail("%s: %llu flows on b instead of %llu", system->name,
                      (unsigned long long)found, (unsigned long long)n);
        usleep(pause_us);
    }
    if (found > n)
        real_fail("%s: more flows on b than ports of a", system->name);
}

/* Of eidmap: flows of declared ports that are nowhere yet lead to another group. */
static void find_group(struct system *system)
{
    uint64_t end = bench_now_ns() + LIMIT_S * 1000000000ull;
    do {
        for (uint32_t group = OVS_GROUP_FIRST; group < OVS_GROUP_FIRST + 16; group++) {
            system->group = group;
            if (count(system) == 1)
                return;
        }
        usleep(BULK_US);
    } while (bench_now_ns() < end);
    real_fail("%s: b has no flow of the first port of a", system->name);
}

/* All that was to be done has been: nothing changes any more. */
static uint64_t await_quiet(const struct system *system)
{
    uint64_t n, before = count(system);
    while (usleep(QUIET_US), (n = count(system)) != before)
        before = n;
    return n;
}

/* ---- measuring ---- */

static uint32_t take_numbers(uint32_t n)
{
    uint32_t first = scene.next;
    scene.next += n;
    return first;
}

/* One port on each host, so that both take part in the network. */
static void begin(struct system *system)
{
    of_close(vswitch_connect(&system->hosts[0]));
    system->witness = vswitch_connect(&system->hosts[1]);
    (void)plug_ports(&system->hosts[1], PLUG_WHOLE, take_numbers(1), 1);
    (void)plug_ports(&system->hosts[0], PLUG_WHOLE, take_numbers(1), 1);
    system->group = OF_GROUP_ANY;
    if (system->n_servers)
        find_group(system);
    else
        await(system, OVN_FIRST, BULK_US);
    (void)await_quiet(system);
}

static void measure_one(struct system *system)
{
    for (unsigned i = 0; i < scene.bench->n_times; i++) {
        uint64_t before = count(system);
        uint64_t start = plug_ports(&system->hosts[0], PLUG_WHOLE, take_numbers(1), 1);
        await(system, before + 1, POLL_US);
        hist_add(&system->figures.one, bench_now_ns() - start);
        usleep(REST_US);
    }
}

static double measure_bulk(struct system *system, enum plug what, uint32_t first, uint32_t n)
{
    uint64_t before = await_quiet(system);
    uint64_t start = plug_ports(&system->hosts[0], what, first, n);
    await(system, before + n, BULK_US);
    return (double)(bench_now_ns() - start) / 1e6;
}

static uint32_t size_of(unsigned bulk)
{
    return bulks[bulk] < scene.bench->n_ports ? bulks[bulk] : scene.bench->n_ports;
}

static void measure(struct system *system)
{
    scene.next = 1;
    for (unsigned i = 0; i < 2; i++) {
        char dir[64];
        snprintf(dir, sizeof(dir), "%.40s/%s%u", getenv("TMPDIR"), system->name, i);
        vswitch_start(&system->hosts[i], dir, scene.hosts.names[i + 1]);
    }
    if (system->n_servers)
        start_eidmap(system);
    else
        start_ovn(system);
    begin(system);
    measure_one(system);
    for (unsigned i = 0; i < N_BULKS; i++) {
        uint32_t n = size_of(i);
        system->figures.whole[i] = measure_bulk(system, PLUG_WHOLE, take_numbers(n), n);
        uint32_t first = take_numbers(n);
        (void)plug_ports(&system->hosts[0], PLUG_PORT, first, n);
        system->figures.ids[i] = measure_bulk(system, PLUG_ID, first, n);
    }
    of_close(system->witness);
    if (system->n_servers)
        stop_eidmap();
    else
        ovn_stop(&scene.ovn);
    for (unsigned i = 0; i < 2; i++)
        vswitch_stop(&system->hosts[i]);
}

/* ---- figures ---- */

static void figure(const char *system, const char *name, double value, const char *unit,
                   const char *what)
{
    char full[48];
    snprintf(full, sizeof(full), "%s.%s", system, name);
    bench_figure(scene.bench, full, value, unit, what);
}

static double percentile_ms(const struct system *system, double percent)
{
    return (double)hist_percentile_ns(&system->figures.one, percent) / 1e6;
}

static void tell(const struct system *system)
{
    char name[32];
    figure(system->name, "one.p50", percentile_ms(system, 50), "ms",
           "a port is plugged into a until b has its flow");
    figure(system->name, "one.p95", percentile_ms(system, 95), "ms", "95 of 100 take no longer");
    for (unsigned i = 0; i < N_BULKS; i++) {
        snprintf(name, sizeof(name), "%u", size_of(i));
        figure(system->name, name, system->figures.whole[i], "ms",
               "so many ports are plugged at once until b has all");
        snprintf(name, sizeof(name), "%u.ids", size_of(i));
        figure(system->name, name, system->figures.ids[i], "ms",
               "so many ports that are there get their iface-id");
    }
}

static void tell_times(const struct system *system, const struct system *ovn)
{
    char name[32];
    figure(system->name, "one.p50.times", percentile_ms(ovn, 50) / percentile_ms(system, 50), "",
           "OVN takes so many times as long");
    figure(system->name, "one.p95.times", percentile_ms(ovn, 95) / percentile_ms(system, 95), "",
           "the same");
    for (unsigned i = 0; i < N_BULKS; i++) {
        snprintf(name, sizeof(name), "%u.times", size_of(i));
        figure(system->name, name, ovn->figures.whole[i] / system->figures.whole[i], "",
               "the same");
        snprintf(name, sizeof(name), "%u.ids.times", size_of(i));
        figure(system->name, name, ovn->figures.ids[i] / system->figures.ids[i], "", "the same");
    }
}

static void close_hosts(void)
{
    hosts_close(&scene.hosts);
}

int main(int argc, char **argv)
{
    static struct system systems[] = {
        {.name = "eidmap", .n_servers = 1, .table = OVS_FORWARD},
        {.name = "eidmap3", .n_servers = 3, .table = OVS_FORWARD},
        {.name = "ovn", .table = OVN_REMOTE_TABLE},
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
    hosts_open(&scene.hosts);
    for (unsigned i = 1; i < 3; i++) {
        hosts_add(&scene.hosts);
        bench_run("ip -n %s address add 10.99.0.1%u/24 dev br0", scene.hosts.names[0], i);
    }
    scene.n_ports = 2 + bench.n_times;
    for (unsigned i = 0; i < N_BULKS; i++)
        scene.n_ports += 2 * size_of(i);
    for (unsigned i = 0; i < 3; i++) {
        if (bench.only && strcmp(bench.only, systems[i].name) != 0)
            continue;
        if (!systems[i].n_servers && !ovn_is_there())
            continue;
        measure(&systems[i]);
        tell(&systems[i]);
    }
    for (unsigned i = 0; i < 2 && systems[2].figures.one.n; i++)
        if (systems[i].figures.one.n)
            tell_times(&systems[i], &systems[2]);
    return 0;
}
