/* "xtr status". */
#include "xtr.h"

#include "call.h"
#include "record.h"
#include "talk.h"

#include "base/mem.h"
#include "wire/convert.h"

#include <inttypes.h>
#include <stdlib.h>

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

static bool show_status(struct ctl_talk *talk, const Eidmap__Envelope *reply)
{
    const Eidmap__XtrStatusReply *status = reply->xtr_status_reply;
    size_t n;
    struct em_rloc *rlocs = rlocs_from(status->rlocs, status->n_rlocs, &n);
    if (talk->ctl->is_json)
        json_status(talk->ctl->out, status, rlocs, n);
    else
        print_status(talk->ctl->out, status, rlocs, n);
    free(rlocs);
    return true;
}

enum ctl_exit ctl_xtr_run_status(struct ctl *ctl)
{
    Eidmap__XtrStatusRequest body = EIDMAP__XTR_STATUS_REQUEST__INIT;
    struct ctl_talk talk = CTL_TALK(ctl, XTR_STATUS, &body, XTR_STATUS_REPLY, show_status);
    ctl_subject(ctl, "xtr status");
    return ctl_talk_run(&talk);
}
