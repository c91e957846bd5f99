/* A doubt is of one feed and names the server that it is about.  Servers of another map than
 * the one that is known do not confirm each other: they are copies of one history, which began
 * empty. */
#include "guard.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void xtr_guard_init(struct xtr_guard *guard, unsigned shrink_percent)
{
    *guard = (struct xtr_guard){.shrink_percent = shrink_percent ? shrink_percent : 100};
}

void xtr_guard_fini(struct xtr_guard *guard)
{
    free(guard->doubts);
}

void xtr_guard_session(struct xtr_guard *guard, const char *server_id)
{
    snprintf(guard->server_id, sizeof guard->server_id, "%s", server_id);
}

static struct xtr_doubt *find(const struct xtr_guard *guard, uint32_t network_id)
{
    for (size_t i = 0; i < guard->n_doubts; i++)
        if (guard->doubts[i].network_id == network_id)
            return &guard->doubts[i];
    return NULL;
}

const struct xtr_doubt *xtr_guard_find(const struct xtr_guard *guard, uint32_t network_id)
{
    return find(guard, network_id);
}

void xtr_guard_restore(struct xtr_guard *guard, const struct xtr_doubt *doubt)
{
    struct xtr_doubt *place = find(guard, doubt->network_id);
    if (!place) {
        guard->doubts = em_realloc(guard->doubts, (guard->n_doubts + 1) * sizeof *guard->doubts);
        place = &guard->doubts[guard->n_doubts++];
    }
    *place = *doubt;
}

void xtr_guard_forget(struct xtr_guard *guard, uint32_t network_id)
{
    struct xtr_doubt *doubt = find(guard, network_id);
    if (doubt)
        *doubt = guard->doubts[--guard->n_doubts];
}

bool xtr_guard_can_ask(const struct xtr_guard *guard, const struct xtr_doubt *doubt)
{
    return !doubt->is_other_map && strcmp(doubt->server_id, guard->server_id);
}

bool xtr_guard_wants_other(const struct xtr_guard *guard)
{
    for (size_t i = 0; i < guard->n_doubts; i++)
        if (!guard->doubts[i].is_other_map)
            return true;
    return false;
}

static bool is_doubtful(const struct xtr_guard *guard, const struct xtr_loss *loss)
{
    if (!loss->n_missing || guard->shrink_percent >= 100)
        return false;
    if (loss->is_vital || guard->is_other_map)
        return true;
    if (loss->n_missing <= XTR_GUARD_FEW && loss->n_missing < loss->n_known)
        return false;
    return loss->n_missing * 100 > loss->n_known * guard->shrink_percent;
}

enum xtr_verdict xtr_guard_judge(struct xtr_guard *guard, uint32_t network_id,
                                 const struct xtr_loss *losses, size_t n)
{
    const struct xtr_doubt *old = find(guard, network_id);
    bool is_loss = false;
    for (size_t i = 0; i < n; i++)
        is_loss |= is_doubtful(guard, &losses[i]);
    bool is_confirmed = is_loss && old && xtr_guard_can_ask(guard, old) && !guard->is_other_map;
    if (!is_loss || guard->is_waived || is_confirmed) {
        xtr_guard_forget(guard, network_id);
        return is_confirmed ? XTR_CONFIRMED : XTR_BELIEVED;
    }
    struct xtr_doubt doubt = {.network_id = network_id,
                              .is_other_map = guard->is_other_map || (old && old->is_other_map)};
    memcpy(doubt.server_id, guard->server_id, sizeof doubt.server_id);
    xtr_guard_restore(guard, &doubt);
    return XTR_DOUBTED;
}
