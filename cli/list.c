/* In JSON a record is written when it comes and then forgotten, so a list of a million ports
 * needs no memory for them.  A table has to see all rows before it knows its widths. */
#include "list.h"

#include "record.h"

void ctl_json_record(struct ctl_json *json, const char *key, const struct em_change *change)
{
    switch (change->object) {
    case EM_OBJECT_PORT:
        ctl_json_port(json, key, change->port);
        break;
    case EM_OBJECT_NODE:
        ctl_json_node(json, key, change->node);
        break;
    case EM_OBJECT_NETWORK:
        ctl_json_network(json, key, change->network);
        break;
    }
}

void ctl_list_begin(struct ctl_list *list, const struct ctl_column *columns, size_t n)
{
    list->json = (struct ctl_json){list->ctl->out};
    if (list->ctl->is_json)
        ctl_json_begin(&list->json, NULL, '[');
    else
        list->table = ctl_table_new(list->ctl->out, columns, n);
}

bool ctl_list_add(void *aux, const struct em_change *change)
{
    struct ctl_list *list = aux;
    if (change->object != list->object)
        return false;
    if (list->table)
        list->row(list->table, change, list->aux);
    else
        ctl_json_record(&list->json, NULL, change);
    return false;
}

void ctl_list_end(struct ctl_list *list, enum ctl_exit code)
{
    if (!list->table) {
        ctl_json_end(&list->json, ']');
    } else if (!code) {
        ctl_table_sort(list->table);
        ctl_table_print(list->table);
    }
    ctl_table_free(list->table);
}
