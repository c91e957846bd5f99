/* Files of the state directory: each is replaced as a whole, so that after any crash it is the
 * old or the new one, and set aside as NAME.bad when it is damaged: the agent must start
 * without it, and a person may want to look at it.
 *
 * Numbers in them are big-endian. */
#ifndef XTR_STATEFILE_H
#define XTR_STATEFILE_H

#include "base/buf.h"

#include <endian.h>
#include <string.h>

/* DIR/NAME.new, empty; a descriptor or -errno. */
int xtr_statefile_create(const char *dir, const char *name);

/* 0 or -errno. */
int xtr_statefile_append(int fd, const uint8_t *data, size_t size);

/* Syncs what was appended and puts it in the place of DIR/NAME; closes 'fd_take' in any case.
 * 0 or -errno. */
int xtr_statefile_commit(int fd_take, const char *dir, const char *name);

/* Gives up what was appended; closes 'fd_take'. */
void xtr_statefile_discard(int fd_take, const char *dir, const char *name);

void xtr_statefile_set_aside(const char *path);

static inline void xtr_put32(struct em_buf *out, uint32_t value)
{
    value = htobe32(value);
    em_buf_append(out, &value, sizeof value);
}

static inline void xtr_put64(struct em_buf *out, uint64_t value)
{
    value = htobe64(value);
    em_buf_append(out, &value, sizeof value);
}

static inline uint32_t xtr_get32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return be32toh(value);
}

static inline uint64_t xtr_get64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return be64toh(value);
}

#endif
