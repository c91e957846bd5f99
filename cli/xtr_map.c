/* "xtr cache", "xtr nodes", "xtr accept": what the xTR knows of the map. */
#include "xtr.h"

#include "call.h"
#include "list.h"
#include "record.h"
#include "talk.h"

#include "base/list.h"
#include "wire/convert.h"

#include <inttypes.h>
#include <stdlib.h>

/* Nodes */

static const char *probe_name(Eidmap__ProbeState state)
{
    switch (state) {
    case EIDMAP__PROBE_STATE__PROBE_UNKNOWN:
        return "unknown";
    case EIDMAP__PROBE_STATE__PROBE_UP:
        return "up";
    case EIDMAP__PROBE_STATE__PROBE_REFUSED:
        return "refused";
    case EIDMAP__PROBE_STATE__PROBE_SILENT:
        return "silent";
    case EIDMAP__PROBE_STATE__PROBE_UNSPECIFIED:
    case _EIDMAP__PROBE_STATE_IS_INT_SIZE:
        break;
    }
    return "";
}

static void json_node(struct ctl_json *json, const Eidmap__XtrNode *node,
                      const struct em_rloc *rloc, size_t n_rlocs)
{
    ctl_json_begin(json, NULL, '{');
    ctl_json_text(json, "id", node->id);
    ctl_json_rlocs(json, "rlocs", rloc, n_rlocs);
    ctl_json_text(json, "state", ctl_name_of(ctl_node_states, (int)node->state));
    ctl_json_text(json, "probe", probe_name(node->probe));
    ctl_json_uint(json, "probe_ms", node->probe_ms);
    ctl_json_uint(json, "rtt_us", node->rtt_us);
    ctl_json_uint(json, "since_ms", node->since_ms);
    ctl_json_uint(json, "n_locations", node->n_locations);
    ctl_json_end(json, '}');
}

static void add_node(struct ctl_table *table, const Eidmap__XtrNode *node,
                     const struct em_rloc *rloc, size_t n_rlocs)
{
    bool is_probed = node->probe_ms;
    ctl_table_add_take(
        table, (char *[]){
                   ctl_text(node->id),
                   n_rlocs ? ctl_rlocs_text(rloc, n_rlocs) : ctl_text(NULL),
                   ctl_text(ctl_name_of(ctl_node_states, (int)node->state)),
                   ctl_text(probe_name(node->probe)),
                   is_probed ? ctl_duration_text(node->since_ms) : ctl_text(NULL),
                   is_probed ? em_asprintf("%ums", node->probe_ms) : ctl_text(NULL),
                   node->rtt_us ? em_asprintf("%.1fms", node->rtt_us / 1e3) : ctl_text(NULL),
                   ctl_uint_text(node->n_locations),
               });
}

static bool show_nodes(struct ctl_talk *talk, const Eidmap__Envelope *reply)
{
    const Eidmap__XtrNodesReply *part = reply->xtr_nodes_reply;
    for (size_t i = 0; i < part->n_nodes; i++) {
        const Eidmap__XtrNode *node = part->nodes[i];
        struct em_rloc rloc;
        size_t n = node->rloc && em_rloc_from_msg(node->rloc, &rloc) == 0;
        if (talk->table)
            add_node(talk->table, node, &rloc, n);
        else
            json_node(&talk->json, node, &rloc, n);
    }
    return !part->more;
}

enum ctl_exit ctl_xtr_run_nodes(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {
        {"NODE"},        {"RLOC"},        {"MAP"},       {"PROBE"},
        {"SINCE", true}, {"EVERY", true}, {"RTT", true}, {"LOCATIONS", true},
    };
    Eidmap__XtrNodesRequest body = EIDMAP__XTR_NODES_REQUEST__INIT;
    struct ctl_talk talk = CTL_TALK(ctl, XTR_NODES, &body, XTR_NODES_REPLY, show_nodes);
    ctl_subject(ctl, "xtr nodes");
    return ctl_talk_list(&talk, columns);
}

/* The map-cache */

struct cache {
    struct ctl_talk talk;
    struct network_name {
        uint32_t id;
        char *name;
    } * names;
    size_t n_names;
};

static void json_kept(struct ctl_json *json, const char *kind, const struct em_change *change)
{
    ctl_json_begin(json, NULL, '{');
    ctl_json_text(json, "kind", kind);
    ctl_json_record(json, "record", change);
    ctl_json_end(json, '}');
}

/* Records that are not valid are passed over: they were never used either. */
static void json_cache(struct ctl_talk *talk, const Eidmap__XtrCacheReply *part)
{
    for (size_t i = 0; i < part->n_networks; i++) {
        struct em_change change = {.object = EM_OBJECT_NETWORK};
        if ((change.network = em_network_from_msg(&talk->arena, part->networks[i])))
            json_kept(&talk->json, "network", &change);
    }
    for (size_t i = 0; i < part->n_nodes; i++) {
        struct em_change change = {.object = EM_OBJECT_NODE};
        if ((change.node = em_node_from_msg(&talk->arena, part->nodes[i])))
            json_kept(&talk->json, "node", &change);
    }
    for (size_t i = 0; i < part->n_ports; i++) {
        struct em_change change = {.object = EM_OBJECT_PORT};
        if ((change.port = em_port_from_msg(&talk->arena, part->ports[i])))
            json_kept(&talk->json, "port", &change);
    }
}

static void keep_names(struct cache *cache, const Eidmap__XtrCacheReply *part)
{
    for (size_t i = 0; i < part->n_networks; i++) {
        cache->names = em_realloc(cache->names, (cache->n_names + 1) * sizeof(*cache->names));
        cache->names[cache->n_names++] =
            (struct network_name){part->networks[i]->id, em_strdup(part->networks[i]->name)};
    }
}

static char *network_text(const struct cache *cache, uint32_t id)
{
    for (size_t i = 0; i < cache->n_names; i++)
        if (cache->names[i].id == id)
            return em_strdup(cache->names[i].name);
    return ctl_uint_text(id);
}

static bool show_cache(struct ctl_talk *talk, const Eidmap__Envelope *reply)
{
    struct cache *cache = em_container_of(talk, struct cache, talk);
    const Eidmap__XtrCacheReply *part = reply->xtr_cache_reply;
    if (talk->ctl->is_json) {
        json_cache(talk, part);
        return !part->more;
    }
    keep_names(cache, part);
    for (size_t i = 0; i < part->n_ports; i++) {
        const struct em_port *port = em_port_from_msg(&talk->arena, part->ports[i]);
        if (!port)
            continue;
        ctl_table_add_take(talk->table, (char *[]){
                                            ctl_port_id_text(&port->id),
                                            network_text(cache, port->network_id),
                                            ctl_eids_text(port->eids, port->n_eids),
                                            ctl_locations_text(port->locations, port->n_locations),
                                        });
    }
    return !part->more;
}

enum ctl_exit ctl_xtr_run_cache(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {{"PORT"}, {"NETWORK"}, {"EIDS"}, {"LOCATIONS"}};
    Eidmap__XtrCacheRequest body = EIDMAP__XTR_CACHE_REQUEST__INIT;
    struct cache cache = {CTL_TALK(ctl, XTR_CACHE, &body, XTR_CACHE_REPLY, show_cache)};
    if (ctl->n_words)
        body.network_name = ctl->words[0];
    ctl_subject(ctl, "xtr cache");
    enum ctl_exit code = ctl_talk_list(&cache.talk, columns);
    for (size_t i = 0; i < cache.n_names; i++)
        free(cache.names[i].name);
    free(cache.names);
    return code;
}

/* What a map server is doubted for */

static bool show_accepted(struct ctl_talk *talk, const Eidmap__Envelope *reply)
{
    struct ctl *ctl = talk->ctl;
    uint64_t n = reply->xtr_accept_reply->n_gone;
    struct ctl_json json = {ctl->out};
    if (ctl->is_json) {
        ctl_json_begin(&json, NULL, '{');
        ctl_json_uint(&json, "n_gone", n);
        ctl_json_end(&json, '}');
    }
    ctl_say(ctl, "accepted: %" PRIu64 " ports, nodes and networks that were kept are gone", n);
    return true;
}

enum ctl_exit ctl_xtr_run_accept(struct ctl *ctl)
{
    Eidmap__XtrAccept body = EIDMAP__XTR_ACCEPT__INIT;
    struct ctl_talk talk = CTL_TALK(ctl, XTR_ACCEPT, &body, XTR_ACCEPT_REPLY, show_accepted);
    if (ctl->n_words)
        body.network_name = ctl->words[0];
    ctl_subject(ctl, "xtr accept");
    return ctl_talk_run(&talk);
}
