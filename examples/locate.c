/* Prints where an endpoint is, and again whenever it moves.
 *
 *   locate unix:/run/eidmap/mapserver.sock blue 10.0.0.7
 */
#include <eidmap.h>
#include <stdio.h>

static void on_answer(void *aux, const struct em_reply *reply)
{
    if (reply->err) {
        fprintf(stderr, "locate: %s\n", reply->message);
        em_call_done(aux);
        return;
    }
    for (size_t i = 0; i < reply->n_answers; i++) {
        const struct em_answer *answer = &reply->answers[i];
        if (!answer->port)
            printf("nowhere: %s\n", answer->reason);
        else if (!answer->port->n_locations)
            printf("nowhere: no location of its port is for this client\n");
        for (size_t k = 0; answer->port && k < answer->port->n_locations; k++)
            printf("%s:%u\n", answer->port->locations[k].node_id,
                   answer->port->locations[k].segmentation_id);
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct em_call *call = NULL;
    struct em_eid eid;
    char name[EM_EID_TEXT], bad[EM_ADDR_WHY], *why = NULL;
    if (argc != 4 || em_eid_parse(argv[3], &eid, name, bad)) {
        fprintf(stderr, "usage: locate SERVER NETWORK EID%s%s\n", argc == 4 ? ": " : "",
                argc == 4 ? bad : "");
        return 2;
    }
    struct em_client_config config = {.servers = (const char *const *)&argv[1], .n_servers = 1};
    if (em_call_open(&config, &call, &why)) {
        fprintf(stderr, "locate: %s\n", why);
        return 3;
    }
    em_client_resolve(em_call_client(call), 0, argv[2], &eid, 1, EM_RESOLVE_WATCH, on_answer, call);
    em_call_wait(call, -1); /* for ever, but for an error */
    em_call_close(call);
    return 1;
}
