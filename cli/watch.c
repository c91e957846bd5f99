/* "watch": the feed as it comes.  It begins at the present revision unless --since says
 * otherwise, so it is asked for first; a change between the two is then still shown. */
#include "call.h"
#include "command.h"
#include "list.h"
#include "output.h"
#include "record.h"
#include "watch.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

struct watch {
    struct ctl *ctl;
    uint64_t since;
};

static const char *object_name(enum em_object object)
{
    switch (object) {
    case EM_OBJECT_PORT:
        return "port";
    case EM_OBJECT_NODE:
        return "node";
    case EM_OBJECT_NETWORK:
        return "network";
    }
    return "?";
}

static char *id_text(const struct em_change *change)
{
    switch (change->object) {
    case EM_OBJECT_PORT:
        return ctl_port_id_text(change->is_gone ? &change->gone_port : &change->port->id);
    case EM_OBJECT_NODE:
        return ctl_text(change->is_gone ? change->gone_node : change->node->id);
    case EM_OBJECT_NETWORK:
        if (change->is_gone)
            return em_asprintf("%u", change->gone_network);
        return ctl_text(change->network->name);
    }
    return ctl_text("?");
}

static char *port_text(const struct em_port *port)
{
    char *eids = ctl_eids_text(port->eids, port->n_eids);
    char *places = ctl_locations_text(port->locations, port->n_locations);
    char *text = em_asprintf("at %s, EIDs %s", places, eids);
    free(eids);
    free(places);
    return text;
}

static char *node_text(const struct em_node *node)
{
    char *state = ctl_node_state_text(node);
    char *rlocs = ctl_rlocs_text(node->rlocs, node->n_rlocs);
    char *text = em_asprintf("%s, RLOCs %s", state, rlocs);
    free(state);
    free(rlocs);
    return text;
}

static char *network_text(const struct em_network *network)
{
    char *subnets = ctl_eids_text(network->subnets, network->n_subnets);
    char *text =
        em_asprintf("id %u, VNI %u, subnets %s", network->id, network->segmentation_id, subnets);
    free(subnets);
    return text;
}

static char *record_text(const struct em_change *change)
{
    if (change->is_gone)
        return ctl_text("gone");
    switch (change->object) {
    case EM_OBJECT_PORT:
        return port_text(change->port);
    case EM_OBJECT_NODE:
        return node_text(change->node);
    case EM_OBJECT_NETWORK:
        return network_text(change->network);
    }
    return ctl_text("?");
}

/* 0: not known, since a tombstone does not say it.  That of its page would be too new: who sorts
 * by it might take what is there again for gone. */
static uint64_t revision_of(const struct em_change *change)
{
    if (change->is_gone)
        return 0;
    switch (change->object) {
    case EM_OBJECT_PORT:
        return change->port->revision;
    case EM_OBJECT_NODE:
        return change->node->revision;
    case EM_OBJECT_NETWORK:
        return change->network->revision;
    }
    return 0;
}

static void json_change(struct ctl *ctl, const struct em_feed *page, const struct em_change *change)
{
    struct ctl_json json = {ctl->out};
    char *id = id_text(change);
    uint64_t revision = revision_of(change);
    ctl_json_begin(&json, NULL, '{');
    if (revision)
        ctl_json_uint(&json, "revision", revision);
    else
        ctl_json_null(&json, "revision");
    ctl_json_uint(&json, "network_id", page->network_id);
    ctl_json_text(&json, "kind", object_name(change->object));
    ctl_json_text(&json, "id", id);
    ctl_json_bool(&json, "gone", change->is_gone);
    if (change->is_gone)
        ctl_json_null(&json, "record");
    else
        ctl_json_record(&json, "record", change);
    ctl_json_end(&json, '}');
    free(id);
}

static void say_change(struct ctl *ctl, const struct em_change *change)
{
    char now[CTL_CLOCK_TEXT];
    char *id = id_text(change);
    char *text = record_text(change);
    uint64_t number = revision_of(change);
    char *revision = number ? ctl_uint_text(number) : ctl_text(NULL);
    ctl_say(ctl, "%s  revision %s  %s %s  %s", ctl_clock_text(now), revision,
            object_name(change->object), id, text);
    free(revision);
    free(id);
    free(text);
}

void ctl_watch_page(struct ctl *ctl, const struct em_feed *page)
{
    if (page->err) {
        ctl_refused_with(ctl, page->err, page->message);
        return;
    }
    for (size_t i = 0; i < page->n_changes; i++)
        if (ctl->is_json)
            json_change(ctl, page, &page->changes[i]);
        else
            say_change(ctl, &page->changes[i]);
    if (page->is_removed)
        ctl_finish(ctl, ctl_fail(ctl, CTL_REFUSED, "%s: it was removed", ctl->subject));
    else if (fflush(ctl->out))
        ctl_finish(ctl, CTL_DONE); /* main() tells what is wrong with the output */
}

/* Revisions from the future are of another map, or of one that was put back from a copy. */
static void say_start_over(const struct watch *watch)
{
    ctl_fail(watch->ctl, CTL_DONE,
             "%s: this map server does not know what changed after revision %" PRIu64
             ", which is too long ago or none of its own; all that there is follows",
             watch->ctl->subject, watch->since);
}

static void on_page(void *aux, const struct em_feed *page)
{
    struct watch *watch = aux;
    if (page->is_start_over && watch->since)
        say_start_over(watch);
    ctl_watch_page(watch->ctl, page);
    if (page->revision)
        watch->since = page->revision;
}

static void on_status(void *aux, const struct em_reply *reply)
{
    struct watch *watch = aux;
    if (!reply->err)
        watch->since = reply->status->revision;
    if (reply->err)
        ctl_refused(watch->ctl, reply);
    else
        ctl_finish(watch->ctl, CTL_DONE);
}

static enum ctl_exit run_watch(struct ctl *ctl)
{
    struct watch watch = {.ctl = ctl};
    const char *network = ctl->n_words ? ctl->words[0] : NULL;
    if (!ctl_option_uint(ctl, "since", 0, UINT64_MAX, &watch.since))
        return CTL_USAGE;
    ctl_subject(ctl, network ? "network %s" : "watch", network);
    ctl->is_following = true;
    enum ctl_exit code = ctl_open(ctl);
    if (code)
        return code;
    struct em_client *client = em_call_client(ctl->call);
    if (!ctl_option(ctl, "since"))
        code = ctl_wait(ctl, em_client_status(client, false, on_status, &watch));
    if (!code)
        code =
            ctl_follow(ctl, em_client_subscribe(client, 0, network, watch.since, on_page, &watch));
    ctl_close(ctl);
    return code;
}

static const struct ctl_option watch_options[] = {
    {"since", 0, "REVISION", "what changed after it, too; 0: all that there is"},
    {NULL},
};

const struct ctl_command ctl_watch_commands[] = {
    {"", "[NETWORK]", 0, 1, watch_options, run_watch, "Print changes of the map as they come",
     "The ports of a network; without one, networks and nodes.  Ends with Ctrl-C.  JSON is one\n"
     "object a line.  What is gone has no revision: the map does not say when it went.\n",
     "mapctl watch blue"},
    {NULL},
};
