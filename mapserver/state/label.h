/* Labels of nodes, as operators write them and views match them. */
#ifndef MS_LABEL_H
#define MS_LABEL_H

#include "wire/msg.h"

#include <stdbool.h>

#define MS_LABEL_EXPECTED                                                                          \
    "a label has a key of 1 to 63 bytes of [a-z0-9._/-] and a printable value of at most 63"

/* Is it what MS_LABEL_EXPECTED says? */
bool ms_label_is_valid(const Eidmap__Label *label);

#endif
