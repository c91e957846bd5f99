/* The session with a map server, and what the registrar asks of it. */
#include "agent_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_LEASE 15000u

/* The registrar's requests */

static void on_registered(void *aux, const struct em_reply *reply)
{
    struct xtr_agent *agent = aux;
    agent->request = 0;
    if (reply->err && em_error_is_retryable(reply->err))
        em_warn_limited("registering failed: %s; trying again", reply->message);
    struct em_port_id renamed;
    bool is_renamed = xtr_agent_watch_conflict(agent, reply, &renamed);
    xtr_registrar_registered(&agent->registrar, &agent->ports, reply, em_now_ms());
    if (is_renamed)
        (void)xtr_agent_detach(agent, &renamed);
    xtr_agent_save_soon(agent);
    xtr_agent_kick(agent);
}

static void tell_withdrawn(const struct xtr_agent *agent)
{
    EM_FOREACH (listener, &agent->listeners, struct xtr_listener, item)
        if (listener->on_withdrawn)
            listener->on_withdrawn(listener->aux);
}

static void on_withdrawn(void *aux, const struct em_reply *reply)
{
    struct xtr_agent *agent = aux;
    agent->request = 0;
    xtr_registrar_withdrawn(&agent->registrar, reply->err, em_now_ms());
    tell_withdrawn(agent);
    xtr_agent_kick(agent);
}

static void on_ended(void *aux, const struct em_reply *reply)
{
    struct xtr_agent *agent = aux;
    agent->request = 0;
    if (!reply->err && reply->n_withdrawn)
        em_info("%u locations of an earlier run were withdrawn", reply->n_withdrawn);
    xtr_registrar_ended(&agent->registrar, reply->err, em_now_ms());
    tell_withdrawn(agent);
    xtr_agent_kick(agent);
}

/* The client takes no more for now: as if the server had answered so. */
static void fail_request(struct xtr_agent *agent, enum xtr_step step)
{
    struct em_reply reply = {.err = EM_E_BUSY, .message = em_strerror(EM_E_BUSY)};
    if (step == XTR_STEP_REGISTER)
        xtr_registrar_registered(&agent->registrar, &agent->ports, &reply, em_now_ms());
    else if (step == XTR_STEP_WITHDRAW)
        xtr_registrar_withdrawn(&agent->registrar, reply.err, em_now_ms());
    else
        xtr_registrar_ended(&agent->registrar, reply.err, em_now_ms());
}

/* Of the server at hand. */
static bool knows_map(const struct xtr_agent *agent)
{
    return xtr_mapcache_is_complete(agent->cache, 0) && !agent->other.is_met;
}

/* True if something was sent. */
bool xtr_agent_run_registrar(struct xtr_agent *agent)
{
    static struct em_claim claims[XTR_BATCH];
    static struct em_location locations[XTR_BATCH];
    const struct em_port_ref *refs = NULL;
    size_t n = 0;
    bool has_sent = false;
    enum xtr_step step;
    while ((step = xtr_registrar_next(&agent->registrar, &agent->ports, knows_map(agent),
                                      em_now_ms(), claims, locations, &refs, &n)) !=
           XTR_STEP_NONE) {
        switch (step) {
        case XTR_STEP_NONE:
            break;
        case XTR_STEP_BEGIN:
            em_client_announce_begin(agent->client, agent->boot_epoch);
            continue;
        case XTR_STEP_REGISTER:
            agent->request =
                em_client_register(agent->client, claims, n, NULL, on_registered, agent);
            break;
        case XTR_STEP_WITHDRAW:
            agent->request = em_client_withdraw(agent->client, refs, n, NULL, on_withdrawn, agent);
            break;
        case XTR_STEP_END:
            agent->request =
                em_client_announce_end(agent->client, agent->boot_epoch, on_ended, agent);
            break;
        }
        has_sent |= agent->request > 0;
        if (agent->request <= 0) {
            agent->request = 0;
            fail_request(agent, step);
        }
    }
    return has_sent;
}

/* Session */

static void on_up(void *aux, const struct em_welcome *welcome)
{
    struct xtr_agent *agent = aux;
    free(agent->server);
    agent->server = em_strdup(welcome->server);
    em_info("connected to %s (%s), revision %llu", welcome->server, welcome->server_id,
            (unsigned long long)welcome->revision);
    xtr_agent_meet(agent, welcome);
    xtr_registrar_up(&agent->registrar, &agent->ports);
    xtr_ports_wake(&agent->ports);
    double lease = (welcome->lease_ms ? welcome->lease_ms : DEFAULT_LEASE) / 1e3;
    agent->heartbeat = 0;
    ev_timer_stop(agent->loop, &agent->beat);
    ev_timer_set(&agent->beat, 0, lease / 3);
    ev_timer_start(agent->loop, &agent->beat);
    xtr_agent_kick(agent);
}

static void on_down(void *aux, int err, const char *why)
{
    struct xtr_agent *agent = aux;
    if (agent->server) {
        em_warn("no map server: %s; what is installed stays", why);
        agent->down_ms = em_now_ms();
    } else if (!agent->down_why || strcmp(agent->down_why, why) != 0) {
        em_warn("cannot reach a map server: %s; trying again", why); /* each reason once */
    }
    free(agent->server);
    agent->server = NULL;
    free(agent->down_why);
    agent->down_why = em_strdup(why);
    if (agent->request)
        em_client_cancel(agent->client, agent->request);
    if (agent->heartbeat)
        em_client_cancel(agent->client, agent->heartbeat);
    agent->request = agent->heartbeat = 0;
    ev_timer_stop(agent->loop, &agent->beat);
    xtr_registrar_down(&agent->registrar);
    xtr_ports_wake(&agent->ports);
    xtr_agent_kick(agent);
}

static void on_heartbeat(void *aux, const struct em_reply *reply)
{
    struct xtr_agent *agent = aux;
    agent->heartbeat = 0;
}

static void on_beat(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct xtr_agent *agent = w->data;
    bool is_late = agent->heartbeat;
    if (is_late && agent->is_beat_late) {
        em_warn_limited("map server %s is silent; another one is asked, if there is one",
                        agent->server);
        agent->is_beat_late = false;
        em_client_fail_over(agent->client);
        return;
    }
    agent->is_beat_late = is_late;
    if (is_late)
        return;
    uint64_t installed = agent->other.is_met ? 0 : xtr_mapcache_installed(agent->cache);
    int64_t id = em_client_heartbeat(agent->client, installed, on_heartbeat, agent);
    agent->heartbeat = id > 0 ? id : 0;
}

int xtr_agent_connect(struct xtr_agent *agent, char **ret_why)
{
    static const struct em_client_events events = {.on_up = on_up, .on_down = on_down};
    const struct xtr_config *config = agent->config;
    ev_timer_init(&agent->beat, on_beat, 0, 0);
    agent->beat.data = agent;
    struct em_client_config client = {
        .servers = (const char *const *)config->servers,
        .n_servers = config->n_servers,
        .ca_file = config->tls_ca,
        .cert_file = config->tls_cert,
        .key_file = config->tls_key,
        .software = "xtr " EM_VERSION,
        .node_id = config->node_id,
        .boot_epoch = agent->boot_epoch,
        .rlocs = agent->rlocs,
        .n_rlocs = agent->n_rlocs,
        .is_warm = true,
    };
    int r = em_client_new(agent->loop, &client, &events, agent, &agent->client, ret_why);
    if (!r)
        xtr_agent_subscribe_zero(agent);
    return r;
}

void xtr_agent_disconnect(struct xtr_agent *agent)
{
    ev_timer_stop(agent->loop, &agent->beat);
    em_client_free(agent->client);
    free(agent->server);
    free(agent->down_why);
}
