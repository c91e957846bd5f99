/* Who is connected: the sessions of all workers, the one live session of each node, and the one
 * connection that it keeps warm.
 *
 * Threads: every function may be called from any thread. */
#ifndef MS_REGISTRY_H
#define MS_REGISTRY_H

#include "base/list.h"
#include "net/tls.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define MS_INSTANCE_SIZE 16

struct ms_registry;

/* What a session shows of itself.  It is embedded in the session, which fills the plain
 * fields before ms_registry_add() and changes only the atomic ones after it. */
struct ms_member {
    struct em_list all;
    struct em_identity identity;
    char peer[80];
    char software[64];
    bool is_warm;          /* of a node: waits to become its session */
    uint64_t connected_ms; /* since 1970 */
    uint64_t boot_epoch;
    uint8_t instance[MS_INSTANCE_SIZE];
    _Atomic uint64_t installed_revision;
    atomic_uint n_subscriptions;
    atomic_uint n_watches;
    atomic_uint refs;
};

struct ms_registry *ms_registry_new(void);
void ms_registry_free(struct ms_registry *registry);

/* Adds a session.  A node may have one, and one that is warm: another of the same instance is
 * displaced (the process connects again), and so is one with an older boot epoch; otherwise
 * EM_E_SUPERSEDED.  *ret_displaced is referenced for the caller, or NULL. */
int ms_registry_add(struct ms_registry *registry, struct ms_member *member,
                    struct ms_member **ret_displaced);

/* No effect if it was displaced or never added.  Returns true if it was there. */
bool ms_registry_remove(struct ms_registry *registry, struct ms_member *member);

/* The node's live session, referenced for the caller, or NULL. */
struct ms_member *ms_registry_find(struct ms_registry *registry, const char *node_id);

/* Is this member still its node's live session? */
bool ms_registry_is_live(struct ms_registry *registry, const struct ms_member *member);

/* Warm ones are not counted, and not visited. */
uint32_t ms_registry_count(struct ms_registry *registry);

/* Visits all members with the registry locked: short work only, no call back into it. */
typedef void ms_member_fn(void *aux, const struct ms_member *member);
void ms_registry_visit(struct ms_registry *registry, ms_member_fn *visit, void *aux);

#endif
