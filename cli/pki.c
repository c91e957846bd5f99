/* "pki": a CA in a directory and certificates from it, without a server.  The certificates
 * are made in net/pki.c; here is only what the operator is told. */
#include "command.h"
#include "output.h"
#include "target.h"

#include "base/mem.h"
#include "eidmap/addr.h"
#include "net/pki.h"

#include <stdlib.h>

static const char *pki_dir(struct ctl *ctl)
{
    const char *dir = ctl_target_pki(ctl);
    if (!dir)
        ctl_fail(ctl, CTL_USAGE, "which directory? give --pki DIR, or set EIDMAP_PKI");
    return dir;
}

static enum ctl_exit failed(struct ctl *ctl, char *why)
{
    enum ctl_exit code = ctl_fail(ctl, CTL_REFUSED, "%s", why);
    free(why);
    return code;
}

static void report(struct ctl *ctl, const char *cert, const char *key, const char *next)
{
    if (!ctl->is_json) {
        fprintf(ctl->out, "wrote %s and %s\n%s", cert, key, next);
        return;
    }
    struct ctl_json json = {ctl->out};
    ctl_json_begin(&json, NULL, '{');
    ctl_json_text(&json, "cert", cert);
    ctl_json_text(&json, "key", key);
    ctl_json_end(&json, '}');
}

static enum ctl_exit run_init(struct ctl *ctl)
{
    const char *dir = ctl->n_words ? ctl->words[0] : pki_dir(ctl);
    char *why;
    if (!dir)
        return CTL_USAGE;
    if (em_pki_init(dir, ctl_option(ctl, "force"), &why))
        return failed(ctl, why);
    char *cert = em_asprintf("%s/ca.crt", dir);
    char *key = em_asprintf("%s/ca.key", dir);
    report(ctl, cert, key,
           "next: one \"mapctl pki server ID\" for each map server, \"mapctl pki node ID\" for\n"
           "each xTR, \"mapctl pki operator NAME\" for yourself; keep ca.key to yourself\n");
    free(cert);
    free(key);
    return CTL_DONE;
}

static enum ctl_exit issue(struct ctl *ctl, enum em_role role, const char *next)
{
    const char *dir = pki_dir(ctl);
    uint64_t days = EM_PKI_DAYS;
    char *why;
    char sentence[EM_ADDR_WHY];
    if (em_ident_check(ctl->words[0], sentence))
        return ctl_fail(ctl, CTL_USAGE, "%s %s: %s", em_role_name(role), ctl->words[0], sentence);
    if (!dir || !ctl_option_uint(ctl, "days", 1, EM_PKI_MAX_DAYS, &days))
        return CTL_USAGE;
    struct em_pki_request request = {role, ctl->words[0], (unsigned)days};
    if (em_pki_issue(dir, &request, ctl_option(ctl, "force"), &why))
        return failed(ctl, why);
    char *cert = em_pki_path(dir, role, request.name, "crt");
    char *key = em_pki_path(dir, role, request.name, "key");
    report(ctl, cert, key, next);
    free(cert);
    free(key);
    return CTL_DONE;
}

static enum ctl_exit run_server(struct ctl *ctl)
{
    return issue(
        ctl, EM_ROLE_SERVER,
        "next: copy both and ca.crt to the map server, and name them in its configuration\n");
}

static enum ctl_exit run_node(struct ctl *ctl)
{
    return issue(
        ctl, EM_ROLE_NODE,
        "next: copy both and ca.crt to the host, and name them in its xTR's configuration\n");
}

static enum ctl_exit run_operator(struct ctl *ctl)
{
    return issue(ctl, EM_ROLE_OPERATOR, "next: mapctl -s ADDRESS:PORT --pki DIR status\n");
}

static const struct ctl_option init_options[] = {
    {"force", 'f', NULL, "replace a CA that exists"},
    {NULL},
};

static const struct ctl_option issue_options[] = {
    {"days", 0, "N", "how long it is valid (365)"},
    {"force", 'f', NULL, "replace files that exist"},
    {NULL},
};

const struct ctl_command ctl_pki_commands[] = {
    {"init", "[DIR]", 0, 1, init_options, run_init, "Make the cluster's CA",
     "Writes DIR/ca.crt and DIR/ca.key.  All other certificates of the cluster are signed\n"
     "with that key: whoever has it can be anybody.\n",
     "mapctl pki init ./pki"},
    {"server", "ID", 1, 1, issue_options, run_server, "Make a map server's certificate",
     "Writes DIR/server-ID.crt and .key, for --pki DIR.\n", "mapctl --pki ./pki pki server ms1"},
    {"node", "ID", 1, 1, issue_options, run_node, "Make an xTR's certificate",
     "Writes DIR/node-ID.crt and .key, for --pki DIR.\n", "mapctl --pki ./pki pki node hv1"},
    {"operator", "NAME", 1, 1, issue_options, run_operator, "Make an operator's certificate",
     "Writes DIR/operator-NAME.crt and .key, for --pki DIR.\n",
     "mapctl --pki ./pki pki operator alice"},
    {NULL},
};
