/* A doubly linked list inside the objects that it holds. */
#ifndef EM_LIST_H
#define EM_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct em_list {
    struct em_list *prev, *next;
};

#define em_container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define EM_FOREACH(it, head, type, member)                                                         \
    for (type *it = em_container_of((head)->next, type, member),                                   \
              *it##_next = em_container_of(it->member.next, type, member);                         \
         &it->member != (head);                                                                    \
         it = it##_next, it##_next = em_container_of(it->member.next, type, member))

static inline void em_list_init(struct em_list *list)
{
    list->prev = list->next = list;
}

static inline bool em_list_is_empty(const struct em_list *list)
{
    return list->next == list;
}

static inline void em_list_append(struct em_list *head, struct em_list *item)
{
    item->prev = head->prev;
    item->next = head;
    head->prev->next = item;
    head->prev = item;
}

/* Safe on an initialised item that is in no list. */
static inline void em_list_remove(struct em_list *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    em_list_init(item);
}

#endif
