#include "front/topics.h"

#include "base/hash.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

struct ms_topic {
    uint32_t network_id;
    uint32_t slot;
    struct em_list listeners;
};

struct ms_topics {
    struct em_index index;
    struct ms_topic **topics;
    uint32_t n, size;
};

struct ms_topics *ms_topics_new(void)
{
    struct ms_topics *topics = em_calloc(1, sizeof(*topics));
    em_index_init(&topics->index);
    return topics;
}

void ms_topics_free(struct ms_topics *topics)
{
    if (!topics)
        return;
    assert(topics->n == 0);
    em_index_fini(&topics->index);
    free(topics->topics);
    free(topics);
}

static bool is_topic(const void *aux, uint32_t slot, const void *key)
{
    const struct ms_topics *topics = aux;
    return topics->topics[slot]->network_id == *(const uint32_t *)key;
}

static struct ms_topic *find(const struct ms_topics *topics, uint32_t network_id)
{
    uint32_t slot = em_index_find(&topics->index, em_hash(&network_id, sizeof(network_id)),
                                  is_topic, topics, &network_id);
    return slot == EM_INDEX_NONE ? NULL : topics->topics[slot];
}

static struct ms_topic *add(struct ms_topics *topics, uint32_t network_id)
{
    if (topics->n == topics->size) {
        topics->size = topics->size ? topics->size * 2 : 16;
        topics->topics = em_realloc(topics->topics, topics->size * sizeof(*topics->topics));
    }
    struct ms_topic *topic = em_malloc(sizeof(*topic));
    *topic = (struct ms_topic){.network_id = network_id, .slot = topics->n};
    em_list_init(&topic->listeners);
    em_index_insert(&topics->index, em_hash(&network_id, sizeof(network_id)), topics->n);
    topics->topics[topics->n++] = topic;
    return topic;
}

static void drop(struct ms_topics *topics, struct ms_topic *topic)
{
    uint32_t last = topics->n - 1;
    em_index_remove(&topics->index, em_hash(&topic->network_id, sizeof(uint32_t)), topic->slot);
    if (topic->slot != last) {
        struct ms_topic *moved = topics->topics[last];
        em_index_move(&topics->index, em_hash(&moved->network_id, sizeof(uint32_t)), last,
                      topic->slot);
        moved->slot = topic->slot;
        topics->topics[moved->slot] = moved;
    }
    topics->n--;
    free(topic);
}

void ms_topics_listen(struct ms_topics *topics, uint32_t network_id, struct ms_listener *listener,
                      void (*on_news)(struct ms_listener *listener))
{
    struct ms_topic *topic = find(topics, network_id);
    if (!topic)
        topic = add(topics, network_id);
    listener->topic = topic;
    listener->on_news = on_news;
    em_list_append(&topic->listeners, &listener->in_topic);
}

void ms_topics_leave(struct ms_topics *topics, struct ms_listener *listener)
{
    struct ms_topic *topic = listener->topic;
    em_list_remove(&listener->in_topic);
    listener->topic = NULL;
    if (em_list_is_empty(&topic->listeners))
        drop(topics, topic);
}

bool ms_topics_is_alone(const struct ms_listener *listener)
{
    const struct em_list *listeners = &listener->topic->listeners;
    return listeners->next == listeners->prev;
}

void ms_topics_news(struct ms_topics *topics, uint32_t network_id)
{
    struct ms_topic *topic = find(topics, network_id);
    struct em_list *last = topic ? topic->listeners.prev : NULL;
    if (!topic)
        return;
    /* The topic itself goes with its last listener: the end is known beforehand. */
    for (struct em_list *item = topic->listeners.next, *next;; item = next) {
        struct ms_listener *listener = em_container_of(item, struct ms_listener, in_topic);
        bool is_last = item == last;
        next = item->next;
        listener->on_news(listener);
        if (is_last)
            return;
    }
}

/* A topic goes with its last listener, and the last topic takes its place. */
void ms_topics_all_news(struct ms_topics *topics)
{
    uint32_t *ids = em_calloc(topics->n + 1, sizeof(*ids));
    uint32_t n = topics->n;
    for (uint32_t i = 0; i < n; i++)
        ids[i] = topics->topics[i]->network_id;
    for (uint32_t i = 0; i < n; i++)
        ms_topics_news(topics, ids[i]);
    free(ids);
}
