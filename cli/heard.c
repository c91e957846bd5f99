/* A server that does not answer is no failure: what it knows is missing then, and the counts
 * say so. */
#include "heard.h"

#include "call.h"
#include "target.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct asking {
    struct ctl *ctl;
    struct ctl_heard *heard;
};

static void keep(struct ctl_heard *heard, const struct em_session *session)
{
    const struct ctl_heard_node *known = ctl_heard_find(heard, session->name);
    if (known) { /* a session that a server has not missed yet */
        struct ctl_heard_node *node = &heard->nodes[known - heard->nodes];
        if (node->installed < session->installed_revision)
            node->installed = session->installed_revision;
        return;
    }
    heard->nodes = em_realloc(heard->nodes, (heard->n + 1) * sizeof(*heard->nodes));
    heard->nodes[heard->n++] =
        (struct ctl_heard_node){em_strdup(session->name), session->installed_revision};
}

static void on_status(void *aux, const struct em_reply *reply)
{
    struct asking *asking = aux;
    if (!reply->err) {
        const struct em_status *status = reply->status;
        asking->heard->n_asked++;
        if (asking->heard->n_servers < status->n_members)
            asking->heard->n_servers = status->n_members;
        for (size_t i = 0; i < status->n_listed; i++)
            if (strcmp(status->sessions[i].role, "node") == 0)
                keep(asking->heard, &status->sessions[i]);
    }
    ctl_finish(asking->ctl, CTL_DONE);
}

enum ctl_exit ctl_heard_ask(struct ctl *ctl, struct ctl_heard *ret_heard)
{
    struct ctl_servers servers;
    struct asking asking = {ctl, ret_heard};
    *ret_heard = (struct ctl_heard){0};
    enum ctl_exit code = ctl_servers_init(ctl, &servers);
    if (!code)
        code = ctl_servers_check(ctl, &servers);
    for (size_t i = 0; !code && i < servers.n_servers; i++) {
        if (!ctl_open_quietly(ctl, &servers, i))
            continue;
        ctl_wait_quietly(ctl,
                         em_client_status(em_call_client(ctl->call), true, on_status, &asking));
        ctl_close(ctl);
    }
    ctl_servers_fini(&servers);
    return code;
}

void ctl_heard_fini(struct ctl_heard *heard)
{
    for (size_t i = 0; i < heard->n; i++)
        free(heard->nodes[i].id);
    free(heard->nodes);
    *heard = (struct ctl_heard){0};
}

const struct ctl_heard_node *ctl_heard_find(const struct ctl_heard *heard, const char *node_id)
{
    for (size_t i = 0; i < heard->n; i++)
        if (strcmp(heard->nodes[i].id, node_id) == 0)
            return &heard->nodes[i];
    return NULL;
}
