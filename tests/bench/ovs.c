/* How fast one large network gets into Open vSwitch and is compared with it, beside the same flows
 * by ovs-ofctl, and by a bare loop that writes flow-mods that were made beforehand.
 *
 *   operations --> data plane --> br-int.mgmt --> ovs-vswitchd, userspace datapath
 *   a file --> ovs-ofctl --bundle --> the same
 *   encoded flow-mods ------ write --> the same
 *
 * An endpoint has a MAC and an IPv4 address: two flows.  Each way finds tables without flows of
 * endpoints, of which the groups are there.  Of ROUNDS rounds the least time is told, since
 * neighbours on the machine only add. */
#include "bare.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "bench.h"
#include "dataplane/ovs.h"
#include "mapcache.h"
#include "scratch.h"
#include "vswitch.h"

#include "dataplane/dataplane.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SKIPPED  77
#define ROUNDS   3
#define NODES    100
#define NETWORK  7
#define VNI      100
#define CHECK_US 1000

struct result {
    double ours, ours_cpu, ours_switch, ofctl, bare, bare_switch, check, check_cpu; /* us */
};

struct scene {
    struct vswitch vswitch;
    struct dataplane *plane;
    struct of_conn *conn; /* the bench's own */
    uint32_t n;
    unsigned n_times;
    struct hist latency;
};

static double now_us(void)
{
    return (double)bench_now_ns() / 1e3;
}

static double cpu_us(void)
{
    return (double)em_clock_us(CLOCK_THREAD_CPUTIME_ID);
}

static void keep_least(double *least, double value)
{
    if (!*least || value < *least)
        *least = value;
}

/* ---- the data plane ---- */

static void apply(struct scene *scene, struct dp_op *ops, size_t n)
{
    if (dataplane_apply(scene->plane, ops, n))
        real_fail("the data plane refuses an operation");
}

static void open_plane(struct scene *scene)
{
    const struct dp_config config = {.rlocs = {{.size = 4, .addr = {192, 168, 0, 1}}},
                                     .udp_port = 4789,
                                     .node_id = "bench",
                                     .bridge = "br-int",
                                     .database = scene->vswitch.remote,
                                     .run_dir = scene->vswitch.dir,
                                     .datapath_type = "netdev"};
    struct dp_op op = {.verb = DP_NETWORK_PUT, .network = {.id = NETWORK, .segmentation_id = VNI}};
    char *why = NULL;
    if (dataplane_open(&dp_ovs, &config, &scene->plane, &why))
        real_fail("data plane: %s", why);
    apply(scene, &op, 1);
    for (uint32_t k = 0; k < NODES; k++) {
        uint32_t ip_be = bare_rloc_be(k);
        struct dp_target target = {.ip.size = 4, .weight = 1, .segmentation_id = VNI};
        memcpy(target.ip.addr, &ip_be, 4);
        op = (struct dp_op){.verb = DP_SET_PUT, .set = {k + 1, &target, 1}};
        apply(scene, &op, 1);
    }
}

static void fill_ops(uint32_t i, struct dp_op ops[2])
{
    uint32_t ip_be = bare_ip_be(i);
    ops[0] = (struct dp_op){.verb = DP_MAC_PUT, .network.id = NETWORK, .set.id = 1 + i % NODES};
    bare_mac(i, ops[0].mac);
    ops[1] = (struct dp_op){.verb = DP_NEIGHBOUR_PUT, .network.id = NETWORK, .ip.size = 4};
    memcpy(ops[1].ip.addr, &ip_be, 4);
    memcpy(ops[1].mac, ops[0].mac, EM_MAC_SIZE);
}

/* In batches, as the agent's pump. */
static void measure_ours(struct scene *scene, struct result *best)
{
    static struct dp_op ops[XTR_OPS_MAX];
    size_t n_ops = 0;
    double begin = now_us(), begin_cpu = cpu_us(), begin_switch = vswitch_cpu_us(&scene->vswitch);
    for (uint32_t i = 0; i < scene->n; i++) {
        fill_ops(i, &ops[n_ops]);
        n_ops += 2;
        if (n_ops < XTR_OPS_MAX && i + 1 < scene->n)
            continue;
        apply(scene, ops, n_ops);
        n_ops = 0;
    }
    keep_least(&best->ours, now_us() - begin);
    keep_least(&best->ours_cpu, cpu_us() - begin_cpu);
    keep_least(&best->ours_switch, vswitch_cpu_us(&scene->vswitch) - begin_switch);
}

/* MACs of endpoints that are not there yet, one by one, each with its barrier. */
static void measure_latency(struct scene *scene)
{
    for (uint32_t i = 0; i < scene->n_times; i++) {
        struct dp_op ops[2];
        fill_ops(scene->n + i, ops);
        uint64_t begin = bench_now_ns();
        apply(scene, ops, 1);
        hist_add(&scene->latency, bench_now_ns() - begin);
    }
}

static void on_difference(void *aux, const struct dp_difference *difference)
{
    real_fail("%s %s: %s", difference->table, difference->kind, difference->entry);
}

static void measure_check(struct scene *scene, struct result *best)
{
    double begin = now_us(), begin_cpu = cpu_us();
    struct dp_check *check = dataplane_check_start(scene->plane, true, on_difference, NULL);
    while (dataplane_check_step(scene->plane, check, CHECK_US))
        continue;
    struct dp_check_result result = dataplane_check_end(scene->plane, check);
    keep_least(&best->check, now_us() - begin);
    keep_least(&best->check_cpu, cpu_us() - begin_cpu);
    if (result.err || result.n_compared < 2 * (uint64_t)scene->n)
        real_fail("the check: %s, %llu compared", strerror(-result.err),
                  (unsigned long long)result.n_compared);
}

/* ---- the others ---- */

static void expect_flows(struct scene *scene, uint64_t n)
{
    uint64_t n_found = vswitch_count(scene->conn, OVS_FORWARD, OF_GROUP_ANY) +
                       vswitch_count(scene->conn, OVS_RESPOND, OF_GROUP_ANY);
    if (n_found < n || n_found > n + 16)
        real_fail("the switch has %llu flows instead of %llu", (unsigned long long)n_found,
                  (unsigned long long)n);
}

/* Flows of endpoints go, those of the network stay. */
static void clear(struct scene *scene)
{
    static const enum ovs_kind kinds[] = {OVS_REMOTE, OVS_ADDR};
    struct of_flow none;
    of_flow_init(&none);
    for (size_t i = 0; i < 2; i++) {
        of_flow_begin(&none, OF_TABLE_ALL, 0, ovs_cookie(kinds[i], 0));
        of_put_flow(of_out(scene->conn), of_xid(scene->conn), OF_FLOW_DELETE, &none,
                    0xffff000000000000u);
    }
    if (of_barrier(scene->conn))
        real_fail("the switch does not answer");
    of_flow_fini(&none);
    expect_flows(scene, 0);
}

/* The flows of endpoint i are those of the data plane. */
static void put_flows(struct em_buf *out, struct of_flow *flow, uint32_t i)
{
    static const uint8_t multicast[EM_MAC_SIZE] = {1};
    uint8_t mac[8] = {0};
    uint32_t ip_be = bare_ip_be(i), group = OVS_GROUP_FIRST + i % NODES;
    bare_mac(i, mac + 2);
    of_flow_begin(flow, OVS_FORWARD, 20, ovs_cookie(OVS_REMOTE, group));
    of_match_int(flow, OF_REG0, NETWORK);
    of_match(flow, OF_ETH_DST, mac + 2);
    of_group(&flow->actions, group);
    of_put_flow(out, 2 * i + 1, OF_FLOW_ADD, flow, 0);
    of_flow_begin(flow, OVS_RESPOND, 10, ovs_cookie(OVS_ADDR, 0));
    of_match_int(flow, OF_REG0, NETWORK);
    of_match_int(flow, OF_ETH_TYPE, 0x0806);
    of_match_int(flow, OF_ARP_OP, 1);
    of_match(flow, OF_ARP_TPA, &ip_be);
    of_match_masked(flow, OF_ETH_DST, multicast, multicast);
    of_set(&flow->actions, OF_XREG1, mac);
    of_goto(flow, OVS_REPLY);
    of_put_flow(out, 2 * i + 2, OF_FLOW_ADD, flow, 0);
}

static void measure_bare(struct scene *scene, struct result *best)
{
    struct em_buf bytes;
    struct of_flow flow;
    int fd = of_fd(scene->conn), flags = fcntl(fd, F_GETFL);
    em_buf_init(&bytes);
    of_flow_init(&flow);
    for (uint32_t i = 0; i < scene->n; i++)
        put_flows(&bytes, &flow, i);
    (void)fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
    double begin = now_us(), begin_switch = vswitch_cpu_us(&scene->vswitch);
    while (em_buf_size(&bytes) > 0) {
        ssize_t n = write(fd, em_buf_head(&bytes), em_buf_size(&bytes));
        if (n <= 0)
            real_fail("br-int.mgmt: %s", strerror(errno));
        em_buf_take(&bytes, (size_t)n);
    }
    (void)fcntl(fd, F_SETFL, flags);
    if (of_barrier(scene->conn))
        real_fail("the switch does not answer");
    keep_least(&best->bare, now_us() - begin);
    keep_least(&best->bare_switch, vswitch_cpu_us(&scene->vswitch) - begin_switch);
    em_buf_fini(&bytes);
    of_flow_fini(&flow);
}

static void write_flows(const struct scene *scene)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/flows", scene->vswitch.dir);
    FILE *file = fopen(path, "w");
    if (!file)
        real_fail("%s: %s", path, strerror(errno));
    for (uint32_t i = 0; i < scene->n; i++) {
        uint8_t m[EM_MAC_SIZE], a[4];
        uint32_t ip_be = bare_ip_be(i), group = OVS_GROUP_FIRST + i % NODES;
        bare_mac(i, m);
        memcpy(a, &ip_be, 4);
        fprintf(file,
                "cookie=0x%llx,table=%d,priority=20,reg0=%d,dl_dst=%02x:%02x:%02x:%02x:%02x:%02x,"
                "actions=group:%u\n",
                (unsigned long long)ovs_cookie(OVS_REMOTE, group), OVS_FORWARD, NETWORK, m[0], m[1],
                m[2], m[3], m[4], m[5], group);
        fprintf(file,
                "cookie=0x%llx,table=%d,priority=10,arp,reg0=%d,arp_op=1,arp_tpa=%u.%u.%u.%u,"
                "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,"
                "actions=set_field:0x%02x%02x%02x%02x%02x%02x->xreg1,goto_table:%d\n",
                (unsigned long long)ovs_cookie(OVS_ADDR, 0), OVS_RESPOND, NETWORK, a[0], a[1], a[2],
                a[3], m[0], m[1], m[2], m[3], m[4], m[5], OVS_REPLY);
    }
    fclose(file);
}

static void measure_ofctl(const struct scene *scene, struct result *best)
{
    double begin = now_us();
    bench_run(
        "ovs-ofctl -vconsole:off --bundle -O OpenFlow14 add-flows unix:%s/br-int.mgmt %s/flows",
        scene->vswitch.dir, scene->vswitch.dir);
    keep_least(&best->ofctl, now_us() - begin);
}

/* ---- */

static void measure(struct scene *scene, struct result *best)
{
    open_plane(scene);
    if (!scene->conn)
        scene->conn = vswitch_connect(&scene->vswitch);
    clear(scene);
    measure_ours(scene, best);
    expect_flows(scene, 2 * (uint64_t)scene->n);
    measure_check(scene, best);
    measure_latency(scene);
    dataplane_close(scene->plane);
    clear(scene);
    measure_bare(scene, best);
    expect_flows(scene, 2 * (uint64_t)scene->n);
    clear(scene);
    measure_ofctl(scene, best);
    expect_flows(scene, 2 * (uint64_t)scene->n);
    clear(scene);
}

static void tell(const struct bench *bench, const struct scene *scene, const struct result *best)
{
    double n_flows = 2.0 * scene->n;
    bench_figure(bench, "endpoints", scene->n, "", "with MAC and IPv4: two flows each");
    bench_figure(bench, "bare.rate", n_flows * 1e6 / best->bare, "1/s",
                 "flow-mods that were made beforehand, and one barrier");
    bench_figure(bench, "install.rate", n_flows * 1e6 / best->ours, "1/s",
                 "flows by the data plane, in the agent's batches");
    bench_figure(bench, "install.cpu", best->ours_cpu / n_flows, "us",
                 "processor time of ours for each flow");
    bench_figure(bench, "install.switch", best->ours_switch / n_flows, "us",
                 "processor time of ovs-vswitchd for each flow");
    bench_figure(bench, "bare.switch", best->bare_switch / n_flows, "us",
                 "the same when the bare loop writes");
    bench_figure(bench, "share", 100 * best->bare / best->ours, "%", "of the bare loop's rate");
    bench_figure(bench, "bundle.rate", n_flows * 1e6 / best->ofctl, "1/s",
                 "flows by ovs-ofctl --bundle");
    bench_figure(bench, "bundle.times", best->ofctl / best->ours, "", "as fast as --bundle");
    bench_latency(bench, "one", &scene->latency, 0, "");
    bench_figure(bench, "reconcile.rate", n_flows * 1e6 / best->check, "1/s",
                 "flows compared with the switch");
    bench_figure(bench, "reconcile.cpu", best->check_cpu / n_flows, "us",
                 "processor time of ours for each flow");
}

int main(int argc, char **argv)
{
    static struct scene scene;
    struct result best = {0};
    char dir[64];
    struct bench bench =
        bench_parse(argc, argv, "ovs", "one large network into Open vSwitch, and compared with it");
    if (geteuid() != 0 || !vswitch_is_there()) {
        puts("skipped: needs root and Open vSwitch");
        return SKIPPED;
    }
    em_log_set_level(EM_LOG_ERROR);
    scratch_enter();
    if (unshare(CLONE_NEWNET))
        real_fail("network namespace: %s", strerror(errno));
    bench_run("ip link set lo up && ip link add u0 type veth peer name u1 && ip link set u0 up && "
              "ip address add 192.168.0.1/16 dev u0");
    snprintf(dir, sizeof(dir), "%.40s/ovs", getenv("TMPDIR"));
    vswitch_start(&scene.vswitch, dir, NULL);
    scene.n = bench.n_ports;
    scene.n_times = bench.n_times;
    write_flows(&scene);
    for (int i = 0; i < ROUNDS; i++)
        measure(&scene, &best);
    tell(&bench, &scene, &best);
    of_close(scene.conn);
    vswitch_stop(&scene.vswitch);
    return 0;
}
