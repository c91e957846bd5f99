#include "sources/ovs_wish.h"

#include "base/hash.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* Records */

/* Prefixes and names are an operator's to register, and stay with the record. */
static bool is_nodes(const struct em_eid *eid)
{
    return eid->kind == EM_EID_MAC || eid->kind == EM_EID_IPV4 || eid->kind == EM_EID_IPV6 ||
           eid->kind == EM_EID_SERVICE;
}

void xtr_ovs_record_init(struct xtr_ovs_record *record, const struct em_port *port,
                         const char *network)
{
    *record = (struct xtr_ovs_record){
        .is_nowhere = !port->n_locations,
        .network = em_strdup(network),
        .eids = em_calloc(port->n_eids + 1, sizeof *record->eids),
    };
    for (size_t i = 0; i < port->n_eids; i++)
        if (is_nodes(&port->eids[i]))
            record->eids[record->n_eids++] = port->eids[i];
}

void xtr_ovs_record_fini(struct xtr_ovs_record *record)
{
    free(record->network);
    free(record->eids);
    *record = (struct xtr_ovs_record){0};
}

bool xtr_ovs_needs_record(const struct ovs_interface *interface)
{
    return !ovs_interface_id(interface, "eidmap-network") ||
           !ovs_interface_id(interface, "eidmap-ips") ||
           !ovs_interface_id(interface, "attached-mac");
}

/* EIDs */

/* False: there are too many. */
static bool add_eid(struct em_eid *eids, struct xtr_wish *wish, const struct em_eid *eid)
{
    for (size_t i = 0; i < wish->n_eids; i++)
        if (!em_eid_compare(&eids[i], eid))
            return true;
    if (wish->n_eids == XTR_PORT_EIDS)
        return false;
    eids[wish->n_eids++] = *eid;
    return true;
}

static void add_mac(struct em_eid *eids, struct xtr_wish *wish, const uint8_t *mac)
{
    struct em_eid eid = {.kind = EM_EID_MAC, .size = EM_MAC_SIZE};
    memcpy(eid.addr, mac, EM_MAC_SIZE);
    (void)add_eid(eids, wish, &eid);
}

/* What is on record for another network says nothing of this one. */
static bool add_recorded(struct em_eid *eids, const struct xtr_ovs_record *record,
                         struct xtr_wish *wish, bool are_macs)
{
    if (!record->network || strcmp(record->network, wish->network) != 0)
        return true;
    for (size_t i = 0; i < record->n_eids; i++)
        if ((record->eids[i].kind == EM_EID_MAC) == are_macs &&
            !add_eid(eids, wish, &record->eids[i]))
            return false;
    return true;
}

/* Each of these is NULL, or what is wrong; the caller's. */

static char *add_macs(struct em_eid *eids, const struct ovs_interface *interface,
                      const struct xtr_ovs_record *record, struct xtr_wish *wish)
{
    const char *text = ovs_interface_id(interface, "attached-mac");
    char why[EM_ADDR_WHY];
    uint8_t mac[EM_MAC_SIZE];
    if (text && em_mac_parse(text, mac, why))
        return em_asprintf("attached-mac: %s", why);
    if (text)
        add_mac(eids, wish, mac);
    else
        (void)add_recorded(eids, record, wish, true);
    if (!wish->n_eids && interface->has_mac)
        add_mac(eids, wish, interface->mac);
    return wish->n_eids ? NULL : em_strdup("no MAC: external_ids has no attached-mac");
}

static char *add_ip(struct em_eid *eids, struct xtr_wish *wish, const char *text)
{
    char why[EM_ADDR_WHY];
    struct em_eid eid = {0};
    struct em_ip ip;
    if (em_ip_parse(text, &ip, why))
        return em_asprintf("eidmap-ips: %s", why);
    eid.kind = ip.size == 4 ? EM_EID_IPV4 : EM_EID_IPV6;
    eid.size = ip.size;
    memcpy(eid.addr, ip.addr, ip.size);
    return add_eid(eids, wish, &eid) ? NULL : em_strdup("eidmap-ips: too many addresses");
}

static char *add_ips(struct em_eid *eids, const struct ovs_interface *interface,
                     const struct xtr_ovs_record *record, struct xtr_wish *wish)
{
    const char *list = ovs_interface_id(interface, "eidmap-ips");
    char *problem = NULL, *copy, *rest, *word;
    if (!list)
        return add_recorded(eids, record, wish, false) ? NULL : em_strdup("too many addresses");
    copy = rest = em_strdup(list);
    while (!problem && (word = strsep(&rest, ", \t\n")))
        if (*word)
            problem = add_ip(eids, wish, word);
    free(copy);
    return problem;
}

/* Wishes */

char *xtr_ovs_wish(const struct ovs_interface *interface, const struct xtr_ovs_record *record,
                   struct em_eid eids[XTR_PORT_EIDS], struct xtr_wish *ret_wish)
{
    const char *network = ovs_interface_id(interface, "eidmap-network");
    const char *pending = ovs_interface_id(interface, "eidmap-pending");
    *ret_wish = (struct xtr_wish){
        .network = network ? network : record->network,
        .device = interface->name,
        .eids = eids,
        .is_pending = pending && !strcmp(pending, "true"),
        .is_early = record->is_nowhere && interface->ofport,
        .source = XTR_SOURCE_OVS,
    };
    if (!ret_wish->network)
        return em_strdup("no network: external_ids has no eidmap-network, and the map has no such "
                         "port (mapctl port register)");
    char *problem = add_macs(eids, interface, record, ret_wish);
    return problem ? problem : add_ips(eids, interface, record, ret_wish);
}

uint64_t xtr_ovs_wish_hash(const struct xtr_wish *wish)
{
    uint64_t hash = em_hash(wish->network, strlen(wish->network) + 1);
    hash = em_hash_more(hash, wish->device, strlen(wish->device) + 1);
    hash = em_hash_more(hash, &wish->is_pending, sizeof wish->is_pending);
    for (size_t i = 0; i < wish->n_eids; i++) {
        const struct em_eid *eid = &wish->eids[i];
        const uint8_t head[] = {(uint8_t)eid->kind, eid->protocol, (uint8_t)(eid->l4_port >> 8),
                                (uint8_t)eid->l4_port};
        hash = em_hash_more(em_hash_more(hash, head, sizeof head), eid->addr, sizeof eid->addr);
    }
    return hash | 1;
}
