/* Lists of records out of the feed, as a table or as JSON. */
#ifndef CTL_LIST_H
#define CTL_LIST_H

#include "call.h"
#include "output.h"

/* Adds one row; 'aux' is the list's. */
typedef void ctl_row_fn(struct ctl_table *table, const struct em_change *change, void *aux);

struct ctl_list {
    struct ctl *ctl;
    enum em_object object; /* what it lists; other objects are passed over */
    ctl_row_fn *row;
    void *aux;
    struct ctl_table *table; /* NULL: JSON */
    struct ctl_json json;
};

void ctl_list_begin(struct ctl_list *list, const struct ctl_column *columns, size_t n);
/* A ctl_visit_fn with the list as aux: adds one, and never says enough. */
bool ctl_list_add(void *list, const struct em_change *change);
/* Prints the table in order of its first column; after a failure only frees it. */
void ctl_list_end(struct ctl_list *list, enum ctl_exit code);

/* A record by its kind. */
void ctl_json_record(struct ctl_json *json, const char *key, const struct em_change *change);

#endif
