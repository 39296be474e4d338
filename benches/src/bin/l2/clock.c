/* The wall clock of a server that replays faster than life: it runs SPEED times as fast. To be preloaded; Redis takes its LRU and LFU
 * clocks from gettimeofday, and its timers from elsewhere. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time.tv_sec * 1000000LL + time.tv_nsec / 1000;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    static long long start, speed;
    (void)zone;
    if (!start) {
        const char *given = getenv("SPEED");
        speed = given ? atoll(given) : 1;
        start = now();
    }
    long long faked = start + (now() - start) * speed;
    time->tv_sec = faked / 1000000;
    time->tv_usec = faked % 1000000;
    return 0;
}
