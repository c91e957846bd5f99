#include "wire/writer.h"

#include "eidmap/error.h"
#include "wire/msg.h"

#include <arpa/inet.h>
#include <string.h>

#define WIRE_VARINT  0
#define WIRE_FIXED64 1
#define WIRE_BYTES   2
#define VARINT_MAX   10
/* An embedded message's length is written behind its content, in as many bytes as the
 * largest needs: protobuf takes a padded varint. */
#define NEST_LENGTH 3

_Static_assert(EM_FRAME_MAX < 1u << (7 * NEST_LENGTH), "a nested length must fit");

static size_t put_varint(uint8_t *at, uint64_t value)
{
    size_t n = 0;
    while (value >= 0x80) {
        at[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    at[n++] = (uint8_t)value;
    return n;
}

static size_t put_tag(uint8_t *at, uint32_t number, unsigned type)
{
    return put_varint(at, (uint64_t)number << 3 | type);
}

size_t em_frame_begin(struct em_buf *out, uint64_t id)
{
    em_buf_reserve(out, EM_FRAME_HEADER);
    em_buf_commit(out, EM_FRAME_HEADER);
    size_t start = em_buf_size(out);
    em_put_uint(out, 1, id);
    return start;
}

int em_frame_end(struct em_buf *out, size_t start)
{
    size_t size = em_buf_size(out) - start;
    if (size == 0 || size > EM_FRAME_MAX) {
        em_frame_drop(out, start);
        return EM_E_LIMIT;
    }
    uint32_t length_be = htonl((uint32_t)size);
    memcpy(em_buf_head(out) + start - EM_FRAME_HEADER, &length_be, sizeof(length_be));
    return 0;
}

void em_frame_drop(struct em_buf *out, size_t start)
{
    out->tail -= em_buf_size(out) - start + EM_FRAME_HEADER;
}

size_t em_nest_begin(struct em_buf *out, uint32_t number)
{
    size_t n = put_tag(em_buf_reserve(out, VARINT_MAX + NEST_LENGTH), number, WIRE_BYTES);
    em_buf_commit(out, n + NEST_LENGTH);
    return em_buf_size(out);
}

void em_nest_end(struct em_buf *out, size_t start)
{
    size_t size = em_buf_size(out) - start;
    uint8_t *at = em_buf_head(out) + start - NEST_LENGTH;
    for (int i = 0; i < NEST_LENGTH - 1; i++) {
        at[i] = (uint8_t)(size | 0x80);
        size >>= 7;
    }
    at[NEST_LENGTH - 1] = (uint8_t)(size & 0x7f);
}

void em_put_uint(struct em_buf *out, uint32_t number, uint64_t value)
{
    if (!value)
        return;
    uint8_t *at = em_buf_reserve(out, 2 * VARINT_MAX);
    size_t n = put_tag(at, number, WIRE_VARINT);
    em_buf_commit(out, n + put_varint(at + n, value));
}

void em_put_bytes(struct em_buf *out, uint32_t number, const void *data, size_t size)
{
    if (!size)
        return;
    uint8_t *at = em_buf_reserve(out, 2 * VARINT_MAX + size);
    size_t n = put_tag(at, number, WIRE_BYTES);
    n += put_varint(at + n, size);
    memcpy(at + n, data, size);
    em_buf_commit(out, n + size);
}

void em_put_wrapped(struct em_buf *out, uint32_t number, uint32_t inner, const void *data,
                    size_t size)
{
    uint8_t head[2 * VARINT_MAX];
    size_t head_size = put_tag(head, inner, WIRE_BYTES);
    head_size += put_varint(head + head_size, size);
    uint8_t *at = em_buf_reserve(out, 2 * VARINT_MAX + sizeof(head) + size);
    size_t n = put_tag(at, number, WIRE_BYTES);
    n += put_varint(at + n, head_size + size);
    memcpy(at + n, head, sizeof(head)); /* all: a constant size is fast */
    memcpy(at + n + head_size, data, size);
    em_buf_commit(out, n + head_size + size);
}

void em_put_fixed64(struct em_buf *out, uint32_t number, uint64_t value)
{
    uint8_t bytes[8];
    if (!value)
        return;
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
    em_buf_commit(out, put_tag(em_buf_reserve(out, VARINT_MAX), number, WIRE_FIXED64));
    em_buf_append(out, bytes, sizeof(bytes));
}
