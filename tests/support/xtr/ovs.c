#include "xtr/ovs.h"

#include "base/mem.h"
#include "xtr/netns.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCHEMA "/usr/share/openvswitch/vswitch.ovsschema"
#define TRIES  2000 /* of 10 ms */

bool ovs_is_permitted(void)
{
    return access(SCHEMA, R_OK) == 0 && access("/dev/net/tun", R_OK | W_OK) == 0 &&
           netns_is_permitted();
}

/* A daemon's files are all in the folder, and it does not outlive the test. */
static pid_t start(const struct ovs *ovs, const char *const *args)
{
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setenv("OVS_RUNDIR", ovs->dir, 1);
    setenv("OVS_LOGDIR", ovs->dir, 1);
    setenv("OVS_DBDIR", ovs->dir, 1);
    setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
    execvp(args[0], (char *const *)args);
    _exit(127);
}

static void await_file(const struct ovs *ovs, const char *name)
{
    char path[128];
    struct stat unused;
    snprintf(path, sizeof path, "%s/%s", ovs->dir, name);
    for (int i = 0; i < TRIES; i++) {
        if (stat(path, &unused) == 0)
            return;
        usleep(10000);
    }
    cr_assert_fail("%s did not appear", path);
}

static void end(const struct ovs *ovs, pid_t *pid, const char *socket)
{
    char path[128];
    if (*pid <= 0)
        return;
    kill(*pid, SIGKILL);
    waitpid(*pid, NULL, 0);
    *pid = 0;
    snprintf(path, sizeof path, "%s/%s", ovs->dir, socket);
    unlink(path); /* so that a new daemon's can be waited for */
}

void ovs_start_server(struct ovs *ovs)
{
    char database[64], remote[64], control[64];
    snprintf(database, sizeof database, "%s/conf.db", ovs->dir);
    snprintf(remote, sizeof remote, "--remote=p%s", ovs->remote);
    snprintf(control, sizeof control, "--unixctl=%s/server.ctl", ovs->dir);
    const char *const args[] = {"ovsdb-server",  database,       remote,       control,
                                "-vconsole:off", "-vsyslog:off", "--log-file", NULL};
    ovs->server = start(ovs, args);
    await_file(ovs, "db.sock");
}

void ovs_kill_server(struct ovs *ovs)
{
    end(ovs, &ovs->server, "db.sock");
}

void ovs_start_vswitchd(struct ovs *ovs)
{
    char control[64];
    snprintf(control, sizeof control, "--unixctl=%s/vswitchd.ctl", ovs->dir);
    const char *const args[] = {"ovs-vswitchd",  ovs->remote,    control,      "--disable-system",
                                "-vconsole:off", "-vsyslog:off", "--log-file", NULL};
    ovs->vswitchd = start(ovs, args);
    await_file(ovs, "vswitchd.ctl");
}

void ovs_kill_vswitchd(struct ovs *ovs)
{
    end(ovs, &ovs->vswitchd, "vswitchd.ctl");
}

struct ovs *ovs_new(void)
{
    struct ovs *ovs = em_calloc(1, sizeof *ovs);
    strcpy(ovs->dir, "/tmp/emovsXXXXXX");
    cr_assert(mkdtemp(ovs->dir));
    snprintf(ovs->remote, sizeof ovs->remote, "unix:%s/db.sock", ovs->dir);
    ovs->ns = netns_new();
    cr_assert(netns_ok("ovsdb-tool create %s/conf.db " SCHEMA, ovs->dir));
    ovs_start_server(ovs);
    cr_assert(ovs_vsctl_ok(ovs, "--no-wait init"));
    ovs_start_vswitchd(ovs);
    return ovs;
}

void ovs_stop(struct ovs *ovs)
{
    if (!ovs)
        return;
    ovs_kill_vswitchd(ovs);
    ovs_kill_server(ovs);
    (void)netns_ok("rm -rf %s", ovs->dir);
    close(ovs->ns);
    free(ovs);
}

static char *command(const struct ovs *ovs, const char *format, va_list args)
{
    char text[1024];
    cr_assert_lt(vsnprintf(text, sizeof text, format, args), (int)sizeof text);
    return em_asprintf("ovs-vsctl --db=%s %s", ovs->remote, text);
}

char *ovs_vsctl(const struct ovs *ovs, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = command(ovs, format, args);
    va_end(args);
    char *output = netns_run("%s", text);
    free(text);
    return output;
}

bool ovs_vsctl_ok(const struct ovs *ovs, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = command(ovs, format, args);
    va_end(args);
    bool is_ok = netns_ok("%s", text);
    free(text);
    return is_ok;
}

bool ovs_vsctl_shows(const struct ovs *ovs, const char *args, const char *text)
{
    char *output = ovs_vsctl(ovs, "%s", args);
    bool is_there = strstr(output, text) != NULL;
    if (!is_there)
        fprintf(stderr, "ovs-vsctl %s: %s", args, output);
    free(output);
    return is_there;
}
