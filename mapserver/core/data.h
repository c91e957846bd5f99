/* What a map server has on its disk: the log, and the map that belongs to it.
 *
 *   DIR/log        the log (core/log.h)
 *   DIR/state[-N]  the map; the log says which generation
 *   DIR/restore    a copy that takes the map's place at the next start */
#ifndef MS_DATA_H
#define MS_DATA_H

#include "core/log.h"
#include "state/store.h"

#define MS_RESTORE_FILE "restore"

struct ms_data_config {
    const char *dir;
    const char *server_id;
    const char *address; /* for other servers; "": none */
    bool join;           /* an empty directory waits for a cluster instead of founding one */
    uint64_t map_size, disk_reserve;
};

struct ms_data {
    struct ms_log *log;
    struct ms_log_state state;
    struct ms_store *store;
};

/* Opens both; founds a cluster of one in an empty directory, puts a restored copy in place.
 * On failure *ret_why is a sentence that says what to do (free() it). */
int ms_data_open(const struct ms_data_config *config, struct ms_data *ret_data, char **ret_why);
void ms_data_close(struct ms_data *data);

/* For a cluster that has lost its majority for good: makes this server its only member, with
 * all that its log holds.  'is_alive': asks who still answers at these addresses ("NAME
 * ADDRESS"); nothing is done if somebody does.  0, or an error with a sentence. */
typedef bool ms_alive_fn(void *aux, const char *name, const char *address);
int ms_data_recover(const struct ms_data_config *config, ms_alive_fn *is_alive, void *aux,
                    char **ret_why);

#endif
