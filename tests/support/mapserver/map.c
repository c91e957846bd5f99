#include "mapserver/map.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wire/convert.h"

static void *take(struct map *map, size_t size)
{
    void *p = em_arena_alloc(&map->arena, size);
    cr_assert_not_null(p);
    memset(p, 0, size);
    return p;
}

static void open_all(struct map *map, uint64_t map_size)
{
    struct ms_store_config config = {.dir = map->dir,
                                     .generation = map->generation,
                                     .map_size = map_size,
                                     .disk_reserve = map->disk_reserve ? map->disk_reserve : 4096};
    char *why = NULL;
    int r = ms_store_open(&config, &map->store, &why);
    cr_assert_eq(r, 0, "%s", why ? why : "");
    map->apply = ms_apply_new(map->store);
    cr_assert_eq(ms_reader_new(map->store, &map->reader), 0);
}

static void close_all(struct map *map)
{
    ms_reader_free(map->reader);
    ms_apply_free(map->apply);
    ms_store_close(map->store);
}

void map_open_reserved(struct map *map, uint64_t map_size, uint64_t disk_reserve)
{
    const char *tmp = getenv("TMPDIR");
    if (!tmp && access("/dev/shm", W_OK) == 0)
        tmp = "/dev/shm"; /* a thousand commits are a thousand fsyncs */
    memset(map, 0, sizeof(*map));
    map->disk_reserve = disk_reserve;
    snprintf(map->dir, sizeof(map->dir), "%s/eidmap-XXXXXX", tmp ? tmp : "/tmp");
    cr_assert_not_null(mkdtemp(map->dir));
    em_arena_init(&map->arena, 1u << 30);
    open_all(map, map_size ? map_size : 64u << 20);
}

void map_open(struct map *map, uint64_t map_size)
{
    map_open_reserved(map, map_size, 0);
}

void map_attach(struct map *map, const char *dir)
{
    memset(map, 0, sizeof(*map));
    snprintf(map->dir, sizeof(map->dir), "%s", dir);
    em_arena_init(&map->arena, 1u << 30);
    open_all(map, 64u << 20);
}

void map_close(struct map *map)
{
    close_all(map);
    em_arena_fini(&map->arena);
    char *command = em_asprintf("rm -rf %s", map->dir);
    cr_assert_eq(system(command), 0);
    free(command);
}

void map_reopen(struct map *map)
{
    close_all(map);
    open_all(map, 64u << 20);
}

void map_lend(struct map *map)
{
    close_all(map);
}

void map_take_back(struct map *map)
{
    open_all(map, 64u << 20);
}

const struct ms_result *map_run(struct map *map, Eidmap__Command *command)
{
    size_t size = eidmap__command__get_packed_size(command);
    uint8_t *bytes = em_malloc(size);
    struct ms_blob blob = {bytes, size};
    const char *why = "";
    int r;
    eidmap__command__pack(command, bytes);
    if (ms_apply_is_growing(command) && (r = ms_store_check_room(map->store, &why))) {
        free(bytes); /* as the core does, before it proposes */
        map->refused = (struct ms_result){.err = r, .message = why, .field = ""};
        return &map->refused;
    }
    const struct ms_point at = {ms_apply_point(map->apply).index + 1, 1};
    r = ms_apply_batch(map->apply, &blob, 1, at, &map->batch, &why);
    free(bytes);
    cr_assert_eq(r, 0, "%s", why);
    return &map->batch.results[0];
}

Eidmap__Command map_command(struct map *map, const char *node)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    Eidmap__Origin *origin = take(map, sizeof(*origin));
    eidmap__origin__init(origin);
    origin->role = node[0] ? EIDMAP__ROLE__ROLE_NODE : EIDMAP__ROLE__ROLE_OPERATOR;
    origin->name = (char *)(node[0] ? node : "root");
    command.schema = MS_SCHEMA;
    command.time_ms = 1000;
    command.max_node_ports = map->max_node_ports;
    command.origin = origin;
    return command;
}

void map_sign(struct map *map, Eidmap__Command *command, uint8_t instance, uint64_t seq)
{
    Eidmap__Origin *origin = command->origin;
    origin->seq = seq;
    origin->instance = (ProtobufCBinaryData){16, take(map, 16)};
    origin->instance.data[0] = instance;
}

static Eidmap__Eid *eid_msg(struct map *map, const char *text)
{
    struct em_eid *eid = take(map, sizeof(*eid));
    *eid = map_eid(text);
    if (eid->name)
        eid->name = memcpy(take(map, eid->size), eid->name, eid->size);
    return em_eid_to_msg(&map->arena, eid);
}

uint32_t map_network(struct map *map, const char *name, const char *subnet, const char *subnet2)
{
    Eidmap__Command command = map_command(map, "");
    Eidmap__PutNetwork body = EIDMAP__PUT_NETWORK__INIT;
    Eidmap__Network network = EIDMAP__NETWORK__INIT;
    Eidmap__Eid *subnets[2];
    network.name = (char *)name;
    network.subnets = subnets;
    if (subnet)
        subnets[network.n_subnets++] = eid_msg(map, subnet);
    if (subnet2)
        subnets[network.n_subnets++] = eid_msg(map, subnet2);
    body.network = &network;
    command.body_case = EIDMAP__COMMAND__BODY_PUT_NETWORK;
    command.put_network = &body;
    const struct ms_result *result = map_run(map, &command);
    cr_assert_eq(result->err, 0, "%s", result->message);
    return result->network->id;
}

static const struct ms_result *run_node_up(struct map *map, Eidmap__Command *command,
                                           const char *rloc)
{
    Eidmap__NodeUp body = EIDMAP__NODE_UP__INIT;
    Eidmap__Rloc msg = EIDMAP__RLOC__INIT, *list[] = {&msg};
    struct em_ip ip;
    cr_assert_eq(em_ip_parse(rloc, &ip, NULL), 0);
    msg.address = (ProtobufCBinaryData){ip.size, ip.addr};
    msg.encap = EIDMAP__ENCAP__ENCAP_VXLAN;
    body.rlocs = list;
    body.n_rlocs = 1;
    body.version = (char *)"xtr 0.1.0";
    command->body_case = EIDMAP__COMMAND__BODY_NODE_UP;
    command->node_up = &body;
    return map_run(map, command);
}

const struct ms_result *map_node_up(struct map *map, const char *node, const char *rloc)
{
    Eidmap__Command command = map_command(map, node);
    return run_node_up(map, &command, rloc);
}

const struct ms_result *map_agent_up(struct map *map, const char *node, const char *rloc,
                                     uint8_t instance, uint64_t boot_epoch)
{
    Eidmap__Command command = map_command(map, node);
    map_sign(map, &command, instance, 0);
    command.origin->boot_epoch = boot_epoch;
    return run_node_up(map, &command, rloc);
}

const struct ms_result *map_node_down(struct map *map, const char *node, uint64_t time_ms)
{
    Eidmap__Command command = map_command(map, "");
    Eidmap__NodeDown body = EIDMAP__NODE_DOWN__INIT;
    body.node_id = (char *)node;
    command.time_ms = time_ms;
    command.origin->role = EIDMAP__ROLE__ROLE_SERVER;
    command.body_case = EIDMAP__COMMAND__BODY_NODE_DOWN;
    command.node_down = &body;
    return map_run(map, &command);
}

static size_t count(const char *const *list, size_t max)
{
    size_t n = 0;
    while (n < max && list[n])
        n++;
    return n;
}

static void add_location(struct map *map, Eidmap__Port *port, const struct reg *reg,
                         const char *node)
{
    Eidmap__Location *location = take(map, sizeof(*location));
    eidmap__location__init(location);
    location->node_id = (char *)node;
    location->priority = reg->priority;
    location->weight = reg->weight;
    location->segmentation_id = reg->segment;
    if (reg->pending)
        location->state = EIDMAP__LOCATION_STATE__LOCATION_PENDING;
    port->locations[port->n_locations++] = location;
}

Eidmap__Claim *map_claim(struct map *map, const struct reg *reg)
{
    Eidmap__Claim *claim = take(map, sizeof(*claim));
    Eidmap__Port *port = take(map, sizeof(*port));
    eidmap__claim__init(claim);
    eidmap__port__init(port);
    port->id = (ProtobufCBinaryData){strlen(reg->port), (uint8_t *)reg->port};
    port->network_id = reg->network;
    port->n_eids = count(reg->eids, 8);
    port->eids = take(map, 8 * sizeof(*port->eids));
    for (size_t i = 0; i < port->n_eids; i++)
        port->eids[i] = eid_msg(map, reg->eids[i]);
    port->locations = take(map, 4 * sizeof(*port->locations));
    for (size_t i = 0; i < count(reg->at, 4); i++)
        add_location(map, port, reg, reg->at[i]);
    if (reg->by && port->n_locations == 0)
        add_location(map, port, reg, "");
    port->n_allowed_nodes = count(reg->allowed, 2);
    port->allowed_nodes = take(map, 2 * sizeof(char *));
    for (size_t i = 0; i < port->n_allowed_nodes; i++)
        port->allowed_nodes[i] = (char *)reg->allowed[i];
    port->multihomed = reg->multihomed;
    port->shared = reg->shared;
    port->declared = reg->declared;
    if (reg->parent)
        port->parent = (ProtobufCBinaryData){strlen(reg->parent), (uint8_t *)reg->parent};
    port->tag = reg->tag;
    claim->port = port;
    claim->attach = reg->attach;
    claim->epoch = reg->epoch;
    claim->migration = reg->migration;
    claim->pending_ms = reg->pending_ms;
    return claim;
}

const struct ms_result *map_register(struct map *map, const struct reg *regs, size_t n)
{
    Eidmap__Command command = map_command(map, regs[0].by ? regs[0].by : "");
    Eidmap__Register body = EIDMAP__REGISTER__INIT;
    body.claims = take(map, n * sizeof(*body.claims));
    body.n_claims = n;
    for (size_t i = 0; i < n; i++)
        body.claims[i] = map_claim(map, &regs[i]);
    map_sign(map, &command, regs[0].instance, regs[0].seq);
    command.body_case = EIDMAP__COMMAND__BODY_REGISTER;
    command.register_ = &body;
    return map_run(map, &command);
}

const struct ms_result *map_withdraw(struct map *map, const char *by, const char *node,
                                     const char *port, uint64_t epoch)
{
    Eidmap__Command command = map_command(map, by ? by : "");
    Eidmap__Withdraw body = EIDMAP__WITHDRAW__INIT;
    Eidmap__PortRef ref = EIDMAP__PORT_REF__INIT, *refs[] = {&ref};
    ref.id = (ProtobufCBinaryData){strlen(port), (uint8_t *)port};
    ref.epoch = epoch;
    body.ports = refs;
    body.n_ports = 1;
    body.node_id = (char *)node;
    command.body_case = EIDMAP__COMMAND__BODY_WITHDRAW;
    command.withdraw = &body;
    return map_run(map, &command);
}

static void *read_record(struct map *map, const ProtobufCMessageDescriptor *type, int r,
                         struct ms_blob blob)
{
    void *message = NULL;
    if (!r)
        message = em_msg_unpack_as(&map->arena, type, blob.data, blob.size);
    ms_reader_end(map->reader);
    cr_assert(r == 0 || r == EM_E_NOT_FOUND);
    return message;
}

Eidmap__Port *map_port(struct map *map, const char *port)
{
    struct ms_blob blob;
    cr_assert_eq(ms_reader_begin(map->reader), 0);
    int r = ms_reader_port(map->reader, port, strlen(port), &blob);
    return read_record(map, &eidmap__port__descriptor, r, blob);
}

Eidmap__Node *map_node(struct map *map, const char *node)
{
    struct ms_blob blob;
    cr_assert_eq(ms_reader_begin(map->reader), 0);
    int r = ms_reader_node(map->reader, node, &blob);
    return read_record(map, &eidmap__node__descriptor, r, blob);
}

Eidmap__Network *map_get_network(struct map *map, uint32_t id)
{
    struct ms_blob blob;
    cr_assert_eq(ms_reader_begin(map->reader), 0);
    int r = ms_reader_network(map->reader, id, &blob);
    return read_record(map, &eidmap__network__descriptor, r, blob);
}

const char *map_where(struct map *map, const char *name)
{
    static char text[512];
    const Eidmap__Port *port = map_port(map, name);
    size_t n = 0;
    text[0] = '\0';
    if (!port)
        return "-";
    for (size_t i = 0; i < port->n_locations && n < sizeof(text); i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s:%llu", i ? " " : "",
                              port->locations[i]->node_id,
                              (unsigned long long)port->locations[i]->epoch);
    return text;
}

uint64_t map_revision(struct map *map)
{
    cr_assert_eq(ms_reader_begin(map->reader), 0);
    uint64_t revision = ms_reader_revision(map->reader);
    ms_reader_end(map->reader);
    return revision;
}

struct em_eid map_eid(const char *text)
{
    static char names[64][EM_EID_TEXT];
    static size_t next;
    struct em_eid eid;
    char why[EM_ADDR_WHY];
    int r = em_eid_parse(text, &eid, names[next++ % 64], why);
    cr_assert_eq(r, 0, "%s", why);
    return eid;
}
