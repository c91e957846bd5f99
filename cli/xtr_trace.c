/* "xtr trace": the agent looks, here its steps are printed. */
#include "xtr.h"

#include "call.h"
#include "steps.h"
#include "talk.h"

#include "base/mem.h"
#include "wire/convert.h"

#include <string.h>

static bool show_trace(struct ctl_talk *talk, const Eidmap__Envelope *reply)
{
    const Eidmap__XtrTraceReply *trace = reply->xtr_trace_reply;
    struct ctl_steps steps;
    ctl_steps_begin(&steps, talk->ctl);
    ctl_steps_title(&steps, "%s, on this host:", talk->ctl->subject);
    for (size_t i = 0; i < trace->n_steps; i++) {
        const Eidmap__XtrTraceStep *step = trace->steps[i];
        ctl_steps_add(&steps, "", step->name, step->wrong, step->found, step->advice);
    }
    talk->verdict = ctl_steps_end(&steps);
    return true;
}

static enum ctl_exit ask(struct ctl *ctl, const struct em_eid *eid, const struct em_port_id *from)
{
    struct em_arena arena;
    Eidmap__XtrTrace body = EIDMAP__XTR_TRACE__INIT;
    struct ctl_talk talk = CTL_TALK(ctl, XTR_TRACE, &body, XTR_TRACE_REPLY, show_trace);
    em_arena_init(&arena, 0);
    body.network_name = ctl->words[0];
    body.eid = em_eid_to_msg(&arena, eid);
    body.from = (ProtobufCBinaryData){from->size, (uint8_t *)from->bytes};
    enum ctl_exit code = ctl_talk_run(&talk);
    em_arena_fini(&arena);
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
