/* An ear on one device: the ARP, RARP and neighbour discovery that its peer, the guest, sends;
 * and a mouth, for answers to it.
 *
 * A filter in the kernel drops all else, and frames with a VLAN tag, before they reach the
 * process; what this host sends out of the device is not heard.  Frames above the rate are
 * dropped in the kernel, too, and counted. */
#ifndef XTR_TAP_H
#define XTR_TAP_H

#include "frame.h"

struct ev_loop;
struct xtr_tap;

/* 'bytes' is the whole frame; both are lent for the call, which may free the tap. */
typedef void xtr_tap_frame_fn(void *aux, const struct xtr_frame *frame, const uint8_t *bytes,
                              size_t size);

/* -ENETDOWN: the device is down, and the tap hears again when it is up; -ENODEV: it is gone,
 * and the tap of no use any more.  Each is said once; the call may free the tap. */
typedef void xtr_tap_down_fn(void *aux, int err);

struct xtr_tap_config {
    uint32_t ifindex;
    const char *device; /* its name, for messages; lent for the call */
    uint32_t rate;      /* frames a second, ... */
    uint32_t burst;     /* ... and at once */
    xtr_tap_frame_fn *on_frame;
    xtr_tap_down_fn *on_down;
    void *aux;
};

/* 0, or -errno with a sentence in *ret_why (free() it): -EPERM without CAP_NET_RAW. */
int xtr_tap_new(struct ev_loop *loop, const struct xtr_tap_config *config, struct xtr_tap **ret_tap,
                char **ret_why);

/* May this process listen at all?  As xtr_tap_new() has it. */
int xtr_tap_check(char **ret_why);

/* NULL is fine. */
void xtr_tap_free(struct xtr_tap *tap);

/* The device's own MAC: a guest's answer to it goes no further than this host. */
void xtr_tap_mac(const struct xtr_tap *tap, uint8_t ret_mac[EM_MAC_SIZE]);

/* Sends a frame to the guest; 0 or -errno. */
int xtr_tap_send(struct xtr_tap *tap, const uint8_t *bytes, size_t size);

struct xtr_tap_stats {
    uint64_t n_frames;  /* shown */
    uint64_t n_bad;     /* damaged, or not allowed */
    uint64_t n_dropped; /* above the rate */
};
struct xtr_tap_stats xtr_tap_stats(struct xtr_tap *tap);

#endif
