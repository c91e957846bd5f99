/* Reads packed protobuf field by field, where unpacking it would cost more than what is to be done
 * with it: the feed, and records as they lie in the database.
 * https://protobuf.dev/programming-guides/encoding/
 *
 * A field that is known has to have the type that it is looked for with, as protobuf-c sees it;
 * one that is not known is passed over. */
#ifndef EM_SCAN_H
#define EM_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum em_wire { EM_WIRE_VARINT = 0, EM_WIRE_FIXED64 = 1, EM_WIRE_BYTES = 2, EM_WIRE_FIXED32 = 5 };

#define EM_VARINT_MAX 10 /* bytes */

struct em_scan {
    const uint8_t *at, *end;
    bool is_bad; /* it is no message, or a field was not as it should be */
};

struct em_field {
    uint32_t number;
    enum em_wire type;
    uint64_t value;      /* VARINT */
    const uint8_t *data; /* BYTES, pointing into the message */
    size_t size;
};

static inline struct em_scan em_scan(const void *data, size_t size)
{
    const uint8_t *at = data;
    return (struct em_scan){.at = at, .end = size ? at + size : at};
}

static inline bool em_scan_varint(struct em_scan *scan, uint64_t *ret_value)
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

static inline bool em_scan_bytes(struct em_scan *scan, size_t size, const uint8_t **ret_data)
{
    if (size > (size_t)(scan->end - scan->at))
        return false;
    *ret_data = scan->at;
    scan->at += size;
    return true;
}

/* The next field.  False at the end, and where the message is bad. */
static inline bool em_scan_next(struct em_scan *scan, struct em_field *ret_field)
{
    uint64_t tag, length;
    bool is_good = false;
    if (scan->at == scan->end || scan->is_bad)
        return false;
    *ret_field = (struct em_field){0};
    if (em_scan_varint(scan, &tag) && tag >> 3 && tag <= UINT32_MAX) {
        ret_field->number = (uint32_t)tag >> 3;
        ret_field->type = (enum em_wire)(tag & 7);
        if (ret_field->type == EM_WIRE_VARINT)
            is_good = em_scan_varint(scan, &ret_field->value);
        else if (ret_field->type == EM_WIRE_BYTES)
            is_good = em_scan_varint(scan, &length) && length <= SIZE_MAX &&
                      em_scan_bytes(scan, ret_field->size = (size_t)length, &ret_field->data);
        else if (ret_field->type == EM_WIRE_FIXED64 || ret_field->type == EM_WIRE_FIXED32)
            is_good = em_scan_bytes(scan, ret_field->type == EM_WIRE_FIXED64 ? 8 : 4,
                                    &ret_field->data);
    }
    scan->is_bad = !is_good;
    return is_good;
}

/* Of a known field; another type makes the message bad, and is 0 or no bytes. */
static inline uint64_t em_scan_number(struct em_scan *scan, const struct em_field *field)
{
    scan->is_bad |= field->type != EM_WIRE_VARINT;
    return field->value;
}

static inline struct em_scan em_scan_inside(struct em_scan *scan, const struct em_field *field)
{
    bool is_bytes = field->type == EM_WIRE_BYTES;
    scan->is_bad |= !is_bytes;
    return em_scan(field->data, is_bytes ? field->size : 0);
}

/* How many fields of this number the rest has. */
static inline size_t em_scan_count(struct em_scan scan, uint32_t number)
{
    struct em_field field;
    size_t n = 0;
    while (em_scan_next(&scan, &field))
        n += field.number == number;
    return n;
}

#endif
