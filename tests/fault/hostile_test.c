/* Clients that stall, lie about lengths, ask without listening or send nonsense: each hurts
 * only itself.  After each story the server lives, has not grown, and answers a good client. */
#include "server/caller.h"
#include "server/numbered.h"
#include "server/raw.h"
#include "server/real_server.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#define N_PORTS    20000
#define N_SILENT   24
#define N_DEAF     8
#define N_BROKEN   1000
#define N_NETWORKS 2000
#define N_MUTANTS  4000
#define GROWTH_KIB (96ul << 10) /* more than all buffers that N_DEAF clients may fill */
#define CONFIG                                                                                     \
    "log: warn\nlease:\n  duration: 1h\n"                                                          \
    "limits:\n  handshakes: 8\n  handshake: 2s\n  ports_per_node: 2000\n"

static struct real_server server;
static uint32_t network_id;
static unsigned long rss_kib;

static void setup(void)
{
    real_server_init(&server, CONFIG);
    real_server_start(&server);
    network_id = caller_preload(server.unix_url, N_PORTS);
    rss_kib = real_server_rss_kib(&server);
}

/* What every story ends with. */
static void expect_service(void)
{
    struct caller caller;
    cr_assert(real_server_is_alive(&server), "the server has died:\n%s",
              real_server_log(&server, 0));
    caller_open(&caller, server.unix_url, NULL);
    cr_assert_eq(caller_resolve(&caller, network_id, 1), 0, "%s", caller.message);
    cr_assert_eq(caller.n_positive, 1);
    caller_close(&caller);
}

static void expect_no_growth(void)
{
    if (!real_is_sanitized()) /* it keeps what was freed */
        cr_assert_lt(real_server_rss_kib(&server), rss_kib + GROWTH_KIB, "the server has grown");
}

/* Not in the teardown, where criterion does not count failures. */
static void end_story(void)
{
    expect_service();
    expect_no_growth();
    cr_assert_eq(real_server_stop(&server, 10000), 0);
}

static void teardown(void)
{
    real_server_fini(&server);
}

TestSuite(hostile, .init = setup, .fini = teardown, .timeout = 60);

static void expect_error(struct raw *raw, Eidmap__ErrorCode code)
{
    const Eidmap__Envelope *reply = raw_read(raw);
    cr_assert_not_null(reply, "an answer");
    cr_assert_eq(reply->body_case, EIDMAP__ENVELOPE__BODY_ERROR);
    cr_assert_eq(reply->error->code, code, "%d: %s", reply->error->code, reply->error->message);
    cr_assert_neq(reply->error->message[0], '\0', "a sentence says why");
}

/* ---- before Hello ---------------------------------------------------------------------------- */

/* A good client over TLS gets its turn. */
static void expect_tls_service(void)
{
    const char *servers[] = {server.tls_url};
    char ca[96], cert[112], key[112], *why = NULL;
    snprintf(ca, sizeof(ca), "%s/ca.crt", server.pki);
    snprintf(cert, sizeof(cert), "%s/operator-tester.crt", server.pki);
    snprintf(key, sizeof(key), "%s/operator-tester.key", server.pki);
    const struct em_client_config config = {.servers = servers,
                                            .n_servers = 1,
                                            .ca_file = ca,
                                            .cert_file = cert,
                                            .key_file = key,
                                            .timeout_ms = 20000};
    struct em_call *call = NULL;
    int r = em_call_open(&config, &call, &why);
    cr_assert_eq(r, 0, "a good TLS client gets its turn: %s", why);
    em_call_close(call);
}

Test(hostile, connections_that_never_speak_tls_leave_room_for_others)
{
    struct raw silent[N_SILENT];
    for (int i = 0; i < N_SILENT; i++)
        raw_open(&silent[i], server.tls_url);
    expect_service(); /* the unix socket does not wait for handshakes of others */
    cr_assert(raw_is_open(&silent[0]), "before the first of them was cut off");
    expect_tls_service();
    for (int i = 0; i < N_SILENT; i++) {
        cr_assert(raw_reads_end(&silent[i]), "silent connection %d is cut off", i);
        raw_close(&silent[i]);
    }
    end_story();
}

/* Each of them must give back the place that a handshake takes, of which there are eight. */
Test(hostile, connections_that_break_off_in_every_way_leave_no_handshake_behind)
{
    static const uint8_t hello[] = {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}; /* of a ClientHello */
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    for (unsigned i = 0; i < real_rounds(N_BROKEN); i++) {
        struct raw raw;
        raw_open(&raw, server.tls_url);
        if (i & 1)
            raw_send_bytes(&raw, hello, sizeof(hello));
        if (i & 2)
            raw_send_bytes(&raw, "\xff\xff\xff\xff", 4);
        if (i & 4)
            setsockopt(raw.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        raw_close(&raw);
    }
    expect_tls_service();
    end_story();
}

Test(hostile, half_a_frame_before_hello_is_cut_off)
{
    struct raw raw;
    raw_open(&raw, server.unix_url);
    cr_assert(raw_send_bytes(&raw, "\0\0\1\0half", 8));
    cr_assert(raw_reads_end(&raw));
    raw_close(&raw);
    end_story();
}

Test(hostile, requests_before_hello_are_denied_and_end_the_connection)
{
    struct raw raw;
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__StatusRequest status = EIDMAP__STATUS_REQUEST__INIT;
    envelope.id = 1;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_STATUS;
    envelope.status = &status;
    raw_open(&raw, server.unix_url);
    cr_assert(raw_send(&raw, &envelope));
    expect_error(&raw, EIDMAP__ERROR_CODE__ERROR_DENIED);
    cr_assert(raw_reads_end(&raw));
    raw_close(&raw);
    end_story();
}

Test(hostile, plain_text_on_the_tls_port_is_cut_off)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: eidmap\r\n\r\n";
    struct raw raw;
    raw_open(&raw, server.tls_url);
    cr_assert(raw_send_bytes(&raw, http, sizeof(http) - 1));
    cr_assert(raw_reads_end(&raw));
    raw_close(&raw);
    end_story();
}

/* ---- frames ------------------------------------------------------------------------------------
 */

static void expect_cut_off_after(const void *data, size_t size)
{
    struct raw raw;
    raw_open(&raw, server.unix_url);
    cr_assert(raw_hello(&raw, NULL));
    cr_assert(raw_send_bytes(&raw, data, size));
    cr_assert(raw_reads_end(&raw), "the connection is closed");
    raw_close(&raw);
}

Test(hostile, a_frame_of_four_gigabytes_is_cut_off_at_its_head)
{
    expect_cut_off_after("\xff\xff\xff\xff", 4);
    end_story();
}

Test(hostile, a_frame_of_one_byte_too_many_is_cut_off_at_its_head)
{
    uint32_t length_be = htonl(EM_FRAME_MAX + 1);
    expect_cut_off_after(&length_be, sizeof(length_be));
    end_story();
}

Test(hostile, a_frame_without_content_is_cut_off)
{
    expect_cut_off_after("\0\0\0\0", 4);
    end_story();
}

Test(hostile, garbage_after_hello_is_called_malformed_and_ends_the_connection)
{
    struct raw raw;
    raw_open(&raw, server.unix_url);
    cr_assert(raw_hello(&raw, NULL));
    cr_assert(raw_send_bytes(&raw, "\0\0\0\x08\xff\xff\xff\xff\xff\xff\xff\xff", 12));
    expect_error(&raw, EIDMAP__ERROR_CODE__ERROR_MALFORMED);
    cr_assert(raw_reads_end(&raw));
    raw_close(&raw);
    end_story();
}

Test(hostile, a_body_that_no_version_knows_is_unsupported_and_the_session_goes_on)
{
    struct raw raw;
    raw_open(&raw, server.unix_url);
    cr_assert(raw_hello(&raw, NULL));
    /* id 5, field 500 with no content */
    cr_assert(raw_send_bytes(&raw, "\0\0\0\x05\x08\x05\xa2\x1f\x00", 9));
    expect_error(&raw, EIDMAP__ERROR_CODE__ERROR_UNSUPPORTED);
    cr_assert(raw_send_bytes(&raw, "\0\0\0\x05\x08\x06\xa2\x1f\x00", 9));
    expect_error(&raw, EIDMAP__ERROR_CODE__ERROR_UNSUPPORTED);
    raw_close(&raw);
    end_story();
}

Test(hostile, half_a_frame_inside_of_a_session_keeps_nobody_waiting)
{
    struct raw stuck[N_DEAF];
    for (int i = 0; i < N_DEAF; i++) {
        raw_open(&stuck[i], server.unix_url);
        cr_assert(raw_hello(&stuck[i], NULL));
        cr_assert(raw_send_bytes(&stuck[i], "\0\x10\0\0half", 8));
    }
    expect_service();
    for (int i = 0; i < N_DEAF; i++)
        raw_close(&stuck[i]);
    end_story();
}

/* ---- clients that ask and do not listen ---------------------------------------------------------
 */

/* Asks for 1024 addresses at once, until the server takes no more. */
static unsigned ask_without_reading(struct raw *raw)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Resolve resolve = EIDMAP__RESOLVE__INIT;
    static Eidmap__Eid eids[1024], *list[1024];
    static struct em_eid ips[1024];
    for (uint32_t i = 0; i < 1024; i++) {
        ips[i] = numbered_ip(1 + i);
        eidmap__eid__init(&eids[i]);
        eids[i].kind = EIDMAP__EID_KIND__EID_IPV4;
        eids[i].address = (ProtobufCBinaryData){4, ips[i].addr};
        list[i] = &eids[i];
    }
    resolve.network_id = network_id;
    resolve.eids = list;
    resolve.n_eids = 1024;
    resolve.with_nodes = true;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_RESOLVE;
    envelope.resolve = &resolve;
    unsigned n = 0;
    for (envelope.id = 2; n < 10000 && raw_send(raw, &envelope); envelope.id++)
        n++;
    return n;
}

/* Whoever begins to listen after all gets every answer. */
static void expect_answers(struct raw *raw, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const Eidmap__Envelope *reply = raw_read(raw);
        cr_assert_not_null(reply, "answer %u of %u", i, n);
        cr_assert_eq(reply->body_case, EIDMAP__ENVELOPE__BODY_RESOLVE_REPLY);
        cr_assert_eq(reply->resolve_reply->n_answers, 1024);
    }
}

Test(hostile, answers_that_nobody_reads_stop_the_questions)
{
    struct raw deaf[N_DEAF];
    unsigned n = 0;
    for (int i = 0; i < N_DEAF; i++) {
        raw_open(&deaf[i], server.unix_url);
        cr_assert(raw_hello(&deaf[i], NULL));
        n = ask_without_reading(&deaf[i]);
        cr_assert_lt(n, 10000, "the server takes no more");
    }
    expect_service();
    expect_no_growth();
    expect_answers(&deaf[N_DEAF - 1], n);
    for (int i = 0; i < N_DEAF; i++)
        raw_close(&deaf[i]);
    end_story();
}

Test(hostile, feeds_that_nobody_reads_cost_the_server_no_memory)
{
    struct raw deaf[N_SILENT];
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Subscribe subscribe = EIDMAP__SUBSCRIBE__INIT;
    subscribe.network_id = network_id;
    envelope.id = 2;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_SUBSCRIBE;
    envelope.subscribe = &subscribe;
    for (int i = 0; i < N_SILENT; i++) {
        raw_open(&deaf[i], server.unix_url);
        cr_assert(raw_hello(&deaf[i], NULL));
        for (int k = 0; k < 4; k++) /* the later ones replace the earlier */
            cr_assert(raw_send(&deaf[i], &envelope));
    }
    expect_service();
    expect_no_growth();
    for (int i = 0; i < N_SILENT; i++)
        raw_close(&deaf[i]);
    end_story();
}

/* ---- too much of the allowed
 * --------------------------------------------------------------------- */

struct many {
    struct em_call *call;
    unsigned n_complete, n_pushed;
};

static void on_feed(void *aux, const struct em_feed *page)
{
    struct many *many = aux;
    cr_assert_eq(page->err, 0, "%s", page->message);
    many->n_pushed += page->n_changes > 0;
    many->n_complete += page->is_complete;
    if (many->n_complete == N_NETWORKS)
        em_call_done(many->call);
}

Test(hostile, two_thousand_subscriptions_of_one_client_are_all_served)
{
    struct caller caller;
    char name[32];
    caller_open(&caller, server.unix_url, NULL);
    uint32_t *ids = calloc(N_NETWORKS, sizeof(*ids));
    for (int i = 0; i < N_NETWORKS; i++) {
        snprintf(name, sizeof(name), "many-%d", i);
        cr_assert_eq(caller_put_network(&caller, name), 0, "%s", caller.message);
        ids[i] = caller.network_id;
    }
    struct many many = {.call = caller.call};
    for (int i = 0; i < N_NETWORKS; i++)
        cr_assert_gt(
            em_client_subscribe(em_call_client(caller.call), ids[i], NULL, 0, on_feed, &many), 0);
    cr_assert_eq(em_call_wait(caller.call, 20000), 0, "%u are complete", many.n_complete);
    struct caller node;
    caller_open(&node, server.unix_url, "hv77");
    cr_assert_eq(caller_register(&node, ids[N_NETWORKS / 2], N_PORTS + 1, 1, "hv77"), 0);
    while (!many.n_pushed)
        ev_run(em_call_loop(caller.call), EVRUN_ONCE);
    caller_close(&node);
    caller_close(&caller);
    free(ids);
    end_story();
}

Test(hostile, a_node_that_registers_more_than_its_share_is_refused)
{
    struct caller node;
    caller_open(&node, server.unix_url, "hv77");
    cr_assert_eq(caller_register(&node, network_id, N_PORTS + 1, 2000, "hv77"), 0, "%s",
                 node.message);
    cr_assert_eq(caller_register(&node, network_id, N_PORTS + 2001, 1, "hv77"), EM_E_LIMIT);
    cr_assert_neq(node.message[0], '\0');
    caller_close(&node);
    end_story();
}

/* ---- nonsense by the thousand
 * ---------------------------------------------------------------------- */

/* A Register that is right, as bytes of a frame. */
static size_t pack_register(uint8_t *bytes, size_t size)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Register reg = EIDMAP__REGISTER__INIT;
    Eidmap__Claim claim = EIDMAP__CLAIM__INIT, *claims[] = {&claim};
    Eidmap__Port port = EIDMAP__PORT__INIT;
    Eidmap__Location location = EIDMAP__LOCATION__INIT, *locations[] = {&location};
    Eidmap__Eid eid = EIDMAP__EID__INIT, *eids[] = {&eid};
    struct em_eid ip = numbered_ip(N_PORTS + 7);
    eid.kind = EIDMAP__EID_KIND__EID_IPV4;
    eid.address = (ProtobufCBinaryData){4, ip.addr};
    location.node_id = (char *)"hv77";
    port.id = (ProtobufCBinaryData){4, (uint8_t *)"tap7"};
    port.network_id = network_id;
    port.eids = eids;
    port.locations = locations;
    port.n_eids = port.n_locations = 1;
    claim.port = &port;
    claim.attach = true;
    reg.claims = claims;
    reg.n_claims = 1;
    envelope.id = 9;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_REGISTER;
    envelope.register_ = &reg;
    cr_assert_leq(EM_FRAME_HEADER + eidmap__envelope__get_packed_size(&envelope), size);
    size_t n = eidmap__envelope__pack(&envelope, bytes + EM_FRAME_HEADER);
    uint32_t length_be = htonl((uint32_t)n);
    memcpy(bytes, &length_be, sizeof(length_be));
    return EM_FRAME_HEADER + n;
}

Test(hostile, thousands_of_mutilated_registers_do_no_harm)
{
    unsigned seed = 0;
    uint8_t frame[256], mutant[256];
    struct raw raw;
    const char *given = getenv("SEED");
    if (given)
        seed = (unsigned)strtoul(given, NULL, 10);
    else if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        real_fail("no random seed");
    fprintf(stderr, "SEED=%u\n", seed);
    size_t size = pack_register(frame, sizeof(frame));
    unsigned n = real_rounds(N_MUTANTS);
    for (unsigned i = 0; i < n;) {
        raw_open(&raw, server.unix_url);
        cr_assert(raw_hello(&raw, "hv77"), "the server still takes a Hello");
        raw_set_patience(&raw, 100); /* a mutant may be something that has no answer */
        for (bool is_open = true; is_open && i < n; i++) {
            memcpy(mutant, frame, size);
            for (int k = rand_r(&seed) % 4; k >= 0; k--)
                mutant[EM_FRAME_HEADER + (unsigned)rand_r(&seed) % (size - EM_FRAME_HEADER)] =
                    (uint8_t)rand_r(&seed);
            is_open = raw_send_bytes(&raw, mutant, size) && raw_read(&raw) != NULL;
        }
        raw_close(&raw);
    }
    end_story();
}
