/* Probes, from the map to the sockets and back: once a second who is to be probed is worked
 * out anew, and each verdict goes to the map-cache at once.
 *
 * Others are answered only when the map has this node's ports as they are now.  A host that
 * has just booted would else draw traffic for ports that it does not have yet; where nothing
 * but the agent was restarted, the kernel's refusals stand in for its answers. */
#include "agent_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "echo_socket.h"

#include <string.h>

#define HEADLESS_MS 10000 /* after so long without a map server it answers all the same */

static void on_state(void *aux, const char *node_id, const struct xtr_probe *probe,
                     enum xtr_probe_state from)
{
    struct xtr_agent *agent = aux;
    if (probe->state == XTR_PROBE_SILENT)
        em_warn("node %s does not answer probes any more: other locations of its ports are used",
                node_id);
    else if (from == XTR_PROBE_SILENT)
        em_info("node %s answers probes again", node_id);
    else
        em_debug("probe of node %s: %s -> %s", node_id, xtr_probe_name(from),
                 xtr_probe_name(probe->state));
    xtr_mapcache_silence(agent->cache, node_id, probe->state == XTR_PROBE_SILENT);
    xtr_agent_kick(agent);
}

static bool may_answer(const struct xtr_agent *agent)
{
    return agent->registrar.session == XTR_SESSION_STEADY ||
           (agent->registrar.session == XTR_SESSION_DOWN &&
            em_now_ms() - agent->start_ms > HEADLESS_MS);
}

static void open_sockets(struct xtr_agent *agent)
{
    const struct em_ip *ip = &agent->rlocs[0].ip;
    uint16_t port = agent->config->probe_port;
    int r = 0;
    if (!agent->prober)
        r = xtr_prober_new(agent->loop, ip, port, on_state, agent, &agent->prober);
    if (!r && !agent->reflector && may_answer(agent))
        r = xtr_reflector_new(ip, port, &agent->reflector);
    if (r && r != agent->probe_err)
        em_error("probes: UDP port %u: %s; other nodes get no answer", port, em_strerror(r));
    agent->probe_err = r;
    agent->probe_ip = *ip;
}

void xtr_agent_probe_close(struct xtr_agent *agent)
{
    xtr_prober_free(agent->prober);
    xtr_reflector_free(agent->reflector);
    agent->prober = NULL;
    agent->reflector = NULL;
}

static bool is_elsewhere(const struct xtr_agent *agent)
{
    const struct em_ip *now = &agent->rlocs[0].ip, *then = &agent->probe_ip;
    return now->size != then->size || memcmp(now->addr, then->addr, now->size) != 0;
}

/* A verdict ends with the probes that led to it. */
static void plan(struct xtr_agent *agent)
{
    struct xtr_peer peer;
    xtr_mapcache_plan_probes(agent->cache);
    for (uint32_t at = 0; xtr_mapcache_next_peer(agent->cache, &at, &peer);) {
        const struct xtr_probe *probe = NULL;
        if (peer.probe_ms && agent->prober)
            probe = xtr_prober_put(agent->prober, peer.node->id, &peer.ip, peer.probe_ms);
        xtr_mapcache_silence(agent->cache, peer.node->id,
                             probe && probe->state == XTR_PROBE_SILENT);
    }
}

void xtr_agent_probe_tick(struct xtr_agent *agent)
{
    if (is_elsewhere(agent))
        xtr_agent_probe_close(agent);
    open_sockets(agent);
    if (agent->prober)
        xtr_prober_begin(agent->prober);
    plan(agent);
    if (agent->prober)
        xtr_prober_end(agent->prober);
}

const struct xtr_probe *xtr_agent_probe(const struct xtr_agent *agent, const char *node_id)
{
    return agent->prober ? xtr_prober_find(agent->prober, node_id) : NULL;
}
