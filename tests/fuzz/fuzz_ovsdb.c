/* What OVSDB's socket brings, in pieces of any size: a session that ends with the first thing that
 * is wrong, and the next one goes on with what is known. */
#include "target.h"

#include "ovs/monitor.h"
#include "ovs/stream.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#define LIMIT 65536
#define LARGE 512

static void check_interface(const struct ovs_interface *interface)
{
    FUZZ_CHECK(interface->name && strlen(interface->uuid) == OVS_UUID_TEXT - 1);
    for (size_t i = 0; i < interface->n_ids; i++)
        FUZZ_CHECK(ovs_interface_id(interface, interface->ids[i].key));
}

static void on_interface(void *aux, struct ovs_interface *interface, bool is_there)
{
    check_interface(interface);
}

static void on_reply(void *aux, int err, const json_t *results, const char *why)
{
    FUZZ_CHECK(err ? why != NULL : json_is_object(json_array_get(results, 0)));
}

static void start_session(struct ovs_monitor *monitor, struct ovs_stream *stream)
{
    ovs_stream_init(stream, LIMIT);
    json_decref(ovs_monitor_up(monitor));
    json_decref(ovs_monitor_transact(monitor, json_pack("[{}]"), on_reply, NULL));
}

static void end_session(struct ovs_monitor *monitor, struct ovs_stream *stream)
{
    ovs_stream_fini(stream);
    ovs_monitor_down(monitor);
}

/* Large ones as the client does it. */
static int next_message(struct ovs_stream *stream, json_t **ret_message)
{
    struct em_buf bytes;
    size_t size;
    int r = ovs_stream_find(stream, &size);
    if (r || size < LARGE)
        return r ? r : ovs_stream_next(stream, ret_message);
    ovs_stream_take(stream, &bytes);
    FUZZ_CHECK(em_buf_size(&bytes) == size);
    r = ovs_stream_parse(&bytes, ret_message);
    em_buf_fini(&bytes);
    return r;
}

/* False: the session is over. */
static bool take_messages(struct ovs_monitor *monitor, struct ovs_stream *stream)
{
    json_t *message;
    int r;
    while (!(r = next_message(stream, &message))) {
        json_t *answer = NULL;
        char *why = NULL;
        r = ovs_monitor_take(monitor, message, &answer, &why);
        FUZZ_CHECK(!r == !why);
        json_decref(message);
        json_decref(answer);
        free(why);
        if (r)
            return false;
    }
    return r == -EAGAIN;
}

static void check_rows(const struct ovs_rows *rows)
{
    const struct ovs_interface *interface;
    for (uint32_t at = 0; (interface = ovs_rows_next(rows, &at));)
        check_interface(interface);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ovs_stream stream;
    struct ovs_monitor *monitor = ovs_monitor_new("br-int", on_interface, NULL);
    size_t piece = size ? data[0] % 64 + 1u : 1;
    start_session(monitor, &stream);
    for (size_t at = 1; at < size; at += piece) {
        ovs_stream_append(&stream, data + at, at + piece < size ? piece : size - at);
        if (take_messages(monitor, &stream))
            continue;
        end_session(monitor, &stream);
        check_rows(ovs_monitor_rows(monitor));
        start_session(monitor, &stream);
    }
    end_session(monitor, &stream);
    check_rows(ovs_monitor_rows(monitor));
    ovs_monitor_free(monitor);
    return 0;
}
