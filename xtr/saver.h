/* Writes the agent's state file beside the loop: an fsync takes as long as the disk likes,
 * and heartbeats must not wait for it.
 *
 * One write at a time, each by a thread of its own that knows nothing but bytes and a
 * path; the answer comes back on the loop. */
#ifndef XTR_SAVER_H
#define XTR_SAVER_H

#include "base/buf.h"

#include <ev.h>
#include <pthread.h>
#include <stdbool.h>

/* 0: the bytes are durable; or -errno. */
typedef void xtr_saver_fn(void *aux, int err);

struct xtr_saver {
    struct ev_loop *loop;
    const char *dir;
    xtr_saver_fn *on_saved;
    void *aux;
    ev_async done;
    pthread_t thread;
    bool is_busy;
    struct em_buf bytes; /* of the thread while busy, and so is 'err' */
    int err;
};

/* 'dir' is lent. */
void xtr_saver_init(struct xtr_saver *saver, struct ev_loop *loop, const char *dir,
                    xtr_saver_fn *on_saved, void *aux);

/* Waits for a write under way; its answer does not come any more. */
void xtr_saver_fini(struct xtr_saver *saver);

/* Replaces DIR/ports by what xtr_save_pack() gave.  It must not be busy. */
void xtr_saver_start_take(struct xtr_saver *saver, struct em_buf *bytes_take);

#endif
