/* A question to the xTR over its unix socket, and its answer, which may come in many parts.  The
 * frames are those of a map server, the bodies are of its own, so messages are spoken here and not
 * libeidmap's calls. */
#ifndef CTL_TALK_H
#define CTL_TALK_H

#include "command.h"
#include "output.h"

#include "base/mem.h"
#include "wire/msg.h"

struct ctl_talk {
    struct ctl *ctl;
    Eidmap__Envelope__BodyCase asks, expects;
    void *body; /* message of 'asks' */
    /* Shows a part; false: another follows. */
    bool (*show)(struct ctl_talk *talk, const Eidmap__Envelope *reply);
    const struct ctl_column *columns; /* for an answer that is a list; NULL: it is none */
    size_t n_columns;

    /* For 'show': */
    struct em_arena arena;   /* reset for each part */
    struct ctl_table *table; /* of a list, NULL: into 'json' */
    struct ctl_json json;
    enum ctl_exit verdict; /* on the answer itself */

    bool was_there; /* out: the xTR, to be asked */
};

/* What is asked, as it begins: the names of both bodies, as in Envelope's body case. */
#define CTL_TALK(ctl_, asks_, body_, expects_, show_)                                              \
    {                                                                                              \
        .ctl = (ctl_), .asks = EIDMAP__ENVELOPE__BODY_##asks_, .body = (body_),                    \
        .expects = EIDMAP__ENVELOPE__BODY_##expects_, .show = (show_)                              \
    }

/* Connects, asks, shows; the verdict, if all went well. */
enum ctl_exit ctl_talk_run(struct ctl_talk *talk);

/* The same for a list of these columns. */
#define ctl_talk_list(talk, columns)                                                               \
    ctl_talk_table(talk, columns, sizeof(columns) / sizeof((columns)[0]))
enum ctl_exit ctl_talk_table(struct ctl_talk *talk, const struct ctl_column *columns, size_t n);

#endif
