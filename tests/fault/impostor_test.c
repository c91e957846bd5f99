/* Clients that are not who they say they are, or ask for what is not theirs, over TLS with
 * real certificates: each is refused with a reason, and the map does not change. */
#include "base/mem.h"
#include "net/pki.h"
#include "server/caller.h"
#include "server/numbered.h"
#include "server/real_server.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIMIT_MS 1500 /* for a session that will not come */

static struct real_server server;
static struct caller operator;
static uint32_t network_id;

static void setup(void)
{
    real_server_init(&server, "lease:\n  duration: 1h\n");
    real_server_start(&server);
    caller_open(&operator, server.unix_url, NULL);
    cr_assert_eq(caller_put_network(&operator, "t1"), 0);
    network_id = operator.network_id;
}

static void teardown(void)
{
    caller_close(&operator);
    real_server_fini(&server);
}

/* Not in the teardown, where criterion does not count failures. */
static void end_story(void)
{
    cr_assert(real_server_is_alive(&server));
    cr_assert_eq(real_server_stop(&server, 10000), 0);
}

TestSuite(impostor, .init = setup, .fini = teardown, .timeout = 60);

/* A session over TLS with the certificate ROLE-NAME of the CA in 'pki'; the error, and its
 * sentence in operator.message. */
static int connect_as(const char *pki, enum em_role role, const char *name, const char *node_id,
                      struct em_call **ret_call)
{
    const char *servers[] = {server.tls_url};
    const struct em_pki_request request = {role, name, 1};
    const struct em_rloc rloc = {.ip = {4, {198, 18, 9, 1}}, .encap = EM_ENCAP_VXLAN};
    char *why = NULL;
    em_pki_issue(pki, &request, false, &why); /* it may be there already */
    free(why);
    why = NULL;
    char *ca = em_asprintf("%s/ca.crt", server.pki);
    char *cert = em_pki_path(pki, role, name, "crt");
    char *key = em_pki_path(pki, role, name, "key");
    if (pki != server.pki) { /* the stranger trusts his own CA, which is not ours */
        free(ca);
        ca = em_asprintf("%s/ca.crt", pki);
    }
    const struct em_client_config config = {.servers = servers,
                                            .n_servers = 1,
                                            .ca_file = ca,
                                            .cert_file = cert,
                                            .key_file = key,
                                            .node_id = node_id,
                                            .boot_epoch = 1,
                                            .rlocs = &rloc,
                                            .n_rlocs = node_id ? 1 : 0,
                                            .timeout_ms = LIMIT_MS};
    int r = em_call_open(&config, ret_call, &why);
    snprintf(operator.message, sizeof(operator.message), "%s", why ? why : "");
    free(why);
    free(ca);
    free(cert);
    free(key);
    return r;
}

/* A node's own session, as a caller. */
static struct caller node_session(const char *name)
{
    struct caller caller = {.err = 0};
    int r = connect_as(server.pki, EM_ROLE_NODE, name, name, &caller.call);
    cr_assert_eq(r, 0, "%s: %s", em_errname(r), operator.message);
    return caller;
}

static void expect_no_session(enum em_role role, const char *name, const char *node_id,
                              const char *words)
{
    struct em_call *call;
    int r = connect_as(server.pki, role, name, node_id, &call);
    cr_assert_eq(r, EM_E_DENIED, "%s: %s", em_errname(r), operator.message);
    cr_assert_not_null(strstr(operator.message, words), "%s", operator.message);
}

static void expect_absent(uint32_t number)
{
    cr_assert_eq(caller_resolve(&operator, network_id, number), 0, "%s", operator.message);
    cr_assert_eq(operator.n_positive, 0, "the map has not changed");
}

Test(impostor, a_node_cannot_say_that_it_is_another_node)
{
    expect_no_session(EM_ROLE_NODE, "hv1", "hv2", "node of the certificate");
    end_story();
}

Test(impostor, an_operator_cannot_speak_for_a_node)
{
    expect_no_session(EM_ROLE_OPERATOR, "tester", "hv1", "only a node");
    end_story();
}

Test(impostor, a_servers_certificate_is_not_for_clients)
{
    struct caller server_caller = {.err = 0};
    int r = connect_as(server.pki, EM_ROLE_SERVER, "s2", NULL, &server_caller.call);
    cr_assert_eq(r, 0, "a server may fetch the map");
    cr_assert_eq(caller_resolve(&server_caller, network_id, 1), EM_E_DENIED);
    cr_assert_eq(caller_status(&server_caller), EM_E_DENIED);
    caller_close(&server_caller);
    end_story();
}

Test(impostor, a_certificate_of_another_ca_gets_no_session)
{
    struct em_call *call;
    char pki[96], *why = NULL;
    snprintf(pki, sizeof(pki), "%s/other", server.dir);
    cr_assert_eq(em_pki_init(pki, false, &why), 0, "%s", why);
    int r = connect_as(pki, EM_ROLE_OPERATOR, "tester", NULL, &call);
    cr_assert_lt(r, 0);
    end_story();
}

/* The stranger does trust our CA, so that it is the server who must refuse. */
Test(impostor, a_certificate_of_another_ca_is_refused_by_the_server_too)
{
    struct em_call *call;
    char pki[96], command[256], *why = NULL;
    snprintf(pki, sizeof(pki), "%s/other", server.dir);
    cr_assert_eq(em_pki_init(pki, false, &why), 0, "%s", why);
    const struct em_pki_request request = {EM_ROLE_OPERATOR, "eve", 1};
    cr_assert_eq(em_pki_issue(pki, &request, false, &why), 0, "%s", why);
    /* em_tls_new() wants a CA file that covers the certificate: both together. */
    snprintf(command, sizeof(command), "cat %s/ca.crt >> %s/ca.crt", server.pki, pki);
    cr_assert_eq(system(command), 0);
    int r = connect_as(pki, EM_ROLE_OPERATOR, "eve", NULL, &call);
    cr_assert_lt(r, 0, "a session with a stranger's certificate");
    cr_assert_not_null(strstr(operator.message, "unknown ca"),
                       "by the server: %s", operator.message);
    end_story();
}

Test(impostor, a_node_cannot_register_a_port_on_another_node)
{
    struct caller node = node_session("hv1");
    cr_assert_eq(caller_register(&node, network_id, 1, 1, "hv2"), EM_E_DENIED, "%s",
                 em_errname(node.err));
    cr_assert_neq(node.message[0], '\0');
    expect_absent(1);
    cr_assert_eq(caller_register(&node, network_id, 1, 1, "hv1"), 0, "its own it may: %s",
                 node.message);
    caller_close(&node);
    end_story();
}

Test(impostor, a_node_cannot_withdraw_another_nodes_port)
{
    struct caller victim, node = node_session("hv1");
    caller_open(&victim, server.unix_url, "hv2");
    cr_assert_eq(caller_register(&victim, network_id, 5, 1, "hv2"), 0, "%s", victim.message);
    caller_withdraw(&node, 5, 1);
    cr_assert_eq(caller_resolve(&operator, network_id, 5), 0);
    cr_assert_eq(operator.n_positive, 1, "it still stands");
    cr_assert_str_eq(operator.node, "hv2");
    caller_close(&node);
    caller_close(&victim);
    end_story();
}

Test(impostor, a_node_cannot_do_what_operators_do)
{
    struct caller node = node_session("hv1");
    cr_assert_eq(caller_put_network(&node, "mine"), EM_E_DENIED);
    cr_assert_eq(caller_status(&node), EM_E_DENIED);
    caller_close(&node);
    end_story();
}

Test(impostor, another_port_cannot_take_an_address_that_is_held)
{
    struct caller node = node_session("hv1"), other;
    struct numbered_port port;
    caller_open(&other, server.unix_url, "hv2");
    cr_assert_eq(caller_register(&node, network_id, 9, 1, "hv1"), 0);
    numbered_port_init(&port, network_id, 9, "hv2");
    port.port.id = numbered_id(10); /* the addresses of 9 under another port-id */
    struct em_claim claim = {.port = port.port, .is_attach = true};
    cr_assert_eq(caller_claim(&other, &claim), EM_E_CONFLICT, "%s", other.message);
    cr_assert_eq(caller_resolve(&operator, network_id, 9), 0);
    cr_assert_str_eq(operator.node, "hv1");
    caller_close(&other);
    caller_close(&node);
    end_story();
}

/* An agent that was cut off keeps what it held in mind, but the port has moved on. */
Test(impostor, a_stale_agent_cannot_steal_a_port_back)
{
    struct caller first = node_session("hv1"), second;
    struct numbered_port port;
    caller_open(&second, server.unix_url, "hv2");
    cr_assert_eq(caller_register(&first, network_id, 3, 1, "hv1"), 0);
    uint64_t epoch = first.epoch;
    cr_assert_eq(caller_register(&second, network_id, 3, 1, "hv2"), 0, "an attach moves it: %s",
                 second.message);
    numbered_port_init(&port, network_id, 3, "hv1");
    struct em_claim claim = {.port = port.port, .is_attach = false, .epoch = epoch};
    cr_assert_eq(caller_claim(&first, &claim), EM_E_MOVED, "%s", first.message);
    cr_assert_eq(caller_resolve(&operator, network_id, 3), 0);
    cr_assert_str_eq(operator.node, "hv2");
    caller_close(&second);
    caller_close(&first);
    end_story();
}
