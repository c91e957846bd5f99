/* What people see of the agent. */
#include "agent_misses.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

const char *xtr_agent_id_text(const struct em_port_id *id)
{
    static char text[EM_PORT_ID_TEXT];
    return em_port_id_format(id->bytes, id->size, text);
}

const char *xtr_agent_reach(const struct xtr_agent *agent)
{
    bool is_v6 = agent->rlocs[0].ip.size == 16;
    if (agent->config->plane == XTR_PLANE_OVS)
        return agent->n_rlocs == 2 ? "RLOC" : is_v6 ? "IPv6 RLOC" : "IPv4 RLOC";
    return is_v6 ? "IPv6 RLOC for VXLAN" : "IPv4 RLOC for VXLAN";
}

static void add_problem(struct xtr_agent *agent, char *text_take)
{
    if (agent->status.n_problems == XTR_MAX_PROBLEMS) {
        free(text_take);
        return;
    }
    char **place = &agent->problems[agent->status.n_problems++];
    free(*place);
    *place = text_take;
}

static char *left_out_text(const struct xtr_agent *agent, uint32_t network_id)
{
    uint64_t n = xtr_mapcache_left_out(agent->cache, network_id);
    return n ? em_asprintf("network %u: %llu ports are left out, since it has more than %u, or all "
                           "networks more than %u sets of locations: divide it",
                           network_id, (unsigned long long)n, XTR_TABLE_PORTS, XTR_SETS_MAX)
             : NULL;
}

void xtr_agent_tell_left_out(const struct xtr_agent *agent, uint32_t network_id)
{
    char *text = left_out_text(agent, network_id);
    if (text)
        em_warn_limited("%s", text);
    free(text);
}

static void find_problems(struct xtr_agent *agent)
{
    agent->status.n_problems = 0;
    if (!agent->server)
        add_problem(agent, em_asprintf("no map server reachable: %s",
                                       agent->down_why ? agent->down_why : "not yet connected"));
    if (agent->rloc_why)
        add_problem(agent, em_strdup(agent->rloc_why));
    if (agent->save_err)
        add_problem(agent, em_asprintf("ports cannot be saved in %s: %s", agent->config->state_dir,
                                       em_strerror(agent->save_err)));
    char *text;
    for (size_t i = 0; (text = xtr_agent_doubt_text(agent, i)); i++)
        add_problem(agent, text);
    if (agent->store.err)
        add_problem(agent, em_asprintf("the map-cache cannot be saved in %s: %s", agent->store.dir,
                                       em_strerror(agent->store.err)));
    if (agent->pump.n_failed)
        add_problem(agent, em_asprintf("%zu operations failed and are tried again each second",
                                       agent->pump.n_failed));
    if (agent->probe_err)
        add_problem(agent, em_asprintf("probes: UDP port %u: %s", agent->config->probe_port,
                                       em_strerror(agent->probe_err)));
    uint64_t n_foreign = agent->pump.n_foreign + agent->reconcile.n_blocked;
    if (n_foreign)
        add_problem(agent, em_asprintf("%llu entries are not as they should be: a stranger's entry "
                                       "is in the way; see 'mapctl xtr check'",
                                       (unsigned long long)n_foreign));
    for (size_t i = 0; i < agent->reconcile.n_limits; i++)
        add_problem(agent, em_strdup(agent->reconcile.limits[i].text));
    EM_FOREACH (sub, &agent->subs, struct xtr_sub, item)
        if ((text = left_out_text(agent, sub->network_id)))
            add_problem(agent, text);
    uint32_t network_id, at_net = 0;
    for (int err; (err = xtr_misses_next_problem(agent, &at_net, &network_id));)
        add_problem(agent, em_asprintf("network %u: no miss port, so nothing is resolved: %s",
                                       network_id, em_strerror(err)));
    const char *node;
    for (uint32_t at = 0; (node = xtr_mapcache_next_stranded(agent->cache, &at));)
        add_problem(agent, em_asprintf("node %s has no %s: its ports are out of reach", node,
                                       xtr_agent_reach(agent)));
    for (size_t i = 0; (text = xtr_agent_ovs_problem(agent, i)); i++)
        add_problem(agent, text);
    for (uint32_t i = 0; i < agent->ports.n_items; i++) {
        const struct xtr_port *port = xtr_ports_at(&agent->ports, i);
        if (port && port->problem[0])
            add_problem(agent,
                        em_asprintf("port %s: %s", xtr_agent_id_text(&port->id), port->problem));
    }
}

static uint64_t n_kept(const struct xtr_agent *agent)
{
    uint64_t n = xtr_mapcache_kept(agent->cache, 0);
    EM_FOREACH (sub, &agent->subs, struct xtr_sub, item)
        n += xtr_mapcache_kept(agent->cache, sub->network_id);
    return n;
}

const struct xtr_agent_status *xtr_agent_status(struct xtr_agent *agent)
{
    uint64_t now = em_now_ms();
    find_problems(agent);
    agent->status.node_id = agent->config->node_id;
    agent->status.rlocs = agent->rlocs;
    agent->status.n_rlocs = agent->n_rlocs;
    agent->status.server = agent->server ? agent->server : "";
    agent->status.headless_ms = agent->server ? 0 : now - agent->down_ms;
    agent->status.n_drift = agent->n_drift;
    agent->status.n_reconciled = agent->reconcile.n_done;
    agent->status.reconciled_ms = now - agent->reconcile.end_ms;
    agent->status.reconcile_took_ms = agent->reconcile.took_ms;
    agent->status.uptime_ms = now - agent->start_ms;
    agent->status.n_kept = n_kept(agent);
    agent->status.n_passes = agent->n_passes;
    agent->status.saved_revision = agent->store.saved_revision;
    agent->status.n_probed = agent->prober ? xtr_prober_n_probed(agent->prober) : 0;
    agent->status.n_silent = agent->prober ? xtr_prober_n_silent(agent->prober) : 0;
    agent->status.misses = xtr_misses_counts(agent);
    agent->status.problems = (const char *const *)agent->problems;
    return &agent->status;
}

const struct xtr_ports *xtr_agent_ports(const struct xtr_agent *agent)
{
    return &agent->ports;
}

const struct xtr_mapcache *xtr_agent_cache(const struct xtr_agent *agent)
{
    return agent->cache;
}

struct dataplane_stats xtr_agent_plane(const struct xtr_agent *agent)
{
    return dataplane_stats(agent->plane);
}

void xtr_agent_look(struct xtr_agent *agent, const struct dp_path *path, dp_step_fn *visit,
                    void *aux)
{
    dataplane_look(agent->plane, path, visit, aux);
}
