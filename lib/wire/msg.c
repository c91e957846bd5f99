#include "wire/msg.h"

#include "base/buf.h"
#include "base/mem.h"
#include "eidmap/error.h"
#include "wire/scan.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

static void *arena_alloc(void *arena, size_t size)
{
    return em_arena_alloc(arena, size);
}

static void arena_free(void *arena, void *p)
{
    (void)arena, (void)p; /* all of it goes at the arena's reset */
}

ssize_t em_frame_size(const uint8_t *data, size_t size)
{
    if (size < EM_FRAME_HEADER)
        return 0;
    uint32_t length_be;
    memcpy(&length_be, data, sizeof(length_be));
    uint32_t length = ntohl(length_be);
    if (length == 0 || length > EM_FRAME_MAX)
        return EM_E_FRAME;
    return size - EM_FRAME_HEADER < length ? 0 : (ssize_t)(EM_FRAME_HEADER + length);
}

void *em_msg_unpack_as(struct em_arena *arena, const ProtobufCMessageDescriptor *type,
                       const uint8_t *data, size_t size)
{
    ProtobufCAllocator allocator = {arena_alloc, arena_free, arena};
    return protobuf_c_message_unpack(type, &allocator, size, data);
}

Eidmap__Envelope *em_msg_unpack(struct em_arena *arena, const uint8_t *data, size_t size)
{
    if (size > EM_FRAME_MAX)
        return NULL;
    return em_msg_unpack_as(arena, &eidmap__envelope__descriptor, data, size);
}

bool em_msg_find(const uint8_t *data, size_t size, Eidmap__Envelope__BodyCase body,
                 uint64_t *ret_id, struct em_field *ret_field)
{
    struct em_scan scan = em_scan(data, size);
    struct em_field field;
    bool is_found = false;
    *ret_id = 0;
    while (em_scan_next(&scan, &field))
        if (field.number == 1) {
            *ret_id = em_scan_number(&scan, &field);
        } else if (field.number == (uint32_t)body) {
            (void)em_scan_inside(&scan, &field);
            *ret_field = field;
            is_found = true;
        }
    return is_found && !scan.is_bad;
}

void em_msg_pack(struct em_buf *out, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    if (!size)
        return;
    size_t packed = protobuf_c_message_pack(message, em_buf_reserve(out, size));
    assert(packed == size);
    em_buf_commit(out, packed);
}

int em_msg_append(struct em_buf *out, const Eidmap__Envelope *envelope)
{
    size_t size = protobuf_c_message_get_packed_size(&envelope->base);
    if (size == 0 || size > EM_FRAME_MAX)
        return EM_E_LIMIT;
    uint32_t length_be = htonl((uint32_t)size);
    uint8_t *at = em_buf_reserve(out, EM_FRAME_HEADER + size);
    memcpy(at, &length_be, sizeof(length_be));
    size_t packed = protobuf_c_message_pack(&envelope->base, at + EM_FRAME_HEADER);
    assert(packed == size);
    em_buf_commit(out, EM_FRAME_HEADER + packed);
    return 0;
}

void em_msg_error(Eidmap__Envelope *envelope, Eidmap__Error *error, uint64_t id, int code,
                  const char *message)
{
    eidmap__envelope__init(envelope);
    eidmap__error__init(error);
    error->code = (Eidmap__ErrorCode)em_error_to_wire(code);
    error->message = (char *)(message ? message : em_strerror(code));
    envelope->id = id;
    envelope->body_case = EIDMAP__ENVELOPE__BODY_ERROR;
    envelope->error = error;
}
