/* The configuration reader over a table that has every type of option. */
#include "target.h"

#include "config/config.h"
#include "eidmap/addr.h"

#include <stdio.h>
#include <string.h>

struct item {
    uint32_t id;
    char *mac;
    char **ips;
    size_t n_ips;
};

struct conf {
    char *name;
    uint16_t port;
    uint32_t lease_ms;
    uint64_t store;
    bool is_fast;
    mode_t mode;
    int color;
    char **servers;
    size_t n_servers;
    char *ca;
    struct item *items;
    size_t n_items;
};

static int check_mac(const char *text, char *why)
{
    uint8_t mac[EM_MAC_SIZE];
    return em_mac_parse(text, mac, why);
}

static const struct em_config_choice colors[] = {{"red", 1}, {"green", 2}, {0}};

static const struct em_config_option item_options[] = {
    {"id", EM_CONFIG_UINT, EM_CONFIG_AT(struct item, id), .is_required = true, .help = "."},
    {"mac", EM_CONFIG_STRING, EM_CONFIG_AT(struct item, mac), .check = check_mac, .help = "."},
    {"ips", EM_CONFIG_STRINGS, EM_CONFIG_LIST_AT(struct item, ips, n_ips), .help = "."},
};
static const struct em_config_table item_table = EM_CONFIG_TABLE(struct item, item_options);

static const struct em_config_option options[] = {
    {"name", EM_CONFIG_STRING, EM_CONFIG_AT(struct conf, name), .help = "."},
    {"port", EM_CONFIG_UINT, EM_CONFIG_AT(struct conf, port), .fallback = "1", .help = "."},
    {"lease", EM_CONFIG_DURATION, EM_CONFIG_AT(struct conf, lease_ms), .max = 9000, .help = "."},
    {"store", EM_CONFIG_SIZE, EM_CONFIG_AT(struct conf, store), .help = "."},
    {"fast", EM_CONFIG_BOOL, EM_CONFIG_AT(struct conf, is_fast), .help = "."},
    {"mode", EM_CONFIG_MODE, EM_CONFIG_AT(struct conf, mode), .help = "."},
    {"color", EM_CONFIG_CHOICE, EM_CONFIG_AT(struct conf, color), .choices = colors, .help = "."},
    {"servers", EM_CONFIG_STRINGS, EM_CONFIG_LIST_AT(struct conf, servers, n_servers),
     .fallback = "a, b", .help = "."},
    {"tls.ca", EM_CONFIG_STRING, EM_CONFIG_AT(struct conf, ca), .help = "."},
    {"items", EM_CONFIG_LIST, EM_CONFIG_LIST_AT(struct conf, items, n_items), .item = &item_table,
     .help = "."},
};

/* Always wrong on demand, so that the search for a key's place is met too. */
static int check_whole(const void *object, char *key, char *why)
{
    const struct conf *conf = object;
    if (!conf->is_fast)
        return 0;
    strcpy(key, "items[0].ips[1]");
    strcpy(why, "expected slow");
    return -1;
}

static const struct em_config_table table = {
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .size = sizeof(struct conf),
    .check = check_whole,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf conf;
    char *why = NULL;
    if (em_config_load_text(&table, "f", (const char *)data, size, &conf, &why) == 0) {
        FUZZ_CHECK(em_config_diff(&table, &conf, &conf, NULL, NULL) == 0);
        em_config_free(&table, &conf);
        return 0;
    }
    FUZZ_CHECK(strncmp(why, "f:", 2) == 0);
    /* What libcyaml refuses has no place: our own check must come first. */
    FUZZ_CHECK(strcmp(why, "f:1:1: expected a YAML file that libcyaml can read") != 0);
    free(why);
    return 0;
}
