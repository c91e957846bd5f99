/* The node's own RLOCs while the agent runs.  One that is configured stays what it is, and is a
 * problem while the host does not have it.  One that was found out is found out again whenever
 * the host's addresses or routes change: tunnels follow first, so that what comes for the new
 * address is taken, then the map is told and other nodes follow with one nexthop each. */
#include "agent_state.h"

#include "base/log.h"
#include "base/mem.h"
#include "rloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *ip_text(const struct em_ip *ip)
{
    static char text[EM_IP_TEXT];
    return em_ip_format(ip->addr, ip->size, text);
}

/* A sentence, or NULL: all is well.  It is told once when it begins, and when it ends. */
static void set_problem(struct xtr_agent *agent, char *text_take)
{
    if (text_take && (!agent->rloc_why || strcmp(text_take, agent->rloc_why) != 0))
        em_warn("%s", text_take);
    else if (!text_take && agent->rloc_why)
        em_info("the underlay address %s is there again", ip_text(&agent->rlocs[0].ip));
    free(agent->rloc_why);
    agent->rloc_why = text_take;
}

static void check_own(struct xtr_agent *agent)
{
    char *why = NULL;
    for (size_t i = 0; i < agent->n_rlocs && !why; i++)
        if (!xtr_underlay_has(&agent->underlay, &agent->rlocs[i].ip))
            why = em_asprintf("RLOC %s is no address of this host: nothing can come to it until "
                              "it is there again",
                              ip_text(&agent->rlocs[i].ip));
    set_problem(agent, why);
}

static void move_to(struct xtr_agent *agent, const struct em_ip *ip)
{
    em_warn("this host's underlay address has changed to %s", ip_text(ip));
    int r = dataplane_set_rloc(agent->plane, ip);
    if (r == -EADDRNOTAVAIL)
        return; /* gone again: there will be news of that */
    if (r)
        agent->pump.is_shaken = true; /* some tunnels are behind: repaired with the next tick */
    agent->rlocs[0].ip = *ip;
    em_client_set_rlocs(agent->client, agent->rlocs, agent->n_rlocs);
    free(agent->rloc_why);
    agent->rloc_why = NULL;
}

/* Where no address leads to the servers for now, the one that we have is as good as any. */
static void follow(struct xtr_agent *agent)
{
    struct em_ip found[2] = {{0}};
    size_t n = 0;
    char *why = NULL;
    int r = xtr_rloc_find(agent->config, found, &n, &why);
    free(why);
    if (r || em_ip_equal(&found[0], &agent->rlocs[0].ip))
        check_own(agent);
    else if (found[0].size != agent->rlocs[0].ip.size)
        set_problem(agent, em_asprintf("the underlay address is %s now, of another family: restart "
                                       "xtr to use it",
                                       ip_text(&found[0])));
    else
        move_to(agent, &found[0]);
}

static void on_change(void *aux)
{
    struct xtr_agent *agent = aux;
    if (agent->config->n_rlocs)
        check_own(agent);
    else
        follow(agent);
}

void xtr_agent_watch_underlay(struct xtr_agent *agent)
{
    bool is_fixed = agent->config->n_rlocs;
    int r = xtr_underlay_start(&agent->underlay, agent->loop, !is_fixed, on_change, agent);
    if (r)
        em_error("changes of the underlay's addresses cannot be watched: %s", em_strerror(r));
    else
        check_own(agent);
}
