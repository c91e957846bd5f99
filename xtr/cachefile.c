/* Layout of the file, numbers big-endian: "EIDMAPC1", whose last byte is the version, the
 * cluster's id (16), and a hash of the node's id (8); then records of
 *
 *   size of the body (4), kind (1), network (4), revision (8), body
 *
 * The last is of kind END, and its body the CRC-32C of all before it.  A PAGE's body is a
 * Changes message with its changes only; a KEPT page's, too: of what the map no longer shows;
 * a DOUBT's is why (guard.h): whether the map is another one (1), and the server's id. */
#include "cachefile.h"

#include "base/crc32c.h"
#include "client/reply.h"
#include "eidmap/error.h"
#include "statefile.h"
#include "wire/convert.h"
#include "wire/writer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define MAGIC       "EIDMAPC1"
#define MAGIC_SIZE  8
#define HEAD_SIZE   (MAGIC_SIZE + 16 + 8)
#define RECORD_HEAD 17
#define PAGE_SIZE   (64u << 10)
#define RECORD_MAX  (1u << 20)
#define NO_PAGE     SIZE_MAX

enum kind { KIND_PAGE = 0, KIND_KEPT = 1, KIND_DOUBT = 2, KIND_END = 3 };
enum step { STEP_POINTS, STEP_NODES, STEP_NETWORKS, STEP_PORTS, STEP_END };

/* The same in each process. */
static uint64_t node_hash(const char *node_id)
{
    static const uint64_t key[2] = {0};
    return em_siphash13(key, node_id, strlen(node_id));
}

/* Packing */

static void record_begin(struct xtr_cachepack *pack, enum kind kind, struct xtr_cachepoint point)
{
    uint8_t byte = (uint8_t)kind;
    pack->page = em_buf_size(&pack->bytes);
    pack->kind = kind;
    pack->point = point;
    xtr_put32(&pack->bytes, 0);
    em_buf_append(&pack->bytes, &byte, 1);
    xtr_put32(&pack->bytes, point.network_id);
    xtr_put64(&pack->bytes, point.revision);
}

static void record_end(struct xtr_cachepack *pack)
{
    if (pack->page == NO_PAGE)
        return;
    uint32_t size = (uint32_t)(em_buf_size(&pack->bytes) - pack->page - RECORD_HEAD);
    size = htobe32(size);
    memcpy(em_buf_head(&pack->bytes) + pack->page, &size, sizeof size);
    pack->page = NO_PAGE;
}

static void sum(struct xtr_cachepack *pack)
{
    assert(pack->page == NO_PAGE);
    pack->crc = em_crc32c(pack->crc, em_buf_head(&pack->bytes) + pack->summed,
                          em_buf_size(&pack->bytes) - pack->summed);
    pack->summed = em_buf_size(&pack->bytes);
}

void xtr_cachepack_init(struct xtr_cachepack *pack, const uint8_t cluster_id[16],
                        const char *node_id, const struct xtr_cachepoint *points, size_t n_points)
{
    *pack = (struct xtr_cachepack){.page = NO_PAGE, .n_points = n_points};
    pack->points = em_memdup(points, n_points * sizeof *points);
    em_arena_init(&pack->arena, 0);
    em_buf_init(&pack->bytes);
    em_buf_append(&pack->bytes, MAGIC, MAGIC_SIZE);
    em_buf_append(&pack->bytes, cluster_id, 16);
    xtr_put64(&pack->bytes, node_hash(node_id));
}

void xtr_cachepack_fini(struct xtr_cachepack *pack)
{
    em_arena_fini(&pack->arena);
    em_buf_fini(&pack->bytes);
    free(pack->points);
}

static const struct xtr_cachepoint *find_point(const struct xtr_cachepack *pack,
                                               uint32_t network_id)
{
    for (size_t i = 0; i < pack->n_points; i++)
        if (pack->points[i].network_id == network_id)
            return &pack->points[i];
    return NULL;
}

static void put_change(struct xtr_cachepack *pack, uint32_t network_id, bool is_kept,
                       const Eidmap__Change *change)
{
    enum kind kind = is_kept ? KIND_KEPT : KIND_PAGE;
    if (pack->page == NO_PAGE || pack->kind != kind || pack->point.network_id != network_id ||
        em_buf_size(&pack->bytes) - pack->page > PAGE_SIZE) {
        const struct xtr_cachepoint *point = find_point(pack, network_id);
        if (!point)
            return;
        record_end(pack);
        record_begin(pack, kind, *point);
    }
    size_t at = em_nest_begin(&pack->bytes, 3); /* Changes.changes */
    em_msg_pack(&pack->bytes, &change->base);
    em_nest_end(&pack->bytes, at);
}

/* One record each, so that a network without ports has its revision, too. */
static void put_points(struct xtr_cachepack *pack, const struct xtr_mapcache *cache)
{
    for (size_t i = 0; i < pack->n_points; i++) {
        record_begin(pack, KIND_PAGE, pack->points[i]);
        record_end(pack);
        const struct xtr_doubt *doubt = xtr_mapcache_doubt(cache, pack->points[i].network_id);
        if (!doubt)
            continue;
        uint8_t is_other = doubt->is_other_map;
        record_begin(pack, KIND_DOUBT, pack->points[i]);
        em_buf_append(&pack->bytes, &is_other, 1);
        em_buf_append(&pack->bytes, doubt->server_id, strlen(doubt->server_id));
        record_end(pack);
    }
}

/* The arena's limit is far above any record. */
static bool put_node(struct xtr_cachepack *pack, const struct xtr_mapcache *cache)
{
    const struct em_node *node;
    Eidmap__Change change = EIDMAP__CHANGE__INIT;
    if (!xtr_mapcache_next_node(cache, &pack->node_at, &node))
        return false;
    if ((change.node = em_node_to_msg(&pack->arena, node)))
        put_change(pack, 0, xtr_mapcache_keeps_node(cache, node->id), &change);
    return true;
}

static bool put_network(struct xtr_cachepack *pack, const struct xtr_mapcache *cache)
{
    const struct em_network *network;
    Eidmap__Change change = EIDMAP__CHANGE__INIT;
    if (!xtr_mapcache_next_network(cache, &pack->network_at, &network))
        return false;
    if ((change.network = em_network_to_msg(&pack->arena, network)))
        put_change(pack, 0, xtr_mapcache_keeps_network(cache, network->id), &change);
    return true;
}

static bool put_port(struct xtr_cachepack *pack, const struct xtr_mapcache *cache)
{
    struct em_port port;
    Eidmap__Change change = EIDMAP__CHANGE__INIT;
    if (!xtr_mapcache_next_port(cache, &pack->ports, &port))
        return false;
    if ((change.port = em_port_to_msg(&pack->arena, &port)))
        put_change(pack, port.network_id, pack->ports.is_kept, &change);
    return true;
}

static void put_end(struct xtr_cachepack *pack)
{
    record_end(pack);
    sum(pack);
    record_begin(pack, KIND_END, (struct xtr_cachepoint){0});
    xtr_put32(&pack->bytes, pack->crc);
    record_end(pack);
}

/* False: this step has no more. */
static bool put_next(struct xtr_cachepack *pack, const struct xtr_mapcache *cache)
{
    switch ((enum step)pack->step) {
    case STEP_POINTS:
        put_points(pack, cache);
        return false;
    case STEP_NODES:
        return put_node(pack, cache);
    case STEP_NETWORKS:
        return put_network(pack, cache);
    case STEP_PORTS:
        return put_port(pack, cache);
    case STEP_END:
        break;
    }
    return false;
}

bool xtr_cachepack_more(struct xtr_cachepack *pack, const struct xtr_mapcache *cache, size_t size)
{
    size_t begin = em_buf_size(&pack->bytes);
    while (pack->step != STEP_END && em_buf_size(&pack->bytes) - begin < size) {
        pack->step += !put_next(pack, cache);
        em_arena_reset(&pack->arena);
    }
    if (pack->step != STEP_END)
        return false;
    put_end(pack);
    return true;
}

void xtr_cachepack_take(struct xtr_cachepack *pack, struct em_buf *ret_bytes)
{
    record_end(pack);
    sum(pack);
    *ret_bytes = pack->bytes;
    em_buf_init(&pack->bytes);
    pack->summed = 0;
}

/* Reading */

struct record {
    enum kind kind;
    struct xtr_cachepoint point;
    uint64_t at; /* of the body */
    uint32_t size;
};

struct xtr_cachefile {
    int fd;
    uint8_t cluster_id[16];
    uint64_t node;
    struct record *records;
    size_t n, size;
    uint8_t *body; /* room for the largest */
};

static int read_at(int fd, uint64_t at, void *data, size_t size)
{
    ssize_t n = pread(fd, data, size, (off_t)at);
    if (n < 0)
        return -errno;
    return (size_t)n == size ? 0 : EM_E_MALFORMED;
}

static void add_record(struct xtr_cachefile *file, struct record record)
{
    if (file->n == file->size) {
        file->size = file->size ? file->size * 2 : 64;
        file->records = em_realloc(file->records, file->size * sizeof *file->records);
    }
    file->records[file->n++] = record;
}

/* The sum is of all before it, so its own numbers have to be what they are. */
static bool is_end(const struct record *record, const uint8_t *body, uint32_t crc)
{
    return !record->point.network_id && !record->point.revision && record->size == 4 &&
           xtr_get32(body) == crc;
}

/* Reads the record at *at and goes behind it.  1: it was the end, and the sum is right. */
static int check_record(struct xtr_cachefile *file, uint64_t *at, uint32_t *crc)
{
    uint8_t head[RECORD_HEAD];
    int r = read_at(file->fd, *at, head, sizeof head);
    if (r)
        return r;
    struct record record = {.kind = head[4],
                            .point = {xtr_get32(head + 5), xtr_get64(head + 9)},
                            .at = *at + sizeof head,
                            .size = xtr_get32(head)};
    if (record.kind > KIND_END || record.size > RECORD_MAX)
        return EM_E_MALFORMED;
    r = read_at(file->fd, record.at, file->body, record.size);
    if (r)
        return r;
    *at = record.at + record.size;
    if (record.kind == KIND_END)
        return is_end(&record, file->body, *crc) ? 1 : EM_E_MALFORMED;
    *crc = em_crc32c(em_crc32c(*crc, head, sizeof head), file->body, record.size);
    add_record(file, record);
    return 0;
}

static int check_head(struct xtr_cachefile *file, uint32_t *ret_crc)
{
    uint8_t head[HEAD_SIZE];
    int r = read_at(file->fd, 0, head, sizeof head);
    if (r)
        return r;
    if (memcmp(head, MAGIC, MAGIC_SIZE))
        return memcmp(head, MAGIC, MAGIC_SIZE - 1) ? EM_E_MALFORMED : EM_E_UNSUPPORTED;
    memcpy(file->cluster_id, head + MAGIC_SIZE, sizeof file->cluster_id);
    *ret_crc = em_crc32c(0, head, sizeof head);
    file->node = xtr_get64(head + MAGIC_SIZE + sizeof file->cluster_id);
    return 0;
}

static int check(struct xtr_cachefile *file, const char *node_id)
{
    uint32_t crc;
    uint64_t at = HEAD_SIZE;
    int r = check_head(file, &crc);
    while (!r)
        r = check_record(file, &at, &crc);
    if (r < 0)
        return r;
    uint8_t more;
    if (pread(file->fd, &more, 1, (off_t)at))
        return EM_E_MALFORMED;
    return file->node == node_hash(node_id) ? 0 : EM_E_CONFLICT;
}

int xtr_cachefile_open(const char *path, const char *node_id, struct xtr_cachefile **ret_file)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct xtr_cachefile *file = em_calloc(1, sizeof *file);
    file->fd = fd;
    file->body = em_malloc(RECORD_MAX);
    int r = check(file, node_id);
    if (r)
        xtr_cachefile_close(file);
    else
        *ret_file = file;
    return r;
}

void xtr_cachefile_close(struct xtr_cachefile *file)
{
    if (!file)
        return;
    close(file->fd);
    free(file->records);
    free(file->body);
    free(file);
}

const uint8_t *xtr_cachefile_cluster(const struct xtr_cachefile *file)
{
    return file->cluster_id;
}

bool xtr_cachefile_find(const struct xtr_cachefile *file, uint32_t network_id,
                        struct xtr_cachepoint *ret_point)
{
    for (size_t i = 0; i < file->n; i++)
        if (file->records[i].point.network_id == network_id) {
            *ret_point = file->records[i].point;
            return true;
        }
    return false;
}

static int load_page(const struct xtr_cachefile *file, const struct record *record,
                     struct em_arena *arena, struct xtr_mapcache *cache)
{
    struct em_feed page = {.network_id = record->point.network_id,
                           .revision = record->point.revision};
    if (em_reply_changes(arena, file->body, record->size, &page))
        return EM_E_MALFORMED;
    xtr_mapcache_restore(cache, &page, record->kind == KIND_KEPT);
    return 0;
}

static int load_doubt(const struct xtr_cachefile *file, const struct record *record,
                      struct xtr_mapcache *cache)
{
    struct xtr_doubt doubt = {.network_id = record->point.network_id};
    if (!record->size || record->size > sizeof doubt.server_id ||
        memchr(file->body + 1, 0, record->size - 1))
        return EM_E_MALFORMED;
    doubt.is_other_map = file->body[0];
    memcpy(doubt.server_id, file->body + 1, record->size - 1);
    xtr_guard_restore(xtr_mapcache_guard(cache), &doubt);
    return 0;
}

int xtr_cachefile_load(const struct xtr_cachefile *file, uint32_t network_id,
                       struct xtr_mapcache *cache)
{
    struct em_arena arena;
    int r = 0;
    em_arena_init(&arena, 0);
    for (size_t i = 0; i < file->n && !r; i++) {
        const struct record *record = &file->records[i];
        if (record->point.network_id != network_id)
            continue;
        r = read_at(file->fd, record->at, file->body, record->size);
        if (!r && record->kind == KIND_DOUBT)
            r = load_doubt(file, record, cache);
        else if (!r)
            r = load_page(file, record, &arena, cache);
        em_arena_reset(&arena);
    }
    em_arena_fini(&arena);
    return r;
}
