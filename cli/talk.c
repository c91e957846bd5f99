#include "talk.h"

#include "call.h"

#include "client/request.h"

static void on_reply(void *aux, int err, const Eidmap__Envelope *reply)
{
    struct ctl_talk *talk = aux;
    struct ctl *ctl = talk->ctl;
    if (!ctl->is_waiting)
        return;
    ctl->n_heard++;
    if (err) {
        ctl_refused_with(ctl, err, NULL);
    } else if (reply->body_case == EIDMAP__ENVELOPE__BODY_ERROR) {
        ctl_refused_with(ctl, em_error_from_wire((int)reply->error->code), reply->error->message);
    } else if (reply->body_case != talk->expects) {
        ctl_refused_with(ctl, EM_E_UNSUPPORTED, "the answer is none that mapctl knows");
    } else {
        em_arena_reset(&talk->arena);
        if (talk->show(talk, reply))
            ctl_finish(ctl, CTL_DONE);
    }
}

static enum ctl_exit converse(struct ctl_talk *talk)
{
    struct ctl *ctl = talk->ctl;
    Eidmap__Envelope request = EIDMAP__ENVELOPE__INIT;
    request.body_case = talk->asks;
    request.xtr_status = talk->body; /* all members of the oneof are pointers to messages */
    em_arena_init(&talk->arena, 0);
    enum ctl_exit code =
        ctl_wait(ctl, em_client_send(em_call_client(ctl->call), &request, true, on_reply, talk));
    em_arena_fini(&talk->arena);
    return code ? code : talk->verdict;
}

static void list_begin(struct ctl_talk *talk)
{
    struct ctl *ctl = talk->ctl;
    talk->json = (struct ctl_json){ctl->out};
    if (ctl->is_json)
        ctl_json_begin(&talk->json, NULL, '[');
    else
        talk->table = ctl_table_new(ctl->out, talk->columns, talk->n_columns);
}

static void list_end(struct ctl_talk *talk, bool is_whole)
{
    if (talk->ctl->is_json) {
        ctl_json_end(&talk->json, ']');
    } else if (is_whole) {
        ctl_table_sort(talk->table);
        ctl_table_print(talk->table);
    }
    ctl_table_free(talk->table);
    talk->table = NULL;
}

enum ctl_exit ctl_talk_run(struct ctl_talk *talk)
{
    enum ctl_exit code = ctl_open_xtr(talk->ctl);
    if (code)
        return code;
    talk->was_there = true;
    if (talk->columns)
        list_begin(talk);
    code = converse(talk);
    if (talk->columns)
        list_end(talk, !code);
    ctl_close(talk->ctl);
    return code;
}

enum ctl_exit ctl_talk_table(struct ctl_talk *talk, const struct ctl_column *columns, size_t n)
{
    talk->columns = columns;
    talk->n_columns = n;
    return ctl_talk_run(talk);
}
