#include "base/buf.h"

#include "base/mem.h"

#include <stdlib.h>

#define SMALLEST 4096

void em_buf_init(struct em_buf *buf)
{
    *buf = (struct em_buf){0};
}

void em_buf_fini(struct em_buf *buf)
{
    free(buf->data);
    *buf = (struct em_buf){0};
}

uint8_t *em_buf_grow(struct em_buf *buf, size_t size)
{
    size_t used = em_buf_size(buf);
    if (buf->head && buf->size - used >= size && buf->head >= used) {
        memcpy(buf->data, buf->data + buf->head, used);
    } else {
        size_t want = buf->size ? buf->size * 2 : SMALLEST;
        while (want < used + size)
            want *= 2;
        uint8_t *data = em_malloc(want);
        if (used)
            memcpy(data, buf->data + buf->head, used);
        free(buf->data);
        buf->data = data;
        buf->size = want;
    }
    buf->head = 0;
    buf->tail = used;
    return buf->data + buf->tail;
}

void em_buf_take(struct em_buf *buf, size_t size)
{
    assert(size <= em_buf_size(buf));
    buf->head += size;
    if (buf->head == buf->tail)
        buf->head = buf->tail = 0;
}

void em_buf_trim(struct em_buf *buf)
{
    if (em_buf_size(buf) == 0)
        em_buf_fini(buf);
}
