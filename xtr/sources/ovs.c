/* Each port-id that an interface names, or that an earlier run has left, is a claim.  A claim is
 * due when something about it has changed, or when it is time to ask for its record again; what it
 * needs is then drawn anew from the facts. */
#include "sources/ovs.h"

#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"
#include "sources/ovs_wish.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_MS     1000u /* at first, for a record that is not there; then twice as long ... */
#define MAX_ASK_MS 16000u
#define RETRY_MS   5000u /* of what the agent did not take */
#define TELL_SIZE  512

enum record_state { NOT_ASKED, ASKED, ANSWERED };

struct claim {
    struct em_port_id id;
    struct em_list taps;
    struct em_list due;  /* of the source, while it is to be looked at now */
    uint64_t due_ms;     /* or then; UINT64_MAX: when something changes */
    struct tap *winner;  /* NULL: none */
    char *restored;      /* the device of an earlier run's port; NULL: none */
    uint64_t given;      /* hash of the wish that the agent was given; 0: none */
    bool is_given_fresh; /* and that it was fresh evidence */

    enum record_state record_state;
    uint64_t
        again_ms; /* there is none: it is asked for again then, since somebody may register it, */
    uint64_t ask_ms; /* and next time after so long */
    struct xtr_ovs_record record;

    bool is_attached;  /* by us */
    bool is_foreign;   /* another source has the port */
    bool is_detached;  /* by somebody else, while its interface stayed */
    bool is_installed; /* the port, on the winner's device */
    bool is_out;       /* it is not, and not about to be */
    char *problem;     /* NULL: none */
};

/* An interface with an iface-id, or with a mark. */
struct tap {
    struct em_list item; /* of its claim, or of those that are loose */
    struct claim *claim; /* NULL: none that could be read */
    const struct ovs_interface *interface;
    bool is_spent; /* no fresh evidence any more */
    bool is_marked;
};

struct xtr_ovs {
    xtr_ovs_tell_fn *tell;
    void *aux;
    bool is_synced;
    struct claim **claims; /* NULL: a free slot */
    uint32_t n_claims;
    struct em_index by_id;
    struct em_list due;
    uint64_t next_ms; /* no claim is due before */
    struct em_list loose;
    struct em_eid eids[XTR_PORT_EIDS]; /* of the wish that was given */
};

static void tell(const struct xtr_ovs *ovs, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void tell(const struct xtr_ovs *ovs, const char *format, ...)
{
    char text[TELL_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ovs->tell(ovs->aux, text);
}

static const char *id_text(const struct claim *claim)
{
    static char text[EM_PORT_ID_TEXT];
    return em_port_id_format(claim->id.bytes, claim->id.size, text);
}

/* Claims */

static bool has_id(const void *aux, uint32_t slot, const void *key)
{
    const struct em_port_id *id = key, *own = &((const struct xtr_ovs *)aux)->claims[slot]->id;
    return own->size == id->size && !memcmp(own->bytes, id->bytes, id->size);
}

static uint32_t find_slot(const struct xtr_ovs *ovs, const struct em_port_id *id)
{
    return em_index_find(&ovs->by_id, em_hash(id->bytes, id->size), has_id, ovs, id);
}

static struct claim *find(const struct xtr_ovs *ovs, const struct em_port_id *id)
{
    uint32_t slot = find_slot(ovs, id);
    return slot == EM_INDEX_NONE ? NULL : ovs->claims[slot];
}

static uint32_t free_slot(struct xtr_ovs *ovs)
{
    for (uint32_t i = 0; i < ovs->n_claims; i++)
        if (!ovs->claims[i])
            return i;
    uint32_t old = ovs->n_claims;
    ovs->n_claims = old ? old * 2 : 16;
    ovs->claims = em_realloc(ovs->claims, ovs->n_claims * sizeof(struct claim *));
    memset(ovs->claims + old, 0, (ovs->n_claims - old) * sizeof(struct claim *));
    return old;
}

static struct claim *find_or_add(struct xtr_ovs *ovs, const struct em_port_id *id)
{
    struct claim *claim = find(ovs, id);
    if (claim)
        return claim;
    claim = em_calloc(1, sizeof *claim);
    claim->id = *id;
    claim->due_ms = UINT64_MAX;
    claim->ask_ms = ASK_MS;
    em_list_init(&claim->taps);
    em_list_init(&claim->due);
    uint32_t slot = free_slot(ovs);
    ovs->claims[slot] = claim;
    em_index_insert(&ovs->by_id, em_hash(id->bytes, id->size), slot);
    return claim;
}

static void claim_free(struct claim *claim)
{
    if (!claim)
        return;
    xtr_ovs_record_fini(&claim->record);
    free(claim->restored);
    free(claim->problem);
    free(claim);
}

static void drop(struct xtr_ovs *ovs, struct claim *claim)
{
    uint32_t slot = find_slot(ovs, &claim->id);
    em_index_remove(&ovs->by_id, em_hash(claim->id.bytes, claim->id.size), slot);
    ovs->claims[slot] = NULL;
    em_list_remove(&claim->due);
    claim_free(claim);
}

static void set_due(struct xtr_ovs *ovs, struct claim *claim)
{
    claim->due_ms = UINT64_MAX;
    if (em_list_is_empty(&claim->due))
        em_list_append(&ovs->due, &claim->due);
}

static void set_due_at(struct xtr_ovs *ovs, struct claim *claim, uint64_t due_ms)
{
    claim->due_ms = due_ms;
    if (due_ms < ovs->next_ms)
        ovs->next_ms = due_ms;
}

static void set_problem(struct claim *claim, char *text_take)
{
    free(claim->problem);
    claim->problem = text_take;
}

/* Which of the interfaces with one iface-id counts */

static bool is_better(const struct tap *a, const struct tap *b)
{
    const struct ovs_interface *x = a->interface, *y = b->interface;
    if (!x->ofport != !y->ofport)
        return x->ofport != 0;
    if (x->age != y->age)
        return x->age > y->age;
    if (x->ofport != y->ofport)
        return x->ofport > y->ofport; /* numbers are given in the order of plugging, mostly */
    return strcmp(x->uuid, y->uuid) > 0;
}

static const char *value_or(const struct tap *tap, const char *key, const char *fallback)
{
    const char *value = ovs_interface_id(tap->interface, key);
    return value ? value : fallback;
}

/* libvirt's key, or Nova's. */
static const char *vm_of(const struct tap *tap)
{
    return value_or(tap, "vm-id", value_or(tap, "vm-uuid", "-"));
}

static void tell_rivals(const struct xtr_ovs *ovs, const struct claim *claim)
{
    const struct tap *winner = claim->winner;
    EM_FOREACH (tap, &claim->taps, struct tap, item) {
        bool is_by_port = winner->interface->ofport && !tap->interface->ofport;
        if (tap == winner)
            continue;
        tell(ovs,
             "port %s: two interfaces have its iface-id; %.64s (vm-id %.64s, iface-id-ver %.64s) "
             "%s, "
             "and %.64s (vm-id %.64s, iface-id-ver %.64s) is passed over",
             id_text(claim), winner->interface->name, vm_of(winner),
             value_or(winner, "iface-id-ver", "-"),
             is_by_port ? "has an OpenFlow port" : "came later", tap->interface->name, vm_of(tap),
             value_or(tap, "iface-id-ver", "-"));
    }
}

/* A new winner is registered with the record as it is now. */
static void choose(struct xtr_ovs *ovs, struct claim *claim, bool has_news)
{
    struct tap *best = NULL;
    EM_FOREACH (tap, &claim->taps, struct tap, item)
        if (!best || is_better(tap, best))
            best = tap;
    if (best != claim->winner) {
        claim->winner = best;
        claim->record_state = NOT_ASKED;
        claim->ask_ms = ASK_MS;
        claim->is_installed = false;
        claim->is_out = !best || !best->is_spent;
        has_news = true;
    }
    if (has_news)
        tell_rivals(ovs, claim);
    set_due(ovs, claim);
}

/* Interfaces */

static void leave_claim(struct xtr_ovs *ovs, struct tap *tap)
{
    struct claim *claim = tap->claim;
    em_list_remove(&tap->item);
    tap->claim = NULL;
    if (claim)
        choose(ovs, claim, false);
}

static void join_claim(struct xtr_ovs *ovs, struct tap *tap, const struct em_port_id *id)
{
    struct claim *claim = find_or_add(ovs, id);
    tap->claim = claim;
    tap->is_spent =
        !ovs->is_synced && claim->restored && !strcmp(claim->restored, tap->interface->name);
    em_list_append(&claim->taps, &tap->item);
    choose(ovs, claim, true);
}

static void unplug(struct xtr_ovs *ovs, struct ovs_interface *interface)
{
    struct tap *tap = interface->owner;
    if (!tap)
        return;
    interface->owner = NULL;
    leave_claim(ovs, tap);
    free(tap);
}

static bool is_of(const struct tap *tap, const struct em_port_id *id)
{
    return tap->claim && tap->claim->id.size == id->size &&
           !memcmp(tap->claim->id.bytes, id->bytes, id->size);
}

static struct tap *plug(struct xtr_ovs *ovs, struct ovs_interface *interface)
{
    struct tap *tap = em_calloc(1, sizeof *tap);
    tap->interface = interface;
    em_list_append(&ovs->loose, &tap->item);
    interface->owner = tap;
    return tap;
}

void xtr_ovs_interface(struct xtr_ovs *ovs, struct ovs_interface *interface, bool is_there)
{
    const char *text = ovs_interface_id(interface, "iface-id");
    bool is_marked = ovs_interface_id(interface, XTR_OVS_INSTALLED);
    char why[EM_ADDR_WHY];
    struct em_port_id id;
    struct tap *tap = interface->owner;
    if (!is_there || (!text && !is_marked)) {
        unplug(ovs, interface);
        return;
    }
    if (!tap)
        tap = plug(ovs, interface);
    tap->is_marked = is_marked;
    bool is_port = text && !em_port_id_parse(text, &id, why);
    if (text && !is_port)
        tell(ovs, "interface %.64s: iface-id \"%.80s\" is no port-id: %s", interface->name, text,
             why);
    if (is_port && is_of(tap, &id)) {
        choose(ovs, tap->claim, false);
        return;
    }
    leave_claim(ovs, tap);
    if (is_port)
        join_claim(ovs, tap, &id);
    else
        em_list_append(&ovs->loose, &tap->item);
}

void xtr_ovs_synced(struct xtr_ovs *ovs)
{
    ovs->is_synced = true;
    for (uint32_t i = 0; i < ovs->n_claims; i++)
        if (ovs->claims[i])
            set_due(ovs, ovs->claims[i]);
}

void xtr_ovs_restore(struct xtr_ovs *ovs, const struct xtr_port *port)
{
    struct claim *claim = find_or_add(ovs, &port->id);
    free(claim->restored);
    claim->restored = em_strdup(port->device);
    claim->is_attached = true;
}

/* Records */

void xtr_ovs_record(struct xtr_ovs *ovs, const struct em_port_id *id, const struct em_port *record,
                    const char *network, uint64_t now_ms)
{
    struct claim *claim = find(ovs, id);
    if (!claim)
        return;
    if (record && !network) { /* one that the agent has not heard of yet */
        xtr_ovs_unanswered(ovs, id, now_ms);
        return;
    }
    xtr_ovs_record_fini(&claim->record);
    if (record)
        xtr_ovs_record_init(&claim->record, record, network);
    claim->again_ms = now_ms + claim->ask_ms;
    claim->ask_ms = claim->ask_ms * 2 < MAX_ASK_MS ? claim->ask_ms * 2 : MAX_ASK_MS;
    claim->record_state = ANSWERED;
    set_due(ovs, claim);
}

void xtr_ovs_unanswered(struct xtr_ovs *ovs, const struct em_port_id *id, uint64_t now_ms)
{
    struct claim *claim = find(ovs, id);
    if (!claim || claim->record_state != ASKED)
        return;
    claim->record_state = NOT_ASKED;
    set_due_at(ovs, claim, now_ms + ASK_MS);
}

/* What the agent says */

static bool is_on_winner(const struct claim *claim, const struct xtr_port *port)
{
    return claim->winner && !strcmp(port->device, claim->winner->interface->name);
}

/* Between being registered and being installed again, which happens without a cut, the mark stays
 * as it is. */
static bool is_out(const struct claim *claim, const struct xtr_port *port)
{
    return !is_on_winner(claim, port) || port->is_attach || port->device_err ||
           port->phase == XTR_REFUSED || port->phase == XTR_PENDING;
}

void xtr_ovs_port(struct xtr_ovs *ovs, const struct em_port_id *id, const struct xtr_port *port)
{
    struct claim *claim = find(ovs, id);
    if (!claim)
        return;
    if (!port) {
        claim->is_detached = claim->is_attached;
        claim->given = 0;
        if (claim->is_foreign)
            set_due(ovs, claim);
        claim->is_attached = claim->is_foreign = claim->is_installed = false;
        claim->is_out = true;
        return;
    }
    claim->is_foreign = port->source != XTR_SOURCE_OVS;
    claim->is_attached = !claim->is_foreign;
    claim->is_installed = port->phase == XTR_INSTALLED && is_on_winner(claim, port);
    claim->is_out = !claim->is_installed && is_out(claim, port);
}

void xtr_ovs_refused(struct xtr_ovs *ovs, const struct em_port_id *id, const char *why,
                     uint64_t now_ms)
{
    struct claim *claim = find(ovs, id);
    if (!claim || !claim->winner)
        return;
    set_problem(claim, em_asprintf("port %s on %.64s: %s", id_text(claim),
                                   claim->winner->interface->name, why));
    tell(ovs, "%s", claim->problem);
    claim->given = 0;
    claim->winner->is_spent = !claim->is_given_fresh;
    set_due_at(ovs, claim, now_ms + RETRY_MS);
}

/* Steps */

static bool is_record_missing(const struct claim *claim)
{
    return !claim->record.network && xtr_ovs_needs_record(claim->winner->interface);
}

static char *no_ofport(const struct ovs_interface *interface)
{
    return em_strdup(interface->error ? interface->error : "no OpenFlow port yet");
}

static enum xtr_ovs_step attach(struct xtr_ovs *ovs, struct claim *claim, uint64_t now_ms,
                                struct xtr_ovs_action *action)
{
    const struct ovs_interface *interface = claim->winner->interface;
    char *problem = claim->is_attached || interface->ofport ? NULL : no_ofport(interface);
    if (!problem)
        problem = xtr_ovs_wish(interface, &claim->record, ovs->eids, &action->wish);
    if (problem) {
        set_problem(claim,
                    em_asprintf("port %s on %.64s: %s", id_text(claim), interface->name, problem));
        free(problem);
        if (is_record_missing(claim))
            set_due_at(ovs, claim, claim->again_ms);
        return XTR_OVS_NONE;
    }
    uint64_t hash = xtr_ovs_wish_hash(&action->wish);
    action->wish.id = claim->id;
    action->is_fresh = !claim->winner->is_spent;
    if (!action->is_fresh && hash == claim->given)
        return XTR_OVS_NONE;
    claim->given = hash;
    claim->is_given_fresh = action->is_fresh;
    claim->winner->is_spent = true;
    claim->is_detached = false;
    return XTR_OVS_ATTACH;
}

/* Its last interface has gone, or never came. */
static enum xtr_ovs_step leave(struct xtr_ovs *ovs, struct claim *claim,
                               struct xtr_ovs_action *action)
{
    bool is_attached = claim->is_attached;
    action->wish = (struct xtr_wish){.id = claim->id};
    drop(ovs, claim);
    return is_attached ? XTR_OVS_DETACH : XTR_OVS_NONE;
}

static enum xtr_ovs_step look_at(struct xtr_ovs *ovs, struct claim *claim, uint64_t now_ms,
                                 struct xtr_ovs_action *action)
{
    set_problem(claim, NULL);
    if (!claim->winner) /* or it has not been shown yet */
        return ovs->is_synced ? leave(ovs, claim, action) : XTR_OVS_NONE;
    if (claim->is_foreign || (claim->is_detached && claim->winner->is_spent))
        return XTR_OVS_NONE;
    if (is_record_missing(claim) && now_ms >= claim->again_ms && claim->record_state == ANSWERED)
        claim->record_state = NOT_ASKED;
    if (xtr_ovs_needs_record(claim->winner->interface) && claim->record_state != ANSWERED) {
        bool is_asked = claim->record_state == ASKED;
        action->wish = (struct xtr_wish){.id = claim->id};
        claim->record_state = ASKED;
        return is_asked ? XTR_OVS_NONE : XTR_OVS_ASK;
    }
    return attach(ovs, claim, now_ms, action);
}

static void find_due(struct xtr_ovs *ovs, uint64_t now_ms)
{
    if (now_ms < ovs->next_ms)
        return;
    ovs->next_ms = UINT64_MAX;
    for (uint32_t i = 0; i < ovs->n_claims; i++) {
        struct claim *claim = ovs->claims[i];
        if (claim && claim->due_ms <= now_ms)
            set_due(ovs, claim);
        else if (claim && claim->due_ms < ovs->next_ms)
            ovs->next_ms = claim->due_ms;
    }
}

enum xtr_ovs_step xtr_ovs_next(struct xtr_ovs *ovs, uint64_t now_ms,
                               struct xtr_ovs_action *ret_action)
{
    find_due(ovs, now_ms);
    *ret_action = (struct xtr_ovs_action){0};
    while (!em_list_is_empty(&ovs->due)) {
        struct claim *claim = em_container_of(ovs->due.next, struct claim, due);
        em_list_remove(&claim->due);
        ret_action->step = look_at(ovs, claim, now_ms, ret_action);
        if (ret_action->step != XTR_OVS_NONE)
            break;
    }
    return ret_action->step;
}

/* Marks */

static bool is_mark_wrong(const struct claim *claim, const struct tap *tap, bool *ret_should)
{
    *ret_should = tap == claim->winner && claim->is_installed;
    if (*ret_should)
        return !tap->is_marked;
    return tap->is_marked && (tap != claim->winner || claim->is_out);
}

static bool find_mark(const struct claim *claim, struct xtr_ovs_mark *ret_mark)
{
    EM_FOREACH (tap, &claim->taps, struct tap, item) {
        bool should;
        if (!is_mark_wrong(claim, tap, &should))
            continue;
        *ret_mark = (struct xtr_ovs_mark){
            .uuid = tap->interface->uuid,
            .iface_id = ovs_interface_id(tap->interface, "iface-id"),
            .is_installed = should,
        };
        return true;
    }
    return false;
}

bool xtr_ovs_next_mark(struct xtr_ovs *ovs, uint32_t *at, struct xtr_ovs_mark *ret_mark)
{
    while (*at < ovs->n_claims) {
        const struct claim *claim = ovs->claims[(*at)++];
        if (claim && find_mark(claim, ret_mark))
            return true;
    }
    if ((*at)++ > ovs->n_claims)
        return false;
    EM_FOREACH (tap, &ovs->loose, struct tap, item) {
        *ret_mark = (struct xtr_ovs_mark){.uuid = tap->interface->uuid};
        if (tap->is_marked)
            return true;
    }
    return false;
}

char *xtr_ovs_problem(const struct xtr_ovs *ovs, size_t i)
{
    for (uint32_t k = 0; k < ovs->n_claims; k++)
        if (ovs->claims[k] && ovs->claims[k]->problem && i-- == 0)
            return em_strdup(ovs->claims[k]->problem);
    return NULL;
}

/* Life */

struct xtr_ovs *xtr_ovs_new(xtr_ovs_tell_fn *on_tell, void *aux)
{
    struct xtr_ovs *ovs = em_calloc(1, sizeof *ovs);
    ovs->tell = on_tell;
    ovs->aux = aux;
    ovs->next_ms = UINT64_MAX;
    em_index_init(&ovs->by_id);
    em_list_init(&ovs->due);
    em_list_init(&ovs->loose);
    return ovs;
}

static void free_taps(struct em_list *taps)
{
    EM_FOREACH (tap, taps, struct tap, item)
        free(tap);
}

void xtr_ovs_free(struct xtr_ovs *ovs)
{
    if (!ovs)
        return;
    for (uint32_t i = 0; i < ovs->n_claims; i++) {
        if (ovs->claims[i])
            free_taps(&ovs->claims[i]->taps);
        claim_free(ovs->claims[i]);
    }
    free_taps(&ovs->loose);
    em_index_fini(&ovs->by_id);
    free(ovs->claims);
    free(ovs);
}
