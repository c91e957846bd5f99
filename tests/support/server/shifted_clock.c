/* Preloaded into a map server by a test: its wall clock, and nothing else of the machine, is
 * what a file says.
 *
 * EM_SHIFTED_CLOCK names the file: two 64-bit numbers in the machine's order, the seconds that
 * are added, which may change at any time, and how often the clock was read. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct shift {
    _Atomic int64_t seconds;
    _Atomic int64_t n_reads;
};

static struct shift *shift;

__attribute__((constructor)) static void map_file(void)
{
    const char *path = getenv("EM_SHIFTED_CLOCK");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at = mmap(NULL, sizeof(*shift), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED)
        shift = at;
}

int clock_gettime(clockid_t clock, struct timespec *ts)
{
    long r = syscall(SYS_clock_gettime, clock, ts);
    if (r == 0 && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        ts->tv_sec += shift->seconds;
        shift->n_reads++;
    }
    return (int)r;
}

time_t time(time_t *ret_time)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    if (ret_time)
        *ret_time = ts.tv_sec;
    return ts.tv_sec;
}

int gettimeofday(struct timeval *tv, void *zone)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    *tv = (struct timeval){ts.tv_sec, ts.tv_nsec / 1000};
    return 0;
}
