/* A map server under thousands of agents: mixes of what they do, each with its figures. */
#include "swarm_mixes.h"

#include <string.h>

static const struct {
    const char *name;
    swarm_mix_fn *run;
} mixes[] = {
    {"fanout", swarm_fanout},
    {"fleet", swarm_fleet},
    {"node", swarm_node},
    {"steady", swarm_steady},
};

int main(int argc, char **argv)
{
    struct swarm_options options = {.n_moves = 200, .lease_s = 15};
    const struct bench_option more[] = {
        {"agents", &options.n_agents, 2, 60000, "N", "agents, instead of each mix's own number"},
        {"networks", &options.n_networks, 1, 100000, "N", "networks, where a mix has several"},
        {"moves", &options.n_moves, 1, 100000, "N", "ports that move in a second (200)"},
        {"lease", &options.lease_s, 1, 3600, "S", "of agents, in seconds (15)"},
        {NULL, NULL, 0, 0, NULL, NULL},
    };
    struct bench bench =
        bench_parse_more(argc, argv, "swarm", "a map server under thousands of agents", more);
    bool is_known = !bench.only;
    for (size_t i = 0; i < sizeof(mixes) / sizeof(mixes[0]); i++) {
        if (bench.only && strcmp(bench.only, mixes[i].name) != 0)
            continue;
        mixes[i].run(&bench, &options);
        is_known = true;
    }
    if (!is_known)
        real_fail("--only %s: there is no such mix", bench.only);
    return 0;
}
