/* The data plane against its shadow: by the clock, when the kernel's news or answers say that
 * something is missing, and when a person asks.  Each is a walk in turns of a millisecond, so
 * that a heartbeat waits for no more than that however much there is to compare; one that
 * nobody waits for leaves two thirds of the time to others.
 *
 * A check of our own repairs.  It ends with a look at the kernel's limits, and has what
 * strangers blocked tried again: they may have gone. */
#include "agent_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define STEP_US      1000
#define PAUSE_S      0.002
#define DISTURBED_MS 1000 /* at least, between the repairs of disturbances, ... */
#define SHARE        10   /* ... and so many times as long as the last one took */
#define MAX_TOLD     8    /* differences of one check in the log */

struct xtr_check {
    struct em_list item;
    struct xtr_agent *agent;
    struct dp_check *walk;
    bool is_repair;
    dp_visit_fn *visit;
    xtr_agent_check_fn *on_end;
    void *aux;
    uint64_t begin_ms, n_repaired;
};

static void on_difference(void *aux, const struct dp_difference *difference)
{
    struct xtr_check *check = aux;

    check->n_repaired += check->is_repair && strcmp(difference->kind, "foreign") != 0;
    check->visit(check->aux, difference);
}

static void check_free(struct xtr_check *check, struct dp_check_result *ret_result)
{
    *ret_result = dataplane_check_end(check->agent->plane, check->walk);
    check->agent->n_drift += check->n_repaired;
    em_list_remove(&check->item);
    free(check);
}

static void plan(struct xtr_agent *agent)
{
    struct xtr_reconcile *reconcile = &agent->reconcile;

    if (em_list_is_empty(&reconcile->checks) || ev_is_active(&reconcile->step))
        return;
    EM_FOREACH (check, &reconcile->checks, struct xtr_check, item)
        if (check != reconcile->own) {
            ev_timer_set(&reconcile->step, 0, 0);
            ev_timer_start(agent->loop, &reconcile->step);
            return;
        }
    ev_timer_set(&reconcile->step, PAUSE_S, 0);
    ev_timer_start(agent->loop, &reconcile->step);
}

struct xtr_check *xtr_agent_check_start(struct xtr_agent *agent, bool is_repair, dp_visit_fn *visit,
                                        xtr_agent_check_fn *on_end, void *aux)
{
    struct xtr_check *check = em_calloc(1, sizeof *check);

    *check = (struct xtr_check){.agent = agent,
                                .is_repair = is_repair,
                                .visit = visit,
                                .on_end = on_end,
                                .aux = aux,
                                .begin_ms = em_now_ms()};
    check->walk = dataplane_check_start(agent->plane, is_repair, on_difference, check);
    em_list_append(&agent->reconcile.checks, &check->item);
    plan(agent);
    return check;
}

void xtr_agent_check_cancel(struct xtr_check *check)
{
    struct dp_check_result result;
    if (check)
        check_free(check, &result);
}

/* The end may begin another, but not free this one. */
static void step_check(struct xtr_agent *agent, struct xtr_check *check)
{
    if (dataplane_check_step(agent->plane, check->walk, STEP_US))
        return;
    xtr_agent_check_fn *on_end = check->on_end;
    void *aux = check->aux;
    /* To try all again is long work: for a person, or where there is something to win. */
    bool is_forgiven =
        check->is_repair && (check != agent->reconcile.own || agent->pump.n_foreign > 0);
    struct dp_check_result result;
    check_free(check, &result);
    if (is_forgiven) {
        xtr_pump_forgive(&agent->pump);
        xtr_agent_kick(agent);
    }
    on_end(aux, &result);
}

static void on_step(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct xtr_agent *agent = w->data;
    if (em_list_is_empty(&agent->reconcile.checks))
        return; /* who wanted it has gone */
    struct xtr_check *first = em_container_of(agent->reconcile.checks.next, struct xtr_check, item);

    /* One a turn, and each in its turn. */
    em_list_remove(&first->item);
    em_list_append(&agent->reconcile.checks, &first->item);
    step_check(agent, first);
    plan(agent);
}

/* Limits of the kernel */

static bool is_known(const struct xtr_reconcile *reconcile, const char *object)
{
    for (size_t i = 0; i < reconcile->n_limits; i++)
        if (!strcmp(reconcile->limits[i].object, object))
            return true;
    return false;
}

struct limits {
    const struct xtr_reconcile *old;
    struct xtr_limit *items;
    size_t n;
};

static void on_limit(void *aux, const char *object, const char *text)
{
    struct limits *all = aux;

    if (!is_known(all->old, object))
        em_warn("%s", text);
    all->items = em_realloc(all->items, (all->n + 1) * sizeof *all->items);
    all->items[all->n++] = (struct xtr_limit){em_strdup(object), em_strdup(text)};
}

static void forget_limits(struct xtr_reconcile *reconcile)
{
    for (size_t i = 0; i < reconcile->n_limits; i++) {
        free(reconcile->limits[i].object);
        free(reconcile->limits[i].text);
    }
    free(reconcile->limits);
}

static void look_at_limits(struct xtr_agent *agent)
{
    struct limits all = {.old = &agent->reconcile};

    dataplane_limits(agent->plane, on_limit, &all);
    forget_limits(&agent->reconcile);
    agent->reconcile.limits = all.items;
    agent->reconcile.n_limits = all.n;
}

/* By the clock and after disturbances */

static void on_drift(void *aux, const struct dp_difference *difference)
{
    struct xtr_reconcile *reconcile = &((struct xtr_agent *)aux)->reconcile;

    if (strcmp(difference->kind, "foreign") != 0 && ++reconcile->n_found <= MAX_TOLD)
        em_warn("network %u: %s %s: %s", difference->network_id, difference->table,
                difference->kind, difference->entry);
}

static void on_reconciled(void *aux, const struct dp_check_result *result)
{
    struct xtr_agent *agent = aux;
    struct xtr_reconcile *reconcile = &agent->reconcile;
    uint64_t now = em_now_ms(), took = now - reconcile->begin_ms;

    reconcile->own = NULL;
    reconcile->n_done++;
    reconcile->end_ms = now;
    reconcile->took_ms = took;
    reconcile->not_before_ms = now + DISTURBED_MS + SHARE * took;
    if (reconcile->n_found)
        em_warn("what xtr had put into the kernel was taken out by somebody: %llu differences%s",
                (unsigned long long)reconcile->n_found, result->err ? "" : ", repaired");
    if (result->err)
        em_warn_limited("repairing the kernel's tables: %s; trying again",
                        em_strerror(result->err));
    if (result->n_blocked > reconcile->n_blocked)
        em_warn("%llu entries are as a stranger has set them and stay so; see 'mapctl xtr check'",
                (unsigned long long)result->n_blocked);
    reconcile->n_blocked = result->n_blocked;
    em_debug("reconciled %llu entries in %llu ms", (unsigned long long)result->n_compared,
             (unsigned long long)took);
    look_at_limits(agent);
}

static void put_again(struct xtr_agent *agent, const char *device)
{
    for (struct xtr_port *port = xtr_ports_on(&agent->ports, device); port;
         port = xtr_ports_next_on(&agent->ports, port))
        xtr_mapcache_touch(agent->cache, &port->id);
}

void xtr_agent_reconcile_tick(struct xtr_agent *agent)
{
    struct xtr_reconcile *reconcile = &agent->reconcile;
    char device[IFNAMSIZ];
    uint64_t now = em_now_ms();

    agent->pump.is_shaken |= dataplane_is_disturbed(agent->plane);
    while (dataplane_lost(agent->plane, device))
        put_again(agent, device);
    bool is_due = agent->pump.is_shaken ? now >= reconcile->not_before_ms
                                        : now >= reconcile->end_ms + agent->config->reconcile_ms;
    if (reconcile->own || !is_due)
        return;
    agent->pump.is_shaken = false;
    reconcile->begin_ms = now;
    reconcile->n_found = 0;
    reconcile->own = xtr_agent_check_start(agent, true, on_drift, on_reconciled, agent);
}

void xtr_agent_reconcile_init(struct xtr_agent *agent)
{
    struct xtr_reconcile *reconcile = &agent->reconcile;

    em_list_init(&reconcile->checks);
    ev_timer_init(&reconcile->step, on_step, 0, 0);
    reconcile->step.data = agent;
    reconcile->end_ms = em_now_ms();
}

void xtr_agent_reconcile_fini(struct xtr_agent *agent)
{
    struct xtr_reconcile *reconcile = &agent->reconcile;

    EM_FOREACH (check, &reconcile->checks, struct xtr_check, item)
        xtr_agent_check_cancel(check);
    ev_timer_stop(agent->loop, &reconcile->step);
    forget_limits(reconcile);
}
