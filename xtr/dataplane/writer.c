/* The kernel works through a batch in the context of who sends it, and that is half of what the
 * installation of a network costs. */
#include "writer.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FEW 4 /* batches that are left when the owner is told: time enough to build more */

struct dp_writer {
    struct dp_nl *nl; /* the thread's, if there is one */
    int fd;
    bool has_thread;
    pthread_t thread;

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t put, sent;
    struct dp_sending *ring[DP_WRITER_MAX];
    uint64_t n_put, n_sent;
    bool is_ending;
};

/* Under the lock, which is free meanwhile. */
static void send_next(struct dp_writer *writer)
{
    struct dp_sending *sending = writer->ring[writer->n_sent % DP_WRITER_MAX];

    pthread_mutex_unlock(&writer->lock);
    (void)dp_nl_send_batch(writer->nl, sending->batch, sending->errs);
    pthread_mutex_lock(&writer->lock);
    writer->n_sent++;
    pthread_cond_signal(&writer->sent);
    uint64_t n_left = writer->n_put - writer->n_sent;
    if (n_left == 0 || n_left == FEW)
        (void)eventfd_write(writer->fd, 1);
}

static void *run(void *aux)
{
    struct dp_writer *writer = aux;

    pthread_setname_np(pthread_self(), "netlink");
    pthread_mutex_lock(&writer->lock);
    for (;;) {
        while (writer->n_sent < writer->n_put)
            send_next(writer);
        if (writer->is_ending)
            break;
        pthread_cond_wait(&writer->put, &writer->lock);
    }
    pthread_mutex_unlock(&writer->lock);
    return NULL;
}

int dp_writer_new(struct dp_writer **ret_writer)
{
    struct dp_writer *writer = em_calloc(1, sizeof(*writer));

    pthread_mutex_init(&writer->lock, NULL);
    pthread_cond_init(&writer->put, NULL);
    pthread_cond_init(&writer->sent, NULL);
    writer->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = writer->fd < 0 ? -errno : dp_nl_open(&writer->nl);
    if (r)
        dp_writer_free(writer);
    else
        *ret_writer = writer;
    return r;
}

void dp_writer_free(struct dp_writer *writer)
{
    if (!writer)
        return;
    if (writer->has_thread) {
        pthread_mutex_lock(&writer->lock);
        writer->is_ending = true;
        pthread_cond_signal(&writer->put);
        pthread_mutex_unlock(&writer->lock);
        pthread_join(writer->thread, NULL);
    }
    if (writer->fd >= 0)
        close(writer->fd);
    dp_nl_close(writer->nl);
    pthread_cond_destroy(&writer->sent);
    pthread_cond_destroy(&writer->put);
    pthread_mutex_destroy(&writer->lock);
    free(writer);
}

/* Signals are for the thread that runs the loop. */
static bool start_thread(struct dp_writer *writer)
{
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = pthread_create(&writer->thread, NULL, run, writer);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return r == 0;
}

void dp_writer_put(struct dp_writer *writer, struct dp_sending *sending)
{
    if (!writer->has_thread)
        writer->has_thread = start_thread(writer);
    pthread_mutex_lock(&writer->lock);
    assert(writer->n_put - writer->n_sent < DP_WRITER_MAX);
    writer->ring[writer->n_put++ % DP_WRITER_MAX] = sending;
    if (writer->has_thread)
        pthread_cond_signal(&writer->put);
    else
        send_next(writer);
    pthread_mutex_unlock(&writer->lock);
}

uint64_t dp_writer_sent(struct dp_writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    uint64_t n = writer->n_sent;
    pthread_mutex_unlock(&writer->lock);
    return n;
}

void dp_writer_wait(struct dp_writer *writer, uint64_t n)
{
    pthread_mutex_lock(&writer->lock);
    assert(n <= writer->n_put);
    while (writer->n_sent < n)
        pthread_cond_wait(&writer->sent, &writer->lock);
    pthread_mutex_unlock(&writer->lock);
}

int dp_writer_fd(const struct dp_writer *writer)
{
    return writer->fd;
}

void dp_writer_serve(struct dp_writer *writer)
{
    eventfd_t n;
    (void)eventfd_read(writer->fd, &n);
}
