/* Subscriptions: each goes on from the place where its feed is (struct xtr_place).  What comes
 * is for agent.c. */
#include "agent_state.h"

/* Not while the server's map is another one, nor in what it has not and is kept, nor where
 * agent_misses.c asks instead. */
void xtr_agent_subscribe(struct xtr_agent *agent, struct xtr_sub *sub)
{
    uint32_t network_id = sub->network_id;
    if (sub->is_resolved || agent->other.is_met ||
        xtr_mapcache_keeps_network(agent->cache, network_id))
        return;
    int64_t id = em_client_subscribe(agent->client, network_id, NULL, sub->place.revision,
                                     xtr_agent_on_feed, sub);
    sub->request = id > 0 ? id : 0;
}

void xtr_agent_subscribe_zero(struct xtr_agent *agent)
{
    if (agent->other.is_met)
        return;
    int64_t id = em_client_subscribe(agent->client, 0, NULL, agent->zero_place.revision,
                                     xtr_agent_on_zero, agent);
    agent->zero = id > 0 ? id : 0;
}

void xtr_agent_unsubscribe(struct xtr_agent *agent, int64_t *request)
{
    if (*request)
        em_client_cancel(agent->client, *request);
    *request = 0;
}

void xtr_agent_unsubscribe_all(struct xtr_agent *agent)
{
    xtr_agent_unsubscribe(agent, &agent->zero);
    EM_FOREACH (sub, &agent->subs, struct xtr_sub, item)
        xtr_agent_unsubscribe(agent, &sub->request);
}

void xtr_agent_subscribe_all(struct xtr_agent *agent)
{
    xtr_agent_unsubscribe_all(agent);
    xtr_agent_subscribe_zero(agent);
    EM_FOREACH (sub, &agent->subs, struct xtr_sub, item)
        xtr_agent_subscribe(agent, sub);
}

void xtr_agent_subscribe_again(struct xtr_agent *agent, uint32_t network_id)
{
    if (!network_id) {
        xtr_agent_unsubscribe(agent, &agent->zero);
        agent->zero_place = (struct xtr_place){0};
        xtr_agent_subscribe_zero(agent);
    }
    EM_FOREACH (sub, &agent->subs, struct xtr_sub, item) {
        if (sub->network_id != network_id)
            continue;
        xtr_agent_unsubscribe(agent, &sub->request);
        sub->place = (struct xtr_place){0};
        xtr_agent_subscribe(agent, sub);
    }
}
