/* Writes seeds for fuzz_cachefile: saved map-caches, whole and spoilt.
 *
 * Usage: make_cachefile_seeds DIRECTORY.  Run it when the format changes. */
#include "base/mem.h"
#include "xtr/saved_map.h"

#include <stdio.h>
#include <stdlib.h>

static const char *directory;

/* 'size' of the bytes, with the one at 'offset' changed (0: none). */
static void write_seed(const char *name, const struct em_buf *bytes, size_t size, size_t offset)
{
    char *path = em_asprintf("%s/%s", directory, name);
    FILE *file = fopen(path, "wb");
    if (offset)
        em_buf_head(bytes)[offset] ^= 0x55;
    if (!file || fwrite(em_buf_head(bytes), 1, size, file) != size || fclose(file)) {
        perror(path);
        exit(1);
    }
    if (offset)
        em_buf_head(bytes)[offset] ^= 0x55;
    free(path);
}

int main(int argc, char **argv)
{
    struct em_buf bytes;
    struct xtr_mapcache *cache = saved_map_new();
    if (argc != 2)
        return 2;
    directory = argv[1];
    saved_map_pack(cache, 1 << 20, &bytes);
    write_seed("no-ports", &bytes, em_buf_size(&bytes), 0);
    em_buf_fini(&bytes);
    saved_map_feed_ports(cache, 1, 0, 8, true, true);
    saved_map_feed_ports(cache, 3, 0, 3, true, true);
    xtr_guard_session(xtr_mapcache_guard(cache), "ms1");
    saved_map_feed_ports(cache, 1, 0, 2, true, true);
    saved_map_pack(cache, 1 << 20, &bytes);
    write_seed("kept", &bytes, em_buf_size(&bytes), 0);
    write_seed("cut", &bytes, em_buf_size(&bytes) / 2, 0);
    write_seed("version", &bytes, em_buf_size(&bytes), 7);
    write_seed("record-size", &bytes, em_buf_size(&bytes), 35);
    write_seed("record-kind", &bytes, em_buf_size(&bytes), 36);
    write_seed("message", &bytes, em_buf_size(&bytes), em_buf_size(&bytes) - 100);
    em_buf_fini(&bytes);
    xtr_mapcache_free(cache);
    return 0;
}
