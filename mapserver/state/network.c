/* Networks: operators make, change and remove them.
 *
 * Names and VNIs are unique among the networks that stand; an id is never given twice, so
 * that an agent that was away cannot take a new network for the one that it knew. */
#include "base/mem.h"
#include "eidmap/addr.h"
#include "state/claim.h"
#include "state/command.h"
#include "state/feed.h"
#include "wire/convert.h"

#include <string.h>

#define NETWORK_SUBNETS 32
#define MTU_MIN         576
#define MTU_MAX         9216
#define FIRST_VNI       4096 /* allocated ones are above; smaller numbers are left to people */

static int check_enums(struct ms_command *c, const Eidmap__Network *want)
{
    if ((int)want->type < 0 || want->type > EIDMAP__NETWORK_TYPE__NETWORK_TRANSIT)
        return ms_refuse(&c->fault, EM_E_MALFORMED, "network.type", "unknown type %d",
                         (int)want->type);
    if ((int)want->flood < 0 || want->flood > EIDMAP__FLOOD__FLOOD_NONE)
        return ms_refuse(&c->fault, EM_E_MALFORMED, "network.flood", "unknown value %d",
                         (int)want->flood);
    if ((int)want->fill < 0 || want->fill > EIDMAP__FILL__FILL_RESOLVE)
        return ms_refuse(&c->fault, EM_E_MALFORMED, "network.fill", "unknown value %d",
                         (int)want->fill);
    return 0;
}

static int check_fields(struct ms_command *c, const Eidmap__Network *want)
{
    char why[EM_ADDR_WHY] = "";
    size_t domain_size = strlen(want->dns_domain);
    if (em_ident_check(want->name, why))
        return ms_refuse(&c->fault, EM_E_MALFORMED, "network.name", "%s", why);
    if (want->segmentation_id > EM_SEGMENT_MAX)
        return ms_refuse(&c->fault, EM_E_MALFORMED, "network.segmentation_id",
                         "a VNI is 1 to %u, not %u", EM_SEGMENT_MAX, want->segmentation_id);
    if (want->mtu && (want->mtu < MTU_MIN || want->mtu > MTU_MAX))
        return ms_refuse(&c->fault, EM_E_MALFORMED, "network.mtu",
                         "an MTU is %d to %d bytes, or 0 for what the underlay allows, not %u",
                         MTU_MIN, MTU_MAX, want->mtu);
    if (want->probe_ms && (want->probe_ms < EM_PROBE_MS_MIN || want->probe_ms > EM_PROBE_MS_MAX))
        return ms_refuse(&c->fault, EM_E_MALFORMED, "network.probe_ms",
                         "probes come every %d to %d ms, or 0 for none, not %u", EM_PROBE_MS_MIN,
                         EM_PROBE_MS_MAX, want->probe_ms);
    if (domain_size > EM_NAME_SIZE)
        return ms_refuse(&c->fault, EM_E_MALFORMED, "network.dns_domain",
                         "a DNS name has at most %d bytes", EM_NAME_SIZE);
    struct em_eid domain = {
        .kind = EM_EID_NAME, .size = (uint8_t)domain_size, .name = want->dns_domain};
    if (domain_size && em_eid_check(&domain, why))
        return ms_refuse(&c->fault, EM_E_MALFORMED, "network.dns_domain", "%s", why);
    return check_enums(c, want);
}

static int set_subnets(struct ms_command *c, Eidmap__Network *network, const Eidmap__Network *want)
{
    size_t n = want->n_subnets;
    char why[EM_ADDR_WHY] = "";
    if (n > NETWORK_SUBNETS)
        return ms_refuse(&c->fault, EM_E_LIMIT, "network.subnets",
                         "a network may have %d subnets, not %zu", NETWORK_SUBNETS, n);
    Eidmap__Eid **list = em_arena_alloc(c->scratch, n * sizeof(*list));
    struct em_eid *eids = em_arena_alloc(c->scratch, n * sizeof(*eids));
    if (!list || !eids)
        return ms_refuse(&c->fault, EM_E_LIMIT, "network.subnets", "the network is too large");
    for (size_t i = 0; i < n; i++) {
        const char *field = ms_format(c->keep, "network.subnets[%zu]", i);
        if (em_eid_from_msg(want->subnets[i], &eids[i]) || !em_eid_is_ip(&eids[i]))
            return ms_refuse(&c->fault, EM_E_MALFORMED, field,
                             "a subnet is an IPv4 or IPv6 prefix or address");
        if (em_eid_check(&eids[i], why))
            return ms_refuse(&c->fault, EM_E_MALFORMED, field, "%s", why);
        for (size_t j = 0; j < i; j++)
            if (em_eid_compare(&eids[i], &eids[j]) == 0)
                return ms_refuse(&c->fault, EM_E_MALFORMED, field, "the subnet is there twice");
        list[i] = em_eid_to_msg(c->scratch, &eids[i]);
        if (!list[i])
            return ms_refuse(&c->fault, EM_E_LIMIT, field, "the network is too large");
    }
    network->subnets = list;
    network->n_subnets = n;
    return 0;
}

static int check_name(struct ms_command *c, const Eidmap__Network *network)
{
    uint32_t id;
    int r = ms_name_holder(c->txn, network->name, &id);
    if (r)
        return r == EM_E_NOT_FOUND ? 0 : r;
    if (id == network->id)
        return 0;
    return ms_refuse(&c->fault, EM_E_EXISTS, "network.name", "network %u has the name %s already",
                     id, network->name);
}

/* The first free VNI from the network's id and FIRST_VNI on, so that it is found at once
 * unless people have chosen VNIs there. */
static int allocate_vni(struct ms_command *c, uint32_t network_id, uint32_t *ret_vni)
{
    uint32_t holder;
    uint32_t vni = (uint32_t)((FIRST_VNI - 1 + (uint64_t)network_id) % EM_SEGMENT_MAX) + 1;
    for (uint32_t n = 0; n < EM_SEGMENT_MAX; n++) {
        int r = ms_vni_holder(c->txn, vni, &holder);
        if (r == EM_E_NOT_FOUND) {
            *ret_vni = vni;
            return 0;
        }
        if (r)
            return r;
        vni = vni % EM_SEGMENT_MAX + 1;
    }
    return ms_refuse(&c->fault, EM_E_LIMIT, "network.segmentation_id", "every VNI is taken");
}

static int set_vni(struct ms_command *c, const Eidmap__Network *old, Eidmap__Network *network,
                   uint32_t want)
{
    uint32_t holder;
    if (want == 0 && old)
        return 0;
    if (want == 0)
        return allocate_vni(c, network->id, &network->segmentation_id);
    int r = ms_vni_holder(c->txn, want, &holder);
    if (r && r != EM_E_NOT_FOUND)
        return r;
    if (r == 0 && holder != network->id)
        return ms_refuse(&c->fault, EM_E_CONFLICT, "network.segmentation_id",
                         "VNI %u belongs to network %u", want, holder);
    if (old && old->segmentation_id != want && !ms_feed_is_empty(c->txn, old->id))
        return ms_refuse(&c->fault, EM_E_IN_USE, "network.segmentation_id",
                         "the VNI cannot change while the network has ports");
    network->segmentation_id = want;
    return 0;
}

static int find(struct ms_command *c, const Eidmap__Network *want, Eidmap__Network **ret_old)
{
    *ret_old = NULL;
    if (want->id == 0)
        return 0;
    int r = ms_network_get(c->txn, want->id, c->scratch, ret_old);
    if (r == EM_E_NOT_FOUND)
        return ms_refuse(&c->fault, r, "network.id", "there is no network %u", want->id);
    if (!r && want->revision && want->revision != (*ret_old)->revision)
        return ms_refuse(&c->fault, EM_E_STALE, "network.revision",
                         "network %s has changed since revision %llu; look again", (*ret_old)->name,
                         (unsigned long long)want->revision);
    return r;
}

static int draft(struct ms_command *c, const Eidmap__Network *want, const Eidmap__Network *old,
                 Eidmap__Network *ret_network)
{
    if (old)
        *ret_network = *old;
    else
        eidmap__network__init(ret_network);
    if (!old && c->txn->meta.last_network == UINT32_MAX)
        return ms_refuse(&c->fault, EM_E_LIMIT, "network", "every network-id has been used");
    ret_network->id = old ? old->id : (uint32_t)c->txn->meta.last_network + 1;
    ret_network->name = want->name;
    ret_network->type = want->type ? want->type : EIDMAP__NETWORK_TYPE__NETWORK_OVERLAY;
    ret_network->flood = want->flood ? want->flood : EIDMAP__FLOOD__FLOOD_BROADCAST;
    ret_network->fill = want->fill ? want->fill : EIDMAP__FILL__FILL_SUBSCRIBE;
    ret_network->mtu = want->mtu;
    ret_network->probe_ms = want->probe_ms;
    ret_network->dns_domain = want->dns_domain;
    int r = set_subnets(c, ret_network, want);
    if (!r)
        r = check_name(c, ret_network);
    return r ? r : set_vni(c, old, ret_network, want->segmentation_id);
}

static int show(struct ms_command *c, uint32_t id)
{
    Eidmap__Network *network;
    int r = ms_network_get(c->txn, id, c->keep, &network);
    if (!r)
        c->result->network = network;
    return r;
}

/* The request was applied before its reply was lost.  Who creates a network knows its name
 * alone. */
static int answer_again(struct ms_command *c, const Eidmap__Network *want)
{
    uint32_t id = want->id;
    int r = id ? 0 : ms_name_holder(c->txn, want->name, &id);
    if (!r)
        r = show(c, id);
    return r == EM_E_NOT_FOUND ? ms_refuse(&c->fault, r, "network.name",
                                           "network %s was stored, and removed since", want->name)
                               : r;
}

int ms_network_change(struct ms_command *c, const Eidmap__PutNetwork *body)
{
    Eidmap__Network *old, network;
    const Eidmap__Network *want = body->network;
    em_arena_reset(c->scratch);
    if (!want)
        return ms_refuse(&c->fault, EM_E_MALFORMED, "network",
                         "there is no network in the request");
    int r = check_fields(c, want);
    if (!r && ms_session_has(c))
        return answer_again(c, want);
    if (!r)
        r = find(c, want, &old);
    if (!r)
        r = draft(c, want, old, &network);
    if (r)
        return r;
    if (!old || !ms_message_equal(&network.base, &old->base, c->scratch)) {
        if (!old)
            c->txn->meta.last_network = network.id;
        ms_network_put(c->txn, old, &network);
        c->result->is_changed = true;
    }
    return show(c, network.id);
}

int ms_network_remove(struct ms_command *c, const Eidmap__RemoveNetwork *body)
{
    Eidmap__Network *network;
    uint32_t id = body->network_id;
    em_arena_reset(c->scratch);
    if (ms_session_has(c))
        return 0;
    int r = id ? 0 : ms_name_holder(c->txn, body->network_name, &id);
    if (!r)
        r = ms_network_get(c->txn, id, c->scratch, &network);
    if (r == EM_E_NOT_FOUND)
        return ms_refuse(&c->fault, r, "network_name", "there is no such network");
    if (r)
        return r;
    if (!ms_feed_is_empty(c->txn, id))
        return ms_refuse(&c->fault, EM_E_IN_USE, "network_id",
                         "network %s has ports; remove them first", network->name);
    ms_network_delete(c->txn, network);
    c->result->is_changed = true;
    return c->txn->err;
}
