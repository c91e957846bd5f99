/* One client's connection: who it is, what it may ask, what it is waiting for.
 *
 *   accepted --Hello--> greeting --NodeUp committed--> ready --close--> closed
 *      |                   ^
 *      `--warm Hello--> warm --Hello
 *                        `--warm Hello--> warm
 *
 * Operators are ready at once.  A warm connection waits until its client loses the session
 * that it has at another server: the client is known and welcome, and nothing else has
 * happened.  It says its warm Hello again and again to show that it lives.  A closed session lives
 * on until its last proposal is answered.  Everything here runs on the worker's thread. */
#ifndef MS_SESSION_H
#define MS_SESSION_H

#include "front/registry.h"
#include "front/worker.h"
#include "state/apply.h"
#include "wire/msg.h"

struct em_conn;
struct ms_announce;

struct ms_session {
    struct ms_worker *worker;
    struct em_conn *conn; /* NULL once closed */
    struct em_list link;
    struct ms_member member;
    bool is_open; /* the handshake is done */
    bool is_greeting;
    bool is_ready;
    bool has_instance; /* its Hello had one: a request that comes again is known */
    bool is_paused;    /* too many proposals wait: not reading */
    uint32_t lease_ms; /* as its Welcome said */
    unsigned n_proposals;
    size_t proposals_size;        /* bytes of them */
    size_t deferred_size;         /* deferred.c: of requests that wait for the core's word */
    struct ms_announce *announce; /* write.c */
    struct em_list in_hot;        /* pump.c: in the worker's list of those to be run */
    struct em_list subscriptions; /* pump.c */
    struct em_list dirty;         /* pump.c: those with something to send */
    uint64_t refreshed_ms;        /* pump.c */
    struct em_list watch_sets;    /* watch.c */
    uint32_t n_subscriptions;
    uint32_t n_watches;
};

/* A proposal under way.  It holds a reference to its session. */
struct ms_pending {
    struct ms_mail mail;
    struct ms_session *session;
    uint64_t id; /* of the request's envelope */
    size_t size; /* bytes of the command */
    /* On the core's thread: keeps what the reply needs.  The result is lent. */
    void (*keep)(struct ms_pending *pending, const struct ms_result *result);
    /* On the worker's thread, also when the session has closed meanwhile. */
    void (*finish)(struct ms_pending *pending);
    struct em_buf reply; /* a whole frame */
    int err;
    bool is_refused;
    uint64_t revision;
    uint32_t n_withdrawn;
    uint64_t *epochs; /* of a Register: 'epoch', or allocated */
    size_t n_epochs;
    uint64_t epoch;
};

/* Takes an accepted socket; 'tls' NULL: a unix or loopback socket. */
void ms_session_open(struct ms_worker *worker, int fd_take, struct em_tls *tls);

/* Idempotent.  'err' 0: the server ends it.  The client is told why. */
void ms_session_close(struct ms_session *session, int err, const char *why);
void ms_session_unref(struct ms_session *session);

/* Any thread: closes the session on its own thread.  Takes a reference. */
void ms_session_post_close(struct ms_member *member_take, const char *why);

/* Any thread: the same with another error; takes no reference, the member must be there. */
void ms_session_post_end(const struct ms_member *member, int err, const char *why);

/* Answers a request with an error.  'message' NULL: the code's text. */
void ms_session_refuse(struct ms_session *session, uint64_t id, int err, const char *message);
void ms_session_send(struct ms_session *session, const Eidmap__Envelope *envelope);

/* Packs and proposes; the command's schema, time and origin are filled in here.  'id' is the
 * request's, and makes that a request which is sent again is applied once; a command that is
 * only a part of a request has 'is_part' set, and is not taken for a repetition.  0, or
 * EM_E_BUSY: then the request has been refused. */
int ms_session_propose(struct ms_session *session, uint64_t id, bool is_part,
                       Eidmap__Command *command,
                       void (*keep)(struct ms_pending *, const struct ms_result *),
                       void (*finish)(struct ms_pending *));

/* The worker has got the result of a proposal. */
void ms_session_result(struct ms_pending *pending);

/* Origin of this session's commands; points into the session. */
void ms_session_origin(const struct ms_session *session, uint64_t seq, Eidmap__Origin *ret_origin);

static inline bool ms_session_is_node(const struct ms_session *session)
{
    return session->member.identity.role == EM_ROLE_NODE;
}

static inline bool ms_session_is_operator(const struct ms_session *session)
{
    return session->member.identity.role == EM_ROLE_OPERATOR;
}

#endif
