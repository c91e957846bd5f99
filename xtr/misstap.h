/* Reads frames from a network's miss port, a bounded number a turn of the loop, and writes
 * frames into the network. */
#ifndef XTR_MISSTAP_H
#define XTR_MISSTAP_H

#include <ev.h>
#include <stddef.h>
#include <stdint.h>

typedef void xtr_misstap_frame_fn(void *aux, const uint8_t *frame, size_t size);
/* The port is gone (somebody has deleted the device, or set it down): 'err' is -errno.  The tap
 * has stopped; the callback may open it again. */
typedef void xtr_misstap_end_fn(void *aux, int err);

struct xtr_misstap {
    struct ev_loop *loop;
    ev_io io;
    int fd;
    xtr_misstap_frame_fn *on_frame;
    xtr_misstap_end_fn *on_end;
    void *aux;
};

/* 'fd' does not block, and stays the caller's. */
void xtr_misstap_start(struct xtr_misstap *tap, struct ev_loop *loop, int fd,
                       xtr_misstap_frame_fn *on_frame, xtr_misstap_end_fn *on_end, void *aux);
void xtr_misstap_stop(struct xtr_misstap *tap);

/* A frame that does not fit the queue is lost, as frames are. */
void xtr_misstap_write(const struct xtr_misstap *tap, const uint8_t *frame, size_t size);

#endif
