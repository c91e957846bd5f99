/* The bridge watch's hands: netlink and taps show what happens on the bridges of watched
 * networks, sources/watch.c decides, and its steps are attaches and detaches like any other.
 *
 * A watched network is open as soon as the map has it, so that its bridge is there before the
 * first guest.  What has been lost (a full socket, a network that was not known yet) is made
 * good by dumps, which cost time on big networks: so not too often. */
#include "agent_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "dataplane/learn.h"
#include "sources/watch.h"
#include "tap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAP_RATE    50 /* frames a second of one device, and at once */
#define TAP_BURST   200
#define DUMP_MS     5000 /* at least, between dumps, ... */
#define DUMP_SHARE  50   /* ... and so many times as long as the last one took */
#define TURN_STEPS  256
#define LEARN_LEAST 1024 /* MACs that a bridge may learn beyond the ports */

/* A device on a watched bridge. */
struct ear {
    struct em_list item;
    struct xtr_watcher *watcher;
    uint32_t network_id;
    uint32_t ifindex;
    char device[IFNAMSIZ];
    struct xtr_tap *tap;
};

struct xtr_watcher {
    struct xtr_agent *agent;
    struct dp_learn *learn;
    struct xtr_watch *watch;
    struct em_list ears;
    ev_io io;
    uint32_t *network_ids; /* of each rule, 0: not in the map */
    bool is_behind;        /* a dump is due, ... */
    uint64_t dump_ms;      /* ... but not before */
};

static const struct em_network *watched(const struct xtr_watcher *watcher, uint32_t network_id)
{
    const struct em_network *network =
        xtr_mapcache_network_by_id(watcher->agent->cache, network_id);
    return network && xtr_watch_rule(watcher->watch, network->name) ? network : NULL;
}

/* What guests say */

static bool is_in_subnets(const struct em_network *network, const struct em_ip *ip)
{
    struct em_eid eid = {.kind = ip->size == 4 ? EM_EID_IPV4 : EM_EID_IPV6, .size = ip->size};
    memcpy(eid.addr, ip->addr, ip->size);
    if (ip->size == 16 && ip->addr[0] == 0xfe && (ip->addr[1] & 0xc0) == 0x80)
        return true; /* link-local */
    for (size_t i = 0; i < network->n_subnets; i++)
        if (em_eid_covers(&network->subnets[i], &eid))
            return true;
    return !network->n_subnets;
}

static void claim(struct xtr_watcher *watcher, const struct em_network *network, const uint8_t *mac,
                  const struct em_ip *ip)
{
    if (is_in_subnets(network, ip))
        xtr_watch_claim(watcher->watch, &watcher->agent->ports, network->name, mac, ip,
                        em_now_ms());
}

static void on_frame(void *aux, const struct xtr_frame *frame, const uint8_t *bytes, size_t size)
{
    struct ear *ear = aux;
    struct xtr_watcher *watcher = ear->watcher;
    const struct em_network *network = watched(watcher, ear->network_id);
    struct em_ip ip;
    if (!network)
        return;
    xtr_watch_mac(watcher->watch, &watcher->agent->ports, network->name, ear->device,
                  frame->src_mac, em_now_ms());
    if (xtr_frame_claim(frame, &ip))
        claim(watcher, network, frame->src_mac, &ip);
    xtr_agent_kick(watcher->agent);
}

/* Devices */

static struct ear *find_ear(const struct xtr_watcher *watcher, const char *device)
{
    EM_FOREACH (ear, &watcher->ears, struct ear, item)
        if (!strcmp(ear->device, device))
            return ear;
    return NULL;
}

static void close_ear(struct ear *ear)
{
    if (!ear)
        return;
    em_list_remove(&ear->item);
    xtr_tap_free(ear->tap);
    free(ear);
}

static void on_down(void *aux, int err)
{
    if (err == -ENODEV)
        close_ear(aux);
}

static void open_ear(struct xtr_watcher *watcher, const struct dp_learned *port)
{
    struct ear *ear = em_calloc(1, sizeof *ear);
    struct xtr_tap_config config = {.ifindex = port->ifindex,
                                    .device = port->device,
                                    .rate = TAP_RATE,
                                    .burst = TAP_BURST,
                                    .on_frame = on_frame,
                                    .on_down = on_down,
                                    .aux = ear};
    char *why = NULL;
    ear->watcher = watcher;
    ear->network_id = port->network_id;
    ear->ifindex = port->ifindex;
    memcpy(ear->device, port->device, sizeof ear->device);
    if (xtr_tap_new(watcher->agent->loop, &config, &ear->tap, &why)) {
        em_warn_limited("%s", why);
        free(why);
        free(ear);
        watcher->is_behind = true;
        return;
    }
    em_list_append(&watcher->ears, &ear->item);
}

static void see_port(struct xtr_watcher *watcher, const struct em_network *network,
                     const struct dp_learned *port)
{
    struct ear *ear = find_ear(watcher, port->device);
    if (ear && ear->ifindex == port->ifindex && ear->network_id == port->network_id)
        return;
    close_ear(ear);
    if (xtr_watch_is_open(watcher->watch, &watcher->agent->ports, network->name, port->device))
        open_ear(watcher, port);
}

/* A bridge believes whoever speaks: a MAC that is elsewhere has to be put back, soon. */
static void see_mac(struct xtr_watcher *watcher, const struct em_network *network,
                    const struct dp_learned *learned)
{
    xtr_watch_mac(watcher->watch, &watcher->agent->ports, network->name, learned->device,
                  learned->mac, em_now_ms());
    watcher->agent->pump.is_shaken |=
        xtr_watch_is_away(watcher->watch, network->name, learned->mac);
}

static void on_learned(void *aux, const struct dp_learned *learned)
{
    struct xtr_watcher *watcher = aux;
    const struct em_network *network = watched(watcher, learned->network_id);
    if (!network)
        return;
    switch (learned->kind) {
    case DP_LEARNED_PORT:
        see_port(watcher, network, learned);
        break;
    case DP_LEARNED_NO_PORT:
        close_ear(find_ear(watcher, learned->device));
        xtr_watch_unplugged(watcher->watch, network->name, learned->device);
        break;
    case DP_LEARNED_MAC:
        see_mac(watcher, network, learned);
        break;
    case DP_LEARNED_IP:
        claim(watcher, network, learned->mac, &learned->ip);
        break;
    }
    xtr_agent_kick(watcher->agent);
}

static void on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct xtr_watcher *watcher = w->data;
    int r = dp_learn_read(watcher->learn);
    if (!r)
        return;
    em_warn_limited("events of the bridges were lost (%s): looking at all of them", em_strerror(r));
    watcher->is_behind = true;
    xtr_agent_kick(watcher->agent);
}

static void catch_up(struct xtr_watcher *watcher)
{
    uint64_t begin = em_now_ms();
    if (!watcher->is_behind || begin < watcher->dump_ms)
        return;
    watcher->is_behind = false;
    int r = dp_learn_all(watcher->learn);
    watcher->is_behind |= r != 0;
    watcher->dump_ms = em_now_ms() + DUMP_MS + DUMP_SHARE * (em_now_ms() - begin);
    if (r)
        em_warn_limited("the bridges' tables cannot be read: %s; trying again", em_strerror(r));
}

/* Networks and ports */

static void open_networks(struct xtr_watcher *watcher)
{
    const struct xtr_config *config = watcher->agent->config;
    for (size_t i = 0; i < config->n_watches; i++) {
        const struct em_network *network =
            xtr_mapcache_network(watcher->agent->cache, config->watches[i].network);
        uint32_t id = network ? network->id : 0;
        if (network)
            xtr_agent_open_network(watcher->agent, id, xtr_config_segment(config, network->name));
        if (id != watcher->network_ids[i] && id) {
            watcher->is_behind = true;
            watcher->dump_ms = 0;
            xtr_watch_number(watcher->watch, network->name, id);
        }
        watcher->network_ids[i] = id;
        if (id)
            (void)dp_learn_limit(watcher->learn, id, LEARN_LEAST + config->watches[i].max_ports);
    }
}

bool xtr_agent_is_watched(const struct xtr_agent *agent, uint32_t network_id)
{
    return agent->watcher && watched(agent->watcher, network_id);
}

static void attach(struct xtr_watcher *watcher, const struct xtr_wish *wish)
{
    const struct xtr_port *port;
    char why[EM_ADDR_WHY] = "";
    int r = xtr_agent_attach(watcher->agent, wish, &port, why);
    if (!r)
        return;
    em_warn_limited("port %s: %s", xtr_agent_id_text(&wish->id), why[0] ? why : em_strerror(r));
    xtr_watch_refused(watcher->watch, &wish->id, em_now_ms());
}

static void ask(struct xtr_watcher *watcher, const struct xtr_watch_action *action)
{
    uint64_t age_ms = UINT64_MAX;
    (void)dp_learn_age(watcher->learn, action->wish.device, action->mac, &age_ms);
    xtr_watch_heard(watcher->watch, action->wish.network, action->mac, age_ms, em_now_ms());
}

/* The answer comes as a claim. */
static void probe(struct xtr_watcher *watcher, const struct xtr_watch_action *action)
{
    struct ear *ear = find_ear(watcher, action->wish.device);
    uint8_t bytes[XTR_FRAME_PROBE], own_mac[EM_MAC_SIZE];
    if (!ear)
        return;
    xtr_tap_mac(ear->tap, own_mac);
    size_t size = xtr_frame_probe(bytes, &action->ip, action->mac, own_mac);
    (void)xtr_tap_send(ear->tap, bytes, size); /* a loss is made good by the next */
}

void xtr_agent_watch_turn(struct xtr_agent *agent)
{
    struct xtr_watcher *watcher = agent->watcher;
    struct xtr_watch_action action;
    if (!watcher)
        return;
    open_networks(watcher);
    catch_up(watcher);
    for (int i = 0; i < TURN_STEPS; i++) {
        switch (xtr_watch_next(watcher->watch, em_now_ms(), &action)) {
        case XTR_WATCH_NONE:
            return;
        case XTR_WATCH_ATTACH:
            attach(watcher, &action.wish);
            break;
        case XTR_WATCH_DETACH:
            (void)xtr_agent_detach(agent, &action.wish.id);
            break;
        case XTR_WATCH_ASK:
            ask(watcher, &action);
            break;
        case XTR_WATCH_PROBE:
            probe(watcher, &action);
            break;
        }
    }
    xtr_agent_kick(agent);
}

/* Other sources and the map */

static bool is_in_the_way(const struct xtr_port *port, const struct xtr_wish *wish)
{
    if (!strcmp(port->device, wish->device))
        return true;
    if (strcmp(port->network, wish->network) != 0)
        return false;
    for (size_t i = 0; i < port->n_eids; i++)
        for (size_t k = 0; k < wish->n_eids; k++)
            if (!em_eid_compare(&port->eids[i], &wish->eids[k]))
                return true;
    return false;
}

/* One of the same port-id becomes the other source's as it is. */
bool xtr_agent_watch_yield(struct xtr_agent *agent, const struct xtr_wish *wish)
{
    struct xtr_watcher *watcher = agent->watcher;
    bool has_yielded = false;
    if (!watcher || wish->source == XTR_SOURCE_WATCH)
        return false;
    close_ear(find_ear(watcher, wish->device));
    xtr_watch_forget(watcher->watch, &wish->id);
    for (uint32_t i = 0; i < agent->ports.n_items; i++) {
        const struct xtr_port *port = xtr_ports_at(&agent->ports, i);
        if (!port || port->source != XTR_SOURCE_WATCH || !is_in_the_way(port, wish) ||
            port == xtr_ports_find(&agent->ports, &wish->id))
            continue;
        struct em_port_id id = port->id;
        xtr_watch_forget(watcher->watch, &id);
        (void)xtr_agent_detach(agent, &id);
        has_yielded = true;
    }
    return has_yielded;
}

bool xtr_agent_watch_conflict(struct xtr_agent *agent, const struct em_reply *reply,
                              struct em_port_id *ret_id)
{
    const struct xtr_registrar *registrar = &agent->registrar;
    size_t i;
    if (!agent->watcher || reply->err != EM_E_CONFLICT || reply->record >= registrar->n ||
        !reply->field || sscanf(reply->field, "claims[%*u].port.eids[%zu]", &i) != 1)
        return false;
    const struct xtr_sent *sent = &registrar->sent[reply->record];
    const struct xtr_port *port = xtr_ports_find(&agent->ports, &sent->id);
    if (!port || port->source != XTR_SOURCE_WATCH || port->version != sent->version ||
        i >= port->n_eids)
        return false;
    *ret_id = port->id;
    return xtr_watch_conflict(agent->watcher->watch, &port->id, &port->eids[i], reply->current,
                              em_now_ms());
}

void xtr_agent_watch_refused(struct xtr_agent *agent, const struct xtr_port *port)
{
    if (!agent->watcher || port->source != XTR_SOURCE_WATCH)
        return;
    xtr_watch_refused(agent->watcher->watch, &port->id, em_now_ms());
    xtr_agent_kick(agent);
}

bool xtr_agent_watch_restore(struct xtr_agent *agent, const struct xtr_wish *wish)
{
    return agent->watcher && xtr_watch_rule(agent->watcher->watch, wish->network);
}

void xtr_agent_watch_restored(struct xtr_agent *agent, const struct xtr_port *port)
{
    if (port->source == XTR_SOURCE_WATCH)
        xtr_watch_restore(agent->watcher->watch, port, em_now_ms());
}

/* What is shown */

bool xtr_agent_watch_view(const struct xtr_agent *agent, size_t i, struct xtr_watch_view *ret_view)
{
    const struct xtr_watcher *watcher = agent->watcher;
    if (!watcher || i >= agent->config->n_watches)
        return false;
    const struct xtr_config_watch *rule = &agent->config->watches[i];
    struct xtr_watch_stats stats = xtr_watch_stats(watcher->watch, rule->network);
    *ret_view = (struct xtr_watch_view){.network = rule->network,
                                        .network_id = watcher->network_ids[i],
                                        .n_ports = stats.n_ports,
                                        .max_ports = rule->max_ports,
                                        .n_over = stats.n_over,
                                        .n_conflicts = stats.n_conflicts};
    EM_FOREACH (ear, &watcher->ears, struct ear, item) {
        if (ear->network_id != ret_view->network_id)
            continue;
        struct xtr_tap_stats tap = xtr_tap_stats(ear->tap);
        ret_view->n_devices++;
        ret_view->n_bad += tap.n_bad;
        ret_view->n_dropped += tap.n_dropped;
    }
    return true;
}

/* Life */

static void on_tell(void *aux, const char *text)
{
    em_warn_limited("%s", text);
}

int xtr_agent_watch_new(struct xtr_agent *agent, char **ret_why)
{
    const struct xtr_config *config = agent->config;
    struct dp_learn *learn;
    if (!config->n_watches)
        return 0;
    int r = xtr_tap_check(ret_why);
    if (r)
        return r;
    struct xtr_watcher *watcher = em_calloc(1, sizeof *watcher);
    r = dp_learn_open(on_learned, watcher, &learn);
    if (r) {
        *ret_why = em_asprintf("the bridges cannot be watched: %s", em_strerror(r));
        free(watcher);
        return r;
    }
    watcher->agent = agent;
    watcher->learn = learn;
    watcher->watch =
        xtr_watch_new(config->node_id, config->watches, config->n_watches, on_tell, watcher);
    watcher->network_ids = em_calloc(config->n_watches, sizeof *watcher->network_ids);
    em_list_init(&watcher->ears);
    ev_io_init(&watcher->io, on_readable, dp_learn_fd(learn), EV_READ);
    watcher->io.data = watcher;
    ev_io_start(agent->loop, &watcher->io);
    agent->watcher = watcher;
    return 0;
}

void xtr_agent_watch_free(struct xtr_agent *agent)
{
    struct xtr_watcher *watcher = agent->watcher;
    if (!watcher)
        return;
    EM_FOREACH (ear, &watcher->ears, struct ear, item)
        close_ear(ear);
    ev_io_stop(agent->loop, &watcher->io);
    xtr_watch_free(watcher->watch);
    dp_learn_close(watcher->learn);
    free(watcher->network_ids);
    free(watcher);
}
