#include "cachefile.h"

#include "eidmap/error.h"
#include "xtr/saved_map.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct xtr_mapcache *cache, *loaded;
static char path[] = "/tmp/eidmap-cachefile-XXXXXX";

static void setup(void)
{
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    cache = saved_map_new();
    loaded = saved_map_new_empty();
}

static void teardown(void)
{
    xtr_mapcache_free(cache);
    xtr_mapcache_free(loaded);
    unlink(path);
}

TestSuite(cachefile, .init = setup, .fini = teardown);

static void write_file(const struct em_buf *bytes)
{
    int fd = open(path, O_WRONLY | O_TRUNC);
    cr_assert(fd >= 0);
    cr_assert(
        eq(sz, (size_t)write(fd, em_buf_head(bytes), em_buf_size(bytes)), em_buf_size(bytes)));
    close(fd);
}

static void save(size_t piece)
{
    struct em_buf bytes;
    saved_map_pack(cache, piece, &bytes);
    write_file(&bytes);
    em_buf_fini(&bytes);
}

static void check_same_port(const struct em_port *a, const struct em_port *b)
{
    cr_assert(eq(u32, a->network_id, b->network_id));
    cr_assert(eq(int, memcmp(&a->id, &b->id, sizeof a->id), 0));
    cr_assert(eq(sz, a->n_eids, b->n_eids));
    for (size_t i = 0; i < a->n_eids; i++)
        cr_assert(eq(int, em_eid_compare(&a->eids[i], &b->eids[i]), 0));
    cr_assert(eq(sz, a->n_locations, b->n_locations));
    cr_assert(eq(str, (char *)a->locations[0].node_id, (char *)b->locations[0].node_id));
    cr_assert(eq(u32, a->locations[0].segmentation_id, b->locations[0].segmentation_id));
}

static uint32_t n_nodes(const struct xtr_mapcache *of)
{
    const struct em_node *node;
    uint32_t n = 0;
    for (uint32_t at = 0; xtr_mapcache_next_node(of, &at, &node); n++)
        cr_assert(node->n_rlocs == 1 && node->n_labels == 1 && node->state == EM_NODE_REACHABLE);
    return n;
}

static void check_same(void)
{
    struct xtr_cursor in_cache = {0}, in_loaded = {0};
    struct em_port a, b;
    while (xtr_mapcache_next_port(cache, &in_cache, &a)) {
        cr_assert(xtr_mapcache_next_port(loaded, &in_loaded, &b));
        check_same_port(&a, &b);
    }
    cr_assert(not(xtr_mapcache_next_port(loaded, &in_loaded, &b)));
    cr_assert(eq(u32, n_nodes(cache), n_nodes(loaded)));
}

Test(cachefile, what_is_saved_is_loaded)
{
    saved_map_feed_ports(cache, 1, 0, 1000, true, true);
    saved_map_feed_ports(cache, 3, 0, 5, true, true);
    save(1 << 20);
    cr_assert(eq(int, saved_map_load(path, loaded), 0));
    cr_assert(eq(u64, xtr_mapcache_counts(loaded).n_remote, 1005));
    cr_assert(not(xtr_mapcache_is_complete(loaded, 0)), "the server has still to say so");
    cr_assert(not(xtr_mapcache_is_complete(loaded, 1)));
    cr_assert(eq(str, (char *)xtr_mapcache_network(loaded, "net2")->name, "net2"));
    check_same();
}

Test(cachefile, children_are_saved_with_their_parent)
{
    const struct em_child child = {.id = {.size = 2, .bytes = "c1"}, .tag = 7, .network_id = 3};
    struct em_port vm = {.id = {.size = 2, .bytes = "vm"}, .children = &child, .n_children = 1};
    struct em_change change = {.object = EM_OBJECT_PORT, .port = &vm};
    struct em_feed page = {
        .network_id = 1, .revision = 9, .changes = &change, .n_changes = 1, .is_complete = true};
    size_t n;
    xtr_mapcache_feed(cache, &page);
    save(1 << 20);
    cr_assert(eq(int, saved_map_load(path, loaded), 0));
    const struct em_child *list = xtr_mapcache_children(loaded, 1, &vm.id, &n);
    cr_assert(eq(sz, n, 1));
    cr_assert(list[0].tag == 7 && list[0].network_id == 3 && list[0].id.bytes[1] == '1');
}

Test(cachefile, each_network_knows_where_its_feed_goes_on)
{
    struct xtr_cachefile *file;
    struct xtr_cachepoint point;
    saved_map_feed_ports(cache, 1, 0, 10, true, true);
    save(1 << 20);
    cr_assert(eq(int, xtr_cachefile_open(path, "h0", &file), 0));
    for (uint32_t i = 0; i <= 3; i++) {
        cr_assert(xtr_cachefile_find(file, i, &point));
        cr_assert(eq(u64, point.revision, 100 + i));
    }
    cr_assert(not(xtr_cachefile_find(file, 4, &point)));
    cr_assert(eq(int, memcmp(xtr_cachefile_cluster(file), "cluster of tests", 16), 0));
    xtr_cachefile_close(file);
}

Test(cachefile, the_size_of_its_pieces_does_not_matter)
{
    saved_map_feed_ports(cache, 1, 0, 3000, true, true);
    for (size_t piece = 1; piece < 100000; piece = piece * 7 + 60) {
        save(piece);
        cr_assert(eq(int, saved_map_load(path, loaded), 0));
        check_same();
    }
}

/* A change between two pieces is shown again by the feed: from the saved revision on. */
Test(cachefile, it_may_change_while_it_is_packed)
{
    const struct xtr_cachepoint points[] = {{0, 100}, {1, 101}};
    struct xtr_cachepack pack;
    struct em_buf bytes, all;
    bool is_done = false;
    uint32_t next = 1000;
    saved_map_feed_ports(cache, 1, 0, next, true, true);
    em_buf_init(&all);
    xtr_cachepack_init(&pack, (const uint8_t *)"cluster of tests", "h0", points, 2);
    while (!is_done) {
        is_done = xtr_cachepack_more(&pack, cache, 1000);
        xtr_cachepack_take(&pack, &bytes);
        em_buf_append(&all, em_buf_head(&bytes), em_buf_size(&bytes));
        em_buf_fini(&bytes);
        saved_map_feed_ports(cache, 1, next, 3, false, true);
        next += 3;
    }
    xtr_cachepack_fini(&pack);
    write_file(&all);
    em_buf_fini(&all);
    cr_assert(eq(int, saved_map_load(path, loaded), 0));
    cr_assert(xtr_mapcache_counts(loaded).n_remote < next, "some came too late");
    saved_map_feed_ports(loaded, 1, 1000, next - 1000, false, true);
    check_same();
}

Test(cachefile, what_is_kept_and_why_is_saved_too)
{
    saved_map_feed_ports(cache, 1, 0, 10, true, true);
    xtr_guard_session(xtr_mapcache_guard(cache), "ms1");
    saved_map_feed_ports(cache, 1, 0, 2, true, true);
    cr_assert(eq(u64, xtr_mapcache_kept(cache, 1), 8));
    save(1 << 20);
    cr_assert(eq(int, saved_map_load(path, loaded), 0));
    cr_assert(eq(u64, xtr_mapcache_kept(loaded, 1), 8));
    cr_assert(eq(u64, xtr_mapcache_kept(loaded, 2), 0));
    const struct xtr_doubt *doubt = xtr_mapcache_doubt(loaded, 1);
    cr_assert(doubt != NULL);
    cr_assert(eq(str, (char *)doubt->server_id, "ms1"));
    cr_assert(not(doubt->is_other_map));
    saved_map_feed_ports(loaded, 1, 5, 1, false, true);
    cr_assert(eq(u64, xtr_mapcache_kept(loaded, 1), 7));
    cr_assert(eq(u64, xtr_mapcache_let_go(loaded, 1), 7));
    cr_assert(eq(u64, xtr_mapcache_counts(loaded).n_remote, 3));
}

Test(cachefile, every_flipped_byte_and_every_cut_is_noticed)
{
    struct em_buf bytes;
    saved_map_feed_ports(cache, 1, 0, 3, true, true);
    saved_map_pack(cache, 1 << 20, &bytes);
    for (size_t at = 0; at < em_buf_size(&bytes); at++) {
        uint8_t *byte = em_buf_head(&bytes) + at;
        *byte ^= 0x40;
        write_file(&bytes);
        cr_assert(
            eq(int, saved_map_load(path, loaded), at == 7 ? EM_E_UNSUPPORTED : EM_E_MALFORMED),
            "byte %zu", at);
        *byte ^= 0x40;
        write_file(&bytes);
        cr_assert(eq(int, truncate(path, (off_t)at), 0));
        cr_assert(eq(int, saved_map_load(path, loaded), EM_E_MALFORMED), "cut at %zu", at);
    }
    em_buf_append(&bytes, "", 1);
    write_file(&bytes);
    cr_assert(eq(int, saved_map_load(path, loaded), EM_E_MALFORMED), "more behind the end");
    em_buf_fini(&bytes);
    cr_assert(eq(u64, xtr_mapcache_counts(loaded).n_remote, 0), "nothing of it was taken");
}

Test(cachefile, no_file_is_no_file)
{
    struct xtr_cachefile *file;
    cr_assert(eq(int, xtr_cachefile_open("/nonexistent/eidmap", "h0", &file), -ENOENT));
}

Test(cachefile, another_nodes_file_is_none)
{
    struct xtr_cachefile *file;
    save(1 << 20);
    cr_assert(eq(int, xtr_cachefile_open(path, "h1", &file), EM_E_CONFLICT));
}
