/* mapctl: the operator's tool. */
#include "command.h"

#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

/* "mapctl ... | head" has all that it wants. */
static bool has_reader_left(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&out, 1, 0) == 1 && out.revents & (POLLERR | POLLHUP);
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN); /* a server that goes away is an error with a sentence */
    enum ctl_exit code = ctl_main(argc, argv, stdout, stderr);
    if (!fflush(stdout) && !ferror(stdout))
        return code;
    if (!has_reader_left())
        fputs("mapctl: cannot write the output; is the disk full?\n", stderr);
    return code ? code : CTL_REFUSED;
}
