/* The home of libcyaml: from a text that em_config_check() has found right to texts by option. */
#ifndef EM_CONFIG_LOAD_H
#define EM_CONFIG_LOAD_H

#include "config/config.h"

/* What the file says for one option; an array of these goes along with a table's options. */
struct em_config_raw {
    void *data;     /* char *; char ** of EM_CONFIG_STRINGS; of EM_CONFIG_LIST the
                     * em_config_raw arrays of its items, one behind the other; NULL: not given */
    uint64_t count; /* items of a list */
};

struct em_config_loaded;

/* NULL if libcyaml refuses the text; an empty one it does. Free it with em_config_unload(). */
struct em_config_loaded *em_config_load_raw(const struct em_config_table *table, const char *text,
                                            size_t size);
void em_config_unload(struct em_config_loaded *loaded);

/* One for each option of the table.  Lent until em_config_unload(). */
const struct em_config_raw *em_config_raw(const struct em_config_loaded *loaded);

#endif
