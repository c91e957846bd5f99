/* Why a command was refused: what its reply will say. */
#ifndef MS_FAULT_H
#define MS_FAULT_H

#include <stddef.h>

struct em_arena;

struct ms_fault {
    struct em_arena *arena; /* texts live here */
    int err;                /* 0: none */
    const char *message;
    const char *field; /* "" where there is none */
};

/* Text in the arena; "" when it is out of room. */
const char *ms_format(struct em_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Fills in the fault and returns 'err'.  'field' is lent for as long as the arena. */
int ms_refuse(struct ms_fault *fault, int err, const char *field, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
