/* Text for people, broken into lines that fit a terminal. */
#ifndef EM_WRAP_H
#define EM_WRAP_H

#include <stddef.h>
#include <stdio.h>

#define EM_WRAP_COLUMNS 78

/* Prints 'text' and a line break.  The cursor stands at column 'at' (0: the first); where a word
 * would go beyond the last column, a new line begins at 'indent'.  A line break in the text counts
 * as a space, behind a full stop as two. */
void em_wrap(FILE *out, const char *text, size_t at, size_t indent);

#endif
