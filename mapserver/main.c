#include "base/log.h"
#include "config.h"
#include "recover.h"
#include "server.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { OPT_CONFIG = 'c', OPT_HELP = 'h', OPT_VERSION = 'V', OPT_CHECK = 256, OPT_RECOVER, OPT_YES };

static const struct option options[] = {
    {"config", required_argument, NULL, OPT_CONFIG},
    {"check-config", no_argument, NULL, OPT_CHECK},
    {"recover", no_argument, NULL, OPT_RECOVER},
    {"yes", no_argument, NULL, OPT_YES},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {0},
};

static void help(void)
{
    printf("Usage: mapserver [--config FILE] [--check-config | --recover [--yes]]\n"
           "\n"
           "The map server of eidmap: it holds where every endpoint of a virtual network\n"
           "is, and tells those who ask or subscribe.\n"
           "\n"
           "  -c, --config FILE   read this YAML file; without it the defaults below serve\n"
           "                      a unix socket for this machine\n"
           "      --check-config  read the configuration, say what is wrong with it, and\n"
           "                      end\n"
           "      --recover       a majority of the cluster is lost for good: make this\n"
           "                      server its only member; says what that means, and does\n"
           "                      it with --yes\n"
           "  -V, --version       print the version and end\n"
           "  -h, --help          print this and end\n"
           "\n"
           "Signals: SIGTERM ends it, SIGHUP reads the configuration again.\n"
           "Exit status: 0 ended by a signal, 1 it cannot start or go on, 2 wrong usage.\n"
           "\n"
           "Example:\n"
           "  mapserver --config /etc/eidmap/mapserver.yaml\n"
           "\n"
           "Configuration:\n");
    ms_config_print(stdout);
}

static int check(const char *file)
{
    char *why = NULL;
    if (ms_server_check(file, &why)) {
        fprintf(stderr, "%s\n", why);
        free(why);
        return 1;
    }
    printf("%s: ok\n", file ? file : "defaults");
    return 0;
}

int main(int argc, char **argv)
{
    const char *file = NULL;
    bool is_check = false, is_recover = false, is_sure = false;
    int option;
    em_log_init("mapserver");
    while ((option = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
        switch (option) {
        case OPT_CONFIG:
            file = optarg;
            break;
        case OPT_CHECK:
            is_check = true;
            break;
        case OPT_RECOVER:
            is_recover = true;
            break;
        case OPT_YES:
            is_sure = true;
            break;
        case OPT_HELP:
            help();
            return 0;
        case OPT_VERSION:
            printf("mapserver %s\n", EM_VERSION);
            return 0;
        default:
            fprintf(stderr, "Try 'mapserver --help'.\n");
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "mapserver: unexpected argument '%s'\nTry 'mapserver --help'.\n",
                argv[optind]);
        return 2;
    }
    if ((is_check && is_recover) || (is_sure && !is_recover)) {
        fprintf(stderr, "mapserver: %s\n",
                is_sure && !is_recover ? "--yes goes only with --recover"
                                       : "--check-config or --recover, not both");
        return 2;
    }
    if (is_recover)
        return ms_recover_run(file, is_sure);
    return is_check ? check(file) : ms_server_run(file);
}
