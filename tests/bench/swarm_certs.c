/* A certificate takes some milliseconds, most of them for reading the CA's key: so all
 * processors work at it.  What is in memory need not be synced. */
#include "swarm_certs.h"

#include "base/mem.h"
#include "net/pki.h"
#include "swarm_agents.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DAYS     30
#define JOBS_MAX 64

static void issue(const char *pki, unsigned first, unsigned n, unsigned step)
{
    char name[16], *why = NULL;
    for (unsigned i = first; i < n; i += step) {
        const struct em_pki_request request = {EM_ROLE_NODE, swarm_name(i, name), DAYS};
        if (em_pki_issue(pki, &request, false, &why))
            real_fail("certificate %s: %s", name, why);
    }
}

static void lend_ca(const struct real_server *server, const char *pki)
{
    static const char *const files[] = {"ca.crt", "ca.key"};
    for (int i = 0; i < 2; i++) {
        char *from = em_asprintf("%s/%s", server->pki, files[i]);
        char *to = em_asprintf("%s/%s", pki, files[i]);
        if (symlink(from, to))
            real_fail("%s: %s", to, strerror(errno));
        free(from);
        free(to);
    }
}

char *swarm_certs_make(const struct real_server *server, unsigned n)
{
    const char *in_memory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : server->dir;
    char *pki = em_asprintf("%s/eidmap-swarm-XXXXXX", in_memory);
    long n_jobs = sysconf(_SC_NPROCESSORS_ONLN);
    pid_t jobs[JOBS_MAX];
    int status;
    n_jobs = n_jobs < 1 ? 1 : n_jobs > JOBS_MAX ? JOBS_MAX : n_jobs;
    if (!mkdtemp(pki))
        real_fail("%s: %s", pki, strerror(errno));
    lend_ca(server, pki);
    for (long i = 0; i < n_jobs; i++) {
        jobs[i] = fork();
        if (jobs[i] < 0)
            real_fail("fork: %s", strerror(errno));
        if (jobs[i] == 0) {
            issue(pki, (unsigned)i, n, (unsigned)n_jobs);
            _exit(0);
        }
    }
    for (long i = 0; i < n_jobs; i++)
        if (waitpid(jobs[i], &status, 0) != jobs[i] || status)
            real_fail("not all certificates could be made");
    return pki;
}

void swarm_certs_remove(char *pki_take)
{
    real_remove_tree(pki_take);
    free(pki_take);
}
