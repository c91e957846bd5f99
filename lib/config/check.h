/* Looks through a configuration file for every fault that it has, each with its place.
 *
 * libcyaml loads what is right, but tells of a wrong file neither all nor where; this walks
 * the same text with libyaml, which knows the line and column of every node. */
#ifndef EM_CONFIG_CHECK_H
#define EM_CONFIG_CHECK_H

#include "config/config.h"

#define EM_CONFIG_FAULTS 20

/* Appends one line for each fault to 'out', at most EM_CONFIG_FAULTS; returns how many.
 * *ret_is_empty: there is no key in the file, which libcyaml would not take. */
unsigned em_config_check(const struct em_config_table *table, const char *name, const char *text,
                         size_t size, FILE *out, bool *ret_is_empty);

/* The place of 'key' ("hold", "ports[2].mac") or of the nearest thing around it, counted
 * from 1, in a text that em_config_check() has found right. */
void em_config_locate(const char *text, size_t size, const char *key, size_t *ret_line,
                      size_t *ret_column);

#endif
