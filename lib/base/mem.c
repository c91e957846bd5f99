#include "base/mem.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE    (16u << 10)
#define DEFAULT_LIMIT (32u << 20)
#define MAX_SPARE     32 /* blocks */

struct em_arena_block {
    struct em_arena_block *next;
    size_t size;
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

void *em_aligned(size_t align, size_t size)
{
    return checked(aligned_alloc(align, size ? size : align));
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
    if (!limit)
        limit = DEFAULT_LIMIT;
    *arena = (struct em_arena){.limit = limit, .left = limit};
}

static void free_blocks(struct em_arena_block *blocks)
{
    while (blocks) {
        struct em_arena_block *next = blocks->next;
        free(blocks);
        blocks = next;
    }
}

void em_arena_fini(struct em_arena *arena)
{
    free_blocks(arena->blocks);
    free_blocks(arena->spare);
    em_arena_init(arena, arena->limit);
}

/* To malloc's heap and back for each message would be a page fault for each page. */
void em_arena_reset(struct em_arena *arena)
{
    while (arena->blocks) {
        struct em_arena_block *block = arena->blocks;
        arena->blocks = block->next;
        if (block->size != BLOCK_SIZE || arena->n_spare == MAX_SPARE) {
            free(block);
            continue;
        }
        block->next = arena->spare;
        arena->spare = block;
        arena->n_spare++;
    }
    arena->at = NULL;
    arena->room = 0;
    arena->left = arena->limit;
}

static struct em_arena_block *take_block(struct em_arena *arena, size_t want)
{
    struct em_arena_block *block = arena->spare;
    if (block && want <= BLOCK_SIZE) {
        arena->spare = block->next;
        arena->n_spare--;
        return block;
    }
    size_t size = want > BLOCK_SIZE ? want : BLOCK_SIZE;
    block = malloc(sizeof(*block) + size);
    if (block)
        block->size = size;
    return block;
}

/* What is left of the newest block is not used any more. */
static bool new_block(struct em_arena *arena, size_t want)
{
    size_t left = arena->left + arena->room;
    struct em_arena_block *block = want <= left ? take_block(arena, want) : NULL;
    if (!block)
        return false;
    block->next = arena->blocks;
    arena->blocks = block;
    arena->at = (uint8_t *)block->data;
    arena->room = (block->size < left ? block->size : left) / EM_ARENA_ALIGN * EM_ARENA_ALIGN;
    arena->left = left - arena->room;
    return true;
}

void *em_arena_grow(struct em_arena *arena, size_t size)
{
    size_t want = (size + EM_ARENA_ALIGN - 1) / EM_ARENA_ALIGN * EM_ARENA_ALIGN;
    if (want < size || ((want > arena->room || !arena->at) && !new_block(arena, want)))
        return NULL;
    void *p = arena->at;
    arena->at += want;
    arena->room -= want;
    return p;
}
