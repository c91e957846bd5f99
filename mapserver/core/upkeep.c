/* What the core's thread does now and then: peers, offers, reports, leases that were heard of. */
#include "core/core_state.h"

#include "base/clock.h"

#include <stdlib.h>

#define REPORT_TICKS 5
#define STUCK_MS     5000 /* commands that made no progress are sent again */
#define SYNC_MS      1000 /* while anything changes */
#define OFFER_MS     3000 /* an offer that was not taken up by then is made again */

/* ---- now and then ------------------------------------------------------------------------------
 */

void ms_core_keep_peers(struct ms_core *core)
{
    const struct raft_configuration *members = ms_engine_members(core->engine);
    ms_peers_begin(core->peers);
    for (unsigned i = 0; i < members->n; i++) {
        char name[EM_IDENTITY_NAME];
        const char *address;
        if (members->servers[i].id == core->replica)
            continue;
        ms_core_split_address(members->servers[i].address, name, sizeof(name), &address);
        ms_peers_keep(core->peers, members->servers[i].id, name, address);
    }
    ms_peers_end(core->peers);
}

static void end_offers(struct ms_core *core, uint64_t now_ms)
{
    const struct raft_configuration *members = ms_engine_members(core->engine);
    for (unsigned i = 0; i < members->n; i++) {
        struct ms_peer_info *info = ms_peers_info(core->peers, members->servers[i].id);
        if (!info || !info->offered_ms || ms_core_is_installing(info, now_ms) ||
            now_ms < info->offered_ms + OFFER_MS)
            continue;
        info->offered_ms = 0;
        ms_engine_offer_ended(core->engine, members->servers[i].id);
    }
}

static Eidmap__Heard *take_heard(struct ms_core *core, size_t *ret_n)
{
    pthread_mutex_lock(&core->lock);
    Eidmap__Heard *heard = core->heard;
    *ret_n = core->n_heard;
    core->heard = NULL;
    core->n_heard = core->room_heard = 0;
    pthread_mutex_unlock(&core->lock);
    return heard;
}

static void report_to(struct ms_core *core, uint64_t replica, Eidmap__Heard **heard, size_t n)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Report report = EIDMAP__REPORT__INIT;
    report.applied = core->applied;
    report.revision = core->revision;
    report.is_installing = ms_fetch_is_busy(core->fetch);
    report.has_no_room = core->has_no_room;
    report.heard = heard;
    report.n_heard = n;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_REPORT;
    envelope.report = &report;
    ms_peers_send(core->peers, replica, &envelope);
}

#define HEARD_IN_ONE 4096 /* nodes in one report */

/* Leases are the leader's: what was heard goes there.  Without a leader it is dropped: a new
 * one grants every node a whole lease first. */
static void report(struct ms_core *core)
{
    const struct raft_configuration *members = ms_engine_members(core->engine);
    uint64_t leader = ms_engine_leader(core->engine);
    size_t n;
    Eidmap__Heard *heard = take_heard(core, &n);
    Eidmap__Heard **list = em_calloc(n + 1, sizeof(*list));
    for (size_t i = 0; i < n; i++)
        list[i] = &heard[i];
    for (size_t i = 0; i < n && leader == core->replica; i++)
        core->events.on_heard(core->aux, heard[i].node_id, heard[i].lease_ms);
    for (size_t i = 0; i < n && leader && leader != core->replica; i += HEARD_IN_ONE)
        report_to(core, leader, list + i, n - i < HEARD_IN_ONE ? n - i : HEARD_IN_ONE);
    for (unsigned i = 0; i < members->n; i++)
        if (members->servers[i].id != core->replica)
            report_to(core, members->servers[i].id, NULL, 0);
    /* Who joins knows no members yet; its leader must hear that the map is on its way. */
    if (members->n == 0 && leader)
        report_to(core, leader, NULL, 0);
    for (size_t i = 0; i < n; i++)
        free(heard[i].node_id);
    free(heard);
    free(list);
}

static void check_room(struct ms_core *core, uint64_t now_ms)
{
    const struct ms_peer_info *info = ms_peers_info(core->peers, ms_engine_leader(core->engine));
    const char *why;
    core->has_no_room = ms_store_check_room(core->config.store, &why) != 0;
    core->leader_has_no_room = info && info->has_no_room;
    core->room_checked_ms = now_ms;
}

/* What is not durable in the map is applied again by the next start. */
static void sync_if_due(struct ms_core *core, uint64_t now_ms)
{
    uint64_t applied = core->applied;
    if (applied == core->sync_from || (applied < core->sync_from + core->config.sync_entries &&
                                       now_ms < core->synced_ms + SYNC_MS))
        return;
    core->sync_from = applied;
    core->synced_ms = now_ms;
    ms_applier_sync(core->applier);
}

static void take_tls(struct ms_core *core)
{
    pthread_mutex_lock(&core->lock);
    struct em_tls *tls = core->new_tls;
    core->new_tls = NULL;
    pthread_mutex_unlock(&core->lock);
    if (!tls)
        return;
    ms_peers_set_tls(core->peers, tls);
    em_tls_free(tls);
}

void ms_core_upkeep(struct ms_core *core)
{
    uint64_t now_ms = em_now_ms();
    take_tls(core);
    ms_core_keep_peers(core);
    ms_peers_tick(core->peers, now_ms);
    end_offers(core, now_ms);
    sync_if_due(core, now_ms);
    if (ms_proposals_is_stuck(core->proposals, now_ms - STUCK_MS))
        ms_proposals_rewind(core->proposals);
    if (core->n_ticks++ % REPORT_TICKS)
        return;
    check_room(core, now_ms);
    report(core);
    ms_core_publish(core);
}
