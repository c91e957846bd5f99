/* The requests of a client that are not over: those without an answer, watches and
 * subscriptions, in the order in which they were made.
 *
 * Ids grow and are never used twice in a client's life, so one array sorted by id is the
 * order on the wire, the order of deadlines, and the index.  Requests are sent in order;
 * a new connection begins again with the first. */
#ifndef EM_PENDING_H
#define EM_PENDING_H

#include "client/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All that a client may hold, with what it takes to hold it. */
#define EM_PENDING_MAX_SIZE (16u << 20)

/* Ids grow on every connection: a warm Hello, the Hello of the session, requests. */
#define EM_WARM_ID  1
#define EM_HELLO_ID 2

enum em_pending_flag {
    EM_PENDING_KEEP = 1,    /* lives on after its first answer */
    EM_PENDING_FORGET = 2,  /* over as soon as it is sent: nobody waits for an answer */
    EM_PENDING_SESSION = 4, /* means nothing to another session: fails when its own ends */
    EM_PENDING_UNTIMED = 8, /* has no deadline */
    EM_PENDING_CANCELLED = 16,
    EM_PENDING_ANSWERED = 32, /* with KEEP: the first answer has come */
};

/* Which of the callbacks takes the answer. */
enum em_pending_kind { EM_PENDING_REPLY, EM_PENDING_FEED, EM_PENDING_RAW };

/* Where a subscription is. */
struct em_cursor {
    uint32_t network_id;
    uint64_t revision;
    char *network; /* its name while the server has not told the id, or NULL */
};

struct em_pending {
    int64_t id;
    unsigned flags; /* of enum em_pending_flag */
    enum em_pending_kind kind;
    Eidmap__Envelope__BodyCase body;   /* of the request */
    Eidmap__Envelope__BodyCase expect; /* REPLY: of the answer, unless it is an Error */
    union {
        em_reply_fn *on_reply;
        em_feed_fn *on_feed;
        em_envelope_fn *on_envelope;
    };
    void *aux;
    struct em_cursor cursor; /* FEED */
    size_t n_records;        /* claims of a Register, EIDs of a Resolve */
    uint64_t sync_id;        /* AnnounceBegin, AnnounceEnd */
    uint64_t due_ms;
    uint64_t retry_ms; /* refused for now, and sent again then; 0: not so */
    size_t size;       /* of 'frame'; a FEED has none, it is packed when it is sent */
    uint8_t frame[];
};

struct em_pending_table {
    struct em_pending_slot *slots; /* sorted by id; freed ones stay as gaps for a while */
    size_t n_slots;
    size_t n_room;
    size_t n_gaps;
    size_t bytes;
    int64_t last_id;  /* given out */
    int64_t sent_id;  /* up to here all are sent in this session; 0: none */
    int64_t timed_id; /* up to here none waits for its deadline any more */
};

/* Allocates nothing yet. */
void em_pending_init(struct em_pending_table *table);
void em_pending_fini(struct em_pending_table *table);

/* The id that the next em_pending_add() gives. */
int64_t em_pending_next_id(const struct em_pending_table *table);

/* Adds a copy of 'proto' with this frame.  The request belongs to the table until
 * em_pending_remove().  NULL when the table is full. */
struct em_pending *em_pending_add(struct em_pending_table *table, const struct em_pending *proto,
                                  const uint8_t *frame, size_t size);
void em_pending_remove(struct em_pending_table *table, struct em_pending *request);

/* NULL if it is over, or never was. */
struct em_pending *em_pending_find(const struct em_pending_table *table, int64_t id);

/* The first one with a larger id, or NULL.  This is how to walk the table while callbacks
 * change it. */
struct em_pending *em_pending_after(const struct em_pending_table *table, int64_t id);

/* Sending: in order, and from the beginning again after em_pending_rewind(). */
struct em_pending *em_pending_first_unsent(const struct em_pending_table *table);
void em_pending_set_sent(struct em_pending_table *table, const struct em_pending *request);
bool em_pending_is_sent(const struct em_pending_table *table, const struct em_pending *request);
void em_pending_rewind(struct em_pending_table *table);

/* The request whose deadline is next, or NULL. */
struct em_pending *em_pending_first_timed(struct em_pending_table *table);

#endif
