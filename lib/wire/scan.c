#include "wire/scan.h"

bool em_scan_long_varint(struct em_scan *scan, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < EM_VARINT_MAX && scan->at < scan->end; i++) {
        uint8_t byte = *scan->at++;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

size_t em_scan_count(struct em_scan scan, uint32_t number)
{
    struct em_field field;
    size_t n = 0;
    while (em_scan_next(&scan, &field))
        n += field.number == number;
    return n;
}
