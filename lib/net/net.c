#include "net/net.h"

#include "base/mem.h"
#include "net/net_internal.h"

#include <assert.h>
#include <ev.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>

/* A send to a socket takes some microseconds: between so many, others have their turn.  To encrypt
 * takes its time, too. */
#define TURN_FLUSHES 64
#define TURN_BYTES   (128u << 10)

struct dead {
    struct dead *next;
    void *object;
    void (*free_fn)(void *object);
};

struct em_net {
    struct ev_loop *loop;
    ev_prepare prepare; /* started while something is dead or waits to be flushed */
    /* Keeps the loop from waiting: started while a turn has work left, and with 'prepare', which
     * does not come in the turn whose prepare watchers have been collected. */
    ev_idle idle;
    struct em_list flush;
    struct em_list bulk; /* to be flushed too, behind those that somebody may wait for */
    struct em_list ready;
    struct dead *dead;
    uint8_t *scratch;
};

static void bury(struct em_net *net)
{
    while (net->dead) {
        struct dead *dead = net->dead;
        net->dead = dead->next;
        dead->free_fn(dead->object);
        free(dead);
    }
}

/* Puts all of 'todo' before what is in 'list'. */
static void prepend(struct em_list *list, struct em_list *todo)
{
    if (em_list_is_empty(todo))
        return;
    todo->prev->next = list->next;
    list->next->prev = todo->prev;
    list->next = todo->next;
    todo->next->prev = list;
    em_list_init(todo);
}

/* Takes the list as it is now: what a callback appends waits for the next turn.  So does what
 * is beyond the first 'max', or beyond TURN_BYTES, before it. */
static void run_list(struct em_list *list, unsigned max, size_t (*fn)(struct em_list *item))
{
    struct em_list todo;
    size_t n_bytes = 0;
    if (em_list_is_empty(list))
        return;
    todo = *list;
    todo.next->prev = &todo;
    todo.prev->next = &todo;
    em_list_init(list);
    for (; !em_list_is_empty(&todo) && max && n_bytes < TURN_BYTES; max--) {
        struct em_list *item = todo.next;
        em_list_remove(item);
        n_bytes += fn(item);
    }
    prepend(list, &todo);
}

static bool has_work(const struct em_net *net)
{
    return !em_list_is_empty(&net->flush) || !em_list_is_empty(&net->bulk) ||
           !em_list_is_empty(&net->ready);
}

static void on_prepare(struct ev_loop *loop, ev_prepare *w, int revents)
{
    struct em_net *net = w->data;
    run_list(&net->flush, TURN_FLUSHES, em_conn_flush_item);
    run_list(&net->bulk, TURN_FLUSHES, em_conn_flush_item);
    bury(net);
    if (has_work(net)) {
        ev_idle_start(loop, &net->idle);
        return;
    }
    ev_idle_stop(loop, &net->idle);
    ev_prepare_stop(loop, w);
}

static void on_idle(struct ev_loop *loop, ev_idle *w, int revents)
{
    struct em_net *net = w->data;
    ev_idle_stop(loop, w);
    run_list(&net->ready, UINT_MAX, em_conn_ready_item);
    ev_prepare_start(loop, &net->prepare);
}

/* A peer that closes must not end the program; a handler that somebody set stays. */
static void ignore_sigpipe(void)
{
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

struct em_net *em_net_new(struct ev_loop *loop)
{
    struct em_net *net = em_calloc(1, sizeof(*net));
    net->loop = loop;
    net->scratch = em_malloc(EM_NET_SCRATCH);
    em_list_init(&net->flush);
    em_list_init(&net->bulk);
    em_list_init(&net->ready);
    ev_prepare_init(&net->prepare, on_prepare);
    net->prepare.data = net;
    ev_idle_init(&net->idle, on_idle);
    ev_set_priority(&net->idle, EV_MAXPRI); /* else it waits for a turn without any event */
    net->idle.data = net;
    ignore_sigpipe();
    return net;
}

void em_net_free(struct em_net *net)
{
    if (!net)
        return;
    assert(!has_work(net));
    bury(net);
    ev_prepare_stop(net->loop, &net->prepare);
    ev_idle_stop(net->loop, &net->idle);
    free(net->scratch);
    free(net);
}

struct ev_loop *em_net_loop(const struct em_net *net)
{
    return net->loop;
}

uint8_t *em_net_scratch(const struct em_net *net)
{
    return net->scratch;
}

void em_net_reap(struct em_net *net, void *object, void (*free_fn)(void *object))
{
    struct dead *dead = em_malloc(sizeof(*dead));
    *dead = (struct dead){net->dead, object, free_fn};
    net->dead = dead;
    ev_prepare_start(net->loop, &net->prepare);
}

static void queue(struct em_net *net, struct em_list *list, struct em_list *item)
{
    if (!em_list_is_empty(item))
        return;
    em_list_append(list, item);
    if (ev_is_active(&net->prepare))
        return;
    ev_prepare_start(net->loop, &net->prepare);
    ev_idle_start(net->loop, &net->idle);
}

void em_net_queue_flush(struct em_net *net, struct em_list *item, bool is_bulk)
{
    queue(net, is_bulk ? &net->bulk : &net->flush, item);
}

void em_net_queue_ready(struct em_net *net, struct em_list *item)
{
    queue(net, &net->ready, item);
}
