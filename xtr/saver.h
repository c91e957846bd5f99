/* Writes a file of the agent's state beside the loop: an fsync takes as long as the disk likes,
 * and heartbeats must not wait for it.
 *
 * One write at a time, each by a thread of its own that knows nothing but bytes and
 * where they go; the answer comes back on the loop. */
#ifndef XTR_SAVER_H
#define XTR_SAVER_H

#include "base/buf.h"

#include <ev.h>
#include <pthread.h>
#include <stdbool.h>

/* Writes the bytes, in the thread; 0 or -errno. */
typedef int xtr_saver_write_fn(void *to, const struct em_buf *bytes);

/* What the write gave. */
typedef void xtr_saver_fn(void *aux, int err);

struct xtr_saver {
    struct ev_loop *loop;
    xtr_saver_write_fn *write;
    void *to;
    xtr_saver_fn *on_saved;
    void *aux;
    ev_async done;
    pthread_t thread;
    bool is_busy;
    struct em_buf bytes; /* of the thread while busy, and so is 'err' */
    int err;
};

void xtr_saver_init(struct xtr_saver *saver, struct ev_loop *loop, xtr_saver_write_fn *write,
                    void *to, xtr_saver_fn *on_saved, void *aux);

/* Waits for a write under way; its answer does not come any more. */
void xtr_saver_fini(struct xtr_saver *saver);

/* Begins a write.  It must not be busy. */
void xtr_saver_start_take(struct xtr_saver *saver, struct em_buf *bytes_take);

#endif
