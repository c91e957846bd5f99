/* One value of a configuration: its text, its limits, its place in the caller's struct. */
#ifndef EM_CONFIG_VALUE_H
#define EM_CONFIG_VALUE_H

#include "config/config.h"

#define EM_CONFIG_TEXT 64 /* room for a value or a range as text */

/* Takes apart the text of a value, or of one item of EM_CONFIG_STRINGS.  0 and the number
 * that stands for it (for strings 0), or -EINVAL with a sentence in 'why' (EM_CONFIG_WHY
 * bytes). */
int em_config_value_parse(const struct em_config_option *option, const char *text,
                          uint64_t *ret_number, char *why);

/* Writes a number as the member of the option's size. */
void em_config_value_store(const struct em_config_option *option, uint64_t number, void *member);

/* "a duration such as 15s", "one of error, warn": what the option takes.  Returns 'text'
 * (EM_CONFIG_WHY bytes). */
char *em_config_value_expected(const struct em_config_option *option, char *text);

/* Most items of a list, most bytes of a string, largest number. */
uint64_t em_config_value_max(const struct em_config_option *option);

#endif
