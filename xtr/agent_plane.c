/* The agent's data plane: which one, with what, and its news. */
#include "agent_state.h"

#include "base/mem.h"
#include "eidmap/error.h"
#include "rloc.h"

/* A disturbance is looked at now, not with the next tick: after a restart of Open vSwitch nothing
 * is forwarded until then. */
static void on_news(struct ev_loop *loop, ev_io *w, int revents)
{
    struct xtr_agent *agent = w->data;
    if (dataplane_serve(agent->plane))
        xtr_agent_reconcile_tick(agent);
    xtr_agent_kick(agent); /* some of what it was told may be done */
}

static void watch_news(struct xtr_agent *agent)
{
    int fd = dataplane_fd(agent->plane);
    ev_io_init(&agent->news, on_news, fd, EV_READ);
    agent->news.data = agent;
    if (fd >= 0)
        ev_io_start(agent->loop, &agent->news);
}

static const struct dp_class *plane_class(const struct xtr_config *config)
{
    switch ((enum xtr_plane)config->plane) {
    case XTR_PLANE_NULL:
        return &dp_null;
    case XTR_PLANE_OVS:
        return &dp_ovs;
    case XTR_PLANE_KERNEL:
        break;
    }
    return &dp_kernel;
}

static int open_plane(const struct xtr_config *config, struct dp_config *ret_conf,
                      struct dataplane **ret_plane, char **ret_why)
{
    size_t n = 0;
    *ret_conf = (struct dp_config){.udp_port = config->udp_port,
                                   .encap = (enum em_encap)config->encap,
                                   .node_id = config->node_id,
                                   .bridge = config->ovs_bridge,
                                   .database = config->ovs_db,
                                   .run_dir = config->ovs_run_dir,
                                   .datapath_type = config->ovs_datapath_type,
                                   .is_open = config->is_ovs_open};
    int r = xtr_rloc_find(config, ret_conf->rlocs, &n, ret_why);
    return r ? r : dataplane_open(plane_class(config), ret_conf, ret_plane, ret_why);
}

static struct em_rloc own_rloc(const struct dp_config *conf, const struct em_ip *ip)
{
    bool has_port = conf->encap == EM_ENCAP_VXLAN && conf->udp_port != EM_VXLAN_UDP_PORT;
    return (struct em_rloc){
        .ip = *ip, .encap = conf->encap, .udp_port = has_port ? conf->udp_port : 0};
}

/* The kernel's vxlan devices speak one family, and IPv4 where there is a choice; a tunnel port of
 * Open vSwitch speaks both, as far as this host has addresses. */
static void open_cache(struct xtr_agent *agent, const struct dp_config *conf)
{
    bool is_ovs = agent->config->plane == XTR_PLANE_OVS;
    bool has_ipv4 = conf->rlocs[0].size == 4, has_ipv6 = conf->rlocs[0].size == 16;
    struct xtr_mapcache_config config = {
        .node_id = agent->config->node_id,
        .has_ipv4 = has_ipv4 || (is_ovs && conf->rlocs[1].size == 4),
        .has_ipv6 = has_ipv6 || (is_ovs && conf->rlocs[1].size == 16),
        .has_all_encaps = is_ovs,
        .udp_port = conf->udp_port,
        .shrink_percent = agent->config->shrink_percent,
    };
    agent->cache = xtr_mapcache_new(&config);
    for (size_t i = 0; i < 2; i++)
        if (conf->rlocs[i].size)
            agent->rlocs[agent->n_rlocs++] = own_rloc(conf, &conf->rlocs[i]);
}

int xtr_agent_open_plane(struct xtr_agent *agent, char **ret_why)
{
    struct dp_config conf;
    int r = open_plane(agent->config, &conf, &agent->plane, ret_why);
    if (r)
        return r;
    watch_news(agent);
    open_cache(agent, &conf);
    return 0;
}

void xtr_agent_close_plane(struct xtr_agent *agent)
{
    if (!agent->plane)
        return;
    ev_io_stop(agent->loop, &agent->news);
    dataplane_close(agent->plane);
}

int xtr_agent_cleanup(const struct xtr_config *config, char **ret_why)
{
    struct dp_config conf;
    struct dataplane *plane = NULL;
    int r = open_plane(config, &conf, &plane, ret_why);
    if (r)
        return r;
    while ((r = dataplane_sweep(plane, 0)) > 0)
        continue;
    if (r < 0)
        *ret_why = em_asprintf("cleaning up: %s", em_strerror(r));
    dataplane_close(plane);
    return r < 0 ? r : 0;
}
