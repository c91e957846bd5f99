/* The prober and the reflector on real sockets, on loopback addresses: packets that were sent
 * there have arrived when sendto() comes back. */
#include "prober.h"

#include "echo.h"
#include "echo_socket.h"
#include "net/socket.h"
#include "reflector.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <ev.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static struct ev_loop *loop;
static struct xtr_prober *prober;
static struct em_ip us, there, elsewhere;
static uint16_t port;
static int there_fd, elsewhere_fd; /* who plays the other node, and a liar */
static unsigned n_told;
static struct sockaddr_storage asker;
static struct xtr_echo asked;

static void on_state(void *aux, const char *node_id, const struct xtr_probe *probe,
                     enum xtr_probe_state from)
{
    cr_assert(eq(str, (char *)node_id, "h1"));
    cr_assert(ne(int, (int)probe->state, (int)from));
    n_told++;
}

static void setup(void)
{
    cr_assert(eq(int, em_ip_parse("127.0.0.1", &us, NULL), 0));
    cr_assert(eq(int, em_ip_parse("127.0.0.2", &there, NULL), 0));
    cr_assert(eq(int, em_ip_parse("127.0.0.3", &elsewhere, NULL), 0));
    there_fd = xtr_echo_socket(&there, 0);
    port = em_socket_port(there_fd);
    elsewhere_fd = xtr_echo_socket(&elsewhere, port);
    cr_assert(ge(int, there_fd, 0));
    cr_assert(ge(int, elsewhere_fd, 0));
    loop = ev_loop_new(0);
    cr_assert(eq(int, xtr_prober_new(loop, &us, port, on_state, NULL, &prober), 0));
    xtr_prober_begin(prober);
    xtr_prober_put(prober, "h1", &there, 50);
    xtr_prober_end(prober);
}

static void teardown(void)
{
    xtr_prober_free(prober);
    ev_loop_destroy(loop);
    if (there_fd >= 0)
        close(there_fd);
    close(elsewhere_fd);
}

TestSuite(prober, .init = setup, .fini = teardown, .timeout = 30);

static void is(enum xtr_probe_state state)
{
    const struct xtr_probe *probe = xtr_prober_find(prober, "h1");
    cr_assert(eq(str, (char *)xtr_probe_name(probe->state), (char *)xtr_probe_name(state)));
}

static void become(enum xtr_probe_state state)
{
    while (xtr_prober_find(prober, "h1")->state != state)
        ev_run(loop, EVRUN_ONCE);
}

/* Lets the prober ask; its packet is 'asked', from 'asker'. */
static void hear_ask(void)
{
    uint8_t bytes[XTR_ECHO_SIZE + 1];
    socklen_t size = sizeof asker;
    ssize_t n;
    while ((n = recvfrom(there_fd, bytes, sizeof bytes, 0, (struct sockaddr *)&asker, &size)) < 0)
        ev_run(loop, EVRUN_ONCE);
    cr_assert(eq(int, xtr_echo_parse(bytes, (size_t)n, &asked), 0));
    cr_assert(eq(int, (int)asked.type, XTR_ECHO_ASK));
}

static void say(int fd, enum xtr_echo_type type, uint32_t tag, uint64_t nonce)
{
    struct xtr_echo echo = {type, tag, nonce};
    uint8_t bytes[XTR_ECHO_SIZE];
    xtr_echo_pack(&echo, bytes);
    cr_assert(eq(sz,
                 (size_t)sendto(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&asker,
                                sizeof(struct sockaddr_in)),
                 sizeof bytes));
    for (int i = 0; i < 3; i++)
        ev_run(loop, EVRUN_NOWAIT);
}

Test(prober, only_the_node_itself_can_answer_and_only_with_the_nonce)
{
    hear_ask();
    say(there_fd, XTR_ECHO_ANSWER, asked.tag, asked.nonce + 1);
    is(XTR_PROBE_UNKNOWN);
    say(there_fd, XTR_ECHO_ANSWER, asked.tag + 1, asked.nonce);
    is(XTR_PROBE_UNKNOWN);
    say(there_fd, XTR_ECHO_ANSWER, UINT32_MAX, asked.nonce);
    is(XTR_PROBE_UNKNOWN);
    say(there_fd, XTR_ECHO_ASK, asked.tag, asked.nonce);
    is(XTR_PROBE_UNKNOWN);
    say(elsewhere_fd, XTR_ECHO_ANSWER, asked.tag, asked.nonce);
    is(XTR_PROBE_UNKNOWN);
    say(there_fd, XTR_ECHO_ANSWER, asked.tag, asked.nonce);
    is(XTR_PROBE_UP);
    cr_assert(eq(u32, n_told, 1));
}

Test(prober, a_reflector_keeps_it_up_and_a_closed_port_is_told_by_its_kernel)
{
    struct xtr_reflector *reflector;
    close(there_fd);
    there_fd = -1;
    cr_assert(eq(int, xtr_reflector_new(&there, port, &reflector), 0));
    become(XTR_PROBE_UP);
    xtr_reflector_free(reflector);
    become(XTR_PROBE_REFUSED);
    cr_assert(eq(int, xtr_reflector_new(&there, port, &reflector), 0));
    become(XTR_PROBE_UP);
    xtr_reflector_free(reflector);
}

Test(prober, silence_is_counted_and_ends)
{
    hear_ask();
    say(there_fd, XTR_ECHO_ANSWER, asked.tag, asked.nonce);
    is(XTR_PROBE_UP);
    become(XTR_PROBE_SILENT);
    cr_assert(eq(sz, xtr_prober_n_silent(prober), 1));
    while (xtr_prober_n_silent(prober)) {
        hear_ask();
        say(there_fd, XTR_ECHO_ANSWER, asked.tag, asked.nonce);
    }
    is(XTR_PROBE_UP);
    cr_assert(eq(u32, n_told, 3));
}

Test(prober, a_node_at_another_address_begins_anew_and_one_not_named_is_forgotten)
{
    hear_ask();
    say(there_fd, XTR_ECHO_ANSWER, asked.tag, asked.nonce);
    is(XTR_PROBE_UP);
    xtr_prober_begin(prober);
    xtr_prober_put(prober, "h1", &there, 60);
    xtr_prober_end(prober);
    is(XTR_PROBE_UP);
    xtr_prober_begin(prober);
    xtr_prober_put(prober, "h1", &elsewhere, 60);
    xtr_prober_end(prober);
    is(XTR_PROBE_UNKNOWN);
    cr_assert(eq(sz, xtr_prober_n_probed(prober), 1));
    xtr_prober_begin(prober);
    xtr_prober_end(prober);
    cr_assert(eq(ptr, (void *)xtr_prober_find(prober, "h1"), NULL));
    cr_assert(eq(sz, xtr_prober_n_probed(prober), 0));
}

Test(prober, a_reflector_answers_asks_alone)
{
    struct xtr_reflector *reflector;
    struct pollfd waits = {.fd = elsewhere_fd, .events = POLLIN};
    uint8_t bytes[XTR_ECHO_SIZE + 1] = {0}, back[XTR_ECHO_SIZE + 1];
    struct xtr_echo echo = {XTR_ECHO_ANSWER, 1, 1};
    struct sockaddr_storage name;
    socklen_t size = em_socket_name(&there, port, &name);
    close(there_fd);
    there_fd = -1;
    cr_assert(eq(int, xtr_reflector_new(&there, port, &reflector), 0));
    (void)sendto(elsewhere_fd, bytes, 0, 0, (struct sockaddr *)&name, size);
    (void)sendto(elsewhere_fd, bytes, sizeof bytes, 0, (struct sockaddr *)&name, size);
    xtr_echo_pack(&echo, bytes);
    (void)sendto(elsewhere_fd, bytes, XTR_ECHO_SIZE, 0, (struct sockaddr *)&name, size);
    echo = (struct xtr_echo){XTR_ECHO_ASK, 2, 3};
    xtr_echo_pack(&echo, bytes);
    (void)sendto(elsewhere_fd, bytes, sizeof bytes, 0, (struct sockaddr *)&name, size);
    (void)sendto(elsewhere_fd, bytes, XTR_ECHO_SIZE, 0, (struct sockaddr *)&name, size);
    cr_assert(eq(int, poll(&waits, 1, 10000), 1));
    cr_assert(eq(sz, (size_t)recv(elsewhere_fd, back, sizeof back, 0), XTR_ECHO_SIZE));
    cr_assert(eq(int, xtr_echo_parse(back, XTR_ECHO_SIZE, &echo), 0));
    cr_assert(eq(int, (int)echo.type, XTR_ECHO_ANSWER));
    cr_assert(eq(u32, echo.tag, 2));
    cr_assert(eq(u64, echo.nonce, 3));
    xtr_reflector_free(reflector);
    cr_assert(lt(int, (int)recv(elsewhere_fd, back, sizeof back, 0), 0), "one answer, no more");
}
