/* Values of OVSDB's columns as RFC 7047 section 5.1 writes them: a set of one is the element
 * itself, other sets are ["set", [...]], maps are ["map", [[key, value], ...]], rows ["uuid",
 * "..."].
 *
 * What reads takes any JSON value, NULL too: what has another form reads as absent, since it comes
 * from outside.  No I/O. */
#ifndef OVS_DATUM_H
#define OVS_DATUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_t;

/* Elements of a set; lent. */
size_t ovs_datum_len(const struct json_t *set);
const struct json_t *ovs_datum_at(const struct json_t *set, size_t i);
bool ovs_datum_has(const struct json_t *set, const char *text);

/* The one element of a column that holds one or none; NULL, false: none. */
const char *ovs_datum_text(const struct json_t *value);
const char *ovs_datum_uuid(const struct json_t *value);
bool ovs_datum_number(const struct json_t *value, int64_t *ret_number);

/* Pairs of a map of texts: false beyond the last. */
bool ovs_datum_pair(const struct json_t *map, size_t i, const char **ret_key,
                    const char **ret_value);
const char *ovs_datum_get(const struct json_t *map, const char *key);

/* Makes ["uuid", text]; a map of 'n' pairs, an empty one for n == 0; a set of texts.  The
 * caller's. */
struct json_t *ovs_datum_new_uuid(const char *text);
struct json_t *ovs_datum_new_map(const char *const (*pairs)[2], size_t n);
struct json_t *ovs_datum_new_set(const char *const *texts, size_t n);

#endif
