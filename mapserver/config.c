#include "config.h"

#include "base/log.h"
#include "config/config.h"
#include "net/socket.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define YEAR_MS (365ull * 86400 * 1000)
#define SECOND  1000u
#define MIB     (1ull << 20)

static const struct em_config_choice log_levels[] = {
    {"info", EM_LOG_INFO},
    {"error", EM_LOG_ERROR},
    {"warn", EM_LOG_WARN},
    {"debug", EM_LOG_DEBUG},
    {NULL, 0},
};

static int check_ident(const char *text, char *why)
{
    return em_ident_check(text, why);
}

static int check_address(const char *text, char *why)
{
    struct em_address address;
    return em_address_parse(text, &address, why);
}

static int check_peer_address(const char *text, char *why)
{
    struct em_address address;
    int r = em_address_parse(text, &address, why);
    if (r == 0 && address.transport != EM_TLS) {
        snprintf(why, EM_ADDR_WHY, "expected tls://ADDRESS:PORT");
        r = -EINVAL;
    }
    return r;
}

static const struct em_config_option options[] = {
    {"server_id", EM_CONFIG_STRING, EM_CONFIG_AT(struct ms_config, server_id), .fallback = "ms1",
     .check = check_ident, .help = "Name of this map server, unique in its cluster."},
    {"data_dir", EM_CONFIG_STRING, EM_CONFIG_AT(struct ms_config, data_dir),
     .fallback = "/var/lib/eidmap/mapserver", .help = "Where the map is kept; made if need be."},
    {"listen", EM_CONFIG_STRINGS, EM_CONFIG_LIST_AT(struct ms_config, listen, n_listen), .min = 1,
     .max = 16, .fallback = "unix:/run/eidmap/mapserver.sock", .check = check_address,
     .help = "Addresses to serve: tls://ADDRESS:PORT, unix:PATH, or tcp://127.0.0.1:PORT without "
             "TLS."},
    {"advertise", EM_CONFIG_STRINGS, EM_CONFIG_LIST_AT(struct ms_config, advertise, n_advertise),
     .max = 16, .check = check_address,
     .help = "Addresses that clients are told, where they differ from what is served."},
    {"join", EM_CONFIG_BOOL, EM_CONFIG_AT(struct ms_config, join), .fallback = "false",
     .help = "An empty server waits to be added to a cluster ('mapctl member add') instead of "
             "starting one; of no effect once it has a map."},
    {"peers.listen", EM_CONFIG_STRING, EM_CONFIG_AT(struct ms_config, peers_listen),
     .check = check_peer_address,
     .help = "Address for other map servers, tls://ADDRESS:PORT (4343 by custom); without it the "
             "cluster cannot grow."},
    {"peers.advertise", EM_CONFIG_STRING, EM_CONFIG_AT(struct ms_config, peers_advertise),
     .check = check_peer_address, .help = "How the others reach that address, where it differs."},
    {"peers.election", EM_CONFIG_DURATION, EM_CONFIG_AT(struct ms_config, election_ms),
     .fallback = "500ms", .min = 100, .max = 60 * SECOND,
     .help = "A leader that is silent for one to two times as long is replaced; ten times the "
             "round trip at least, and the same on every server."},
    {"tls.ca", EM_CONFIG_STRING, EM_CONFIG_AT(struct ms_config, tls_ca), .is_live = true,
     .help = "Certificate of the cluster's CA (PEM)."},
    {"tls.cert", EM_CONFIG_STRING, EM_CONFIG_AT(struct ms_config, tls_cert), .is_live = true,
     .help = "This server's certificate, with the URI eidmap://server/ID (PEM)."},
    {"tls.key", EM_CONFIG_STRING, EM_CONFIG_AT(struct ms_config, tls_key), .is_live = true,
     .help = "Its private key (PEM)."},
    {"socket_mode", EM_CONFIG_MODE, EM_CONFIG_AT(struct ms_config, socket_mode), .fallback = "0660",
     .help = "Access mode of unix sockets; only root and the server's own "
             "user are obeyed in any case."},
    {"workers", EM_CONFIG_UINT, EM_CONFIG_AT(struct ms_config, workers), .fallback = "2", .min = 1,
     .max = 64, .help = "Threads that serve clients."},
    {"log", EM_CONFIG_CHOICE, EM_CONFIG_AT(struct ms_config, log_level), .choices = log_levels,
     .is_live = true, .help = "What is logged on standard error."},
    {"lease.duration", EM_CONFIG_DURATION, EM_CONFIG_AT(struct ms_config, lease_ms),
     .fallback = "15s", .min = SECOND, .max = 3600 * SECOND, .is_live = true,
     .help = "A node that is silent for so long is unreachable."},
    {"lease.hold", EM_CONFIG_DURATION, EM_CONFIG_AT(struct ms_config, hold_ms), .fallback = "24h",
     .min = 10 * SECOND, .max = YEAR_MS, .is_live = true,
     .help = "An unreachable node keeps its locations for so long."},
    {"tombstones", EM_CONFIG_DURATION, EM_CONFIG_AT(struct ms_config, tombstones_ms),
     .fallback = "15m", .min = SECOND, .max = YEAR_MS, .is_live = true,
     .help = "Deletions stay in the feed for so long: an agent that was away longer takes the "
             "whole network again."},
    {"limits.connections", EM_CONFIG_UINT, EM_CONFIG_AT(struct ms_config, max_connections),
     .fallback = "20000", .min = 1, .max = 1000000, .is_live = true,
     .help = "Connections at once; more wait."},
    {"limits.handshakes", EM_CONFIG_UINT, EM_CONFIG_AT(struct ms_config, max_handshakes),
     .fallback = "256", .min = 1, .max = 100000, .is_live = true,
     .help = "TLS handshakes at once; more wait."},
    {"limits.handshake", EM_CONFIG_DURATION, EM_CONFIG_AT(struct ms_config, handshake_ms),
     .fallback = "10s", .min = 100, .max = 60 * SECOND,
     .help = "Time for a handshake, and for the Hello after it."},
    {"limits.ports_per_node", EM_CONFIG_UINT, EM_CONFIG_AT(struct ms_config, max_node_ports),
     .fallback = "200000", .min = 1, .max = 100000000,
     .help = "Locations that one node may register; the same on every server."},
    {"store.size", EM_CONFIG_SIZE, EM_CONFIG_AT(struct ms_config, store_size), .fallback = "16GiB",
     .min = MIB, .max = 1ull << 46, .help = "The map may grow to this size; the file is sparse."},
    {"store.disk_reserve", EM_CONFIG_SIZE, EM_CONFIG_AT(struct ms_config, disk_reserve),
     .fallback = "64MiB", .min = MIB, .max = 1ull << 46,
     .help = "Writes are refused when less than this is free on the disk."},
};

static bool is_set(const char *text)
{
    return text != NULL;
}

static int check_config(const void *conf, char *key, char *why)
{
    const struct ms_config *config = conf;
    unsigned n_tls = is_set(config->tls_ca) + is_set(config->tls_cert) + is_set(config->tls_key);
    if (n_tls == 1 || n_tls == 2) {
        snprintf(key, EM_CONFIG_KEY, "tls");
        snprintf(why, EM_CONFIG_WHY, "expected all of tls.ca, tls.cert and tls.key, or none");
        return -EINVAL;
    }
    if ((config->peers_listen || config->join) && n_tls == 0) {
        snprintf(key, EM_CONFIG_KEY, config->peers_listen ? "peers.listen" : "join");
        snprintf(why, EM_CONFIG_WHY, "other map servers need tls.ca, tls.cert and tls.key");
        return -EINVAL;
    }
    if (config->join && !config->peers_listen) {
        snprintf(key, EM_CONFIG_KEY, "join");
        snprintf(why, EM_CONFIG_WHY, "a server that joins needs peers.listen");
        return -EINVAL;
    }
    for (size_t i = 0; i < config->n_listen; i++) {
        struct em_address address;
        if (em_address_parse(config->listen[i], &address, NULL) == 0 &&
            address.transport == EM_TLS && n_tls == 0) {
            snprintf(key, EM_CONFIG_KEY, "listen[%zu]", i);
            snprintf(why, EM_CONFIG_WHY, "an address with TLS needs tls.ca, tls.cert and tls.key");
            return -EINVAL;
        }
    }
    return 0;
}

static const struct em_config_table table = {
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .size = sizeof(struct ms_config),
    .check = check_config,
};

int ms_config_load(const char *file, struct ms_config *ret_config, char **ret_why)
{
    return em_config_load(&table, file, ret_config, ret_why);
}

void ms_config_free(struct ms_config *config)
{
    em_config_free(&table, config);
}

static void on_change(void *aux, const struct em_config_option *option)
{
    if (option->is_live)
        em_info("%s has changed", option->key);
    else
        em_warn("%s has changed and takes effect at the next start only", option->key);
}

void ms_config_log_changes(const struct ms_config *old, const struct ms_config *new)
{
    em_config_diff(&table, old, new, on_change, NULL);
}

void ms_config_print(FILE *out)
{
    em_config_print(&table, out);
}
