/* "resolve": the question that the map is for.  Positive answers are rows, one for each
 * location; negative ones are sentences below, with LISP's action and time to live.  With
 * --watch the server pushes answers that change, and each is one line. */
#include "call.h"
#include "command.h"
#include "output.h"
#include "record.h"
#include "resolve.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_EIDS 1024 /* of the protocol */

struct question {
    struct ctl *ctl;
    bool is_watching;
};

static const struct em_node *find_node(const struct em_reply *reply, const char *id)
{
    for (size_t i = 0; i < reply->n_nodes; i++)
        if (strcmp(reply->nodes[i].id, id) == 0)
            return &reply->nodes[i];
    return NULL;
}

/* "10.1.2.3", or "10.1.2.3 (10.1.0.0/16)" when a wider mapping answers. */
static char *eid_text(const struct em_answer *answer)
{
    char asked[EM_EID_TEXT], matched[EM_EID_TEXT];
    em_eid_format(&answer->eid, asked);
    if (!answer->port || answer->matched.kind == EM_EID_NONE ||
        em_eid_compare(&answer->eid, &answer->matched) == 0)
        return em_strdup(asked);
    return em_asprintf("%s (%s)", asked, em_eid_format(&answer->matched, matched));
}

static char *reason_text(const struct em_answer *answer)
{
    return em_asprintf("%s: %s", ctl_name_of(ctl_actions, (int)answer->action), answer->reason);
}

static char *rlocs_of(const struct em_node *node)
{
    return node ? ctl_rlocs_text(node->rlocs, node->n_rlocs) : ctl_text(NULL);
}

static char *state_of(const struct em_node *node, const struct em_location *location)
{
    if (location->is_pending)
        return ctl_text("pending");
    return node ? ctl_node_state_text(node) : ctl_text(NULL);
}

static void add_answer(struct ctl_table *table, const struct em_reply *reply,
                       const struct em_answer *answer)
{
    const struct em_port *port = answer->port;
    for (size_t i = 0; i < port->n_locations; i++) {
        const struct em_node *node = find_node(reply, port->locations[i].node_id);
        ctl_table_add_take(table, (char *[]){
                                      eid_text(answer),
                                      ctl_port_id_text(&port->id),
                                      ctl_location_text(&port->locations[i]),
                                      rlocs_of(node),
                                      state_of(node, &port->locations[i]),
                                  });
    }
}

/* A sentence would make a poor cell: what nobody has stands below the table. */
static void say_negative(struct ctl *ctl, const struct em_answer *answer)
{
    char *eid = eid_text(answer);
    const char *action = ctl_name_of(ctl_actions, (int)answer->action);
    if (answer->port)
        ctl_say(ctl, "%s: its port is nowhere (ttl %us)", eid, answer->ttl_s);
    else
        ctl_say(ctl, "%s: %s (%s, ttl %us)", eid, answer->reason, action, answer->ttl_s);
    free(eid);
}

static bool is_somewhere(const struct em_answer *answer)
{
    return answer->port && answer->port->n_locations;
}

static void print_table(struct ctl *ctl, const struct em_reply *reply)
{
    static const struct ctl_column columns[] = {
        {"EID"}, {"PORT"}, {"LOCATION"}, {"RLOCS"}, {"STATE"},
    };
    struct ctl_table *table = ctl_table_new(ctl->out, columns, sizeof(columns) / sizeof(*columns));
    for (size_t i = 0; i < reply->n_answers; i++)
        if (is_somewhere(&reply->answers[i]))
            add_answer(table, reply, &reply->answers[i]);
    ctl_table_print(table);
    ctl_table_free(table);
    for (size_t i = 0; i < reply->n_answers; i++)
        if (!is_somewhere(&reply->answers[i]))
            say_negative(ctl, &reply->answers[i]);
}

/* A change has no table to stand in: one line each. */
static void say_answer(struct ctl *ctl, const struct em_reply *reply,
                       const struct em_answer *answer)
{
    char now[CTL_CLOCK_TEXT];
    char *eid = eid_text(answer);
    ctl_clock_text(now);
    if (!answer->port) {
        char *reason = reason_text(answer);
        ctl_say(ctl, "%s  %s  no port (%s)", now, eid, reason);
        free(reason);
    } else {
        const struct em_port *port = answer->port;
        const struct em_node *node =
            port->n_locations ? find_node(reply, port->locations[0].node_id) : NULL;
        char *id = ctl_port_id_text(&port->id);
        char *places = ctl_locations_text(port->locations, port->n_locations);
        char *rlocs = rlocs_of(node);
        ctl_say(ctl, "%s  %s  port %s at %s, RLOC %s, revision %" PRIu64, now, eid, id, places,
                rlocs, port->revision);
        free(id);
        free(places);
        free(rlocs);
    }
    free(eid);
}

static void json_answer(struct ctl_json *json, const struct em_answer *answer)
{
    ctl_json_begin(json, NULL, '{');
    ctl_json_eid(json, "eid", &answer->eid);
    if (answer->port)
        ctl_json_port(json, "port", answer->port);
    else
        ctl_json_null(json, "port");
    if (answer->port)
        ctl_json_eid(json, "matched", &answer->matched);
    else
        ctl_json_null(json, "matched");
    ctl_json_eid(json, "covers", answer->covers.kind ? &answer->covers : &answer->eid);
    ctl_json_text(json, "action", ctl_name_of(ctl_actions, (int)answer->action));
    ctl_json_uint(json, "ttl_s", answer->ttl_s);
    ctl_json_text(json, "reason", answer->reason);
    ctl_json_end(json, '}');
}

static void print_json(FILE *out, const struct em_reply *reply)
{
    struct ctl_json json = {out};
    ctl_json_begin(&json, NULL, '{');
    ctl_json_uint(&json, "revision", reply->revision);
    ctl_json_begin(&json, "answers", '[');
    for (size_t i = 0; i < reply->n_answers; i++)
        json_answer(&json, &reply->answers[i]);
    ctl_json_end(&json, ']');
    ctl_json_begin(&json, "nodes", '[');
    for (size_t i = 0; i < reply->n_nodes; i++)
        ctl_json_node(&json, NULL, &reply->nodes[i]);
    ctl_json_end(&json, ']');
    ctl_json_end(&json, '}');
}

enum ctl_exit ctl_resolve_print(struct ctl *ctl, const struct em_reply *reply, bool is_watching)
{
    enum ctl_exit code = CTL_DONE;
    for (size_t i = 0; i < reply->n_answers; i++)
        if (!reply->answers[i].port)
            code = CTL_REFUSED;
    if (ctl->is_json)
        print_json(ctl->out, reply);
    else if (!is_watching)
        print_table(ctl, reply);
    else
        for (size_t i = 0; i < reply->n_answers; i++)
            say_answer(ctl, reply, &reply->answers[i]);
    return code;
}

static void on_answers(void *aux, const struct em_reply *reply)
{
    struct question *question = aux;
    struct ctl *ctl = question->ctl;
    if (reply->err) {
        ctl_refused(ctl, reply);
        return;
    }
    enum ctl_exit code = ctl_resolve_print(ctl, reply, question->is_watching);
    if (!question->is_watching)
        ctl_finish(ctl, code);
    else if (fflush(ctl->out))
        ctl_finish(ctl, CTL_DONE); /* main() tells what is wrong with the output */
}

static enum ctl_exit ask(struct question *question, const struct em_eid *eids, size_t n)
{
    struct ctl *ctl = question->ctl;
    unsigned flags = EM_RESOLVE_NODES | (question->is_watching ? EM_RESOLVE_WATCH : 0) |
                     (ctl_option(ctl, "consistent") ? EM_RESOLVE_CONSISTENT : 0);
    ctl->is_following = question->is_watching;
    enum ctl_exit code = ctl_open(ctl);
    if (code)
        return code;
    int64_t id = em_client_resolve(em_call_client(ctl->call), 0, ctl->words[0], eids, n, flags,
                                   on_answers, question);
    code = question->is_watching ? ctl_follow(ctl, id) : ctl_wait(ctl, id);
    ctl_close(ctl);
    return code;
}

static enum ctl_exit run_resolve(struct ctl *ctl)
{
    struct question question = {ctl, ctl_option(ctl, "watch")};
    size_t n = ctl->n_words - 1;
    char why[EM_ADDR_WHY];
    if (n > MAX_EIDS)
        return ctl_fail(ctl, CTL_USAGE, "resolve: at most %d EIDs at once", MAX_EIDS);
    ctl_subject(ctl, "network %s", ctl->words[0]);
    struct em_eid *eids = em_calloc(n, sizeof(*eids));
    char(*names)[EM_EID_TEXT] = em_calloc(n, sizeof(*names));
    enum ctl_exit code = CTL_DONE;
    for (size_t i = 0; !code && i < n; i++)
        if (em_eid_parse(ctl->words[i + 1], &eids[i], names[i], why))
            code = ctl_fail(ctl, CTL_USAGE, "EID %s: %s", ctl->words[i + 1], why);
    if (!code)
        code = ask(&question, eids, n);
    free(eids);
    free(names);
    return code;
}

static const struct ctl_option resolve_options[] = {
    {"watch", 'w', NULL, "go on, and print each change"},
    {"consistent", 0, NULL, "the newest state of the cluster, not of one server"},
    {NULL},
};

const struct ctl_command ctl_resolve_commands[] = {
    {"", "NETWORK EID...", 2, SIZE_MAX, resolve_options, run_resolve, "Ask where endpoints are",
     "An EID is a MAC, an address, a prefix, a DNS name, tcp/ADDRESS:PORT or port:ID.  The exit\n"
     "code is 1 if nobody has one of them; the action and time to live are LISP's.\n",
     "mapctl resolve blue 10.1.0.5 52:54:00:00:00:01"},
    {NULL},
};
