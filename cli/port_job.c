#include "call.h"
#include "port.h"
#include "port_args.h"
#include "record.h"

#include <stdlib.h>

static void on_resolved(void *aux, const struct em_reply *reply)
{
    struct ctl_port_job *job = aux;
    const struct em_port *port = reply->n_answers ? reply->answers[0].port : NULL;
    if (reply->err) {
        ctl_refused(job->ctl, reply);
        return;
    }
    if (port) {
        job->is_found = true;
        job->request = job->on_port(job, reply, port);
    }
    ctl_finish(job->ctl, CTL_DONE);
}

enum ctl_exit ctl_port_read(struct ctl_port_job *job)
{
    struct em_eid eid = {
        .kind = EM_EID_PORT_ID,
        .size = job->id.size,
        .name = (const char *)job->id.bytes,
    };
    struct em_client *client = em_call_client(job->ctl->call);
    unsigned flags = EM_RESOLVE_NODES | (job->is_local ? 0 : EM_RESOLVE_CONSISTENT);
    job->is_found = false;
    enum ctl_exit code =
        ctl_wait(job->ctl, em_client_resolve(client, 0, NULL, &eid, 1, flags, on_resolved, job));
    if (code)
        return code;
    if (!job->is_found)
        return ctl_not_found(job->ctl);
    return job->request ? ctl_wait(job->ctl, job->request) : job->code;
}

enum ctl_exit ctl_port_begin(struct ctl_port_job *job, struct ctl *ctl)
{
    char text[EM_PORT_ID_TEXT];
    *job = (struct ctl_port_job){.ctl = ctl};
    if (!ctl_port_id(ctl, &job->id))
        return CTL_USAGE;
    ctl_subject(ctl, "port %s", em_port_id_format(job->id.bytes, job->id.size, text));
    return ctl_open(ctl);
}

void ctl_port_on_registered(void *aux, const struct em_reply *reply)
{
    struct ctl_port_job *job = aux;
    struct ctl *ctl = job->ctl;
    if (reply->err == EM_E_CONFLICT && reply->current) {
        char *holder = ctl_port_id_text(&reply->current->id);
        char *places = ctl_places_text(reply->current->locations, reply->current->n_locations);
        ctl_finish(ctl, ctl_fail(ctl, CTL_REFUSED, "%s: %s; the holder is port %s at %s",
                                 ctl->subject, reply->message, holder, places));
        free(holder);
        free(places);
        return;
    }
    if (!reply->err)
        ctl_report(ctl, job->before ? job->before : "registered", reply->revision);
    ctl_on_reply(ctl, reply);
}
