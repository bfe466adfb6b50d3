/* The functions of glibc 2.30 that wait until a time of any clock, on top of those that know the realtime clock alone.
   libstdc++'s headers call them wherever a program waits for a time: condition_variable::wait_for, timed_mutex,
   shared_timed_mutex. A change of the realtime clock during the wait moves its end, as in every older libstdc++; the
   headers look at the clock that was asked for before they believe in a timeout. */
#include <errno.h>
#include <pthread.h>
#include <time.h>

enum { SECOND_NS = 1000000000 };

/* The same moment on the realtime clock; -1 where no thread can wait for that clock. */
static int realtime(clockid_t clock, const struct timespec *moment, struct timespec *real)
{
    struct timespec now, real_now;

    *real = *moment;
    if (clock == CLOCK_REALTIME)
        return 0;
    if (clock != CLOCK_MONOTONIC || clock_gettime(clock, &now) || clock_gettime(CLOCK_REALTIME, &real_now))
        return -1;
    if (moment->tv_nsec < 0 || moment->tv_nsec >= SECOND_NS)
        return 0; /* the call itself refuses it */
    real->tv_sec += real_now.tv_sec - now.tv_sec;
    real->tv_nsec += real_now.tv_nsec - now.tv_nsec;
    if (real->tv_nsec < 0) {
        real->tv_nsec += SECOND_NS;
        real->tv_sec -= 1;
    } else if (real->tv_nsec >= SECOND_NS) {
        real->tv_nsec -= SECOND_NS;
        real->tv_sec += 1;
    }
    return 0;
}
