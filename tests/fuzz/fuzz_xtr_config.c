/* The xTR's configuration: its own table and checks. */
#include "target.h"

#include "config.h"
#include "memfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct xtr_config config;
    char path[MEMFILE_PATH], *why = NULL;
    int fd = memfile_open(data, size, path);
    if (xtr_config_load(path, &config, &why) == 0)
        xtr_config_free(&config);
    else
        FUZZ_CHECK(why);
    free(why);
    close(fd);
    return 0;
}
