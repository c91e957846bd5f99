/* A packet socket (packet(7)).  It is bound only after it has its filter, so that nothing else
 * is ever queued.
 *
 * While there are no tokens the socket is left alone, and the kernel drops what its small
 * buffer does not hold: a guest that floods costs the agent nothing.
 *
 * A device that goes down is told by ENETDOWN from the next read; that it goes away after that
 * is told by nothing, but the socket then has lost its ifindex: so while the device is down
 * that is looked at each second. */
#include "tap.h"

#include "base/clock.h"
#include "base/mem.h"
#include "bucket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURN_FRAMES    32
#define FRAME_SIZE     2048
#define RECEIVE_BUFFER (64 << 10)
#define WAIT_S         0.05 /* for tokens */
#define LOOK_S         1.0  /* for a device that is down */

struct xtr_tap {
    struct ev_loop *loop;
    struct xtr_tap_config config;
    int fd;
    struct xtr_bucket bucket;
    struct xtr_tap_stats stats;
    bool is_down;
    bool *is_freed; /* of the callback that is running */
    ev_io io;
    ev_timer wait, look;
};

/* Offsets as frame.c has them.  The kernel takes a VLAN tag out of the frame and keeps it
 * beside; SKF_AD_VLAN_TAG_PRESENT asks for that. */
static struct sock_filter filter[] = {
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 9),
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_ARP, 8, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_RARP, 7, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, 0, 5),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 20),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 0, 3),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 54),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 135, 2, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 136, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, 0),
    BPF_STMT(BPF_RET | BPF_K, FRAME_SIZE),
};

static int set_option(int fd, int level, int option, const void *value, socklen_t size)
{
    return setsockopt(fd, level, option, value, size) ? -errno : 0;
}

static int open_socket(uint32_t ifindex, int *ret_fd)
{
    const struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    const struct sockaddr_ll addr = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)ifindex};
    const int on = 1, size = RECEIVE_BUFFER;
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = set_option(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
    if (!r)
        r = set_option(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
    if (!r)
        r = set_option(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (!r && bind(fd, (const struct sockaddr *)&addr, sizeof addr))
        r = -errno;
    if (r)
        close(fd);
    else
        *ret_fd = fd;
    return r;
}

/* The device */

static struct sockaddr_ll own_address(const struct xtr_tap *tap)
{
    struct sockaddr_ll addr = {0};
    socklen_t size = sizeof addr;
    (void)getsockname(tap->fd, (struct sockaddr *)&addr, &size);
    return addr;
}

static bool is_gone(const struct xtr_tap *tap)
{
    return own_address(tap).sll_ifindex <= 0;
}

void xtr_tap_mac(const struct xtr_tap *tap, uint8_t ret_mac[EM_MAC_SIZE])
{
    struct sockaddr_ll addr = own_address(tap);
    memcpy(ret_mac, addr.sll_addr, EM_MAC_SIZE);
}

static void report(struct xtr_tap *tap, int err)
{
    if (err == -ENODEV) {
        ev_timer_stop(tap->loop, &tap->look);
        ev_timer_stop(tap->loop, &tap->wait);
        ev_io_stop(tap->loop, &tap->io);
    } else {
        ev_timer_again(tap->loop, &tap->look);
    }
    tap->is_down = true;
    tap->config.on_down(tap->config.aux, err);
}

static void on_look(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct xtr_tap *tap = w->data;
    if (is_gone(tap))
        report(tap, -ENODEV);
}

static void be_down(struct xtr_tap *tap)
{
    if (is_gone(tap))
        report(tap, -ENODEV);
    else if (!tap->is_down)
        report(tap, -ENETDOWN);
}

static void be_up(struct xtr_tap *tap)
{
    tap->is_down = false;
    ev_timer_stop(tap->loop, &tap->look);
}

/* Frames */

static void show(struct xtr_tap *tap, const uint8_t *bytes, size_t size)
{
    struct xtr_frame frame;
    if (size > FRAME_SIZE || !xtr_frame_parse(bytes, size, &frame)) {
        tap->stats.n_bad++;
        return;
    }
    tap->stats.n_frames++;
    tap->config.on_frame(tap->config.aux, &frame, bytes, size);
}

static void pause_reading(struct xtr_tap *tap)
{
    tap->stats.n_dropped++;
    ev_io_stop(tap->loop, &tap->io);
    ev_timer_again(tap->loop, &tap->wait);
}

/* False: nothing more for now. */
static bool receive(struct xtr_tap *tap)
{
    uint8_t bytes[FRAME_SIZE];
    ssize_t got = recv(tap->fd, bytes, sizeof bytes, MSG_TRUNC);
    if (got < 0 && errno == ENETDOWN)
        be_down(tap);
    if (got < 0)
        return false;
    if (tap->is_down)
        be_up(tap);
    bool has_token = xtr_bucket_take(&tap->bucket, em_now_ms());
    if (has_token)
        show(tap, bytes, (size_t)got);
    else
        pause_reading(tap);
    return has_token;
}

static void on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct xtr_tap *tap = w->data;
    bool is_freed = false, has_more = true;
    tap->is_freed = &is_freed;
    for (int i = 0; i < TURN_FRAMES && has_more && !is_freed; i++)
        has_more = receive(tap);
    if (!is_freed)
        tap->is_freed = NULL;
}

static void on_wait(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct xtr_tap *tap = w->data;
    ev_timer_stop(loop, w);
    ev_io_start(loop, &tap->io);
}

int xtr_tap_send(struct xtr_tap *tap, const uint8_t *bytes, size_t size)
{
    return send(tap->fd, bytes, size, MSG_DONTWAIT) < 0 ? -errno : 0;
}

struct xtr_tap_stats xtr_tap_stats(struct xtr_tap *tap)
{
    struct tpacket_stats kernel; /* reading them sets them to 0 */
    socklen_t size = sizeof kernel;
    if (!getsockopt(tap->fd, SOL_PACKET, PACKET_STATISTICS, &kernel, &size))
        tap->stats.n_dropped += kernel.tp_drops;
    return tap->stats;
}

/* Life */

/* 'device' NULL: any. */
static char *describe(const char *device, int err)
{
    if (err == -EPERM)
        return em_strdup("listening to guests needs the capability CAP_NET_RAW: give it to xtr "
                         "(AmbientCapabilities= of its systemd unit), or run it as root");
    return em_asprintf("cannot listen to guests on device %s: %s", device ? device : "*",
                       strerror(-err));
}

int xtr_tap_check(char **ret_why)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        int r = -errno;
        *ret_why = describe(NULL, r);
        return r;
    }
    close(fd);
    return 0;
}

int xtr_tap_new(struct ev_loop *loop, const struct xtr_tap_config *config, struct xtr_tap **ret_tap,
                char **ret_why)
{
    int fd, r = open_socket(config->ifindex, &fd);
    if (r) {
        *ret_why = describe(config->device, r);
        return r;
    }
    struct xtr_tap *tap = em_calloc(1, sizeof *tap);
    tap->loop = loop;
    tap->config = *config;
    tap->config.device = NULL;
    tap->fd = fd;
    xtr_bucket_init(&tap->bucket, config->rate, config->burst, em_now_ms());
    ev_io_init(&tap->io, on_readable, fd, EV_READ);
    ev_timer_init(&tap->wait, on_wait, WAIT_S, WAIT_S);
    ev_timer_init(&tap->look, on_look, LOOK_S, LOOK_S);
    tap->io.data = tap->wait.data = tap->look.data = tap;
    ev_io_start(loop, &tap->io);
    *ret_tap = tap;
    return 0;
}

void xtr_tap_free(struct xtr_tap *tap)
{
    if (!tap)
        return;
    if (tap->is_freed)
        *tap->is_freed = true;
    ev_io_stop(tap->loop, &tap->io);
    ev_timer_stop(tap->loop, &tap->wait);
    ev_timer_stop(tap->loop, &tap->look);
    close(tap->fd);
    free(tap);
}
