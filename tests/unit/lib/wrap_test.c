/* Lines for people: none too long, no word lost. */
#include "base/wrap.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static char *wrapped(const char *text, size_t at, size_t indent)
{
    static char *printed;
    size_t size;
    free(printed);
    FILE *out = open_memstream(&printed, &size);
    em_wrap(out, text, at, indent);
    fclose(out);
    return printed;
}

#define TEN "123456789 "

Test(wrap, short_text_stays_as_it_is)
{
    cr_assert_str_eq(wrapped("One.  Two, three", 0, 4), "One.  Two, three\n");
    cr_assert_str_eq(wrapped("", 0, 4), "\n");
}

Test(wrap, line_breaks_are_spaces_and_two_behind_a_full_stop)
{
    cr_assert_str_eq(wrapped("One,\ntwo.\nThree.\n", 0, 0), "One, two.  Three.\n");
}

Test(wrap, lines_are_filled_to_the_last_column)
{
    const char *text = TEN TEN TEN TEN TEN TEN TEN "12345678 next";
    cr_assert_str_eq(wrapped(text, 0, 2), TEN TEN TEN TEN TEN TEN TEN "12345678\n  next\n");
    cr_assert_str_eq(wrapped(text, 1, 0), TEN TEN TEN TEN TEN TEN "123456789\n12345678 next\n");
}

Test(wrap, word_that_is_too_long_has_a_line_of_its_own)
{
    char word[101] = "";
    memset(word, 'x', 100);
    char text[128], expected[128];
    snprintf(text, sizeof(text), "a %s b", word);
    snprintf(expected, sizeof(expected), "a\n %s\n b\n", word);
    cr_assert_str_eq(wrapped(text, 0, 1), expected);
}
