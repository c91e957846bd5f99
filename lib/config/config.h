/* Configuration files: YAML that one table per program describes.
 *
 * The table is the only place where an option is written down: the parser, the manual of
 * --help, --check-config and the comparison of a reload all walk it.
 *
 *     static const struct em_config_choice levels[] = {{"info", 6}, {"debug", 7}, {0}};
 *     static const struct em_config_option options[] = {
 *         {"lease", EM_CONFIG_DURATION, EM_CONFIG_AT(struct conf, lease_ms), .fallback = "15s",
 *          .min = 1000, .max = 3600000, .is_live = true, .help = "How long ..."},
 *         {"tls.cert", EM_CONFIG_STRING, EM_CONFIG_AT(struct conf, cert), .help = "..."},
 *         {"servers", EM_CONFIG_STRINGS, EM_CONFIG_LIST_AT(struct conf, servers, n_servers),
 *          .check = check_server, .help = "..."},
 *         {"ports", EM_CONFIG_LIST, EM_CONFIG_LIST_AT(struct conf, ports, n_ports),
 *          .item = &port_table, .help = "..."},
 *     };
 *     const struct em_config_table table = EM_CONFIG_TABLE(struct conf, options);
 *
 * A file is taken whole or not at all.  Unknown and repeated keys, anchors, aliases, a
 * second document and more than 1 MiB are refused. */
#ifndef EM_CONFIG_H
#define EM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define EM_CONFIG_WHY 160 /* room for a check's sentence; the same as EM_ADDR_WHY */

/* The member that each type fills; what the text looks like. */
enum em_config_type {
    EM_CONFIG_STRING,   /* char *, NULL if not given and without default; 1 byte at least */
    EM_CONFIG_UINT,     /* uint16_t, uint32_t or uint64_t; decimal */
    EM_CONFIG_BOOL,     /* bool; true, false */
    EM_CONFIG_DURATION, /* uint32_t or uint64_t, milliseconds; 100ms, 15s, 5m, 24h, 7d */
    EM_CONFIG_SIZE,     /* uint32_t or uint64_t, bytes; 512B, 64KiB, 16MiB, 16GiB, 1TiB */
    EM_CONFIG_MODE,     /* mode_t; octal such as 0660 */
    EM_CONFIG_CHOICE,   /* an enum or int; one of the names in 'choices' */
    EM_CONFIG_STRINGS,  /* char ** and size_t; a list of texts */
    EM_CONFIG_LIST,     /* struct X * and size_t; a list of mappings that 'item' describes */
};

struct em_config_choice {
    const char *name; /* NULL ends the array */
    int value;
};

/* May 'text' be the value?  0, or negative with a sentence such as "expected an IPv4
 * address, got "x"" in 'why' (EM_CONFIG_WHY bytes). */
typedef int em_config_check_fn(const char *text, char *why);

struct em_config_option {
    const char *key; /* "lease", or "tls.cert" for a key inside the section tls */
    enum em_config_type type;
    size_t offset, size;  /* of the member: EM_CONFIG_AT(), EM_CONFIG_LIST_AT() */
    size_t count_offset;  /* lists: of the member that gets the number of items */
    uint64_t min, max;    /* of numbers, in the member's unit; of lists, in items; of strings,
                           * in bytes.  max 0: no limit but the member's, 4096 items, 4095 bytes */
    const char *fallback; /* the default as in the file (EM_CONFIG_STRINGS: with commas);
                           * NULL: 0, NULL, the empty list, the first choice */
    bool is_required;
    bool is_live; /* a reload may change it; em_config_diff() tells the caller */
    const struct em_config_choice *choices;
    const struct em_config_table *item; /* without sections and lists of mappings */
    em_config_check_fn *check;          /* strings, and each item of a list of strings */
    const char *help;                   /* full sentences, one line */
};

struct em_config_table {
    const struct em_config_option *options;
    size_t n_options;
    size_t size; /* of the struct */

    /* Do the values fit together?  Called with the finished object, of the outermost table
     * only; may be NULL.  0, or negative with a sentence in 'why' and the key it is about, such
     * as "hold" or "ports[2].mac", in 'key' (EM_CONFIG_KEY bytes). */
    int (*check)(const void *conf, char *key, char *why);
};

#define EM_CONFIG_KEY 96

#define EM_CONFIG_AT(type, member) offsetof(type, member), sizeof(((type *)0)->member)
#define EM_CONFIG_LIST_AT(type, member, count)                                                     \
    offsetof(type, member), sizeof(((type *)0)->member), offsetof(type, count)
#define EM_CONFIG_TABLE(type, array)                                                               \
    {                                                                                              \
        .options = (array), .n_options = sizeof(array) / sizeof((array)[0]), .size = sizeof(type)  \
    }

/* Fills 'conf' (table->size bytes, its old content is not looked at) from the defaults and
 * then from 'file' (NULL: defaults only).  0; on failure 'conf' is untouched and *ret_why
 * is the caller's to free: one line "FILE:LINE:COLUMN: key: what was expected" for each
 * fault, at most 20, without a final newline.  -EINVAL for what the file says, -errno
 * (-EFBIG above 1 MiB) if it cannot be read. */
int em_config_load(const struct em_config_table *table, const char *file, void *conf,
                   char **ret_why);

/* The same from 'size' bytes in memory; 'name' stands for the file in sentences. */
int em_config_load_text(const struct em_config_table *table, const char *name, const char *text,
                        size_t size, void *conf, char **ret_why);

/* Frees what the members own and clears 'conf'; not 'conf' itself. */
void em_config_free(const struct em_config_table *table, void *conf);

/* Calls 'visit' (may be NULL) for each option whose value differs; option->is_live says
 * whether a running program may take it.  Returns how many differ. */
typedef void em_config_visit_fn(void *aux, const struct em_config_option *option);
size_t em_config_diff(const struct em_config_table *table, const void *old_conf,
                      const void *new_conf, em_config_visit_fn *visit, void *aux);

/* The manual: each key with its type, range, default and help. */
void em_config_print(const struct em_config_table *table, FILE *out);

#endif
