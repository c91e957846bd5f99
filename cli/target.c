/* The order of precedence is that of most tools: option, environment, default.  All that can
 * be wrong with it (an address, a missing file name, two operators in one directory) is a
 * usage error, and found before anything is dialled. */
#include "target.h"

#include "base/mem.h"
#include "net/socket.h"
#include "net/tls.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An option before the environment; what is empty counts as none, as a script passes it that has
 * nothing to say. */
static const char *choose(const char *option, const char *variable)
{
    const char *value = option && option[0] ? option : getenv(variable);
    return value && value[0] ? value : NULL;
}

const char *ctl_target_pki(const struct ctl *ctl)
{
    return choose(ctl->target.pki, "EIDMAP_PKI");
}

const char *ctl_target_xtr(const struct ctl *ctl)
{
    const char *path = choose(ctl->target.xtr, "EIDMAP_XTR");
    return path ? path : CTL_DEFAULT_XTR;
}

static enum ctl_exit split(struct ctl *ctl, struct ctl_servers *s, bool *ret_needs_tls)
{
    char *save = NULL;
    char why[EM_ADDR_WHY];
    struct em_address address;
    *ret_needs_tls = false;
    for (char *p = s->list, *text; (text = strtok_r(p, ",", &save)); p = NULL) {
        if (s->n_servers == CTL_MAX_SERVERS)
            return ctl_fail(ctl, CTL_USAGE, "more than %d servers", CTL_MAX_SERVERS);
        if (em_address_parse(text, &address, why))
            return ctl_fail(ctl, CTL_USAGE, "server %s: %s", text, why);
        *ret_needs_tls |= address.transport == EM_TLS;
        s->servers[s->n_servers++] = text;
    }
    if (!s->n_servers)
        return ctl_fail(ctl, CTL_USAGE, "no server given; expected -s ADDRESS:PORT or unix:PATH");
    return CTL_DONE;
}

/* 'dir' may have any name, also one that glob() would take for a pattern. */
static char *operator_pattern(const char *dir)
{
    char *escaped = em_malloc(2 * strlen(dir) + 1), *to = escaped;
    for (; *dir; *to++ = *dir++)
        if (strchr("\\*?[", *dir))
            *to++ = '\\';
    *to = '\0';
    char *pattern = em_asprintf("%s/operator-*.crt", escaped);
    free(escaped);
    return pattern;
}

/* The certificate and key of the only operator in 'dir'. */
static enum ctl_exit find_operator(struct ctl *ctl, const char *dir, struct ctl_servers *s)
{
    glob_t found = {0};
    char *pattern = operator_pattern(dir);
    int r = glob(pattern, 0, NULL, &found);
    enum ctl_exit code = CTL_DONE;
    if (r || found.gl_pathc == 0) {
        code = ctl_fail(ctl, CTL_USAGE,
                        "no %s/operator-*.crt; \"mapctl pki operator NAME\" makes one", dir);
    } else if (found.gl_pathc > 1) {
        code = ctl_fail(ctl, CTL_USAGE, "%zu operators in %s; choose one with --cert and --key",
                        found.gl_pathc, dir);
    } else {
        s->cert = em_strdup(found.gl_pathv[0]);
        s->key = em_strdup(found.gl_pathv[0]);
        memcpy(s->key + strlen(s->key) - 3, "key", 3);
    }
    globfree(&found);
    free(pattern);
    return code;
}

static enum ctl_exit find_credentials(struct ctl *ctl, struct ctl_servers *s)
{
    const char *dir = ctl_target_pki(ctl);
    const char *ca = choose(ctl->target.ca, "EIDMAP_CA");
    const char *cert = choose(ctl->target.cert, "EIDMAP_CERT");
    const char *key = choose(ctl->target.key, "EIDMAP_KEY");
    if (!cert != !key)
        return ctl_fail(ctl, CTL_USAGE, "--cert and --key belong together; give both");
    if (ca)
        s->ca = em_strdup(ca);
    else if (dir)
        s->ca = em_asprintf("%s/ca.crt", dir);
    if (cert) {
        s->cert = em_strdup(cert);
        s->key = em_strdup(key);
    } else if (dir) {
        return find_operator(ctl, dir, s);
    }
    if (!s->ca || !s->cert)
        return ctl_fail(ctl, CTL_USAGE,
                        "TLS needs certificates; give --pki DIR, or --ca, --cert and --key");
    return CTL_DONE;
}

enum ctl_exit ctl_servers_init(struct ctl *ctl, struct ctl_servers *servers)
{
    const char *list = choose(ctl->target.servers, "EIDMAP_SERVERS");
    bool needs_tls;
    *servers = (struct ctl_servers){.list = em_strdup(list ? list : CTL_DEFAULT_SERVER)};
    enum ctl_exit code = split(ctl, servers, &needs_tls);
    return code || !needs_tls ? code : find_credentials(ctl, servers);
}

/* Before anything is dialled, so that a fault of these files is not taken for one of a server. */
static enum ctl_exit check_tls(struct ctl *ctl, const struct ctl_servers *s)
{
    struct em_tls *tls = NULL;
    char *why = NULL;
    int r = s->ca ? em_tls_new(s->ca, s->cert, s->key, &tls, &why) : 0;
    if (r)
        ctl_fail(ctl, CTL_USAGE, "%s; --pki, or --ca, --cert and --key, name others", why);
    em_tls_free(tls);
    free(why);
    return r ? CTL_USAGE : CTL_DONE;
}

enum ctl_exit ctl_servers_check(struct ctl *ctl, const struct ctl_servers *servers)
{
    static const char *const options[] = {"ca", "cert", "key"};
    const char *const files[] = {servers->ca, servers->cert, servers->key};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (files[i] && access(files[i], R_OK))
            return ctl_fail(ctl, CTL_USAGE, "cannot read %s: %s; --pki or --%s names another",
                            files[i], em_strerror(-errno), options[i]);
    return check_tls(ctl, servers);
}

void ctl_servers_fini(struct ctl_servers *servers)
{
    free(servers->list);
    free(servers->ca);
    free(servers->cert);
    free(servers->key);
}
