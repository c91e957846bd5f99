#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE    (16u << 10)
#define DEFAULT_LIMIT (32u << 20)
#define MAX_SPARE     32 /* blocks */
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
    *arena = (struct em_arena){.limit = limit ? limit : DEFAULT_LIMIT};
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
    *arena = (struct em_arena){.limit = arena->limit};
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
        block->used = 0;
        block->next = arena->spare;
        arena->spare = block;
        arena->n_spare++;
    }
    arena->used = 0;
}

static struct em_arena_block *new_block(struct em_arena *arena, size_t want)
{
    struct em_arena_block *block = arena->spare;
    if (block && want <= BLOCK_SIZE) {
        arena->spare = block->next;
        arena->n_spare--;
    } else {
        size_t room = want > BLOCK_SIZE ? want : BLOCK_SIZE;
        block = malloc(sizeof(*block) + room);
        if (!block)
            return NULL;
        *block = (struct em_arena_block){.size = room};
    }
    block->next = arena->blocks;
    arena->blocks = block;
    return block;
}

void *em_arena_alloc(struct em_arena *arena, size_t size)
{
    size_t want = (size + ALIGN - 1) / ALIGN * ALIGN;
    if (want < size || want > arena->limit - arena->used)
        return NULL;
    struct em_arena_block *block = arena->blocks;
    if (!block || block->size - block->used < want) {
        block = new_block(arena, want);
        if (!block)
            return NULL;
    }
    void *p = (char *)block->data + block->used;
    block->used += want;
    arena->used += want;
    return p;
}
