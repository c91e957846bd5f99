/* What the map-cache costs: bytes a port, and time a change.
 *
 * First the map-cache alone, fed with pages as the agent's client shows them, its operations
 * taken and dropped, with rates for each second of the processor; then a real agent with the null
 * data plane that subscribes to a network of a real map server. */
#include "base/mem.h"
#include "bench.h"
#include "mapcache.h"
#include "resident.h"
#include "server/numbered.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NETWORK     1
#define N_NODES     100
#define PAGE        1000 /* ports, about what a page of the feed holds */
#define CHURN       10   /* changes for each port */
#define CHURN_KINDS 8    /* shapes that a port may take */
#define CHURN_EIDS  8    /* of the largest */

/* What the map has: the number of each port, and its shape.  Shape 0 is the typical one. */
struct map {
    uint32_t n;
    uint32_t *numbers;
    uint8_t *shapes;
    uint32_t next_number;
    uint64_t random;
};

struct page {
    struct numbered_port ports[PAGE];
    struct em_eid eids[PAGE][CHURN_EIDS];
    struct em_change changes[PAGE];
    size_t n;
};

static char node_ids[N_NODES][8];
static struct page page;
static uint64_t revision;

/* Seconds of the processor: what else runs on the machine does not count. */
static double cpu_seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* xorshift64*: the same changes in every run. */
static uint32_t draw(struct map *map, uint32_t below)
{
    map->random ^= map->random >> 12;
    map->random ^= map->random << 25;
    map->random ^= map->random >> 27;
    return (uint32_t)((map->random * 0x2545f4914f6cdd1dull) >> 32) % below;
}

static void feed(struct xtr_mapcache *cache, uint32_t network_id, const struct em_change *changes,
                 size_t n, bool is_start_over, bool is_complete)
{
    struct em_feed feed = {.network_id = network_id,
                           .revision = ++revision,
                           .changes = changes,
                           .n_changes = n,
                           .is_start_over = is_start_over,
                           .is_complete = is_complete};
    xtr_mapcache_feed(cache, &feed);
}

/* The data plane that takes everything. */
static void drain(struct xtr_mapcache *cache)
{
    struct dp_op ops[XTR_OPS_MAX];
    while (xtr_mapcache_done(cache) != xtr_mapcache_tail(cache)) {
        xtr_mapcache_next_ops(cache, ops, XTR_OPS_MAX);
        xtr_mapcache_applied(cache);
    }
}

static struct xtr_mapcache *open_cache(void)
{
    struct xtr_mapcache_config config = {.node_id = "self", .has_ipv4 = true, .udp_port = 4789};
    struct xtr_mapcache *cache = xtr_mapcache_new(&config);
    struct em_network network = {.id = NETWORK, .name = "bench", .segmentation_id = 100};
    struct em_change change = {.object = EM_OBJECT_NETWORK, .network = &network};
    feed(cache, 0, &change, 1, true, false);
    for (uint32_t i = 0; i < N_NODES; i++) {
        struct em_rloc rloc = {.ip = {.size = 4, .addr = {192, 0, 2, (uint8_t)(i + 1)}}};
        struct em_node node = {.id = node_ids[i], .rlocs = &rloc, .n_rlocs = 1};
        snprintf(node_ids[i], sizeof(node_ids[i]), "n%u", i);
        change = (struct em_change){.object = EM_OBJECT_NODE, .node = &node};
        feed(cache, 0, &change, 1, false, i == N_NODES - 1);
    }
    if (xtr_mapcache_open(cache, NETWORK, 0))
        real_fail("the network does not open");
    return cache;
}

static void flush_page(struct xtr_mapcache *cache, bool is_complete)
{
    feed(cache, NETWORK, page.changes, page.n, false, is_complete);
    page.n = 0;
    drain(cache);
}

/* Shape 1 has a text port-id, 2 to 7 have so many more addresses, IPv6 in between. */
static void shape_port(struct em_port *port, struct em_eid *eids, uint32_t number, uint8_t shape)
{
    if (shape == 1)
        port->id.size = (uint8_t)snprintf((char *)port->id.bytes, EM_PORT_ID_SIZE, "port-%0*u",
                                          (int)(number % 40), number);
    if (shape < 2)
        return;
    memcpy(eids, port->eids, 2 * sizeof(*eids));
    for (uint32_t i = 2; i < shape; i++) {
        eids[i] =
            (struct em_eid){.kind = i % 2 ? EM_EID_IPV4 : EM_EID_IPV6, .size = i % 2 ? 4 : 16};
        uint32_t more = number * CHURN_EIDS + i;
        memcpy(eids[i].addr, &more, sizeof(more));
    }
    port->eids = eids;
    port->n_eids = shape;
}

static void add_put(struct xtr_mapcache *cache, struct map *map, uint32_t i)
{
    if (page.n == PAGE)
        flush_page(cache, true);
    struct numbered_port *port = &page.ports[page.n];
    numbered_port_init(port, NETWORK, map->numbers[i], node_ids[draw(map, N_NODES)]);
    shape_port(&port->port, page.eids[page.n], map->numbers[i], map->shapes[i]);
    page.changes[page.n++] = (struct em_change){.object = EM_OBJECT_PORT, .port = &port->port};
}

static void add_gone(struct xtr_mapcache *cache, struct map *map, uint32_t i)
{
    if (page.n == PAGE)
        flush_page(cache, true);
    struct numbered_port *port = &page.ports[page.n];
    numbered_port_init(port, NETWORK, map->numbers[i], node_ids[0]);
    shape_port(&port->port, page.eids[page.n], map->numbers[i], map->shapes[i]);
    page.changes[page.n++] =
        (struct em_change){.object = EM_OBJECT_PORT, .is_gone = true, .gone_port = port->port.id};
}

static void map_init(struct map *map, uint32_t n)
{
    *map = (struct map){.n = n, .next_number = n + 1, .random = 88172645463325252ull};
    map->numbers = em_malloc(n * sizeof(*map->numbers));
    map->shapes = em_malloc(n);
    memset(map->shapes, 0, n);
    for (uint32_t i = 0; i < n; i++)
        map->numbers[i] = i + 1;
}

static void map_fini(struct map *map)
{
    free(map->numbers);
    free(map->shapes);
}

/* All ports of the map, as a full pass; returns seconds. */
static double show_all(struct xtr_mapcache *cache, struct map *map)
{
    double start = cpu_seconds();
    feed(cache, NETWORK, NULL, 0, true, false);
    for (uint32_t i = 0; i < map->n; i++)
        add_put(cache, map, i);
    flush_page(cache, true);
    return cpu_seconds() - start;
}

/* Moves, other shapes, and ports that end for others that begin. */
static double churn(struct xtr_mapcache *cache, struct map *map, uint64_t n_changes, bool reshape)
{
    double start = cpu_seconds();
    for (uint64_t k = 0; k < n_changes; k++) {
        uint32_t i = draw(map, map->n), what = draw(map, 4);
        if (what == 0) {
            add_gone(cache, map, i);
            map->numbers[i] = map->next_number++;
            map->shapes[i] = reshape ? (uint8_t)draw(map, CHURN_KINDS) : 0;
        }
        if (what == 1 && reshape && map->shapes[i] != 1)
            map->shapes[i] = (uint8_t)(draw(map, CHURN_KINDS) & ~1u);
        add_put(cache, map, i);
    }
    flush_page(cache, true);
    return cpu_seconds() - start;
}

static double remove_all(struct xtr_mapcache *cache, struct map *map)
{
    double start = cpu_seconds();
    for (uint32_t i = 0; i < map->n; i++)
        add_gone(cache, map, i);
    flush_page(cache, true);
    return cpu_seconds() - start;
}

static void rate(const struct bench *bench, const char *name, double n, double seconds,
                 const char *what)
{
    char full[32];
    snprintf(full, sizeof(full), "%s.rate", name);
    bench_figure(bench, full, n / seconds, "1/s", what);
}

/* Half the ports in a process of its own, so that this one's heap stays as it is. */
static double fill_half(uint32_t n)
{
    int ends[2];
    double seconds = 0;
    if (pipe(ends))
        real_fail("no pipe");
    pid_t pid = fork();
    if (!pid) {
        struct map map;
        map_init(&map, n);
        struct xtr_mapcache *cache = open_cache();
        seconds = show_all(cache, &map);
        _exit(write(ends[1], &seconds, sizeof(seconds)) != sizeof(seconds));
    }
    if (read(ends[0], &seconds, sizeof(seconds)) != sizeof(seconds))
        real_fail("the process that fills half of it failed");
    waitpid(pid, NULL, 0);
    close(ends[0]);
    close(ends[1]);
    return seconds;
}

static double mb_since(size_t before)
{
    return (double)(resident_bytes(0) - before) / 1e6;
}

/* Against a map-cache that has never had anything else: what is more is lost to holes. */
static void slack_figure(const struct bench *bench, struct map *map, const char *name,
                         double churned)
{
    char full[48];
    size_t before = resident_bytes(0);
    struct xtr_mapcache *fresh = open_cache();
    show_all(fresh, map);
    snprintf(full, sizeof(full), "%s.slack", name);
    bench_figure(bench, full, 100 * churned / mb_since(before) - 100, "%",
                 "more resident than a fresh map-cache with the same ports");
    xtr_mapcache_free(fresh);
}

static void churn_figures(const struct bench *bench, struct xtr_mapcache *cache, struct map *map,
                          const char *name, bool reshape, size_t before)
{
    char full[48];
    uint64_t n = (uint64_t)map->n * CHURN / 2;
    double begin = mb_since(before), seconds = churn(cache, map, n, reshape);
    double end = mb_since(before);
    rate(bench, name, (double)n, seconds, "random changes at a constant number of ports");
    if (!reshape) { /* otherwise the ports themselves have grown */
        snprintf(full, sizeof(full), "%s.growth", name);
        bench_figure(bench, full, 100 * end / begin - 100, "%", "of resident memory thereby");
    }
    slack_figure(bench, map, name, end);
}

static void alone(const struct bench *bench)
{
    struct map map;
    double half = fill_half(bench->n_ports / 2);
    map_init(&map, bench->n_ports);
    memset(&page, 0, sizeof(page)); /* resident before it is measured */
    struct xtr_mapcache *cache = open_cache();
    size_t before = resident_bytes(0);
    double seconds = show_all(cache, &map);
    rate(bench, "fill", map.n, seconds, "ports, by pages of the feed");
    bench_figure(bench, "fill.ratio", seconds / half, "", "time for all ports to time for half");
    bench_figure(bench, "resident", mb_since(before), "MB", "that the filled map-cache takes");
    bench_figure(bench, "resident.port", mb_since(before) * 1e6 / map.n, "B",
                 "of this, for a port");
    bench_figure(bench, "counted.port", (double)xtr_mapcache_counts(cache).memory / map.n, "B",
                 "as the map-cache counts");
    rate(bench, "pass", map.n, show_all(cache, &map), "ports in a second pass, all moved");
    churn_figures(bench, cache, &map, "churn", false, before);
    churn_figures(bench, cache, &map, "reshape", true, before);
    rate(bench, "remove", map.n, remove_all(cache, &map), "ports, one after the other");
    bench_figure(bench, "left", mb_since(before), "MB", "that is still resident without ports");
    if (xtr_mapcache_counts(cache).n_remote)
        real_fail("ports are left");
    xtr_mapcache_free(cache);
    map_fini(&map);
}

int main(int argc, char **argv)
{
    struct bench bench = bench_parse(argc, argv, "cache", "memory and time of the map-cache");
    bench_figure(&bench, "ports", bench.n_ports, "", "in one network, MAC, IPv4, one location");
    alone(&bench);
    return resident_agent(&bench);
}
