/* The map on disk: one LMDB environment, its meta data, and the readers of other threads.
 *
 * One thread writes (state/apply.h); any number read, each through a reader of its own,
 * and neither ever waits for the other.  LMDB itself appears only inside this folder. */
#ifndef MS_STORE_H
#define MS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MS_CLUSTER_ID_SIZE 16

struct ms_store;
struct ms_reader;

/* Bytes as they are stored.  Those that a reader gives are good until ms_reader_end(). */
struct ms_blob {
    const uint8_t *data; /* NULL: none */
    size_t size;
};

struct ms_store_config {
    const char *dir;       /* data directory, made with mode 0700; the map is in its "state" */
    uint64_t generation;   /* or, above 0, in "state-<generation>" */
    uint64_t map_size;     /* bytes the map may grow to; 0: 8 GiB.  The file is sparse */
    uint64_t disk_reserve; /* bytes of disk that writes leave free; 0: 64 MiB */
    unsigned max_readers;  /* threads that read, 0: 64 */
};

/* What all of the map adds up to. */
struct ms_stats {
    uint64_t revision;
    uint64_t horizon; /* cursors below it start over */
    uint64_t applied; /* index of the last command in the map */
    uint64_t n_networks, n_nodes, n_ports, n_eids;
    uint64_t store_used; /* bytes of the map in use, without pages that are free again */
    uint64_t store_size; /* bytes it may grow to */
    uint64_t disk_free;  /* bytes */
};

/* Opens the generation, or makes generation 0 with a new cluster id.  On failure *ret_why is
 * a sentence that says what to do (free() it).  Locks the directory: a second process gets
 * -EBUSY.  Removes the maps of other generations, and half-made ones. */
int ms_store_open(const struct ms_store_config *config, struct ms_store **ret_store,
                  char **ret_why);

/* Every reader must be freed before.  NULL is fine. */
void ms_store_close(struct ms_store *store);

/* Makes all that was committed durable: a checkpoint (state/checkpoint.h).  Unless the store
 * is closed in order, the next start begins at the last one.  By the thread that writes, not
 * within a transaction.  0, EM_E_NO_SPACE or EM_E_STORAGE. */
int ms_store_sync(struct ms_store *store);

/* The same meanwhile: 'done' is called on another thread.  EM_E_BUSY: one is under way, which
 * knows nothing of what was committed since it was begun. */
typedef void ms_sync_fn(void *aux, int err);
int ms_store_sync_begin(struct ms_store *store, ms_sync_fn *done, void *aux);

/* Until none is under way and its 'done' has returned. */
void ms_store_sync_wait(struct ms_store *store);

/* Is one due, by what is kept for the last, and none under way?  Otherwise a write waits for it
 * in the end. */
bool ms_store_wants_sync(struct ms_store *store);

/* Makes "state-<generation>" (state/snapshot.h) the current map.  Readers that have begun go
 * on in the old one and find the new one at their next begin.  When the last has left, the
 * old one is closed and removed: whatever tells the next start which generation to open must
 * be durable before the call, and a reader that may be idle for long should begin and end
 * once.  Nobody writes during the call; other threads may do all else.  On failure the old
 * one stays. */
int ms_store_switch(struct ms_store *store, uint64_t generation, char **ret_why);
uint64_t ms_store_generation(const struct ms_store *store);

/* Any thread; it changes with the map. */
void ms_store_cluster_id(struct ms_store *store, uint8_t ret_id[MS_CLUSTER_ID_SIZE]);

/* What was made or renamed in a directory survives a power loss.  0 or -errno. */
int ms_env_sync_dir(const char *path);

/* May be called by any thread, costs a walk of the list of free pages. */
int ms_store_stats(struct ms_store *store, struct ms_stats *ret_stats);

/* Is there room for commands that make the map grow?  Two system calls and, near the end of the
 * map, a walk; any thread.  0, or EM_E_NO_SPACE or EM_E_STORAGE with a sentence in static
 * storage. */
int ms_store_check_room(struct ms_store *store, const char **ret_why);

/* A reader belongs to one thread at a time.  Between begin and end it sees one state of
 * the map; keep that short, since pages it sees cannot be used again.  EM_E_LIMIT when
 * there are too many, EM_E_STORAGE. */
int ms_reader_new(struct ms_store *store, struct ms_reader **ret_reader);
void ms_reader_free(struct ms_reader *reader);
int ms_reader_begin(struct ms_reader *reader);
void ms_reader_end(struct ms_reader *reader);

/* Names the state that is seen, among all that this reader may come to see. */
uint64_t ms_reader_state(const struct ms_reader *reader);

/* Of the state that is seen. */
uint64_t ms_reader_revision(struct ms_reader *reader);
uint64_t ms_reader_horizon(struct ms_reader *reader);

/* Records, packed (Port, Node, Network).  0, EM_E_NOT_FOUND or EM_E_STORAGE. */
int ms_reader_port(struct ms_reader *reader, const void *id, size_t size, struct ms_blob *ret_port);
int ms_reader_node(struct ms_reader *reader, const char *id, struct ms_blob *ret_node);
int ms_reader_network(struct ms_reader *reader, uint32_t id, struct ms_blob *ret_network);
int ms_reader_network_id(struct ms_reader *reader, const char *name, uint32_t *ret_id);

/* Which agent speaks for the node: its Hello.instance.  EM_E_NOT_FOUND: none has said so yet. */
int ms_reader_agent(struct ms_reader *reader, const char *node_id, struct ms_blob *ret_instance);

/* Visits the port-ids that have a location on this node, in order; stops when the visitor
 * returns other than 0, and returns that. */
typedef int ms_port_id_fn(void *aux, const uint8_t *id, size_t size);
int ms_reader_node_ports(struct ms_reader *reader, const char *node_id, ms_port_id_fn *visit,
                         void *aux);

/* In place of a node-id, none of which can be so: the ports that have a pending location. */
#define MS_MIGRATING "*"

/* Visits every node, packed, in order of the id; as above. */
typedef int ms_record_fn(void *aux, const char *id, size_t id_size, struct ms_blob record);
int ms_reader_nodes(struct ms_reader *reader, ms_record_fn *visit, void *aux);

#endif
