/* Echo packets: what is taken is packed to the same bytes. */
#include "target.h"

#include "echo.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct xtr_echo echo;
    uint8_t again[XTR_ECHO_SIZE];
    if (xtr_echo_parse(data, size, &echo))
        return 0;
    xtr_echo_pack(&echo, again);
    FUZZ_CHECK(size == sizeof(again) && memcmp(again, data, size) == 0);
    return 0;
}
