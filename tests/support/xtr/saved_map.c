#include "xtr/saved_map.h"

#include "eidmap/error.h"

#include <stdio.h>
#include <stdlib.h>

#define N_NETWORKS 3
#define N_NODES    9
#define PAGE       256

struct xtr_mapcache *saved_map_new_empty(void)
{
    struct xtr_mapcache_config config = {
        .node_id = "h0", .has_ipv4 = true, .udp_port = 4789, .shrink_percent = 50};
    return xtr_mapcache_new(&config);
}

static void feed(struct xtr_mapcache *cache, uint32_t network_id, const struct em_change *change)
{
    struct em_feed page = {.network_id = network_id,
                           .revision = 1,
                           .changes = change,
                           .n_changes = 1,
                           .is_complete = true};
    xtr_mapcache_feed(cache, &page);
}

struct xtr_mapcache *saved_map_new(void)
{
    struct xtr_mapcache *cache = saved_map_new_empty();
    char name[16];
    for (uint8_t i = 1; i <= N_NODES; i++) {
        struct em_rloc rloc = {.ip = {.size = 4, .addr = {10, 0, 0, i}}, .encap = EM_ENCAP_VXLAN};
        struct em_label label = {"rack", "9"};
        struct em_node node = {.id = name,
                               .rlocs = &rloc,
                               .n_rlocs = 1,
                               .labels = &label,
                               .n_labels = 1,
                               .state = EM_NODE_REACHABLE,
                               .version = "xtr"};
        snprintf(name, sizeof name, "h%u", i);
        feed(cache, 0, &(struct em_change){.object = EM_OBJECT_NODE, .node = &node});
    }
    for (uint32_t i = 1; i <= N_NETWORKS; i++) {
        struct em_network network = {.id = i,
                                     .name = name,
                                     .type = EM_NETWORK_OVERLAY,
                                     .segmentation_id = 1000 + i,
                                     .flood = EM_FLOOD_BROADCAST,
                                     .fill = EM_FILL_SUBSCRIBE};
        snprintf(name, sizeof name, "net%u", i);
        feed(cache, 0, &(struct em_change){.object = EM_OBJECT_NETWORK, .network = &network});
        (void)xtr_mapcache_open(cache, i, 0);
    }
    return cache;
}

struct record {
    struct em_port port;
    struct em_eid eids[2];
    struct em_location location;
    char node[8];
};

static void make_port(struct record *r, uint32_t network_id, uint32_t i)
{
    *r = (struct record){.eids = {{.kind = EM_EID_MAC, .size = 6, .addr = {2}},
                                  {.kind = EM_EID_IPV4, .size = 4, .addr = {10}}}};
    snprintf(r->node, sizeof r->node, "h%u", i % N_NODES + 1);
    r->location = (struct em_location){.node_id = r->node, .segmentation_id = 1000 + network_id};
    r->port = (struct em_port){.id.size = 17,
                               .network_id = network_id,
                               .eids = r->eids,
                               .n_eids = 2,
                               .locations = &r->location,
                               .n_locations = 1};
    r->port.id.bytes[8] = (uint8_t)network_id;
    for (int k = 0; k < 3; k++) {
        uint8_t byte = (uint8_t)(i >> 8 * k);
        r->port.id.bytes[16 - k] = byte;
        r->eids[0].addr[5 - k] = byte;
        r->eids[1].addr[3 - k] = byte;
    }
}

void saved_map_feed_ports(struct xtr_mapcache *cache, uint32_t network_id, uint32_t first,
                          uint32_t n, bool is_start_over, bool is_complete)
{
    static struct record records[PAGE];
    static struct em_change changes[PAGE];
    uint32_t done = 0;
    do {
        struct em_feed page = {.network_id = network_id,
                               .revision = 2,
                               .changes = changes,
                               .is_start_over = is_start_over && !done};
        for (; page.n_changes < PAGE && done < n; page.n_changes++, done++) {
            make_port(&records[page.n_changes], network_id, first + done);
            changes[page.n_changes] =
                (struct em_change){.object = EM_OBJECT_PORT, .port = &records[page.n_changes].port};
        }
        page.is_complete = is_complete && done == n;
        xtr_mapcache_feed(cache, &page);
    } while (done < n);
}

void saved_map_pack(const struct xtr_mapcache *cache, size_t piece, struct em_buf *ret_bytes)
{
    static const uint8_t cluster_id[16] = "cluster of tests";
    const struct xtr_cachepoint points[] = {{0, 100}, {1, 101}, {2, 102}, {3, 103}};
    struct xtr_cachepack pack;
    struct em_buf bytes;
    bool is_done;
    em_buf_init(ret_bytes);
    xtr_cachepack_init(&pack, cluster_id, "h0", points, 4);
    do {
        is_done = xtr_cachepack_more(&pack, cache, piece);
        xtr_cachepack_take(&pack, &bytes);
        em_buf_append(ret_bytes, em_buf_head(&bytes), em_buf_size(&bytes));
        em_buf_fini(&bytes);
    } while (!is_done);
    xtr_cachepack_fini(&pack);
}

int saved_map_load(const char *path, struct xtr_mapcache *cache)
{
    struct xtr_cachefile *file;
    int r = xtr_cachefile_open(path, "h0", &file);
    if (r)
        return r;
    r = xtr_cachefile_load(file, 0, cache);
    for (uint32_t i = 1; i <= N_NETWORKS && !r; i++)
        if (!xtr_mapcache_open(cache, i, 0))
            r = xtr_cachefile_load(file, i, cache);
    xtr_cachefile_close(file);
    return r;
}
