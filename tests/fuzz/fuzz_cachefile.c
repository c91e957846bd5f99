/* The saved map-cache: checked, loaded, and saved again.
 *
 * Each input is taken as it is, and once more with its sum made right: behind it lie the
 * records and the messages in them. */
#include "target.h"

#include "base/crc32c.h"
#include "memfile.h"
#include "xtr/saved_map.h"

#include <endian.h>
#include <string.h>

#define RECORD_HEAD 17

static void try_file(const uint8_t *data, size_t size)
{
    char path[MEMFILE_PATH];
    struct em_buf bytes;
    struct xtr_mapcache *cache = saved_map_new_empty();
    int fd = memfile_open(data, size, path);
    if (!saved_map_load(path, cache)) {
        saved_map_pack(cache, 1000, &bytes);
        FUZZ_CHECK(em_buf_size(&bytes) > 0);
        em_buf_fini(&bytes);
    }
    xtr_mapcache_free(cache);
    close(fd);
}

/* Of a file whose last record is the end. */
static void set_sum(uint8_t *data, size_t size)
{
    if (size < RECORD_HEAD + 4)
        return;
    uint32_t sum = htobe32(em_crc32c(0, data, size - RECORD_HEAD - 4));
    memcpy(data + size - 4, &sum, sizeof sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_file(data, size);
    uint8_t *copy = malloc(size ? size : 1);
    FUZZ_CHECK(copy);
    if (size)
        memcpy(copy, data, size);
    set_sum(copy, size);
    try_file(copy, size);
    free(copy);
    return 0;
}
