#include "claims.h"

#include "base/mem.h"
#include "load.h"
#include "server/caller.h"
#include "server/numbered.h"
#include "server/real_server.h"
#include "wire/convert.h"
#include "wire/scan.h"

const char *const claims_nodes[CLAIMS_NODES] = {"n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"};

static size_t pack(uint32_t network_id, uint32_t number, const char *node, uint8_t *ret_bytes)
{
    struct numbered_port port;
    struct em_arena arena;
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Register reg = EIDMAP__REGISTER__INIT;
    Eidmap__Claim claim = EIDMAP__CLAIM__INIT, *list[] = {&claim};
    em_arena_init(&arena, 0);
    numbered_port_init(&port, network_id, number, node);
    claim.port = em_port_to_msg(&arena, &port.port);
    claim.attach = true;
    reg.claims = list;
    reg.n_claims = 1;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_REGISTER;
    envelope.register_ = &reg;
    if (eidmap__envelope__get_packed_size(&envelope) > CLAIMS_SIZE)
        real_fail("a claim of one port is larger than it was");
    size_t size = eidmap__envelope__pack(&envelope, ret_bytes);
    em_arena_fini(&arena);
    return size;
}

/* The numbers of ports 0 and 255 differ in one byte: that shows where they are. */
static void form_init(struct claims_form *form, uint32_t network_id, const char *node)
{
    uint8_t other[CLAIMS_SIZE];
    size_t n = 0;
    form->size = pack(network_id, 0, node, form->bytes);
    if (pack(network_id, 255, node, other) != form->size)
        real_fail("claims have different sizes");
    for (size_t i = 0; i < form->size; i++)
        if (form->bytes[i] != other[i] && n < CLAIMS_NUMBERS)
            form->number_at[n++] = i;
    if (n != CLAIMS_NUMBERS)
        real_fail("a claim has %zu numbers", n);
}

void claims_init(struct claims *claims, const char *url)
{
    struct caller caller;
    *claims = (struct claims){.next = 0};
    caller_open(&caller, url, NULL);
    if (caller_put_network(&caller, "bench"))
        real_fail("network: %s", caller.message);
    claims->network_id = caller.network_id;
    caller_close(&caller);
    for (unsigned i = 0; i < CLAIMS_NODES; i++)
        form_init(&claims->forms[i], claims->network_id, claims_nodes[i]);
}

void claims_put(void *aux, unsigned conn, uint64_t id, struct em_buf *out)
{
    struct claims *claims = aux;
    struct claims_form *form = &claims->forms[conn];
    uint32_t number = ++claims->next;
    if (number >> 24)
        real_fail("there are no more than 16 million ports");
    for (unsigned i = 0; i < CLAIMS_NUMBERS; i++)
        for (unsigned byte = 0; byte < 3; byte++)
            form->bytes[form->number_at[i] - byte] = (uint8_t)(number >> 8 * byte);
    load_put_packed(out, id, form->bytes, form->size);
}

size_t claims_size(void)
{
    uint8_t bytes[CLAIMS_SIZE];
    uint64_t id;
    struct em_field reg = {.size = 0};
    size_t size = pack(1, 1, claims_nodes[0], bytes);
    em_msg_find(bytes, size, EIDMAP__ENVELOPE__BODY_REGISTER, &id, &reg);
    return reg.size;
}

void claims_check(const struct claims *claims, const char *url)
{
    struct caller caller;
    caller_open(&caller, url, NULL);
    if (caller_resolve(&caller, claims->network_id, 1) || caller.n_positive != 1)
        real_fail("the first port is not in the map: %s", caller.message);
    caller_close(&caller);
}
