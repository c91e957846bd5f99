#include "reflector.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "echo.h"
#include "echo_socket.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Some 2,000 nodes at 300 ms ask 8,000 times a second. */
#define RATE  20000 /* answers a second */
#define BURST 2000

#define POLL_EVERY 64 /* messages */

struct xtr_reflector {
    int fd;
    int end; /* eventfd */
    pthread_t thread;
    uint32_t tokens;
    uint64_t filled_us;
};

static bool take_token(struct xtr_reflector *reflector)
{
    uint64_t now = em_now_us();
    uint64_t more = (now - reflector->filled_us) * RATE / 1000000;
    if (more) {
        reflector->filled_us = now;
        more += reflector->tokens;
        reflector->tokens = more > BURST ? BURST : (uint32_t)more;
    }
    if (!reflector->tokens)
        return false;
    reflector->tokens--;
    return true;
}

static void answer(struct xtr_reflector *reflector, const uint8_t *bytes, size_t size,
                   const struct sockaddr_storage *from, socklen_t from_size)
{
    struct xtr_echo echo;
    uint8_t out[XTR_ECHO_SIZE];
    char text[EM_IP_TEXT];
    struct em_ip ip = xtr_echo_ip(from);
    if (xtr_echo_parse(bytes, size, &echo) || echo.type != XTR_ECHO_ASK) {
        em_warn_limited("%s sent something to the probe port that is no probe",
                        em_ip_format(ip.addr, ip.size, text));
        return;
    }
    if (!take_token(reflector)) {
        em_warn_limited("more than %d probes a second come in: some stay unanswered", RATE);
        return;
    }
    echo.type = XTR_ECHO_ANSWER;
    xtr_echo_pack(&echo, out);
    (void)sendto(reflector->fd, out, sizeof out, 0, (const struct sockaddr *)from, from_size);
}

static void *serve(void *aux)
{
    struct xtr_reflector *reflector = aux;
    struct pollfd polls[] = {{.fd = reflector->fd, .events = POLLIN},
                             {.fd = reflector->end, .events = POLLIN}};
    pthread_setname_np(pthread_self(), "reflector");
    for (unsigned n_read = 0; !polls[1].revents; n_read++) {
        uint8_t bytes[XTR_ECHO_SIZE + 1]; /* one more, so that a longer one is seen */
        struct sockaddr_storage from;
        socklen_t size = sizeof from;
        ssize_t n =
            recvfrom(reflector->fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &size);
        if (n >= 0)
            answer(reflector, bytes, (size_t)n, &from, size);
        if (n < 0 || n_read % POLL_EVERY == 0) /* a flood does not keep it from ending */
            poll(polls, 2, n < 0 ? -1 : 0);
    }
    return NULL;
}

/* Signals are for the thread that runs the loop. */
static int start(struct xtr_reflector *reflector)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = pthread_create(&reflector->thread, NULL, serve, reflector);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return -r;
}

int xtr_reflector_new(const struct em_ip *ip, uint16_t port, struct xtr_reflector **ret_reflector)
{
    struct xtr_reflector *reflector = em_calloc(1, sizeof *reflector);
    reflector->fd = xtr_echo_socket(ip, port);
    reflector->end = eventfd(0, EFD_CLOEXEC);
    int r = reflector->fd < 0 ? reflector->fd : reflector->end < 0 ? -errno : start(reflector);
    if (!r) {
        *ret_reflector = reflector;
        return 0;
    }
    if (reflector->fd >= 0)
        close(reflector->fd);
    if (reflector->end >= 0)
        close(reflector->end);
    free(reflector);
    return r;
}

void xtr_reflector_free(struct xtr_reflector *reflector)
{
    if (!reflector)
        return;
    eventfd_write(reflector->end, 1);
    pthread_join(reflector->thread, NULL);
    close(reflector->fd);
    close(reflector->end);
    free(reflector);
}
