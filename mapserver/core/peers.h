/* Connections between map servers: one made by each side to the other.
 *
 * What a server has to say goes over the connection that it made itself, so messages of one
 * sender arrive in order; what was queued is lost with the connection, which Raft allows, and a
 * new connection ends the old one of the same sender.  Both sides show a server's certificate;
 * which server it is, is told by that alone.
 *
 * Threads: the core's. */
#ifndef MS_PEERS_H
#define MS_PEERS_H

#include "wire/msg.h"

#include <stdbool.h>

struct em_buf;
struct em_net;
struct em_tls;
struct ms_peers;

/* What this server says of itself; lent. */
struct ms_peers_self {
    const char *name;
    uint64_t replica;
    const uint8_t *cluster_id; /* NULL: waits to be added to a cluster */
    uint64_t recovery;
    const char *address; /* "": others cannot reach it */
    const char *const *servers;
    size_t n_servers;
};

struct ms_peers_events {
    /* What it says now. */
    void (*self)(void *aux, struct ms_peers_self *ret_self);
    void (*on_message)(void *aux, uint64_t replica, const Eidmap__Envelope *envelope);
    /* Our connection to it is up (again): what was sent before may be lost. */
    void (*on_up)(void *aux, uint64_t replica);
    /* Nobody listens where this replica was reached until just now: its process is gone. */
    void (*on_gone)(void *aux, uint64_t replica);
};

/* One of the other servers, as its hello says. */
struct ms_peer_info {
    uint64_t replica;
    const char *name;
    const char *address;
    const char *software;
    uint32_t schema;
    char *const *servers;
    size_t n_servers;
    bool is_connected; /* by us */
    const char *why;   /* it was reached, and not taken for this member; static storage, or NULL */
    uint64_t heard_ms; /* when it last said something; 0: never */
    /* From its reports; for the core. */
    uint64_t applied, revision;
    bool is_installing;
    bool has_no_room;
    uint64_t offered_ms; /* when it was offered the map; 0: is not offered it */
};

/* 'listen' NULL: nobody can connect.  0, or an error with a sentence (free() it). */
int ms_peers_new(struct em_net *net, const char *listen, struct em_tls *tls,
                 const struct ms_peers_events *events, void *aux, struct ms_peers **ret_peers,
                 char **ret_why);
void ms_peers_free(struct ms_peers *peers);

/* These are the others: connects to new ones, leaves those that are gone. */
void ms_peers_begin(struct ms_peers *peers);
void ms_peers_keep(struct ms_peers *peers, uint64_t replica, const char *name, const char *address);
void ms_peers_end(struct ms_peers *peers);

/* Every 50 ms or so. */
void ms_peers_tick(struct ms_peers *peers, uint64_t now_ms);

/* Where to append frames for it, followed by ms_peers_sent(); NULL: it cannot be reached, or
 * does not take what it is sent. */
struct em_buf *ms_peers_out(struct ms_peers *peers, uint64_t replica);
void ms_peers_sent(struct ms_peers *peers, uint64_t replica);
void ms_peers_send(struct ms_peers *peers, uint64_t replica, const Eidmap__Envelope *envelope);

/* Writes out what was sent, now. */
void ms_peers_flush(struct ms_peers *peers);

/* Bytes that wait to be taken by it. */
size_t ms_peers_pending(const struct ms_peers *peers, uint64_t replica);

/* NULL: not a member, or never heard of.  Lent until the next turn of the loop. */
struct ms_peer_info *ms_peers_info(struct ms_peers *peers, uint64_t replica);

/* Asks who is at an address.  'hello' NULL: nobody, with 'why'; lent.  'name': its
 * certificate's. */
typedef void ms_probe_fn(void *aux, const Eidmap__PeerHello *hello, const char *name,
                         const char *why);
void ms_peers_probe(struct ms_peers *peers, const char *address, ms_probe_fn *done, void *aux);

void ms_peers_set_tls(struct ms_peers *peers, struct em_tls *tls);

#endif
