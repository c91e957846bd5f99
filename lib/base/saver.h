/* Writes a file beside the loop: an fsync takes as long as the disk likes,
 * and heartbeats must not wait for it.
 *
 * One write at a time, each by a thread of its own that knows nothing but bytes and
 * where they go; the answer comes back on the loop. */
#ifndef EM_SAVER_H
#define EM_SAVER_H

#include "base/buf.h"

#include <ev.h>
#include <pthread.h>
#include <stdbool.h>

/* Writes the bytes, in the thread; 0 or -errno. */
typedef int em_saver_write_fn(void *to, const struct em_buf *bytes);

/* What the write gave. */
typedef void em_saver_fn(void *aux, int err);

struct em_saver {
    struct ev_loop *loop;
    em_saver_write_fn *write;
    void *to;
    em_saver_fn *on_saved;
    void *aux;
    ev_async done;
    pthread_t thread;
    bool is_busy;
    struct em_buf bytes; /* of the thread while busy, and so is 'err' */
    int err;
};

void em_saver_init(struct em_saver *saver, struct ev_loop *loop, em_saver_write_fn *write, void *to,
                   em_saver_fn *on_saved, void *aux);

/* Waits for a write under way; its answer does not come any more. */
void em_saver_fini(struct em_saver *saver);

/* Begins a write.  It must not be busy. */
void em_saver_start_take(struct em_saver *saver, struct em_buf *bytes_take);

#endif
