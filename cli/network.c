/* "network": add, list, show, set, remove.
 *
 * A change is read, modify, write: the record comes from the feed of network 0, options are
 * laid over it, and it goes back with the revision that was read.  If it has changed in
 * between, the server answers STALE and nothing is lost. */
#include "call.h"
#include "command.h"
#include "list.h"
#include "output.h"
#include "record.h"

#include "base/mem.h"
#include "config/value.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define MAX_SUBNETS 32 /* of the protocol */
#define MTU_MIN     576
#define MTU_MAX     9216

/* What the options change, and room for what a record points to. */
struct edit {
    struct ctl *ctl;
    struct em_network network;
    struct em_eid subnets[MAX_SUBNETS];
    bool is_found;
    int64_t request;
};

static bool option_name(struct ctl *ctl, const char *option, const struct ctl_name *names,
                        int *value)
{
    const char *text = ctl_option(ctl, option);
    if (!text)
        return true;
    int found = ctl_name_find(names, text);
    if (found >= 0) {
        *value = found;
        return true;
    }
    char expected[128] = "";
    for (const struct ctl_name *n = names; n->name; n++)
        snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected), "%s%s",
                 n == names ? "" : ", ", n->name);
    ctl_fail(ctl, CTL_USAGE, "--%s %s: expected one of %s", option, text, expected);
    return false;
}

static bool apply_subnets(struct edit *edit)
{
    struct ctl *ctl = edit->ctl;
    char why[EM_ADDR_WHY];
    size_t pos = 0, n = 0;
    for (const char *text; (text = ctl_option_next(ctl, "subnet", &pos)); n++) {
        if (n == MAX_SUBNETS) {
            ctl_fail(ctl, CTL_USAGE, "--subnet: a network has at most %d", MAX_SUBNETS);
            return false;
        }
        if (em_prefix_parse(text, &edit->subnets[n], why)) {
            ctl_fail(ctl, CTL_USAGE, "--subnet %s: %s", text, why);
            return false;
        }
    }
    if (n) {
        edit->network.subnets = edit->subnets;
        edit->network.n_subnets = n;
    }
    return true;
}

/* "300ms", or "0" for none. */
static bool apply_probe(struct edit *edit)
{
    static const struct em_config_option option = {"probe", EM_CONFIG_DURATION,
                                                   .size = sizeof(uint32_t), .min = EM_PROBE_MS_MIN,
                                                   .max = EM_PROBE_MS_MAX};
    const char *text = ctl_option(edit->ctl, "probe");
    char why[EM_CONFIG_WHY];
    uint64_t ms = 0;
    if (!text)
        return true;
    if (strcmp(text, "0") != 0 && em_config_value_parse(&option, text, &ms, why)) {
        ctl_fail(edit->ctl, CTL_USAGE, "--probe %s: %s; or 0 for none", text, why);
        return false;
    }
    edit->network.probe_ms = (uint32_t)ms;
    return true;
}

/* Puts what was given into edit->network, the rest stays. */
static bool apply_options(struct edit *edit)
{
    struct ctl *ctl = edit->ctl;
    struct em_network *network = &edit->network;
    uint64_t vni = network->segmentation_id, mtu = network->mtu;
    int type = (int)network->type, flood = (int)network->flood, fill = (int)network->fill;
    if (!ctl_option_uint(ctl, "vni", 1, EM_SEGMENT_MAX, &vni) ||
        !ctl_option_uint(ctl, "mtu", 0, MTU_MAX, &mtu) ||
        !option_name(ctl, "type", ctl_network_types, &type) ||
        !option_name(ctl, "flood", ctl_floods, &flood) ||
        !option_name(ctl, "fill", ctl_fills, &fill) || !apply_subnets(edit) || !apply_probe(edit))
        return false;
    if (mtu && mtu < MTU_MIN) {
        ctl_fail(ctl, CTL_USAGE, "--mtu %" PRIu64 ": expected %d to %d, or 0 for the underlay's",
                 mtu, MTU_MIN, MTU_MAX);
        return false;
    }
    network->segmentation_id = (uint32_t)vni;
    network->mtu = (uint32_t)mtu;
    network->type = (enum em_network_type)type;
    network->flood = (enum em_flood)flood;
    network->fill = (enum em_fill)fill;
    if (ctl_option(ctl, "dns-domain"))
        network->dns_domain = ctl_option(ctl, "dns-domain");
    return true;
}

static bool check_name(struct ctl *ctl, const char *name)
{
    char why[EM_ADDR_WHY];
    if (em_ident_check(name, why) == 0)
        return true;
    ctl_fail(ctl, CTL_USAGE, "network %s: %s", name, why);
    return false;
}

static void print_json(struct ctl *ctl, const struct em_network *network)
{
    struct ctl_json json = {ctl->out};
    ctl_json_network(&json, NULL, network);
}

static void on_put(void *aux, const struct em_reply *reply)
{
    struct ctl *ctl = aux;
    const struct em_network *n = reply->network;
    if (reply->err) {
        ctl_refused(ctl, reply);
        return;
    }
    if (ctl->is_json && n)
        print_json(ctl, n);
    else if (n)
        ctl_say(ctl, "network %s: id %u, VNI %u, revision %" PRIu64, n->name, n->id,
                n->segmentation_id, reply->revision);
    ctl_finish(ctl, CTL_DONE);
}

static enum ctl_exit run_add(struct ctl *ctl)
{
    struct edit edit = {
        .ctl = ctl,
        .network = {.name = ctl->words[0],
                    .type = EM_NETWORK_OVERLAY,
                    .flood = EM_FLOOD_BROADCAST,
                    .fill = EM_FILL_SUBSCRIBE},
    };
    ctl_subject(ctl, "network %s", ctl->words[0]);
    if (!check_name(ctl, ctl->words[0]) || !apply_options(&edit))
        return CTL_USAGE;
    enum ctl_exit code = ctl_open(ctl);
    if (code)
        return code;
    code =
        ctl_wait(ctl, em_client_put_network(em_call_client(ctl->call), &edit.network, on_put, ctl));
    ctl_close(ctl);
    return code;
}

static bool set_it(void *aux, const struct em_change *change)
{
    struct edit *edit = aux;
    if (change->object != EM_OBJECT_NETWORK ||
        strcmp(change->network->name, edit->ctl->words[0]) != 0)
        return false;
    edit->is_found = true;
    edit->network = *change->network; /* with its revision: a change in between is refused */
    bool is_applied = apply_options(edit);
    assert(is_applied); /* run_set() has tried them */
    edit->request =
        em_client_put_network(em_call_client(edit->ctl->call), &edit->network, on_put, edit->ctl);
    return is_applied;
}

static enum ctl_exit run_set(struct ctl *ctl)
{
    struct edit edit = {.ctl = ctl};
    ctl_subject(ctl, "network %s", ctl->words[0]);
    if (!ctl_has_options(ctl))
        return ctl_fail(ctl, CTL_USAGE, "network set: nothing to set; --help lists what can be");
    if (!apply_options(&edit)) /* before a server is asked */
        return CTL_USAGE;
    enum ctl_exit code = ctl_open(ctl);
    if (code)
        return code;
    code = ctl_snapshot(ctl, 0, NULL, set_it, &edit);
    if (!code && !edit.is_found)
        code = ctl_not_found(ctl);
    else if (!code)
        code = ctl_wait(ctl, edit.request);
    ctl_close(ctl);
    return code;
}

static char *probe_text(const struct em_network *n)
{
    return n->probe_ms ? em_asprintf("%ums", n->probe_ms) : ctl_text(NULL);
}

static void add_row(struct ctl_table *table, const struct em_change *change, void *aux)
{
    const struct em_network *n = change->network;
    ctl_table_add_take(table, (char *[]){
                                  ctl_text(n->name),
                                  ctl_uint_text(n->id),
                                  ctl_text(ctl_name_of(ctl_network_types, (int)n->type)),
                                  ctl_uint_text(n->segmentation_id),
                                  n->mtu ? ctl_uint_text(n->mtu) : ctl_text(NULL),
                                  ctl_eids_text(n->subnets, n->n_subnets),
                                  ctl_text(ctl_name_of(ctl_floods, (int)n->flood)),
                                  probe_text(n),
                                  ctl_uint_text(n->revision),
                              });
}

static enum ctl_exit run_list(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {
        {"NETWORK"}, {"ID", true}, {"TYPE"},        {"VNI", true},      {"MTU", true},
        {"SUBNETS"}, {"FLOOD"},    {"PROBE", true}, {"REVISION", true},
    };
    struct ctl_list list = {.ctl = ctl, .object = EM_OBJECT_NETWORK, .row = add_row};
    ctl_subject(ctl, "network list");
    enum ctl_exit code = ctl_open(ctl);
    if (code)
        return code;
    ctl_list_begin(&list, columns, sizeof(columns) / sizeof(*columns));
    code = ctl_snapshot(ctl, 0, NULL, ctl_list_add, &list);
    ctl_list_end(&list, code);
    ctl_close(ctl);
    return code;
}

static void print_one(struct ctl *ctl, const struct em_network *n)
{
    struct ctl_fields *fields = ctl_fields_new(ctl->out);
    ctl_fields_add_take(fields, "network", ctl_text(n->name));
    ctl_fields_add_take(fields, "id", ctl_uint_text(n->id));
    ctl_fields_add_take(fields, "type", ctl_text(ctl_name_of(ctl_network_types, (int)n->type)));
    ctl_fields_add_take(fields, "VNI", ctl_uint_text(n->segmentation_id));
    ctl_fields_add_take(fields, "MTU", n->mtu ? ctl_uint_text(n->mtu) : ctl_text("the underlay's"));
    ctl_fields_add_take(fields, "subnets", ctl_eids_text(n->subnets, n->n_subnets));
    ctl_fields_add_take(fields, "DNS domain", ctl_text(n->dns_domain));
    ctl_fields_add_take(fields, "flood", ctl_text(ctl_name_of(ctl_floods, (int)n->flood)));
    ctl_fields_add_take(fields, "fill", ctl_text(ctl_name_of(ctl_fills, (int)n->fill)));
    ctl_fields_add_take(fields, "probe", probe_text(n));
    ctl_fields_add_take(fields, "revision", ctl_uint_text(n->revision));
    ctl_fields_end(fields);
}

static bool show_it(void *aux, const struct em_change *change)
{
    struct edit *edit = aux;
    if (change->object != EM_OBJECT_NETWORK ||
        strcmp(change->network->name, edit->ctl->words[0]) != 0)
        return false;
    edit->is_found = true;
    if (edit->ctl->is_json)
        print_json(edit->ctl, change->network);
    else
        print_one(edit->ctl, change->network);
    return true;
}

static enum ctl_exit run_show(struct ctl *ctl)
{
    struct edit edit = {.ctl = ctl};
    ctl_subject(ctl, "network %s", ctl->words[0]);
    return ctl_show(ctl, show_it, &edit, &edit.is_found);
}

static enum ctl_exit run_remove(struct ctl *ctl)
{
    ctl_subject(ctl, "network %s", ctl->words[0]);
    enum ctl_exit code = ctl_open(ctl);
    if (code)
        return code;
    code = ctl_wait(ctl, em_client_remove_network(em_call_client(ctl->call), ctl->words[0],
                                                  ctl_on_removed, ctl));
    ctl_close(ctl);
    return code;
}

static const struct ctl_option network_options[] = {
    {"vni", 0, "N", "segmentation-id, 1 .. 16777215 (a free one)"},
    {"mtu", 0, "BYTES", "of IP packets, 576 .. 9216; 0: what the underlay allows"},
    {"subnet", 0, "PREFIX", "address range; may be repeated"},
    {"dns-domain", 0, "NAME", "of the names in it"},
    {"flood", 0, "WHAT", "broadcast, all (unknown unicast too) or none"},
    {"fill", 0, "HOW", "subscribe (agents hold it all) or resolve (they ask)"},
    {"probe", 0, "INTERVAL", "of probes between nodes, 50ms .. 60s (300ms); 0: none"},
    {"type", 0, "TYPE", "overlay, flat, vlan or transit"},
    {NULL},
};

const struct ctl_command ctl_network_commands[] = {
    {"add", "NAME [OPTION]...", 1, 1, network_options, run_add, "Make a network", NULL,
     "mapctl network add blue --vni 5001 --subnet 10.1.0.0/24 --mtu 1400"},
    {"list", "", 0, 0, NULL, run_list, "List networks", NULL, "mapctl network list"},
    {"show", "NAME", 1, 1, NULL, run_show, "Show a network", NULL, "mapctl network show blue"},
    {"set", "NAME OPTION...", 1, 1, network_options, run_set, "Change a network",
     "What is not given stays.  Subnets are replaced as a whole.  If somebody else changes the\n"
     "network at the same time, the second of the two is refused.\n",
     "mapctl network set blue --flood none"},
    {"remove", "NAME", 1, 1, NULL, run_remove, "Remove a network", "Refused while it has ports.\n",
     "mapctl network remove blue"},
    {NULL},
};
