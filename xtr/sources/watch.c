/* A guest is NEW until its port has been asked for, THERE while it has one, AWAY when the map
 * has given it to another: then it is only remembered, so that it is not believed at once
 * again.  An AWAY guest that is seen after its bar has passed is NEW.
 *
 *   (seen) -> NEW -> THERE -> (idle, unplugged)
 *              ^       | refused: moved, conflict, denied
 *              +----- AWAY -> (idle) */
#include "sources/watch.h"

#include "base/mem.h"

#include <assert.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BAR_MS      60000u /* for what another port has */
#define MOVE_MS     2000u  /* the first time; then twice as long, */
#define MOVE_LIMIT  5      /* up to a minute */
#define MOVE_TELL   3      /* so often before an operator hears of it */
#define PROBES      3
#define PROBE_MS    1000u
#define AUTO_PREFIX "auto:"
#define TELL_SIZE   256

enum state { NEW, THERE, AWAY };

struct address {
    struct em_ip ip;
    uint64_t barred_ms; /* not ours before; 0: ours */
    uint64_t claimed_ms;
    uint64_t probed_ms;
    unsigned n_probes; /* without an answer */
};

struct guest {
    uint32_t rule;
    uint8_t mac[EM_MAC_SIZE];
    char device[IFNAMSIZ];
    struct em_port_id id;
    enum state state;
    bool is_leaving; /* its port has to be detached ... */
    bool is_back;    /* ... and asked for again, since it was seen meanwhile */
    bool is_asked;   /* of the kernel, since it was last heard */
    uint64_t seen_ms;
    uint64_t barred_ms; /* AWAY until then at least */
    unsigned n_moves;
    struct address ips[XTR_WATCH_IPS];
    size_t n_ips;
};

struct rule {
    struct xtr_watch_stats stats;
    uint32_t network_id;
    bool is_full; /* said already */
};

struct xtr_watch {
    char *node_id;
    xtr_watch_tell_fn *tell;
    void *aux;
    const struct xtr_config_watch *config;
    struct rule *rules;
    size_t n_rules;
    struct guest *guests;
    uint32_t n_guests, size;
    struct em_index by_mac;
    uint32_t cursor;
    struct em_eid eids[1 + XTR_WATCH_IPS]; /* of the wish that was given */
};

struct key {
    uint32_t rule;
    const uint8_t *mac;
};

struct xtr_watch *xtr_watch_new(const char *node_id, const struct xtr_config_watch *rules,
                                size_t n_rules, xtr_watch_tell_fn *tell, void *aux)
{
    struct xtr_watch *watch = em_calloc(1, sizeof *watch);
    assert(!n_rules || strlen(node_id) <= XTR_WATCH_NODE);
    watch->node_id = em_strdup(node_id);
    watch->tell = tell;
    watch->aux = aux;
    watch->config = rules;
    watch->rules = em_calloc(n_rules + 1, sizeof *watch->rules);
    watch->n_rules = n_rules;
    em_index_init(&watch->by_mac);
    return watch;
}

void xtr_watch_free(struct xtr_watch *watch)
{
    if (!watch)
        return;
    em_index_fini(&watch->by_mac);
    free(watch->guests);
    free(watch->rules);
    free(watch->node_id);
    free(watch);
}

static uint32_t find_rule(const struct xtr_watch *watch, const char *network)
{
    for (uint32_t i = 0; i < watch->n_rules; i++)
        if (!strcmp(watch->config[i].network, network))
            return i;
    return EM_INDEX_NONE;
}

void xtr_watch_number(struct xtr_watch *watch, const char *network, uint32_t network_id)
{
    uint32_t rule = find_rule(watch, network);
    if (rule != EM_INDEX_NONE)
        watch->rules[rule].network_id = network_id;
}

const struct xtr_config_watch *xtr_watch_rule(const struct xtr_watch *watch, const char *network)
{
    uint32_t rule = find_rule(watch, network);
    return rule == EM_INDEX_NONE ? NULL : &watch->config[rule];
}

/* The table of guests */

static uint64_t hash_of(uint32_t rule, const uint8_t *mac)
{
    return em_hash_more(em_hash(&rule, sizeof rule), mac, EM_MAC_SIZE);
}

static bool is_guest(const void *aux, uint32_t slot, const void *wanted)
{
    const struct guest *guest = &((const struct xtr_watch *)aux)->guests[slot];
    const struct key *key = wanted;
    return guest->rule == key->rule && !memcmp(guest->mac, key->mac, EM_MAC_SIZE);
}

static struct guest *find_guest(const struct xtr_watch *watch, uint32_t rule, const uint8_t *mac)
{
    struct key key = {rule, mac};
    uint32_t slot = em_index_find(&watch->by_mac, hash_of(rule, mac), is_guest, watch, &key);
    return slot == EM_INDEX_NONE ? NULL : &watch->guests[slot];
}

static struct guest *find_id(const struct xtr_watch *watch, const struct em_port_id *id)
{
    for (uint32_t i = 0; i < watch->n_guests; i++)
        if (em_port_id_equal(&watch->guests[i].id, id))
            return &watch->guests[i];
    return NULL;
}

static struct guest *add_guest(struct xtr_watch *watch, uint32_t rule, const uint8_t *mac)
{
    if (watch->n_guests == watch->size) {
        watch->size = watch->size ? watch->size * 2 : 16;
        watch->guests = em_realloc(watch->guests, watch->size * sizeof *watch->guests);
    }
    uint32_t slot = watch->n_guests++;
    struct guest *guest = &watch->guests[slot];
    *guest = (struct guest){.rule = rule, .state = NEW};
    memcpy(guest->mac, mac, EM_MAC_SIZE);
    em_index_insert(&watch->by_mac, hash_of(rule, mac), slot);
    watch->rules[rule].stats.n_ports++;
    return guest;
}

/* The last one takes its place. */
static void drop_guest(struct xtr_watch *watch, struct guest *guest)
{
    uint32_t slot = (uint32_t)(guest - watch->guests), last = watch->n_guests - 1;
    struct rule *rule = &watch->rules[guest->rule];
    em_index_remove(&watch->by_mac, hash_of(guest->rule, guest->mac), slot);
    if (slot != last) {
        *guest = watch->guests[last];
        em_index_move(&watch->by_mac, hash_of(guest->rule, guest->mac), last, slot);
    }
    watch->n_guests--;
    rule->stats.n_ports--;
    rule->is_full = false;
}

static void set_device(struct guest *guest, const char *device)
{
    memset(guest->device, 0, sizeof guest->device);
    memcpy(guest->device, device, strnlen(device, IFNAMSIZ - 1));
}

static void name_guest(const struct xtr_watch *watch, struct guest *guest)
{
    char text[EM_PORT_ID_SIZE + 1], mac[EM_MAC_TEXT];
    snprintf(text, sizeof text, AUTO_PREFIX "%s:%s:%x", watch->node_id,
             em_mac_format(guest->mac, mac), watch->rules[guest->rule].network_id);
    int r = em_port_id_parse(text, &guest->id, NULL);
    assert(!r);
    (void)r;
}

/* What others have */

static struct em_eid mac_eid(const uint8_t *mac)
{
    struct em_eid eid = {.kind = EM_EID_MAC, .size = EM_MAC_SIZE};
    memcpy(eid.addr, mac, EM_MAC_SIZE);
    return eid;
}

static struct em_eid ip_eid(const struct em_ip *ip)
{
    struct em_eid eid = {.kind = ip->size == 4 ? EM_EID_IPV4 : EM_EID_IPV6, .size = ip->size};
    memcpy(eid.addr, ip->addr, ip->size);
    return eid;
}

bool xtr_watch_is_open(const struct xtr_watch *watch, const struct xtr_ports *ports,
                       const char *network, const char *device)
{
    const struct xtr_config_watch *rule = xtr_watch_rule(watch, network);
    if (!rule || fnmatch(rule->devices, device, 0))
        return false;
    for (const struct xtr_port *port = xtr_ports_on(ports, device); port;
         port = xtr_ports_next_on(ports, port))
        if (port->source != XTR_SOURCE_WATCH)
            return false;
    return true;
}

static void __attribute__((format(printf, 2, 3)))
tell(const struct xtr_watch *watch, const char *format, ...)
{
    char text[TELL_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    watch->tell(watch->aux, text);
}

/* Sightings */

static bool is_full(struct xtr_watch *watch, uint32_t i)
{
    struct rule *rule = &watch->rules[i];
    if (rule->stats.n_ports < watch->config[i].max_ports)
        return false;
    rule->stats.n_over++;
    if (!rule->is_full)
        tell(watch,
             "network %s: there are %u automatic ports, as many as max_ports of its watch "
             "allows; more guests are left out",
             watch->config[i].network, rule->stats.n_ports);
    rule->is_full = true;
    return true;
}

static void see_again(struct guest *guest, const char *device, uint64_t now_ms)
{
    guest->seen_ms = now_ms;
    guest->is_asked = false;
    if (guest->state == AWAY && now_ms < guest->barred_ms)
        return;
    guest->is_back = guest->is_leaving;
    if (guest->state == AWAY || strcmp(guest->device, device) != 0)
        guest->state = NEW;
    set_device(guest, device);
}

void xtr_watch_mac(struct xtr_watch *watch, const struct xtr_ports *ports, const char *network,
                   const char *device, const uint8_t mac[EM_MAC_SIZE], uint64_t now_ms)
{
    uint32_t rule = find_rule(watch, network);
    struct em_eid eid = mac_eid(mac);
    if (rule == EM_INDEX_NONE || em_eid_check(&eid, NULL))
        return;
    struct guest *guest = find_guest(watch, rule, mac);
    if (guest && !strcmp(guest->device, device)) {
        see_again(guest, device, now_ms);
        return;
    }
    if (!guest && is_full(watch, rule))
        return;
    if (!xtr_watch_is_open(watch, ports, network, device))
        return;
    if (guest) {
        see_again(guest, device, now_ms);
        return;
    }
    const struct xtr_port *holder = xtr_ports_holder(ports, network, &eid, NULL);
    if (holder && holder->source != XTR_SOURCE_WATCH)
        return;
    guest = add_guest(watch, rule, mac);
    guest->seen_ms = now_ms;
    set_device(guest, device);
    name_guest(watch, guest);
}

static struct address *find_address(struct guest *guest, const struct em_ip *ip)
{
    for (size_t i = 0; i < guest->n_ips; i++)
        if (guest->ips[i].ip.size == ip->size && !memcmp(guest->ips[i].ip.addr, ip->addr, ip->size))
            return &guest->ips[i];
    return NULL;
}

/* A barred one makes room. */
static struct address *free_address(struct guest *guest)
{
    if (guest->n_ips < XTR_WATCH_IPS)
        return &guest->ips[guest->n_ips++];
    for (size_t i = 0; i < guest->n_ips; i++)
        if (guest->ips[i].barred_ms)
            return &guest->ips[i];
    return NULL;
}

static void bar_address(struct xtr_watch *watch, struct guest *guest, struct address *address,
                        uint64_t now_ms)
{
    char ip[EM_IP_TEXT], mac[EM_MAC_TEXT];
    address->barred_ms = now_ms + BAR_MS;
    watch->rules[guest->rule].stats.n_conflicts++;
    tell(watch, "network %s: %s on %s claims %s, which another port has: not believed",
         watch->config[guest->rule].network, em_mac_format(guest->mac, mac), guest->device,
         em_ip_format(address->ip.addr, address->ip.size, ip));
}

void xtr_watch_claim(struct xtr_watch *watch, const struct xtr_ports *ports, const char *network,
                     const uint8_t mac[EM_MAC_SIZE], const struct em_ip *ip, uint64_t now_ms)
{
    uint32_t rule = find_rule(watch, network);
    struct guest *guest = rule == EM_INDEX_NONE ? NULL : find_guest(watch, rule, mac);
    struct em_eid eid = ip_eid(ip);
    if (!guest || em_eid_check(&eid, NULL))
        return;
    struct address *address = find_address(guest, ip);
    if (address && !address->barred_ms) {
        address->claimed_ms = now_ms;
        address->n_probes = 0;
        return;
    }
    if (address && now_ms < address->barred_ms)
        return;
    if (!address)
        address = free_address(guest);
    if (!address)
        return;
    *address = (struct address){.ip = *ip, .claimed_ms = now_ms};
    const struct xtr_port *holder = xtr_ports_holder(ports, network, &eid, NULL);
    if (holder && !em_port_id_equal(&holder->id, &guest->id))
        bar_address(watch, guest, address, now_ms);
    else if (guest->state == THERE)
        guest->state = NEW;
}

bool xtr_watch_is_away(const struct xtr_watch *watch, const char *network,
                       const uint8_t mac[EM_MAC_SIZE])
{
    uint32_t rule = find_rule(watch, network);
    const struct guest *guest = rule == EM_INDEX_NONE ? NULL : find_guest(watch, rule, mac);
    return guest && guest->state == AWAY;
}

void xtr_watch_unplugged(struct xtr_watch *watch, const char *network, const char *device)
{
    uint32_t rule = find_rule(watch, network);
    for (uint32_t i = 0; i < watch->n_guests; i++)
        if (watch->guests[i].rule == rule && !strcmp(watch->guests[i].device, device))
            watch->guests[i].is_leaving = true;
}

void xtr_watch_restore(struct xtr_watch *watch, const struct xtr_port *port, uint64_t now_ms)
{
    uint32_t rule = find_rule(watch, port->network);
    const uint8_t *mac = NULL;
    for (size_t i = 0; i < port->n_eids && !mac; i++)
        if (port->eids[i].kind == EM_EID_MAC)
            mac = port->eids[i].addr;
    if (rule == EM_INDEX_NONE || !mac || find_guest(watch, rule, mac))
        return;
    struct guest *guest = add_guest(watch, rule, mac);
    guest->id = port->id;
    guest->state = THERE;
    guest->seen_ms = now_ms;
    set_device(guest, port->device);
    for (size_t i = 0; i < port->n_eids; i++)
        if (port->eids[i].kind != EM_EID_MAC && guest->n_ips < XTR_WATCH_IPS) {
            struct address *address = &guest->ips[guest->n_ips++];
            *address = (struct address){.ip.size = port->eids[i].size, .claimed_ms = now_ms};
            memcpy(address->ip.addr, port->eids[i].addr, sizeof address->ip.addr);
        }
}

/* Refusals */

static bool may_take(const struct xtr_watch *watch, const struct guest *guest,
                     const struct em_port *holder)
{
    size_t size = strlen(AUTO_PREFIX);
    bool is_auto = holder->id.size > size && !memcmp(holder->id.bytes, AUTO_PREFIX, size);
    return is_auto || watch->config[guest->rule].takes_any;
}

/* It had these addresses where it was, so it has them here. */
static void take_addresses(struct guest *guest, const struct em_port *holder, uint64_t now_ms)
{
    for (size_t i = 0; i < holder->n_eids; i++) {
        const struct em_eid *eid = &holder->eids[i];
        struct em_ip ip = {.size = eid->size};
        if (eid->kind != EM_EID_IPV4 && eid->kind != EM_EID_IPV6)
            continue;
        memcpy(ip.addr, eid->addr, sizeof ip.addr);
        struct address *address = find_address(guest, &ip);
        if (!address)
            address = free_address(guest);
        if (address)
            *address = (struct address){.ip = ip, .claimed_ms = now_ms};
    }
}

static void go_away(struct guest *guest, uint64_t until_ms)
{
    guest->state = AWAY;
    guest->is_leaving = true;
    guest->barred_ms = until_ms;
}

bool xtr_watch_conflict(struct xtr_watch *watch, const struct em_port_id *id,
                        const struct em_eid *eid, const struct em_port *holder, uint64_t now_ms)
{
    struct guest *guest = find_id(watch, id);
    char mac[EM_MAC_TEXT];
    if (!guest)
        return false;
    if (eid->kind != EM_EID_MAC) {
        struct em_ip ip = {.size = eid->size};
        memcpy(ip.addr, eid->addr, sizeof ip.addr);
        struct address *address = find_address(guest, &ip);
        if (address) {
            bar_address(watch, guest, address, now_ms);
            guest->state = NEW;
        }
        return false;
    }
    if (holder && !em_port_id_equal(&holder->id, id) && may_take(watch, guest, holder)) {
        guest->id = holder->id;
        take_addresses(guest, holder, now_ms);
        guest->state = NEW;
        return true;
    }
    watch->rules[guest->rule].stats.n_conflicts++;
    tell(watch, "network %s: a guest on %s sends with %s, the MAC of another port: not believed",
         watch->config[guest->rule].network, guest->device, em_mac_format(guest->mac, mac));
    go_away(guest, now_ms + BAR_MS);
    return false;
}

void xtr_watch_refused(struct xtr_watch *watch, const struct em_port_id *id, uint64_t now_ms)
{
    struct guest *guest = find_id(watch, id);
    if (!guest || guest->state != THERE)
        return;
    unsigned n = guest->n_moves < MOVE_LIMIT ? guest->n_moves++ : MOVE_LIMIT;
    char mac[EM_MAC_TEXT];
    if (n == MOVE_TELL)
        tell(
            watch,
            "network %s: %s on %s goes to and fro: two guests have that MAC, or two hosts' bridges "
            "are joined outside of the network",
            watch->config[guest->rule].network, em_mac_format(guest->mac, mac), guest->device);
    go_away(guest, now_ms + ((uint64_t)MOVE_MS << n));
}

void xtr_watch_forget(struct xtr_watch *watch, const struct em_port_id *id)
{
    struct guest *guest = find_id(watch, id);
    if (guest)
        drop_guest(watch, guest);
}

/* Steps */

static void make_wish(struct xtr_watch *watch, const struct guest *guest, struct xtr_wish *wish)
{
    size_t n = 0;
    watch->eids[n++] = mac_eid(guest->mac);
    for (size_t i = 0; i < guest->n_ips; i++)
        if (!guest->ips[i].barred_ms)
            watch->eids[n++] = ip_eid(&guest->ips[i].ip);
    *wish = (struct xtr_wish){.id = guest->id,
                              .network = watch->config[guest->rule].network,
                              .device = guest->device,
                              .eids = watch->eids,
                              .n_eids = n,
                              .source = XTR_SOURCE_WATCH};
}

static bool is_idle(const struct xtr_watch *watch, const struct guest *guest, uint64_t now_ms)
{
    return now_ms >= guest->seen_ms + watch->config[guest->rule].idle_ms;
}

/* The address that was claimed too long ago, by a guest that has given a sign of life since; a
 * silent one is not kept alive by questions.  What was asked for in vain goes on the way. */
static struct address *stale_address(const struct xtr_watch *watch, struct guest *guest,
                                     uint64_t now_ms)
{
    uint64_t idle_ms = watch->config[guest->rule].idle_ms;
    if (guest->state != THERE || now_ms >= guest->seen_ms + idle_ms / 2)
        return NULL;
    for (size_t i = 0; i < guest->n_ips; i++) {
        struct address *address = &guest->ips[i];
        if (address->barred_ms || now_ms < address->claimed_ms + idle_ms ||
            (address->n_probes && now_ms < address->probed_ms + PROBE_MS))
            continue;
        if (address->n_probes < PROBES)
            return address;
        *address = guest->ips[--guest->n_ips];
        guest->state = NEW;
        return NULL;
    }
    return NULL;
}

static enum xtr_watch_step decide(const struct xtr_watch *watch, struct guest *guest,
                                  uint64_t now_ms, struct address **ret_address)
{
    if (guest->is_leaving)
        return XTR_WATCH_DETACH;
    if (is_idle(watch, guest, now_ms) && guest->state != AWAY)
        return guest->is_asked ? XTR_WATCH_DETACH : XTR_WATCH_ASK;
    *ret_address = stale_address(watch, guest, now_ms);
    if (*ret_address)
        return XTR_WATCH_PROBE;
    return guest->state == NEW ? XTR_WATCH_ATTACH : XTR_WATCH_NONE;
}

/* AWAY guests are forgotten in silence: they have no port. */
static bool is_over(const struct xtr_watch *watch, const struct guest *guest, uint64_t now_ms)
{
    return guest->state == AWAY && !guest->is_leaving && is_idle(watch, guest, now_ms) &&
           now_ms >= guest->barred_ms;
}

static void carry_out(struct xtr_watch *watch, struct guest *guest, enum xtr_watch_step step,
                      struct xtr_watch_action *ret_action)
{
    make_wish(watch, guest, &ret_action->wish);
    memcpy(ret_action->mac, guest->mac, EM_MAC_SIZE);
    ret_action->step = step;
    if (step == XTR_WATCH_ATTACH)
        guest->state = THERE;
    guest->is_asked = step == XTR_WATCH_ASK;
    if (step != XTR_WATCH_DETACH)
        return;
    bool is_back = guest->is_back;
    guest->is_leaving = guest->is_back = false;
    ret_action->wish.device = NULL;
    if (is_back)
        guest->state = NEW;
    else if (guest->state == AWAY)
        name_guest(watch, guest); /* the name that it had is where the guest is now */
    else
        drop_guest(watch, guest);
}

enum xtr_watch_step xtr_watch_next(struct xtr_watch *watch, uint64_t now_ms,
                                   struct xtr_watch_action *ret_action)
{
    while (watch->cursor < watch->n_guests) {
        struct guest *guest = &watch->guests[watch->cursor];
        if (is_over(watch, guest, now_ms)) {
            drop_guest(watch, guest);
            continue;
        }
        struct address *address = NULL;
        enum xtr_watch_step step = decide(watch, guest, now_ms, &address);
        if (address) {
            address->n_probes++;
            address->probed_ms = now_ms;
            ret_action->ip = address->ip;
        }
        if (step != XTR_WATCH_NONE) {
            carry_out(watch, guest, step, ret_action);
            return step;
        }
        watch->cursor++;
    }
    watch->cursor = 0;
    return XTR_WATCH_NONE;
}

void xtr_watch_heard(struct xtr_watch *watch, const char *network, const uint8_t mac[EM_MAC_SIZE],
                     uint64_t age_ms, uint64_t now_ms)
{
    uint32_t rule = find_rule(watch, network);
    struct guest *guest = rule == EM_INDEX_NONE ? NULL : find_guest(watch, rule, mac);
    uint64_t heard_ms = age_ms < now_ms ? now_ms - age_ms : 0;
    if (guest && heard_ms > guest->seen_ms) {
        guest->seen_ms = heard_ms;
        guest->is_asked = false;
    }
}

/* What is shown */

struct xtr_watch_stats xtr_watch_stats(const struct xtr_watch *watch, const char *network)
{
    uint32_t rule = find_rule(watch, network);
    return rule == EM_INDEX_NONE ? (struct xtr_watch_stats){0} : watch->rules[rule].stats;
}
