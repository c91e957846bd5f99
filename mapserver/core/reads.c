#include "core/reads.h"

#include "base/mem.h"
#include "eidmap/error.h"

#include <pthread.h>
#include <stdlib.h>

#define GIVE_UP_MS 3000
#define AGAIN_MS   300 /* a round or a question without an answer */
#define ACKS_MAX   64

struct waiter {
    struct waiter *next;
    ms_core_answer_fn *answer; /* NULL: of a follower, to be told the index */
    void *aux;
    uint64_t replica, nonce; /* the follower's */
    uint64_t index;          /* once known */
    uint64_t since_ms;       /* 0: new */
};

struct waiters {
    struct waiter *first;
};

struct ms_reads {
    struct ms_reads_io io;
    void *aux;
    pthread_mutex_t lock;
    struct waiters added; /* under the lock */

    struct waiters waiting;              /* for a round to begin */
    struct waiters asked;                /* in the round, or asked of the leader */
    struct waiters known;                /* their index is known; for the map to reach it */
    uint64_t nonce, term, index, leader; /* of the round or question that is under way */
    uint64_t began_ms;                   /* 0: none is */
    bool is_round;
    uint64_t acks[ACKS_MAX];
    unsigned n_acks;
};

struct ms_reads *ms_reads_new(const struct ms_reads_io *io, void *aux)
{
    struct ms_reads *reads = em_calloc(1, sizeof(*reads));
    reads->io = *io;
    reads->aux = aux;
    pthread_mutex_init(&reads->lock, NULL);
    return reads;
}

static void push(struct waiters *list, struct waiter *waiter)
{
    waiter->next = list->first;
    list->first = waiter;
}

static struct waiter *pop(struct waiters *list)
{
    struct waiter *waiter = list->first;
    if (waiter)
        list->first = waiter->next;
    return waiter;
}

static void move_all(struct waiters *from, struct waiters *to)
{
    struct waiter *waiter;
    while ((waiter = pop(from)))
        push(to, waiter);
}

static void end(struct ms_reads *reads, struct waiter *waiter, int err, const char *message)
{
    if (waiter->answer)
        waiter->answer(waiter->aux, err, message);
    else
        reads->io.reply(reads->aux, waiter->replica, waiter->nonce, err ? 0 : waiter->index);
    free(waiter);
}

void ms_reads_free(struct ms_reads *reads)
{
    struct waiter *waiter;
    if (!reads)
        return;
    move_all(&reads->added, &reads->waiting);
    move_all(&reads->asked, &reads->waiting);
    move_all(&reads->known, &reads->waiting);
    while ((waiter = pop(&reads->waiting))) {
        if (waiter->answer)
            waiter->answer(waiter->aux, EM_E_CLOSED, "this map server is closing");
        free(waiter);
    }
    pthread_mutex_destroy(&reads->lock);
    free(reads);
}

void ms_reads_add(struct ms_reads *reads, ms_core_answer_fn *answer, void *aux)
{
    struct waiter *waiter = em_calloc(1, sizeof(*waiter));
    waiter->answer = answer;
    waiter->aux = aux;
    pthread_mutex_lock(&reads->lock);
    push(&reads->added, waiter);
    pthread_mutex_unlock(&reads->lock);
}

static void take_added(struct ms_reads *reads, uint64_t now_ms)
{
    pthread_mutex_lock(&reads->lock);
    struct waiters added = reads->added;
    reads->added.first = NULL;
    pthread_mutex_unlock(&reads->lock);
    for (struct waiter *waiter = added.first; waiter; waiter = waiter->next)
        waiter->since_ms = now_ms;
    move_all(&added, &reads->waiting);
}

/* What was asked of the old order of things is asked again. */
static void abandon(struct ms_reads *reads)
{
    move_all(&reads->asked, &reads->waiting);
    reads->began_ms = 0;
    reads->is_round = false;
}

static void confirm(struct ms_reads *reads, uint64_t index)
{
    struct waiter *waiter;
    while ((waiter = pop(&reads->asked))) {
        waiter->index = index;
        if (waiter->answer)
            push(&reads->known, waiter);
        else
            end(reads, waiter, 0, NULL);
    }
    reads->began_ms = 0;
    reads->is_round = false;
}

static void begin_round(struct ms_reads *reads, const struct ms_reads_now *now)
{
    move_all(&reads->waiting, &reads->asked);
    reads->nonce++;
    reads->term = now->term;
    reads->index = now->commit;
    reads->began_ms = now->now_ms;
    reads->is_round = true;
    reads->n_acks = 0;
    if (now->n_voters == 1)
        confirm(reads, now->commit);
    else
        reads->io.ping(reads->aux, reads->term, reads->nonce);
}

/* Followers' questions are not passed on: they find the leader themselves. */
static void begin_question(struct ms_reads *reads, const struct ms_reads_now *now)
{
    struct waiters mine = {NULL};
    struct waiter *waiter;
    while ((waiter = pop(&reads->waiting))) {
        if (waiter->answer)
            push(&mine, waiter);
        else
            end(reads, waiter, EM_E_NOT_LEADER, NULL);
    }
    move_all(&mine, &reads->waiting);
    if (!now->leader || !reads->waiting.first)
        return;
    move_all(&reads->waiting, &reads->asked);
    reads->nonce++;
    reads->leader = now->leader;
    reads->began_ms = now->now_ms;
    reads->io.ask(reads->aux, now->leader, reads->nonce);
}

static void give_up(struct ms_reads *reads, struct waiters *list, uint64_t now_ms, const char *why)
{
    struct waiters keep = {NULL};
    struct waiter *waiter;
    while ((waiter = pop(list))) {
        if (now_ms > waiter->since_ms + GIVE_UP_MS)
            end(reads, waiter, EM_E_BUSY, why);
        else
            push(&keep, waiter);
    }
    *list = keep;
}

static void answer_known(struct ms_reads *reads, uint64_t applied)
{
    struct waiters keep = {NULL};
    struct waiter *waiter;
    while ((waiter = pop(&reads->known))) {
        if (waiter->index <= applied)
            end(reads, waiter, 0, NULL);
        else
            push(&keep, waiter);
    }
    reads->known = keep;
}

void ms_reads_run(struct ms_reads *reads, const struct ms_reads_now *now)
{
    take_added(reads, now->now_ms);
    bool is_void = reads->is_round ? !now->is_ready || now->term != reads->term
                                   : now->is_leader || now->leader != reads->leader;
    if (reads->began_ms && (is_void || now->now_ms > reads->began_ms + AGAIN_MS))
        abandon(reads);
    give_up(reads, &reads->waiting, now->now_ms, "the map servers have no leader now; try again");
    if (reads->waiting.first && !reads->began_ms) {
        if (now->is_ready)
            begin_round(reads, now);
        else if (!now->is_leader)
            begin_question(reads, now);
    }
    answer_known(reads, now->applied);
    give_up(reads, &reads->known, now->now_ms, "this map server lags behind; ask another one");
}

bool ms_reads_is_idle(const struct ms_reads *reads)
{
    return !reads->waiting.first && !reads->asked.first && !reads->known.first;
}

void ms_reads_on_pong(struct ms_reads *reads, uint64_t replica, uint64_t term, uint64_t nonce)
{
    if (!reads->is_round || term != reads->term || nonce != reads->nonce ||
        reads->n_acks == ACKS_MAX)
        return;
    for (unsigned i = 0; i < reads->n_acks; i++)
        if (reads->acks[i] == replica)
            return;
    reads->acks[reads->n_acks++] = replica;
    if (reads->io.is_majority(reads->aux, reads->acks, reads->n_acks))
        confirm(reads, reads->index);
}

void ms_reads_on_ask(struct ms_reads *reads, uint64_t replica, uint64_t nonce)
{
    struct waiter *waiter = em_calloc(1, sizeof(*waiter));
    waiter->replica = replica;
    waiter->nonce = nonce;
    waiter->since_ms = UINT64_MAX / 2; /* never given up: it asks again by itself */
    push(&reads->waiting, waiter);
}

void ms_reads_on_reply(struct ms_reads *reads, uint64_t nonce, uint64_t index)
{
    if (!reads->began_ms || reads->is_round || nonce != reads->nonce)
        return;
    if (index)
        confirm(reads, index);
    else
        abandon(reads);
}
