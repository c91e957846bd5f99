/* "xtr ports", "xtr attach", "xtr detach": the ports on this host. */
#include "xtr.h"

#include "call.h"
#include "port_args.h"
#include "record.h"
#include "target.h"
#include "talk.h"

#include "base/list.h"
#include "wire/convert.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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

static bool show_ports(struct ctl_talk *talk, const Eidmap__Envelope *reply)
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

enum ctl_exit ctl_xtr_run_ports(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {
        {"PORT"}, {"NETWORK"}, {"DEVICE"}, {"EIDS"}, {"VNI", true}, {"SOURCE"}, {"PHASE"},
    };
    Eidmap__XtrPortsRequest body = EIDMAP__XTR_PORTS_REQUEST__INIT;
    struct ctl_talk talk = CTL_TALK(ctl, XTR_PORTS, &body, XTR_PORTS_REPLY, show_ports);
    ctl_subject(ctl, "xtr ports");
    return ctl_talk_list(&talk, columns);
}

static enum ctl_exit print_port(struct ctl *ctl, const Eidmap__LocalPort *port)
{
    struct ctl_json json = {ctl->out};
    if (ctl->is_json)
        json_local(&json, port);
    if (port->phase == EIDMAP__PORT_PHASE__PHASE_REFUSED)
        return ctl_fail(ctl, CTL_REFUSED, "%s: %s", ctl->subject, port->problem);
    char *took = ctl_duration_text((port->attach_us + 999) / 1000);
    char *phase = phase_text(port);
    if (port->phase == EIDMAP__PORT_PHASE__PHASE_INSTALLED)
        ctl_say(ctl, "%s: installed on %s after %s, VNI %u, epoch %" PRIu64 "%s%s", ctl->subject,
                port->device, took, port->segmentation_id, port->epoch,
                port->problem[0] ? "; " : "", port->problem);
    else if (port->phase == EIDMAP__PORT_PHASE__PHASE_PENDING)
        ctl_say(ctl, "%s: pending on %s until the guest is there", ctl->subject, port->device);
    else
        ctl_say(ctl, "%s: accepted; %s", ctl->subject, phase);
    free(took);
    free(phase);
    return CTL_DONE;
}

static bool show_attached(struct ctl_talk *talk, const Eidmap__Envelope *reply)
{
    const Eidmap__LocalPort *port = reply->xtr_attach_reply->port;
    if (port)
        talk->verdict = print_port(talk->ctl, port);
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

/* What a port waits for that was not installed in time. */
struct waiting {
    struct ctl_talk talk;
    ProtobufCBinaryData id;
};

static bool show_waiting(struct ctl_talk *talk, const Eidmap__Envelope *reply)
{
    const struct waiting *waiting = em_container_of(talk, struct waiting, talk);
    const Eidmap__XtrPortsReply *part = reply->xtr_ports_reply;
    for (size_t i = 0; i < part->n_ports; i++) {
        const Eidmap__LocalPort *port = part->ports[i];
        if (port->id.len != waiting->id.len ||
            memcmp(port->id.data, waiting->id.data, port->id.len))
            continue;
        char *phase = phase_text(port);
        talk->verdict = ctl_fail(talk->ctl, CTL_REFUSED,
                                 "%s: it is attached, and %s; 'mapctl xtr detach' takes "
                                 "it back",
                                 talk->ctl->subject, phase);
        free(phase);
    }
    return !part->more;
}

static enum ctl_exit tell_waiting(struct ctl *ctl, ProtobufCBinaryData id)
{
    Eidmap__XtrPortsRequest body = EIDMAP__XTR_PORTS_REQUEST__INIT;
    struct waiting waiting = {CTL_TALK(ctl, XTR_PORTS, &body, XTR_PORTS_REPLY, show_waiting), id};
    waiting.talk.verdict = CTL_NO_SERVER;
    return ctl_talk_run(&waiting.talk);
}

static enum ctl_exit attach(struct ctl *ctl, Eidmap__LocalPort *port)
{
    Eidmap__XtrAttach body = EIDMAP__XTR_ATTACH__INIT;
    struct ctl_talk talk = CTL_TALK(ctl, XTR_ATTACH, &body, XTR_ATTACH_REPLY, show_attached);
    body.port = port;
    body.wait = !ctl_option(ctl, "no-wait");
    enum ctl_exit code = ctl_talk_run(&talk);
    bool was_late = code == CTL_NO_SERVER && talk.was_there && body.wait;
    return was_late ? tell_waiting(ctl, port->id) : code;
}

enum ctl_exit ctl_xtr_run_attach(struct ctl *ctl)
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

/* Without --wait the xTR withdraws it from the map by itself, at once or when a server is there
 * again.  The revision in the reply is that of before. */
static bool show_detached(struct ctl_talk *talk, const Eidmap__Envelope *reply)
{
    struct ctl *ctl = talk->ctl;
    if (ctl->is_json)
        ctl_report(ctl, "detached", reply->done->revision);
    ctl_say(ctl, "%s: detached", ctl->subject);
    return true;
}

enum ctl_exit ctl_xtr_run_detach(struct ctl *ctl)
{
    Eidmap__XtrDetach body = EIDMAP__XTR_DETACH__INIT;
    struct ctl_talk talk = CTL_TALK(ctl, XTR_DETACH, &body, DONE, show_detached);
    struct em_port_id id;
    if (!ctl_port_id(ctl, &id))
        return CTL_USAGE;
    body.id = (ProtobufCBinaryData){id.size, id.bytes};
    body.wait = ctl_option(ctl, "wait") != NULL;
    ctl_subject(ctl, "port %s", ctl->words[0]);
    return ctl_talk_run(&talk);
}
