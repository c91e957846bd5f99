/* A real map server in a process of its own, on a directory of its own, with real
 * certificates: for fault tests and benchmarks.
 *
 * What goes wrong here is the test's failure: a sentence on stderr and exit(1). */
#ifndef REAL_SERVER_H
#define REAL_SERVER_H

#include "eidmap.h"
#include "net/tls.h"

#include <sys/types.h>

struct real_server {
    const char *program; /* real_program("mapserver"), or the caller's, set after init */
    const char *id;      /* server_id, lent */
    const char *netns;   /* network namespace that it runs in, set after init; NULL: ours */
    char dir[64];        /* removed by real_server_fini() */
    char config[80];     /* written by real_server_init(), anybody may write another */
    char data[80];       /* data_dir */
    char pki[80];
    char log[80]; /* stderr of all its runs */
    char unix_url[96];
    char tls_url[48];
    pid_t pid; /* 0: it does not run */
};

/* Makes the directory (below TMPDIR or /tmp), the certificates of the server and of the
 * operator "tester", and the configuration.  'yaml': more lines of it, or NULL. */
void real_server_init(struct real_server *server, const char *yaml);

/* The same for servers of one cluster, each with its 'id' (lent): the first makes the
 * certificates of all, so it is the last that real_server_fini() is called for. */
void real_server_init_first(struct real_server *server, const char *id, const char *yaml);
void real_server_init_next(struct real_server *server, const char *id,
                           const struct real_server *first, const char *yaml);

/* Writes the configuration again, after tls_url has been changed, say. */
void real_server_configure(const struct real_server *server, const char *yaml);

/* Makes a certificate, PKI/ROLE-NAME.crt and .key, if it is new. */
void real_server_issue(const struct real_server *server, enum em_role role, const char *name);

/* Kills what still runs and removes the directory. */
void real_server_fini(struct real_server *server);

/* Starts the process and does not wait. */
void real_server_spawn(struct real_server *server);

/* Starts the process and waits until it answers. */
void real_server_start(struct real_server *server);

/* Starts it, expecting that it ends by itself: its exit status, 128 + the number of the
 * signal that ended it, or -1 when it still ran after 10 s (and was killed). */
int real_server_run(struct real_server *server);

/* SIGTERM, and its exit status as above.  The process is killed after 'limit_ms'. */
int real_server_stop(struct real_server *server, unsigned limit_ms);

/* SIGKILL, at once. */
void real_server_kill(struct real_server *server);

/* Has the process ended by itself? */
bool real_server_is_alive(const struct real_server *server);

/* All that its runs have written to stderr since the log was 'from' bytes long; free() it. */
char *real_server_log(const struct real_server *server, size_t from);
size_t real_server_log_size(const struct real_server *server);

/* Resident memory, KiB. */
unsigned long real_server_rss_kib(const struct real_server *server);

/* Is this build instrumented, so that its memory and its times mean nothing? */
bool real_is_sanitized(void);

/* How often to repeat a fault that an ordinary build meets 'n' times: an instrumented one is
 * slow, and sees in a few rounds what it can see. */
unsigned real_rounds(unsigned n);

/* A context of a certificate of the test's CA; the certificate is made if it is new. */
struct em_tls *real_server_tls(const struct real_server *server, enum em_role role,
                               const char *name);

/* The path of a program of this build: the environment's EIDMAP_MAPSERVER or EIDMAP_XTR, or
 * where the build put it.  Static storage. */
const char *real_program(const char *name);

/* Starts a program in a network namespace (NULL: ours) with its output at the end of the file
 * 'log'; it is killed when this process
 * ends.  real_wait() returns as real_server_run() does. */
pid_t real_spawn(char *const argv[], const char *netns, const char *log);
int real_wait(pid_t pid, unsigned limit_ms);

/* A port of 127.0.0.1 that nobody uses, outside of what the kernel gives to clients. */
uint16_t real_free_port(void);

void real_remove_tree(const char *path);

__attribute__((noreturn, format(printf, 1, 2))) void real_fail(const char *format, ...);

#endif
