/* "port": list, show, register, move, locate, remove.
 *
 * A port is found by its id alone: Resolve with an EID of kind port-id knows every network.
 * What an operator registers is declared: it outlives its locations.  Moving is a claim with
 * fresh evidence for a port that is otherwise as it was read; the agents then see one change,
 * as they do when a VM moves by itself. */
#include "call.h"
#include "command.h"
#include "list.h"
#include "port_args.h"
#include "record.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What the commands on one port share. */
struct job {
    struct ctl *ctl;
    struct em_port_id id;
    /* Shows the port, or sends a request about it: its id, or 0. */
    int64_t (*on_port)(struct job *job, const struct em_reply *reply, const struct em_port *port);
    int64_t request;
    bool is_found;
    char *network; /* its name */
    uint32_t network_id;
    char *before; /* where it was, or what was done */
    enum em_migration migration;
    uint32_t pending_ms;
    struct em_location target;
    char node[EM_PORT_ID_TEXT];
};

struct networks {
    struct em_network *networks; /* id and name only */
    size_t n;
};

static bool keep_network(void *aux, const struct em_change *change)
{
    struct networks *all = aux;
    if (change->object != EM_OBJECT_NETWORK)
        return false;
    all->networks = em_realloc(all->networks, (all->n + 1) * sizeof(*all->networks));
    all->networks[all->n++] = (struct em_network){
        .id = change->network->id,
        .name = em_strdup(change->network->name),
    };
    return false;
}

static void networks_fini(struct networks *all)
{
    for (size_t i = 0; i < all->n; i++)
        free((char *)all->networks[i].name);
    free(all->networks);
}

static void add_row(struct ctl_table *table, const struct em_change *change, void *aux)
{
    const struct em_port *port = change->port;
    const char *const *network = aux;
    ctl_table_add_take(table, (char *[]){
                                  ctl_port_id_text(&port->id),
                                  ctl_text(*network),
                                  ctl_eids_text(port->eids, port->n_eids),
                                  ctl_locations_text(port->locations, port->n_locations),
                              });
}

static enum ctl_exit list_all(struct ctl *ctl, struct ctl_list *list, const char **network)
{
    struct networks all = {0};
    enum ctl_exit code = ctl_snapshot(ctl, 0, NULL, keep_network, &all);
    for (size_t i = 0; !code && i < all.n; i++) {
        *network = all.networks[i].name;
        code = ctl_snapshot(ctl, all.networks[i].id, NULL, ctl_list_add, list);
    }
    networks_fini(&all);
    return code;
}

static enum ctl_exit run_list(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {
        {"PORT"},
        {"NETWORK"},
        {"EIDS"},
        {"LOCATIONS"},
    };
    const char *network = ctl->n_words ? ctl->words[0] : NULL;
    struct ctl_list list = {.ctl = ctl, .object = EM_OBJECT_PORT, .row = add_row, .aux = &network};
    ctl_subject(ctl, network ? "network %s" : "port list", network);
    enum ctl_exit code = ctl_open(ctl);
    if (code)
        return code;
    ctl_list_begin(&list, columns, sizeof(columns) / sizeof(*columns));
    if (network)
        code = ctl_snapshot(ctl, 0, network, ctl_list_add, &list);
    else
        code = list_all(ctl, &list, &network);
    ctl_list_end(&list, code);
    ctl_close(ctl);
    return code;
}

static void on_resolved(void *aux, const struct em_reply *reply)
{
    struct job *job = aux;
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

/* Reads the port as it is, hands it to job->on_port, and waits for what that has sent. */
static enum ctl_exit with_port(struct job *job)
{
    struct em_eid eid = {
        .kind = EM_EID_PORT_ID,
        .size = job->id.size,
        .name = (const char *)job->id.bytes,
    };
    struct em_client *client = em_call_client(job->ctl->call);
    job->is_found = false;
    enum ctl_exit code = ctl_wait(
        job->ctl, em_client_resolve(client, 0, NULL, &eid, 1,
                                    EM_RESOLVE_NODES | EM_RESOLVE_CONSISTENT, on_resolved, job));
    if (code)
        return code;
    if (!job->is_found)
        return ctl_not_found(job->ctl);
    return job->request ? ctl_wait(job->ctl, job->request) : CTL_DONE;
}

static bool find_network(void *aux, const struct em_change *change)
{
    struct job *job = aux;
    if (change->object != EM_OBJECT_NETWORK || change->network->id != job->network_id)
        return false;
    job->network = em_strdup(change->network->name);
    return true;
}

static char *allowed_text(const struct em_port *port)
{
    return port->n_allowed_nodes ? ctl_words_text(port->allowed_nodes, port->n_allowed_nodes)
                                 : ctl_text("any node");
}

static char *parent_text(const struct em_port *port)
{
    char id[EM_PORT_ID_TEXT];
    return em_asprintf("%s, tag %u", em_port_id_format(port->parent.bytes, port->parent.size, id),
                       port->tag);
}

static const struct em_node *find_node(const struct em_reply *reply, const char *id)
{
    for (size_t i = 0; i < reply->n_nodes; i++)
        if (strcmp(reply->nodes[i].id, id) == 0)
            return &reply->nodes[i];
    return NULL;
}

static char *view_text(const struct em_location *l)
{
    if (l->view_node)
        return em_asprintf("node:%s", l->view_node);
    if (l->view_label.key)
        return em_asprintf("%s=%s", l->view_label.key, l->view_label.value);
    return ctl_text("everyone");
}

static void print_locations(FILE *out, const struct em_reply *reply, const struct em_port *port)
{
    static const struct ctl_column columns[] = {
        {"LOCATION"}, {"VNI", true}, {"PRIORITY", true}, {"WEIGHT", true}, {"STATE"},
        {"NODE"},     {"RLOCS"},     {"VISIBLE-TO"},     {"EPOCH", true},
    };
    struct ctl_table *table = ctl_table_new(out, columns, sizeof(columns) / sizeof(*columns));
    for (size_t i = 0; i < port->n_locations; i++) {
        const struct em_location *l = &port->locations[i];
        const struct em_node *node = find_node(reply, l->node_id);
        ctl_table_add_take(table,
                           (char *[]){
                               ctl_text(ctl_place_name(l)),
                               ctl_uint_text(l->segmentation_id),
                               ctl_uint_text(l->priority),
                               ctl_uint_text(l->weight),
                               ctl_text(l->is_pending ? "pending" : "active"),
                               node ? ctl_node_state_text(node) : ctl_text(NULL),
                               node ? ctl_rlocs_text(node->rlocs, node->n_rlocs) : ctl_text(NULL),
                               view_text(l),
                               ctl_uint_text(l->epoch),
                           });
    }
    fputc('\n', out);
    ctl_table_print(table);
    ctl_table_free(table);
}

/* The reply does not outlive its callback and the network's name takes another request, so
 * the name comes first: the port is read twice. */
static int64_t learn_network(struct job *job, const struct em_reply *reply,
                             const struct em_port *port)
{
    job->network_id = port->network_id;
    return 0;
}

static int64_t show_port(struct job *job, const struct em_reply *reply, const struct em_port *port)
{
    struct ctl *ctl = job->ctl;
    struct ctl_json json = {ctl->out};
    if (ctl->is_json) {
        ctl_json_port(&json, NULL, port);
        return 0;
    }
    struct ctl_fields *fields = ctl_fields_new(ctl->out);
    ctl_fields_add_take(fields, "port", ctl_port_id_text(&port->id));
    ctl_fields_add_take(fields, "network",
                        job->network ? em_strdup(job->network) : ctl_uint_text(port->network_id));
    ctl_fields_add_take(fields, "EIDs", ctl_eids_text(port->eids, port->n_eids));
    ctl_fields_add_take(fields, "flags", ctl_port_flags_text(port));
    ctl_fields_add_take(fields, "claimed by", allowed_text(port));
    if (port->parent.size)
        ctl_fields_add_take(fields, "child of", parent_text(port));
    if (port->n_children)
        ctl_fields_add_take(fields, "children", ctl_children_text(port));
    ctl_fields_add_take(fields, "revision", ctl_uint_text(port->revision));
    ctl_fields_end(fields);
    if (port->n_locations)
        print_locations(ctl->out, reply, port);
    return 0;
}

/* Parses the port-id, names the subject, opens. */
static enum ctl_exit begin(struct job *job, struct ctl *ctl)
{
    char text[EM_PORT_ID_TEXT];
    *job = (struct job){.ctl = ctl};
    if (!ctl_port_id(ctl, &job->id))
        return CTL_USAGE;
    ctl_subject(ctl, "port %s", em_port_id_format(job->id.bytes, job->id.size, text));
    return ctl_open(ctl);
}

static enum ctl_exit run_show(struct ctl *ctl)
{
    struct job job;
    enum ctl_exit code = begin(&job, ctl);
    if (code)
        return code;
    if (!ctl->is_json) {
        job.on_port = learn_network;
        code = with_port(&job);
        if (!code)
            code = ctl_snapshot(ctl, 0, NULL, find_network, &job);
    }
    if (!code) {
        job.on_port = show_port;
        code = with_port(&job);
    }
    free(job.network);
    ctl_close(ctl);
    return code;
}

static void on_registered(void *aux, const struct em_reply *reply)
{
    struct job *job = aux;
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

static bool apply_allowed(struct ctl *ctl, struct ctl_port *p)
{
    char why[EM_ADDR_WHY];
    size_t pos = 0, n = 0;
    for (const char *node; (node = ctl_option_next(ctl, "allow", &pos)); n++) {
        if (n == CTL_MAX_ALLOWED || em_ident_check(node, why)) {
            ctl_fail(ctl, CTL_USAGE, "--allow %s: %s", node,
                     n == CTL_MAX_ALLOWED ? "at most 16 nodes" : why);
            return false;
        }
        p->allowed[n] = node;
    }
    p->port.allowed_nodes = p->allowed;
    p->port.n_allowed_nodes = n;
    return true;
}

static enum ctl_exit run_register(struct ctl *ctl)
{
    struct job job = {.ctl = ctl};
    struct ctl_port *p = em_calloc(1, sizeof(*p));
    const char *network = ctl_option(ctl, "network");
    enum ctl_exit code = CTL_USAGE;
    if (!network)
        ctl_fail(ctl, CTL_USAGE, "port %s: in which network? give --network NAME", ctl->words[0]);
    else if (ctl_port_id(ctl, &p->port.id) && ctl_port_eids(ctl, p) && ctl_port_locations(ctl, p) &&
             apply_allowed(ctl, p) && ctl_port_parent(ctl, &p->port))
        code = begin(&job, ctl);
    if (!code) {
        struct em_claim claim = {.port = p->port, .is_attach = true};
        claim.port.is_declared = true;
        claim.port.is_multihomed = ctl_option(ctl, "multihomed");
        claim.port.is_shared = ctl_option(ctl, "shared");
        code = ctl_wait(ctl, em_client_register(em_call_client(ctl->call), &claim, 1, network,
                                                on_registered, &job));
        ctl_close(ctl);
    }
    free(p);
    return code;
}

static int64_t move_port(struct job *job, const struct em_reply *reply, const struct em_port *port)
{
    struct ctl *ctl = job->ctl;
    struct em_location target = port->n_locations ? port->locations[0] : (struct em_location){0};
    target.node_id = job->target.node_id;
    target.segmentation_id = job->target.segmentation_id;
    target.is_pending = false;
    target.epoch = 0;
    struct em_claim claim = {.port = *port, .is_attach = true};
    claim.port.locations = &target;
    claim.port.n_locations = 1;
    char *places = port->n_locations ? ctl_places_text(port->locations, port->n_locations)
                                     : ctl_text("nowhere");
    job->before = em_asprintf("%s -> %s", places, target.node_id);
    free(places);
    return em_client_register(em_call_client(ctl->call), &claim, 1, NULL, on_registered, job);
}

static enum ctl_exit run_move_now(struct ctl *ctl)
{
    struct job job;
    struct em_location target;
    char node[EM_PORT_ID_TEXT];
    const char *to = ctl_option(ctl, "to");
    if (!to)
        return ctl_fail(ctl, CTL_USAGE, "port %s: where to? give --to NODE", ctl->words[0]);
    if (!ctl_port_place(ctl, to, node, &target))
        return CTL_USAGE;
    enum ctl_exit code = begin(&job, ctl);
    if (code)
        return code;
    job.target = target;
    job.on_port = move_port;
    code = with_port(&job);
    free(job.before);
    ctl_close(ctl);
    return code;
}

/* Prepare, activate, cancel: the server looks at no more than the id, the network and the place. */
static int64_t migrate_port(struct job *job, const struct em_reply *reply,
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
    return em_client_register(em_call_client(job->ctl->call), &claim, 1, NULL, on_registered, job);
}

static enum ctl_exit run_step(struct ctl *ctl, enum em_migration migration, const char *done)
{
    struct job job;
    struct em_location target = {0};
    char node[EM_PORT_ID_TEXT];
    uint64_t minutes = 0;
    const char *to = ctl_option(ctl, "to");
    if (to && !ctl_port_place(ctl, to, node, &target))
        return CTL_USAGE;
    if (!ctl_option_uint(ctl, "minutes", 1, 1440, &minutes))
        return CTL_USAGE;
    enum ctl_exit code = begin(&job, ctl);
    if (code)
        return code;
    job.target = target;
    job.migration = migration;
    job.pending_ms = (uint32_t)minutes * 60000;
    job.before = to ? em_asprintf("%s %s", done, target.node_id) : em_strdup(done);
    job.on_port = migrate_port;
    code = with_port(&job);
    free(job.before);
    ctl_close(ctl);
    return code;
}

static enum ctl_exit run_move(struct ctl *ctl)
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
static int64_t claim_places(struct job *job, const struct em_port *port,
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
    return em_client_register(em_call_client(job->ctl->call), &claim, 1, NULL, on_registered, job);
}

static int64_t locate_port(struct job *job, const struct em_reply *reply,
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
    int64_t id = -EINVAL; /* run_locate() has tried both */
    if (apply_view(ctl, view, &places[i]) &&
        ctl_port_rank(ctl, &places[i].priority, &places[i].weight))
        id = claim_places(job, port, places, n);
    free(view);
    return id;
}

static int64_t leave_place(struct job *job, const struct em_reply *reply,
                           const struct em_port *port)
{
    struct em_port_ref ref = {.id = job->id};
    return em_client_withdraw(em_call_client(job->ctl->call), &ref, 1, job->target.node_id,
                              ctl_on_removed, job->ctl);
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

static enum ctl_exit run_locate(struct ctl *ctl)
{
    struct job job;
    struct em_location target = {0};
    char node[EM_PORT_ID_TEXT];
    if (!check_locate(ctl, node, &target))
        return CTL_USAGE;
    enum ctl_exit code = begin(&job, ctl);
    if (code)
        return code;
    job.target = target;
    job.on_port = ctl_option(ctl, "remove") ? leave_place : locate_port;
    code = with_port(&job);
    free(job.before);
    ctl_close(ctl);
    return code;
}

/* A withdrawal of what is not there succeeds, so the port is looked at first. */
static int64_t remove_port(struct job *job, const struct em_reply *reply,
                           const struct em_port *port)
{
    struct em_port_ref ref = {.id = job->id};
    return em_client_withdraw(em_call_client(job->ctl->call), &ref, 1, "", ctl_on_removed,
                              job->ctl);
}

static enum ctl_exit run_remove(struct ctl *ctl)
{
    struct job job;
    enum ctl_exit code = begin(&job, ctl);
    if (code)
        return code;
    job.on_port = remove_port;
    code = with_port(&job);
    ctl_close(ctl);
    return code;
}

static const struct ctl_option register_options[] = {
    {"network", 'n', "NAME", "the network it is in"},
    {"mac", 0, "MAC", "may be repeated"},
    {"ip", 0, "ADDRESS", "address or prefix; may be repeated"},
    {"eid", 0, "EID", "any other: a DNS name, tcp/ADDRESS:PORT; may be repeated"},
    {"node", 0, "NODE[:VNI]", "where it is; may be repeated"},
    {"priority", 0, "N", "of its locations: the lowest is used, 255 never (0)"},
    {"weight", 0, "N", "of its locations: share among equal priorities (0)"},
    {"any-local", 0, NULL, "it is on every node that attaches it, and each has its own"},
    {"allow", 0, "NODE", "which nodes may claim it (any); may be repeated"},
    {"parent", 0, "PORT", "it is a child: behind that port's device, and where that is"},
    {"tag", 0, "N", "of a child: the VLAN tag of its frames there, 1 .. 4094"},
    {"multihomed", 0, NULL, "a node's claim adds a location, and takes none away"},
    {"shared", 0, NULL, "other shared ports may have the same EIDs"},
    {NULL},
};

static const struct ctl_option move_options[] = {
    {"to", 0, "NODE[:VNI]", "where it is from now on, or is going to be"},
    {"prepare", 0, NULL, "it is about to move: copies go there until it has arrived"},
    {"minutes", 0, "N", "with --prepare: cancelled by itself then (10, at most 1440)"},
    {"activate", 0, NULL, "it has arrived where it was prepared for"},
    {"cancel", 0, NULL, "it stays where it is"},
    {NULL},
};

static const struct ctl_option locate_options[] = {
    {"view", 0, "VIEW", "for whom: node=NAME, label=KEY=VALUE or everyone (as it is)"},
    {"priority", 0, "N", "the lowest is used, 255 never (as it is)"},
    {"weight", 0, "N", "share among equal priorities (as it is)"},
    {"any-local", 0, NULL, "in place of all others: each node's own instance"},
    {"remove", 0, NULL, "it is not there any more"},
    {NULL},
};

const struct ctl_command ctl_port_commands[] = {
    {"list", "[NETWORK]", 0, 1, NULL, run_list, "List ports, of all networks or of one",
     "Each port once, as it was when the list reached it.\n", "mapctl port list blue"},
    {"show", "PORT", 1, 1, NULL, run_show, "Show a port and where it is", NULL,
     "mapctl port show web-1"},
    {"register", "PORT --network NAME --mac MAC --ip ADDRESS [OPTION]...", 1, 1, register_options,
     run_register, "Declare a port",
     "The port stays until it is removed, and nodes cannot change its EIDs.  Without --node it\n"
     "waits for a node that claims it.  A child (a container in a VM, say) is behind a VLAN tag "
     "on\n"
     "the device of another port and moves with that; no node claims it.\n",
     "mapctl port register web-1 --network blue --mac 52:54:00:00:00:01 \\\n"
     "       --ip 10.1.0.5 --node hv1\n"
     "mapctl port register web-1-c1 --network red --mac 52:54:00:00:01:01 \\\n"
     "       --ip 10.2.0.5 --parent web-1 --tag 101"},
    {"move", "PORT --to NODE[:VNI]", 1, 1, move_options, run_move, "Say that a port is elsewhere",
     "All its locations are replaced by one.  For a live migration, --prepare before it: the port\n"
     "stays where it is and gets a pending location, which becomes the only one when the guest\n"
     "is heard there (mapctl xtr attach --pending), or with --activate.\n",
     "mapctl port move web-1 --to hv2 --prepare"},
    {"locate", "PORT NODE[:VNI] [OPTION]... | PORT --any-local", 1, 2, locate_options, run_locate,
     "Add or change one location of a port",
     "Its other locations stay.  A view decides which nodes see the location; of those that a "
     "node\n"
     "sees, the most specific ones count: its own, then its labels', then everyone's.  A gateway\n"
     "with an instance on each of a few hosts has one location for each, in that node's own view;\n"
     "one on every host is any-local: no node is named, and no packet to it leaves its host.\n",
     "mapctl port locate gw hv1 --view node=hv1\n"
     "mapctl port locate dns hv3 --view label=rack=7"},
    {"remove", "PORT", 1, 1, NULL, run_remove, "Remove a port", NULL, "mapctl port remove web-1"},
    {NULL},
};
