/* An answer may close the connection, which cancels; so each request is taken off its connection
 * before it is answered, and freed behind that. */
#include "later.h"

#include "asked.h"
#include "base/mem.h"
#include "show.h"
#include "trace.h"
#include "wire/convert.h"

#include <stdlib.h>
#include <string.h>

#define PART_SIZE       (192u << 10)
#define MAX_DIFFERENCES 10000

static void answer_error(struct xtr_later *later, uint64_t id, int code, const char *message)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Error error = EIDMAP__ERROR__INIT;
    em_msg_error(&envelope, &error, id, code, message);
    (void)later->answer(later->aux, &envelope, id);
}

/* Check: the differences are kept until it is through */

struct xtr_checking {
    struct xtr_later *later;
    uint64_t id;
    struct xtr_check *check;
    struct em_arena arena;
    Eidmap__XtrDifference **items;
    size_t n;
    uint64_t n_omitted;
};

static char *arena_text(struct em_arena *arena, const char *text)
{
    char *copy = xtr_show_text(arena, text);
    return copy ? copy : (char *)(uintptr_t) "";
}

static const char *network_name(const struct xtr_agent *agent, uint32_t network_id)
{
    const struct em_network *network =
        xtr_mapcache_network_by_id(xtr_agent_cache(agent), network_id);
    return network ? network->name : "";
}

static void on_difference(void *aux, const struct dp_difference *difference)
{
    struct xtr_checking *checking = aux;
    struct em_arena *arena = &checking->arena;
    if (checking->n == MAX_DIFFERENCES) {
        checking->n_omitted++;
        return;
    }
    Eidmap__XtrDifference *msg = em_arena_alloc(arena, sizeof *msg);
    if (!msg)
        return;
    eidmap__xtr_difference__init(msg);
    msg->network_name =
        arena_text(arena, network_name(checking->later->agent, difference->network_id));
    msg->table = arena_text(arena, difference->table);
    msg->kind = arena_text(arena, difference->kind);
    msg->entry = arena_text(arena, difference->entry);
    checking->items[checking->n++] = msg;
}

static void send_differences(const struct xtr_checking *checking,
                             const struct dp_check_result *result)
{
    const struct xtr_later *later = checking->later;
    size_t at = 0;
    bool is_open;
    do {
        Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
        Eidmap__XtrCheckReply reply = EIDMAP__XTR_CHECK_REPLY__INIT;
        reply.checked = at ? 0 : result->n_compared; /* parts are added up */
        reply.differences = checking->items + at;
        for (size_t size = 0; at < checking->n && size < PART_SIZE; at++, reply.n_differences++)
            size += protobuf_c_message_get_packed_size(&checking->items[at]->base);
        reply.more = at < checking->n;
        reply.omitted = reply.more ? 0 : checking->n_omitted;
        reply.undumped = reply.more ? 0 : result->n_undumped;
        if (!reply.more && result->err)
            reply.failure = (char *)(uintptr_t)em_strerror(result->err);
        envelope.body_case = EIDMAP__ENVELOPE__BODY_XTR_CHECK_REPLY;
        envelope.xtr_check_reply = &reply;
        is_open = later->answer(later->aux, &envelope, checking->id);
    } while (is_open && at < checking->n);
}

static void checking_free(struct xtr_checking *checking)
{
    if (!checking)
        return;
    xtr_agent_check_cancel(checking->check);
    em_arena_fini(&checking->arena);
    free(checking->items);
    free(checking);
}

static void on_checked(void *aux, const struct dp_check_result *result)
{
    struct xtr_checking *checking = aux;
    checking->check = NULL;
    checking->later->checking = NULL;
    send_differences(checking, result);
    checking_free(checking);
}

void xtr_later_check(struct xtr_later *later, uint64_t id, const Eidmap__XtrCheckRequest *request)
{
    if (later->checking) {
        answer_error(later, id, EM_E_BUSY, "a check that was asked for before is under way");
        return;
    }
    struct xtr_checking *checking = em_calloc(1, sizeof *checking);
    checking->later = later;
    checking->id = id;
    checking->items = em_calloc(MAX_DIFFERENCES, sizeof *checking->items);
    em_arena_init(&checking->arena, 0);
    later->checking = checking;
    checking->check =
        xtr_agent_check_start(later->agent, request->repair, on_difference, on_checked, checking);
}

/* Trace: the map is asked first */

struct xtr_tracing {
    struct xtr_later *later;
    uint64_t id;
    struct xtr_ask *ask;
    struct xtr_trace what;
    char *network, *name; /* that 'what' points to */
    struct em_port_id from;
};

static void tracing_free(struct xtr_tracing *tracing)
{
    if (!tracing)
        return;
    xtr_agent_ask_cancel(tracing->ask);
    free(tracing->network);
    free(tracing->name);
    free(tracing);
}

static void on_asked(void *aux, const struct xtr_asked *asked)
{
    struct xtr_tracing *tracing = aux;
    struct xtr_later *later = tracing->later;
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    tracing->ask = NULL;
    later->tracing = NULL;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_XTR_TRACE_REPLY;
    envelope.xtr_trace_reply = xtr_show_trace(later->arena, later->agent, &tracing->what, asked);
    if (envelope.xtr_trace_reply)
        (void)later->answer(later->aux, &envelope, tracing->id);
    else
        answer_error(later, tracing->id, EM_E_LIMIT, "the trace is too large for one answer");
    tracing_free(tracing);
}

static bool is_right(const Eidmap__XtrTrace *request, struct em_eid *ret_eid)
{
    return request->eid && request->from.len <= EM_PORT_ID_SIZE &&
           !em_eid_from_msg(request->eid, ret_eid) &&
           (xtr_eid_is_entry(ret_eid) || ret_eid->kind == EM_EID_PORT_ID);
}

static struct xtr_tracing *tracing_new(struct xtr_later *later, uint64_t id,
                                       const Eidmap__XtrTrace *request, const struct em_eid *eid)
{
    struct xtr_tracing *tracing = em_calloc(1, sizeof *tracing);
    tracing->later = later;
    tracing->id = id;
    tracing->network = em_strdup(request->network_name);
    tracing->what = (struct xtr_trace){.network = tracing->network, .eid = *eid};
    if (eid->kind == EM_EID_PORT_ID)
        tracing->what.eid.name = tracing->name = em_memdup(eid->name, eid->size);
    if (request->from.len) {
        tracing->from.size = (uint8_t)request->from.len;
        memcpy(tracing->from.bytes, request->from.data, request->from.len);
        tracing->what.from = &tracing->from;
    }
    return tracing;
}

void xtr_later_trace(struct xtr_later *later, uint64_t id, const Eidmap__XtrTrace *request)
{
    struct em_eid eid;
    if (later->tracing || !is_right(request, &eid)) {
        answer_error(later, id, later->tracing ? EM_E_BUSY : EM_E_MALFORMED,
                     later->tracing ? "a trace that was asked for before is under way"
                                    : "expected a MAC, a host address or port:ID, and a port-id "
                                      "to send from");
        return;
    }
    struct xtr_asked nobody = {.is_answered = false};
    struct xtr_tracing *tracing = tracing_new(later, id, request, &eid);
    const struct em_network *network =
        xtr_mapcache_network(xtr_agent_cache(later->agent), tracing->network);
    later->tracing = tracing;
    tracing->ask = xtr_agent_ask(later->agent, network ? network->id : 0, &eid, on_asked, tracing,
                                 &nobody.why);
    if (!tracing->ask)
        on_asked(tracing, &nobody);
}

void xtr_later_cancel(struct xtr_later *later)
{
    checking_free(later->checking);
    tracing_free(later->tracing);
    later->checking = NULL;
    later->tracing = NULL;
}
