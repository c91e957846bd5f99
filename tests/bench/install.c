/* How long it takes from the attach of a port on one host until the kernel of another one has its
 * entries, one port after the other, a thousand at once, and very many: eidmap with one map server
 * and with three, and FRR's EVPN with a route reflector; beside the last what a bare netlink loop
 * takes for the same entries.
 *
 *     +------------- namespace s: map servers, or the reflector: 10.99.0.10 .. 12 -----+
 *     |                                                                                |
 *   namespace a: xtr, or zebra and bgpd                       namespace b: the same
 *   ports are attached here                                   its kernel is the witness
 *
 * With eidmap a port is attached through a's control socket, with a device of its own; a thousand
 * share one device.  Very many are registered by a session of another node, in requests as an agent
 * sends them: no agent has so many of its own.  FRR learns from the kernel: it is given the
 * bridge's FDB entry and the neighbour.  A port counts as installed when b's kernel has told of
 * both the vxlan device's FDB entry and the neighbour. */
#include "attach.h"
#include "bare.h"
#include "base/mem.h"
#include "bench.h"
#include "frr.h"
#include "hosts.h"
#include "server/caller.h"
#include "witness.h"

#include <ev.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NETWORK "bench"
#define LIMIT_S 15  /* for one port */
#define MANY_S  120 /* for many */
#define ROUNDS  3   /* of the bare loop */
#define SKIPPED 77
#define AT_ONCE 1000 /* ports that a host gets when it starts */
#define REQUEST 512  /* ports that an agent registers by one */
#define OWN     1    /* number of b's own port */
#define FIRST   2    /* of a's */

struct system {
    const char *name;
    unsigned n_servers; /* 0: FRR */
};

static const struct system systems[] = {{"eidmap", 1}, {"eidmap3", 3}, {"frr", 0}};

struct scene {
    struct bench bench;
    struct hosts hosts;
    struct real_cluster cluster;
    pid_t agents[2];
    struct attacher a;
    struct frr frr;
    struct ev_loop *loop; /* of the attacher, or own */
    struct witness witness;
    uint32_t network_id, next; /* number of a port that has not been used */
};

static struct scene scene;

/* ---- eidmap ---- */

static void add_devices(unsigned i, unsigned n)
{
    char *path = em_asprintf("%s/devices", scene.cluster.servers[0].dir);
    FILE *file = fopen(path, "w");
    for (unsigned k = 0; file && k <= n; k++)
        fprintf(file, "link add t%u type veth peer name p%u\n", k, k);
    if (!file || fclose(file))
        real_fail("%s cannot be written", path);
    bench_run("ip -n %s -batch %s", scene.hosts.names[i], path);
    free(path);
}

/* b takes part in the network when it has a port there itself. */
static void attach_to_b(const char *dir)
{
    struct attacher b;
    attach_open(&b, dir, 'b', NETWORK);
    attach_start(&b, OWN, 1, "t0", true);
    attach_await(&b);
    attach_close(&b);
}

static void start_eidmap(unsigned n_servers)
{
    const struct real_server *first = &scene.cluster.servers[0];
    struct caller caller;
    char *servers = hosts_start_servers(&scene.hosts, &scene.cluster, n_servers,
                                        scene.bench.mapserver, bench_yaml);
    add_devices(1, scene.bench.n_times + 1);
    add_devices(2, 0);
    caller_open(&caller, first->unix_url, NULL);
    if (caller_put_network(&caller, NETWORK))
        real_fail("network: %s", caller.message);
    scene.network_id = caller.network_id;
    caller_close(&caller);
    for (unsigned i = 0; i < 2; i++)
        scene.agents[i] =
            hosts_start_agent(&scene.hosts, i + 1, scene.bench.xtr, first, servers, "");
    free(servers);
    attach_to_b(first->dir);
    attach_open(&scene.a, first->dir, 'a', NETWORK);
    scene.loop = attach_loop(&scene.a);
}

static void stop_eidmap(void)
{
    for (int i = 0; i < 2; i++) {
        if (scene.agents[i] <= 0)
            continue;
        kill(scene.agents[i], SIGKILL);
        waitpid(scene.agents[i], NULL, 0);
        scene.agents[i] = 0;
    }
    for (unsigned i = 0; i < scene.cluster.n; i++)
        real_server_kill(&scene.cluster.servers[i]);
    if (scene.cluster.n)
        real_cluster_fini(&scene.cluster);
    scene.cluster.n = 0;
}

/* ---- either ---- */

static void remove_scene(void)
{
    stop_eidmap();
    frr_stop(&scene.frr);
    hosts_close(&scene.hosts);
}

static void on_signal(int number)
{
    exit(128 + number);
}

static void start(const struct system *system)
{
    hosts_open(&scene.hosts);
    hosts_add(&scene.hosts);
    hosts_add(&scene.hosts);
    if (system->n_servers) {
        start_eidmap(system->n_servers);
    } else {
        frr_start(&scene.frr, &scene.hosts);
        scene.loop = ev_loop_new(EVFLAG_AUTO);
    }
    witness_open(&scene.witness, scene.loop, scene.hosts.names[2]);
    scene.next = FIRST;
}

static void stop(const struct system *system)
{
    witness_close(&scene.witness);
    if (system->n_servers)
        attach_close(&scene.a);
    else
        ev_loop_destroy(scene.loop);
    remove_scene();
}

static void figure(const char *system, const char *name, double value, const char *unit,
                   const char *what)
{
    char full[48];
    snprintf(full, sizeof(full), "%s.%s", system, name);
    bench_figure(&scene.bench, full, value, unit, what);
}

static double ms(uint64_t start_ns, uint64_t end_ns)
{
    return (double)(end_ns - start_ns) / 1e6;
}

/* ---- measuring ---- */

/* The first one makes the devices, and does not count. */
static void measure_one(const struct system *system)
{
    struct hist *remote = em_calloc(1, sizeof(*remote)), *local = em_calloc(1, sizeof(*local));
    char name[32], device[16];
    for (unsigned i = 0; i <= scene.bench.n_times; i++) {
        uint64_t begin;
        witness_expect(&scene.witness, scene.next, 1, false);
        snprintf(device, sizeof(device), "t%u", i);
        if (system->n_servers)
            begin = attach_start(&scene.a, scene.next, 1, device, true);
        else
            begin = frr_attach(&scene.frr, scene.next, 1);
        scene.next++;
        witness_await(&scene.witness, LIMIT_S, system->name);
        if (system->n_servers)
            attach_await(&scene.a);
        if (i == 0)
            continue;
        hist_add(remote, scene.witness.done_ns - begin);
        if (system->n_servers)
            hist_add(local, scene.a.answered_ns - begin);
    }
    snprintf(name, sizeof(name), "%s.one", system->name);
    bench_latency(&scene.bench, name, remote, 0,
                  "attach on a until b's kernel has FDB and neighbour");
    snprintf(name, sizeof(name), "%s.local", system->name);
    if (system->n_servers)
        bench_latency(&scene.bench, name, local, 0,
                      "until a says that it is installed, its own file in memory");
    free(remote);
    free(local);
}

static double await(const struct system *system, uint64_t begin)
{
    witness_await(&scene.witness, MANY_S, system->name);
    return ms(begin, scene.witness.done_ns);
}

static void measure_thousand(const struct system *system)
{
    uint32_t n = scene.bench.n_ports < AT_ONCE ? scene.bench.n_ports : AT_ONCE;
    char device[16], what[64];
    uint64_t begin;
    snprintf(device, sizeof(device), "t%u", scene.bench.n_times + 1);
    snprintf(what, sizeof(what), "%u attached at once on a until b's kernel has all", n);
    witness_expect(&scene.witness, scene.next, n, false);
    if (system->n_servers)
        begin = attach_start(&scene.a, scene.next, n, device, false);
    else
        begin = frr_attach(&scene.frr, scene.next, n);
    scene.next += n;
    figure(system->name, "thousand", await(system, begin), "ms", what);
    if (system->n_servers)
        attach_await(&scene.a);
}

/* In a process of its own, since the witness has to listen meanwhile; when it began. */
static pid_t register_many(uint32_t n, int *ret_begin_fd)
{
    int ends[2];
    if (pipe(ends))
        real_fail("no pipe");
    pid_t pid = fork();
    if (pid) {
        close(ends[1]);
        *ret_begin_fd = ends[0];
        return pid;
    }
    struct caller caller;
    caller_open(&caller, scene.cluster.servers[0].unix_url, "n0");
    uint64_t begin = bench_now_ns();
    for (uint32_t i = 0; i < n; i += REQUEST)
        if (caller_register(&caller, scene.network_id, scene.next + i,
                            n - i < REQUEST ? n - i : REQUEST, "n0"))
            _exit(1);
    _exit(write(ends[1], &begin, sizeof(begin)) != sizeof(begin));
}

static void measure_many(const struct system *system)
{
    static const char what[] = "very many at once until b's kernel has all";
    uint32_t n = scene.bench.n_ports;
    uint64_t begin;
    int fd, status;
    witness_expect(&scene.witness, scene.next, n, false);
    if (!system->n_servers) {
        figure(system->name, "many", await(system, frr_attach(&scene.frr, scene.next, n)), "ms",
               what);
        return;
    }
    pid_t pid = register_many(n, &fd);
    await(system, 0);
    if (read(fd, &begin, sizeof(begin)) != sizeof(begin) || waitpid(pid, &status, 0) != pid ||
        status)
        real_fail("%s: not all are registered", system->name);
    close(fd);
    figure(system->name, "many", ms(begin, scene.witness.done_ns), "ms", what);
}

static void measure_loss(const struct system *system)
{
    if (system->n_servers)
        return; /* bench_standby measures that */
    witness_expect(&scene.witness, scene.next, scene.bench.n_ports, true);
    figure(system->name, "loss", await(system, frr_kill(&scene.frr)), "ms",
           "bgpd on a is killed until b's kernel has none of them");
}

/* Neighbours on the machine only add: the best of some rounds. */
static void measure_bare(void)
{
    double best = 0;
    for (int i = 0; i < ROUNDS; i++) {
        hosts_open(&scene.hosts);
        int home = hosts_enter(scene.hosts.names[0]);
        bare_devices();
        uint64_t begin = bench_now_ns();
        bare_install(if_nametoindex("x0"), if_nametoindex("b0"), scene.bench.n_ports, 1);
        double took = ms(begin, bench_now_ns());
        hosts_leave(home);
        hosts_close(&scene.hosts);
        best = best && best < took ? best : took;
    }
    figure("bare", "many", best, "ms", "a bare netlink loop installs as many");
}

static bool is_chosen(const struct system *system)
{
    if (scene.bench.only && strcmp(scene.bench.only, system->name) != 0)
        return false;
    if (system->n_servers || frr_is_there())
        return true;
    fprintf(stderr, "no figures of FRR: it is not installed\n");
    return false;
}

int main(int argc, char **argv)
{
    scene.bench =
        bench_parse(argc, argv, "install", "from an attach to the kernel of another host");
    if (geteuid() != 0) {
        puts("skipped: only root can make network namespaces");
        return SKIPPED;
    }
    atexit(remove_scene);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    bench_figure(&scene.bench, "times", scene.bench.n_times, "", "ports, one after the other");
    bench_figure(&scene.bench, "many", scene.bench.n_ports, "", "ports, at once");
    for (size_t i = 0; i < sizeof(systems) / sizeof(systems[0]); i++) {
        if (!is_chosen(&systems[i]))
            continue;
        start(&systems[i]);
        measure_one(&systems[i]);
        measure_thousand(&systems[i]);
        measure_many(&systems[i]);
        measure_loss(&systems[i]);
        stop(&systems[i]);
    }
    if (!scene.bench.only)
        measure_bare();
    return 0;
}
