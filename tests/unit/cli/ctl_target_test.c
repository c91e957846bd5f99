/* Which server and which files are chosen: option before environment before default. */
#include "cli/ctl_stage.h"

#include "target.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct ctl ctl;
static struct ctl_servers servers;
static char *err;
static size_t err_size;

static void setup(void)
{
    static const char *const variables[] = {"EIDMAP_SERVERS", "EIDMAP_PKI", "EIDMAP_CA",
                                            "EIDMAP_CERT",    "EIDMAP_KEY", "EIDMAP_XTR"};
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        unsetenv(variables[i]);
    ctl = (struct ctl){.out = stdout, .err = open_memstream(&err, &err_size)};
}

static void teardown(void)
{
    ctl_servers_fini(&servers);
    fclose(ctl.err);
    free(err);
}

TestSuite(ctl_target, .init = setup, .fini = teardown);

static void assert_refused(const char *part)
{
    cr_assert_eq(ctl_servers_init(&ctl, &servers), CTL_USAGE);
    fflush(ctl.err);
    ctl_assert_has(err, part);
}

Test(ctl_target, default_is_the_local_socket)
{
    cr_assert_eq(ctl_servers_init(&ctl, &servers), CTL_DONE);
    cr_assert_eq(servers.n_servers, 1);
    cr_assert_str_eq(servers.servers[0], "unix:/run/eidmap/mapserver.sock");
    cr_assert_null(servers.ca);
}

Test(ctl_target, environment_may_list_several)
{
    setenv("EIDMAP_SERVERS", "tcp://127.0.0.1:1,unix:/a/b", 1);
    cr_assert_eq(ctl_servers_init(&ctl, &servers), CTL_DONE);
    cr_assert_eq(servers.n_servers, 2);
    cr_assert_str_eq(servers.servers[1], "unix:/a/b");
}

Test(ctl_target, option_wins_over_the_environment)
{
    setenv("EIDMAP_SERVERS", "tcp://127.0.0.1:1", 1);
    ctl.target.servers = "unix:/a/b";
    cr_assert_eq(ctl_servers_init(&ctl, &servers), CTL_DONE);
    cr_assert_eq(servers.n_servers, 1);
    cr_assert_str_eq(servers.servers[0], "unix:/a/b");
}

Test(ctl_target, empty_variable_counts_as_none)
{
    setenv("EIDMAP_SERVERS", "", 1);
    cr_assert_eq(ctl_servers_init(&ctl, &servers), CTL_DONE);
    cr_assert_str_eq(servers.servers[0], CTL_DEFAULT_SERVER);
}

Test(ctl_target, empty_option_counts_as_none)
{
    setenv("EIDMAP_SERVERS", "unix:/a/b", 1);
    ctl.target.servers = "";
    cr_assert_eq(ctl_servers_init(&ctl, &servers), CTL_DONE);
    cr_assert_str_eq(servers.servers[0], "unix:/a/b");
}

Test(ctl_target, socket_of_the_xtr_comes_from_option_environment_or_is_the_default)
{
    cr_assert_str_eq(ctl_target_xtr(&ctl), CTL_DEFAULT_XTR);
    setenv("EIDMAP_XTR", "/env/xtr.sock", 1);
    cr_assert_str_eq(ctl_target_xtr(&ctl), "/env/xtr.sock");
    ctl.target.xtr = "/option/xtr.sock";
    cr_assert_str_eq(ctl_target_xtr(&ctl), "/option/xtr.sock");
}

Test(ctl_target, directory_with_the_name_of_a_pattern_is_no_pattern)
{
    char dir[] = "/tmp/eidmap[1]*-XXXXXX", command[128];
    cr_assert(mkdtemp(dir));
    snprintf(command, sizeof(command), "touch '%s/operator-me.crt'", dir);
    cr_assert_eq(system(command), 0);
    ctl.target.servers = "192.0.2.1:4342";
    ctl.target.pki = dir;
    enum ctl_exit code = ctl_servers_init(&ctl, &servers);
    snprintf(command, sizeof(command), "rm -r '%s'", dir);
    cr_assert_eq(system(command), 0);
    cr_assert_eq(code, CTL_DONE);
    ctl_assert_has(servers.key, "/operator-me.key");
}

Test(ctl_target, one_bad_address_in_a_list_is_named)
{
    ctl.target.servers = "unix:/a/b,nonsense";
    assert_refused("server nonsense: ");
}

Test(ctl_target, list_of_commas_is_no_list)
{
    ctl.target.servers = ",,";
    assert_refused("no server given");
}

Test(ctl_target, list_that_is_too_long_is_refused)
{
    char list[CTL_MAX_SERVERS * 10 + 16] = "unix:/a";
    for (int i = 0; i < CTL_MAX_SERVERS; i++)
        strcat(list, ",unix:/a");
    ctl.target.servers = list;
    assert_refused("more than 16 servers");
}

Test(ctl_target, tls_without_certificates_says_what_to_give)
{
    ctl.target.servers = "192.0.2.1:4342";
    assert_refused("--pki DIR, or --ca, --cert and --key");
}

Test(ctl_target, certificate_without_its_key_is_refused)
{
    ctl.target.servers = "192.0.2.1:4342";
    ctl.target.ca = "ca";
    ctl.target.cert = "cert";
    assert_refused("belong together");
}

Test(ctl_target, files_come_from_options_and_environment_alike)
{
    ctl.target.servers = "192.0.2.1:4342";
    setenv("EIDMAP_CA", "/env/ca", 1);
    setenv("EIDMAP_CERT", "/env/cert", 1);
    setenv("EIDMAP_KEY", "/env/key", 1);
    ctl.target.ca = "/option/ca";
    cr_assert_eq(ctl_servers_init(&ctl, &servers), CTL_DONE);
    cr_assert_str_eq(servers.ca, "/option/ca");
    cr_assert_str_eq(servers.cert, "/env/cert");
    cr_assert_str_eq(servers.key, "/env/key");
}

Test(ctl_target, explicit_files_make_the_operators_of_the_directory_no_matter)
{
    ctl.target.servers = "192.0.2.1:4342";
    setenv("EIDMAP_PKI", "/pki", 1);
    ctl.target.cert = "/my/cert";
    ctl.target.key = "/my/key";
    cr_assert_eq(ctl_servers_init(&ctl, &servers), CTL_DONE);
    cr_assert_str_eq(servers.ca, "/pki/ca.crt");
    cr_assert_str_eq(servers.cert, "/my/cert");
}
