#include "ovs/stream.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>

void ovs_stream_init(struct ovs_stream *stream, size_t limit)
{
    *stream = (struct ovs_stream){.limit = limit ? limit : OVS_STREAM_LIMIT};
    em_buf_init(&stream->bytes);
}

void ovs_stream_fini(struct ovs_stream *stream)
{
    em_buf_fini(&stream->bytes);
}

void ovs_stream_append(struct ovs_stream *stream, const void *bytes, size_t size)
{
    em_buf_append(&stream->bytes, bytes, size);
}

static void skip_blanks(struct ovs_stream *stream)
{
    const uint8_t *bytes = em_buf_head(&stream->bytes);
    size_t n = 0;
    while (n < em_buf_size(&stream->bytes) && memchr(" \t\r\n", bytes[n], 4))
        n++;
    em_buf_take(&stream->bytes, n);
}

static void scan_string(struct ovs_stream *stream, uint8_t byte)
{
    if (stream->is_escaped)
        stream->is_escaped = false;
    else if (byte == '\\')
        stream->is_escaped = true;
    else if (byte == '"')
        stream->is_in_string = false;
}

/* True at the end of the message.  Whether brackets match is the parser's to find. */
static bool scan(struct ovs_stream *stream, uint8_t byte)
{
    if (stream->is_in_string) {
        scan_string(stream, byte);
        return false;
    }
    if (byte == '"')
        stream->is_in_string = true;
    else if (byte == '{' || byte == '[')
        stream->depth++;
    else if (byte == '}' || byte == ']')
        return --stream->depth == 0;
    return false;
}

int ovs_stream_find(struct ovs_stream *stream, size_t *ret_size)
{
    if (stream->is_found) {
        *ret_size = stream->n_scanned;
        return 0;
    }
    if (!stream->n_scanned)
        skip_blanks(stream);
    const uint8_t *bytes = em_buf_head(&stream->bytes);
    size_t size = em_buf_size(&stream->bytes);
    if (size && bytes[0] != '{')
        return -EBADMSG;
    while (stream->n_scanned < size && !stream->is_found) {
        if (stream->n_scanned == stream->limit)
            return -EMSGSIZE;
        stream->is_found = scan(stream, bytes[stream->n_scanned++]);
    }
    *ret_size = stream->n_scanned;
    return stream->is_found ? 0 : -EAGAIN;
}

static void skip_message(struct ovs_stream *stream)
{
    em_buf_take(&stream->bytes, stream->n_scanned);
    em_buf_trim(&stream->bytes);
    stream->n_scanned = 0;
    stream->is_found = false;
}

static int parse(const void *text, size_t size, json_t **ret_message)
{
    json_t *message = json_loadb(text, size, 0, NULL);
    if (!message)
        return -EBADMSG;
    *ret_message = message;
    return 0;
}

int ovs_stream_next(struct ovs_stream *stream, struct json_t **ret_message)
{
    size_t size;
    int r = ovs_stream_find(stream, &size);
    if (r)
        return r;
    r = parse(em_buf_head(&stream->bytes), size, ret_message);
    skip_message(stream);
    return r;
}

void ovs_stream_take(struct ovs_stream *stream, struct em_buf *ret_bytes)
{
    assert(stream->is_found);
    em_buf_init(ret_bytes);
    em_buf_append(ret_bytes, em_buf_head(&stream->bytes), stream->n_scanned);
    skip_message(stream);
}

int ovs_stream_parse(const struct em_buf *bytes, struct json_t **ret_message)
{
    return parse(em_buf_head(bytes), em_buf_size(bytes), ret_message);
}
