/* Keys are strict, since they are compared; values are free text that must be printable,
 * since they are shown. */
#include "state/label.h"

#include <string.h>

#define TEXT_MAX 63

bool ms_label_is_valid(const Eidmap__Label *label)
{
    size_t key_size = strnlen(label->key, TEXT_MAX + 1);
    size_t value_size = strnlen(label->value, TEXT_MAX + 1);
    if (key_size == 0 || key_size > TEXT_MAX || value_size > TEXT_MAX)
        return false;
    if (strspn(label->key, "abcdefghijklmnopqrstuvwxyz0123456789._/-") != key_size)
        return false;
    for (size_t i = 0; i < value_size; i++)
        if (label->value[i] < 0x20 || label->value[i] > 0x7e)
            return false;
    return true;
}
