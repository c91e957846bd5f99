#include "ovs/rpc.h"

#include "base/mem.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

json_t *ovs_rpc_request(const char *method, int64_t id, json_t *params)
{
    return json_pack("{sssIso}", "method", method, "id", (json_int_t)id, "params", params);
}

json_t *ovs_rpc_transact(int64_t id, json_t *ops)
{
    if (!ops)
        return NULL;
    json_array_insert_new(ops, 0, json_string("Open_vSwitch"));
    return ovs_rpc_request("transact", id, ops);
}

json_t *ovs_rpc_echo(const json_t *message)
{
    const char *method = json_string_value(json_object_get(message, "method"));
    if (!method || strcmp(method, "echo") != 0)
        return NULL;
    return json_pack("{sO?sO?sn}", "id", json_object_get(message, "id"), "result",
                     json_object_get(message, "params"), "error");
}

bool ovs_rpc_is_reply(const json_t *message, int64_t id)
{
    const json_t *own = json_object_get(message, "id");
    return !json_object_get(message, "method") && json_is_integer(own) &&
           json_integer_value(own) == id;
}

static int error_of(const char *error)
{
    static const struct {
        const char *text;
        int err;
    } errors[] = {{"timed out", -ETIMEDOUT},
                  {"constraint violation", -EEXIST},
                  {"resources exhausted", -ENOSPC},
                  {"I/O error", -EIO}};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (!strcmp(error, errors[i].text))
            return errors[i].err;
    return -EPROTO;
}

static int check_result(const json_t *result, char **ret_why)
{
    const json_t *error = json_object_get(result, "error");
    const char *details = json_string_value(json_object_get(result, "details"));
    if (!error || json_is_null(error))
        return 0;
    const char *text = json_is_string(error) ? json_string_value(error) : "an unknown error";
    *ret_why = em_asprintf("ovsdb-server refuses: %.100s%s%.500s", text, details ? ": " : "",
                           details ? details : "");
    return error_of(text);
}

/* A commit that fails adds one more result. */
int ovs_rpc_check(const json_t *reply, size_t n_ops, char **ret_why)
{
    const json_t *results = json_object_get(reply, "result");
    int r = check_result(reply, ret_why);
    for (size_t i = 0; !r && i < json_array_size(results); i++)
        r = check_result(json_array_get(results, i), ret_why);
    if (r)
        return r;
    for (size_t i = 0; i < n_ops; i++)
        if (!json_is_object(json_array_get(results, i))) {
            *ret_why = em_strdup("ovsdb-server's answer has not as many results as were asked for");
            return -EBADMSG;
        }
    return 0;
}
