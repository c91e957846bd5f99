/* "member add" and "member promote": from a server that waits to one that votes.
 *
 *   not a member          MEMBER_ADD, answered when it is a standby
 *   standby, silent       the leader cannot reach it yet, or not at all: wait
 *   standby, installing   it is being sent the map: wait
 *   standby               MEMBER_PROMOTE; BUSY: its log is not whole yet, ask again
 *   voter                 done
 *
 * The last request may be under way for a while, because the library asks again what is
 * refused with BUSY; rounds go on meanwhile.  Each begins with a status, so the command does not
 * care at which of these it was interrupted, nor whether an answer was lost: what was asked shows
 * in the next status. */
#include "cluster.h"
#include "member.h"
#include "progress.h"

#include "base/clock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ROUND_MS   500
#define DEFAULT_MS 600000
#define ANSWER_MS  5000

struct join {
    struct ctl *ctl;
    const char *name;
    const char *address; /* NULL: it must be a member already */
    enum em_member_role wanted;
    uint64_t begun_ms;
    uint64_t limit_ms;
    bool was_member;
    int64_t promotion; /* under way; 0: not */
    struct ctl_verdict verdict;
    bool is_promoted; /* the cluster said so; the server that is asked may not know yet */
    /* As the last status has it: */
    bool is_answered;
    bool is_member;
    enum em_member_role role;
    bool is_connected, is_installing;
    char known_address[CTL_ADDRESS_TEXT];
    uint64_t lag;
    char problem[512]; /* that names it */
    size_t n_voters;
};

static bool is_name_byte(char c)
{
    return c == '-' || c == '_' || c == '.' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
           (c >= 'a' && c <= 'z');
}

static bool has_word(const char *text, const char *word)
{
    size_t size = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at++)
        if ((at == text || !is_name_byte(at[-1])) && !is_name_byte(at[size]))
            return true;
    return false;
}

static void on_status(void *aux, const struct em_reply *reply)
{
    struct join *join = aux;
    const struct em_status *s = reply->status;
    ctl_finish(join->ctl, CTL_DONE);
    join->is_answered = !reply->err;
    if (reply->err)
        return;
    const struct em_member *m = ctl_member_find(s, join->name);
    join->is_member = m != NULL;
    join->n_voters = ctl_voters(s);
    join->problem[0] = '\0';
    for (size_t i = 0; i < s->n_problems; i++)
        if (has_word(s->problems[i], join->name))
            snprintf(join->problem, sizeof(join->problem), "%s", s->problems[i]);
    if (!m)
        return;
    join->was_member = true;
    join->role = m->role;
    join->is_connected = m->is_connected || m->is_self;
    join->is_installing = m->is_installing;
    join->lag = 0;
    ctl_member_lag(s, m, &join->lag);
    snprintf(join->known_address, sizeof(join->known_address), "%s", m->address);
}

static void look(struct join *join)
{
    struct ctl *ctl = join->ctl;
    join->is_answered = false;
    ctl_wait_quietly(ctl, em_client_status(em_call_client(ctl->call), false, on_status, join));
}

static bool is_done(const struct join *join)
{
    if (!join->is_answered || !join->is_member)
        return false;
    if (join->role == EM_MEMBER_VOTER)
        return true;
    /* A standby is of use once it has the map. */
    return join->wanted == EM_MEMBER_STANDBY && join->role == EM_MEMBER_STANDBY &&
           join->is_connected && !join->is_installing && join->lag <= CTL_FAR_BEHIND;
}

static void show(struct join *join)
{
    struct ctl *ctl = join->ctl;
    const char *name = join->name;
    unsigned seconds = (unsigned)((em_now_ms() - join->begun_ms) / 1000);
    if (!join->is_answered)
        ctl_progress(ctl, "asking", "%s: no map server answers at the moment (%us)", name, seconds);
    else if (!join->is_connected)
        ctl_progress(ctl, "reaching", "%s: waiting until it is reached at %s (%us)%s%s", name,
                     join->known_address, seconds, join->problem[0] ? ": " : "", join->problem);
    else if (join->is_installing)
        ctl_progress(ctl, "receiving", "%s: receiving the map (%us)", name, seconds);
    else
        ctl_progress(ctl, "catching", "%s: catching up, %" PRIu64 " log entries to go (%us)", name,
                     join->lag, seconds);
}

static enum ctl_exit give_up(struct join *join)
{
    struct ctl *ctl = join->ctl;
    const char *again = join->address ? "the same command goes on where it stands" : "try again";
    uint64_t seconds = join->limit_ms / 1000;
    if (!join->is_answered)
        return ctl_fail(ctl, CTL_NO_SERVER, "%s: no map server answers any more; %s", ctl->subject,
                        again);
    if (!join->is_connected)
        return ctl_fail(ctl, CTL_REFUSED,
                        "%s: not reached at %s within %" PRIu64 " s: %s; %s, \"mapctl member "
                        "remove %s\" takes it back",
                        ctl->subject, join->known_address, seconds,
                        join->problem[0] ? join->problem
                                         : "does it run, is that its peer listener, and does the "
                                           "way there allow it?",
                        again, join->name);
    if (join->is_installing)
        return ctl_fail(ctl, CTL_REFUSED,
                        "%s: it has not received the whole map within %" PRIu64 " s; %s",
                        ctl->subject, seconds, again);
    return ctl_fail(ctl, CTL_REFUSED,
                    "%s: it is %" PRIu64 " log entries behind after %" PRIu64 " s; %s",
                    ctl->subject, join->lag, seconds, again);
}

/* What an operator can do about a refusal; the server's own sentence stands before it. */
static const char *hint_for(int err)
{
    switch (err) {
    case EM_E_NOT_FOUND:
        return "; does it run, is that its peer listener, and does the way there allow it?";
    case EM_E_CONFLICT:
        return "; stop it, wipe its data directory, and start it to wait for a cluster";
    case EM_E_IN_USE:
        return "; only a server with an empty data directory can be added";
    case EM_E_DENIED:
        return "; NAME must be the one in its certificate (\"mapctl pki server NAME\")";
    }
    return "";
}

static enum ctl_exit refused(struct join *join, const struct ctl_verdict *verdict)
{
    return ctl_fail(join->ctl, verdict->err == EM_E_TIMEOUT ? CTL_NO_SERVER : CTL_REFUSED,
                    "%s: %s%s", join->ctl->subject, verdict->message,
                    join->address ? hint_for(verdict->err) : "");
}

static enum ctl_exit check_address(struct join *join)
{
    char why[EM_ADDR_WHY], known[CTL_ADDRESS_TEXT];
    if (!join->address || (ctl_peer_address(join->known_address, known, why) == 0 &&
                           strcmp(known, join->address) == 0))
        return CTL_DONE;
    return ctl_fail(
        join->ctl, CTL_REFUSED,
        "%s: it is a member at %s; to change that, remove it, wipe it, and add it again",
        join->ctl->subject, join->known_address);
}

/* Of a server that is a member already.  A vote without a server that uses it is nothing that
 * was added: it is dead, or what runs there is not what has the vote. */
static enum ctl_exit check_known(struct join *join)
{
    enum ctl_exit code = check_address(join);
    if (code || !join->address || join->role != EM_MEMBER_VOTER || join->is_connected)
        return code;
    return ctl_fail(join->ctl, CTL_REFUSED,
                    "%s: it is a voter already, and not reached at %s: %s; start it, or, if its "
                    "data directory is lost, remove it, wipe it, and add it again",
                    join->ctl->subject, join->known_address,
                    join->problem[0] ? join->problem : "does it run?");
}

/* Makes it a member, unless it is one. */
static enum ctl_exit enter(struct join *join)
{
    struct ctl *ctl = join->ctl;
    struct ctl_verdict verdict;
    look(join);
    if (!join->is_answered)
        return ctl_fail(ctl, CTL_NO_SERVER, "%s: no map server answered; -t allows more time",
                        ctl->subject);
    if (join->is_member)
        return check_known(join);
    if (!join->address)
        return ctl_not_found(ctl);
    ctl_progress(ctl, "adding", "%s: asking the cluster to take it in at %s", join->name,
                 join->address);
    ctl_member_ask(ctl, EIDMAP__MEMBER_CHANGE__MEMBER_ADD, join->name, join->address, &verdict);
    if (verdict.err && verdict.err != EM_E_EXISTS)
        return refused(join, &verdict);
    look(join);
    if (verdict.err && join->is_answered && join->is_member)
        return check_known(join);
    /* Another member has the address, or the one that answers was not told yet. */
    return verdict.err ? refused(join, &verdict) : CTL_DONE;
}

/* What another attempt may change. */
static bool is_passing(int err)
{
    return err == EM_E_BUSY || err == EM_E_NOT_LEADER || err == EM_E_TIMEOUT || err == EM_E_CLOSED;
}

static void on_promoted(void *aux, int err, const Eidmap__Envelope *reply)
{
    struct join *join = aux;
    join->promotion = 0;
    ctl_verdict_take(&join->verdict, err, reply);
    if (join->verdict.err == EM_E_EXISTS) /* an answer was lost */
        join->verdict.err = 0;
    join->is_promoted = !join->verdict.err;
}

/* Asks for it when that may succeed; tells of a refusal that is for good. */
static enum ctl_exit promote(struct join *join)
{
    if (join->verdict.err && !is_passing(join->verdict.err))
        return refused(join, &join->verdict);
    bool is_ready = join->is_answered && join->is_connected && !join->is_installing;
    if (join->wanted != EM_MEMBER_VOTER || join->is_promoted || join->promotion || !is_ready)
        return CTL_DONE;
    int64_t id = ctl_member_send(join->ctl, EIDMAP__MEMBER_CHANGE__MEMBER_PROMOTE, join->name, NULL,
                                 on_promoted, join);
    assert(id > 0); /* small, and the only one */
    join->promotion = id;
    return CTL_DONE;
}

static enum ctl_exit follow(struct join *join)
{
    while (!is_done(join)) {
        show(join);
        if (em_now_ms() - join->begun_ms >= join->limit_ms)
            return give_up(join);
        enum ctl_exit code = promote(join);
        if (code)
            return code;
        ctl_pause(join->ctl, ROUND_MS);
        look(join);
        if (join->is_answered && !join->is_member && join->was_member)
            return ctl_fail(join->ctl, CTL_REFUSED, "%s: somebody has removed it meanwhile",
                            join->ctl->subject);
    }
    return CTL_DONE;
}

static void report(struct join *join)
{
    struct ctl *ctl = join->ctl;
    struct ctl_json json = {ctl->out};
    if (!ctl->is_json) {
        if (join->role == EM_MEMBER_VOTER)
            ctl_say(ctl, "%s: a voter, one of %zu", ctl->subject, join->n_voters);
        else
            ctl_say(ctl, "%s: a standby, with the whole map", ctl->subject);
        return;
    }
    ctl_progress_clear(ctl);
    ctl_json_begin(&json, NULL, '{');
    ctl_json_text(&json, "name", join->name);
    ctl_json_text(&json, "role", ctl_member_role(join->role));
    ctl_json_text(&json, "address", join->known_address);
    ctl_json_uint(&json, "n_voters", join->n_voters);
    ctl_json_end(&json, '}');
}

static enum ctl_exit run(struct join *join)
{
    struct ctl *ctl = join->ctl;
    char why[EM_ADDR_WHY];
    join->limit_ms = ctl_option(ctl, "timeout") ? ctl->target.timeout_ms : DEFAULT_MS;
    join->begun_ms = em_now_ms();
    if (ctl->target.timeout_ms > ANSWER_MS)
        ctl->target.timeout_ms = ANSWER_MS;
    join->name = ctl->words[0];
    ctl_subject(ctl, "member %s", join->name);
    if (em_ident_check(join->name, why))
        return ctl_fail(ctl, CTL_USAGE, "%s: %s", ctl->subject, why);
    enum ctl_exit code = ctl_open(ctl);
    if (code)
        return code;
    code = enter(join);
    if (!code)
        code = follow(join);
    if (join->promotion)
        em_client_cancel(em_call_client(ctl->call), join->promotion);
    if (!code)
        report(join);
    ctl_close(ctl);
    return code;
}

enum ctl_exit ctl_join_add(struct ctl *ctl)
{
    char address[CTL_ADDRESS_TEXT], why[EM_ADDR_WHY];
    if (ctl_peer_address(ctl->words[1], address, why))
        return ctl_fail(ctl, CTL_USAGE, "member %s: %s: %s", ctl->words[0], ctl->words[1], why);
    struct join join = {
        .ctl = ctl,
        .address = address,
        .wanted = ctl_option(ctl, "standby") ? EM_MEMBER_STANDBY : EM_MEMBER_VOTER,
    };
    strcpy(join.known_address, address);
    return run(&join);
}

enum ctl_exit ctl_join_promote(struct ctl *ctl)
{
    struct join join = {.ctl = ctl, .wanted = EM_MEMBER_VOTER};
    return run(&join);
}
