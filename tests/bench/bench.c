#include "bench.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_SECONDS 3
#define DEFAULT_PORTS   100000
#define DEFAULT_TIMES   200
#define N_OPTIONS       8
#define MORE_MAX        8
#define MORE            256  /* values of these options, beyond any letter's */
#define BLOCK           4096 /* of a synchronous write */

const char bench_yaml[] = "log: warn\nlease:\n  duration: 1h\n"
                          "limits:\n  ports_per_node: 100000000\n";

static void help(const char *name, const char *about, const struct bench_option *more)
{
    printf(
        "bench_%s: %s\n\n"
        "  --seconds N       measure each figure for so long (%d)\n"
        "  --ports N         endpoints in the map (%d)\n"
        "  --times N         installs that are measured (%d); leaders that are killed (up to 5)\n"
        "  --only NAME       of a comparison only \"eidmap\", \"etcd\", \"ovn\", \"frr\" ...\n"
        "  --json            a JSON object a line instead of a table\n"
        "  --mapserver PATH  the program to measure\n"
        "  --xtr PATH        the agent to measure\n",
        name, about, DEFAULT_SECONDS, DEFAULT_PORTS, DEFAULT_TIMES);
    for (; more->name; more++)
        printf("  --%s %-*s %s\n", more->name, (int)(14 - strlen(more->name)), more->unit,
               more->help);
    printf("  --help            this text\n\n"
           "TMPDIR says on which disk the map lies.\n"
           "Example: bench_%s --seconds 10 --json\n",
           name);
}

/* A number of the command line, or the end. */
static double number(const char *text, double low, double high)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= low && value <= high))
        real_fail("\"%s\": expected a number from %g to %g", text, low, high);
    return value;
}

struct bench bench_parse(int argc, char **argv, const char *name, const char *about)
{
    return bench_parse_more(argc, argv, name, about, &(struct bench_option){NULL});
}

struct bench bench_parse_more(int argc, char **argv, const char *name, const char *about,
                              const struct bench_option *more)
{
    struct option options[N_OPTIONS + MORE_MAX + 1] = {
        {"help", 0, NULL, 'h'},  {"json", 0, NULL, 'j'},      {"seconds", 1, NULL, 's'},
        {"ports", 1, NULL, 'p'}, {"mapserver", 1, NULL, 'm'}, {"xtr", 1, NULL, 'x'},
        {"times", 1, NULL, 't'}, {"only", 1, NULL, 'o'},
    };
    for (int i = 0; more[i].name && i < MORE_MAX; i++)
        options[N_OPTIONS + i] = (struct option){more[i].name, 1, NULL, MORE + i};
    struct bench bench = {
        .name = name,
        .seconds = DEFAULT_SECONDS,
        .n_ports = DEFAULT_PORTS,
        .n_times = DEFAULT_TIMES,
        .mapserver = real_program("mapserver"),
        .xtr = real_program("xtr"),
    };
    int option;
    setvbuf(stdout, NULL, _IOLBF, 0);
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'j')
            bench.is_json = true;
        else if (option == 's')
            bench.seconds = number(optarg, 0.1, 3600);
        else if (option == 'p')
            bench.n_ports = (uint32_t)number(optarg, 100, 1000000);
        else if (option == 't')
            bench.n_times = (unsigned)number(optarg, 1, 10000);
        else if (option == 'm')
            bench.mapserver = optarg;
        else if (option == 'x')
            bench.xtr = optarg;
        else if (option == 'o')
            bench.only = optarg;
        else if (option == 'h')
            help(name, about, more), exit(0);
        else if (option >= MORE)
            *more[option - MORE].value =
                number(optarg, more[option - MORE].low, more[option - MORE].high);
        else
            exit(2);
    }
    return bench;
}

void bench_figure(const struct bench *bench, const char *name, double value, const char *unit,
                  const char *what)
{
    char full[64];
    snprintf(full, sizeof(full), "%s.%s", bench->name, name);
    if (bench->is_json)
        printf("{\"name\":\"%s\",\"value\":%.6g,\"unit\":\"%s\",\"what\":\"%s\"}\n", full, value,
               unit, what);
    else
        printf("%-32s %12.*f %-5s %s\n", full, value < 100 ? 2 : 0, value, unit, what);
}

void bench_latency(const struct bench *bench, const char *name, const struct hist *hist,
                   double rate, const char *what)
{
    static const double percents[] = {50, 99};
    char part[64];
    if (rate > 0) {
        snprintf(part, sizeof(part), "%s.rate", name);
        bench_figure(bench, part, rate, "1/s", what);
    }
    for (int i = 0; i < 2; i++) {
        snprintf(part, sizeof(part), "%s.p%.0f", name, percents[i]);
        bench_figure(bench, part, (double)hist_percentile_ns(hist, percents[i]) / 1e3, "us",
                     i ? "99 of 100 take no longer" : "half of them take no longer");
    }
}

uint64_t bench_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void bench_run(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *command = NULL;
    if (vasprintf(&command, format, args) < 0)
        real_fail("out of memory");
    va_end(args);
    if (system(command))
        real_fail("failed: %.200s", command);
    free(command);
}

void bench_disk(const struct bench *bench, const char *dir)
{
    static const uint8_t block[BLOCK] = {1};
    struct hist *hist = em_calloc(1, sizeof(*hist));
    char *path = em_asprintf("%s/sync", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    uint64_t start = bench_now_ns(), now = start;
    uint64_t end = start + (uint64_t)(bench->seconds * 1e9);
    for (off_t at = 0; fd >= 0 && now < end; at = (at + BLOCK) % (BLOCK << 10)) {
        if (pwrite(fd, block, BLOCK, at) != BLOCK || fdatasync(fd))
            real_fail("%s: %s", path, strerror(errno));
        uint64_t done = bench_now_ns();
        hist_add(hist, done - now);
        now = done;
    }
    if (fd < 0)
        real_fail("%s: %s", path, strerror(errno));
    bench_latency(bench, "fdatasync", hist, (double)hist->n * 1e9 / (double)(now - start),
                  "4 KiB written and synced on the same disk, one after the other");
    close(fd);
    free(path);
    free(hist);
}

void bench_server(const struct bench *bench, struct real_server *server)
{
    real_server_init(server, bench_yaml);
    server->program = bench->mapserver;
    real_server_start(server);
}
