/* The deep copies follow the model field by field: a pointer that is added there must be
 * copied here, or it dangles after the callback that showed it. */
#include "record.h"

#include "base/mem.h"

#include <stdlib.h>

/* The model's pointers are const because most users only read; a copy owns them. */
static void drop(const void *owned)
{
    free((void *)(uintptr_t)owned);
}

struct em_node *xtr_record_copy_node(const struct em_node *node)
{
    struct em_node *copy = em_memdup(node, sizeof *node);
    copy->id = em_strdup(node->id);
    copy->version = em_strdup(node->version ? node->version : "");
    copy->rlocs = em_memdup(node->rlocs, node->n_rlocs * sizeof *node->rlocs);
    struct em_label *labels = em_calloc(node->n_labels, sizeof *labels);
    for (size_t i = 0; i < node->n_labels; i++)
        labels[i] =
            (struct em_label){em_strdup(node->labels[i].key), em_strdup(node->labels[i].value)};
    copy->labels = labels;
    return copy;
}

void xtr_record_free_node(struct em_node *node)
{
    if (!node)
        return;
    for (size_t i = 0; i < node->n_labels; i++) {
        drop(node->labels[i].key);
        drop(node->labels[i].value);
    }
    drop(node->labels);
    drop(node->rlocs);
    drop(node->version);
    drop(node->id);
    free(node);
}

struct em_network *xtr_record_copy_network(const struct em_network *network)
{
    struct em_network *copy = em_memdup(network, sizeof *network);
    copy->name = em_strdup(network->name);
    copy->dns_domain = em_strdup(network->dns_domain ? network->dns_domain : "");
    copy->subnets = em_memdup(network->subnets, network->n_subnets * sizeof *network->subnets);
    return copy;
}

void xtr_record_free_network(struct em_network *network)
{
    if (!network)
        return;
    drop(network->subnets);
    drop(network->dns_domain);
    drop(network->name);
    free(network);
}
