/* What other threads are shown of the core: a copy, made a few times a second. */
#include "core/core_state.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SILENT_MS 3000 /* a server that said nothing for so long does not count as connected */

void ms_core_split_address(const char *both, char *name, size_t name_size, const char **address)
{
    const char *space = strchr(both, ' ');
    size_t size = space ? (size_t)(space - both) : strlen(both);
    snprintf(name, name_size, "%.*s", (int)size, both);
    *address = space ? space + 1 : "";
}

static Eidmap__MemberRole role_of(int raft_role)
{
    switch (raft_role) {
    case RAFT_VOTER:
        return EIDMAP__MEMBER_ROLE__MEMBER_VOTER;
    case RAFT_STANDBY:
        return EIDMAP__MEMBER_ROLE__MEMBER_STANDBY;
    default:
        return EIDMAP__MEMBER_ROLE__MEMBER_SPARE;
    }
}

static void copy_servers(struct ms_member_status *member, const char *const *servers, size_t n)
{
    member->servers = em_calloc(n + 1, sizeof(*member->servers));
    for (size_t i = 0; i < n; i++)
        member->servers[i] = em_strdup(servers[i]);
    member->n_servers = n;
}

static void describe_self(struct ms_core *core, struct ms_member_status *member)
{
    member->is_self = true;
    member->is_connected = true;
    member->is_installing = ms_fetch_is_busy(core->fetch);
    member->software = em_strdup("mapserver " EM_VERSION);
    member->applied = core->applied;
    member->revision = core->revision;
    if (ms_engine_is_leader(core->engine))
        member->match = ms_engine_last_index(core->engine);
    copy_servers(member, core->config.servers, core->config.n_servers);
}

bool ms_core_is_heard(const struct ms_peer_info *info, uint64_t now_ms)
{
    return info && info->heard_ms && now_ms - info->heard_ms < SILENT_MS;
}

static void describe_other(struct ms_core *core, struct ms_member_status *member)
{
    const struct ms_peer_info *info = ms_peers_info(core->peers, member->replica);
    uint64_t now_ms = em_now_ms();
    member->software = em_strdup(info ? info->software : "");
    if (!info)
        return;
    member->heard_ms = info->heard_ms ? now_ms - info->heard_ms : 0;
    member->is_connected = ms_core_is_heard(info, now_ms);
    member->why = info->why;
    member->is_installing = info->is_installing;
    member->applied = info->applied;
    member->revision = info->revision;
    member->match = ms_engine_match(core->engine, member->replica);
    copy_servers(member, (const char *const *)info->servers, info->n_servers);
}

static void fill(struct ms_core *core, struct ms_core_status *status)
{
    const struct raft_configuration *members = ms_engine_members(core->engine);
    uint64_t leader = ms_engine_leader(core->engine);
    status->raft_role = ms_engine_state_name(core->engine);
    status->term = ms_engine_term(core->engine);
    status->commit = ms_engine_commit_index(core->engine);
    status->applied = core->applied;
    status->last_index = ms_engine_last_index(core->engine);
    status->log_size = ms_log_size(core->config.log);
    status->no_leader_ms = core->no_leader_since_ms ? em_now_ms() - core->no_leader_since_ms : 0;
    status->leader = em_strdup("");
    status->members = em_calloc(members->n + 1, sizeof(*status->members));
    for (unsigned i = 0; i < members->n; i++) {
        const struct raft_server *server = &members->servers[i];
        struct ms_member_status *member = &status->members[status->n_members++];
        char name[EM_IDENTITY_NAME];
        const char *address;
        ms_core_split_address(server->address, name, sizeof(name), &address);
        member->replica = server->id;
        member->name = em_strdup(name);
        member->address = em_strdup(address);
        member->role = role_of(server->role);
        member->is_leader = server->id == leader;
        if (server->id == core->replica)
            describe_self(core, member);
        else
            describe_other(core, member);
        if (member->is_leader) {
            free(status->leader);
            status->leader = em_strdup(name);
        }
    }
}

void ms_core_publish(struct ms_core *core)
{
    struct ms_core_status status = {0}, old;
    fill(core, &status);
    pthread_mutex_lock(&core->lock);
    old = core->status;
    core->status = status;
    pthread_mutex_unlock(&core->lock);
    ms_core_status_fini(&old);
}

static char **copy_texts(char *const *texts, size_t n)
{
    char **copy = em_calloc(n + 1, sizeof(*copy));
    for (size_t i = 0; i < n; i++)
        copy[i] = em_strdup(texts[i]);
    return copy;
}

void ms_core_status(struct ms_core *core, struct ms_core_status *ret_status)
{
    pthread_mutex_lock(&core->lock);
    *ret_status = core->status;
    ret_status->leader = em_strdup(core->status.leader ? core->status.leader : "");
    ret_status->members = em_calloc(ret_status->n_members + 1, sizeof(*ret_status->members));
    for (size_t i = 0; i < ret_status->n_members; i++) {
        struct ms_member_status *member = &ret_status->members[i];
        *member = core->status.members[i];
        member->name = em_strdup(member->name);
        member->address = em_strdup(member->address);
        member->software = em_strdup(member->software);
        member->servers = copy_texts(member->servers, member->n_servers);
    }
    pthread_mutex_unlock(&core->lock);
}

void ms_core_status_fini(struct ms_core_status *status)
{
    for (size_t i = 0; i < status->n_members; i++) {
        struct ms_member_status *member = &status->members[i];
        for (size_t k = 0; k < member->n_servers; k++)
            free(member->servers[k]);
        free(member->servers);
        free(member->name);
        free(member->address);
        free(member->software);
    }
    free(status->members);
    free(status->leader);
    *status = (struct ms_core_status){0};
}
