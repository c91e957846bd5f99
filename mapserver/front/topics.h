/* Who in a worker wants news of which network. */
#ifndef MS_TOPICS_H
#define MS_TOPICS_H

#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct ms_topics;

/* Embedded in what wants news. */
struct ms_listener {
    struct em_list in_topic;
    struct ms_topic *topic;
    void (*on_news)(struct ms_listener *listener);
};

struct ms_topics *ms_topics_new(void);
void ms_topics_free(struct ms_topics *topics);

void ms_topics_listen(struct ms_topics *topics, uint32_t network_id, struct ms_listener *listener,
                      void (*on_news)(struct ms_listener *listener));
void ms_topics_leave(struct ms_topics *topics, struct ms_listener *listener);

/* Nobody else in the worker wants news of its network. */
bool ms_topics_is_alone(const struct ms_listener *listener);

/* The feed of this network has grown.  A listener may leave, or close its session, when it
 * is told, but not make another one leave. */
void ms_topics_news(struct ms_topics *topics, uint32_t network_id);

/* All of them may have grown; as above. */
void ms_topics_all_news(struct ms_topics *topics);

#endif
