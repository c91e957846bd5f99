#include "scratch.h"

#include "server/real_server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Returns the wait status of 'child'. */
static int supervise(pid_t child, const sigset_t *signals)
{
    int status, number;
    pid_t pid;
    for (;;) {
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
            if (pid == child)
                return status;
        if (sigwait(signals, &number) == 0 && number != SIGCHLD)
            kill(child, number);
    }
}

static void leave(pid_t child, const sigset_t *signals, const char *dir)
{
    int status = supervise(child, signals);
    while (wait(NULL) > 0 || errno == EINTR)
        ;
    real_remove_tree(dir);
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

void scratch_enter(void)
{
    char dir[64];
    const char *tmp = getenv("TMPDIR");
    sigset_t signals, old;
    snprintf(dir, sizeof(dir), "%.40s/bench-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(dir))
        real_fail("%s: %s", dir, strerror(errno));
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, &old);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* the child's children are waited for here */
    pid_t pid = fork();
    if (pid < 0)
        real_fail("fork: %s", strerror(errno));
    if (pid)
        leave(pid, &signals, dir);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigprocmask(SIG_SETMASK, &old, NULL);
    setenv("TMPDIR", dir, 1);
}
