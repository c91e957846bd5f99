/* Route netlink, as the data plane needs it.
 *
 * rtnetlink works through the messages of one sendmsg in the caller's context and has
 * queued every answer when the call returns.  It answers a message that failed whether or
 * not NLM_F_ACK was set, and goes on with the next; so an acknowledgement of the last
 * message alone proves that all were seen, at two thirds of the cost of one each.  Reading
 * therefore never waits: if the queue is empty before the last answer came, answers were
 * dropped for want of buffer, and what they said is unknown. */
#include "netlink.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define RECEIVE_BUFFER (1 << 20)
#define DUMP_BUFFER    65536 /* above the 32 KiB of the kernel's largest dump message */

struct dp_nl_batch {
    size_t n;
    struct nlmsghdr *messages[DP_NL_BATCH];
    _Alignas(NLMSG_ALIGNTO) uint8_t out[DP_NL_BATCH * DP_NL_MESSAGE];
};

struct dp_nl {
    struct mnl_socket *socket;
    struct mnl_socket *events; /* NULL: nobody listens */
    uint32_t seq;              /* of the last message */
    uint64_t n_sent;
    struct dp_nl_batch *batch; /* that messages are appended to */
    _Alignas(NLMSG_ALIGNTO) uint8_t in[DUMP_BUFFER];
};

struct dp_nl_batch *dp_nl_batch_new(void)
{
    return em_calloc(1, sizeof(struct dp_nl_batch));
}

void dp_nl_batch_free(struct dp_nl_batch *batch)
{
    free(batch);
}

static void set_option(struct dp_nl *nl, int level, int option, int value)
{
    /* Each is an improvement that older kernels lack; without it the code still works. */
    (void)setsockopt(mnl_socket_get_fd(nl->socket), level, option, &value, sizeof(value));
}

static int open_socket(struct dp_nl *nl)
{
    nl->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (!nl->socket || mnl_socket_bind(nl->socket, 0, MNL_SOCKET_AUTOPID) < 0)
        return -errno;
    set_option(nl, SOL_NETLINK, NETLINK_CAP_ACK, 1); /* an error does not echo its message */
    set_option(nl, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
    set_option(nl, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER);
    return 0;
}

int dp_nl_open(struct dp_nl **ret_nl)
{
    struct dp_nl *nl = em_calloc(1, sizeof(*nl));

    nl->batch = dp_nl_batch_new();
    int r = open_socket(nl);
    if (r)
        dp_nl_close(nl);
    else
        *ret_nl = nl;
    return r;
}

void dp_nl_close(struct dp_nl *nl)
{
    if (!nl)
        return;
    if (nl->socket)
        mnl_socket_close(nl->socket);
    if (nl->events)
        mnl_socket_close(nl->events);
    dp_nl_batch_free(nl->batch);
    free(nl);
}

int dp_nl_listen(struct dp_nl *nl)
{
    int links = RTNLGRP_LINK, nexthops = RTNLGRP_NEXTHOP, size = RECEIVE_BUFFER;

    nl->events = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (!nl->events || mnl_socket_bind(nl->events, 0, MNL_SOCKET_AUTOPID) < 0 ||
        mnl_socket_setsockopt(nl->events, NETLINK_ADD_MEMBERSHIP, &links, sizeof(links)) < 0 ||
        mnl_socket_setsockopt(nl->events, NETLINK_ADD_MEMBERSHIP, &nexthops, sizeof(nexthops)) < 0)
        return -errno;
    (void)setsockopt(mnl_socket_get_fd(nl->events), SOL_SOCKET, SO_RCVBUFFORCE, &size,
                     sizeof(size));
    return 0;
}

bool dp_nl_events(struct dp_nl *nl, dp_nl_fn *on_message, void *aux)
{
    bool is_whole = true;
    ssize_t got;

    do {
        got = recv(mnl_socket_get_fd(nl->events), nl->in, sizeof(nl->in), 0);
        is_whole = is_whole && (got >= 0 || errno != ENOBUFS);
        int left = got > 0 ? (int)got : 0;
        for (const struct nlmsghdr *event = (const void *)nl->in; mnl_nlmsg_ok(event, left);
             event = mnl_nlmsg_next(event, &left))
            on_message(aux, event);
    } while (got >= 0 || errno == ENOBUFS || errno == EINTR);
    return is_whole;
}

static size_t batch_size(const struct dp_nl_batch *batch)
{
    if (batch->n == 0)
        return 0;
    const struct nlmsghdr *last = batch->messages[batch->n - 1];
    assert(last->nlmsg_len <= DP_NL_MESSAGE);
    return (size_t)((const uint8_t *)last - batch->out) + NLMSG_ALIGN(last->nlmsg_len);
}

struct nlmsghdr *dp_nl_begin(struct dp_nl *nl, uint16_t type, uint16_t flags, size_t extra)
{
    struct dp_nl_batch *batch = nl->batch;
    assert(batch->n < DP_NL_BATCH);
    struct nlmsghdr *message = mnl_nlmsg_put_header(batch->out + batch_size(batch));

    message->nlmsg_type = type;
    message->nlmsg_flags = NLM_F_REQUEST | flags;
    message->nlmsg_seq = ++nl->seq;
    mnl_nlmsg_put_extra_header(message, extra);
    batch->messages[batch->n++] = message;
    return message;
}

size_t dp_nl_len(const struct dp_nl *nl)
{
    return nl->batch->n;
}

bool dp_nl_has_room(const struct dp_nl *nl, size_t n)
{
    return nl->batch->n + n <= DP_NL_BATCH;
}

uint64_t dp_nl_n_sent(const struct dp_nl *nl)
{
    return nl->n_sent;
}

struct dp_nl_batch *dp_nl_swap_take(struct dp_nl *nl, struct dp_nl_batch *empty_take)
{
    struct dp_nl_batch *batch = nl->batch;

    assert(empty_take->n == 0);
    nl->batch = empty_take;
    nl->n_sent += batch->n;
    return batch;
}

static ssize_t transmit(struct dp_nl *nl, const struct dp_nl_batch *batch)
{
    ssize_t sent;

    do
        sent = mnl_socket_sendto(nl->socket, batch->out, batch_size(batch));
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

static ssize_t receive(struct dp_nl *nl, int flags)
{
    ssize_t got;

    do
        got = recv(mnl_socket_get_fd(nl->socket), nl->in, sizeof(nl->in), flags | MSG_TRUNC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    return (size_t)got > sizeof(nl->in) ? -EMSGSIZE : got;
}

/* "Not there" as the tables say it: ENOENT by FDB, neighbours and nexthops. */
static bool is_done(const struct nlmsghdr *message, int err)
{
    bool is_delete = message->nlmsg_type == RTM_DELNEIGH || message->nlmsg_type == RTM_DELNEXTHOP;
    return err == 0 || (is_delete && err == -ENOENT);
}

/* Notes the answers in one datagram; true if the last message's is among them. */
static bool take_answers(struct dp_nl *nl, const struct dp_nl_batch *batch, size_t size, int *errs,
                         dp_nl_answer_fn *on_answer, void *aux)
{
    uint32_t first = batch->messages[0]->nlmsg_seq;
    bool is_last = false;
    int left = (int)size;

    for (const struct nlmsghdr *answer = (const void *)nl->in; mnl_nlmsg_ok(answer, left);
         answer = mnl_nlmsg_next(answer, &left)) {
        size_t i = answer->nlmsg_seq - first;
        if (i >= batch->n)
            continue; /* an answer to an earlier batch that was given up */
        if (answer->nlmsg_type != NLMSG_ERROR) {
            if (on_answer)
                on_answer(aux, i, answer);
            continue;
        }
        int err = ((const struct nlmsgerr *)mnl_nlmsg_get_payload(answer))->error;
        errs[i] = is_done(batch->messages[i], err) ? 0 : err;
        is_last = is_last || i == batch->n - 1;
    }
    return is_last;
}

static void fill(int *errs, size_t n, int from, int to)
{
    for (size_t i = 0; i < n; i++)
        if (errs[i] == from)
            errs[i] = to;
}

/* 'on_answer' may be NULL. */
static int exchange(struct dp_nl *nl, struct dp_nl_batch *batch, int *errs,
                    dp_nl_answer_fn *on_answer, void *aux)
{
    const int open = 1; /* no answer yet; errors are negative */
    size_t n = batch->n;
    bool is_complete = false;
    int unknown = -ENOBUFS;

    if (n == 0)
        return 0;
    batch->messages[n - 1]->nlmsg_flags |= NLM_F_ACK;
    for (size_t i = 0; i < n; i++)
        errs[i] = open;

    ssize_t r = transmit(nl, batch);
    if (r < 0)
        unknown = (int)r;
    bool is_lossy = false;
    while (r >= 0 && !is_complete) {
        ssize_t got = receive(nl, MSG_DONTWAIT);
        if (got == -ENOBUFS)
            is_lossy = true; /* said once; what was queued before the loss still follows */
        else if (got < 0)
            break;
        else
            is_complete = take_answers(nl, batch, (size_t)got, errs, on_answer, aux);
    }
    fill(errs, n, open, is_complete && !is_lossy ? 0 : unknown);

    batch->n = 0;
    for (size_t i = 0; i < n; i++)
        if (errs[i])
            return errs[i];
    return 0;
}

int dp_nl_send(struct dp_nl *nl, int *errs)
{
    nl->n_sent += nl->batch->n;
    return exchange(nl, nl->batch, errs, NULL, NULL);
}

int dp_nl_send_batch(struct dp_nl *nl, struct dp_nl_batch *batch, int *errs)
{
    return exchange(nl, batch, errs, NULL, NULL);
}

int dp_nl_ask(struct dp_nl *nl, int *errs, dp_nl_answer_fn *on_answer, void *aux)
{
    return exchange(nl, nl->batch, errs, on_answer, aux);
}

int dp_nl_commit(struct dp_nl *nl)
{
    int errs[DP_NL_BATCH];
    return dp_nl_send(nl, errs);
}

struct reading {
    dp_nl_fn *on_message;
    void *aux;
    uint32_t seq;
    size_t n; /* shown */
    bool is_torn;
};

/* > 0: more follows. */
static int show_answers(struct dp_nl *nl, size_t size, struct reading *reading)
{
    int left = (int)size;

    for (const struct nlmsghdr *answer = (const void *)nl->in; mnl_nlmsg_ok(answer, left);
         answer = mnl_nlmsg_next(answer, &left)) {
        if (answer->nlmsg_seq != reading->seq)
            continue;
        if (answer->nlmsg_flags & NLM_F_DUMP_INTR)
            reading->is_torn = true;
        if (answer->nlmsg_type == NLMSG_ERROR)
            return ((const struct nlmsgerr *)mnl_nlmsg_get_payload(answer))->error;
        if (answer->nlmsg_type == NLMSG_DONE)
            return 0;
        reading->n++;
        reading->on_message(reading->aux, answer);
    }
    return 1;
}

/* The kernel dumps into the socket as long as that is there. */
static int give_up(struct dp_nl *nl)
{
    mnl_socket_close(nl->socket);
    int r = open_socket(nl);
    return r ? r : -EFBIG;
}

int dp_nl_read_most(struct dp_nl *nl, size_t most, dp_nl_fn *on_message, void *aux)
{
    struct reading reading = {.on_message = on_message, .aux = aux};

    struct nlmsghdr *request = nl->batch->messages[0];
    assert(nl->batch->n == 1);
    /* A read of one entry is followed by an acknowledgement, so that both end alike. */
    if (!(request->nlmsg_flags & NLM_F_DUMP))
        request->nlmsg_flags |= NLM_F_ACK;
    reading.seq = request->nlmsg_seq;
    ssize_t r = transmit(nl, nl->batch);
    nl->batch->n = 0;
    while (r >= 0) {
        r = receive(nl, 0);
        if (r >= 0)
            r = show_answers(nl, (size_t)r, &reading);
        if (r == 0)
            return reading.is_torn ? -EAGAIN : 0;
        if (r > 0 && reading.n > most)
            return give_up(nl);
    }
    return (int)r;
}

int dp_nl_read(struct dp_nl *nl, dp_nl_fn *on_message, void *aux)
{
    return dp_nl_read_most(nl, SIZE_MAX, on_message, aux);
}
