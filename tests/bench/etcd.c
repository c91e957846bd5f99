#include "etcd.h"

#include "base/clock.h"
#include "base/mem.h"
#include "server/raw.h"
#include "server/real_server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEBIAN     "/usr/bin/etcd"
#define START_MS   30000
#define STOP_MS    10000
#define ANSWER_MAX 4096
#define QUOTA      "8589934592" /* bytes; etcd's own advice for the most */

const char *etcd_program(void)
{
    const char *path = getenv("EIDMAP_ETCD");
    if (!path)
        path = DEBIAN;
    return access(path, X_OK) == 0 ? path : NULL;
}

/* ---- its HTTP interface, for what is asked once ---- */

/* False when the member cannot be reached. */
static bool http(const struct etcd_member *member, const char *request, char *ret_answer)
{
    struct raw raw;
    size_t size = 0;
    ssize_t n = 0;
    if (!raw_try_open(&raw, member->url))
        return false;
    if (raw_send_bytes(&raw, request, strlen(request)))
        while (size < ANSWER_MAX - 1 &&
               (n = recv(raw.fd, ret_answer + size, ANSWER_MAX - 1 - size, 0)) > 0)
            size += (size_t)n;
    ret_answer[size] = '\0';
    raw_close(&raw);
    return size > 0;
}

/* Copies the string behind "name":, up to its end. */
static bool find(const char *answer, const char *name, char *ret_value, size_t size)
{
    char key[32];
    snprintf(key, sizeof(key), "\"%s\":\"", name);
    const char *at = strstr(answer, key);
    if (!at)
        return false;
    at += strlen(key);
    size_t length = strcspn(at, "\"");
    if (length >= size)
        return false;
    memcpy(ret_value, at, length);
    ret_value[length] = '\0';
    return true;
}

/* The answer to etcdserverpb.Maintenance/Status, as JSON. */
static bool ask_status(const struct etcd_member *member, char *ret_answer)
{
    return http(member,
                "POST /v3/maintenance/status HTTP/1.0\r\nHost: localhost\r\n"
                "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
                ret_answer);
}

/* A linearizable read succeeds there. */
static bool is_healthy(const struct etcd_member *member)
{
    char answer[ANSWER_MAX], health[8];
    return http(member, "GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n", answer) &&
           find(answer, "health", health, sizeof(health)) && strcmp(health, "true") == 0;
}

static bool leads(const struct etcd_member *member)
{
    char answer[ANSWER_MAX], self[32], leader[32];
    return ask_status(member, answer) && find(answer, "member_id", self, sizeof(self)) &&
           find(answer, "leader", leader, sizeof(leader)) && strcmp(self, leader) == 0;
}

unsigned etcd_leader(const struct etcd *etcd)
{
    for (unsigned i = 0; i < ETCD_MEMBERS; i++)
        if (leads(&etcd->members[i]))
            return i;
    real_fail("etcd: no member says that it leads");
}

uint64_t etcd_revision(const struct etcd *etcd)
{
    char answer[ANSWER_MAX], revision[32];
    if (!ask_status(&etcd->members[etcd_leader(etcd)], answer) ||
        !find(answer, "revision", revision, sizeof(revision)))
        real_fail("etcd: no member says its revision");
    return strtoull(revision, NULL, 10);
}

/* ---- members ---- */

static void spawn(struct etcd *etcd, unsigned i, const char *members)
{
    struct etcd_member *member = &etcd->members[i];
    char name[8];
    snprintf(name, sizeof(name), "m%u", i);
    char *data = em_asprintf("%s/%s", etcd->dir, name);
    char *log = em_asprintf("%s/%s.log", etcd->dir, name);
    char *client = em_asprintf("http://127.0.0.1:%u", member->client);
    char *peer = em_asprintf("http://127.0.0.1:%u", member->peer);
    const char *argv[] = {etcd_program(),
                          "--name",
                          name,
                          "--data-dir",
                          data,
                          "--listen-client-urls",
                          client,
                          "--advertise-client-urls",
                          client,
                          "--listen-peer-urls",
                          peer,
                          "--initial-advertise-peer-urls",
                          peer,
                          "--initial-cluster",
                          members,
                          "--initial-cluster-state",
                          "new",
                          "--auto-compaction-retention",
                          "0",
                          "--quota-backend-bytes",
                          QUOTA,
                          "--logger",
                          "zap",
                          "--log-level",
                          "warn",
                          NULL};
    member->pid = real_spawn((char *const *)argv, NULL, log);
    free(data);
    free(log);
    free(client);
    free(peer);
}

static void await(struct etcd *etcd, unsigned i)
{
    struct etcd_member *member = &etcd->members[i];
    uint64_t end = em_now_ms() + START_MS;
    while (!is_healthy(member)) {
        siginfo_t info = {.si_pid = 0};
        waitid(P_PID, (id_t)member->pid, &info, WEXITED | WNOHANG | WNOWAIT);
        if (info.si_pid || em_now_ms() > end)
            real_fail("etcd: member %u %s", i, info.si_pid ? "ends" : "is not healthy in 30 s");
        usleep(50000);
    }
}

void etcd_start(struct etcd *etcd)
{
    const char *tmp = getenv("TMPDIR");
    memset(etcd, 0, sizeof(*etcd));
    snprintf(etcd->dir, sizeof(etcd->dir), "%.40s/etcd-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(etcd->dir))
        real_fail("%s: %s", etcd->dir, strerror(errno));
    for (unsigned i = 0; i < ETCD_MEMBERS; i++) {
        struct etcd_member *member = &etcd->members[i];
        member->client = real_free_port();
        member->peer = real_free_port();
        snprintf(member->url, sizeof(member->url), "tcp://127.0.0.1:%u", member->client);
    }
    char *members =
        em_asprintf("m0=http://127.0.0.1:%u,m1=http://127.0.0.1:%u,"
                    "m2=http://127.0.0.1:%u",
                    etcd->members[0].peer, etcd->members[1].peer, etcd->members[2].peer);
    for (unsigned i = 0; i < ETCD_MEMBERS; i++)
        spawn(etcd, i, members);
    free(members);
    for (unsigned i = 0; i < ETCD_MEMBERS; i++)
        await(etcd, i);
}

void etcd_stop(struct etcd *etcd)
{
    for (unsigned i = 0; i < ETCD_MEMBERS; i++)
        kill(etcd->members[i].pid, SIGTERM);
    for (unsigned i = 0; i < ETCD_MEMBERS; i++) {
        real_wait(etcd->members[i].pid, STOP_MS);
        etcd->members[i].pid = 0;
    }
    real_remove_tree(etcd->dir);
}
