#include "front/worker.h"

#include "base/log.h"
#include "core/core.h"
#include "eidmap/error.h"
#include "front/deferred.h"
#include "front/context.h"
#include "front/pump.h"
#include "front/session.h"
#include "front/topics.h"
#include "net/net.h"
#include "net/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void add_mail(struct ms_worker *worker, struct ms_mail *mail)
{
    mail->next = NULL;
    pthread_mutex_lock(&worker->lock);
    *worker->last = mail;
    worker->last = &mail->next;
    pthread_mutex_unlock(&worker->lock);
}

void ms_worker_post(struct ms_worker *worker, struct ms_mail *mail_take)
{
    add_mail(worker, mail_take);
    ev_async_send(worker->loop, &worker->wake);
}

void ms_worker_post_result(struct ms_worker *worker, struct ms_mail *mail_take)
{
    add_mail(worker, mail_take);
    worker->has_results = true;
}

void ms_worker_wake(struct ms_worker *worker)
{
    if (atomic_exchange(&worker->has_results, false))
        ev_async_send(worker->loop, &worker->wake);
}

void ms_worker_submitted(struct ms_worker *worker)
{
    if (!ev_is_active(&worker->submit))
        ev_prepare_start(worker->loop, &worker->submit);
}

static void on_submit(struct ev_loop *loop, ev_prepare *w, int revents)
{
    struct ms_worker *worker = w->data;
    ev_prepare_stop(loop, w);
    ms_core_wake(worker->front->core);
}

static struct ms_mail *take_all(struct ms_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    struct ms_mail *first = worker->first;
    worker->first = NULL;
    worker->last = &worker->first;
    pthread_mutex_unlock(&worker->lock);
    return first;
}

static void open_socket(struct ms_worker *worker, struct ms_socket_mail *mail)
{
    if (worker->is_stopping) {
        close(mail->fd);
        ms_front_handshake_done(worker->front);
        ms_front_connection_done(worker->front);
    } else {
        ms_session_open(worker, mail->fd, mail->tls);
    }
    em_tls_free(mail->tls);
    free(mail);
}

static void stop(struct ms_worker *worker)
{
    worker->is_stopping = true;
    EM_FOREACH (session, &worker->sessions, struct ms_session, link)
        ms_session_close(session, 0, "the server is shutting down");
    ev_break(worker->loop, EVBREAK_ALL);
}

/* The reader lets go of the map that was replaced, or its disk space would not come back. */
static void leave_old_map(struct ms_worker *worker)
{
    if (ms_reader_begin(worker->reader) == 0)
        ms_reader_end(worker->reader);
}

static void handle(struct ms_worker *worker, struct ms_mail *mail)
{
    switch (mail->kind) {
    case MS_MAIL_SOCKET:
        open_socket(worker, (struct ms_socket_mail *)mail);
        return;
    case MS_MAIL_RESULT:
        ms_session_result((struct ms_pending *)mail);
        return;
    case MS_MAIL_DEFERRED:
        ms_deferred_take((struct ms_deferred *)mail);
        return;
    case MS_MAIL_ALL_NEW:
        worker->news_since = 0;
        leave_old_map(worker);
        ms_topics_all_news(worker->topics);
        free(mail);
        return;
    case MS_MAIL_NEWS: {
        struct ms_news_mail *news = (struct ms_news_mail *)mail;
        worker->news_since = news->since;
        for (size_t i = 0; i < news->n_networks; i++)
            ms_topics_news(worker->topics, news->networks[i]);
        free(mail);
        return;
    }
    case MS_MAIL_CLOSE: {
        struct ms_close_mail *order = (struct ms_close_mail *)mail;
        ms_session_close(order->session, order->err, order->why);
        ms_session_unref(order->session);
        free(mail);
        return;
    }
    case MS_MAIL_STOP:
        stop(worker);
        free(mail);
        return;
    }
}

static void read_mail(struct ms_worker *worker)
{
    struct ms_mail *mail = take_all(worker);
    while (mail) {
        struct ms_mail *next = mail->next;
        handle(worker, mail);
        mail = next;
    }
    ms_pump_run_hot(worker);
}

static void on_wake(struct ev_loop *loop, ev_async *w, int revents)
{
    struct ms_worker *worker = w->data;
    worker->is_probed = false;
    read_mail(worker);
}

static void on_pump(struct ev_loop *loop, ev_idle *w, int revents)
{
    ms_pump_run_hot(w->data);
}

static void *run(void *arg)
{
    struct ms_worker *worker = arg;
    pthread_setname_np(pthread_self(), "front");
    ev_run(worker->loop, 0);
    return NULL;
}

bool ms_worker_is_alive(struct ms_worker *worker)
{
    bool was_probed = atomic_exchange(&worker->is_probed, true);
    ev_async_send(worker->loop, &worker->wake);
    return !was_probed;
}

int ms_worker_start(struct ms_front *front, struct ms_worker **ret_worker, char **ret_why)
{
    struct ms_worker *worker = em_calloc(1, sizeof(*worker));
    worker->front = front;
    int r = ms_reader_new(front->store, &worker->reader);
    if (r) {
        *ret_why = em_asprintf("the map cannot be read: %s", em_strerror(r));
        free(worker);
        return r;
    }
    worker->loop = ev_loop_new(EVFLAG_AUTO);
    if (!worker->loop) {
        *ret_why = em_strdup("no event loop; is the limit of open files too low?");
        ms_reader_free(worker->reader);
        free(worker);
        return -EMFILE;
    }
    worker->net = em_net_new(worker->loop);
    worker->last = &worker->first;
    worker->topics = ms_topics_new();
    em_arena_init(&worker->arena, 0);
    em_list_init(&worker->sessions);
    em_list_init(&worker->hot);
    ms_page_cache_init(&worker->pages);
    pthread_mutex_init(&worker->lock, NULL);
    ev_async_init(&worker->wake, on_wake);
    worker->wake.data = worker;
    ev_async_start(worker->loop, &worker->wake);
    ev_prepare_init(&worker->submit, on_submit);
    ev_set_priority(&worker->submit, EV_MAXPRI); /* the core works while the net sends */
    worker->submit.data = worker;
    ev_idle_init(&worker->pump, on_pump);
    ev_set_priority(&worker->pump, EV_MAXPRI); /* else it waits for a turn without any event */
    worker->pump.data = worker;
    r = -pthread_create(&worker->thread, NULL, run, worker);
    if (r) {
        *ret_why = em_asprintf("no thread: %s", em_strerror(r));
        worker->thread = 0;
        ms_worker_free(worker);
        return r;
    }
    *ret_worker = worker;
    return 0;
}

void ms_worker_stop(struct ms_worker *worker)
{
    struct ms_mail *mail = em_calloc(1, sizeof(*mail));
    mail->kind = MS_MAIL_STOP;
    ms_worker_post(worker, mail);
    pthread_join(worker->thread, NULL);
}

void ms_worker_free(struct ms_worker *worker)
{
    if (!worker)
        return;
    read_mail(worker); /* results and sockets that came after the stop */
    ev_async_stop(worker->loop, &worker->wake);
    ev_prepare_stop(worker->loop, &worker->submit);
    ev_idle_stop(worker->loop, &worker->pump);
    ms_page_cache_fini(&worker->pages);
    em_net_free(worker->net);
    ms_topics_free(worker->topics);
    ms_reader_free(worker->reader);
    em_arena_fini(&worker->arena);
    pthread_mutex_destroy(&worker->lock);
    ev_loop_destroy(worker->loop);
    free(worker);
}
