/* Where a port is, as an operator says: moved with all its locations, by a live migration or at
 * once; or one location added, changed, taken away.  Moving is a claim with fresh evidence for a
 * port that is otherwise as it was read; the agents then see one change, as they do when a VM moves
 * by itself. */
#include "call.h"
#include "port.h"
#include "port_args.h"
#include "record.h"

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Its rank goes along, if it has one; for whom a place was is said of that place alone. */
static int64_t move_port(struct ctl_port_job *job, const struct em_reply *reply,
                         const struct em_port *port)
{
    struct ctl *ctl = job->ctl;
    struct em_location target = job->target;
    if (port->n_locations == 1 && port->locations[0].priority != EM_PRIORITY_NEVER) {
        target.priority = port->locations[0].priority;
        target.weight = port->locations[0].weight;
    }
    struct em_claim claim = {.port = *port, .is_attach = true};
    claim.port.locations = &target;
    claim.port.n_locations = 1;
    char *places = port->n_locations ? ctl_places_text(port->locations, port->n_locations)
                                     : ctl_text("nowhere");
    job->before = em_asprintf("%s -> %s", places, target.node_id);
    free(places);
    return em_client_register(em_call_client(ctl->call), &claim, 1, NULL, ctl_port_on_registered,
                              job);
}

static enum ctl_exit run_move_now(struct ctl *ctl)
{
    struct ctl_port_job job;
    struct em_location target;
    char node[EM_PORT_ID_TEXT];
    const char *to = ctl_option(ctl, "to");
    if (!to)
        return ctl_fail(ctl, CTL_USAGE, "port %s: where to? give --to NODE", ctl->words[0]);
    if (!ctl_port_place(ctl, to, node, &target))
        return CTL_USAGE;
    enum ctl_exit code = ctl_port_begin(&job, ctl);
    if (code)
        return code;
    job.target = target;
    job.on_port = move_port;
    code = ctl_port_read(&job);
    free(job.before);
    ctl_close(ctl);
    return code;
}

/* Prepare, activate, cancel: the server looks at no more than the id, the network and the place. */
static int64_t migrate_port(struct ctl_port_job *job, const struct em_reply *reply,
                            const struct em_port *port)
{
    struct em_location target = {.node_id = job->target.node_id,
                                 .segmentation_id = job->target.segmentation_id};
    struct em_claim claim = {.port.id = port->id,
                             .port.network_id = port->network_id,
                             .port.locations = &target,
                             .port.n_locations = target.node_id ? 1 : 0,
                             .migration = job->migration,
                             .pending_ms = job->pending_ms};
    return em_client_register(em_call_client(job->ctl->call), &claim, 1, NULL,
                              ctl_port_on_registered, job);
}

static enum ctl_exit run_step(struct ctl *ctl, enum em_migration migration, const char *done)
{
    struct ctl_port_job job;
    struct em_location target = {0};
    char node[EM_PORT_ID_TEXT];
    uint64_t minutes = 0;
    const char *to = ctl_option(ctl, "to");
    if (to && !ctl_port_place(ctl, to, node, &target))
        return CTL_USAGE;
    if (!ctl_option_uint(ctl, "minutes", 1, 1440, &minutes))
        return CTL_USAGE;
    enum ctl_exit code = ctl_port_begin(&job, ctl);
    if (code)
        return code;
    job.target = target;
    job.migration = migration;
    job.pending_ms = (uint32_t)minutes * 60000;
    job.before = to ? em_asprintf("%s %s", done, target.node_id) : em_strdup(done);
    job.on_port = migrate_port;
    code = ctl_port_read(&job);
    free(job.before);
    ctl_close(ctl);
    return code;
}

enum ctl_exit ctl_port_run_move(struct ctl *ctl)
{
    bool is_prepare = ctl_option(ctl, "prepare"), is_activate = ctl_option(ctl, "activate"),
         is_cancel = ctl_option(ctl, "cancel");
    if (is_prepare + is_activate + is_cancel > 1)
        return ctl_fail(ctl, CTL_USAGE, "port %s: give one of --prepare, --activate, --cancel",
                        ctl->words[0]);
    if (is_prepare && !ctl_option(ctl, "to"))
        return ctl_fail(ctl, CTL_USAGE, "port %s: where to? give --to NODE", ctl->words[0]);
    if (ctl_option(ctl, "minutes") && !is_prepare)
        return ctl_fail(ctl, CTL_USAGE, "port %s: --minutes belongs to --prepare", ctl->words[0]);
    if (is_prepare)
        return run_step(ctl, EM_MIGRATION_PREPARE, "prepared to move to");
    if (is_activate)
        return run_step(ctl, EM_MIGRATION_ACTIVATE, "activated");
    if (is_cancel)
        return run_step(ctl, EM_MIGRATION_CANCEL, "its migration is cancelled");
    return run_move_now(ctl);
}

/* --view: "node=NAME", "label=KEY=VALUE" or "everyone"; without it 'place' keeps what it has.
 * 'text' is a copy for it to point into. */
static bool apply_view(struct ctl *ctl, char *text, struct em_location *place)
{
    char *value = text ? strchr(text, '=') : NULL;
    char *label = value ? strchr(value + 1, '=') : NULL;
    char why[EM_ADDR_WHY];
    if (!text)
        return true;
    place->view_node = NULL;
    place->view_label = (struct em_label){0};
    if (strcmp(text, "everyone") == 0)
        return true;
    if (value && strncmp(text, "node=", 5) == 0 && em_ident_check(value + 1, why) == 0) {
        place->view_node = value + 1;
        return true;
    }
    if (label && label > value + 1 && strncmp(text, "label=", 6) == 0) {
        *label = '\0';
        place->view_label = (struct em_label){value + 1, label + 1};
        return true;
    }
    ctl_fail(ctl, CTL_USAGE, "--view %s: expected node=NAME, label=KEY=VALUE or everyone", text);
    return false;
}

/* The port as it was read, but for this place. */
static int64_t claim_places(struct ctl_port_job *job, const struct em_port *port,
                            const struct em_location *places, size_t n)
{
    char *before = ctl_locations_text(port->locations, port->n_locations);
    char *after = ctl_locations_text(places, n);
    struct em_claim claim = {.port = *port};
    claim.port.locations = places;
    claim.port.n_locations = n;
    claim.port.is_multihomed = port->is_multihomed || n > 1;
    claim.port.is_declared = true;
    job->before = em_asprintf("%s -> %s", before, after);
    free(before);
    free(after);
    return em_client_register(em_call_client(job->ctl->call), &claim, 1, NULL,
                              ctl_port_on_registered, job);
}

static int64_t locate_port(struct ctl_port_job *job, const struct em_reply *reply,
                           const struct em_port *port)
{
    struct em_location places[CTL_MAX_LOCATIONS + 1];
    struct ctl *ctl = job->ctl;
    size_t n = port->n_locations < CTL_MAX_LOCATIONS ? port->n_locations : CTL_MAX_LOCATIONS;
    size_t i = 0;
    if (ctl_option(ctl, "any-local"))
        return claim_places(job, port, &(struct em_location){.node_id = ""}, 1);
    memcpy(places, port->locations, n * sizeof(*places));
    while (i < n && strcmp(places[i].node_id, job->target.node_id) != 0)
        i++;
    if (i == n)
        places[n++] = job->target;
    if (job->target.segmentation_id)
        places[i].segmentation_id = job->target.segmentation_id;
    char *view = ctl_option(ctl, "view") ? em_strdup(ctl_option(ctl, "view")) : NULL;
    int64_t id = -EINVAL; /* ctl_port_run_locate() has tried both */
    if (apply_view(ctl, view, &places[i]) &&
        ctl_port_rank(ctl, &places[i].priority, &places[i].weight))
        id = claim_places(job, port, places, n);
    free(view);
    return id;
}

static void on_left(void *aux, const struct em_reply *reply)
{
    struct ctl_port_job *job = aux;
    char *what = em_asprintf("no longer at %s", job->target.node_id);
    if (!reply->err)
        ctl_report(job->ctl, what, reply->revision);
    free(what);
    ctl_on_reply(job->ctl, reply);
}

static int64_t leave_place(struct ctl_port_job *job, const struct em_reply *reply,
                           const struct em_port *port)
{
    struct em_port_ref ref = {.id = job->id};
    size_t i = 0;
    while (i < port->n_locations && strcmp(port->locations[i].node_id, job->target.node_id) != 0)
        i++;
    if (i == port->n_locations) {
        job->code =
            ctl_fail(job->ctl, CTL_REFUSED, "%s: it is not at %s; \"mapctl port show\" says where",
                     job->ctl->subject, job->target.node_id);
        return 0;
    }
    return em_client_withdraw(em_call_client(job->ctl->call), &ref, 1, job->target.node_id, on_left,
                              job);
}

/* All that can be wrong with the options, before a connection is made. */
static bool check_locate(struct ctl *ctl, char *node, struct em_location *target)
{
    bool is_any_local = ctl_option(ctl, "any-local") != NULL;
    uint8_t priority = 0, weight = 0;
    if (is_any_local == (ctl->n_words == 2) ||
        (is_any_local && (ctl_option(ctl, "view") || ctl_option(ctl, "remove")))) {
        ctl_fail(ctl, CTL_USAGE, "port %s: where is it? give NODE, or --any-local and no view",
                 ctl->words[0]);
        return false;
    }
    char *view = ctl_option(ctl, "view") ? em_strdup(ctl_option(ctl, "view")) : NULL;
    struct em_location scratch = {0};
    bool is_right = apply_view(ctl, view, &scratch) && ctl_port_rank(ctl, &priority, &weight) &&
                    (is_any_local || ctl_port_place(ctl, ctl->words[1], node, target));
    free(view);
    return is_right;
}

enum ctl_exit ctl_port_run_locate(struct ctl *ctl)
{
    struct ctl_port_job job;
    struct em_location target = {0};
    char node[EM_PORT_ID_TEXT];
    if (!check_locate(ctl, node, &target))
        return CTL_USAGE;
    enum ctl_exit code = ctl_port_begin(&job, ctl);
    if (code)
        return code;
    job.target = target;
    job.on_port = ctl_option(ctl, "remove") ? leave_place : locate_port;
    code = ctl_port_read(&job);
    free(job.before);
    ctl_close(ctl);
    return code;
}
