/* Heap allocation that cannot fail, and the arena that messages are unpacked into. */
#ifndef EM_MEM_H
#define EM_MEM_H

#include <stddef.h>
#include <stdint.h>

/* These abort when memory is out: use them for what the program decides the size
 * of.  A size that came from outside is bounded first.  em_aligned(): to a power of two, of
 * which 'size' is a multiple; not for em_realloc(). */
void *em_malloc(size_t size) __attribute__((malloc, returns_nonnull));
void *em_calloc(size_t len, size_t size) __attribute__((malloc, returns_nonnull));
void *em_aligned(size_t align, size_t size) __attribute__((malloc, returns_nonnull));
void *em_realloc(void *old, size_t size) __attribute__((returns_nonnull));
void *em_memdup(const void *data, size_t size) __attribute__((returns_nonnull));
char *em_strdup(const char *text) __attribute__((malloc, returns_nonnull));
char *em_asprintf(const char *format, ...) __attribute__((format(printf, 1, 2), returns_nonnull));

/* Memory that is given back all at once.  Not thread-safe: one arena, one thread.
 * A message of 1 MiB unpacks to a few times its size; 'limit' bounds that. */
struct em_arena {
    struct em_arena_block *blocks; /* newest first */
    struct em_arena_block *spare;  /* kept by reset, up to half a MiB */
    unsigned n_spare;
    uint8_t *at;  /* in the newest block */
    size_t room;  /* bytes that may be handed out there, aligned as 'at' is */
    size_t left;  /* bytes that may be handed out elsewhere until the reset */
    size_t limit; /* bytes that may be handed out between two resets */
};

#define EM_ARENA_ALIGN sizeof(max_align_t)

/* limit 0: 32 MiB. */
void em_arena_init(struct em_arena *arena, size_t limit);
void em_arena_fini(struct em_arena *arena);

/* Gives everything back; keeps what the next message of usual size needs. */
void em_arena_reset(struct em_arena *arena);

/* As em_arena_alloc(), where the newest block has no room. */
void *em_arena_grow(struct em_arena *arena, size_t size);

/* 'size' bytes, aligned for any object, not cleared; NULL beyond the limit. */
static inline void *em_arena_alloc(struct em_arena *arena, size_t size)
{
    if (size >= arena->room)
        return em_arena_grow(arena, size);
    size_t taken = (size + EM_ARENA_ALIGN - 1) / EM_ARENA_ALIGN * EM_ARENA_ALIGN;
    void *p = arena->at;
    arena->at += taken;
    arena->room -= taken;
    return p;
}

#endif
