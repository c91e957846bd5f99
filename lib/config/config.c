#include "config/config.h"

#include "base/mem.h"
#include "base/wrap.h"
#include "config/check.h"
#include "config/load.h"
#include "config/value.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX ((size_t)1 << 20)

static void *member_of(void *conf, const struct em_config_option *option)
{
    return (char *)conf + option->offset;
}

static void *pointer_in(const void *conf, const struct em_config_option *option)
{
    void *p;
    memcpy(&p, (const char *)conf + option->offset, sizeof(p));
    return p;
}

static size_t count_in(const void *conf, const struct em_config_option *option)
{
    size_t n;
    memcpy(&n, (const char *)conf + option->count_offset, sizeof(n));
    return n;
}

static void set_pointer(void *conf, const struct em_config_option *option, void *p)
{
    assert(option->size == sizeof(p));
    memcpy(member_of(conf, option), &p, sizeof(p));
}

static void set_list(void *conf, const struct em_config_option *option, void *items, size_t n)
{
    set_pointer(conf, option, items);
    memcpy((char *)conf + option->count_offset, &n, sizeof(n));
}

/* ---- from texts to members ---- */

static void fill_scalar(const struct em_config_option *option, const char *text, void *conf)
{
    char why[EM_CONFIG_WHY];
    uint64_t number;
    int r = em_config_value_parse(option, text, &number, why);
    assert(r == 0); /* the file's has been checked, and ours must be right */
    (void)r;
    if (option->type == EM_CONFIG_STRING)
        set_pointer(conf, option, em_strdup(text));
    else
        em_config_value_store(option, number, member_of(conf, option));
}

static void fill_default_strings(const struct em_config_option *option, void *conf)
{
    char **items = NULL, *rest = em_strdup(option->fallback), *text = rest, *save;
    size_t n = 0;
    for (char *item; (item = strtok_r(text, ", ", &save)); text = NULL) {
        items = em_realloc(items, (n + 1) * sizeof(*items));
        items[n++] = em_strdup(item);
    }
    set_list(conf, option, items, n);
    free(rest);
}

static void fill_default(const struct em_config_option *option, void *conf)
{
    if (option->type == EM_CONFIG_STRINGS && option->fallback)
        fill_default_strings(option, conf);
    else if (option->fallback)
        fill_scalar(option, option->fallback, conf);
    else if (option->type == EM_CONFIG_CHOICE)
        fill_scalar(option, option->choices[0].name, conf);
}

static void fill(const struct em_config_table *table, const struct em_config_raw *raw, void *conf);

static void fill_list(const struct em_config_option *option, const struct em_config_raw *raw,
                      void *conf)
{
    const struct em_config_table *item = option->item;
    const struct em_config_raw *item_raw = raw->data;
    char *items = em_calloc(raw->count, item->size);
    for (size_t i = 0; i < raw->count; i++)
        fill(item, item_raw + i * item->n_options, items + i * item->size);
    set_list(conf, option, items, raw->count);
}

static void fill_strings(const struct em_config_option *option, const struct em_config_raw *raw,
                         void *conf)
{
    char **texts = raw->data;
    char **items = em_calloc(raw->count, sizeof(*items));
    for (size_t i = 0; i < raw->count; i++)
        items[i] = em_strdup(texts[i]);
    set_list(conf, option, items, raw->count);
}

/* 'raw' NULL: defaults. */
static void fill(const struct em_config_table *table, const struct em_config_raw *raw, void *conf)
{
    memset(conf, 0, table->size);
    for (size_t i = 0; i < table->n_options; i++) {
        const struct em_config_option *option = &table->options[i];
        if (!raw || !raw[i].data)
            fill_default(option, conf);
        else if (option->type == EM_CONFIG_LIST)
            fill_list(option, &raw[i], conf);
        else if (option->type == EM_CONFIG_STRINGS)
            fill_strings(option, &raw[i], conf);
        else
            fill_scalar(option, raw[i].data, conf);
    }
}

void em_config_free(const struct em_config_table *table, void *conf)
{
    for (size_t i = 0; i < table->n_options; i++) {
        const struct em_config_option *option = &table->options[i];
        bool is_list = option->type == EM_CONFIG_LIST || option->type == EM_CONFIG_STRINGS;
        if (!is_list && option->type != EM_CONFIG_STRING)
            continue;
        char *items = pointer_in(conf, option);
        for (size_t j = 0, n = is_list ? count_in(conf, option) : 0; j < n; j++) {
            if (option->type == EM_CONFIG_LIST)
                em_config_free(option->item, items + j * option->item->size);
            else
                free(((char **)items)[j]);
        }
        free(items);
    }
    memset(conf, 0, table->size);
}

/* ---- loading ---- */

/* Whether the values fit together; a fault is put where its key stands. */
static int check_whole(const struct em_config_table *table, const char *name, const char *text,
                       size_t size, const void *conf, char **ret_why)
{
    char key[EM_CONFIG_KEY] = "", why[EM_CONFIG_WHY] = "";
    size_t line, column;
    if (!table->check || table->check(conf, key, why) == 0)
        return 0;
    em_config_locate(text, size, key, &line, &column);
    *ret_why = em_asprintf("%s:%zu:%zu: %s: %s", name, line, column, key, why);
    return -EINVAL;
}

/* The sentences of all faults, NULL if there is none. */
static char *find_faults(const struct em_config_table *table, const char *name, const char *text,
                         size_t size, bool *ret_is_empty)
{
    char *lines = NULL;
    size_t lines_size;
    FILE *out = open_memstream(&lines, &lines_size);
    if (!out)
        abort();
    unsigned n = em_config_check(table, name, text, size, out, ret_is_empty);
    fclose(out);
    if (n)
        return lines;
    free(lines);
    return NULL;
}

int em_config_load_text(const struct em_config_table *table, const char *name, const char *text,
                        size_t size, void *conf, char **ret_why)
{
    if (size > FILE_MAX) {
        *ret_why = em_asprintf("%s:1:1: expected at most %zu bytes, got %zu", name, FILE_MAX, size);
        return -EFBIG;
    }
    bool is_empty = false;
    char *why = find_faults(table, name, text, size, &is_empty);
    if (why) {
        *ret_why = why;
        return -EINVAL;
    }
    struct em_config_loaded *loaded = is_empty ? NULL : em_config_load_raw(table, text, size);
    if (!loaded && !is_empty) {
        *ret_why = em_asprintf("%s:1:1: expected a YAML file that libcyaml can read", name);
        return -EINVAL;
    }
    void *fresh = em_malloc(table->size);
    fill(table, loaded ? em_config_raw(loaded) : NULL, fresh);
    em_config_unload(loaded);
    int r = check_whole(table, name, text, size, fresh, ret_why);
    if (r)
        em_config_free(table, fresh);
    else
        memcpy(conf, fresh, table->size);
    free(fresh);
    return r;
}

/* At most FILE_MAX + 1 bytes, so that a larger file shows; also what is no regular file. */
static int read_file(const char *file, char *text, size_t *ret_size)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : 1;
    size_t size = 0;
    while (n > 0 && size <= FILE_MAX) {
        n = read(fd, text + size, FILE_MAX + 1 - size);
        if (n > 0)
            size += (size_t)n;
        else if (n < 0 && errno == EINTR)
            n = 1;
    }
    int r = n < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    *ret_size = size;
    return r;
}

int em_config_load(const struct em_config_table *table, const char *file, void *conf,
                   char **ret_why)
{
    if (!file)
        return em_config_load_text(table, "defaults", "", 0, conf, ret_why);
    size_t size;
    char *text = em_malloc(FILE_MAX + 1);
    int r = read_file(file, text, &size);
    if (r)
        *ret_why = em_asprintf("%s: expected a readable file: %s", file, strerror(-r));
    else
        r = em_config_load_text(table, file, text, size, conf, ret_why);
    free(text);
    return r;
}

/* ---- comparing ---- */

static bool is_same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool is_same_list(const struct em_config_option *option, const void *a, const void *b)
{
    size_t n = count_in(a, option);
    if (n != count_in(b, option))
        return false;
    char *as = pointer_in(a, option), *bs = pointer_in(b, option);
    for (size_t i = 0; i < n; i++) {
        size_t at = option->type == EM_CONFIG_LIST ? i * option->item->size : 0;
        bool is_same = option->type == EM_CONFIG_LIST
                           ? em_config_diff(option->item, as + at, bs + at, NULL, NULL) == 0
                           : is_same_text(((char **)as)[i], ((char **)bs)[i]);
        if (!is_same)
            return false;
    }
    return true;
}

static bool is_same(const struct em_config_option *option, const void *a, const void *b)
{
    if (option->type == EM_CONFIG_LIST || option->type == EM_CONFIG_STRINGS)
        return is_same_list(option, a, b);
    if (option->type == EM_CONFIG_STRING)
        return is_same_text(pointer_in(a, option), pointer_in(b, option));
    return memcmp((const char *)a + option->offset, (const char *)b + option->offset,
                  option->size) == 0;
}

size_t em_config_diff(const struct em_config_table *table, const void *old_conf,
                      const void *new_conf, em_config_visit_fn *visit, void *aux)
{
    size_t n = 0;
    for (size_t i = 0; i < table->n_options; i++) {
        if (is_same(&table->options[i], old_conf, new_conf))
            continue;
        n++;
        if (visit)
            visit(aux, &table->options[i]);
    }
    return n;
}

/* ---- the manual ---- */

static void print_option(const struct em_config_option *option, FILE *out, int indent)
{
    char expected[EM_CONFIG_WHY];
    const char *fallback = option->fallback;
    size_t begin = (size_t)indent, deeper = begin + 4;
    if (!fallback && option->type == EM_CONFIG_CHOICE)
        fallback = option->choices[0].name;
    char *head = em_asprintf(
        "%s: %s%s%s%s%s", option->key, em_config_value_expected(option, expected),
        fallback ? ", default " : "", fallback ? fallback : "",
        option->is_required ? ", required" : "", option->is_live ? ", taken over on reload" : "");
    fprintf(out, "%*s", indent, "");
    em_wrap(out, head, begin, deeper);
    fprintf(out, "%*s", indent + 4, "");
    em_wrap(out, option->help, deeper, deeper);
    free(head);
}

static void print_table(const struct em_config_table *table, FILE *out, int indent)
{
    for (size_t i = 0; i < table->n_options; i++) {
        const struct em_config_option *option = &table->options[i];
        print_option(option, out, indent);
        if (option->item)
            print_table(option->item, out, indent + 4);
    }
}

void em_config_print(const struct em_config_table *table, FILE *out)
{
    print_table(table, out, 2);
}
