/* What the benchmarks share: options and figures.
 *
 * A figure is one line: name, value, unit, and what it is; with --json one object a line.
 * A benchmark fails when the work fails, never because a figure is bad. */
#ifndef BENCH_H
#define BENCH_H

#include "hist.h"
#include "server/real_server.h"

#include <stdbool.h>

struct bench {
    const char *name;
    bool is_json;
    double seconds; /* that each figure is measured for */
    uint32_t n_ports;
    unsigned n_times; /* installs, or kills */
    const char *mapserver, *xtr;
    const char *only; /* of what is compared; NULL: all */
};

/* Reads the command line; --help prints 'about' and the options, and ends the program. */
struct bench bench_parse(int argc, char **argv, const char *name, const char *about);

/* A number that only one benchmark knows, "--NAME N". */
struct bench_option {
    const char *name;
    double *value; /* stays as it is when the option is not given */
    double low, high;
    const char *unit, *help;
};

/* The same with more options; the last has no name. */
struct bench bench_parse_more(int argc, char **argv, const char *name, const char *about,
                              const struct bench_option *more);

/* 'name' is given without the benchmark's own, which is put in front. */
void bench_figure(const struct bench *bench, const char *name, double value, const char *unit,
                  const char *what);

/* The rate, and the 50th and 99th percentile in microseconds: NAME.rate, .p50, .p99. */
void bench_latency(const struct bench *bench, const char *name, const struct hist *hist,
                   double rate, const char *what);

uint64_t bench_now_ns(void);

/* Runs a command by shell, and ends the program when it fails. */
void bench_run(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The rate and latency of small synchronous writes, one after the other, in 'dir'. */
void bench_disk(const struct bench *bench, const char *dir);

/* Configuration of servers whose leases and limits outlast any benchmark. */
extern const char bench_yaml[];

/* A running server with bench_yaml. */
void bench_server(const struct bench *bench, struct real_server *server);

#endif
