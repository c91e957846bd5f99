/* Requests that wait for the core's word: it comes on another thread, and goes on here. */
#ifndef MS_DEFERRED_H
#define MS_DEFERRED_H

#include "front/requests.h"
#include "front/worker.h"

struct ms_deferred {
    struct ms_mail mail;
    struct ms_session *session; /* a reference */
    uint64_t id;                /* of the request's envelope */
    int err;
    char *message;
    /* On the worker's thread; the session may have closed meanwhile. */
    void (*finish)(struct ms_deferred *answer);
    ms_handler_fn *handler; /* of a request that is confirmed */
    uint8_t *request;
    size_t request_size;
    bool is_paused;
};

struct ms_deferred *ms_deferred_new(struct ms_session *session, uint64_t id,
                                    void (*finish)(struct ms_deferred *answer));

/* An ms_core_answer_fn, with the answer as 'aux': any thread. */
void ms_deferred_post(void *aux, int err, const char *message);

/* The worker has got it. */
void ms_deferred_take(struct ms_deferred *answer);

/* Calls the handler with this request when the map of this server holds all that was committed
 * anywhere before; refuses it when that takes too long.  'is_paused': the session's other
 * requests wait meanwhile, as they do when there are too many such. */
void ms_deferred_confirm(struct ms_session *session, const Eidmap__Envelope *request,
                         bool is_paused, ms_handler_fn *handler);

#endif
