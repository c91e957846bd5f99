#include "base/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int em_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    if (!path || !path[0])
        return 0;
    size_t n = strlen(path);
    if (n > sizeof(un.sun_path) || (path[0] != '/' && path[0] != '@'))
        return -EINVAL;
    memcpy(un.sun_path, path, n);
    if (path[0] == '@') /* abstract: sd_notify(3) */
        un.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&un, size);
    int r = sent < 0 ? -errno : 0;
    close(fd);
    return r;
}

unsigned em_notify_watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    if (!usec || (pid && strtol(pid, NULL, 10) != (long)getpid()))
        return 0;
    unsigned long long value = strtoull(usec, NULL, 10);
    return value / 1000 > 86400000 ? 0 : (unsigned)(value / 1000);
}
