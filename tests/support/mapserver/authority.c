#include "mapserver/authority.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

void authority_open(struct authority *authority)
{
    char *why = NULL;
    snprintf(authority->dir, sizeof(authority->dir), "/tmp/em-ca-XXXXXX");
    cr_assert_not_null(mkdtemp(authority->dir));
    cr_assert_eq(em_pki_init(authority->dir, true, &why), 0, "%s", why);
}

void authority_close(struct authority *authority)
{
    char command[96];
    snprintf(command, sizeof(command), "rm -r '%s'", authority->dir);
    cr_assert_eq(system(command), 0);
}

struct authority_files authority_issue(struct authority *authority, enum em_role role,
                                       const char *name)
{
    char *why = NULL;
    const struct em_pki_request request = {role, name, 2};
    struct authority_files files = {em_asprintf("%s/ca.crt", authority->dir),
                                    em_pki_path(authority->dir, role, name, "crt"),
                                    em_pki_path(authority->dir, role, name, "key")};
    cr_assert_eq(em_pki_issue(authority->dir, &request, true, &why), 0, "%s", why);
    return files;
}

void authority_files_free(struct authority_files *files)
{
    free(files->ca);
    free(files->cert);
    free(files->key);
}

struct em_tls *authority_tls(struct authority *authority, enum em_role role, const char *name)
{
    struct authority_files files = authority_issue(authority, role, name);
    struct em_tls *tls = NULL;
    char *why = NULL;
    cr_assert_eq(em_tls_new(files.ca, files.cert, files.key, &tls, &why), 0, "%s", why);
    authority_files_free(&files);
    return tls;
}

void authority_address(char *text, size_t size)
{
    uint32_t own = 0x7f000000u | ((uint32_t)getpid() & 0xffff) << 8 | 1;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(own)}};
    char address[INET_ADDRSTRLEN];
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&in, len), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    close(fd);
    inet_ntop(AF_INET, &in.sin_addr, address, sizeof(address));
    snprintf(text, size, "tls://%s:%d", address, ntohs(in.sin_port));
}
