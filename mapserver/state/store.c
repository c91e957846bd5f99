/* The data directory and the environment that is current in it.
 *
 * The map may be replaced as a whole while readers read.  Each environment counts who is in
 * it; the current one is counted once by the store itself.  Whoever leaves last closes it and
 * removes its directory, since only one that is no longer current can run out of users. */
#include "state/store.h"

#include "base/mem.h"
#include "eidmap/error.h"
#include "state/recent.h"
#include "state/txn.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_READERS 64u
#define KEPT_MAX        (8ull << 20) /* before a checkpoint is wanted; twice that waits for it */

struct ms_store {
    struct ms_store_config config; /* complete; owns 'dir' */
    int lock_fd;
    _Atomic uint64_t generation; /* of 'env', for readers who look whether it has changed */
    pthread_mutex_t lock;        /* of the two fields below and the counts in each environment */
    struct ms_env *env;
    struct ms_changed changed;
};

static int make_dir(const char *path, char **ret_why)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return 0;
    int err = -errno;
    *ret_why = em_asprintf("cannot make the directory %s: %s; make it, or set another data "
                           "directory",
                           path, em_strerror(err));
    return err;
}

static int lock_dir(struct ms_store *store, char **ret_why)
{
    const char *dir = store->config.dir;
    store->lock_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->lock_fd >= 0 && flock(store->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    int err = errno == EWOULDBLOCK ? -EBUSY : -errno;
    if (err == -EBUSY)
        *ret_why = em_asprintf("another map server uses %s; stop it, or set another data "
                               "directory",
                               dir);
    else
        *ret_why = em_asprintf("cannot open the directory %s: %s", dir, em_strerror(err));
    return err;
}

/* ------------------------------------------------------------------- generations */

/* Is this the name of a map's directory, as ms_env_path() makes it, or of one half-made? */
static bool is_map_name(const char *name, uint64_t *ret_generation, bool *ret_is_half)
{
    char *end = (char *)name + strlen("state");
    *ret_generation = 0;
    if (strncmp(name, "state", strlen("state")) != 0)
        return false;
    if (*end == '-') {
        if (end[1] < '1' || end[1] > '9')
            return false;
        *ret_generation = strtoull(end + 1, &end, 10);
    }
    *ret_is_half = strcmp(end, ".tmp") == 0;
    return *end == '\0' || *ret_is_half;
}

typedef void other_fn(struct ms_store *store, const char *path, bool is_half, void *aux);

/* Visits the maps of other generations. */
static void visit_others(struct ms_store *store, other_fn *visit, void *aux)
{
    uint64_t generation;
    bool is_half;
    DIR *dir = opendir(store->config.dir);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (!is_map_name(entry->d_name, &generation, &is_half) ||
            (generation == store->config.generation && !is_half))
            continue;
        char *path = em_asprintf("%s/%s", store->config.dir, entry->d_name);
        visit(store, path, is_half, aux);
        free(path);
    }
    if (dir)
        closedir(dir);
}

static void remove_other(struct ms_store *store, const char *path, bool is_half, void *aux)
{
    ms_env_remove(path);
}

static bool has_map(const char *path)
{
    char *file = em_asprintf("%s/data.mdb", path);
    bool has = access(file, F_OK) == 0;
    free(file);
    return has;
}

static void note_other(struct ms_store *store, const char *path, bool is_half, void *aux)
{
    char **found = aux;
    if (!*found && !is_half && has_map(path))
        *found = em_strdup(path);
}

/* Only the first map of all is made here.  One that should be there and is not is no reason
 * to begin with an empty one, nor to remove what is there instead. */
static int find_map(struct ms_store *store, const char *path, char **ret_why)
{
    char *other = NULL;
    int r = 0;
    if (has_map(path))
        return 0;
    visit_others(store, note_other, &other);
    if (other)
        *ret_why = em_asprintf("%s has no map, but %s has: parts of the data directory were lost; "
                               "put a copy of it back",
                               path, other);
    else if (store->config.generation)
        *ret_why = em_asprintf("%s has no map: put a copy of the data directory back, or begin "
                               "with an empty one",
                               path);
    if (*ret_why)
        r = EM_E_STORAGE;
    else
        r = make_dir(path, ret_why);
    free(other);
    return r;
}

static int open_map(struct ms_store *store, const char *path, uint64_t generation,
                    struct ms_env **ret_env, char **ret_why)
{
    int r = ms_env_open(path, &store->config, ret_env, ret_why);
    if (r)
        return r;
    (*ret_env)->generation = generation;
    (*ret_env)->n_refs = 1;
    return 0;
}

/* ------------------------------------------------------------------ open and close */

static int open_current(struct ms_store *store, char **ret_why)
{
    char *path = ms_env_path(store->config.dir, store->config.generation);
    int r = find_map(store, path, ret_why);
    if (!r)
        r = open_map(store, path, store->config.generation, &store->env, ret_why);
    if (!r)
        r = ms_env_sync_dir(store->config.dir);
    free(path);
    return r;
}

static struct ms_store_config complete(const struct ms_store_config *config)
{
    struct ms_store_config full = *config;
    full.dir = em_strdup(config->dir);
    full.map_size = config->map_size ? config->map_size : MS_MAP_SIZE;
    full.disk_reserve = config->disk_reserve ? config->disk_reserve : MS_DISK_RESERVE;
    full.max_readers = config->max_readers ? config->max_readers : DEFAULT_READERS;
    return full;
}

int ms_store_open(const struct ms_store_config *config, struct ms_store **ret_store, char **ret_why)
{
    struct ms_store *store = em_calloc(1, sizeof(*store));
    char *why = NULL;
    store->lock_fd = -1;
    store->config = complete(config);
    store->generation = config->generation;
    pthread_mutex_init(&store->lock, NULL);
    int r = make_dir(config->dir, &why);
    if (!r)
        r = lock_dir(store, &why);
    if (!r)
        r = open_current(store, &why);
    if (r) {
        ms_store_close(store);
        *ret_why = why ? why : em_asprintf("cannot use %s: %s", config->dir, em_strerror(r));
        return r;
    }
    visit_others(store, remove_other, NULL);
    *ret_store = store;
    return 0;
}

void ms_store_close(struct ms_store *store)
{
    if (!store)
        return;
    assert(!store->env || store->env->n_refs == 1);
    ms_env_close(store->env, true);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    pthread_mutex_destroy(&store->lock);
    free((char *)store->config.dir);
    free(store);
}

int ms_store_sync(struct ms_store *store)
{
    return ms_checkpoint_now(ms_store_env(store)->checkpoint);
}

int ms_store_sync_begin(struct ms_store *store, ms_sync_fn *done, void *aux)
{
    return ms_checkpoint_begin(ms_store_env(store)->checkpoint, done, aux);
}

void ms_store_sync_wait(struct ms_store *store)
{
    ms_checkpoint_wait(ms_store_env(store)->checkpoint);
}

/* A share of what writes leave free on the disk. */
static uint64_t kept_max(const struct ms_store *store)
{
    uint64_t most = store->config.disk_reserve / 8;
    return most < KEPT_MAX ? most : KEPT_MAX;
}

bool ms_store_wants_sync(struct ms_store *store)
{
    struct ms_checkpoint *checkpoint = ms_store_env(store)->checkpoint;
    return !ms_checkpoint_is_busy(checkpoint) && ms_checkpoint_kept(checkpoint) > kept_max(store);
}

int ms_store_before_write(struct ms_store *store)
{
    struct ms_checkpoint *checkpoint = ms_store_env(store)->checkpoint;
    return ms_checkpoint_kept(checkpoint) > 2 * kept_max(store) ? ms_checkpoint_now(checkpoint) : 0;
}

/* --------------------------------------------------------------------- the current one */

const struct ms_store_config *ms_store_config(const struct ms_store *store)
{
    return &store->config;
}

uint64_t ms_store_generation(const struct ms_store *store)
{
    return atomic_load_explicit(&store->generation, memory_order_acquire);
}

struct ms_env *ms_store_env(struct ms_store *store)
{
    pthread_mutex_lock(&store->lock);
    struct ms_env *env = store->env;
    pthread_mutex_unlock(&store->lock);
    return env;
}

struct ms_env *ms_store_enter(struct ms_store *store)
{
    pthread_mutex_lock(&store->lock);
    struct ms_env *env = store->env;
    env->n_refs++;
    pthread_mutex_unlock(&store->lock);
    return env;
}

void ms_store_leave(struct ms_store *store, struct ms_env *env)
{
    pthread_mutex_lock(&store->lock);
    assert(env->n_refs > 0);
    bool is_last = --env->n_refs == 0;
    pthread_mutex_unlock(&store->lock);
    if (!is_last)
        return;
    char *path = em_strdup(env->path);
    ms_env_close(env, false);
    ms_env_remove(path);
    free(path);
}

struct ms_changed *ms_store_changed(struct ms_store *store)
{
    return &store->changed;
}

int ms_store_switch(struct ms_store *store, uint64_t generation, char **ret_why)
{
    struct ms_env *env, *old;
    char *path = ms_env_path(store->config.dir, generation);
    int r = 0;
    assert(generation != store->config.generation);
    if (!has_map(path)) {
        *ret_why = em_asprintf("%s has no map", path);
        r = EM_E_STORAGE;
    }
    if (!r)
        r = open_map(store, path, generation, &env, ret_why);
    free(path);
    if (r)
        return r;
    pthread_mutex_lock(&store->lock);
    old = store->env;
    store->env = env;
    store->config.generation = generation;
    atomic_store_explicit(&store->generation, generation, memory_order_release);
    pthread_mutex_unlock(&store->lock);
    ms_store_leave(store, old);
    return 0;
}

void ms_store_cluster_id(struct ms_store *store, uint8_t ret_id[MS_CLUSTER_ID_SIZE])
{
    pthread_mutex_lock(&store->lock);
    memcpy(ret_id, store->env->cluster_id, MS_CLUSTER_ID_SIZE);
    pthread_mutex_unlock(&store->lock);
}

void ms_store_note_cluster(struct ms_store *store, const uint8_t id[MS_CLUSTER_ID_SIZE])
{
    pthread_mutex_lock(&store->lock);
    memcpy(store->env->cluster_id, id, MS_CLUSTER_ID_SIZE);
    pthread_mutex_unlock(&store->lock);
}
