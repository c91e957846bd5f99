/* Addresses, by themselves and by their MAC: what a port may say of itself hangs on its addresses,
 * and the map may have told any number of others first. */
#include "ovs.h"

#include <string.h>

static struct dp_table *table_of(struct dp *dp, const struct em_ip *ip)
{
    return ip->size == 4 ? &dp->neighs4 : &dp->neighs6;
}

/* The key of either table: both begin alike. */
static struct dp_neigh6_rec key_of(uint32_t network_id, const struct em_ip *ip)
{
    struct dp_neigh6_rec key = {.network_id = network_id};
    memcpy(key.addr, ip->addr, ip->size);
    return key;
}

struct dp_neigh_ref ovs_neigh(struct dp *dp, uint32_t network_id, const struct em_ip *ip)
{
    struct dp_neigh6_rec key = key_of(network_id, ip);
    struct dp_table *table = table_of(dp, ip);
    return dp_shadow_refer(table, dp_table_find(table, &key));
}

/* ---- by MAC */

static struct em_index *index_of(struct dp *dp, const struct dp_table *table)
{
    return &dp->by_mac[table == &dp->neighs6];
}

static uint64_t hash_of(uint32_t network_id, const uint8_t *mac)
{
    struct dp_mac_rec key = {.network_id = network_id};
    memcpy(key.mac, mac, EM_MAC_SIZE);
    return em_hash(&key, offsetof(struct dp_mac_rec, flags));
}

static uint64_t hash_at(struct dp_table *table, uint32_t slot)
{
    uint32_t network_id;
    struct em_ip ip;
    struct dp_neigh_ref ref = dp_shadow_neigh_at(table, slot, &network_id, &ip);
    return hash_of(network_id, ref.mac);
}

static uint32_t slot_of(struct dp_neigh_ref ref)
{
    return dp_table_slot(ref.table, ref.record);
}

struct dp_neigh_ref ovs_neigh_set(struct dp *dp, uint32_t network_id, const struct em_ip *ip,
                                  const uint8_t *mac)
{
    struct dp_neigh6_rec key = key_of(network_id, ip);
    struct dp_table *table = table_of(dp, ip);
    struct em_index *index = index_of(dp, table);
    struct dp_neigh_ref ref = ovs_neigh(dp, network_id, ip);

    if (ref.record)
        em_index_remove(index, hash_of(network_id, ref.mac), slot_of(ref));
    else
        ref = dp_shadow_refer(table, dp_table_put(table, &key));
    memcpy(ref.mac, mac, EM_MAC_SIZE);
    em_index_insert(index, hash_of(network_id, mac), slot_of(ref));
    return ref;
}

/* The last record takes its place. */
void ovs_neigh_drop(struct dp *dp, struct dp_neigh_ref ref)
{
    struct em_index *index = index_of(dp, ref.table);
    uint32_t slot = slot_of(ref), last = ref.table->len - 1;

    em_index_remove(index, hash_at(ref.table, slot), slot);
    if (slot != last)
        em_index_move(index, hash_at(ref.table, last), last, slot);
    dp_table_remove(ref.table, ref.record);
}

struct search {
    struct dp *dp;
    struct dp_table *table;
    uint32_t network_id;
    const uint8_t *mac;
    ovs_neigh_fn *visit;
};

/* Says of none that it is the one, so that all are shown; 'key' counts them. */
static bool see(const void *aux, uint32_t slot, const void *key)
{
    const struct search *search = aux;
    uint32_t network_id, *n = (uint32_t *)key;
    struct em_ip ip;
    struct dp_neigh_ref ref = dp_shadow_neigh_at(search->table, slot, &network_id, &ip);

    if (network_id != search->network_id || memcmp(ref.mac, search->mac, EM_MAC_SIZE) != 0)
        return false;
    ++*n;
    if (search->visit)
        search->visit(search->dp, network_id, &ip, search->mac);
    return false;
}

uint32_t ovs_neighs_of_mac(struct dp *dp, uint32_t network_id, const uint8_t *mac,
                           ovs_neigh_fn *visit)
{
    struct dp_table *tables[] = {&dp->neighs4, &dp->neighs6};
    uint64_t hash = hash_of(network_id, mac);
    uint32_t n = 0;

    for (size_t i = 0; i < 2; i++) {
        const struct search search = {dp, tables[i], network_id, mac, visit};
        (void)em_index_find(&dp->by_mac[i], hash, see, &search, &n);
    }
    return n;
}
