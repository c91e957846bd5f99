#include "swarm_floor.h"

#include "base/mem.h"
#include "bench.h"
#include "net/socket.h"
#include "server/real_server.h"
#include "usage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 200

static int must(int r, const char *what)
{
    if (r < 0)
        real_fail("floor: %s: %s", what, strerror(errno));
    return r;
}

/* A round at a time, when the other side says so.  All of it is this process's. */
static void write_rounds(const int *fds, unsigned n, unsigned size, int go, int result)
{
    uint8_t *bytes = em_calloc(1, size), token;
    double cpu_s = usage_cpu_s(getpid());
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (read(go, &token, 1) != 1)
            _exit(1);
        for (unsigned i = 0; i < n; i++)
            if (write(fds[i], bytes, size) != (ssize_t)size)
                _exit(1);
    }
    cpu_s = usage_cpu_s(getpid()) - cpu_s;
    _exit(write(result, &cpu_s, sizeof(cpu_s)) == sizeof(cpu_s) ? 0 : 1);
}

static void take_round(int epoll, size_t wanted)
{
    static uint8_t scratch[65536];
    struct epoll_event events[64];
    for (size_t taken = 0; taken < wanted;) {
        int n = must(epoll_wait(epoll, events, 64, -1), "epoll");
        for (int i = 0; i < n; i++) {
            ssize_t size = read(events[i].data.fd, scratch, sizeof(scratch));
            if (size <= 0)
                real_fail("floor: a connection ends");
            taken += (size_t)size;
        }
    }
}

/* Connects 'n' times; fds[i] are the writer's ends, and the others are in 'epoll'. */
static void connect_all(int *fds, int *others, unsigned n, int epoll)
{
    struct em_address address = {
        .transport = EM_TCP, .ip = {4, {127, 0, 0, 1}}, .port = real_free_port()};
    int listener = must(em_socket_listen(&address, 0), "listen");
    for (unsigned i = 0; i < n; i++) {
        fds[i] = must(em_socket_connect(&address), "connect");
        while ((others[i] = accept(listener, NULL, NULL)) < 0 && errno == EAGAIN)
            usleep(10);
        em_socket_tune(must(others[i], "accept"));
        struct epoll_event event = {.events = EPOLLIN, .data.fd = others[i]};
        must(epoll_ctl(epoll, EPOLL_CTL_ADD, others[i], &event), "epoll");
    }
    close(listener);
}

double swarm_floor_us(unsigned n, unsigned size, struct hist *ret_rounds)
{
    int *fds = em_calloc(2 * n, sizeof(*fds)), *others = fds + n, go[2], result[2], status;
    int epoll = must(epoll_create1(EPOLL_CLOEXEC), "epoll");
    double cpu_s = 0;
    connect_all(fds, others, n, epoll);
    must(pipe(go), "pipe");
    must(pipe(result), "pipe");
    pid_t pid = must(fork(), "fork");
    if (pid == 0)
        write_rounds(fds, n, size, go[0], result[1]);
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t start = bench_now_ns();
        must((int)write(go[1], "", 1), "write");
        take_round(epoll, (size_t)n * size);
        hist_add(ret_rounds, bench_now_ns() - start);
    }
    if (read(result[0], &cpu_s, sizeof(cpu_s)) != sizeof(cpu_s) ||
        waitpid(pid, &status, 0) != pid || status)
        real_fail("floor: the writer fails");
    for (unsigned i = 0; i < 2 * n; i++)
        close(fds[i]);
    for (int i = 0; i < 2; i++) {
        close(go[i]);
        close(result[i]);
    }
    close(epoll);
    free(fds);
    return cpu_s * 1e6 / ((double)n * ROUNDS);
}
