/* Writes seeds for fuzz_message: one frame for each body of an Envelope, every field set.
 *
 * Usage: make_seeds DIRECTORY.  Run it when the protocol gains a message; the fields are
 * found by protobuf-c's description of the types, so that nothing is listed here. */
#include "base/buf.h"
#include "base/mem.h"
#include "wire/convert.h"
#include "wire/msg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 6
#define N_ITEMS   2

static struct em_arena arena;

static void *fresh(size_t size)
{
    void *p = em_arena_alloc(&arena, size);
    if (!p)
        abort();
    memset(p, 0, size);
    return p;
}

/* Every kind of EID in turn. */
static ProtobufCMessage *next_eid(void)
{
    static const char *const texts[] = {"02:00:00:00:00:01", "10.0.0.1",      "2001:db8::1",
                                        "10.0.0.0/8",        "2001:db8::/32", "vm1.example",
                                        "tcp/10.0.0.1:443",  "port:vnet0"};
    static unsigned turn;
    struct em_eid eid;
    char *names = fresh(EM_EID_TEXT);
    if (em_eid_parse(texts[turn++ % (sizeof(texts) / sizeof(texts[0]))], &eid, names, NULL))
        abort();
    return &em_eid_to_msg(&arena, &eid)->base;
}

static ProtobufCMessage *filled(const ProtobufCMessageDescriptor *type, unsigned depth);

/* Sets one value of the field's type; returns its size. */
static size_t set_value(const ProtobufCFieldDescriptor *field, unsigned depth, void *value)
{
    static const uint8_t address[] = {192, 0, 2, 1};
    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        *(ProtobufCMessage **)value = filled(field->descriptor, depth + 1);
        return sizeof(ProtobufCMessage *);
    case PROTOBUF_C_TYPE_STRING:
        *(const char **)value = "a1";
        return sizeof(char *);
    case PROTOBUF_C_TYPE_BYTES:
        *(ProtobufCBinaryData *)value = (ProtobufCBinaryData){sizeof(address), (uint8_t *)address};
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        *(uint64_t *)value = 300;
        return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)value = 1;
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        *(uint32_t *)value = 1;
        return sizeof(uint32_t);
    }
    abort();
}

static void set_field(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                      unsigned depth)
{
    char *at = (char *)message + field->offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        char *items = fresh(N_ITEMS * sizeof(ProtobufCBinaryData)), *end = items;
        for (int i = 0; i < N_ITEMS; i++)
            end += set_value(field, depth, end);
        *(char **)at = items;
        *(size_t *)((char *)message + field->quantifier_offset) = N_ITEMS;
    } else {
        set_value(field, depth, at);
        if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
            *(uint32_t *)((char *)message + field->quantifier_offset) = field->id;
    }
}

/* Of a oneof the last one stays. */
static ProtobufCMessage *filled(const ProtobufCMessageDescriptor *type, unsigned depth)
{
    if (type == &eidmap__eid__descriptor)
        return next_eid();
    ProtobufCMessage *message = fresh(type->sizeof_message);
    type->message_init(message);
    for (unsigned i = 0; i < type->n_fields && depth < DEPTH_MAX; i++)
        set_field(message, &type->fields[i], depth);
    return message;
}

static int write_seed(const char *directory, const char *name, const struct em_buf *frame)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "wb");
    size_t n = file ? fwrite(em_buf_head(frame), 1, em_buf_size(frame), file) : 0;
    if (file && fclose(file) == 0 && n == em_buf_size(frame))
        return 0;
    perror(path);
    return -1;
}

int main(int argc, char **argv)
{
    const ProtobufCMessageDescriptor *type = &eidmap__envelope__descriptor;
    int r = argc == 2 ? 0 : -1;
    for (unsigned i = 0; i < type->n_fields && !r; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        struct em_buf frame;
        if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
            continue;
        em_arena_init(&arena, 0);
        em_buf_init(&frame);
        Eidmap__Envelope *envelope = fresh(sizeof(*envelope));
        eidmap__envelope__init(envelope);
        envelope->id = 7;
        set_field(&envelope->base, field, 0);
        r = em_msg_append(&frame, envelope);
        r = r ? r : write_seed(argv[1], field->name, &frame);
        em_buf_fini(&frame);
        em_arena_fini(&arena);
    }
    return r ? 1 : 0;
}
