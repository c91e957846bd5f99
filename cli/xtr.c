/* The xTR of this host, over its unix socket: the same frames as a map server's, with bodies
 * of their own, so these commands speak messages instead of libeidmap's calls. */
#include "xtr.h"

#include "call.h"
#include "list.h"
#include "ports.h"
#include "record.h"
#include "target.h"

#include "base/mem.h"
#include "client/request.h"
#include "wire/convert.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A reply in one or many parts. */
struct talk {
    struct ctl *ctl;
    Eidmap__Envelope__BodyCase expects;
    /* Shows a part; false: another follows. */
    bool (*show)(struct talk *talk, const Eidmap__Envelope *reply);
    struct em_arena arena; /* reset for each part */
    struct ctl_table *table;
    struct ctl_json json;
    uint64_t n_checked, n_different, n_foreign, n_omitted, n_undumped;
    struct network_name {
        uint32_t id;
        char *name;
    } * names;
    size_t n_names;
    enum ctl_exit verdict; /* of the answer itself */
};

static void on_reply(void *aux, int err, const Eidmap__Envelope *reply)
{
    struct talk *talk = aux;
    struct ctl *ctl = talk->ctl;
    if (!ctl->is_waiting)
        return;
    ctl->n_heard++;
    if (err) {
        ctl_refused_with(ctl, err, NULL);
    } else if (reply->body_case == EIDMAP__ENVELOPE__BODY_ERROR) {
        ctl_refused_with(ctl, em_error_from_wire((int)reply->error->code), reply->error->message);
    } else if (reply->body_case != talk->expects) {
        ctl_refused_with(ctl, EM_E_UNSUPPORTED, "the answer is none that mapctl knows");
    } else {
        em_arena_reset(&talk->arena);
        if (talk->show(talk, reply))
            ctl_finish(ctl, CTL_DONE);
    }
}

static enum ctl_exit converse(struct talk *talk, Eidmap__Envelope *request)
{
    struct ctl *ctl = talk->ctl;
    em_arena_init(&talk->arena, 0);
    enum ctl_exit code =
        ctl_wait(ctl, em_client_send(em_call_client(ctl->call), request, true, on_reply, talk));
    em_arena_fini(&talk->arena);
    return code;
}

static enum ctl_exit ask(struct talk *talk, Eidmap__Envelope *request)
{
    enum ctl_exit code = ctl_open_xtr(talk->ctl);
    if (code)
        return code;
    code = converse(talk, request);
    ctl_close(talk->ctl);
    return code;
}

/* For answers that are a list. */
static enum ctl_exit ask_list(struct talk *talk, Eidmap__Envelope *request,
                              const struct ctl_column *columns, size_t n)
{
    struct ctl *ctl = talk->ctl;
    enum ctl_exit code = ctl_open_xtr(ctl);
    if (code)
        return code;
    talk->json = (struct ctl_json){ctl->out};
    if (ctl->is_json)
        ctl_json_begin(&talk->json, NULL, '[');
    else
        talk->table = ctl_table_new(ctl->out, columns, n);
    code = converse(talk, request);
    if (ctl->is_json) {
        ctl_json_end(&talk->json, ']');
    } else if (!code) {
        ctl_table_sort(talk->table);
        ctl_table_print(talk->table);
    }
    ctl_table_free(talk->table);
    ctl_close(ctl);
    return code;
}

/* EIDs of a message, as many as are well-formed; for a table cell. */
static char *eids_text(Eidmap__Eid **msgs, size_t n)
{
    struct em_eid *eids = em_calloc(n, sizeof(*eids));
    size_t good = 0;
    for (size_t i = 0; i < n; i++)
        if (em_eid_from_msg(msgs[i], &eids[good]) == 0)
            good++;
    char *text = ctl_eids_text(eids, good);
    free(eids);
    return text;
}

static void json_eids(struct ctl_json *json, Eidmap__Eid **msgs, size_t n)
{
    struct em_eid eid;
    ctl_json_begin(json, "eids", '[');
    for (size_t i = 0; i < n; i++)
        if (em_eid_from_msg(msgs[i], &eid) == 0)
            ctl_json_eid(json, NULL, &eid);
    ctl_json_end(json, ']');
}

static struct em_rloc *rlocs_from(Eidmap__Rloc **msgs, size_t n, size_t *ret_n)
{
    struct em_rloc *rlocs = em_calloc(n, sizeof(*rlocs));
    size_t good = 0;
    for (size_t i = 0; i < n; i++)
        if (em_rloc_from_msg(msgs[i], &rlocs[good]) == 0)
            good++;
    *ret_n = good;
    return rlocs;
}

static char *watch_text(const Eidmap__XtrWatch *w)
{
    return em_asprintf("%s on %s: %u of %u ports, %u devices; %" PRIu64 " times full, %" PRIu64
                       " conflicts, %" PRIu64 " bad frames, %" PRIu64 " above the rate",
                       w->network_name, w->bridge[0] ? w->bridge : "no bridge yet", w->n_ports,
                       w->max_ports, w->n_devices, w->n_over, w->n_conflicts, w->n_bad,
                       w->n_dropped);
}

static void json_watch(struct ctl_json *json, const Eidmap__XtrWatch *w)
{
    ctl_json_begin(json, NULL, '{');
    ctl_json_text(json, "network", w->network_name);
    ctl_json_text(json, "bridge", w->bridge);
    ctl_json_uint(json, "n_ports", w->n_ports);
    ctl_json_uint(json, "max_ports", w->max_ports);
    ctl_json_uint(json, "n_devices", w->n_devices);
    ctl_json_uint(json, "n_over", w->n_over);
    ctl_json_uint(json, "n_conflicts", w->n_conflicts);
    ctl_json_uint(json, "n_bad", w->n_bad);
    ctl_json_uint(json, "n_dropped", w->n_dropped);
    ctl_json_end(json, '}');
}

static void print_status(FILE *out, const Eidmap__XtrStatusReply *s, const struct em_rloc *rlocs,
                         size_t n_rlocs)
{
    struct ctl_fields *fields = ctl_fields_new(out);
    char *headless = ctl_duration_text(s->headless_ms);
    ctl_fields_add_take(fields, "node", em_asprintf("%s (%s)", s->node_id, s->software));
    ctl_fields_add_take(fields, "map server",
                        s->server[0] ? ctl_text(s->server)
                                     : em_asprintf("none for %s; what is installed "
                                                   "goes on forwarding",
                                                   headless));
    ctl_fields_add_take(fields, "up", ctl_duration_text(s->uptime_ms));
    ctl_fields_add_take(fields, "data plane", ctl_text(s->dataplane));
    ctl_fields_add_take(fields, "RLOCs", ctl_rlocs_text(rlocs, n_rlocs));
    ctl_fields_add_take(
        fields, "revision",
        em_asprintf("%" PRIu64 ", installed %" PRIu64, s->revision, s->installed_revision));
    ctl_fields_add_take(fields, "ports",
                        em_asprintf("%u local, %" PRIu64 " remote, %u networks", s->n_local_ports,
                                    s->n_remote_ports, s->n_networks));
    ctl_fields_add_take(fields, "entries",
                        em_asprintf("%" PRIu64 ", repaired %" PRIu64, s->n_entries, s->n_drift));
    if (s->n_kept)
        ctl_fields_add_take(fields, "kept",
                            em_asprintf("%" PRIu64 " that the map no longer shows", s->n_kept));
    if (s->n_probed)
        ctl_fields_add_take(fields, "probes",
                            em_asprintf("%u nodes, %u silent", s->n_probed, s->n_silent));
    char *ago = ctl_duration_text(s->reconciled_ms);
    ctl_fields_add_take(fields, "compared",
                        s->n_reconciled
                            ? em_asprintf("%s ago, in %" PRIu64 " ms", ago, s->reconcile_took_ms)
                            : ctl_text("not yet"));
    free(ago);
    for (size_t i = 0; i < s->n_watches; i++)
        ctl_fields_add_take(fields, "watched", watch_text(s->watches[i]));
    if (s->n_misses || s->n_miss_entries)
        ctl_fields_add_take(fields, "misses",
                            em_asprintf("%" PRIu64 ", dropped %" PRIu64 "; %" PRIu64
                                        " resolved, %" PRIu64 " negative; %" PRIu64
                                        " entries, aged %" PRIu64,
                                        s->n_misses, s->n_miss_dropped, s->n_resolved,
                                        s->n_negative, s->n_miss_entries, s->n_miss_aged));
    for (size_t i = 0; i < s->n_problems; i++)
        ctl_fields_add_take(fields, "problem", ctl_text(s->problems[i]));
    ctl_fields_end(fields);
    free(headless);
}

static void json_status(FILE *out, const Eidmap__XtrStatusReply *s, const struct em_rloc *rlocs,
                        size_t n_rlocs)
{
    struct ctl_json json = {out};
    ctl_json_begin(&json, NULL, '{');
    ctl_json_text(&json, "node_id", s->node_id);
    ctl_json_text(&json, "software", s->software);
    ctl_json_text(&json, "dataplane", s->dataplane);
    ctl_json_rlocs(&json, "rlocs", rlocs, n_rlocs);
    ctl_json_text(&json, "server", s->server);
    ctl_json_uint(&json, "headless_ms", s->headless_ms);
    ctl_json_uint(&json, "revision", s->revision);
    ctl_json_uint(&json, "installed_revision", s->installed_revision);
    ctl_json_uint(&json, "n_local_ports", s->n_local_ports);
    ctl_json_uint(&json, "n_networks", s->n_networks);
    ctl_json_uint(&json, "n_remote_ports", s->n_remote_ports);
    ctl_json_uint(&json, "n_entries", s->n_entries);
    ctl_json_uint(&json, "n_drift", s->n_drift);
    ctl_json_uint(&json, "n_reconciled", s->n_reconciled);
    ctl_json_uint(&json, "reconciled_ms", s->reconciled_ms);
    ctl_json_uint(&json, "reconcile_took_ms", s->reconcile_took_ms);
    ctl_json_uint(&json, "n_misses", s->n_misses);
    ctl_json_uint(&json, "n_resolved", s->n_resolved);
    ctl_json_uint(&json, "n_negative", s->n_negative);
    ctl_json_uint(&json, "n_miss_dropped", s->n_miss_dropped);
    ctl_json_uint(&json, "n_miss_aged", s->n_miss_aged);
    ctl_json_uint(&json, "n_miss_entries", s->n_miss_entries);
    ctl_json_words(&json, "problems", (const char *const *)s->problems, s->n_problems);
    ctl_json_uint(&json, "uptime_ms", s->uptime_ms);
    ctl_json_uint(&json, "n_kept", s->n_kept);
    ctl_json_uint(&json, "n_snapshots", s->n_snapshots);
    ctl_json_uint(&json, "saved_revision", s->saved_revision);
    ctl_json_uint(&json, "n_probed", s->n_probed);
    ctl_json_uint(&json, "n_silent", s->n_silent);
    ctl_json_begin(&json, "watches", '[');
    for (size_t i = 0; i < s->n_watches; i++)
        json_watch(&json, s->watches[i]);
    ctl_json_end(&json, ']');
    ctl_json_end(&json, '}');
}

void ctl_xtr_print_status(struct ctl *ctl, const Eidmap__XtrStatusReply *status)
{
    size_t n;
    struct em_rloc *rlocs = rlocs_from(status->rlocs, status->n_rlocs, &n);
    if (ctl->is_json)
        json_status(ctl->out, status, rlocs, n);
    else
        print_status(ctl->out, status, rlocs, n);
    free(rlocs);
}

static bool show_status(struct talk *talk, const Eidmap__Envelope *reply)
{
    ctl_xtr_print_status(talk->ctl, reply->xtr_status_reply);
    return true;
}

static enum ctl_exit run_status(struct ctl *ctl)
{
    struct talk talk = {
        .ctl = ctl, .expects = EIDMAP__ENVELOPE__BODY_XTR_STATUS_REPLY, .show = show_status};
    Eidmap__Envelope request = EIDMAP__ENVELOPE__INIT;
    Eidmap__XtrStatusRequest status = EIDMAP__XTR_STATUS_REQUEST__INIT;
    request.body_case = EIDMAP__ENVELOPE__BODY_XTR_STATUS;
    request.xtr_status = &status;
    ctl_subject(ctl, "xtr status");
    return ask(&talk, &request);
}

static const char *phase_name(Eidmap__PortPhase phase)
{
    switch (phase) {
    case EIDMAP__PORT_PHASE__PHASE_WAITING:
        return "waiting";
    case EIDMAP__PORT_PHASE__PHASE_REGISTERING:
        return "registering";
    case EIDMAP__PORT_PHASE__PHASE_INSTALLING:
        return "installing";
    case EIDMAP__PORT_PHASE__PHASE_INSTALLED:
        return "installed";
    case EIDMAP__PORT_PHASE__PHASE_REFUSED:
        return "refused";
    case EIDMAP__PORT_PHASE__PHASE_PENDING:
        return "pending";
    case EIDMAP__PORT_PHASE__PHASE_UNSPECIFIED:
    case _EIDMAP__PORT_PHASE_IS_INT_SIZE:
        break;
    }
    return "?";
}

static void json_local(struct ctl_json *json, const Eidmap__LocalPort *port)
{
    char id[EM_PORT_ID_TEXT];
    ctl_json_begin(json, NULL, '{');
    ctl_json_text(json, "id", em_port_id_format(port->id.data, port->id.len, id));
    ctl_json_text(json, "network", port->network_name);
    json_eids(json, port->eids, port->n_eids);
    ctl_json_text(json, "device", port->device);
    ctl_json_text(json, "phase", phase_name(port->phase));
    ctl_json_text(json, "problem", port->problem);
    ctl_json_uint(json, "epoch", port->epoch);
    ctl_json_uint(json, "segmentation_id", port->segmentation_id);
    ctl_json_text(json, "source", port->source);
    ctl_json_bool(json, "multihomed", port->multihomed);
    ctl_json_uint(json, "priority", port->priority);
    ctl_json_uint(json, "weight", port->weight);
    ctl_json_uint(json, "attach_us", port->attach_us);
    ctl_json_bool(json, "pending", port->pending);
    if (port->parent.len)
        ctl_json_text(json, "parent", em_port_id_format(port->parent.data, port->parent.len, id));
    else
        ctl_json_null(json, "parent");
    ctl_json_uint(json, "tag", port->tag);
    ctl_json_end(json, '}');
}

static char *id_text(const ProtobufCBinaryData *id)
{
    char text[EM_PORT_ID_TEXT];
    return em_strdup(em_port_id_format(id->data, id->len, text));
}

static char *phase_text(const Eidmap__LocalPort *port)
{
    if (!port->problem[0])
        return ctl_text(phase_name(port->phase));
    return em_asprintf("%s: %s", phase_name(port->phase), port->problem);
}

static char *device_text(const Eidmap__LocalPort *port)
{
    return port->tag ? em_asprintf("%s tag %u", port->device, port->tag) : ctl_text(port->device);
}

static bool show_ports(struct talk *talk, const Eidmap__Envelope *reply)
{
    const Eidmap__XtrPortsReply *part = reply->xtr_ports_reply;
    for (size_t i = 0; i < part->n_ports; i++) {
        const Eidmap__LocalPort *port = part->ports[i];
        if (!talk->table) {
            json_local(&talk->json, port);
            continue;
        }
        ctl_table_add_take(talk->table, (char *[]){
                                            id_text(&port->id),
                                            ctl_text(port->network_name),
                                            device_text(port),
                                            eids_text(port->eids, port->n_eids),
                                            ctl_uint_text(port->segmentation_id),
                                            ctl_text(port->source),
                                            phase_text(port),
                                        });
    }
    return !part->more;
}

#define COLUMNS(columns) columns, sizeof(columns) / sizeof((columns)[0])

static enum ctl_exit run_ports(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {
        {"PORT"}, {"NETWORK"}, {"DEVICE"}, {"EIDS"}, {"VNI", true}, {"SOURCE"}, {"PHASE"},
    };
    struct talk talk = {
        .ctl = ctl, .expects = EIDMAP__ENVELOPE__BODY_XTR_PORTS_REPLY, .show = show_ports};
    Eidmap__Envelope request = EIDMAP__ENVELOPE__INIT;
    Eidmap__XtrPortsRequest ports = EIDMAP__XTR_PORTS_REQUEST__INIT;
    request.body_case = EIDMAP__ENVELOPE__BODY_XTR_PORTS;
    request.xtr_ports = &ports;
    ctl_subject(ctl, "xtr ports");
    return ask_list(&talk, &request, COLUMNS(columns));
}

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

static bool show_nodes(struct talk *talk, const Eidmap__Envelope *reply)
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

static enum ctl_exit run_nodes(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {
        {"NODE"},        {"RLOC"},        {"MAP"},       {"PROBE"},
        {"SINCE", true}, {"EVERY", true}, {"RTT", true}, {"LOCATIONS", true},
    };
    struct talk talk = {
        .ctl = ctl, .expects = EIDMAP__ENVELOPE__BODY_XTR_NODES_REPLY, .show = show_nodes};
    Eidmap__Envelope request = EIDMAP__ENVELOPE__INIT;
    Eidmap__XtrNodesRequest nodes = EIDMAP__XTR_NODES_REQUEST__INIT;
    request.body_case = EIDMAP__ENVELOPE__BODY_XTR_NODES;
    request.xtr_nodes = &nodes;
    ctl_subject(ctl, "xtr nodes");
    return ask_list(&talk, &request, COLUMNS(columns));
}

static void json_kept(struct ctl_json *json, const char *kind, const struct em_change *change)
{
    ctl_json_begin(json, NULL, '{');
    ctl_json_text(json, "kind", kind);
    ctl_json_record(json, "record", change);
    ctl_json_end(json, '}');
}

/* Records that are not valid are passed over: they were never used either. */
static void json_cache(struct talk *talk, const Eidmap__XtrCacheReply *part)
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

static void keep_names(struct talk *talk, const Eidmap__XtrCacheReply *part)
{
    for (size_t i = 0; i < part->n_networks; i++) {
        talk->names = em_realloc(talk->names, (talk->n_names + 1) * sizeof(*talk->names));
        talk->names[talk->n_names++] =
            (struct network_name){part->networks[i]->id, em_strdup(part->networks[i]->name)};
    }
}

static char *network_text(const struct talk *talk, uint32_t id)
{
    for (size_t i = 0; i < talk->n_names; i++)
        if (talk->names[i].id == id)
            return em_strdup(talk->names[i].name);
    return ctl_uint_text(id);
}

static bool show_cache(struct talk *talk, const Eidmap__Envelope *reply)
{
    const Eidmap__XtrCacheReply *part = reply->xtr_cache_reply;
    if (talk->ctl->is_json) {
        json_cache(talk, part);
        return !part->more;
    }
    keep_names(talk, part);
    for (size_t i = 0; i < part->n_ports; i++) {
        const struct em_port *port = em_port_from_msg(&talk->arena, part->ports[i]);
        if (!port)
            continue;
        ctl_table_add_take(talk->table, (char *[]){
                                            ctl_port_id_text(&port->id),
                                            network_text(talk, port->network_id),
                                            ctl_eids_text(port->eids, port->n_eids),
                                            ctl_locations_text(port->locations, port->n_locations),
                                        });
    }
    return !part->more;
}

static enum ctl_exit run_cache(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {
        {"PORT"},
        {"NETWORK"},
        {"EIDS"},
        {"LOCATIONS"},
    };
    struct talk talk = {
        .ctl = ctl, .expects = EIDMAP__ENVELOPE__BODY_XTR_CACHE_REPLY, .show = show_cache};
    Eidmap__Envelope request = EIDMAP__ENVELOPE__INIT;
    Eidmap__XtrCacheRequest cache = EIDMAP__XTR_CACHE_REQUEST__INIT;
    if (ctl->n_words)
        cache.network_name = ctl->words[0];
    request.body_case = EIDMAP__ENVELOPE__BODY_XTR_CACHE;
    request.xtr_cache = &cache;
    ctl_subject(ctl, "xtr cache");
    enum ctl_exit code = ask_list(&talk, &request, COLUMNS(columns));
    for (size_t i = 0; i < talk.n_names; i++)
        free(talk.names[i].name);
    free(talk.names);
    return code;
}

static bool show_check(struct talk *talk, const Eidmap__Envelope *reply)
{
    const Eidmap__XtrCheckReply *part = reply->xtr_check_reply;
    talk->n_checked += part->checked;
    talk->n_omitted += part->omitted;
    talk->n_undumped += part->undumped;
    for (size_t i = 0; i < part->n_differences; i++) {
        const Eidmap__XtrDifference *d = part->differences[i];
        if (strcmp(d->kind, "foreign") == 0)
            talk->n_foreign++;
        else
            talk->n_different++;
        if (talk->table) {
            ctl_table_add_take(talk->table, (char *[]){
                                                ctl_text(d->network_name),
                                                ctl_text(d->table),
                                                ctl_text(d->kind),
                                                ctl_text(d->entry),
                                            });
            continue;
        }
        ctl_json_begin(&talk->json, NULL, '{');
        ctl_json_text(&talk->json, "network", d->network_name);
        ctl_json_text(&talk->json, "table", d->table);
        ctl_json_text(&talk->json, "kind", d->kind);
        ctl_json_text(&talk->json, "entry", d->entry);
        ctl_json_end(&talk->json, '}');
    }
    return !part->more;
}

/* A stranger's entry is shown, but it is no fault of the map or the kernel. */
static enum ctl_exit run_check(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {{"NETWORK"}, {"TABLE"}, {"KIND"}, {"ENTRY"}};
    struct talk talk = {
        .ctl = ctl, .expects = EIDMAP__ENVELOPE__BODY_XTR_CHECK_REPLY, .show = show_check};
    Eidmap__Envelope request = EIDMAP__ENVELOPE__INIT;
    Eidmap__XtrCheckRequest check = EIDMAP__XTR_CHECK_REQUEST__INIT;
    check.repair = ctl_option(ctl, "repair") != NULL;
    request.body_case = EIDMAP__ENVELOPE__BODY_XTR_CHECK;
    request.xtr_check = &check;
    ctl_subject(ctl, "xtr check");
    enum ctl_exit code = ask_list(&talk, &request, COLUMNS(columns));
    if (code)
        return code;
    ctl_say(ctl, "%" PRIu64 " entries checked, %" PRIu64 " %s, %" PRIu64 " foreign", talk.n_checked,
            talk.n_different, check.repair ? "repaired" : "different", talk.n_foreign);
    if (talk.n_omitted)
        ctl_say(ctl, "%" PRIu64 " more differences are not listed", talk.n_omitted);
    if (talk.n_undumped)
        ctl_say(ctl,
                "%" PRIu64 " networks are too large to be dumped: entries of xtr's that are in "
                "excess there were not looked for",
                talk.n_undumped);
    return talk.n_different + talk.n_omitted && !check.repair ? CTL_REFUSED : CTL_DONE;
}

static bool show_accepted(struct talk *talk, const Eidmap__Envelope *reply)
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

static enum ctl_exit run_accept(struct ctl *ctl)
{
    struct talk talk = {
        .ctl = ctl, .expects = EIDMAP__ENVELOPE__BODY_XTR_ACCEPT_REPLY, .show = show_accepted};
    Eidmap__Envelope request = EIDMAP__ENVELOPE__INIT;
    Eidmap__XtrAccept accept = EIDMAP__XTR_ACCEPT__INIT;
    if (ctl->n_words)
        accept.network_name = ctl->words[0];
    request.body_case = EIDMAP__ENVELOPE__BODY_XTR_ACCEPT;
    request.xtr_accept = &accept;
    ctl_subject(ctl, "xtr accept");
    return ask(&talk, &request);
}

enum ctl_exit ctl_xtr_print_port(struct ctl *ctl, const Eidmap__LocalPort *port)
{
    struct ctl_json json = {ctl->out};
    if (ctl->is_json)
        json_local(&json, port);
    if (port->phase == EIDMAP__PORT_PHASE__PHASE_REFUSED)
        return ctl_fail(ctl, CTL_REFUSED, "%s: %s", ctl->subject, port->problem);
    char *took = ctl_duration_text((port->attach_us + 999) / 1000);
    char *phase = phase_text(port);
    if (port->phase == EIDMAP__PORT_PHASE__PHASE_INSTALLED)
        ctl_say(ctl, "%s: installed on %s after %s, VNI %u, epoch %" PRIu64, ctl->subject,
                port->device, took, port->segmentation_id, port->epoch);
    else if (port->phase == EIDMAP__PORT_PHASE__PHASE_PENDING)
        ctl_say(ctl, "%s: pending on %s until the guest is there", ctl->subject, port->device);
    else
        ctl_say(ctl, "%s: accepted; %s", ctl->subject, phase);
    free(took);
    free(phase);
    return CTL_DONE;
}

static bool show_attached(struct talk *talk, const Eidmap__Envelope *reply)
{
    const Eidmap__LocalPort *port = reply->xtr_attach_reply->port;
    if (port)
        talk->verdict = ctl_xtr_print_port(talk->ctl, port);
    return true;
}

/* The message of a port on the command line; it points into 'arena' and 'port'. */
static bool local_port(struct ctl *ctl, struct em_arena *arena, struct ctl_port *port,
                       Eidmap__LocalPort *ret_msg)
{
    uint8_t priority = 0, weight = 0;
    if (!ctl_port_eids(ctl, port) || !ctl_port_rank(ctl, &priority, &weight))
        return false;
    size_t n = port->port.n_eids;
    Eidmap__Eid **eids = em_arena_alloc(arena, n * sizeof(Eidmap__Eid *));
    for (size_t i = 0; eids && i < n; i++)
        if (!(eids[i] = em_eid_to_msg(arena, &port->eids[i])))
            return false;
    *ret_msg = (Eidmap__LocalPort)EIDMAP__LOCAL_PORT__INIT;
    ret_msg->id = (ProtobufCBinaryData){port->port.id.size, port->port.id.bytes};
    ret_msg->network_name = (char *)ctl_option(ctl, "network");
    ret_msg->eids = eids;
    ret_msg->n_eids = n;
    ret_msg->device = (char *)ctl_option(ctl, "dev");
    ret_msg->priority = priority;
    ret_msg->weight = weight;
    ret_msg->multihomed = ctl_option(ctl, "multihomed") != NULL;
    ret_msg->pending = ctl_option(ctl, "pending") != NULL;
    return eids != NULL;
}

static enum ctl_exit attach(struct ctl *ctl, Eidmap__LocalPort *port)
{
    struct talk talk = {
        .ctl = ctl, .expects = EIDMAP__ENVELOPE__BODY_XTR_ATTACH_REPLY, .show = show_attached};
    Eidmap__Envelope request = EIDMAP__ENVELOPE__INIT;
    Eidmap__XtrAttach body = EIDMAP__XTR_ATTACH__INIT;
    body.port = port;
    body.wait = !ctl_option(ctl, "no-wait");
    request.body_case = EIDMAP__ENVELOPE__BODY_XTR_ATTACH;
    request.xtr_attach = &body;
    enum ctl_exit code = ask(&talk, &request);
    return code ? code : talk.verdict;
}

static enum ctl_exit run_attach(struct ctl *ctl)
{
    struct em_arena arena;
    Eidmap__LocalPort msg;
    if (!ctl_option(ctl, "network") || !ctl_option(ctl, "dev"))
        return ctl_fail(ctl, CTL_USAGE, "port %s: give --network NAME and --dev DEVICE",
                        ctl->words[0]);
    struct ctl_port *port = em_calloc(1, sizeof(*port));
    enum ctl_exit code = CTL_USAGE;
    em_arena_init(&arena, 0);
    ctl_subject(ctl, "port %s", ctl->words[0]);
    if (ctl_port_id(ctl, &port->port.id) && local_port(ctl, &arena, port, &msg))
        code = attach(ctl, &msg);
    em_arena_fini(&arena);
    free(port);
    return code;
}

/* The xTR withdraws it from the map by itself, at once or when a server is there again: the
 * revision in the reply is that of before. */
static bool show_detached(struct talk *talk, const Eidmap__Envelope *reply)
{
    struct ctl *ctl = talk->ctl;
    if (ctl->is_json)
        ctl_report(ctl, "detached", reply->done->revision);
    ctl_say(ctl, "%s: detached", ctl->subject);
    return true;
}

static enum ctl_exit run_detach(struct ctl *ctl)
{
    struct talk talk = {.ctl = ctl, .expects = EIDMAP__ENVELOPE__BODY_DONE, .show = show_detached};
    struct em_port_id id;
    Eidmap__Envelope request = EIDMAP__ENVELOPE__INIT;
    Eidmap__XtrDetach detach = EIDMAP__XTR_DETACH__INIT;
    if (!ctl_port_id(ctl, &id))
        return CTL_USAGE;
    detach.id = (ProtobufCBinaryData){id.size, id.bytes};
    request.body_case = EIDMAP__ENVELOPE__BODY_XTR_DETACH;
    request.xtr_detach = &detach;
    ctl_subject(ctl, "port %s", ctl->words[0]);
    return ask(&talk, &request);
}

#define SOCKET_OPTION                                                                              \
    {                                                                                              \
        "xtr", 'S', "PATH", "the xTR's socket (" CTL_DEFAULT_XTR ")"                               \
    }

static const struct ctl_option socket_options[] = {
    SOCKET_OPTION,
    {NULL},
};

static const struct ctl_option attach_options[] = {
    SOCKET_OPTION,
    {"network", 'n', "NAME", "the network it is in"},
    {"mac", 0, "MAC", "may be repeated"},
    {"ip", 0, "ADDRESS", "address or prefix; may be repeated"},
    {"eid", 0, "EID", "any other: a DNS name, tcp/ADDRESS:PORT; may be repeated"},
    {"dev", 'd', "DEVICE", "the tap or veth of the endpoint on this host"},
    {"priority", 0, "N", "of this location: the lowest is used, 255 never (0)"},
    {"weight", 0, "N", "of this location: share among equal priorities (0)"},
    {"multihomed", 0, NULL, "stay beside the port's other locations"},
    {"pending", 0, NULL, "its guest is about to arrive by live migration"},
    {"no-wait", 0, NULL, "do not wait until it is installed"},
    {NULL},
};

static const struct ctl_option check_options[] = {
    SOCKET_OPTION,
    {"repair", 0, NULL, "put right what differs"},
    {NULL},
};

static const struct ctl_option trace_options[] = {
    SOCKET_OPTION,
    {"from", 0, "PORT", "the port on this host that sends"},
    {NULL},
};

const struct ctl_command ctl_xtr_commands[] = {
    {"status", "", 0, 0, socket_options, run_status, "Show how the xTR is", NULL,
     "mapctl xtr status"},
    {"ports", "", 0, 0, socket_options, run_ports, "List the ports on this host", NULL,
     "mapctl xtr ports"},
    {"cache", "[NETWORK]", 0, 1, socket_options, run_cache, "List the map-cache",
     "JSON has the networks and nodes, too.\n", "mapctl xtr cache blue"},
    {"nodes", "", 0, 0, socket_options, run_nodes, "List the other nodes, as the xTR sees them",
     "MAP is the state by the map.  PROBE is \"up\" for a node that answers probes, \"refused\"\n"
     "for one whose kernel answers and whose agent is away, \"silent\" for one that has answered\n"
     "and does not any more, and \"unknown\" for one that never has.\n",
     "mapctl xtr nodes"},
    {"attach", "PORT --network NAME --mac MAC --ip ADDRESS --dev DEVICE", 1, 1, attach_options,
     run_attach, "Put a port on this host into the map",
     "Waits until the map has it and the kernel has every entry; -t is for how long.\n"
     "With --pending the device only goes into the network.  The port is taken over when the\n"
     "guest announces itself there (RARP, gratuitous ARP, unsolicited neighbour advertisement),\n"
     "when 'mapctl port move --activate' says so, or by an attach without --pending.\n",
     "mapctl xtr attach web-1 --network blue --mac 52:54:00:00:00:01 \\\n"
     "       --ip 10.1.0.5 --dev tap0"},
    {"detach", "PORT", 1, 1, socket_options, run_detach, "Take a port of this host out of the map",
     NULL, "mapctl xtr detach web-1"},
    {"check", "[--repair]", 0, 0, check_options, run_check, "Compare the map-cache with the kernel",
     "Prints every entry that differs; exit code 1 if there is one that was not repaired.\n"
     "The agent does so by itself, and repairs, as often as its option 'reconcile' says.\n",
     "mapctl xtr check --repair"},
    {"accept", "[NETWORK]", 0, 1, socket_options, run_accept,
     "Take a map that shows much less than was known",
     "After a map server has shown much less than it had before, the xTR keeps what it knew,\n"
     "in case that the server was wiped; 'mapctl xtr status' tells it.  This lets it go, in one\n"
     "network or everywhere.  Where the server has a new database, all of that is taken.\n",
     "mapctl xtr accept blue"},
    {"trace", "NETWORK EID [--from PORT]", 2, 2, trace_options, ctl_xtr_run_trace,
     "Say what a packet to an EID meets on this host",
     "Step by step: the map-cache and why a location is chosen, the kernel's entries, the way to\n"
     "the other host.  An EID is a MAC, an address or port:ID.  Exit code 1 if a step is wrong.\n",
     "mapctl xtr trace blue 10.1.0.12 --from vm1"},
    {NULL},
};
