/* Session, feeds and requests come in as callbacks; each notes its fact and kicks.  turn()
 * then does, in this order: put every port where it belongs, move operations to the data
 * plane, tell the map what is due, draw the ports' conclusions, sweep.
 *
 * A port is registered only after its device has been found: the map must not lead traffic
 * to a host that cannot deliver it.  Where nobody sends to it yet it is enough
 * that the switch has the device. */
#include "agent_misses.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "rloc.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PUMP_US       2000 /* of each turn of the loop, for the data plane */
#define TICK_S        1.0
#define DEFAULT_LEASE 15000u

void xtr_agent_kick(struct xtr_agent *agent)
{
    ev_feed_event(agent->loop, &agent->kick, EV_CUSTOM);
}

void xtr_agent_save_soon(struct xtr_agent *agent)
{
    agent->is_unsaved = true;
    xtr_agent_kick(agent);
}

/* A port that could not be saved is no reason to hold an attach back for ever: it is told
 * as a problem, and tried again with the next tick. */
static void on_saved(void *aux, int err)
{
    struct xtr_agent *agent = aux;
    if (err != agent->save_err)
        xtr_ports_wake(&agent->ports);
    if (err && err != agent->save_err)
        em_error("cannot save the ports in %s: %s; they would be lost with a restart",
                 agent->config->state_dir, em_strerror(err));
    agent->save_err = err;
    xtr_ports_saved(&agent->ports);
    xtr_agent_kick(agent);
}

static void save_now(struct xtr_agent *agent)
{
    agent->is_unsaved = false;
    xtr_ports_saving(&agent->ports);
    on_saved(agent, xtr_save_write(agent->config->state_dir, &agent->ports, agent->boot_epoch));
}

/* What changes while one write is under way goes with the next. */
static void save_beside(struct xtr_agent *agent)
{
    struct em_buf bytes;
    if (!agent->is_unsaved || agent->saver.is_busy)
        return;
    agent->is_unsaved = false;
    xtr_ports_saving(&agent->ports);
    xtr_save_pack(&agent->ports, agent->boot_epoch, &bytes);
    em_saver_start_take(&agent->saver, &bytes);
}

/* Feeds */

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

void xtr_agent_on_zero(void *aux, const struct em_feed *page)
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

void xtr_agent_on_feed(void *aux, const struct em_feed *page)
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

/* Ports and the data plane */

void xtr_agent_leave_plane(struct xtr_agent *agent, struct xtr_port *port)
{
    if (!port->plane_network)
        return;
    xtr_misses_detach(agent, port);
    xtr_mapcache_detach(agent->cache, &port->id);
    xtr_port_unplugged(port);
    port->plane_network = 0;
}

/* Somebody else has plugged its device, and will unplug it. */
static bool is_borrowed(const struct xtr_port *port)
{
    return port->source == XTR_SOURCE_WATCH || port->source == XTR_SOURCE_OVS;
}

static void enter_plane(struct xtr_agent *agent, struct xtr_port *port)
{
    if (port->plane_network == port->network_id && port->plane_version == port->version)
        return;
    if (port->plane_network != port->network_id)
        xtr_agent_leave_plane(agent, port);
    xtr_agent_open_network(agent, port->network_id,
                           xtr_config_segment(agent->config, port->network));
    if (port->vlan)
        xtr_mapcache_attach_child(agent->cache, &port->id, port->network_id, port->device,
                                  port->vlan, port->is_pending, port->eids, port->n_eids);
    else
        (port->is_pending    ? xtr_mapcache_attach_pending
         : is_borrowed(port) ? xtr_mapcache_attach_borrowed
                             : xtr_mapcache_attach)(agent->cache, &port->id, port->network_id,
                                                    port->device, port->eids, port->n_eids);
    xtr_misses_attach(agent, port);
    port->plane_network = port->network_id;
    port->plane_version = port->version;
}

static void place_port(struct xtr_agent *agent, struct xtr_port *port)
{
    const struct em_network *network = xtr_mapcache_network(agent->cache, port->network);
    uint32_t own = xtr_config_segment(agent->config, port->network);
    if (network)
        xtr_port_network(port, network->id, own ? own : network->segmentation_id);
    else
        xtr_port_network(port, 0, 0);
    port->is_kept = network && xtr_mapcache_keeps_network(agent->cache, network->id);
    if (network && !port->is_refused)
        enter_plane(agent, port);
    else
        xtr_agent_leave_plane(agent, port);
}

static void refill(struct xtr_agent *agent, struct xtr_sub *sub)
{
    em_info("network %u is %s from now on", sub->network_id,
            sub->is_resolved ? "subscribed to" : "resolved on misses");
    unfill_network(agent, sub);
    fill_network(agent, sub);
}

static void look_at_networks(struct xtr_agent *agent)
{
    EM_FOREACH (sub, &agent->subs, struct xtr_sub, item) {
        if (!xtr_mapcache_has_locals(agent->cache, sub->network_id) &&
            !xtr_agent_is_watched(agent, sub->network_id))
            close_network(agent, sub);
        else if (sub->is_resolved != is_resolved(agent, sub->network_id))
            refill(agent, sub);
    }
}

static void place_those(struct xtr_agent *agent, bool are_children)
{
    XTR_FOREACH_AWAKE (port, &agent->ports)
        if (xtr_port_is_child(port) == are_children)
            place_port(agent, port);
}

/* A device is plugged in by the parent of those behind it. */
static void place_ports(struct xtr_agent *agent)
{
    place_those(agent, false);
    place_those(agent, true);
    look_at_networks(agent);
    xtr_store_recalled(agent);
}

static void log_port(const struct xtr_port *port)
{
    if (port->phase == XTR_REFUSED)
        em_warn("port %s: refused: %s", xtr_agent_id_text(&port->id), port->problem);
    else if (port->phase == XTR_WAITING)
        em_info("port %s: waiting: %s", xtr_agent_id_text(&port->id), port->problem);
    else if (port->phase == XTR_PENDING)
        em_info("port %s: pending on %s until the guest is there", xtr_agent_id_text(&port->id),
                port->device);
    else if (port->phase == XTR_INSTALLED)
        em_info("port %s: installed on %s", xtr_agent_id_text(&port->id), port->device);
    else
        em_debug("port %s: %s", xtr_agent_id_text(&port->id), xtr_phase_name(port->phase));
}

void xtr_agent_tell(struct xtr_agent *agent, const struct em_port_id *id,
                    const struct xtr_port *port)
{
    EM_FOREACH (listener, &agent->listeners, struct xtr_listener, item)
        listener->on_port(listener->aux, id, port);
}

static void update_ports(struct xtr_agent *agent)
{
    struct xtr_facts facts = {
        .is_up = agent->registrar.session != XTR_SESSION_DOWN,
        .knows_map = xtr_mapcache_is_complete(agent->cache, 0),
        .done = xtr_mapcache_done(agent->cache),
        .tail = xtr_mapcache_tail(agent->cache),
        .save_err = agent->save_err,
        .now_us = em_now_us(),
    };
    XTR_FOREACH_AWAKE (port, &agent->ports) {
        facts.is_complete =
            port->plane_network && xtr_mapcache_is_complete(agent->cache, port->plane_network);
        if (!xtr_port_update(port, &facts))
            continue;
        agent->is_trunk_due = true;
        log_port(port);
        xtr_agent_tell(agent, &port->id, port);
        if (port->phase == XTR_REFUSED)
            xtr_agent_watch_refused(agent, port);
    }
}

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

static void on_withdrawn(void *aux, const struct em_reply *reply)
{
    struct xtr_agent *agent = aux;
    agent->request = 0;
    xtr_registrar_withdrawn(&agent->registrar, reply->err, em_now_ms());
    xtr_agent_kick(agent);
}

static void on_ended(void *aux, const struct em_reply *reply)
{
    struct xtr_agent *agent = aux;
    agent->request = 0;
    if (!reply->err && reply->n_withdrawn)
        em_info("%u locations of an earlier run were withdrawn", reply->n_withdrawn);
    xtr_registrar_ended(&agent->registrar, reply->err, em_now_ms());
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
static bool run_registrar(struct xtr_agent *agent)
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
    if (agent->heartbeat)
        return;
    uint64_t installed = agent->other.is_met ? 0 : xtr_mapcache_installed(agent->cache);
    int64_t id = em_client_heartbeat(agent->client, installed, on_heartbeat, agent);
    agent->heartbeat = id > 0 ? id : 0;
}

/* Turns */

/* A call does a part.  What fails is tried again. */
static bool is_all_swept(struct xtr_agent *agent, uint32_t network_id)
{
    int n = dataplane_sweep(agent->plane, network_id);
    if (n > 0)
        ev_timer_start(agent->loop, &agent->more);
    return n == 0;
}

/* What an earlier run left and the map does not have goes, once the snapshots are complete
 * and the data plane has been told of all that is in them. */
static void sweep(struct xtr_agent *agent)
{
    bool is_all =
        agent->registrar.session == XTR_SESSION_STEADY && xtr_mapcache_is_complete(agent->cache, 0);
    EM_FOREACH (sub, &agent->subs, struct xtr_sub, item) {
        if (sub->is_resolved)
            sub->has_end = xtr_misses_is_adopted(agent, sub->network_id);
        if (!sub->is_swept && sub->has_end && xtr_mapcache_done(agent->cache) >= sub->end) {
            sub->is_swept = is_all_swept(agent, sub->network_id);
        }
        is_all &= sub->is_swept;
    }
    if (!is_all || agent->is_swept ||
        xtr_mapcache_done(agent->cache) != xtr_mapcache_tail(agent->cache))
        return;
    agent->is_swept = is_all_swept(agent, 0);
}

static void turn(struct xtr_agent *agent)
{
    save_beside(agent);
    xtr_agent_watch_turn(agent);
    xtr_agent_ovs_turn(agent);
    xtr_agent_trunk_turn(agent);
    place_ports(agent);
    /* What is told now leaves first: the data plane may hold the loop for some milliseconds. */
    if (run_registrar(agent))
        ev_timer_start(agent->loop, &agent->more);
    if (!ev_is_active(&agent->more) && xtr_pump_turn(&agent->pump, PUMP_US))
        ev_timer_start(agent->loop, &agent->more);
    xtr_misses_turn(agent);
    (void)run_registrar(agent);
    update_ports(agent);
    xtr_arrivals_update(agent);
    xtr_ports_rest(&agent->ports);
    sweep(agent);
    xtr_store_turn(agent);
}

static void on_kick(struct ev_loop *loop, ev_prepare *w, int revents)
{
    turn(w->data);
}

static void on_more(struct ev_loop *loop, ev_timer *w, int revents)
{
    turn(w->data);
}

static void on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct xtr_agent *agent = w->data;
    agent->is_trunk_due = true;
    xtr_ports_wake(&agent->ports);
    if (!agent->zero)
        xtr_agent_subscribe_zero(agent);
    EM_FOREACH (sub, &agent->subs, struct xtr_sub, item)
        if (!sub->request)
            xtr_agent_subscribe(agent, sub);
    xtr_agent_mind_doubts(agent);
    xtr_misses_tick(agent);
    agent->is_unsaved |= agent->save_err != 0;
    xtr_agent_probe_tick(agent);
    xtr_agent_reconcile_tick(agent);
    xtr_pump_retry(&agent->pump);
    turn(agent);
}

/* Life */

static void start_watchers(struct xtr_agent *agent)
{
    ev_prepare_init(&agent->kick, on_kick);
    ev_timer_init(&agent->more, on_more, 0, 0);
    ev_timer_init(&agent->beat, on_beat, 0, 0);
    ev_timer_init(&agent->tick, on_tick, TICK_S, TICK_S);
    agent->kick.data = agent->more.data = agent->beat.data = agent->tick.data = agent;
    em_saver_init(&agent->saver, agent->loop, xtr_save_put, agent->config->state_dir, on_saved,
                  agent);
    xtr_store_init(agent);
    ev_timer_start(agent->loop, &agent->tick);
}

static int open_client(struct xtr_agent *agent, char **ret_why)
{
    static const struct em_client_events events = {.on_up = on_up, .on_down = on_down};
    const struct xtr_config *config = agent->config;
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

static void read_saved(struct xtr_agent *agent, struct xtr_saved *ret_saved)
{
    int r = xtr_save_read(agent->config->state_dir, ret_saved);
    if (r == EM_E_MALFORMED)
        em_error("%s/ports is damaged and was renamed to ports.bad; attached ports are lost",
                 agent->config->state_dir);
    else if (r)
        em_error("cannot read %s/ports: %s", agent->config->state_dir, em_strerror(r));
    agent->boot_epoch = xtr_save_next_boot(ret_saved->boot_epoch, em_wall_ms());
}

int xtr_agent_new(struct ev_loop *loop, const struct xtr_config *config,
                  struct xtr_agent **ret_agent, char **ret_why)
{
    struct xtr_agent *agent = em_calloc(1, sizeof *agent);
    struct xtr_saved saved;
    agent->loop = loop;
    agent->config = config;
    agent->start_ms = agent->down_ms = em_now_ms();
    em_list_init(&agent->subs);
    em_list_init(&agent->arrivals);
    em_list_init(&agent->listeners);
    xtr_ports_init(&agent->ports);
    xtr_registrar_init(&agent->registrar);
    start_watchers(agent);
    xtr_agent_reconcile_init(agent);
    xtr_misses_new(agent);
    int r = xtr_agent_open_plane(agent, ret_why);
    if (r)
        goto fail;
    xtr_pump_init(&agent->pump, agent->plane, agent->cache, &agent->ports);
    read_saved(agent, &saved);
    xtr_store_open(agent);
    r = xtr_agent_watch_new(agent, ret_why);
    if (!r)
        r = open_client(agent, ret_why);
    if (!r)
        xtr_agent_ovs_new(agent);
    if (!r) {
        xtr_agent_attach_configured(agent, config, &saved);
        xtr_agent_restore_attached(agent, &saved);
        xtr_agent_trunk_restore(agent, &saved);
        save_now(agent);
    }
    xtr_saved_free(&saved);
    if (r)
        goto fail;
    xtr_agent_watch_underlay(agent);
    *ret_agent = agent;
    return 0;
fail:
    xtr_agent_free(agent);
    return r;
}

void xtr_agent_free(struct xtr_agent *agent)
{
    if (!agent)
        return;
    xtr_agent_probe_close(agent);
    em_saver_fini(&agent->saver);
    if (agent->is_unsaved || agent->saver.err)
        save_now(agent);
    xtr_store_close(agent);
    ev_clear_pending(agent->loop, &agent->kick);
    ev_timer_stop(agent->loop, &agent->more);
    ev_timer_stop(agent->loop, &agent->beat);
    ev_timer_stop(agent->loop, &agent->tick);
    xtr_underlay_stop(&agent->underlay);
    free(agent->rloc_why);
    xtr_agent_reconcile_fini(agent);
    xtr_misses_free(agent);
    xtr_agent_ovs_free(agent);
    em_client_free(agent->client);
    xtr_agent_watch_free(agent);
    EM_FOREACH (sub, &agent->subs, struct xtr_sub, item)
        free(sub);
    xtr_candidate_fini(&agent->other.networks);
    xtr_arrivals_close(agent);
    xtr_registrar_fini(&agent->registrar);
    xtr_ports_fini(&agent->ports);
    xtr_mapcache_free(agent->cache);
    xtr_agent_close_plane(agent);
    for (size_t i = 0; i < XTR_MAX_PROBLEMS; i++)
        free(agent->problems[i]);
    free(agent->server);
    free(agent->down_why);
    free(agent);
}

void xtr_agent_listen(struct xtr_agent *agent, struct xtr_listener *listener)
{
    em_list_append(&agent->listeners, &listener->item);
}
