/* What is programmed. */
#include "shadow.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

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
