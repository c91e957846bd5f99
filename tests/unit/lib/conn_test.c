/* Connections: frames both ways, back-pressure, limits, ends; plain, and TLS with real
 * certificates. */
#include "base/buf.h"
#include "base/mem.h"
#include "eidmap/error.h"
#include "net/conn.h"
#include "net/net.h"
#include "net/pki.h"
#include "net/socket.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <ev.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* One end of a connection, and what it has seen. */
struct end {
    struct em_conn *conn;
    bool is_open, is_closed;
    int err;
    char why[160];
    unsigned n_frames, n_drains;
    uint64_t last_id;
    bool closes_on_frame;
    unsigned pauses_after; /* frames; 0: never */
    bool echoes;
    unsigned takes; /* frames at once, until one of an id that this divides; 0: none */
    unsigned n_many;
};

static struct ev_loop *loop;
static struct em_net *net;
static struct em_arena arena;
static struct end a, b; /* a is the client of TLS */
static char dir[64];

static void on_open(struct em_conn *conn, void *aux)
{
    ((struct end *)aux)->is_open = true;
}

static void send_heartbeat(struct end *end, uint64_t id)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Heartbeat heartbeat = EIDMAP__HEARTBEAT__INIT;
    envelope.id = id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_HEARTBEAT;
    envelope.heartbeat = &heartbeat;
    cr_assert_eq(em_conn_send(end->conn, &envelope), 0);
}

/* A frame of 'size' bytes, to fill buffers. */
static void send_big(struct end *end, uint64_t id, size_t size)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Error error = EIDMAP__ERROR__INIT;
    char *text = em_malloc(size + 1);
    memset(text, 'x', size);
    text[size] = '\0';
    envelope.id = id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_ERROR;
    envelope.error = &error;
    error.message = text;
    cr_assert_eq(em_conn_send(end->conn, &envelope), 0);
    free(text);
}

static int on_frame(struct em_conn *conn, void *aux, const uint8_t *data, size_t size)
{
    struct end *end = aux;
    em_arena_reset(&arena);
    const Eidmap__Envelope *envelope = em_msg_unpack(&arena, data, size);
    cr_assert_not_null(envelope);
    end->n_frames++;
    cr_assert_eq(envelope->id, end->last_id + 1, "frames come in order");
    end->last_id = envelope->id;
    if (end->echoes)
        send_heartbeat(end, envelope->id);
    if (end->pauses_after && end->n_frames == end->pauses_after)
        em_conn_pause(conn);
    if (end->closes_on_frame)
        em_conn_close(conn, 0, "enough");
    return 0;
}

static void on_drain(struct em_conn *conn, void *aux)
{
    ((struct end *)aux)->n_drains++;
}

static void on_close(struct em_conn *conn, void *aux, int err, const char *why)
{
    struct end *end = aux;
    cr_assert_not(end->is_closed, "on_close comes once");
    end->is_closed = true;
    end->err = err;
    end->conn = NULL;
    snprintf(end->why, sizeof(end->why), "%s", why);
}

static unsigned on_frames(struct em_conn *conn, void *aux, const uint8_t *data, size_t size,
                          unsigned max, size_t *ret_size)
{
    struct end *end = aux;
    unsigned n = 0;
    ssize_t frame;
    for (; end->takes && n < max && (frame = em_frame_size(data, size)) > 0; n++) {
        em_arena_reset(&arena);
        const Eidmap__Envelope *envelope =
            em_msg_unpack(&arena, data + EM_FRAME_HEADER, (size_t)frame - EM_FRAME_HEADER);
        cr_assert_eq(envelope->id, end->last_id + 1, "frames come in order");
        if (envelope->id % end->takes == 0)
            break;
        end->last_id = envelope->id;
        data += frame;
        size -= (size_t)frame;
        *ret_size += (size_t)frame;
    }
    end->n_many += n;
    return n;
}

static const struct em_conn_events events = {on_open, on_frame, on_drain, on_close, on_frames};

static void on_late(struct ev_loop *l, ev_timer *w, int revents)
{
    ev_break(l, EVBREAK_ALL);
}

/* Turns the loop until the condition holds; at most 5 s. */
#define RUN_UNTIL(condition)                                                                       \
    do {                                                                                           \
        ev_timer late_;                                                                            \
        ev_timer_init(&late_, on_late, 5, 0);                                                      \
        ev_timer_start(loop, &late_);                                                              \
        while (!(condition) && ev_is_active(&late_))                                               \
            ev_run(loop, EVRUN_ONCE);                                                              \
        ev_timer_stop(loop, &late_);                                                               \
        cr_assert(condition, "never came true: " #condition);                                      \
    } while (0)

static void turn(unsigned n)
{
    while (n--)
        ev_run(loop, EVRUN_NOWAIT);
}

static void connect_ends(struct em_conn_config config_a, struct em_conn_config config_b)
{
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    config_a.events = config_b.events = &events;
    config_a.is_client = true;
    a.conn = em_conn_new(net, fds[0], &config_a, &a);
    b.conn = em_conn_new(net, fds[1], &config_b, &b);
}

static void connect_plain(void)
{
    connect_ends((struct em_conn_config){0}, (struct em_conn_config){0});
    RUN_UNTIL(a.is_open && b.is_open);
}

static void setup(void)
{
    loop = ev_loop_new(0);
    net = em_net_new(loop);
    em_arena_init(&arena, 0);
    snprintf(dir, sizeof(dir), "/tmp/emconnXXXXXX");
    cr_assert_not_null(mkdtemp(dir));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void teardown(void)
{
    if (a.conn)
        em_conn_close(a.conn, 0, "end of test");
    if (b.conn)
        em_conn_close(b.conn, 0, "end of test");
    em_net_free(net);
    em_arena_fini(&arena);
    ev_loop_destroy(loop);
    nftw(dir, remove_one, 4, FTW_DEPTH | FTW_PHYS);
}

TestSuite(conn, .init = setup, .fini = teardown, .timeout = 30);

Test(conn, frames_arrive_whole_and_in_order)
{
    connect_plain();
    for (uint64_t id = 1; id <= 1000; id++)
        send_heartbeat(&a, id);
    RUN_UNTIL(b.n_frames == 1000);
}

Test(conn, a_frame_of_1_mib_arrives_between_small_ones)
{
    connect_plain();
    send_heartbeat(&a, 1);
    send_big(&a, 2, EM_FRAME_MAX - 64);
    send_heartbeat(&a, 3);
    RUN_UNTIL(b.n_frames == 3);
}

Test(conn, a_frame_that_comes_byte_by_byte_arrives)
{
    int fds[2];
    struct em_buf out;
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    em_buf_init(&out);
    envelope.id = 1;
    cr_assert_eq(em_msg_append(&out, &envelope), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    b.conn = em_conn_new(net, fds[1], &(struct em_conn_config){.events = &events}, &b);
    for (size_t i = 0; i < em_buf_size(&out); i++) {
        cr_assert_eq(b.n_frames, 0);
        cr_assert_eq(send(fds[0], em_buf_head(&out) + i, 1, 0), 1);
        turn(4);
    }
    RUN_UNTIL(b.n_frames == 1);
    close(fds[0]);
    RUN_UNTIL(b.is_closed);
    cr_assert_eq(b.err, EM_E_CLOSED);
    em_buf_fini(&out);
}

Test(conn, what_is_no_frame_ends_the_connection)
{
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    b.conn = em_conn_new(net, fds[1], &(struct em_conn_config){.events = &events}, &b);
    cr_assert_eq(send(fds[0], "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
    RUN_UNTIL(b.is_closed);
    cr_assert_eq(b.err, EM_E_FRAME);
    close(fds[0]);
}

Test(conn, the_peer_of_a_unix_socket_has_its_uid)
{
    connect_plain();
    cr_assert(em_conn_peer(b.conn)->is_unix);
    cr_assert_eq(em_conn_peer(b.conn)->uid, geteuid());
    cr_assert_eq(em_conn_peer(b.conn)->identity.role, EM_ROLE_NONE);
}

Test(conn, a_paused_connection_hands_out_nothing_until_resumed)
{
    connect_plain();
    b.pauses_after = 10;
    for (uint64_t id = 1; id <= 100; id++)
        send_heartbeat(&a, id);
    RUN_UNTIL(b.n_frames == 10);
    turn(20);
    cr_assert_eq(b.n_frames, 10);
    em_conn_resume(b.conn);
    RUN_UNTIL(b.n_frames == 100);
}

Test(conn, one_that_takes_no_answers_is_not_read)
{
    connect_plain();
    em_conn_pause(a.conn); /* a never takes what b sends */
    while (em_conn_pending(b.conn) <= EM_CONN_HIGH) {
        send_big(&b, 1, 100 << 10);
        turn(1);
    }
    send_heartbeat(&a, 1);
    turn(50);
    cr_assert_eq(b.n_frames, 0, "b reads no request while its answers pile up");
    a.last_id = 0;
    unsigned drains = b.n_drains;
    a.pauses_after = 0;
    /* The big frames all carry id 1: take them without the order check. */
    em_conn_close(a.conn, 0, "gone");
    RUN_UNTIL(b.is_closed);
    cr_assert_eq(b.n_drains, drains);
}

Test(conn, answers_beyond_the_limit_cut_the_peer_off)
{
    connect_plain();
    em_conn_pause(a.conn);
    for (int i = 0; i < 12 && b.conn; i++)
        send_big(&b, 1, EM_FRAME_MAX - 64);
    RUN_UNTIL(b.is_closed);
    cr_assert_eq(b.err, EM_E_LIMIT);
}

Test(conn, reading_goes_on_when_the_answers_are_taken)
{
    connect_plain();
    b.echoes = true;
    for (uint64_t id = 1; id <= 20000; id++) {
        send_heartbeat(&a, id);
        if (id % 1000 == 0)
            turn(1);
    }
    RUN_UNTIL(a.n_frames == 20000);
    cr_assert_gt(a.n_drains, 0);
}

Test(conn, one_that_has_much_to_write_leaves_turns_to_others)
{
    enum { MUCH = 300 << 10 };
    int fds[2], room = MUCH;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
    a.conn = em_conn_new(net, fds[0], &(struct em_conn_config){.events = &events}, &a);
    b.conn = em_conn_new(net, fds[1], &(struct em_conn_config){.events = &events}, &b);
    RUN_UNTIL(a.is_open && b.is_open);
    send_big(&a, 1, MUCH);
    send_heartbeat(&b, 1);
    turn(1);
    cr_assert_gt(em_conn_pending(a.conn), MUCH / 2, "a turn writes a part");
    cr_assert_eq(em_conn_pending(b.conn), 0);
    RUN_UNTIL(a.n_frames == 1 && b.n_frames == 1);
    cr_assert_eq(em_conn_pending(a.conn), 0);
}

Test(conn, frames_may_be_taken_many_at_once)
{
    connect_plain();
    b.takes = 10;
    for (uint64_t id = 1; id <= 5000; id++) {
        send_heartbeat(&a, id);
        if (id % 177 == 0)
            turn(1);
    }
    RUN_UNTIL(b.n_many + b.n_frames == 5000);
    cr_assert_eq(b.n_frames, 500);
}

Test(conn, it_may_be_closed_from_its_own_callback)
{
    connect_plain();
    b.closes_on_frame = true;
    for (uint64_t id = 1; id <= 10; id++)
        send_heartbeat(&a, id);
    RUN_UNTIL(b.is_closed && a.is_closed);
    cr_assert_eq(b.n_frames, 1);
    cr_assert_eq(b.err, 0);
    cr_assert_eq(a.err, EM_E_CLOSED);
}

Test(conn, what_was_sent_before_closing_arrives)
{
    connect_plain();
    send_heartbeat(&a, 1);
    em_conn_close(a.conn, 0, "done");
    RUN_UNTIL(b.is_closed);
    cr_assert_eq(b.n_frames, 1);
}

Test(conn, a_peer_that_is_not_read_is_not_silent)
{
    connect_ends((struct em_conn_config){.idle_ms = 100}, (struct em_conn_config){0});
    RUN_UNTIL(a.is_open && b.is_open);
    em_conn_pause(a.conn);
    for (uint64_t id = 1; id <= 8; id++) {
        send_heartbeat(&b, id);
        usleep(50 * 1000);
        turn(5);
    }
    cr_assert_not(a.is_closed);
    em_conn_resume(a.conn);
    RUN_UNTIL(a.n_frames == 8);
    RUN_UNTIL(a.is_closed);
}

Test(conn, a_silent_peer_is_closed_and_a_talking_one_is_not)
{
    connect_ends((struct em_conn_config){.idle_ms = 200}, (struct em_conn_config){0});
    RUN_UNTIL(a.is_open && b.is_open);
    for (uint64_t id = 1; id <= 8; id++) {
        send_heartbeat(&b, id);
        usleep(50 * 1000);
        turn(5);
    }
    cr_assert_not(a.is_closed);
    RUN_UNTIL(a.is_closed);
    cr_assert_eq(a.err, EM_E_TIMEOUT);
}

/* A frame that was there in time counts, also when the loop comes late. */
Test(conn, a_loop_that_was_away_calls_nobody_silent)
{
    int fds[2];
    struct em_buf out;
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    em_buf_init(&out);
    envelope.id = 1;
    cr_assert_eq(em_msg_append(&out, &envelope), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    b.conn =
        em_conn_new(net, fds[1], &(struct em_conn_config){.events = &events, .idle_ms = 2000}, &b);
    RUN_UNTIL(b.is_open);
    turn(5);
    cr_assert_eq(send(fds[0], em_buf_head(&out), em_buf_size(&out), 0), (ssize_t)em_buf_size(&out));
    usleep(2100 * 1000);
    turn(5);
    cr_assert_eq(b.n_frames, 1);
    cr_assert_not(b.is_closed);
    close(fds[0]);
    RUN_UNTIL(b.is_closed);
    em_buf_fini(&out);
}

static void on_prepare(struct ev_loop *l, ev_prepare *w, int revents)
{
    ev_prepare_stop(l, w);
    send_heartbeat(&a, 1);
}

Test(conn, what_a_prepare_watcher_sends_does_not_wait_for_another_event)
{
    ev_prepare prepare;
    connect_plain();
    turn(5);
    ev_prepare_init(&prepare, on_prepare);
    ev_prepare_start(loop, &prepare);
    ev_timer late;
    ev_timer_init(&late, on_late, 10, 0);
    ev_timer_start(loop, &late);
    while (b.n_frames == 0)
        ev_run(loop, EVRUN_ONCE);
    cr_assert(ev_is_active(&late), "it took another event");
    ev_timer_stop(loop, &late);
}

Test(conn, only_a_socket_that_nobody_serves_is_replaced)
{
    struct em_address address = {.transport = EM_UNIX};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(address.path, sizeof(address.path), "%s/sock", dir);
    snprintf(un.sun_path, sizeof(un.sun_path), "%s/sock", dir);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    cr_assert_eq(em_socket_listen(&address, 0600), -EADDRINUSE, "another program's");
    cr_assert_eq(access(un.sun_path, F_OK), 0);
    close(fd);
    unlink(un.sun_path);
    fd = em_socket_listen(&address, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(em_socket_listen(&address, 0600), -EADDRINUSE);
    close(fd);
    fd = em_socket_listen(&address, 0600);
    cr_assert_geq(fd, 0, "left by one that was killed");
    close(fd);
}

/* ---- TLS ----------------------------------------------------------------------------- */

static struct em_tls *context(const char *pki, enum em_role role, const char *name)
{
    char *why = NULL, ca[128];
    struct em_pki_request request = {.role = role, .name = name, .days = 1};
    snprintf(ca, sizeof(ca), "%s/ca.crt", pki);
    int r = em_pki_issue(pki, &request, false, &why);
    cr_assert(r == 0 || r == -EEXIST, "%s", why);
    free(why);
    why = NULL;
    char *cert = em_pki_path(pki, role, name, "crt"), *key = em_pki_path(pki, role, name, "key");
    struct em_tls *tls = NULL;
    r = em_tls_new(ca, cert, key, &tls, &why);
    cr_assert_eq(r, 0, "%s", why);
    free(cert);
    free(key);
    return tls;
}

static void make_ca(const char *path)
{
    char *why = NULL;
    int r = em_pki_init(path, false, &why);
    cr_assert_eq(r, 0, "%s", why);
}

/* A file with the authority of 'pki' and another one; free() its name. */
static char *append_other_ca(const char *pki)
{
    char *other = em_asprintf("%s/other", pki), *both = em_asprintf("%s/both.crt", pki);
    make_ca(other);
    char *command = em_asprintf("cat %s/ca.crt %s/ca.crt > %s", pki, other, both);
    cr_assert_eq(system(command), 0);
    free(command);
    free(other);
    return both;
}

static void connect_tls(struct em_tls *client, struct em_tls *server, struct em_tls_resume *resume)
{
    a = b = (struct end){0};
    connect_ends((struct em_conn_config){.tls = client, .resume = resume},
                 (struct em_conn_config){.tls = server});
}

Test(conn, tls_carries_frames_and_tells_who_the_peer_is)
{
    make_ca(dir);
    struct em_tls *server = context(dir, EM_ROLE_SERVER, "ms1");
    struct em_tls *client = context(dir, EM_ROLE_NODE, "hv1");
    connect_tls(client, server, NULL);
    RUN_UNTIL(a.is_open && b.is_open);
    cr_assert_eq(em_conn_peer(b.conn)->identity.role, EM_ROLE_NODE);
    cr_assert_str_eq(em_conn_peer(b.conn)->identity.name, "hv1");
    cr_assert_str_eq(em_conn_peer(a.conn)->identity.name, "ms1");
    send_heartbeat(&a, 1);
    send_big(&a, 2, EM_FRAME_MAX - 64);
    for (uint64_t id = 3; id <= 500; id++)
        send_heartbeat(&a, id);
    RUN_UNTIL(b.n_frames == 500);
    em_tls_free(server);
    em_tls_free(client);
}

/* From connecting until the client has the server's ticket; was it a resumed session? */
static bool resumes(struct em_tls *client, struct em_tls *server, struct em_tls_resume *resume)
{
    connect_tls(client, server, resume);
    RUN_UNTIL(a.is_open && b.is_open);
    send_heartbeat(&b, 1); /* the ticket comes before it */
    RUN_UNTIL(a.n_frames == 1);
    bool was_resumed = em_conn_was_resumed(b.conn);
    cr_assert_str_eq(em_conn_peer(b.conn)->identity.name, "hv1", "known on a resumed one too");
    em_conn_close(a.conn, 0, "next");
    RUN_UNTIL(b.is_closed);
    return was_resumed;
}

Test(conn, a_second_tls_session_is_resumed)
{
    make_ca(dir);
    struct em_tls *server = context(dir, EM_ROLE_SERVER, "ms1");
    struct em_tls *client = context(dir, EM_ROLE_NODE, "hv1");
    struct em_tls_resume *resume = em_tls_resume_new();
    cr_assert_not(resumes(client, server, resume));
    cr_assert(resumes(client, server, resume));
    em_tls_resume_free(resume);
    em_tls_free(server);
    em_tls_free(client);
}

/* A new context of the same files is what a restart makes. */
Test(conn, a_tls_session_is_resumed_after_a_restart_of_the_server)
{
    make_ca(dir);
    struct em_tls *client = context(dir, EM_ROLE_NODE, "hv1");
    struct em_tls_resume *resume = em_tls_resume_new();
    for (int i = 0; i < 3; i++) {
        struct em_tls *server = context(dir, EM_ROLE_SERVER, "ms1");
        cr_assert_eq(resumes(client, server, resume), i > 0);
        em_tls_free(server);
    }
    struct em_tls *other = context(dir, EM_ROLE_SERVER, "ms2");
    cr_assert_not(resumes(client, other, resume), "its ticket means nothing to another server");
    em_tls_resume_free(resume);
    em_tls_free(other);
    em_tls_free(client);
}

/* The server's certificate and key stay, but it trusts another authority from now on. */
Test(conn, a_tls_session_is_not_resumed_under_another_authority)
{
    char *why = NULL;
    make_ca(dir);
    struct em_tls *client = context(dir, EM_ROLE_NODE, "hv1");
    struct em_tls *server = context(dir, EM_ROLE_SERVER, "ms1");
    struct em_tls_resume *resume = em_tls_resume_new();
    cr_assert_not(resumes(client, server, resume));
    em_tls_free(server);
    char *ca = append_other_ca(dir);
    char *cert = em_pki_path(dir, EM_ROLE_SERVER, "ms1", "crt");
    char *key = em_pki_path(dir, EM_ROLE_SERVER, "ms1", "key");
    int r = em_tls_new(ca, cert, key, &server, &why);
    cr_assert_eq(r, 0, "%s", why);
    cr_assert_not(resumes(client, server, resume));
    free(ca);
    free(cert);
    free(key);
    em_tls_resume_free(resume);
    em_tls_free(server);
    em_tls_free(client);
}

/* Its certificate was renewed, or its CA replaced: the ticket stands for the old one. */
Test(conn, a_tls_session_is_not_resumed_with_another_context_of_the_client)
{
    make_ca(dir);
    struct em_tls *server = context(dir, EM_ROLE_SERVER, "ms1");
    struct em_tls *client = context(dir, EM_ROLE_NODE, "hv1");
    struct em_tls *renewed = context(dir, EM_ROLE_NODE, "hv1");
    struct em_tls_resume *resume = em_tls_resume_new();
    cr_assert_not(resumes(client, server, resume));
    cr_assert_not(resumes(renewed, server, resume));
    em_tls_free(client);
    cr_assert(resumes(renewed, server, resume));
    em_tls_resume_free(resume);
    em_tls_free(server);
    em_tls_free(renewed);
}

Test(conn, a_node_cannot_pose_as_a_server)
{
    make_ca(dir);
    struct em_tls *fake = context(dir, EM_ROLE_NODE, "evil");
    struct em_tls *client = context(dir, EM_ROLE_NODE, "hv1");
    connect_tls(client, fake, NULL);
    RUN_UNTIL(a.is_closed && b.is_closed);
    cr_assert_not(a.is_open);
    em_tls_free(fake);
    em_tls_free(client);
}

Test(conn, a_certificate_of_another_authority_is_refused)
{
    char other[80];
    snprintf(other, sizeof(other), "%s/other", dir);
    make_ca(dir);
    make_ca(other);
    struct em_tls *server = context(dir, EM_ROLE_SERVER, "ms1");
    struct em_tls *client = context(other, EM_ROLE_NODE, "hv1");
    connect_tls(client, server, NULL);
    RUN_UNTIL(a.is_closed && b.is_closed);
    cr_assert_not(b.is_open);
    cr_assert(strstr(a.why, "certificate") || strstr(b.why, "certificate"), "%s; %s", a.why, b.why);
    em_tls_free(server);
    em_tls_free(client);
}

Test(conn, a_plain_client_at_a_tls_server_is_cut_off)
{
    make_ca(dir);
    struct em_tls *server = context(dir, EM_ROLE_SERVER, "ms1");
    connect_ends((struct em_conn_config){0}, (struct em_conn_config){.tls = server});
    RUN_UNTIL(a.is_open);
    send_heartbeat(&a, 1);
    RUN_UNTIL(b.is_closed);
    cr_assert_eq(b.err, EM_E_TLS);
    em_tls_free(server);
}

Test(conn, a_handshake_that_does_not_come_is_given_up)
{
    make_ca(dir);
    struct em_tls *server = context(dir, EM_ROLE_SERVER, "ms1");
    connect_ends((struct em_conn_config){0},
                 (struct em_conn_config){.tls = server, .handshake_ms = 100});
    RUN_UNTIL(b.is_closed);
    cr_assert_eq(b.err, EM_E_TIMEOUT);
    em_tls_free(server);
}

Test(conn, identities_are_read_strictly)
{
    struct em_identity who;
    cr_assert_eq(em_identity_parse("eidmap://node/hv1", &who), 0);
    cr_assert_eq(who.role, EM_ROLE_NODE);
    cr_assert_eq(em_identity_parse("eidmap://operator/alice", &who), 0);
    cr_assert_eq(em_identity_parse("eidmap://server/ms-1.example", &who), 0);
    static const char *const bad[] = {
        "eidmap://node/",    "eidmap://nodes/hv1", "eidmap:/node/hv1",    "eidmap://node/a b",
        "eidmap://node/a/b", "EIDMAP://node/a",    "eidmap://admin/root", ""};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_neq(em_identity_parse(bad[i], &who), 0, "%s", bad[i]);
}

Test(conn, unreadable_certificates_are_named)
{
    struct em_tls *tls = NULL;
    char *why = NULL, file[96];
    cr_assert_neq(em_tls_new("/nowhere/ca.crt", "/nowhere/a.crt", "/nowhere/a.key", &tls, &why), 0);
    cr_assert(strstr(why, "/nowhere/ca.crt"), "%s", why);
    free(why);
    snprintf(file, sizeof(file), "%s/empty", dir);
    fclose(fopen(file, "w"));
    cr_assert_neq(em_tls_new(file, file, file, &tls, &why), 0);
    cr_assert(strstr(why, "empty"), "%s", why);
    free(why);
}

Test(conn, a_key_that_belongs_to_another_certificate_is_named)
{
    make_ca(dir);
    em_tls_free(context(dir, EM_ROLE_NODE, "hv1"));
    em_tls_free(context(dir, EM_ROLE_NODE, "hv2"));
    char ca[96], cert[96], key[96], *why = NULL;
    struct em_tls *tls = NULL;
    snprintf(ca, sizeof(ca), "%s/ca.crt", dir);
    snprintf(cert, sizeof(cert), "%s/node-hv1.crt", dir);
    snprintf(key, sizeof(key), "%s/node-hv2.key", dir);
    cr_assert_neq(em_tls_new(ca, cert, key, &tls, &why), 0);
    cr_assert(strstr(why, "node-hv2.key"), "%s", why);
    free(why);
}

Test(conn, a_key_with_a_passphrase_is_refused_without_asking)
{
    make_ca(dir);
    em_tls_free(context(dir, EM_ROLE_NODE, "hv1"));
    char ca[96], cert[96], key[96], command[256], *why = NULL;
    struct em_tls *tls = NULL;
    snprintf(ca, sizeof(ca), "%s/ca.crt", dir);
    snprintf(cert, sizeof(cert), "%s/node-hv1.crt", dir);
    snprintf(key, sizeof(key), "%s/locked.key", dir);
    snprintf(command, sizeof(command),
             "openssl ec -aes128 -passout pass:x -in %s/node-hv1.key -out %s 2>/dev/null", dir,
             key);
    cr_assert_eq(system(command), 0);
    cr_assert_neq(em_tls_new(ca, cert, key, &tls, &why), 0);
    cr_assert(strstr(why, "locked.key"), "%s", why);
    free(why);
}
