/* Is what stands what the shadow says?  A walk over the shadow in turns.
 *
 *   check.c          the order of things, devices     check_nexthop.c   nexthops, groups
 *   check_entry.c    MACs and neighbours              check_extra.c     small tables, dumped
 *
 * Every record of ours is looked up in the kernel, a batch of them at a time: that is linear,
 * it tells missing from wrong and from a stranger's, and what is applied between two turns
 * disturbs nothing.  (To send all again would be faster by half, but it overwrites what
 * strangers have put and cannot tell what it has repaired.)  What the shadow does not know
 * is seen in a dump only, and a dump is quadratic: so extra entries are found in tables up
 * to DP_SMALL entries, and places for broadcast, which cannot be looked up, are sent again
 * uncounted in those that are larger.
 *
 * Devices come first, since repairing one takes its entries along; then nexthops, which the
 * kernel flushes entries with.  What was adopted and not put yet is nobody's claim and is
 * skipped. */
#include "check.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void dp_check_tell(struct dp_check *check, uint32_t network_id, const char *table, const char *kind,
                   const char *entry)
{
    struct dp_difference difference = {
        .network_id = network_id, .table = table, .kind = kind, .entry = entry};
    check->visit(check->aux, &difference);
}

void dp_check_note(struct dp_check *check, int r)
{
    if (r && check->result.err == 0)
        check->result.err = r;
}

uint32_t dp_check_share(struct dp_check *check, const struct dp_table *table, unsigned each)
{
    uint32_t most = DP_NL_BATCH / each;

    if (check->at > table->len)
        check->at = table->len;
    return check->at < most ? check->at : most;
}

enum dp_found dp_check_found(int err, bool is_shown)
{
    if (err == 0)
        return is_shown ? DP_FOUND_ONE : DP_FOUND_NONE;
    /* The kernel has its own words for a device that is gone or out of its bridge. */
    return err == -ENOBUFS || err == -ENOMEM || err == -EAGAIN ? DP_FOUND_UNKNOWN : DP_FOUND_NONE;
}

/* ---- devices */

static void check_network(struct dp_check *check)
{
    char bridge[IFNAMSIZ], vxlan[IFNAMSIZ], entry[3 * IFNAMSIZ];
    const struct dp_network_rec *network = dp_table_at(&check->dp->shadow.networks, --check->at);
    uint32_t id = network->network_id;

    if (network->flags & DP_ADOPTED)
        return;
    check->result.n_compared++;
    const char *fault = dp_network_fault(check->dp, network);
    if (!fault)
        return;
    snprintf(entry, sizeof(entry), "%s master %s", dp_vxlan_name(id, vxlan),
             dp_bridge_name(id, bridge));
    dp_check_tell(check, id, "device", fault, entry);
    if (check->is_repair)
        dp_check_note(check, dp_network_repair(check->dp, id));
}

/* For the MACs behind it: an entry would go into whatever bridge the device is in now. */
static void note_place(const struct dp_shadow *shadow, uint32_t ifindex, bool is_in_place)
{
    struct dp_device_rec *device = dp_shadow_device(shadow, ifindex);
    if (device)
        device->state = is_in_place ? DP_LINK_NEW : DP_LINK_DOWN;
}

static void check_port(struct dp_check *check)
{
    char bridge[IFNAMSIZ], device[IFNAMSIZ], entry[3 * IFNAMSIZ];
    const struct dp_shadow *shadow = &check->dp->shadow;
    struct dp_port_rec *port = dp_table_at(&shadow->ports, --check->at);
    const struct dp_network_rec *network = dp_shadow_network(shadow, port->network_id);

    if ((port->flags | network->flags) & DP_ADOPTED)
        return;
    check->result.n_compared++;
    if (dp_network_port_stands(check->dp, port)) {
        note_place(shadow, port->ifindex, true);
        return;
    }
    memcpy(device, port->device, sizeof(device));
    snprintf(entry, sizeof(entry), "%s master %s", device,
             dp_bridge_name(port->network_id, bridge));
    dp_check_tell(check, port->network_id, "device", "missing", entry);
    if (!check->is_repair)
        return;
    uint32_t ifindex = port->ifindex;
    int r = dp_network_put_port(check->dp, port->network_id, device, port->flags & DP_BORROWED);
    note_place(shadow, ifindex, r == 0);
    if (r != -ENODEV) /* else there is nothing to be repaired: its guest has to bring it back */
        dp_check_note(check, r);
}

static void check_copy(struct dp_check *check)
{
    char mac[EM_MAC_TEXT], ip[EM_IP_TEXT], entry[EM_MAC_TEXT + EM_IP_TEXT + 8];
    struct dp_copy_rec *rec = dp_table_at(&check->dp->shadow.copies, --check->at);

    check->result.n_compared++;
    if (dp_copy_stands(check->dp, rec))
        return;
    snprintf(entry, sizeof(entry), "%s also %s", em_mac_format(rec->mac, mac),
             em_ip_format(rec->target.ip.addr, rec->target.ip.size, ip));
    dp_check_tell(check, rec->network_id, "copy", "missing", entry);
    if (check->is_repair)
        dp_check_note(check, dp_copy_repair(check->dp, rec));
}

/* ---- the walk */

static void check_neighs4(struct dp_check *check)
{
    dp_check_neighs(check, &check->dp->shadow.neighs4);
}

static void check_neighs6(struct dp_check *check)
{
    dp_check_neighs(check, &check->dp->shadow.neighs6);
}

static void extra_neighs(struct dp_check *check)
{
    check->at = 0;
    dp_check_extra_neighs(check, AF_INET);
    dp_check_extra_neighs(check, AF_INET6);
}

static void extra_nexthops(struct dp_check *check)
{
    check->at = 0;
    dp_check_extra_nexthops(check);
}

#define TABLE(member) offsetof(struct dp_shadow, member)

/* Each is called as long as 'at', which begins as the length of 'table', is not 0. */
static const struct phase {
    size_t table; /* in the shadow */
    void (*look)(struct dp_check *check);
} phases[] = {
    {TABLE(networks), check_network},      {TABLE(ports), check_port},
    {TABLE(nexthops), dp_check_nexthops},  {TABLE(sets), dp_check_sets},
    {TABLE(networks), dp_check_extra_fdb}, {TABLE(networks), extra_neighs},
    {TABLE(macs), dp_check_macs},          {TABLE(neighs4), check_neighs4},
    {TABLE(neighs6), check_neighs6},       {TABLE(nexthop_ids), extra_nexthops},
    {TABLE(copies), check_copy},
};
#define N_PHASES (sizeof(phases) / sizeof(phases[0]))

static uint32_t length(const struct dp_check *check)
{
    const uint8_t *shadow = (const void *)&check->dp->shadow;
    return ((const struct dp_table *)(const void *)(shadow + phases[check->phase].table))->len;
}

struct dp_check *dp_check_start(struct dp *dp, bool repair, dp_visit_fn *visit, void *aux)
{
    struct dp_check *check = em_calloc(1, sizeof(*check));

    *check = (struct dp_check){.dp = dp, .is_repair = repair, .visit = visit, .aux = aux};
    check->at = length(check);
    return check;
}

/* Ops that were applied between two turns may have shortened the table. */
static bool find_work(struct dp_check *check)
{
    while (check->phase < N_PHASES) {
        if (check->at > length(check))
            check->at = length(check);
        if (check->at > 0)
            return true;
        if (++check->phase < N_PHASES)
            check->at = length(check);
    }
    return false;
}

bool dp_check_step(struct dp_check *check, uint64_t budget_us)
{
    uint64_t begin = em_now_us();

    dp_flush(check->dp);
    while (find_work(check)) {
        phases[check->phase].look(check);
        if (em_now_us() - begin >= budget_us)
            return find_work(check);
    }
    return false;
}

struct dp_check_result dp_check_end(struct dp_check *check)
{
    struct dp_check_result result = check->result;
    free(check);
    return result;
}
