/* Answers are built in an arena and point into the agent's own memory, so each has to be
 * sent before anything changes. */
#include "show.h"

#include "base/mem.h"
#include "wire/convert.h"

#include <string.h>

#define PART_RECORDS 512 /* nodes, and networks, in one reply */
#define PART_PORTS   4096

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
    msg->source = lend(port->source == XTR_SOURCE_CONFIG ? "config" : "socket");
    msg->multihomed = port->is_multihomed;
    msg->priority = port->priority;
    msg->weight = port->weight;
    msg->attach_us = port->attach_us;
    return msg;
}

Eidmap__XtrStatusReply *xtr_show_status(struct em_arena *arena, struct xtr_agent *agent)
{
    const struct xtr_agent_status *status = xtr_agent_status(agent);
    const struct xtr_mapcache *cache = xtr_agent_cache(agent);
    struct xtr_mapcache_counts counts = xtr_mapcache_counts(cache);
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
    msg->dataplane = lend("kernel");
    msg->rlocs = rlocs;
    msg->n_rlocs = status->n_rlocs;
    msg->server = lend(status->server);
    msg->headless_ms = status->headless_ms;
    msg->revision = xtr_mapcache_revision(cache);
    msg->installed_revision = xtr_mapcache_installed(cache);
    msg->n_local_ports = xtr_agent_ports(agent)->n_used;
    msg->n_networks = counts.n_open;
    msg->n_remote_ports = counts.n_remote;
    msg->n_entries = xtr_agent_plane(agent).n_entries;
    msg->n_drift = status->n_drift;
    msg->problems = (char **)(uintptr_t)status->problems;
    msg->n_problems = status->n_problems;
    msg->uptime_ms = status->uptime_ms;
    msg->n_kept = status->n_kept;
    msg->n_snapshots = status->n_passes;
    msg->saved_revision = status->saved_revision;
    msg->n_misses = status->misses.n_misses;
    msg->n_resolved = status->misses.n_resolved;
    msg->n_negative = status->misses.n_negative;
    msg->n_miss_dropped = status->misses.n_dropped;
    msg->n_miss_aged = status->misses.n_aged;
    msg->n_miss_entries = status->misses.n_found;
    return msg;
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
