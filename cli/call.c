/* Commands are written as if servers answered at once: each request is one wait on a private
 * loop.  A wait ends in one of four ways, and each has its exit code here, in one place:
 *
 *   the answer came                     CTL_DONE, or what the callback says
 *   the server refused, or has no such  CTL_REFUSED, with its own sentence
 *   nothing came in --timeout           CTL_NO_SERVER; a long answer may take longer, as long
 *                                       as parts of it keep coming
 *   SIGINT in a watch                   CTL_DONE: that is how a watch ends
 *
 * What mapctl lists, it takes from the feed: a list is a subscription from revision 0 that
 * ends when it is complete.  So there is no second way to enumerate the map. */
#include "call.h"

#include "output.h"
#include "target.h"

#include "base/hash.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <ev.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define FOR_EVER (-1)
#define LOOK_S   0.5 /* between two looks whether there is a map server */

void ctl_subject(struct ctl *ctl, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ctl->subject, sizeof(ctl->subject), format, args);
    va_end(args);
}

static enum ctl_exit code_for(int err)
{
    switch (err) {
    case EM_E_CLOSED:
    case EM_E_TIMEOUT:
    case EM_E_TLS:
    case EM_E_FRAME:
    case -ECONNREFUSED:
    case -ECONNRESET:
    case -ENOENT:
        return CTL_NO_SERVER;
    }
    return CTL_REFUSED;
}

/* What is asked for, and what may help when it is not reached, or not for us. */
struct place {
    const char *what, *absent, *forbidden;
};

/* A server that has answered said itself what is wrong. */
static const char *hint_for(const struct place *place, int err)
{
    switch (err) {
    case EM_E_TLS:
        return "; do --ca, --cert and --key belong to this cluster?";
    case -EACCES:
    case -EPERM:
        return place->forbidden;
    case EM_E_CLOSED:
    case EM_E_TIMEOUT:
    case EM_E_FRAME:
        return place->absent;
    }
    return err < 0 && err > EM_E_UNSUPPORTED ? place->absent : "";
}

static enum ctl_exit open_with(struct ctl *ctl, const struct em_client_config *config,
                               const struct place *place)
{
    char *why = NULL;
    int r = em_call_open(config, &ctl->call, &why);
    if (!r)
        return CTL_DONE;
    bool is_denied = r == EM_E_DENIED || r == -EACCES || r == -EPERM;
    enum ctl_exit code = is_denied ? CTL_REFUSED : CTL_NO_SERVER;
    ctl_fail(ctl, code, "%s: %s%s", place->what, why ? why : em_strerror(r), hint_for(place, r));
    free(why);
    return code;
}

static struct em_client_config config_for(const struct ctl *ctl, const struct ctl_servers *s)
{
    return (struct em_client_config){
        .servers = s->servers,
        .n_servers = s->n_servers,
        .ca_file = s->ca,
        .cert_file = s->cert,
        .key_file = s->key,
        .software = "mapctl " EM_VERSION,
        .timeout_ms = ctl->target.timeout_ms,
        .is_warm = ctl->is_following,
    };
}

bool ctl_open_quietly(struct ctl *ctl, const struct ctl_servers *servers, size_t i)
{
    struct em_client_config config = config_for(ctl, servers);
    char *why = NULL;
    config.servers = &servers->servers[i];
    config.n_servers = 1;
    int r = em_call_open(&config, &ctl->call, &why);
    free(why);
    return r == 0;
}

enum ctl_exit ctl_open(struct ctl *ctl)
{
    static const struct place place = {
        .what = "no map server",
        .absent = "; is it running? -s names another",
        .forbidden = "; run it as root or as the server's user",
    };
    struct ctl_servers s;
    enum ctl_exit code = ctl_servers_init(ctl, &s);
    if (!code)
        code = ctl_servers_check(ctl, &s);
    if (!code) {
        struct em_client_config config = config_for(ctl, &s);
        code = open_with(ctl, &config, &place);
    }
    ctl_servers_fini(&s);
    return code;
}

enum ctl_exit ctl_open_xtr(struct ctl *ctl)
{
    static const struct place place = {
        .what = "no xTR",
        .absent = "; is it running? -S names its socket",
        .forbidden = "; run it as root, or as a member of the xTR's control.group",
    };
    char *server = em_asprintf("unix:%s", ctl_target_xtr(ctl));
    const char *servers[] = {server};
    struct em_client_config config = {
        .servers = servers,
        .n_servers = 1,
        .software = "mapctl " EM_VERSION,
        .timeout_ms = ctl->target.timeout_ms,
    };
    enum ctl_exit code = open_with(ctl, &config, &place);
    free(server);
    return code;
}

void ctl_close(struct ctl *ctl)
{
    em_call_close(ctl->call);
    ctl->call = NULL;
}

static int run_until_finished(struct ctl *ctl, int64_t id, int timeout_ms)
{
    int r = 0;
    ctl->is_waiting = true;
    ctl->exit = CTL_DONE;
    for (unsigned heard = ctl->n_heard; ctl->is_waiting && !r; heard = ctl->n_heard) {
        r = em_call_wait(ctl->call, timeout_ms);
        if (r == EM_E_TIMEOUT && heard != ctl->n_heard)
            r = 0; /* a long answer is on its way */
    }
    ctl->is_waiting = false;
    if (r)
        em_client_cancel(em_call_client(ctl->call), id);
    return r;
}

static enum ctl_exit wait_for(struct ctl *ctl, int64_t id, int timeout_ms)
{
    if (id < 0)
        return ctl_fail(ctl, CTL_REFUSED, "%s: %s", ctl->subject, em_strerror((int)id));
    int r = run_until_finished(ctl, id, timeout_ms);
    if (r)
        return ctl_fail(ctl, CTL_NO_SERVER, "%s: no answer: %s; -t allows more time", ctl->subject,
                        em_strerror(r));
    return ctl->exit;
}

int ctl_wait_quietly(struct ctl *ctl, int64_t id)
{
    if (id < 0)
        return (int)id;
    return run_until_finished(ctl, id, (int)ctl->target.timeout_ms);
}

void ctl_pause(struct ctl *ctl, unsigned ms)
{
    em_call_wait(ctl->call, (int)ms);
}

void ctl_set_patience(struct ctl *ctl, uint32_t timeout_ms)
{
    if (!ctl_option(ctl, "timeout"))
        ctl->target.timeout_ms = timeout_ms;
}

enum ctl_exit ctl_wait(struct ctl *ctl, int64_t id)
{
    return wait_for(ctl, id, (int)ctl->target.timeout_ms);
}

/* Whoever watches should know that silence is not peace. */
struct vigil {
    struct ctl *ctl;
    ev_timer timer;
    bool was_down; /* at the last look: a change to the warm connection takes no time */
    bool is_told;
};

static void on_look(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct vigil *vigil = timer->data;
    struct ctl *ctl = vigil->ctl;
    bool is_down = !em_client_is_up(em_call_client(ctl->call));
    if (is_down == vigil->was_down && is_down != vigil->is_told) {
        ctl_fail(ctl, CTL_DONE, "%s: %s", ctl->subject,
                 is_down ? "no map server; trying again" : "a map server is there again");
        fflush(ctl->err);
        vigil->is_told = is_down;
    }
    vigil->was_down = is_down;
}

static void on_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
    ctl_finish(watcher->data, CTL_DONE);
}

enum ctl_exit ctl_follow(struct ctl *ctl, int64_t id)
{
    struct ev_loop *loop = em_call_loop(ctl->call);
    struct vigil vigil = {.ctl = ctl};
    ev_signal interrupt, terminate;
    ev_timer_init(&vigil.timer, on_look, LOOK_S, LOOK_S);
    vigil.timer.data = &vigil;
    ev_timer_start(loop, &vigil.timer);
    ev_signal_init(&interrupt, on_signal, SIGINT);
    ev_signal_init(&terminate, on_signal, SIGTERM);
    interrupt.data = terminate.data = ctl;
    ev_signal_start(loop, &interrupt);
    ev_signal_start(loop, &terminate);
    enum ctl_exit code = wait_for(ctl, id, FOR_EVER);
    ev_signal_stop(loop, &interrupt);
    ev_signal_stop(loop, &terminate);
    ev_timer_stop(loop, &vigil.timer);
    return code;
}

void ctl_finish(struct ctl *ctl, enum ctl_exit code)
{
    ctl->exit = code;
    ctl->is_waiting = false;
    em_call_done(ctl->call);
}

void ctl_refused_with(struct ctl *ctl, int err, const char *message)
{
    const char *text = message && message[0] ? message : em_strerror(err);
    const char *hint =
        err == EM_E_STALE ? "; somebody else changed it: look again, then repeat" : "";
    ctl_finish(ctl, ctl_fail(ctl, code_for(err), "%s: %s%s", ctl->subject, text, hint));
}

void ctl_refused(struct ctl *ctl, const struct em_reply *reply)
{
    ctl_refused_with(ctl, reply->err, reply->message);
}

void ctl_on_reply(void *aux, const struct em_reply *reply)
{
    struct ctl *ctl = aux;
    if (reply->err)
        ctl_refused(ctl, reply);
    else
        ctl_finish(ctl, CTL_DONE);
}

void ctl_report(struct ctl *ctl, const char *what, uint64_t revision)
{
    struct ctl_json json = {ctl->out};
    if (!ctl->is_json) {
        ctl_say(ctl, "%s: %s, revision %" PRIu64, ctl->subject, what, revision);
        return;
    }
    ctl_json_begin(&json, NULL, '{');
    ctl_json_uint(&json, "revision", revision);
    ctl_json_end(&json, '}');
}

void ctl_on_removed(void *aux, const struct em_reply *reply)
{
    struct ctl *ctl = aux;
    if (!reply->err)
        ctl_report(ctl, "removed", reply->revision);
    ctl_on_reply(ctl, reply);
}

enum ctl_exit ctl_not_found(struct ctl *ctl)
{
    return ctl_fail(ctl, CTL_REFUSED, "%s: not found; \"mapctl %s list\" shows them", ctl->subject,
                    ctl->family->name);
}

/* A page of the feed may show an object again when it changed while the pass went on; a
 * list shows it once.  Ids are kept as 64-bit hashes: 16 bytes an object. */
struct snapshot {
    struct ctl *ctl;
    ctl_visit_fn *visit;
    void *aux;
    struct em_index index;
    uint64_t *hashes;
    size_t n, room;
};

static bool is_same_hash(const void *aux, uint32_t slot, const void *key)
{
    const struct snapshot *s = aux;
    return s->hashes[slot] == *(const uint64_t *)key;
}

static uint64_t hash_of(const struct em_change *change)
{
    uint64_t seed = em_hash(&change->object, sizeof(change->object));
    switch (change->object) {
    case EM_OBJECT_PORT:
        return em_hash_more(seed, change->port->id.bytes, change->port->id.size);
    case EM_OBJECT_NODE:
        return em_hash_more(seed, change->node->id, strlen(change->node->id));
    case EM_OBJECT_NETWORK:
        return em_hash_more(seed, &change->network->id, sizeof(change->network->id));
    }
    return seed;
}

static bool is_new(struct snapshot *s, const struct em_change *change)
{
    uint64_t hash = hash_of(change);
    if (em_index_find(&s->index, hash, is_same_hash, s, &hash) != EM_INDEX_NONE)
        return false;
    if (s->n == s->room) {
        s->room = s->room ? 2 * s->room : 256;
        s->hashes = em_realloc(s->hashes, s->room * sizeof(*s->hashes));
    }
    s->hashes[s->n] = hash;
    em_index_insert(&s->index, hash, (uint32_t)s->n++);
    return true;
}

static void on_page(void *aux, const struct em_feed *page)
{
    struct snapshot *s = aux;
    if (!s->ctl->is_waiting)
        return; /* the visitor has seen enough */
    s->ctl->n_heard++;
    if (page->err) {
        ctl_refused_with(s->ctl, page->err, page->message);
        return;
    }
    for (size_t i = 0; i < page->n_changes; i++) {
        const struct em_change *change = &page->changes[i];
        if (!change->is_gone && is_new(s, change) && s->visit(s->aux, change)) {
            ctl_finish(s->ctl, CTL_DONE);
            return;
        }
    }
    if (page->is_complete || page->is_removed)
        ctl_finish(s->ctl, CTL_DONE);
}

enum ctl_exit ctl_snapshot(struct ctl *ctl, uint32_t network_id, const char *network,
                           ctl_visit_fn *visit, void *aux)
{
    struct snapshot s = {.ctl = ctl, .visit = visit, .aux = aux};
    em_index_init(&s.index);
    struct em_client *client = em_call_client(ctl->call);
    int64_t id = em_client_subscribe(client, network_id, network, 0, on_page, &s);
    enum ctl_exit code = ctl_wait(ctl, id);
    if (id > 0)
        em_client_cancel(client, id);
    em_index_fini(&s.index);
    free(s.hashes);
    return code;
}

enum ctl_exit ctl_show(struct ctl *ctl, ctl_visit_fn *visit, void *aux, const bool *is_found)
{
    enum ctl_exit code = ctl_open(ctl);
    if (code)
        return code;
    code = ctl_snapshot(ctl, 0, NULL, visit, aux);
    if (!code && !*is_found)
        code = ctl_not_found(ctl);
    ctl_close(ctl);
    return code;
}
