/* The client over TLS: servers with certificates of the right and of the wrong kind. */
#include "lib/client_scene.h"
#include "net/pki.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];

/* File names of one member of the authority. */
struct files {
    char *ca, *cert, *key;
};

static struct files issue(enum em_role role, const char *name)
{
    char *why = NULL;
    struct em_pki_request request = {role, name, 2};
    cr_assert_eq(em_pki_issue(dir, &request, false, &why), 0, "%s", why);
    struct files files = {NULL, em_pki_path(dir, role, name, "crt"),
                          em_pki_path(dir, role, name, "key")};
    cr_assert_gt(asprintf(&files.ca, "%s/ca.crt", dir), 0);
    return files;
}

static void free_files(struct files *files)
{
    free(files->ca);
    free(files->cert);
    free(files->key);
}

static void setup(void)
{
    char *why = NULL;
    scene_setup();
    snprintf(dir, sizeof(dir), "/tmp/em-pki-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(em_pki_init(dir, true, &why), 0, "%s", why);
}

static void teardown(void)
{
    char command[96];
    scene_teardown();
    snprintf(command, sizeof(command), "rm -r '%s'", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(client_tls, .init = setup, .fini = teardown, .timeout = 60);

/* Moves scene.one to TLS, with a certificate of this role, and the client with it. */
static void connect_tls(enum em_role server_role)
{
    struct files server = issue(server_role, "s1"), node = issue(EM_ROLE_NODE, "hv1");
    struct em_tls *tls = NULL;
    char *why = NULL;
    cr_assert_eq(em_tls_new(server.ca, server.cert, server.key, &tls, &why), 0, "%s", why);
    fake_stop(&scene.one);
    fake_start_tls(&scene.one, scene.loop, tls);
    scene_connect(
        1, &(struct em_client_config){
               .ca_file = node.ca, .cert_file = node.cert, .key_file = node.key, .node_id = "hv1"});
    free_files(&server);
    free_files(&node);
}

static void free_server_tls(void)
{
    em_tls_free(scene.one.tls);
    scene.one.tls = NULL;
}

Test(client_tls, session_stands_and_stands_again)
{
    connect_tls(EM_ROLE_SERVER);
    UNTIL(scene.seen.n_up == 1);
    cr_assert_eq(em_conn_peer(scene.one.conn)->identity.role, EM_ROLE_NODE);
    cr_assert_str_eq(em_conn_peer(scene.one.conn)->identity.name, "hv1");
    em_client_remove_node(scene.client, "a", scene_on_reply, NULL);
    UNTIL(scene.one.n_log == 2);
    fake_send_done(&scene.one, scene.one.log[1]->id, 5);
    UNTIL(scene.seen.n_replies == 1);
    fake_cut(&scene.one);
    UNTIL(scene.seen.n_up == 2);
    cr_assert_str_eq(em_conn_peer(scene.one.conn)->identity.name, "hv1");
    free_server_tls();
}

Test(client_tls, node_that_plays_server_is_not_believed)
{
    connect_tls(EM_ROLE_NODE);
    UNTIL(scene.seen.n_down == 1);
    cr_assert_eq(scene.seen.down_err, EM_E_TLS, "not DENIED: no server has refused us");
    cr_assert(strstr(scene.seen.down_why, "certificate"), "%s", scene.seen.down_why);
    cr_assert_eq(scene.one.n_log, 0, "it does not even hear our Hello");
    free_server_tls();
}

Test(client_tls, unreadable_key_is_explained)
{
    const char *server = "tls://127.0.0.1:1";
    struct em_client *none = NULL;
    char *why = NULL;
    struct em_client_config config = {.servers = &server, .n_servers = 1};
    config.ca_file = config.cert_file = config.key_file = "/nowhere/key.pem";
    cr_assert_lt(em_client_new(scene.loop, &config, NULL, NULL, &none, &why), 0);
    cr_assert(strstr(why, "/nowhere/key.pem"), "%s", why);
    free(why);
}
