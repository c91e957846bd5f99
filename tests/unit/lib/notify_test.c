#include "base/notify.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A datagram socket as systemd has it; 'name' with '@' is abstract. */
static int listen_at(const char *name)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    memcpy(un.sun_path, name, strlen(name));
    if (name[0] == '@')
        un.sun_path[0] = 0;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    cr_assert_eq(bind(fd, (struct sockaddr *)&un, size), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static void expect_arrival(int fd, const char *text)
{
    char data[256] = "";
    cr_assert_gt(recv(fd, data, sizeof(data) - 1, MSG_DONTWAIT), 0);
    cr_assert_str_eq(data, text);
}

Test(notify, without_a_socket_nothing_is_done)
{
    unsetenv("NOTIFY_SOCKET");
    cr_assert_eq(em_notify("READY=1"), 0);
    setenv("NOTIFY_SOCKET", "", 1);
    cr_assert_eq(em_notify("READY=1"), 0);
}

Test(notify, state_arrives_at_a_socket_in_the_file_system)
{
    char dir[] = "/tmp/eidmap-notify-XXXXXX", path[64];
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/s", dir);
    int fd = listen_at(path);
    cr_assert_eq(em_notify("READY=1\nSTATUS=up"), 0);
    expect_arrival(fd, "READY=1\nSTATUS=up");
    close(fd);
    unlink(path);
    rmdir(dir);
}

Test(notify, state_arrives_at_an_abstract_socket)
{
    char name[64];
    snprintf(name, sizeof(name), "@eidmap-notify-%d", (int)getpid());
    int fd = listen_at(name);
    cr_assert_eq(em_notify("WATCHDOG=1"), 0);
    expect_arrival(fd, "WATCHDOG=1");
    close(fd);
}

Test(notify, wrong_socket_names_are_refused)
{
    char name[200] = "/";
    memset(name + 1, 'x', sizeof(name) - 2);
    setenv("NOTIFY_SOCKET", name, 1);
    cr_assert_eq(em_notify("READY=1"), -EINVAL);
    setenv("NOTIFY_SOCKET", "relative", 1);
    cr_assert_eq(em_notify("READY=1"), -EINVAL);
    setenv("NOTIFY_SOCKET", "/nowhere/at/all", 1);
    cr_assert_eq(em_notify("READY=1"), -ENOENT);
}

Test(notify, watchdog_is_ours_alone)
{
    char pid[16];
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    cr_assert_eq(em_notify_watchdog_ms(), 0);
    setenv("WATCHDOG_USEC", "30000000", 1);
    cr_assert_eq(em_notify_watchdog_ms(), 30000);
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    cr_assert_eq(em_notify_watchdog_ms(), 30000);
    setenv("WATCHDOG_PID", "1", 1);
    cr_assert_eq(em_notify_watchdog_ms(), 0);
}
