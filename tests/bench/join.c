/* How long a fresh agent takes from its start until the kernel has a whole network, beside a bare
 * netlink loop that installs as many entries: the feed of a map server, through TLS, the map-cache
 * and the kernel data plane.
 *
 *   namespace s: map server, 10.99.0.10, with the ports of ten other nodes
 *   namespace a: xtr, started for each round; its kernel is the witness
 *
 * The agent has a port in the network by its configuration, and no file of an earlier run. */
#include "bare.h"
#include "bench.h"
#include "hosts.h"
#include "server/caller.h"
#include "witness.h"

#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_S 120
#define ROUNDS  3
#define NODES   10 /* of caller_preload() */
#define SKIPPED 77

struct scene {
    struct bench bench;
    struct hosts hosts;
    struct real_cluster cluster;
    char *servers;
    pid_t agent;
};

static struct scene scene;

struct cost {
    double wall_ms, cpu_ms;
};

static double cpu_ms(const struct rusage *usage)
{
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1e3 +
           (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e3;
}

/* Of the process, when it has ended. */
static double await_cpu_ms(pid_t pid)
{
    struct rusage usage = {0};
    wait4(pid, NULL, 0, &usage);
    return cpu_ms(&usage);
}

/* Processor time that it took. */
static double stop_agent(void)
{
    pid_t pid = scene.agent;
    if (pid <= 0)
        return 0;
    kill(pid, SIGKILL);
    scene.agent = 0;
    return await_cpu_ms(pid);
}

static void remove_scene(void)
{
    stop_agent();
    if (scene.cluster.n) {
        real_server_kill(&scene.cluster.servers[0]);
        real_cluster_fini(&scene.cluster);
    }
    hosts_close(&scene.hosts);
}

static void on_signal(int number)
{
    exit(128 + number);
}

/* A namespace whose kernel has nothing yet: the host's, or one for the bare loop. */
static const char *add_host(void)
{
    const char *netns = hosts_add(&scene.hosts);
    bench_run("ip -n %s link add t0 type veth peer name p0 && ip -n %s link set p0 up", netns,
              netns);
    return netns;
}

static struct cost join(struct ev_loop *loop)
{
    static const char port[] = "ports:\n  - {id: own, network: bench, device: t0, "
                               "mac: '06:00:00:00:00:01'}\n";
    struct witness witness;
    const struct real_server *server = &scene.cluster.servers[0];
    witness_open(&witness, loop, add_host());
    witness_expect(&witness, 1, scene.bench.n_ports, false);
    uint64_t begin = bench_now_ns();
    scene.agent = hosts_start_agent(&scene.hosts, 1, scene.bench.xtr, server, scene.servers, port);
    witness_await(&witness, LIMIT_S, "the agent");
    struct cost cost = {(double)(witness.done_ns - begin) / 1e6, stop_agent()};
    witness_close(&witness);
    hosts_remove(&scene.hosts);
    return cost;
}

/* A process of its own, watched as the agent is: the kernel has to tell a listener who reads. */
static struct cost install_bare(struct ev_loop *loop)
{
    struct witness witness;
    const char *netns = add_host();
    witness_open(&witness, loop, netns);
    witness_expect(&witness, 1, scene.bench.n_ports, false);
    int home = hosts_enter(netns);
    bare_devices();
    uint64_t begin = bench_now_ns();
    pid_t pid = fork();
    if (pid == 0) {
        bare_install(if_nametoindex("x0"), if_nametoindex("b0"), scene.bench.n_ports, NODES);
        _exit(0);
    }
    hosts_leave(home);
    witness_await(&witness, LIMIT_S, "the bare loop");
    struct cost cost = {(double)(witness.done_ns - begin) / 1e6, await_cpu_ms(pid)};
    witness_close(&witness);
    hosts_remove(&scene.hosts);
    return cost;
}

static void keep_best(struct cost *best, struct cost cost)
{
    if (!best->wall_ms || cost.wall_ms < best->wall_ms)
        best->wall_ms = cost.wall_ms;
    if (!best->cpu_ms || cost.cpu_ms < best->cpu_ms)
        best->cpu_ms = cost.cpu_ms;
}

/* The best of some rounds, by turns: what disturbs a round only adds to it. */
static void measure(void)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    struct cost agent = {0}, bare = {0};
    for (int i = 0; i < ROUNDS; i++) {
        keep_best(&agent, join(loop));
        keep_best(&bare, install_bare(loop));
    }
    bench_figure(&scene.bench, "agent", agent.wall_ms, "ms",
                 "from the start of a fresh agent to the last entry");
    bench_figure(&scene.bench, "agent.cpu", agent.cpu_ms, "ms", "of the processor, for the agent");
    bench_figure(&scene.bench, "bare", bare.wall_ms, "ms", "a bare netlink loop installs as many");
    bench_figure(&scene.bench, "bare.cpu", bare.cpu_ms, "ms", "of the processor, for that");
    bench_figure(&scene.bench, "share", 100 * bare.wall_ms / agent.wall_ms, "%",
                 "of the bare loop's rate, by the clock");
    bench_figure(&scene.bench, "share.cpu", 100 * bare.cpu_ms / agent.cpu_ms, "%",
                 "of the bare loop's rate, by processor time");
    ev_loop_destroy(loop);
}

int main(int argc, char **argv)
{
    scene.bench = bench_parse(argc, argv, "join", "a fresh agent in a large network");
    if (geteuid() != 0) {
        puts("skipped: only root can make network namespaces");
        return SKIPPED;
    }
    atexit(remove_scene);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    hosts_open(&scene.hosts);
    scene.servers =
        hosts_start_servers(&scene.hosts, &scene.cluster, 1, scene.bench.mapserver, bench_yaml);
    caller_preload(scene.cluster.servers[0].unix_url, scene.bench.n_ports);
    bench_figure(&scene.bench, "ports", scene.bench.n_ports, "", "in the network, on 10 nodes");
    measure();
    free(scene.servers);
    return 0;
}
