#include "claims.h"

#include "server/caller.h"
#include "server/numbered.h"
#include "server/real_server.h"
#include "wire/convert.h"

const char *const claims_nodes[CLAIMS_NODES] = {"n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"};

struct request {
    struct numbered_port port;
    Eidmap__Register reg;
    Eidmap__Claim claim, *list[1];
};

/* It points into itself, and into the arena. */
static void request_init(struct request *request, struct claims *claims, uint32_t number,
                         const char *node)
{
    numbered_port_init(&request->port, claims->network_id, number, node);
    em_arena_reset(&claims->arena);
    eidmap__register__init(&request->reg);
    eidmap__claim__init(&request->claim);
    request->claim.port = em_port_to_msg(&claims->arena, &request->port.port);
    request->claim.attach = true;
    request->list[0] = &request->claim;
    request->reg.claims = request->list;
    request->reg.n_claims = 1;
}

void claims_init(struct claims *claims, const char *url)
{
    struct caller caller;
    *claims = (struct claims){.next = 0};
    em_arena_init(&claims->arena, 0);
    caller_open(&caller, url, NULL);
    if (caller_put_network(&caller, "bench"))
        real_fail("network: %s", caller.message);
    claims->network_id = caller.network_id;
    caller_close(&caller);
}

void claims_fini(struct claims *claims)
{
    em_arena_fini(&claims->arena);
}

void claims_put(void *aux, unsigned conn, uint64_t id, struct em_buf *out)
{
    struct claims *claims = aux;
    struct request request;
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    request_init(&request, claims, ++claims->next, claims_nodes[conn]);
    envelope.id = id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_REGISTER;
    envelope.register_ = &request.reg;
    if (em_msg_append(out, &envelope))
        real_fail("a claim of one port does not fit into a frame");
}

size_t claims_size(void)
{
    struct claims claims = {.network_id = 1};
    struct request request;
    em_arena_init(&claims.arena, 0);
    request_init(&request, &claims, 1, claims_nodes[0]);
    size_t size = eidmap__register__get_packed_size(&request.reg);
    em_arena_fini(&claims.arena);
    return size;
}

void claims_check(const struct claims *claims, const char *url)
{
    struct caller caller;
    caller_open(&caller, url, NULL);
    if (caller_resolve(&caller, claims->network_id, 1) || caller.n_positive != 1)
        real_fail("the first port is not in the map: %s", caller.message);
    caller_close(&caller);
}
