/* Feeds: what their pages say, which are asked for, and networks as they come and go with them.
 * Each goes on from the place where it is (struct xtr_place). */
#include "agent_misses.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/clock.h"

#include <assert.h>
#include <stdlib.h>

/* Pages */

void xtr_agent_port_seen(struct xtr_agent *agent, const struct em_port *seen)
{
    struct xtr_port *port = xtr_ports_find(&agent->ports, &seen->id);
    if (!port)
        return;
    xtr_agent_ovs_seen(agent, seen);
    xtr_agent_trunk_seen(agent, port, seen);
    if (xtr_port_is_child(port))
        return;
    bool is_here = xtr_port_activated(port, seen, agent->config->node_id, em_now_us());
    if (is_here)
        em_info("port %s: activated by the map", xtr_agent_id_text(&port->id));
    if (is_here || xtr_port_seen(port, seen, agent->config->node_id))
        xtr_agent_save_soon(agent);
}

static void look_for_moves(struct xtr_agent *agent, const struct em_feed *page)
{
    for (size_t i = 0; i < page->n_changes; i++)
        if (page->changes[i].object == EM_OBJECT_PORT && !page->changes[i].is_gone)
            xtr_agent_port_seen(agent, page->changes[i].port);
}

/* Once for each change of such a node's record. */
static void tell_stranded(const struct xtr_agent *agent, const struct em_feed *page)
{
    for (size_t i = 0; i < page->n_changes; i++) {
        const struct em_change *change = &page->changes[i];
        if (change->object == EM_OBJECT_NODE && !change->is_gone &&
            xtr_mapcache_is_stranded(agent->cache, change->node->id))
            em_warn_limited("node %s has no %s: its ports are out of reach from here",
                            change->node->id, xtr_agent_reach(agent));
    }
}

static void on_zero(void *aux, const struct em_feed *page)
{
    struct xtr_agent *agent = aux;
    if (page->err) {
        em_warn_limited("the feed of nodes and networks is refused: %s", page->message);
        agent->zero = 0;
        return;
    }
    bool is_pass_over = xtr_agent_note_page(agent, &agent->zero_place, page);
    xtr_mapcache_feed(agent->cache, page);
    agent->is_trunk_due = true;
    xtr_ports_wake(&agent->ports);
    if (is_pass_over)
        xtr_agent_tell_verdict(agent, 0);
    tell_stranded(agent, page);
    xtr_agent_kick(agent);
}

static void on_feed(void *aux, const struct em_feed *page)
{
    struct xtr_sub *sub = aux;
    struct xtr_agent *agent = sub->agent;
    if (page->err || page->is_removed) {
        if (page->err)
            em_warn_limited("the feed of network %u is refused: %s", sub->network_id,
                            page->message);
        sub->request = 0;
        xtr_agent_kick(agent);
        return;
    }
    look_for_moves(agent, page);
    bool is_pass_over = xtr_agent_note_page(agent, &sub->place, page);
    xtr_mapcache_feed(agent->cache, page);
    agent->is_trunk_due = true;
    if (is_pass_over)
        xtr_agent_tell_verdict(agent, sub->network_id);
    xtr_agent_tell_left_out(agent, sub->network_id);
    if (page->is_complete && !sub->has_end) {
        sub->has_end = true;
        sub->end = xtr_mapcache_tail(agent->cache);
    }
    xtr_agent_kick(agent);
}

/* Subscriptions */

/* Not while the server's map is another one, nor in what it has not and is kept, nor where
 * agent_misses.c asks instead. */
void xtr_agent_subscribe(struct xtr_agent *agent, struct xtr_sub *sub)
{
    uint32_t network_id = sub->network_id;
    if (sub->is_resolved || agent->other.is_met ||
        xtr_mapcache_keeps_network(agent->cache, network_id))
        return;
    int64_t id =
        em_client_subscribe(agent->client, network_id, NULL, sub->place.revision, on_feed, sub);
    sub->request = id > 0 ? id : 0;
}

void xtr_agent_subscribe_zero(struct xtr_agent *agent)
{
    if (agent->other.is_met)
        return;
    int64_t id =
        em_client_subscribe(agent->client, 0, NULL, agent->zero_place.revision, on_zero, agent);
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

/* Networks */

static bool is_resolved(const struct xtr_agent *agent, uint32_t network_id)
{
    const struct em_network *network = xtr_mapcache_network_by_id(agent->cache, network_id);
    return network && network->fill == EM_FILL_RESOLVE;
}

/* As the map says now how it is filled. */
static void fill_network(struct xtr_agent *agent, struct xtr_sub *sub)
{
    sub->is_resolved = is_resolved(agent, sub->network_id);
    if (!sub->is_resolved) {
        xtr_agent_subscribe(agent, sub);
        return;
    }
    sub->place = (struct xtr_place){0};
    xtr_misses_open(agent, sub->network_id);
}

/* What is known stays: a new subscription begins with a full pass. */
static void unfill_network(struct xtr_agent *agent, struct xtr_sub *sub)
{
    xtr_agent_unsubscribe(agent, &sub->request);
    sub->place = (struct xtr_place){0};
    xtr_misses_close(agent, sub->network_id);
}

void xtr_agent_open_network(struct xtr_agent *agent, uint32_t network_id, uint32_t segmentation_id)
{
    if (xtr_mapcache_is_open(agent->cache, network_id))
        return;
    int r = xtr_mapcache_open(agent->cache, network_id, segmentation_id);
    assert(!r);
    (void)r;
    struct xtr_sub *sub = em_calloc(1, sizeof *sub);
    sub->agent = agent;
    sub->network_id = network_id;
    sub->place = xtr_store_recall(agent, network_id);
    em_list_append(&agent->subs, &sub->item);
    fill_network(agent, sub);
    xtr_store_news(agent);
}

static void close_network(struct xtr_agent *agent, struct xtr_sub *sub)
{
    unfill_network(agent, sub);
    xtr_mapcache_close(agent->cache, sub->network_id);
    xtr_store_void(agent);
    em_list_remove(&sub->item);
    free(sub);
}

static void refill(struct xtr_agent *agent, struct xtr_sub *sub)
{
    em_info("network %u is %s from now on", sub->network_id,
            sub->is_resolved ? "subscribed to" : "resolved on misses");
    unfill_network(agent, sub);
    fill_network(agent, sub);
}

void xtr_agent_mind_networks(struct xtr_agent *agent)
{
    EM_FOREACH (sub, &agent->subs, struct xtr_sub, item) {
        if (!xtr_mapcache_has_locals(agent->cache, sub->network_id) &&
            !xtr_agent_is_watched(agent, sub->network_id))
            close_network(agent, sub);
        else if (sub->is_resolved != is_resolved(agent, sub->network_id))
            refill(agent, sub);
    }
}
