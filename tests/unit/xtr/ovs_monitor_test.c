/* What a monitor tells, in any order and with breaks, and which interfaces are on the bridge then.
 */
#include "ovs/monitor.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UUID(n) "00000000-0000-0000-0000-00000000000" #n
#define BRIDGE  UUID(1)
#define PORT_A  UUID(2)
#define PORT_B  UUID(3)
#define TAP_A   UUID(4)
#define TAP_B   UUID(5)
#define TXN     "aaaaaaaa-0000-0000-0000-000000000000"

static struct ovs_monitor *monitor;
static json_t *request; /* the last that is to be sent */
static char seen[512];  /* what was shown since the last look */
static char *why;

static void on_interface(void *aux, struct ovs_interface *interface, bool is_there)
{
    size_t n = strlen(seen);
    snprintf(seen + n, sizeof seen - n, "%s%s ", is_there ? "+" : "-", interface->name);
}

static void start(void)
{
    monitor = ovs_monitor_new("br-int", on_interface, NULL);
    request = ovs_monitor_up(monitor);
}

static void stop(void)
{
    ovs_monitor_free(monitor);
    json_decref(request);
    free(why);
}

TestSuite(ovs_monitor, .init = start, .fini = stop);

static int take_text(const char *text)
{
    json_error_t error;
    json_t *message = json_loads(text, 0, &error), *answer = NULL;
    cr_assert(message, "%s in %s", error.text, text);
    free(why);
    why = NULL;
    int r = ovs_monitor_take(monitor, message, &answer, &why);
    json_decref(message);
    cr_assert_eq(r != 0, why != NULL);
    if (answer) {
        json_decref(request);
        request = answer;
    }
    return r;
}

static int take(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int take(const char *format, ...)
{
    char *text;
    va_list args;
    va_start(args, format);
    cr_assert_gt(vasprintf(&text, format, args), 0);
    va_end(args);
    int r = take_text(text);
    free(text);
    return r;
}

static long long request_id(void)
{
    return json_integer_value(json_object_get(request, "id"));
}

/* The answer to the first request. */
static int take_all(bool is_found, const char *tables)
{
    return take("{\"id\":%lld,\"error\":null,\"result\":[%s,\"" TXN "\",{%s}]}", request_id(),
                is_found ? "true" : "false", tables);
}

static int update(const char *tables)
{
    return take("{\"id\":null,\"method\":\"update3\",\"params\":[\"eidmap\",\"" TXN "\",{%s}]}",
                tables);
}

static void shows(const char *expected)
{
    cr_assert_str_eq(seen, expected);
    seen[0] = '\0';
}

#define SET(a, b) "[\"set\",[[\"uuid\",\"" a "\"],[\"uuid\",\"" b "\"]]]"
#define ONE(a)    "[\"uuid\",\"" a "\"]"
#define ROW_BRIDGE(kind, ports)                                                                    \
    "\"Bridge\":{\"" BRIDGE "\":{\"" kind "\":{\"name\":\"br-int\",\"ports\":" ports "}}}"
#define ROW_PORT(uuid, kind, interfaces)                                                           \
    "\"" uuid "\":{\"" kind "\":{\"interfaces\":" interfaces "}}"
#define ROW_TAP(uuid, kind, columns) "\"" uuid "\":{\"" kind "\":{" columns "}}"
#define IDS(pairs)                   "\"external_ids\":[\"map\",[" pairs "]]"
#define PORTS                                                                                      \
    "\"Port\":{" ROW_PORT(PORT_A, "initial", ONE(TAP_A)) "," ROW_PORT(PORT_B, "initial",           \
                                                                      ONE(TAP_B)) "}"
#define TAPS                                                                                       \
    "\"Interface\":{" ROW_TAP(                                                                     \
        TAP_A, "initial",                                                                          \
        "\"name\":\"tapA\",\"ofport\":7,\"mac_in_use\":\"02:00:00:00:00:01\"," IDS(                \
            "[\"iface-id\",\"p1\"],[\"x\",\"1\"]")) "," ROW_TAP(TAP_B, "initial",                  \
                                                                "\"name\":\"tapB\"") "}"

static void show_all(void)
{
    cr_assert_eq(take_all(false, TAPS "," PORTS "," ROW_BRIDGE("initial", ONE(PORT_A))), 0);
    cr_assert(ovs_monitor_is_synced(monitor));
}

static const struct ovs_interface *tap_a(void)
{
    const struct ovs_interface *interface;
    for (uint32_t at = 0; (interface = ovs_rows_next(ovs_monitor_rows(monitor), &at));)
        if (!strcmp(interface->name, "tapA"))
            return interface;
    return NULL;
}

Test(ovs_monitor, the_first_request_asks_for_everything)
{
    const json_t *params = json_object_get(request, "params");
    cr_assert_str_eq(json_string_value(json_object_get(request, "method")), "monitor_cond_since");
    cr_assert_str_eq(json_string_value(json_array_get(params, 0)), "Open_vSwitch");
    cr_assert(json_object_get(json_array_get(params, 2), "Interface"));
    cr_assert_str_eq(json_string_value(json_array_get(params, 3)),
                     "00000000-0000-0000-0000-000000000000");
    cr_assert(!ovs_monitor_is_synced(monitor));
}

Test(ovs_monitor, only_what_is_on_the_bridge_is_shown)
{
    show_all();
    shows("+tapA ");
    const struct ovs_interface *a = tap_a();
    cr_assert_eq(a->ofport, 7);
    cr_assert(a->has_mac && a->mac[5] == 1);
    cr_assert_str_eq(ovs_interface_id(a, "iface-id"), "p1");
    cr_assert_null(ovs_interface_id(a, "attached-mac"));
    cr_assert(ovs_rows_has_bridge(ovs_monitor_rows(monitor)));
}

Test(ovs_monitor, ports_come_and_go_by_differences)
{
    show_all();
    shows("+tapA ");
    cr_assert_eq(update(ROW_BRIDGE("modify", SET(PORT_A, PORT_B))), 0);
    shows("-tapA +tapB ");
    cr_assert_eq(update(ROW_BRIDGE("modify", ONE(PORT_A))), 0);
    shows("+tapA ");
    cr_assert_eq(update("\"Port\":{" ROW_PORT(PORT_A, "modify", ONE(TAP_B)) "}"), 0);
    shows("+tapB ");
    cr_assert_eq(update("\"Port\":{\"" PORT_B "\":{\"delete\":null}}"), 0);
    shows("");
}

Test(ovs_monitor, a_port_of_several_interfaces_loses_one)
{
    show_all();
    shows("+tapA ");
    cr_assert_eq(update("\"Port\":{" ROW_PORT(PORT_A, "modify", ONE(TAP_B)) "}"), 0);
    shows("+tapB ");
    cr_assert_eq(update("\"Port\":{" ROW_PORT(PORT_A, "modify", ONE(TAP_A)) "}"), 0);
    shows("-tapA ");
}

Test(ovs_monitor, an_interface_that_is_deleted_has_left_with_its_name)
{
    show_all();
    shows("+tapA ");
    cr_assert_eq(update("\"Interface\":{\"" TAP_A "\":{\"delete\":null}},\"Port\":{\"" PORT_A
                        "\":{\"delete\":null}}," ROW_BRIDGE("modify", ONE(PORT_A))),
                 0);
    shows("-tapA ");
    cr_assert_null(tap_a());
}

Test(ovs_monitor, a_bridge_may_go_and_come_again)
{
    show_all();
    shows("+tapA ");
    cr_assert_eq(update("\"Bridge\":{\"" BRIDGE "\":{\"delete\":null}}"), 0);
    shows("-tapA ");
    cr_assert(!ovs_rows_has_bridge(ovs_monitor_rows(monitor)));
    cr_assert_eq(
        update("\"Bridge\":{\"" UUID(9) "\":{\"insert\":{\"name\":\"br-int\",\"ports\":" ONE(
            PORT_B) "}},\"" UUID(8) "\":{\"insert\":{\"name\":\"br-ex\","
                                    "\"ports\":" ONE(PORT_A) "}}}"),
        0);
    shows("+tapB ");
}

Test(ovs_monitor, external_ids_change_by_pairs)
{
    show_all();
    cr_assert_eq(
        update("\"Interface\":{" ROW_TAP(
            TAP_A, "modify", IDS("[\"iface-id\",\"p2\"],[\"x\",\"1\"],[\"y\",\"2\"]")) "}"),
        0);
    const struct ovs_interface *a = tap_a();
    cr_assert_str_eq(ovs_interface_id(a, "iface-id"), "p2");
    cr_assert_str_eq(ovs_interface_id(a, "y"), "2");
    cr_assert_null(ovs_interface_id(a, "x"));
    cr_assert_eq(a->ofport, 7, "a column that is not in the difference stays");
}

#define CONFIG(kind, columns) "\"Open_vSwitch\":{\"" UUID(7) "\":{\"" kind "\":{" columns "}}}"
#define WAIT(value)                                                                                \
    CONFIG("modify", "\"other_config\":[\"map\",[[\"flow-restore-wait\",\"" value "\"]]]")

static bool is_restoring(uint32_t n_restored)
{
    const struct ovs_rows *rows = ovs_monitor_rows(monitor);
    cr_assert_eq(ovs_rows_n_restored(rows), n_restored);
    return ovs_rows_is_restoring(rows);
}

Test(ovs_monitor, a_restore_of_flows_begins_and_ends)
{
    cr_assert_eq(take_all(false, CONFIG("initial", "")), 0);
    cr_assert(!is_restoring(0));
    cr_assert_eq(update(WAIT("true")), 0); /* comes */
    cr_assert(is_restoring(0));
    cr_assert_eq(update(CONFIG("modify", "\"other_config\":[\"map\",[[\"x\",\"1\"]]]")), 0);
    cr_assert(is_restoring(0));
    cr_assert_eq(update(WAIT("true")), 0); /* goes */
    cr_assert(!is_restoring(1));
    cr_assert_eq(update(WAIT("false")), 0);
    cr_assert_eq(update(WAIT("true")), 0); /* in its place */
    cr_assert(is_restoring(1));
    cr_assert_eq(update(WAIT("false")), 0);
    cr_assert(!is_restoring(2));
}

Test(ovs_monitor, optional_columns_are_replaced)
{
    show_all();
    cr_assert_eq(update("\"Interface\":{" ROW_TAP(TAP_A, "modify",
                                                  "\"ofport\":-1,\"error\":\"no such device\","
                                                  "\"mac_in_use\":[\"set\",[]]") "}"),
                 0);
    const struct ovs_interface *a = tap_a();
    cr_assert(!a->ofport && !a->has_mac);
    cr_assert_str_eq(a->error, "no such device");
}

Test(ovs_monitor, after_a_break_it_goes_on_from_the_last_transaction)
{
    show_all();
    shows("+tapA ");
    ovs_monitor_down(monitor);
    cr_assert(!ovs_monitor_is_synced(monitor) && tap_a());
    json_decref(request);
    request = ovs_monitor_up(monitor);
    cr_assert_str_eq(json_string_value(json_array_get(json_object_get(request, "params"), 3)), TXN);
    cr_assert_eq(take_all(true, ROW_BRIDGE("modify", ONE(PORT_B))), 0);
    shows("+tapB ");
}

Test(ovs_monitor, what_a_full_pass_does_not_have_is_gone)
{
    show_all();
    cr_assert_eq(update(ROW_BRIDGE("modify", ONE(PORT_B))), 0);
    shows("+tapA +tapB ");
    ovs_monitor_down(monitor);
    json_decref(request);
    request = ovs_monitor_up(monitor);
    cr_assert_eq(
        take_all(false,
                 "\"Interface\":{" ROW_TAP(
                     TAP_B, "initial",
                     "\"name\":\"tapB\"") "},"
                                          "\"Port\":{" ROW_PORT(
                                              PORT_B, "initial",
                                              ONE(TAP_B)) "}," ROW_BRIDGE("initial", ONE(PORT_B))),
        0);
    cr_assert(strstr(seen, "-tapA ") && strstr(seen, "+tapB "), "%s", seen);
    cr_assert_null(tap_a());
    seen[0] = '\0';
    ovs_monitor_down(monitor);
    json_decref(request);
    request = ovs_monitor_up(monitor);
    cr_assert_eq(take_all(false, ""), 0);
    shows("-tapB ");
}

Test(ovs_monitor, the_order_of_coming_is_told_by_age)
{
    show_all();
    uint64_t age = tap_a()->age;
    cr_assert_eq(
        update("\"Interface\":{" ROW_TAP(
            UUID(6), "insert",
            "\"name\":\"tapC\"") "},"
                                 "\"Port\":{" ROW_PORT(UUID(7), "insert",
                                                       ONE(UUID(6))) "}," ROW_BRIDGE("modify",
                                                                                     ONE(UUID(7)))),
        0);
    uint32_t at = 0;
    const struct ovs_interface *interface;
    while ((interface = ovs_rows_next(ovs_monitor_rows(monitor), &at)))
        cr_assert_eq(interface->age > age, !strcmp(interface->name, "tapC"));
}

Test(ovs_monitor, an_old_server_is_asked_in_the_old_way)
{
    cr_assert_eq(take("{\"id\":%lld,\"error\":{\"error\":\"unknown method\"},\"result\":null}",
                      request_id()),
                 0);
    cr_assert_str_eq(json_string_value(json_object_get(request, "method")), "monitor_cond");
    cr_assert_eq(json_array_size(json_object_get(request, "params")), 3);
    cr_assert_eq(take("{\"id\":%lld,\"error\":null,\"result\":{" TAPS "," PORTS
                      "," ROW_BRIDGE("initial", ONE(PORT_A)) "}}",
                      request_id()),
                 0);
    cr_assert(ovs_monitor_is_synced(monitor));
    cr_assert_eq(take("{\"id\":null,\"method\":\"update2\",\"params\":[\"eidmap\",{%s}]}",
                      ROW_BRIDGE("modify", ONE(PORT_B))),
                 0);
    shows("+tapA +tapB ");
}

Test(ovs_monitor, a_server_that_refuses_is_quoted)
{
    for (int i = 0; i < 2; i++) {
        int r = take("{\"id\":%lld,\"error\":\"unknown database\",\"result\":null}", request_id());
        cr_assert_eq(r, i ? -EPROTO : 0);
    }
    cr_assert(strstr(why, "unknown database"), "%s", why);
}

Test(ovs_monitor, probes_are_answered_at_any_time)
{
    cr_assert_eq(take("{\"id\":\"echo\",\"method\":\"echo\",\"params\":[]}"), 0);
    cr_assert(json_is_array(json_object_get(request, "result")));
}

Test(ovs_monitor, half_of_a_malformed_pass_takes_nothing_away)
{
    show_all();
    shows("+tapA ");
    ovs_monitor_down(monitor);
    json_decref(request);
    request = ovs_monitor_up(monitor);
    cr_assert_eq(take_all(false, ROW_BRIDGE("initial", ONE(PORT_B)) ",\"Port\":7"), -EBADMSG);
    shows("");
    cr_assert(tap_a());
    ovs_monitor_down(monitor);
    json_decref(request);
    request = ovs_monitor_up(monitor);
    show_all();
    shows("+tapA ");
}

Test(ovs_monitor, malformed_updates_are_refused_and_all_is_asked_for_again)
{
    static const char *const bad[] = {
        "\"Interface\":7",
        "\"Interface\":{\"" TAP_A "\":{}}",
        "\"Interface\":{\"" TAP_A "\":{\"modify\":[]}}",
        "\"Interface\":{\"short\":{\"insert\":{\"name\":\"x\"}}}",
        "\"Interface\":{\"" UUID(8) "\":{\"insert\":{}}}",
        "\"Interface\":{\"" UUID(8) "\":{\"modify\":{\"name\":\"x\"}}}",
        "\"Interface\":{\"" UUID(8) "\":{\"delete\":null}}",
        "\"Interface\":{\"" PORT_A "\":{\"insert\":{\"name\":\"x\"}}}",
        "\"Port\":{" ROW_PORT(PORT_A, "modify", "7") "}",
        "\"Bridge\":{\"" BRIDGE "\":{\"modify\":{\"ports\":[\"uuid\",\"x\"]}}}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        show_all();
        seen[0] = '\0';
        cr_assert_eq(update(bad[i]), -EBADMSG, "%s", bad[i]);
        shows("");
        ovs_monitor_down(monitor);
        json_decref(request);
        request = ovs_monitor_up(monitor);
        cr_assert_str_eq(json_string_value(json_array_get(json_object_get(request, "params"), 3)),
                         "00000000-0000-0000-0000-000000000000");
        seen[0] = '\0';
    }
    show_all();
    shows("+tapA ");
}

/* Calls */

static int replies[4];
static char reply_why[64];

static void on_reply(void *aux, int err, const json_t *results, const char *text)
{
    *(int *)aux = err ? err : (int)json_array_size(results);
    if (err)
        snprintf(reply_why, sizeof reply_why, "%s", text);
}

static long long call(int *place)
{
    json_t *sent = ovs_monitor_transact(monitor, json_pack("[{}]"), on_reply, place);
    cr_assert(sent);
    long long id = json_integer_value(json_object_get(sent, "id"));
    json_decref(sent);
    return id;
}

Test(ovs_monitor, each_reply_finds_its_call)
{
    show_all();
    long long a = call(&replies[0]), b = call(&replies[1]), c = call(&replies[2]);
    cr_assert_eq(take("{\"id\":%lld,\"error\":null,\"result\":[{}]}", b), 0);
    cr_assert_eq(take("{\"id\":%lld,\"error\":null,\"result\":[{\"error\":\"timed out\"}]}", a), 0);
    cr_assert_eq(take("{\"id\":%lld,\"error\":null,\"result\":[{}]}", b), 0, "it is known no more");
    cr_assert_eq(replies[0], -ETIMEDOUT);
    cr_assert_eq(replies[1], 1);
    cr_assert_eq(replies[2], 0);
    ovs_monitor_down(monitor);
    cr_assert_eq(replies[2], -ECONNRESET);
    cr_assert(strstr(reply_why, "lost"), "%s", reply_why);
    cr_assert_null(ovs_monitor_transact(monitor, json_pack("[{}]"), on_reply, &replies[3]));
    (void)c;
}
