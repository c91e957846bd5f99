/* What is programmed.  One generic table over base/hash.h, instanced for each record type. */
#include "shadow.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define KEY_SIZE 32u /* the longest */

/* What the last call was about.  An op looks for its record several times, and is completed
 * in the order in which it was queued: half of an installation would be hashing. */
struct dp_memo {
    bool has_key, has_hash;
    uint8_t key[KEY_SIZE];
    uint64_t hash;
    uint32_t slot; /* of the key, or EM_INDEX_NONE */
    uint32_t last; /* that was found or put */
};

void dp_table_init(struct dp_table *table, size_t record_size, size_t key_size)
{
    assert(key_size <= record_size && record_size <= UINT16_MAX && key_size <= KEY_SIZE);
    *table =
        (struct dp_table){.record_size = (uint16_t)record_size, .key_size = (uint16_t)key_size};
    table->memo = em_calloc(1, sizeof(*table->memo));
    for (size_t i = 0; i < DP_PARTS; i++)
        em_index_init(&table->index[i]);
}

void dp_table_fini(struct dp_table *table)
{
    for (uint32_t i = 0; i < table->n_chunks; i++)
        free(table->chunks[i]);
    free(table->chunks);
    free(table->memo);
    for (size_t i = 0; i < DP_PARTS; i++)
        em_index_fini(&table->index[i]);
}

/* The sizes of the large tables' keys are spelled out: the compiler then needs no call. */
static inline bool is_same_key(const struct dp_table *table, const void *a, const void *b)
{
    switch (table->key_size) {
    case 4:
        return memcmp(a, b, 4) == 0;
    case 8:
        return memcmp(a, b, 8) == 0;
    case 10:
        return memcmp(a, b, 10) == 0;
    }
    return memcmp(a, b, table->key_size) == 0;
}

static bool has_key(const void *aux, uint32_t slot, const void *key)
{
    const struct dp_table *table = aux;
    return is_same_key(table, dp_table_at(table, slot), key);
}

static struct em_index *part_of(const struct dp_table *table, uint64_t hash)
{
    return (struct em_index *)&table->index[(hash >> 32) % DP_PARTS];
}

static uint64_t hash_of(const struct dp_table *table, const void *key)
{
    struct dp_memo *memo = table->memo;

    if (!memo->has_hash) {
        memo->hash = em_hash(key, table->key_size);
        memo->has_hash = true;
    }
    return memo->hash;
}

/* Makes 'key' the memo's. */
static void look_for(const struct dp_table *table, const void *key)
{
    struct dp_memo *memo = table->memo;
    uint32_t next = memo->last + 1;

    if (memo->has_key && is_same_key(table, memo->key, key))
        return;
    memo->has_key = true;
    memo->has_hash = false;
    memcpy(memo->key, key, table->key_size);
    if (next < table->len && has_key(table, next, key))
        memo->slot = next;
    else
        memo->slot = em_index_find(part_of(table, hash_of(table, key)), hash_of(table, key),
                                   has_key, table, key);
}

void *dp_table_find(const struct dp_table *table, const void *key)
{
    struct dp_memo *memo = table->memo;

    look_for(table, key);
    if (memo->slot == EM_INDEX_NONE)
        return NULL;
    memo->last = memo->slot;
    return dp_table_at(table, memo->slot);
}

void dp_table_prefetch(const struct dp_table *table, const void *key)
{
    uint64_t hash = em_hash(key, table->key_size);
    em_index_prefetch(part_of(table, hash), hash);
}

uint32_t dp_table_slot(const struct dp_table *table, const void *record)
{
    look_for(table, record);
    return table->memo->slot;
}

void *dp_table_put(struct dp_table *table, const void *key)
{
    look_for(table, key);
    assert(table->memo->slot == EM_INDEX_NONE);
    if (table->len / DP_CHUNK == table->n_chunks) {
        table->chunks = em_realloc(table->chunks, (table->n_chunks + 1) * sizeof(uint8_t *));
        table->chunks[table->n_chunks++] = em_malloc((size_t)DP_CHUNK * table->record_size);
    }
    uint8_t *record = dp_table_at(table, table->len);
    memcpy(record, key, table->key_size);
    memset(record + table->key_size, 0, table->record_size - table->key_size);
    em_index_insert(part_of(table, hash_of(table, key)), hash_of(table, key), table->len);
    table->memo->slot = table->memo->last = table->len++;
    return record;
}

void dp_table_remove(struct dp_table *table, void *record)
{
    uint32_t last = table->len - 1;

    look_for(table, record);
    uint32_t slot = table->memo->slot;
    assert(slot <= last && dp_table_at(table, slot) == record);
    em_index_remove(part_of(table, hash_of(table, record)), hash_of(table, record), slot);
    table->memo->has_key = false;
    if (slot != last) {
        const void *moved = dp_table_at(table, last);
        uint64_t hash = em_hash(moved, table->key_size);
        em_index_move(part_of(table, hash), hash, last, slot);
        memcpy(record, moved, table->record_size);
    }
    table->len = last;
}

void dp_shadow_init(struct dp_shadow *shadow)
{
    dp_table_init(&shadow->networks, sizeof(struct dp_network_rec), sizeof(uint32_t));
    dp_table_init(&shadow->ports, sizeof(struct dp_port_rec),
                  offsetof(struct dp_port_rec, ifindex));
    dp_table_init(&shadow->devices, sizeof(struct dp_device_rec), sizeof(uint32_t));
    dp_table_init(&shadow->sets, sizeof(struct dp_set_rec), sizeof(uint32_t));
    dp_table_init(&shadow->groups, sizeof(struct dp_group_rec), sizeof(uint32_t));
    dp_table_init(&shadow->nexthops, sizeof(struct dp_nexthop_rec),
                  offsetof(struct dp_nexthop_rec, addr) + 16);
    dp_table_init(&shadow->nexthop_ids, sizeof(uint32_t), sizeof(uint32_t));
    dp_table_init(&shadow->copies, sizeof(struct dp_copy_rec), offsetof(struct dp_copy_rec, flags));
    dp_table_init(&shadow->macs, sizeof(struct dp_mac_rec), offsetof(struct dp_mac_rec, flags));
    dp_table_init(&shadow->neighs4, sizeof(struct dp_neigh4_rec),
                  offsetof(struct dp_neigh4_rec, flags));
    dp_table_init(&shadow->neighs6, sizeof(struct dp_neigh6_rec),
                  offsetof(struct dp_neigh6_rec, flags));
    dp_table_init(&shadow->floods, sizeof(struct dp_flood_rec),
                  offsetof(struct dp_flood_rec, flags));
}

void dp_shadow_fini(struct dp_shadow *shadow)
{
    for (uint32_t i = 0; i < shadow->sets.len; i++)
        free(((struct dp_set_rec *)dp_table_at(&shadow->sets, i))->members);
    for (uint32_t i = 0; i < shadow->groups.len; i++)
        free(((struct dp_group_rec *)dp_table_at(&shadow->groups, i))->members);
    dp_table_fini(&shadow->networks);
    dp_table_fini(&shadow->ports);
    dp_table_fini(&shadow->devices);
    dp_table_fini(&shadow->sets);
    dp_table_fini(&shadow->groups);
    dp_table_fini(&shadow->nexthops);
    dp_table_fini(&shadow->nexthop_ids);
    dp_table_fini(&shadow->copies);
    dp_table_fini(&shadow->macs);
    dp_table_fini(&shadow->neighs4);
    dp_table_fini(&shadow->neighs6);
    dp_table_fini(&shadow->floods);
}

struct dp_network_rec *dp_shadow_network(const struct dp_shadow *shadow, uint32_t network_id)
{
    return dp_table_find(&shadow->networks, &network_id);
}

struct dp_set_rec *dp_shadow_set(const struct dp_shadow *shadow, uint32_t set_id)
{
    return dp_table_find(&shadow->sets, &set_id);
}

struct dp_device_rec *dp_shadow_device(const struct dp_shadow *shadow, uint32_t ifindex)
{
    return dp_table_find(&shadow->devices, &ifindex);
}

void dp_shadow_set_device(struct dp_shadow *shadow, uint32_t ifindex, uint32_t network_id, int role)
{
    struct dp_device_rec *device = dp_shadow_device(shadow, ifindex);

    if (!device)
        device = dp_table_put(&shadow->devices, &ifindex);
    device->network_id = network_id;
    device->role = role;
}

void dp_shadow_drop_device(struct dp_shadow *shadow, uint32_t ifindex)
{
    struct dp_device_rec *device = dp_shadow_device(shadow, ifindex);
    if (device)
        dp_table_remove(&shadow->devices, device);
}

static struct dp_mac_rec mac_key(uint32_t network_id, const uint8_t *mac)
{
    struct dp_mac_rec key = {.network_id = network_id};
    memcpy(key.mac, mac, EM_MAC_SIZE);
    return key;
}

struct dp_mac_rec *dp_shadow_mac(const struct dp_shadow *shadow, uint32_t network_id,
                                 const uint8_t *mac)
{
    struct dp_mac_rec key = mac_key(network_id, mac);
    return dp_table_find(&shadow->macs, &key);
}

void dp_shadow_prefetch_mac(const struct dp_shadow *shadow, uint32_t network_id, const uint8_t *mac)
{
    struct dp_mac_rec key = mac_key(network_id, mac);
    dp_table_prefetch(&shadow->macs, &key);
}

struct dp_mac_rec *dp_shadow_put_mac(struct dp_shadow *shadow, uint32_t network_id,
                                     const uint8_t *mac)
{
    struct dp_mac_rec key = mac_key(network_id, mac);
    struct dp_network_rec *network = dp_shadow_network(shadow, network_id);

    if (network)
        network->n_macs++;
    return dp_table_put(&shadow->macs, &key);
}

void dp_shadow_remove_mac(struct dp_shadow *shadow, struct dp_mac_rec *record)
{
    struct dp_network_rec *network = dp_shadow_network(shadow, record->network_id);

    if (network)
        network->n_macs--;
    dp_table_remove(&shadow->macs, record);
}

struct dp_neigh_ref dp_shadow_refer(struct dp_table *table, void *record)
{
    struct dp_neigh_ref ref = {.table = table, .record = record};

    if (!record)
        return ref;
    if (table->record_size == sizeof(struct dp_neigh6_rec)) {
        ref.flags = &((struct dp_neigh6_rec *)record)->flags;
        ref.mac = ((struct dp_neigh6_rec *)record)->mac;
    } else {
        ref.flags = &((struct dp_neigh4_rec *)record)->flags;
        ref.mac = ((struct dp_neigh4_rec *)record)->mac;
    }
    return ref;
}

/* Both kinds of record begin alike: network, then the address. */
static struct dp_neigh6_rec neigh_key(uint32_t network_id, const struct em_ip *ip)
{
    struct dp_neigh6_rec key = {.network_id = network_id};
    assert(ip->size == 4 || ip->size == 16);
    memcpy(key.addr, ip->addr, ip->size);
    return key;
}

static struct dp_table *neigh_table(struct dp_shadow *shadow, const struct em_ip *ip)
{
    return ip->size == 16 ? &shadow->neighs6 : &shadow->neighs4;
}

struct dp_neigh_ref dp_shadow_neigh(struct dp_shadow *shadow, uint32_t network_id,
                                    const struct em_ip *ip)
{
    struct dp_table *table = neigh_table(shadow, ip);
    struct dp_neigh6_rec key = neigh_key(network_id, ip);
    return dp_shadow_refer(table, dp_table_find(table, &key));
}

void dp_shadow_prefetch_neigh(struct dp_shadow *shadow, uint32_t network_id, const struct em_ip *ip)
{
    struct dp_neigh6_rec key = neigh_key(network_id, ip);
    dp_table_prefetch(neigh_table(shadow, ip), &key);
}

struct dp_neigh_ref dp_shadow_put_neigh(struct dp_shadow *shadow, uint32_t network_id,
                                        const struct em_ip *ip)
{
    struct dp_table *table = neigh_table(shadow, ip);
    struct dp_neigh6_rec key = neigh_key(network_id, ip);
    return dp_shadow_refer(table, dp_table_put(table, &key));
}

struct dp_neigh_ref dp_shadow_neigh_at(struct dp_table *table, uint32_t i, uint32_t *ret_network,
                                       struct em_ip *ret_ip)
{
    bool is_v6 = table->record_size == sizeof(struct dp_neigh6_rec);
    struct dp_neigh6_rec *record = dp_table_at(table, i);

    *ret_network = record->network_id;
    *ret_ip = (struct em_ip){.size = is_v6 ? 16 : 4};
    memcpy(ret_ip->addr, record->addr, ret_ip->size);
    return dp_shadow_refer(table, record);
}

/* Records whose 16-bit flags lie at 'offset' and which stand for an entry of ours. */
static uint64_t count_standing(const struct dp_table *table, size_t offset)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < table->len; i++) {
        uint16_t flags;
        memcpy(&flags, (uint8_t *)dp_table_at(table, i) + offset, sizeof(flags));
        n += !(flags & (DP_FOREIGN | DP_NEW));
    }
    return n;
}

uint64_t dp_shadow_count(const struct dp_shadow *shadow)
{
    return count_standing(&shadow->macs, offsetof(struct dp_mac_rec, flags)) +
           count_standing(&shadow->neighs4, offsetof(struct dp_neigh4_rec, flags)) +
           count_standing(&shadow->neighs6, offsetof(struct dp_neigh6_rec, flags)) +
           count_standing(&shadow->floods, offsetof(struct dp_flood_rec, flags)) +
           shadow->networks.len + shadow->ports.len + shadow->sets.len + shadow->groups.len +
           shadow->copies.len;
}
