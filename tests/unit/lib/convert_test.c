/* Records survive the way to a message and back; what they cannot hold is refused. */
#include "base/buf.h"
#include "base/mem.h"
#include "wire/convert.h"
#include "wire/unpack.h"

#include <criterion/criterion.h>
#include <string.h>

static struct em_arena arena;
static struct em_buf buf;

static void setup(void)
{
    em_arena_init(&arena, 0);
    em_buf_init(&buf);
}

static void teardown(void)
{
    em_arena_fini(&arena);
    em_buf_fini(&buf);
}

TestSuite(convert, .init = setup, .fini = teardown);

static const struct em_eid eids[] = {
    {.kind = EM_EID_MAC, .size = 6, .addr = {2, 0, 0, 0, 0, 1}},
    {.kind = EM_EID_IPV4, .size = 4, .addr = {10, 0, 0, 1}},
    {.kind = EM_EID_IPV6, .size = 16, .addr = {0x20, 1, 0xd, 0xb8, [15] = 1}},
    {.kind = EM_EID_IPV4_PREFIX, .size = 4, .prefix_len = 0},
    {.kind = EM_EID_IPV6_PREFIX, .size = 16, .prefix_len = 32, .addr = {0x20, 1, 0xd, 0xb8}},
    {.kind = EM_EID_NAME, .size = 3, .name = "web"},
    {.kind = EM_EID_SERVICE, .size = 4, .protocol = 6, .l4_port = 443, .addr = {10, 0, 0, 1}},
    {.kind = EM_EID_PORT_ID, .size = 4, .name = "port"},
};
#define N_EIDS (sizeof(eids) / sizeof(eids[0]))

static bool is_same_eid(const struct em_eid *a, const struct em_eid *b)
{
    bool is_named = a->kind == EM_EID_NAME || a->kind == EM_EID_PORT_ID;
    return a->kind == b->kind && a->size == b->size && a->prefix_len == b->prefix_len &&
           a->protocol == b->protocol && a->l4_port == b->l4_port &&
           memcmp(is_named ? (const void *)a->name : a->addr,
                  is_named ? (const void *)b->name : b->addr, a->size) == 0;
}

Test(convert, every_kind_of_eid_survives)
{
    for (size_t i = 0; i < N_EIDS; i++) {
        struct em_eid back;
        cr_assert_eq(em_eid_from_msg(em_eid_to_msg(&arena, &eids[i]), &back), 0, "eid %zu", i);
        cr_assert(is_same_eid(&eids[i], &back), "eid %zu", i);
    }
}

Test(convert, eids_of_a_wrong_length_or_range_are_refused)
{
    uint8_t bytes[300] = {0};
    static const struct {
        int kind;
        size_t size;
        uint32_t prefix_len, protocol, l4_port;
    } bad[] = {
        {EM_EID_NONE, 4, 0, 0, 0},         {EM_EID_MAC, 5, 0, 0, 0},
        {EM_EID_MAC, 0, 0, 0, 0},          {EM_EID_IPV4, 16, 0, 0, 0},
        {EM_EID_IPV6, 4, 0, 0, 0},         {EM_EID_IPV4_PREFIX, 4, 32, 0, 0},
        {EM_EID_IPV4_PREFIX, 4, 40, 0, 0}, {EM_EID_IPV6_PREFIX, 16, 128, 0, 0},
        {EM_EID_NAME, 0, 0, 0, 0},         {EM_EID_NAME, 254, 0, 0, 0},
        {EM_EID_SERVICE, 4, 0, 0, 80},     {EM_EID_SERVICE, 4, 0, 256, 80},
        {EM_EID_SERVICE, 4, 0, 6, 0},      {EM_EID_SERVICE, 4, 0, 6, 65536},
        {EM_EID_SERVICE, 5, 0, 6, 80},     {EM_EID_PORT_ID, 0, 0, 0, 0},
        {EM_EID_PORT_ID, 64, 0, 0, 0},     {9, 4, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        Eidmap__Eid msg = EIDMAP__EID__INIT;
        struct em_eid eid;
        msg.kind = (Eidmap__EidKind)bad[i].kind;
        msg.address = (ProtobufCBinaryData){bad[i].size, bytes};
        msg.prefix_len = bad[i].prefix_len;
        msg.protocol = bad[i].protocol;
        msg.l4_port = bad[i].l4_port;
        cr_assert_neq(em_eid_from_msg(&msg, &eid), 0, "case %zu", i);
    }
}

/* Through bytes, so that what a peer sees is tested too. */
static Eidmap__Port *over_the_wire(const struct em_port *port)
{
    em_msg_pack(&buf, &em_port_to_msg(&arena, port)->base);
    return em_msg_unpack_as(&arena, &eidmap__port__descriptor, em_buf_head(&buf),
                            em_buf_size(&buf));
}

Test(convert, a_port_survives_with_every_field)
{
    static const struct em_location locations[] = {
        {.node_id = "hv1", .segmentation_id = 7001, .priority = 1, .weight = 255, .epoch = 9},
        {.node_id = "hv2", .priority = 255, .is_pending = true, .view_node = "hv3"},
        {.node_id = "hv3", .view_label = {"rack", "r1"}},
    };
    static const char *const allowed[] = {"hv1", "hv2"};
    const struct em_port port = {
        .id = {.size = 4, .bytes = "web1"},
        .network_id = 5,
        .eids = eids,
        .n_eids = N_EIDS - 1,
        .locations = locations,
        .n_locations = 3,
        .revision = 1ull << 50,
        .is_declared = true,
        .is_multihomed = true,
        .is_shared = true,
        .allowed_nodes = allowed,
        .n_allowed_nodes = 2,
    };
    const struct em_port *back = em_port_from_msg(&arena, over_the_wire(&port));
    cr_assert_not_null(back);
    cr_assert_eq(back->id.size, 4);
    cr_assert_arr_eq(back->id.bytes, "web1", 4);
    cr_assert_eq(back->network_id, 5);
    cr_assert_eq(back->n_eids, N_EIDS - 1);
    for (size_t i = 0; i < back->n_eids; i++)
        cr_assert(is_same_eid(&back->eids[i], &eids[i]));
    cr_assert_eq(back->n_locations, 3);
    cr_assert_str_eq(back->locations[0].node_id, "hv1");
    cr_assert_eq(back->locations[0].segmentation_id, 7001);
    cr_assert_eq(back->locations[0].priority, 1);
    cr_assert_eq(back->locations[0].weight, 255);
    cr_assert_eq(back->locations[0].epoch, 9);
    cr_assert_null(back->locations[0].view_node);
    cr_assert_null(back->locations[0].view_label.key);
    cr_assert(back->locations[1].is_pending);
    cr_assert_str_eq(back->locations[1].view_node, "hv3");
    cr_assert_str_eq(back->locations[2].view_label.key, "rack");
    cr_assert_str_eq(back->locations[2].view_label.value, "r1");
    cr_assert_eq(back->revision, 1ull << 50);
    cr_assert(back->is_declared && back->is_multihomed && back->is_shared);
    cr_assert_eq(back->n_allowed_nodes, 2);
    cr_assert_str_eq(back->allowed_nodes[1], "hv2");
}

Test(convert, children_and_parents_survive)
{
    static const struct em_child children[] = {{{.size = 2, .bytes = "c1"}, 1, 9},
                                               {{.size = 2, .bytes = "c2"}, EM_TAG_MAX, 5}};
    const struct em_port port = {.id = {.size = 2, .bytes = "vm"},
                                 .parent = {.size = 1, .bytes = "q"},
                                 .tag = 77,
                                 .children = children,
                                 .n_children = 2};
    Eidmap__Port *msg = over_the_wire(&port);
    const struct em_port *back = em_port_from_msg(&arena, msg);
    cr_assert_not_null(back);
    cr_assert_eq(back->parent.size, 1);
    cr_assert_eq(back->parent.bytes[0], 'q');
    cr_assert_eq(back->tag, 77);
    cr_assert_eq(back->n_children, 2);
    cr_assert_arr_eq(back->children[1].id.bytes, "c2", 2);
    cr_assert_eq(back->children[1].tag, EM_TAG_MAX);
    cr_assert_eq(back->children[0].network_id, 9);
    msg->children[1]->tag = EM_TAG_MAX + 1;
    cr_assert_null(em_port_from_msg(&arena, msg));
    msg->children[1]->tag = 1;
    msg->children[0]->id.len = 0;
    cr_assert_null(em_port_from_msg(&arena, msg));
    msg->n_children = 0;
    msg->tag = 4096;
    cr_assert_null(em_port_from_msg(&arena, msg));
}

/* 'n' of each kind of part; their EIDs and locations come half by half, in turns, as nobody packs
 * them and anybody may. */
static void pack_in_turns(const struct em_port *port, struct em_buf *out)
{
    struct em_port half = *port, rest = {.id = port->id};
    half.n_eids = port->n_eids / 2;
    half.n_locations = port->n_locations / 2;
    rest.eids = port->eids + half.n_eids;
    rest.n_eids = port->n_eids - half.n_eids;
    rest.locations = port->locations + half.n_locations;
    rest.n_locations = port->n_locations - half.n_locations;
    em_msg_pack(out, &em_port_to_msg(&arena, &half)->base);
    em_msg_pack(out, &em_port_to_msg(&arena, &rest)->base);
}

Test(convert, a_port_is_unpacked_whole_however_many_parts_it_has)
{
    struct em_eid many[9];
    struct em_location locations[9] = {{0}};
    struct em_child children[9] = {{.id = {0}}};
    const char *nodes[9];
    for (size_t i = 0; i < 9; i++) {
        many[i] = (struct em_eid){.kind = EM_EID_IPV4, .size = 4, .addr = {10, 0, 0, (uint8_t)i}};
        locations[i] = (struct em_location){.node_id = "hv", .epoch = i};
        children[i] = (struct em_child){{.size = 1, .bytes = {(uint8_t)('a' + i)}}, 1, 9};
        nodes[i] = i % 2 ? "odd" : "even";
    }
    for (size_t n = 0; n <= 9; n++) {
        const struct em_port port = {
            {.size = 4, .bytes = "web1"}, .eids = many,         .n_eids = n,
            .locations = locations,       .n_locations = n,     .allowed_nodes = nodes,
            .n_allowed_nodes = n,         .children = children, .n_children = n};
        struct em_buf straight = {0}, again = {0};
        pack_in_turns(&port, &buf);
        const struct em_port *back = em_port_unpack(&arena, em_buf_head(&buf), em_buf_size(&buf));
        cr_assert_not_null(back, "%zu of each", n);
        em_msg_pack(&straight, &em_port_to_msg(&arena, &port)->base);
        em_msg_pack(&again, &em_port_to_msg(&arena, back)->base);
        cr_assert_eq(em_buf_size(&again), em_buf_size(&straight), "%zu of each", n);
        cr_assert_arr_eq(em_buf_head(&again), em_buf_head(&straight), em_buf_size(&straight));
        em_buf_take(&buf, em_buf_size(&buf));
        em_buf_fini(&straight);
        em_buf_fini(&again);
    }
}

Test(convert, a_port_with_values_out_of_range_is_refused)
{
    static struct em_location location = {.node_id = "hv1"};
    const struct em_port port = {
        .id = {.size = 1, .bytes = "p"}, .locations = &location, .n_locations = 1};
    Eidmap__Port *msg = em_port_to_msg(&arena, &port);
    cr_assert_not_null(em_port_from_msg(&arena, msg));
    msg->locations[0]->priority = 256;
    cr_assert_null(em_port_from_msg(&arena, msg));
    msg->locations[0]->priority = 0;
    msg->locations[0]->weight = 256;
    cr_assert_null(em_port_from_msg(&arena, msg));
    msg->locations[0]->weight = 0;
    msg->locations[0]->segmentation_id = EM_SEGMENT_MAX + 1;
    cr_assert_null(em_port_from_msg(&arena, msg));
    msg->locations[0]->segmentation_id = 0;
    msg->id.len = 64;
    cr_assert_null(em_port_from_msg(&arena, msg));
    msg->id.len = 0;
    cr_assert_null(em_port_from_msg(&arena, msg));
}

Test(convert, a_node_survives_with_every_field)
{
    static const struct em_rloc rlocs[] = {
        {.ip = {4, {192, 0, 2, 1}}, .encap = EM_ENCAP_VXLAN, .udp_port = 4790},
        {.ip = {16, {0x20, 1, 0xd, 0xb8, [15] = 9}}, .encap = EM_ENCAP_GENEVE},
    };
    static const struct em_label labels[] = {{"rack", "r1"}, {"zone", ""}};
    const struct em_node node = {.id = "hv1",
                                 .rlocs = rlocs,
                                 .n_rlocs = 2,
                                 .labels = labels,
                                 .n_labels = 2,
                                 .state = EM_NODE_UNREACHABLE,
                                 .state_since_ms = 1234567890123,
                                 .revision = 8,
                                 .is_declared = true,
                                 .is_disabled = true,
                                 .version = "xtr 1"};
    const struct em_node *back = em_node_from_msg(&arena, em_node_to_msg(&arena, &node));
    cr_assert_not_null(back);
    cr_assert_str_eq(back->id, "hv1");
    cr_assert_eq(back->n_rlocs, 2);
    cr_assert_eq(back->rlocs[0].udp_port, 4790);
    cr_assert_arr_eq(back->rlocs[0].ip.addr, rlocs[0].ip.addr, 4);
    cr_assert_eq(back->rlocs[1].encap, EM_ENCAP_GENEVE);
    cr_assert_str_eq(back->labels[0].value, "r1");
    cr_assert_eq(back->state, EM_NODE_UNREACHABLE);
    cr_assert_eq(back->state_since_ms, 1234567890123);
    cr_assert(back->is_declared && back->is_disabled);
    cr_assert_str_eq(back->version, "xtr 1");
}

Test(convert, a_network_survives_and_its_defaults_are_filled_in)
{
    const struct em_network network = {.id = 3,
                                       .name = "blue",
                                       .segmentation_id = 4099,
                                       .mtu = 1450,
                                       .subnets = &eids[3],
                                       .n_subnets = 2,
                                       .dns_domain = "blue.example",
                                       .probe_ms = 300,
                                       .revision = 2};
    const struct em_network *back =
        em_network_from_msg(&arena, em_network_to_msg(&arena, &network));
    cr_assert_not_null(back);
    cr_assert_str_eq(back->name, "blue");
    cr_assert_eq(back->segmentation_id, 4099);
    cr_assert_eq(back->mtu, 1450);
    cr_assert_eq(back->n_subnets, 2);
    cr_assert_str_eq(back->dns_domain, "blue.example");
    cr_assert_eq(back->type, EM_NETWORK_OVERLAY);
    cr_assert_eq(back->flood, EM_FLOOD_BROADCAST);
    cr_assert_eq(back->fill, EM_FILL_SUBSCRIBE);
    cr_assert_eq(back->probe_ms, 300);
}

Test(convert, enums_of_a_newer_peer_are_refused)
{
    const struct em_network network = {.id = 3, .name = "blue"};
    Eidmap__Network *msg = em_network_to_msg(&arena, &network);
    msg->flood = (Eidmap__Flood)9;
    cr_assert_null(em_network_from_msg(&arena, msg));
    Eidmap__Rloc rloc = EIDMAP__RLOC__INIT;
    struct em_rloc back;
    rloc.address = (ProtobufCBinaryData){4, (uint8_t[]){192, 0, 2, 1}};
    cr_assert_eq(em_rloc_from_msg(&rloc, &back), 0);
    cr_assert_eq(back.encap, EM_ENCAP_VXLAN);
    rloc.encap = (Eidmap__Encap)7;
    cr_assert_neq(em_rloc_from_msg(&rloc, &back), 0);
    rloc.encap = EIDMAP__ENCAP__ENCAP_GRE;
    rloc.address.len = 5;
    cr_assert_neq(em_rloc_from_msg(&rloc, &back), 0);
}
