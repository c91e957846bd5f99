/* Certificates as mapctl makes them, with the openssl program as the witness. */
#include "cli/ctl_stage.h"

#include "net/tls.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static void setup(void)
{
    strcpy(dir, "/tmp/eidmap-pki-XXXXXX");
    cr_assert(mkdtemp(dir));
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(ctl_pki, .init = setup, .fini = teardown);

static struct ctl_run run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static struct ctl_run run(const char *format, ...)
{
    char line[512];
    size_t size = (size_t)snprintf(line, sizeof(line), "--pki %s ", dir);
    va_list args;
    va_start(args, format);
    vsnprintf(line + size, sizeof(line) - size, format, args);
    va_end(args);
    return ctl_run(line);
}

static void make_all(void)
{
    cr_assert_eq(run("pki init").code, CTL_DONE);
    cr_assert_eq(run("pki server ms1").code, CTL_DONE);
    cr_assert_eq(run("pki node hv1").code, CTL_DONE);
    cr_assert_eq(run("pki operator alice").code, CTL_DONE);
}

/* Runs "openssl ..." in the directory; what it prints goes to 'output'. */
static int openssl(const char *arguments, char output[4096])
{
    char command[512];
    snprintf(command, sizeof(command), "cd %s && openssl %s 2>&1", dir, arguments);
    FILE *pipe = popen(command, "r");
    cr_assert(pipe);
    output[fread(output, 1, 4095, pipe)] = '\0';
    return pclose(pipe);
}

static mode_t mode_of(const char *name)
{
    char path[128];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    cr_assert_eq(stat(path, &st), 0, "%s", path);
    return st.st_mode & 07777;
}

static char *content_of(const char *name)
{
    char path[128];
    static char content[8192];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "r");
    cr_assert(file);
    content[fread(content, 1, sizeof(content) - 1, file)] = '\0';
    fclose(file);
    return content;
}

Test(ctl_pki, openssl_accepts_the_chain_for_each_purpose)
{
    char output[4096];
    make_all();
    static const char *const checks[] = {
        "-purpose sslserver server-ms1.crt",
        "-purpose sslclient server-ms1.crt",
        "-purpose sslclient node-hv1.crt",
        "-purpose sslclient operator-alice.crt",
    };
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        char arguments[160];
        snprintf(arguments, sizeof(arguments), "verify -x509_strict -CAfile ca.crt %s", checks[i]);
        cr_assert_eq(openssl(arguments, output), 0, "%s: %s", checks[i], output);
    }
}

Test(ctl_pki, node_and_operator_cannot_pose_as_a_server)
{
    char output[4096];
    make_all();
    cr_assert_neq(openssl("verify -CAfile ca.crt -purpose sslserver node-hv1.crt", output), 0);
    cr_assert_neq(openssl("verify -CAfile ca.crt -purpose sslserver operator-alice.crt", output),
                  0);
}

Test(ctl_pki, member_cannot_sign_another)
{
    char output[4096];
    make_all();
    cr_assert_eq(openssl("x509 -in node-hv1.crt -noout -ext basicConstraints,keyUsage", output), 0);
    ctl_assert_has(output, "CA:FALSE");
    cr_assert_null(strstr(output, "Certificate Sign"));
    cr_assert_eq(openssl("x509 -in ca.crt -noout -ext basicConstraints", output), 0);
    ctl_assert_has(output, "CA:TRUE, pathlen:0");
}

Test(ctl_pki, identity_is_the_uri)
{
    char output[4096];
    make_all();
    cr_assert_eq(openssl("x509 -in server-ms1.crt -noout -ext subjectAltName", output), 0);
    ctl_assert_has(output, "URI:eidmap://server/ms1");
    cr_assert_eq(openssl("x509 -in node-hv1.crt -noout -ext subjectAltName", output), 0);
    ctl_assert_has(output, "URI:eidmap://node/hv1");
    cr_assert_eq(openssl("x509 -in operator-alice.crt -noout -ext subjectAltName", output), 0);
    ctl_assert_has(output, "URI:eidmap://operator/alice");
}

Test(ctl_pki, library_takes_the_files_and_sees_the_identity)
{
    char ca[96], cert[96], key[96];
    char *why = NULL;
    struct em_tls *tls = NULL;
    make_all();
    snprintf(ca, sizeof(ca), "%s/ca.crt", dir);
    snprintf(cert, sizeof(cert), "%s/operator-alice.crt", dir);
    snprintf(key, sizeof(key), "%s/operator-alice.key", dir);
    cr_assert_eq(em_tls_new(ca, cert, key, &tls, &why), 0, "%s", why);
    cr_assert_eq(em_tls_identity(tls)->role, EM_ROLE_OPERATOR);
    cr_assert_str_eq(em_tls_identity(tls)->name, "alice");
    em_tls_free(tls);
}

Test(ctl_pki, keys_are_the_owners_alone)
{
    umask(0);
    make_all();
    cr_assert_eq(mode_of("ca.key"), 0600);
    cr_assert_eq(mode_of("server-ms1.key"), 0600);
    cr_assert_eq(mode_of("node-hv1.key"), 0600);
    cr_assert_eq(mode_of("operator-alice.key"), 0600);
    cr_assert_eq(mode_of("ca.crt"), 0644);
}

Test(ctl_pki, life_begins_before_now_and_lasts_as_asked)
{
    char output[4096];
    make_all();
    cr_assert_eq(run("pki node short --days 2").code, CTL_DONE);
    cr_assert_eq(openssl("x509 -in node-short.crt -noout -checkend 172700", output), 0);
    cr_assert_neq(openssl("x509 -in node-short.crt -noout -checkend 172900", output), 0);
    cr_assert_eq(openssl("x509 -in node-hv1.crt -noout -checkend 31535900", output), 0);
    cr_assert_neq(openssl("x509 -in node-hv1.crt -noout -checkend 31536100", output), 0);
    cr_assert_eq(
        openssl("verify -attime $(($(date +%s) - 240)) -CAfile ca.crt node-hv1.crt", output), 0);
}

Test(ctl_pki, member_does_not_outlive_its_ca)
{
    char output[4096];
    make_all();
    cr_assert_eq(run("pki node long --days 36500").code, CTL_DONE);
    cr_assert_eq(openssl("x509 -in node-long.crt -noout -checkend 315359900", output), 0);
    cr_assert_neq(openssl("x509 -in node-long.crt -noout -checkend 315360100", output), 0);
}

Test(ctl_pki, serials_are_random_and_differ)
{
    char one[4096], two[4096];
    make_all();
    cr_assert_eq(openssl("x509 -in node-hv1.crt -noout -serial", one), 0);
    cr_assert_eq(openssl("x509 -in server-ms1.crt -noout -serial", two), 0);
    cr_assert_str_neq(one, two);
    cr_assert_gt(strlen(one), strlen("serial=") + 24); /* fewer digits: 1 in 2^32 */
}

Test(ctl_pki, nothing_is_overwritten_without_force)
{
    make_all();
    char *key = strdup(content_of("ca.key"));
    char *node = strdup(content_of("node-hv1.crt"));
    struct ctl_run r = run("pki init");
    ctl_assert_error(&r, CTL_REFUSED, "ca.key exists; --force");
    r = run("pki node hv1");
    ctl_assert_error(&r, CTL_REFUSED, "node-hv1.key exists; --force");
    cr_assert_str_eq(content_of("ca.key"), key);
    cr_assert_str_eq(content_of("node-hv1.crt"), node);
    cr_assert_eq(run("pki node hv1 --force").code, CTL_DONE);
    cr_assert_str_neq(content_of("node-hv1.crt"), node);
    free(key);
    free(node);
}

Test(ctl_pki, certificate_alone_is_enough_to_be_in_the_way)
{
    char path[128];
    make_all();
    snprintf(path, sizeof(path), "%s/node-hv1.key", dir);
    cr_assert_eq(unlink(path), 0);
    struct ctl_run r = run("pki node hv1");
    ctl_assert_error(&r, CTL_REFUSED, "node-hv1.crt exists");
}

Test(ctl_pki, failure_leaves_no_files)
{
    char command[160];
    struct ctl_run r = run("pki node hv1");
    ctl_assert_error(&r, CTL_REFUSED, "ca.crt: No such file");
    ctl_assert_has(r.err, "pki init");
    snprintf(command, sizeof(command), "test -z \"$(ls -A %s)\"", dir);
    cr_assert_eq(system(command), 0);
}

Test(ctl_pki, ca_that_is_there_but_cannot_be_read_is_not_made_again)
{
    char command[160];
    make_all();
    snprintf(command, sizeof(command), "cd %s && rm ca.crt && ln -s ca.crt ca.crt", dir);
    cr_assert_eq(system(command), 0);
    struct ctl_run r = run("pki node hv2");
    ctl_assert_error(&r, CTL_REFUSED, "ca.crt: Too many levels of symbolic links\n");
}

Test(ctl_pki, foreign_key_of_the_ca_is_seen)
{
    char output[4096];
    make_all();
    cr_assert_eq(openssl("ecparam -genkey -name prime256v1 -noout -out ca.key", output), 0);
    struct ctl_run r = run("pki node hv2");
    ctl_assert_error(&r, CTL_REFUSED, "does not belong to");
}

Test(ctl_pki, file_that_is_no_certificate_is_named)
{
    char command[160];
    make_all();
    snprintf(command, sizeof(command), "echo rubbish > %s/ca.crt", dir);
    cr_assert_eq(system(command), 0);
    struct ctl_run r = run("pki node hv2");
    ctl_assert_error(&r, CTL_REFUSED, "ca.crt: ");
}

Test(ctl_pki, names_and_days_that_cannot_be_are_usage_errors)
{
    make_all();
    struct ctl_run r = run("pki node ../hv2");
    ctl_assert_error(&r, CTL_USAGE, "node ../hv2: ");
    r = run("pki node hv2,URI:eidmap://operator/root");
    ctl_assert_error(&r, CTL_USAGE, "expected");
    r = run("pki node hv2 --days 0");
    ctl_assert_error(&r, CTL_USAGE, "--days 0");
    r = ctl_run("pki node hv2");
    ctl_assert_error(&r, CTL_USAGE, "--pki DIR");
}

Test(ctl_pki, directory_that_cannot_be_made_is_named)
{
    struct ctl_run r = ctl_run("pki init /nonexistent/deeper");
    ctl_assert_error(&r, CTL_REFUSED, "cannot make /nonexistent/deeper");
}

Test(ctl_pki, report_names_the_files_and_the_next_step)
{
    struct ctl_run r = run("pki init");
    ctl_assert_has(r.out, "/ca.crt");
    ctl_assert_has(r.out, "next: ");
    r = run("pki server ms1 -o json");
    json_t *json = ctl_parse_json(r.out);
    char path[128];
    snprintf(path, sizeof(path), "%s/server-ms1.key", dir);
    cr_assert_str_eq(json_string_value(json_object_get(json, "key")), path);
    json_decref(json);
}

Test(ctl_pki, only_operator_of_the_directory_is_chosen_and_two_are_too_many)
{
    make_all();
    struct ctl_run r = run("-t 1 -s 127.0.0.1:1 status");
    ctl_assert_error(&r, CTL_NO_SERVER, "127.0.0.1:1");
    cr_assert_eq(run("pki operator bob").code, CTL_DONE);
    r = run("-t 1 -s 127.0.0.1:1 status");
    ctl_assert_error(&r, CTL_USAGE, "2 operators");
    r = run("-t 1 -s 127.0.0.1:1 --cert %s/operator-bob.crt --key %s/operator-bob.key status", dir,
            dir);
    ctl_assert_error(&r, CTL_NO_SERVER, "127.0.0.1:1");
}

Test(ctl_pki, file_that_cannot_be_read_is_named_before_anything_is_dialled)
{
    make_all();
    struct ctl_run r = run("-s 127.0.0.1:1 --cert %s/operator-alice.crt --key /none status", dir);
    ctl_assert_error(&r, CTL_USAGE, "cannot read /none: No such file");
}

Test(ctl_pki, files_that_do_not_belong_together_are_a_usage_error)
{
    make_all();
    struct ctl_run r =
        run("-s 127.0.0.1:1 --cert %s/operator-alice.crt --key %s/node-hv1.key status", dir, dir);
    ctl_assert_error(&r, CTL_USAGE, "does not belong to");
    ctl_assert_has(r.err, "; --pki, or --ca, --cert and --key, name others\n");
    r = run("-s 127.0.0.1:1 --ca %s/node-hv1.key status", dir);
    ctl_assert_error(&r, CTL_USAGE, "node-hv1.key: not a CA certificate in PEM form");
}

Test(ctl_pki, directory_without_an_operator_says_how_to_make_one)
{
    cr_assert_eq(run("pki init").code, CTL_DONE);
    struct ctl_run r = run("-s 127.0.0.1:1 status");
    ctl_assert_error(&r, CTL_USAGE, "pki operator NAME");
}
