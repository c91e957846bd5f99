#include "server/ordeal.h"

#include "server/caller.h"
#include "server/links.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define WRITES     50
#define FAULTS_MAX 20

void ordeal_fail(struct ordeal *ordeal, const char *format, ...)
{
    va_list args;
    for (unsigned i = 0; i < ordeal->cluster.n; i++) {
        char *log = real_server_log(&ordeal->cluster.servers[i], 0);
        fprintf(stderr, "---- log of %s\n", ordeal->cluster.names[i]);
        for (char *rest = log, *line; (line = strsep(&rest, "\n"));)
            if (*line && !strstr(line, "info: operator "))
                fprintf(stderr, "%s\n", line);
        free(log);
    }
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    real_fail(" (SEED=%u)", ordeal->seed);
}

unsigned ordeal_draw(struct ordeal *ordeal, unsigned n)
{
    return (unsigned)rand_r(&ordeal->seed) % n;
}

void ordeal_init(struct ordeal *ordeal, const char *yaml, const char *const *addresses)
{
    const char *given = getenv("SEED");
    *ordeal = (struct ordeal){.seed = 0};
    if (given)
        ordeal->seed = (unsigned)strtoul(given, NULL, 10);
    else if (getrandom(&ordeal->seed, sizeof(ordeal->seed), 0) != sizeof(ordeal->seed))
        real_fail("no random seed");
    fprintf(stderr, "SEED=%u\n", ordeal->seed);
    real_cluster_init_at(&ordeal->cluster, ORDEAL_SERVERS, yaml, addresses);
}

void ordeal_start(struct ordeal *ordeal)
{
    const char *servers[ORDEAL_SERVERS];
    struct caller caller;
    real_cluster_start(&ordeal->cluster);
    caller_open(&caller, ordeal->cluster.servers[0].unix_url, NULL);
    if (caller_put_network(&caller, "t1"))
        ordeal_fail(ordeal, "no network: %s", caller.message);
    ordeal->network_id = caller.network_id;
    caller_close(&caller);
    for (unsigned i = 0; i < ORDEAL_SERVERS; i++)
        servers[i] = ordeal->cluster.servers[i].unix_url;
    ordeal->traffic = traffic_start(&(struct traffic_config){.servers = servers,
                                                             .n_servers = ORDEAL_SERVERS,
                                                             .network_id = ordeal->network_id,
                                                             .n_keys = ORDEAL_KEYS,
                                                             .n_agents = 6,
                                                             .n_operators = 3,
                                                             .seed = ordeal->seed,
                                                             .pause_us = 20000});
}

bool ordeal_start_linked(struct ordeal *ordeal)
{
    if (!links_make(ORDEAL_SERVERS))
        return false;
    ordeal_init(ordeal, "lease:\n  duration: 1h\n", links_addresses());
    for (unsigned i = 0; i < ORDEAL_SERVERS; i++)
        ordeal->cluster.servers[i].netns = links_netns(i);
    ordeal_start(ordeal);
    return true;
}

/* The sanitizers' reports of those that were killed, too. */
static void check_log(struct ordeal *ordeal, unsigned i)
{
    static const char *const words[] = {"Sanitizer", "runtime error:", "Assertion"};
    char *log = real_server_log(&ordeal->cluster.servers[i], 0);
    for (size_t k = 0; k < sizeof(words) / sizeof(words[0]); k++)
        if (strstr(log, words[k]))
            ordeal_fail(ordeal, "%s has reported a fault of its own", ordeal->cluster.names[i]);
    free(log);
}

void ordeal_end(struct ordeal *ordeal)
{
    char *why = verdict_of(&ordeal->cluster, ordeal->traffic, ordeal->network_id, ORDEAL_KEYS);
    if (why)
        ordeal_fail(ordeal, "%s", why);
    if (real_cluster_stop(&ordeal->cluster, ORDEAL_LIMIT_MS))
        ordeal_fail(ordeal, "a server does not end in order");
    for (unsigned i = 0; i < ordeal->cluster.n; i++)
        check_log(ordeal, i);
}

void ordeal_fini(struct ordeal *ordeal)
{
    if (ordeal->traffic)
        traffic_free(ordeal->traffic);
    real_cluster_fini(&ordeal->cluster);
}

void ordeal_expect_writes(struct ordeal *ordeal, const char *when)
{
    if (!traffic_await(ordeal->traffic, WRITES, ORDEAL_LIMIT_MS))
        ordeal_fail(ordeal, "%s: no %d writes in %d s", when, WRITES, ORDEAL_LIMIT_MS / 1000);
}

unsigned ordeal_follower(struct ordeal *ordeal)
{
    return (real_cluster_leader(&ordeal->cluster) + 1 + ordeal_draw(ordeal, ORDEAL_SERVERS - 1)) %
           ORDEAL_SERVERS;
}

static int compare_times(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

void ordeal_report(struct ordeal *ordeal, const char *what, const uint64_t *at_us, size_t n)
{
    uint64_t first[FAULTS_MAX], longest[FAULTS_MAX];
    assert(n > 0 && n <= FAULTS_MAX);
    for (size_t i = 0; i < n; i++) {
        struct traffic_gap gap = traffic_gap(ordeal->traffic, at_us[i]);
        first[i] = gap.first;
        longest[i] = gap.longest;
    }
    qsort(first, n, sizeof(*first), compare_times);
    qsort(longest, n, sizeof(*longest), compare_times);
    printf("%s, %zu times: the next write was acknowledged after %.3f s (p50), %.3f s (max); a "
           "write waited %.3f s (p50), %.3f s (max)\n",
           what, n, (double)first[n / 2] / 1e6, (double)first[n - 1] / 1e6,
           (double)longest[n / 2] / 1e6, (double)longest[n - 1] / 1e6);
}
