#include "server/real_server.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/pki.h"
#include "net/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS    20000
#define RUN_MS      10000
#define FIRST_PORT  20000 /* below the kernel's range for clients, 32768 .. 60999 */
#define N_PORTS     10000
#define CERT_DAYS   30
#define SERVER_ID   "s1"
#define OPERATOR_ID "tester"

void real_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

void real_remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

const char *real_program(const char *name)
{
    bool is_xtr = strcmp(name, "xtr") == 0;
    const char *path = getenv(is_xtr ? "EIDMAP_XTR" : "EIDMAP_MAPSERVER");
    return path ? path : is_xtr ? EM_XTR_PATH : EM_MAPSERVER_PATH;
}

uint16_t real_free_port(void)
{
    static unsigned next;
    struct em_address address = {.transport = EM_TCP, .ip = {4, {127, 0, 0, 1}}};
    next += next ? 1 : (unsigned)getpid() * 7;
    for (int i = 0; i < N_PORTS; i++, next++) {
        address.port = (uint16_t)(FIRST_PORT + next % N_PORTS);
        int fd = em_socket_listen(&address, 0);
        if (fd < 0)
            continue;
        close(fd);
        return address.port;
    }
    real_fail("no free port on 127.0.0.1");
}

/* ---- processes ---------------------------------------------------------------------- */

/* Of the calling process, for good. */
static void enter(const char *netns)
{
    char path[128];
    snprintf(path, sizeof(path), "/run/netns/%s", netns);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET))
        _exit(126);
    close(fd);
}

pid_t real_spawn(char *const argv[], const char *netns, const char *log)
{
    pid_t parent = getpid();
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        real_fail("fork: %s", strerror(errno));
    if (pid)
        return pid;
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    if (fd < 0 || dup2(fd, STDERR_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0 || getppid() != parent)
        _exit(126);
    if (netns)
        enter(netns);
    execv(argv[0], argv);
    dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static int exit_status(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int real_wait(pid_t pid, unsigned limit_ms)
{
    int status;
    uint64_t end = em_now_ms() + limit_ms;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (em_now_ms() >= end) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return -1;
        }
        usleep(2000);
    }
    return exit_status(status);
}

/* ---- one map server ------------------------------------------------------------------ */

void real_server_issue(const struct real_server *server, enum em_role role, const char *name)
{
    char *why = NULL;
    const struct em_pki_request request = {role, name, CERT_DAYS};
    int r = em_pki_issue(server->pki, &request, false, &why);
    if (r && r != -EEXIST)
        real_fail("certificate %s: %s", name, why ? why : em_strerror(r));
    free(why);
}

void real_server_configure(const struct real_server *server, const char *yaml)
{
    FILE *file = fopen(server->config, "w");
    if (!file)
        real_fail("%s: %s", server->config, strerror(errno));
    fprintf(file,
            "server_id: %s\n"
            "data_dir: %s\n"
            "listen:\n  - %s\n  - %s\n"
            "tls:\n  ca: %s/ca.crt\n  cert: %s/server-%s.crt\n"
            "  key: %s/server-%s.key\n%s",
            server->id, server->data, server->unix_url, server->tls_url, server->pki, server->pki,
            server->id, server->pki, server->id, yaml ? yaml : "");
    if (fclose(file))
        real_fail("%s: %s", server->config, strerror(errno));
}

/* Everything but certificates and configuration. */
static void init_names(struct real_server *server, const char *id)
{
    const char *tmp = getenv("TMPDIR");
    *server = (struct real_server){.program = real_program("mapserver"), .id = id};
    signal(SIGPIPE, SIG_IGN);
    snprintf(server->dir, sizeof(server->dir), "%.40s/eidmap-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(server->dir))
        real_fail("%s: %s", server->dir, strerror(errno));
    snprintf(server->config, sizeof(server->config), "%s/config", server->dir);
    snprintf(server->data, sizeof(server->data), "%s/data", server->dir);
    snprintf(server->pki, sizeof(server->pki), "%s/pki", server->dir);
    snprintf(server->log, sizeof(server->log), "%s/log", server->dir);
    snprintf(server->unix_url, sizeof(server->unix_url), "unix:%s/socket", server->dir);
    snprintf(server->tls_url, sizeof(server->tls_url), "tls://127.0.0.1:%u", real_free_port());
}

void real_server_init(struct real_server *server, const char *yaml)
{
    real_server_init_first(server, SERVER_ID, yaml);
}

void real_server_init_first(struct real_server *server, const char *id, const char *yaml)
{
    char *why = NULL;
    init_names(server, id);
    if (em_pki_init(server->pki, false, &why))
        real_fail("CA: %s", why);
    real_server_issue(server, EM_ROLE_SERVER, id);
    real_server_issue(server, EM_ROLE_OPERATOR, OPERATOR_ID);
    real_server_configure(server, yaml);
}

void real_server_init_next(struct real_server *server, const char *id,
                           const struct real_server *first, const char *yaml)
{
    init_names(server, id);
    snprintf(server->pki, sizeof(server->pki), "%s", first->pki);
    real_server_issue(server, EM_ROLE_SERVER, id);
    real_server_configure(server, yaml);
}

void real_server_fini(struct real_server *server)
{
    real_server_kill(server);
    real_remove_tree(server->dir);
}

void real_server_spawn(struct real_server *server)
{
    char *argv[] = {(char *)server->program, (char *)"--config", server->config, NULL};
    server->pid = real_spawn(argv, server->netns, server->log);
}

bool real_server_is_alive(const struct real_server *server)
{
    siginfo_t info = {.si_pid = 0};
    return server->pid &&
           waitid(P_PID, (id_t)server->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
}

void real_server_start(struct real_server *server)
{
    const char *servers[] = {server->unix_url};
    const struct em_client_config config = {.servers = servers, .n_servers = 1, .timeout_ms = 1000};
    uint64_t end = em_now_ms() + START_MS;
    struct em_call *call = NULL;
    real_server_spawn(server);
    while (!call) {
        char *why = NULL;
        if (!real_server_is_alive(server) || em_now_ms() > end)
            real_fail("the map server does not start:\n%s", real_server_log(server, 0));
        if (em_call_open(&config, &call, &why))
            usleep(2000);
        free(why);
    }
    em_call_close(call);
}

int real_server_run(struct real_server *server)
{
    real_server_spawn(server);
    int status = real_wait(server->pid, RUN_MS);
    server->pid = 0;
    return status;
}

int real_server_stop(struct real_server *server, unsigned limit_ms)
{
    kill(server->pid, SIGTERM);
    int status = real_wait(server->pid, limit_ms);
    server->pid = 0;
    return status;
}

void real_server_kill(struct real_server *server)
{
    if (!server->pid)
        return;
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

size_t real_server_log_size(const struct real_server *server)
{
    struct stat st;
    return stat(server->log, &st) == 0 ? (size_t)st.st_size : 0;
}

char *real_server_log(const struct real_server *server, size_t from)
{
    size_t size = real_server_log_size(server);
    char *text = em_calloc(1, size + 1);
    int fd = open(server->log, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 || from > size ? 0 : pread(fd, text, size - from, (off_t)from);
    text[n > 0 ? n : 0] = '\0';
    if (fd >= 0)
        close(fd);
    return text;
}

unsigned long real_server_rss_kib(const struct real_server *server)
{
    char path[48], line[128];
    unsigned long kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)server->pid);
    FILE *file = fopen(path, "r");
    if (!file)
        real_fail("%s: %s", path, strerror(errno));
    while (fgets(line, sizeof(line), file))
        if (sscanf(line, "VmRSS: %lu kB", &kib) == 1)
            break;
    fclose(file);
    return kib;
}

bool real_is_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
    return __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
    return false;
#endif
}

unsigned real_rounds(unsigned n)
{
    return real_is_sanitized() || getenv("EIDMAP_MAPSERVER") ? (n + 2) / 3 : n;
}

struct em_tls *real_server_tls(const struct real_server *server, enum em_role role,
                               const char *name)
{
    struct em_tls *tls;
    char *why = NULL;
    real_server_issue(server, role, name);
    char *ca = em_asprintf("%s/ca.crt", server->pki);
    char *cert = em_pki_path(server->pki, role, name, "crt");
    char *key = em_pki_path(server->pki, role, name, "key");
    if (em_tls_new(ca, cert, key, &tls, &why))
        real_fail("%s", why);
    free(ca);
    free(cert);
    free(key);
    return tls;
}
