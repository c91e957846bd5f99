#include "net/listener.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURN_ACCEPTS 16
#define FULL_WAIT_S  0.5 /* until accept is tried again when descriptors have run out */

struct em_listener {
    struct ev_loop *loop;
    struct em_address address;
    em_accept_fn *on_accept;
    void *aux;
    int fd;
    bool is_paused;
    ev_io io;
    ev_timer retry;
};

static void on_retry(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct em_listener *listener = w->data;
    if (!listener->is_paused)
        ev_io_start(loop, &listener->io);
}

static void on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct em_listener *listener = w->data;
    for (int i = 0; i < TURN_ACCEPTS && !listener->is_paused; i++) {
        int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            if (listener->address.transport != EM_UNIX)
                em_socket_tune(fd);
            listener->on_accept(listener->aux, &listener->address, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            em_warn_limited("cannot accept: %s; raise the limit of open files (LimitNOFILE)",
                            strerror(errno));
            ev_io_stop(loop, w);
            ev_timer_set(&listener->retry, FULL_WAIT_S, 0);
            ev_timer_start(loop, &listener->retry);
            return;
        }
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

static char *listen_why(const char *text, const struct em_address *address, int err)
{
    if (err == -EADDRINUSE)
        return em_asprintf("%s: another process serves this address already", text);
    if (err == -EADDRNOTAVAIL)
        return em_asprintf("%s: not an address of this host", text);
    if (err == -EEXIST)
        return em_asprintf("%s: exists and is not a socket; remove it or choose another path",
                           address->path);
    if (address->transport == EM_UNIX && err == -ENOENT)
        return em_asprintf("%s: its directory does not exist", address->path);
    return em_asprintf("%s: cannot listen: %s", text, strerror(-err));
}

int em_listener_new(struct ev_loop *loop, const char *text, mode_t mode, em_accept_fn *on_accept,
                    void *aux, struct em_listener **ret_listener, char **ret_why)
{
    struct em_address address;
    char why[EM_ADDR_WHY];
    int r = em_address_parse(text, &address, why);
    if (r) {
        *ret_why = em_asprintf("%s: %s", text, why);
        return r;
    }
    int fd = em_socket_listen(&address, mode);
    if (fd < 0) {
        *ret_why = listen_why(text, &address, fd);
        return fd;
    }
    struct em_listener *listener = em_calloc(1, sizeof(*listener));
    *listener = (struct em_listener){
        .loop = loop, .address = address, .on_accept = on_accept, .aux = aux, .fd = fd};
    ev_io_init(&listener->io, on_readable, fd, EV_READ);
    listener->io.data = listener;
    ev_io_start(loop, &listener->io);
    ev_timer_init(&listener->retry, on_retry, 0, 0);
    listener->retry.data = listener;
    *ret_listener = listener;
    return 0;
}

void em_listener_free(struct em_listener *listener)
{
    if (!listener)
        return;
    ev_io_stop(listener->loop, &listener->io);
    ev_timer_stop(listener->loop, &listener->retry);
    if (listener->address.transport == EM_UNIX) /* before another process finds nobody behind it */
        unlink(listener->address.path);
    close(listener->fd);
    free(listener);
}

void em_listener_pause(struct em_listener *listener)
{
    listener->is_paused = true;
    ev_io_stop(listener->loop, &listener->io);
}

void em_listener_resume(struct em_listener *listener)
{
    if (!listener->is_paused)
        return; /* it may be waiting for a free descriptor */
    listener->is_paused = false;
    ev_io_start(listener->loop, &listener->io);
}

const struct em_address *em_listener_address(const struct em_listener *listener)
{
    return &listener->address;
}
