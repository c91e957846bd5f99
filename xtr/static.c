/* The configuration's own checks have seen each address; what they cannot see, such as a
 * device that two ports want, xtr_ports_check() says. */
#include "static.h"

#include "config.h"

#include <errno.h>
#include <string.h>

static int add_mac(const char *text, struct em_eid *eids, size_t *n, char *why)
{
    struct em_eid *eid = &eids[*n];
    *eid = (struct em_eid){.kind = EM_EID_MAC, .size = EM_MAC_SIZE};
    *n += 1;
    return em_mac_parse(text, eid->addr, why);
}

static int add_ip(const char *text, struct em_eid *eids, size_t *n, char *why)
{
    struct em_ip ip = {0};
    int r = em_ip_parse(text, &ip, why);
    struct em_eid *eid = &eids[*n];
    *eid = (struct em_eid){.kind = ip.size == 4 ? EM_EID_IPV4 : EM_EID_IPV6, .size = ip.size};
    memcpy(eid->addr, ip.addr, ip.size);
    *n += 1;
    return r;
}

int xtr_static_wish(const struct xtr_config_port *port, struct em_eid eids[XTR_PORT_EIDS],
                    struct xtr_wish *ret_wish, char *why)
{
    size_t n = 0;
    *ret_wish = (struct xtr_wish){
        .network = port->network,
        .device = port->device,
        .eids = eids,
        .priority = (uint8_t)port->priority,
        .weight = (uint8_t)port->weight,
        .is_multihomed = port->is_multihomed,
        .source = XTR_SOURCE_CONFIG,
    };
    int r = em_port_id_parse(port->id, &ret_wish->id, why);
    if (!r && (port->mac != NULL) + port->n_macs + port->n_ips > XTR_PORT_EIDS)
        r = -EINVAL;
    if (!r && port->mac)
        r = add_mac(port->mac, eids, &n, why);
    for (size_t i = 0; !r && i < port->n_macs; i++)
        r = add_mac(port->macs[i], eids, &n, why);
    for (size_t i = 0; !r && i < port->n_ips; i++)
        r = add_ip(port->ips[i], eids, &n, why);
    ret_wish->n_eids = n;
    return r;
}
