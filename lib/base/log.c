#include "base/log.h"

#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE      1024
#define LIMIT_WINDOW_S 10

static const char *log_program = "eidmap";
static _Atomic int log_level = EM_LOG_INFO;

void em_log_init(const char *program)
{
    log_program = program;
}

void em_log_set_level(enum em_log_level level)
{
    log_level = level;
}

bool em_log_is_on(enum em_log_level level)
{
    return (int)level <= log_level;
}

static const char *level_name(enum em_log_level level)
{
    switch (level) {
    case EM_LOG_ERROR:
        return "error";
    case EM_LOG_WARN:
        return "warn";
    case EM_LOG_INFO:
        return "info";
    case EM_LOG_DEBUG:
        return "debug";
    }
    return "?";
}

void em_log(enum em_log_level level, const char *format, ...)
{
    if (!em_log_is_on(level))
        return;
    char line[LINE_SIZE];
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t n = (size_t)snprintf(line, sizeof(line), "<%d>", level);
    n += strftime(line + n, sizeof(line) - n, "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof(line) - n, ".%03ldZ %s[%d] %s: ", now.tv_nsec / 1000000,
                          log_program, getpid(), level_name(level));
    va_list args;
    va_start(args, format);
    int m = vsnprintf(line + n, sizeof(line) - n - 1, format, args);
    va_end(args);
    size_t text = n;
    n += m < 0 ? 0 : (size_t)m;
    if (n > sizeof(line) - 2)
        n = sizeof(line) - 2;
    for (size_t i = text; i < n; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[n++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, n);
    (void)written; /* there is nowhere else to say it */
}

void em_log_lines(enum em_log_level level, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        em_log(level, "%.*s", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

bool em_log_allowed(struct em_log_limit *limit, unsigned burst, unsigned *ret_dropped)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long window = now.tv_sec / LIMIT_WINDOW_S + 1;
    *ret_dropped = 0;
    if (limit->window != window) {
        limit->window = window;
        limit->count = 0;
        *ret_dropped = atomic_exchange(&limit->dropped, 0);
    }
    if (limit->count++ < burst)
        return true;
    limit->dropped++;
    return false;
}
