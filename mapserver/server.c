#include "server.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/notify.h"
#include "config.h"
#include "eidmap/error.h"
#include "core/data.h"
#include "front/front.h"
#include "net/tls.h"

#include <errno.h>
#include <ev.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define HEAP_KEPT (1 << 20) /* bytes, of each thread */

struct server {
    struct ev_loop *loop;
    const char *file;
    struct ms_config started; /* the front holds its strings */
    struct ms_config config;  /* as last reloaded */
    bool is_reloaded;
    struct ms_data data;
    struct em_tls *tls;
    struct ms_front *front;
    const char *own[16]; /* addresses that clients are told */
    size_t n_own;
    ev_signal term, interrupt, hangup;
    ev_timer watchdog;
    ev_async fatal, again;
    bool is_broken, is_again;
};

/* The core's thread cannot hand the server over otherwise. */
static struct server *the_server;

static struct ms_front_config front_config(const struct ms_config *config)
{
    return (struct ms_front_config){
        .server_id = config->server_id,
        .listen = (const char *const *)config->listen,
        .n_listen = config->n_listen,
        .advertise = (const char *const *)config->advertise,
        .n_advertise = config->n_advertise,
        .socket_mode = config->socket_mode,
        .n_workers = config->workers,
        .max_connections = config->max_connections,
        .max_handshakes = config->max_handshakes,
        .handshake_ms = config->handshake_ms,
        .lease_ms = config->lease_ms,
        .hold_ms = config->hold_ms,
        .tombstones_ms = config->tombstones_ms,
        .max_node_ports = config->max_node_ports,
    };
}

static struct ms_data_config data_config(const struct ms_config *config)
{
    const char *address = config->peers_advertise ? config->peers_advertise : config->peers_listen;
    return (struct ms_data_config){
        .dir = config->data_dir,
        .server_id = config->server_id,
        .address = address ? address : "",
        .join = config->join,
        .map_size = config->store_size,
        .disk_reserve = config->disk_reserve,
    };
}

/* What is advertised, or else what is served by TLS. */
static void find_own_addresses(struct server *server)
{
    const struct ms_config *config = &server->config;
    bool is_all = config->n_advertise > 0;
    size_t n = is_all ? config->n_advertise : config->n_listen;
    server->n_own = 0;
    for (size_t i = 0; i < n && server->n_own < 16; i++) {
        const char *address = is_all ? config->advertise[i] : config->listen[i];
        if (is_all || strncmp(address, "tls://", 6) == 0)
            server->own[server->n_own++] = address;
    }
}

static struct ms_core_config core_config(const struct server *server)
{
    const struct ms_config *config = &server->config;
    return (struct ms_core_config){
        .store = server->data.store,
        .log = server->data.log,
        .state = &server->data.state,
        .dir = config->data_dir,
        .server_id = config->server_id,
        .peers_listen = config->peers_listen,
        .peers_advertise = config->peers_advertise,
        .servers = server->own,
        .n_servers = server->n_own,
        .tls = server->tls,
        .tls_ca = config->tls_ca,
        .tls_cert = config->tls_cert,
        .tls_key = config->tls_key,
        .election_ms = config->election_ms,
        .map_size = config->store_size,
        .disk_reserve = config->disk_reserve,
    };
}

/* A default path under /run or /var/lib works on a machine where nobody made it
 * yet. */
static void make_parent(const char *path)
{
    char *dir = em_strdup(path);
    for (char *slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(dir, 0755); /* what cannot be made is said by who needs it */
        *slash = '/';
    }
    free(dir);
}

static void make_parents(const struct ms_config *config)
{
    make_parent(config->data_dir);
    for (size_t i = 0; i < config->n_listen; i++)
        if (strncmp(config->listen[i], "unix:", 5) == 0)
            make_parent(config->listen[i] + 5);
}

static int open_tls(const struct ms_config *config, struct em_tls **ret_tls, char **ret_why)
{
    *ret_tls = NULL;
    if (!config->tls_cert)
        return 0;
    int r = em_tls_new(config->tls_ca, config->tls_cert, config->tls_key, ret_tls, ret_why);
    if (r == 0 && em_tls_identity(*ret_tls)->role != EM_ROLE_SERVER) {
        *ret_why = em_asprintf("%s: is not a server's certificate; make one with "
                               "'mapctl pki server'",
                               config->tls_cert);
        em_tls_free(*ret_tls);
        *ret_tls = NULL;
        r = -EINVAL;
    }
    return r;
}

/* Thousands of connections need as many descriptors as the hard limit gives. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void on_fatal_wake(struct ev_loop *loop, ev_async *w, int revents)
{
    struct server *server = w->data;
    server->is_broken = true;
    ev_break(loop, EVBREAK_ALL);
}

/* Core's thread. */
static void on_fatal(int err, const char *why)
{
    em_error("cannot go on: %s (%s)", why, em_strerror(err));
    ev_async_send(the_server->loop, &the_server->fatal);
}

/* Any thread. */
static void on_restart(void)
{
    ev_async_send(the_server->loop, &the_server->again);
}

static void on_again_wake(struct ev_loop *loop, ev_async *w, int revents)
{
    struct server *server = w->data;
    server->is_again = true;
    ev_break(loop, EVBREAK_ALL);
}

static int check_name(const struct ms_config *config, const struct em_tls *tls, char **ret_why)
{
    if (!tls || !config->peers_listen || strcmp(em_tls_identity(tls)->name, config->server_id) == 0)
        return 0;
    *ret_why = em_asprintf("server_id is %s, but the certificate %s is for %s: the other map "
                           "servers go by the certificate",
                           config->server_id, config->tls_cert, em_tls_identity(tls)->name);
    return -EINVAL;
}

static int start(struct server *server, char **ret_why)
{
    const struct ms_config *config = &server->config;
    const struct ms_data_config data = data_config(config);
    make_parents(config);
    raise_file_limit();
    find_own_addresses(server);
    int r = open_tls(config, &server->tls, ret_why);
    if (r == 0)
        r = check_name(config, server->tls, ret_why);
    if (r == 0)
        r = ms_data_open(&data, &server->data, ret_why);
    if (r)
        return r;
    const struct ms_core_config core = core_config(server);
    struct ms_front_config front = front_config(config);
    front.core = &core;
    return ms_front_start(server->loop, &front, server->tls, on_fatal, on_restart, &server->front,
                          ret_why);
}

static void stop(struct server *server)
{
    ms_front_stop(server->front);
    server->front = NULL;
    ms_data_close(&server->data);
    em_tls_free(server->tls);
    server->tls = NULL;
}

static void tell_systemd(struct server *server, const char *state)
{
    char summary[128], text[256];
    ms_front_summary(server->front, summary, sizeof(summary));
    snprintf(text, sizeof(text), "%sSTATUS=%s", state, summary);
    em_notify(text);
}

static void on_watchdog(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct server *server = w->data;
    if (ms_front_is_alive(server->front))
        tell_systemd(server, "WATCHDOG=1\n");
    else
        em_error("a thread has not moved since the last watchdog tick");
}

static void on_end(struct ev_loop *loop, ev_signal *w, int revents)
{
    em_info("%s: closing", strsignal(w->signum));
    ev_break(loop, EVBREAK_ALL);
}

static void reload(struct server *server)
{
    struct ms_config config;
    struct em_tls *tls = NULL;
    char *why = NULL;
    int r = ms_config_load(server->file, &config, &why);
    if (r == 0) {
        r = open_tls(&config, &tls, &why);
        if (r)
            ms_config_free(&config);
    }
    if (r) {
        em_error("%s; the old configuration stays", why);
        free(why);
        return;
    }
    ms_config_log_changes(&server->config, &config);
    em_log_set_level((enum em_log_level)config.log_level);
    const struct ms_front_config front = front_config(&config);
    ms_front_set_limits(server->front, &front);
    if (tls) { /* none: the addresses that are served still need the last one */
        ms_front_set_tls(server->front, tls);
        em_tls_free(server->tls);
        server->tls = tls;
    }
    if (server->is_reloaded)
        ms_config_free(&server->config);
    server->config = config;
    server->is_reloaded = true;
    em_info("configuration reloaded");
}

static void on_hangup(struct ev_loop *loop, ev_signal *w, int revents)
{
    em_notify("RELOADING=1");
    reload(w->data);
    em_notify("READY=1");
}

static void watch_signals(struct server *server)
{
    ev_signal_init(&server->term, on_end, SIGTERM);
    ev_signal_init(&server->interrupt, on_end, SIGINT);
    ev_signal_init(&server->hangup, on_hangup, SIGHUP);
    server->hangup.data = server;
    ev_signal_start(server->loop, &server->term);
    ev_signal_start(server->loop, &server->interrupt);
    ev_signal_start(server->loop, &server->hangup);
}

static int serve(struct server *server)
{
    unsigned watchdog_ms = em_notify_watchdog_ms();
    if (watchdog_ms) {
        ev_timer_init(&server->watchdog, on_watchdog, 0, watchdog_ms / 2000.0);
        server->watchdog.data = server;
        ev_timer_start(server->loop, &server->watchdog);
    }
    tell_systemd(server, "READY=1\n");
    em_info("%s is ready", server->config.server_id);
    ev_run(server->loop, 0);
    em_notify("STOPPING=1");
    return server->is_broken ? 1 : 0;
}

/* A batch takes some buffers and gives them back.  The kernel would take them away, and each page
 * of the next batch would be a fault; so a little is kept. */
static void keep_heap(void)
{
    mallopt(M_TRIM_THRESHOLD, HEAP_KEPT);
    mallopt(M_MMAP_THRESHOLD, HEAP_KEPT);
}

int ms_server_check(const char *file, char **ret_why)
{
    struct ms_config config;
    struct em_tls *tls = NULL;
    int r = ms_config_load(file, &config, ret_why);
    if (r)
        return r;
    r = open_tls(&config, &tls, ret_why);
    em_tls_free(tls);
    ms_config_free(&config);
    return r;
}

int ms_server_run(const char *file)
{
    struct server server = {.file = file};
    char *why = NULL;
    int status = 1;
    keep_heap();
    if (ms_config_load(file, &server.started, &why)) {
        em_error("%s", why);
        free(why);
        return 1;
    }
    server.config = server.started;
    em_log_set_level((enum em_log_level)server.config.log_level);
    the_server = &server;
    server.loop = ev_default_loop(0);
    ev_async_init(&server.fatal, on_fatal_wake);
    ev_async_init(&server.again, on_again_wake);
    server.fatal.data = server.again.data = &server;
    ev_async_start(server.loop, &server.fatal);
    ev_async_start(server.loop, &server.again);
    watch_signals(&server);
    do {
        server.is_again = false;
        if (start(&server, &why)) {
            em_error("cannot start: %s", why);
            status = 1;
        } else {
            status = serve(&server);
        }
        stop(&server);
    } while (server.is_again && !server.is_broken);
    free(why);
    if (server.is_reloaded)
        ms_config_free(&server.config);
    ms_config_free(&server.started);
    return status;
}
