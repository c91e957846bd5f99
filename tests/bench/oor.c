/* OpenOverlayRouter's map server, the LISP peer: how many Map-Requests it answers, how long one
 * takes, the memory that it has for an endpoint, and how long it answers nobody while
 * registrations expire.
 *
 *     this process ── lo, UDP 4342 ──> oor (MS), in a network namespace of their own
 *
 * No Debian package has it: EIDMAP_OOR names the program.  All endpoints are registered by
 * Map-Registers, and the map server replies for them.  A bare UDP echo of the same questions is
 * the limit of sockets and load generator. */
#include "base/mem.h"
#include "bench.h"

#include "lisp.h"
#include "scratch.h"
#include "udp_load.h"
#include "usage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIPPED   77
#define ADDRESS   "10.99.0.1"
#define KEY       "bench"
#define START_MS  10000
#define EXPIRY_S  182            /* MS_SITE_EXPIRATION and its margin */
#define API       "/tmp/oor-ipc" /* its socket for NETCONF, which it leaves behind */
#define IN_FLIGHT 256
#define ECHO_PORT 4343
#define EARLY_S   20 /* before the last registrations expire, at the latest; filling takes time */

struct oor {
    pid_t pid;
    char dir[64], log[80];
};

/* ---- the program ---- */

static void make_namespace(void)
{
    if (unshare(CLONE_NEWNET))
        real_fail("cannot make a network namespace: %s", strerror(errno));
    bench_run("ip link set lo up && ip link add u0 type veth peer name u1 && "
              "ip address add " ADDRESS "/24 dev u0 && ip link set u0 up && ip link set u1 up && "
              "ip route add default via 10.99.0.254");
}

static char *write_config(const struct oor *oor)
{
    char *path = em_asprintf("%s/oor.conf", oor->dir);
    FILE *file = fopen(path, "w");
    if (!file)
        real_fail("%s: %s", path, strerror(errno));
    fprintf(file,
            "debug = 0\noperating-mode = MS\ncontrol-iface = u0\n"
            "lisp-site {\n  eid-prefix = %s\n  key-type = 1\n  key = " KEY "\n  iid = 0\n"
            "  accept-more-specifics = true\n  proxy-reply = true\n}\n",
            lisp_prefix);
    fclose(file);
    return path;
}

static void start(struct oor *ret_oor, const char *program)
{
    const char *tmp = getenv("TMPDIR");
    struct oor *oor = ret_oor;
    snprintf(oor->dir, sizeof(oor->dir), "%.40s/oor-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(oor->dir))
        real_fail("%s: %s", oor->dir, strerror(errno));
    snprintf(oor->log, sizeof(oor->log), "%s/log", oor->dir);
    char *config = write_config(oor);
    const char *argv[] = {program, "--config-file", config, "--afi", "4", NULL};
    oor->pid = real_spawn((char *const *)argv, NULL, oor->log);
    free(config);
}

static void stop(struct oor *oor)
{
    kill(oor->pid, SIGKILL); /* it holds nothing that could be lost */
    waitpid(oor->pid, NULL, 0);
    real_remove_tree(oor->dir);
    unlink(API);
}

/* ---- what is sent ---- */

static size_t put_register(void *aux, uint64_t nonce, uint32_t index, uint8_t *out)
{
    const struct bench *bench = aux;
    uint32_t first = index * LISP_RECORDS_MAX, left = bench->n_ports - first;
    return lisp_put_register(out, nonce, 1 + first,
                             left < LISP_RECORDS_MAX ? left : LISP_RECORDS_MAX, KEY);
}

static size_t put_request(void *aux, uint64_t nonce, uint32_t index, uint8_t *out)
{
    const struct sockaddr_in *own = aux;
    return lisp_put_request(out, nonce, 1 + index, own->sin_addr.s_addr, own->sin_port);
}

static bool is_positive(void *aux, uint32_t index, const uint8_t *data, size_t size)
{
    return lisp_is_positive(data, size, 1 + index);
}

/* A socket towards 'port' of this host, and its own address. */
static int open_socket(uint16_t port, struct sockaddr_in *ret_own)
{
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t size = sizeof(*ret_own);
    int buffer = 4 << 20, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, ADDRESS, &there.sin_addr);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)) ||
        connect(fd, (const struct sockaddr *)&there, sizeof(there)) ||
        getsockname(fd, (struct sockaddr *)ret_own, &size))
        real_fail("a UDP socket: %s", strerror(errno));
    return fd;
}

/* ---- figures ---- */

/* Map-Registers until all are in the map; those of the beginning also wait for the start. */
static void fill(const struct bench *bench, const struct oor *oor, struct udp_load_result *result)
{
    struct sockaddr_in own;
    struct udp_load_config config = {.name = "OOR, asked to register",
                                     .fd = open_socket(LISP_UDP_PORT, &own),
                                     .n_flight = 1,
                                     .n = 1,
                                     .stride = 1,
                                     .put = put_register,
                                     .nonce_of = lisp_is_notify,
                                     .aux = (void *)bench};
    udp_load_run(&config, result);
    double before = usage_anon(oor->pid);
    config.n_flight = 16;
    config.n = (bench->n_ports + LISP_RECORDS_MAX - 1) / LISP_RECORDS_MAX;
    udp_load_run(&config, result);
    close(config.fd);
    double taken = usage_anon(oor->pid) - before;
    bench_figure(bench, "ports", bench->n_ports, "", "endpoints registered");
    bench_figure(bench, "register.rate", bench->n_ports / result->seconds, "1/s",
                 "registrations of endpoints, 40 in a Map-Register, 16 of these under way");
    bench_figure(bench, "memory", taken / 1e6, "MB", "its own memory for all endpoints");
    bench_figure(bench, "entry", taken / (bench->n_ports - LISP_RECORDS_MAX), "B",
                 "for an endpoint");
}

static void measure(const struct bench *bench, const char *prefix, uint16_t port, unsigned n_flight,
                    bool is_echo, const char *what)
{
    struct udp_load_result *result = em_calloc(1, sizeof(*result));
    struct sockaddr_in own;
    const struct udp_load_config config = {.name = is_echo ? "the echo" : "OOR",
                                           .fd = open_socket(port, &own),
                                           .n_flight = n_flight,
                                           .n = bench->n_ports,
                                           .stride = 7919,
                                           .seconds = bench->seconds,
                                           .put = put_request,
                                           .nonce_of = is_echo ? lisp_is_request : lisp_is_reply,
                                           .is_right = is_echo ? NULL : is_positive,
                                           .aux = &own};
    char name[48];
    udp_load_run(&config, result);
    close(config.fd);
    snprintf(name, sizeof(name), "%s%u", prefix, n_flight);
    bench_latency(bench, name, &result->hist, result->rate, what);
    if (result->n_again) {
        snprintf(name, sizeof(name), "%s%u.again", prefix, n_flight);
        bench_figure(bench, name, (double)result->n_again, "", "asked again after half a second");
    }
    free(result);
}

static pid_t start_echo(uint16_t port)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&here, sizeof(here)))
        real_fail("the echo: %s", strerror(errno));
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        real_fail("fork: %s", strerror(errno));
    if (pid == 0) {
        uint8_t data[UDP_LOAD_SIZE_MAX];
        struct sockaddr_in from;
        socklen_t size = sizeof(from);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (getppid() == parent) {
            ssize_t n = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &size);
            if (n > 0)
                sendto(fd, data, (size_t)n, 0, (const struct sockaddr *)&from, size);
        }
        _exit(0);
    }
    close(fd);
    return pid;
}

struct last {
    struct sockaddr_in own;
    uint32_t number;
    bool is_registered;
};

static size_t put_last(void *aux, uint64_t nonce, uint32_t index, uint8_t *out)
{
    struct last *last = aux;
    return lisp_put_request(out, nonce, last->number, last->own.sin_addr.s_addr,
                            last->own.sin_port);
}

static bool note_last(void *aux, uint32_t index, const uint8_t *data, size_t size)
{
    struct last *last = aux;
    last->is_registered = lisp_is_positive(data, size, last->number);
    return true;
}

/* The registrations end when they are three minutes old; who asks meanwhile has to wait. */
static void expire(const struct bench *bench, uint64_t filled_ns)
{
    struct udp_load_result *result = em_calloc(1, sizeof(*result));
    struct last last = {.number = bench->n_ports, .is_registered = true};
    struct udp_load_config config = {.name = "OOR, while registrations expire",
                                     .fd = open_socket(LISP_UDP_PORT, &last.own),
                                     .n_flight = 1,
                                     .n = 1,
                                     .stride = 1,
                                     .seconds = 1,
                                     .put = put_last,
                                     .nonce_of = lisp_is_reply,
                                     .is_right = note_last,
                                     .aux = &last};
    uint64_t longest_ns = 0, limit_ns = filled_ns + (EXPIRY_S + 60) * 1000000000ull;
    while (bench_now_ns() < filled_ns + (EXPIRY_S - EARLY_S) * 1000000000ull)
        usleep(100000);
    while (last.is_registered) {
        udp_load_run(&config, result);
        if (result->longest_ns > longest_ns)
            longest_ns = result->longest_ns;
        if (bench_now_ns() > limit_ns)
            real_fail("OOR: the last registration does not expire");
    }
    close(config.fd);
    free(result);
    bench_figure(bench, "expiry.stall", (double)longest_ns / 1e6, "ms",
                 "longest wait of who asks, while all registrations expire");
}

int main(int argc, char **argv)
{
    double wants_expiry = 0;
    const struct bench_option more[] = {
        {"expiry", &wants_expiry, 0, 1, "0|1", "wait three minutes until registrations expire (0)"},
        {NULL}};
    struct bench bench =
        bench_parse_more(argc, argv, "oor", "OpenOverlayRouter's map server, the LISP peer", more);
    const char *program = getenv("EIDMAP_OOR");
    if (!program || access(program, X_OK) || geteuid() != 0) {
        puts(program && !access(program, X_OK) ? "skipped: only root can make network namespaces"
                                               : "skipped: set EIDMAP_OOR to the program; "
                                                 "docs/performance.md says how to build it");
        return SKIPPED;
    }
    struct oor oor;
    struct udp_load_result *result = em_calloc(1, sizeof(*result));
    scratch_enter();
    make_namespace();
    start(&oor, program);
    fill(&bench, &oor, result);
    uint64_t filled_ns = bench_now_ns();
    pid_t echo = start_echo(ECHO_PORT);
    measure(&bench, "echo.", ECHO_PORT, IN_FLIGHT, true, "datagrams echoed, as many under way");
    measure(&bench, "echo.", ECHO_PORT, 1, true, "datagrams echoed, one after the other");
    kill(echo, SIGKILL);
    waitpid(echo, NULL, 0);
    measure(&bench, "", LISP_UDP_PORT, IN_FLIGHT, false, "Map-Requests answered, 256 under way");
    measure(&bench, "", LISP_UDP_PORT, 1, false, "Map-Requests answered, one after the other");
    if (wants_expiry > 0)
        expire(&bench, filled_ns);
    stop(&oor);
    free(result);
    return 0;
}
