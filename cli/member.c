/* "member": list, add, promote, demote, remove, transfer.
 *
 * Any server of the cluster takes these and passes them to the leader.  A change is one
 * request and one answer, but for those that wait for the new server: see join.c. */
#include "member.h"

#include "cluster.h"
#include "command.h"
#include "output.h"
#include "record.h"

#include "base/mem.h"
#include "net/socket.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_MS 200 /* between two looks for who leads now */

struct change {
    struct ctl *ctl;
    struct ctl_verdict *verdict;
};

static void fail_with(struct ctl_verdict *verdict, int err, const char *message)
{
    verdict->err = err;
    snprintf(verdict->message, sizeof(verdict->message), "%s",
             message && message[0] ? message : em_strerror(err));
}

/* The leader may still be at it: a majority is away, or the server that was asked waits for one. */
static const char *timeout_text(const struct ctl *ctl)
{
    return em_client_is_up(em_call_client(ctl->call))
               ? "the map server has not answered in time; it may still be done: look with "
                 "\"mapctl member list\" before you repeat"
               : "no map server answered in time";
}

void ctl_verdict_take(struct ctl_verdict *verdict, int err, const Eidmap__Envelope *reply)
{
    if (err)
        fail_with(verdict, err, NULL);
    else if (reply->body_case == EIDMAP__ENVELOPE__BODY_ERROR)
        fail_with(verdict, em_error_from_wire((int)reply->error->code), reply->error->message);
    else if (reply->body_case != EIDMAP__ENVELOPE__BODY_DONE)
        fail_with(verdict, EM_E_UNSUPPORTED, "the answer is none that mapctl knows");
    else
        *verdict = (struct ctl_verdict){.revision = reply->done->revision};
}

int64_t ctl_member_send(struct ctl *ctl, Eidmap__MemberChange change, const char *name,
                        const char *address, em_envelope_fn *on_answer, void *aux)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__ChangeMember msg = EIDMAP__CHANGE_MEMBER__INIT;
    msg.change = change;
    msg.name = (char *)name;
    if (address)
        msg.address = (char *)address;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_CHANGE_MEMBER;
    envelope.change_member = &msg;
    return em_client_send(em_call_client(ctl->call), &envelope, false, on_answer, aux);
}

static void on_answer(void *aux, int err, const Eidmap__Envelope *reply)
{
    struct change *change = aux;
    if (err == EM_E_TIMEOUT)
        fail_with(change->verdict, err, timeout_text(change->ctl));
    else
        ctl_verdict_take(change->verdict, err, reply);
    ctl_finish(change->ctl, CTL_DONE);
}

void ctl_member_ask(struct ctl *ctl, Eidmap__MemberChange change, const char *name,
                    const char *address, struct ctl_verdict *ret_verdict)
{
    struct change asked = {ctl, ret_verdict};
    int r = ctl_wait_quietly(ctl, ctl_member_send(ctl, change, name, address, on_answer, &asked));
    if (r)
        fail_with(ret_verdict, r, r == EM_E_TIMEOUT ? timeout_text(ctl) : NULL);
}

int ctl_peer_address(const char *text, char ret_address[CTL_ADDRESS_TEXT], char *why)
{
    struct em_ip ip;
    uint16_t port;
    char host[EM_IP_TEXT];
    const char *scheme = strstr(text, "://");
    if (strncmp(text, "unix:", 5) == 0 || (scheme && strncmp(text, "tls://", 6) != 0)) {
        snprintf(why, EM_ADDR_WHY,
                 "map servers talk TLS to each other; expected ADDRESS:PORT or "
                 "tls://ADDRESS:PORT");
        return -EINVAL;
    }
    int r = em_endpoint_parse(scheme ? scheme + 3 : text, CTL_PEER_PORT, &ip, &port, why);
    if (r)
        return r;
    em_ip_format(ip.addr, ip.size, host);
    snprintf(ret_address, CTL_ADDRESS_TEXT, ip.size == 16 ? "tls://[%s]:%u" : "tls://%s:%u", host,
             port);
    return 0;
}

static char *number_or_none(bool is_known, uint64_t number)
{
    return is_known ? ctl_uint_text(number) : ctl_text(NULL);
}

/* The first of them are what a look takes, in 80 columns. */
static const struct ctl_column columns[] = {
    {"MEMBER"},         {"ROLE"},        {"STATE"},       {"ADDRESS"},
    {"LAG", true},      {"HEARD", true}, {"MATCH", true}, {"APPLIED", true},
    {"REVISION", true}, {"REPLICA"},     {"SOFTWARE"},
};
#define N_SHORT 6
#define N_LONG  (sizeof(columns) / sizeof(*columns))

static void add_row(struct ctl_table *table, const struct em_status *s, const struct em_member *m,
                    bool is_long)
{
    uint64_t lag = 0;
    bool has_lag = ctl_member_lag(s, m, &lag);
    char *cells[N_LONG] = {
        ctl_text(m->name),
        em_asprintf("%s%s", ctl_member_role(m->role), m->is_leader ? " *" : ""),
        ctl_text(ctl_member_state(m)),
        ctl_text(m->address),
        number_or_none(has_lag, lag),
        ctl_member_heard(m),
    };
    if (is_long) {
        char **more = cells + N_SHORT;
        *more++ = number_or_none(m->match, m->match);
        *more++ = number_or_none(m->applied, m->applied);
        *more++ = number_or_none(m->revision, m->revision);
        *more++ = em_asprintf("%016" PRIx64, m->replica);
        *more++ = ctl_text(m->software);
    }
    ctl_table_add_n_take(table, cells, is_long ? N_LONG : N_SHORT);
}

static void print_list(struct ctl *ctl, const struct em_status *s)
{
    bool is_long = ctl_option(ctl, "long");
    struct ctl_table *table = ctl_table_new(ctl->out, columns, is_long ? N_LONG : N_SHORT);
    for (size_t i = 0; i < s->n_members; i++)
        add_row(table, s, &s->members[i], is_long);
    ctl_table_sort(table);
    ctl_table_print(table);
    ctl_table_free(table);
}

static void json_list(struct ctl *ctl, const struct em_status *s)
{
    struct ctl_json json = {ctl->out};
    ctl_json_begin(&json, NULL, '[');
    for (size_t i = 0; i < s->n_members; i++)
        ctl_json_member(&json, NULL, s, &s->members[i]);
    ctl_json_end(&json, ']');
}

static void on_list(void *aux, const struct em_reply *reply)
{
    struct ctl *ctl = aux;
    if (!reply->err && ctl->is_json)
        json_list(ctl, reply->status);
    else if (!reply->err)
        print_list(ctl, reply->status);
    ctl_on_reply(ctl, reply);
}

static enum ctl_exit run_list(struct ctl *ctl)
{
    ctl_subject(ctl, "member list");
    enum ctl_exit code = ctl_open(ctl);
    if (code)
        return code;
    code = ctl_wait(ctl, em_client_status(em_call_client(ctl->call), false, on_list, ctl));
    ctl_close(ctl);
    return code;
}

static enum ctl_exit tell(struct ctl *ctl, const struct ctl_verdict *verdict, const char *done)
{
    const char *hint =
        verdict->err == EM_E_NOT_FOUND ? "; \"mapctl member list\" shows the members" : "";
    if (verdict->err)
        return ctl_fail(ctl, verdict->err == EM_E_TIMEOUT ? CTL_NO_SERVER : CTL_REFUSED, "%s: %s%s",
                        ctl->subject, verdict->message, hint);
    ctl_report(ctl, done, verdict->revision);
    return CTL_DONE;
}

/* One change, one sentence. */
static enum ctl_exit change(struct ctl *ctl, Eidmap__MemberChange what, const char *done)
{
    struct ctl_verdict verdict;
    ctl_subject(ctl, "member %s", ctl->words[0]);
    enum ctl_exit code = ctl_open(ctl);
    if (code)
        return code;
    ctl_member_ask(ctl, what, ctl->words[0], NULL, &verdict);
    code = tell(ctl, &verdict, done);
    ctl_close(ctl);
    return code;
}

static enum ctl_exit run_demote(struct ctl *ctl)
{
    return change(ctl, EIDMAP__MEMBER_CHANGE__MEMBER_DEMOTE, "a standby now, without a vote");
}

/* Asks a person at a terminal; a script has nobody to ask. */
static bool is_confirmed(struct ctl *ctl, const char *name)
{
    char line[16] = "";
    if (ctl_option(ctl, "yes") || !isatty(STDIN_FILENO))
        return true;
    fprintf(ctl->err,
            "%s leaves the cluster, and must be wiped before it may come back.\n"
            "Remove it? [y/N] ",
            name);
    fflush(ctl->err);
    return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

static enum ctl_exit run_remove(struct ctl *ctl)
{
    char why[EM_ADDR_WHY];
    const char *name = ctl->words[0];
    if (em_ident_check(name, why))
        return ctl_fail(ctl, CTL_USAGE, "member %s: %s", name, why);
    if (!is_confirmed(ctl, name))
        return ctl_fail(ctl, CTL_REFUSED, "member %s: not removed", name);
    enum ctl_exit code = change(ctl, EIDMAP__MEMBER_CHANGE__MEMBER_REMOVE, "removed");
    if (!code)
        ctl_say(ctl, "stop it, and wipe its data directory before it may come back");
    return code;
}

struct look {
    struct ctl *ctl;
    char leader[EM_PORT_ID_TEXT];
    uint64_t term;
};

static void on_look(void *aux, const struct em_reply *reply)
{
    struct look *look = aux;
    if (!reply->err) {
        snprintf(look->leader, sizeof(look->leader), "%s", reply->status->leader);
        look->term = reply->status->term;
    }
    ctl_finish(look->ctl, CTL_DONE);
}

/* The server that is asked may not know the new leader yet. */
static void look_for_leader(struct look *look)
{
    struct ctl *ctl = look->ctl;
    for (uint32_t ms = 0; !look->leader[0] && ms < ctl->target.timeout_ms; ms += LOOK_MS) {
        if (ms)
            ctl_pause(ctl, LOOK_MS);
        if (ctl_wait_quietly(ctl,
                             em_client_status(em_call_client(ctl->call), false, on_look, look)))
            return;
    }
}

static void say_leader(struct ctl *ctl, const struct look *look)
{
    struct ctl_json json = {ctl->out};
    if (!ctl->is_json) {
        if (look->leader[0])
            ctl_say(ctl, "%s leads, term %" PRIu64, look->leader, look->term);
        else
            ctl_say(ctl, "passed on; who leads is not known yet");
        return;
    }
    ctl_json_begin(&json, NULL, '{');
    ctl_json_text(&json, "leader", look->leader);
    ctl_json_uint(&json, "term", look->term);
    ctl_json_end(&json, '}');
}

static enum ctl_exit run_transfer(struct ctl *ctl)
{
    struct look look = {.ctl = ctl};
    struct ctl_verdict verdict;
    const char *name = ctl->n_words ? ctl->words[0] : "";
    ctl_subject(ctl, name[0] ? "member %s" : "leadership", name);
    enum ctl_exit code = ctl_open(ctl);
    if (code)
        return code;
    ctl_member_ask(ctl, EIDMAP__MEMBER_CHANGE__MEMBER_TRANSFER, name, NULL, &verdict);
    if (verdict.err) {
        code = tell(ctl, &verdict, "");
    } else {
        look_for_leader(&look);
        say_leader(ctl, &look);
    }
    ctl_close(ctl);
    return code;
}

static const struct ctl_option list_options[] = {
    {"long", 'l', NULL, "all that is known; for wide terminals"},
    {NULL},
};

static const struct ctl_option add_options[] = {
    {"standby", 0, NULL, "without a vote: it has the map and serves clients"},
    {NULL},
};

static const struct ctl_option remove_options[] = {
    {"yes", 'y', NULL, "do not ask"},
    {NULL},
};

const struct ctl_command ctl_member_commands[] = {
    {"list", "[--long]", 0, 0, list_options, run_list, "List the map servers of the cluster",
     "The star marks the leader.  LAG is in log entries: what is known to be missing on the\n"
     "member when the leader answers, else what it has not applied to its map.  HEARD is how\n"
     "long ago the server that answers heard of it.  With --long also the log indexes that\n"
     "are on it (MATCH, known to the leader alone) and in its map (APPLIED), the revision of\n"
     "its map, the number of its data directory, and its software.\n",
     "mapctl member list --long"},
    {"add", "NAME ADDRESS [--standby]", 2, 2, add_options, ctl_join_add,
     "Add a map server to the cluster",
     "NAME is that of its certificate, ADDRESS that of its peer listener, with :PORT if that is\n"
     "not 4343.  It must run with an empty data directory and wait for a cluster.\n"
     "It gets the map, its log catches up, and then it becomes a voter.  Interrupted, the\n"
     "same command goes on where it stood.  -t limits how long it all may take (600 s).\n",
     "mapctl member add ms2 192.0.2.11:4343\n"
     "mapctl member add far1 tls://[2001:db8::1]:4343 --standby"},
    {"promote", "NAME", 1, 1, NULL, ctl_join_promote, "Make a standby a voter",
     "Waits until it has the whole log.  -t limits how long that may take (600 s).\n",
     "mapctl member promote ms2"},
    {"demote", "NAME", 1, 1, NULL, run_demote, "Take a voter's vote",
     "It keeps the map up to date and serves clients.\n", "mapctl member demote ms2"},
    {"remove", "NAME", 1, 1, remove_options, run_remove, "Take a map server out of the cluster",
     "On a terminal it asks first.  A server that was removed must be stopped and its data\n"
     "directory be wiped before it may come back.\n",
     "mapctl member remove ms2 --yes"},
    {"transfer", "[NAME]", 0, 1, NULL, run_transfer, "Have another voter lead",
     "Before the leader is stopped, say: nothing waits for an election then.  Without NAME\n"
     "the cluster chooses.\n",
     "mapctl member transfer ms3"},
    {NULL},
};
