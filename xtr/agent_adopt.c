/* What is there before the first miss: entries that an earlier run has left in the data plane,
 * and ports that the map-cache has from its file or from a subscription.  All is asked for, and
 * watched; what has no answer then is let go, and the rest of the data plane swept. */
#include "misses_state.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

#define ADOPTING_MAX   256 /* questions under way */
#define ADOPT_AGAIN_MS 10000

static void add_eid(struct xtr_miss_net *net, const struct em_eid *eid)
{
    if (net->n_eids == net->eids_size) {
        net->eids_size = net->eids_size ? net->eids_size * 2 : 64;
        net->eids = em_realloc(net->eids, net->eids_size * sizeof *net->eids);
    }
    net->eids[net->n_eids++] = *eid;
}

static void on_adopted(void *aux, const struct em_eid *eid)
{
    struct xtr_miss_net *net = aux;
    if ((eid->kind == EM_EID_MAC) == (net->adoption == ADOPT_MACS))
        add_eid(net, eid);
}

/* What was subscribed to, or read from a file, before: by one address each. */
static void add_cached(struct xtr_miss_net *net)
{
    struct xtr_cursor cursor = {0};
    struct em_port port;
    while (xtr_mapcache_next_port(net->agent->cache, &cursor, &port)) {
        size_t i = 0;
        while (i < port.n_eids && !xtr_eid_is_entry(&port.eids[i]))
            i++;
        if (port.network_id == net->network_id && i < port.n_eids)
            add_eid(net, &port.eids[i]);
    }
}

/* What the map-cache had and nobody answers for: there was no room, or another answer. */
static void drop_unnamed(struct xtr_miss_net *net)
{
    struct xtr_agent *agent = net->agent;
    struct xtr_cursor cursor = {0};
    struct em_port port;
    while (xtr_mapcache_next_port(agent->cache, &cursor, &port))
        if (port.network_id == net->network_id &&
            !xtr_resolver_names(&agent->misses->resolver, net->network_id, &port.id))
            xtr_misses_remove_port(agent, net->network_id, &port.id);
}

static void adopt_step(struct xtr_miss_net *net, enum xtr_adoption step)
{
    net->adoption = step;
    net->n_eids = net->eid_at = 0;
    net->position = xtr_mapcache_tail(net->agent->cache);
    if (step == ADOPT_ADDRESSES)
        add_cached(net);
    if (step == ADOPT_ADDRESSES || step == ADOPT_MACS)
        dataplane_adopted(net->agent->plane, net->network_id, on_adopted, net);
    if (step != ADOPT_END)
        return;
    free(net->eids);
    net->eids = NULL;
    net->eids_size = 0;
    if (net->has_failed) {
        net->has_failed = false;
        net->adoption = ADOPT_BEGIN;
        net->begin_ms = em_now_ms() + ADOPT_AGAIN_MS;
    } else {
        drop_unnamed(net);
        net->position = xtr_mapcache_tail(net->agent->cache);
    }
}

/* Local ports have been put by the time the first step begins, so what they have is not asked
 * for; and what the answers have brought, by the time of the second. */
void xtr_misses_adopt(struct xtr_miss_net *net)
{
    struct xtr_resolver *resolver = &net->agent->misses->resolver;
    while (net->eid_at < net->n_eids && net->n_asked < ADOPTING_MAX) {
        struct xtr_target *target =
            xtr_resolver_adopt(resolver, net->network_id, &net->eids[net->eid_at]);
        net->eid_at++;
        if (!target)
            continue;
        if (xtr_misses_ask(target))
            net->n_asked++;
        else
            net->has_failed = true;
    }
    if (net->adoption == ADOPT_END || net->n_asked || net->eid_at < net->n_eids ||
        xtr_mapcache_done(net->agent->cache) < net->position || em_now_ms() < net->begin_ms)
        return;
    if (net->position != xtr_mapcache_tail(net->agent->cache)) {
        net->position = xtr_mapcache_tail(net->agent->cache);
        xtr_agent_kick(net->agent);
        return;
    }
    adopt_step(net, net->adoption + 1);
    xtr_agent_kick(net->agent);
}

bool xtr_misses_is_adopted(const struct xtr_agent *agent, uint32_t network_id)
{
    const struct xtr_miss_net *net = xtr_misses_find(agent, network_id);
    return net && net->adoption == ADOPT_END && xtr_mapcache_done(agent->cache) >= net->position;
}
