/* The bridge watch: which guests on a network's bridge become ports by themselves.
 *
 * Sightings go in: a MAC that the kernel has learned on a device, an address that a guest's
 * ARP or neighbour discovery claims.  Steps come out: attach this, detach that, ask the kernel
 * when it last heard that MAC.  A port is called "auto:<node>:<mac>:<network-id in hex>", since a
 * MAC is one guest's in its network only; a port that another node's watch has made keeps its
 * name when the guest turns up here.
 *
 * Guests lie.  An address that another port has is dropped, and not believed again for a
 * minute.  One that a guest has not claimed for long is asked for, and dropped where the guest
 * does not answer, since somebody else may have it by now.  A MAC is taken over from an automatic
 * port only, unless the rule says otherwise; then the newer sighting wins at once, and a MAC that
 * goes to and fro is believed more and more rarely.  A rule has a cap.
 *
 * No I/O; time is a parameter. */
#ifndef XTR_WATCH_H
#define XTR_WATCH_H

#include "config.h"
#include "ports.h"

struct xtr_watch;

#define XTR_WATCH_IPS 16 /* addresses of one MAC */

/* A sentence for the log, about what a guest does. */
typedef void xtr_watch_tell_fn(void *aux, const char *text);

/* The rules are lent until the end. */
struct xtr_watch *xtr_watch_new(const char *node_id, const struct xtr_config_watch *rules,
                                size_t n_rules, xtr_watch_tell_fn *tell, void *aux);
void xtr_watch_free(struct xtr_watch *watch);

/* The network's number in the map, before anything is seen there. */
void xtr_watch_number(struct xtr_watch *watch, const char *network, uint32_t network_id);

/* NULL: the network is not watched. */
const struct xtr_config_watch *xtr_watch_rule(const struct xtr_watch *watch, const char *network);

/* Is what is seen on this device believed: does its name fit, and has no other source a port
 * on it? */
bool xtr_watch_is_open(const struct xtr_watch *watch, const struct xtr_ports *ports,
                       const char *network, const char *device);

/* Sightings.  'ports' are all of this node; what another source has is never touched. */
void xtr_watch_mac(struct xtr_watch *watch, const struct xtr_ports *ports, const char *network,
                   const char *device, const uint8_t mac[EM_MAC_SIZE], uint64_t now_ms);
/* Of a MAC that is known; others are ignored. */
void xtr_watch_claim(struct xtr_watch *watch, const struct xtr_ports *ports, const char *network,
                     const uint8_t mac[EM_MAC_SIZE], const struct em_ip *ip, uint64_t now_ms);
/* Is the MAC another port's by what the map has said, and not believed for now? */
bool xtr_watch_is_away(const struct xtr_watch *watch, const char *network,
                       const uint8_t mac[EM_MAC_SIZE]);
/* The device has left the bridge, and with it all that was seen on it. */
void xtr_watch_unplugged(struct xtr_watch *watch, const char *network, const char *device);

/* A port that an earlier run has left; it has just been attached. */
void xtr_watch_restore(struct xtr_watch *watch, const struct xtr_port *port, uint64_t now_ms);

/* The map has refused the port: 'eid' of it is another's.  'holder' may be NULL.  True: the
 * port goes on under another name, and the one that was refused is of no use any more. */
bool xtr_watch_conflict(struct xtr_watch *watch, const struct em_port_id *id,
                        const struct em_eid *eid, const struct em_port *holder, uint64_t now_ms);
/* It has been refused for good, or the guest is elsewhere. */
void xtr_watch_refused(struct xtr_watch *watch, const struct em_port_id *id, uint64_t now_ms);

/* Another source takes the port's device or address. */
void xtr_watch_forget(struct xtr_watch *watch, const struct em_port_id *id);

enum xtr_watch_step {
    XTR_WATCH_NONE,
    XTR_WATCH_ATTACH, /* wish */
    XTR_WATCH_DETACH, /* wish.id */
    XTR_WATCH_ASK,    /* wish.device, mac: when was it heard?  Then xtr_watch_heard() */
    XTR_WATCH_PROBE,  /* wish.device, mac, ip: does it still have that address? */
};

struct xtr_watch_action {
    enum xtr_watch_step step;
    struct xtr_wish wish; /* lent until the next call */
    uint8_t mac[EM_MAC_SIZE];
    struct em_ip ip;
};

/* What is due; call it until it says that nothing is. */
enum xtr_watch_step xtr_watch_next(struct xtr_watch *watch, uint64_t now_ms,
                                   struct xtr_watch_action *ret_action);

/* 'age_ms' ago; UINT64_MAX: the kernel does not know it. */
void xtr_watch_heard(struct xtr_watch *watch, const char *network, const uint8_t mac[EM_MAC_SIZE],
                     uint64_t age_ms, uint64_t now_ms);

struct xtr_watch_stats {
    uint32_t n_ports;     /* guests that are there */
    uint64_t n_over;      /* sightings of guests beyond the cap */
    uint64_t n_conflicts; /* addresses and MACs that were another's */
};
struct xtr_watch_stats xtr_watch_stats(const struct xtr_watch *watch, const char *network);

#endif
