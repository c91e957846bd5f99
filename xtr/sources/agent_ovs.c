/* The hands of the source that is Open vSwitch: its database shows what is plugged into the bridge,
 * sources/ovs.c decides, and its steps are attaches and detaches like any other.  Records are asked
 * for at a map server, many at once.  What is installed is marked on its interface, for those who
 * wait for that (a CNI plugin, Nova).
 *
 * Failures: no database, and all goes on as it is, until one answers again and has been compared;
 * no map server, and what leaves its network or addresses to the map waits for one; a mark that
 * cannot be written is written again when the database is back. */
#include "agent_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "ovs/client.h"
#include "ovs/datum.h"
#include "ovs/ops.h"
#include "sources/ovs.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define TURN_STEPS 64
#define MAX_ASKED  256   /* port-ids in one request */
#define MAX_MARKS  4096  /* in one transaction */
#define HOLD_MS    60000 /* that marks wait for what is still being installed */

/* Port-ids that a map server has been asked for, together. */
struct asking {
    struct em_list item;
    struct xtr_plugs *plugs;
    int64_t request; /* 0: not sent yet */
    size_t n;
    struct em_port_id ids[MAX_ASKED];
};

struct xtr_plugs {
    struct xtr_agent *agent;
    struct xtr_listener listener;
    struct ovs_client *client;
    struct xtr_ovs *source;
    struct em_list askings;
    struct asking *next; /* that is being filled; NULL: none */
    bool is_marking;     /* a transaction is under way */
    bool has_steps;      /* not all steps have been taken */
    uint64_t hold_ms;    /* marks wait until then; 0: they need not */
    bool was_synced;
    uint32_t n_restored;
    char *down_why; /* NULL: the database answers */
};

/* Records */

static void forget(struct asking *asking)
{
    em_list_remove(&asking->item);
    free(asking);
}

static void fail(struct asking *asking)
{
    for (size_t i = 0; i < asking->n; i++)
        xtr_ovs_unanswered(asking->plugs->source, &asking->ids[i], em_now_ms());
    forget(asking);
}

static void take_answer(struct xtr_plugs *plugs, const struct em_port_id *id,
                        const struct em_port *port)
{
    const struct em_network *network =
        port ? xtr_mapcache_network_by_id(plugs->agent->cache, port->network_id) : NULL;
    xtr_ovs_record(plugs->source, id, port, network ? network->name : NULL, em_now_ms());
}

static void on_answer(void *aux, const struct em_reply *reply)
{
    struct asking *asking = aux;
    struct xtr_agent *agent = asking->plugs->agent;
    xtr_agent_kick(agent);
    if (reply->err)
        em_warn_limited("the records of ports in Open vSwitch cannot be had: %s", reply->message);
    if (reply->err || reply->n_answers != asking->n || agent->other.is_met) {
        fail(asking);
        return;
    }
    for (size_t i = 0; i < asking->n; i++)
        take_answer(asking->plugs, &asking->ids[i], reply->answers[i].port);
    forget(asking);
}

static void send_asking(struct xtr_plugs *plugs)
{
    static struct em_eid eids[MAX_ASKED];
    struct asking *asking = plugs->next;
    plugs->next = NULL;
    if (!asking)
        return;
    for (size_t i = 0; i < asking->n; i++)
        eids[i] = (struct em_eid){.kind = EM_EID_PORT_ID,
                                  .size = asking->ids[i].size,
                                  .name = (const char *)asking->ids[i].bytes};
    int64_t id = plugs->agent->server ? em_client_resolve(plugs->agent->client, 0, NULL, eids,
                                                          asking->n, 0, on_answer, asking)
                                      : EM_E_CLOSED;
    asking->request = id > 0 ? id : 0;
    if (id <= 0)
        fail(asking);
}

static void ask(struct xtr_plugs *plugs, const struct em_port_id *id)
{
    if (!plugs->next) {
        plugs->next = em_calloc(1, sizeof *plugs->next);
        plugs->next->plugs = plugs;
        em_list_append(&plugs->askings, &plugs->next->item);
    }
    plugs->next->ids[plugs->next->n++] = *id;
    if (plugs->next->n == MAX_ASKED)
        send_asking(plugs);
}

void xtr_agent_ovs_seen(struct xtr_agent *agent, const struct em_port *port)
{
    if (agent->plugs)
        take_answer(agent->plugs, &port->id, port);
}

/* Ports */

static bool is_anothers(const struct xtr_port *port)
{
    return port->source == XTR_SOURCE_CONFIG || port->source == XTR_SOURCE_SOCKET;
}

/* The same port on a device that has been plugged anew: installed when the data plane has seen
 * that. */
static void look_again(struct xtr_agent *agent, struct xtr_port *port, const struct xtr_wish *wish)
{
    if (!xtr_port_is_as_wished(port, wish) || port->is_refused)
        return;
    xtr_agent_leave_plane(agent, port);
    xtr_port_replugged(port);
    xtr_agent_kick(agent);
}

static void attach(struct xtr_plugs *plugs, const struct xtr_ovs_action *action)
{
    struct xtr_agent *agent = plugs->agent;
    const struct xtr_port *port;
    char why[EM_ADDR_WHY] = "";
    struct xtr_port *old = xtr_ports_find(&agent->ports, &action->wish.id);
    bool is_arriving = action->is_fresh || (old && old->is_attach);
    if (old && is_anothers(old)) {
        xtr_ovs_port(plugs->source, &old->id, old);
        return;
    }
    struct xtr_wish wish = action->wish;
    if (old && action->is_fresh)
        look_again(agent, old, &wish);
    else if (old) /* a guest that has arrived is here, whatever still says pending */
        wish.is_pending &= old->is_pending;
    int r = xtr_agent_attach(agent, &wish, &port, why);
    if (r) {
        xtr_ovs_refused(plugs->source, &action->wish.id, why[0] ? why : em_strerror(r),
                        em_now_ms());
        return;
    }
    if (old && !is_arriving) /* another wish, but what this node holds is what it held */
        xtr_port_restore(old, old->epoch);
    xtr_ovs_port(plugs->source, &port->id, port);
}

static void detach(struct xtr_agent *agent, const struct em_port_id *id)
{
    const struct xtr_port *port = xtr_ports_find(&agent->ports, id);
    if (port && !is_anothers(port))
        (void)xtr_agent_detach(agent, id);
}

static void on_port(void *aux, const struct em_port_id *id, const struct xtr_port *port)
{
    struct xtr_plugs *plugs = aux;
    xtr_ovs_port(plugs->source, id, port);
    xtr_agent_kick(plugs->agent);
}

bool xtr_agent_ovs_restore(const struct xtr_agent *agent)
{
    return agent->plugs;
}

void xtr_agent_ovs_restored(struct xtr_agent *agent, const struct xtr_port *port)
{
    if (port->source == XTR_SOURCE_OVS)
        xtr_ovs_restore(agent->plugs->source, port);
}

/* Marks: only on the row that still has that iface-id, and no key but ours. */

static json_t *mark_op(const struct xtr_ovs_mark *mark)
{
    static const char *const keys[] = {XTR_OVS_INSTALLED, XTR_OVS_INSTALLED_TS};
    json_t *where = ovs_where("_uuid", "==", ovs_datum_new_uuid(mark->uuid));
    json_t *mutations = json_array();
    char now[24];
    if (mark->iface_id) {
        const char *const pair[][2] = {{"iface-id", mark->iface_id}};
        json_array_append_new(
            where, json_pack("[sso]", "external_ids", "includes", ovs_datum_new_map(pair, 1)));
    }
    json_array_append_new(mutations,
                          ovs_mutation("external_ids", "delete", ovs_datum_new_set(keys, 2)));
    if (mark->is_installed) {
        snprintf(now, sizeof now, "%llu", (unsigned long long)em_wall_ms());
        const char *const pairs[][2] = {{keys[0], "true"}, {keys[1], now}};
        json_array_append_new(mutations,
                              ovs_mutation("external_ids", "insert", ovs_datum_new_map(pairs, 2)));
    }
    return ovs_op_mutate("Interface", where, mutations);
}

static bool has_changed_any(const json_t *results)
{
    json_int_t n = 0;
    for (size_t i = 0; i < json_array_size(results); i++)
        n += json_integer_value(json_object_get(json_array_get(results, i), "count"));
    return n > 0;
}

/* Without an effect it is tried again with the next tick, not at once. */
static void on_marked(void *aux, int err, const json_t *results, const char *why)
{
    struct xtr_plugs *plugs = aux;
    plugs->is_marking = false;
    if (err && err != -ECONNRESET)
        em_warn_limited("what is installed cannot be marked in Open vSwitch's database: %s", why);
    else if (!err && has_changed_any(results))
        xtr_agent_kick(plugs->agent);
}

/* Every transaction has ovs-vswitchd look at all ports anew, and it takes no flows meanwhile: what
 * is on its way there goes first. */
static bool must_wait(struct xtr_plugs *plugs)
{
    const struct xtr_mapcache *cache = plugs->agent->cache;
    bool is_busy = plugs->has_steps || xtr_mapcache_done(cache) != xtr_mapcache_tail(cache);
    if (!is_busy)
        plugs->hold_ms = 0;
    else if (!plugs->hold_ms)
        plugs->hold_ms = em_now_ms() + HOLD_MS;
    return is_busy && em_now_ms() < plugs->hold_ms;
}

/* One transaction at a time: what the database says of the marks is as of the last one then. */
static void mark(struct xtr_plugs *plugs)
{
    struct xtr_ovs_mark next;
    uint32_t at = 0;
    if (plugs->is_marking || !ovs_client_is_synced(plugs->client) || must_wait(plugs))
        return;
    plugs->hold_ms = 0;
    json_t *ops = json_array();
    while (json_array_size(ops) < MAX_MARKS && xtr_ovs_next_mark(plugs->source, &at, &next))
        ovs_ops_append(&ops, mark_op(&next));
    if (ops && !json_array_size(ops)) {
        json_decref(ops);
        return;
    }
    plugs->is_marking = !ovs_client_transact(plugs->client, ops, on_marked, plugs);
}

/* Turns */

static void take_steps(struct xtr_plugs *plugs)
{
    struct xtr_ovs_action action;
    plugs->has_steps = false;
    for (int i = 0; i < TURN_STEPS; i++) {
        switch (xtr_ovs_next(plugs->source, em_now_ms(), &action)) {
        case XTR_OVS_NONE:
            return;
        case XTR_OVS_ASK:
            ask(plugs, &action.wish.id);
            break;
        case XTR_OVS_ATTACH:
            attach(plugs, &action);
            break;
        case XTR_OVS_DETACH:
            detach(plugs->agent, &action.wish.id);
            break;
        }
    }
    plugs->has_steps = true;
    xtr_agent_kick(plugs->agent);
}

/* What has been restored is as old as when it was saved, and in place of what came since. */
static void compare_restored(struct xtr_plugs *plugs)
{
    uint32_t n = ovs_rows_n_restored(ovs_client_rows(plugs->client));
    plugs->agent->pump.is_shaken |= n != plugs->n_restored;
    plugs->n_restored = n;
}

void xtr_agent_ovs_turn(struct xtr_agent *agent)
{
    struct xtr_plugs *plugs = agent->plugs;
    if (!plugs)
        return;
    compare_restored(plugs);
    take_steps(plugs);
    send_asking(plugs);
    mark(plugs);
}

/* The database */

static void on_interface(void *aux, struct ovs_interface *interface, bool is_there)
{
    struct xtr_plugs *plugs = aux;
    xtr_ovs_interface(plugs->source, interface, is_there);
    xtr_agent_kick(plugs->agent);
}

static void on_synced(void *aux)
{
    struct xtr_plugs *plugs = aux;
    em_info("Open vSwitch's database answers at %s", plugs->agent->config->ovs_db);
    free(plugs->down_why);
    plugs->down_why = NULL;
    if (!plugs->was_synced)
        xtr_ovs_synced(plugs->source);
    plugs->was_synced = true;
    xtr_agent_kick(plugs->agent);
}

static void on_down(void *aux, const char *why)
{
    struct xtr_plugs *plugs = aux;
    if (!plugs->down_why || strcmp(plugs->down_why, why) != 0) /* each reason once */
        em_warn("Open vSwitch's database does not answer: %s; trying again", why);
    free(plugs->down_why);
    plugs->down_why = em_strdup(why);
}

static void on_tell(void *aux, const char *text)
{
    em_warn_limited("%s", text);
}

/* What is shown */

char *xtr_agent_ovs_problem(const struct xtr_agent *agent, size_t i)
{
    const struct xtr_plugs *plugs = agent->plugs;
    if (!plugs)
        return NULL;
    if (plugs->down_why && i == 0)
        return em_asprintf("Open vSwitch's database does not answer: %s", plugs->down_why);
    if (!plugs->down_why && ovs_client_is_synced(plugs->client) &&
        !ovs_rows_has_bridge(ovs_client_rows(plugs->client)))
        return i ? NULL : em_asprintf("Open vSwitch has no bridge %s", agent->config->ovs_bridge);
    if (!plugs->down_why && ovs_rows_is_restoring(ovs_client_rows(plugs->client)))
        return i ? NULL
                 : em_strdup(
                       "Open vSwitch forwards nothing new until other_config:flow-restore-wait "
                       "is removed");
    return xtr_ovs_problem(plugs->source, i - (plugs->down_why != NULL));
}

/* Life */

static bool is_wanted(const struct xtr_config *config)
{
    return config->plane == XTR_PLANE_OVS || config->has_ovs_ports;
}

void xtr_agent_ovs_new(struct xtr_agent *agent)
{
    static const struct ovs_client_events events = {on_interface, on_synced, on_down};
    const struct xtr_config *config = agent->config;
    if (!is_wanted(config))
        return;
    struct xtr_plugs *plugs = em_calloc(1, sizeof *plugs);
    plugs->agent = agent;
    plugs->listener = (struct xtr_listener){.on_port = on_port, .aux = plugs};
    plugs->source = xtr_ovs_new(on_tell, plugs);
    em_list_init(&plugs->askings);
    plugs->client = ovs_client_new(agent->loop, config->ovs_db, config->ovs_bridge, &events, plugs);
    xtr_agent_listen(agent, &plugs->listener);
    agent->plugs = plugs;
}

void xtr_agent_ovs_free(struct xtr_agent *agent)
{
    struct xtr_plugs *plugs = agent->plugs;
    if (!plugs)
        return;
    em_list_remove(&plugs->listener.item);
    ovs_client_free(plugs->client);
    xtr_ovs_free(plugs->source);
    EM_FOREACH (asking, &plugs->askings, struct asking, item) {
        em_client_cancel(agent->client, asking->request);
        free(asking);
    }
    free(plugs->down_why);
    free(plugs);
}
