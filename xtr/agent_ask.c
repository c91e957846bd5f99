/* One question to the map server of the session, for the trace.  A server that has the session
 * and says nothing is given up, and cannot hold the answer back for ever. */
#include "agent_state.h"

#include "asked.h"
#include "base/mem.h"

#include <stdlib.h>

#define WAIT_S 2.0

struct xtr_ask {
    struct xtr_agent *agent;
    ev_timer patience;
    int64_t request;
    xtr_agent_asked_fn *on_asked;
    void *aux;
};

void xtr_agent_ask_cancel(struct xtr_ask *ask)
{
    if (!ask)
        return;
    if (ask->request)
        em_client_cancel(ask->agent->client, ask->request);
    ev_timer_stop(ask->agent->loop, &ask->patience);
    free(ask);
}

static void end(struct xtr_ask *ask, const struct xtr_asked *asked)
{
    xtr_agent_asked_fn *on_asked = ask->on_asked;
    void *aux = ask->aux;
    xtr_agent_ask_cancel(ask);
    on_asked(aux, asked);
}

static void on_reply(void *aux, const struct em_reply *reply)
{
    struct xtr_ask *ask = aux;
    struct xtr_asked asked = {
        .is_answered = !reply->err, .why = reply->message, .revision = reply->revision};
    ask->request = 0;
    if (!reply->err && reply->n_answers)
        asked.port = reply->answers[0].port;
    end(ask, &asked);
}

static void on_patience(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct xtr_asked asked = {.why = "the map server does not answer"};
    end(timer->data, &asked);
}

static const char *why_not(const struct xtr_agent *agent)
{
    if (agent->other.is_met)
        return "the map server at hand has another map, which is doubted";
    return em_client_is_up(agent->client) ? NULL : "there is no map server to ask";
}

struct xtr_ask *xtr_agent_ask(struct xtr_agent *agent, uint32_t network_id,
                              const struct em_eid *eid, xtr_agent_asked_fn *on_asked, void *aux,
                              const char **ret_why)
{
    const char *why = why_not(agent);
    if (why) {
        *ret_why = why;
        return NULL;
    }
    struct xtr_ask *ask = em_calloc(1, sizeof *ask);
    ask->agent = agent;
    ask->on_asked = on_asked;
    ask->aux = aux;
    ev_timer_init(&ask->patience, on_patience, WAIT_S, 0);
    ask->patience.data = ask;
    int64_t id = em_client_resolve(agent->client, network_id, NULL, eid, 1, 0, on_reply, ask);
    if (id <= 0) {
        *ret_why = em_strerror((int)id);
        free(ask);
        return NULL;
    }
    ask->request = id;
    ev_timer_start(agent->loop, &ask->patience);
    return ask;
}
