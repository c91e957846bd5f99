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

static void stop_agent(void)
{
    if (scene.agent <= 0)
        return;
    kill(scene.agent, SIGKILL);
    waitpid(scene.agent, NULL, 0);
    scene.agent = 0;
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

static double join(struct ev_loop *loop)
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
    double took = (double)(witness.done_ns - begin) / 1e6;
    witness_close(&witness);
    stop_agent();
    bench_run("rm -rf %s/a", server->dir);
    hosts_remove(&scene.hosts);
    return took;
}

static double install_bare(void)
{
    int home = hosts_enter(add_host());
    bare_devices();
    uint64_t begin = bench_now_ns();
    bare_install(if_nametoindex("x0"), if_nametoindex("b0"), scene.bench.n_ports, NODES);
    double took = (double)(bench_now_ns() - begin) / 1e6;
    hosts_leave(home);
    hosts_remove(&scene.hosts);
    return took;
}

/* The best of some rounds, by turns: what disturbs a round only adds to it. */
static void measure(void)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    double agent = 0, bare = 0;
    for (int i = 0; i < ROUNDS; i++) {
        double a = join(loop), b = install_bare();
        agent = i && agent < a ? agent : a;
        bare = i && bare < b ? bare : b;
    }
    bench_figure(&scene.bench, "agent", agent, "ms",
                 "from the start of a fresh agent to the last entry");
    bench_figure(&scene.bench, "bare", bare, "ms", "a bare netlink loop installs as many");
    bench_figure(&scene.bench, "share", 100 * bare / agent, "%", "of the bare loop's rate");
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
