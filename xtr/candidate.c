/* Networks are few; lists will do. */
#include "candidate.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void xtr_candidate_fini(struct xtr_candidate *candidate)
{
    for (size_t i = 0; i < candidate->n; i++)
        free(candidate->networks[i].name);
    free(candidate->networks);
    *candidate = (struct xtr_candidate){0};
}

static struct xtr_candidate_network *find(const struct xtr_candidate *candidate, uint32_t id)
{
    for (size_t i = 0; i < candidate->n; i++)
        if (candidate->networks[i].id == id)
            return &candidate->networks[i];
    return NULL;
}

static void put(struct xtr_candidate *candidate, const struct em_network *record)
{
    struct xtr_candidate_network *network = find(candidate, record->id);
    if (!network) {
        if (candidate->n == candidate->size) {
            candidate->size = candidate->size ? candidate->size * 2 : 16;
            candidate->networks =
                em_realloc(candidate->networks, candidate->size * sizeof *candidate->networks);
        }
        network = &candidate->networks[candidate->n++];
        network->id = record->id;
    } else {
        free(network->name);
    }
    network->name = em_strdup(record->name);
    network->segmentation_id = record->segmentation_id;
}

static void gone(struct xtr_candidate *candidate, uint32_t id)
{
    struct xtr_candidate_network *network = find(candidate, id);
    if (!network)
        return;
    free(network->name);
    *network = candidate->networks[--candidate->n];
}

void xtr_candidate_feed(struct xtr_candidate *candidate, const struct em_feed *page)
{
    if (page->is_start_over)
        xtr_candidate_fini(candidate);
    for (size_t i = 0; i < page->n_changes; i++) {
        const struct em_change *change = &page->changes[i];
        if (change->object != EM_OBJECT_NETWORK)
            continue;
        if (change->is_gone)
            gone(candidate, change->gone_network);
        else
            put(candidate, change->network);
    }
    candidate->is_complete |= page->is_complete;
}

const struct em_network *xtr_candidate_lacks(const struct xtr_candidate *candidate,
                                             const struct xtr_mapcache *cache)
{
    const struct em_network *network;
    for (uint32_t at = 0; xtr_mapcache_next_network(cache, &at, &network);) {
        if (!xtr_mapcache_has_locals(cache, network->id))
            continue;
        const struct xtr_candidate_network *found = find(candidate, network->id);
        if (!found || strcmp(found->name, network->name) ||
            found->segmentation_id != network->segmentation_id)
            return network;
    }
    return NULL;
}
