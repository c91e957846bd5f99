/* The map-cache on disk: what saving costs the loop and the disk, what loading costs, and how
 * large the file is.  --ports in one network, each with a MAC and an IPv4 address.
 *
 * Piece by piece, as the agent saves: only packing takes the loop's time. */
#include "base/clock.h"
#include "base/mem.h"
#include "bench.h"
#include "cachefile.h"
#include "statefile.h"
#include "xtr/saved_map.h"

#include <stdlib.h>
#include <unistd.h>

#define PIECE (128u << 10)

static void figure_ms(const struct bench *bench, const char *name, uint64_t us, const char *what)
{
    bench_figure(bench, name, (double)us / 1e3, "ms", what);
}

/* Of a processor: what else the machine does is not counted. */
static uint64_t cpu_us(void)
{
    return em_clock_us(CLOCK_THREAD_CPUTIME_ID);
}

/* Bytes of the file. */
static uint64_t save(const struct bench *bench, const struct xtr_mapcache *cache, const char *dir)
{
    const struct xtr_cachepoint points[] = {{0, 1}, {1, 1}};
    const uint8_t cluster_id[16] = {1};
    struct xtr_cachepack pack;
    uint64_t pack_us = 0, longest_us = 0, size = 0, begin = em_now_us();
    bool is_done = false;
    int fd = xtr_statefile_create(dir, XTR_CACHEFILE_NAME), r = fd < 0 ? fd : 0;
    xtr_cachepack_init(&pack, cluster_id, "h0", points, 2);
    while (!is_done && !r) {
        struct em_buf bytes;
        uint64_t before = cpu_us();
        is_done = xtr_cachepack_more(&pack, cache, PIECE);
        xtr_cachepack_take(&pack, &bytes);
        uint64_t took = cpu_us() - before;
        pack_us += took;
        longest_us = took > longest_us ? took : longest_us;
        size += em_buf_size(&bytes);
        r = xtr_statefile_append(fd, em_buf_head(&bytes), em_buf_size(&bytes));
        em_buf_fini(&bytes);
    }
    xtr_cachepack_fini(&pack);
    if (r || xtr_statefile_commit(fd, dir, XTR_CACHEFILE_NAME))
        real_fail("%s cannot be written", dir);
    figure_ms(bench, "save.loop", pack_us, "of a processor, all pieces");
    figure_ms(bench, "save.piece", longest_us,
              "of a processor, the longest piece: a pause of the loop");
    figure_ms(bench, "save.all", em_now_us() - begin, "until it is durable");
    return size;
}

static void load(const struct bench *bench, const char *path)
{
    struct xtr_mapcache *cache = saved_map_new_empty();
    uint64_t begin = em_now_us(), cpu_begin = cpu_us();
    if (saved_map_load(path, cache))
        real_fail("%s cannot be loaded", path);
    figure_ms(bench, "load.cpu", cpu_us() - cpu_begin, "of a processor");
    figure_ms(bench, "load.all", em_now_us() - begin, "until it is in the map-cache");
    if (xtr_mapcache_counts(cache).n_remote != bench->n_ports)
        real_fail("%s has not all ports", path);
    xtr_mapcache_free(cache);
}

static void check(const struct bench *bench, const char *path)
{
    struct xtr_cachefile *file;
    uint64_t begin = cpu_us();
    if (xtr_cachefile_open(path, "h0", &file))
        real_fail("%s is no map-cache", path);
    figure_ms(bench, "check", cpu_us() - begin, "of a processor, of load for the checksum");
    xtr_cachefile_close(file);
}

int main(int argc, char **argv)
{
    struct bench bench = bench_parse(argc, argv, "cachefile",
                                     "What it costs an xTR to save its map-cache and to load it.");
    char dir[] = "/tmp/eidmap-bench-XXXXXX";
    if (!mkdtemp(dir))
        real_fail("%s cannot be made", dir);
    char *path = em_asprintf("%s/%s", dir, XTR_CACHEFILE_NAME);
    struct xtr_mapcache *cache = saved_map_new();
    saved_map_feed_ports(cache, 1, 0, bench.n_ports, true, true);
    uint64_t size = save(&bench, cache, dir);
    bench_figure(&bench, "size", (double)size / (1 << 20), "MiB", "on disk");
    bench_figure(&bench, "port", (double)size / bench.n_ports, "bytes", "on disk");
    xtr_mapcache_free(cache);
    load(&bench, path);
    check(&bench, path);
    unlink(path);
    rmdir(dir);
    free(path);
    return 0;
}
