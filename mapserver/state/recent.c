/* An entry is as of the revision at which its reader looked.  It holds as long as the number of its
 * key is not above that: the writer sets the number before others can see the change.  A reader
 * that does not see it yet finds no entry of use, and looks into the map as it sees it. */
#include "state/recent.h"

#include "base/hash.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define KEY_MAX   21 /* network-id, kind, IPv6 address */
#define PORT_MAX  85
#define N_ENTRIES 131072u
#define LINE      64u /* of the cache */

struct entry {
    uint64_t hash;
    uint64_t revision;
    uint32_t generation; /* its lowest bits: there are never two thousand millions of them */
    uint8_t key_size, port_size;
    uint8_t key[KEY_MAX];
    uint8_t port[PORT_MAX];
};

_Static_assert(sizeof(struct entry) == 2 * LINE, "two lines, when it is aligned");

struct ms_recent {
    struct em_index index;
    struct entry *entries;
    uint32_t n, size;
    uint32_t hand; /* goes next, when there are N_ENTRIES */
};

uint64_t ms_recent_hash(const struct ms_key *key)
{
    return em_hash(key->bytes, key->size);
}

void ms_changed_note(struct ms_changed *changed, const struct ms_key *key, uint64_t revision)
{
    atomic_store_explicit(&changed->revisions[ms_recent_hash(key) % MS_CHANGED], revision,
                          memory_order_release);
}

struct ms_recent *ms_recent_new(void)
{
    struct ms_recent *recent = em_calloc(1, sizeof *recent);
    em_index_init(&recent->index);
    return recent;
}

void ms_recent_free(struct ms_recent *recent)
{
    if (!recent)
        return;
    em_index_fini(&recent->index);
    free(recent->entries);
    free(recent);
}

static bool has_key(const void *aux, uint32_t slot, const void *key_)
{
    const struct entry *entry = &((const struct ms_recent *)aux)->entries[slot];
    const struct ms_key *key = key_;
    return entry->key_size == key->size && !memcmp(entry->key, key->bytes, key->size);
}

static uint32_t find(const struct ms_recent *recent, uint64_t hash, const struct ms_key *key)
{
    return em_index_find(&recent->index, hash, has_key, recent, key);
}

void ms_recent_fetch(const struct ms_recent *recent, const struct ms_changed *changed,
                     uint64_t hash)
{
    em_index_prefetch(&recent->index, hash);
    __builtin_prefetch(&changed->revisions[hash % MS_CHANGED]);
}

void ms_recent_fetch_more(const struct ms_recent *recent, uint64_t hash)
{
    uint32_t slot = em_index_peek(&recent->index, hash);
    if (slot == EM_INDEX_NONE)
        return;
    __builtin_prefetch(&recent->entries[slot]);
    __builtin_prefetch((const char *)&recent->entries[slot] + LINE);
}

bool ms_recent_find(const struct ms_recent *recent, const struct ms_seen *seen,
                    const struct ms_key *key, uint64_t hash, struct ms_blob *ret_port)
{
    uint32_t slot = find(recent, hash, key);
    if (slot == EM_INDEX_NONE)
        return false;
    const struct entry *entry = &recent->entries[slot];
    uint64_t changed =
        atomic_load_explicit(&seen->changed->revisions[hash % MS_CHANGED], memory_order_acquire);
    *ret_port = ms_blob(entry->port, entry->port_size);
    return entry->generation == (uint32_t)seen->generation && entry->revision >= changed &&
           entry->revision <= seen->revision;
}

static void grow(struct ms_recent *recent)
{
    recent->size = recent->size ? recent->size * 2 : 64;
    struct entry *entries = em_aligned(LINE, recent->size * sizeof(struct entry));
    if (recent->n)
        memcpy(entries, recent->entries, recent->n * sizeof(struct entry));
    free(recent->entries);
    recent->entries = entries;
}

static uint32_t new_slot(struct ms_recent *recent)
{
    if (recent->n == N_ENTRIES) {
        uint32_t slot = recent->hand++ % N_ENTRIES;
        em_index_remove(&recent->index, recent->entries[slot].hash, slot);
        return slot;
    }
    if (recent->n == recent->size)
        grow(recent);
    return recent->n++;
}

void ms_recent_put(struct ms_recent *recent, const struct ms_seen *seen, const struct ms_key *key,
                   uint64_t hash, struct ms_blob port)
{
    if (key->size > KEY_MAX || port.size > PORT_MAX)
        return;
    uint32_t slot = find(recent, hash, key);
    bool is_new = slot == EM_INDEX_NONE;
    if (is_new)
        slot = new_slot(recent);
    struct entry *entry = &recent->entries[slot];
    *entry = (struct entry){
        .hash = hash,
        .revision = seen->revision,
        .generation = (uint32_t)seen->generation,
        .key_size = (uint8_t)key->size,
        .port_size = (uint8_t)port.size,
    };
    memcpy(entry->key, key->bytes, key->size);
    memcpy(entry->port, port.data, port.size);
    if (is_new)
        em_index_insert(&recent->index, hash, slot);
}
