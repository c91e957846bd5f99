/* One socket for all, one timer for each.  What comes in is read before anybody is judged, so
 * that a loop that was busy does not blame others.
 *
 * An answer carries the slot of the node that was asked as its tag; it counts if it came from
 * that node's address with the nonce of one of the last probes.  A closed port shows itself
 * by ICMP (type 3 code 3, ICMPv6 type 1 code 4): the kernel hands us what it quotes of our
 * packet, and that is checked in the same way (RFC 1122 section 4.1.3.3). */
#include "prober.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "echo.h"
#include "echo_socket.h"
#include "net/socket.h"

#include <assert.h>
#include <errno.h>
#include <ev.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <linux/errqueue.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>

#define MAX_READS 256 /* of one call, of each queue */

struct peer {
    struct xtr_prober *prober;
    uint32_t slot;
    char *id;
    struct em_ip ip;
    struct xtr_probe probe;
    bool is_wanted;
    ev_timer timer;
};

struct xtr_prober {
    struct ev_loop *loop;
    int fd;
    uint16_t port;
    ev_io io;
    xtr_prober_fn *on_state;
    void *aux;
    struct peer **peers; /* NULL: a free slot */
    uint32_t n_peers;
    size_t n_probed, n_silent;
    struct em_index index;
};

static uint64_t draw(void)
{
    uint64_t number;
    if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
        abort(); /* it cannot fail for 8 bytes once the pool is up */
    return number;
}

/* Machines */

static void arm(struct peer *peer)
{
    uint64_t now = em_now_us(), next = xtr_probe_next_us(&peer->probe);
    ev_timer_stop(peer->prober->loop, &peer->timer);
    ev_now_update(peer->prober->loop);
    ev_timer_set(&peer->timer, next > now ? (double)(next - now) / 1e6 : 0, 0);
    ev_timer_start(peer->prober->loop, &peer->timer);
}

static void look_at(struct peer *peer, enum xtr_probe_state from)
{
    struct xtr_prober *prober = peer->prober;
    enum xtr_probe_state state = peer->probe.state;
    arm(peer);
    if (state == from)
        return;
    prober->n_silent -= from == XTR_PROBE_SILENT;
    prober->n_silent += state == XTR_PROBE_SILENT;
    prober->on_state(prober->aux, peer->id, &peer->probe, from);
}

static struct peer *find_asked(const struct xtr_prober *prober, uint32_t slot,
                               const struct em_ip *ip)
{
    struct peer *peer = slot < prober->n_peers ? prober->peers[slot] : NULL;
    if (!peer || peer->ip.size != ip->size || memcmp(peer->ip.addr, ip->addr, ip->size) != 0)
        return NULL;
    return peer;
}

static void on_answer(struct xtr_prober *prober, const struct xtr_echo *echo,
                      const struct em_ip *from)
{
    struct peer *peer = find_asked(prober, echo->tag, from);
    if (!peer)
        return;
    enum xtr_probe_state old = peer->probe.state;
    if (xtr_probe_answered(&peer->probe, echo->nonce, em_now_us()))
        look_at(peer, old);
}

static void on_refusal(struct xtr_prober *prober, const struct xtr_echo *echo,
                       const struct em_ip *from)
{
    struct peer *peer = find_asked(prober, echo->tag, from);
    if (!peer)
        return;
    enum xtr_probe_state old = peer->probe.state;
    if (xtr_probe_refused(&peer->probe, echo->nonce, em_now_us()))
        look_at(peer, old);
}

/* The socket */

static bool is_closed_port(const struct sock_extended_err *err)
{
    if (err->ee_origin == SO_EE_ORIGIN_ICMP)
        return err->ee_type == ICMP_DEST_UNREACH && err->ee_code == ICMP_PORT_UNREACH;
    return err->ee_origin == SO_EE_ORIGIN_ICMP6 && err->ee_type == ICMPV6_DEST_UNREACH &&
           err->ee_code == ICMPV6_PORT_UNREACH;
}

/* Who said that the port is closed; false: it is something else. */
static bool find_refuser(struct msghdr *message, struct em_ip *ret_ip)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        bool is_error = (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
                        (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR);
        struct {
            struct sock_extended_err err;
            struct sockaddr_in6 offender; /* the larger of the two */
        } told = {0};
        struct sockaddr_storage name = {0};
        size_t size = c->cmsg_len - CMSG_LEN(0);
        if (!is_error || size < sizeof told.err)
            continue;
        memcpy(&told, CMSG_DATA(c), size < sizeof told ? size : sizeof told);
        memcpy(&name, &told.offender, sizeof told.offender);
        *ret_ip = xtr_echo_ip(&name);
        return name.ss_family && is_closed_port(&told.err);
    }
    return false;
}

static bool read_error(struct xtr_prober *prober)
{
    uint8_t bytes[XTR_ECHO_SIZE + 1];
    _Alignas(struct cmsghdr) uint8_t control[512];
    struct iovec part = {bytes, sizeof bytes};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    struct xtr_echo echo;
    struct em_ip refuser;
    ssize_t n = recvmsg(prober->fd, &message, MSG_ERRQUEUE);
    if (n < 0)
        return false;
    if (find_refuser(&message, &refuser) && !xtr_echo_parse(bytes, (size_t)n, &echo) &&
        echo.type == XTR_ECHO_ASK)
        on_refusal(prober, &echo, &refuser);
    return true;
}

static bool read_answer(struct xtr_prober *prober)
{
    uint8_t bytes[XTR_ECHO_SIZE + 1];
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    struct xtr_echo echo;
    ssize_t n = recvfrom(prober->fd, bytes, sizeof bytes, 0, (struct sockaddr *)&name, &size);
    if (n < 0)
        return errno != EAGAIN; /* an error that is queued shows itself here once */
    struct em_ip from = xtr_echo_ip(&name);
    char text[EM_IP_TEXT];
    if (xtr_echo_parse(bytes, (size_t)n, &echo) || echo.type != XTR_ECHO_ANSWER)
        em_warn_limited("%s sent something that is no answer to a probe",
                        em_ip_format(from.addr, from.size, text));
    else
        on_answer(prober, &echo, &from);
    return true;
}

static void read_all(struct xtr_prober *prober)
{
    for (int i = 0; i < MAX_READS && read_error(prober); i++)
        continue;
    for (int i = 0; i < MAX_READS && read_answer(prober); i++)
        continue;
}

static void on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    read_all(w->data);
}

/* What cannot be sent is a probe that is not answered: the way to the node is closed. */
static void ask(struct peer *peer, uint64_t nonce)
{
    struct xtr_echo echo = {XTR_ECHO_ASK, peer->slot, nonce};
    uint8_t bytes[XTR_ECHO_SIZE];
    struct sockaddr_storage name;
    socklen_t size = em_socket_name(&peer->ip, peer->prober->port, &name);
    xtr_echo_pack(&echo, bytes);
    for (int i = 0; i < 2; i++) /* the first call may tell of an error that came before */
        if (sendto(peer->prober->fd, bytes, sizeof bytes, 0, (struct sockaddr *)&name, size) >= 0)
            return;
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct peer *peer = w->data;
    read_all(peer->prober);
    enum xtr_probe_state old = peer->probe.state;
    uint64_t nonce = draw();
    if (xtr_probe_run(&peer->probe, em_now_us(), nonce, (uint16_t)draw()))
        ask(peer, nonce);
    look_at(peer, old);
}

int xtr_prober_new(struct ev_loop *loop, const struct em_ip *ip, uint16_t port,
                   xtr_prober_fn *on_state, void *aux, struct xtr_prober **ret_prober)
{
    int fd = xtr_echo_socket(ip, 0), on = 1;
    if (fd < 0)
        return fd;
    if (ip->size == 4 ? setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof on)
                      : setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on)) {
        int r = -errno;
        close(fd);
        return r;
    }
    struct xtr_prober *prober = em_calloc(1, sizeof *prober);
    *prober =
        (struct xtr_prober){.loop = loop, .fd = fd, .port = port, .on_state = on_state, .aux = aux};
    em_index_init(&prober->index);
    ev_io_init(&prober->io, on_readable, fd, EV_READ);
    prober->io.data = prober;
    ev_io_start(loop, &prober->io);
    *ret_prober = prober;
    return 0;
}

/* Who is probed */

static bool has_id(const void *aux, uint32_t slot, const void *id)
{
    return !strcmp(((const struct xtr_prober *)aux)->peers[slot]->id, id);
}

static struct peer *find(const struct xtr_prober *prober, const char *id)
{
    uint32_t slot = em_index_find(&prober->index, em_hash(id, strlen(id)), has_id, prober, id);
    return slot == EM_INDEX_NONE ? NULL : prober->peers[slot];
}

static uint32_t free_slot(struct xtr_prober *prober)
{
    for (uint32_t i = prober->n_peers; i-- > 0;)
        if (!prober->peers[i])
            return i;
    uint32_t old = prober->n_peers;
    prober->n_peers = old ? old * 2 : 16;
    prober->peers = em_realloc(prober->peers, prober->n_peers * sizeof(struct peer *));
    memset(prober->peers + old, 0, (prober->n_peers - old) * sizeof(struct peer *));
    return old;
}

static struct peer *add(struct xtr_prober *prober, const char *id)
{
    struct peer *peer = em_calloc(1, sizeof *peer);
    peer->prober = prober;
    peer->slot = free_slot(prober);
    peer->id = em_strdup(id);
    ev_timer_init(&peer->timer, on_timer, 0, 0);
    peer->timer.data = peer;
    prober->peers[peer->slot] = peer;
    prober->n_probed++;
    em_index_insert(&prober->index, em_hash(id, strlen(id)), peer->slot);
    return peer;
}

static void drop(struct peer *peer)
{
    struct xtr_prober *prober = peer->prober;
    ev_timer_stop(prober->loop, &peer->timer);
    prober->n_probed--;
    prober->n_silent -= peer->probe.state == XTR_PROBE_SILENT;
    prober->peers[peer->slot] = NULL;
    em_index_remove(&prober->index, em_hash(peer->id, strlen(peer->id)), peer->slot);
    free(peer->id);
    free(peer);
}

void xtr_prober_free(struct xtr_prober *prober)
{
    if (!prober)
        return;
    for (uint32_t i = 0; i < prober->n_peers; i++)
        if (prober->peers[i])
            drop(prober->peers[i]);
    ev_io_stop(prober->loop, &prober->io);
    close(prober->fd);
    free(prober->peers);
    em_index_fini(&prober->index);
    free(prober);
}

void xtr_prober_begin(struct xtr_prober *prober)
{
    for (uint32_t i = 0; i < prober->n_peers; i++)
        if (prober->peers[i])
            prober->peers[i]->is_wanted = false;
}

const struct xtr_probe *xtr_prober_put(struct xtr_prober *prober, const char *node_id,
                                       const struct em_ip *ip, uint32_t interval_ms)
{
    struct peer *peer = find(prober, node_id);
    if (peer && find_asked(prober, peer->slot, ip) != peer) {
        drop(peer);
        peer = NULL;
    }
    if (!peer) {
        peer = add(prober, node_id);
        peer->ip = *ip;
        xtr_probe_start(&peer->probe, interval_ms, em_now_us(), (uint16_t)draw());
        arm(peer);
    } else if (peer->probe.interval_us != interval_ms * 1000) {
        xtr_probe_set_interval(&peer->probe, interval_ms, em_now_us());
        arm(peer);
    }
    peer->is_wanted = true;
    return &peer->probe;
}

void xtr_prober_end(struct xtr_prober *prober)
{
    for (uint32_t i = 0; i < prober->n_peers; i++)
        if (prober->peers[i] && !prober->peers[i]->is_wanted)
            drop(prober->peers[i]);
}

const struct xtr_probe *xtr_prober_find(const struct xtr_prober *prober, const char *node_id)
{
    const struct peer *peer = find(prober, node_id);
    return peer ? &peer->probe : NULL;
}

size_t xtr_prober_n_probed(const struct xtr_prober *prober)
{
    return prober->n_probed;
}

size_t xtr_prober_n_silent(const struct xtr_prober *prober)
{
    return prober->n_silent;
}
