/* A thread per write rather than one that waits: there is no queue and nothing to end when
 * the agent does.  Where no thread can be had the loop has to wait after all. */
#include "base/saver.h"

#include <assert.h>
#include <signal.h>

static void *write_bytes(void *aux)
{
    struct em_saver *saver = aux;
    saver->err = saver->write(saver->to, &saver->bytes);
    ev_async_send(saver->loop, &saver->done);
    return NULL;
}

static void *run_thread(void *aux)
{
    pthread_setname_np(pthread_self(), "save");
    return write_bytes(aux);
}

static void on_done(struct ev_loop *loop, ev_async *w, int revents)
{
    struct em_saver *saver = w->data;
    if (saver->thread)
        pthread_join(saver->thread, NULL);
    saver->is_busy = false;
    em_buf_fini(&saver->bytes);
    saver->on_saved(saver->aux, saver->err);
}

void em_saver_init(struct em_saver *saver, struct ev_loop *loop, em_saver_write_fn *write, void *to,
                   em_saver_fn *on_saved, void *aux)
{
    *saver =
        (struct em_saver){.loop = loop, .write = write, .to = to, .on_saved = on_saved, .aux = aux};
    ev_async_init(&saver->done, on_done);
    saver->done.data = saver;
    ev_async_start(loop, &saver->done);
}

void em_saver_fini(struct em_saver *saver)
{
    if (saver->is_busy) {
        if (saver->thread)
            pthread_join(saver->thread, NULL);
        em_buf_fini(&saver->bytes);
    }
    saver->is_busy = false;
    ev_async_stop(saver->loop, &saver->done);
}

/* Signals are for the thread that runs the loop. */
static int start_thread(struct em_saver *saver)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = pthread_create(&saver->thread, NULL, run_thread, saver);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return r;
}

void em_saver_start_take(struct em_saver *saver, struct em_buf *bytes_take)
{
    assert(!saver->is_busy);
    saver->is_busy = true;
    saver->bytes = *bytes_take;
    if (start_thread(saver)) {
        saver->thread = 0;
        (void)write_bytes(saver);
    }
}
