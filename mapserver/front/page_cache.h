/* Pages that were sent of the map as it is: whoever stands where another subscriber of the
 * network stood gets the same bytes, and nothing is read and packed again.
 *
 * It holds the last page of each of a few networks. */
#ifndef MS_PAGE_CACHE_H
#define MS_PAGE_CACHE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define MS_PAGE_CACHE_SLOTS 16

struct ms_cached_page {
    uint32_t network_id;
    uint64_t from;      /* revision of the cursor before it; UINT64_MAX: no page */
    uint64_t to;        /* and behind it */
    bool is_more;       /* behind that */
    struct em_buf body; /* of Changes, whole */
};

struct ms_page_cache {
    struct ms_cached_page slots[MS_PAGE_CACHE_SLOTS];
    uint64_t state; /* of the map, that they are of */
};

void ms_page_cache_init(struct ms_page_cache *cache);
void ms_page_cache_fini(struct ms_page_cache *cache);

/* A transaction begins, in which the map is in this state (ms_reader_state()): pages of another one
 * are forgotten. */
void ms_page_cache_keep(struct ms_page_cache *cache, uint64_t state);

/* Copies the body; that of 'page' is not looked at. */
void ms_page_cache_put(struct ms_page_cache *cache, const struct ms_cached_page *page,
                       const uint8_t *body, size_t size);

/* NULL: there is none.  Lent until the next call of another function. */
const struct ms_cached_page *ms_page_cache_find(const struct ms_page_cache *cache,
                                                uint32_t network_id, uint64_t from);

#endif
