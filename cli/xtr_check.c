/* "xtr check": the map-cache beside the kernel, which the agent compares. */
#include "xtr.h"

#include "call.h"
#include "record.h"
#include "talk.h"

#include "base/list.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct check {
    struct ctl_talk talk;
    uint64_t n_checked, n_different, n_foreign, n_omitted, n_undumped;
    char *failure; /* NULL: none */
};

static bool show_check(struct ctl_talk *talk, const Eidmap__Envelope *reply)
{
    struct check *check = em_container_of(talk, struct check, talk);
    const Eidmap__XtrCheckReply *part = reply->xtr_check_reply;
    check->n_checked += part->checked;
    check->n_omitted += part->omitted;
    check->n_undumped += part->undumped;
    if (part->failure[0] && !check->failure)
        check->failure = em_strdup(part->failure);
    for (size_t i = 0; i < part->n_differences; i++) {
        const Eidmap__XtrDifference *d = part->differences[i];
        if (strcmp(d->kind, "foreign") == 0)
            check->n_foreign++;
        else
            check->n_different++;
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

static void sum_up(struct ctl *ctl, const struct check *check, bool is_repair)
{
    ctl_say(ctl, "%" PRIu64 " entries checked, %" PRIu64 " %s, %" PRIu64 " foreign",
            check->n_checked, check->n_different,
            is_repair && !check->failure ? "repaired" : "different", check->n_foreign);
    if (check->n_omitted)
        ctl_say(ctl, "%" PRIu64 " more differences are not listed", check->n_omitted);
    if (check->n_undumped)
        ctl_say(ctl,
                "%" PRIu64 " networks are too large to be dumped: entries of xtr's that are in "
                "excess there were not looked for",
                check->n_undumped);
}

/* A stranger's entry is shown, but it is no fault of the map or the kernel. */
enum ctl_exit ctl_xtr_run_check(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {{"NETWORK"}, {"TABLE"}, {"KIND"}, {"ENTRY"}};
    Eidmap__XtrCheckRequest body = EIDMAP__XTR_CHECK_REQUEST__INIT;
    struct check check = {CTL_TALK(ctl, XTR_CHECK, &body, XTR_CHECK_REPLY, show_check)};
    body.repair = ctl_option(ctl, "repair") != NULL;
    ctl_subject(ctl, "xtr check");
    enum ctl_exit code = ctl_talk_list(&check.talk, columns);
    if (!code)
        sum_up(ctl, &check, body.repair);
    if (!code && check.n_different + check.n_omitted && !body.repair)
        code = CTL_REFUSED;
    if (check.failure)
        code = ctl_fail(ctl, CTL_REFUSED,
                        "not everything could be looked at%s: %s; the xTR's log "
                        "says more",
                        body.repair ? " or repaired" : "", check.failure);
    free(check.failure);
    return code;
}
