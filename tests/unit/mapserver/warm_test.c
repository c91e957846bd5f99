/* Connections that wait for a session, and sessions of agents that were replaced: frame by
 * frame, over a bare socket. */
#include "mapserver/scene.h"

#include "base/buf.h"
#include "base/mem.h"
#include "eidmap/error.h"
#include "net/socket.h"
#include "state/apply.h"
#include "wire/msg.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 5000

static struct scene *scene;
static struct em_call *op;

struct wire {
    int fd;
    struct em_arena arena; /* of the last message read */
};

static void setup(void)
{
    scene = scene_start(0);
    op = scene_client(scene, NULL, 0);
}

static void teardown(void)
{
    em_call_close(op);
    scene_stop(scene);
}

TestSuite(warm, .init = setup, .fini = teardown, .timeout = 60);

static void wire_open(struct wire *wire)
{
    struct em_address address;
    cr_assert_eq(em_address_parse(scene_address(scene), &address, NULL), 0);
    wire->fd = em_socket_connect(&address);
    cr_assert_geq(wire->fd, 0);
    em_arena_init(&wire->arena, 0);
}

static void wire_close(struct wire *wire)
{
    close(wire->fd);
    em_arena_fini(&wire->arena);
}

static void wire_send(struct wire *wire, const Eidmap__Envelope *envelope)
{
    struct em_buf buf;
    em_buf_init(&buf);
    cr_assert_eq(em_msg_append(&buf, envelope), 0);
    cr_assert_eq(send(wire->fd, em_buf_head(&buf), em_buf_size(&buf), MSG_NOSIGNAL),
                 (ssize_t)em_buf_size(&buf));
    em_buf_fini(&buf);
}

/* True: 'data' is filled.  False: the server has closed. */
static bool wire_read_bytes(struct wire *wire, uint8_t *data, size_t size)
{
    while (size) {
        struct pollfd pollfd = {.fd = wire->fd, .events = POLLIN};
        cr_assert_eq(poll(&pollfd, 1, PATIENCE_MS), 1, "the server says nothing");
        ssize_t n = recv(wire->fd, data, size, 0);
        if (n <= 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

/* NULL: the server has closed. */
static const Eidmap__Envelope *wire_read(struct wire *wire)
{
    uint8_t head[4], data[4096];
    if (!wire_read_bytes(wire, head, sizeof(head)))
        return NULL;
    size_t size = (size_t)head[2] << 8 | head[3];
    cr_assert(head[0] == 0 && head[1] == 0 && size <= sizeof(data));
    cr_assert(wire_read_bytes(wire, data, size));
    em_arena_reset(&wire->arena);
    return em_msg_unpack(&wire->arena, data, size);
}

struct who {
    const char *node; /* NULL: an operator */
    uint64_t boot_epoch;
    uint8_t instance;
    uint8_t rloc; /* last byte of it */
};

static void say_hello(struct wire *wire, uint64_t id, bool is_warm, const struct who *who)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Hello hello = EIDMAP__HELLO__INIT;
    Eidmap__Rloc rloc = EIDMAP__RLOC__INIT, *rlocs[] = {&rloc};
    uint8_t address[] = {192, 0, 2, who->rloc}, instance[16] = {who->instance};
    hello.protocol = EM_PROTOCOL;
    hello.warm = is_warm;
    hello.boot_epoch = who->boot_epoch;
    hello.instance = (ProtobufCBinaryData){sizeof(instance), instance};
    rloc.address = (ProtobufCBinaryData){sizeof(address), address};
    if (who->node) {
        hello.node_id = (char *)who->node;
        hello.rlocs = rlocs;
        hello.n_rlocs = 1;
    }
    envelope.id = id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;
    wire_send(wire, &envelope);
}

static void assert_welcome(struct wire *wire, uint64_t id)
{
    const Eidmap__Envelope *reply = wire_read(wire);
    cr_assert_not_null(reply);
    cr_assert_eq(reply->body_case, EIDMAP__ENVELOPE__BODY_WELCOME);
    cr_assert_eq(reply->id, id);
    cr_assert_eq(reply->welcome->lease_ms, 15000);
}

static void assert_refused(struct wire *wire, uint64_t id, int err)
{
    const Eidmap__Envelope *reply = wire_read(wire);
    cr_assert_not_null(reply);
    cr_assert_eq(reply->body_case, EIDMAP__ENVELOPE__BODY_ERROR);
    cr_assert_eq(reply->id, id);
    cr_assert_eq(em_error_from_wire((int)reply->error->code), err, "%s", reply->error->message);
}

static void send_heartbeat(struct wire *wire, uint64_t id)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Heartbeat heartbeat = EIDMAP__HEARTBEAT__INIT;
    envelope.id = id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_HEARTBEAT;
    envelope.heartbeat = &heartbeat;
    wire_send(wire, &envelope);
}

/* Is this node in the map? */
static bool is_known(const char *node)
{
    char text[80];
    struct scene_feed feed = {op};
    int64_t id = em_client_subscribe(em_call_client(op), 0, NULL, 0, scene_on_feed, &feed);
    scene_feed_await(&feed, "complete");
    em_client_cancel(em_call_client(op), id);
    snprintf(text, sizeof(text), "+%s ", node);
    return strstr(feed.log, text) != NULL;
}

static const struct who hv7 = {"hv7", 5, 1, 7}, an_operator = {NULL, 0, 9, 0};

Test(warm, a_warm_hello_is_welcome_and_leaves_no_trace)
{
    struct wire wire;
    wire_open(&wire);
    say_hello(&wire, 1, true, &hv7);
    assert_welcome(&wire, 1);
    cr_assert_not(is_known("hv7"));
    wire_close(&wire);
}

Test(warm, it_may_be_said_again_and_again)
{
    struct wire wire;
    wire_open(&wire);
    for (uint64_t i = 0; i < 5; i++) {
        say_hello(&wire, 1, true, &hv7);
        assert_welcome(&wire, 1);
    }
    cr_assert_not(is_known("hv7"));
    wire_close(&wire);
}

Test(warm, the_second_hello_begins_the_session)
{
    const struct who *both[] = {&hv7, &an_operator};
    for (size_t i = 0; i < 2; i++) {
        struct wire wire;
        wire_open(&wire);
        say_hello(&wire, 1, true, both[i]);
        say_hello(&wire, 2, false, both[i]);
        assert_welcome(&wire, 1);
        assert_welcome(&wire, 2);
        send_heartbeat(&wire, 3);
        const Eidmap__Envelope *reply = wire_read(&wire);
        cr_assert_eq(reply->body_case, EIDMAP__ENVELOPE__BODY_HEARTBEAT_REPLY);
        wire_close(&wire);
    }
    cr_assert(is_known("hv7"));
}

/* Its own session may be at this server too, for a while. */
Test(warm, a_warm_connection_displaces_nobody)
{
    struct wire first, second;
    wire_open(&first);
    wire_open(&second);
    say_hello(&first, 2, false, &hv7);
    assert_welcome(&first, 2);
    say_hello(&second, 1, true, &hv7);
    assert_welcome(&second, 1);
    send_heartbeat(&first, 3);
    cr_assert_eq(wire_read(&first)->body_case, EIDMAP__ENVELOPE__BODY_HEARTBEAT_REPLY);
    say_hello(&second, 2, false, &hv7);
    assert_welcome(&second, 2);
    assert_refused(&first, 0, EM_E_INTERNAL); /* "closed" has no code of its own */
    wire_close(&first);
    wire_close(&second);
}

Test(warm, a_node_keeps_one_connection_warm)
{
    struct wire wires[3];
    for (size_t i = 0; i < 3; i++) {
        wire_open(&wires[i]);
        say_hello(&wires[i], 1, true, &hv7);
        assert_welcome(&wires[i], 1);
        if (i == 0)
            continue;
        assert_refused(&wires[i - 1], 0, EM_E_INTERNAL); /* "closed" has no code of its own */
        cr_assert_null(wire_read(&wires[i - 1]));
    }
    say_hello(&wires[2], 2, false, &hv7);
    assert_welcome(&wires[2], 2);
    for (size_t i = 0; i < 3; i++)
        wire_close(&wires[i]);
}

Test(warm, it_is_not_for_another_node)
{
    struct wire wire;
    wire_open(&wire);
    say_hello(&wire, 1, true, &hv7);
    assert_welcome(&wire, 1);
    say_hello(&wire, 2, false, &(struct who){"hv8", 5, 1, 8});
    assert_refused(&wire, 2, EM_E_DENIED);
    cr_assert_null(wire_read(&wire));
    wire_close(&wire);
}

Test(warm, nothing_but_a_hello_is_taken)
{
    struct wire wire;
    wire_open(&wire);
    say_hello(&wire, 1, true, &an_operator);
    assert_welcome(&wire, 1);
    send_heartbeat(&wire, 3);
    assert_refused(&wire, 3, EM_E_DENIED);
    cr_assert_null(wire_read(&wire));
    wire_close(&wire);
}

Test(warm, what_a_hello_may_not_say_a_warm_one_may_not)
{
    struct wire wire;
    wire_open(&wire);
    say_hello(&wire, 1, true, &(struct who){"not a node", 5, 1, 7});
    assert_refused(&wire, 1, EM_E_MALFORMED);
    wire_close(&wire);
}

Test(warm, outlives_the_limit_for_a_hello)
{
    struct wire wire;
    wire_open(&wire);
    say_hello(&wire, 1, true, &hv7);
    assert_welcome(&wire, 1);
    usleep(2300000); /* handshake_ms of the scene, and some */
    say_hello(&wire, 2, false, &hv7);
    assert_welcome(&wire, 2);
    wire_close(&wire);
}

Test(warm, a_second_hello_that_is_refused_ends_it)
{
    struct wire first, second;
    wire_open(&first);
    wire_open(&second);
    say_hello(&first, 2, false, &(struct who){"hv7", 6, 2, 7});
    assert_welcome(&first, 2);
    say_hello(&second, 1, true, &hv7);
    assert_welcome(&second, 1);
    say_hello(&second, 2, false, &hv7);
    assert_refused(&second, 2, EM_E_SUPERSEDED);
    cr_assert_null(wire_read(&second));
    wire_close(&first);
    wire_close(&second);
}

/* ---- replaced agents ---- */

/* The registry forgets a session with its connection; the map does not. */
Test(warm, an_older_agent_is_refused_after_the_newer_one_has_gone)
{
    struct wire wire;
    wire_open(&wire);
    say_hello(&wire, 2, false, &(struct who){"hv7", 6, 2, 7});
    assert_welcome(&wire, 2);
    wire_close(&wire);
    scene_restart(scene);
    wire_open(&wire);
    say_hello(&wire, 2, false, &hv7);
    assert_refused(&wire, 2, EM_E_SUPERSEDED);
    cr_assert_null(wire_read(&wire));
    wire_close(&wire);
}

static void send_register(struct wire *wire, uint64_t id)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Register reg = EIDMAP__REGISTER__INIT;
    Eidmap__Claim claim = EIDMAP__CLAIM__INIT, *claims[] = {&claim};
    Eidmap__Port port = EIDMAP__PORT__INIT;
    Eidmap__Location location = EIDMAP__LOCATION__INIT, *locations[] = {&location};
    port.id = (ProtobufCBinaryData){3, (uint8_t *)"web"};
    port.locations = locations;
    port.n_locations = 1;
    claim.port = &port;
    claim.attach = true;
    reg.claims = claims;
    reg.n_claims = 1;
    reg.network_name = (char *)"blue";
    envelope.id = id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_REGISTER;
    envelope.register_ = &reg;
    wire_send(wire, &envelope);
}

/* As if the node's new agent had come up at another map server: the map says so, and the
 * registry of this one does not know. */
static void replace_agent(const struct who *who)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    Eidmap__Origin origin = EIDMAP__ORIGIN__INIT;
    Eidmap__NodeUp up = EIDMAP__NODE_UP__INIT;
    uint8_t instance[16] = {who->instance};
    origin.role = EIDMAP__ROLE__ROLE_NODE;
    origin.name = (char *)who->node;
    origin.instance = (ProtobufCBinaryData){sizeof(instance), instance};
    origin.boot_epoch = who->boot_epoch;
    command.schema = MS_SCHEMA;
    command.time_ms = 1;
    command.origin = &origin;
    command.body_case = EIDMAP__COMMAND__BODY_NODE_UP;
    command.node_up = &up;
    scene_apply(scene, &command);
}

Test(warm, a_replaced_agents_heartbeat_ends_its_session)
{
    struct wire wire;
    wire_open(&wire);
    say_hello(&wire, 2, false, &hv7);
    assert_welcome(&wire, 2);
    replace_agent(&(struct who){"hv7", 6, 2, 0});
    send_heartbeat(&wire, 3);
    assert_refused(&wire, 0, EM_E_SUPERSEDED);
    cr_assert_null(wire_read(&wire));
    wire_close(&wire);
}

Test(warm, a_replaced_agents_write_is_refused_and_ends_its_session)
{
    struct wire wire;
    cr_assert_eq(scene_put_network(op, "blue", NULL).err, 0);
    wire_open(&wire);
    say_hello(&wire, 2, false, &hv7);
    assert_welcome(&wire, 2);
    replace_agent(&(struct who){"hv7", 6, 2, 0});
    send_register(&wire, 3);
    assert_refused(&wire, 3, EM_E_SUPERSEDED);
    assert_refused(&wire, 0, EM_E_SUPERSEDED);
    cr_assert_null(wire_read(&wire));
    wire_close(&wire);
}

/* ---- operators ---- */

static void send_put_network(struct wire *wire, uint64_t id)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__PutNetwork put = EIDMAP__PUT_NETWORK__INIT;
    Eidmap__Network network = EIDMAP__NETWORK__INIT;
    network.name = (char *)"red";
    put.network = &network;
    envelope.id = id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_PUT_NETWORK;
    envelope.put_network = &put;
    wire_send(wire, &envelope);
}

Test(warm, an_operators_request_on_a_second_connection_is_done_once)
{
    uint32_t network_id = 0;
    for (int i = 0; i < 2; i++) {
        struct wire wire;
        wire_open(&wire);
        say_hello(&wire, 2, false, &an_operator);
        assert_welcome(&wire, 2);
        send_put_network(&wire, 3);
        const Eidmap__Envelope *reply = wire_read(&wire);
        cr_assert_eq(reply->body_case, EIDMAP__ENVELOPE__BODY_DONE);
        cr_assert(i == 0 || reply->done->network->id == network_id);
        network_id = reply->done->network->id;
        wire_close(&wire);
    }
}
