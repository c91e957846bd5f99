#include "config/check.h"

#include "config/value.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define NAME_SIZE EM_CONFIG_KEY
#define MAX_KEYS  128 /* options of one table */
#define MAX_DEPTH 16  /* a table needs 4 */

struct check {
    yaml_document_t doc;
    const char *file;
    FILE *out;
    unsigned n_faults;
    bool is_empty;
};

static bool is_full(const struct check *check)
{
    return check->n_faults >= EM_CONFIG_FAULTS;
}

__attribute__((format(printf, 3, 4))) static void fault(struct check *check, yaml_mark_t mark,
                                                        const char *format, ...)
{
    if (is_full(check))
        return;
    va_list args;
    fprintf(check->out, "%s%s:%zu:%zu: ", check->n_faults ? "\n" : "", check->file, mark.line + 1,
            mark.column + 1);
    va_start(args, format);
    vfprintf(check->out, format, args);
    va_end(args);
    check->n_faults++;
}

/* ---- keys ---- */

/* Levenshtein distance; keys are short. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_SIZE + 1];
    size_t n = strnlen(b, NAME_SIZE);
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; *a; a++, i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = diagonal + (*a != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

static const char *nearest(const struct em_config_table *table, const char *name)
{
    const char *best = NULL;
    size_t least = strlen(name) / 3 + 2;
    for (size_t i = 0; i < table->n_options; i++) {
        size_t d = distance(name, table->options[i].key);
        if (d < least) {
            least = d;
            best = table->options[i].key;
        }
    }
    return best;
}

/* The first option inside the section 'name', n_options if there is no such section. */
static size_t find_section(const struct em_config_table *table, const char *name)
{
    size_t n = strlen(name), i = 0;
    while (i < table->n_options &&
           (strncmp(table->options[i].key, name, n) != 0 || table->options[i].key[n] != '.'))
        i++;
    return i;
}

static const char *scalar_of(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

/* Control characters and what is not ASCII are shown as '?'. */
static void copy_name(const char *text, size_t size, char name[NAME_SIZE])
{
    size_t n = 0;
    for (; n < size && n < NAME_SIZE / 2; n++)
        name[n] = text[n] > 0x20 && text[n] < 0x7f ? text[n] : '?';
    name[n] = 0;
}

/* ---- values ---- */

static const char *kind_of(const yaml_node_t *node)
{
    if (node->type == YAML_SEQUENCE_NODE)
        return "a list";
    if (node->type == YAML_MAPPING_NODE)
        return "a mapping";
    return node->data.scalar.length ? "a single value" : "nothing";
}

static void wrong_kind(struct check *check, const yaml_node_t *node,
                       const struct em_config_option *option, const char *path)
{
    char expected[EM_CONFIG_WHY];
    fault(check, node->start_mark, "%s: expected %s, got %s", path,
          em_config_value_expected(option, expected), kind_of(node));
}

static void check_scalar(struct check *check, const yaml_node_t *node,
                         const struct em_config_option *option, const char *path)
{
    char why[EM_CONFIG_WHY] = "expected another value";
    uint64_t number;
    if (node->type != YAML_SCALAR_NODE)
        fault(check, node->start_mark, "%s: expected a single value, got %s", path, kind_of(node));
    else if (strlen(scalar_of(node)) != node->data.scalar.length)
        fault(check, node->start_mark, "%s: expected a text without NUL", path);
    else if (em_config_value_parse(option, scalar_of(node), &number, why))
        fault(check, node->start_mark, "%s: %s", path, why);
}

static void check_mapping(struct check *check, const yaml_node_t *node,
                          const struct em_config_table *table, const char *path);

static void check_list(struct check *check, const yaml_node_t *node,
                       const struct em_config_option *option, const char *path)
{
    char item_path[4 * NAME_SIZE + 32];
    size_t n = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (n < option->min || n > em_config_value_max(option)) {
        fault(check, node->start_mark, "%s: expected %zu to %zu items, got %zu", path,
              (size_t)option->min, (size_t)em_config_value_max(option), n);
        return;
    }
    for (size_t i = 0; i < n && !is_full(check); i++) {
        const yaml_node_t *item =
            yaml_document_get_node(&check->doc, node->data.sequence.items.start[i]);
        snprintf(item_path, sizeof(item_path), "%s[%zu]", path, i);
        if (option->type == EM_CONFIG_STRINGS)
            check_scalar(check, item, option, item_path);
        else if (item->type == YAML_MAPPING_NODE)
            check_mapping(check, item, option->item, item_path);
        else
            fault(check, item->start_mark, "%s: expected a mapping, got %s", item_path,
                  kind_of(item));
    }
}

static void check_value(struct check *check, const yaml_node_t *node,
                        const struct em_config_option *option, const char *path)
{
    bool is_list = option->type == EM_CONFIG_STRINGS || option->type == EM_CONFIG_LIST;
    if (node->type == YAML_MAPPING_NODE || (node->type == YAML_SEQUENCE_NODE) != is_list)
        wrong_kind(check, node, option, path);
    else if (is_list)
        check_list(check, node, option, path);
    else
        check_scalar(check, node, option, path);
}

/* ---- mappings ---- */

struct level {
    const struct em_config_table *table;
    const char *path;    /* of the mapping that the table describes: "", "ports[2]" */
    const char *section; /* "" or "tls." */
    bool *is_seen;       /* by option */
    bool *is_entered;    /* by the first option of a section */
};

static void check_pairs(struct check *check, const yaml_node_t *node, const struct level *level);

static void check_section(struct check *check, const yaml_node_t *key, const yaml_node_t *value,
                          const struct level *level, const char *name)
{
    char section[NAME_SIZE + 1];
    struct level inner = *level;
    snprintf(section, sizeof(section), "%s.", name);
    inner.section = section;
    bool *is_entered = &level->is_entered[find_section(level->table, name)];
    if (*is_entered)
        fault(check, key->start_mark, "%s: expected the section once, got it again", name);
    else if (value->type == YAML_MAPPING_NODE)
        check_pairs(check, value, &inner);
    else
        fault(check, value->start_mark, "%s: expected a mapping of its keys, got %s", name,
              kind_of(value));
    *is_entered = true;
}

static void unknown_key(struct check *check, const yaml_node_t *key, const struct level *level,
                        const char *name)
{
    const char *near = nearest(level->table, name);
    const char *dot = *level->path ? "." : "";
    if (near)
        fault(check, key->start_mark, "%s%s%s: expected a known key, did you mean %s?", level->path,
              dot, name, near);
    else
        fault(check, key->start_mark, "%s%s%s: expected a known key", level->path, dot, name);
}

static void check_pair(struct check *check, const yaml_node_t *key, const yaml_node_t *value,
                       const struct level *level)
{
    char word[NAME_SIZE], name[2 * NAME_SIZE], path[4 * NAME_SIZE];
    if (key->type != YAML_SCALAR_NODE) {
        fault(check, key->start_mark, "expected a key, got %s", kind_of(key));
        return;
    }
    copy_name(scalar_of(key), key->data.scalar.length, word);
    snprintf(name, sizeof(name), "%s%s", level->section, word);
    snprintf(path, sizeof(path), "%s%s%s", level->path, *level->path ? "." : "", name);
    bool is_dotted = strchr(word, '.') || strlen(word) != key->data.scalar.length;
    for (size_t i = 0; i < level->table->n_options && !is_dotted; i++) {
        if (strcmp(level->table->options[i].key, name) != 0)
            continue;
        if (level->is_seen[i])
            fault(check, key->start_mark, "%s: expected the key once, got it again", path);
        level->is_seen[i] = true;
        check_value(check, value, &level->table->options[i], path);
        return;
    }
    if (!*level->section && !is_dotted &&
        find_section(level->table, word) < level->table->n_options)
        check_section(check, key, value, level, word);
    else
        unknown_key(check, key, level, name);
}

static void check_pairs(struct check *check, const yaml_node_t *node, const struct level *level)
{
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top && !is_full(check); pair++)
        check_pair(check, yaml_document_get_node(&check->doc, pair->key),
                   yaml_document_get_node(&check->doc, pair->value), level);
}

static void check_required(struct check *check, yaml_mark_t mark, const struct level *level)
{
    for (size_t i = 0; i < level->table->n_options; i++) {
        const struct em_config_option *option = &level->table->options[i];
        if (option->is_required && !level->is_seen[i])
            fault(check, mark, "%s%s%s: expected this key, it is required", level->path,
                  *level->path ? "." : "", option->key);
    }
}

static void check_mapping(struct check *check, const yaml_node_t *node,
                          const struct em_config_table *table, const char *path)
{
    bool is_seen[MAX_KEYS] = {false}, is_entered[MAX_KEYS] = {false};
    assert(table->n_options <= MAX_KEYS);
    struct level level = {table, path, "", is_seen, is_entered};
    if (node)
        check_pairs(check, node, &level);
    check_required(check, node ? node->start_mark : (yaml_mark_t){0}, &level);
}

/* ---- the text ---- */

/* The reader, which looks at bytes, tells an offset and no mark. */
static yaml_mark_t mark_of_offset(const char *text, size_t size, size_t offset)
{
    yaml_mark_t mark = {.index = offset};
    for (size_t i = 0; i < offset && i < size; i++) {
        mark.column++;
        if (text[i] == '\n') {
            mark.line++;
            mark.column = 0;
        }
    }
    return mark;
}

static void syntax_fault(struct check *check, const yaml_parser_t *parser, const char *text,
                         size_t size)
{
    const char *problem = parser->problem ? parser->problem : "out of memory";
    if (parser->error == YAML_READER_ERROR)
        fault(check, mark_of_offset(text, size, parser->problem_offset),
              "expected YAML in UTF-8: %s", problem);
    else
        fault(check, parser->problem_mark, "expected YAML: %s%s%s", problem,
              parser->context ? ", " : "", parser->context ? parser->context : "");
}

static void init_parser(yaml_parser_t *parser, const char *text, size_t size)
{
    int ok = yaml_parser_initialize(parser);
    assert(ok);
    (void)ok;
    yaml_parser_set_input_string(parser, (const unsigned char *)text, size);
}

/* How many levels deeper the token leads: 1, 0, -1. */
static int nesting_of(const yaml_token_t *token)
{
    switch (token->type) {
    case YAML_BLOCK_SEQUENCE_START_TOKEN:
    case YAML_BLOCK_MAPPING_START_TOKEN:
    case YAML_FLOW_SEQUENCE_START_TOKEN:
    case YAML_FLOW_MAPPING_START_TOKEN:
        return 1;
    case YAML_BLOCK_END_TOKEN:
    case YAML_FLOW_SEQUENCE_END_TOKEN:
    case YAML_FLOW_MAPPING_END_TOKEN:
        return -1;
    default: /* of libyaml's many tokens the others stay on their level */
        return 0;
    }
}

/* Aliases make a small file large, and two keys that one edit changes.  Nesting costs
 * libyaml 0.2.5 quadratic time: minutes for 1 MiB of '['. */
static void check_tokens(struct check *check, const char *text, size_t size)
{
    yaml_parser_t parser;
    yaml_token_t token = {.type = YAML_NO_TOKEN};
    bool is_end = false;
    int depth = 0;
    init_parser(&parser, text, size);
    while (!is_end && !is_full(check)) {
        if (!yaml_parser_scan(&parser, &token)) {
            syntax_fault(check, &parser, text, size);
            break;
        }
        if (token.type == YAML_ANCHOR_TOKEN || token.type == YAML_ALIAS_TOKEN)
            fault(check, token.start_mark, "expected a value, anchors and aliases are refused");
        depth += nesting_of(&token);
        if (depth > MAX_DEPTH)
            fault(check, token.start_mark, "expected at most %d levels of nesting", MAX_DEPTH);
        is_end = token.type == YAML_STREAM_END_TOKEN || depth > MAX_DEPTH;
        yaml_token_delete(&token);
    }
    yaml_parser_delete(&parser);
}

static void check_root(struct check *check, const struct em_config_table *table)
{
    const yaml_node_t *root = yaml_document_get_root_node(&check->doc);
    check->is_empty = !root || (root->type == YAML_SCALAR_NODE && root->data.scalar.length == 0);
    if (!check->is_empty && root->type != YAML_MAPPING_NODE)
        fault(check, root->start_mark, "expected a mapping of keys, got %s", kind_of(root));
    else
        check_mapping(check, check->is_empty ? NULL : root, table, "");
}

static void check_end(struct check *check, yaml_parser_t *parser, const char *text, size_t size)
{
    yaml_document_t more;
    if (!yaml_parser_load(parser, &more)) {
        syntax_fault(check, parser, text, size);
        return;
    }
    if (yaml_document_get_root_node(&more))
        fault(check, more.start_mark, "expected the end of the file, got a second document");
    yaml_document_delete(&more);
}

unsigned em_config_check(const struct em_config_table *table, const char *name, const char *text,
                         size_t size, FILE *out, bool *ret_is_empty)
{
    struct check check = {.file = name, .out = out};
    yaml_parser_t parser;
    check_tokens(&check, text, size);
    if (check.n_faults)
        return check.n_faults;
    init_parser(&parser, text, size);
    if (yaml_parser_load(&parser, &check.doc)) {
        check_root(&check, table);
        if (yaml_document_get_root_node(&check.doc))
            check_end(&check, &parser, text, size);
        yaml_document_delete(&check.doc);
    } else {
        syntax_fault(&check, &parser, text, size);
    }
    yaml_parser_delete(&parser);
    *ret_is_empty = check.is_empty;
    return check.n_faults;
}

/* The child of 'node' that the head of 'key' names; moves 'key' behind that. */
static const yaml_node_t *step(yaml_document_t *doc, const yaml_node_t *node, const char **key)
{
    size_t n = strcspn(*key, ".[");
    if (**key == '[') {
        char *end;
        size_t i = strtoul(*key + 1, &end, 10);
        if (node->type != YAML_SEQUENCE_NODE || *end != ']')
            return NULL;
        *key = end + 1;
        yaml_node_item_t *items = node->data.sequence.items.start;
        size_t len = (size_t)(node->data.sequence.items.top - items);
        return i < len ? yaml_document_get_node(doc, items[i]) : NULL;
    }
    if (node->type != YAML_MAPPING_NODE)
        return NULL;
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *name = yaml_document_get_node(doc, pair->key);
        if (name->data.scalar.length == n && memcmp(scalar_of(name), *key, n) == 0) {
            *key += n;
            return yaml_document_get_node(doc, pair->value);
        }
    }
    return NULL;
}

void em_config_locate(const char *text, size_t size, const char *key, size_t *ret_line,
                      size_t *ret_column)
{
    yaml_parser_t parser;
    yaml_document_t doc;
    *ret_line = *ret_column = 1;
    init_parser(&parser, text, size);
    if (yaml_parser_load(&parser, &doc)) {
        const yaml_node_t *node = yaml_document_get_root_node(&doc);
        while (node) {
            *ret_line = node->start_mark.line + 1;
            *ret_column = node->start_mark.column + 1;
            key += *key == '.';
            node = *key ? step(&doc, node, &key) : NULL;
        }
        yaml_document_delete(&doc);
    }
    yaml_parser_delete(&parser);
}
