/* Bytes of a connection: frames, envelopes, and every record inside them as plain C.
 *
 * The input is taken once as a stream of frames and once as a bare Envelope, which spares the
 * fuzzer the length. */
#include "target.h"

#include "base/buf.h"
#include "base/mem.h"
#include "eidmap/error.h"
#include "wire/convert.h"
#include "wire/msg.h"
#include "wire/unpack.h"

#include <stdbool.h>
#include <string.h>

static void try_eid(struct em_arena *arena, const Eidmap__Eid *msg)
{
    char text[EM_EID_TEXT], names[EM_EID_TEXT], why[EM_ADDR_WHY];
    struct em_eid eid, again;
    if (em_eid_from_msg(msg, &eid))
        return;
    em_eid_format(&eid, text);
    if (em_eid_check(&eid, why) == 0) {
        FUZZ_CHECK(em_eid_parse(text, &again, names, why) == 0);
        FUZZ_CHECK(em_eid_compare(&eid, &again) == 0);
    }
    Eidmap__Eid *back = em_eid_to_msg(arena, &eid);
    FUZZ_CHECK(!back || (em_eid_from_msg(back, &again) == 0 && em_eid_compare(&eid, &again) == 0));
}

static void try_port(struct em_arena *arena, const Eidmap__Port *msg)
{
    char text[EM_PORT_ID_TEXT], why[EM_ADDR_WHY];
    struct em_port *port = em_port_from_msg(arena, msg);
    if (!port)
        return;
    em_port_id_check(port->id.bytes, port->id.size, why);
    em_port_id_format(port->id.bytes, port->id.size, text);
    Eidmap__Port *back = em_port_to_msg(arena, port);
    FUZZ_CHECK(!back || (back->n_eids == msg->n_eids && back->n_children == msg->n_children));
}

static void try_message(struct em_arena *arena, const ProtobufCMessage *message)
{
    struct em_node *node;
    struct em_network *network;
    struct em_rloc rloc;
    if (message->descriptor == &eidmap__eid__descriptor)
        try_eid(arena, (const Eidmap__Eid *)message);
    else if (message->descriptor == &eidmap__port__descriptor)
        try_port(arena, (const Eidmap__Port *)message);
    else if (message->descriptor == &eidmap__rloc__descriptor)
        em_rloc_from_msg((const Eidmap__Rloc *)message, &rloc);
    else if (message->descriptor == &eidmap__node__descriptor &&
             (node = em_node_from_msg(arena, (const Eidmap__Node *)message)))
        em_node_to_msg(arena, node);
    else if (message->descriptor == &eidmap__network__descriptor &&
             (network = em_network_from_msg(arena, (const Eidmap__Network *)message)))
        em_network_to_msg(arena, network);
}

/* 'message' and everything in it, found by protobuf-c's description of its types. */
static void walk(struct em_arena *arena, const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    try_message(arena, message);
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        const char *at = (const char *)message + field->offset;
        const char *quantifier = (const char *)message + field->quantifier_offset;
        if (field->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        bool is_oneof = field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            for (size_t j = 0; j < *(const size_t *)quantifier; j++)
                walk(arena, (*(ProtobufCMessage ***)at)[j]);
        } else if ((!is_oneof || *(const uint32_t *)quantifier == field->id) &&
                   *(ProtobufCMessage **)at) {
            walk(arena, *(ProtobufCMessage **)at);
        }
    }
}

/* What is taken for a plain question says just that to protobuf-c. */
static void try_question(const Eidmap__Envelope *envelope, const uint8_t *data, size_t size)
{
    struct em_question question;
    struct em_eid eid;
    if (!em_question_unpack(data, size, &question))
        return;
    FUZZ_CHECK(envelope && envelope->body_case == EIDMAP__ENVELOPE__BODY_RESOLVE);
    const Eidmap__Resolve *resolve = envelope->resolve;
    FUZZ_CHECK(envelope->id == question.id && resolve->network_id == question.network_id);
    FUZZ_CHECK(question.network_id && !resolve->network_name[0] && resolve->n_eids == 1);
    FUZZ_CHECK(!resolve->watch && !resolve->with_nodes && !resolve->consistent &&
               !resolve->min_revision);
    FUZZ_CHECK(em_eid_from_msg(resolve->eids[0], &eid) == 0);
    FUZZ_CHECK(em_eid_compare(&eid, &question.eid) == 0);
}

static void try_envelope(struct em_arena *arena, const uint8_t *data, size_t size)
{
    struct em_buf out;
    em_arena_reset(arena);
    Eidmap__Envelope *envelope = em_msg_unpack(arena, data, size);
    try_question(envelope, data, size);
    if (!envelope)
        return;
    walk(arena, &envelope->base);
    em_buf_init(&out);
    int r = em_msg_append(&out, envelope);
    FUZZ_CHECK(r == EM_E_LIMIT ||
               em_frame_size(em_buf_head(&out), em_buf_size(&out)) == (ssize_t)em_buf_size(&out) ||
               em_buf_size(&out) == EM_FRAME_HEADER);
    em_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct em_arena arena;
    em_arena_init(&arena, 0);
    try_envelope(&arena, data, size);
    for (ssize_t frame; (frame = em_frame_size(data, size)) > 0;) {
        try_envelope(&arena, data + EM_FRAME_HEADER, (size_t)frame - EM_FRAME_HEADER);
        data += frame;
        size -= (size_t)frame;
    }
    em_arena_fini(&arena);
    return 0;
}
