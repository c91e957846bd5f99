/* A page of the feed, as its bytes come from a map server or from a saved map-cache; and a port's
 * record, which must be read as protobuf-c reads it. */
#include "target.h"

#include "base/buf.h"
#include "base/mem.h"
#include "client/reply.h"
#include "wire/convert.h"
#include "wire/unpack.h"

#include <string.h>

static void pack(struct em_arena *arena, const struct em_port *port, struct em_buf *ret_bytes)
{
    const Eidmap__Port *msg = em_port_to_msg(arena, port);
    em_buf_init(ret_bytes);
    if (msg)
        em_msg_pack(ret_bytes, &msg->base);
}

static void are_same(struct em_arena *arena, const struct em_port *a, const struct em_port *b)
{
    struct em_buf x, y;
    pack(arena, a, &x);
    pack(arena, b, &y);
    FUZZ_CHECK(em_buf_size(&x) == em_buf_size(&y));
    FUZZ_CHECK(!em_buf_size(&x) || !memcmp(em_buf_head(&x), em_buf_head(&y), em_buf_size(&x)));
    em_buf_fini(&x);
    em_buf_fini(&y);
}

static void try_port(struct em_arena *arena, const void *data, size_t size)
{
    const struct em_port *port = em_port_unpack(arena, data, size);
    const Eidmap__Port *msg = em_msg_unpack_as(arena, &eidmap__port__descriptor, data, size);
    const struct em_port *other = msg ? em_port_from_msg(arena, msg) : NULL;
    if (!port) /* it may be stricter: protobuf-c takes any bytes for a bool */
        return;
    FUZZ_CHECK(other);
    are_same(arena, port, other);
}

static void try_page(struct em_arena *arena, const void *data, size_t size)
{
    const struct em_pending request = {.kind = EM_PENDING_FEED};
    struct em_feed page;
    if (em_reply_feed_page(arena, &request, data, size, &page))
        return;
    for (size_t i = 0; i < page.n_changes; i++)
        FUZZ_CHECK(page.changes[i].is_gone || page.changes[i].port || page.changes[i].node ||
                   page.changes[i].network);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct em_arena arena;
    em_arena_init(&arena, 0);
    try_page(&arena, data, size);
    try_port(&arena, data, size);
    em_arena_fini(&arena);
    return 0;
}
