#include "front/deferred.h"

#include "eidmap/error.h"
#include "front/context.h"
#include "front/session.h"
#include "net/conn.h"

#include <stdlib.h>

#define DEFERRED_MAX (4u << 20) /* bytes of requests of one session that wait */

struct ms_deferred *ms_deferred_new(struct ms_session *session, uint64_t id,
                                    void (*finish)(struct ms_deferred *answer))
{
    struct ms_deferred *answer = em_calloc(1, sizeof(*answer));
    answer->mail.kind = MS_MAIL_DEFERRED;
    answer->session = session;
    answer->id = id;
    answer->finish = finish;
    atomic_fetch_add(&session->member.refs, 1);
    return answer;
}

void ms_deferred_post(void *aux, int err, const char *message)
{
    struct ms_deferred *answer = aux;
    answer->err = err;
    answer->message = message ? em_strdup(message) : NULL;
    ms_worker_post(answer->session->worker, &answer->mail);
}

void ms_deferred_take(struct ms_deferred *answer)
{
    answer->finish(answer);
    ms_session_unref(answer->session);
    free(answer->message);
    free(answer->request);
    free(answer);
}

static void finish_confirm(struct ms_deferred *answer)
{
    struct ms_session *session = answer->session;
    struct em_arena *arena = &session->worker->arena;
    session->deferred_size -= sizeof(*answer) + answer->request_size;
    if (!session->conn)
        return;
    em_arena_reset(arena);
    const Eidmap__Envelope *request =
        answer->err ? NULL : em_msg_unpack(arena, answer->request, answer->request_size);
    if (request)
        answer->handler(session, request);
    else
        ms_session_refuse(session, answer->id, answer->err ? answer->err : EM_E_LIMIT,
                          answer->message);
    if (answer->is_paused && session->conn)
        em_conn_resume(session->conn);
}

void ms_deferred_confirm(struct ms_session *session, const Eidmap__Envelope *request,
                         bool is_paused, ms_handler_fn *handler)
{
    struct ms_deferred *answer = ms_deferred_new(session, request->id, finish_confirm);
    answer->handler = handler;
    answer->request_size = eidmap__envelope__get_packed_size(request);
    answer->request = em_malloc(answer->request_size);
    eidmap__envelope__pack(request, answer->request);
    session->deferred_size += sizeof(*answer) + answer->request_size;
    answer->is_paused = is_paused || session->deferred_size > DEFERRED_MAX;
    if (answer->is_paused)
        em_conn_pause(session->conn);
    ms_core_read(session->worker->front->core, ms_deferred_post, answer);
}
