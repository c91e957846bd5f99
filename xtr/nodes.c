/* Entries are counted by the locations that name them and kept while the map has a record;
 * whichever ends last frees the entry.  What a location needs to know of a node (is it of
 * use, where is it) is worked out when the record comes, not when it is asked for. */
#include "nodes.h"

#include "base/mem.h"
#include "record.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool has_id(const void *aux, uint32_t slot, const void *key)
{
    const struct xtr_nodes *nodes = aux;
    return !strcmp(nodes->items[slot]->id, key);
}

struct xtr_node *xtr_nodes_find(const struct xtr_nodes *nodes, const char *id)
{
    uint32_t slot = em_index_find(&nodes->index, em_hash(id, strlen(id)), has_id, nodes, id);
    return slot == EM_INDEX_NONE ? NULL : nodes->items[slot];
}

static uint32_t free_slot(struct xtr_nodes *nodes)
{
    for (uint32_t i = nodes->n_items; i-- > 0;)
        if (!nodes->items[i])
            return i;
    uint32_t old = nodes->n_items;
    nodes->n_items = old ? old * 2 : 16;
    nodes->items = em_realloc(nodes->items, nodes->n_items * sizeof(struct xtr_node *));
    memset(nodes->items + old, 0, (nodes->n_items - old) * sizeof(struct xtr_node *));
    return old;
}

static struct xtr_node *obtain(struct xtr_nodes *nodes, const char *id)
{
    struct xtr_node *node = xtr_nodes_find(nodes, id);
    if (node)
        return node;
    node = em_calloc(1, sizeof *node);
    node->id = em_strdup(id);
    node->slot = free_slot(nodes);
    em_list_init(&node->locations);
    nodes->items[node->slot] = node;
    em_index_insert(&nodes->index, em_hash(id, strlen(id)), node->slot);
    return node;
}

static void node_free(struct xtr_node *node)
{
    xtr_record_free_node(node->record);
    free(node->id);
    free(node);
}

static void drop_if_unused(struct xtr_nodes *nodes, struct xtr_node *node)
{
    if (node->refs || node->record)
        return;
    assert(em_list_is_empty(&node->locations));
    em_index_remove(&nodes->index, em_hash(node->id, strlen(node->id)), node->slot);
    nodes->items[node->slot] = NULL;
    node_free(node);
}

void xtr_nodes_init(struct xtr_nodes *nodes, const char *self_id, bool has_ipv4, bool has_ipv6)
{
    *nodes = (struct xtr_nodes){.has_ipv4 = has_ipv4, .has_ipv6 = has_ipv6};
    em_index_init(&nodes->index);
    nodes->self = xtr_nodes_ref(nodes, self_id);
}

void xtr_nodes_fini(struct xtr_nodes *nodes)
{
    for (uint32_t i = 0; i < nodes->n_items; i++)
        if (nodes->items[i])
            node_free(nodes->items[i]);
    free(nodes->items);
    em_index_fini(&nodes->index);
}

struct xtr_node *xtr_nodes_ref(struct xtr_nodes *nodes, const char *id)
{
    struct xtr_node *node = obtain(nodes, id);
    node->refs++;
    return node;
}

void xtr_nodes_unref(struct xtr_nodes *nodes, struct xtr_node *node)
{
    assert(node->refs > 0);
    node->refs--;
    drop_if_unused(nodes, node);
}

/* The first RLOC in the node's order of preference that we can send to. */
static const struct em_rloc *pick_rloc(const struct xtr_nodes *nodes, const struct em_node *record)
{
    for (size_t i = 0; i < record->n_rlocs; i++) {
        const struct em_rloc *rloc = &record->rlocs[i];
        bool is_ours = rloc->ip.size == 4 ? nodes->has_ipv4 : nodes->has_ipv6;
        bool is_spoken = nodes->has_all_encaps || !rloc->encap || rloc->encap == EM_ENCAP_VXLAN;
        if (is_ours && is_spoken && em_ip_is_usable(rloc->ip.addr, rloc->ip.size))
            return rloc;
    }
    return NULL;
}

static void derive(const struct xtr_nodes *nodes, struct xtr_node *node)
{
    const struct em_node *record = node->record;
    const struct em_rloc *rloc = record ? pick_rloc(nodes, record) : NULL;
    bool is_meant = record && node != nodes->self && !record->is_disabled;
    node->is_usable = rloc && is_meant;
    node->is_stranded = !rloc && is_meant && record->n_rlocs;
    if (!rloc)
        return;
    node->ip = rloc->ip;
    node->encap = rloc->encap ? rloc->encap : EM_ENCAP_VXLAN;
    node->udp_port = rloc->udp_port;
    if (node->encap == EM_ENCAP_VXLAN && !node->udp_port)
        node->udp_port = EM_VXLAN_UDP_PORT;
}

struct dp_target xtr_node_target(const struct xtr_node *node, uint32_t segmentation_id,
                                 uint8_t weight, uint16_t own_port)
{
    bool is_own = node->encap == EM_ENCAP_VXLAN && node->udp_port == own_port;
    return (struct dp_target){
        .ip = node->ip,
        .encap = node->encap,
        .udp_port = is_own ? 0 : node->udp_port,
        .weight = weight,
        .segmentation_id = segmentation_id,
    };
}

bool xtr_is_same_target(const struct dp_target *a, const struct dp_target *b)
{
    return a->segmentation_id == b->segmentation_id && a->udp_port == b->udp_port &&
           a->encap == b->encap && em_ip_equal(&a->ip, &b->ip);
}

struct xtr_node *xtr_nodes_put(struct xtr_nodes *nodes, const struct em_node *record)
{
    struct xtr_node *node = obtain(nodes, record->id);
    struct em_node *old = node->record;
    node->record = xtr_record_copy_node(record);
    xtr_record_free_node(old);
    derive(nodes, node);
    return node;
}

void xtr_nodes_forget(struct xtr_nodes *nodes, struct xtr_node *node)
{
    xtr_record_free_node(node->record);
    node->record = NULL;
    derive(nodes, node);
    drop_if_unused(nodes, node);
}

bool xtr_node_is_reachable(const struct xtr_node *node)
{
    return node->record && node->record->state != EM_NODE_UNREACHABLE && !node->is_silent;
}
