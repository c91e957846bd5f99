#include "misses_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOOKS_MAX 256 /* a second, whether frames go to a target: each asks the kernel */

/* The port-id of one of this node's ports, watched. */
struct own {
    struct em_list item;
    struct xtr_agent *agent;
    uint32_t network_id;
    struct em_port_id id;
    int64_t request;
    bool is_migrating; /* the map-cache has the map's record of it, for copies to the target */
};

static struct xtr_agent *agent_of(const struct xtr_target *target)
{
    return em_container_of(target->resolver, struct xtr_misses, resolver)->agent;
}

struct xtr_miss_net *xtr_misses_find(const struct xtr_agent *agent, uint32_t network_id)
{
    EM_FOREACH (net, &agent->misses->nets, struct xtr_miss_net, item)
        if (net->network_id == network_id)
            return net;
    return NULL;
}

/* The map-cache.  Pages have no revision: that of the feed of nodes and networks says what is
 * installed. */

static void feed(struct xtr_agent *agent, uint32_t network_id, const struct em_change *change)
{
    struct em_feed page = {.network_id = network_id,
                           .changes = change,
                           .n_changes = change ? 1 : 0,
                           .is_complete = true};
    xtr_mapcache_feed(agent->cache, &page);
    if (change)
        xtr_store_news(agent);
}

/* A server with another map says nothing of ours, nor does one that does not show the network
 * and is not believed (agent_guard.c). */
static bool is_doubtful(const struct xtr_agent *agent, uint32_t network_id)
{
    return agent->other.is_met || xtr_mapcache_keeps_network(agent->cache, network_id);
}

static void put_port(struct xtr_agent *agent, uint32_t network_id, const struct em_port *port)
{
    struct em_change change = {.object = EM_OBJECT_PORT, .port = port};
    feed(agent, network_id, &change);
}

static struct own *find_own(const struct xtr_miss_net *net, const struct em_port_id *id)
{
    EM_FOREACH (own, &net->owns, struct own, item)
        if (em_port_id_equal(&own->id, id))
            return own;
    return NULL;
}

/* The last who names the port has gone; one that migrates from here is named, too. */
void xtr_misses_remove_port(struct xtr_agent *agent, uint32_t network_id,
                            const struct em_port_id *id)
{
    const struct xtr_miss_net *net = xtr_misses_find(agent, network_id);
    const struct own *own = net ? find_own(net, id) : NULL;
    if (own && own->is_migrating)
        return;
    struct em_change change = {.object = EM_OBJECT_PORT, .is_gone = true, .gone_port = *id};
    feed(agent, network_id, &change);
}

/* Questions and answers */

static void forget(struct xtr_target *target)
{
    struct xtr_agent *agent = agent_of(target);
    uint32_t network_id = target->network_id;
    struct em_port_id gone;
    if (target->request)
        em_client_cancel(agent->client, target->request);
    if (xtr_resolver_drop(target, &gone))
        xtr_misses_remove_port(agent, network_id, &gone);
}

static void take_answer(struct xtr_target *target, const struct em_answer *answer,
                        uint64_t revision)
{
    struct xtr_agent *agent = agent_of(target);
    struct xtr_outcome outcome;
    if (!xtr_resolver_answer(target, answer, revision, em_now_ms(), &outcome))
        return;
    if (outcome.is_found)
        put_port(agent, target->network_id, answer->port);
    if (outcome.has_gone)
        xtr_misses_remove_port(agent, target->network_id, &outcome.gone);
    if (outcome.is_found)
        target->position = xtr_mapcache_tail(agent->cache);
}

static void on_answer(void *aux, const struct em_reply *reply)
{
    struct xtr_target *target = aux;
    struct xtr_agent *agent = agent_of(target);
    struct xtr_miss_net *net = xtr_misses_find(agent, target->network_id);
    bool was_adopting = !target->source && target->state == XTR_TARGET_ASKING;
    if (!reply->err && is_doubtful(agent, target->network_id))
        return;
    if (reply->err) {
        em_warn_limited("resolving in network %u failed: %s", target->network_id, reply->message);
        net->has_failed |= was_adopting;
        net->n_asked -= was_adopting;
        target->request = 0;
        forget(target);
    } else if (reply->n_answers) {
        take_answer(target, &reply->answers[0], reply->revision);
        net->n_asked -= was_adopting && target->state != XTR_TARGET_ASKING;
    }
    xtr_agent_kick(agent);
}

bool xtr_misses_ask(struct xtr_target *target)
{
    struct xtr_agent *agent = agent_of(target);
    int64_t id = em_client_resolve(agent->client, target->network_id, NULL, &target->eid, 1,
                                   EM_RESOLVE_WATCH, on_answer, target);
    target->request = id > 0 ? id : 0;
    if (id <= 0)
        forget(target);
    return id > 0;
}

/* Frames */

static bool is_question(const struct xtr_frame *frame)
{
    return frame->kind == XTR_FRAME_ARP_REQUEST || frame->kind == XTR_FRAME_ND_SOLICIT;
}

/* What the frame wants to know.  Other broadcast asks for nobody. */
static bool wanted(const struct xtr_frame *frame, struct em_eid *ret_eid)
{
    *ret_eid = (struct em_eid){.kind = EM_EID_MAC, .size = EM_MAC_SIZE};
    if (is_question(frame)) {
        ret_eid->kind = frame->target.size == 4 ? EM_EID_IPV4 : EM_EID_IPV6;
        ret_eid->size = frame->target.size;
        memcpy(ret_eid->addr, frame->target.addr, frame->target.size);
    } else {
        memcpy(ret_eid->addr, frame->dst_mac, EM_MAC_SIZE);
    }
    return !em_eid_check(ret_eid, NULL);
}

static void on_frame(void *aux, const uint8_t *bytes, size_t size)
{
    struct xtr_miss_net *net = aux;
    struct xtr_agent *agent = net->agent;
    struct xtr_frame frame;
    struct em_eid eid;
    struct xtr_target *target;
    if (is_doubtful(agent, net->network_id) || !xtr_frame_parse(bytes, size, &frame) ||
        !wanted(&frame, &eid))
        return;
    const struct em_port_id *source =
        xtr_mapcache_local_at(agent->cache, net->network_id, frame.src_mac);
    if (!source)
        return;
    switch (xtr_resolver_miss(&agent->misses->resolver, source, net->network_id, &eid, bytes, size,
                              em_now_ms(), &target)) {
    case XTR_MISS_ASK:
        (void)xtr_misses_ask(target);
        break;
    case XTR_MISS_HELD:
        xtr_agent_kick(agent);
        break;
    case XTR_MISS_FULL:
        em_warn_limited("port %s: more misses than it may cause: some are dropped",
                        xtr_agent_id_text(source));
        break;
    case XTR_MISS_NONE:
        break;
    }
}

/* The guest need not ask again: its question is answered in the name of the one it asked for. */
static void let_go(const struct xtr_miss_net *net, const struct xtr_target *target,
                   const struct xtr_held *held)
{
    uint8_t answer[XTR_FRAME_ANSWER];
    struct xtr_frame frame;
    if (!net->has_tap || !xtr_frame_parse(held->bytes, held->size, &frame))
        return;
    if (is_question(&frame))
        xtr_misstap_write(
            &net->tap, answer,
            xtr_frame_answer(answer, &frame.target, target->mac, &frame.sender, frame.src_mac));
    else
        xtr_misstap_write(&net->tap, held->bytes, held->size);
}

static void let_go_all(struct xtr_agent *agent)
{
    const struct xtr_target *target;
    struct xtr_held *held;
    while ((held = xtr_resolver_take_held(&agent->misses->resolver, xtr_mapcache_done(agent->cache),
                                          &target))) {
        let_go(xtr_misses_find(agent, target->network_id), target, held);
        free(held);
    }
}

/* The miss port */

static void close_tap(struct xtr_miss_net *net)
{
    if (net->has_tap)
        xtr_misstap_stop(&net->tap);
    net->has_tap = false;
    dataplane_miss_close(net->agent->plane, net->network_id);
}

static void on_tap_end(void *aux, int err)
{
    struct xtr_miss_net *net = aux;
    em_warn_limited("network %u: the miss port is gone (%s); making another", net->network_id,
                    em_strerror(err));
    close_tap(net);
}

static void open_tap(struct xtr_miss_net *net)
{
    int fd;
    int r = dataplane_miss_open(net->agent->plane, net->network_id, &fd);
    if (r == -ENOENT)
        return; /* the network has not been put yet */
    if (r && r != net->err)
        em_error("network %u: no miss port, so nothing is resolved: %s", net->network_id,
                 em_strerror(r));
    net->err = r;
    if (r)
        return;
    net->has_tap = true;
    xtr_misstap_start(&net->tap, net->agent->loop, fd, on_frame, on_tap_end, net);
}

/* This node's ports */

/* While it migrates, what other guests here send to it has to go to the target, too. */
static void follow_migration(struct own *own, const struct em_port *seen)
{
    bool was_migrating = own->is_migrating;
    own->is_migrating = false;
    for (size_t i = 0; seen && i < seen->n_locations; i++)
        own->is_migrating |= seen->locations[i].is_pending;
    if (own->is_migrating)
        put_port(own->agent, own->network_id, seen);
    else if (was_migrating &&
             !xtr_resolver_names(&own->agent->misses->resolver, own->network_id, &own->id))
        xtr_misses_remove_port(own->agent, own->network_id, &own->id);
}

static void on_own(void *aux, const struct em_reply *reply)
{
    struct own *own = aux;
    struct xtr_agent *agent = own->agent;
    if (reply->err) {
        own->request = 0; /* asked again with the next tick */
    } else if (agent->other.is_met) {
        return;
    } else if (reply->n_answers) {
        const struct em_port *seen = reply->answers[0].port;
        follow_migration(own, seen);
        if (seen)
            xtr_agent_port_seen(agent, seen);
    }
    xtr_agent_kick(agent);
}

static void watch_own(struct own *own)
{
    struct em_eid eid = {
        .kind = EM_EID_PORT_ID, .size = own->id.size, .name = (const char *)own->id.bytes};
    int64_t id = em_client_resolve(own->agent->client, own->network_id, NULL, &eid, 1,
                                   EM_RESOLVE_WATCH, on_own, own);
    own->request = id > 0 ? id : 0;
}

static void own_free(struct own *own)
{
    if (own->request)
        em_client_cancel(own->agent->client, own->request);
    follow_migration(own, NULL);
    em_list_remove(&own->item);
    free(own);
}

void xtr_misses_attach(struct xtr_agent *agent, const struct xtr_port *port)
{
    struct xtr_miss_net *net = xtr_misses_find(agent, port->network_id);
    if (!net || find_own(net, &port->id))
        return;
    struct own *own = em_calloc(1, sizeof *own);
    own->agent = agent;
    own->network_id = net->network_id;
    own->id = port->id;
    em_list_append(&net->owns, &own->item);
    watch_own(own);
}

void xtr_misses_detach(struct xtr_agent *agent, const struct xtr_port *port)
{
    struct xtr_miss_net *net = xtr_misses_find(agent, port->plane_network);
    struct own *own = net ? find_own(net, &port->id) : NULL;
    if (own)
        own_free(own);
}

/* Networks */

void xtr_misses_open(struct xtr_agent *agent, uint32_t network_id)
{
    struct xtr_miss_net *net = em_calloc(1, sizeof *net);
    net->agent = agent;
    net->network_id = network_id;
    net->position = UINT64_MAX;
    if (xtr_mapcache_is_leaving(agent->cache, network_id))
        net->stands_at = xtr_mapcache_tail(agent->cache);
    em_list_init(&net->owns);
    em_list_append(&agent->misses->nets, &net->item);
    feed(agent, network_id, NULL);
    for (uint32_t i = 0; i < agent->ports.n_items; i++) {
        const struct xtr_port *port = xtr_ports_at(&agent->ports, i);
        if (port && port->plane_network == network_id)
            xtr_misses_attach(agent, port);
    }
}

static void drop_targets(struct xtr_agent *agent, uint32_t network_id)
{
    struct xtr_resolver *resolver = &agent->misses->resolver;
    struct em_port_id gone;
    for (uint32_t i = 0; i < resolver->n_targets; i++) {
        struct xtr_target *target = resolver->targets[i];
        if (!target || target->network_id != network_id)
            continue;
        if (target->request)
            em_client_cancel(agent->client, target->request);
        (void)xtr_resolver_drop(target, &gone);
    }
}

static void net_free(struct xtr_miss_net *net)
{
    drop_targets(net->agent, net->network_id);
    EM_FOREACH (own, &net->owns, struct own, item)
        own_free(own);
    close_tap(net);
    em_list_remove(&net->item);
    free(net->eids);
    free(net);
}

void xtr_misses_close(struct xtr_agent *agent, uint32_t network_id)
{
    struct xtr_miss_net *net = xtr_misses_find(agent, network_id);
    if (net)
        net_free(net);
}

/* Turns */

void xtr_misses_turn(struct xtr_agent *agent)
{
    EM_FOREACH (net, &agent->misses->nets, struct xtr_miss_net, item) {
        if (net->position == UINT64_MAX)
            net->position = xtr_mapcache_tail(agent->cache);
        if (!net->has_tap && !net->err && xtr_mapcache_done(agent->cache) >= net->stands_at)
            open_tap(net);
        xtr_misses_adopt(net);
    }
    let_go_all(agent);
}

/* The least time since a frame went to one of the port's MACs; none of them stands: for ever. */
static uint64_t idle_ms(struct xtr_agent *agent, const struct xtr_target *target)
{
    struct xtr_cursor room;
    struct em_port port;
    uint64_t least = UINT64_MAX, ms;
    if (!xtr_mapcache_find_port(agent->cache, target->network_id, &target->port, &room, &port))
        return least;
    for (size_t i = 0; i < port.n_eids; i++)
        if (port.eids[i].kind == EM_EID_MAC &&
            !dataplane_idle(agent->plane, target->network_id, port.eids[i].addr, &ms) && ms < least)
            least = ms;
    return least;
}

/* Each target twice in its time, so it goes after once to once and a half of it. */
static void age(struct xtr_agent *agent)
{
    struct xtr_resolver *resolver = &agent->misses->resolver;
    uint64_t n = resolver->counts.n_found * 2000ull / resolver->limits.idle_ms + 1;
    for (n = n < LOOKS_MAX ? n : LOOKS_MAX; n > 0; n--) {
        struct xtr_target *target = xtr_resolver_next_found(resolver);
        if (!target)
            return;
        if (target->position > xtr_mapcache_done(agent->cache) || target->n_held ||
            idle_ms(agent, target) < resolver->limits.idle_ms)
            continue;
        resolver->counts.n_aged++;
        forget(target);
    }
}

void xtr_misses_tick(struct xtr_agent *agent)
{
    struct xtr_resolver *resolver = &agent->misses->resolver;
    struct xtr_target *target;
    while ((target = xtr_resolver_next_expired(resolver, em_now_ms())))
        forget(target);
    age(agent);
    xtr_resolver_tidy(resolver, em_now_ms());
    EM_FOREACH (net, &agent->misses->nets, struct xtr_miss_net, item) {
        if (net->err)
            open_tap(net);
        EM_FOREACH (own, &net->owns, struct own, item)
            if (!own->request)
                watch_own(own);
    }
}

static void ask_again(struct xtr_target *target)
{
    struct xtr_agent *agent = agent_of(target);
    struct xtr_miss_net *net = xtr_misses_find(agent, target->network_id);
    bool is_adopting = !target->source && target->state == XTR_TARGET_ASKING;
    if (target->request)
        em_client_cancel(agent->client, target->request);
    if (xtr_misses_ask(target) || !is_adopting)
        return;
    net->n_asked--;
    net->has_failed = true;
}

void xtr_misses_restart(struct xtr_agent *agent, bool is_believed)
{
    struct xtr_resolver *resolver = &agent->misses->resolver;
    xtr_resolver_restart(resolver, is_believed);
    for (uint32_t i = 0; i < resolver->n_targets; i++)
        if (resolver->targets[i])
            ask_again(resolver->targets[i]);
    EM_FOREACH (net, &agent->misses->nets, struct xtr_miss_net, item) {
        feed(agent, net->network_id, NULL);
        EM_FOREACH (own, &net->owns, struct own, item) {
            if (own->request)
                em_client_cancel(agent->client, own->request);
            watch_own(own);
        }
    }
}

/* Life, and what is shown */

void xtr_misses_new(struct xtr_agent *agent)
{
    struct xtr_resolver_limits limits = {
        .rate = agent->config->miss_rate,
        .max_found = agent->config->miss_entries,
        .idle_ms = agent->config->miss_idle_ms,
    };
    agent->misses = em_calloc(1, sizeof *agent->misses);
    agent->misses->agent = agent;
    em_list_init(&agent->misses->nets);
    xtr_resolver_init(&agent->misses->resolver, &limits);
}

void xtr_misses_free(struct xtr_agent *agent)
{
    if (!agent->misses)
        return;
    EM_FOREACH (net, &agent->misses->nets, struct xtr_miss_net, item)
        net_free(net);
    xtr_resolver_fini(&agent->misses->resolver);
    free(agent->misses);
    agent->misses = NULL;
}

struct xtr_resolver_counts xtr_misses_counts(const struct xtr_agent *agent)
{
    return agent->misses->resolver.counts;
}

int xtr_misses_next_problem(const struct xtr_agent *agent, uint32_t *cursor,
                            uint32_t *ret_network_id)
{
    uint32_t i = 0;
    EM_FOREACH (net, &agent->misses->nets, struct xtr_miss_net, item) {
        if (i++ < *cursor || !net->err)
            continue;
        *cursor = i;
        *ret_network_id = net->network_id;
        return net->err;
    }
    return 0;
}
