/* The xtr program: options, signals, and the order of starting and ending. */
#include "agent.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/notify.h"
#include "config.h"
#include "control.h"
#include "net/net.h"
#include "net/socket.h"

#include <errno.h>
#include <ev.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPT_CONFIG = 'c', OPT_HELP = 'h', OPT_VERSION = 'V', OPT_CHECK = 256, OPT_CLEANUP };

static const struct option options[] = {
    {"config", required_argument, NULL, OPT_CONFIG}, {"check-config", no_argument, NULL, OPT_CHECK},
    {"cleanup", no_argument, NULL, OPT_CLEANUP},     {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},     {0},
};

struct program {
    struct ev_loop *loop;
    const char *file;
    struct xtr_config started; /* what needs a restart stays as it is here */
    struct em_net *net;
    struct xtr_agent *agent;
    struct xtr_control *control;
    ev_signal term, interrupt, hangup;
    ev_timer watchdog;
};

static void help(void)
{
    printf("Usage: xtr [--config FILE] [--check-config | --cleanup]\n"
           "\n"
           "The agent of eidmap on a host: it registers the endpoints of this host, follows\n"
           "the map, and programs the kernel's bridges, vxlan devices and neighbour tables,\n"
           "or Open vSwitch.\n"
           "\n"
           "  -c, --config FILE   read this YAML file\n"
           "      --check-config  read the configuration, say what is wrong with it, and end\n"
           "      --cleanup       take out what xtr has put into the kernel or Open vSwitch,\n"
           "                      and end; not beside an agent that runs\n"
           "  -V, --version       print the version and end\n"
           "  -h, --help          print this and end\n"
           "\n"
           "Signals: SIGTERM ends it and leaves the kernel forwarding; SIGHUP reads ports\n"
           "and log of the configuration again.\n"
           "Exit status: 0 ended by a signal, 1 it cannot start, 2 wrong usage.\n"
           "\n"
           "Example:\n"
           "  xtr --config /etc/eidmap/xtr.yaml\n"
           "\n"
           "Configuration:\n");
    xtr_config_print(stdout);
}

static void on_end(struct ev_loop *loop, ev_signal *w, int revents)
{
    em_info("%s: ending; what is installed stays", strsignal(w->signum));
    ev_break(loop, EVBREAK_ALL);
}

static void on_restart_key(void *aux, const char *key)
{
    em_warn("%s: %s takes effect with a restart", (const char *)aux, key);
}

static void on_hangup(struct ev_loop *loop, ev_signal *w, int revents)
{
    struct program *program = w->data;
    struct xtr_config fresh;
    char *why = NULL;
    if (xtr_config_load(program->file, &fresh, &why)) {
        em_error("%s; the old configuration stays", why);
        free(why);
        return;
    }
    em_notify("RELOADING=1");
    xtr_config_restarts(&program->started, &fresh, on_restart_key,
                        (void *)(uintptr_t)program->file);
    em_log_set_level((enum em_log_level)fresh.log_level);
    xtr_agent_reload(program->agent, &fresh);
    em_notify("READY=1");
    em_info("configuration read again: %zu ports", fresh.n_ports);
    xtr_config_free(&fresh);
}

static void on_watchdog(struct ev_loop *loop, ev_timer *w, int revents)
{
    em_notify("WATCHDOG=1");
}

static void start_signals(struct program *program)
{
    unsigned watchdog_ms = em_notify_watchdog_ms();
    signal(SIGPIPE, SIG_IGN);
    ev_signal_init(&program->term, on_end, SIGTERM);
    ev_signal_init(&program->interrupt, on_end, SIGINT);
    ev_signal_init(&program->hangup, on_hangup, SIGHUP);
    program->hangup.data = program;
    ev_signal_start(program->loop, &program->term);
    ev_signal_start(program->loop, &program->interrupt);
    ev_signal_start(program->loop, &program->hangup);
    /* Twice within the limit, as sd_watchdog_enabled(3) advises. */
    ev_timer_init(&program->watchdog, on_watchdog, watchdog_ms / 2e3, watchdog_ms / 2e3);
    if (watchdog_ms)
        ev_timer_start(program->loop, &program->watchdog);
}

static void make_dirs(const char *path)
{
    char *dir = em_strdup(path);
    for (char *slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(dir, 0755); /* what cannot be made is said by who needs it */
        *slash = '/';
    }
    mkdir(dir, 0700);
    free(dir);
}

static int fail(char *why)
{
    fprintf(stderr, "xtr: %s\n", why);
    free(why);
    return 1;
}

static int run(struct program *program)
{
    char *why = NULL;
    program->loop = ev_default_loop(0);
    program->net = em_net_new(program->loop);
    make_dirs(program->started.state_dir);
    int r = xtr_agent_new(program->loop, &program->started, &program->agent, &why);
    if (!r)
        r = xtr_control_new(program->net, program->agent, &program->started, &program->control,
                            &why);
    if (!r) {
        start_signals(program);
        em_info("node %s is ready; control socket %s", program->started.node_id,
                program->started.control_path);
        em_notify("READY=1");
        ev_run(program->loop, 0);
        em_notify("STOPPING=1");
    }
    xtr_control_free(program->control);
    xtr_agent_free(program->agent);
    em_net_free(program->net);
    return r ? fail(why) : 0;
}

static bool is_served(const char *path)
{
    struct em_address address = {.transport = EM_UNIX};
    snprintf(address.path, sizeof address.path, "%s", path);
    int fd = em_socket_connect(&address);
    if (fd >= 0)
        close(fd);
    return fd >= 0 || fd == -EAGAIN;
}

/* Beside an agent that runs it would take the guests off the network, until that repairs it. */
static int clean_up(const struct xtr_config *config)
{
    char *why = NULL;
    if (is_served(config->control_path))
        return fail(
            em_asprintf("an agent runs here, %s answers: stop it first", config->control_path));
    return xtr_agent_cleanup(config, &why) ? fail(why) : 0;
}

static int with_config(const char *file, int action)
{
    struct program program = {.file = file};
    char *why = NULL;
    if (xtr_config_load(file, &program.started, &why))
        return fail(why);
    em_log_set_level((enum em_log_level)program.started.log_level);
    int code = 0;
    if (action == OPT_CHECK)
        printf("%s: ok\n", file ? file : "defaults");
    else if (action == OPT_CLEANUP)
        code = clean_up(&program.started);
    else
        code = run(&program);
    xtr_config_free(&program.started);
    return code;
}

int main(int argc, char **argv)
{
    const char *file = NULL;
    int action = 0, option;
    em_log_init("xtr");
    while ((option = getopt_long(argc, argv, "c:hV", options, NULL)) >= 0) {
        switch (option) {
        case OPT_CONFIG:
            file = optarg;
            break;
        case OPT_CHECK:
        case OPT_CLEANUP:
            if (action && action != option) {
                fprintf(stderr, "xtr: either --check-config or --cleanup; try 'xtr --help'\n");
                return 2;
            }
            action = option;
            break;
        case OPT_HELP:
            help();
            return 0;
        case OPT_VERSION:
            printf("xtr %s\n", EM_VERSION);
            return 0;
        default:
            fprintf(stderr, "Try 'xtr --help'.\n");
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "xtr: '%s' is no option; try 'xtr --help'\n", argv[optind]);
        return 2;
    }
    return with_config(file, action);
}
