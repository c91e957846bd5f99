/* "node": list, show, set, remove.
 *
 * RLOCs and state are the xTR's and the server's; an operator's are the labels and whether
 * the node may take part.  A change works as in network.c. */
#include "call.h"
#include "command.h"
#include "list.h"
#include "record.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LABELS 16 /* of the protocol */

struct edit {
    struct ctl *ctl;
    struct em_label labels[MAX_LABELS];
    size_t n_labels;
    char *texts[MAX_LABELS]; /* keys that were cut from options */
    size_t n_texts;
    int64_t request;
    bool is_found;
};

static bool is_wanted(struct edit *edit, const struct em_change *change)
{
    if (change->object != EM_OBJECT_NODE || strcmp(change->node->id, edit->ctl->words[0]) != 0)
        return false;
    edit->is_found = true;
    return true;
}

static char *age_text(const struct em_node *node)
{
    uint64_t now_ms = em_wall_ms();
    if (!node->state_since_ms)
        return ctl_text(NULL);
    return ctl_duration_text(now_ms > node->state_since_ms ? now_ms - node->state_since_ms : 0);
}

static void add_row(struct ctl_table *table, const struct em_change *change, void *aux)
{
    const struct em_node *n = change->node;
    ctl_table_add_take(table, (char *[]){
                                  ctl_text(n->id),
                                  ctl_node_state_text(n),
                                  age_text(n),
                                  ctl_rlocs_text(n->rlocs, n->n_rlocs),
                                  ctl_labels_text(n->labels, n->n_labels),
                                  ctl_text(n->version),
                                  ctl_uint_text(n->revision),
                              });
}

static enum ctl_exit run_list(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {
        {"NODE"}, {"STATE"}, {"SINCE"}, {"RLOCS"}, {"LABELS"}, {"SOFTWARE"}, {"REVISION", true},
    };
    struct ctl_list list = {.ctl = ctl, .object = EM_OBJECT_NODE, .row = add_row};
    ctl_subject(ctl, "node list");
    enum ctl_exit code = ctl_open(ctl);
    if (code)
        return code;
    ctl_list_begin(&list, columns, sizeof(columns) / sizeof(*columns));
    code = ctl_snapshot(ctl, 0, NULL, ctl_list_add, &list);
    ctl_list_end(&list, code);
    ctl_close(ctl);
    return code;
}

static void print_one(struct ctl *ctl, const struct em_node *n)
{
    struct ctl_fields *fields = ctl_fields_new(ctl->out);
    char *age = age_text(n);
    char *state = ctl_node_state_text(n);
    ctl_fields_add_take(fields, "node", ctl_text(n->id));
    ctl_fields_add_take(fields, "state",
                        em_asprintf("%s%s%s", state, n->state_since_ms ? " for " : "",
                                    n->state_since_ms ? age : ""));
    ctl_fields_add_take(fields, "RLOCs", ctl_rlocs_text(n->rlocs, n->n_rlocs));
    ctl_fields_add_take(fields, "labels", ctl_labels_text(n->labels, n->n_labels));
    ctl_fields_add_take(fields, "made by", ctl_text(n->is_declared ? "an operator" : "its xTR"));
    ctl_fields_add_take(fields, "software", ctl_text(n->version));
    ctl_fields_add_take(fields, "revision", ctl_uint_text(n->revision));
    ctl_fields_end(fields);
    free(age);
    free(state);
}

static bool show_it(void *aux, const struct em_change *change)
{
    struct edit *edit = aux;
    struct ctl_json json = {edit->ctl->out};
    if (!is_wanted(edit, change))
        return false;
    if (edit->ctl->is_json)
        ctl_json_node(&json, NULL, change->node);
    else
        print_one(edit->ctl, change->node);
    return true;
}

static enum ctl_exit run_show(struct ctl *ctl)
{
    struct edit edit = {.ctl = ctl};
    ctl_subject(ctl, "node %s", ctl->words[0]);
    return ctl_show(ctl, show_it, &edit, &edit.is_found);
}

static void drop_label(struct edit *edit, const char *key)
{
    size_t n = 0;
    for (size_t i = 0; i < edit->n_labels; i++)
        if (strcmp(edit->labels[i].key, key) != 0)
            edit->labels[n++] = edit->labels[i];
    edit->n_labels = n;
}

/* "k=v" sets a label, "k=" removes it. */
static bool apply_label(struct edit *edit, const char *text)
{
    const char *equal = strchr(text, '=');
    if (!equal || equal == text) {
        ctl_fail(edit->ctl, CTL_USAGE, "--label %s: expected KEY=VALUE, or KEY= to remove it",
                 text);
        return false;
    }
    if (edit->n_texts == MAX_LABELS) {
        ctl_fail(edit->ctl, CTL_USAGE, "--label: a node has at most %d", MAX_LABELS);
        return false;
    }
    char *key = edit->texts[edit->n_texts++] = em_strdup(text);
    key[equal - text] = '\0';
    drop_label(edit, key);
    if (!equal[1])
        return true;
    if (edit->n_labels == MAX_LABELS) {
        ctl_fail(edit->ctl, CTL_USAGE, "--label: a node has at most %d", MAX_LABELS);
        return false;
    }
    edit->labels[edit->n_labels++] = (struct em_label){key, equal + 1};
    return true;
}

static bool apply_labels(struct edit *edit)
{
    size_t pos = 0;
    for (const char *text; (text = ctl_option_next(edit->ctl, "label", &pos));)
        if (!apply_label(edit, text))
            return false;
    return true;
}

static void edit_fini(struct edit *edit)
{
    for (size_t i = 0; i < edit->n_texts; i++)
        free(edit->texts[i]);
}

static void on_put(void *aux, const struct em_reply *reply)
{
    struct ctl *ctl = aux;
    struct ctl_json json = {ctl->out};
    if (reply->err) {
        ctl_refused(ctl, reply);
        return;
    }
    if (ctl->is_json && reply->node)
        ctl_json_node(&json, NULL, reply->node);
    else
        ctl_report(ctl, ctl_option(ctl, "disable") ? "disabled" : "changed", reply->revision);
    ctl_finish(ctl, CTL_DONE);
}

static int64_t put(struct edit *edit, struct em_node *node)
{
    struct ctl *ctl = edit->ctl;
    node->labels = edit->labels;
    node->n_labels = edit->n_labels;
    if (ctl_option(ctl, "disable"))
        node->is_disabled = true;
    if (ctl_option(ctl, "enable"))
        node->is_disabled = false;
    return em_client_put_node(em_call_client(ctl->call), node, on_put, ctl);
}

static bool set_it(void *aux, const struct em_change *change)
{
    struct edit *edit = aux;
    if (!is_wanted(edit, change))
        return false;
    struct em_node node = *change->node; /* with its revision: a change in between is refused */
    edit_fini(edit);
    edit->n_texts = 0;
    edit->n_labels = node.n_labels < MAX_LABELS ? node.n_labels : MAX_LABELS;
    memcpy(edit->labels, node.labels, edit->n_labels * sizeof(*node.labels));
    if (apply_labels(edit))
        edit->request = put(edit, &node);
    return true;
}

/* A node that is not there yet may be declared by its labels, which then stand before it first
 * connects; without any its name is rather a slip of the finger. */
static enum ctl_exit set_wait(struct edit *edit)
{
    struct em_node node = {.id = edit->ctl->words[0], .version = ""};
    if (!edit->is_found && !edit->n_labels)
        return ctl_not_found(edit->ctl);
    if (!edit->is_found) {
        edit->request = put(edit, &node);
        return ctl_wait(edit->ctl, edit->request);
    }
    return edit->request ? ctl_wait(edit->ctl, edit->request) : CTL_USAGE;
}

static enum ctl_exit run_set(struct ctl *ctl)
{
    struct edit edit = {.ctl = ctl};
    char why[EM_ADDR_WHY];
    ctl_subject(ctl, "node %s", ctl->words[0]);
    if (em_ident_check(ctl->words[0], why))
        return ctl_fail(ctl, CTL_USAGE, "%s: %s", ctl->subject, why);
    if (!ctl_has_options(ctl))
        return ctl_fail(ctl, CTL_USAGE, "node set: nothing to set; --help lists what can be");
    if (ctl_option(ctl, "enable") && ctl_option(ctl, "disable"))
        return ctl_fail(ctl, CTL_USAGE, "node set: --enable and --disable exclude each other");
    enum ctl_exit code = apply_labels(&edit) ? ctl_open(ctl) : CTL_USAGE; /* labels of a new node */
    if (!code) {
        code = ctl_snapshot(ctl, 0, NULL, set_it, &edit);
        if (!code)
            code = set_wait(&edit);
        ctl_close(ctl);
    }
    edit_fini(&edit);
    return code;
}

static enum ctl_exit run_remove(struct ctl *ctl)
{
    ctl_subject(ctl, "node %s", ctl->words[0]);
    enum ctl_exit code = ctl_open(ctl);
    if (code)
        return code;
    code = ctl_wait(
        ctl, em_client_remove_node(em_call_client(ctl->call), ctl->words[0], ctl_on_removed, ctl));
    ctl_close(ctl);
    return code;
}

static const struct ctl_option set_options[] = {
    {"label", 0, "KEY=VALUE", "set a label; KEY= removes it; may be repeated"},
    {"disable", 0, NULL, "refuse its xTR, withdraw its locations"},
    {"enable", 0, NULL, "undo --disable"},
    {NULL},
};

const struct ctl_command ctl_node_commands[] = {
    {"list", "", 0, 0, NULL, run_list, "List nodes", NULL, "mapctl node list"},
    {"show", "ID", 1, 1, NULL, run_show, "Show a node", NULL, "mapctl node show hv1"},
    {"set", "ID OPTION...", 1, 1, set_options, run_set, "Change a node",
     "What is not given stays.  With --label, a node that is not known yet is made.\n",
     "mapctl node set hv1 --label rack=r7"},
    {"remove", "ID", 1, 1, NULL, run_remove, "Remove a node",
     "Its locations go too.  An xTR that is alive makes it again.\n", "mapctl node remove hv1"},
    {NULL},
};
