/* Full jitter: a pause is uniform in 0 .. cap, not cap plus a little, because the aim is to
 * spread the clients of a server that died, and their first attempts come together. */
#include "client/dialer.h"

#include <assert.h>

const struct em_dialer_times em_dialer_default_times = {
    .first_ms = 200,
    .max_ms = 30000,
    .refused_ms = 30000,
    .stable_ms = 10000,
    .spread_ms = 2000,
};

void em_dialer_init(struct em_dialer *dialer, const struct em_dialer_times *times, size_t n_servers,
                    uint64_t now_ms, uint64_t random)
{
    assert(n_servers > 0);
    *dialer = (struct em_dialer){
        .times = *times,
        .state = EM_DIALER_WAITING,
        .n_servers = n_servers,
        .server = random % n_servers,
        .avoid = EM_DIALER_NONE,
        .due_ms = now_ms,
    };
}

static void pass_by(struct em_dialer *dialer)
{
    if (dialer->server == dialer->avoid)
        dialer->server = (dialer->server + 1) % dialer->n_servers;
}

static void move(struct em_dialer *dialer, enum em_dialer_state from, enum em_dialer_state to)
{
    assert(dialer->state == from);
    dialer->state = to;
}

void em_dialer_dial(struct em_dialer *dialer)
{
    move(dialer, EM_DIALER_WAITING, EM_DIALER_CONNECTING);
}

void em_dialer_opened(struct em_dialer *dialer)
{
    move(dialer, EM_DIALER_CONNECTING, EM_DIALER_GREETING);
}

void em_dialer_welcomed(struct em_dialer *dialer, uint64_t now_ms)
{
    move(dialer, EM_DIALER_GREETING, EM_DIALER_UP);
    dialer->up_ms = now_ms;
}

/* Doubles without overflow, however long no server has answered. */
static uint64_t cap_ms(const struct em_dialer *dialer)
{
    uint64_t cap = dialer->times.first_ms;
    for (unsigned i = 0; i < dialer->n_rounds && cap < dialer->times.max_ms; i++)
        cap += cap / 2; /* doubling would wait too long after a restart of a second or two */
    return cap < dialer->times.max_ms ? cap : dialer->times.max_ms;
}

/* A session that was stable wipes out what failed before it, but its own end counts. */
static void leave(struct em_dialer *dialer, uint64_t now_ms)
{
    assert(dialer->state != EM_DIALER_WAITING);
    if (dialer->state == EM_DIALER_UP && now_ms - dialer->up_ms >= dialer->times.stable_ms)
        dialer->n_failed = dialer->n_rounds = 0;
    dialer->state = EM_DIALER_WAITING;
    dialer->server = (dialer->server + 1) % dialer->n_servers;
    pass_by(dialer);
}

void em_dialer_closed(struct em_dialer *dialer, uint64_t now_ms, uint64_t random)
{
    leave(dialer, now_ms);
    dialer->due_ms = now_ms;
    size_t n_candidates = dialer->n_servers - (dialer->avoid != EM_DIALER_NONE);
    if (++dialer->n_failed < n_candidates)
        return;
    dialer->due_ms += random % (cap_ms(dialer) + 1);
    dialer->n_failed = 0;
    dialer->n_rounds++;
}

void em_dialer_refused(struct em_dialer *dialer, uint64_t now_ms)
{
    leave(dialer, now_ms);
    dialer->n_failed = 0;
    dialer->due_ms = now_ms + dialer->times.refused_ms;
}

void em_dialer_left(struct em_dialer *dialer, uint64_t now_ms)
{
    leave(dialer, now_ms);
    dialer->due_ms = now_ms;
}

void em_dialer_adopt(struct em_dialer *dialer, size_t server)
{
    assert(server < dialer->n_servers && server != dialer->avoid);
    move(dialer, EM_DIALER_WAITING, EM_DIALER_GREETING);
    dialer->server = server;
}

void em_dialer_beside(struct em_dialer *dialer, size_t server, uint64_t now_ms, uint64_t random)
{
    uint64_t due_ms = now_ms + random % ((uint64_t)dialer->times.spread_ms + 1);
    assert(dialer->state == EM_DIALER_WAITING && dialer->n_servers > 1);
    dialer->avoid = server;
    pass_by(dialer);
    if (dialer->due_ms < due_ms)
        dialer->due_ms = due_ms;
}
