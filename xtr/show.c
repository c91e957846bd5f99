/* Answers are built in an arena and point into the agent's own memory, so each has to be
 * sent before anything changes. */
#include "show.h"

#include "base/clock.h"
#include "base/mem.h"
#include "dataplane/link.h"
#include "trace.h"
#include "wire/convert.h"

#include <string.h>

#define PART_RECORDS 512 /* nodes, and networks, in one reply */
#define PART_PORTS   4096
#define TRACE_STEPS  64

static char *lend(const char *text)
{
    return (char *)(uintptr_t)text;
}

static ProtobufCBinaryData id_bytes(struct em_arena *arena, const struct em_port_id *id)
{
    uint8_t *copy = em_arena_alloc(arena, id->size ? id->size : 1);
    if (!copy)
        return (ProtobufCBinaryData){0};
    memcpy(copy, id->bytes, id->size);
    return (ProtobufCBinaryData){id->size, copy};
}

Eidmap__LocalPort *xtr_show_port(struct em_arena *arena, const struct xtr_port *port)
{
    Eidmap__LocalPort *msg = em_arena_alloc(arena, sizeof *msg);
    Eidmap__Eid **eids = em_arena_alloc(arena, (port->n_eids + 1) * sizeof *eids);
    if (!msg || !eids)
        return NULL;
    eidmap__local_port__init(msg);
    for (size_t i = 0; i < port->n_eids; i++)
        if (!(eids[i] = em_eid_to_msg(arena, &port->eids[i])))
            return NULL;
    msg->id = id_bytes(arena, &port->id);
    msg->network_name = port->network;
    msg->eids = eids;
    msg->n_eids = port->n_eids;
    msg->device = lend(port->device);
    msg->phase = (Eidmap__PortPhase)port->phase;
    msg->problem = port->problem;
    msg->epoch = port->epoch;
    msg->segmentation_id = port->segmentation_id;
    msg->source = lend(xtr_source_name(port->source));
    msg->parent = id_bytes(arena, &port->parent);
    msg->tag = port->vlan;
    msg->multihomed = port->is_multihomed;
    msg->pending = port->is_pending;
    msg->priority = port->priority;
    msg->weight = port->weight;
    msg->attach_us = port->attach_us;
    return msg;
}

static Eidmap__XtrWatch *show_watch(struct em_arena *arena, const struct xtr_watch_view *view)
{
    Eidmap__XtrWatch *msg = em_arena_alloc(arena, sizeof *msg);
    char *bridge = em_arena_alloc(arena, IFNAMSIZ);
    if (!msg || !bridge)
        return NULL;
    bridge[0] = 0;
    eidmap__xtr_watch__init(msg);
    msg->network_name = lend(view->network);
    msg->bridge = view->network_id ? dp_bridge_name(view->network_id, bridge) : bridge;
    msg->n_ports = view->n_ports;
    msg->max_ports = view->max_ports;
    msg->n_devices = view->n_devices;
    msg->n_over = view->n_over;
    msg->n_conflicts = view->n_conflicts;
    msg->n_bad = view->n_bad;
    msg->n_dropped = view->n_dropped;
    return msg;
}

static bool add_watches(struct em_arena *arena, const struct xtr_agent *agent,
                        Eidmap__XtrStatusReply *msg)
{
    struct xtr_watch_view view;
    size_t n = 0;
    while (xtr_agent_watch_view(agent, n, &view))
        n++;
    msg->watches = em_arena_alloc(arena, (n + 1) * sizeof *msg->watches);
    for (size_t i = 0; msg->watches && i < n && xtr_agent_watch_view(agent, i, &view); i++)
        if (!(msg->watches[msg->n_watches++] = show_watch(arena, &view)))
            return false;
    return msg->watches;
}

Eidmap__XtrStatusReply *xtr_show_status(struct em_arena *arena, struct xtr_agent *agent)
{
    const struct xtr_agent_status *status = xtr_agent_status(agent);
    const struct xtr_mapcache *cache = xtr_agent_cache(agent);
    struct xtr_mapcache_counts counts = xtr_mapcache_counts(cache);
    struct dataplane_stats plane = xtr_agent_plane(agent);
    Eidmap__XtrStatusReply *msg = em_arena_alloc(arena, sizeof *msg);
    Eidmap__Rloc **rlocs = em_arena_alloc(arena, (status->n_rlocs + 1) * sizeof *rlocs);
    if (!msg || !rlocs)
        return NULL;
    eidmap__xtr_status_reply__init(msg);
    for (size_t i = 0; i < status->n_rlocs; i++)
        if (!(rlocs[i] = em_rloc_to_msg(arena, &status->rlocs[i])))
            return NULL;
    msg->node_id = lend(status->node_id);
    msg->software = lend("xtr " EM_VERSION);
    msg->dataplane = lend(plane.plane);
    msg->rlocs = rlocs;
    msg->n_rlocs = status->n_rlocs;
    msg->server = lend(status->server);
    msg->headless_ms = status->headless_ms;
    msg->revision = xtr_mapcache_revision(cache);
    msg->installed_revision = xtr_mapcache_installed(cache);
    msg->n_local_ports = xtr_agent_ports(agent)->n_used;
    msg->n_networks = counts.n_open;
    msg->n_remote_ports = counts.n_remote;
    msg->n_entries = plane.n_entries;
    msg->n_drift = status->n_drift;
    msg->problems = (char **)(uintptr_t)status->problems;
    msg->n_problems = status->n_problems;
    msg->n_reconciled = status->n_reconciled;
    msg->reconciled_ms = status->reconciled_ms;
    msg->reconcile_took_ms = status->reconcile_took_ms;
    msg->uptime_ms = status->uptime_ms;
    msg->n_kept = status->n_kept;
    msg->n_snapshots = status->n_passes;
    msg->saved_revision = status->saved_revision;
    msg->n_probed = (uint32_t)status->n_probed;
    msg->n_silent = (uint32_t)status->n_silent;
    msg->n_misses = status->misses.n_misses;
    msg->n_resolved = status->misses.n_resolved;
    msg->n_negative = status->misses.n_negative;
    msg->n_miss_dropped = status->misses.n_dropped;
    msg->n_miss_aged = status->misses.n_aged;
    msg->n_miss_entries = status->misses.n_found;
    return add_watches(arena, agent, msg) ? msg : NULL;
}

static Eidmap__ProbeState probe_state(const struct xtr_probe *probe)
{
    return probe ? (Eidmap__ProbeState)probe->state : EIDMAP__PROBE_STATE__PROBE_UNSPECIFIED;
}

static Eidmap__XtrNode *show_node(struct em_arena *arena, const struct xtr_peer *peer,
                                  const struct xtr_probe *probe)
{
    struct em_rloc rloc = {.ip = peer->ip, .encap = peer->encap, .udp_port = peer->udp_port};
    struct em_rloc *copy = em_arena_alloc(arena, sizeof *copy);
    Eidmap__XtrNode *msg = em_arena_alloc(arena, sizeof *msg);
    if (!msg || !copy)
        return NULL;
    *copy = rloc;
    eidmap__xtr_node__init(msg);
    msg->id = lend(peer->node->id);
    msg->state = (Eidmap__NodeState)peer->node->state;
    msg->n_locations = peer->n_locations;
    msg->probe = probe_state(probe);
    if (peer->ip.size && !(msg->rloc = em_rloc_to_msg(arena, copy)))
        return NULL;
    if (!probe)
        return msg;
    msg->probe_ms = probe->interval_us / 1000;
    msg->rtt_us = probe->rtt_us;
    msg->since_ms = (em_now_us() - probe->since_us) / 1000;
    return msg;
}

Eidmap__XtrNodesReply *xtr_show_nodes(struct em_arena *arena, const struct xtr_agent *agent,
                                      uint32_t *at)
{
    struct xtr_peer peer;
    Eidmap__XtrNodesReply *msg = em_arena_alloc(arena, sizeof *msg);
    if (!msg)
        return NULL;
    eidmap__xtr_nodes_reply__init(msg);
    msg->nodes = em_arena_alloc(arena, PART_RECORDS * sizeof *msg->nodes);
    while (msg->nodes && msg->n_nodes < PART_RECORDS &&
           xtr_mapcache_next_peer(xtr_agent_cache(agent), at, &peer))
        if (!(msg->nodes[msg->n_nodes++] =
                  show_node(arena, &peer, xtr_agent_probe(agent, peer.node->id))))
            return NULL;
    msg->more = msg->n_nodes == PART_RECORDS;
    return msg->nodes ? msg : NULL;
}

static bool is_wanted(const struct xtr_show_cursor *cursor, const struct em_network *network)
{
    return !cursor->network || (network && !strcmp(network->name, cursor->network));
}

static bool add_networks(struct em_arena *arena, const struct xtr_mapcache *cache,
                         struct xtr_show_cursor *cursor, Eidmap__XtrCacheReply *msg)
{
    const struct em_network *network;
    msg->networks = em_arena_alloc(arena, PART_RECORDS * sizeof *msg->networks);
    while (msg->networks && msg->n_networks < PART_RECORDS &&
           xtr_mapcache_next_network(cache, &cursor->network_at, &network))
        if (is_wanted(cursor, network) &&
            !(msg->networks[msg->n_networks++] = em_network_to_msg(arena, network)))
            return false;
    return msg->networks;
}

static bool add_nodes(struct em_arena *arena, const struct xtr_mapcache *cache,
                      struct xtr_show_cursor *cursor, Eidmap__XtrCacheReply *msg)
{
    const struct em_node *node;
    msg->nodes = em_arena_alloc(arena, PART_RECORDS * sizeof *msg->nodes);
    while (msg->nodes && msg->n_nodes < PART_RECORDS &&
           xtr_mapcache_next_node(cache, &cursor->node_at, &node))
        if (!(msg->nodes[msg->n_nodes++] = em_node_to_msg(arena, node)))
            return false;
    return msg->nodes;
}

/* The cursor's room is used again for the next port: what the message needs is copied. */
static Eidmap__Port *copy_port(struct em_arena *arena, const struct em_port *port)
{
    struct em_port *copy = em_arena_alloc(arena, sizeof *copy);
    struct em_eid *eids = em_arena_alloc(arena, (port->n_eids + 1) * sizeof *eids);
    struct em_location *locations =
        em_arena_alloc(arena, (port->n_locations + 1) * sizeof *locations);
    if (!copy || !eids || !locations)
        return NULL;
    memcpy(eids, port->eids, port->n_eids * sizeof *eids);
    memcpy(locations, port->locations, port->n_locations * sizeof *locations);
    *copy = *port;
    copy->eids = eids;
    copy->locations = locations;
    return em_port_to_msg(arena, copy);
}

/* False: the arena is full. */
static bool add_ports(struct em_arena *arena, const struct xtr_mapcache *cache,
                      struct xtr_show_cursor *cursor, size_t size, Eidmap__XtrCacheReply *msg)
{
    struct em_port port;
    msg->ports = em_arena_alloc(arena, PART_PORTS * sizeof *msg->ports);
    if (!msg->ports)
        return false;
    for (size_t used = 0; used < size && msg->n_ports < PART_PORTS;) {
        if (!xtr_mapcache_next_port(cache, &cursor->ports, &port))
            return true;
        if (!is_wanted(cursor, xtr_mapcache_network_by_id(cache, port.network_id)))
            continue;
        Eidmap__Port *shown = copy_port(arena, &port);
        if (!shown)
            return false;
        msg->ports[msg->n_ports++] = shown;
        used += protobuf_c_message_get_packed_size(&shown->base);
    }
    msg->more = true;
    return true;
}

/* Nodes and networks in the first parts, then ports. */
Eidmap__XtrCacheReply *xtr_show_cache(struct em_arena *arena, const struct xtr_mapcache *cache,
                                      struct xtr_show_cursor *cursor, size_t size)
{
    Eidmap__XtrCacheReply *msg = em_arena_alloc(arena, sizeof *msg);
    if (!msg)
        return NULL;
    eidmap__xtr_cache_reply__init(msg);
    if (cursor->has_records)
        return add_ports(arena, cache, cursor, size, msg) ? msg : NULL;
    if (!add_networks(arena, cache, cursor, msg) || !add_nodes(arena, cache, cursor, msg))
        return NULL;
    cursor->has_records = msg->n_networks < PART_RECORDS && msg->n_nodes < PART_RECORDS;
    msg->more = true;
    return msg;
}

struct steps {
    struct em_arena *arena;
    Eidmap__XtrTraceReply *reply;
    bool is_full;
};

char *xtr_show_text(struct em_arena *arena, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = em_arena_alloc(arena, size);
    return copy ? memcpy(copy, text, size) : NULL;
}

static void add_step(void *aux, const struct dp_step *step)
{
    struct steps *steps = aux;
    if (steps->is_full || steps->reply->n_steps == TRACE_STEPS)
        return;
    Eidmap__XtrTraceStep *msg = em_arena_alloc(steps->arena, sizeof *msg);
    char *found = xtr_show_text(steps->arena, step->found);
    char *advice = xtr_show_text(steps->arena, step->advice);
    steps->is_full = !msg || !found || !advice;
    if (steps->is_full)
        return;
    eidmap__xtr_trace_step__init(msg);
    msg->name = lend(step->name);
    msg->wrong = step->is_wrong;
    msg->found = found;
    msg->advice = advice;
    steps->reply->steps[steps->reply->n_steps++] = msg;
}

Eidmap__XtrTraceReply *xtr_show_trace(struct em_arena *arena, struct xtr_agent *agent,
                                      const struct xtr_trace *what, const struct xtr_asked *asked)
{
    struct steps steps = {.arena = arena, .reply = em_arena_alloc(arena, sizeof *steps.reply)};
    if (!steps.reply)
        return NULL;
    eidmap__xtr_trace_reply__init(steps.reply);
    steps.reply->steps = em_arena_alloc(arena, TRACE_STEPS * sizeof *steps.reply->steps);
    if (!steps.reply->steps)
        return NULL;
    xtr_trace(agent, what, asked, add_step, &steps);
    return steps.is_full ? NULL : steps.reply;
}
