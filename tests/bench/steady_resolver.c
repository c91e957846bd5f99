#include "steady_resolver.h"

#include "base/mem.h"
#include "bench.h"
#include "net/pki.h"
#include "server/numbered.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define N_CALLS  2
#define LIMIT_MS 30000

struct steady_resolver {
    pthread_t thread;
    atomic_bool is_stopping;
    struct em_call *calls[N_CALLS];
    uint32_t network_id, n_ports;
    pthread_mutex_t lock; /* of what follows */
    struct hist hist;
    uint64_t longest_ns;
};

static struct em_call *open_call(const struct real_server *server)
{
    const char *url = server->tls_url;
    char *ca = em_asprintf("%s/ca.crt", server->pki), *why = NULL;
    char *cert = em_pki_path(server->pki, EM_ROLE_OPERATOR, "tester", "crt");
    char *key = em_pki_path(server->pki, EM_ROLE_OPERATOR, "tester", "key");
    const struct em_client_config config = {
        .servers = &url, .n_servers = 1, .ca_file = ca, .cert_file = cert, .key_file = key};
    struct em_call *call;
    if (em_call_open(&config, &call, &why))
        real_fail("%s: %s", url, why);
    free(ca);
    free(cert);
    free(key);
    return call;
}

static void on_answer(void *aux, const struct em_reply *reply)
{
    if (reply->err || reply->n_answers != 1 || !reply->answers[0].port)
        real_fail("a resolve fails: %s", reply->err ? reply->message : "the port is gone");
    em_call_done(aux);
}

static void ask(const struct steady_resolver *resolver, struct em_call *call, uint32_t port)
{
    struct em_eid eid = numbered_ip(port);
    if (em_client_resolve(em_call_client(call), resolver->network_id, NULL, &eid, 1, 0, on_answer,
                          call) < 0 ||
        em_call_wait(call, LIMIT_MS))
        real_fail("a resolve has no answer in %d ms", LIMIT_MS);
}

static void *run(void *arg)
{
    struct steady_resolver *resolver = arg;
    for (uint32_t i = 0; !resolver->is_stopping; i++) {
        uint64_t start = bench_now_ns();
        ask(resolver, resolver->calls[i % N_CALLS], 1 + i % resolver->n_ports);
        uint64_t ns = bench_now_ns() - start;
        pthread_mutex_lock(&resolver->lock);
        hist_add(&resolver->hist, ns);
        if (ns > resolver->longest_ns)
            resolver->longest_ns = ns;
        pthread_mutex_unlock(&resolver->lock);
    }
    return NULL;
}

struct steady_resolver *steady_resolver_start(const struct real_server *server, uint32_t network_id,
                                              uint32_t n_ports)
{
    struct steady_resolver *resolver = em_calloc(1, sizeof(*resolver));
    resolver->network_id = network_id;
    resolver->n_ports = n_ports;
    pthread_mutex_init(&resolver->lock, NULL);
    for (int i = 0; i < N_CALLS; i++)
        resolver->calls[i] = open_call(server);
    if (pthread_create(&resolver->thread, NULL, run, resolver))
        real_fail("no thread for the resolver");
    return resolver;
}

void steady_resolver_stop(struct steady_resolver *resolver)
{
    resolver->is_stopping = true;
    pthread_join(resolver->thread, NULL);
    for (int i = 0; i < N_CALLS; i++)
        em_call_close(resolver->calls[i]);
    pthread_mutex_destroy(&resolver->lock);
    free(resolver);
}

uint64_t steady_resolver_take(struct steady_resolver *resolver, struct hist *ret_hist)
{
    pthread_mutex_lock(&resolver->lock);
    uint64_t longest_ns = resolver->longest_ns;
    *ret_hist = resolver->hist;
    memset(&resolver->hist, 0, sizeof(resolver->hist));
    resolver->longest_ns = 0;
    pthread_mutex_unlock(&resolver->lock);
    return longest_ns;
}
