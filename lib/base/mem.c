#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE    (16u << 10)
#define DEFAULT_LIMIT (32u << 20)
#define ALIGN         sizeof(max_align_t)

struct em_arena_block {
    struct em_arena_block *next;
    size_t size;
    size_t used;
    max_align_t data[];
};

static void *checked(void *p)
{
    if (!p) {
        fputs("eidmap: out of memory\n", stderr);
        abort();
    }
    return p;
}

void *em_malloc(size_t size)
{
    return checked(malloc(size ? size : 1));
}

void *em_calloc(size_t len, size_t size)
{
    return checked(calloc(len ? len : 1, size ? size : 1));
}

void *em_realloc(void *old, size_t size)
{
    return checked(realloc(old, size ? size : 1));
}

void *em_memdup(const void *data, size_t size)
{
    void *copy = em_malloc(size);
    if (size)
        memcpy(copy, data, size);
    return copy;
}

char *em_strdup(const char *text)
{
    return checked(strdup(text));
}

char *em_asprintf(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    return checked(n < 0 ? NULL : text);
}

void em_arena_init(struct em_arena *arena, size_t limit)
{
    *arena = (struct em_arena){.limit = limit ? limit : DEFAULT_LIMIT};
}

void em_arena_fini(struct em_arena *arena)
{
    while (arena->blocks) {
        struct em_arena_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
    arena->used = 0;
}

void em_arena_reset(struct em_arena *arena)
{
    while (arena->blocks && arena->blocks->next) {
        struct em_arena_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
    if (arena->blocks)
        arena->blocks->used = 0;
    arena->used = 0;
}

void *em_arena_alloc(struct em_arena *arena, size_t size)
{
    size_t want = (size + ALIGN - 1) / ALIGN * ALIGN;
    if (want < size || want > arena->limit - arena->used)
        return NULL;
    struct em_arena_block *block = arena->blocks;
    if (!block || block->size - block->used < want) {
        size_t room = want > BLOCK_SIZE ? want : BLOCK_SIZE;
        block = malloc(sizeof(*block) + room);
        if (!block)
            return NULL;
        *block = (struct em_arena_block){.next = arena->blocks, .size = room};
        arena->blocks = block;
    }
    void *p = (char *)block->data + block->used;
    block->used += want;
    arena->used += want;
    return p;
}
