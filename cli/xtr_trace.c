/* "xtr trace": the agent looks, here its steps are printed. */
#include "xtr.h"

#include "call.h"
#include "steps.h"

#include "base/mem.h"
#include "client/request.h"
#include "wire/convert.h"

#include <string.h>

enum ctl_exit ctl_xtr_print_trace(struct ctl *ctl, const Eidmap__XtrTraceReply *reply)
{
    struct ctl_steps steps;
    ctl_steps_begin(&steps, ctl);
    ctl_steps_title(&steps, "%s, on this host:", ctl->subject);
    for (size_t i = 0; i < reply->n_steps; i++) {
        const Eidmap__XtrTraceStep *step = reply->steps[i];
        ctl_steps_add(&steps, "", step->name, step->wrong, step->found, step->advice);
    }
    return ctl_steps_end(&steps);
}

static void on_reply(void *aux, int err, const Eidmap__Envelope *reply)
{
    struct ctl *ctl = aux;
    if (err)
        ctl_refused_with(ctl, err, NULL);
    else if (reply->body_case == EIDMAP__ENVELOPE__BODY_ERROR)
        ctl_refused_with(ctl, em_error_from_wire((int)reply->error->code), reply->error->message);
    else if (reply->body_case == EIDMAP__ENVELOPE__BODY_XTR_TRACE_REPLY)
        ctl_finish(ctl, ctl_xtr_print_trace(ctl, reply->xtr_trace_reply));
    else
        ctl_refused_with(ctl, EM_E_UNSUPPORTED, "the answer is none that mapctl knows");
}

static enum ctl_exit ask(struct ctl *ctl, const struct em_eid *eid, const struct em_port_id *from)
{
    struct em_arena arena;
    Eidmap__Envelope request = EIDMAP__ENVELOPE__INIT;
    Eidmap__XtrTrace trace = EIDMAP__XTR_TRACE__INIT;
    enum ctl_exit code = ctl_open_xtr(ctl);
    if (code)
        return code;
    em_arena_init(&arena, 0);
    trace.network_name = ctl->words[0];
    trace.eid = em_eid_to_msg(&arena, eid);
    trace.from = (ProtobufCBinaryData){from->size, (uint8_t *)from->bytes};
    request.body_case = EIDMAP__ENVELOPE__BODY_XTR_TRACE;
    request.xtr_trace = &trace;
    code = ctl_wait(ctl, em_client_send(em_call_client(ctl->call), &request, true, on_reply, ctl));
    em_arena_fini(&arena);
    ctl_close(ctl);
    return code;
}

enum ctl_exit ctl_xtr_run_trace(struct ctl *ctl)
{
    struct em_eid eid;
    struct em_port_id from = {.size = 0};
    char name[EM_EID_TEXT], why[EM_ADDR_WHY];
    const char *text = ctl_option(ctl, "from");
    if (em_eid_parse(ctl->words[1], &eid, name, why))
        return ctl_fail(ctl, CTL_USAGE, "EID %s: %s", ctl->words[1], why);
    if (eid.kind != EM_EID_MAC && eid.kind != EM_EID_IPV4 && eid.kind != EM_EID_IPV6 &&
        eid.kind != EM_EID_PORT_ID)
        return ctl_fail(ctl, CTL_USAGE, "EID %s: expected a MAC, an address or port:ID",
                        ctl->words[1]);
    if (text && em_port_id_parse(text, &from, why))
        return ctl_fail(ctl, CTL_USAGE, "--from %s: %s", text, why);
    ctl_subject(ctl, "%s in network %s", ctl->words[1], ctl->words[0]);
    return ask(ctl, &eid, &from);
}
