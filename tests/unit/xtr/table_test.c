/* The table against a list that does the same without an index: the same random changes to
 * both, and after each of them the same answers. */
#include "table.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_IDS     400 /* port-ids that come and go */
#define N_ADDRS   300 /* of each kind: few enough to be held by several */
#define MAX_EIDS  6
#define N_SEEDS   20
#define N_CHANGES 6000

struct model_port {
    struct em_port_id id;
    bool is_there;
    uint32_t slot, set;
    bool is_local, is_fresh;
    struct em_eid eids[MAX_EIDS];
    size_t n_eids;
};

static struct xtr_table table;
static struct model_port model[N_IDS];
static uint32_t n_there;
static uint64_t state;

static uint32_t draw(uint32_t below)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * 0x2545f4914f6cdd1dull) >> 32) % below;
}

/* Two of three are UUIDs, the others texts of all lengths. */
static struct em_port_id make_id(uint32_t i)
{
    struct em_port_id id = {0};
    if (i % 3) {
        id.size = 17;
        for (int k = 1; k < 17; k++)
            id.bytes[k] = (uint8_t)(i * (unsigned)k * 31 + i);
        memcpy(id.bytes + 1, &i, sizeof i);
    } else {
        id.size = (uint8_t)(4 + i % 60);
        memset(id.bytes, 'x', id.size);
        char digits[12];
        snprintf(digits, sizeof digits, "%04u", i);
        memcpy(id.bytes, digits, 4);
    }
    return id;
}

static struct em_eid make_eid(void)
{
    static const char *const names[] = {"a.example.org", "b", "a-rather-long.name.example.net"};
    static const struct {
        enum em_eid_kind kind;
        uint8_t size;
    } kinds[] = {{EM_EID_MAC, 6}, {EM_EID_IPV4, 4}, {EM_EID_IPV6, 16}};
    struct em_eid eid = {0};
    uint32_t what = draw(10), number = draw(N_ADDRS);
    if (what == 9) {
        eid.kind = EM_EID_NAME;
        eid.name = names[number % 3];
        eid.size = (uint8_t)strlen(eid.name);
        return eid;
    }
    eid.kind = kinds[what % 3].kind;
    eid.size = kinds[what % 3].size;
    memcpy(eid.addr, &number, sizeof number);
    return eid;
}

static void set_eids(struct model_port *port)
{
    port->n_eids = draw(4) ? draw(3) : draw(MAX_EIDS + 1);
    for (size_t i = 0; i < port->n_eids; i++)
        port->eids[i] = make_eid();
    xtr_table_set_eids(&table, port->slot, port->eids, port->n_eids);
}

static void add(struct model_port *port)
{
    port->slot = xtr_table_add(&table, &port->id);
    cr_assert(ne(u32, port->slot, XTR_SLOT_NONE));
    port->is_there = true;
    port->is_local = port->is_fresh = false;
    port->set = port->n_eids = 0;
    n_there++;
    set_eids(port);
}

static void mark(struct model_port *port)
{
    struct xtr_record *record = xtr_table_at(&table, port->slot);
    port->set = draw(XTR_SETS_MAX + 1);
    port->is_local = draw(8) == 0;
    port->is_fresh = draw(2);
    record->flags &= ~(uint32_t)(XTR_RECORD_IS_LOCAL | XTR_RECORD_FRESH);
    record->flags |= (uint32_t)((port->is_local ? XTR_RECORD_IS_LOCAL : 0) |
                                (port->is_fresh ? XTR_RECORD_FRESH : 0));
    record->set = port->set;
}

static void change(struct model_port *port)
{
    if (!port->is_there) {
        add(port);
    } else if (!draw(4)) {
        xtr_table_remove(&table, port->slot);
        port->is_there = false;
        n_there--;
    } else if (draw(2)) {
        set_eids(port);
    } else {
        mark(port);
    }
}

static bool same_eid(const struct em_eid *a, const struct em_eid *b)
{
    if (a->kind != b->kind || a->size != b->size)
        return false;
    return a->kind == EM_EID_NAME ? !memcmp(a->name, b->name, a->size)
                                  : !memcmp(a->addr, b->addr, a->size);
}

static void check_port(const struct model_port *port)
{
    struct em_eid eids[XTR_EIDS_MAX];
    uint32_t slot = xtr_table_find(&table, &port->id);
    cr_assert(eq(u32, slot, port->is_there ? port->slot : XTR_SLOT_NONE));
    if (!port->is_there)
        return;
    const struct xtr_record *record = xtr_table_at(&table, slot);
    struct em_port_id id = xtr_table_id(&table, slot);
    cr_assert(eq(u8, id.size, port->id.size));
    cr_assert(zero(int, memcmp(id.bytes, port->id.bytes, id.size)));
    cr_assert(eq(u32, (uint32_t)record->set, port->set));
    cr_assert(eq(int, !(record->flags & XTR_RECORD_IS_LOCAL), !port->is_local));
    cr_assert(eq(sz, xtr_table_eids(&table, slot, eids), port->n_eids));
    for (size_t i = 0; i < port->n_eids; i++)
        cr_assert(same_eid(&eids[i], &port->eids[i]));
}

static bool holds(const struct model_port *port, const struct em_eid *eid)
{
    for (size_t i = 0; port->is_there && i < port->n_eids; i++)
        if (same_eid(&port->eids[i], eid))
            return true;
    return false;
}

static bool is_better(const struct model_port *a, const struct model_port *b)
{
    if (a->is_fresh != b->is_fresh)
        return a->is_fresh;
    int order = memcmp(a->id.bytes, b->id.bytes, sizeof a->id.bytes);
    return order < 0 || (!order && a->id.size < b->id.size);
}

static void check_owner(const struct em_eid *eid)
{
    const struct model_port *best = NULL;
    for (size_t i = 0; i < N_IDS; i++)
        if (!model[i].is_local && holds(&model[i], eid) && (!best || is_better(&model[i], best)))
            best = &model[i];
    cr_assert(eq(u32, xtr_table_owner(&table, eid), best ? best->slot : XTR_SLOT_NONE));
}

/* Of each address of the port, by the short way. */
static void check_owners(const struct model_port *port)
{
    for (size_t k = 0; k < port->n_eids; k++) {
        const struct em_eid *eid = &port->eids[k];
        if (xtr_eid_is_entry(eid))
            cr_assert(
                eq(u32, xtr_table_owner_of(&table, port->slot, eid), xtr_table_owner(&table, eid)));
    }
}

static void check_contest(const struct model_port *port)
{
    bool is_contested = false;
    for (size_t i = 0; i < N_IDS; i++)
        for (size_t k = 0; k < port->n_eids; k++)
            is_contested |= &model[i] != port && xtr_eid_is_entry(&port->eids[k]) &&
                            holds(&model[i], &port->eids[k]);
    cr_assert(eq(int, xtr_table_is_contested(&table, port->slot), is_contested));
}

static void start(uint64_t seed)
{
    state = seed;
    n_there = 0;
    xtr_table_init(&table);
    memset(model, 0, sizeof model);
    for (uint32_t i = 0; i < N_IDS; i++)
        model[i].id = make_id(i);
}

/* All ports end; nothing may be left of them but free slots. */
static void finish(void)
{
    for (size_t i = 0; i < N_IDS; i++)
        if (model[i].is_there)
            xtr_table_remove(&table, model[i].slot);
    cr_assert(eq(u32, table.n_used, 0));
    cr_assert(eq(u32, table.index.used, 0));
    for (uint32_t i = 0; i < table.blocks.n_classes; i++)
        cr_assert(eq(u32, table.blocks.classes[i].len, 0));
    for (uint32_t i = 0; i < table.index.blocks.n_classes; i++)
        cr_assert(eq(u32, table.index.blocks.classes[i].len, 0));
    xtr_table_fini(&table);
}

Test(table, answers_as_a_plain_list_does, .timeout = 100)
{
    for (uint64_t seed = 1; seed <= N_SEEDS; seed++) {
        start(seed * 0x9e3779b97f4a7c15ull);
        for (int i = 0; i < N_CHANGES; i++) {
            struct model_port *port = &model[draw(N_IDS)];
            change(port);
            check_port(port);
            check_port(&model[draw(N_IDS)]);
            struct em_eid eid = make_eid();
            if (xtr_eid_is_entry(&eid))
                check_owner(&eid);
            if (port->is_there) {
                check_contest(port);
                check_owners(port);
            }
            cr_assert(eq(u32, table.n_used, n_there), "seed %d, change %d", (int)seed, i);
        }
        for (size_t i = 0; i < N_IDS; i++)
            check_port(&model[i]);
        finish();
    }
}

static size_t fill(uint32_t from, uint32_t n)
{
    for (uint32_t i = from; i < from + n; i++) {
        struct em_port_id id = {.size = 17};
        struct em_eid eids[2] = {{.kind = EM_EID_MAC, .size = 6}, {.kind = EM_EID_IPV4, .size = 4}};
        memcpy(id.bytes + 1, &i, sizeof i);
        memcpy(eids[0].addr, &i, sizeof i);
        memcpy(eids[1].addr, &i, sizeof i);
        xtr_table_set_eids(&table, xtr_table_add(&table, &id), eids, 2);
    }
    return xtr_table_memory(&table);
}

Test(table, a_typical_port_takes_44_bytes)
{
    xtr_table_init(&table);
    cr_assert(lt(sz, fill(0, 300000), 300000 * 45));
    xtr_table_fini(&table);
}

Test(table, what_ends_makes_room_for_what_begins)
{
    xtr_table_init(&table);
    size_t before = fill(0, 20000);
    for (uint32_t i = 0; i < 200000; i++) {
        struct em_port_id id = {.size = 17};
        memcpy(id.bytes + 1, &i, sizeof i);
        xtr_table_remove(&table, xtr_table_find(&table, &id));
        fill(20000 + i, 1);
    }
    cr_assert(eq(u32, table.n_used, 20000));
    cr_assert(lt(sz, xtr_table_memory(&table), before + before / 10));
    xtr_table_fini(&table);
}

Test(table, an_address_that_many_ports_hold_survives_splits_of_its_bucket)
{
    struct em_eid eid = {.kind = EM_EID_IPV4, .size = 4, .addr = {10, 0, 0, 1}};
    struct em_eid twice[2] = {eid, eid};
    xtr_table_init(&table);
    for (uint32_t i = 0; i < 2000; i++) {
        struct em_port_id id = {.size = 17};
        uint32_t big_endian = __builtin_bswap32(i);
        memcpy(id.bytes + 1, &big_endian, sizeof big_endian);
        uint32_t slot = xtr_table_add(&table, &id);
        xtr_table_set_eids(&table, slot, twice, 1 + i % 2);
    }
    for (uint32_t i = 0; i < 2000; i++) {
        uint32_t owner = xtr_table_owner(&table, &eid), number;
        struct em_port_id id = xtr_table_id(&table, owner);
        memcpy(&number, id.bytes + 1, sizeof number);
        cr_assert(eq(u32, __builtin_bswap32(number), i));
        xtr_table_remove(&table, owner);
    }
    cr_assert(eq(u32, xtr_table_owner(&table, &eid), XTR_SLOT_NONE));
    xtr_table_fini(&table);
}
