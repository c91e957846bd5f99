/* "port": list, show, register, remove; move and locate are in port_move.c.  What an operator
 * registers is declared: it outlives its locations. */
#include "call.h"
#include "command.h"
#include "list.h"
#include "port.h"
#include "port_args.h"
#include "record.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

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

static bool find_network(void *aux, const struct em_change *change)
{
    struct ctl_port_job *job = aux;
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
static int64_t learn_network(struct ctl_port_job *job, const struct em_reply *reply,
                             const struct em_port *port)
{
    job->network_id = port->network_id;
    return 0;
}

static int64_t show_port(struct ctl_port_job *job, const struct em_reply *reply,
                         const struct em_port *port)
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

static enum ctl_exit run_show(struct ctl *ctl)
{
    struct ctl_port_job job;
    enum ctl_exit code = ctl_port_begin(&job, ctl);
    if (code)
        return code;
    job.is_local = !ctl_option(ctl, "consistent");
    if (!ctl->is_json) {
        job.on_port = learn_network;
        code = ctl_port_read(&job);
        if (!code)
            code = ctl_snapshot(ctl, 0, NULL, find_network, &job);
    }
    if (!code) {
        job.on_port = show_port;
        code = ctl_port_read(&job);
    }
    free(job.network);
    ctl_close(ctl);
    return code;
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
    struct ctl_port_job job = {.ctl = ctl};
    struct ctl_port *p = em_calloc(1, sizeof(*p));
    const char *network = ctl_option(ctl, "network");
    enum ctl_exit code = CTL_USAGE;
    if (!network)
        ctl_fail(ctl, CTL_USAGE, "port %s: in which network? give --network NAME", ctl->words[0]);
    else if (ctl_port_id(ctl, &p->port.id) && ctl_port_eids(ctl, p) && ctl_port_locations(ctl, p) &&
             apply_allowed(ctl, p) && ctl_port_parent(ctl, &p->port))
        code = ctl_port_begin(&job, ctl);
    if (!code) {
        struct em_claim claim = {.port = p->port, .is_attach = true};
        claim.port.is_declared = true;
        claim.port.is_multihomed = ctl_option(ctl, "multihomed");
        claim.port.is_shared = ctl_option(ctl, "shared");
        code = ctl_wait(ctl, em_client_register(em_call_client(ctl->call), &claim, 1, network,
                                                ctl_port_on_registered, &job));
        ctl_close(ctl);
    }
    free(p);
    return code;
}

/* A withdrawal of what is not there succeeds, so the port is looked at first. */
static int64_t remove_port(struct ctl_port_job *job, const struct em_reply *reply,
                           const struct em_port *port)
{
    struct em_port_ref ref = {.id = job->id};
    return em_client_withdraw(em_call_client(job->ctl->call), &ref, 1, "", ctl_on_removed,
                              job->ctl);
}

static enum ctl_exit run_remove(struct ctl *ctl)
{
    struct ctl_port_job job;
    enum ctl_exit code = ctl_port_begin(&job, ctl);
    if (code)
        return code;
    job.on_port = remove_port;
    code = ctl_port_read(&job);
    ctl_close(ctl);
    return code;
}

static const struct ctl_option show_options[] = {
    {"consistent", 0, NULL, "the newest state of the cluster, not of one server"},
    {NULL},
};

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
    {"show", "PORT [--consistent]", 1, 1, show_options, run_show, "Show a port and where it is",
     "As the server that answers knows it, also without a majority; what was changed through\n"
     "another a moment ago may not be there yet.  --consistent waits for that.\n",
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
    {"move", "PORT --to NODE[:VNI]", 1, 1, move_options, ctl_port_run_move,
     "Say that a port is elsewhere",
     "All its locations are replaced by one.  For a live migration, --prepare before it: the port\n"
     "stays where it is and gets a pending location, which becomes the only one when the guest\n"
     "is heard there (mapctl xtr attach --pending), or with --activate.\n",
     "mapctl port move web-1 --to hv2 --prepare"},
    {"locate", "PORT NODE[:VNI] [OPTION]... | PORT --any-local", 1, 2, locate_options,
     ctl_port_run_locate, "Add or change one location of a port",
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
