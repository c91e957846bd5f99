/* The agent's half of the story, in the order of a packet: sender, network, map-cache, choice
 * of location.  The data plane tells the other half, dataplane/look.c. */
#include "trace.h"

#include "asked.h"
#include "base/mem.h"
#include "found.h"
#include "probe.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT 512

struct trace {
    struct xtr_agent *agent;
    const char *network_name;
    const struct em_network *network;
    const struct em_eid *eid;
    const struct xtr_asked *asked;
    const struct xtr_port *from; /* NULL: none in particular */
    dp_step_fn *visit;
    void *aux;
};

/* 'advice' NULL: all is well. */
__attribute__((format(printf, 4, 5))) static void tell(struct trace *t, const char *name,
                                                       const char *advice, const char *format, ...)
{
    char found[TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(found, sizeof found, format, args);
    va_end(args);
    t->visit(t->aux, &(struct dp_step){.name = name,
                                       .is_wrong = advice != NULL,
                                       .found = found,
                                       .advice = advice ? advice : ""});
}

static const char *id_text(const struct em_port_id *id, char text[EM_PORT_ID_TEXT])
{
    return em_port_id_format(id->bytes, id->size, text);
}

/* ---- where it begins */

/* False: there is nothing to look at any further. */
static bool tell_network(struct trace *t)
{
    const struct xtr_mapcache *cache = xtr_agent_cache(t->agent);
    if (!t->network) {
        tell(t, "network",
             xtr_mapcache_is_complete(cache, 0)
                 ? "an operator makes it: mapctl network add"
                 : "wait for a map server: mapctl xtr status says why there is none",
             "the map has no network %s", t->network_name);
        return false;
    }
    if (!xtr_mapcache_is_open(cache, t->network->id)) {
        tell(t, "network", "attach a port of it here: mapctl xtr attach",
             "no port of network %s is attached to this host", t->network_name);
        return false;
    }
    tell(t, "network", NULL, "%s: id %u, VNI %u", t->network_name, t->network->id,
         t->network->segmentation_id);
    return true;
}

static bool tell_sender(struct trace *t, const struct em_port_id *id)
{
    char text[EM_PORT_ID_TEXT];
    const struct xtr_port *port = xtr_ports_find(xtr_agent_ports(t->agent), id);
    id_text(id, text);
    if (!port) {
        tell(t, "local-port", "attach it: mapctl xtr attach", "port %s is not attached here", text);
        return false;
    }
    if (strcmp(port->network, t->network_name) != 0) {
        tell(t, "local-port", "ask for its own network", "port %s is in network %s", text,
             port->network);
        return false;
    }
    t->from = port;
    if (port->phase == XTR_INSTALLED)
        tell(t, "local-port", NULL, "%s: installed on %s, epoch %llu", text, port->device,
             (unsigned long long)port->epoch);
    else
        tell(t, "local-port", "mapctl xtr ports shows what it waits for", "%s: %s: %s", text,
             xtr_phase_name(port->phase), port->problem);
    return true;
}

/* Old knowledge is still knowledge: this step is never wrong while there is some. */
static void tell_feed(struct trace *t)
{
    const struct xtr_mapcache *cache = xtr_agent_cache(t->agent);
    const struct xtr_agent_status *status = xtr_agent_status(t->agent);
    unsigned long long revision = xtr_mapcache_revision(cache);
    unsigned long long installed = xtr_mapcache_installed(cache);
    if (!xtr_mapcache_is_complete(cache, t->network->id))
        tell(t, "feed", NULL, "revision %llu; the network has not been shown to its end", revision);
    else if (!status->server[0])
        tell(t, "feed", NULL, "revision %llu, and no map server for %llu s: it may be old",
             revision, (unsigned long long)status->headless_ms / 1000);
    else
        tell(t, "feed", NULL, "revision %llu from %s, installed %llu", revision, status->server,
             installed);
}

/* ---- the map-cache */

static const char *why_text(const struct xtr_found_place *place)
{
    switch (place->why) {
    case XTR_WHY_CHOSEN:
        return "chosen";
    case XTR_WHY_OTHERS:
        return "not shown to this node";
    case XTR_WHY_PENDING:
        return "pending, it has not arrived";
    case XTR_WHY_NEVER:
        return "priority 255 is never used";
    case XTR_WHY_WIDER:
        return "passed over for one with a narrower view";
    case XTR_WHY_UNREACHABLE:
        return "passed over, its node is unreachable and another is not";
    case XTR_WHY_PRIORITY:
        return "passed over for one with a lower priority";
    case XTR_WHY_WEIGHT:
        return "passed over, it has weight 0 and others have more";
    case XTR_WHY_UNUSABLE:
        break;
    }
    if (place->is_self)
        return "it says this node, but the port is not attached here";
    if (!place->is_known)
        return "the map has no such node";
    if (place->is_disabled)
        return "its node is disabled";
    return place->is_stranded ? "its node has no RLOC of this node's address family"
                              : "its node has no RLOC";
}

static const char *view_text(const struct em_location *l, char text[TEXT])
{
    if (l->view_node)
        snprintf(text, TEXT, "node %s", l->view_node);
    else if (l->view_label.key)
        snprintf(text, TEXT, "%s=%s", l->view_label.key, l->view_label.value);
    else
        return "everyone";
    return text;
}

static void tell_place(struct trace *t, const struct xtr_found_place *place)
{
    const struct em_location *l = &place->location;
    char view[TEXT], ip[EM_IP_TEXT] = "-";
    if (place->rloc.size)
        em_ip_format(place->rloc.addr, place->rloc.size, ip);
    bool is_dead = place->why == XTR_WHY_CHOSEN && !place->is_reachable;
    tell(t, "location",
         is_dead ? "its host or the agent there is down: look at it with mapctl node show" : NULL,
         "%s:%u for %s, priority %u, weight %u, RLOC %s: %s%s", l->node_id, l->segmentation_id,
         view_text(l, view), l->priority, l->weight, ip, why_text(place),
         is_dead ? ", though its node is unreachable: there is no other" : "");
}

static bool tell_places(struct trace *t, const struct xtr_found *found)
{
    if (found->is_any_local) {
        tell(t, "location", "attach an instance here: mapctl xtr attach",
             "any-local: each node has its own, and this one has none");
        return false;
    }
    for (size_t i = 0; i < found->n_places; i++)
        tell_place(t, &found->places[i]);
    if (found->n_targets)
        return true;
    tell(t, "choice", "mapctl port show tells where it is; mapctl trace looks at both ends",
         found->n_places ? "none of its locations can be used from here" : "the port is nowhere");
    return false;
}

/* ---- what the map says, beside that */

static const char *asked_text(const struct em_port *port, char text[TEXT])
{
    char id[EM_PORT_ID_TEXT];
    int at = snprintf(text, TEXT, "port %s, revision %llu", id_text(&port->id, id),
                      (unsigned long long)port->revision);
    for (size_t i = 0; i < port->n_locations && at < TEXT; i++) {
        const struct em_location *l = &port->locations[i];
        at += snprintf(text + at, TEXT - (size_t)at, "%s %s:%u epoch %llu", i ? "," : ":",
                       em_location_is_any_local(l) ? "any-local" : l->node_id, l->segmentation_id,
                       (unsigned long long)l->epoch);
    }
    if (!port->n_locations)
        snprintf(text + at, TEXT - (size_t)at, ": nowhere");
    return text;
}

/* A change is on its way for a moment. */
#define ASK_AGAIN                                                                                  \
    "changes come within a moment, so trace again; if it stays, mapctl xtr status tells what is "  \
    "wrong with the feed"

static void tell_asked(struct trace *t, const struct xtr_found *found)
{
    const struct xtr_asked *asked = t->asked;
    char text[TEXT] = "";
    enum xtr_asked_verdict verdict =
        xtr_asked_compare(asked, found, xtr_agent_status(t->agent)->node_id);
    if (asked->is_answered && asked->port)
        asked_text(asked->port, text);
    switch (verdict) {
    case XTR_ASKED_NOTHING:
        tell(t, "map", NULL, "not asked: %s", asked->why);
        return;
    case XTR_ASKED_SAME:
        tell(t, "map", NULL, "%s", text);
        return;
    case XTR_ASKED_KEPT:
        tell(t, "map", NULL, "shows it no more, and is not believed: mapctl xtr status");
        return;
    case XTR_ASKED_ELSEWHERE:
        tell(t, "map", "mapctl xtr ports shows why it is not registered",
             "%s; not on this node, where it is attached", text);
        return;
    case XTR_ASKED_GONE:
        tell(t, "map",
             found->is_local ? "mapctl xtr ports shows what it waits for; if an operator removed "
                               "it from the map, detach it and attach it anew"
                             : ASK_AGAIN,
             "revision %llu has nobody there", (unsigned long long)asked->revision);
        return;
    case XTR_ASKED_OTHER:
    case XTR_ASKED_DIFFERS:
        tell(t, "map", ASK_AGAIN, "%s; the map-cache has it otherwise", text);
        return;
    }
}

/* False: there is no way to look at. */
static bool tell_found(struct trace *t, const struct xtr_found *found)
{
    char id[EM_PORT_ID_TEXT], mac[EM_MAC_TEXT];
    id_text(&found->id, id);
    if (found->mac.kind != EM_EID_MAC) {
        tell(t, "map-cache", "register the port with its MAC", "port %s has no MAC", id);
        return false;
    }
    em_mac_format(found->mac.addr, mac);
    if (found->is_local)
        tell(t, "map-cache", NULL,
             found->vlan ? "port %s, MAC %s: on this host, device %s, tag %u"
                         : "port %s, MAC %s: on this host, device %s",
             id, mac, found->device, found->vlan);
    else
        tell(t, "map-cache", NULL, "port %s, MAC %s", id, mac);
    tell_asked(t, found);
    return found->is_local || tell_places(t, found);
}

/* Is it a prefix of somebody that the address is in? */
static bool is_in_prefix(const struct trace *t)
{
    for (size_t i = 0; i < t->asked->port->n_eids; i++)
        if (!em_eid_compare(&t->asked->port->eids[i], t->eid))
            return false;
    return t->eid->kind != EM_EID_PORT_ID;
}

static void tell_nobody(struct trace *t)
{
    char eid[EM_EID_TEXT], text[TEXT];
    em_eid_format(t->eid, eid);
    if (!t->asked->is_answered || !t->asked->port)
        tell(t, "map-cache", "mapctl resolve asks the map servers; has the port been attached?",
             "nobody in network %s has %s", t->network_name, eid);
    else if (is_in_prefix(t))
        tell(t, "map-cache", "send to that port's own address, as to a router",
             "%s is no neighbour but in a prefix: %s", eid, asked_text(t->asked->port, text));
    else if (t->network->fill == EM_FILL_RESOLVE)
        tell(t, "map-cache", "it is resolved when a guest here sends to it: ping it, then trace",
             "%s has not been asked for; the map has %s", eid, asked_text(t->asked->port, text));
    else
        tell(t, "map-cache", ASK_AGAIN, "nobody has %s; the map has %s", eid,
             asked_text(t->asked->port, text));
}

static bool tell_map(struct trace *t, struct xtr_found *found)
{
    if (xtr_mapcache_find(xtr_agent_cache(t->agent), t->network->id, t->eid, found))
        return tell_found(t, found);
    tell_nobody(t);
    return false;
}

/* ---- does the other host answer? */

/* No answer was ever heard of a node that does not speak this, or behind a firewall: that says
 * nothing. */
static void tell_probe(struct trace *t, const char *node_id)
{
    const struct xtr_probe *probe = xtr_agent_probe(t->agent, node_id);
    if (!probe)
        tell(t, "probe", NULL, "%s is not probed", node_id);
    else
        tell(t, "probe",
             probe->state == XTR_PROBE_SILENT
                 ? "its host is down, or the underlay to it is: ping its RLOC from here"
                 : NULL,
             "%s: %s, last round trip %u us", node_id, xtr_probe_name(probe->state), probe->rtt_us);
}

static void tell_probes(struct trace *t, const struct xtr_found *found)
{
    for (size_t i = 0; i < found->n_places; i++)
        if (found->places[i].why == XTR_WHY_CHOSEN)
            tell_probe(t, found->places[i].location.node_id);
}

/* ---- what the data plane makes of it */

static void look(struct trace *t, const struct xtr_found *found)
{
    struct dp_path path = {
        .network = found->network,
        .from = t->from ? t->from->device : NULL,
        .ip = {.size = found->ip.size},
        .device = found->is_local ? found->device : NULL,
        .from_vlan = t->from ? t->from->vlan : 0,
        .vlan = found->vlan,
        .targets = found->targets,
        .n_targets = found->n_targets,
    };
    memcpy(path.mac, found->mac.addr, sizeof path.mac);
    memcpy(path.ip.addr, found->ip.addr, found->ip.size);
    xtr_agent_look(t->agent, &path, t->visit, t->aux);
}

void xtr_trace(struct xtr_agent *agent, const struct xtr_trace *what, const struct xtr_asked *asked,
               dp_step_fn *visit, void *aux)
{
    struct xtr_found found;
    struct trace t = {
        .agent = agent,
        .network_name = what->network,
        .network = xtr_mapcache_network(xtr_agent_cache(agent), what->network),
        .eid = &what->eid,
        .asked = asked,
        .visit = visit,
        .aux = aux,
    };
    if (!tell_network(&t) || (what->from && !tell_sender(&t, what->from)))
        return;
    tell_feed(&t);
    if (!tell_map(&t, &found))
        return;
    look(&t, &found);
    tell_probes(&t, &found);
}
