/* A real map in a temporary directory, and commands in one line each. */
#ifndef TEST_MAP_H
#define TEST_MAP_H

#include "base/mem.h"
#include "eidmap/addr.h"
#include "eidmap/error.h"
#include "state/apply.h"
#include "state/feed.h"
#include "state/resolve.h"

#include <stdbool.h>

struct map {
    char dir[128];
    uint64_t generation;
    uint64_t disk_reserve;   /* 0: a page */
    struct ms_result refused;
    uint32_t max_node_ports; /* of the commands; 0: the default */ /* that map_reopen() opens */
    struct ms_store *store;
    struct ms_apply *apply;
    struct ms_reader *reader;
    struct em_arena arena; /* for messages of a test; given back by map_close() */
    struct ms_batch batch; /* of the last run */
};

void map_open(struct map *map, uint64_t map_size);
void map_open_reserved(struct map *map, uint64_t map_size, uint64_t disk_reserve);
void map_attach(struct map *map, const char *dir); /* opens one that is there */
void map_close(struct map *map);                   /* removes the directory */
void map_reopen(struct map *map);                  /* as after a restart */

/* Somebody else opens the directory, until it is taken back. */
void map_lend(struct map *map);
void map_take_back(struct map *map);

/* Applies one command; lent until the next. */
const struct ms_result *map_run(struct map *map, Eidmap__Command *command);

/* A command from a node, or from an operator ("") with nothing else set. */
Eidmap__Command map_command(struct map *map, const char *node);

/* The command is request 'seq' of the process with this first byte of the instance. */
void map_sign(struct map *map, Eidmap__Command *command, uint8_t instance, uint64_t seq);

uint32_t map_network(struct map *map, const char *name, const char *subnet, const char *subnet2);
const struct ms_result *map_node_up(struct map *map, const char *node, const char *rloc);
const struct ms_result *map_agent_up(struct map *map, const char *node, const char *rloc,
                                     uint8_t instance, uint64_t boot_epoch);
const struct ms_result *map_node_down(struct map *map, const char *node, uint64_t time_ms);

/* One claim. */
struct reg {
    const char *by; /* node; NULL: an operator */
    const char *port;
    uint32_t network;
    const char *eids[8];
    const char *at[4]; /* node-ids of locations; none and by a node: there */
    bool attach, multihomed, shared, declared, pending;
    const char *allowed[2];
    uint32_t priority, weight, segment;
    uint64_t epoch, seq;
    uint8_t instance; /* first byte of it */
    Eidmap__MigrationStep migration;
    uint32_t pending_ms;
    const char *parent;
    uint32_t tag;
};

Eidmap__Claim *map_claim(struct map *map, const struct reg *reg);
const struct ms_result *map_register(struct map *map, const struct reg *regs, size_t n);
#define REGISTER(map, ...) map_register(map, (struct reg[]){{__VA_ARGS__}}, 1)

/* 'by' NULL: an operator withdraws the location of 'node' or, when that is "", the port. */
const struct ms_result *map_withdraw(struct map *map, const char *by, const char *node,
                                     const char *port, uint64_t epoch);

/* The stored port; NULL: none.  In map->arena. */
Eidmap__Port *map_port(struct map *map, const char *port);
Eidmap__Node *map_node(struct map *map, const char *node);
Eidmap__Network *map_get_network(struct map *map, uint32_t id);

/* "node:epoch node:epoch" of a port, "-" when there is none; static storage. */
const char *map_where(struct map *map, const char *port);

uint64_t map_revision(struct map *map);
struct em_eid map_eid(const char *text);

#endif
