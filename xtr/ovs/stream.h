/* JSON-RPC messages out of a stream of bytes, as OVSDB sends them (RFC 7047 section 4): objects,
 * one behind the other, with nothing that says how long they are.
 *
 * No I/O.  A message that comes in pieces is looked at once, byte by byte, for its end, and parsed
 * when it is complete; its size is bounded before anything is parsed. */
#ifndef OVS_STREAM_H
#define OVS_STREAM_H

#include "base/buf.h"

#include <stdbool.h>

struct json_t;

#define OVS_STREAM_LIMIT (64u << 20) /* of one message: 50,000 rows and more */

struct ovs_stream {
    struct em_buf bytes;
    size_t limit;
    size_t n_scanned; /* of the message at the head */
    unsigned depth;
    bool is_in_string, is_escaped;
    bool is_found; /* its end */
};

/* limit 0: OVS_STREAM_LIMIT. */
void ovs_stream_init(struct ovs_stream *stream, size_t limit);
void ovs_stream_fini(struct ovs_stream *stream);

void ovs_stream_append(struct ovs_stream *stream, const void *bytes, size_t size);

/* The next message, the caller's; -EAGAIN: it is not complete yet; -EBADMSG: that is no JSON
 * object; -EMSGSIZE: it is longer than the limit.  After the last two the stream is of no use any
 * more. */
int ovs_stream_next(struct ovs_stream *stream, struct json_t **ret_message);

/* For who parses large messages elsewhere.  The size of the next message, when it is complete;
 * errors as above.  Then its bytes, for the caller to em_buf_fini(); and what parses them, in any
 * thread: 0 or -EBADMSG. */
int ovs_stream_find(struct ovs_stream *stream, size_t *ret_size);
void ovs_stream_take(struct ovs_stream *stream, struct em_buf *ret_bytes);
int ovs_stream_parse(const struct em_buf *bytes, struct json_t **ret_message);

#endif
