/* An agent that lost its connection sends again what has no reply yet.  What was applied
 * before the connection broke must not be done twice: between, the port may have gone. */
#include "state/command.h"
#include "state/key.h"

#include <string.h>

#define INSTANCE_SIZE 16
#define ROW_SIZE      (INSTANCE_SIZE + 8 + 8) /* instance, boot epoch, highest seq applied */

static bool has_identity(const Eidmap__Origin *origin)
{
    return origin->role == EIDMAP__ROLE__ROLE_NODE && origin->seq > 0 &&
           origin->instance.len == INSTANCE_SIZE;
}

bool ms_session_has(struct ms_command *c)
{
    const Eidmap__Origin *origin = c->origin;
    struct ms_blob row;
    if (!has_identity(origin) ||
        ms_txn_get(c->txn, MS_DB_SESSION, ms_blob(origin->name, strlen(origin->name)), &row) ||
        row.size != ROW_SIZE)
        return false;
    return memcmp(row.data, origin->instance.data, INSTANCE_SIZE) == 0 &&
           origin->seq <= ms_read_u64(row.data + INSTANCE_SIZE + 8);
}

void ms_session_put(struct ms_command *c)
{
    const Eidmap__Origin *origin = c->origin;
    uint8_t row[ROW_SIZE];
    if (!has_identity(origin))
        return;
    memcpy(row, origin->instance.data, INSTANCE_SIZE);
    ms_write_u64(row + INSTANCE_SIZE, origin->boot_epoch);
    ms_write_u64(row + INSTANCE_SIZE + 8, origin->seq);
    ms_txn_put(c->txn, MS_DB_SESSION, ms_blob(origin->name, strlen(origin->name)),
               ms_blob(row, sizeof(row)));
}
