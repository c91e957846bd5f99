/* The schema is made from the option table: every value is a text to libcyaml, because it
 * knows neither durations nor sizes.  A section is a mapping that lies over the whole
 * array, so that an option's place is its number in the table. */
#include "config/load.h"

#include "base/mem.h"

#include <assert.h>
#include <cyaml/cyaml.h>
#include <stdlib.h>
#include <string.h>

struct em_config_loaded {
    struct em_arena arena; /* the schema */
    cyaml_schema_value_t root;
    struct em_config_raw *raw;
};

static const cyaml_config_t cyaml_config = {
    .mem_fn = cyaml_mem,
    .flags = CYAML_CFG_NO_ALIAS,
};

static const cyaml_schema_value_t text_schema = {
    .type = CYAML_STRING,
    .flags = CYAML_FLAG_POINTER,
    .data_size = sizeof(char *),
    .string = {.max = CYAML_UNLIMITED},
};

static void *schema_alloc(struct em_arena *arena, size_t size)
{
    void *p = em_arena_alloc(arena, size);
    assert(p); /* our own tables are small */
    memset(p, 0, size);
    return p;
}

static cyaml_schema_value_t
mapping_schema(struct em_arena *arena, const struct em_config_table *table, const char *section);

static void list_field(struct em_arena *arena, const struct em_config_option *option,
                       cyaml_schema_field_t *field)
{
    cyaml_schema_value_t *entry = schema_alloc(arena, sizeof(*entry));
    *entry = option->type == EM_CONFIG_LIST ? mapping_schema(arena, option->item, "") : text_schema;
    field->count_offset = field->data_offset + offsetof(struct em_config_raw, count);
    field->count_size = sizeof(uint64_t);
    field->value = (cyaml_schema_value_t){
        .type = CYAML_SEQUENCE,
        .flags = CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
        .data_size = entry->data_size,
        .sequence = {.entry = entry, .max = CYAML_UNLIMITED},
    };
}

static void option_field(struct em_arena *arena, const struct em_config_table *table, size_t i,
                         const char *key, cyaml_schema_field_t *field)
{
    const struct em_config_option *option = &table->options[i];
    field->key = key;
    field->data_offset = (uint32_t)(i * sizeof(struct em_config_raw));
    if (option->type == EM_CONFIG_LIST || option->type == EM_CONFIG_STRINGS) {
        list_field(arena, option, field);
    } else {
        field->value = text_schema;
        field->value.flags |= CYAML_FLAG_OPTIONAL;
    }
}

static bool has_field(const cyaml_schema_field_t *fields, const char *key)
{
    for (; fields->key; fields++)
        if (strcmp(fields->key, key) == 0)
            return true;
    return false;
}

/* The fields of the options whose key begins with 'section' ("" or "tls."). */
static cyaml_schema_value_t mapping_schema(struct em_arena *arena,
                                           const struct em_config_table *table, const char *section)
{
    cyaml_schema_field_t *fields = schema_alloc(arena, (table->n_options + 1) * sizeof(*fields));
    size_t skip = strlen(section), n = 0;
    for (size_t i = 0; i < table->n_options; i++) {
        const char *key = table->options[i].key;
        if (strncmp(key, section, skip) != 0)
            continue;
        const char *dot = strchr(key + skip, '.');
        if (!dot) {
            option_field(arena, table, i, key + skip, &fields[n++]);
            continue;
        }
        char *inner = schema_alloc(arena, (size_t)(dot - key) + 2);
        char *name = schema_alloc(arena, (size_t)(dot - key) + 1);
        memcpy(inner, key, (size_t)(dot - key) + 1);
        memcpy(name, key, (size_t)(dot - key));
        if (has_field(fields, name))
            continue;
        fields[n].key = name;
        fields[n].value = mapping_schema(arena, table, inner);
        fields[n++].value.flags = CYAML_FLAG_OPTIONAL;
    }
    return (cyaml_schema_value_t){
        .type = CYAML_MAPPING,
        .data_size = (uint32_t)(table->n_options * sizeof(struct em_config_raw)),
        .mapping = {.fields = fields},
    };
}

struct em_config_loaded *em_config_load_raw(const struct em_config_table *table, const char *text,
                                            size_t size)
{
    struct em_config_loaded *loaded = em_calloc(1, sizeof(*loaded));
    em_arena_init(&loaded->arena, 0);
    loaded->root = mapping_schema(&loaded->arena, table, "");
    loaded->root.flags = CYAML_FLAG_POINTER;
    cyaml_err_t err = cyaml_load_data((const uint8_t *)text, size, &cyaml_config, &loaded->root,
                                      (cyaml_data_t **)&loaded->raw, NULL);
    if (err == CYAML_OK)
        return loaded;
    em_config_unload(loaded);
    return NULL;
}

void em_config_unload(struct em_config_loaded *loaded)
{
    if (!loaded)
        return;
    cyaml_free(&cyaml_config, &loaded->root, loaded->raw, 0);
    em_arena_fini(&loaded->arena);
    free(loaded);
}

const struct em_config_raw *em_config_raw(const struct em_config_loaded *loaded)
{
    return loaded->raw;
}
