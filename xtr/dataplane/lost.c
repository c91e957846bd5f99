#include "lost.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dp_lost_add(struct dp_lost *lost, const char *device)
{
    for (size_t i = 0; i < lost->n; i++)
        if (strcmp(lost->names[i], device) == 0)
            return;
    if (lost->n == lost->size) {
        lost->size = lost->size ? 2 * lost->size : 8;
        lost->names = em_realloc(lost->names, lost->size * sizeof *lost->names);
    }
    snprintf(lost->names[lost->n++], IFNAMSIZ, "%s", device);
}

bool dp_lost_next(struct dp_lost *lost, char ret_device[IFNAMSIZ])
{
    if (lost->n == 0)
        return false;
    memcpy(ret_device, lost->names[--lost->n], IFNAMSIZ);
    return true;
}

void dp_lost_fini(struct dp_lost *lost)
{
    free(lost->names);
}
