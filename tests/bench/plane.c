/* How fast one large network gets into the kernel and is compared with it, beside a bare
 * netlink loop that installs the same entries; and how long either holds the agent's loop.
 *
 *   pages of the feed --> map-cache --> pump --> kernel data plane --> kernel
 *                                                        bare loop --> kernel
 *
 * Every run has a namespace of its own; of ROUNDS runs the least is told, since neighbours on the
 * machine only add.  Processor time, which they add least to, beside the clock's.  A turn is
 * what the agent does between two looks at its sockets: nothing else can delay a heartbeat. */
#include "bare.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "bench.h"
#include "mapcache.h"
#include "pump.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SKIPPED   77
#define ROUNDS    5
#define NODES     100
#define PAGE      256
#define NETWORK   7
#define BUDGET_US 2000 /* of a turn, as agent.c and agent_check.c have it */
#define CHECK_US  1000

struct turn {
    uint64_t wall_us, cpu_us;
};

struct cost {
    double wall_us, cpu_us;
    struct turn longest; /* that the loop was held for */
};

struct result {
    struct cost bare, feed, install, check, adopt;
};

static struct cost begin(void)
{
    return (struct cost){(double)em_now_us(), (double)em_clock_us(CLOCK_PROCESS_CPUTIME_ID), {0}};
}

static struct cost since(struct cost begin, struct turn longest)
{
    return (struct cost){(double)em_now_us() - begin.wall_us,
                         (double)em_clock_us(CLOCK_PROCESS_CPUTIME_ID) - begin.cpu_us, longest};
}

/* Each figure by itself: neighbours on the machine only add. */
static void keep_best(struct cost *best, struct cost cost)
{
    if (!best->wall_us) {
        *best = cost;
        return;
    }
    best->wall_us = cost.wall_us < best->wall_us ? cost.wall_us : best->wall_us;
    best->cpu_us = cost.cpu_us < best->cpu_us ? cost.cpu_us : best->cpu_us;
    if (cost.longest.wall_us < best->longest.wall_us)
        best->longest.wall_us = cost.longest.wall_us;
    if (cost.longest.cpu_us < best->longest.cpu_us)
        best->longest.cpu_us = cost.longest.cpu_us;
}

static void run(const char *command)
{
    if (system(command))
        real_fail("failed: %s", command);
}

/* The old namespace is taken down by the kernel meanwhile; it should be through. */
static void enter_namespace(void)
{
    if (unshare(CLONE_NEWNET))
        real_fail("network namespace: %s", strerror(errno));
    usleep(300000);
    run("ip link set lo up && ip link add u0 type veth peer name u1 && ip link set u0 up && "
        "ip link set u1 up && ip addr add 192.168.0.1/16 dev u0");
}

/* ---- the bare loop */

static struct cost measure_bare(uint32_t n)
{
    enter_namespace();
    bare_devices();
    struct cost start = begin();
    bare_install(if_nametoindex("x0"), if_nametoindex("b0"), n, NODES);
    return since(start, (struct turn){0});
}

/* ---- ours */

struct scene {
    struct dataplane *plane;
    struct xtr_mapcache *cache;
    struct xtr_ports ports;
    struct xtr_pump pump;
    char nodes[NODES][8];
};

static void open_plane(struct scene *scene)
{
    struct dp_config config = {.rlocs = {{.size = 4, .addr = {192, 168, 0, 1}}}, .udp_port = 4789};
    char *why = NULL;
    if (dataplane_open(&dp_kernel, &config, &scene->plane, &why))
        real_fail("data plane: %s", why);
}

static void feed_map(struct scene *scene)
{
    struct em_network network = {.id = NETWORK, .name = "large", .segmentation_id = 100};
    struct em_rloc rlocs[NODES];
    struct em_node nodes[NODES];
    struct em_change changes[NODES + 1] = {{.object = EM_OBJECT_NETWORK, .network = &network}};
    for (uint32_t k = 0; k < NODES; k++) {
        uint32_t ip_be = bare_rloc_be(k);
        snprintf(scene->nodes[k], sizeof(scene->nodes[k]), "n%u", k);
        rlocs[k] = (struct em_rloc){.encap = EM_ENCAP_VXLAN, .ip.size = 4};
        memcpy(rlocs[k].ip.addr, &ip_be, 4);
        nodes[k] = (struct em_node){.id = scene->nodes[k], .rlocs = &rlocs[k], .n_rlocs = 1};
        changes[k + 1] = (struct em_change){.object = EM_OBJECT_NODE, .node = &nodes[k]};
    }
    struct em_feed page = {
        .revision = 1, .changes = changes, .n_changes = NODES + 1, .is_complete = true};
    xtr_mapcache_feed(scene->cache, &page);
    if (xtr_mapcache_open(scene->cache, NETWORK, 0))
        real_fail("the network cannot be opened");
}

static void open_scene(struct scene *scene)
{
    struct xtr_mapcache_config config = {.node_id = "here", .has_ipv4 = true, .udp_port = 4789};
    *scene = (struct scene){.cache = xtr_mapcache_new(&config)};
    open_plane(scene);
    xtr_ports_init(&scene->ports);
    xtr_pump_init(&scene->pump, scene->plane, scene->cache, &scene->ports);
    feed_map(scene);
}

static void close_scene(struct scene *scene)
{
    xtr_mapcache_free(scene->cache);
    xtr_ports_fini(&scene->ports);
    xtr_pump_fini(&scene->pump);
    dataplane_close(scene->plane);
}

struct record {
    struct em_port port;
    struct em_eid eids[2];
    struct em_location location;
};

static void fill_record(const struct scene *scene, uint32_t i, struct record *record)
{
    uint32_t ip_be = bare_ip_be(i);
    *record =
        (struct record){.location = {.node_id = scene->nodes[i % NODES], .segmentation_id = 100}};
    record->eids[0] = (struct em_eid){.kind = EM_EID_MAC, .size = 6};
    bare_mac(i, record->eids[0].addr);
    record->eids[1] = (struct em_eid){.kind = EM_EID_IPV4, .size = 4};
    memcpy(record->eids[1].addr, &ip_be, 4);
    record->port = (struct em_port){.network_id = NETWORK,
                                    .eids = record->eids,
                                    .n_eids = 2,
                                    .locations = &record->location,
                                    .n_locations = 1};
    record->port.id.size = 16;
    memcpy(record->port.id.bytes, &i, sizeof(i));
}

static void feed_page(struct scene *scene, uint32_t first, uint32_t n, bool is_last)
{
    static struct record records[PAGE];
    struct em_change changes[PAGE];
    for (uint32_t i = 0; i < n; i++) {
        fill_record(scene, first + i, &records[i]);
        changes[i] = (struct em_change){.object = EM_OBJECT_PORT, .port = &records[i].port};
    }
    struct em_feed page = {.network_id = NETWORK,
                           .revision = 2 + first,
                           .changes = changes,
                           .n_changes = n,
                           .is_complete = is_last};
    xtr_mapcache_feed(scene->cache, &page);
}

static struct turn begin_turn(void)
{
    return (struct turn){em_now_us(), em_clock_us(CLOCK_THREAD_CPUTIME_ID)};
}

static void end_turn(struct turn begin, struct turn *longest)
{
    struct turn end = begin_turn();
    if (end.wall_us - begin.wall_us > longest->wall_us)
        longest->wall_us = end.wall_us - begin.wall_us;
    if (end.cpu_us - begin.cpu_us > longest->cpu_us)
        longest->cpu_us = end.cpu_us - begin.cpu_us;
}

static struct cost measure_feed(struct scene *scene, uint32_t n)
{
    struct cost start = begin();
    struct turn longest = {0};
    for (uint32_t i = 0; i < n; i += PAGE) {
        struct turn turn = begin_turn();
        feed_page(scene, i, n - i < PAGE ? n - i : PAGE, n - i <= PAGE);
        end_turn(turn, &longest);
    }
    return since(start, longest);
}

static struct cost measure_install(struct scene *scene, uint32_t n)
{
    struct pollfd news = {.fd = dataplane_fd(scene->plane), .events = POLLIN};
    struct cost start = begin();
    struct turn longest = {0};
    while (xtr_mapcache_done(scene->cache) != xtr_mapcache_tail(scene->cache)) {
        struct turn turn = begin_turn();
        bool has_more = xtr_pump_turn(&scene->pump, BUDGET_US);
        end_turn(turn, &longest);
        if (poll(&news, 1, has_more ? 0 : 10) > 0)
            (void)dataplane_serve(scene->plane);
    }
    struct cost cost = since(start, longest);
    if (scene->pump.n_failed || dataplane_stats(scene->plane).n_entries < 2 * (uint64_t)n)
        real_fail("%zu operations failed", scene->pump.n_failed);
    return cost;
}

static void on_difference(void *aux, const struct dp_difference *difference)
{
    real_fail("%s %s: %s", difference->table, difference->kind, difference->entry);
}

static struct cost measure_check(struct scene *scene, uint32_t n)
{
    struct cost start = begin();
    struct turn longest = {0};
    struct dp_check *check = dataplane_check_start(scene->plane, true, on_difference, NULL);
    for (bool has_more = true; has_more;) {
        struct turn turn = begin_turn();
        has_more = dataplane_check_step(scene->plane, check, CHECK_US);
        end_turn(turn, &longest);
    }
    struct cost cost = since(start, longest);
    struct dp_check_result result = dataplane_check_end(scene->plane, check);
    if (result.err || result.n_compared < 2 * (uint64_t)n)
        real_fail("the check: %s, %llu compared", strerror(-result.err),
                  (unsigned long long)result.n_compared);
    return cost;
}

static struct cost measure_adopt(struct scene *scene)
{
    dataplane_close(scene->plane);
    struct cost start = begin();
    open_plane(scene);
    return since(start, (struct turn){0});
}

/* Adoption is quadratic, so it is measured once. */
static void measure(uint32_t n, bool is_last, struct result *best)
{
    static struct scene scene;
    keep_best(&best->bare, measure_bare(n));
    enter_namespace();
    open_scene(&scene);
    keep_best(&best->feed, measure_feed(&scene, n));
    keep_best(&best->install, measure_install(&scene, n));
    keep_best(&best->check, measure_check(&scene, n));
    if (is_last)
        keep_best(&best->adopt, measure_adopt(&scene));
    close_scene(&scene);
}

/* ---- figures */

static void tell_rate(const struct bench *bench, const char *name, struct cost cost, uint32_t n,
                      const char *what)
{
    char full[48];
    snprintf(full, sizeof(full), "%s.rate", name);
    bench_figure(bench, full, n * 1e6 / cost.wall_us, "1/s", what);
    snprintf(full, sizeof(full), "%s.cpu", name);
    bench_figure(bench, full, cost.cpu_us / n, "us", "processor time for each");
    if (!cost.longest.wall_us)
        return;
    snprintf(full, sizeof(full), "%s.longest", name);
    bench_figure(bench, full, (double)cost.longest.wall_us / 1e3, "ms",
                 "that a turn held the loop, by the clock");
    snprintf(full, sizeof(full), "%s.longest.cpu", name);
    bench_figure(bench, full, (double)cost.longest.cpu_us / 1e3, "ms",
                 "that a turn held the loop, by processor time");
}

static void tell(const struct bench *bench, const struct result *half, const struct result *whole)
{
    uint32_t n = bench->n_ports;
    bench_figure(bench, "endpoints", n, "", "with MAC and IPv4, on 100 nodes, in one network");
    tell_rate(bench, "bare", whole->bare, n, "endpoints by a bare netlink loop");
    tell_rate(bench, "feed", whole->feed, n, "endpoints from the feed into the map-cache");
    tell_rate(bench, "install", whole->install, n, "endpoints from the map-cache into the kernel");
    tell_rate(bench, "reconcile", whole->check, n, "endpoints compared with the kernel");
    bench_figure(bench, "adopt", whole->adopt.wall_us / 1e3, "ms", "to read them after a restart");
    bench_figure(bench, "share", 100 * whole->bare.wall_us / whole->install.wall_us, "%",
                 "of the bare loop's rate, by the clock");
    bench_figure(bench, "share.cpu", 100 * whole->bare.cpu_us / whole->install.cpu_us, "%",
                 "of the bare loop's rate, by processor time");
    bench_figure(bench, "install.growth", whole->install.cpu_us / half->install.cpu_us, "",
                 "processor time of all by that of half");
    bench_figure(bench, "reconcile.growth", whole->check.cpu_us / half->check.cpu_us, "",
                 "processor time of all by that of half");
}

int main(int argc, char **argv)
{
    struct bench bench =
        bench_parse(argc, argv, "plane", "one large network into the kernel, and compared with it");
    struct result half = {0}, whole = {0};
    if (geteuid() != 0) {
        puts("skipped: only root can make network namespaces");
        return SKIPPED;
    }
    em_log_set_level(EM_LOG_ERROR);
    for (int i = 0; i < ROUNDS; i++) {
        measure(bench.n_ports / 2, false, &half);
        measure(bench.n_ports, i == ROUNDS - 1, &whole);
    }
    tell(&bench, &half, &whole);
    return 0;
}
