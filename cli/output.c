/* Two forms of output with opposite needs.  Tables are for eyes: libsmartcols aligns them, and
 * escapes what a terminal would obey.  When one is wider than the terminal, cells of several
 * words are broken between words, because libsmartcols alone would cut addresses in two;
 * off a terminal, nothing is ever broken, so that grep sees one record a line.
 *
 * JSON is for programs and may be a million records long: it is written straight to the
 * stream, with nothing kept but the depth.  Text from the map is not trusted to be UTF-8. */
#include "output.h"

#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MAX_COLUMNS 12
#define GAP         2
#define MIN_WIDTH   8              /* of a column that is broken */
#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD in UTF-8 */

struct ctl_table {
    struct libscols_table *table;
    size_t n_columns;
    size_t widths[MAX_COLUMNS];
    size_t terminal_width; /* 0: not a terminal */
};

static void *checked(void *p)
{
    if (!p)
        abort(); /* libsmartcols gives NULL only when memory is out */
    return p;
}

static size_t terminal_width(FILE *out)
{
    struct winsize size;
    int fd = fileno(out);
    if (fd < 0 || !isatty(fd) || ioctl(fd, TIOCGWINSZ, &size) || !size.ws_col)
        return 0;
    return size.ws_col;
}

/* "hv10" comes after "hv2". */
static int compare_cells(struct libscols_cell *a, struct libscols_cell *b, void *aux)
{
    const char *text_a = scols_cell_get_data(a);
    const char *text_b = scols_cell_get_data(b);
    return strverscmp(text_a ? text_a : "", text_b ? text_b : "");
}

struct ctl_table *ctl_table_new(FILE *out, const struct ctl_column *columns, size_t n)
{
    struct ctl_table *t = em_calloc(1, sizeof(*t));
    assert(n <= MAX_COLUMNS);
    t->n_columns = n;
    t->terminal_width = terminal_width(out);
    t->table = checked(scols_new_table());
    scols_table_set_stream(t->table, out);
    scols_table_set_column_separator(t->table, "  ");
    scols_table_set_termforce(t->table, SCOLS_TERMFORCE_NEVER);
    for (size_t i = 0; i < n; i++) {
        int flags = columns[i].is_number ? SCOLS_FL_RIGHT : 0;
        struct libscols_column *column =
            checked(scols_table_new_column(t->table, columns[i].name, 0, flags));
        scols_column_set_cmpfunc(column, compare_cells, NULL);
        t->widths[i] = strlen(columns[i].name);
    }
    return t;
}

void ctl_table_add_n_take(struct ctl_table *t, char *const *cells, size_t n)
{
    assert(n == t->n_columns);
    struct libscols_line *line = checked(scols_table_new_line(t->table, NULL));
    for (size_t i = 0; i < n; i++) {
        size_t width = strlen(cells[i]);
        if (width > t->widths[i])
            t->widths[i] = width;
        scols_line_refer_data(line, i, cells[i]);
    }
}

void ctl_table_sort(struct ctl_table *t)
{
    scols_sort_table(t->table, scols_table_get_column(t->table, 0));
}

static size_t excess(const struct ctl_table *t)
{
    size_t width = 0;
    for (size_t i = 0; i < t->n_columns; i++)
        width += t->widths[i] + (i ? GAP : 0);
    return t->terminal_width && width > t->terminal_width ? width - t->terminal_width : 0;
}

/* Puts newlines for spaces so that lines have at most 'width' bytes, where words allow;
 * gives the longest line's length. */
static size_t fill(char *text, size_t width)
{
    size_t longest = 0;
    for (char *line = text; *line;) {
        char *end = line + strcspn(line, " ");
        for (char *next = end; *next; end = next) {
            next = end + 1 + strcspn(end + 1, " ");
            if ((size_t)(next - line) > width)
                break;
        }
        size_t len = (size_t)(end - line);
        longest = len > longest ? len : longest;
        if (*end)
            *end++ = '\n';
        line = end;
    }
    return longest;
}

/* libsmartcols then breaks the column's cells where they have newlines. */
static void wrap_column(struct ctl_table *t, size_t i, size_t width)
{
    struct libscols_line *line;
    struct libscols_iter *lines = checked(scols_new_iter(SCOLS_ITER_FORWARD));
    struct libscols_column *column = scols_table_get_column(t->table, i);
    t->widths[i] = strlen(scols_cell_get_data(scols_column_get_header(column)));
    while (scols_table_next_line(t->table, lines, &line) == 0) {
        size_t len = fill((char *)scols_cell_get_data(scols_line_get_cell(line, i)), width);
        t->widths[i] = len > t->widths[i] ? len : t->widths[i];
    }
    scols_free_iter(lines);
    scols_column_set_flags(column, scols_column_get_flags(column) | SCOLS_FL_WRAP);
    scols_column_set_safechars(column, "\n");
    scols_column_set_wrapfunc(column, scols_wrapnl_chunksize, scols_wrapnl_nextchunk, NULL);
}

/* From the widest column on, until the table fits or nothing is left to break. */
static void fit(struct ctl_table *t)
{
    bool is_wrapped[MAX_COLUMNS] = {false};
    for (size_t n = 0, over; n < t->n_columns && (over = excess(t)); n++) {
        size_t widest = MAX_COLUMNS;
        for (size_t i = 0; i < t->n_columns; i++)
            if (!is_wrapped[i] && (widest == MAX_COLUMNS || t->widths[i] > t->widths[widest]))
                widest = i;
        size_t width = t->widths[widest];
        is_wrapped[widest] = true;
        wrap_column(t, widest, width > over + MIN_WIDTH ? width - over : MIN_WIDTH);
    }
}

void ctl_table_print(struct ctl_table *t)
{
    fit(t);
    scols_print_table(t->table);
}

void ctl_table_free(struct ctl_table *t)
{
    if (!t)
        return;
    scols_unref_table(t->table);
    free(t);
}

struct ctl_fields {
    struct libscols_table *table;
};

struct ctl_fields *ctl_fields_new(FILE *out)
{
    struct ctl_fields *fields = em_calloc(1, sizeof(*fields));
    fields->table = checked(scols_new_table());
    scols_table_set_stream(fields->table, out);
    scols_table_enable_noheadings(fields->table, 1);
    scols_table_set_termforce(fields->table, SCOLS_TERMFORCE_NEVER);
    scols_table_set_column_separator(fields->table, "  ");
    checked(scols_table_new_column(fields->table, "NAME", 0, 0));
    checked(scols_table_new_column(fields->table, "VALUE", 0, 0));
    return fields;
}

void ctl_fields_add_take(struct ctl_fields *fields, const char *name, char *value)
{
    struct libscols_line *line = checked(scols_table_new_line(fields->table, NULL));
    scols_line_set_data(line, 0, name);
    scols_line_refer_data(line, 1, value);
}

void ctl_fields_end(struct ctl_fields *fields)
{
    scols_print_table(fields->table);
    scols_unref_table(fields->table);
    free(fields);
}

/* Bytes of the well-formed UTF-8 character at 'text', or 0 (Unicode, table 3-7). */
static size_t utf8_size(const unsigned char *text)
{
    unsigned char first = text[0];
    size_t size = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (first > 0xf4 || (first == 0xe0 && text[1] < 0xa0) || (first == 0xed && text[1] > 0x9f) ||
        (first == 0xf0 && text[1] < 0x90) || (first == 0xf4 && text[1] > 0x8f))
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((text[i] & 0xc0) != 0x80) /* a final NUL too */
            return 0;
    return size;
}

static void print_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (const unsigned char *c = (const unsigned char *)text; *c;) {
        size_t size = utf8_size(c);
        if (!size)
            fputs(REPLACEMENT, out);
        else if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if (*c < 0x20 || *c == 0x7f)
            fprintf(out, "\\u%04x", *c);
        else
            fwrite(c, 1, size, out);
        c += size ? size : 1;
    }
    fputc('"', out);
}

static void next_value(struct ctl_json *json, const char *key)
{
    if (json->needs_comma)
        fputs(json->depth == 1 && !key ? "," : ", ", json->out);
    if (json->depth == 1 && !key)
        fputc('\n', json->out);
    json->needs_comma = true;
    if (key) {
        print_string(json->out, key);
        fputs(": ", json->out);
    }
}

void ctl_json_begin(struct ctl_json *json, const char *key, char bracket)
{
    next_value(json, key);
    fputc(bracket, json->out);
    json->depth++;
    json->needs_comma = false;
}

void ctl_json_end(struct ctl_json *json, char bracket)
{
    assert(json->depth > 0);
    json->depth--;
    if (json->depth == 0 && bracket == ']' && json->needs_comma)
        fputc('\n', json->out);
    fputc(bracket, json->out);
    json->needs_comma = json->depth > 0;
    if (json->depth == 0)
        fputc('\n', json->out);
}

void ctl_json_text(struct ctl_json *json, const char *key, const char *text)
{
    next_value(json, key);
    print_string(json->out, text ? text : "");
}

void ctl_json_uint(struct ctl_json *json, const char *key, uint64_t value)
{
    next_value(json, key);
    fprintf(json->out, "%" PRIu64, value);
}

void ctl_json_bool(struct ctl_json *json, const char *key, bool value)
{
    next_value(json, key);
    fputs(value ? "true" : "false", json->out);
}

void ctl_json_null(struct ctl_json *json, const char *key)
{
    next_value(json, key);
    fputs("null", json->out);
}
