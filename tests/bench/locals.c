/* How long a host takes to attach many ports of its own, all at once, until each is installed; and
 * what the agent's processor time for one of many is, beside that for one of few.
 *
 *   namespace s: map server, 10.99.0.10
 *   namespace a: xtr with "dataplane: null"; the ports are attached through its control socket,
 *                each with a device of its own (a bridge of the kernel has room for 1,023)
 *
 * Two agents, one after the other, with a tenth of the ports and with all of them. */
#include "attach.h"
#include "bench.h"
#include "hosts.h"
#include "server/caller.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIPPED 77
#define NETWORK "locals"

struct scene {
    struct bench bench;
    struct hosts hosts;
    struct real_cluster cluster;
    char *servers;
    pid_t agent;
};

static struct scene scene;

struct cost {
    double wall_ms, cpu_us; /* the latter of the agent, for one port */
};

/* Its processor time, in microseconds. */
static double stop_agent(void)
{
    struct rusage usage = {0};
    if (scene.agent <= 0)
        return 0;
    kill(scene.agent, SIGKILL);
    wait4(scene.agent, NULL, 0, &usage);
    scene.agent = 0;
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
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

static void put_network(void)
{
    struct caller caller;
    caller_open(&caller, scene.cluster.servers[0].unix_url, NULL);
    if (caller_put_network(&caller, NETWORK))
        real_fail("network: %s", caller.message);
    caller_close(&caller);
}

static struct cost attach_all(uint32_t first, uint32_t n)
{
    const struct real_server *server = &scene.cluster.servers[0];
    struct attacher attacher;
    hosts_add(&scene.hosts);
    scene.agent = hosts_start_agent(&scene.hosts, 1, scene.bench.xtr, server, scene.servers,
                                    "dataplane: null\n");
    attach_open(&attacher, server->dir, 'a', NETWORK);
    uint64_t begin = attach_start(&attacher, first, n, NULL, true);
    attach_await(&attacher);
    struct cost cost = {.wall_ms = (double)(attacher.answered_ns - begin) / 1e6};
    attach_close(&attacher);
    cost.cpu_us = stop_agent() / n;
    hosts_remove(&scene.hosts);
    return cost;
}

static void measure(void)
{
    uint32_t n = scene.bench.n_ports, n_few = n / 10 ? n / 10 : 1;
    struct cost few = attach_all(1, n_few), many = attach_all(n_few + 1, n);
    bench_figure(&scene.bench, "ports", n, "", "of one host, attached 128 at a time");
    bench_figure(&scene.bench, "time", many.wall_ms, "ms", "until the last is installed");
    bench_figure(&scene.bench, "cpu", many.cpu_us, "us", "of the agent's processor time, for each");
    bench_figure(&scene.bench, "few.cpu", few.cpu_us, "us",
                 "the same where there is a tenth of them");
    bench_figure(&scene.bench, "growth", many.cpu_us / few.cpu_us, "",
                 "of what one costs, when there are ten times as many");
}

int main(int argc, char **argv)
{
    scene.bench = bench_parse(argc, argv, "locals", "many ports of one host");
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
    put_network();
    measure();
    free(scene.servers);
    return 0;
}
