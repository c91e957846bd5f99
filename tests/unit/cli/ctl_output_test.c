/* Tables and JSON as they come out, with jansson as the witness. */
#include "cli/ctl_stage.h"

#include "base/mem.h"
#include "output.h"
#include "record.h"

#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static char *text;
static size_t size;

static FILE *begin(void)
{
    FILE *out = open_memstream(&text, &size);
    cr_assert(out);
    return out;
}

static void add(struct ctl_table *table, const char *a, const char *b, const char *c)
{
    ctl_table_add_take(table, (char *[]){em_strdup(a), em_strdup(b), em_strdup(c)});
}

static const struct ctl_column columns[] = {{"NAME"}, {"SIZE", true}, {"WORDS"}};

static void print_table(FILE *out)
{
    struct ctl_table *table = ctl_table_new(out, columns, 3);
    add(table, "hv10", "7", "alpha beta");
    add(table, "hv2", "1234567", "gamma");
    ctl_table_sort(table);
    ctl_table_print(table);
    ctl_table_free(table);
}

Test(ctl_output, table_has_a_heading_and_a_line_each_in_natural_order)
{
    FILE *out = begin();
    print_table(out);
    fclose(out);
    cr_assert_str_eq(text, "NAME     SIZE  WORDS\n"
                           "hv2   1234567  gamma\n"
                           "hv10        7  alpha beta\n");
    free(text);
}

/* Prints to a terminal of that width; gives what came out, without the returns. */
static void print_to_terminal(unsigned short width, char output[1024])
{
    int master, slave;
    char byte;
    size_t n = 0;
    struct winsize window = {.ws_row = 24, .ws_col = width};
    cr_assert_eq(openpty(&master, &slave, NULL, NULL, &window), 0);
    FILE *out = fdopen(slave, "w");
    print_table(out);
    fclose(out);
    while (n < 1023 && read(master, &byte, 1) == 1)
        if (byte != '\r')
            output[n++] = byte;
    output[n] = '\0';
    close(master);
}

Test(ctl_output, narrow_terminal_gets_a_word_a_line)
{
    char output[1024];
    print_to_terminal(22, output);
    ctl_assert_has(output, "hv10        7  alpha\n               beta\n");
}

Test(ctl_output, only_what_must_be_broken_is_broken)
{
    char output[1024];
    print_to_terminal(24, output);
    ctl_assert_has(output, "hv10        7  alpha\n               beta\n");
    print_to_terminal(25, output);
    ctl_assert_has(output, "hv10        7  alpha beta\n");
}

Test(ctl_output, wide_terminal_keeps_one_record_a_line)
{
    char output[1024];
    print_to_terminal(80, output);
    ctl_assert_has(output, "hv10        7  alpha beta\n");
}

Test(ctl_output, table_shows_control_characters_harmlessly)
{
    FILE *out = begin();
    struct ctl_table *table = ctl_table_new(out, columns, 3);
    add(table, "a\033[31mred", "1", "x\ny");
    ctl_table_print(table);
    ctl_table_free(table);
    fclose(out);
    cr_assert_null(strchr(text, '\033'));
    cr_assert_eq(strchr(strchr(text, '\n') + 1, '\n'), text + size - 1, "more than a line: %s",
                 text);
    free(text);
}

Test(ctl_output, empty_table_is_empty_or_a_heading)
{
    FILE *out = begin();
    struct ctl_table *table = ctl_table_new(out, columns, 3);
    ctl_table_sort(table);
    ctl_table_print(table);
    ctl_table_free(table);
    fclose(out);
    cr_assert(size == 0 || strncmp(text, "NAME", 4) == 0, "%s", text);
    free(text);
}

Test(ctl_output, fields_line_up)
{
    FILE *out = begin();
    struct ctl_fields *fields = ctl_fields_new(out);
    ctl_fields_add_take(fields, "node", em_strdup("hv1"));
    ctl_fields_add_take(fields, "software", em_strdup("xtr 1"));
    ctl_fields_end(fields);
    fclose(out);
    cr_assert_str_eq(text, "node      hv1\nsoftware  xtr 1\n");
    free(text);
}

Test(ctl_output, json_nests_and_separates)
{
    struct ctl_json json = {begin()};
    ctl_json_begin(&json, NULL, '{');
    ctl_json_uint(&json, "n", UINT64_C(9007199254740993));
    ctl_json_bool(&json, "yes", true);
    ctl_json_null(&json, "none");
    ctl_json_begin(&json, "list", '[');
    ctl_json_begin(&json, NULL, '{');
    ctl_json_end(&json, '}');
    ctl_json_text(&json, NULL, "x");
    ctl_json_end(&json, ']');
    ctl_json_text(&json, "after", NULL);
    ctl_json_end(&json, '}');
    fclose(json.out);
    cr_assert_str_eq(text, "{\"n\": 9007199254740993, \"yes\": true, \"none\": null, "
                           "\"list\": [{}, \"x\"], \"after\": \"\"}\n");
    json_decref(ctl_parse_json(text));
    free(text);
}

Test(ctl_output, json_list_has_a_record_a_line_and_may_be_empty)
{
    struct ctl_json json = {begin()};
    ctl_json_begin(&json, NULL, '[');
    ctl_json_end(&json, ']');
    ctl_json_begin(&json, NULL, '[');
    ctl_json_uint(&json, NULL, 1);
    ctl_json_uint(&json, NULL, 2);
    ctl_json_end(&json, ']');
    fclose(json.out);
    cr_assert_str_eq(text, "[]\n[\n1,\n2\n]\n");
    free(text);
}

/* What jansson reads back from ctl_json_text(). */
static char *round_trip(const char *input)
{
    struct ctl_json json = {begin()};
    ctl_json_begin(&json, NULL, '[');
    ctl_json_text(&json, NULL, input);
    ctl_json_end(&json, ']');
    fclose(json.out);
    json_t *parsed = ctl_parse_json(text);
    char *result = em_strdup(json_string_value(json_array_get(parsed, 0)));
    json_decref(parsed);
    free(text);
    return result;
}

Test(ctl_output, json_text_survives_every_byte)
{
    for (int c = 1; c < 0x80; c++) {
        char input[] = {'<', (char)c, '>', '\0'};
        char *back = round_trip(input);
        cr_assert_str_eq(back, input, "byte %d", c);
        free(back);
    }
    for (int c = 0x80; c < 0x100; c++) {
        char input[] = {'<', (char)c, '>', '\0'};
        char *back = round_trip(input);
        cr_assert_str_eq(back, "<\xef\xbf\xbd>", "byte %d", c);
        free(back);
    }
}

Test(ctl_output, json_keeps_utf8_and_replaces_what_is_none)
{
    static const struct {
        const char *input, *output;
    } cases[] = {
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x9f", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x9f"},
        {"\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd"},                                 /* overlong */
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},                 /* surrogate */
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* > 10FFFF */
        {"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},                                 /* cut off */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *back = round_trip(cases[i].input);
        cr_assert_str_eq(back, cases[i].output, "case %zu", i);
        free(back);
    }
}

static void assert_text(char *actual, const char *expected)
{
    cr_assert_str_eq(actual, expected);
    free(actual);
}

Test(ctl_output, durations_and_sizes_read_well)
{
    assert_text(ctl_duration_text(0), "0.000s");
    assert_text(ctl_duration_text(9999), "9.999s");
    assert_text(ctl_duration_text(59999), "59s");
    assert_text(ctl_duration_text(60000), "1m0s");
    assert_text(ctl_duration_text(3600000 + 120000), "1h2m");
    assert_text(ctl_duration_text(90000000), "1d1h");
    assert_text(ctl_duration_text(UINT64_MAX), "213503982334d14h");
    assert_text(ctl_size_text(0), "0 B");
    assert_text(ctl_size_text(1023), "1023 B");
    assert_text(ctl_size_text(1536), "1.5 KiB");
    assert_text(ctl_size_text(UINT64_MAX), "16.0 EiB");
}

Test(ctl_output, locations_show_what_is_not_the_default)
{
    struct em_location l[] = {
        {.node_id = "hv1", .segmentation_id = 5001},
        {.node_id = "hv2", .segmentation_id = 7, .priority = 1, .weight = 50, .is_pending = true},
        {.node_id = "hv3", .segmentation_id = 7, .view_node = "hv9"},
        {.node_id = "hv4", .segmentation_id = 7, .view_label = {"rack", "r7"}},
    };
    assert_text(ctl_locations_text(l, 4),
                "hv1:5001 hv2:7(p1,w50,pending) hv3:7(for:hv9) hv4:7(for:rack=r7)");
    assert_text(ctl_places_text(l, 2), "hv1 hv2");
    assert_text(ctl_locations_text(l, 0), "-");
}

Test(ctl_output, rlocs_show_encapsulation_and_port_where_they_matter)
{
    struct em_rloc r[] = {
        {.ip = {4, {192, 0, 2, 1}}, .encap = EM_ENCAP_VXLAN},
        {.ip = {4, {192, 0, 2, 1}}, .encap = EM_ENCAP_GENEVE, .udp_port = 6081},
        {.ip = {16, {0x20, 1, 0xd, 0xb8}}, .encap = EM_ENCAP_VXLAN, .udp_port = 8472},
    };
    assert_text(ctl_rlocs_text(r, 3), "192.0.2.1 geneve/192.0.2.1:6081 [2001:db8::]:8472");
}
