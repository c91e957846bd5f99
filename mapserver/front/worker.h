/* A front thread: one loop, its connections, its reader of the map, and a mailbox that is
 * the only way in for other threads. */
#ifndef MS_WORKER_H
#define MS_WORKER_H

#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
#include "front/front.h"
#include "front/page_cache.h"
#include "state/store.h"

#include <ev.h>

struct ms_session;
struct ms_worker;
struct em_net;

enum ms_mail_kind {
    MS_MAIL_SOCKET,   /* a connection was accepted */
    MS_MAIL_RESULT,   /* a proposal of a session has its result: an ms_pending */
    MS_MAIL_DEFERRED, /* a request has the core's word: an ms_deferred */
    MS_MAIL_NEWS,     /* feeds have grown */
    MS_MAIL_ALL_NEW,  /* the map was replaced: any feed may have grown */
    MS_MAIL_CLOSE,    /* a session was displaced; the mail carries a reference to it */
    MS_MAIL_STOP,
};

/* Embedded at the head of what is sent. */
struct ms_mail {
    struct ms_mail *next;
    enum ms_mail_kind kind;
};

struct ms_socket_mail {
    struct ms_mail mail;
    int fd;
    struct em_tls *tls; /* a reference, or NULL */
};

struct ms_news_mail {
    struct ms_mail mail;
    uint64_t since; /* the map's revision before the news */
    size_t n_networks;
    uint32_t networks[];
};

struct ms_close_mail {
    struct ms_mail mail;
    struct ms_session *session;
    int err;
    const char *why; /* static storage */
};

struct ms_worker {
    struct ms_front *front;
    struct ev_loop *loop;
    struct em_net *net;
    struct ms_reader *reader;
    struct em_arena arena; /* of the message that is handled */
    struct em_list sessions;
    struct em_list hot; /* sessions that have something to send */
    ev_idle pump;       /* started while there are any: keeps the loop from waiting */
    struct ms_page_cache pages;
    size_t n_packed; /* bytes of pages, in this turn */
    struct ms_topics *topics;
    uint64_t news_since; /* of the news that are being told */
    _Atomic uint64_t n_requests;
    _Atomic uint64_t n_refused;
    /* The rest belongs to worker.c. */
    pthread_t thread;
    ev_async wake;
    pthread_mutex_t lock;
    struct ms_mail *first, **last;
    atomic_bool has_results; /* for which nobody was woken yet */
    ev_prepare submit;
    bool is_stopping;
    atomic_bool is_probed; /* a wake-up was sent and not seen yet */
};

/* 0, or an error with a sentence in *ret_why (free() it).  The thread runs at once. */
int ms_worker_start(struct ms_front *front, struct ms_worker **ret_worker, char **ret_why);

/* Closes all connections and ends the thread; ms_worker_free() after the core has stopped,
 * which may still post results. */
void ms_worker_stop(struct ms_worker *worker);
void ms_worker_free(struct ms_worker *worker);

/* Any thread: has the loop turned since the last call, or is it idle for a good reason? */
bool ms_worker_is_alive(struct ms_worker *worker);

/* The worker's thread: something was submitted to the core, which is woken at the turn's end. */
void ms_worker_submitted(struct ms_worker *worker);

/* Any thread: the same as ms_worker_post(), but the worker looks at it when it is woken after the
 * last: the results of a batch cost it one turn, and their answers one write. */
void ms_worker_post_result(struct ms_worker *worker, struct ms_mail *mail_take);
void ms_worker_wake(struct ms_worker *worker);

/* Any thread. */
void ms_worker_post(struct ms_worker *worker, struct ms_mail *mail_take);

#endif
