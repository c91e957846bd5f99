/* A byte queue: appended at the end, taken from the front. */
#ifndef EM_BUF_H
#define EM_BUF_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct em_buf {
    uint8_t *data;
    size_t head; /* first byte not taken yet */
    size_t tail; /* end of what was appended */
    size_t size; /* allocated */
};

void em_buf_init(struct em_buf *buf);
void em_buf_fini(struct em_buf *buf);

/* As em_buf_reserve(), where there is no room yet. */
uint8_t *em_buf_grow(struct em_buf *buf, size_t size);

/* Room for 'size' more bytes behind the tail; the pointer is good until the next
 * call.  Follow it with em_buf_commit() for what was written there. */
static inline uint8_t *em_buf_reserve(struct em_buf *buf, size_t size)
{
    return buf->size - buf->tail >= size ? buf->data + buf->tail : em_buf_grow(buf, size);
}

static inline void em_buf_commit(struct em_buf *buf, size_t size)
{
    assert(size <= buf->size - buf->tail);
    buf->tail += size;
}

static inline void em_buf_append(struct em_buf *buf, const void *data, size_t size)
{
    if (!size)
        return;
    memcpy(em_buf_reserve(buf, size), data, size);
    buf->tail += size;
}

void em_buf_take(struct em_buf *buf, size_t size);

/* Frees the memory of an empty buffer, so that an idle connection costs none. */
void em_buf_trim(struct em_buf *buf);

static inline size_t em_buf_size(const struct em_buf *buf)
{
    return buf->tail - buf->head;
}

static inline uint8_t *em_buf_head(const struct em_buf *buf)
{
    return buf->head ? buf->data + buf->head : buf->data; /* NULL + 0 is undefined */
}

#endif
