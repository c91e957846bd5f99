#include "wire/scan.h"

const uint8_t *em_scan_long_varint(const uint8_t *at, const uint8_t *end, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < EM_VARINT_MAX && at < end; i++) {
        uint8_t byte = *at++;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            *ret_value = value;
            return at;
        }
    }
    return NULL;
}

size_t em_scan_count(struct em_scan scan, uint32_t number)
{
    struct em_field field;
    size_t n = 0;
    while (em_scan_next(&scan, &field))
        n += field.number == number;
    return n;
}
