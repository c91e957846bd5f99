/* Devices of this host, as far as the kernel must be asked about them. */
#include "ovs.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_address(const struct sockaddr *name, const struct em_ip *ip)
{
    const struct sockaddr_in *v4 = (const void *)name;
    const struct sockaddr_in6 *v6 = (const void *)name;

    if (ip->size == 4)
        return name->sa_family == AF_INET && memcmp(&v4->sin_addr, ip->addr, 4) == 0;
    return name->sa_family == AF_INET6 && memcmp(&v6->sin6_addr, ip->addr, 16) == 0;
}

bool ovs_device_of(const struct em_ip *ip, char ret_name[IFNAMSIZ])
{
    struct ifaddrs *all, *a;
    bool is_found = false;

    if (getifaddrs(&all))
        return false;
    for (a = all; a && !is_found; a = a->ifa_next) {
        if (!a->ifa_addr || !is_address(a->ifa_addr, ip))
            continue;
        snprintf(ret_name, IFNAMSIZ, "%s", a->ifa_name);
        is_found = true;
    }
    freeifaddrs(all);
    return is_found;
}

uint32_t ovs_device_mtu(const struct em_ip *ip)
{
    struct ifreq request = {0};
    if (!ovs_device_of(ip, request.ifr_name))
        return 0;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int r = ioctl(fd, SIOCGIFMTU, &request);
    close(fd);
    return r ? 0 : (uint32_t)request.ifr_mtu;
}

bool ovs_device_has_master(const char *device)
{
    char path[64];
    struct stat info;
    snprintf(path, sizeof path, "/sys/class/net/%s/master", device);
    return stat(path, &info) == 0;
}

void ovs_device_up(const char *device)
{
    struct ifreq request = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", device);
    if (ioctl(fd, SIOCGIFFLAGS, &request) == 0 && !(request.ifr_flags & IFF_UP)) {
        request.ifr_flags |= IFF_UP;
        (void)ioctl(fd, SIOCSIFFLAGS, &request);
    }
    close(fd);
}
