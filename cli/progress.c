#include "progress.h"

#include "base/clock.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TERMINAL_MS   100
#define PLAIN_MS      5000
#define DEFAULT_WIDTH 80

/* 0: not a terminal. */
static size_t width_of(FILE *file)
{
    struct winsize size;
    int fd = fileno(file);
    if (fd < 0 || !isatty(fd))
        return 0;
    return ioctl(fd, TIOCGWINSZ, &size) || !size.ws_col ? DEFAULT_WIDTH : size.ws_col;
}

void ctl_progress(struct ctl *ctl, const char *phase, const char *format, ...)
{
    struct ctl_progress *p = &ctl->progress;
    size_t width = width_of(ctl->err);
    uint64_t now_ms = em_now_ms();
    bool is_new = !p->phase || strcmp(p->phase, phase) != 0;
    if ((!width && ctl->is_json) ||
        (!is_new && now_ms < p->shown_ms + (width ? TERMINAL_MS : PLAIN_MS)))
        return;
    va_list args;
    char *text;
    va_start(args, format);
    int size = vasprintf(&text, format, args);
    va_end(args);
    if (size < 0)
        return;
    for (char *c = text; *c; c++)
        if (iscntrl((unsigned char)*c))
            *c = '?';
    if (width)
        fprintf(ctl->err, "\r\033[K%.*s", (int)width - 1, text);
    else
        fprintf(ctl->err, "%s\n", text);
    fflush(ctl->err);
    free(text);
    p->phase = phase;
    p->shown_ms = now_ms;
    p->is_shown = width > 0;
}

void ctl_progress_clear(struct ctl *ctl)
{
    if (!ctl->progress.is_shown)
        return;
    fputs("\r\033[K", ctl->err);
    fflush(ctl->err);
    ctl->progress.is_shown = false;
}
