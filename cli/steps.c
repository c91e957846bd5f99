/* One line a step, its advice on a line of its own below.  Signs are for people at a terminal;
 * a file or a pipe gets words, which can be searched for. */
#include "steps.h"

#include "call.h"

#include "base/mem.h"

#include <langinfo.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_WIDTH 11

void ctl_steps_begin(struct ctl_steps *steps, struct ctl *ctl)
{
    *steps = (struct ctl_steps){.ctl = ctl, .json = {ctl->out}};
    steps->has_signs = isatty(fileno(ctl->out)) && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    if (ctl->is_json)
        ctl_json_begin(&steps->json, NULL, '[');
}

void ctl_steps_title(struct ctl_steps *steps, const char *format, ...)
{
    va_list args;
    if (steps->ctl->is_json)
        return;
    va_start(args, format);
    vfprintf(steps->ctl->out, format, args);
    va_end(args);
    fputc('\n', steps->ctl->out);
}

static void print(const struct ctl_steps *steps, const char *name, bool is_wrong, const char *found,
                  const char *advice)
{
    const char *sign = is_wrong ? "WRONG" : "ok   ";
    if (steps->has_signs)
        sign = is_wrong ? "\xe2\x9c\x97" : "\xe2\x9c\x93";
    ctl_say(steps->ctl, "  %s  %-*s  %s", sign, NAME_WIDTH, name, found);
    if (advice[0])
        ctl_say(steps->ctl, "  %*s  %*s  -> %s", steps->has_signs ? 1 : 5, "", NAME_WIDTH, "",
                advice);
}

void ctl_steps_add(struct ctl_steps *steps, const char *part, const char *name, bool is_wrong,
                   const char *found, const char *advice)
{
    if (is_wrong && !steps->wrong)
        steps->wrong =
            em_asprintf("wrong at %s: %s%s%s", name, found, advice[0] ? "; " : "", advice);
    if (!steps->ctl->is_json) {
        print(steps, name, is_wrong, found, advice);
        return;
    }
    ctl_json_begin(&steps->json, NULL, '{');
    ctl_json_text(&steps->json, "path", part);
    ctl_json_text(&steps->json, "step", name);
    ctl_json_bool(&steps->json, "wrong", is_wrong);
    ctl_json_text(&steps->json, "found", found);
    ctl_json_text(&steps->json, "advice", advice);
    ctl_json_end(&steps->json, '}');
}

enum ctl_exit ctl_steps_end(struct ctl_steps *steps)
{
    enum ctl_exit code = CTL_DONE;
    if (steps->ctl->is_json)
        ctl_json_end(&steps->json, ']');
    if (steps->wrong)
        code = ctl_fail(steps->ctl, CTL_REFUSED, "%s: %s", steps->ctl->subject, steps->wrong);
    free(steps->wrong);
    return code;
}
