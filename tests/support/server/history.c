/* The search walks the events of one key, calls and returns in the order of time, and always
 * tries the first call that is left and fits: operations before the first return may come
 * next, in any order.  At a return whose operation has not been placed it goes back.
 *
 * Epochs are unique, so what a key held is nearly always plain and the search nearly straight;
 * only operations without an answer and moves without an epoch make it branch. */
#include "server/history.h"

#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STEPS 20000000
#define NO_EVENT  SIZE_MAX

size_t history_add(struct history *history, const struct history_op *op)
{
    if (history->n == history->size) {
        history->size = history->size ? history->size * 2 : 1024;
        history->ops = em_realloc(history->ops, history->size * sizeof(*history->ops));
    }
    history->ops[history->n] = *op;
    return history->n++;
}

void history_fini(struct history *history)
{
    free(history->ops);
    *history = (struct history){0};
}

static char *op_text(const struct history_op *op)
{
    static const char *const kinds[] = {"move to", "leave of", "remove", "read of"};
    return em_asprintf("%s node %u, epoch %" PRIu64 ", %" PRIu64 " .. %" PRIu64 "%s",
                       kinds[op->kind], op->node, op->epoch, op->begin, op->end,
                       op->is_open ? ", without an answer" : "");
}

/* ---- what a key holds -------------------------------------------------------------------- */

struct value {
    uint32_t node;
    uint64_t epoch; /* 0: somebody holds it since an epoch that nobody was told yet */
    uint64_t last;  /* the highest epoch so far */
};

/* 'node' holds the key and says since when: is that what we know? */
static bool agrees(struct value *value, uint64_t epoch)
{
    if (epoch == 0 || value->epoch == epoch)
        return true;
    if (value->epoch || epoch <= value->last)
        return false;
    value->epoch = value->last = epoch;
    return true;
}

/* False: the operation cannot come here. */
static bool apply(const struct history_op *op, struct value *value)
{
    switch (op->kind) {
    case HISTORY_MOVE:
        if (value->node == op->node)
            return agrees(value, op->epoch);
        *value = (struct value){op->node, 0, value->last};
        return agrees(value, op->epoch);
    case HISTORY_LEAVE:
        if (value->node != op->node)
            return true;
        *value = (struct value){HISTORY_NOBODY, 0, value->last};
        return true;
    case HISTORY_REMOVE:
        *value = (struct value){HISTORY_NOBODY, 0, value->last};
        return true;
    case HISTORY_READ:
        return value->node == op->node && (op->node == HISTORY_NOBODY || agrees(value, op->epoch));
    }
    return false;
}

/* ---- places that the search has been to --------------------------------------------------- */

struct place {
    uint64_t done;  /* sum of a random number for each operation that is placed */
    uint64_t value; /* hash of the value; with 'done' 0 and this 0: free */
};

struct places {
    struct place *cells;
    size_t n, mask;
};

static uint64_t mix(uint64_t x) /* the finaliser of SplitMix64 */
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static bool insert(struct places *places, struct place place)
{
    size_t at = (size_t)mix(place.done ^ place.value) & places->mask;
    for (;; at = (at + 1) & places->mask) {
        struct place *cell = &places->cells[at];
        if (cell->done == place.done && cell->value == place.value)
            return false;
        if (cell->done == 0 && cell->value == 0) {
            *cell = place;
            places->n++;
            return true;
        }
    }
}

static void grow(struct places *places)
{
    struct places larger = {.mask = places->mask * 2 + 1};
    larger.cells = em_calloc(larger.mask + 1, sizeof(*larger.cells));
    for (size_t i = 0; i <= places->mask; i++)
        if (places->cells[i].done || places->cells[i].value)
            insert(&larger, places->cells[i]);
    free(places->cells);
    *places = larger;
}

/* True: it is new. */
static bool add_place(struct places *places, uint64_t done, const struct value *value)
{
    if (places->n * 2 > places->mask)
        grow(places);
    uint64_t hash = mix(mix(mix(value->node) + value->epoch) + value->last) | 1;
    return insert(places, (struct place){done, hash});
}

/* ---- one key ------------------------------------------------------------------------------ */

struct event {
    const struct history_op *op;
    bool is_call;
    uint64_t time;
    size_t prev, next; /* of those that are left; event 0 is the head */
    size_t other;      /* its return, or its call; NO_EVENT */
    size_t twin;       /* the open operation before it that does the same; NO_EVENT */
    bool is_placed;
};

struct step {
    size_t call;
    struct value before;
};

struct search {
    struct event *events;
    size_t n;
    struct step *stack;
    size_t depth, n_left; /* answered operations that are not placed */
    struct places places;
    uint64_t done;
    struct value value;
    size_t deepest;
    const struct history_op *obstacle; /* at the deepest point */
};

static int compare_events(const void *a, const void *b)
{
    const struct event *x = a, *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    return (int)y->is_call - (int)x->is_call;
}

/* Open operations that do the same can be placed in the order of their calls. */
static size_t find_twin(const struct search *s, size_t at)
{
    const struct history_op *op = s->events[at].op;
    for (size_t i = at - 1; i > 0; i--) {
        const struct history_op *other = s->events[i].op;
        if (s->events[i].is_call && other->is_open && other->kind == op->kind &&
            other->node == op->node)
            return i;
    }
    return NO_EVENT;
}

static void link_events(struct search *s, const struct history *history)
{
    size_t *calls = em_malloc(history->n * sizeof(*calls));
    for (size_t i = 1; i < s->n; i++) {
        struct event *event = &s->events[i];
        size_t index = (size_t)(event->op - history->ops);
        event->prev = i - 1;
        event->next = i + 1 < s->n ? i + 1 : NO_EVENT;
        event->other = event->twin = NO_EVENT;
        if (event->is_call) {
            calls[index] = i;
            if (event->op->is_open)
                event->twin = find_twin(s, i);
        } else {
            event->other = calls[index];
            s->events[calls[index]].other = i;
        }
    }
    s->events[0].next = s->n > 1 ? 1 : NO_EVENT;
    free(calls);
}

static void begin_search(struct search *s, const struct history *history, uint32_t key)
{
    *s = (struct search){.n = 1, .places.mask = 1023};
    s->events = em_calloc(1 + 2 * history->n, sizeof(*s->events));
    for (size_t i = 0; i < history->n; i++) {
        const struct history_op *op = &history->ops[i];
        if (op->key != key)
            continue;
        s->events[s->n++] = (struct event){.op = op, .is_call = true, .time = op->begin};
        if (op->is_open)
            continue;
        s->events[s->n++] = (struct event){.op = op, .time = op->end};
        s->n_left++;
    }
    qsort(s->events + 1, s->n - 1, sizeof(*s->events), compare_events);
    link_events(s, history);
    s->stack = em_calloc(s->n, sizeof(*s->stack));
    s->places.cells = em_calloc(s->places.mask + 1, sizeof(*s->places.cells));
}

static void end_search(struct search *s)
{
    free(s->events);
    free(s->stack);
    free(s->places.cells);
}

static void lift(struct search *s, size_t at)
{
    const struct event *event = &s->events[at];
    s->events[event->prev].next = event->next;
    if (event->next != NO_EVENT)
        s->events[event->next].prev = event->prev;
}

static void unlift(struct search *s, size_t at)
{
    const struct event *event = &s->events[at];
    s->events[event->prev].next = at;
    if (event->next != NO_EVENT)
        s->events[event->next].prev = at;
}

/* True: the operation is the next one. */
static bool place(struct search *s, size_t at)
{
    struct event *call = &s->events[at];
    struct value after = s->value;
    uint64_t done = s->done + mix(at);
    if (call->twin != NO_EVENT && !s->events[call->twin].is_placed)
        return false;
    if (!apply(call->op, &after) || !add_place(&s->places, done, &after))
        return false;
    s->stack[s->depth++] = (struct step){at, s->value};
    s->value = after;
    s->done = done;
    s->n_left -= !call->op->is_open;
    call->is_placed = true;
    lift(s, at);
    if (call->other != NO_EVENT)
        lift(s, call->other);
    return true;
}

/* Takes the last one back; where to go on. */
static size_t take_back(struct search *s)
{
    struct step *step = &s->stack[--s->depth];
    struct event *call = &s->events[step->call];
    if (call->other != NO_EVENT)
        unlift(s, call->other);
    unlift(s, step->call);
    call->is_placed = false;
    s->n_left += !call->op->is_open;
    s->done -= mix(step->call);
    s->value = step->before;
    return call->next;
}

static char *describe(const struct search *s, uint32_t key)
{
    char *op = s->obstacle ? op_text(s->obstacle) : em_strdup("nothing");
    char *text = em_asprintf("key %u: no order of its %zu operations explains all answers; %zu can "
                             "be placed, then not: %s",
                             key, s->n_left + s->depth, s->deepest, op);
    free(op);
    return text;
}

static char *check_key(const struct history *history, uint32_t key)
{
    struct search s;
    char *why = NULL;
    begin_search(&s, history, key);
    size_t at = s.events[0].next;
    for (unsigned steps = 0; s.n_left && !why; steps++) {
        if (steps == MAX_STEPS) {
            why = em_asprintf("key %u: too many orders to try", key);
        } else if (at != NO_EVENT && s.events[at].is_call) {
            at = place(&s, at) ? s.events[0].next : s.events[at].next;
        } else {
            if (at != NO_EVENT && s.depth >= s.deepest) {
                s.deepest = s.depth;
                s.obstacle = s.events[at].op;
            }
            if (s.depth == 0)
                why = describe(&s, key);
            else
                at = take_back(&s);
        }
    }
    end_search(&s);
    return why;
}

/* ---- all keys ------------------------------------------------------------------------------ */

/* By key and node, in the order of time. */
static int compare_moves(const void *a, const void *b)
{
    const struct history_op *x = *(const struct history_op *const *)a;
    const struct history_op *y = *(const struct history_op *const *)b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* Keeps the moves whose epoch is their own: the first of those that were told it.  Where one
 * before it was not told its epoch, it may be that one's. */
static size_t keep_first_told(const struct history_op **moves, size_t n)
{
    size_t n_kept = 0;
    uint64_t highest = 0;
    bool is_vague = false, is_open = false;
    const struct history_op *last = NULL;
    for (size_t i = 0; i < n; i++) {
        const struct history_op *op = moves[i];
        if (!last || last->key != op->key || last->node != op->node) {
            highest = 0;
            is_vague = is_open = false;
        }
        last = op;
        is_open = is_open || op->is_open;
        if (op->epoch > highest) {
            highest = op->epoch;
            if (!is_vague && !is_open)
                moves[n_kept++] = op;
        }
        is_vague = op->epoch == 0;
    }
    return n_kept;
}

static int compare_epochs(const void *a, const void *b)
{
    const struct history_op *x = *(const struct history_op *const *)a;
    const struct history_op *y = *(const struct history_op *const *)b;
    return x->epoch < y->epoch ? -1 : x->epoch > y->epoch;
}

static char *describe_pair(const char *what, const struct history_op *a, const struct history_op *b)
{
    char *x = op_text(a), *y = op_text(b);
    char *text = em_asprintf("%s: key %u, %s; and key %u, %s", what, a->key, x, b->key, y);
    free(x);
    free(y);
    return text;
}

/* In the order of their epochs: none has ended before one with a lower epoch began. */
static char *check_epochs(const struct history *history)
{
    const struct history_op **moves = em_malloc((history->n + 1) * sizeof(const void *));
    char *why = NULL;
    size_t n = 0;
    for (size_t i = 0; i < history->n; i++) {
        const struct history_op *op = &history->ops[i];
        if (op->kind == HISTORY_MOVE)
            moves[n++] = op;
    }
    qsort(moves, n, sizeof(const void *), compare_moves);
    n = keep_first_told(moves, n);
    qsort(moves, n, sizeof(const void *), compare_epochs);
    const struct history_op *first = NULL; /* to end, of those with a higher epoch */
    for (size_t i = n; i-- > 0 && !why;) {
        if (i + 1 < n && moves[i]->epoch == moves[i + 1]->epoch)
            why = describe_pair("two moves have one epoch", moves[i], moves[i + 1]);
        else if (first && first->end < moves[i]->begin)
            why = describe_pair("a later move has a lower epoch", first, moves[i]);
        if (!first || moves[i]->end < first->end)
            first = moves[i];
    }
    free(moves);
    return why;
}

char *history_check(const struct history *history)
{
    uint32_t n_keys = 0;
    char *why = NULL;
    for (size_t i = 0; i < history->n; i++)
        if (history->ops[i].key >= n_keys)
            n_keys = history->ops[i].key + 1;
    for (uint32_t key = 0; key < n_keys && !why; key++)
        why = check_key(history, key);
    return why ? why : check_epochs(history);
}
