/* mapctl: the operator's tool. */
#include "command.h"

#include <locale.h>
#include <signal.h>

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN); /* a server that goes away is an error with a sentence */
    enum ctl_exit code = ctl_main(argc, argv, stdout, stderr);
    if (fflush(stdout) || ferror(stdout)) {
        if (code == CTL_DONE)
            code = CTL_REFUSED;
        fputs("mapctl: cannot write the output; is the disk full, or the reader gone?\n", stderr);
    }
    return code;
}
