/* The connection to a switch, over a switch that is a thread of the test: it reads a request after
 * the other and answers as it has been told to. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "ovs/ofconn.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum manner {
    CORRECT,
    OLD,      /* greets with OpenFlow 1.3 */
    NEW,      /* with 1.5, and speaks 1.4 */
    MUTE,     /* never greets */
    BYTEWISE, /* each byte by itself */
    SILENT,   /* from the first request on */
    CLOSES,   /* at the first request */
    GARBLED,  /* answers it with a message that has no length */
    FLOODS,   /* sends packet-ins and answers nothing */
    REFUSES,  /* answers a dump of ports by an error */
    IN_PARTS, /* answers it in three parts, and the barrier before the last */
    ASKS,     /* whether we are there */
    DEAF,     /* asks that and reads no answer */
};

struct fake {
    enum manner manner;
    char dir[32], path[64];
    int listener, fd;
    pthread_t thread;
    uint32_t n_echo; /* replies seen */
    bool has_data;   /* the last one returned what was asked with */
};

static void put(struct em_buf *out, uint8_t version, uint8_t type, uint32_t xid, const void *body,
                size_t size)
{
    size_t whole = 8 + size;
    uint8_t header[] = {version,
                        type,
                        (uint8_t)(whole >> 8),
                        (uint8_t)whole,
                        (uint8_t)(xid >> 24),
                        (uint8_t)(xid >> 16),
                        (uint8_t)(xid >> 8),
                        (uint8_t)xid};
    em_buf_append(out, header, sizeof header);
    em_buf_append(out, body, size);
}

static void answer_dump(struct fake *fake, struct em_buf *out, uint32_t xid)
{
    uint8_t part[] = {0, OF_MULTIPART_PORT_DESC, 0, 1, 0, 0, 0, 0}, error[] = {0, 1, 0, 5};
    if (fake->manner == REFUSES) {
        put(out, OF_VERSION, OF_ERROR, xid, error, sizeof error);
        return;
    }
    put(out, OF_VERSION, OF_MULTIPART_REPLY, xid, part, sizeof part);
    put(out, OF_VERSION, OF_MULTIPART_REPLY, xid, part, sizeof part);
    put(out, OF_VERSION, OF_BARRIER_REPLY, xid + 1, NULL, 0);
    part[3] = 0;
    put(out, OF_VERSION, OF_MULTIPART_REPLY, xid, part, sizeof part);
}

/* False: the connection is over. */
static bool answer(struct fake *fake, struct em_buf *out, const struct of_message *message)
{
    static const uint8_t garbage[8] = {OF_VERSION, OF_BARRIER_REPLY};
    switch (message->type) {
    case OF_BARRIER_REQUEST:
        if (fake->manner == CLOSES)
            return false;
        if (fake->manner == GARBLED)
            em_buf_append(out, garbage, sizeof garbage);
        if (fake->manner == ASKS)
            put(out, OF_VERSION, OF_ECHO_REQUEST, 77, "there?", 6);
        if (fake->manner != SILENT && fake->manner != FLOODS && fake->manner != DEAF)
            put(out, OF_VERSION, OF_BARRIER_REPLY, message->xid, NULL, 0);
        return true;
    case OF_MULTIPART_REQUEST:
        answer_dump(fake, out, message->xid);
        return true;
    case OF_ECHO_REPLY:
        fake->n_echo++;
        fake->has_data = message->xid == 77 && message->size == 14 &&
                         memcmp(message->data + 8, "there?", 6) == 0;
        return true;
    default:
        return true;
    }
}

static bool write_all(struct fake *fake, struct em_buf *out)
{
    while (em_buf_size(out) > 0) {
        size_t size = fake->manner == BYTEWISE ? 1 : em_buf_size(out);
        ssize_t n = send(fake->fd, em_buf_head(out), size, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        em_buf_take(out, (size_t)n);
    }
    return true;
}

static bool is_noisy(const struct fake *fake)
{
    return fake->manner == FLOODS || fake->manner == DEAF;
}

static bool serve_once(struct fake *fake, struct em_buf *in, struct em_buf *out)
{
    struct pollfd fd = {.fd = fake->fd, .events = POLLIN};
    struct of_message message;
    int n = poll(&fd, 1, is_noisy(fake) ? 1 : -1);
    if (fake->manner == FLOODS)
        put(out, OF_VERSION, OF_PACKET_IN, 0, NULL, 0);
    if (fake->manner == DEAF)
        for (int i = 0; i < 100; i++)
            put(out, OF_VERSION, OF_ECHO_REQUEST, 77, "there?", 6);
    if (n > 0 && fake->manner != DEAF) {
        ssize_t size = recv(fake->fd, em_buf_reserve(in, 4096), 4096, 0);
        if (size <= 0)
            return false;
        em_buf_commit(in, (size_t)size);
    }
    while ((n = of_parse(em_buf_head(in), em_buf_size(in), &message)) > 0) {
        if (!answer(fake, out, &message))
            return false;
        em_buf_take(in, (size_t)n);
    }
    return n == 0 && write_all(fake, out);
}

static void *serve(void *aux)
{
    struct fake *fake = aux;
    struct em_buf in, out;
    uint8_t version = fake->manner == OLD ? 4 : fake->manner == NEW ? 6 : OF_VERSION;
    fake->fd = accept(fake->listener, NULL, NULL);
    em_buf_init(&in);
    em_buf_init(&out);
    if (fake->manner != MUTE)
        put(&out, version, OF_HELLO, 1, NULL, 0);
    if (write_all(fake, &out))
        while (serve_once(fake, &in, &out))
            continue;
    close(fake->fd);
    em_buf_fini(&in);
    em_buf_fini(&out);
    return NULL;
}

static void start_fake(struct fake *fake, enum manner manner)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *fake = (struct fake){.manner = manner, .dir = "/tmp/emofXXXXXX"};
    cr_assert(mkdtemp(fake->dir));
    snprintf(fake->path, sizeof fake->path, "%s/br.mgmt", fake->dir);
    strcpy(address.sun_path, fake->path);
    fake->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fake->listener, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(fake->listener, 1), 0);
    cr_assert_eq(pthread_create(&fake->thread, NULL, serve, fake), 0);
}

/* After the client has closed. */
static void end_fake(struct fake *fake)
{
    pthread_join(fake->thread, NULL);
    close(fake->listener);
    unlink(fake->path);
    rmdir(fake->dir);
}

struct seen {
    uint32_t n, n_parts, n_errors;
};

static void on_message(void *aux, const struct of_message *message)
{
    struct seen *seen = aux;
    seen->n++;
    seen->n_parts += message->type == OF_MULTIPART_REPLY;
    seen->n_errors += message->type == OF_ERROR;
}

/* Connects and closes; what became of it. */
static int greeted(enum manner manner)
{
    struct fake fake;
    struct seen seen = {0};
    struct of_conn *conn = NULL;
    start_fake(&fake, manner);
    int r = of_connect(fake.path, on_message, &seen, &conn);
    cr_assert_eq(r == 0, conn != NULL);
    of_close(conn);
    end_fake(&fake);
    return r;
}

Test(ofconn, agrees_with_a_switch_of_this_version_or_a_newer_one)
{
    cr_assert_eq(greeted(CORRECT), 0);
    cr_assert_eq(greeted(NEW), 0);
}

Test(ofconn, switch_that_speaks_older_versions_only_is_refused_at_once)
{
    uint64_t begin_ms = em_now_ms();
    cr_assert_eq(greeted(OLD), -EPROTO);
    cr_assert_lt(em_now_ms() - begin_ms, 1500, "not by its patience");
}

Test(ofconn, nobody_there)
{
    struct of_conn *conn = NULL;
    char path[200];
    cr_assert_eq(of_connect("/tmp/no/such.mgmt", on_message, NULL, &conn), -ENOENT);
    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = '\0';
    cr_assert_eq(of_connect(path, on_message, NULL, &conn), -ENAMETOOLONG);
    cr_assert_null(conn);
    of_close(NULL);
}

Test(ofconn, switch_that_never_greets_is_given_up)
{
    cr_assert_eq(greeted(MUTE), -ETIMEDOUT);
}

Test(ofconn, messages_may_come_in_any_pieces)
{
    cr_assert_eq(greeted(BYTEWISE), 0);
}

/* Those that fail with the barrier of the greeting. */
Test(ofconn, silence_an_end_and_garbage_lose_the_connection)
{
    cr_assert_eq(greeted(SILENT), -ETIMEDOUT);
    cr_assert_eq(greeted(CLOSES), -EPROTO);
    cr_assert_eq(greeted(GARBLED), -EPROTO);
}

Test(ofconn, switch_that_only_sends_packets_does_not_hold_us)
{
    uint64_t begin_ms = em_now_ms();
    cr_assert_eq(greeted(FLOODS), -ETIMEDOUT);
    cr_assert_lt(em_now_ms() - begin_ms, 20000);
}

Test(ofconn, switch_that_asks_and_does_not_read_does_not_hold_us)
{
    cr_assert_eq(greeted(DEAF), -ETIMEDOUT);
}

static struct of_conn *connect_to(struct fake *fake, enum manner manner, struct seen *seen)
{
    struct of_conn *conn = NULL;
    start_fake(fake, manner);
    cr_assert_eq(of_connect(fake->path, on_message, seen, &conn), 0);
    *seen = (struct seen){0};
    return conn;
}

Test(ofconn, question_is_answered_with_its_own_data)
{
    struct fake fake;
    struct seen seen;
    struct of_conn *conn = connect_to(&fake, ASKS, &seen);
    cr_assert_eq(of_barrier(conn), 0);
    cr_assert_eq(of_barrier(conn), 0);
    cr_assert_eq(seen.n, 2, "the barriers; echo requests are not the owner's");
    of_close(conn);
    end_fake(&fake);
    cr_assert_geq(fake.n_echo, 2);
    cr_assert(fake.has_data);
}

Test(ofconn, waits_for_the_last_part_whatever_comes_between)
{
    struct fake fake;
    struct seen seen;
    struct of_conn *conn = connect_to(&fake, IN_PARTS, &seen);
    uint32_t xid = of_xid(conn);
    of_put_port_dump(of_out(conn), xid);
    cr_assert_eq(of_wait(conn, xid), 0);
    cr_assert_eq(seen.n_parts, 3);
    cr_assert_eq(seen.n, 4);
    of_close(conn);
    end_fake(&fake);
}

Test(ofconn, error_for_what_was_awaited_is_its_result)
{
    struct fake fake;
    struct seen seen;
    struct of_conn *conn = connect_to(&fake, REFUSES, &seen);
    uint32_t xid = of_xid(conn);
    of_put_port_dump(of_out(conn), xid);
    cr_assert_eq(of_wait(conn, xid), -EPERM);
    cr_assert_eq(seen.n_errors, 1);
    cr_assert_not(of_is_lost(conn));
    cr_assert_eq(of_barrier(conn), 0);
    of_close(conn);
    end_fake(&fake);
}

Test(ofconn, lost_connection_stays_lost)
{
    struct fake fake;
    struct seen seen;
    struct of_conn *conn = connect_to(&fake, CORRECT, &seen);
    shutdown(of_fd(conn), SHUT_RDWR);
    cr_assert_lt(of_barrier(conn), 0);
    cr_assert(of_is_lost(conn));
    cr_assert_eq(of_barrier(conn), -ENOTCONN);
    cr_assert_eq(of_send(conn), -ENOTCONN);
    cr_assert_eq(of_receive(conn, 1000), -ENOTCONN);
    of_close(conn);
    end_fake(&fake);
}

Test(ofconn, nothing_to_read_is_no_error)
{
    struct fake fake;
    struct seen seen;
    struct of_conn *conn = connect_to(&fake, CORRECT, &seen);
    cr_assert_eq(of_receive(conn, 1000), 0);
    cr_assert_eq(of_send(conn), 0);
    of_close(conn);
    end_fake(&fake);
}
