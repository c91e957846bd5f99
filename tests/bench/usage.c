#include "usage.h"

#include "server/real_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static FILE *open_proc(pid_t pid, const char *name)
{
    char path[48];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    FILE *file = fopen(path, "re");
    if (!file)
        real_fail("%s: %s", path, strerror(errno));
    return file;
}

double usage_cpu_s(pid_t pid)
{
    unsigned long user, system;
    FILE *file = open_proc(pid, "stat");
    /* Fields 14 and 15; the second is the name in parentheses. */
    int n = fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                   &system);
    fclose(file);
    if (n != 2)
        real_fail("/proc/%d/stat: not as expected", (int)pid);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double status(pid_t pid, const char *field)
{
    char line[128];
    double kib = 0;
    FILE *file = open_proc(pid, "status");
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, field, strlen(field)) == 0)
            kib = strtod(line + strlen(field), NULL);
    fclose(file);
    return kib * 1024;
}

double usage_anon(pid_t pid)
{
    return status(pid, "RssAnon:");
}

double usage_peak(pid_t pid)
{
    return status(pid, "VmHWM:");
}
