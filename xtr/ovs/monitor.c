#include "ovs/monitor.h"

#include "base/list.h"
#include "base/mem.h"
#include "ovs/rpc.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define NAME   "eidmap" /* of the monitor, in the server's updates */
#define NO_TXN "00000000-0000-0000-0000-000000000000"

enum state { DOWN, ASKED_SINCE, ASKED_COND, SYNCED };

struct call {
    struct em_list item;
    int64_t id;
    size_t n_ops;
    ovs_reply_fn *on_reply;
    void *aux;
};

struct ovs_monitor {
    struct ovs_rows *rows;
    enum state state;
    char last_txn[OVS_UUID_TEXT]; /* that the rows are as of */
    int64_t id;                   /* of the last request, */
    int64_t asked;                /* and of the one to monitor */
    struct em_list calls;
};

/* Monitoring */

static json_t *ask(struct ovs_monitor *monitor, enum state state)
{
    json_t *params = json_pack("[sso]", "Open_vSwitch", NAME, ovs_rows_requests());
    if (state == ASKED_SINCE)
        json_array_append_new(params, json_string(monitor->last_txn));
    monitor->state = state;
    monitor->asked = ++monitor->id;
    return ovs_rpc_request(state == ASKED_SINCE ? "monitor_cond_since" : "monitor_cond",
                           monitor->asked, params);
}

/* Unless the server names another, the next connection begins with everything. */
static int note_txn(struct ovs_monitor *monitor, const json_t *txn)
{
    const char *text = json_string_value(txn);
    if (!text || strlen(text) != OVS_UUID_TEXT - 1)
        return -EBADMSG;
    memcpy(monitor->last_txn, text, OVS_UUID_TEXT);
    return 0;
}

static int take_since(struct ovs_monitor *monitor, const json_t *result)
{
    const json_t *is_found = json_array_get(result, 0);
    if (!json_is_boolean(is_found))
        return -EBADMSG;
    int r = ovs_rows_update(monitor->rows, json_array_get(result, 2), !json_is_true(is_found));
    return r ? r : note_txn(monitor, json_array_get(result, 1));
}

static int take_first(struct ovs_monitor *monitor, const json_t *reply, json_t **ret_answer,
                      char **ret_why)
{
    const json_t *error = json_object_get(reply, "error");
    const json_t *result = json_object_get(reply, "result");
    bool is_refused = error && !json_is_null(error);
    if (is_refused && monitor->state == ASKED_SINCE) {
        *ret_answer = ask(monitor, ASKED_COND);
        return 0;
    }
    if (is_refused)
        return ovs_rpc_check(reply, 0, ret_why);
    int r = monitor->state == ASKED_SINCE ? take_since(monitor, result)
                                          : ovs_rows_update(monitor->rows, result, true);
    if (!r)
        monitor->state = SYNCED;
    return r;
}

static int take_notice(struct ovs_monitor *monitor, const char *method, const json_t *params)
{
    if (!strcmp(method, "update2"))
        return ovs_rows_update(monitor->rows, json_array_get(params, 1), false);
    if (!strcmp(method, "update3")) {
        int r = ovs_rows_update(monitor->rows, json_array_get(params, 2), false);
        return r ? r : note_txn(monitor, json_array_get(params, 1));
    }
    /* The database goes or gets another schema. */
    return !strcmp(method, "monitor_canceled") ? -EBADMSG : 0;
}

/* Calls */

json_t *ovs_monitor_transact(struct ovs_monitor *monitor, json_t *ops, ovs_reply_fn *on_reply,
                             void *aux)
{
    size_t n_ops = json_array_size(ops);
    if (monitor->state == DOWN) {
        json_decref(ops);
        return NULL;
    }
    json_t *request = ovs_rpc_transact(monitor->id + 1, ops);
    if (!request)
        return NULL;
    struct call *call = em_calloc(1, sizeof *call);
    *call = (struct call){.id = ++monitor->id, .n_ops = n_ops, .on_reply = on_reply, .aux = aux};
    em_list_append(&monitor->calls, &call->item);
    return request;
}

static void end_call(struct call *call, int err, const json_t *results, const char *why)
{
    em_list_remove(&call->item);
    if (call->on_reply)
        call->on_reply(call->aux, err, results, why);
    free(call);
}

static void take_reply(struct ovs_monitor *monitor, const json_t *reply)
{
    EM_FOREACH (call, &monitor->calls, struct call, item) {
        if (!ovs_rpc_is_reply(reply, call->id))
            continue;
        char *why = NULL;
        int r = ovs_rpc_check(reply, call->n_ops, &why);
        end_call(call, r, json_object_get(reply, "result"), why);
        free(why);
        return;
    }
}

/* Messages */

static int take(struct ovs_monitor *monitor, const json_t *message, json_t **ret_answer,
                char **ret_why)
{
    const char *method = json_string_value(json_object_get(message, "method"));
    *ret_answer = ovs_rpc_echo(message);
    if (*ret_answer)
        return 0;
    if (method && monitor->state == SYNCED)
        return take_notice(monitor, method, json_object_get(message, "params"));
    if (method)
        return 0;
    if (monitor->state != SYNCED && ovs_rpc_is_reply(message, monitor->asked))
        return take_first(monitor, message, ret_answer, ret_why);
    take_reply(monitor, message);
    return 0;
}

int ovs_monitor_take(struct ovs_monitor *monitor, const json_t *message, json_t **ret_answer,
                     char **ret_why)
{
    char *why = NULL;
    assert(monitor->state != DOWN);
    int r = take(monitor, message, ret_answer, &why);
    if (!r)
        return 0;
    strcpy(monitor->last_txn, NO_TXN);
    *ret_why = why ? why : em_strdup("ovsdb-server sends what is no update of its tables");
    return r;
}

json_t *ovs_monitor_up(struct ovs_monitor *monitor)
{
    assert(monitor->state == DOWN);
    return ask(monitor, ASKED_SINCE);
}

void ovs_monitor_down(struct ovs_monitor *monitor)
{
    struct em_list failed;
    monitor->state = DOWN;
    em_list_init(&failed);
    EM_FOREACH (call, &monitor->calls, struct call, item) {
        em_list_remove(&call->item);
        em_list_append(&failed, &call->item);
    }
    EM_FOREACH (call, &failed, struct call, item)
        end_call(call, -ECONNRESET, NULL, "the connection to ovsdb-server was lost");
}

bool ovs_monitor_is_synced(const struct ovs_monitor *monitor)
{
    return monitor->state == SYNCED;
}

const struct ovs_rows *ovs_monitor_rows(const struct ovs_monitor *monitor)
{
    return monitor->rows;
}

struct ovs_monitor *ovs_monitor_new(const char *bridge, ovs_rows_fn *on_interface, void *aux)
{
    struct ovs_monitor *monitor = em_calloc(1, sizeof *monitor);
    monitor->rows = ovs_rows_new(bridge, on_interface, aux);
    strcpy(monitor->last_txn, NO_TXN);
    em_list_init(&monitor->calls);
    return monitor;
}

void ovs_monitor_free(struct ovs_monitor *monitor)
{
    if (!monitor)
        return;
    EM_FOREACH (call, &monitor->calls, struct call, item)
        free(call);
    ovs_rows_free(monitor->rows);
    free(monitor);
}
