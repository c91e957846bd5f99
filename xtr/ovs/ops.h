/* Operations of a transaction, as RFC 7047 section 5.2 writes them.  Values that are handed over
 * are taken; where one is NULL (a text that is not UTF-8) the whole is. */
#ifndef OVS_OPS_H
#define OVS_OPS_H

#include <stddef.h>

struct json_t;

/* [[column, function, value]]; column "name" is 'name'. */
struct json_t *ovs_where(const char *column, const char *function, struct json_t *value);
struct json_t *ovs_where_name(const char *name);

/* 'columns' ends with NULL. */
struct json_t *ovs_op_select(const char *table, struct json_t *where, const char *const *columns);
struct json_t *ovs_op_insert(const char *table, const char *uuid_name, struct json_t *row);
struct json_t *ovs_op_update(const char *table, struct json_t *where, struct json_t *row);
/* 'mutations' is an array of those. */
struct json_t *ovs_op_mutate(const char *table, struct json_t *where, struct json_t *mutations);
struct json_t *ovs_mutation(const char *column, const char *mutator, struct json_t *value);

/* Puts the key into a map, whatever it was before: two mutations, appended to 'mutations'. */
void ovs_mutations_put(struct json_t *mutations, const char *column, const char *key,
                       const char *value);

/* Appends; NULL, for an operation that could not be made, spoils *ops: it becomes NULL. */
void ovs_ops_append(struct json_t **ops, struct json_t *op);

/* The rows of a select's result, by its place; the first of them, NULL: none.  Lent. */
const struct json_t *ovs_result_rows(const struct json_t *results, size_t i);
const struct json_t *ovs_result_row(const struct json_t *results, size_t i);

#endif
