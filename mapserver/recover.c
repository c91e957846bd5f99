#include "recover.h"

#include "base/log.h"
#include "base/mem.h"
#include "config.h"
#include "core/data.h"
#include "eidmap/error.h"
#include "net/conn.h"
#include "net/net.h"
#include "net/socket.h"
#include "net/tls.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>

#define ASK_MS 3000

/* Somebody that takes a TLS connection there is alive, whatever it says then. */
struct call {
    struct em_net *net;
    struct em_tls *tls;
    struct em_conn *conn;
    bool is_alive;
};

static void on_open(struct em_conn *conn, void *aux)
{
    struct call *call = aux;
    call->is_alive = true;
    em_conn_close(conn, 0, NULL);
}

static int on_frame(struct em_conn *conn, void *aux, const uint8_t *data, size_t size)
{
    return 0;
}

static void on_close(struct em_conn *conn, void *aux, int err, const char *why)
{
    struct call *call = aux;
    call->conn = NULL;
    ev_break(em_net_loop(call->net), EVBREAK_ALL);
}

static bool is_alive(void *aux, const char *name, const char *address)
{
    static const struct em_conn_events events = {on_open, on_frame, NULL, on_close};
    struct call *call = aux;
    const struct em_conn_config config = {
        .events = &events, .tls = call->tls, .is_client = true, .handshake_ms = ASK_MS};
    struct em_address parsed;
    call->is_alive = false;
    if (!call->tls || em_address_parse(address, &parsed, NULL))
        return false;
    int fd = em_socket_connect(&parsed);
    call->conn = fd < 0 ? NULL : em_conn_new(call->net, fd, &config, call);
    if (call->conn)
        ev_run(em_net_loop(call->net), 0);
    printf("  %s at %s: %s\n", name, address, call->is_alive ? "alive" : "does not answer");
    return call->is_alive;
}

static void explain(const struct ms_config *config)
{
    printf("This makes %s (%s) the only member of its cluster.\n"
           "\n"
           "Do it only when a majority of the map servers is lost for good.  What this server's\n"
           "log holds is kept; writes that only the lost ones had are gone.  Take the survivor\n"
           "with the highest term and log index ('mapctl status').  The others must stay\n"
           "stopped, and be wiped before they are added again with 'mapctl member add'.\n"
           "Agents stay as they are and go on from where they were.\n"
           "\n",
           config->server_id, config->data_dir);
}

static int recover(const struct ms_config *config, char **ret_why)
{
    const struct ms_data_config data = {
        .dir = config->data_dir,
        .server_id = config->server_id,
        .address = config->peers_advertise ? config->peers_advertise
                   : config->peers_listen  ? config->peers_listen
                                           : "",
        .map_size = config->store_size,
        .disk_reserve = config->disk_reserve,
    };
    struct call call = {.net = em_net_new(ev_default_loop(0))};
    int r = 0;
    if (config->tls_cert)
        r = em_tls_new(config->tls_ca, config->tls_cert, config->tls_key, &call.tls, ret_why);
    if (r == 0)
        r = ms_data_recover(&data, is_alive, &call, ret_why);
    em_net_free(call.net);
    em_tls_free(call.tls);
    return r;
}

int ms_recover_run(const char *file, bool is_sure)
{
    struct ms_config config;
    char *why = NULL;
    if (ms_config_load(file, &config, &why)) {
        em_error("%s", why);
        free(why);
        return 1;
    }
    explain(&config);
    int r = is_sure ? recover(&config, &why) : 0;
    if (!is_sure)
        printf("Nothing was done.  Run it again with --yes to do it.\n");
    else if (r)
        fprintf(stderr, "mapserver: not recovered: %s\n", why);
    else
        printf("Done.  Start the map server again, then add others.\n");
    free(why);
    ms_config_free(&config);
    return r || !is_sure ? 1 : 0;
}
