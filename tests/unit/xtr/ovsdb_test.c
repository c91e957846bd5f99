/* Calls to a server that a test plays itself: answers in pieces, late, wrong, without end. */
#include "ovs/ovsdb.h"
#include "ovs/stream.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMEOUT_MS 50 /* where none is to come; the server's bytes are there before the call */

static struct ovsdb *db;
static int server;

static void connect_both(void)
{
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    db = ovsdb_new(fds[0], TIMEOUT_MS);
    server = fds[1];
}

static void close_both(void)
{
    ovsdb_close(db);
    close(server);
}

TestSuite(ovsdb, .init = connect_both, .fini = close_both);

static void say(const char *text)
{
    cr_assert_eq(write(server, text, strlen(text)), (ssize_t)strlen(text));
}

/* What the server was asked; its requests are short. */
static json_t *heard(void)
{
    char bytes[4096];
    ssize_t n = recv(server, bytes, sizeof bytes, MSG_DONTWAIT);
    cr_assert_gt(n, 0);
    json_t *message = json_loadb(bytes, (size_t)n, JSON_DISABLE_EOF_CHECK, NULL);
    cr_assert(message);
    return message;
}

static json_t *ask_op(void)
{
    return json_pack("[{ssss s[]}]", "op", "select", "table", "Bridge", "where");
}

static int call(const char *expected_why)
{
    json_t *results = NULL;
    char *why = NULL;
    int r = ovsdb_transact(db, ask_op(), &results, &why);
    cr_assert_eq(r == 0, results != NULL);
    cr_assert_eq(r == 0, why == NULL);
    if (expected_why)
        cr_assert(why && strstr(why, expected_why), "%s", why ? why : "no sentence");
    json_decref(results);
    free(why);
    return r;
}

Test(ovsdb, a_request_names_the_database_and_its_operations)
{
    say("{\"id\":1,\"error\":null,\"result\":[{\"rows\":[]}]}");
    cr_assert_eq(call(NULL), 0);
    json_t *request = heard(), *params = json_object_get(request, "params");
    cr_assert_str_eq(json_string_value(json_object_get(request, "method")), "transact");
    cr_assert_str_eq(json_string_value(json_array_get(params, 0)), "Open_vSwitch");
    cr_assert_str_eq(json_string_value(json_object_get(json_array_get(params, 1), "op")), "select");
    json_decref(request);
}

Test(ovsdb, an_echo_is_answered_and_other_messages_are_passed_over)
{
    say("{\"id\":\"echo\",\"method\":\"echo\",\"params\":[7]}"
        "{\"id\":null,\"method\":\"update2\",\"params\":[]}\n"
        "{\"id\":77,\"error\":null,\"result\":[]}"
        "{\"id\":1,\"error\":null,\"result\":[{\"rows\":[]}]}");
    cr_assert_eq(call(NULL), 0);
    char bytes[1024] = "";
    cr_assert_gt(recv(server, bytes, sizeof bytes - 1, 0), 0);
    cr_assert(strstr(bytes, "\"result\":[7]"), "%s", bytes);
    cr_assert(strstr(bytes, "\"id\":\"echo\""), "%s", bytes);
}

Test(ovsdb, errors_have_a_code_and_the_servers_words)
{
    say("{\"id\":1,\"error\":\"unknown database\",\"result\":null}");
    cr_assert_eq(call("unknown database"), -EPROTO);
    say("{\"id\":2,\"error\":null,\"result\":[{\"error\":\"constraint violation\","
        "\"details\":\"two of that name\"}]}");
    cr_assert_eq(call("two of that name"), -EEXIST);
    say("{\"id\":3,\"error\":null,\"result\":[{},{\"error\":\"timed out\"}]}");
    cr_assert_eq(call("timed out"), -ETIMEDOUT);
    say("{\"id\":4,\"error\":null,\"result\":[{\"error\":17}]}");
    cr_assert_eq(call("an unknown error"), -EPROTO);
}

Test(ovsdb, an_answer_of_another_form_is_none)
{
    static const char *const results[] = {"null", "7", "[]", "[null]", "[7]", "{\"rows\":[]}"};
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"id\":%zu,\"error\":null,\"result\":%s}", i + 1, results[i]);
        say(text);
        cr_assert_eq(call("as many results"), -EBADMSG, "%s", results[i]);
    }
}

Test(ovsdb, what_is_no_json_ends_the_call)
{
    say("{\"id\":1,}");
    cr_assert_eq(call("failed"), -EBADMSG);
}

Test(ovsdb, silence_and_the_end_of_the_server_are_told_apart)
{
    cr_assert_eq(call("does not answer within 50 ms"), -ETIMEDOUT);
    say("{\"id\":2,\"error\":null,\"resu");
    cr_assert_eq(call("does not answer"), -ETIMEDOUT);
    shutdown(server, SHUT_RDWR);
    cr_assert_eq(call("closed the connection"), -ECONNRESET);
}

Test(ovsdb, an_operation_that_is_no_utf8_is_not_sent)
{
    char *why = NULL;
    json_t *op = json_pack("{ss}", "op", "\xff");
    cr_assert_eq(ovsdb_transact(db, op, NULL, &why), -EINVAL);
    cr_assert(strstr(why, "UTF-8"));
    free(why);
}

Test(ovsdb, only_a_unix_socket_is_called)
{
    struct ovsdb *other = NULL;
    char *why = NULL;
    cr_assert_eq(ovsdb_open("tcp:127.0.0.1:6640", TIMEOUT_MS, &other, &why), -EINVAL);
    cr_assert(strstr(why, "unix:PATH"), "%s", why);
    free(why);
    cr_assert_eq(ovsdb_open("unix:/nonexistent/db.sock", TIMEOUT_MS, &other, &why), -ENOENT);
    cr_assert(strstr(why, "does ovsdb-server run?"), "%s", why);
    free(why);
}

Test(stream, a_message_may_come_byte_by_byte)
{
    static const char text[] = " {\"a\":\"}{\\\"]\\\\\",\"b\":[{},[]]}\n{}";
    struct ovs_stream stream;
    json_t *message;
    size_t n = 0;
    ovs_stream_init(&stream, 0);
    for (size_t i = 0; i < sizeof text - 1; i++) {
        ovs_stream_append(&stream, text + i, 1);
        int r = ovs_stream_next(&stream, &message);
        cr_assert(r == 0 || r == -EAGAIN);
        if (r)
            continue;
        if (n++ == 0)
            cr_assert_str_eq(json_string_value(json_object_get(message, "a")), "}{\"]\\");
        json_decref(message);
    }
    cr_assert_eq(n, 2);
    ovs_stream_fini(&stream);
}

Test(stream, a_message_beyond_the_limit_is_refused_before_its_end)
{
    struct ovs_stream stream;
    json_t *message;
    ovs_stream_init(&stream, 16);
    ovs_stream_append(&stream, "{\"a\":\"0123456\"}", 15);
    cr_assert_eq(ovs_stream_next(&stream, &message), 0);
    json_decref(message);
    ovs_stream_append(&stream, "{\"a\":\"0123456789", 16);
    cr_assert_eq(ovs_stream_next(&stream, &message), -EAGAIN);
    ovs_stream_append(&stream, "0", 1);
    cr_assert_eq(ovs_stream_next(&stream, &message), -EMSGSIZE);
    ovs_stream_fini(&stream);
}

Test(stream, what_is_no_object_is_refused)
{
    static const char *const texts[] = {"[]", "x", "{]", "{\"a\":[}]}", "{\"a\":\"\xff\"}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct ovs_stream stream;
        json_t *message;
        ovs_stream_init(&stream, 0);
        ovs_stream_append(&stream, texts[i], strlen(texts[i]));
        cr_assert_eq(ovs_stream_next(&stream, &message), -EBADMSG, "%s", texts[i]);
        ovs_stream_fini(&stream);
    }
}
