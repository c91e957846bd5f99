#include "config/config.h"

#include "base/mem.h"
#include "eidmap/addr.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum color { RED = 3, GREEN = 7 };

struct tap {
    uint32_t id;
    char *mac;
    char **ips;
    size_t n_ips;
};

struct conf {
    char *name;
    uint16_t port;
    uint32_t lease_ms;
    uint64_t hold_ms;
    uint64_t store;
    bool is_fast;
    mode_t mode;
    enum color color;
    char **servers;
    size_t n_servers;
    char *tls_ca, *tls_cert;
    struct tap *taps;
    size_t n_taps;
};

static int check_mac(const char *text, char *why)
{
    uint8_t mac[EM_MAC_SIZE];
    return em_mac_parse(text, mac, why);
}

static const struct em_config_option tap_options[] = {
    {"id", EM_CONFIG_UINT, EM_CONFIG_AT(struct tap, id), .is_required = true, .min = 1,
     .help = "The number."},
    {"mac", EM_CONFIG_STRING, EM_CONFIG_AT(struct tap, mac), .check = check_mac,
     .fallback = "02:00:00:00:00:01", .help = "The MAC."},
    {"ips", EM_CONFIG_STRINGS, EM_CONFIG_LIST_AT(struct tap, ips, n_ips), .max = 2,
     .help = "The addresses."},
};
static const struct em_config_table tap_table = EM_CONFIG_TABLE(struct tap, tap_options);

static const struct em_config_choice colors[] = {{"red", RED}, {"green", GREEN}, {0}};

static const struct em_config_option options[] = {
    {"name", EM_CONFIG_STRING, EM_CONFIG_AT(struct conf, name), .max = 8, .help = "A name."},
    {"port", EM_CONFIG_UINT, EM_CONFIG_AT(struct conf, port), .fallback = "4342", .min = 1,
     .help = "A port."},
    {"lease", EM_CONFIG_DURATION, EM_CONFIG_AT(struct conf, lease_ms), .fallback = "15s",
     .min = 1000, .max = 3600000, .is_live = true, .help = "A lease."},
    {"hold", EM_CONFIG_DURATION, EM_CONFIG_AT(struct conf, hold_ms), .fallback = "24h",
     .help = "A hold."},
    {"store", EM_CONFIG_SIZE, EM_CONFIG_AT(struct conf, store), .fallback = "16GiB",
     .help = "A size."},
    {"fast", EM_CONFIG_BOOL, EM_CONFIG_AT(struct conf, is_fast), .fallback = "true",
     .help = "A switch."},
    {"mode", EM_CONFIG_MODE, EM_CONFIG_AT(struct conf, mode), .fallback = "0660",
     .help = "A mode."},
    {"color", EM_CONFIG_CHOICE, EM_CONFIG_AT(struct conf, color), .choices = colors,
     .is_live = true, .help = "A color."},
    {"servers", EM_CONFIG_STRINGS, EM_CONFIG_LIST_AT(struct conf, servers, n_servers),
     .fallback = "unix:/run/a, unix:/run/b", .min = 1, .help = "Servers."},
    {"tls.ca", EM_CONFIG_STRING, EM_CONFIG_AT(struct conf, tls_ca), .help = "A CA."},
    {"tls.cert", EM_CONFIG_STRING, EM_CONFIG_AT(struct conf, tls_cert), .help = "A cert."},
    {"taps", EM_CONFIG_LIST, EM_CONFIG_LIST_AT(struct conf, taps, n_taps), .item = &tap_table,
     .help = "Taps."},
};

/* The second tap must not have the first one's id; a hold is longer than a lease. */
static int check_whole(const void *object, char *key, char *why)
{
    const struct conf *conf = object;
    bool is_twice = conf->n_taps == 2 && conf->taps[0].id == conf->taps[1].id;
    if (conf->hold_ms >= conf->lease_ms && !is_twice)
        return 0;
    strcpy(key, is_twice ? "taps[1].id" : "hold");
    strcpy(why, "expected another value");
    return -EINVAL;
}

static const struct em_config_table table = {
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .size = sizeof(struct conf),
    .check = check_whole,
};

static struct conf conf_of(const char *text)
{
    struct conf conf;
    char *why = NULL;
    int r = em_config_load_text(&table, "f", text, strlen(text), &conf, &why);
    cr_assert_eq(r, 0, "%s", why);
    return conf;
}

static void expect_fault_of(const char *text, size_t size, const char *expected)
{
    struct conf conf = {.port = 99};
    char *why = NULL;
    cr_assert_eq(em_config_load_text(&table, "f", text, size, &conf, &why), -EINVAL, "%.*s",
                 (int)size, text);
    cr_assert_str_eq(why, expected);
    cr_assert_eq(conf.port, 99, "the old object was touched");
    free(why);
}

static void expect_fault(const char *text, const char *expected)
{
    expect_fault_of(text, strlen(text), expected);
}

static void expect_fault_like(const char *text, const char *part)
{
    struct conf conf;
    char *why = NULL;
    cr_assert_eq(em_config_load_text(&table, "f", text, strlen(text), &conf, &why), -EINVAL, "%s",
                 text);
    cr_assert_not_null(strstr(why, part), "%s", why);
    free(why);
}

static void expect_defaults(struct conf *conf)
{
    cr_assert_null(conf->name);
    cr_assert_eq(conf->port, 4342);
    cr_assert_eq(conf->lease_ms, 15000);
    cr_assert_eq(conf->hold_ms, 86400000);
    cr_assert_eq(conf->store, UINT64_C(16) << 30);
    cr_assert(conf->is_fast);
    cr_assert_eq(conf->mode, 0660);
    cr_assert_eq(conf->color, RED);
    cr_assert_eq(conf->n_servers, 2);
    cr_assert_str_eq(conf->servers[1], "unix:/run/b");
    cr_assert_eq(conf->n_taps, 0);
    em_config_free(&table, conf);
}

Test(config, empty_file_is_the_defaults)
{
    const char *empty[] = {"", "\n", "# nothing\n", "---\n", "---\n...\n", "{}\n"};
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
        struct conf conf = conf_of(empty[i]);
        expect_defaults(&conf);
    }
}

Test(config, no_file_is_the_defaults)
{
    struct conf conf;
    char *why = NULL;
    cr_assert_eq(em_config_load(&table, NULL, &conf, &why), 0);
    expect_defaults(&conf);
}

Test(config, every_type_is_read)
{
    struct conf conf = conf_of("name: 'a b'\nport: 65535\nlease: 1m\nhold: 7d\nstore: 64KiB\n"
                               "fast: false\nmode: 0600\ncolor: green\nservers: [x, \"y z\"]\n");
    cr_assert_str_eq(conf.name, "a b");
    cr_assert_eq(conf.port, 65535);
    cr_assert_eq(conf.lease_ms, 60000);
    cr_assert_eq(conf.hold_ms, UINT64_C(7) * 86400000);
    cr_assert_eq(conf.store, 65536);
    cr_assert(!conf.is_fast);
    cr_assert_eq(conf.mode, 0600);
    cr_assert_eq(conf.color, GREEN);
    cr_assert_eq(conf.n_servers, 2);
    cr_assert_str_eq(conf.servers[1], "y z");
    em_config_free(&table, &conf);
    cr_assert_null(conf.name, "freed members are cleared");
}

Test(config, sections_and_lists_of_mappings_are_read)
{
    struct conf conf = conf_of("tls:\n  cert: c.pem\n  ca: a.pem\n"
                               "taps:\n"
                               "  - {id: 1, ips: [10.0.0.1, 10.0.0.2]}\n"
                               "  - id: 2\n"
                               "    mac: 02:00:00:00:00:09\n");
    cr_assert_str_eq(conf.tls_ca, "a.pem");
    cr_assert_str_eq(conf.tls_cert, "c.pem");
    cr_assert_eq(conf.n_taps, 2);
    cr_assert_eq(conf.taps[0].n_ips, 2);
    cr_assert_str_eq(conf.taps[0].ips[1], "10.0.0.2");
    cr_assert_str_eq(conf.taps[0].mac, "02:00:00:00:00:01", "an item has defaults too");
    cr_assert_eq(conf.taps[1].id, 2);
    cr_assert_str_eq(conf.taps[1].mac, "02:00:00:00:00:09");
    em_config_free(&table, &conf);
}

Test(config, wrong_value_is_told_with_place_range_and_text)
{
    expect_fault("name: a\nlease:   fast\n",
                 "f:2:10: lease: expected a duration such as 15s between 1s and 1h, got \"fast\"");
    expect_fault("port: 0\n", "f:1:7: port: expected a number between 1 and 65535, got \"0\"");
    expect_fault("fast: yes\n", "f:1:7: fast: expected true or false, got \"yes\"");
    expect_fault("color: blue\n", "f:1:8: color: expected one of red, green, got \"blue\"");
    expect_fault("mode: 0999\n",
                 "f:1:7: mode: expected an octal mode such as 0660 up to 0777, got \"0999\"");
    expect_fault("name: too long a name\n",
                 "f:1:7: name: expected a text of 1 to 8 bytes, got \"too long a name\"");
}

Test(config, numbers_that_do_not_fit_are_refused)
{
    expect_fault_like("port: 65536\n", "expected a number between 1 and 65535");
    expect_fault_like("port: -1\n", "expected a number");
    expect_fault_like("port: 0x10\n", "expected a number");
    expect_fault_like("lease: 15\n", "expected a duration");
    expect_fault_like("lease: 999ms\n", "between 1s and 1h");
    expect_fault_like("lease: 61m\n", "between 1s and 1h");
    expect_fault_like("hold: 18446744073709551615s\n", "expected a duration");
    expect_fault_like("hold: 18446744073709551616ms\n", "expected a duration");
    expect_fault_like("store: 16G\n", "expected a size such as 64MiB");
    expect_fault_like("store: 99999999TiB\n", "expected a size");
}

Test(config, unknown_key_is_named_and_the_near_one_proposed)
{
    expect_fault("leese: 1s\n", "f:1:1: leese: expected a known key, did you mean lease?");
    expect_fault("tls:\n  certs: x\n",
                 "f:2:3: tls.certs: expected a known key, did you mean tls.cert?");
    expect_fault("zzzzzzzz: 1\n", "f:1:1: zzzzzzzz: expected a known key");
    expect_fault("taps: [{id: 1, macs: x}]\n",
                 "f:1:16: taps[0].macs: expected a known key, did you mean mac?");
    expect_fault_like("tls.cert: x\n", "tls.cert: expected a known key");
}

Test(config, all_faults_are_told_at_once)
{
    expect_fault(
        "port: x\nnmae: y\ntaps:\n  - mac: z\n",
        "f:1:7: port: expected a number between 1 and 65535, got \"x\"\n"
        "f:2:1: nmae: expected a known key, did you mean name?\n"
        "f:4:10: taps[0].mac: expected a MAC address such as 02:00:00:00:00:01, got \"z\"\n"
        "f:4:5: taps[0].id: expected this key, it is required");
}

Test(config, wrong_kinds_of_nodes_are_refused)
{
    expect_fault("port: [1]\n", "f:1:7: port: expected a number between 1 and 65535, got a list");
    expect_fault("servers: x\n", "f:1:10: servers: expected a list of texts, got a single value");
    expect_fault("servers:\n", "f:1:9: servers: expected a list of texts, got nothing");
    expect_fault("servers: [{a: b}]\n",
                 "f:1:11: servers[0]: expected a single value, got a mapping");
    expect_fault("taps: {id: 1}\n", "f:1:7: taps: expected a list of mappings, got a mapping");
    expect_fault("taps: [1]\n", "f:1:8: taps[0]: expected a mapping, got a single value");
    expect_fault("tls: x\n", "f:1:6: tls: expected a mapping of its keys, got a single value");
    expect_fault("- a\n", "f:1:1: expected a mapping of keys, got a list");
    expect_fault("? [a]\n: b\n", "f:1:3: expected a key, got a list");
}

Test(config, lists_have_limits)
{
    expect_fault("servers: []\n", "f:1:10: servers: expected 1 to 4096 items, got 0");
    expect_fault("taps: [{id: 1, ips: [a, b, c]}]\n",
                 "f:1:21: taps[0].ips: expected 0 to 2 items, got 3");
}

Test(config, repeated_keys_and_sections_are_refused)
{
    expect_fault("port: 1\nport: 2\n", "f:2:1: port: expected the key once, got it again");
    expect_fault("tls: {ca: a}\ntls: {cert: b}\n",
                 "f:2:1: tls: expected the section once, got it again");
}

Test(config, anchors_aliases_and_second_documents_are_refused)
{
    expect_fault_like("servers: &a [x]\n", "f:1:10: expected a value, anchors and aliases");
    expect_fault_like("servers: *a\n", "f:1:10: expected a value, anchors and aliases");
    expect_fault("port: 1\n---\nport: 2\n",
                 "f:2:1: expected the end of the file, got a second document");
}

Test(config, deep_nesting_is_refused_before_it_costs_time)
{
    size_t size = 1 << 20;
    char *text = em_malloc(size);
    memset(text, '[', size);
    expect_fault_of(text, size, "f:1:17: expected at most 16 levels of nesting");
    memset(text, '{', size);
    expect_fault_of(text, size, "f:1:17: expected at most 16 levels of nesting");
    free(text);
}

Test(config, syntax_faults_have_a_place)
{
    expect_fault_like("port: 1\nservers: [x\n", "f:3:1: expected YAML: ");
    expect_fault_like("port: 1\n\tname: x\n", "f:2:1: expected YAML: ");
    expect_fault_like("port: 1\nname: \xff\n", "f:2:7: expected YAML in UTF-8: ");
    expect_fault_like("name: \"a\\0b\"\n", "f:1:7: name: expected a text without NUL");
    expect_fault_of("port: 1\nname: a\0b\n", 18,
                    "f:2:8: expected YAML in UTF-8: control characters are not allowed");
}

Test(config, values_that_do_not_fit_together_are_told_where_they_stand)
{
    expect_fault("lease: 1h\nhold: 30m\n", "f:2:7: hold: expected another value");
    expect_fault("taps:\n  - {id: 1}\n  - {id: 1}\n", "f:3:10: taps[1].id: expected another value");
}

Test(config, number_of_told_faults_is_bounded)
{
    char text[30 * 8 + 1] = "";
    for (int i = 0; i < 30; i++)
        strcat(text, "zz: 1\n");
    struct conf conf;
    char *why = NULL;
    cr_assert_eq(em_config_load_text(&table, "f", text, strlen(text), &conf, &why), -EINVAL);
    size_t n = 1;
    for (const char *p = why; (p = strchr(p, '\n')); p++)
        n++;
    cr_assert_eq(n, 20);
    free(why);
}

Test(config, file_is_read_and_named_in_faults)
{
    char file[] = "/tmp/eidmap-config-XXXXXX";
    int fd = mkstemp(file);
    struct conf conf;
    char *why = NULL;
    cr_assert_eq(write(fd, "port: 77\n", 9), 9);
    cr_assert_eq(em_config_load(&table, file, &conf, &why), 0);
    cr_assert_eq(conf.port, 77);
    em_config_free(&table, &conf);
    cr_assert_eq(write(fd, "bad\n", 4), 4);
    cr_assert_eq(em_config_load(&table, file, &conf, &why), -EINVAL);
    cr_assert_eq(strncmp(why, file, strlen(file)), 0);
    free(why);
    cr_assert_eq(ftruncate(fd, (1 << 20) + 1), 0);
    cr_assert_eq(em_config_load(&table, file, &conf, &why), -EFBIG);
    free(why);
    close(fd);
    unlink(file);
    cr_assert_eq(em_config_load(&table, file, &conf, &why), -ENOENT);
    cr_assert_not_null(strstr(why, "No such file"));
    free(why);
}

static void count_live(void *aux, const struct em_config_option *option)
{
    int *n_live = aux;
    *n_live += option->is_live;
}

Test(config, diff_visits_what_changed)
{
    struct conf a = conf_of("name: x\ntaps: [{id: 1, ips: [a]}]\n");
    struct conf same = conf_of("taps: [{ips: [a], id: 1}]\nname: x\nlease: 15s\n");
    struct conf b = conf_of("name: y\nlease: 16s\ncolor: green\ntaps: [{id: 1, ips: [b]}]\n"
                            "servers: [unix:/run/a]\n");
    int n_live = 0;
    cr_assert_eq(em_config_diff(&table, &a, &same, NULL, NULL), 0);
    cr_assert_eq(em_config_diff(&table, &a, &b, count_live, &n_live), 5);
    cr_assert_eq(n_live, 2);
    em_config_free(&table, &a);
    em_config_free(&table, &same);
    em_config_free(&table, &b);
}

Test(config, manual_names_type_range_default_and_help)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    em_config_print(&table, out);
    fclose(out);
    cr_assert_not_null(strstr(text, "  lease: a duration such as 15s between 1s and 1h, "
                                    "default 15s, taken over on\n      reload\n      A lease.\n"));
    cr_assert_not_null(strstr(text, "      id: a number"));
    cr_assert_not_null(strstr(text, "required"));
    for (size_t i = 0; i < table.n_options; i++)
        cr_assert_not_null(strstr(text, options[i].key), "%s is missing", options[i].key);
    free(text);
}
