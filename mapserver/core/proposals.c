#include "core/proposals.h"

#include "base/clock.h"
#include "base/mem.h"
#include "eidmap/error.h"
#include "wire/writer.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define GIVE_UP_MS  10000 /* without a leader */
#define PROPOSER    4     /* Command.proposer */
#define TAG_ROOM    128   /* more than it takes: nothing is allocated for it */
#define COMMAND_MAX (MS_COMMAND_MAX - TAG_ROOM)

struct proposal {
    struct ms_payload *command;
    ms_core_done_fn *done;
    void *aux;
    uint64_t added_ms;
    uint64_t sent_ms; /* last; 0: never */
};

struct ms_proposals {
    uint64_t replica, incarnation;
    size_t max_len, max_size;

    pthread_mutex_t lock; /* for what follows */
    struct proposal *ring;
    size_t room;        /* a power of two */
    uint64_t first_seq; /* of the oldest that is open */
    uint64_t next_seq;  /* of the next to come */
    uint64_t send_seq;  /* of the next to be sent */
    size_t size;        /* bytes */
};

struct ms_proposals *ms_proposals_new(uint64_t replica, uint64_t incarnation, size_t max_len,
                                      size_t max_size)
{
    struct ms_proposals *proposals = em_calloc(1, sizeof(*proposals));
    proposals->replica = replica;
    proposals->incarnation = incarnation;
    proposals->max_len = max_len;
    proposals->max_size = max_size;
    proposals->first_seq = proposals->next_seq = proposals->send_seq = 1;
    proposals->room = 64;
    proposals->ring = em_calloc(proposals->room, sizeof(*proposals->ring));
    pthread_mutex_init(&proposals->lock, NULL);
    return proposals;
}

static struct proposal *at(struct ms_proposals *proposals, uint64_t seq)
{
    return &proposals->ring[seq & (proposals->room - 1)];
}

static void answer(struct proposal *proposal, int err, const char *message)
{
    const struct ms_result result = {.err = err, .message = message, .field = ""};
    if (proposal->done)
        proposal->done(proposal->aux, &result);
    ms_payload_unref(proposal->command);
}

void ms_proposals_free(struct ms_proposals *proposals)
{
    if (!proposals)
        return;
    for (uint64_t seq = proposals->first_seq; seq < proposals->next_seq; seq++)
        answer(at(proposals, seq), EM_E_CLOSED, "this map server is closing; ask another one");
    pthread_mutex_destroy(&proposals->lock);
    free(proposals->ring);
    free(proposals);
}

/* The tag goes behind the packed command: protobuf merges what is concatenated. */
static struct ms_payload *tag(const struct ms_proposals *proposals, uint64_t seq,
                              const uint8_t *bytes, size_t size)
{
    uint8_t room[TAG_ROOM];
    struct em_buf tag = {.data = room, .size = sizeof(room)};
    size_t nest = em_nest_begin(&tag, PROPOSER);
    em_put_fixed64(&tag, 1, proposals->replica);
    em_put_uint(&tag, 2, proposals->incarnation);
    em_put_uint(&tag, 3, seq);
    em_nest_end(&tag, nest);
    struct ms_payload *payload = ms_payload_new(NULL, size + em_buf_size(&tag));
    if (size)
        memcpy(payload->data, bytes, size);
    assert(tag.data == room);
    memcpy(payload->data + size, em_buf_head(&tag), em_buf_size(&tag));
    return payload;
}

static void grow(struct ms_proposals *proposals)
{
    size_t old_room = proposals->room;
    struct proposal *old = proposals->ring;
    proposals->room *= 2;
    proposals->ring = em_calloc(proposals->room, sizeof(*proposals->ring));
    for (uint64_t seq = proposals->first_seq; seq < proposals->next_seq; seq++)
        *at(proposals, seq) = old[seq & (old_room - 1)];
    free(old);
}

int ms_proposals_add(struct ms_proposals *proposals, uint8_t *bytes_take, size_t size,
                     ms_core_done_fn *done, void *aux)
{
    int r = size > COMMAND_MAX ? EM_E_LIMIT : 0;
    pthread_mutex_lock(&proposals->lock);
    size_t len = proposals->next_seq - proposals->first_seq;
    if (!r && (len >= proposals->max_len || (len && proposals->size + size > proposals->max_size)))
        r = EM_E_BUSY;
    if (!r) {
        if (len == proposals->room)
            grow(proposals);
        struct ms_payload *command = tag(proposals, proposals->next_seq, bytes_take, size);
        *at(proposals, proposals->next_seq) = (struct proposal){
            .command = command, .done = done, .aux = aux, .added_ms = em_now_ms()};
        proposals->size += command->size;
        proposals->next_seq++;
    }
    pthread_mutex_unlock(&proposals->lock);
    free(bytes_take);
    return r;
}

/* Takes the oldest one out, under the lock. */
static struct proposal pop(struct ms_proposals *proposals)
{
    struct proposal proposal = *at(proposals, proposals->first_seq++);
    proposals->size -= proposal.command->size;
    if (proposals->send_seq < proposals->first_seq)
        proposals->send_seq = proposals->first_seq;
    return proposal;
}

void ms_proposals_settle(struct ms_proposals *proposals, const struct ms_result *result)
{
    struct proposal proposal;
    if (result->replica != proposals->replica || result->incarnation != proposals->incarnation ||
        result->is_repeated)
        return;
    pthread_mutex_lock(&proposals->lock);
    bool is_open = result->seq == proposals->first_seq && result->seq < proposals->next_seq;
    if (is_open)
        proposal = pop(proposals);
    pthread_mutex_unlock(&proposals->lock);
    if (!is_open)
        return;
    if (result->is_given_up) {
        answer(&proposal, EM_E_BUSY, "the map servers had no leader in time; nothing was done");
        return;
    }
    if (proposal.done)
        proposal.done(proposal.aux, result);
    ms_payload_unref(proposal.command);
}

void ms_proposals_skip(struct ms_proposals *proposals, uint64_t incarnation, uint64_t seq)
{
    if (incarnation != proposals->incarnation)
        return;
    pthread_mutex_lock(&proposals->lock);
    while (proposals->first_seq <= seq && proposals->first_seq < proposals->next_seq) {
        struct proposal proposal = pop(proposals);
        pthread_mutex_unlock(&proposals->lock);
        answer(&proposal, EM_E_BUSY,
               "this map server was too far behind to see what became of it; "
               "ask again");
        pthread_mutex_lock(&proposals->lock);
    }
    pthread_mutex_unlock(&proposals->lock);
}

static bool has_next(struct ms_proposals *proposals, size_t room)
{
    return proposals->send_seq < proposals->next_seq &&
           at(proposals, proposals->send_seq)->command->size <= room;
}

struct ms_payload *ms_proposals_next(struct ms_proposals *proposals, uint64_t now_ms, size_t room)
{
    struct ms_payload *command = NULL;
    pthread_mutex_lock(&proposals->lock);
    if (has_next(proposals, room)) {
        struct proposal *proposal = at(proposals, proposals->send_seq);
        if (now_ms > proposal->added_ms + GIVE_UP_MS) {
            proposals->size -= proposal->command->size;
            ms_payload_unref(proposal->command);
            proposal->command = tag(proposals, proposals->send_seq, NULL, 0);
            proposals->size += proposal->command->size;
        }
        proposal->sent_ms = now_ms;
        proposals->send_seq++;
        command = ms_payload_ref(proposal->command);
    }
    pthread_mutex_unlock(&proposals->lock);
    return command;
}

void ms_proposals_rewind(struct ms_proposals *proposals)
{
    pthread_mutex_lock(&proposals->lock);
    proposals->send_seq = proposals->first_seq;
    pthread_mutex_unlock(&proposals->lock);
}

bool ms_proposals_is_stuck(struct ms_proposals *proposals, uint64_t before_ms)
{
    pthread_mutex_lock(&proposals->lock);
    bool is_stuck = proposals->first_seq < proposals->send_seq &&
                    at(proposals, proposals->first_seq)->sent_ms < before_ms;
    pthread_mutex_unlock(&proposals->lock);
    return is_stuck;
}

size_t ms_proposals_len(struct ms_proposals *proposals)
{
    pthread_mutex_lock(&proposals->lock);
    size_t len = proposals->next_seq - proposals->first_seq;
    pthread_mutex_unlock(&proposals->lock);
    return len;
}

bool ms_proposals_is_sent(struct ms_proposals *proposals)
{
    pthread_mutex_lock(&proposals->lock);
    bool is_sent = proposals->send_seq == proposals->next_seq;
    pthread_mutex_unlock(&proposals->lock);
    return is_sent;
}
