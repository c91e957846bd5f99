#include "misstap.h"

#include <errno.h>
#include <unistd.h>

#define TURN_FRAMES 64 /* then others have their turn */
#define FRAME_SIZE  65600

static void on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    static uint8_t frame[FRAME_SIZE];
    struct xtr_misstap *tap = w->data;
    for (int i = 0; i < TURN_FRAMES && ev_is_active(w); i++) {
        ssize_t size = read(tap->fd, frame, sizeof frame);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (size <= 0) {
            int err = size ? -errno : -ENODEV;
            xtr_misstap_stop(tap);
            tap->on_end(tap->aux, err);
            return;
        }
        tap->on_frame(tap->aux, frame, (size_t)size);
    }
}

void xtr_misstap_start(struct xtr_misstap *tap, struct ev_loop *loop, int fd,
                       xtr_misstap_frame_fn *on_frame, xtr_misstap_end_fn *on_end, void *aux)
{
    *tap = (struct xtr_misstap){
        .loop = loop, .fd = fd, .on_frame = on_frame, .on_end = on_end, .aux = aux};
    ev_io_init(&tap->io, on_readable, fd, EV_READ);
    tap->io.data = tap;
    ev_io_start(loop, &tap->io);
}

void xtr_misstap_stop(struct xtr_misstap *tap)
{
    ev_io_stop(tap->loop, &tap->io);
}

void xtr_misstap_write(const struct xtr_misstap *tap, const uint8_t *frame, size_t size)
{
    if (write(tap->fd, frame, size) < 0)
        return;
}
