/* Two kinds of server answer: the leader knows how much of its log is on each member; any
 * other knows only what the members say of themselves a few times a second.  A lag of the
 * second kind is therefore that of the map, and includes what is on its way to the disk. */
#include "cluster.h"

#include "record.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct ctl_name roles[] = {
    {EM_MEMBER_STANDBY, "standby"},
    {EM_MEMBER_VOTER, "voter"},
    {EM_MEMBER_SPARE, "spare"},
    {0},
};

const char *ctl_member_role(enum em_member_role role)
{
    return ctl_name_of(roles, (int)role);
}

static bool is_reachable(const struct em_member *member)
{
    return member->is_self || member->is_connected;
}

const char *ctl_member_state(const struct em_member *member)
{
    if (!is_reachable(member))
        return "unreachable";
    return member->is_installing ? "receiving the map" : "connected";
}

bool ctl_member_lag(const struct em_status *status, const struct em_member *member,
                    uint64_t *ret_lag)
{
    uint64_t index = member->is_self ? status->applied : member->applied;
    if (member->match > index)
        index = member->match;
    if (!index && !is_reachable(member))
        return false;
    *ret_lag = status->last_index > index ? status->last_index - index : 0;
    return true;
}

const struct em_member *ctl_member_find(const struct em_status *status, const char *name)
{
    for (size_t i = 0; i < status->n_members; i++)
        if (strcmp(status->members[i].name, name) == 0)
            return &status->members[i];
    return NULL;
}

static size_t count_voters(const struct em_status *status, bool reachable_only)
{
    size_t n = 0;
    for (size_t i = 0; i < status->n_members; i++) {
        const struct em_member *member = &status->members[i];
        n += member->role == EM_MEMBER_VOTER && (!reachable_only || is_reachable(member));
    }
    return n;
}

char *ctl_member_heard(const struct em_member *member)
{
    if (member->is_self)
        return ctl_text(NULL);
    if (!member->is_connected && !member->heard_ms)
        return ctl_text("never");
    return ctl_duration_text(member->heard_ms);
}

size_t ctl_voters(const struct em_status *status)
{
    return count_voters(status, false);
}

char *ctl_member_text(const struct em_status *status, const struct em_member *member)
{
    uint64_t lag;
    char behind[48] = "", heard[64] = "";
    if (ctl_member_lag(status, member, &lag) && lag)
        snprintf(behind, sizeof(behind), ", %" PRIu64 " entries behind", lag);
    if (!member->is_self) {
        char *ago = ctl_member_heard(member);
        snprintf(heard, sizeof(heard), ", heard %s%s", ago,
                 strcmp(ago, "never") == 0 ? "" : " ago");
        free(ago);
    }
    return em_asprintf("%s  %s%s, %s%s%s", member->name, ctl_member_role(member->role),
                       member->is_leader ? " (leader)" : "", ctl_member_state(member), behind,
                       heard);
}

void ctl_json_member(struct ctl_json *json, const char *key, const struct em_status *status,
                     const struct em_member *member)
{
    uint64_t lag;
    char replica[17];
    snprintf(replica, sizeof(replica), "%016" PRIx64, member->replica);
    ctl_json_begin(json, key, '{');
    ctl_json_text(json, "name", member->name);
    ctl_json_text(json, "role", ctl_member_role(member->role));
    ctl_json_bool(json, "leader", member->is_leader);
    ctl_json_bool(json, "self", member->is_self);
    ctl_json_text(json, "state", ctl_member_state(member));
    ctl_json_bool(json, "connected", member->is_connected);
    ctl_json_bool(json, "installing", member->is_installing);
    ctl_json_text(json, "address", member->address);
    ctl_json_text(json, "replica", replica);
    ctl_json_uint(json, "match", member->match);
    ctl_json_uint(json, "applied", member->applied);
    ctl_json_uint(json, "revision", member->revision);
    if (ctl_member_lag(status, member, &lag))
        ctl_json_uint(json, "lag", lag);
    else
        ctl_json_null(json, "lag");
    ctl_json_uint(json, "heard_ms", member->heard_ms);
    ctl_json_text(json, "software", member->software);
    ctl_json_end(json, '}');
}

static void add(struct ctl_sentences *sentences, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add(struct ctl_sentences *sentences, const char *format, ...)
{
    va_list args;
    char *text = NULL;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        abort();
    va_end(args);
    sentences->texts = em_realloc(sentences->texts, (sentences->n + 1) * sizeof(*sentences->texts));
    sentences->texts[sentences->n++] = text;
}

static void check_voters(struct ctl_sentences *problems, const struct em_status *status)
{
    size_t n = count_voters(status, false), n_reachable = count_voters(status, true);
    if (!status->leader[0])
        add(problems, "there is no leader: nothing can be changed until a majority of the voters "
                      "reach each other");
    if (n_reachable < n)
        add(problems, "only %zu of %zu voters can be reached%s", n_reachable, n,
            n_reachable > n / 2 ? "" : ", which is no majority");
}

/* Has the server said already what is wrong with it? */
static bool is_named(const struct em_status *status, const struct em_member *member)
{
    for (size_t i = 0; i < status->n_problems; i++)
        if (member->address[0] && strstr(status->problems[i], member->address))
            return true;
    return false;
}

/* What a member that is silent has not got follows from that; one sentence is enough. */
static void check_member(struct ctl_sentences *problems, const struct em_status *status,
                         const struct em_member *member)
{
    uint64_t lag;
    if (member->role == EM_MEMBER_SPARE || is_named(status, member))
        return;
    if (!member->is_self && (!member->is_connected || member->heard_ms >= CTL_SILENT_MS)) {
        char *ago = ctl_member_heard(member);
        bool was_heard = strcmp(ago, "never") != 0;
        add(problems, "%s at %s has not been heard %s%s; is it running?", member->name,
            member->address, was_heard ? "for " : "yet", was_heard ? ago : "");
        free(ago);
    } else if (!member->is_installing && ctl_member_lag(status, member, &lag) &&
               lag > CTL_FAR_BEHIND) {
        add(problems, "%s is %" PRIu64 " log entries behind", member->name, lag);
    }
}

struct ctl_sentences ctl_cluster_problems(const struct em_status *status)
{
    struct ctl_sentences problems = {0};
    for (size_t i = 0; i < status->n_problems; i++)
        add(&problems, "%s", status->problems[i]);
    if (status->n_members)
        check_voters(&problems, status);
    for (size_t i = 0; i < status->n_members; i++)
        check_member(&problems, status, &status->members[i]);
    return problems;
}

struct ctl_sentences ctl_cluster_hints(const struct em_status *status)
{
    struct ctl_sentences hints = {0};
    size_t n = ctl_voters(status);
    if (n && n % 2 == 0)
        add(&hints,
            "%zu voters bear the loss of no more servers than %zu do; an odd number is "
            "better",
            n, n - 1);
    return hints;
}

void ctl_sentences_fini(struct ctl_sentences *sentences)
{
    for (size_t i = 0; i < sentences->n; i++)
        free(sentences->texts[i]);
    free(sentences->texts);
}
