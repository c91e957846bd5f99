/* How ovs-vswitchd is waited for: a change adds one to Open_vSwitch's next_cfg, ovs-vswitchd copies
 * that to cur_cfg when it has done all of it.  ovs-vsctl monitors cur_cfg; here the server is asked
 * to hold the answer back while a row with a smaller cur_cfg exists, which somebody else's change
 * in between does not disturb. */
#include "ovs/ovsdb.h"

#include "base/clock.h"
#include "base/mem.h"
#include "eidmap/error.h"
#include "net/socket.h"
#include "ovs/datum.h"
#include "ovs/rpc.h"
#include "ovs/stream.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE 65536
#define SERVER_MS 1000 /* for the server's own timer, when it waits for us */

struct ovsdb {
    int fd;
    int timeout_ms;
    int64_t id; /* of the last request */
    struct ovs_stream in;
};

/* Connections */

struct ovsdb *ovsdb_new(int fd, int timeout_ms)
{
    struct ovsdb *db = em_calloc(1, sizeof *db);
    db->fd = fd;
    db->timeout_ms = timeout_ms;
    ovs_stream_init(&db->in, 0);
    return db;
}

int ovsdb_open(const char *remote, int timeout_ms, struct ovsdb **ret_db, char **ret_why)
{
    struct em_address address;
    char why[EM_ADDR_WHY];
    int r = em_address_parse(remote, &address, why);
    if (!r && address.transport != EM_UNIX)
        r = -EINVAL;
    if (r) {
        *ret_why =
            em_asprintf("%s is no OVSDB server that can be used: expected unix:PATH", remote);
        return r;
    }
    int fd = em_socket_connect(&address);
    if (fd < 0) {
        *ret_why =
            em_asprintf("the OVSDB server at %s cannot be reached: %s; %s", remote, em_strerror(fd),
                        fd == -EACCES ? "its socket is not open to the agent's user"
                                      : "does ovsdb-server run?");
        return fd;
    }
    *ret_db = ovsdb_new(fd, timeout_ms);
    return 0;
}

void ovsdb_close(struct ovsdb *db)
{
    if (!db)
        return;
    ovs_stream_fini(&db->in);
    close(db->fd);
    free(db);
}

/* Bytes */

/* 0 when the socket is ready by then, else -ETIMEDOUT or -errno. */
static int wait_for(const struct ovsdb *db, short events, uint64_t deadline_ms)
{
    struct pollfd poll_fd = {.fd = db->fd, .events = events};
    for (;;) {
        uint64_t now_ms = em_now_ms();
        int left_ms = now_ms < deadline_ms ? (int)(deadline_ms - now_ms) : 0;
        int n = poll(&poll_fd, 1, left_ms);
        if (n > 0)
            return 0;
        if (n == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

static int send_all(const struct ovsdb *db, const char *bytes, size_t size, uint64_t deadline_ms)
{
    while (size) {
        ssize_t n = send(db->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            bytes += n;
            size -= (size_t)n;
            continue;
        }
        if (errno == EPIPE)
            return -ECONNRESET;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        int r = wait_for(db, POLLOUT, deadline_ms);
        if (r)
            return r;
    }
    return 0;
}

static int send_message(const struct ovsdb *db, json_t *message, uint64_t deadline_ms)
{
    char *text = json_dumps(message, JSON_COMPACT);
    int r = text ? send_all(db, text, strlen(text), deadline_ms) : -EINVAL;
    free(text);
    json_decref(message);
    return r;
}

static int receive(struct ovsdb *db, uint64_t deadline_ms)
{
    char bytes[READ_SIZE];
    int r = wait_for(db, POLLIN, deadline_ms);
    if (r)
        return r;
    ssize_t n = recv(db->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n == 0)
        return -ECONNRESET;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    ovs_stream_append(&db->in, bytes, (size_t)n);
    return 0;
}

/* Messages */

static int next_message(struct ovsdb *db, uint64_t deadline_ms, json_t **ret_message)
{
    int r;
    while ((r = ovs_stream_next(&db->in, ret_message)) == -EAGAIN) {
        r = receive(db, deadline_ms);
        if (r)
            return r;
    }
    return r;
}

static int next_reply(struct ovsdb *db, uint64_t deadline_ms, json_t **ret_reply)
{
    for (;;) {
        json_t *message;
        int r = next_message(db, deadline_ms, &message);
        if (r)
            return r;
        if (ovs_rpc_is_reply(message, db->id)) {
            *ret_reply = message;
            return 0;
        }
        json_t *answer = ovs_rpc_echo(message);
        r = answer ? send_message(db, answer, deadline_ms) : 0;
        json_decref(message);
        if (r)
            return r;
    }
}

/* Calls */

static void explain(const struct ovsdb *db, int err, char **ret_why)
{
    if (err == -ETIMEDOUT)
        *ret_why = em_asprintf("ovsdb-server does not answer within %d ms", db->timeout_ms);
    else if (err == -ECONNRESET)
        *ret_why = em_strdup("ovsdb-server has closed the connection");
    else
        *ret_why = em_asprintf("talking to ovsdb-server failed: %s", em_strerror(err));
}

static int transact(struct ovsdb *db, json_t *ops, uint64_t deadline_ms, json_t **ret_results,
                    char **ret_why)
{
    size_t n_ops = json_array_size(ops);
    json_t *reply = NULL, *request = ovs_rpc_transact(++db->id, ops);
    if (!request) {
        *ret_why = em_strdup("a request to ovsdb-server has a text that is not UTF-8");
        return -EINVAL;
    }
    int r = send_message(db, request, deadline_ms);
    if (!r)
        r = next_reply(db, deadline_ms, &reply);
    if (r) {
        explain(db, r, ret_why);
        return r;
    }
    r = ovs_rpc_check(reply, n_ops, ret_why);
    if (!r && ret_results)
        *ret_results = json_incref(json_object_get(reply, "result"));
    json_decref(reply);
    return r;
}

int ovsdb_transact(struct ovsdb *db, json_t *ops, json_t **ret_results, char **ret_why)
{
    return transact(db, ops, em_now_ms() + (uint64_t)db->timeout_ms, ret_results, ret_why);
}

/* ovs-vswitchd */

static int wait_for_vswitchd(struct ovsdb *db, int64_t cfg, char **ret_why)
{
    json_t *ops = json_pack("[{sssiss s[[ssI]] s[s] ss s[]}]", "op", "wait", "timeout",
                            db->timeout_ms, "table", "Open_vSwitch", "where", "cur_cfg", "<",
                            (json_int_t)cfg, "columns", "cur_cfg", "until", "==", "rows");
    char *why = NULL;
    int r = transact(db, ops, em_now_ms() + (uint64_t)db->timeout_ms + SERVER_MS, NULL, &why);
    if (r == -ETIMEDOUT)
        *ret_why = em_asprintf("ovs-vswitchd does not answer: it has not done change %lld of the "
                               "database within %d ms; does it run?",
                               (long long)cfg, db->timeout_ms);
    else if (r)
        *ret_why = em_strdup(why);
    free(why);
    return r;
}

int ovsdb_configure(struct ovsdb *db, json_t *ops, json_t **ret_results, char **ret_why)
{
    size_t n_ops = json_array_size(ops);
    json_t *results = NULL;
    json_array_append_new(ops,
                          json_pack("{ssss s[] s[[ssi]]}", "op", "mutate", "table", "Open_vSwitch",
                                    "where", "mutations", "next_cfg", "+=", 1));
    json_array_append_new(ops, json_pack("{ssss s[] s[s]}", "op", "select", "table", "Open_vSwitch",
                                         "where", "columns", "next_cfg"));
    int r = ovsdb_transact(db, ops, &results, ret_why);
    if (r)
        return r;
    const json_t *rows = json_object_get(json_array_get(results, n_ops + 1), "rows");
    int64_t cfg;
    if (ovs_datum_number(json_object_get(json_array_get(rows, 0), "next_cfg"), &cfg)) {
        r = wait_for_vswitchd(db, cfg, ret_why);
    } else {
        *ret_why = em_strdup("the database is empty: `ovs-vsctl init` prepares it");
        r = -ENOENT;
    }
    if (!r && ret_results)
        *ret_results = json_incref(results);
    json_decref(results);
    return r;
}
