#include "base/wrap.h"

#include <string.h>

void em_wrap(FILE *out, const char *text, size_t at, size_t indent)
{
    const char *word = text + strspn(text, " \n");
    size_t gap = 0;
    for (size_t size; (size = strcspn(word, " \n")); word += strspn(word, " \n")) {
        if (gap && at + gap + size > EM_WRAP_COLUMNS) {
            fputc('\n', out);
            at = 0;
            gap = indent;
        }
        fprintf(out, "%*s%.*s", (int)gap, "", (int)size, word);
        at += gap + size;
        word += size;
        gap = *word == '\n' ? 1 + (word[-1] == '.') : strspn(word, " ");
    }
    fputc('\n', out);
}
