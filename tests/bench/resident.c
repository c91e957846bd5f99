/* The agent runs twice: without a port, for what any agent takes, and with one in the network,
 * by which it subscribes to all of it. */
#include "resident.h"

#include "base/mem.h"
#include "client/request.h"
#include "server/caller.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_MS 300000
#define POLL_US  50000

static size_t read_status(pid_t pid, const char *field)
{
    char path[32], line[128];
    size_t kib = 0, len = strlen(field);
    snprintf(path, sizeof(path), "/proc/%d/status", pid ? (int)pid : (int)getpid());
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof(line), file))
        if (!strncmp(line, field, len))
            kib = strtoul(line + len, NULL, 10);
    if (file)
        fclose(file);
    return kib << 10;
}

size_t resident_bytes(pid_t pid)
{
    return read_status(pid, "VmRSS:");
}

struct agent {
    pid_t pid;
    char *url;
    struct em_call *call;
    uint64_t n_remote, revision, installed;
};

static pid_t start_agent(const struct bench *bench, const struct real_server *server,
                         const char *ports)
{
    char *path = em_asprintf("%s/agent.yaml", server->dir);
    char *log = em_asprintf("%s/agent.log", server->dir);
    FILE *file = fopen(path, "w");
    if (!file)
        real_fail("%s: %s", path, strerror(errno));
    fprintf(file,
            "node_id: agent\nservers: ['%s']\nrloc: [192.0.2.200]\ndataplane: null\n"
            "control: {path: %s/agent.sock}\nstate_dir: %s/agent\n%s",
            server->unix_url, server->dir, server->dir, ports);
    fclose(file);
    char *argv[] = {(char *)bench->xtr, (char *)"--config", path, NULL};
    pid_t pid = real_spawn(argv, NULL, log);
    free(path);
    free(log);
    return pid;
}

static void on_status(void *aux, int err, const Eidmap__Envelope *reply)
{
    struct agent *agent = aux;
    if (err || reply->body_case != EIDMAP__ENVELOPE__BODY_XTR_STATUS_REPLY)
        real_fail("the agent does not tell its status");
    agent->n_remote = reply->xtr_status_reply->n_remote_ports;
    agent->revision = reply->xtr_status_reply->revision;
    agent->installed = reply->xtr_status_reply->installed_revision;
    em_call_done(agent->call);
}

/* False: it is not there yet. */
static bool ask(struct agent *agent)
{
    const char *servers[] = {agent->url};
    const struct em_client_config config = {.servers = servers, .n_servers = 1, .timeout_ms = 5000};
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__XtrStatusRequest body = EIDMAP__XTR_STATUS_REQUEST__INIT;
    char *why = NULL;
    int r = em_call_open(&config, &agent->call, &why);
    free(why);
    if (r)
        return false;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_XTR_STATUS;
    envelope.xtr_status = &body;
    r = em_client_send(em_call_client(agent->call), &envelope, false, on_status, agent) < 0 ||
        em_call_wait(agent->call, LIMIT_MS);
    em_call_close(agent->call);
    return !r;
}

/* Until the agent has so many remote ports and its data plane has all of them; seconds. */
static double wait_for(struct agent *agent, uint64_t n_ports)
{
    uint64_t start = bench_now_ns();
    while (!ask(agent) || agent->n_remote != n_ports || !agent->revision ||
           agent->installed != agent->revision) {
        if (bench_now_ns() - start > LIMIT_MS * 1000000ull || waitpid(agent->pid, NULL, WNOHANG))
            real_fail("the agent has %" PRIu64 " of %" PRIu64 " ports", agent->n_remote, n_ports);
        usleep(POLL_US);
    }
    return (double)(bench_now_ns() - start) / 1e9;
}

static void stop(struct agent *agent)
{
    kill(agent->pid, SIGTERM);
    if (real_wait(agent->pid, 10000))
        real_fail("the agent ends badly");
}

/* Bytes that it takes; 'ret_peak' that it ever took. */
static size_t measure(const struct bench *bench, const struct real_server *server,
                      const char *ports, uint64_t n_ports, double *ret_seconds, size_t *ret_peak)
{
    struct agent agent = {.pid = start_agent(bench, server, ports)};
    agent.url = em_asprintf("unix:%s/agent.sock", server->dir);
    *ret_seconds = wait_for(&agent, n_ports);
    size_t bytes = resident_bytes(agent.pid);
    *ret_peak = read_status(agent.pid, "VmHWM:");
    stop(&agent);
    free(agent.url);
    return bytes;
}

int resident_agent(const struct bench *bench)
{
    static const char port[] = "ports:\n- {id: own, network: bench, device: own0, "
                               "mac: '06:00:00:00:00:01'}\n";
    struct real_server server;
    double seconds;
    size_t peak;
    bench_server(bench, &server);
    caller_preload(server.unix_url, bench->n_ports);
    size_t base = measure(bench, &server, "", 0, &seconds, &peak);
    size_t full = measure(bench, &server, port, bench->n_ports, &seconds, &peak);
    bench_figure(bench, "agent.base", (double)base / 1e6, "MB", "resident, without a network");
    bench_figure(bench, "agent.resident", (double)full / 1e6, "MB",
                 "resident, with the whole network");
    bench_figure(bench, "agent.peak", (double)peak / 1e6, "MB", "resident at most, on the way");
    bench_figure(bench, "agent.port", (double)(full - base) / bench->n_ports, "B", "for a port");
    bench_figure(bench, "agent.sync", seconds, "s", "from its start until all is installed");
    int status = real_server_stop(&server, 10000);
    real_server_fini(&server);
    return status ? 1 : 0;
}
