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

/* The field that begins at 'at', whatever it is like: where it ends; NULL: there is none.  The scan
 * itself is not given to it, so that it can stay in registers. */
const uint8_t *em_scan_field(const uint8_t *at, const uint8_t *end, struct em_field *ret_field);

/* Tag and length, or tag and number, take a byte each, as they do most often.  False: they do not,
 * or there is less. */
__attribute__((always_inline)) static inline bool em_scan_short(struct em_scan *scan,
                                                                struct em_field *ret_field)
{
    const uint8_t *at = scan->at;
    size_t left = (size_t)(scan->end - at);
    if (left < 2 || (at[0] | at[1]) & 0x80 || at[0] < 1 << 3)
        return false;
    enum em_wire type = (enum em_wire)(at[0] & 7);
    size_t size = type == EM_WIRE_BYTES ? at[1] : 0;
    if ((type != EM_WIRE_VARINT && type != EM_WIRE_BYTES) || size > left - 2)
        return false;
    *ret_field = (struct em_field){.number = at[0] >> 3, .type = type};
    if (type == EM_WIRE_VARINT)
        ret_field->value = at[1];
    else
        ret_field->data = at + 2, ret_field->size = size;
    scan->at = at + 2 + size;
    return true;
}

/* The next field.  False at the end, and where the message is bad.  Inlined, it keeps the field in
 * registers: half of the time. */
__attribute__((always_inline)) static inline bool em_scan_next(struct em_scan *scan,
                                                               struct em_field *ret_field)
{
    if (scan->at == scan->end || scan->is_bad)
        return false;
    if (em_scan_short(scan, ret_field))
        return true;
    struct em_field field = {0};
    const uint8_t *behind = em_scan_field(scan->at, scan->end, &field);
    *ret_field = field;
    scan->is_bad = !behind;
    if (behind)
        scan->at = behind;
    return behind != NULL;
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
