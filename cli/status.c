/* "status": one reply of one server.  That it knows of problems is no failure of the command:
 * they are printed, and the code is 0. */
#include "call.h"
#include "cluster.h"
#include "command.h"
#include "output.h"
#include "record.h"

#include "base/clock.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

static void print_sessions(struct ctl *ctl, const struct em_status *status)
{
    static const struct ctl_column columns[] = {
        {"NAME"},        {"ROLE"},        {"PEER"},     {"SINCE"}, {"INSTALLED", true},
        {"FEEDS", true}, {"WATCH", true}, {"SOFTWARE"},
    };
    uint64_t now_ms = em_wall_ms();
    struct ctl_table *table = ctl_table_new(ctl->out, columns, sizeof(columns) / sizeof(*columns));
    for (size_t i = 0; i < status->n_listed; i++) {
        const struct em_session *s = &status->sessions[i];
        uint64_t age_ms = now_ms > s->connected_ms ? now_ms - s->connected_ms : 0;
        ctl_table_add_take(table, (char *[]){
                                      ctl_text(s->name),
                                      ctl_text(s->role),
                                      ctl_text(s->peer),
                                      ctl_duration_text(age_ms),
                                      ctl_uint_text(s->installed_revision),
                                      ctl_uint_text(s->n_subscriptions),
                                      ctl_uint_text(s->n_watches),
                                      ctl_text(s->software),
                                  });
    }
    ctl_table_sort(table);
    fputc('\n', ctl->out);
    ctl_table_print(table);
    ctl_table_free(table);
}

static char *store_text(const struct em_status *s)
{
    char *used = ctl_size_text(s->store_used);
    char *size = ctl_size_text(s->store_size);
    char *disk = ctl_size_text(s->disk_free);
    double percent = s->store_size ? 100.0 * (double)s->store_used / (double)s->store_size : 0;
    char *text = em_asprintf("%s of %s (%.1f %%), %s free on disk", used, size, percent, disk);
    free(used);
    free(size);
    free(disk);
    return text;
}

static void add_cluster(struct ctl_fields *fields, const struct em_status *s)
{
    char *size = ctl_size_text(s->log_size);
    ctl_fields_add_take(fields, "role", em_asprintf("%s, term %" PRIu64, s->raft_role, s->term));
    ctl_fields_add_take(fields, "leader", ctl_text(s->leader[0] ? s->leader : "none"));
    ctl_fields_add_take(fields, "log",
                        em_asprintf("last %" PRIu64 ", committed %" PRIu64 ", applied %" PRIu64
                                    ", %s",
                                    s->last_index, s->commit, s->applied, size));
    for (size_t i = 0; i < s->n_members; i++)
        ctl_fields_add_take(fields, i ? "" : "members", ctl_member_text(s, &s->members[i]));
    free(size);
}

static void add_sentences(struct ctl_fields *fields, const char *name,
                          struct ctl_sentences sentences)
{
    for (size_t i = 0; i < sentences.n; i++)
        ctl_fields_add_take(fields, name, ctl_text(sentences.texts[i]));
    ctl_sentences_fini(&sentences);
}

static void print_status(struct ctl *ctl, const struct em_status *s)
{
    struct ctl_fields *fields = ctl_fields_new(ctl->out);
    ctl_fields_add_take(fields, "server", em_asprintf("%s (%s)", s->server_id, s->software));
    ctl_fields_add_take(fields, "cluster", ctl_hex_text(s->cluster_id));
    ctl_fields_add_take(fields, "up", ctl_duration_text(s->uptime_ms));
    ctl_fields_add_take(
        fields, "revision",
        em_asprintf("%" PRIu64 ", feed kept since %" PRIu64, s->revision, s->horizon));
    ctl_fields_add_take(fields, "map",
                        em_asprintf("%" PRIu64 " networks, %" PRIu64 " nodes, %" PRIu64
                                    " ports, %" PRIu64 " EIDs",
                                    s->n_networks, s->n_nodes, s->n_ports, s->n_eids));
    ctl_fields_add_take(fields, "store", store_text(s));
    ctl_fields_add_take(fields, "sessions", ctl_uint_text(s->n_sessions));
    ctl_fields_add_take(
        fields, "requests",
        em_asprintf("%" PRIu64 ", %" PRIu64 " refused", s->n_requests, s->n_refused));
    if (s->raft_role[0])
        add_cluster(fields, s);
    add_sentences(fields, "problem", ctl_cluster_problems(s));
    add_sentences(fields, "hint", ctl_cluster_hints(s));
    ctl_fields_end(fields);
    if (ctl_option(ctl, "sessions"))
        print_sessions(ctl, s);
}

static void json_session(struct ctl_json *json, const struct em_session *session)
{
    ctl_json_begin(json, NULL, '{');
    ctl_json_text(json, "name", session->name);
    ctl_json_text(json, "role", session->role);
    ctl_json_text(json, "peer", session->peer);
    ctl_json_uint(json, "connected_ms", session->connected_ms);
    ctl_json_uint(json, "boot_epoch", session->boot_epoch);
    ctl_json_uint(json, "installed_revision", session->installed_revision);
    ctl_json_uint(json, "subscriptions", session->n_subscriptions);
    ctl_json_uint(json, "watches", session->n_watches);
    ctl_json_text(json, "software", session->software);
    ctl_json_end(json, '}');
}

static void json_cluster(struct ctl_json *json, const struct em_status *s)
{
    ctl_json_text(json, "raft_role", s->raft_role);
    ctl_json_uint(json, "term", s->term);
    ctl_json_text(json, "leader", s->leader);
    ctl_json_uint(json, "commit", s->commit);
    ctl_json_uint(json, "applied", s->applied);
    ctl_json_uint(json, "last_index", s->last_index);
    ctl_json_uint(json, "log_size", s->log_size);
    ctl_json_begin(json, "members", '[');
    for (size_t i = 0; i < s->n_members; i++)
        ctl_json_member(json, NULL, s, &s->members[i]);
    ctl_json_end(json, ']');
}

static void json_sentences(struct ctl_json *json, const char *key, struct ctl_sentences sentences)
{
    ctl_json_words(json, key, (const char *const *)sentences.texts, sentences.n);
    ctl_sentences_fini(&sentences);
}

static void json_status(struct ctl *ctl, const struct em_status *s)
{
    struct ctl_json json = {ctl->out};
    char *cluster_id = ctl_hex_text(s->cluster_id);
    ctl_json_begin(&json, NULL, '{');
    ctl_json_text(&json, "server_id", s->server_id);
    ctl_json_text(&json, "software", s->software);
    ctl_json_text(&json, "cluster_id", cluster_id);
    ctl_json_uint(&json, "revision", s->revision);
    ctl_json_uint(&json, "horizon", s->horizon);
    ctl_json_uint(&json, "uptime_ms", s->uptime_ms);
    ctl_json_uint(&json, "n_networks", s->n_networks);
    ctl_json_uint(&json, "n_nodes", s->n_nodes);
    ctl_json_uint(&json, "n_ports", s->n_ports);
    ctl_json_uint(&json, "n_eids", s->n_eids);
    ctl_json_uint(&json, "store_used", s->store_used);
    ctl_json_uint(&json, "store_size", s->store_size);
    ctl_json_uint(&json, "disk_free", s->disk_free);
    ctl_json_uint(&json, "n_sessions", s->n_sessions);
    ctl_json_begin(&json, "sessions", '[');
    for (size_t i = 0; i < s->n_listed; i++)
        json_session(&json, &s->sessions[i]);
    ctl_json_end(&json, ']');
    json_sentences(&json, "problems", ctl_cluster_problems(s));
    json_sentences(&json, "hints", ctl_cluster_hints(s));
    ctl_json_uint(&json, "requests", s->n_requests);
    ctl_json_uint(&json, "refused", s->n_refused);
    json_cluster(&json, s);
    ctl_json_end(&json, '}');
    free(cluster_id);
}

static void on_status(void *aux, const struct em_reply *reply)
{
    struct ctl *ctl = aux;
    if (reply->err) {
        ctl_refused(ctl, reply);
        return;
    }
    if (ctl->is_json)
        json_status(ctl, reply->status);
    else
        print_status(ctl, reply->status);
    ctl_finish(ctl, CTL_DONE);
}

static enum ctl_exit run_status(struct ctl *ctl)
{
    ctl_subject(ctl, "status");
    enum ctl_exit code = ctl_open(ctl);
    if (code)
        return code;
    bool with_sessions = ctl_option(ctl, "sessions");
    code =
        ctl_wait(ctl, em_client_status(em_call_client(ctl->call), with_sessions, on_status, ctl));
    ctl_close(ctl);
    return code;
}

static const struct ctl_option status_options[] = {
    {"sessions", 0, NULL, "list who is connected"},
    {NULL},
};

const struct ctl_command ctl_status_commands[] = {
    {"", "[--sessions]", 0, 0, status_options, run_status,
     "Show how a map server and its cluster are",
     "Any server of a cluster answers, with what it knows of the others.  Problems are listed\n"
     "last; they do not change the exit code.\n",
     "mapctl status --sessions"},
    {NULL},
};
