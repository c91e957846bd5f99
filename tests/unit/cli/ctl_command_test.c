/* The command line: what is taken, what is refused and with which code, what help says. */
#include "cli/ctl_stage.h"

#include <string.h>

Test(ctl_command, nothing_at_all_is_a_usage_error)
{
    struct ctl_run run = ctl_run("");
    ctl_assert_error(&run, CTL_USAGE, "no command given");
}

Test(ctl_command, family_without_a_command_says_where_to_look)
{
    struct ctl_run run = ctl_run("network");
    ctl_assert_error(&run, CTL_USAGE, "mapctl network --help");
}

Test(ctl_command, slip_of_the_finger_gets_a_suggestion)
{
    struct ctl_run run = ctl_run("netwrok list");
    ctl_assert_error(&run, CTL_USAGE, "did you mean \"network\"?");
    run = ctl_run("port regster p");
    ctl_assert_error(&run, CTL_USAGE, "did you mean \"port register\"?");
}

Test(ctl_command, word_like_nothing_gets_no_suggestion)
{
    struct ctl_run run = ctl_run("frobnicate");
    ctl_assert_error(&run, CTL_USAGE, "no such command");
    cr_assert_null(strstr(run.err, "did you mean"));
    run = ctl_run("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    ctl_assert_error(&run, CTL_USAGE, "no such command");
}

Test(ctl_command, nearest_takes_the_fewest_edits)
{
    static const char *const names[] = {"list", "set", "show", NULL};
    cr_assert_str_eq(ctl_nearest("lst", names), "list");
    cr_assert_str_eq(ctl_nearest("shwo", names), "show");
    cr_assert_str_eq(ctl_nearest("ste", names), "set");
    cr_assert_null(ctl_nearest("remove", names));
}

Test(ctl_command, missing_and_surplus_words_are_told_apart)
{
    struct ctl_run run = ctl_run("network add");
    ctl_assert_error(&run, CTL_USAGE, "too few words; expected NAME");
    run = ctl_run("network list more");
    ctl_assert_error(&run, CTL_USAGE, "unexpected \"more\"");
}

Test(ctl_command, unknown_option_and_missing_value_name_the_option)
{
    struct ctl_run run = ctl_run("network list --bogus");
    ctl_assert_error(&run, CTL_USAGE, "--bogus: no such option");
    run = ctl_run("network add n --vni");
    ctl_assert_error(&run, CTL_USAGE, "--vni needs a value");
    run = ctl_run("-x status");
    ctl_assert_error(&run, CTL_USAGE, "-x: no such option");
}

Test(ctl_command, options_of_one_command_are_none_of_another)
{
    struct ctl_run run = ctl_run("network list --vni 5");
    ctl_assert_error(&run, CTL_USAGE, "--vni: no such option");
}

Test(ctl_command, numbers_out_of_range_are_refused_before_a_server_is_asked)
{
    struct ctl_run run = ctl_run("-s unix:/nonexistent network add n --vni 16777216");
    ctl_assert_error(&run, CTL_USAGE, "--vni 16777216: expected a number from 1 to 16777215");
    run = ctl_run("-s unix:/nonexistent network add n --vni -5");
    ctl_assert_error(&run, CTL_USAGE, "--vni -5");
    run = ctl_run("-s unix:/nonexistent network add n --vni 5x");
    ctl_assert_error(&run, CTL_USAGE, "--vni 5x");
    run = ctl_run("-s unix:/nonexistent network add n --mtu 100");
    ctl_assert_error(&run, CTL_USAGE, "--mtu 100");
    run = ctl_run("-s unix:/nonexistent network add n --probe 49ms");
    ctl_assert_error(&run, CTL_USAGE,
                     "--probe 49ms: expected a duration such as 15s between 50ms and 1m");
    run = ctl_run("-s unix:/nonexistent network add n --probe often");
    ctl_assert_error(&run, CTL_USAGE, "--probe often: expected a duration");
    run = ctl_run("-t 0 status");
    ctl_assert_error(&run, CTL_USAGE, "--timeout 0");
}

Test(ctl_command, values_of_enums_are_listed_when_one_is_wrong)
{
    struct ctl_run run = ctl_run("-s unix:/nonexistent network add n --flood some");
    ctl_assert_error(&run, CTL_USAGE, "expected one of broadcast, all, none");
    run = ctl_run("-o xml status");
    ctl_assert_error(&run, CTL_USAGE, "\"table\" or \"json\"");
}

Test(ctl_command, addresses_that_are_none_are_refused_with_what_was_expected)
{
    struct ctl_run run = ctl_run("port register p --network n --mac 52:54:00");
    ctl_assert_error(&run, CTL_USAGE, "--mac 52:54:00: ");
    run = ctl_run("port register p --network n --ip 10.0.0.300");
    ctl_assert_error(&run, CTL_USAGE, "--ip 10.0.0.300: ");
    run = ctl_run("port register p --network n --ip 127.0.0.1");
    ctl_assert_error(&run, CTL_USAGE, "--ip 127.0.0.1: ");
    run = ctl_run("port register p --network n");
    ctl_assert_error(&run, CTL_USAGE, "no EID given");
    run = ctl_run("port register p --ip 10.0.0.1");
    ctl_assert_error(&run, CTL_USAGE, "--network NAME");
    run = ctl_run("resolve n 10.0.0.0/33");
    ctl_assert_error(&run, CTL_USAGE, "EID 10.0.0.0/33: ");
}

Test(ctl_command, places_are_a_node_and_perhaps_a_vni)
{
    struct ctl_run run = ctl_run("port move p --to hv1:0");
    ctl_assert_error(&run, CTL_USAGE, "expected a VNI from 1");
    run = ctl_run("port move p --to hv1:");
    ctl_assert_error(&run, CTL_USAGE, "expected a VNI from 1");
    run = ctl_run("port move p --to :5");
    ctl_assert_error(&run, CTL_USAGE, "expected NODE or NODE:VNI");
    run = ctl_run("port move p");
    ctl_assert_error(&run, CTL_USAGE, "--to NODE");
}

Test(ctl_command, node_set_refuses_labels_without_a_key_and_contradictions)
{
    struct ctl_run run = ctl_run("node set hv1 --label rack");
    ctl_assert_error(&run, CTL_USAGE, "expected KEY=VALUE");
    run = ctl_run("node set hv1 --label =r7");
    ctl_assert_error(&run, CTL_USAGE, "expected KEY=VALUE");
    run = ctl_run("node set hv1 --enable --disable");
    ctl_assert_error(&run, CTL_USAGE, "exclude each other");
    run = ctl_run("node set hv1 -o json");
    ctl_assert_error(&run, CTL_USAGE, "nothing to set");
}

Test(ctl_command, server_that_is_not_there_is_code_3)
{
    struct ctl_run run = ctl_run("-t 1 -s unix:/nonexistent/socket status");
    ctl_assert_error(&run, CTL_NO_SERVER, "/nonexistent/socket");
    run = ctl_run("-t 1 xtr status -S /nonexistent/socket");
    ctl_assert_error(&run, CTL_NO_SERVER, "no xTR");
}

Test(ctl_command, list_in_json_prints_nothing_when_no_server_is_there)
{
    struct ctl_run run = ctl_run("-t 1 -s unix:/nonexistent/socket network list -o json");
    cr_assert_eq(run.code, CTL_NO_SERVER);
    cr_assert_str_eq(run.out, "");
}

Test(ctl_command, version_is_one_line_wherever_it_stands)
{
    struct ctl_run run = ctl_run("--version");
    cr_assert_eq(run.code, CTL_DONE);
    cr_assert_str_eq(run.out, "mapctl " EM_VERSION "\n");
    run = ctl_run("network list -V");
    cr_assert_str_eq(run.out, "mapctl " EM_VERSION "\n");
}

static void assert_narrow(const char *text)
{
    for (const char *line = text; *line;) {
        size_t size = strcspn(line, "\n");
        cr_assert_leq(size, 78, "too long: %.*s", (int)size, line);
        line += size + (line[size] == '\n');
    }
}

Test(ctl_command, help_of_every_command_has_usage_and_an_example_and_fits)
{
    for (const struct ctl_family *f = ctl_families; f->name; f++) {
        char line[80];
        snprintf(line, sizeof(line), "%s --help", f->name);
        struct ctl_run run = ctl_run(line);
        cr_assert_eq(run.code, CTL_DONE);
        ctl_assert_has(run.out, "Example:\n  mapctl ");
        assert_narrow(run.out);
        for (const struct ctl_command *c = f->commands; c->name; c++) {
            snprintf(line, sizeof(line), "%s %s -h", f->name, c->name);
            run = ctl_run(line);
            cr_assert_eq(run.code, CTL_DONE, "%s", line);
            ctl_assert_has(run.out, "Example:\n  mapctl ");
            ctl_assert_has(run.out, c->summary);
            assert_narrow(run.out);
        }
    }
}

Test(ctl_command, help_lists_every_command_and_the_exit_codes)
{
    struct ctl_run run = ctl_run("--help");
    for (const struct ctl_family *f = ctl_families; f->name; f++)
        for (const struct ctl_command *c = f->commands; c->name; c++)
            ctl_assert_has(run.out, c->summary);
    ctl_assert_has(run.out, "Exit code: 0 done, 1 refused or not found, 2 usage, 3 no server");
    assert_narrow(run.out);
}

Test(ctl_command, control_characters_in_an_error_do_not_reach_the_terminal)
{
    struct ctl_run run = ctl_run("\033[31mred");
    ctl_assert_error(&run, CTL_USAGE, "?[31mred");
    cr_assert_null(strchr(run.err, '\033'));
}
