/* "trace": why can these two not talk, as far as the map servers know?  Both directions: where
 * each of the two is, what the other's node sees of it and by which address it gets there, and
 * whether that node has installed what the map says.  What stands in a host's kernel is for
 * "xtr trace" on that host. */
#include "call.h"
#include "command.h"
#include "heard.h"
#include "record.h"
#include "steps.h"

#include "base/clock.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAUSE_MS 250 /* between two looks for what is installed */
#define FORMS    2   /* a bare word is a port-id or a DNS name */

/* One of the two. */
struct side {
    const char *word;
    struct em_eid eids[FORMS]; /* in the order of preference */
    char name[EM_EID_TEXT];
    char ids[EM_PORT_ID_SIZE];
    size_t n;
    const struct em_port *port; /* in the reply at hand; NULL: nobody has it */
    const char *reason;
};

struct trace {
    struct ctl *ctl;
    struct ctl_steps steps;
    struct side sides[2];
    struct ctl_heard heard;
    bool is_judging; /* else it only learns what has to be installed, and where */
    bool is_behind;  /* a node has not installed what it needs */
    const struct em_reply *reply;
    struct em_network network; /* numbers only; id 0: there is none */
    char path[160];
};

__attribute__((format(printf, 4, 5))) static void tell(struct trace *t, const char *name,
                                                       const char *advice, const char *format, ...)
{
    va_list args;
    char *found = NULL;
    va_start(args, format);
    if (vasprintf(&found, format, args) < 0)
        abort(); /* memory is out */
    va_end(args);
    ctl_steps_add(&t->steps, t->path, name, advice != NULL, found, advice ? advice : "");
    free(found);
}

static const struct em_node *find_node(const struct trace *t, const char *id)
{
    for (size_t i = 0; i < t->reply->n_nodes; i++)
        if (strcmp(t->reply->nodes[i].id, id) == 0)
            return &t->reply->nodes[i];
    return NULL;
}

/* ---- the two ports */

static void find_ports(struct trace *t)
{
    size_t at = 0;
    for (size_t s = 0; s < 2; s++) {
        struct side *side = &t->sides[s];
        side->port = NULL;
        side->reason = "nobody has registered it";
        for (size_t i = 0; i < side->n && at < t->reply->n_answers; i++, at++) {
            const struct em_answer *answer = &t->reply->answers[at];
            if (answer->port && !side->port)
                side->port = answer->port;
            else if (!answer->port && answer->reason[0])
                side->reason = answer->reason;
        }
    }
}

static bool has_mac(const struct em_port *port)
{
    for (size_t i = 0; i < port->n_eids; i++)
        if (port->eids[i].kind == EM_EID_MAC)
            return true;
    return false;
}

static bool tell_port(struct trace *t, const struct side *side)
{
    const struct em_port *port = side->port;
    if (!port) {
        tell(t, "port", "attach it (mapctl xtr attach), or register it (mapctl port register)",
             "%s: %s", side->word, side->reason);
        return false;
    }
    char *id = ctl_port_id_text(&port->id);
    char *places = ctl_locations_text(port->locations, port->n_locations);
    bool is_right = port->n_locations && has_mac(port);
    const char *advice = port->n_locations ? "register it with its MAC"
                                           : "attach it where it runs: mapctl xtr attach";
    tell(t, "port", is_right ? NULL : advice, "%s is port %s at %s, revision %" PRIu64 "%s",
         side->word, id, port->n_locations ? places : "no node", port->revision,
         has_mac(port) ? "" : ", without a MAC");
    free(id);
    free(places);
    return is_right;
}

/* ---- nodes */

static bool tell_node(struct trace *t, const char *name, const char *id)
{
    const struct em_node *node = find_node(t, id);
    if (!node) {
        tell(t, name, "start its xTR, or remove the location: mapctl port locate --remove",
             "%s: the map has no such node", id);
        return false;
    }
    char *state = ctl_node_state_text(node);
    char *rlocs = ctl_rlocs_text(node->rlocs, node->n_rlocs);
    uint64_t now_ms = em_wall_ms();
    char *since =
        ctl_duration_text(now_ms > node->state_since_ms ? now_ms - node->state_since_ms : 0);
    const char *advice = node->is_disabled ? "mapctl node set --enable lets it in again"
                         : node->state == EM_NODE_UNREACHABLE
                             ? "its lease ran out: look at its xTR, its host, its way to the "
                               "map servers"
                         : !node->n_rlocs ? "set rloc: in the configuration of its xTR"
                                          : NULL;
    tell(t, name, advice, "%s: %s for %s, RLOCs %s", id, state, since, rlocs);
    free(state);
    free(rlocs);
    free(since);
    return advice == NULL;
}

/* A vxlan device speaks one family: IPv4 where its node has an RLOC of it. */
static unsigned tunnel_family(const struct em_node *node)
{
    unsigned size = 0;
    for (size_t i = 0; node && i < node->n_rlocs; i++)
        if (node->rlocs[i].encap == EM_ENCAP_VXLAN && (!size || node->rlocs[i].ip.size < size))
            size = node->rlocs[i].ip.size;
    return size;
}

static bool has_family(const struct em_node *node, unsigned size)
{
    for (size_t i = 0; i < node->n_rlocs; i++)
        if (node->rlocs[i].ip.size == size && node->rlocs[i].encap == EM_ENCAP_VXLAN)
            return true;
    return false;
}

static bool has_vxlan_alone(const struct em_node *node)
{
    for (size_t i = 0; i < node->n_rlocs; i++)
        if (node->rlocs[i].encap != EM_ENCAP_VXLAN)
            return false;
    return true;
}

/* A node that takes more than VXLAN has Open vSwitch, whose tunnel ports speak all of it, and both
 * families. */
static bool has_way(const struct em_node *from, const struct em_node *to)
{
    if (!from || has_vxlan_alone(from))
        return has_family(to, tunnel_family(from));
    for (size_t i = 0; i < from->n_rlocs; i++)
        for (size_t k = 0; k < to->n_rlocs; k++)
            if (from->rlocs[i].ip.size == to->rlocs[k].ip.size)
                return true;
    return false;
}

/* ---- what one node sees of the other port */

struct obstacle {
    const char *why; /* NULL: none */
    const char *advice;
};

/* Why 'from' cannot send to the location. */
static struct obstacle obstacle(const struct trace *t, const char *from,
                                const struct em_location *l)
{
    const struct em_node *sender = find_node(t, from), *node = find_node(t, l->node_id);
    enum em_view view =
        em_location_view(l, from, sender ? sender->labels : NULL, sender ? sender->n_labels : 0);
    if (view == EM_VIEW_OTHERS)
        return (struct obstacle){"not shown to this node", "mapctl port locate --view changes it"};
    if (l->is_pending)
        return (struct obstacle){"pending: it has not arrived there", "wait for the migration"};
    if (l->priority == EM_PRIORITY_NEVER)
        return (struct obstacle){"priority 255 is never used",
                                 "mapctl port locate --priority changes it"};
    if (strcmp(l->node_id, from) == 0)
        return (struct obstacle){0};
    if (!node)
        return (struct obstacle){"the map has no such node", "start its xTR"};
    if (node->is_disabled)
        return (struct obstacle){"its node is disabled", "mapctl node set --enable lets it in"};
    if (!has_way(sender, node))
        return (struct obstacle){"its node has no RLOC of this node's address family",
                                 "give both nodes an RLOC of one family: rloc: of their xTRs"};
    return (struct obstacle){0};
}

static bool is_alive(const struct trace *t, const struct em_location *l)
{
    const struct em_node *node = find_node(t, l->node_id);
    return node && node->state != EM_NODE_UNREACHABLE;
}

static void tell_location(struct trace *t, const char *from, const struct em_location *l)
{
    const char *why = obstacle(t, from, l).why;
    char *text = ctl_location_text(l);
    tell(t, "sees", NULL, "%s, epoch %" PRIu64 ": %s", text, l->epoch,
         why                             ? why
         : strcmp(l->node_id, from) == 0 ? "on the same node"
         : is_alive(t, l)                ? "can be sent to"
                                         : "can be sent to, but its node is unreachable");
    free(text);
}

/* The other port's locations, as 'from' may use them. */
static void tell_locations(struct trace *t, const char *from, const struct em_port *port)
{
    const struct em_location *any = NULL;
    struct obstacle first = {0};
    bool has_live = false;
    for (size_t i = 0; i < port->n_locations; i++) {
        const struct em_location *l = &port->locations[i];
        if (em_location_is_any_local(l)) {
            tell(t, "sees", NULL,
                 "any-local: %s's own instance, if one is attached there; no "
                 "tunnel",
                 from);
            return;
        }
        tell_location(t, from, l);
        struct obstacle in_the_way = obstacle(t, from, l);
        if (in_the_way.why) {
            first = first.why ? first : in_the_way;
            continue;
        }
        any = any ? any : l;
        has_live = has_live || is_alive(t, l);
    }
    if (!any)
        tell(t, "choice", first.advice, "%s can use none of these: %s", from, first.why);
    else if (!has_live)
        tell_node(t, "choice", any->node_id);
}

/* ---- what that node has installed */

/* The last change that matters on the way to 'port'. */
static uint64_t needed_for(const struct trace *t, const struct em_port *port)
{
    uint64_t needed = port->revision;
    for (size_t i = 0; i < port->n_locations; i++) {
        const struct em_node *node = find_node(t, port->locations[i].node_id);
        if (node && node->revision > needed)
            needed = node->revision;
    }
    return needed;
}

static void tell_installed(struct trace *t, const char *from, const struct em_port *port)
{
    const struct ctl_heard_node *heard = ctl_heard_find(&t->heard, from);
    uint64_t needed = needed_for(t, port);
    if (heard)
        tell(t, "installed",
             heard->installed >= needed ? NULL
                                        : "mapctl xtr status on that node tells what it waits for",
             "%s has installed revision %" PRIu64 ", needs %" PRIu64, from, heard->installed,
             needed);
    else if (t->heard.n_asked < t->heard.n_servers)
        tell(t, "installed", NULL,
             "unknown: %zu of %zu map servers were asked, and %s has a session with none of them",
             t->heard.n_asked, t->heard.n_servers, from);
    else
        tell(t, "installed", "start its xTR, or look at its way to the map servers",
             "%s has a session with none of the map servers", from);
}

/* ---- both directions */

static void tell_direction(struct trace *t, const struct side *a, const struct side *b,
                           const char *from)
{
    snprintf(t->path, sizeof(t->path), "%s at %s -> %s", a->word, from, b->word);
    ctl_steps_title(&t->steps, "%s", t->path);
    tell_node(t, "node", from);
    tell_locations(t, from, b->port);
    tell_installed(t, from, b->port);
}

static bool sends_from(const struct em_location *l)
{
    return !l->is_pending && l->priority != EM_PRIORITY_NEVER && !em_location_is_any_local(l);
}

static void judge(struct trace *t)
{
    struct ctl *ctl = t->ctl;
    const struct side *a = &t->sides[0], *b = &t->sides[1];
    t->path[0] = '\0';
    ctl_steps_title(&t->steps, "%s, as the map servers see it:", ctl->subject);
    tell(t, "network", NULL, "%s: id %u, VNI %u, map revision %" PRIu64, ctl->words[0],
         t->network.id, t->network.segmentation_id, t->reply->revision);
    bool has_both = tell_port(t, a);
    has_both = tell_port(t, b) && has_both;
    for (size_t s = 0; has_both && s < 2; s++, a = &t->sides[1], b = &t->sides[0])
        for (size_t i = 0; i < a->port->n_locations; i++)
            if (sends_from(&a->port->locations[i]))
                tell_direction(t, a, b, a->port->locations[i].node_id);
}

/* Has each node that sends installed what it needs, as far as has been heard? */
static void learn(struct trace *t)
{
    t->is_behind = false;
    for (size_t s = 0; s < 2; s++) {
        const struct em_port *port = t->sides[s].port, *other = t->sides[1 - s].port;
        for (size_t i = 0; port && other && i < port->n_locations; i++) {
            const struct ctl_heard_node *heard =
                ctl_heard_find(&t->heard, port->locations[i].node_id);
            t->is_behind |= heard && heard->installed < needed_for(t, other);
        }
    }
}

static void on_resolved(void *aux, const struct em_reply *reply)
{
    struct trace *t = aux;
    if (reply->err) {
        ctl_refused(t->ctl, reply);
        return;
    }
    t->reply = reply;
    find_ports(t);
    if (t->is_judging)
        judge(t);
    else
        learn(t);
    t->reply = NULL;
    ctl_finish(t->ctl, CTL_DONE);
}

static bool find_network(void *aux, const struct em_change *change)
{
    struct trace *t = aux;
    if (change->object != EM_OBJECT_NETWORK || strcmp(change->network->name, t->ctl->words[0]) != 0)
        return false;
    t->network.id = change->network->id;
    t->network.segmentation_id = change->network->segmentation_id;
    return true;
}

static enum ctl_exit resolve(struct trace *t)
{
    struct em_eid eids[2 * FORMS];
    size_t n = 0;
    for (size_t s = 0; s < 2; s++)
        for (size_t i = 0; i < t->sides[s].n; i++)
            eids[n++] = t->sides[s].eids[i];
    unsigned flags =
        EM_RESOLVE_NODES | (ctl_option(t->ctl, "consistent") ? EM_RESOLVE_CONSISTENT : 0);
    enum ctl_exit code = ctl_open(t->ctl);
    if (code)
        return code;
    if (!t->network.id)
        code = ctl_snapshot(t->ctl, 0, NULL, find_network, t);
    if (!code && !t->network.id)
        code = ctl_fail(t->ctl, CTL_REFUSED,
                        "network %s: not found; \"mapctl network list\" shows "
                        "them",
                        t->ctl->words[0]);
    if (!code)
        code = ctl_wait(t->ctl, em_client_resolve(em_call_client(t->ctl->call), t->network.id, NULL,
                                                  eids, n, flags, on_resolved, t));
    ctl_close(t->ctl);
    return code;
}

/* What an agent has installed rides on its heartbeats: for a change of just now one is waited
 * for, as long as an answer may take. */
static enum ctl_exit hear(struct trace *t)
{
    uint64_t end_ms = em_now_ms() + t->ctl->target.timeout_ms;
    enum ctl_exit code;
    do {
        ctl_heard_fini(&t->heard);
        code = ctl_heard_ask(t->ctl, &t->heard);
        if (!code)
            code = resolve(t);
        if (code || !t->is_behind)
            return code;
        struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000};
        nanosleep(&pause, NULL);
    } while (em_now_ms() < end_ms);
    return CTL_DONE;
}

/* A word that is no address may be a port-id, and a DNS name as well. */
static bool parse_side(struct ctl *ctl, const char *word, struct side *side)
{
    char why[EM_ADDR_WHY];
    struct em_port_id id;
    struct em_eid eid;
    side->word = word;
    bool is_eid = em_eid_parse(word, &eid, side->name, why) == 0;
    bool is_word = !is_eid || eid.kind == EM_EID_NAME;
    if (is_word && em_port_id_parse(word, &id, why) == 0) {
        memcpy(side->ids, id.bytes, id.size);
        side->eids[side->n++] =
            (struct em_eid){.kind = EM_EID_PORT_ID, .size = id.size, .name = side->ids};
    }
    if (is_eid)
        side->eids[side->n++] = eid;
    if (!side->n)
        ctl_fail(ctl, CTL_USAGE, "%s: expected an EID or a port-id: %s", word, why);
    return side->n > 0;
}

static enum ctl_exit run_trace(struct ctl *ctl)
{
    struct trace *t = em_calloc(1, sizeof(*t));
    enum ctl_exit code = CTL_USAGE;
    t->ctl = ctl;
    ctl_subject(ctl, "%s and %s in network %s", ctl->words[1], ctl->words[2], ctl->words[0]);
    if (parse_side(ctl, ctl->words[1], &t->sides[0]) &&
        parse_side(ctl, ctl->words[2], &t->sides[1]))
        code = hear(t);
    if (!code) {
        t->is_judging = true;
        ctl_steps_begin(&t->steps, ctl);
        code = resolve(t);
        enum ctl_exit verdict = ctl_steps_end(&t->steps);
        code = code ? code : verdict;
    }
    ctl_heard_fini(&t->heard);
    free(t);
    return code;
}

static const struct ctl_option trace_options[] = {
    {"consistent", 0, NULL, "the newest state of the cluster, not of one server"},
    {NULL},
};

const struct ctl_command ctl_trace_commands[] = {
    {"", "NETWORK A B [--consistent]", 3, 3, trace_options, run_trace,
     "Say why two endpoints cannot talk",
     "A and B are EIDs or port-ids.  For both directions: where each is, what the other's node\n"
     "sees of it, whether that node is alive and has installed the last change, as all servers\n"
     "that are given know it.  Exit code 1 if a step is wrong.  What stands in the kernel of one\n"
     "of the hosts is told by \"mapctl xtr trace\" there.  The map is that of the server that\n"
     "answers, also without a majority; what was changed through another a moment ago may not\n"
     "be there yet: --consistent waits for that.\n",
     "mapctl trace blue 10.1.0.11 10.1.0.12\n"
     "mapctl trace blue web-1 db-1"},
    {NULL},
};
