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

/* Behind the number that begins at 'at'; NULL: there is none.  The scan itself is not given to it,
 * so that it can stay in registers, too. */
const uint8_t *em_scan_long_varint(const uint8_t *at, const uint8_t *end, uint64_t *ret_value);

/* Most numbers are below 128, and so are most lengths and all tags that we have. */
static inline bool em_scan_varint(struct em_scan *scan, uint64_t *ret_value)
{
    if (scan->at != scan->end && !(*scan->at & 0x80)) {
        *ret_value = *scan->at++;
        return true;
    }
    uint64_t value;
    const uint8_t *behind = em_scan_long_varint(scan->at, scan->end, &value);
    if (!behind)
        return false;
    scan->at = behind;
    *ret_value = value;
    return true;
}

static inline bool em_scan_bytes(struct em_scan *scan, uint64_t size, struct em_field *field)
{
    if (size > (uint64_t)(scan->end - scan->at))
        return false;
    field->data = scan->at;
    field->size = (size_t)size;
    scan->at += size;
    return true;
}

__attribute__((always_inline)) static inline bool em_scan_value(struct em_scan *scan,
                                                                struct em_field *field)
{
    uint64_t length;
    switch (field->type) {
    case EM_WIRE_VARINT:
        return em_scan_varint(scan, &field->value);
    case EM_WIRE_BYTES:
        return em_scan_varint(scan, &length) && em_scan_bytes(scan, length, field);
    case EM_WIRE_FIXED64:
        return em_scan_bytes(scan, 8, field);
    case EM_WIRE_FIXED32:
        return em_scan_bytes(scan, 4, field);
    }
    return false;
}

/* The next field.  False at the end, and where the message is bad.  Inlined, it keeps the field in
 * registers: half of the time. */
__attribute__((always_inline)) static inline bool em_scan_next(struct em_scan *scan,
                                                               struct em_field *ret_field)
{
    uint64_t tag;
    if (scan->at == scan->end || scan->is_bad)
        return false;
    *ret_field = (struct em_field){0};
    scan->is_bad = !em_scan_varint(scan, &tag) || tag > UINT32_MAX;
    if (scan->is_bad)
        return false;
    ret_field->number = (uint32_t)tag >> 3;
    ret_field->type = (enum em_wire)(tag & 7);
    scan->is_bad = !ret_field->number || !em_scan_value(scan, ret_field);
    return !scan->is_bad;
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
size_t em_scan_count(struct em_scan scan, uint32_t number);

#endif
