/* The members of a cluster, as a scripted server has them: what is shown, what is asked for, and
 * how a server is taken in, step by step. */
#include "cli/ctl_stage.h"

#include "eidmap/error.h"
#include "member.h"

#include <string.h>

#define BODY(name)   EIDMAP__ENVELOPE__BODY_##name
#define CHANGE(name) EIDMAP__MEMBER_CHANGE__MEMBER_##name
#define MAX_MEMBERS  4

static Eidmap__Member members[MAX_MEMBERS];
static size_t n_members;
static const char *leader;
static uint64_t last_index;
static char *problems[1];
static size_t n_problems;

static int refuse; /* an em_error: the answer to each change */
static const char *sentence;
static bool is_silent;       /* to changes */
static unsigned n_busy;      /* promotions that are answered BUSY first */
static unsigned n_unreached; /* statuses in which a new member is not connected */
static unsigned n_installing;

static Eidmap__Member *add_member(const char *name, const char *address, Eidmap__MemberRole role)
{
    Eidmap__Member *m = &members[n_members++];
    cr_assert_leq(n_members, MAX_MEMBERS);
    eidmap__member__init(m);
    m->name = (char *)name;
    m->address = (char *)address;
    m->role = role;
    m->software = (char *)"mapserver 1";
    m->replica = 0xab00 + n_members;
    m->is_connected = true;
    m->heard_ms = 80;
    return m;
}

static Eidmap__Member *find(const char *name)
{
    for (size_t i = 0; i < n_members; i++)
        if (strcmp(members[i].name, name) == 0)
            return &members[i];
    return NULL;
}

/* A new member is reached, receives the map, and is then 'last_index' whole, a status each. */
static void advance(Eidmap__Member *m)
{
    m->is_connected = n_unreached == 0;
    m->is_installing = m->is_connected && n_installing > 0;
    if (n_unreached)
        n_unreached--;
    else if (n_installing)
        n_installing--;
    if (m->is_connected && !m->is_installing)
        m->match = m->applied = last_index - 3;
}

static void answer_status(struct fake_server *server, const Eidmap__Envelope *e)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__StatusReply body = EIDMAP__STATUS_REPLY__INIT;
    Eidmap__Member *list[MAX_MEMBERS];
    for (size_t i = 0; i < n_members; i++) {
        list[i] = &members[i];
        if (strcmp(members[i].name, "ms3") == 0)
            advance(&members[i]);
    }
    body.server_id = (char *)"ms1";
    body.raft_role = (char *)"leader";
    body.leader = (char *)leader;
    body.term = 6;
    body.last_index = body.commit = body.applied = last_index;
    body.log_size = 3 << 20;
    body.members = list;
    body.n_members = n_members;
    body.problems = problems;
    body.n_problems = n_problems;
    envelope.id = e->id;
    envelope.body_case = BODY(STATUS_REPLY);
    envelope.status_reply = &body;
    fake_send(server, &envelope);
}

static void answer_change(struct fake_server *server, const Eidmap__Envelope *e)
{
    const Eidmap__ChangeMember *change = e->change_member;
    if (is_silent)
        return;
    if (refuse) {
        fake_send_error(server, e->id, refuse, sentence);
        return;
    }
    if (change->change == CHANGE(ADD)) {
        add_member(change->name, change->address, EIDMAP__MEMBER_ROLE__MEMBER_STANDBY);
    } else if (change->change == CHANGE(PROMOTE) && n_busy) {
        n_busy--;
        fake_send_error(server, e->id, EM_E_BUSY, "its log is not whole yet");
        return;
    } else if (change->change == CHANGE(PROMOTE)) {
        find(change->name)->role = EIDMAP__MEMBER_ROLE__MEMBER_VOTER;
    } else if (change->change == CHANGE(TRANSFER)) {
        leader = change->name;
    }
    fake_send_done(server, e->id, 53);
}

static void answer(struct fake_server *server, const Eidmap__Envelope *e)
{
    if (e->body_case == BODY(STATUS))
        answer_status(server, e);
    else
        answer_change(server, e);
}

static void setup(void)
{
    leader = "ms1";
    last_index = 40000;
    Eidmap__Member *m =
        add_member("ms1", "tls://192.0.2.1:4343", EIDMAP__MEMBER_ROLE__MEMBER_VOTER);
    m->is_self = m->is_leader = true;
    m->match = m->applied = last_index;
    m->revision = 900;
    m = add_member("ms2", "tls://192.0.2.2:4343", EIDMAP__MEMBER_ROLE__MEMBER_STANDBY);
    m->match = 39990;
    m->applied = 39980;
    m->revision = 890;
    ctl_stage_start(answer);
}

TestSuite(ctl_member, .init = setup, .fini = ctl_stage_stop);

static const Eidmap__ChangeMember *asked(size_t k)
{
    const Eidmap__Envelope *e = fake_nth(&ctl_stage.server, BODY(CHANGE_MEMBER), k);
    return e ? e->change_member : NULL;
}

static struct ctl_run succeed(const char *line)
{
    struct ctl_run run = ctl_run(line);
    cr_assert_eq(run.code, CTL_DONE, "%s", run.err);
    return run;
}

Test(ctl_member, list_shows_who_leads_and_how_far_each_is)
{
    struct ctl_run run = succeed("-s @ member list");
    cr_assert_str_eq(run.out, "MEMBER  ROLE     STATE      ADDRESS               LAG   HEARD\n"
                              "ms1     voter *  connected  tls://192.0.2.1:4343    0       -\n"
                              "ms2     standby  connected  tls://192.0.2.2:4343   10  0.080s\n");
}

Test(ctl_member, long_list_shows_all)
{
    struct ctl_run run = succeed("-s @ member list --long");
    ctl_assert_has(run.out, "ms1     voter *  connected  tls://192.0.2.1:4343    0       -  40000");
    ctl_assert_has(run.out, "ms2     standby  connected  tls://192.0.2.2:4343   10  0.080s  39990");
    ctl_assert_has(run.out, "39980       890  000000000000ab02  mapserver 1\n");
}

Test(ctl_member, list_in_json_has_every_field)
{
    struct ctl_run run = succeed("-s @ -o json member list");
    json_t *json = ctl_parse_json(run.out);
    cr_assert_eq(json_array_size(json), 2);
    json_t *ms2 = json_array_get(json, 1);
    cr_assert_eq(json_object_size(ms2), 15);
    cr_assert_eq(json_integer_value(json_object_get(ms2, "lag")), 10);
    cr_assert_str_eq(json_string_value(json_object_get(ms2, "replica")), "000000000000ab02");
    cr_assert_str_eq(json_string_value(json_object_get(ms2, "state")), "connected");
    json_decref(json);
}

Test(ctl_member, a_follower_shows_lag_by_what_was_applied)
{
    members[1].match = 0;
    struct ctl_run run = succeed("-s @ member list -l");
    ctl_assert_has(run.out, "tls://192.0.2.2:4343   20  0.080s      -");
}

Test(ctl_member, one_that_was_never_heard_has_no_lag)
{
    members[1].match = members[1].applied = 0;
    members[1].is_connected = false;
    members[1].heard_ms = 0;
    struct ctl_run run = succeed("-s @ member list");
    ctl_assert_has(run.out, "unreachable  tls://192.0.2.2:4343    -  never\n");
    run = succeed("-s @ status");
    ctl_assert_has(run.out, "ms2  standby, unreachable, heard never\n");
    ctl_assert_has(run.out, "ms2 at tls://192.0.2.2:4343 has not been heard yet; is it running?");
}

Test(ctl_member, add_goes_from_standby_over_the_map_to_a_vote)
{
    n_unreached = 1;
    n_installing = 1;
    n_busy = 1;
    struct ctl_run run = succeed("-s @ member add ms3 192.0.2.3");
    cr_assert_eq(asked(0)->change, CHANGE(ADD));
    cr_assert_str_eq(asked(0)->name, "ms3");
    cr_assert_str_eq(asked(0)->address, "tls://192.0.2.3:4343");
    cr_assert_eq(asked(1)->change, CHANGE(PROMOTE));
    cr_assert_eq(asked(2)->change, CHANGE(PROMOTE), "BUSY is no end");
    cr_assert_null(asked(3));
    cr_assert_str_eq(run.out, "member ms3: a voter, one of 2\n");
    ctl_assert_has(run.err, "ms3: waiting until it is reached at tls://192.0.2.3:4343");
    ctl_assert_has(run.err, "ms3: receiving the map");
    ctl_assert_has(run.err, "ms3: catching up, 3 log entries to go");
}

Test(ctl_member, add_as_standby_ends_when_it_has_the_map)
{
    n_installing = 2;
    struct ctl_run run = succeed("-s @ -o json member add ms3 tls://[2001:db8::3]:99 --standby");
    cr_assert_str_eq(asked(0)->address, "tls://[2001:db8::3]:99");
    cr_assert_null(asked(1));
    cr_assert_str_eq(run.err, "");
    json_t *json = ctl_parse_json(run.out);
    cr_assert_str_eq(json_string_value(json_object_get(json, "role")), "standby");
    json_decref(json);
}

Test(ctl_member, add_goes_on_where_it_was_interrupted)
{
    succeed("-s @ member add ms2 192.0.2.2:4343");
    cr_assert_eq(asked(0)->change, CHANGE(PROMOTE));
    cr_assert_null(asked(1));
    succeed("-s @ member add ms2 192.0.2.2:4343");
    cr_assert_null(asked(1), "a voter needs nothing more");
}

Test(ctl_member, add_under_another_address_says_which_it_has)
{
    struct ctl_run run = ctl_run("-s @ member add ms2 192.0.2.9");
    ctl_assert_error(&run, CTL_REFUSED, "member ms2: it is a member at tls://192.0.2.2:4343; to");
    cr_assert_null(asked(0));
}

Test(ctl_member, add_does_not_take_a_voter_that_is_not_there_for_one_that_was_added)
{
    members[1].role = EIDMAP__MEMBER_ROLE__MEMBER_VOTER;
    members[1].is_connected = false;
    struct ctl_run run = ctl_run("-s @ member add ms2 192.0.2.2");
    ctl_assert_error(&run, CTL_REFUSED,
                     "member ms2: it is a voter already, and not reached at tls://192.0.2.2:4343: "
                     "does it run?; start it");
    problems[0] = (char *)"ms2 is not taken for a member: its data directory is another one";
    n_problems = 1;
    run = ctl_run("-s @ member add ms2 192.0.2.2");
    ctl_assert_error(&run, CTL_REFUSED, "4343: ms2 is not taken for a member: its data directory");
    ctl_assert_error(&run, CTL_REFUSED, "remove it, wipe it, and add it again");
    cr_assert_null(asked(0));
}

static void assert_refused(int err, const char *says, const char *hint)
{
    char expected[300];
    refuse = err;
    sentence = says;
    struct ctl_run run = ctl_run("-s @ -o json member add ms3 192.0.2.3");
    snprintf(expected, sizeof(expected), "member ms3: %s; %s", says, hint);
    ctl_assert_error(&run, CTL_REFUSED, expected);
}

Test(ctl_member, each_refusal_says_what_to_do)
{
    assert_refused(EM_E_NOT_FOUND, "nobody answers at 192.0.2.3:4343", "does it run");
    assert_refused(EM_E_CONFLICT, "it belongs to another cluster", "stop it, wipe its data");
    assert_refused(EM_E_IN_USE, "its map is not empty", "only a server with an empty data");
    assert_refused(EM_E_DENIED, "its certificate names ms9", "NAME must be the one");
}

Test(ctl_member, add_gives_up_with_what_it_was_waiting_for)
{
    n_unreached = 1000;
    struct ctl_run run = ctl_run("-s @ -o json -t 1 member add ms3 192.0.2.3");
    ctl_assert_error(&run, CTL_REFUSED, "not reached at tls://192.0.2.3:4343 within 1 s: does it");
    ctl_assert_error(&run, CTL_REFUSED, "the same command goes on where it stands");
}

Test(ctl_member, add_passes_on_what_the_server_knows_of_it)
{
    n_unreached = 1000;
    problems[0] = (char *)"ms3 shows the certificate of ms9";
    n_problems = 1;
    struct ctl_run run = ctl_run("-s @ -o json -t 1 member add ms3 192.0.2.3");
    ctl_assert_error(&run, CTL_REFUSED, "within 1 s: ms3 shows the certificate of ms9; ");
}

Test(ctl_member, addresses_are_checked_before_anybody_is_asked)
{
    struct ctl_run run = ctl_run("-s unix:/nonexistent member add ms3 unix:/run/x");
    ctl_assert_error(&run, CTL_USAGE, "map servers talk TLS to each other");
    run = ctl_run("-s unix:/nonexistent member add ms3 192.0.2.3:99999");
    ctl_assert_error(&run, CTL_USAGE, "192.0.2.3:99999");
    run = ctl_run("-s unix:/nonexistent member add ms/3 192.0.2.3");
    ctl_assert_error(&run, CTL_USAGE, "member ms/3: ");
}

Test(ctl_member, peer_address_has_one_text)
{
    char address[CTL_ADDRESS_TEXT], why[EM_ADDR_WHY];
    cr_assert_eq(ctl_peer_address("tls://192.0.2.3", address, why), 0);
    cr_assert_str_eq(address, "tls://192.0.2.3:4343");
    cr_assert_eq(ctl_peer_address("[2001:DB8:0::1]", address, why), 0);
    cr_assert_str_eq(address, "tls://[2001:db8::1]:4343");
    cr_assert_neq(ctl_peer_address("tcp://127.0.0.1:1", address, why), 0);
}

Test(ctl_member, promote_needs_a_member)
{
    struct ctl_run run = ctl_run("-s @ member promote ms7");
    ctl_assert_error(&run, CTL_REFUSED, "member ms7: not found; \"mapctl member list\"");
    cr_assert_null(asked(0));
    run = succeed("-s @ -o json member promote ms2");
    cr_assert_eq(asked(0)->change, CHANGE(PROMOTE));
}

Test(ctl_member, demote_and_remove_are_one_request)
{
    struct ctl_run run = succeed("-s @ member demote ms2");
    cr_assert_eq(asked(0)->change, CHANGE(DEMOTE));
    cr_assert_str_eq(run.out, "member ms2: a standby now, without a vote, revision 53\n");
    run = succeed("-s @ member remove ms2 --yes");
    cr_assert_eq(asked(1)->change, CHANGE(REMOVE));
    ctl_assert_has(run.out, "member ms2: removed");
    ctl_assert_has(run.out, "wipe its data directory before it may come back");
    refuse = EM_E_IN_USE;
    sentence = "it is the last voter";
    run = ctl_run("-s @ member remove ms1 --yes");
    ctl_assert_error(&run, CTL_REFUSED, "member ms1: it is the last voter");
}

Test(ctl_member, change_that_is_not_answered_may_still_be_done)
{
    is_silent = true;
    struct ctl_run run = ctl_run("-s @ -t 1 member remove ms2 --yes");
    ctl_assert_error(&run, CTL_NO_SERVER,
                     "member ms2: the map server has not answered in time; it");
    ctl_assert_error(&run, CTL_NO_SERVER, "look with \"mapctl member list\" before you repeat");
}

Test(ctl_member, transfer_tells_who_leads)
{
    struct ctl_run run = succeed("-s @ member transfer ms2");
    cr_assert_eq(asked(0)->change, CHANGE(TRANSFER));
    cr_assert_str_eq(run.out, "ms2 leads, term 6\n");
}

Test(ctl_member, transfer_passes_on_why_not)
{
    refuse = EM_E_NOT_FOUND;
    sentence = "leadership goes to a voter that can be reached; there is none, or this is none";
    struct ctl_run run = ctl_run("-s @ member transfer");
    ctl_assert_error(&run, CTL_REFUSED, "leadership: leadership goes to a voter that can be");
    ctl_assert_error(&run, CTL_REFUSED, "; \"mapctl member list\" shows the members");
}

Test(ctl_member, status_has_the_members_and_what_is_wrong)
{
    leader = "";
    members[1].role = EIDMAP__MEMBER_ROLE__MEMBER_VOTER;
    members[1].is_connected = false;
    members[1].heard_ms = 7000;
    Eidmap__Member *far =
        add_member("ms4", "tls://192.0.2.4:4343", EIDMAP__MEMBER_ROLE__MEMBER_VOTER);
    far->match = 100;
    struct ctl_run run = succeed("-s @ status");
    ctl_assert_has(run.out, "role      leader, term 6\n");
    ctl_assert_has(run.out, "log       last 40000, committed 40000, applied 40000, 3.0 MiB\n");
    ctl_assert_has(run.out, "members   ms1  voter (leader), connected\n");
    ctl_assert_has(run.out, "problem   there is no leader");
    ctl_assert_has(run.out, "problem   only 2 of 3 voters can be reached\n");
    ctl_assert_has(run.out, "problem   ms2 at tls://192.0.2.2:4343 has not been heard for 7.000s");
    ctl_assert_has(run.out, "problem   ms4 is 39900 log entries behind\n");
    cr_assert_null(strstr(run.out, "hint"));
}

Test(ctl_member, status_of_a_sound_cluster_has_no_problem)
{
    struct ctl_run run = succeed("-s @ status");
    cr_assert_null(strstr(run.out, "problem"), "%s", run.out);
    members[1].role = EIDMAP__MEMBER_ROLE__MEMBER_VOTER;
    run = succeed("-s @ status");
    cr_assert_null(strstr(run.out, "problem"), "%s", run.out);
    ctl_assert_has(run.out, "hint      2 voters bear the loss of no more servers than 1 do");
}
