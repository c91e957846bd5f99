/* The map-cache on disk: what an agent forwards by when it starts and no map server answers,
 * and from where its feeds go on when one does.
 *
 * The file is a recorded feed: pages of changes as map servers send them, each with its network
 * and with the revision from which that network's feed goes on (0: it was not complete, and
 * begins anew).  It carries a checksum and a version.
 *
 * A pack grows while the map-cache changes.  That is sound because a network's revision is that
 * of the pack's beginning: what has changed since then is shown once more.  Only where a full
 * pass begins or a network is closed meanwhile, the pack is of no use. */
#ifndef XTR_CACHEFILE_H
#define XTR_CACHEFILE_H

#include "base/buf.h"
#include "base/mem.h"
#include "mapcache.h"

#define XTR_CACHEFILE_NAME "map"

/* Where the feed of a network is. */
struct xtr_cachepoint {
    uint32_t network_id; /* 0: nodes and networks */
    uint64_t revision;
};

struct xtr_cachepack {
    struct em_arena arena;
    struct em_buf bytes; /* that wait to be taken */
    size_t summed;       /* of these are in 'crc' */
    uint32_t crc;
    size_t page; /* where the page begins that is still growing; SIZE_MAX: none does */
    unsigned kind;
    struct xtr_cachepoint point;
    /* How far the map-cache has been packed. */
    struct xtr_cachepoint *points;
    size_t n_points;
    uint32_t node_at, network_at;
    struct xtr_cursor ports;
    unsigned step;
};

/* Begins a pack of the map of this cluster as this node sees it.  'points' are copied; ports of
 * other networks are left out. */
void xtr_cachepack_init(struct xtr_cachepack *pack, const uint8_t cluster_id[16],
                        const char *node_id, const struct xtr_cachepoint *points, size_t n_points);
void xtr_cachepack_fini(struct xtr_cachepack *pack);

/* Packs about 'size' bytes more; true when that was the last.  'bytes' may be taken between two
 * calls, with xtr_cachepack_take(). */
bool xtr_cachepack_more(struct xtr_cachepack *pack, const struct xtr_mapcache *cache, size_t size);

/* The bytes since the last call, to be appended to the file.  em_buf_fini() them. */
void xtr_cachepack_take(struct xtr_cachepack *pack, struct em_buf *ret_bytes);

struct xtr_cachefile;

/* Checks the whole file.  0; -errno; EM_E_MALFORMED: it is damaged; EM_E_UNSUPPORTED: it is of
 * another version; EM_E_CONFLICT: it is another node's, which sees other locations.  What is in
 * its pages is looked at only when they are read. */
int xtr_cachefile_open(const char *path, const char *node_id, struct xtr_cachefile **ret_file);

/* NULL is fine. */
void xtr_cachefile_close(struct xtr_cachefile *file);

const uint8_t *xtr_cachefile_cluster(const struct xtr_cachefile *file);

/* False: the file does not have this network. */
bool xtr_cachefile_find(const struct xtr_cachefile *file, uint32_t network_id,
                        struct xtr_cachepoint *ret_point);

/* Puts what the file has of the network, which must be open (or 0), into the map-cache.
 * EM_E_MALFORMED: a page was none, and what it had is missing; -errno. */
int xtr_cachefile_load(const struct xtr_cachefile *file, uint32_t network_id,
                       struct xtr_mapcache *cache);

#endif
