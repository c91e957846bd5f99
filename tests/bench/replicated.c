/* How fast three map servers register endpoints durably, beside three members of etcd that
 * store as many bytes, on the same disk in the same run: 1, 64, 256 and 1000 requests under
 * way, with all connections at the leader ("leader") and over all three ("spread").  Then
 * what writes wait for when the leader is killed.
 *
 * eidmap's connections are TLS 1.3, between servers too; etcd's are in the clear, and its key
 * and value together have the size of the Register.  Each system has the same number of
 * connections, the same time to warm up, and its turn next to the other's. */
#include "base/mem.h"
#include "bench.h"
#include "claims.h"
#include "etcd.h"
#include "failover.h"
#include "load.h"
#include "scratch.h"
#include "server/real_cluster.h"
#ifdef EM_NGHTTP2
#include "etcd_load.h"
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_SERVERS 3
#define N_KILLS   5
#define STOP_MS   20000
#define SKIPPED   77

static const struct shape {
    unsigned n_conns, n_flight; /* of each connection */
} shapes[] = {{1, 1}, {8, 8}, {8, 32}, {8, 125}};

struct scene {
    struct bench bench;
    bool has_eidmap, has_etcd;
    struct real_cluster cluster;
    struct em_tls *tls[CLAIMS_NODES];
    struct claims claims;
    struct etcd etcd;
    uint32_t next_key;
    uint64_t n_puts; /* that etcd has acknowledged, at least */
};

struct pair {
    struct load_result eidmap, etcd;
};

/* ---- the two systems ---- */

static void start_eidmap(struct scene *scene)
{
    real_cluster_init(&scene->cluster, N_SERVERS, bench_yaml);
    for (unsigned i = 0; i < N_SERVERS; i++)
        scene->cluster.servers[i].program = scene->bench.mapserver;
    real_cluster_start(&scene->cluster);
    const struct real_server *first = &scene->cluster.servers[0];
    claims_init(&scene->claims, first->unix_url);
    for (int i = 0; i < CLAIMS_NODES; i++)
        scene->tls[i] = real_server_tls(first, EM_ROLE_NODE, claims_nodes[i]);
}

static void load_eidmap(struct scene *scene, const struct shape *shape, bool is_spread,
                        double seconds, struct load_result *ret_result)
{
    const char *urls[N_SERVERS];
    unsigned leader = real_cluster_leader(&scene->cluster);
    for (unsigned i = 0; i < N_SERVERS; i++)
        urls[i] = scene->cluster.servers[(leader + i) % N_SERVERS].tls_url;
    const struct load_config config = {
        .urls = urls,
        .n_urls = is_spread ? N_SERVERS : 1,
        .tls = scene->tls,
        .n_tls = CLAIMS_NODES,
        .n_conns = shape->n_conns,
        .n_flight = shape->n_flight,
        .nodes = claims_nodes,
        .put = claims_put,
        .aux = &scene->claims,
        .seconds = seconds,
    };
    load_run(&config, ret_result);
}

static void stop_eidmap(struct scene *scene)
{
    for (unsigned i = 0; i < N_SERVERS; i++)
        claims_check(&scene->claims, scene->cluster.servers[i].unix_url);
    for (int i = 0; i < CLAIMS_NODES; i++)
        em_tls_free(scene->tls[i]);
    int status = real_cluster_stop(&scene->cluster, STOP_MS);
    if (status)
        real_fail("a map server ends with status %d", status);
    real_cluster_fini(&scene->cluster);
}

static void stop_etcd(struct scene *scene)
{
    uint64_t revision = etcd_revision(&scene->etcd);
    if (revision <= scene->n_puts)
        real_fail("etcd has stored %lu of %lu puts", (unsigned long)revision - 1,
                  (unsigned long)scene->n_puts);
    etcd_stop(&scene->etcd);
}

#ifdef EM_NGHTTP2
static const char *etcd_missing(void)
{
    return etcd_program() ? NULL : "etcd is not installed";
}

static void load_etcd(struct scene *scene, const struct shape *shape, bool is_spread,
                      double seconds, struct load_result *ret_result)
{
    const char *urls[ETCD_MEMBERS];
    unsigned leader = etcd_leader(&scene->etcd);
    for (unsigned i = 0; i < ETCD_MEMBERS; i++)
        urls[i] = scene->etcd.members[(leader + i) % ETCD_MEMBERS].url;
    const struct etcd_load_config config = {
        .urls = urls,
        .n_urls = is_spread ? ETCD_MEMBERS : 1,
        .n_conns = shape->n_conns,
        .n_flight = shape->n_flight,
        .size = claims_size(),
        .next = &scene->next_key,
        .seconds = seconds,
    };
    etcd_load_run(&config, ret_result);
    scene->n_puts += ret_result->hist.n;
}
#else
static const char *etcd_missing(void)
{
    return "this was built without libnghttp2";
}

static void load_etcd(struct scene *scene, const struct shape *shape, bool is_spread,
                      double seconds, struct load_result *ret_result)
{
    memset(ret_result, 0, sizeof(*ret_result));
}
#endif

/* ---- figures ---- */

static void load_both(struct scene *scene, const struct shape *shape, bool is_spread,
                      double seconds, struct pair *ret_pair)
{
    if (scene->has_eidmap)
        load_eidmap(scene, shape, is_spread, seconds, &ret_pair->eidmap);
    if (scene->has_etcd)
        load_etcd(scene, shape, is_spread, seconds, &ret_pair->etcd);
}

static void compare(struct scene *scene, const struct shape *shape, bool is_spread)
{
    const struct bench *bench = &scene->bench;
    struct pair *pair = em_calloc(1, sizeof(*pair));
    char where[32], name[64];
    load_both(scene, shape, is_spread, bench->seconds, pair);
    snprintf(where, sizeof(where), "%s.%u", is_spread ? "spread" : "leader",
             shape->n_conns * shape->n_flight);
    snprintf(name, sizeof(name), "eidmap.%s", where);
    if (scene->has_eidmap)
        bench_latency(bench, name, &pair->eidmap.hist, pair->eidmap.rate,
                      "registers of one port, under way");
    snprintf(name, sizeof(name), "etcd.%s", where);
    if (scene->has_etcd)
        bench_latency(bench, name, &pair->etcd.hist, pair->etcd.rate, "puts of as many bytes");
    if (scene->has_eidmap && scene->has_etcd) {
        snprintf(name, sizeof(name), "%s.rate_ratio", where);
        bench_figure(bench, name, pair->eidmap.rate / pair->etcd.rate, "",
                     "rate of eidmap over rate of etcd");
        snprintf(name, sizeof(name), "%s.p50_ratio", where);
        bench_figure(bench, name,
                     (double)hist_percentile_ns(&pair->eidmap.hist, 50) /
                         (double)hist_percentile_ns(&pair->etcd.hist, 50),
                     "", "p50 of eidmap over p50 of etcd");
    }
    free(pair);
}

static void fail_over(struct scene *scene)
{
    const struct bench *bench = &scene->bench;
    struct hist *hist = em_calloc(1, sizeof(*hist));
    for (unsigned i = 0; i < N_KILLS && i < bench->n_times; i++)
        hist_add(hist, failover_run(&scene->cluster, &scene->claims));
    bench_figure(bench, "failover.p50", (double)hist_percentile_ns(hist, 50) / 1e6, "ms",
                 "longest wait of a write when the leader is killed, 64 under way");
    bench_figure(bench, "failover.max", (double)hist_percentile_ns(hist, 100) / 1e6, "ms",
                 "the same, of the worst kill");
    free(hist);
}

static void choose(struct scene *scene)
{
    const char *only = scene->bench.only, *missing = etcd_missing();
    if (only && strcmp(only, "eidmap") != 0 && strcmp(only, "etcd") != 0)
        real_fail("\"%s\": expected \"eidmap\" or \"etcd\"", only);
    scene->has_eidmap = !only || strcmp(only, "eidmap") == 0;
    scene->has_etcd = !only || strcmp(only, "etcd") == 0;
    if (scene->has_etcd && missing) {
        fprintf(stderr, "no figures of etcd: %s\n", missing);
        scene->has_etcd = false;
    }
}

int main(int argc, char **argv)
{
    static struct scene scene;
    scene.bench = bench_parse(argc, argv, "replicated",
                              "durable registrations in a cluster of three, beside etcd's puts");
    choose(&scene);
    if (!scene.has_eidmap && !scene.has_etcd)
        return SKIPPED;
    scratch_enter();
    bench_disk(&scene.bench, getenv("TMPDIR"));
    if (scene.has_eidmap)
        start_eidmap(&scene);
    if (scene.has_etcd)
        etcd_start(&scene.etcd);
    struct pair *unused = em_calloc(1, sizeof(*unused));
    load_both(&scene, &shapes[1], true, scene.bench.seconds / 3, unused); /* warms up */
    free(unused);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        compare(&scene, &shapes[i], false);
        if (shapes[i].n_conns > 1)
            compare(&scene, &shapes[i], true);
    }
    if (scene.has_etcd)
        stop_etcd(&scene);
    if (scene.has_eidmap) {
        fail_over(&scene);
        stop_eidmap(&scene);
    }
    return 0;
}
