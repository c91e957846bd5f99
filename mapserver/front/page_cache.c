#include "front/page_cache.h"

#define KEEP (16u << 10) /* a page that took more memory gives it back */

static uint32_t slot_of(uint32_t network_id)
{
    return network_id % MS_PAGE_CACHE_SLOTS;
}

void ms_page_cache_init(struct ms_page_cache *cache)
{
    cache->state = 0;
    for (int i = 0; i < MS_PAGE_CACHE_SLOTS; i++) {
        cache->slots[i] = (struct ms_cached_page){.from = UINT64_MAX};
        em_buf_init(&cache->slots[i].body);
    }
}

void ms_page_cache_fini(struct ms_page_cache *cache)
{
    for (int i = 0; i < MS_PAGE_CACHE_SLOTS; i++)
        em_buf_fini(&cache->slots[i].body);
}

static void clear(struct ms_page_cache *cache)
{
    for (int i = 0; i < MS_PAGE_CACHE_SLOTS; i++) {
        struct ms_cached_page *page = &cache->slots[i];
        page->from = UINT64_MAX;
        em_buf_take(&page->body, em_buf_size(&page->body));
        if (page->body.size > KEEP)
            em_buf_trim(&page->body);
    }
}

void ms_page_cache_keep(struct ms_page_cache *cache, uint64_t state)
{
    if (cache->state != state)
        clear(cache);
    cache->state = state;
}

void ms_page_cache_put(struct ms_page_cache *cache, const struct ms_cached_page *page,
                       const uint8_t *body, size_t size)
{
    struct ms_cached_page *slot = &cache->slots[slot_of(page->network_id)];
    struct em_buf kept = slot->body;
    em_buf_take(&kept, em_buf_size(&kept));
    em_buf_append(&kept, body, size);
    *slot = *page;
    slot->body = kept;
}

const struct ms_cached_page *ms_page_cache_find(const struct ms_page_cache *cache,
                                                uint32_t network_id, uint64_t from)
{
    const struct ms_cached_page *page = &cache->slots[slot_of(network_id)];
    return page->network_id == network_id && page->from == from ? page : NULL;
}
