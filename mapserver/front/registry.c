#include "front/registry.h"

#include "base/hash.h"
#include "base/mem.h"
#include "eidmap/error.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct ms_registry {
    pthread_mutex_t lock;
    struct em_list all;
    uint32_t n_sessions;
    struct em_index by_node; /* into 'nodes': by name, and whether it is warm */
    struct ms_member **nodes;
    uint32_t n_nodes, size_nodes;
};

struct ms_registry *ms_registry_new(void)
{
    struct ms_registry *registry = em_calloc(1, sizeof(*registry));
    pthread_mutex_init(&registry->lock, NULL);
    em_list_init(&registry->all);
    em_index_init(&registry->by_node);
    return registry;
}

void ms_registry_free(struct ms_registry *registry)
{
    if (!registry)
        return;
    assert(em_list_is_empty(&registry->all));
    em_index_fini(&registry->by_node);
    free(registry->nodes);
    pthread_mutex_destroy(&registry->lock);
    free(registry);
}

struct key {
    const char *name;
    bool is_warm;
};

static struct key key_of(const struct ms_member *member)
{
    return (struct key){member->identity.name, member->is_warm};
}

static uint64_t hash(struct key key)
{
    return em_hash(key.name, strlen(key.name)) + key.is_warm;
}

static bool is_same_node(const void *aux, uint32_t slot, const void *key_)
{
    const struct ms_member *member = ((const struct ms_registry *)aux)->nodes[slot];
    const struct key *key = key_;
    return member->is_warm == key->is_warm && strcmp(member->identity.name, key->name) == 0;
}

static uint32_t find_node(const struct ms_registry *registry, struct key key)
{
    return em_index_find(&registry->by_node, hash(key), is_same_node, registry, &key);
}

static void insert_node(struct ms_registry *registry, struct ms_member *member)
{
    if (registry->n_nodes == registry->size_nodes) {
        registry->size_nodes = registry->size_nodes ? registry->size_nodes * 2 : 64;
        registry->nodes =
            em_realloc(registry->nodes, registry->size_nodes * sizeof(*registry->nodes));
    }
    registry->nodes[registry->n_nodes] = member;
    em_index_insert(&registry->by_node, hash(key_of(member)), registry->n_nodes++);
}

static void remove_node(struct ms_registry *registry, uint32_t slot)
{
    uint32_t last = registry->n_nodes - 1;
    em_index_remove(&registry->by_node, hash(key_of(registry->nodes[slot])), slot);
    if (slot != last) {
        em_index_move(&registry->by_node, hash(key_of(registry->nodes[last])), last, slot);
        registry->nodes[slot] = registry->nodes[last];
    }
    registry->n_nodes--;
}

static void unlink_member(struct ms_registry *registry, struct ms_member *member)
{
    em_list_remove(&member->all);
    registry->n_sessions -= !member->is_warm;
}

static bool may_displace(const struct ms_member *member, const struct ms_member *old)
{
    return memcmp(member->instance, old->instance, MS_INSTANCE_SIZE) == 0 ||
           member->boot_epoch > old->boot_epoch;
}

static int claim_node(struct ms_registry *registry, struct ms_member *member,
                      struct ms_member **ret_displaced)
{
    uint32_t slot = find_node(registry, key_of(member));
    if (slot == EM_INDEX_NONE) {
        insert_node(registry, member);
        return 0;
    }
    struct ms_member *old = registry->nodes[slot];
    if (!may_displace(member, old))
        return EM_E_SUPERSEDED;
    atomic_fetch_add(&old->refs, 1);
    unlink_member(registry, old);
    registry->nodes[slot] = member;
    *ret_displaced = old;
    return 0;
}

int ms_registry_add(struct ms_registry *registry, struct ms_member *member,
                    struct ms_member **ret_displaced)
{
    int r = 0;
    *ret_displaced = NULL;
    pthread_mutex_lock(&registry->lock);
    if (member->identity.role == EM_ROLE_NODE)
        r = claim_node(registry, member, ret_displaced);
    if (r == 0) {
        em_list_append(&registry->all, &member->all);
        registry->n_sessions += !member->is_warm;
    }
    pthread_mutex_unlock(&registry->lock);
    return r;
}

bool ms_registry_remove(struct ms_registry *registry, struct ms_member *member)
{
    pthread_mutex_lock(&registry->lock);
    bool was_there = !em_list_is_empty(&member->all);
    if (was_there) {
        unlink_member(registry, member);
        uint32_t slot = member->identity.role == EM_ROLE_NODE ? find_node(registry, key_of(member))
                                                              : EM_INDEX_NONE;
        if (slot != EM_INDEX_NONE && registry->nodes[slot] == member)
            remove_node(registry, slot);
    }
    pthread_mutex_unlock(&registry->lock);
    return was_there;
}

struct ms_member *ms_registry_find(struct ms_registry *registry, const char *node_id)
{
    struct ms_member *member = NULL;
    pthread_mutex_lock(&registry->lock);
    uint32_t slot = find_node(registry, (struct key){node_id, false});
    if (slot != EM_INDEX_NONE) {
        member = registry->nodes[slot];
        atomic_fetch_add(&member->refs, 1);
    }
    pthread_mutex_unlock(&registry->lock);
    return member;
}

bool ms_registry_is_live(struct ms_registry *registry, const struct ms_member *member)
{
    pthread_mutex_lock(&registry->lock);
    bool is_live = !em_list_is_empty(&member->all);
    pthread_mutex_unlock(&registry->lock);
    return is_live;
}

uint32_t ms_registry_count(struct ms_registry *registry)
{
    pthread_mutex_lock(&registry->lock);
    uint32_t n = registry->n_sessions;
    pthread_mutex_unlock(&registry->lock);
    return n;
}

void ms_registry_visit(struct ms_registry *registry, ms_member_fn *visit, void *aux)
{
    pthread_mutex_lock(&registry->lock);
    EM_FOREACH (member, &registry->all, struct ms_member, all)
        if (!member->is_warm)
            visit(aux, member);
    pthread_mutex_unlock(&registry->lock);
}
