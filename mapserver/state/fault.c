/* Sentences are made where the fault is found, since only there the names are known that a
 * person needs to find it.  They are short, in an arena, and never fail. */
#include "state/fault.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

#define TEXT_MAX 512 /* bytes; a longer text is cut */

static const char *format_args(struct em_arena *arena, const char *format, va_list args)
{
    char text[TEXT_MAX];
    int n = vsnprintf(text, sizeof(text), format, args);
    size_t size = n < 0 ? 0 : (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
    char *copy = em_arena_alloc(arena, size + 1);
    if (!copy)
        return "";
    /* What a client sent is in it; a reply's strings must be valid UTF-8. */
    for (size_t i = 0; i < size; i++)
        copy[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
    copy[size] = '\0';
    return copy;
}

const char *ms_format(struct em_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *text = format_args(arena, format, args);
    va_end(args);
    return text;
}

int ms_refuse(struct ms_fault *fault, int err, const char *field, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fault->err = err;
    fault->field = field;
    fault->message = format_args(fault->arena, format, args);
    va_end(args);
    return err;
}
