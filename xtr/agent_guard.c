/* Map servers that are doubted (guard.h), and what the agent does about it.
 *
 * A pass that lacks too much: what it lacks stays in the map-cache, everybody is told, and as
 * long as there are other servers one of them is asked for the same.
 *
 * A server with another map (another cluster id): its map is not put over ours before it fits
 * (candidate.h); until then its networks are listened to and nothing else, and this node
 * neither registers nor gives up anything.  Among several servers another is tried meanwhile.
 * When it fits it is taken, as passes of a map that is another one. */
#include "agent_misses.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "eidmap/error.h"

#include <stdlib.h>
#include <string.h>

#define ASK_MS 60000 /* between two moves to another server */

/* The feeds of our map */

bool xtr_agent_note_page(struct xtr_agent *agent, struct xtr_place *place,
                         const struct em_feed *page)
{
    bool is_end = page->is_complete && (place->is_in_pass || page->is_start_over);
    if (page->is_start_over) {
        agent->n_passes++;
        place->is_in_pass = true;
    }
    if (page->is_complete)
        place->is_in_pass = false;
    place->revision = place->is_in_pass ? 0 : page->revision;
    if (page->is_start_over || is_end)
        xtr_store_void(agent);
    else if (page->n_changes)
        xtr_store_news(agent);
    else
        xtr_store_later(agent);
    return is_end;
}

static const char *network_name(const struct xtr_agent *agent, uint32_t network_id)
{
    const struct em_network *network = xtr_mapcache_network_by_id(agent->cache, network_id);
    return network ? network->name : "?";
}

static char *describe_doubt(const struct xtr_agent *agent, const struct xtr_doubt *doubt)
{
    unsigned long long n = xtr_mapcache_kept(agent->cache, doubt->network_id);
    const char *map = doubt->is_other_map ? " (a new database)" : "";
    if (!doubt->network_id)
        return em_asprintf("map server %s%s does not show %llu nodes and networks that were "
                           "known: they are kept; 'mapctl xtr accept' lets them go",
                           doubt->server_id, map, n);
    const char *name = network_name(agent, doubt->network_id);
    return em_asprintf("network %s: map server %s%s does not show %llu ports that were known: they "
                       "are kept; 'mapctl xtr accept %s' lets them go",
                       name, doubt->server_id, map, n, name);
}

void xtr_agent_tell_verdict(struct xtr_agent *agent, uint32_t network_id)
{
    const struct xtr_guard *guard = xtr_mapcache_guard(agent->cache);
    const struct xtr_doubt *doubt = xtr_mapcache_doubt(agent->cache, network_id);
    switch (xtr_mapcache_verdict(agent->cache, network_id)) {
    case XTR_BELIEVED:
        return;
    case XTR_DOUBTED:
        if (doubt) {
            char *text = describe_doubt(agent, doubt);
            em_error("%s", text);
            free(text);
        }
        return;
    case XTR_CONFIRMED:
        em_warn("network %u: map server %s confirms what was doubted; what was kept is gone",
                network_id, guard->server_id);
        return;
    }
}

/* Another map */

static bool same_cluster(const uint8_t *a, const uint8_t *b)
{
    return !memcmp(a, b, 16);
}

static void leave_other(struct xtr_agent *agent)
{
    struct xtr_other *other = &agent->other;
    if (other->request)
        em_client_cancel(agent->client, other->request);
    xtr_candidate_fini(&other->networks);
    *other = (struct xtr_other){0};
}

static void take_other(struct xtr_agent *agent, bool is_waived)
{
    struct xtr_guard *guard = xtr_mapcache_guard(agent->cache);
    memcpy(agent->cluster_id, agent->other.cluster_id, sizeof agent->cluster_id);
    leave_other(agent);
    guard->is_other_map = true;
    guard->is_waived = is_waived;
    xtr_mapcache_restart(agent->cache);
    xtr_ports_wake(&agent->ports);
    agent->zero_place = (struct xtr_place){0};
    EM_FOREACH (sub, &agent->subs, struct xtr_sub, item)
        sub->place = (struct xtr_place){0};
    em_warn("the map of %s is taken in place of the one before", agent->server);
    xtr_store_void(agent);
    xtr_agent_subscribe_all(agent);
    xtr_misses_restart(agent, is_waived);
}

static void on_other(void *aux, const struct em_feed *page)
{
    struct xtr_agent *agent = aux;
    struct xtr_other *other = &agent->other;
    if (page->err) {
        em_warn_limited("the feed of nodes and networks is refused: %s", page->message);
        other->request = 0;
        return;
    }
    bool is_first = !other->networks.is_complete;
    xtr_candidate_feed(&other->networks, page);
    if (!other->networks.is_complete)
        return;
    const struct em_network *lack = xtr_candidate_lacks(&other->networks, agent->cache);
    if (!lack)
        take_other(agent, false);
    else if (is_first)
        em_error("%s serves another map than before (a new database) without network %s as it is "
                 "here: nothing of it is taken, what is installed stays; 'mapctl xtr accept' "
                 "takes it",
                 agent->server, lack->name);
    xtr_agent_kick(agent);
}

static void listen_to_other(struct xtr_agent *agent)
{
    int64_t id = em_client_subscribe(agent->client, 0, NULL, 0, on_other, agent);
    agent->other.request = id > 0 ? id : 0;
}

static void meet_other(struct xtr_agent *agent, const struct em_welcome *welcome)
{
    bool is_known =
        agent->other.is_met && same_cluster(agent->other.cluster_id, welcome->cluster_id);
    leave_other(agent);
    xtr_agent_unsubscribe_all(agent);
    agent->other.is_met = true;
    memcpy(agent->other.cluster_id, welcome->cluster_id, sizeof agent->other.cluster_id);
    if (!is_known)
        em_warn("%s serves another map than before (a new database)", welcome->server);
    listen_to_other(agent);
}

/* Another server of the same map than the one that is doubted: what does it show? */
static void ask_again(struct xtr_agent *agent)
{
    const struct xtr_guard *guard = xtr_mapcache_guard(agent->cache);
    for (size_t i = 0; i < guard->n_doubts; i++)
        if (xtr_guard_can_ask(guard, &guard->doubts[i]))
            xtr_agent_subscribe_again(agent, guard->doubts[i].network_id);
}

void xtr_agent_meet(struct xtr_agent *agent, const struct em_welcome *welcome)
{
    static const uint8_t none[16];
    xtr_guard_session(xtr_mapcache_guard(agent->cache), welcome->server_id);
    if (same_cluster(agent->cluster_id, none))
        memcpy(agent->cluster_id, welcome->cluster_id, sizeof agent->cluster_id);
    if (!same_cluster(agent->cluster_id, welcome->cluster_id)) {
        meet_other(agent, welcome);
        return;
    }
    if (agent->other.is_met) {
        em_info("%s serves the map that was known before", welcome->server);
        leave_other(agent);
        xtr_agent_subscribe_all(agent);
    }
    ask_again(agent);
}

/* In time */

static bool is_settled(const struct xtr_agent *agent)
{
    EM_FOREACH (sub, &agent->subs, struct xtr_sub, item)
        if (!xtr_mapcache_is_complete(agent->cache, sub->network_id))
            return false;
    return xtr_mapcache_is_complete(agent->cache, 0) && !agent->other.is_met;
}

/* All that was kept has been shown again, bit by bit. */
static void forget_doubts(struct xtr_agent *agent, const struct xtr_guard *guard)
{
    for (size_t i = guard->n_doubts; i-- > 0;) {
        uint32_t network_id = guard->doubts[i].network_id;
        bool is_open = !network_id || xtr_mapcache_is_open(agent->cache, network_id);
        if (xtr_mapcache_kept(agent->cache, network_id))
            continue;
        xtr_mapcache_let_go(agent->cache, network_id);
        xtr_store_void(agent);
        if (is_open)
            em_info("network %u: nothing that was kept is missing any more", network_id);
    }
}

void xtr_agent_mind_doubts(struct xtr_agent *agent)
{
    struct xtr_guard *guard = xtr_mapcache_guard(agent->cache);
    uint64_t now = em_now_ms();
    forget_doubts(agent, guard);
    if (is_settled(agent))
        guard->is_other_map = guard->is_waived = false;
    if (agent->other.is_met && !agent->other.request)
        listen_to_other(agent);
    if (agent->server && agent->other.networks.is_complete &&
        !xtr_candidate_lacks(&agent->other.networks, agent->cache))
        take_other(agent, false);
    if (!agent->server || agent->config->n_servers < 2 || now < agent->ask_ms ||
        !(agent->other.is_met || xtr_guard_wants_other(guard)))
        return;
    agent->ask_ms = now + ASK_MS;
    em_info("another map server is asked whether it shows the same");
    em_client_fail_over(agent->client);
}

/* By request */

static int accept_other(struct xtr_agent *agent, const char *network)
{
    if (network[0])
        return EM_E_CONFLICT;
    take_other(agent, true);
    return 0;
}

int xtr_agent_accept(struct xtr_agent *agent, const char *network, uint64_t *ret_n)
{
    struct xtr_guard *guard = xtr_mapcache_guard(agent->cache);
    bool has_any = false;
    *ret_n = 0;
    if (agent->other.is_met)
        return agent->server ? accept_other(agent, network) : EM_E_NOT_FOUND;
    for (size_t i = guard->n_doubts; i-- > 0;) {
        uint32_t network_id = guard->doubts[i].network_id;
        if (network[0] && (!network_id || strcmp(network_name(agent, network_id), network)))
            continue;
        has_any = true;
        *ret_n += xtr_mapcache_let_go(agent->cache, network_id);
    }
    if (!has_any)
        return EM_E_NOT_FOUND;
    em_warn("accepted by request: %llu ports, nodes and networks that were kept are let go",
            (unsigned long long)*ret_n);
    xtr_ports_wake(&agent->ports);
    xtr_store_void(agent);
    xtr_agent_kick(agent);
    return 0;
}

/* What people see */

char *xtr_agent_doubt_text(const struct xtr_agent *agent, size_t i)
{
    const struct xtr_guard *guard = xtr_mapcache_guard(agent->cache);
    const struct em_network *lack = NULL;
    if (i < guard->n_doubts)
        return describe_doubt(agent, &guard->doubts[i]);
    if (i > guard->n_doubts || !agent->other.is_met || !agent->other.networks.is_complete ||
        !(lack = xtr_candidate_lacks(&agent->other.networks, agent->cache)))
        return NULL;
    return em_asprintf("%s serves another map (a new database) without network %s as it is here: "
                       "nothing of it is taken; 'mapctl xtr accept' takes it",
                       agent->server ? agent->server : "a map server", lack->name);
}
