/* raft_sim: runs of the consensus in virtual time, one for each seed. */
#include "sim.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "Usage: raft_sim [OPTION]...\n"
    "Runs clusters on disks and a network in memory, one run for each seed, and checks Raft's\n"
    "invariants after each step.\n"
    "\n"
    "  --seeds A..B        which runs (1..240)\n"
    "  --steps N           of each, before all faults end (20000)\n"
    "  --mode NAME         three, five (members change) or grow (one founder); else by the seed\n"
    "  --nasty, --fifo     the network; else by the seed\n"
    "  --guards-off MASK   without these rules of the guard (enum ms_guard_rule)\n"
    "  --verbose           what happens\n"
    "\n"
    "With EIDMAP_NIGHTLY=1 and no --seeds or --steps: 1000 runs of 100,000 steps, new ones each\n"
    "day.\n";

static const char *const mode_names[SIM_MODES] = {"three", "five", "grow"};

struct options {
    uint64_t first, last;
    unsigned steps, guards_off;
    int mode, nasty; /* < 0: by the seed */
    bool is_verbose;
};

/* For the handler: libraft and the engine assert. */
static char repeat[160];

static void say_repeat(const struct options *options, uint64_t seed)
{
    snprintf(repeat, sizeof(repeat), "\nrepeat: raft_sim --seeds %llu..%llu --steps %u%s%s%s\n",
             (unsigned long long)seed, (unsigned long long)seed, options->steps,
             options->mode < 0 ? "" : " --mode ",
             options->mode < 0 ? "" : mode_names[options->mode],
             options->nasty < 0 ? ""
             : options->nasty   ? " --nasty"
                                : " --fifo");
}

static void on_abort(int number)
{
    ssize_t n = write(STDERR_FILENO, repeat, strlen(repeat));
    (void)n;
    signal(number, SIG_DFL);
    raise(number);
}

static void add(struct sim_stats *sum, const struct sim_stats *stats)
{
    const uint64_t *from = (const uint64_t *)stats;
    uint64_t *to = (uint64_t *)sum;
    for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
        to[i] += from[i];
}

static bool run(const struct options *options, uint64_t seed, struct sim_stats *sum)
{
    static struct sim sim;
    struct sim_config config = {
        .seed = seed,
        .steps = options->steps,
        .mode = options->mode < 0 ? (enum sim_mode)(seed / 2 % SIM_MODES)
                                  : (enum sim_mode)options->mode,
        .is_nasty = options->nasty < 0 ? seed % 2 == 1 : options->nasty == 1,
        .is_verbose = options->is_verbose,
        .guards_off = options->guards_off,
    };
    say_repeat(options, seed);
    bool is_good = sim_run(&sim, &config);
    add(sum, &sim.stats);
    if (!is_good)
        printf("seed %llu (%s, %s): %s%s", (unsigned long long)seed, mode_names[config.mode],
               config.is_nasty ? "nasty" : "fifo", sim.why, repeat);
    fflush(stdout);
    return is_good;
}

static int parse(int argc, char **argv, struct options *options)
{
    static const struct option long_options[] = {{"seeds", required_argument, NULL, 's'},
                                                 {"steps", required_argument, NULL, 'n'},
                                                 {"mode", required_argument, NULL, 'm'},
                                                 {"nasty", no_argument, NULL, 'y'},
                                                 {"fifo", no_argument, NULL, 'f'},
                                                 {"guards-off", required_argument, NULL, 'g'},
                                                 {"verbose", no_argument, NULL, 'v'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        unsigned long long first, last;
        switch (c) {
        case 's':
            if (sscanf(optarg, "%llu..%llu", &first, &last) != 2)
                return 2;
            options->first = first;
            options->last = last;
            break;
        case 'n':
            options->steps = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'm':
            for (options->mode = 0; options->mode < SIM_MODES; options->mode++)
                if (strcmp(mode_names[options->mode], optarg) == 0)
                    break;
            if (options->mode == SIM_MODES)
                return 2;
            break;
        case 'y':
        case 'f':
            options->nasty = c == 'y';
            break;
        case 'g':
            options->guards_off = (unsigned)strtoul(optarg, NULL, 0);
            break;
        case 'v':
            options->is_verbose = true;
            break;
        default:
            return c == 'h' ? 1 : 2;
        }
    }
    return optind == argc ? 0 : 2;
}

int main(int argc, char **argv)
{
    struct options options = {.first = 1, .last = 240, .steps = 20000, .mode = -1, .nasty = -1};
    struct sim_stats sum = {0};
    unsigned n_bad = 0;
    const char *nightly = getenv("EIDMAP_NIGHTLY");
    if (nightly && strcmp(nightly, "1") == 0) {
        options.first = (uint64_t)time(NULL) / 86400 * 1000;
        options.last = options.first + 999;
        options.steps = 100000;
    }
    int r = parse(argc, argv, &options);
    if (r) {
        fputs(usage, r == 1 ? stdout : stderr);
        return r == 1 ? 0 : 2;
    }
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    for (uint64_t seed = options.first; seed <= options.last; seed++)
        n_bad += !run(&options, seed, &sum);
    printf("%llu seeds, %u bad: %llu steps, %llu entries committed, %llu elections, "
           "%llu crashes, %llu offers, %llu installs, %llu compactions, %llu changes, "
           "%llu transfers, %llu messages, %llu reads\n",
           (unsigned long long)(options.last - options.first + 1), n_bad,
           (unsigned long long)sum.steps, (unsigned long long)sum.committed,
           (unsigned long long)sum.elections, (unsigned long long)sum.crashes,
           (unsigned long long)sum.offers, (unsigned long long)sum.installs,
           (unsigned long long)sum.compactions, (unsigned long long)sum.changes,
           (unsigned long long)sum.transfers, (unsigned long long)sum.messages,
           (unsigned long long)sum.reads);
    return n_bad ? 1 : 0;
}
