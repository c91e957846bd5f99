#include "cli/ctl_stage.h"

#include <stdlib.h>
#include <string.h>

#define MAX_ARGS 64

struct ctl_stage ctl_stage;
static size_t out_size, err_size; /* as of the last flush */

bool ctl_has_printed(void)
{
    return __atomic_load_n(&out_size, __ATOMIC_ACQUIRE) > 0;
}

size_t ctl_complaints(void)
{
    return __atomic_load_n(&err_size, __ATOMIC_ACQUIRE);
}

struct ctl_run ctl_run(const char *line)
{
    static struct ctl_run run;
    char *copy = strdup(line);
    char *argv[MAX_ARGS + 2] = {"mapctl"};
    int argc = 1;
    out_size = err_size = 0;
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
        cr_assert_lt(argc, MAX_ARGS);
        if (strcmp(word, "@") == 0)
            word = strcmp(argv[argc - 1], "-S") == 0 ? ctl_stage.server.path : ctl_stage.server.url;
        argv[argc++] = word;
    }
    free(run.out);
    free(run.err);
    FILE *out = open_memstream(&run.out, &out_size);
    FILE *err = open_memstream(&run.err, &err_size);
    run.code = ctl_main(argc, argv, out, err);
    fclose(out);
    fclose(err);
    free(copy);
    return run;
}

static void on_stop(struct ev_loop *loop, ev_async *w, int revents)
{
    ev_break(loop, EVBREAK_ALL);
}

static void *serve(void *arg)
{
    ev_run(arg, 0);
    return NULL;
}

void ctl_stage_start(void (*handler)(struct fake_server *server, const Eidmap__Envelope *envelope))
{
    ctl_stage.loop = ev_loop_new(EVFLAG_AUTO);
    ev_async_init(&ctl_stage.stop, on_stop);
    ev_async_start(ctl_stage.loop, &ctl_stage.stop);
    fake_start(&ctl_stage.server, ctl_stage.loop, "ctl");
    ctl_stage.server.handler = handler;
    cr_assert_eq(pthread_create(&ctl_stage.thread, NULL, serve, ctl_stage.loop), 0);
}

void ctl_stage_stop(void)
{
    ev_async_send(ctl_stage.loop, &ctl_stage.stop);
    pthread_join(ctl_stage.thread, NULL);
    fake_stop(&ctl_stage.server);
    ev_async_stop(ctl_stage.loop, &ctl_stage.stop);
    ev_loop_destroy(ctl_stage.loop);
}

json_t *ctl_parse_json(const char *text)
{
    json_error_t error;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    cr_assert(json, "%s in: %s", error.text, text);
    return json;
}

void ctl_assert_has(const char *text, const char *part)
{
    cr_assert(strstr(text, part), "\"%s\" is not in: %s", part, text);
}

void ctl_assert_error(const struct ctl_run *run, enum ctl_exit code, const char *part)
{
    cr_assert_eq(run->code, code, "%d, not %d: %s", run->code, code, run->err);
    cr_assert_eq(strncmp(run->err, "mapctl: ", 8), 0, "%s", run->err);
    cr_assert_eq(strchr(run->err, '\n'), run->err + strlen(run->err) - 1, "%s", run->err);
    ctl_assert_has(run->err, part);
}
