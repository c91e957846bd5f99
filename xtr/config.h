/* The xTR's configuration file; its options are described in config.c. */
#ifndef XTR_CONFIG_H
#define XTR_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct xtr_config_network {
    char *name;
    uint32_t segmentation_id; /* that this node receives on */
};

struct xtr_config_port {
    char *id;
    char *network;
    char *device;
    char *mac;
    char **macs;
    size_t n_macs;
    char **ips;
    size_t n_ips;
    uint16_t priority;
    uint16_t weight;
    bool is_multihomed;
};

enum xtr_plane { XTR_PLANE_KERNEL, XTR_PLANE_NULL, XTR_PLANE_OVS };

/* Most bytes of a node-id, so that the port-id of a guest has room for it. */
#define XTR_WATCH_NODE 31

struct xtr_config_watch {
    char *network;
    char *devices; /* pattern of glob(7) */
    uint64_t idle_ms;
    uint32_t max_ports;
    int takes_any; /* a guest may take over a port that is not automatic */
};

struct xtr_config {
    char *node_id; /* never NULL after loading */
    char **servers;
    size_t n_servers;
    char *tls_ca, *tls_cert, *tls_key;
    char **rlocs;
    size_t n_rlocs;
    uint16_t udp_port;
    int plane;          /* enum xtr_plane */
    int encap;       /* enum em_encap */
    int is_ovs_open; /* no port security */
    bool has_ovs_ports; /* interfaces of the OVS bridge become ports, whatever forwards */
    char *ovs_bridge, *ovs_db, *ovs_run_dir;
    char *ovs_datapath_type; /* NULL: as the bridge is */
    uint16_t probe_port;
    char *control_path;
    mode_t control_mode;
    char *control_group; /* NULL: the process's own */
    char *state_dir;
    uint32_t shrink_percent;          /* of the guard */
    uint32_t miss_rate, miss_entries; /* of networks that are resolved */
    uint32_t miss_idle_ms;
    uint32_t reconcile_ms;
    int log_level; /* enum em_log_level */
    struct xtr_config_network *networks;
    size_t n_networks;
    struct xtr_config_port *ports;
    size_t n_ports;
    struct xtr_config_watch *watches;
    size_t n_watches;
};

/* As em_config_load(); the node-id falls back to the host's name. */
int xtr_config_load(const char *file, struct xtr_config *config, char **ret_why);
void xtr_config_free(struct xtr_config *config);

/* Calls 'visit' with the key of each option that differs and that only a restart takes. */
void xtr_config_restarts(const struct xtr_config *old_config, const struct xtr_config *new_config,
                         void (*visit)(void *aux, const char *key), void *aux);

/* The segmentation-id that is set for a network here, or 0. */
uint32_t xtr_config_segment(const struct xtr_config *config, const char *network);

/* The manual of the options. */
void xtr_config_print(FILE *out);

#endif
