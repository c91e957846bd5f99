/* The whole map as one file: a replica's way to catch up, and a backup.
 *
 * docs/snapshot.md has the format.  All three functions block for as long as the disk takes,
 * need little memory however large the map is, and may run on any thread.  What fails leaves
 * no file behind, and *ret_why is a sentence that says what to do (free() it). */
#ifndef MS_SNAPSHOT_H
#define MS_SNAPSHOT_H

#include "net/digest.h"
#include "state/identity.h"

#include <stdatomic.h>

/* Shared with a thread that watches; zeroed at the start. */
struct ms_snapshot_job {
    atomic_bool is_cancelled; /* set by the watcher: -ECANCELED soon after */
    _Atomic uint64_t n_bytes; /* of the file, done so far */
    _Atomic uint64_t n_rows;
};

struct ms_snapshot_info {
    struct ms_identity identity;
    uint32_t schema;
    uint64_t revision;
    uint64_t n_networks, n_nodes, n_ports, n_eids;
    uint64_t n_rows;
    uint64_t n_bytes;               /* of the file */
    uint8_t digest[EM_DIGEST_SIZE]; /* the same wherever the map is the same */
};

void ms_snapshot_info_fini(struct ms_snapshot_info *info);

/* Writes the map as it is now to 'path', mode 0600, instead of what was there; with
 * 'is_durable' it survives a power loss.  Meanwhile the map's pages cannot be used again.
 * 'job' may be NULL.  0, EM_E_NO_SPACE, EM_E_STORAGE, -ECANCELED, -errno. */
int ms_snapshot_write(struct ms_store *store, const char *path, bool is_durable,
                      struct ms_snapshot_job *job, struct ms_snapshot_info *ret_info,
                      char **ret_why);

/* Reads all of it.  EM_E_MALFORMED: no copy of a map, damaged, or cut off; EM_E_UNSUPPORTED:
 * of a newer eidmap; -ECANCELED; -errno. */
int ms_snapshot_check(const char *path, struct ms_snapshot_job *job,
                      struct ms_snapshot_info *ret_info, char **ret_why);

struct ms_snapshot_target {
    const char *dir;                    /* data directory */
    uint64_t generation;                /* above 0, and not there yet */
    uint64_t map_size, disk_reserve;    /* as in struct ms_store_config */
    const struct ms_identity *identity; /* instead of the file's; NULL: the file's */
};

/* Builds the target's generation from a file, whole and durable: it can be switched to.  As
 * ms_snapshot_check(), or EM_E_EXISTS, EM_E_NO_SPACE, EM_E_STORAGE. */
int ms_snapshot_load(const char *path, const struct ms_snapshot_target *target,
                     struct ms_snapshot_job *job, struct ms_snapshot_info *ret_info,
                     char **ret_why);

/* Removes a generation that was built and is not going to be switched to. */
void ms_snapshot_discard(const char *dir, uint64_t generation);

#endif
