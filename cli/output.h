/* Tables and JSON on a stream.
 *
 * A table is printed when all its rows are there.  JSON is written as it comes: a list of
 * a million records needs no memory here. */
#ifndef CTL_OUTPUT_H
#define CTL_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct ctl_table;

struct ctl_column {
    const char *name;
    bool is_number; /* to the right */
};

/* A heading line, then one record a line.  On a terminal that is too narrow, cells of
 * several words are broken between them, in the widest columns first. */
struct ctl_table *ctl_table_new(FILE *out, const struct ctl_column *columns, size_t n);

/* A row: an array of as many cells as there are columns; takes the strings, which are from
 * malloc(). */
#define ctl_table_add_take(table, ...)                                                             \
    ctl_table_add_n_take((table), (__VA_ARGS__), sizeof(__VA_ARGS__) / sizeof(char *))
void ctl_table_add_n_take(struct ctl_table *table, char *const *cells, size_t n);

/* Orders by the first column, numbers in it by value. */
void ctl_table_sort(struct ctl_table *table);
void ctl_table_print(struct ctl_table *table);
void ctl_table_free(struct ctl_table *table);

/* "name:  value" lines of one record. */
struct ctl_fields;
struct ctl_fields *ctl_fields_new(FILE *out);
void ctl_fields_add_take(struct ctl_fields *fields, const char *name, char *value);
/* Prints and frees. */
void ctl_fields_end(struct ctl_fields *fields);

/* Begin with {.out = FILE}.  'key' is NULL in a list and at the top.  Elements of a list at
 * the top get a line each; a document ends with a newline. */
struct ctl_json {
    FILE *out;
    unsigned depth;
    bool needs_comma;
};

void ctl_json_begin(struct ctl_json *json, const char *key, char bracket);
void ctl_json_end(struct ctl_json *json, char bracket);
/* Bytes that are not UTF-8 become U+FFFD; NULL is written as "". */
void ctl_json_text(struct ctl_json *json, const char *key, const char *text);
void ctl_json_uint(struct ctl_json *json, const char *key, uint64_t value);
void ctl_json_bool(struct ctl_json *json, const char *key, bool value);
void ctl_json_null(struct ctl_json *json, const char *key);

#endif
