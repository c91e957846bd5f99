#include "front/batch.h"

#include "front/session.h"
#include "front/watch.h"
#include "net/conn.h"
#include "state/resolve.h"
#include "wire/unpack.h"
#include "wire/writer.h"

#define BATCH_MAX 64

struct batch {
    struct ms_question questions[BATCH_MAX];
    uint64_t ids[BATCH_MAX];
    unsigned n;
};

/* Up to the first frame that is something else, or not whole.  Returns their size. */
static size_t take_questions(struct batch *batch, const uint8_t *data, size_t size, unsigned max)
{
    size_t at = 0;
    ssize_t frame;
    batch->n = 0;
    while (batch->n < max && batch->n < BATCH_MAX &&
           (frame = em_frame_size(data + at, size - at)) > 0) {
        struct em_question question;
        if (!em_question_unpack(data + at + EM_FRAME_HEADER, (size_t)frame - EM_FRAME_HEADER,
                                &question))
            break;
        batch->ids[batch->n] = question.id;
        batch->questions[batch->n++] =
            (struct ms_question){.network_id = question.network_id, .eid = question.eid};
        at += (size_t)frame;
    }
    return at;
}

/* A ResolveReply of one answer.  0, or why there is none. */
static int put_reply(struct ms_session *session, uint64_t id, const struct ms_question *question)
{
    struct ms_reader *reader = session->worker->reader;
    struct em_buf *out = em_conn_out(session->conn);
    struct ms_answer answer;
    int r = ms_resolve_prepared(reader, question, &answer);
    if (r)
        return r;
    size_t frame = em_frame_begin(out, id);
    size_t body = em_nest_begin(out, EIDMAP__ENVELOPE__BODY_RESOLVE_REPLY);
    em_put_uint(out, 1, ms_reader_revision(reader));
    ms_watch_put_answer(session, out, &question->eid, &answer);
    em_nest_end(out, body);
    return em_frame_end(out, frame);
}

unsigned ms_batch_answer(struct ms_session *session, const uint8_t *data, size_t size, unsigned max,
                         size_t *ret_size)
{
    struct ms_worker *worker = session->worker;
    struct batch batch;
    size_t taken = take_questions(&batch, data, size, max);
    if (!batch.n || ms_reader_begin(worker->reader))
        return 0;
    ms_resolve_prepare(worker->reader, batch.questions, batch.n);
    em_arena_reset(&worker->arena);
    for (unsigned i = 0; i < batch.n; i++) {
        int r = put_reply(session, batch.ids[i], &batch.questions[i]);
        if (r)
            ms_session_refuse(session, batch.ids[i], r, NULL);
    }
    ms_reader_end(worker->reader);
    em_conn_sent(session->conn);
    worker->n_requests += batch.n;
    *ret_size = taken;
    return batch.n;
}
