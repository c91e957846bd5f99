#include "config/value.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define QUOTE_SIZE 40
#define MANY_ITEMS 4096
#define MANY_BYTES 4095
#define MODE_MAX   0777

struct unit {
    const char *name; /* NULL ends the array */
    uint64_t factor;
};

/* From small to large: a number is printed in the largest unit that divides it. */
static const struct unit durations[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                        {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct unit sizes[] = {{"B", 1},
                                    {"KiB", UINT64_C(1) << 10},
                                    {"MiB", UINT64_C(1) << 20},
                                    {"GiB", UINT64_C(1) << 30},
                                    {"TiB", UINT64_C(1) << 40},
                                    {NULL, 0}};
static const struct unit plain[] = {{"", 1}, {NULL, 0}};

static const struct unit *units_of(enum em_config_type type)
{
    if (type == EM_CONFIG_DURATION)
        return durations;
    return type == EM_CONFIG_SIZE ? sizes : plain;
}

uint64_t em_config_value_max(const struct em_config_option *option)
{
    if (option->max)
        return option->max;
    switch (option->type) {
    case EM_CONFIG_STRING:
        return MANY_BYTES;
    case EM_CONFIG_STRINGS:
    case EM_CONFIG_LIST:
        return MANY_ITEMS;
    case EM_CONFIG_MODE:
        return MODE_MAX;
    case EM_CONFIG_UINT:
    case EM_CONFIG_DURATION:
    case EM_CONFIG_SIZE:
    case EM_CONFIG_BOOL:
    case EM_CONFIG_CHOICE:
        break;
    }
    return option->size >= 8 ? UINT64_MAX : (UINT64_C(1) << option->size * 8) - 1;
}

/* Digits of 'base' and one of the units, the whole text; no sign, no blanks. */
static bool parse_number(const char *text, unsigned base, const struct unit *units,
                         uint64_t *ret_number)
{
    uint64_t n = 0;
    const char *end = text;
    for (; *end >= '0' && *end < '0' + (char)base; end++)
        if (__builtin_mul_overflow(n, base, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*end - '0'), &n))
            return false;
    if (end == text)
        return false;
    for (; units->name; units++)
        if (strcmp(end, units->name) == 0)
            return !__builtin_mul_overflow(n, units->factor, ret_number);
    return false;
}

static const char *format_number(const struct em_config_option *option, uint64_t number,
                                 char text[EM_CONFIG_TEXT])
{
    const struct unit *best = units_of(option->type);
    for (const struct unit *u = best; u->name; u++)
        if (number && number % u->factor == 0)
            best = u;
    if (option->type == EM_CONFIG_MODE)
        snprintf(text, EM_CONFIG_TEXT, "0%03" PRIo64, number);
    else
        snprintf(text, EM_CONFIG_TEXT, "%" PRIu64 "%s", number / best->factor, best->name);
    return text;
}

/* " between 1s and 1h", " up to 1h", " of at least 1s", "". */
static const char *format_range(const struct em_config_option *option, char *text, size_t size)
{
    char low[EM_CONFIG_TEXT], high[EM_CONFIG_TEXT];
    bool is_bounded = option->max || option->size < sizeof(uint64_t);
    format_number(option, option->min, low);
    format_number(option, em_config_value_max(option), high);
    if (option->min && is_bounded)
        snprintf(text, size, " between %s and %s", low, high);
    else if (is_bounded)
        snprintf(text, size, " up to %s", high);
    else if (option->min)
        snprintf(text, size, " of at least %s", low);
    else
        text[0] = 0;
    return text;
}

static void format_choices(const struct em_config_choice *choices, char *text)
{
    size_t n = (size_t)snprintf(text, EM_CONFIG_WHY, "one of");
    for (; choices->name && n < EM_CONFIG_WHY; choices++)
        n += (size_t)snprintf(text + n, EM_CONFIG_WHY - n, " %s%s", choices->name,
                              choices[1].name ? "," : "");
}

char *em_config_value_expected(const struct em_config_option *option, char *text)
{
    char range[EM_CONFIG_WHY];
    const char *what = "";
    format_range(option, range, sizeof(range));
    switch (option->type) {
    case EM_CONFIG_STRING:
    case EM_CONFIG_STRINGS:
    case EM_CONFIG_LIST:
        range[0] = 0;
        what = option->type == EM_CONFIG_STRING    ? "a text"
               : option->type == EM_CONFIG_STRINGS ? "a list of texts"
                                                   : "a list of mappings";
        break;
    case EM_CONFIG_UINT:
        what = "a number";
        break;
    case EM_CONFIG_BOOL:
        range[0] = 0;
        what = "true or false";
        break;
    case EM_CONFIG_DURATION:
        what = "a duration such as 15s";
        break;
    case EM_CONFIG_SIZE:
        what = "a size such as 64MiB";
        break;
    case EM_CONFIG_MODE:
        what = "an octal mode such as 0660";
        break;
    case EM_CONFIG_CHOICE:
        format_choices(option->choices, text);
        return text;
    }
    snprintf(text, EM_CONFIG_WHY, "%s%s", what, range);
    return text;
}

static bool find_choice(const struct em_config_choice *choices, const char *text,
                        uint64_t *ret_number)
{
    for (; choices->name; choices++) {
        if (strcmp(choices->name, text) == 0) {
            *ret_number = (uint64_t)choices->value;
            return true;
        }
    }
    return false;
}

static bool parse_bool(const char *text, uint64_t *ret_number)
{
    *ret_number = strcmp(text, "true") == 0;
    return *ret_number || strcmp(text, "false") == 0;
}

static bool parse(const struct em_config_option *option, const char *text, uint64_t *ret_number)
{
    size_t n = 0;
    *ret_number = 0;
    switch (option->type) {
    case EM_CONFIG_STRINGS:
        return text[0] && strlen(text) <= MANY_BYTES;
    case EM_CONFIG_STRING:
        n = strlen(text);
        return n && n >= option->min && n <= em_config_value_max(option);
    case EM_CONFIG_BOOL:
        return parse_bool(text, ret_number);
    case EM_CONFIG_CHOICE:
        return find_choice(option->choices, text, ret_number);
    case EM_CONFIG_UINT:
    case EM_CONFIG_DURATION:
    case EM_CONFIG_SIZE:
    case EM_CONFIG_MODE:
        return parse_number(text, option->type == EM_CONFIG_MODE ? 8 : 10, units_of(option->type),
                            ret_number) &&
               *ret_number >= option->min && *ret_number <= em_config_value_max(option);
    case EM_CONFIG_LIST:
        break;
    }
    return false;
}

static void quote(const char *text, char *out)
{
    size_t n = strnlen(text, QUOTE_SIZE + 1);
    bool is_cut = n > QUOTE_SIZE;
    if (is_cut)
        n = QUOTE_SIZE;
    for (size_t i = 0; i < n; i++)
        out[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
    strcpy(out + n, is_cut ? "..." : "");
}

int em_config_value_parse(const struct em_config_option *option, const char *text,
                          uint64_t *ret_number, char *why)
{
    char expected[EM_CONFIG_WHY], quoted[QUOTE_SIZE + 4];
    if (parse(option, text, ret_number))
        return option->check && option->check(text, why) ? -EINVAL : 0;
    em_config_value_expected(option, expected);
    if (option->type == EM_CONFIG_STRING || option->type == EM_CONFIG_STRINGS)
        snprintf(expected, sizeof(expected), "a text of %" PRIu64 " to %" PRIu64 " bytes",
                 option->type == EM_CONFIG_STRING && option->min ? option->min : 1,
                 option->type == EM_CONFIG_STRING ? em_config_value_max(option) : MANY_BYTES);
    quote(text, quoted);
    int room = EM_CONFIG_WHY - (int)sizeof("expected , got \"\"") - (int)strlen(quoted);
    snprintf(why, EM_CONFIG_WHY, "expected %.*s, got \"%s\"", room, expected, quoted);
    return -EINVAL;
}

void em_config_value_store(const struct em_config_option *option, uint64_t number, void *member)
{
    uint16_t n16 = (uint16_t)number;
    uint32_t n32 = (uint32_t)number;
    bool is_true = number;
    if (option->type == EM_CONFIG_BOOL) {
        assert(option->size == sizeof(bool));
        memcpy(member, &is_true, sizeof(bool));
    } else if (option->size == sizeof(uint16_t)) {
        memcpy(member, &n16, sizeof(n16));
    } else if (option->size == sizeof(uint32_t)) {
        memcpy(member, &n32, sizeof(n32));
    } else {
        assert(option->size == sizeof(uint64_t));
        memcpy(member, &number, sizeof(number));
    }
}
