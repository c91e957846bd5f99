/* What the data plane has still to be told: a queue of 8-byte notes "look at this again".
 *
 * A note names a thing, not an operation: what has to stand is read from the map-cache
 * when the note's turn comes.  So a burst needs at most 8 bytes a port, a value that changed
 * twice is sent once, and notes may be repeated or out of date without harm.  Ports whose
 * records follow each other, as those of a snapshot do, share a note. */
#ifndef XTR_QUEUE_H
#define XTR_QUEUE_H

#include "dataplane/dp.h"
#include "segments.h"

enum xtr_note_kind {
    XTR_NOTE_NETWORK, /* put it, or delete it and free its slot */
    XTR_NOTE_SET,     /* index: set id */
    XTR_NOTE_PORT,    /* index: record in the network's table; all its entries */
    XTR_NOTE_KEY,     /* index: of a key */
    XTR_NOTE_MARK,    /* all that was noted elsewhere before this has been done */
};

struct xtr_note {
    enum xtr_note_kind kind;
    uint32_t network; /* slot, < 2^24 */
    uint32_t index;
    uint8_t n_more; /* XTR_NOTE_PORT: so many records behind 'index' are meant too */
};

enum xtr_key_kind {
    XTR_KEY_EID,          /* eid: a MAC or a host address */
    XTR_KEY_LOCAL,        /* eid: a MAC that was behind 'device' */
    XTR_KEY_FLOOD,        /* target */
    XTR_KEY_DEVICE,       /* device */
    XTR_KEY_SET_GONE,     /* id: the data plane has not taken its end */
    XTR_KEY_NETWORK_GONE, /* the same */
};

/* A thing that has no slot (any more). */
struct xtr_key {
    enum xtr_key_kind kind;
    struct em_eid eid;
    struct dp_target target;
    char device[IFNAMSIZ];
    uint16_t vlan; /* of 'device' */
    uint32_t id;
    uint32_t next_free;
};

struct xtr_queue {
    uint64_t **parts; /* ring; each goes when its last note was dropped */
    uint64_t n_parts; /* of the ring, a power of two */
    uint64_t head;    /* position of the first note; positions only grow */
    uint64_t tail;
    struct xtr_segments keys;
    uint32_t free_key;
};

void xtr_queue_init(struct xtr_queue *queue);
void xtr_queue_fini(struct xtr_queue *queue);

/* A port may join the last note. */
void xtr_queue_push(struct xtr_queue *queue, struct xtr_note note);

/* Copies the key and queues a note on it. */
void xtr_queue_push_key(struct xtr_queue *queue, uint32_t network, const struct xtr_key *key);

/* The first note; false if there is none. */
bool xtr_queue_peek(const struct xtr_queue *queue, struct xtr_note *ret_note);

/* The key of the first note, lent until the next push. */
const struct xtr_key *xtr_queue_key(const struct xtr_queue *queue, const struct xtr_note *note);

/* Drops the first note, and its key; of several ports the first. */
void xtr_queue_pop(struct xtr_queue *queue);

#endif
