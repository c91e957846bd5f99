#include "wire/scan.h"

#define VARINT_MAX 10 /* bytes */

/* Behind the number that begins at 'at'; NULL: there is none. */
static inline const uint8_t *varint(const uint8_t *at, const uint8_t *end, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < VARINT_MAX && at < end; i++) {
        uint8_t byte = *at++;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            *ret_value = value;
            return at;
        }
    }
    return NULL;
}

static const uint8_t *bytes(const uint8_t *at, const uint8_t *end, uint64_t size,
                            struct em_field *field)
{
    if (size > (uint64_t)(end - at))
        return NULL;
    field->data = at;
    field->size = (size_t)size;
    return at + size;
}

const uint8_t *em_scan_field(const uint8_t *at, const uint8_t *end, struct em_field *ret_field)
{
    uint64_t tag, length;
    at = varint(at, end, &tag);
    if (!at || tag > UINT32_MAX || !(tag >> 3))
        return NULL;
    *ret_field = (struct em_field){.number = (uint32_t)tag >> 3, .type = (enum em_wire)(tag & 7)};
    switch (ret_field->type) {
    case EM_WIRE_VARINT:
        return varint(at, end, &ret_field->value);
    case EM_WIRE_BYTES:
        at = varint(at, end, &length);
        return at ? bytes(at, end, length, ret_field) : NULL;
    case EM_WIRE_FIXED64:
        return bytes(at, end, 8, ret_field);
    case EM_WIRE_FIXED32:
        return bytes(at, end, 4, ret_field);
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
