/* How the cost of a whole map grows with its size: time to register a number of ports durably, and
 * to show them all to a fresh subscriber, for maps of which each is twice the one before. */
#include "bench.h"
#include "server/caller.h"

#include <stdio.h>

#define SIZES  4
#define ROUNDS 3

struct sizes {
    uint32_t n[SIZES];
    double registered[SIZES], fed[SIZES]; /* ms */
};

static void count(void *aux, uint32_t number, const struct em_port *port)
{
    ++*(uint32_t *)aux;
}

static double feed(const struct real_server *server, uint32_t network_id, uint32_t n)
{
    uint32_t n_seen = 0;
    uint64_t start = bench_now_ns();
    int r = caller_dump(server->unix_url, network_id, count, &n_seen);
    if (r || n_seen != n)
        real_fail("the feed showed %u of %u ports", n_seen, n);
    return (double)(bench_now_ns() - start) / 1e6;
}

static void keep_best(double *best, double ms)
{
    *best = *best && *best < ms ? *best : ms;
}

/* What disturbs a round only adds to it. */
static void measure(const struct bench *bench, struct sizes *sizes, int i)
{
    struct real_server server;
    bench_server(bench, &server);
    uint64_t start = bench_now_ns();
    uint32_t network_id = caller_preload(server.unix_url, sizes->n[i]);
    keep_best(&sizes->registered[i], (double)(bench_now_ns() - start) / 1e6);
    for (int k = 0; k < ROUNDS; k++)
        keep_best(&sizes->fed[i], feed(&server, network_id, sizes->n[i]));
    if (real_server_stop(&server, 10000))
        real_fail("the map server ends badly");
    real_server_fini(&server);
}

/* From the second to the third size, as the last one shows what comes after. */
static void tell(const struct bench *bench, const char *name, const struct sizes *sizes,
                 const double ms[SIZES], const char *what)
{
    char full[48];
    for (int i = 0; i < SIZES; i++) {
        snprintf(full, sizeof(full), "%s.%u", name, sizes->n[i]);
        bench_figure(bench, full, ms[i], "ms", what);
    }
    snprintf(full, sizeof(full), "%s.growth", name);
    bench_figure(bench, full, ms[2] / ms[1], "",
                 "time for half of the ports by that for a quarter");
}

int main(int argc, char **argv)
{
    struct bench bench = bench_parse(argc, argv, "growth", "maps of double size, again and again");
    struct sizes sizes = {.n = {0}};
    for (int i = 0; i < SIZES; i++)
        sizes.n[i] = bench.n_ports >> (SIZES - 1 - i);
    for (int k = 0; k < ROUNDS; k++)
        for (int i = 0; i < SIZES; i++)
            measure(&bench, &sizes, i);
    tell(&bench, "register", &sizes, sizes.registered, "ports are registered, 4,096 in a request");
    tell(&bench, "feed", &sizes, sizes.fed, "they are all shown to a fresh subscriber");
    return 0;
}
