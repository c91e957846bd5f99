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

#define PUMP_US 2000 /* of each turn of the loop, for the data plane */
#define TICK_S  1.0

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
    xtr_agent_place_ports(agent);
    /* What is told now leaves first: the data plane may hold the loop for some milliseconds. */
    if (xtr_agent_run_registrar(agent))
        ev_timer_start(agent->loop, &agent->more);
    if (!ev_is_active(&agent->more) && xtr_pump_turn(&agent->pump, PUMP_US))
        ev_timer_start(agent->loop, &agent->more);
    xtr_misses_turn(agent);
    (void)xtr_agent_run_registrar(agent);
    xtr_agent_update_ports(agent);
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
    ev_timer_init(&agent->tick, on_tick, TICK_S, TICK_S);
    agent->kick.data = agent->more.data = agent->tick.data = agent;
    em_saver_init(&agent->saver, agent->loop, xtr_save_put, agent->config->state_dir, on_saved,
                  agent);
    xtr_store_init(agent);
    ev_timer_start(agent->loop, &agent->tick);
}

/* A file that is there and cannot be read now is not written over. */
static int read_saved(struct xtr_agent *agent, struct xtr_saved *ret_saved, char **ret_why)
{
    const char *dir = agent->config->state_dir;
    int r = xtr_save_read(dir, ret_saved);
    if (r == EM_E_MALFORMED) {
        em_error("%s/ports is damaged and was renamed to ports.bad; attached ports are lost", dir);
        r = 0;
    }
    if (r)
        *ret_why =
            em_asprintf("cannot read %s/ports: %s; the attached ports are in it, so see that "
                        "this user can read it, or move it away to start without them",
                        dir, em_strerror(r));
    agent->boot_epoch = xtr_save_next_boot(ret_saved->boot_epoch, em_wall_ms());
    return r;
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
    r = read_saved(agent, &saved, ret_why);
    if (r)
        goto fail;
    xtr_store_open(agent);
    r = xtr_agent_watch_new(agent, ret_why);
    if (!r)
        r = xtr_agent_connect(agent, ret_why);
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
    ev_timer_stop(agent->loop, &agent->tick);
    xtr_underlay_stop(&agent->underlay);
    free(agent->rloc_why);
    xtr_agent_reconcile_fini(agent);
    xtr_misses_free(agent);
    xtr_agent_ovs_free(agent);
    xtr_agent_disconnect(agent);
    xtr_agent_watch_free(agent);
    EM_FOREACH (sub, &agent->subs, struct xtr_sub, item)
        free(sub);
    xtr_candidate_fini(&agent->other.networks);
    xtr_arrivals_close(agent);
    xtr_registrar_fini(&agent->registrar);
    xtr_pump_fini(&agent->pump);
    xtr_ports_fini(&agent->ports);
    xtr_mapcache_free(agent->cache);
    xtr_agent_close_plane(agent);
    for (size_t i = 0; i < XTR_MAX_PROBLEMS; i++)
        free(agent->problems[i]);
    free(agent);
}

void xtr_agent_listen(struct xtr_agent *agent, struct xtr_listener *listener)
{
    em_list_append(&agent->listeners, &listener->item);
}
