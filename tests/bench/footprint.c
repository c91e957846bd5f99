/* What a large map takes of memory and disk, beside etcd with as many records of the same size, and
 * how long a map server needs to answer after a restart.
 *
 * LMDB and etcd's bbolt both map their file: its pages count as resident as long as the kernel has
 * no better use for them.  So "heap", what cannot be dropped, is told beside it. */
#include "base/mem.h"
#include "bench.h"
#include "claims.h"
#include "etcd.h"
#include "scratch.h"
#include "server/caller.h"
#ifdef EM_NGHTTP2
#include "etcd_load.h"
#endif

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ROUNDS     3   /* of restarts */
#define ETCD_SLICE 1   /* s between two looks at how many there are */
#define ETCD_LIMIT 240 /* s */

/* Bytes on the disk of all files below. */
static uint64_t disk_bytes(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    uint64_t n = 0;
    while (dir && (entry = readdir(dir))) {
        struct stat st;
        char *name = em_asprintf("%s/%s", path, entry->d_name);
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") || lstat(name, &st))
            st = (struct stat){0};
        n += S_ISDIR(st.st_mode) ? disk_bytes(name) : (uint64_t)st.st_blocks * 512;
        free(name);
    }
    if (dir)
        closedir(dir);
    return n;
}

static double memory_mb(pid_t pid, const char *field)
{
    char path[32], line[128];
    double kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof(line), file))
        if (!strncmp(line, field, strlen(field)))
            kib = strtod(line + strlen(field), NULL);
    if (file)
        fclose(file);
    return kib * 1024 / 1e6;
}

static void tell(const struct bench *bench, const char *system, pid_t pid, const char *dir)
{
    char full[32];
    snprintf(full, sizeof(full), "%s.memory", system);
    bench_figure(bench, full, memory_mb(pid, "VmRSS:"), "MB", "resident, mapped files included");
    snprintf(full, sizeof(full), "%s.heap", system);
    bench_figure(bench, full, memory_mb(pid, "RssAnon:"), "MB", "of this, without mapped files");
    snprintf(full, sizeof(full), "%s.disk", system);
    bench_figure(bench, full, (double)disk_bytes(dir) / 1e6, "MB", "of all its files");
}

/* ---- eidmap ---- */

static double restart(struct real_server *server, bool is_crash)
{
    if (is_crash)
        real_server_kill(server);
    else if (real_server_stop(server, 10000))
        real_fail("the map server ends badly");
    uint64_t start = bench_now_ns();
    real_server_start(server);
    return (double)(bench_now_ns() - start) / 1e6;
}

static void tell_restart(const struct bench *bench, struct real_server *server, const char *name,
                         bool is_crash, const char *what)
{
    double best = restart(server, is_crash);
    for (int i = 1; i < ROUNDS; i++) {
        double ms = restart(server, is_crash);
        best = best < ms ? best : ms;
    }
    bench_figure(bench, name, best, "ms", what);
}

static void measure_eidmap(const struct bench *bench)
{
    struct real_server server;
    struct caller caller;
    bench_server(bench, &server);
    char *state = em_asprintf("%s/state", server.data), *log = em_asprintf("%s/log", server.data);
    uint64_t start = bench_now_ns();
    uint32_t network_id = caller_preload(server.unix_url, bench->n_ports);
    bench_figure(bench, "eidmap.load", (double)(bench_now_ns() - start) / 1e9, "s",
                 "to register them, 4,096 in a request");
    tell(bench, "eidmap", server.pid, server.data);
    bench_figure(bench, "eidmap.disk.state", (double)disk_bytes(state) / 1e6, "MB", "the map");
    bench_figure(bench, "eidmap.disk.log", (double)disk_bytes(log) / 1e6, "MB",
                 "the log, just after all that");
    tell_restart(bench, &server, "eidmap.restart", false,
                 "from its start until it answers, after an orderly end");
    tell_restart(bench, &server, "eidmap.crash", true, "the same after kill -9");
    tell(bench, "eidmap.restarted", server.pid, server.data);
    caller_open(&caller, server.unix_url, NULL);
    if (caller_resolve(&caller, network_id, bench->n_ports) || caller.n_positive != 1)
        real_fail("the last port is not in the map: %s", caller.message);
    caller_close(&caller);
    real_server_stop(&server, 10000);
    real_server_fini(&server);
    free(state);
    free(log);
}

/* ---- etcd ---- */

#ifdef EM_NGHTTP2
static void measure_etcd(const struct bench *bench)
{
    struct load_result *result = em_malloc(sizeof(*result));
    struct etcd etcd;
    const char *urls[ETCD_MEMBERS];
    uint32_t next = 0;
    etcd_start(&etcd);
    for (unsigned i = 0; i < ETCD_MEMBERS; i++)
        urls[i] = etcd.members[i].url;
    const struct etcd_load_config config = {
        .urls = urls,
        .n_urls = ETCD_MEMBERS,
        .n_conns = 8,
        .n_flight = 64, /* with 1,000 under way it says that they are too many */
        .size = claims_size(),
        .next = &next,
        .seconds = ETCD_SLICE,
    };
    uint64_t start = bench_now_ns(), now = start;
    while (next < bench->n_ports && (now - start) / 1000000000 < ETCD_LIMIT) {
        etcd_load_run(&config, result);
        now = bench_now_ns();
    }
    char *dir = em_asprintf("%s/m0", etcd.dir);
    bench_figure(bench, "etcd.records", next, "", "put into it, one each");
    bench_figure(bench, "etcd.load", (double)(now - start) / 1e9, "s", "to put them");
    if (next >= bench->n_ports)
        tell(bench, "etcd", etcd.members[0].pid, dir);
    else
        fprintf(stderr, "etcd took only %u records in %d s: no figures of it\n", next, ETCD_LIMIT);
    etcd_stop(&etcd);
    free(dir);
    free(result);
}

static const char *etcd_missing(void)
{
    return etcd_program() ? NULL : "etcd is not installed";
}
#else
static void measure_etcd(const struct bench *bench)
{
}

static const char *etcd_missing(void)
{
    return "this was built without libnghttp2";
}
#endif

static bool is_wanted(const struct bench *bench, const char *system)
{
    return !bench->only || strcmp(bench->only, system) == 0;
}

int main(int argc, char **argv)
{
    struct bench bench = bench_parse(argc, argv, "footprint", "memory and disk of a large map");
    scratch_enter();
    bench_figure(&bench, "ports", bench.n_ports, "", "endpoints in the map");
    if (is_wanted(&bench, "eidmap"))
        measure_eidmap(&bench);
    if (!is_wanted(&bench, "etcd"))
        return 0;
    if (etcd_missing())
        fprintf(stderr, "no figures of etcd: %s\n", etcd_missing());
    else
        measure_etcd(&bench);
    return 0;
}
