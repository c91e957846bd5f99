#include "core/peers.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "eidmap/error.h"
#include "net/conn.h"
#include "net/listener.h"
#include "net/net.h"
#include "state/apply.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>

#define HANDSHAKE_MS  2000
#define REDIAL_MS     200
#define REDIAL_MAX_MS 1000
#define UNACKED_MS    2000       /* a peer that does not take data for so long is cut off */
#define PENDING_MAX   (4u << 20) /* above, nothing more is queued for it */
#define INBOUND_MAX   256

enum link_state { DOWN, DIALLING, GREETING, UP };

/* The other side of a connection that we made. */
struct link {
    struct em_list in_peers;
    struct ms_peers *peers;
    struct ms_peer_info info; /* strings: ours */
    enum link_state state;
    struct em_conn *conn;
    struct em_tls_resume *resume;
    uint64_t due_ms, pause_ms;
    bool was_up;        /* the last connection was, so a refusal now is news */
    bool is_member;     /* was so once */
    bool is_kept;       /* by the list of members that is being given */
    ms_probe_fn *probe; /* not a member: only asked who it is */
    void *probe_aux;
};

struct inbound {
    struct em_list in_peers;
    struct ms_peers *peers;
    struct em_conn *conn;
    uint64_t replica; /* 0: has not said hello */
};

struct ms_peers {
    struct em_net *net;
    struct em_listener *listener;
    struct em_tls *tls;
    struct ms_peers_events events;
    void *aux;
    struct em_list links, inbounds;
    unsigned n_inbound;
    struct em_arena arena;
    bool is_closing;
};

/* ---- hello ----------------------------------------------------------------------------- */

static void send_hello(struct ms_peers *peers, struct em_conn *conn)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__PeerHello hello = EIDMAP__PEER_HELLO__INIT;
    struct ms_peers_self self;
    peers->events.self(peers->aux, &self);
    hello.protocol = EM_PROTOCOL;
    hello.software = (char *)"mapserver " EM_VERSION;
    if (self.cluster_id)
        hello.cluster_id = (ProtobufCBinaryData){MS_CLUSTER_ID_SIZE, (uint8_t *)self.cluster_id};
    hello.recovery = self.recovery;
    hello.replica = self.replica;
    hello.schema = MS_SCHEMA;
    hello.address = (char *)self.address;
    hello.servers = (char **)self.servers;
    hello.n_servers = self.n_servers;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_PEER_HELLO;
    envelope.peer_hello = &hello;
    em_conn_send(conn, &envelope);
}

/* NULL, or why this is nobody to talk to. */
static const char *check_hello(struct ms_peers *peers, const Eidmap__PeerHello *hello)
{
    struct ms_peers_self self;
    peers->events.self(peers->aux, &self);
    if (hello->protocol < EM_PROTOCOL)
        return "it speaks an older protocol between map servers";
    if (hello->replica == 0 || hello->replica == self.replica)
        return "it has this server's own replica id: a data directory was copied";
    if (!self.cluster_id || hello->cluster_id.len == 0)
        return NULL; /* one of the two is to be added */
    if (hello->cluster_id.len != MS_CLUSTER_ID_SIZE ||
        memcmp(hello->cluster_id.data, self.cluster_id, MS_CLUSTER_ID_SIZE) != 0)
        return "it belongs to another cluster";
    if (hello->recovery != self.recovery)
        return "the cluster was recovered without it: wipe the one that was left behind and add "
               "it again";
    return NULL;
}

static void replace(char **text, const char *new)
{
    char *old = *text;
    *text = em_strdup(new);
    free(old);
}

static void free_servers(struct ms_peer_info *info)
{
    for (size_t i = 0; i < info->n_servers; i++)
        free(info->servers[i]);
    free((char **)info->servers);
    info->servers = NULL;
    info->n_servers = 0;
}

static void note_hello(struct ms_peer_info *info, const Eidmap__PeerHello *hello)
{
    char **servers = em_calloc(hello->n_servers + 1, sizeof(*servers));
    replace((char **)&info->software, hello->software);
    if (hello->address[0])
        replace((char **)&info->address, hello->address);
    info->schema = hello->schema;
    free_servers(info);
    for (size_t i = 0; i < hello->n_servers; i++)
        servers[i] = em_strdup(hello->servers[i]);
    info->servers = servers;
    info->n_servers = hello->n_servers;
}

/* ---- links: connections that we make ------------------------------------------------------ */

static struct link *find(const struct ms_peers *peers, uint64_t replica)
{
    EM_FOREACH (link, &peers->links, struct link, in_peers)
        if (link->info.replica == replica && !link->probe)
            return link;
    return NULL;
}

static void free_link(void *object)
{
    struct link *link = object;
    em_tls_resume_free(link->resume);
    free_servers(&link->info);
    free((char *)link->info.name);
    free((char *)link->info.address);
    free((char *)link->info.software);
    free(link);
}

static void end_probe(struct link *link, const Eidmap__PeerHello *hello, const char *name,
                      const char *why)
{
    ms_probe_fn *probe = link->probe;
    if (link->in_peers.next == &link->in_peers)
        return; /* has been told */
    em_list_remove(&link->in_peers);
    probe(link->probe_aux, hello, name, why);
    em_net_reap(link->peers->net, link, free_link);
}

static void on_link_open(struct em_conn *conn, void *aux)
{
    struct link *link = aux;
    link->state = GREETING;
    send_hello(link->peers, conn);
}

/* 0, or an error that ends the connection. */
static int greet(struct link *link, const Eidmap__Envelope *envelope)
{
    const char *name = em_conn_peer(link->conn)->identity.name;
    if (envelope->body_case == EIDMAP__ENVELOPE__BODY_ERROR) {
        if (link->probe)
            end_probe(link, NULL, NULL, envelope->error->message);
        else
            em_warn_limited("map server %s at %s refuses: %s", link->info.name, link->info.address,
                            envelope->error->message);
        return EM_E_DENIED;
    }
    if (envelope->body_case != EIDMAP__ENVELOPE__BODY_PEER_HELLO)
        return EM_E_MALFORMED;
    const Eidmap__PeerHello *hello = envelope->peer_hello;
    if (link->probe) {
        end_probe(link, hello, name, NULL);
        return EM_E_CLOSED;
    }
    const char *why = check_hello(link->peers, hello);
    if (!why && strcmp(name, link->info.name) != 0)
        why = "its certificate has another name";
    if (!why && hello->replica != link->info.replica)
        why = "its data directory is another one than the member's: if it was wiped, remove it "
              "and add it again";
    link->info.why = why;
    if (why) {
        em_warn_limited("map server %s at %s is not taken for a peer: %s", link->info.name,
                        link->info.address, why);
        return EM_E_DENIED;
    }
    note_hello(&link->info, hello);
    link->state = UP;
    link->was_up = true;
    link->pause_ms = REDIAL_MS;
    link->info.is_connected = true;
    em_conn_set_idle(link->conn, 0);
    em_info("connected to map server %s at %s", link->info.name, link->info.address);
    link->peers->events.on_up(link->peers->aux, link->info.replica);
    return 0;
}

static int on_link_frame(struct em_conn *conn, void *aux, const uint8_t *data, size_t size)
{
    struct link *link = aux;
    struct em_arena *arena = &link->peers->arena;
    em_arena_reset(arena);
    const Eidmap__Envelope *envelope = em_msg_unpack(arena, data, size);
    if (!envelope)
        return EM_E_MALFORMED;
    return link->state == GREETING ? greet(link, envelope) : EM_E_MALFORMED;
}

static void on_link_close(struct em_conn *conn, void *aux, int err, const char *why)
{
    struct link *link = aux;
    bool is_gone = link->was_up && err == -ECONNREFUSED;
    if (link->state == UP && !link->peers->is_closing)
        em_warn_limited("lost map server %s at %s: %s", link->info.name, link->info.address, why);
    bool was_up = link->state == UP;
    link->conn = NULL;
    link->state = DOWN;
    link->info.is_connected = false;
    if (link->probe) {
        end_probe(link, NULL, NULL, why);
        return;
    }
    link->due_ms = em_now_ms() + (was_up ? 0 : link->pause_ms);
    link->pause_ms = link->pause_ms * 2 < REDIAL_MAX_MS ? link->pause_ms * 2 : REDIAL_MAX_MS;
    if (was_up)
        return;
    link->was_up = false;
    if (is_gone && !link->peers->is_closing)
        link->peers->events.on_gone(link->peers->aux, link->info.replica);
}

/* Data that is not taken means a link that is down; TCP alone would take long to see it, and
 * longer to come back. */
static void hurry(int fd)
{
    int ms = UNACKED_MS;
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

static void dial(struct link *link)
{
    static const struct em_conn_events events = {on_link_open, on_link_frame, NULL, on_link_close};
    struct ms_peers *peers = link->peers;
    const struct em_conn_config config = {.events = &events,
                                          .tls = peers->tls,
                                          .resume = link->resume,
                                          .is_client = true,
                                          .handshake_ms = HANDSHAKE_MS,
                                          .idle_ms = HANDSHAKE_MS};
    struct em_address address;
    char why[EM_ADDR_WHY] = "";
    int fd = em_address_parse(link->info.address, &address, why);
    if (fd == 0)
        fd = peers->tls && address.transport == EM_TLS ? em_socket_connect(&address) : -EINVAL;
    if (fd < 0) {
        on_link_close(NULL, link, fd, why[0] ? why : em_strerror(fd));
        return;
    }
    hurry(fd);
    link->state = DIALLING;
    link->conn = em_conn_new(peers->net, fd, &config, link);
    if (!link->conn)
        on_link_close(NULL, link, EM_E_TLS, "TLS cannot be set up");
}

static struct link *add_link(struct ms_peers *peers, uint64_t replica, const char *name,
                             const char *address)
{
    struct link *link = em_calloc(1, sizeof(*link));
    link->peers = peers;
    link->info.replica = replica;
    link->info.name = em_strdup(name);
    link->info.address = em_strdup(address);
    link->info.software = em_strdup("");
    link->resume = em_tls_resume_new();
    link->pause_ms = REDIAL_MS;
    em_list_append(&peers->links, &link->in_peers);
    return link;
}

static void drop_link(struct link *link)
{
    if (link->conn)
        em_conn_close(link->conn, 0, "it is no member any more");
    em_list_remove(&link->in_peers);
    em_net_reap(link->peers->net, link, free_link);
}

void ms_peers_begin(struct ms_peers *peers)
{
    EM_FOREACH (link, &peers->links, struct link, in_peers)
        link->is_kept = link->probe != NULL;
}

void ms_peers_keep(struct ms_peers *peers, uint64_t replica, const char *name, const char *address)
{
    struct link *link = find(peers, replica);
    if (!link)
        link = add_link(peers, replica, name, address);
    link->is_kept = link->is_member = true;
}

static struct inbound *inbound_of(const struct ms_peers *peers, uint64_t replica)
{
    EM_FOREACH (inbound, &peers->inbounds, struct inbound, in_peers)
        if (inbound->replica == replica)
            return inbound;
    return NULL;
}

/* Who is connected to us is answered, though this server may not know (yet) that it is a
 * member: a server that is being added knows nobody, and one that lags not the newest. */
void ms_peers_end(struct ms_peers *peers)
{
    EM_FOREACH (link, &peers->links, struct link, in_peers) {
        struct inbound *inbound = inbound_of(peers, link->info.replica);
        if (link->is_kept || (inbound && !link->is_member))
            continue;
        if (inbound) /* else each side would stay because the other does */
            em_conn_close(inbound->conn, 0, "it is no member any more");
        drop_link(link);
    }
}

void ms_peers_tick(struct ms_peers *peers, uint64_t now_ms)
{
    EM_FOREACH (link, &peers->links, struct link, in_peers)
        if (link->state == DOWN && link->due_ms <= now_ms && (link->info.address[0] || link->probe))
            dial(link);
}

void ms_peers_probe(struct ms_peers *peers, const char *address, ms_probe_fn *done, void *aux)
{
    struct link *link = add_link(peers, 0, "", address);
    link->probe = done;
    link->probe_aux = aux;
}

struct em_buf *ms_peers_out(struct ms_peers *peers, uint64_t replica)
{
    struct link *link = peers ? find(peers, replica) : NULL;
    if (!link || link->state != UP || em_conn_pending(link->conn) > PENDING_MAX)
        return NULL;
    return em_conn_out(link->conn);
}

void ms_peers_sent(struct ms_peers *peers, uint64_t replica)
{
    struct link *link = find(peers, replica);
    if (link && link->conn)
        em_conn_sent(link->conn);
}

void ms_peers_send(struct ms_peers *peers, uint64_t replica, const Eidmap__Envelope *envelope)
{
    struct em_buf *out = ms_peers_out(peers, replica);
    if (out && em_msg_append(out, envelope) == 0)
        ms_peers_sent(peers, replica);
}

void ms_peers_flush(struct ms_peers *peers)
{
    EM_FOREACH (link, &peers->links, struct link, in_peers)
        if (link->state == UP)
            em_conn_flush(link->conn);
}

size_t ms_peers_pending(const struct ms_peers *peers, uint64_t replica)
{
    struct link *link = find(peers, replica);
    return link && link->conn ? em_conn_pending(link->conn) : 0;
}

struct ms_peer_info *ms_peers_info(struct ms_peers *peers, uint64_t replica)
{
    struct link *link = find(peers, replica);
    return link ? &link->info : NULL;
}

/* ---- inbounds: connections that are made to us -------------------------------------------- */

static void refuse(struct inbound *inbound, const char *why)
{
    Eidmap__Envelope envelope;
    Eidmap__Error error;
    em_warn_limited("map server %s (%s) is refused: %s", em_conn_peer(inbound->conn)->identity.name,
                    em_conn_peer(inbound->conn)->text, why);
    em_msg_error(&envelope, &error, 0, EM_E_DENIED, why);
    em_conn_send(inbound->conn, &envelope);
}

static void on_inbound_open(struct em_conn *conn, void *aux)
{
}

/* The newest connection of a sender is the one that counts. */
static void displace(struct ms_peers *peers, const struct inbound *new)
{
    EM_FOREACH (inbound, &peers->inbounds, struct inbound, in_peers)
        if (inbound != new && inbound->replica == new->replica)
            em_conn_close(inbound->conn, 0, "it has connected again");
}

static int be_greeted(struct inbound *inbound, const Eidmap__Envelope *envelope)
{
    struct ms_peers *peers = inbound->peers;
    const struct em_identity *who = &em_conn_peer(inbound->conn)->identity;
    if (envelope->body_case != EIDMAP__ENVELOPE__BODY_PEER_HELLO || who->role != EM_ROLE_SERVER) {
        refuse(inbound, "this address is for map servers; clients use another one");
        return EM_E_DENIED;
    }
    const Eidmap__PeerHello *hello = envelope->peer_hello;
    const char *why = check_hello(peers, hello);
    struct link *link = find(peers, hello->replica);
    if (!why && link && strcmp(link->info.name, who->name) != 0)
        why = "the certificate is not the one of this member";
    if (why) {
        refuse(inbound, why);
        return EM_E_DENIED;
    }
    inbound->replica = hello->replica;
    displace(peers, inbound);
    em_conn_set_idle(inbound->conn, 0);
    send_hello(peers, inbound->conn);
    if (!link && hello->address[0])
        link = add_link(peers, hello->replica, who->name, hello->address);
    if (!link)
        return 0;
    if (strcmp(link->info.address, hello->address) != 0 && hello->address[0])
        em_info("map server %s is at %s now", who->name, hello->address);
    note_hello(&link->info, hello);
    if (link->state == DOWN) /* it is there: no need to wait for the pause's end */
        link->due_ms = 0;
    return 0;
}

static int on_inbound_frame(struct em_conn *conn, void *aux, const uint8_t *data, size_t size)
{
    struct inbound *inbound = aux;
    struct ms_peers *peers = inbound->peers;
    em_arena_reset(&peers->arena);
    const Eidmap__Envelope *envelope = em_msg_unpack(&peers->arena, data, size);
    if (!envelope)
        return EM_E_MALFORMED;
    if (inbound->replica == 0)
        return be_greeted(inbound, envelope);
    struct link *link = find(peers, inbound->replica);
    if (link)
        link->info.heard_ms = em_now_ms();
    peers->events.on_message(peers->aux, inbound->replica, envelope);
    return 0;
}

static void on_inbound_close(struct em_conn *conn, void *aux, int err, const char *why)
{
    struct inbound *inbound = aux;
    if (inbound->replica == 0 && err && !inbound->peers->is_closing)
        em_warn_limited("peer connection from %s refused: %s", em_conn_peer(conn)->text, why);
    em_list_remove(&inbound->in_peers);
    inbound->peers->n_inbound--;
    free(inbound);
}

/* The oldest that has not said which server it is; NULL: all have. */
static struct inbound *find_nobody(struct ms_peers *peers)
{
    EM_FOREACH (inbound, &peers->inbounds, struct inbound, in_peers)
        if (inbound->replica == 0)
            return inbound;
    return NULL;
}

/* Strangers displace each other, and no server. */
static bool has_place(struct ms_peers *peers)
{
    struct inbound *nobody = peers->n_inbound < INBOUND_MAX ? NULL : find_nobody(peers);
    if (nobody)
        em_conn_close(nobody->conn, EM_E_LIMIT, "too many connections from map servers");
    return peers->n_inbound < INBOUND_MAX;
}

static void on_accept(void *aux, const struct em_address *address, int fd_take)
{
    static const struct em_conn_events events = {on_inbound_open, on_inbound_frame, NULL,
                                                 on_inbound_close};
    struct ms_peers *peers = aux;
    const struct em_conn_config config = {.events = &events,
                                          .tls = peers->tls,
                                          .handshake_ms = HANDSHAKE_MS,
                                          .idle_ms = HANDSHAKE_MS};
    if (!has_place(peers)) {
        em_warn_limited("a peer connection is refused: there are %u from map servers",
                        peers->n_inbound);
        close(fd_take);
        return;
    }
    struct inbound *inbound = em_calloc(1, sizeof(*inbound));
    inbound->peers = peers;
    hurry(fd_take);
    em_list_append(&peers->inbounds, &inbound->in_peers);
    peers->n_inbound++;
    inbound->conn = em_conn_new(peers->net, fd_take, &config, inbound);
    if (inbound->conn)
        return;
    em_list_remove(&inbound->in_peers);
    peers->n_inbound--;
    free(inbound);
}

/* ---- start and end ------------------------------------------------------------------------ */

int ms_peers_new(struct em_net *net, const char *listen, struct em_tls *tls,
                 const struct ms_peers_events *events, void *aux, struct ms_peers **ret_peers,
                 char **ret_why)
{
    struct ms_peers *peers = em_calloc(1, sizeof(*peers));
    int r = 0;
    peers->net = net;
    peers->tls = em_tls_ref(tls);
    peers->events = *events;
    peers->aux = aux;
    em_list_init(&peers->links);
    em_list_init(&peers->inbounds);
    em_arena_init(&peers->arena, 0);
    if (listen)
        r = em_listener_new(em_net_loop(net), listen, 0600, on_accept, peers, &peers->listener,
                            ret_why);
    if (r) {
        ms_peers_free(peers);
        return r;
    }
    if (listen)
        em_info("listening for map servers on %s", listen);
    *ret_peers = peers;
    return 0;
}

void ms_peers_free(struct ms_peers *peers)
{
    if (!peers)
        return;
    peers->is_closing = true;
    em_listener_free(peers->listener);
    EM_FOREACH (inbound, &peers->inbounds, struct inbound, in_peers)
        em_conn_close(inbound->conn, 0, "closing");
    while (!em_list_is_empty(&peers->links)) {
        struct link *link = em_container_of(peers->links.next, struct link, in_peers);
        if (link->probe)
            end_probe(link, NULL, NULL, "this map server is closing");
        else
            drop_link(link);
    }
    em_arena_fini(&peers->arena);
    em_tls_free(peers->tls);
    free(peers);
}

void ms_peers_set_tls(struct ms_peers *peers, struct em_tls *tls)
{
    em_tls_free(peers->tls);
    peers->tls = em_tls_ref(tls);
}
