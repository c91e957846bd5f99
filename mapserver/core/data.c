#include "core/data.h"

#include "base/log.h"
#include "base/mem.h"
#include "core/applier.h"
#include "core/core_state.h"
#include "eidmap/error.h"
#include "state/identity.h"
#include "state/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Makes this server the only member, from this point of the log on: nothing is in the log. */
static int be_alone(struct ms_log *log, const struct ms_log_state *state,
                    const struct ms_data_config *config, struct ms_point at, uint64_t term,
                    uint64_t generation)
{
    struct raft_configuration members;
    struct raft_buffer buf;
    char *both = em_asprintf("%s %s", config->server_id, config->address);
    raft_configuration_init(&members);
    int r = raft_configuration_add(&members, state->replica, both, RAFT_VOTER);
    if (r == 0)
        r = raft_configuration_encode(&members, &buf);
    raft_configuration_close(&members);
    free(both);
    if (r)
        return EM_E_INTERNAL;
    const struct ms_mark mark = {at.index, at.term, at.index, buf.base, buf.len};
    const struct ms_log_write write = {
        .has_vote = true,
        .term = term,
        .mark = &mark,
        .forget = UINT64_MAX,
        .has_generation = true,
        .generation = generation,
    };
    r = ms_log_write(log, &write);
    raft_free(buf.base);
    return r;
}

static struct ms_point last_point(const struct ms_log_state *state)
{
    if (state->n_entries == 0)
        return (struct ms_point){state->mark.index, state->mark.term};
    return (struct ms_point){state->first + state->n_entries - 1,
                             state->entries[state->n_entries - 1].term};
}

/* The newest list of members that the log knows. */
static int find_members(const struct ms_log_state *state, struct raft_configuration *ret_members)
{
    struct raft_buffer buf = {(void *)state->mark.members, state->mark.members_size};
    for (size_t i = 0; i < state->n_entries; i++)
        if (state->entries[i].type == RAFT_CHANGE)
            buf = (struct raft_buffer){state->entries[i].payload->data,
                                       state->entries[i].payload->size};
    return raft_configuration_decode(&buf, ret_members) ? EM_E_STORAGE : 0;
}

/* The log's new mark will give them. */
static void forget_members(struct ms_identity *identity)
{
    free(identity->members);
    identity->members = NULL;
    identity->members_size = 0;
    identity->members_index = 0;
}

static int reload(struct ms_data *data, char **ret_why)
{
    ms_log_state_fini(&data->state);
    return ms_log_load(data->log, &data->state, ret_why);
}

/* ---- found ------------------------------------------------------------------------------- */

/* The first start.  A map of before there were clusters is taken along. */
static int found(struct ms_data *data, const struct ms_data_config *config, char **ret_why)
{
    struct ms_identity identity;
    int r = ms_identity_get(data->store, &identity);
    if (r)
        return r;
    if (identity.members_size > 0) {
        *ret_why = em_asprintf("%s has a map of a cluster, but its log is gone: remove this server "
                               "from the cluster, move the directory away and add it again; if it "
                               "is the only one, 'mapctl restore' a backup into a new directory",
                               config->dir);
        r = EM_E_STORAGE;
    } else {
        /* Not at 1: libraft looks for entry 1 by its term alone, and a mark there has one, so
         * that a new member would be sent what is not there. */
        const struct ms_point at = {identity.applied > 2 ? identity.applied : 2, 1};
        r = be_alone(data->log, &data->state, config, at, 1, data->state.generation);
        if (r == 0)
            em_info("a new cluster begins with this server");
    }
    ms_identity_fini(&identity);
    return r ? r : reload(data, ret_why);
}

/* ---- restore ------------------------------------------------------------------------------ */

/* The others would go on with the map that they have. */
static int check_alone(const struct ms_data *data, const struct ms_data_config *config,
                       char **ret_why)
{
    struct raft_configuration members;
    int r = find_members(&data->state, &members);
    if (r)
        return r;
    unsigned n = members.n;
    raft_configuration_close(&members);
    if (n == 1)
        return 0;
    *ret_why = em_asprintf("%s/" MS_RESTORE_FILE " cannot take the place of a map that %u servers "
                           "share: remove that file, and restore into a new cluster of one server",
                           config->dir, n);
    return EM_E_IN_USE;
}

/* Takes the copy into the log's next generation.  The cluster stays who it is; so a crash at
 * any point leaves either the old map with the file beside it, or the new one. */
static int restore(struct ms_data *data, const struct ms_data_config *config, const char *file,
                   char **ret_why)
{
    struct ms_identity identity;
    struct ms_snapshot_info info;
    struct ms_point at = last_point(&data->state);
    int r = check_alone(data, config, ret_why);
    if (r == 0)
        r = ms_identity_get(data->store, &identity);
    if (r)
        return r;
    identity.applied = at.index;
    identity.applied_term = at.term;
    forget_members(&identity);
    const struct ms_snapshot_target target = {
        .dir = config->dir,
        .generation = data->state.generation + 1,
        .map_size = config->map_size,
        .disk_reserve = config->disk_reserve,
        .identity = &identity,
    };
    r = ms_snapshot_load(file, &target, NULL, &info, ret_why);
    ms_identity_fini(&identity);
    if (r)
        return r;
    em_info("the map was restored: revision %" PRIu64 ", %" PRIu64 " ports", info.revision,
            info.n_ports);
    ms_snapshot_info_fini(&info);
    return be_alone(data->log, &data->state, config, at, data->state.term, target.generation);
}

static int open_store(struct ms_data *data, const struct ms_data_config *config, char **ret_why)
{
    const struct ms_store_config store = {.dir = config->dir,
                                          .generation = data->state.generation,
                                          .map_size = config->map_size,
                                          .disk_reserve = config->disk_reserve};
    return ms_store_open(&store, &data->store, ret_why);
}

/* For good: it would take the map's place once more, and what was written since were gone. */
static int remove_file(const struct ms_data_config *config, const char *file, char **ret_why)
{
    int r = unlink(file) ? -errno : ms_env_sync_dir(config->dir);
    if (r)
        *ret_why = em_asprintf("the map was restored, but %s cannot be removed: %s; remove it, or "
                               "the next start restores it again",
                               file, em_strerror(r));
    return r;
}

static int restore_if_there(struct ms_data *data, const struct ms_data_config *config,
                            char **ret_why)
{
    char *file = em_asprintf("%s/" MS_RESTORE_FILE, config->dir);
    int r = 0;
    if (access(file, F_OK) == 0) {
        r = restore(data, config, file, ret_why);
        if (r == 0) {
            ms_store_close(data->store);
            data->store = NULL;
            r = reload(data, ret_why);
        }
        if (r == 0)
            r = open_store(data, config, ret_why);
        if (r == 0)
            r = remove_file(config, file, ret_why);
    }
    free(file);
    return r;
}

/* ---- open ---------------------------------------------------------------------------------- */

int ms_data_open(const struct ms_data_config *config, struct ms_data *ret_data, char **ret_why)
{
    struct ms_data data = {0};
    bool is_new;
    int r = mkdir(config->dir, 0700) && errno != EEXIST ? -errno : 0;
    if (r)
        *ret_why = em_asprintf("cannot make the directory %s: %s; make it, or set another data "
                               "directory",
                               config->dir, em_strerror(r));
    if (r == 0)
        r = ms_log_open(config->dir, &data.log, &is_new, ret_why);
    if (r == 0)
        r = ms_log_load(data.log, &data.state, ret_why);
    if (r == 0)
        r = open_store(&data, config, ret_why);
    if (r == 0 && !data.state.has_mark && !config->join)
        r = found(&data, config, ret_why);
    if (r == 0 && data.state.has_mark)
        r = restore_if_there(&data, config, ret_why);
    if (r == 0) {
        *ret_data = data;
        return 0;
    }
    if (!*ret_why)
        *ret_why = em_strdup(em_strerror(r));
    ms_data_close(&data);
    return r;
}

void ms_data_close(struct ms_data *data)
{
    ms_store_close(data->store);
    ms_log_state_fini(&data->state);
    ms_log_close(data->log);
    *data = (struct ms_data){0};
}

/* ---- recover ------------------------------------------------------------------------------- */

static void on_map_commit(void *aux, uint64_t revision, const uint32_t *networks, size_t n)
{
}
static void on_map_result(void *aux, const struct ms_result *result)
{
}
static void on_map_applied(void *aux, struct ms_point point)
{
}
static void on_map_synced(void *aux, const struct ms_mark *mark)
{
}

static void on_map_fatal(void *aux, int err, const char *why)
{
    int *ret_err = aux;
    *ret_err = err;
    em_error("%s", why);
}

/* Whatever the log holds is taken for committed: what was acknowledged is among it. */
static int apply_log(struct ms_data *data)
{
    static const struct ms_applier_events events = {on_map_commit, on_map_result, on_map_applied,
                                                    on_map_synced, on_map_fatal};
    struct ms_applier *applier;
    struct ms_point point;
    int err = 0;
    int r = ms_applier_start(data->store, &data->state.mark, &events, &err, &applier, &point);
    if (r)
        return r;
    for (size_t i = 0; i < data->state.n_entries && r == 0; i++) {
        struct ms_entry entry = data->state.entries[i];
        r = ms_log_read(data->log, data->state.first + i, &entry.payload);
        if (r)
            break;
        ms_applier_put(applier, data->state.first + i, &entry);
        ms_payload_unref(entry.payload);
    }
    ms_applier_stop(applier);
    return r ? r : err;
}

static int check_others(const struct ms_data *data, ms_alive_fn *is_alive, void *aux,
                        char **ret_why)
{
    struct raft_configuration members;
    int r = find_members(&data->state, &members);
    if (r)
        return r;
    for (unsigned i = 0; i < members.n && r == 0; i++) {
        char name[EM_IDENTITY_NAME];
        const char *address;
        ms_core_split_address(members.servers[i].address, name, sizeof(name), &address);
        if (members.servers[i].id == data->state.replica || !is_alive(aux, name, address))
            continue;
        *ret_why = em_asprintf("map server %s at %s is alive: stop it first, and wipe it before it "
                               "comes back",
                               name, address);
        r = EM_E_IN_USE;
    }
    raft_configuration_close(&members);
    return r;
}

static int recover(struct ms_data *data, const struct ms_data_config *config)
{
    struct ms_identity identity;
    const struct ms_point at = last_point(&data->state);
    int r = apply_log(data);
    if (r == 0)
        r = ms_identity_get(data->store, &identity);
    if (r)
        return r;
    identity.recovery++;
    identity.applied = at.index;
    identity.applied_term = at.term;
    forget_members(&identity);
    r = ms_identity_set(data->store, &identity);
    ms_identity_fini(&identity);
    if (r == 0)
        r = ms_store_sync(data->store);
    return r ? r
             : be_alone(data->log, &data->state, config, at, data->state.term + 1,
                        data->state.generation);
}

int ms_data_recover(const struct ms_data_config *config, ms_alive_fn *is_alive, void *aux,
                    char **ret_why)
{
    struct ms_data data;
    struct ms_data_config waiting = *config;
    waiting.join = true; /* found nothing */
    int r = ms_data_open(&waiting, &data, ret_why);
    if (r)
        return r;
    if (!data.state.has_mark) {
        *ret_why = em_asprintf("%s holds no server of a cluster: there is nothing to recover",
                               config->dir);
        r = EM_E_NOT_FOUND;
    }
    if (r == 0)
        r = check_others(&data, is_alive, aux, ret_why);
    if (r == 0)
        r = recover(&data, config);
    if (r && !*ret_why)
        *ret_why = em_strdup(em_strerror(r));
    ms_data_close(&data);
    return r;
}
