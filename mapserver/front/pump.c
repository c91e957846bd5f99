#include "front/pump.h"

#include "eidmap/error.h"
#include "front/deferred.h"
#include "front/context.h"
#include "front/session.h"
#include "front/topics.h"
#include "front/watch.h"
#include "net/conn.h"
#include "state/feed.h"
#include "wire/writer.h"

#include <assert.h>
#include <stdlib.h>

#define PAGE_ENTRIES      4096
#define PAGE_BYTES        (64u << 10)
#define SEND_AHEAD        (256u << 10) /* pending output above which no page is added */
#define TURN_PACKED       (64u << 10)  /* bytes of pages; then the loop sees to others first */
#define TURN_SENT         (256u << 10) /* the same, with those that were packed for somebody else */
#define SUBSCRIPTIONS_MAX 65536        /* of one session */

struct subscription {
    struct ms_listener listener;
    struct em_list in_session;
    struct em_list in_dirty;
    struct ms_session *session;
    uint32_t network_id;
    uint64_t id; /* envelope id of the Subscribe */
    struct ms_feed_cursor cursor;
    uint64_t told;      /* the subscriber's own cursor: of the last page */
    bool is_quiet;      /* a page is due, if only to tell that */
    bool is_start_over; /* to be said with the next page */
    bool is_complete;   /* has been said */
};

/* One Changes frame under way.  It begins when there is something to say. */
struct page {
    struct em_buf *out;
    uint64_t id;
    bool is_open;
    size_t frame, body;
};

static void page_open(struct page *page)
{
    if (page->is_open)
        return;
    page->is_open = true;
    page->frame = em_frame_begin(page->out, page->id);
    page->body = em_nest_begin(page->out, EIDMAP__ENVELOPE__BODY_CHANGES);
}

enum { CHANGES = 3, GONE = 4 }; /* Changes.changes, Change.gone */

static void put_gone(struct em_buf *out, const struct ms_feed_entry *entry)
{
    size_t change = em_nest_begin(out, CHANGES);
    size_t gone = em_nest_begin(out, GONE);
    em_put_uint(out, 1, entry->kind);
    em_put_bytes(out, 2, entry->id.data, entry->id.size);
    em_nest_end(out, gone);
    em_nest_end(out, change);
}

static void on_entry(void *aux, const struct ms_feed_entry *entry)
{
    struct page *page = aux;
    page_open(page);
    if (entry->is_gone)
        put_gone(page->out, entry);
    else /* Change.port, .node, .network are numbered as ObjectKind is */
        em_put_wrapped(page->out, CHANGES, entry->kind, entry->record.data, entry->record.size);
}

_Static_assert(EM_OBJECT_PORT == 1 && EM_OBJECT_NODE == 2 && EM_OBJECT_NETWORK == 3,
               "field numbers of Change");

static void page_close(struct page *page, struct subscription *sub, bool is_complete,
                       bool is_removed)
{
    em_put_uint(page->out, 1, sub->network_id);
    em_put_uint(page->out, 2, sub->cursor.revision);
    sub->told = sub->cursor.revision;
    em_put_uint(page->out, 4, sub->is_start_over);
    em_put_uint(page->out, 5, is_complete);
    em_put_uint(page->out, 6, is_removed);
    em_nest_end(page->out, page->body);
    int r = em_frame_end(page->out, page->frame);
    assert(r == 0); /* PAGE_BYTES and one record are far below a frame */
    (void)r;
}

static void end(struct subscription *sub)
{
    struct ms_session *session = sub->session;
    ms_topics_leave(session->worker->topics, &sub->listener);
    em_list_remove(&sub->in_session);
    em_list_remove(&sub->in_dirty);
    session->n_subscriptions--;
    session->member.n_subscriptions = session->n_subscriptions;
    free(sub);
}

/* All has been said, or there is more. */
static void page_sent(struct subscription *sub, bool is_more)
{
    sub->is_quiet = false;
    sub->is_start_over = false;
    sub->is_complete = !is_more;
    em_list_remove(&sub->in_dirty);
    if (is_more) /* behind the others, so that each network gets its turn */
        em_list_append(&sub->session->dirty, &sub->in_dirty);
}

/* True: somebody who stood at the same revision has just got what this one gets now. */
static bool send_again(struct subscription *sub)
{
    struct ms_worker *worker = sub->session->worker;
    struct em_buf *out = em_conn_out(sub->session->conn);
    const struct ms_cached_page *page =
        ms_page_cache_find(&worker->pages, sub->network_id, sub->cursor.revision);
    if (!page || sub->is_start_over || ms_reader_horizon(worker->reader) > sub->cursor.sound)
        return false;
    size_t frame = em_frame_begin(out, sub->id);
    em_put_bytes(out, EIDMAP__ENVELOPE__BODY_CHANGES, em_buf_head(&page->body),
                 em_buf_size(&page->body));
    int r = em_frame_end(out, frame);
    assert(r == 0); /* it was a frame before */
    (void)r;
    sub->told = sub->cursor.revision = page->to;
    if (sub->cursor.sound < page->to)
        sub->cursor.sound = page->to;
    page_sent(sub, page->is_more);
    return true;
}

/* For the next one who stands at 'from'. */
static void keep_page(struct subscription *sub, uint64_t from, bool is_more,
                      const struct page *page)
{
    struct ms_worker *worker = sub->session->worker;
    const struct ms_cached_page kept = {.network_id = sub->network_id,
                                        .from = from,
                                        .to = sub->cursor.revision,
                                        .is_more = is_more};
    size_t size = em_buf_size(page->out) - page->body;
    ms_page_cache_put(&worker->pages, &kept, em_buf_head(page->out) + page->body, size);
}

/* Sends one page.  The subscription leaves the dirty list when all has been said.  0, or
 * an error for which the session must be closed. */
static int send_page(struct subscription *sub)
{
    struct ms_session *session = sub->session;
    struct page page = {.out = em_conn_out(session->conn), .id = sub->id};
    uint64_t from = sub->cursor.revision;
    if (send_again(sub))
        return 0;
    int r = ms_feed_read(session->worker->reader, sub->network_id, &sub->cursor, PAGE_ENTRIES,
                         PAGE_BYTES, on_entry, &page);
    if (r == EM_E_STALE) {
        assert(!page.is_open);
        ms_feed_start(session->worker->reader, 0, &sub->cursor);
        sub->is_start_over = true;
        sub->is_complete = false;
        return 0;
    }
    if (r == EM_E_NOT_FOUND) {
        page_open(&page);
        page_close(&page, sub, false, true);
        end(sub);
        return 0;
    }
    if (r < 0) {
        if (page.is_open)
            em_frame_drop(page.out, page.frame);
        return r;
    }
    bool is_behind = sub->is_quiet && sub->told < sub->cursor.revision;
    if (sub->is_start_over || (r == 0 && (!sub->is_complete || is_behind)))
        page_open(&page);
    if (page.is_open) {
        page_close(&page, sub, r == 0, false);
        session->worker->n_packed += em_buf_size(page.out) - page.body;
        if (!sub->is_start_over && !ms_topics_is_alone(&sub->listener))
            keep_page(sub, from, r == 1, &page);
    }
    page_sent(sub, r == 1);
    return 0;
}

static bool has_page(const struct ms_session *session)
{
    return !em_list_is_empty(&session->dirty) && em_conn_pending(session->conn) < SEND_AHEAD;
}

/* One page, and it is left to others for now; or what the watches have to say. */
static int run(struct ms_session *session)
{
    int r = 0;
    if (has_page(session))
        r = send_page(em_container_of(session->dirty.next, struct subscription, in_dirty));
    if (r)
        return r;
    if (!has_page(session))
        return ms_watch_run(session);
    ms_pump_wake(session);
    return 0;
}

void ms_pump_run(struct ms_session *session)
{
    if (session->conn && (has_page(session) || ms_watch_is_due(session)))
        ms_pump_wake(session);
}

void ms_pump_wake(struct ms_session *session)
{
    if (em_list_is_empty(&session->in_hot))
        em_list_append(&session->worker->hot, &session->in_hot);
    ev_idle_start(session->worker->loop, &session->worker->pump);
}

void ms_pump_run_hot(struct ms_worker *worker)
{
    size_t n_sent = 0;
    if (em_list_is_empty(&worker->hot))
        return;
    int begun = ms_reader_begin(worker->reader);
    if (!begun)
        ms_page_cache_keep(&worker->pages, ms_reader_state(worker->reader));
    worker->n_packed = 0;
    while (!em_list_is_empty(&worker->hot) && n_sent < TURN_SENT &&
           worker->n_packed < TURN_PACKED) {
        struct ms_session *session = em_container_of(worker->hot.next, struct ms_session, in_hot);
        size_t before = em_conn_pending(session->conn);
        em_list_remove(&session->in_hot);
        int r = begun ? begun : run(session);
        if (r) {
            ms_session_close(session, r, "the map cannot be read");
            continue;
        }
        n_sent += em_conn_pending(session->conn) - before;
        em_conn_sent(session->conn);
    }
    if (!begun)
        ms_reader_end(worker->reader);
    if (em_list_is_empty(&worker->hot))
        ev_idle_stop(worker->loop, &worker->pump);
}

void ms_pump_catch_up(const struct ms_worker *worker, struct ms_feed_cursor *cursor)
{
    if (cursor->sound < worker->news_since)
        *cursor = (struct ms_feed_cursor){worker->news_since, worker->news_since};
}

static void on_news(struct ms_listener *listener)
{
    struct subscription *sub = em_container_of(listener, struct subscription, listener);
    if (em_list_is_empty(&sub->in_dirty)) {
        ms_pump_catch_up(sub->session->worker, &sub->cursor);
        em_list_append(&sub->session->dirty, &sub->in_dirty);
    }
    ms_pump_wake(sub->session);
}

void ms_pump_refresh(struct ms_session *session, uint64_t now_ms)
{
    const struct ms_worker *worker = session->worker;
    if (now_ms - session->refreshed_ms < worker->front->refresh_ms)
        return;
    session->refreshed_ms = now_ms;
    EM_FOREACH (sub, &session->subscriptions, struct subscription, in_session) {
        if (!em_list_is_empty(&sub->in_dirty) || sub->told >= worker->front->revision)
            continue;
        ms_pump_catch_up(worker, &sub->cursor);
        sub->is_quiet = true;
        em_list_append(&session->dirty, &sub->in_dirty);
    }
    ms_pump_run(session);
}

static struct subscription *find(struct ms_session *session, uint32_t network_id)
{
    EM_FOREACH (sub, &session->subscriptions, struct subscription, in_session)
        if (sub->network_id == network_id)
            return sub;
    return NULL;
}

static int begin(struct ms_session *session, const Eidmap__Envelope *request)
{
    struct ms_reader *reader = session->worker->reader;
    const Eidmap__Subscribe *subscribe = request->subscribe;
    uint32_t network_id;
    struct ms_blob network;
    int r = ms_read_network_id(reader, subscribe->network_id, subscribe->network_name, &network_id);
    if (r == 0 && network_id)
        r = ms_reader_network(reader, network_id, &network);
    if (r)
        return r;
    struct subscription *sub = find(session, network_id);
    if (sub)
        end(sub);
    if (session->n_subscriptions >= SUBSCRIPTIONS_MAX)
        return EM_E_LIMIT;
    sub = em_calloc(1, sizeof(*sub));
    em_list_init(&sub->in_dirty);
    sub->session = session;
    sub->network_id = network_id;
    sub->id = request->id;
    sub->is_start_over = ms_feed_start(reader, subscribe->cursor, &sub->cursor);
    em_list_append(&session->subscriptions, &sub->in_session);
    em_list_append(&session->dirty, &sub->in_dirty);
    ms_topics_listen(session->worker->topics, network_id, &sub->listener, on_news);
    session->member.n_subscriptions = ++session->n_subscriptions;
    return 0;
}

static void subscribe_now(struct ms_session *session, const Eidmap__Envelope *request)
{
    struct ms_reader *reader = session->worker->reader;
    int r = ms_reader_begin(reader);
    if (r == 0) {
        r = begin(session, request);
        ms_reader_end(reader);
    }
    if (r)
        ms_session_refuse(session, request->id, r,
                          r == EM_E_NOT_FOUND ? "there is no such network" : NULL);
    else
        ms_pump_run(session);
}

/* A cursor from another server may be ahead of the map here: then it is waited for.  What is
 * still ahead when this server has caught up is of another map. */
void ms_pump_subscribe(struct ms_session *session, const Eidmap__Envelope *request)
{
    if (request->subscribe->cursor > session->worker->front->revision)
        ms_deferred_confirm(session, request, true, subscribe_now);
    else
        subscribe_now(session, request);
}

void ms_pump_unsubscribe(struct ms_session *session, const Eidmap__Envelope *request)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Done done = EIDMAP__DONE__INIT;
    struct subscription *sub = find(session, request->unsubscribe->network_id);
    if (sub)
        end(sub);
    done.revision = session->worker->front->revision;
    envelope.id = request->id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_DONE;
    envelope.done = &done;
    ms_session_send(session, &envelope);
}

void ms_pump_close(struct ms_session *session)
{
    while (!em_list_is_empty(&session->subscriptions))
        end(em_container_of(session->subscriptions.next, struct subscription, in_session));
    em_list_remove(&session->in_hot);
}
