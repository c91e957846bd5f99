#include "ovs/datum.h"

#include <jansson.h>
#include <string.h>

/* The content of ["set", [...]] and the like, or NULL. */
static const json_t *content(const json_t *value, const char *tag)
{
    if (json_array_size(value) != 2)
        return NULL;
    const char *text = json_string_value(json_array_get(value, 0));
    return text && !strcmp(text, tag) ? json_array_get(value, 1) : NULL;
}

size_t ovs_datum_len(const json_t *set)
{
    const json_t *items = content(set, "set");
    return items ? json_array_size(items) : set != NULL;
}

const json_t *ovs_datum_at(const json_t *set, size_t i)
{
    const json_t *items = content(set, "set");
    if (items)
        return json_array_get(items, i);
    return i == 0 ? set : NULL;
}

bool ovs_datum_has(const json_t *set, const char *text)
{
    for (size_t i = 0; i < ovs_datum_len(set); i++) {
        const char *item = json_string_value(ovs_datum_at(set, i));
        if (item && !strcmp(item, text))
            return true;
    }
    return false;
}

static const json_t *only(const json_t *value)
{
    return ovs_datum_len(value) == 1 ? ovs_datum_at(value, 0) : NULL;
}

const char *ovs_datum_text(const json_t *value)
{
    return json_string_value(only(value));
}

const char *ovs_datum_uuid(const json_t *value)
{
    return json_string_value(content(only(value), "uuid"));
}

bool ovs_datum_number(const json_t *value, int64_t *ret_number)
{
    const json_t *number = only(value);
    if (!json_is_integer(number))
        return false;
    *ret_number = json_integer_value(number);
    return true;
}

bool ovs_datum_pair(const json_t *map, size_t i, const char **ret_key, const char **ret_value)
{
    const json_t *pair = json_array_get(content(map, "map"), i);
    const char *key = json_string_value(json_array_get(pair, 0));
    const char *value = json_string_value(json_array_get(pair, 1));
    if (!key || !value)
        return false;
    *ret_key = key;
    *ret_value = value;
    return true;
}

const char *ovs_datum_get(const json_t *map, const char *key)
{
    const char *name, *value;
    for (size_t i = 0; ovs_datum_pair(map, i, &name, &value); i++)
        if (!strcmp(name, key))
            return value;
    return NULL;
}

json_t *ovs_datum_new_uuid(const char *text)
{
    return json_pack("[ss]", "uuid", text);
}

json_t *ovs_datum_new_map(const char *const (*pairs)[2], size_t n)
{
    json_t *items = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(items, json_pack("[ss]", pairs[i][0], pairs[i][1]));
    return json_pack("[so]", "map", items);
}

json_t *ovs_datum_new_set(const char *const *texts, size_t n)
{
    json_t *items = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(items, json_string(texts[i]));
    return json_pack("[so]", "set", items);
}
