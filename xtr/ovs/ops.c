#include "ovs/ops.h"

#include "ovs/datum.h"

#include <jansson.h>

json_t *ovs_where(const char *column, const char *function, json_t *value)
{
    return json_pack("[[sso]]", column, function, value);
}

json_t *ovs_where_name(const char *name)
{
    return ovs_where("name", "==", json_string(name));
}

json_t *ovs_op_select(const char *table, json_t *where, const char *const *columns)
{
    json_t *names = json_array();
    for (; *columns; columns++)
        json_array_append_new(names, json_string(*columns));
    return json_pack("{sssssoso}", "op", "select", "table", table, "where", where, "columns",
                     names);
}

json_t *ovs_op_insert(const char *table, const char *uuid_name, json_t *row)
{
    return json_pack("{ssssssso}", "op", "insert", "table", table, "uuid-name", uuid_name, "row",
                     row);
}

json_t *ovs_op_update(const char *table, json_t *where, json_t *row)
{
    return json_pack("{sssssoso}", "op", "update", "table", table, "where", where, "row", row);
}

json_t *ovs_op_mutate(const char *table, json_t *where, json_t *mutations)
{
    return json_pack("{sssssoso}", "op", "mutate", "table", table, "where", where, "mutations",
                     mutations);
}

json_t *ovs_mutation(const char *column, const char *mutator, json_t *value)
{
    return json_pack("[sso]", column, mutator, value);
}

void ovs_mutations_put(json_t *mutations, const char *column, const char *key, const char *value)
{
    const char *pair[1][2] = {{key, value}};
    json_array_append_new(mutations, ovs_mutation(column, "delete", ovs_datum_new_set(&key, 1)));
    json_array_append_new(
        mutations,
        ovs_mutation(column, "insert", ovs_datum_new_map((const char *const(*)[2])pair, 1)));
}

void ovs_ops_append(json_t **ops, json_t *op)
{
    if (*ops && op) {
        json_array_append_new(*ops, op);
        return;
    }
    json_decref(op);
    json_decref(*ops);
    *ops = NULL;
}

const json_t *ovs_result_rows(const json_t *results, size_t i)
{
    return json_object_get(json_array_get(results, i), "rows");
}

const json_t *ovs_result_row(const json_t *results, size_t i)
{
    return json_array_get(ovs_result_rows(results, i), 0);
}
