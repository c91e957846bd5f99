/* Each request once, and each node by its newest agent alone.
 *
 * Who lost its connection sends again what has no reply yet.  What was applied before the
 * connection broke must not be done twice: between, the port may have gone.
 *
 *   node-id               instance and boot epoch of its agent, highest seq applied
 *   0x00 instance         an operator's program: time of its last write, highest seq applied
 *   0x01 time instance    nothing; finds the rows of operators by their age
 *   0x02 replica          proposer.c
 *
 * A node has one agent, and the next one takes its row over.  An operator's programs come and
 * go, several under one name at once, so each has a row of its own until it has written
 * nothing for an hour.  By then nobody sends a request again. */
#include "state/command.h"
#include "state/key.h"

#include <string.h>

#define INSTANCE_SIZE 16
#define NODE_ROW      (INSTANCE_SIZE + 8 + 8) /* instance, boot epoch, seq */
#define OPERATOR_ROW  (8 + 8)                 /* time, seq */
#define OPERATOR_MARK 0
#define AGE_MARK      1
#define KEEP_MS       (3600u * 1000)

static bool is_node(const Eidmap__Origin *origin)
{
    return origin->role == EIDMAP__ROLE__ROLE_NODE && origin->instance.len == INSTANCE_SIZE;
}

static bool is_operator(const Eidmap__Origin *origin)
{
    return origin->role == EIDMAP__ROLE__ROLE_OPERATOR && origin->instance.len == INSTANCE_SIZE;
}

static struct ms_key operator_key(const uint8_t *instance)
{
    struct ms_key key = {.size = 1 + INSTANCE_SIZE, .bytes = {OPERATOR_MARK}};
    memcpy(key.bytes + 1, instance, INSTANCE_SIZE);
    return key;
}

static struct ms_key age_key(uint64_t time_ms, const uint8_t *instance)
{
    struct ms_key key = {.size = 1 + 8 + INSTANCE_SIZE, .bytes = {AGE_MARK}};
    ms_write_u64(key.bytes + 1, time_ms);
    memcpy(key.bytes + 9, instance, INSTANCE_SIZE);
    return key;
}

static int get_node_row(struct ms_txn *txn, const char *node_id, struct ms_blob *ret_row)
{
    int r = ms_txn_get(txn, MS_DB_SESSION, ms_blob(node_id, strlen(node_id)), ret_row);
    return !r && ret_row->size != NODE_ROW ? EM_E_NOT_FOUND : r;
}

static int get_operator_row(struct ms_txn *txn, const uint8_t *instance, struct ms_blob *ret_row)
{
    struct ms_key key = operator_key(instance);
    int r = ms_txn_get(txn, MS_DB_SESSION, ms_key_blob(&key), ret_row);
    return !r && ret_row->size != OPERATOR_ROW ? EM_E_NOT_FOUND : r;
}

bool ms_session_has(struct ms_command *c)
{
    const Eidmap__Origin *origin = c->origin;
    struct ms_blob row;
    if (origin->seq == 0)
        return false;
    if (is_node(origin))
        return get_node_row(c->txn, origin->name, &row) == 0 &&
               memcmp(row.data, origin->instance.data, INSTANCE_SIZE) == 0 &&
               origin->seq <= ms_read_u64(row.data + INSTANCE_SIZE + 8);
    return is_operator(origin) && get_operator_row(c->txn, origin->instance.data, &row) == 0 &&
           origin->seq <= ms_read_u64(row.data + 8);
}

static void put_node(struct ms_command *c)
{
    const Eidmap__Origin *origin = c->origin;
    uint8_t row[NODE_ROW];
    memcpy(row, origin->instance.data, INSTANCE_SIZE);
    ms_write_u64(row + INSTANCE_SIZE, origin->boot_epoch);
    ms_write_u64(row + INSTANCE_SIZE + 8, origin->seq);
    ms_txn_put(c->txn, MS_DB_SESSION, ms_blob(origin->name, strlen(origin->name)),
               ms_blob(row, sizeof(row)));
}

static void put_operator(struct ms_command *c)
{
    const uint8_t *instance = c->origin->instance.data;
    struct ms_key key = operator_key(instance), age;
    struct ms_blob old;
    uint8_t row[OPERATOR_ROW];
    if (get_operator_row(c->txn, instance, &old) == 0) {
        age = age_key(ms_read_u64(old.data), instance);
        ms_txn_delete(c->txn, MS_DB_SESSION, ms_key_blob(&age), (struct ms_blob){0});
    }
    ms_write_u64(row, c->time_ms);
    ms_write_u64(row + 8, c->origin->seq);
    age = age_key(c->time_ms, instance);
    ms_txn_put(c->txn, MS_DB_SESSION, ms_key_blob(&key), ms_blob(row, sizeof(row)));
    ms_txn_put(c->txn, MS_DB_SESSION, ms_key_blob(&age), ms_blob("", 0));
}

void ms_session_put(struct ms_command *c)
{
    if (c->origin->seq == 0)
        return;
    if (is_node(c->origin))
        put_node(c);
    else if (is_operator(c->origin))
        put_operator(c);
}

int ms_session_check(struct ms_command *c)
{
    struct ms_blob row;
    if (!is_node(c->origin) || get_node_row(c->txn, c->origin->name, &row) ||
        memcmp(row.data, c->origin->instance.data, INSTANCE_SIZE) == 0)
        return c->txn->err;
    return ms_refuse(&c->fault, EM_E_SUPERSEDED, "", "another agent speaks for node %s by now",
                     c->origin->name);
}

int ms_session_check_start(struct ms_command *c)
{
    struct ms_blob row;
    if (!is_node(c->origin) || get_node_row(c->txn, c->origin->name, &row) ||
        memcmp(row.data, c->origin->instance.data, INSTANCE_SIZE) == 0 ||
        c->origin->boot_epoch >= ms_read_u64(row.data + INSTANCE_SIZE))
        return c->txn->err;
    return ms_refuse(&c->fault, EM_E_SUPERSEDED, "",
                     "another agent that was started later speaks for node %s; two hosts must not "
                     "share a node-id, and one that was set up anew needs the node removed first",
                     c->origin->name);
}

void ms_session_start(struct ms_command *c)
{
    struct ms_blob row;
    if (!is_node(c->origin) || (get_node_row(c->txn, c->origin->name, &row) == 0 &&
                                memcmp(row.data, c->origin->instance.data, INSTANCE_SIZE) == 0))
        return;
    put_node(c);
}

/* The oldest row of an operator, if it is too old.  Its keys are copied: the row goes. */
static bool find_old(struct ms_command *c, MDB_cursor *walk, struct ms_key *ret_row,
                     struct ms_key *ret_age)
{
    static const uint8_t first[] = {AGE_MARK};
    struct ms_blob key = ms_blob(first, sizeof(first)), value = {0};
    if (ms_txn_seek(c->txn, walk, MDB_SET_RANGE, &key, &value) ||
        key.size != 1 + 8 + INSTANCE_SIZE || key.data[0] != AGE_MARK)
        return false;
    uint64_t time_ms = ms_read_u64(key.data + 1);
    if (c->time_ms < KEEP_MS || time_ms >= c->time_ms - KEEP_MS)
        return false;
    *ret_age = age_key(time_ms, key.data + 9);
    *ret_row = operator_key(key.data + 9);
    return true;
}

bool ms_session_trim(struct ms_command *c, uint32_t max)
{
    struct ms_key row, age;
    MDB_cursor *walk = ms_txn_cursor(c->txn, MS_DB_SESSION);
    if (!walk)
        return false;
    bool is_more;
    while ((is_more = find_old(c, walk, &row, &age)) && max-- > 0) {
        ms_txn_delete(c->txn, MS_DB_SESSION, ms_key_blob(&row), (struct ms_blob){0});
        ms_txn_delete(c->txn, MS_DB_SESSION, ms_key_blob(&age), (struct ms_blob){0});
        c->result->is_changed = true;
    }
    mdb_cursor_close(walk);
    return is_more;
}

int ms_reader_agent(struct ms_reader *reader, const char *node_id, struct ms_blob *ret_instance)
{
    struct ms_blob row;
    int r = get_node_row(&reader->txn, node_id, &row);
    if (!r)
        *ret_instance = ms_blob(row.data, INSTANCE_SIZE);
    return r;
}
