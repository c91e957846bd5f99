/* Changes of the members, each until it is committed or refused.
 *
 *   here is the leader:  (PROBING: who is at the address?) -> TRYING -> COMMITTING -> answered
 *   elsewhere:           FORWARDED to the leader -> SEEING -> answered
 *
 * TRYING repeats what the engine refuses for the moment: another change, a term that has just
 * begun, a log that is not quite there.  For a promotion nothing new is proposed meanwhile, so
 * that the new voter has the whole log at one moment.  SEEING: the list of members that this
 * server shows has it too, so that who asks for a change and then for the list is not misled. */
#include "core/core_state.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "eidmap/error.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_MS   10000
#define SEEING_MS  1000
#define PROMOTE_MS 2000 /* nothing else is proposed for so long at most */

enum change_state { NEW, PROBING, TRYING, COMMITTING, TRANSFERRING, FORWARDED, SEEING };

struct change {
    struct em_list link;
    struct ms_changes *changes;
    enum ms_member_change what;
    char *name, *address;
    ms_core_answer_fn *answer; /* NULL: asked by another server */
    void *aux;
    uint64_t from, from_nonce; /* that server */
    enum change_state state;
    uint64_t until_ms;
    uint64_t replica;
    uint64_t index, term; /* COMMITTING, TRANSFERRING; FORWARDED, SEEING: the term alone */
    uint64_t nonce;       /* FORWARDED */
};

struct ms_changes {
    struct ms_core *core;
    struct em_list list;
    uint64_t nonce;
    pthread_mutex_t lock;
    struct em_list added; /* under the lock */
};

struct ms_changes *ms_changes_new(struct ms_core *core)
{
    struct ms_changes *changes = em_calloc(1, sizeof(*changes));
    changes->core = core;
    em_list_init(&changes->list);
    em_list_init(&changes->added);
    pthread_mutex_init(&changes->lock, NULL);
    return changes;
}

static struct change *change_new(struct ms_changes *changes, enum ms_member_change what,
                                 const char *name, const char *address)
{
    struct change *change = em_calloc(1, sizeof(*change));
    change->changes = changes;
    change->what = what;
    change->name = em_strdup(name ? name : "");
    change->address = em_strdup(address ? address : "");
    change->until_ms = em_now_ms() + LIMIT_MS;
    return change;
}

static void end(struct change *change, int err, const char *message)
{
    struct ms_core *core = change->changes->core;
    if (change->answer) {
        change->answer(change->aux, err, err && !message ? em_strerror(err) : message);
    } else {
        Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT, inner;
        Eidmap__ForwardChangeReply reply = EIDMAP__FORWARD_CHANGE_REPLY__INIT;
        Eidmap__Error error;
        reply.nonce = change->from_nonce;
        if (err) {
            em_msg_error(&inner, &error, 0, err, message);
            reply.error = &error;
        }
        envelope.body_case = EIDMAP__ENVELOPE__BODY_FORWARD_CHANGE_REPLY;
        envelope.forward_change_reply = &reply;
        ms_peers_send(core->peers, change->from, &envelope);
    }
    em_list_remove(&change->link);
    free(change->name);
    free(change->address);
    free(change);
}

void ms_changes_free(struct ms_changes *changes)
{
    if (!changes)
        return;
    EM_FOREACH (change, &changes->added, struct change, link) {
        em_list_remove(&change->link);
        em_list_append(&changes->list, &change->link);
    }
    EM_FOREACH (change, &changes->list, struct change, link)
        end(change, EM_E_CLOSED, "this map server is closing");
    pthread_mutex_destroy(&changes->lock);
    free(changes);
}

void ms_core_change_member(struct ms_core *core, enum ms_member_change what, const char *name,
                           const char *address, ms_core_answer_fn *answer, void *aux)
{
    struct ms_changes *changes = core->changes;
    struct change *change = change_new(changes, what, name, address);
    change->answer = answer;
    change->aux = aux;
    pthread_mutex_lock(&changes->lock);
    em_list_append(&changes->added, &change->link);
    pthread_mutex_unlock(&changes->lock);
    ev_async_send(core->loop, &core->wake);
}

/* ---- on the leader ------------------------------------------------------------------------- */

/* The member of this name; 0: none. */
static uint64_t find_name(struct ms_core *core, const char *name, const char **ret_address)
{
    const struct raft_configuration *members = ms_engine_members(core->engine);
    for (unsigned i = 0; i < members->n; i++) {
        char own[EM_IDENTITY_NAME];
        ms_core_split_address(members->servers[i].address, own, sizeof(own), ret_address);
        if (strcmp(own, name) == 0)
            return members->servers[i].id;
    }
    return 0;
}

static void on_probed(void *aux, const Eidmap__PeerHello *hello, const char *name, const char *why)
{
    struct change *change = aux;
    const struct ms_core *core = change->changes->core;
    char *message = NULL;
    int err = EM_E_DENIED;
    if (!hello) {
        err = EM_E_NOT_FOUND;
        message = em_asprintf("nobody to add at %s: %s", change->address, why);
    } else if (strcmp(name, change->name) != 0) {
        message = em_asprintf("the server at %s has a certificate for %s, not for %s",
                              change->address, name, change->name);
    } else if (hello->cluster_id.len == MS_CLUSTER_ID_SIZE &&
               memcmp(hello->cluster_id.data, core->cluster_id, MS_CLUSTER_ID_SIZE) != 0) {
        err = EM_E_CONFLICT;
        message = em_asprintf("the server at %s belongs to another cluster", change->address);
    } else if (hello->cluster_id.len > 0) {
        err = EM_E_IN_USE;
        message = em_asprintf("the server at %s has a map already: stop it, move its data "
                              "directory away, set 'join: true' and start it again",
                              change->address);
    } else if (hello->schema < MS_SCHEMA) {
        message =
            em_asprintf("the server at %s is of an older eidmap: update it first", change->address);
    }
    if (message) {
        end(change, err, message);
        free(message);
        return;
    }
    change->replica = hello->replica;
    change->state = TRYING;
}

static void begin(struct change *change)
{
    struct ms_core *core = change->changes->core;
    const char *address;
    if (change->name[0])
        change->replica = find_name(core, change->name, &address);
    if (change->what == MS_MEMBER_ADD) {
        if (change->replica) {
            bool is_same = strcmp(address, change->address) == 0;
            end(change, EM_E_EXISTS,
                is_same ? "this server is a member already"
                        : "a member of this name is at another address; remove it first");
            return;
        }
        change->state = PROBING;
        ms_peers_probe(core->peers, change->address, on_probed, change);
        return;
    }
    if (!change->replica && (change->name[0] || change->what != MS_MEMBER_TRANSFER)) {
        end(change, EM_E_NOT_FOUND, "there is no member of this name");
        return;
    }
    change->state = TRYING;
}

static void hold(struct ms_core *core, bool is_holding, uint64_t now_ms)
{
    if (is_holding && !core->is_holding)
        core->holding_until_ms = now_ms + PROMOTE_MS;
    core->is_holding = is_holding;
}

static bool is_reached(struct ms_core *core, uint64_t replica, uint64_t now_ms)
{
    return ms_peers_out(core->peers, replica) &&
           ms_core_is_heard(ms_peers_info(core->peers, replica), now_ms);
}

static void transfer(struct change *change, uint64_t now_ms)
{
    struct ms_core *core = change->changes->core;
    int err;
    if (change->replica == core->replica) {
        end(change, 0, NULL);
        return;
    }
    /* The engine would wait for it, and take no writes meanwhile. */
    if (change->replica && !is_reached(core, change->replica, now_ms)) {
        end(change, EM_E_NOT_FOUND,
            "this member cannot be reached; leadership goes to a voter that can");
        return;
    }
    int r = ms_engine_transfer(core->engine, now_ms, change->replica, &err);
    if (r) {
        ms_core_fail(core, r, ms_engine_why(core->engine));
        return;
    }
    if (err) {
        end(change, err,
            "leadership goes to a voter that can be reached; there is none, or this "
            "is none");
        return;
    }
    change->state = TRANSFERRING;
    change->term = ms_engine_term(core->engine);
}

static bool has_role(struct ms_core *core, uint64_t replica, int role)
{
    const struct raft_configuration *members = ms_engine_members(core->engine);
    for (unsigned i = 0; i < members->n; i++)
        if (members->servers[i].id == replica)
            return members->servers[i].role == role;
    return false;
}

static void try_change(struct change *change, uint64_t now_ms)
{
    static const enum ms_engine_change engine_change[] = {
        [MS_MEMBER_ADD] = MS_ADD,
        [MS_MEMBER_PROMOTE] = MS_PROMOTE,
        [MS_MEMBER_DEMOTE] = MS_DEMOTE,
        [MS_MEMBER_REMOVE] = MS_REMOVE,
    };
    struct ms_core *core = change->changes->core;
    const char *why = NULL;
    int err;
    if (change->what == MS_MEMBER_TRANSFER) {
        transfer(change, now_ms);
        return;
    }
    if ((change->what == MS_MEMBER_PROMOTE && has_role(core, change->replica, RAFT_VOTER)) ||
        (change->what == MS_MEMBER_DEMOTE && has_role(core, change->replica, RAFT_STANDBY))) {
        end(change, 0, NULL);
        return;
    }
    char *both = em_asprintf("%s %s", change->name, change->address);
    int r = ms_engine_change(core->engine, now_ms, engine_change[change->what], change->replica,
                             both, &change->index, &err, &why);
    free(both);
    if (r) {
        ms_core_fail(core, r, ms_engine_why(core->engine));
        return;
    }
    if (err == EM_E_BUSY && now_ms < change->until_ms) {
        hold(core, change->what == MS_MEMBER_PROMOTE, now_ms);
        return;
    }
    hold(core, false, now_ms);
    if (err) {
        end(change, err, why);
        return;
    }
    change->state = COMMITTING;
    change->term = ms_engine_term(core->engine);
}

static bool is_seen(const struct change *change)
{
    struct ms_core *core = change->changes->core;
    const char *address;
    uint64_t replica = find_name(core, change->name, &address);
    switch (change->what) {
    case MS_MEMBER_ADD:
        return replica != 0;
    case MS_MEMBER_REMOVE:
        return replica == 0;
    case MS_MEMBER_PROMOTE:
        return has_role(core, replica, RAFT_VOTER);
    case MS_MEMBER_DEMOTE:
        return has_role(core, replica, RAFT_STANDBY);
    case MS_MEMBER_TRANSFER:
        return ms_engine_term(core->engine) != change->term ||
               (replica && ms_engine_leader(core->engine) == replica);
    }
    return true;
}

static void await(struct change *change, uint64_t now_ms)
{
    struct ms_core *core = change->changes->core;
    bool is_lost =
        ms_engine_term(core->engine) != change->term || !ms_engine_is_leader(core->engine);
    if (change->state == TRANSFERRING) {
        if (is_lost) {
            ms_core_publish(core);
            end(change, 0, NULL);
        } else if (!ms_engine_is_transferring(core->engine)) {
            end(change, EM_E_BUSY, "the other server did not take over in time; this one goes on");
        }
        return;
    }
    if (!is_lost && ms_engine_commit_index(core->engine) >= change->index) {
        em_info("members have changed: %s", change->name);
        ms_core_publish(core);
        end(change, 0, NULL);
    } else if (is_lost || now_ms > change->until_ms) {
        end(change, EM_E_TIMEOUT,
            "whether this was done is not known: the leader was lost, or a "
            "majority does not answer; look with 'mapctl member list'");
    }
}

/* ---- elsewhere ----------------------------------------------------------------------------- */

static void forward(struct change *change)
{
    static const Eidmap__MemberChange wire[] = {
        [MS_MEMBER_ADD] = EIDMAP__MEMBER_CHANGE__MEMBER_ADD,
        [MS_MEMBER_PROMOTE] = EIDMAP__MEMBER_CHANGE__MEMBER_PROMOTE,
        [MS_MEMBER_DEMOTE] = EIDMAP__MEMBER_CHANGE__MEMBER_DEMOTE,
        [MS_MEMBER_REMOVE] = EIDMAP__MEMBER_CHANGE__MEMBER_REMOVE,
        [MS_MEMBER_TRANSFER] = EIDMAP__MEMBER_CHANGE__MEMBER_TRANSFER,
    };
    struct ms_core *core = change->changes->core;
    uint64_t leader = ms_engine_leader(core->engine);
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__ForwardChange msg = EIDMAP__FORWARD_CHANGE__INIT;
    Eidmap__ChangeMember inner = EIDMAP__CHANGE_MEMBER__INIT;
    if (!leader || !ms_peers_out(core->peers, leader))
        return;
    inner.change = wire[change->what];
    inner.name = change->name;
    inner.address = change->address;
    msg.nonce = change->nonce = ++change->changes->nonce;
    msg.change = &inner;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_FORWARD_CHANGE;
    envelope.forward_change = &msg;
    ms_peers_send(core->peers, leader, &envelope);
    change->term = ms_engine_term(core->engine);
    change->state = FORWARDED;
}

void ms_changes_on_forward(struct ms_changes *changes, uint64_t replica,
                           const Eidmap__ForwardChange *msg)
{
    struct change *change;
    enum ms_member_change what;
    if (!msg->change || msg->change->change < EIDMAP__MEMBER_CHANGE__MEMBER_ADD ||
        msg->change->change > EIDMAP__MEMBER_CHANGE__MEMBER_TRANSFER)
        return;
    what = (enum ms_member_change)(msg->change->change - EIDMAP__MEMBER_CHANGE__MEMBER_ADD);
    change = change_new(changes, what, msg->change->name, msg->change->address);
    change->from = replica;
    change->from_nonce = msg->nonce;
    em_list_append(&changes->list, &change->link);
    if (!ms_engine_is_leader(changes->core->engine))
        end(change, EM_E_NOT_LEADER, "the leader has changed; ask again");
}

void ms_changes_on_reply(struct ms_changes *changes, const Eidmap__ForwardChangeReply *msg)
{
    EM_FOREACH (change, &changes->list, struct change, link) {
        if (change->state != FORWARDED || change->nonce != msg->nonce)
            continue;
        if (msg->error) {
            end(change, em_error_from_wire(msg->error->code), msg->error->message);
            return;
        }
        change->state = SEEING;
        change->until_ms = em_now_ms() + SEEING_MS;
        return;
    }
}

/* ---- every turn ---------------------------------------------------------------------------- */

static void take_added(struct ms_changes *changes)
{
    pthread_mutex_lock(&changes->lock);
    EM_FOREACH (change, &changes->added, struct change, link) {
        em_list_remove(&change->link);
        em_list_append(&changes->list, &change->link);
    }
    pthread_mutex_unlock(&changes->lock);
}

static void run(struct change *change, uint64_t now_ms)
{
    struct ms_core *core = change->changes->core;
    bool is_leader = ms_engine_is_leader(core->engine);
    switch (change->state) {
    case NEW:
        if (is_leader)
            begin(change);
        else if (now_ms > change->until_ms)
            end(change, EM_E_BUSY, "the map servers have no leader now; try again");
        else
            forward(change);
        return;
    case PROBING: /* the peers tell */
        return;
    case TRYING:
        if (is_leader)
            try_change(change, now_ms);
        else
            change->state = NEW;
        return;
    case COMMITTING:
    case TRANSFERRING:
        await(change, now_ms);
        return;
    case FORWARDED:
        if (now_ms > change->until_ms + LIMIT_MS)
            end(change, EM_E_TIMEOUT, "the leader does not answer; look with 'mapctl member list'");
        return;
    case SEEING:
        if (!is_seen(change) && now_ms <= change->until_ms)
            return;
        ms_core_publish(core);
        end(change, 0, NULL);
        return;
    }
}

void ms_changes_run(struct ms_changes *changes, uint64_t now_ms)
{
    struct ms_core *core = changes->core;
    take_added(changes);
    EM_FOREACH (change, &changes->list, struct change, link)
        run(change, now_ms);
    if (core->is_holding && (now_ms > core->holding_until_ms || em_list_is_empty(&changes->list)))
        hold(core, false, now_ms);
}

bool ms_changes_is_idle(const struct ms_changes *changes)
{
    return em_list_is_empty(&changes->list);
}

_Static_assert(EIDMAP__MEMBER_CHANGE__MEMBER_ADD + MS_MEMBER_TRANSFER ==
                   EIDMAP__MEMBER_CHANGE__MEMBER_TRANSFER,
               "the two lists have one order");
