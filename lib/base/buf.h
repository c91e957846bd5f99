/* A byte queue: appended at the end, taken from the front. */
#ifndef EM_BUF_H
#define EM_BUF_H

#include <stddef.h>
#include <stdint.h>

struct em_buf {
    uint8_t *data;
    size_t head; /* first byte not taken yet */
    size_t tail; /* end of what was appended */
    size_t size; /* allocated */
};

void em_buf_init(struct em_buf *buf);
void em_buf_fini(struct em_buf *buf);

/* Room for 'size' more bytes behind the tail; the pointer is good until the next
 * call.  Follow it with em_buf_commit() for what was written there. */
uint8_t *em_buf_reserve(struct em_buf *buf, size_t size);
void em_buf_commit(struct em_buf *buf, size_t size);

void em_buf_append(struct em_buf *buf, const void *data, size_t size);
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
