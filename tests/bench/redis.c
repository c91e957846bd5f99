#include "redis.h"

#include "base/mem.h"
#include "server/real_server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM  "/usr/bin/redis-server"
#define START_MS 10000
#define PROBE    100000 /* GETs that tell about how many make the time asked for */

bool redis_is_there(void)
{
    return access(PROGRAM, X_OK) == 0 && access("/usr/bin/redis-benchmark", X_OK) == 0;
}

static int ask(const struct redis *redis, const char *command)
{
    char *line = em_asprintf("redis-cli -s %s %s >/dev/null 2>&1", redis->socket, command);
    int status = system(line);
    free(line);
    return status;
}

/* The keys that redis-benchmark asks for. */
static void fill(const struct redis *redis, uint32_t n_keys, unsigned size)
{
    char *script = em_asprintf(
        "--no-raw eval \"local v = string.rep('v', %u); for i = 0, %u do "
        "redis.call('set', string.format('key:%%012d', i), v) end return 1\" 0 | grep -q 1",
        size, n_keys - 1);
    char *line = em_asprintf("redis-cli -s %s %s", redis->socket, script);
    if (system(line))
        real_fail("redis-server cannot be filled");
    free(line);
    free(script);
}

void redis_start(struct redis *ret_redis, const char *dir, uint32_t n_keys, unsigned size)
{
    struct redis *redis = ret_redis;
    char port[8], *log = em_asprintf("%s/redis.log", dir);
    *redis = (struct redis){.port = real_free_port(), .n_keys = n_keys};
    snprintf(redis->socket, sizeof(redis->socket), "%s/redis", dir);
    snprintf(port, sizeof(port), "%u", redis->port);
    const char *argv[] = {
        PROGRAM, "--port",           port,          "--bind", "127.0.0.1", "--dir",
        dir,     "--unixsocket",     redis->socket, "--save", "",          "--appendonly",
        "no",    "--lua-time-limit", "0",           NULL};
    redis->pid = real_spawn((char *const *)argv, NULL, log);
    for (int ms = 0; ask(redis, "ping"); ms += 20) {
        if (ms > START_MS)
            real_fail("redis-server does not answer; see %s", log);
        usleep(20000);
    }
    fill(redis, n_keys, size);
    free(log);
}

static double run(const struct redis *redis, const char *where, unsigned n_conns, unsigned n_flight,
                  uint64_t n)
{
    char line[256] = "",
         *command = em_asprintf(
             "redis-benchmark %s -c %u -P %u -n %llu -r %u --csv get key:__rand_int__ | tail -n 1",
             where, n_conns, n_flight, (unsigned long long)n, redis->n_keys);
    FILE *out = popen(command, "r");
    if (!out || !fgets(line, sizeof(line), out) || pclose(out))
        real_fail("failed: %s", command);
    const char *rate = strstr(line, "\",\""); /* behind the name of the test */
    if (!rate || strtod(rate + 3, NULL) <= 0)
        real_fail("redis-benchmark says: %s", line);
    free(command);
    return strtod(rate + 3, NULL);
}

double redis_get(const struct redis *redis, bool is_unix, unsigned n_conns, unsigned n_flight,
                 double seconds)
{
    char where[128];
    if (is_unix)
        snprintf(where, sizeof(where), "-s %s", redis->socket);
    else
        snprintf(where, sizeof(where), "-p %u", redis->port);
    double about = run(redis, where, n_conns, n_flight, PROBE);
    return run(redis, where, n_conns, n_flight, (uint64_t)(about * seconds) + 1);
}

void redis_stop(struct redis *redis)
{
    kill(redis->pid, SIGTERM);
    waitpid(redis->pid, NULL, 0);
    *redis = (struct redis){.pid = 0};
}
