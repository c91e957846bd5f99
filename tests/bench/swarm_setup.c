#include "swarm_setup.h"

#include "base/mem.h"
#include "net/pki.h"
#include "server/caller.h"
#include "swarm_agents.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DAYS     30
#define JOBS_MAX 64
#define MAKE_MS  60000

/* ---- certificates -------------------------------------------------------------------------- */

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

/* A certificate takes some milliseconds, most of them for reading the CA's key: so all
 * processors work at it. */
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

/* ---- networks ------------------------------------------------------------------------------ */

struct making {
    struct em_call *call;
    uint32_t *ids;
    unsigned n, n_made;
};

static void on_network(void *aux, const struct em_reply *reply)
{
    struct making *making = aux;
    if (reply->err || !reply->network)
        real_fail("network: %s", reply->message);
    making->ids[making->n_made++] = reply->network->id;
    if (making->n_made == making->n)
        em_call_done(making->call);
}

uint32_t *swarm_networks_make(const char *url, unsigned n)
{
    struct caller caller;
    struct making making = {.n = n, .ids = em_calloc(n, sizeof(*making.ids))};
    char name[24];
    caller_open(&caller, url, NULL);
    making.call = caller.call;
    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "swarm-%u", i);
        const struct em_network network = {.name = name, .type = EM_NETWORK_OVERLAY};
        if (em_client_put_network(em_call_client(caller.call), &network, on_network, &making) < 0)
            real_fail("network %s cannot be asked for", name);
    }
    if (em_call_wait(caller.call, MAKE_MS))
        real_fail("only %u of %u networks were made", making.n_made, n);
    caller_close(&caller);
    return making.ids;
}
