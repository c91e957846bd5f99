/* What clients were told while things broke, and whether one map can have told it.
 *
 * A key is a port; its value is the node that holds it and the epoch at which it came there.
 * Each operation has a beginning and an end on one clock; those of different clients overlap.
 * A history can be true when, key by key, the operations can be put in one order that does not
 * contradict these times and in which each answer is what the operations before it say
 * (linearisability: Herlihy and Wing 1990; the search is that of Wing and Gong 1993, with the
 * memory of Lowe 2017).  Over all keys, the epochs that moves were given grow with time. */
#ifndef HISTORY_H
#define HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTORY_NOBODY 0

enum history_kind {
    HISTORY_MOVE,   /* to 'node'; where it is there already nothing changes */
    HISTORY_LEAVE,  /* 'node' withdraws it, if it is there */
    HISTORY_REMOVE, /* an operator removes it */
    HISTORY_READ,   /* 'node' and 'epoch' are the answer */
};

struct history_op {
    enum history_kind kind;
    bool is_open; /* never answered: it may have been done, or be done later than all others */
    uint32_t key;
    uint32_t node;  /* 1 .. 2^31; HISTORY_NOBODY: in a READ */
    uint64_t epoch; /* of a MOVE or READ; 0: not told */
    uint64_t begin, end;
};

/* Zeroed: empty. */
struct history {
    struct history_op *ops;
    size_t n, size;
};

/* Copies 'op'; its place. */
size_t history_add(struct history *history, const struct history_op *op);
void history_fini(struct history *history);

/* NULL when the history can be true; else a sentence that says where not, free() it.  A search
 * that becomes too long is a fault as well. */
char *history_check(const struct history *history);

#endif
