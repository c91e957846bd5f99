/* The map server's configuration: one table that the parser, the help and the reload walk. */
#ifndef MS_CONFIG_H
#define MS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct ms_config {
    char *server_id;
    char *data_dir;
    char **listen;
    size_t n_listen;
    char **advertise;
    size_t n_advertise;
    bool join;
    char *peers_listen, *peers_advertise; /* or NULL */
    uint32_t election_ms;
    char *tls_ca, *tls_cert, *tls_key; /* all three or none */
    mode_t socket_mode;
    uint32_t workers;
    int log_level; /* enum em_log_level */
    uint32_t lease_ms;
    uint64_t hold_ms;
    uint64_t tombstones_ms;
    uint32_t max_connections;
    uint32_t max_handshakes;
    uint32_t handshake_ms;
    uint32_t max_node_ports;
    uint64_t store_size;   /* bytes */
    uint64_t disk_reserve; /* bytes */
};

/* 'file' NULL: defaults.  0, or an error with one line for each fault in *ret_why (free() it). */
int ms_config_load(const char *file, struct ms_config *ret_config, char **ret_why);
void ms_config_free(struct ms_config *config);

/* After a reload: logs what has changed, and which of it needs a restart. */
void ms_config_log_changes(const struct ms_config *old, const struct ms_config *new);

/* The options, for --help. */
void ms_config_print(FILE *out);

#endif
